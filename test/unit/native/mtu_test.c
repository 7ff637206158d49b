/* Packets that do not fit the path once they are wrapped: cut, fragmented or answered, for both families inside and
 * outside. */
#include "check.h"
#include "fleet.h"
#include "wire.h"

enum {
	CLIENT = 0xcb007101,
	SYN = SC_TCP_SYN,
	ACK = SC_TCP_ACK,
	OUTER4 = 32,		/* to a backend */
	OUTER6 = 52,
	DNS = 53,
};

static struct draft d;

/* The VIP in both families, TCP 80 and UDP 53, which expects fragments. */
static void both_families(const struct fleet *f, struct plan *p, int pop, int self)
{
	(void)f;
	(void)pop;
	(void)self;
	p->h.services = 4;
	for (int i = 1; i < 4; i++)
		p->service[i] = p->service[0];
	p->service[1].vip = ip6(FLEET_VIP);
	p->service[2].proto = p->service[3].proto = SC_PROTO_UDP;
	p->service[2].port = p->service[3].port = DNS;
	p->service[2].flags = p->service[3].flags = SC_SERVICE_FRAGMENTS;
	p->service[3].vip = ip6(FLEET_VIP);
}

static void start(struct fleet *f, bool outer6)
{
	fleet_shape(f, 1, 1, 1);
	f->ip6 = outer6;
	f->change = both_families;
	fleet_begin(f, 64);
	fleet_run(f, 2 * SC_MS);
}

/* The packets that left for a backend during one call, without their outer headers. */
static struct { uint8_t b[SC_PACKET_MAX]; uint32_t len; } part[16];
static unsigned int parts;

static int send_draft(struct fleet *f)
{
	struct exact e = exact_copy(d.b, d.len);
	struct sc_out *out = malloc(sizeof(*out));
	uint64_t before[SC_DROP_COUNT];
	int reason = SC_OK;

	memcpy(before, f->counters[0], sizeof(before));
	parts = 0;
	f->answers = 0;
	f->handed[0]++;
	sc_forward(f->node[0], &e.p, 1, f->now_us, out);
	for (unsigned int i = 0; i < out->n; i++) {
		struct sc_packet *p = &out->p[i];
		uint32_t outer = f->ip6 ? OUTER6 : OUTER4;

		CHECK(p->len <= 1500);
		if (sc_get32(p->data + (f->ip6 ? 36 : 16)) == fleet_backend_ip(1, 1) && parts < 16) {
			if (f->ip6)
				CHECK(naive_transport_good(p->data, p->len, 40, 17));
			else
				CHECK_EQ(naive_sum(p->data, 20, 0), 0xffff);
			part[parts].len = p->len - outer;
			memcpy(part[parts++].b, p->data + outer, p->len - outer);
		}
	}
	fleet_carry(f, out);
	for (int r = 0; r < SC_DROP_COUNT; r++)
		if (f->counters[0][r] != before[r])
			reason = r;
	free(out);
	exact_free(&e);
	CHECK_EQ(fleet_unaccounted(f, 0), 0);
	return reason;
}

static void client(int family, uint8_t proto, uint8_t flags, uint32_t len)
{
	uint32_t headers = (family == 4 ? 20 : 40) + (proto == SC_PROTO_TCP ? 20 : 8);

	draft_client(&d, family, proto, CLIENT, FLEET_VIP, 7, proto == SC_PROTO_TCP ? 80 : DNS, flags,
		     len - headers);
}

TEST("a TCP segment that just fits is sent whole, one byte more is cut in two, whatever the families")
{
	for (int outer6 = 0; outer6 < 2; outer6++) {
		for (int family = 4; family <= 6; family += 2) {
			uint32_t room = 1500 - (outer6 ? OUTER6 : OUTER4), headers = family == 4 ? 40 : 60;
			struct fleet f;

			start(&f, outer6);
			client(family, SC_PROTO_TCP, SYN, headers);
			CHECK_EQ(send_draft(&f), SC_OK);
			client(family, SC_PROTO_TCP, ACK, room);
			CHECK_EQ(send_draft(&f), SC_OK);
			CHECK_EQ(parts, 1);
			CHECK_EQ(part[0].len, room);
			CHECK_MEM(part[0].b, d.b, d.len);
			CHECK_EQ(f.counters[0][SC_C_segments_cut], 0);
			client(family, SC_PROTO_TCP, ACK | SC_TCP_PSH | SC_TCP_FIN, room + 1);
			CHECK_EQ(send_draft(&f), SC_OK);
			REQUIRE(parts == 2);
			CHECK_EQ(f.counters[0][SC_C_segments_cut], 1);
			CHECK_EQ(f.counters[0][SC_C_delivered_gue], 3);
			CHECK_EQ(part[0].len, room);
			CHECK_EQ(part[1].len, headers + 1);
			for (unsigned int i = 0; i < 2; i++) {
				CHECK(naive_transport_good(part[i].b, part[i].len, headers - 20, 6));
				CHECK_MEM(part[i].b + headers, d.b + headers + i * (room - headers), part[i].len - headers);
				CHECK_EQ(sc_get32(part[i].b + headers - 16), 1000 + i * (room - headers));
				CHECK_EQ(part[i].b[headers - 7], i ? ACK | SC_TCP_PSH | SC_TCP_FIN : ACK);
			}
			fleet_stop(&f);
		}
	}
}

