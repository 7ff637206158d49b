/* GUE on and off the wire: outer headers of both families, private data, tags and keys, and who may send what. */
#include "check.h"
#include "fleet.h"
#include "private.h"

enum { CLIENT = 0xcb007101, SYN = SC_TCP_SYN, ACK = SC_TCP_ACK, GUE4 = 28, GUE6 = 48 };

/* The last packet between nodes that the hook saw, and how many. */
static uint8_t seen[SC_PACKET_MAX];
static uint32_t seen_len;
static int seen_to;
static unsigned int seen_count;
static uint8_t wanted_verb;	/* 0: whatever is not a control message */

static unsigned int watch(struct fleet *f, int to, const uint8_t *data, uint32_t len,
			  uint64_t delay_us[FLEET_COPIES])
{
	uint32_t at = data[0] >> 4 == 4 ? GUE4 : GUE6;
	uint8_t verb = data[at + SC_GUE_LEN] & 15;

	(void)f;
	(void)delay_us;
	if (wanted_verb ? verb != wanted_verb : data[at] & SC_GUE_CONTROL)
		return 1;
	memcpy(seen, data, len);
	seen_len = len;
	seen_to = to;
	seen_count++;
	return 1;
}

static void watch_for(struct fleet *f, uint8_t verb)
{
	f->fate = watch;
	wanted_verb = verb;
	seen_count = 0;
}

/* Gives node i of the fleet the packet seen, changed; returns which drop it ended in. */
static int drop_of(struct fleet *f, int i, const uint8_t *data, uint32_t len)
{
	uint64_t before[SC_DROP_COUNT];
	int found = SC_OK;

	memcpy(before, f->counters[i], sizeof(before));
	fleet_hand(f, i, data, len);
	for (int r = 0; r < SC_DROP_COUNT; r++)
		if (f->counters[i][r] != before[r])
			found = r;
	return found;
}

/* With the outer headers' lengths and checksums made to fit again. */
static int drop_of_fixed(struct fleet *f, int i, uint8_t *data, uint32_t len)
{
	if (data[0] >> 4 == 4) {
		sc_put16(data + 2, (uint16_t)len);
		fix_ip4(data);
		sc_put16(data + 24, (uint16_t)(len - 20));
	} else {
		sc_put16(data + 4, (uint16_t)(len - 40));
		sc_put16(data + 44, (uint16_t)(len - 40));
	}
	return drop_of(f, i, data, len);
}

/* A fleet of two PoPs in which PoP 2's node forwards port 1's packets to PoP 1's. */
static void forwarding(struct fleet *f, bool outer6)
{
	fleet_shape(f, 2, 1, 2);
	f->ip6 = outer6;
	fleet_begin(f, 256);
	fleet_run(f, 5 * SC_S);
	fleet_client(f, 1, 1, CLIENT, 1, SYN, 0);
	fleet_run(f, 10 * SC_MS);
	watch_for(f, 0);
}

static uint64_t flow_drops(const struct fleet *f)
{
	uint64_t n = 0;

	for (int i = 0; i < f->n; i++)
		n += f->counters[i][SC_C_forward_received];
	return n;
}

