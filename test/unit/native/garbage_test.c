/* Everything that a network can throw at a node: packets of its own fleet and of clients, bent in every way, and noise,
 * into the nodes of a running fleet. Nothing crashes, every packet ends exactly once, nothing forged is taken, what
 * leaves is whole, and the connections that were there live on. */
#include "check.h"
#include "fleet.h"
#include "gue.h"
#include "state.h"

enum {
	CLIENT = 0xcb007101,
	SYN = SC_TCP_SYN,
	ACK = SC_TCP_ACK,
	DNS = 53,
	LIVING = 100,		/* connections that are there all the time */
	CORPUS = 600,
	ROUNDS = 1500,
	PACKET = 1600,		/* room for one */
};

/* Packets to bend: control messages, what nodes sent each other and backends, what clients send. */
enum kind { CONTROL, DATA, CLIENTS, KINDS };
static struct { uint8_t b[PACKET]; uint32_t len; int to; } corpus[KINDS][CORPUS];	/* to: -1: any node */
static unsigned int collected[KINDS];

/* Hashes of what is under the tags of packets that nodes did send. */
static uint64_t genuine[65536];
static uint64_t rnd;

static uint32_t below(uint32_t n)
{
	return (uint32_t)(check_random(&rnd) % n);
}

/* The addresses and what is under the tag of a packet between nodes; 0 when it has no
 * room for that. */
static uint64_t tagged_part(const uint8_t *b, uint32_t len)
{
	uint8_t part[32 + PACKET];
	bool four = b[0] >> 4 == 4;
	uint32_t at = four ? 28 : 48, n, end;

	if (len < at + 24)
		return 0;
	/* What is behind the datagram's own length is nobody's. */
	end = at - 8 + sc_get16(b + at - 4);
	if (end < len)
		len = end;
	if (len < at + 24)
		return 0;
	memset(part, 0, 32);
	memcpy(part, b + (four ? 12 : 8), four ? 8 : 32);
	n = len - at;
	if (!(b[at] & SC_GUE_CONTROL) && n > 20 + SC_TAGGED_INNER)
		n = 20 + SC_TAGGED_INNER;
	memcpy(part + 32, b + at, n);
	return sc_xxh64(part, 32 + n, 1) | 1;
}

static void remember_genuine(uint64_t part)
{
	uint32_t i = (uint32_t)part % 65536;

	while (genuine[i] && genuine[i] != part)
		i = (i + 1) % 65536;
	genuine[i] = part;
}

static bool is_genuine(const uint8_t *b, uint32_t len)
{
	uint64_t part = tagged_part(b, len);
	uint32_t i = (uint32_t)part % 65536;

	while (genuine[i] && genuine[i] != part)
		i = (i + 1) % 65536;
	return part && genuine[i] == part;
}

static void collect(enum kind kind, const uint8_t *b, uint32_t len, int to)
{
	unsigned int i = collected[kind] < CORPUS ? collected[kind]++ : below(CORPUS);

	memcpy(corpus[kind][i].b, b, len);
	corpus[kind][i].len = len;
	corpus[kind][i].to = to;
}

static unsigned int overhear(struct fleet *f, int to, const uint8_t *data, uint32_t len,
			     uint64_t delay_us[FLEET_COPIES])
{
	bool control = data[data[0] >> 4 == 4 ? 28 : 48] & SC_GUE_CONTROL;

	(void)f;
	(void)delay_us;
	remember_genuine(tagged_part(data, len));
	collect(control ? CONTROL : DATA, data, len, to);
	return 1;
}

/* TCP, UDP with and without fragments, both families; in PoP 2 the nodes are the backends. */
static void mixed(const struct fleet *f, struct plan *p, int pop, int self)
{
	(void)pop;
	(void)self;
	p->h.services = 4;
	for (int i = 1; i < 4; i++) {
		p->service[i] = p->service[0];
		if (i & 1)
			p->service[i].vip = ip6(FLEET_VIP);
	}
	for (int i = 2; i < 4; i++) {
		p->service[i].proto = SC_PROTO_UDP;
		p->service[i].port = DNS;
		p->service[i].flags = SC_SERVICE_FRAGMENTS;
	}
	for (int i = 0; i < 2; i++) {
		struct sc_backend_row *b = &p->backend[f->backends_per_pop + i];

		b->deliver = SC_DELIVER_LOCAL;
		b->node = p->node[2 + i].id;
		b->addr = p->node[2 + i].addr;
	}
}