TEST("the largest packet handled is cut into as many segments as it takes")
{
	struct fleet f;
	uint32_t room = 1500 - OUTER4, got = 0;

	start(&f, false);
	client(4, SC_PROTO_TCP, SYN, 40);
	send_draft(&f);
	client(4, SC_PROTO_TCP, ACK, SC_PACKET_MAX);
	CHECK_EQ(send_draft(&f), SC_OK);
	CHECK_EQ(parts, (SC_PACKET_MAX - 40 + room - 41) / (room - 40));
	for (unsigned int i = 0; i < parts; i++) {
		CHECK_MEM(part[i].b + 40, d.b + 40 + got, part[i].len - 40);
		got += part[i].len - 40;
	}
	CHECK_EQ(got, SC_PACKET_MAX - 40);
	fleet_stop(&f);
}

TEST("a segment with a wrong checksum that would need cutting is dropped, one that fits passes as it is")
{
	for (int family = 4; family <= 6; family += 2) {
		struct fleet f;

		start(&f, false);
		client(family, SC_PROTO_TCP, SYN, 60);
		send_draft(&f);
		client(family, SC_PROTO_TCP, ACK, 1469);
		d.b[d.len - 1] ^= 1;
		CHECK_EQ(send_draft(&f), SC_DROP_bad_checksum);
		CHECK_EQ(parts, 0);
		client(family, SC_PROTO_TCP, ACK, 1468);
		d.b[d.len - 1] ^= 1;
		CHECK_EQ(send_draft(&f), SC_OK);
		CHECK_MEM(part[0].b, d.b, d.len);
		fleet_stop(&f);
	}
}

TEST("a SYN that carries more than fits is answered, for it cannot be cut")
{
	struct fleet f;

	start(&f, false);
	client(4, SC_PROTO_TCP, SYN, 1469);
	CHECK_EQ(send_draft(&f), SC_DROP_too_big);
	CHECK_EQ(f.answers, 1);
	CHECK_EQ(parts, 0);
	fleet_stop(&f);
}

TEST("a segment is cut on its way to the home as well, and arrives whole")
{
	struct fleet f;
	uint64_t deliveries;

	fleet_start(&f, 2, 2, 1, 256);
	fleet_run(&f, 5 * SC_S);
	for (uint16_t port = 0; port < 20; port++)
		fleet_client(&f, 1, 1, CLIENT, port, SYN, 0);
	fleet_run(&f, 10 * SC_MS);
	for (int n = 1; n <= 2; n++) {
		for (uint16_t port = 0; port < 20; port++) {
			deliveries = f.deliveries;
			CHECK(fleet_client(&f, 2, n, CLIENT, port, ACK, 1460) != 0);
			CHECK(f.deliveries == deliveries + 2 || f.deliveries == deliveries + 3);
			deliveries = f.deliveries;
			CHECK(fleet_client(&f, 2, n, CLIENT, port, ACK, 1400) != 0);
			CHECK_EQ(f.deliveries, deliveries + 1);
		}
	}
	for (int i = 0; i < f.n; i++)
		CHECK_EQ(fleet_unaccounted(&f, i), 0);
	fleet_stop(&f);
}

TEST("a UDP packet that may not be fragmented is answered with fragmentation needed, from the VIP")
{
	struct fleet f;

	start(&f, false);
	client(4, SC_PROTO_UDP, 0, 1469);
	CHECK_EQ(send_draft(&f), SC_DROP_too_big);
	CHECK_EQ(parts, 0);
	REQUIRE(f.answers == 1);
	CHECK_EQ(f.counters[0][SC_C_too_big_sent], 1);
	CHECK_EQ(f.last_len, 576);
	CHECK_EQ(f.last[0], 0x45);
	CHECK_EQ(naive_sum(f.last, 20, 0), 0xffff);
	CHECK_EQ(f.last[9], 1);
	CHECK_EQ(sc_get32(f.last + 12), FLEET_VIP);
	CHECK_EQ(sc_get32(f.last + 16), CLIENT);
	CHECK_EQ(sc_get16(f.last + 20), 0x0304);
	CHECK_EQ(sc_get16(f.last + 26), 1468);
	CHECK_EQ(naive_sum(f.last + 20, f.last_len - 20, 0), 0xffff);
	CHECK_MEM(f.last + 28, d.b, 548);
	client(4, SC_PROTO_UDP, 0, 1468);
	CHECK_EQ(send_draft(&f), SC_OK);
	fleet_stop(&f);
}