TEST("a packet to a backend is GUE over UDP over IPv4, byte for byte as the page says")
{
	struct fleet f;
	uint8_t inner[200];
	uint32_t len = client_tcp(inner, CLIENT, 1, SYN, 0);
	uint64_t flow = fleet_flow(CLIENT, 1);

	fleet_start(&f, 1, 1, 1, 64);
	inner[1] = 0xb9;	/* DSCP 46, ECN 1 */
	fix_ip4(inner);
	CHECK_EQ(fleet_arrive(&f, 1, 1, inner, len), fleet_backend_ip(1, 1));
	REQUIRE(f.last_len == len + 32);
	CHECK_EQ(f.last[0], 0x45);
	CHECK_EQ(f.last[1], 0xb8);
	CHECK_EQ(sc_get16(f.last + 2), len + 32);
	CHECK_EQ(sc_get16(f.last + 6), 0);
	CHECK_EQ(f.last[8], 64);
	CHECK_EQ(f.last[9], 17);
	CHECK_EQ(naive_sum(f.last, 20, 0), 0xffff);
	CHECK_EQ(sc_get32(f.last + 12), fleet_node_ip(1, 1));
	CHECK_EQ(sc_get32(f.last + 16), fleet_backend_ip(1, 1));
	CHECK_EQ(sc_get16(f.last + 20), 0xc000 | (flow & 0x3fff));
	CHECK_EQ(sc_get16(f.last + 22), 6080);
	CHECK_EQ(sc_get16(f.last + 24), len + 12);
	CHECK_EQ(sc_get16(f.last + 26), 0);
	CHECK_EQ(sc_get32(f.last + 28), 0x00040000);
	CHECK_MEM(f.last + 32, inner, len);
	fleet_stop(&f);
}

TEST("over IPv6 the outer UDP checksum is real and the traffic class carries the DSCP")
{
	struct fleet f;
	uint8_t inner[200];
	uint32_t len = client_tcp(inner, CLIENT, 1, SYN, 33);
	struct sc_addr from = ip6(fleet_node_ip(1, 1)), to = ip6(fleet_backend_ip(1, 1));

	fleet_shape(&f, 1, 1, 1);
	f.ip6 = true;
	fleet_begin(&f, 64);
	inner[1] = 0xbb;
	fix_ip4(inner);
	CHECK_EQ(fleet_arrive(&f, 1, 1, inner, len), fleet_backend_ip(1, 1));
	REQUIRE(f.last_len == len + 52);
	CHECK_EQ(sc_get32(f.last), 0x6b800000);
	CHECK_EQ(sc_get16(f.last + 4), len + 12);
	CHECK_EQ(f.last[6], 17);
	CHECK_EQ(f.last[7], 64);
	CHECK_MEM(f.last + 8, from.b, 16);
	CHECK_MEM(f.last + 24, to.b, 16);
	CHECK(sc_get16(f.last + 46) != 0);
	CHECK(naive_transport_good(f.last, f.last_len, 40, 17));
	CHECK_MEM(f.last + 52, inner, len);
	fleet_stop(&f);
}

TEST("FORWARD carries its verb, key, origin, backend and tag in front of the client's packet")
{
	for (int outer6 = 0; outer6 < 2; outer6++) {
		struct fleet f;
		uint32_t at = outer6 ? GUE6 : GUE4;
		struct sc_key key = { .id = FLEET_KEY_ID, .key = "0123456789abcdef" };
		struct sc_addr from, to;
		uint32_t backend;

		forwarding(&f, outer6);
		backend = f.delivered_to;
		CHECK_EQ(fleet_client(&f, 2, 1, CLIENT, 1, ACK, 100), backend);
		CHECK_EQ(seen_count, 1);
		CHECK_EQ(seen_to, 0);
		from = fleet_addr(&f, fleet_node_ip(2, 1));
		to = fleet_addr(&f, fleet_node_ip(1, 1));
		CHECK_EQ(seen[at], 4);
		CHECK_EQ(seen[at + 1], 4);
		CHECK_EQ(sc_get16(seen + at + 2), 0);
		CHECK_EQ(seen[at + 4], 0x22);
		CHECK_EQ(seen[at + 5], FLEET_KEY_ID);
		CHECK_EQ(sc_get16(seen + at + 6), fleet_node_id(2, 1));
		CHECK_EQ(sc_get32(seen + at + 8), fleet_backend_id(1, backend & 0xff));
		CHECK(sc_tag_is(seen + at + 12, sc_tag(&key, &from, &to, seen + at + 4, 8, seen + at + 20, 64)));
		CHECK_EQ(seen_len, at + 20 + 140);
		fleet_stop(&f);
	}
}

