/* Packets as bytes: what clients and routers send to a VIP, and what a backend finds in
 * the inner packet. A client's TCP timestamp option carries whose connection the segment
 * is (TSval) and the packet's serial number (TSecr), so that every packet can be judged
 * wherever it arrives. */
#include "flow_id.h"
#include "sim.h"

enum {
	SERVICE_PORT = 80,
	SPOOFED = 0x80000000,		/* in TSval */
	IP4 = 20, IP6 = 40, TCP_LEN = 20, TIMESTAMP = 12, MSS = 4,
	ICMP_LEN = 8,
};

struct sc_addr sim_machine_addr(bool ip6, int pop, int low)
{
	uint8_t b[16] = { 0xfd };

	b[12] = 10;
	b[13] = (uint8_t)pop;
	sc_put16(b + 14, (uint16_t)low);
	return ip6 ? sc_addr6(b) : sc_addr4(b + 12);
}

struct sc_addr sim_vip(uint8_t service)
{
	static const uint8_t vip4[4] = { 198, 51, 100, 10 };
	static const uint8_t vip6[16] = { 0x20, 0x01, 0x0d, 0xb8, [15] = 10 };

	return service == 0 ? sc_addr4(vip4) : sc_addr6(vip6);
}

struct sc_addr sim_client_addr(uint32_t client, uint8_t service)
{
	uint8_t b[16] = { 0x20, 0x01, 0x0d, 0xb8, 0xc };

	sc_put32(b + 12, 0xcb000000u + client);
	return service == 0 ? sc_addr4(b + 12) : sc_addr6(b);
}

uint64_t sim_flow(uint32_t client, uint16_t sport, uint8_t service)
{
	struct sc_addr src = sim_client_addr(client, service), vip = sim_vip(service);

	return sc_flow_id(&src, &vip, sport, SERVICE_PORT, SC_PROTO_TCP, SIM_HASH_SEED);
}

static uint32_t write_ip(uint8_t *b, uint8_t proto, const struct sc_addr *src, const struct sc_addr *dst,
			 uint32_t payload)
{
	if (sc_addr_is4(dst)) {
		memset(b, 0, IP4);
		b[0] = 0x45;
		sc_put16(b + 2, (uint16_t)(IP4 + payload));
		b[6] = 0x40;
		b[8] = 60;
		b[9] = proto;
		memcpy(b + 12, src->b + 12, 4);
		memcpy(b + 16, dst->b + 12, 4);
		sc_put16(b + 10, (uint16_t)~sc_fold(sc_sum(b, IP4, 0)));
		return IP4;
	}
	memset(b, 0, 8);
	b[0] = 0x60;
	sc_put16(b + 4, (uint16_t)payload);
	b[6] = proto;
	b[7] = 60;
	memcpy(b + 8, src->b, 16);
	memcpy(b + 24, dst->b, 16);
	return IP6;
}

static void transport_sum(uint8_t *l4, uint32_t len, uint32_t field, uint8_t proto, const struct sc_addr *src,
			  const struct sc_addr *dst)
{
	struct sc_parsed ip = { .src = *src, .dst = *dst, .family = sc_addr_is4(dst) ? 4 : 6 };
	uint32_t sum = proto == SC_PROTO_ICMP ? 0 : sc_sum_pseudo(&ip, proto, len);

	sc_put16(l4 + field, 0);
	sc_put16(l4 + field, (uint16_t)~sc_fold(sc_sum(l4, len, sum)));
}

uint32_t sim_write_tcp(const struct segment *s, uint8_t *b)
{
	struct sc_addr src = sim_client_addr(s->client, s->service), dst = sim_vip(s->service);
	uint32_t options = TIMESTAMP + (s->flags & SC_TCP_SYN ? MSS : 0);
	uint32_t len = TCP_LEN + options + s->len;
	uint32_t ip = write_ip(b, SC_PROTO_TCP, &src, &dst, len);
	uint8_t *t = b + ip, *o = t + TCP_LEN;

	memset(t, 0, len);
	sc_put16(t, s->sport);
	sc_put16(t + 2, SERVICE_PORT);
	sc_put32(t + 4, s->seq);
	sc_put32(t + 8, s->ack);
	t[12] = (uint8_t)((TCP_LEN + options) / 4 << 4);
	t[13] = s->flags;
	sc_put16(t + 14, 65000);
	o[0] = o[1] = 1;
	o[2] = 8;
	o[3] = 10;
	sc_put32(o + 4, s->conn | (s->spoofed ? SPOOFED : 0));
	sc_put32(o + 8, s->serial);
	if (s->flags & SC_TCP_SYN)
		memcpy(o + TIMESTAMP, (const uint8_t[]){ 2, 4, 5, 180 }, MSS);
	transport_sum(t, len, 16, SC_PROTO_TCP, &src, &dst);
	return ip + len;
}