TEST("an IPv6 UDP packet that does not fit is answered with packet too big, from the VIP")
{
	for (int outer6 = 0; outer6 < 2; outer6++) {
		uint32_t room = 1500 - (outer6 ? OUTER6 : OUTER4);
		struct sc_addr vip = ip6(FLEET_VIP), to = ip6(CLIENT);
		struct fleet f;

		start(&f, outer6);
		client(6, SC_PROTO_UDP, 0, room);
		CHECK_EQ(send_draft(&f), SC_OK);
		client(6, SC_PROTO_UDP, 0, room + 1);
		CHECK_EQ(send_draft(&f), SC_DROP_too_big);
		REQUIRE(f.answers == 1);
		CHECK_EQ(f.last_len, 1280);
		CHECK_EQ(f.last[6], 58);
		CHECK_MEM(f.last + 8, vip.b, 16);
		CHECK_MEM(f.last + 24, to.b, 16);
		CHECK_EQ(sc_get16(f.last + 40), 0x0200);
		CHECK_EQ(sc_get32(f.last + 44), room);
		CHECK(naive_transport_good(f.last, f.last_len, 40, 58));
		CHECK_MEM(f.last + 48, d.b, 1232);
		fleet_stop(&f);
	}
}

TEST("packet-too-big answers are limited to a hundred a second")
{
	struct fleet f;

	start(&f, false);
	for (int i = 0; i < 3 * SC_ICMP_PER_S; i++) {
		client(4, SC_PROTO_UDP, 0, 1469);
		CHECK_EQ(send_draft(&f), SC_DROP_too_big);
	}
	CHECK_EQ(f.counters[0][SC_C_too_big_sent], SC_ICMP_PER_S);
	fleet_run(&f, SC_S);
	client(4, SC_PROTO_UDP, 0, 1469);
	send_draft(&f);
	CHECK_EQ(f.counters[0][SC_C_too_big_sent], SC_ICMP_PER_S + 1);
	fleet_stop(&f);
}

/* Puts the parts together by their offsets; returns the payload's length, 0 when a byte
 * is missing or twice. */
static uint32_t reassemble(uint8_t *payload)
{
	static uint8_t have[SC_PACKET_MAX];
	uint32_t end = 0, got = 0;

	memset(have, 0, sizeof(have));
	for (unsigned int i = 0; i < parts; i++) {
		uint32_t header = (part[i].b[0] & 15u) * 4, field = sc_get16(part[i].b + 6);
		uint32_t at = (field & 0x1fff) * 8, n = part[i].len - header;

		CHECK_EQ(naive_sum(part[i].b, header, 0), 0xffff);
		CHECK_EQ(sc_get16(part[i].b + 2), part[i].len);
		for (uint32_t k = 0; k < n; k++)
			got += !have[at + k]++;
		memcpy(payload + at, part[i].b + header, n);
		if (field & 0x2000)
			CHECK_EQ(n % 8, 0);
		else
			end = at + n;
		if (at + n > end && !(field & 0x2000))
			return 0;
	}
	return got == end ? end : 0;
}

TEST("a UDP packet that may be fragmented arrives in fragments that reassemble to it")
{
	static uint8_t payload[SC_PACKET_MAX];

	for (int outer6 = 0; outer6 < 2; outer6++) {
		for (uint32_t options = 0; options <= 40; options += 20) {
			for (uint32_t n = 1400; n < 9000; n += 331) {
				struct fleet f;

				start(&f, outer6);
				draft_ip4(&d, SC_PROTO_UDP, CLIENT, FLEET_VIP, options, 0);
				sc_put16(d.b + 4, 0xbeef);
				draft_udp(&d, 7, DNS, n);
				draft_done(&d);
				CHECK_EQ(send_draft(&f), SC_OK);
				CHECK_EQ(f.counters[0][SC_C_delivered_gue], 1);
				REQUIRE(reassemble(payload) == n + 8);
				CHECK_MEM(payload, d.b + 20 + options, n + 8);
				for (unsigned int i = 0; i < parts; i++) {
					CHECK_EQ(sc_get16(part[i].b + 4), 0xbeef);
					CHECK_MEM(part[i].b + 8, d.b + 8, 2);
					CHECK_MEM(part[i].b + 12, d.b + 12, 8 + options);
				}
				fleet_stop(&f);
			}
		}
	}
}