TEST("no bit under FORWARD's tag can be changed, and none that is not changes where it goes")
{
	for (int outer6 = 0; outer6 < 2; outer6++) {
		struct fleet f;
		uint32_t at = outer6 ? GUE6 : GUE4, backend;
		uint64_t taken;
		uint8_t packet[SC_PACKET_MAX];

		forwarding(&f, outer6);
		backend = fleet_client(&f, 2, 1, CLIENT, 1, ACK, 100);
		f.fate = NULL;
		memcpy(packet, seen, seen_len);
		for (uint32_t bit = at * 8; bit < (at + 20 + 64) * 8; bit++) {
			int r;

			taken = flow_drops(&f);
			packet[bit / 8] ^= (uint8_t)(1 << bit % 8);
			r = drop_of(&f, 0, packet, seen_len);
			packet[bit / 8] ^= (uint8_t)(1 << bit % 8);
			CHECK(r != SC_OK);
			CHECK_EQ(flow_drops(&f), taken);
			if (bit / 8 >= at + 12)
				CHECK_EQ(r, SC_DROP_bad_tag);
		}
		/* The payload is not under the tag; neither are lengths of the outer headers. */
		packet[seen_len - 1] ^= 1;
		CHECK_EQ(drop_of(&f, 0, packet, seen_len), SC_OK);
		CHECK_EQ(f.delivered_to, backend);
		fleet_stop(&f);
	}
}

TEST("private data is checked in the order of the page")
{
	struct fleet f;
	uint8_t p[SC_PACKET_MAX];

	forwarding(&f, false);
	fleet_client(&f, 2, 1, CLIENT, 1, ACK, 100);
	f.fate = NULL;
	memcpy(p, seen, seen_len);
	for (uint32_t len = GUE4; len < GUE4 + 4; len++)
		CHECK_EQ(drop_of_fixed(&f, 0, p, len), SC_DROP_gue_bad_length);
	for (uint32_t len = GUE4 + 4; len < GUE4 + 20; len++)
		CHECK_EQ(drop_of_fixed(&f, 0, p, len), SC_DROP_gue_bad_length);
	for (uint32_t len = GUE4 + 20; len < GUE4 + 20 + 64; len++)
		CHECK_EQ(drop_of_fixed(&f, 0, p, len), SC_DROP_bad_tag);
	for (int variant = 1; variant < 4; variant++) {
		p[GUE4] = (uint8_t)(variant << 6 | 4);
		CHECK_EQ(drop_of_fixed(&f, 0, p, seen_len), SC_DROP_gue_bad_variant);
	}
	for (int hlen = 1; hlen < 32; hlen++) {
		p[GUE4] = (uint8_t)hlen;
		if (hlen != 4)
			CHECK_EQ(drop_of_fixed(&f, 0, p, seen_len), SC_DROP_gue_bad_length);
	}
	p[GUE4] = 4;
	for (int bit = 0; bit < 16; bit++) {
		sc_put16(p + GUE4 + 2, (uint16_t)(1 << bit));
		CHECK_EQ(drop_of_fixed(&f, 0, p, seen_len), SC_DROP_gue_flags);
	}
	sc_put16(p + GUE4 + 2, 0);
	for (int proto = 0; proto < 256; proto++) {
		p[GUE4 + 1] = (uint8_t)proto;
		if (proto != 4)
			CHECK_EQ(drop_of_fixed(&f, 0, p, seen_len), SC_DROP_gue_bad_proto);
	}
	p[GUE4 + 1] = 4;
	for (int head = 0; head < 256; head++) {
		p[GUE4 + 4] = (uint8_t)head;
		if (head >> 4 != 1 && head >> 4 != 2)
			CHECK_EQ(drop_of_fixed(&f, 0, p, seen_len), SC_DROP_unknown_version);
		else if ((head & 15) == 0 || (head & 15) > 3)
			CHECK_EQ(drop_of_fixed(&f, 0, p, seen_len), SC_DROP_unknown_verb);
		else if (head != 0x22)
			CHECK_EQ(drop_of_fixed(&f, 0, p, seen_len), SC_DROP_bad_tag);
	}
	p[GUE4 + 4] = 0x22;
	p[GUE4 + 5] = FLEET_KEY_ID + 1;
	CHECK_EQ(drop_of_fixed(&f, 0, p, seen_len), SC_DROP_unknown_key);
	p[GUE4 + 5] = FLEET_KEY_ID;
	CHECK_EQ(drop_of_fixed(&f, 0, p, seen_len), SC_OK);
	fleet_stop(&f);
}

