/* The backend side: what comes out of GUE, and what does not. */
#include "check.h"
#include "fleet.h"

enum { CLIENT = 0xcb007101, BACKEND = 0x0a010101 };

static struct draft inner, d;
static uint64_t counters[SC_COUNTER_COUNT];

/* A backend's generation names no node as itself. */
static void backend_side(const struct fleet *f, struct plan *p, int pop, int self)
{
	(void)f;
	(void)pop;
	(void)self;
	p->h.self = 0;
	p->h.services = 2;
	p->service[1] = p->service[0];
	p->service[1].vip = ip6(FLEET_VIP);
}

static struct sc_generation *generation(bool outer6)
{
	struct fleet f;
	struct sc_generation *g = NULL;
	const char *why;
	size_t len;
	uint8_t *blob;

	fleet_shape(&f, 2, 2, 1);
	f.ip6 = outer6;
	f.change = backend_side;
	blob = fleet_blob(&f, 1, 1, &len);
	CHECK_EQ(sc_generation_load(blob, len, &g, &why), 0);
	free(blob);
	return g;
}

/* GUE with hlen words of private data around inner. */
static void wrap(bool outer6, uint32_t from, uint32_t to, uint8_t proto, uint32_t hlen)
{
	uint32_t at;

	if (outer6)
		draft_ip6(&d, SC_PROTO_UDP, from, to);
	else
		draft_ip4(&d, SC_PROTO_UDP, from, to, 0, 0);
	draft_udp(&d, 0xc123, 6080, 4 + hlen * 4 + inner.len);
	at = d.l4 + 8;
	memset(d.b + at, 0, 4 + hlen * 4);
	d.b[at] = (uint8_t)hlen;
	d.b[at + 1] = proto;
	memcpy(d.b + at + 4 + hlen * 4, inner.b, inner.len);
	draft_done(&d);
}

/* SC_OK: the packet came out as inner. */
static int receive_at(const struct sc_generation *g, bool outer6)
{
	struct sc_addr self = outer6 ? ip6(BACKEND) : ip4(BACKEND);
	struct exact e = exact_copy(d.b, d.len);
	struct sc_out *out = malloc(sizeof(*out));
	int reason = SC_OK;

	memset(counters, 0, sizeof(counters));
	sc_backend_receive(g, &self, 1, &e.p, 1, counters, out);
	for (int r = 0; r < SC_DROP_COUNT; r++)
		if (counters[r])
			reason = r;
	CHECK_EQ(out->n, reason == SC_OK);
	CHECK_EQ(counters[SC_C_delivered_local], reason == SC_OK);
	if (out->n == 1) {
		CHECK_EQ(out->p[0].egress, SC_EGRESS_LOCAL);
		CHECK_EQ(out->p[0].len, inner.len);
		CHECK_MEM(out->p[0].data, inner.b, inner.len);
	}
	free(out);
	exact_free(&e);
	return reason;
}

TEST("what a node of its PoP sent comes out as the client sent it, for every family inside and outside")
{
	for (int outer6 = 0; outer6 < 2; outer6++) {
		struct sc_generation *g = generation(outer6);

		for (int family = 4; family <= 6; family += 2) {
			draft_client(&inner, family, SC_PROTO_TCP, CLIENT, FLEET_VIP, 1, 80, SC_TCP_ACK, 77);
			for (uint32_t hlen = 0; hlen < 32; hlen++) {
				wrap(outer6, fleet_node_ip(1, 1 + hlen % 2), BACKEND, family == 4 ? 4 : 41, hlen);
				CHECK_EQ(receive_at(g, outer6), SC_OK);
			}
		}
		sc_generation_free(g);
	}
}