/* A router's "packet too big" about a segment of a backend to its client, quoting quote
 * bytes of its transport. */
uint32_t sim_write_too_big(const struct segment *s, uint16_t mtu, uint32_t quote, uint8_t *b)
{
	struct sc_addr client = sim_client_addr(s->client, s->service), vip = sim_vip(s->service);
	struct sc_addr router = sim_client_addr(0xff0000, s->service);
	bool v4 = s->service == 0;
	uint32_t inner = v4 ? IP4 : IP6, len = ICMP_LEN + inner + quote;
	uint32_t ip = write_ip(b, v4 ? SC_PROTO_ICMP : SC_PROTO_ICMP6, &router, &vip, len);
	uint8_t *m = b + ip, *t = m + ICMP_LEN + inner;

	memset(m, 0, len);
	m[0] = v4 ? 3 : 2;
	m[1] = v4 ? 4 : 0;
	if (v4)
		sc_put16(m + 6, mtu);
	else
		sc_put32(m + 4, mtu);
	write_ip(m + ICMP_LEN, SC_PROTO_TCP, &vip, &client, TCP_LEN + s->len);
	sc_put16(t, SERVICE_PORT);
	sc_put16(t + 2, s->sport);
	sc_put32(t + 4, s->seq);
	if (quote >= TCP_LEN) {
		t[12] = TCP_LEN / 4 << 4;
		t[13] = s->flags;
	}
	transport_sum(m, len, 2, v4 ? SC_PROTO_ICMP : SC_PROTO_ICMP6, &router, &vip);
	return ip + len;
}

/* What a backend's kernel makes of an inner packet. false: nothing. */
bool sim_read(const uint8_t *b, uint32_t len, struct segment *s, bool *too_big)
{
	struct sc_parsed ip;
	const uint8_t *t, *o;
	uint32_t end;

	if (sc_parse(b, len, &ip) != SC_OK)
		return false;
	*s = (struct segment){ .conn = SIM_NOBODY, .backend = -1, .sport = ip.sport };
	s->service = sc_addr_is4(&ip.dst) ? 0 : 1;
	s->client = sc_get32(ip.src.b + 12) - 0xcb000000u;
	*too_big = ip.kind == SC_KIND_ICMP_ERROR;
	if (*too_big)
		return true;
	if (ip.kind != SC_KIND_TCP)
		return false;
	t = b + ip.l4_offset;
	s->seq = sc_get32(t + 4);
	s->ack = sc_get32(t + 8);
	s->flags = t[13];
	s->len = (uint16_t)(ip.total_len - ip.payload_offset);
	end = ip.payload_offset;
	o = t + TCP_LEN;
	if (o + TIMESTAMP > b + end || o[2] != 8)
		return false;
	s->conn = sc_get32(o + 4) & ~(uint32_t)SPOOFED;
	s->spoofed = o[4] & 0x80;
	s->serial = sc_get32(o + 8);
	return true;
}

/* The serial number of the client's packet that this is or carries; 0: a control message,
 * or none of a client. */
uint32_t sim_serial(const uint8_t *b, uint32_t len)
{
	uint32_t ip = b[0] >> 4 == 4 ? IP4 : IP6, gue = ip + SC_UDP_LEN, at = 0;
	struct segment s;
	bool too_big;

	if (b[ip == IP4 ? 9 : 6] == SC_PROTO_UDP) {
		if (len < gue + SC_GUE_LEN || b[gue] & SC_GUE_CONTROL)
			return 0;
		at = gue + SC_GUE_LEN + (b[gue] & 0x1fu) * 4;
	}
	return sim_read(b + at, len - at, &s, &too_big) && !too_big ? s.serial : 0;
}

/* Whether this is GUE without private data, as a backend gets it. */
bool sim_is_plain(const uint8_t *b)
{
	uint32_t ip = b[0] >> 4 == 4 ? IP4 : IP6;

	return b[ip == IP4 ? 9 : 6] == SC_PROTO_UDP && b[ip + SC_UDP_LEN] == 0;
}