static uint32_t make_private(const struct fleet *f, uint8_t *b, int from, int to, uint16_t origin, uint8_t verb,
			     uint32_t backend, const uint8_t *inner, uint32_t len)
{
	return private_packet(f, b, fleet_node_ip(from, 1), to, origin, 1, verb, backend, inner, len);
}

TEST("with a right tag the origin must be another node at its own address")
{
	struct fleet f;
	uint8_t b[1000], inner[100];
	uint32_t len = client_tcp(inner, CLIENT, 5, SYN, 0), n;
	uint32_t backend = fleet_backend_id(1, 1);

	fleet_start(&f, 3, 1, 2, 64);
	n = make_private(&f, b, 2, 1, fleet_node_id(9, 9), 2, backend, inner, len);
	CHECK_EQ(drop_of(&f, 0, b, n), SC_DROP_unknown_origin);
	n = make_private(&f, b, 2, 1, fleet_node_id(3, 1), 2, backend, inner, len);
	CHECK_EQ(drop_of(&f, 0, b, n), SC_DROP_unknown_origin);
	n = make_private(&f, b, 1, 1, fleet_node_id(1, 1), 2, backend, inner, len);
	CHECK_EQ(drop_of(&f, 0, b, n), SC_DROP_unknown_origin);
	n = make_private(&f, b, 2, 1, fleet_node_id(2, 1), 2, backend, inner, len);
	CHECK_EQ(drop_of(&f, 0, b, n), SC_OK);
	fleet_stop(&f);
}

TEST("the inner packet must be whole, of the version that is said, and to a service")
{
	struct fleet f;
	struct draft *d = malloc(sizeof(*d));
	uint8_t b[1000], inner[100];
	uint32_t len = client_tcp(inner, CLIENT, 5, SYN, 0), n;
	uint32_t backend = fleet_backend_id(1, 1);

	fleet_start(&f, 2, 1, 2, 64);
	n = make_private(&f, b, 2, 1, fleet_node_id(2, 1), 2, backend, inner, 0);
	CHECK_EQ(drop_of(&f, 0, b, n), SC_DROP_gue_bad_proto);
	for (uint32_t cut = 1; cut < len; cut++) {
		n = make_private(&f, b, 2, 1, fleet_node_id(2, 1), 2, backend, inner, cut);
		CHECK_EQ(drop_of(&f, 0, b, n), SC_DROP_truncated);
	}
	n = make_private(&f, b, 2, 1, fleet_node_id(2, 1), 2, backend, inner, len);
	b[GUE4 + 1] = 41;
	CHECK_EQ(drop_of(&f, 0, b, n), SC_DROP_gue_bad_proto);
	draft_client(d, 4, SC_PROTO_TCP, CLIENT, FLEET_VIP, 5, 81, SYN, 0);
	n = make_private(&f, b, 2, 1, fleet_node_id(2, 1), 2, backend, d->b, d->len);
	CHECK_EQ(drop_of(&f, 0, b, n), SC_DROP_no_service);
	/* GUE within GUE: the inner packet is for the node itself. */
	draft_client(d, 4, SC_PROTO_UDP, CLIENT, fleet_node_ip(1, 1), 5, 6080, 0, 40);
	n = make_private(&f, b, 2, 1, fleet_node_id(2, 1), 2, backend, d->b, d->len);
	CHECK_EQ(drop_of(&f, 0, b, n), SC_DROP_no_service);
	free(d);
	fleet_stop(&f);
}