TEST("another PoP's node, a stranger and a packet for another machine are refused")
{
	struct sc_generation *g = generation(false);

	draft_client(&inner, 4, SC_PROTO_TCP, CLIENT, FLEET_VIP, 1, 80, SC_TCP_ACK, 0);
	wrap(false, fleet_node_ip(2, 1), BACKEND, 4, 0);
	CHECK_EQ(receive_at(g, false), SC_DROP_not_a_peer);
	wrap(false, CLIENT, BACKEND, 4, 0);
	CHECK_EQ(receive_at(g, false), SC_DROP_not_a_peer);
	wrap(false, fleet_node_ip(1, 1), BACKEND + 1, 4, 0);
	CHECK_EQ(receive_at(g, false), SC_DROP_not_ours);
	wrap(false, fleet_node_ip(1, 1), BACKEND, 4, 0);
	sc_put16(d.b + 22, 6081);
	CHECK_EQ(receive_at(g, false), SC_DROP_not_ours);
	sc_generation_free(g);
}

TEST("GUE that is not what the page says is refused in the page's order")
{
	struct sc_generation *g = generation(false);
	uint8_t *gue = d.b + 28;

	draft_client(&inner, 4, SC_PROTO_TCP, CLIENT, FLEET_VIP, 1, 80, SC_TCP_ACK, 0);
	for (uint32_t len = 0; len < 4; len++) {
		wrap(false, fleet_node_ip(1, 1), BACKEND, 4, 0);
		d.len = 28 + len;
		sc_put16(d.b + 24, (uint16_t)(8 + len));
		draft_done(&d);
		CHECK_EQ(receive_at(g, false), SC_DROP_gue_bad_length);
	}
	wrap(false, fleet_node_ip(1, 1), BACKEND, 4, 0);
	gue[0] = 0x40;
	CHECK_EQ(receive_at(g, false), SC_DROP_gue_bad_variant);
	gue[0] = 31;
	CHECK_EQ(receive_at(g, false), SC_DROP_gue_bad_length);
	gue[0] = 0x20;
	sc_put16(gue + 2, 1);
	CHECK_EQ(receive_at(g, false), SC_DROP_gue_flags);
	sc_put16(gue + 2, 0);
	CHECK_EQ(receive_at(g, false), SC_DROP_gue_bad_ctype);
	gue[0] = 0;
	for (int proto = 0; proto < 256; proto++) {
		gue[1] = (uint8_t)proto;
		CHECK_EQ(receive_at(g, false), proto == 4 ? SC_OK : SC_DROP_gue_bad_proto);
	}
	sc_generation_free(g);
}

TEST("an inner packet that is cut anywhere, or not to a VIP, is refused")
{
	struct sc_generation *g = generation(false);
	uint32_t whole;

	draft_client(&inner, 4, SC_PROTO_TCP, CLIENT, FLEET_VIP, 1, 80, SC_TCP_ACK, 5);
	whole = inner.len;
	for (uint32_t len = 0; len < whole; len++) {
		inner.len = len;
		wrap(false, fleet_node_ip(1, 1), BACKEND, 4, 0);
		CHECK_EQ(receive_at(g, false), len ? SC_DROP_truncated : SC_DROP_gue_bad_proto);
	}
	draft_client(&inner, 4, SC_PROTO_TCP, CLIENT, BACKEND, 1, 22, SC_TCP_SYN, 0);
	wrap(false, fleet_node_ip(1, 1), BACKEND, 4, 0);
	CHECK_EQ(receive_at(g, false), SC_DROP_no_service);
	sc_generation_free(g);
}

TEST("a fragment of the client's comes out too: its kernel reassembles")
{
	struct sc_generation *g = generation(false);

	draft_ip4(&inner, SC_PROTO_UDP, CLIENT, FLEET_VIP, 0, 100);
	draft_payload(&inner, 64);
	inner.proto = 0xff;
	draft_done(&inner);
	wrap(false, fleet_node_ip(1, 1), BACKEND, 4, 0);
	CHECK_EQ(receive_at(g, false), SC_OK);
	sc_generation_free(g);
}

CHECK_MAIN