static void collect_clients(void)
{
	static struct draft d, q;

	for (uint16_t port = 1; port <= 6; port++) {
		for (int family = 4; family <= 6; family += 2) {
			draft_client(&d, family, SC_PROTO_TCP, CLIENT + 1, FLEET_VIP, port, 80, (uint8_t)(port * 5), port * 230);
			collect(CLIENTS, d.b, d.len, -1);
			draft_client(&d, family, SC_PROTO_UDP, CLIENT + 1, FLEET_VIP, port, DNS, 0, port * 245);
			collect(CLIENTS, d.b, d.len, -1);
			draft_client(&q, family, SC_PROTO_TCP, FLEET_VIP, CLIENT + 1, 80, port, ACK, 20);
			if (family == 4)
				draft_ip4(&d, SC_PROTO_ICMP, 0x08080808, FLEET_VIP, 0, 0);
			else
				draft_ip6(&d, SC_PROTO_ICMP6, 0x08080808, FLEET_VIP);
			draft_icmp(&d, family == 4 ? 3 : 1, 0);
			memcpy(d.b + d.len, q.b, q.len);
			d.len += q.len;
			draft_done(&d);
			collect(CLIENTS, d.b, d.len, -1);
		}
		draft_ip6(&d, 60, CLIENT + 1, FLEET_VIP);
		draft_extension(&d, 60, 44, port);
		draft_extension(&d, 44, SC_PROTO_UDP, 1);
		draft_udp(&d, port, DNS, 60);
		draft_done(&d);
		collect(CLIENTS, d.b, d.len, -1);
	}
}

/* A packet of the corpus, most often one that is for node i. */
static uint32_t pick(uint8_t *b, int i)
{
	enum kind kind = (enum kind)below(KINDS);
	uint32_t k = below(collected[kind]);

	for (uint32_t left = collected[kind]; left > 0 && below(50); left--) {
		if (corpus[kind][k].to == i || corpus[kind][k].to < 0)
			break;
		k = (k + 1) % collected[kind];
	}
	memcpy(b, corpus[kind][k].b, corpus[kind][k].len);
	return corpus[kind][k].len;
}

/* Bends the packet; returns its new length. */
static uint32_t bend(uint8_t *b, uint32_t len)
{
	static uint8_t other[PACKET];

	static const uint8_t telling[] = { 0, 1, 4, 5, 6, 17, 41, 43, 44, 58, 60, 0x45, 0x60, 0x7f, 0x80, 0xff };
	uint32_t times = 1 + below(4), at, n;

	while (times-- > 0 && len > 0) {
		switch (below(7)) {
		case 0:
			b[below(len)] ^= (uint8_t)(1 << below(8));
			break;
		case 1:
			b[below(len)] = telling[below(sizeof(telling))];
			break;
		case 2:
			b[below(len < 80 ? len : 80)] = (uint8_t)check_random(&rnd);
			break;
		case 3:
			len = below(len + 1);
			break;
		case 4:
			for (n = below(40); n > 0 && len < PACKET; n--)
				b[len++] = (uint8_t)check_random(&rnd);
			break;
		case 5:		/* another's tail */
			n = pick(other, -1);
			at = below(len < n ? len : n);
			memcpy(b + at, other + at, n - at);
			len = n;
			break;
		default:	/* a piece moved */
			at = below(len);
			n = below(len - at + 1);
			memmove(b + below(len - n + 1), b + at, n);
			break;
		}
	}
	return len;
}

/* Makes lengths and the header checksum fit, so that what is inside is looked at. */
static void mend(uint8_t *b, uint32_t len)
{
	if (len >= 28 && b[0] >> 4 == 4) {
		b[0] = 0x45;
		sc_put16(b + 2, (uint16_t)len);
		fix_ip4(b);
		if (b[9] == SC_PROTO_UDP)
			sc_put16(b + 24, (uint16_t)(len - 20));
	} else if (len >= 48 && b[0] >> 4 == 6) {
		sc_put16(b + 4, (uint16_t)(len - 40));
		if (b[6] == SC_PROTO_UDP)
			sc_put16(b + 44, (uint16_t)(len - 40));
	}
}

static uint32_t throw(uint8_t *b, int i)
{
	uint32_t len = pick(b, i);

	if (below(20) == 0) {
		len = below(200);
		for (uint32_t k = 0; k < len; k++)
			b[k] = (uint8_t)check_random(&rnd);
		return len;
	}
	if (below(30))		/* else it is a mere repetition */
		len = bend(b, len);
	if (below(3) > 0)
		mend(b, len);
	return len;
}

static uint64_t taken_of(const struct fleet *f, int i)
{
	const uint64_t *c = f->counters[i];

	return c[SC_C_consumed] + c[SC_C_forward_received] + c[SC_C_ask_received] + c[SC_DROP_relay_unsupported] +
	       c[SC_C_hello_received] + c[SC_C_owner_received] + c[SC_C_publish_flows_received];
}