TEST("FORWARD is delivered or dropped, never sent on, and its backend must be of the receiver's PoP")
{
	struct fleet f;
	uint8_t b[1000], inner[100];
	uint32_t len = client_tcp(inner, CLIENT, 5, ACK, 0), n;

	fleet_start(&f, 3, 1, 2, 64);
	fleet_run(&f, 5 * SC_S);
	watch_for(&f, 0);
	n = make_private(&f, b, 2, 1, fleet_node_id(2, 1), 2, fleet_backend_id(3, 1), inner, len);
	CHECK_EQ(drop_of(&f, 0, b, n), SC_DROP_wrong_backend);
	n = make_private(&f, b, 2, 1, fleet_node_id(2, 1), 2, fleet_backend_id(1, 9), inner, len);
	CHECK_EQ(drop_of(&f, 0, b, n), SC_DROP_backend_gone);
	n = make_private(&f, b, 2, 1, fleet_node_id(2, 1), 2, 0, inner, len);
	CHECK_EQ(drop_of(&f, 0, b, n), SC_DROP_wrong_backend);
	n = make_private(&f, b, 2, 1, fleet_node_id(2, 1), 3, fleet_backend_id(1, 1), inner, len);
	CHECK_EQ(drop_of(&f, 0, b, n), SC_DROP_relay_unsupported);
	f.delivered_to = 0;
	n = make_private(&f, b, 2, 1, fleet_node_id(2, 1), 2, fleet_backend_id(1, 2), inner, len);
	CHECK_EQ(drop_of(&f, 0, b, n), SC_OK);
	CHECK_EQ(f.delivered_to, fleet_backend_ip(1, 2));
	CHECK_EQ(f.counters[0][SC_C_flows_learned], 1);
	CHECK_EQ(seen_count, 0);
	/* What it learned it tells the others. */
	f.fate = NULL;
	fleet_run(&f, 10 * SC_MS);
	CHECK_EQ(fleet_client(&f, 3, 1, CLIENT, 5, ACK, 0), fleet_backend_ip(1, 2));
	fleet_stop(&f);
}

TEST("a FORWARD that names another backend than the owner knows is dropped and answered with OWNER")
{
	struct fleet f;
	uint8_t b[1000], inner[100];
	uint32_t len = client_tcp(inner, CLIENT, 5, ACK, 0), n, at;

	fleet_start(&f, 2, 1, 2, 64);
	fleet_run(&f, 5 * SC_S);
	at = fleet_client(&f, 1, 1, CLIENT, 5, SYN, 0);
	fleet_run(&f, 10 * SC_MS);
	n = make_private(&f, b, 2, 1, fleet_node_id(2, 1), 2, fleet_backend_id(1, 3 - (at & 0xff)), inner, len);
	watch_for(&f, SC_VERB_OWNER);
	f.delivered_to = 0;
	CHECK_EQ(drop_of(&f, 0, b, n), SC_DROP_owner_differs);
	CHECK_EQ(f.delivered_to, 0);
	CHECK_EQ(seen_count, 1);
	CHECK_EQ(seen_to, 1);
	CHECK_EQ(sc_get64(seen + GUE4 + 4 + SC_CONTROL_LEN + SC_OWNER_HEAD), fleet_flow(CLIENT, 5));
	CHECK_EQ(sc_get32(seen + GUE4 + 4 + SC_CONTROL_LEN + SC_OWNER_HEAD + 8), fleet_backend_id(1, at & 0xff));
	fleet_stop(&f);
}