TEST("a fragment that does not fit is fragmented again, at its place")
{
	struct fleet f;

	start(&f, false);
	for (int more = 0; more < 2; more++) {
		draft_ip4(&d, SC_PROTO_UDP, CLIENT, FLEET_VIP, 0, (uint16_t)(100 | more << 13));
		draft_payload(&d, 2400);
		d.proto = 0xff;
		draft_done(&d);
		CHECK_EQ(send_draft(&f), SC_OK);
		REQUIRE(parts == 2);
		CHECK_EQ(sc_get16(part[0].b + 6), 0x2000 | 100);
		CHECK_EQ(sc_get16(part[1].b + 6), (uint32_t)more << 13 | (100 + (part[0].len - 20) / 8));
		CHECK_EQ(part[0].len + part[1].len, 2400 + 40);
	}
	fleet_stop(&f);
}

TEST("ICMP errors and later IPv6 fragments that do not fit are dropped without an answer")
{
	struct fleet f;
	struct draft *q = malloc(sizeof(*q));

	start(&f, false);
	draft_client(q, 4, SC_PROTO_UDP, FLEET_VIP, CLIENT, DNS, 7, 0, 1500);
	draft_ip4(&d, SC_PROTO_ICMP, 0x08080808, FLEET_VIP, 0, 0x4000);
	draft_icmp(&d, 3, 3);
	memcpy(d.b + d.len, q->b, 1450);
	d.len += 1450;
	draft_done(&d);
	CHECK_EQ(send_draft(&f), SC_DROP_too_big);
	CHECK_EQ(f.answers, 0);
	draft_ip6(&d, 44, CLIENT, FLEET_VIP);
	draft_extension(&d, 44, SC_PROTO_UDP, 1);
	sc_put16(d.b + 42, 800);
	draft_payload(&d, 1450);
	d.proto = 0xff;
	draft_done(&d);
	CHECK_EQ(send_draft(&f), SC_DROP_too_big);
	CHECK_EQ(f.answers, 0);
	free(q);
	fleet_stop(&f);
}

static void with_small_path(const struct fleet *f, struct plan *p, int pop, int self)
{
	both_families(f, p, pop, self);
	p->h.mtu = SC_MIN_MTU;
}

TEST("on the smallest path allowed everything is still cut, fragmented or answered")
{
	for (int outer6 = 0; outer6 < 2; outer6++) {
		for (uint32_t len = 500; len < 3000; len += 13) {
			struct fleet f;

			fleet_shape(&f, 1, 1, 1);
			f.ip6 = outer6;
			f.change = with_small_path;
			fleet_begin(&f, 64);
			client(4, SC_PROTO_TCP, SYN, 40);
			send_draft(&f);
			client(4, SC_PROTO_TCP, ACK, len);
			CHECK_EQ(send_draft(&f), SC_OK);
			for (unsigned int i = 0; i < parts; i++)
				CHECK(part[i].len <= SC_MIN_MTU - (outer6 ? OUTER6 : OUTER4));
			client(6, SC_PROTO_UDP, 0, len);
			CHECK_EQ(send_draft(&f), len <= SC_MIN_MTU - (outer6 ? OUTER6 : OUTER4) ? SC_OK : SC_DROP_too_big);
			if (f.answers)
				CHECK_EQ(sc_get32(f.last + 44), 1280);
			fleet_stop(&f);
		}
	}
}

TEST("a burst of packets that all need cutting ends in deliveries and counted drops, never in less")
{
	struct fleet f;
	struct sc_packet burst[SC_BURST_MAX];
	struct exact e[SC_BURST_MAX];
	struct sc_out *out = malloc(sizeof(*out));

	start(&f, false);
	client(4, SC_PROTO_TCP, SYN, 40);
	send_draft(&f);
	client(4, SC_PROTO_TCP, ACK, SC_PACKET_MAX);
	for (int i = 0; i < SC_BURST_MAX; i++) {
		e[i] = exact_copy(d.b, d.len);
		burst[i] = e[i].p;
	}
	f.handed[0] += SC_BURST_MAX;
	sc_forward(f.node[0], burst, SC_BURST_MAX, f.now_us, out);
	CHECK(out->n <= SC_OUT_MAX);
	CHECK(f.counters[0][SC_DROP_no_buffer] > 0);
	CHECK_EQ(fleet_unaccounted(&f, 0), 0);
	for (int i = 0; i < SC_BURST_MAX; i++)
		exact_free(&e[i]);
	free(out);
	fleet_stop(&f);
}

CHECK_MAIN