static void check_whole(const struct fleet *f, const struct sc_packet *p)
{
	struct sc_parsed ip;

	CHECK(p->len > 0 && exact_parse(p->data, p->len, &ip) == SC_OK);
	if (p->egress == SC_EGRESS_WIRE)
		CHECK(p->len <= 1500);
	if (p->egress == SC_EGRESS_WIRE && ip.family == 6)
		CHECK(naive_transport_good(p->data, p->len, ip.l4_offset, p->data[6]));
	(void)f;
}

/* One burst into node i; what it sends to other nodes is lost. */
static void throw_burst(struct fleet *f, int i)
{
	static uint8_t b[PACKET + 64];
	struct exact e[SC_BURST_MAX];
	struct sc_packet burst[SC_BURST_MAX];
	struct sc_out *out = malloc(sizeof(*out));
	unsigned int n = below(4) ? 1 : 1 + below(SC_BURST_MAX), forged = 0;
	uint64_t taken = taken_of(f, i);

	for (unsigned int k = 0; k < n; k++) {
		uint32_t len = throw(b, i);

		forged += !is_genuine(b, len);
		e[k] = exact_copy(b, len);
		burst[k] = e[k].p;
	}
	f->handed[i] += n;
	sc_forward(f->node[i], burst, n, f->now_us, out);
	CHECK(out->n <= SC_OUT_MAX);
	for (unsigned int k = 0; k < out->n; k++)
		check_whole(f, &out->p[k]);
	CHECK_EQ(fleet_unaccounted(f, i), 0);
	if (forged == n)
		CHECK_EQ(taken_of(f, i), taken);
	for (unsigned int k = 0; k < n; k++)
		exact_free(&e[k]);
	free(out);
}

/* What left for a backend last, as plain GUE to a node of the same PoP. */
static void retarget(const struct fleet *f)
{
	uint8_t b[PACKET];
	bool four = f->last[0] >> 4 == 4;
	uint32_t at = four ? 16 : 36, ip = sc_get32(f->last + at);

	if (f->last_len > PACKET || ip >> 24 != 10)
		return;
	memcpy(b, f->last, f->last_len);
	sc_put32(b + at, (ip & 0xffff0000) | (1 + below(2)));
	if (four)
		fix_ip4(b);
	collect(DATA, b, f->last_len, -1);
}

static void throw_everything(uint64_t seed, bool outer6)
{
	struct fleet f;
	uint32_t at[LIVING];

	rnd = seed;
	memset(collected, 0, sizeof(collected));
	memset(genuine, 0, sizeof(genuine));
	collect_clients();
	fleet_shape(&f, 2, 2, 2);
	f.ip6 = outer6;
	f.change = mixed;
	f.fate = overhear;
	fleet_begin(&f, 8192);
	fleet_run(&f, 5 * SC_S);
	for (uint16_t port = 0; port < LIVING; port++) {
		at[port] = fleet_client(&f, 1, 1 + port % 2, CLIENT, port, SYN, 0);
		REQUIRE(at[port] != 0);
		fleet_client(&f, 1, 2 - port % 2, CLIENT, port, ACK, 0);
		fleet_run(&f, 6 * SC_MS);
		fleet_client(&f, 2, 1 + port % 2, CLIENT, port, ACK, 40);
	}
	for (uint16_t round = 0; round < ROUNDS; round++) {
		for (int k = 0; k < 8; k++)
			throw_burst(&f, (int)below(4));
		fleet_client(&f, 1 + (int)below(2), 1 + (int)below(2), CLIENT + 2, round, SYN, 0);
		retarget(&f);
		fleet_run(&f, 10 * SC_MS);
		fleet_client(&f, 1 + (int)below(2), 1 + (int)below(2), CLIENT + 2, round, ACK, 1460);
	}
	fleet_run(&f, SC_S);
	for (int i = 0; i < 4; i++) {
		CHECK_EQ(fleet_unaccounted(&f, i), 0);
		for (int k = 0; k < 4; k++)
			if (k != i)
				CHECK(f.node[i]->peers[k].alive && sc_publication_complete(&f.node[i]->peers[k].pub));
		for (int s = 1; s < SC_FLOW_STATES; s++)
			CHECK(f.node[i]->table.count[s] <= 8192);
	}
	for (uint16_t port = 0; port < LIVING; port++)
		for (int i = 0; i < 4; i++)
			CHECK_EQ(fleet_client(&f, 1 + i / 2, 1 + i % 2, CLIENT, port, ACK, 10), at[port]);
	fleet_stop(&f);
}

TEST("nothing thrown at nodes with IPv4 between them crashes one, is lost unaccounted, or is taken if forged")
{
	throw_everything(check_seed(), false);
}

TEST("nothing thrown at nodes with IPv6 between them crashes one, is lost unaccounted, or is taken if forged")
{
	throw_everything(check_seed(), true);
}

CHECK_MAIN