TEST("ASK of its own PoP's nodes is answered as home by whoever gets it, and never asked on")
{
	struct fleet f;
	uint8_t b[1000], inner[100];
	uint32_t len, n;

	fleet_start(&f, 2, 2, 2, 256);
	fleet_run(&f, 5 * SC_S);
	watch_for(&f, 0);
	for (uint16_t port = 0; port < 30; port++) {
		len = client_tcp(inner, CLIENT, port, SYN, 0);
		n = make_private(&f, b, 2, 1, fleet_node_id(2, 1), 1, 0, inner, len);
		CHECK_EQ(drop_of(&f, 0, b, n), SC_DROP_unknown_origin);
		n = private_packet(&f, b, fleet_node_ip(1, 2), 1, fleet_node_id(1, 2), 1, 1, 0, inner, len);
		f.delivered_to = 0;
		CHECK_EQ(drop_of(&f, 0, b, n), SC_OK);
		CHECK(f.delivered_to != 0);
	}
	CHECK_EQ(seen_count, 0);
	CHECK_EQ(f.counters[0][SC_C_ask_received], 30);
	fleet_stop(&f);
}

static void with_two_keys(const struct fleet *f, struct plan *p, int pop, int self)
{
	struct sc_key next = { .id = 8, .key = "fedcba987654321" };

	(void)f;
	(void)self;
	p->h.keys = 2;
	p->key[1] = next;
	if (pop == 2) {		/* signs with the new one already */
		p->key[1] = p->key[0];
		p->key[0] = next;
	}
}

static void with_new_key_in_pop_2(const struct fleet *f, struct plan *p, int pop, int self)
{
	with_two_keys(f, p, pop, self);
	if (pop == 2)
		p->h.keys = 1;
	if (pop == 1)
		p->h.keys = 1;
}

TEST("while keys rotate, nodes that sign with the old one and with the new one understand each other")
{
	struct fleet f;
	uint32_t at;

	fleet_shape(&f, 2, 1, 2);
	f.change = with_two_keys;
	fleet_begin(&f, 64);
	fleet_run(&f, 5 * SC_S);
	at = fleet_client(&f, 1, 1, CLIENT, 1, SYN, 0);
	fleet_run(&f, 10 * SC_MS);
	watch_for(&f, 0);
	CHECK_EQ(fleet_client(&f, 2, 1, CLIENT, 1, ACK, 0), at);
	CHECK_EQ(seen[GUE4 + 5], 8);
	at = fleet_client(&f, 2, 1, CLIENT, 2, SYN, 0);
	fleet_run(&f, 10 * SC_MS);
	CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, 2, ACK, 0), at);
	CHECK_EQ(seen[GUE4 + 5], FLEET_KEY_ID);
	fleet_stop(&f);
}

TEST("a key that is not held is unknown, and nodes without a common key never meet")
{
	struct fleet f;

	fleet_shape(&f, 2, 1, 2);
	f.change = with_new_key_in_pop_2;
	fleet_begin(&f, 64);
	fleet_run(&f, 5 * SC_S);
	CHECK(!f.node[0]->peers[1].alive);
	CHECK_EQ(f.node[0]->peers[1].boot, 0);
	CHECK(f.counters[0][SC_DROP_unknown_key] >= 4);
	CHECK_EQ(f.counters[0][SC_C_hello_received], 0);
	fleet_stop(&f);
}

TEST("GUE that is cut into fragments or not for the node's address is not taken for GUE")
{
	struct fleet f;

	forwarding(&f, false);
	fleet_client(&f, 2, 1, CLIENT, 1, ACK, 100);
	f.fate = NULL;
	sc_put16(seen + 6, 0x2000);
	fix_ip4(seen);
	CHECK_EQ(drop_of(&f, 0, seen, seen_len), SC_DROP_not_ours);
	sc_put16(seen + 6, 0x0010);
	fix_ip4(seen);
	CHECK_EQ(drop_of(&f, 0, seen, seen_len), SC_DROP_not_ours);
	sc_put16(seen + 6, 0);
	sc_put32(seen + 16, fleet_node_ip(3, 1));
	fix_ip4(seen);
	CHECK_EQ(drop_of(&f, 0, seen, seen_len), SC_DROP_no_service);
	sc_put32(seen + 16, fleet_node_ip(1, 1));
	sc_put16(seen + 22, 6081);
	fix_ip4(seen);
	CHECK_EQ(drop_of(&f, 0, seen, seen_len), SC_DROP_not_ours);
	fleet_stop(&f);
}

CHECK_MAIN
