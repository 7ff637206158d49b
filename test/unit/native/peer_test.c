/* Peers: sessions of two boot ids, replay, liveness, round-trip times. A recorder keeps every control message. */
#include "check.h"
#include "speak.h"
#include "state.h"

enum { CLIENT = 0xcb007101, SYN = SC_TCP_SYN, ACK = SC_TCP_ACK, CONTROL = 32, TAPE = 4096 };

/* Control messages as they went over the wire. */
static struct { uint8_t *data; uint32_t len; int to; } tape[TAPE];
static unsigned int taped;
static bool silence[3][3];	/* [from PoP][to PoP]: nothing passes */

static unsigned int record(struct fleet *f, int to, const uint8_t *data, uint32_t len,
			   uint64_t delay_us[FLEET_COPIES])
{
	int from = sc_get32(data + 12) >> 16 & 0xff;

	if (f->random)		/* one-way latency */
		delay_us[0] = f->random;
	if (taped < TAPE && data[28] & SC_GUE_CONTROL) {
		tape[taped].data = malloc(len);
		memcpy(tape[taped].data, data, len);
		tape[taped].len = len;
		tape[taped++].to = to;
	}
	return silence[from][to / f->nodes_per_pop + 1] ? 0 : 1;
}

static void forget(void)
{
	while (taped > 0)
		free(tape[--taped].data);
	memset(silence, 0, sizeof(silence));
}

static void start(struct fleet *f)
{
	forget();
	fleet_shape(f, 2, 1, 2);
	f->fate = record;
	fleet_begin(f, 256);
}

static struct sc_peer *peer_of(struct fleet *f, int i)
{
	return &f->node[i]->peers[1 - i];
}

static uint64_t drops(const struct fleet *f, int i, enum sc_reason r)
{
	return f->counters[i][r];
}

static bool met(struct fleet *f)
{
	return peer_of(f, 0)->alive && peer_of(f, 1)->alive && peer_of(f, 0)->boot == f->node[1]->boot_id &&
	       peer_of(f, 1)->boot == f->node[0]->boot_id;
}

TEST("two nodes that start together meet within two HELLOs")
{
	struct fleet f;

	start(&f);
	fleet_run(&f, 1100 * SC_MS);
	CHECK(met(&f));
	CHECK_EQ(peer_of(&f, 0)->version, SC_WIRE_VERSION);
	fleet_stop(&f);
	forget();
}

TEST("a node that starts late is met at once, whatever came before")
{
	struct fleet f;

	start(&f);
	f.dead[1] = true;
	fleet_run(&f, 30 * SC_S);
	CHECK(!peer_of(&f, 0)->alive);
	f.dead[1] = false;
	fleet_run(&f, 1100 * SC_MS);
	CHECK(met(&f));
	fleet_stop(&f);
	forget();
}

TEST("both nodes restarting at any distance in time meet again")
{
	for (uint64_t gap = 0; gap < 1500; gap += 60) {
		struct fleet f;

		start(&f);
		fleet_run(&f, 5 * SC_S);
		fleet_stop_node(&f, 1, 1);
		fleet_run(&f, 20 * SC_MS);
		fleet_start_node(&f, 1, 1, 0x9001, 256);
		fleet_run(&f, gap * SC_MS);
		fleet_stop_node(&f, 2, 1);
		fleet_run(&f, gap / 3 * SC_MS);
		fleet_start_node(&f, 2, 1, 0x9002, 256);
		fleet_run(&f, 2200 * SC_MS);
		CHECK(met(&f));
		fleet_stop(&f);
		forget();
	}
}

TEST("nodes meet and stay together over a path on which a third of the packets is lost")
{
	uint64_t random = check_seed();
	unsigned int alive = 0;
	struct fleet f;

	fleet_start(&f, 2, 1, 2, 256);
	for (int i = 0; i < 25000; i++) {
		f.lose = check_random(&random) % 3 == 0;
		fleet_run(&f, 10 * SC_MS);
		alive += i > 1000 && met(&f);
	}
	CHECK(alive > 24000 * 3 / 4);
	fleet_stop(&f);
}

TEST("a peer is dead after three intervals without HELLO, near and far, and alive with the next one")
{
	struct fleet f;

	start(&f);
	fleet_run(&f, 5 * SC_S);
	f.dead[1] = true;
	fleet_run(&f, 1900 * SC_MS);
	CHECK(peer_of(&f, 0)->alive);
	fleet_run(&f, 1200 * SC_MS);
	CHECK(!peer_of(&f, 0)->alive);
	f.dead[1] = false;
	fleet_run(&f, 2 * SC_S);
	CHECK(met(&f));
	fleet_stop(&f);
	forget();

	fleet_start(&f, 1, 2, 1, 64);
	fleet_run(&f, 5 * SC_S);
	f.dead[1] = true;
	fleet_run(&f, 190 * SC_MS);
	CHECK(f.node[0]->peers[1].alive);
	fleet_run(&f, 120 * SC_MS);
	CHECK(!f.node[0]->peers[1].alive);
	fleet_stop(&f);
}

static void other_seed(const struct fleet *f, struct plan *p, int pop, int self)
{
	(void)f, (void)self;
	p->h.hash_seed += (uint64_t)pop;
}

TEST("nodes with different hash_seeds never meet, and neither takes the other for gone")
{
	struct fleet f;
	uint64_t missing;

	fleet_shape(&f, 2, 1, 2);
	f.change = other_seed;
	fleet_begin(&f, 64);
	fleet_run(&f, (SC_COPY_S + 60) * SC_S);
	for (int i = 0; i < 2; i++) {
		CHECK(!peer_of(&f, i)->alive);
		CHECK_EQ(peer_of(&f, i)->boot, 0);
		CHECK(drops(&f, i, SC_DROP_other_seed) > SC_COPY_S);
		CHECK(f.node[i]->filled);
		CHECK(!sc_certain(f.node[i], 0, &missing));
	}
	f.dead[1] = true;
	fleet_run(&f, (SC_COPY_S + 60) * SC_S);
	CHECK(sc_certain(f.node[0], 0, &missing));
	fleet_stop(&f);
}

static void own_digest(const struct fleet *f, struct plan *p, int pop, int self)
{
	(void)f, (void)self;
	p->h.fleet_digest = 0xd1ce0000u + (uint32_t)pop;
}

TEST("a peer's fleet digest is what its last HELLO said, a generation's from the swap on")
{
	struct sc_node_view view;
	struct fleet f;

	fleet_shape(&f, 2, 1, 2);
	f.change = own_digest;
	fleet_begin(&f, 64);
	fleet_run(&f, 3 * SC_S);
	sc_node_look(f.node[0], f.now_us, &view);
	CHECK_EQ(view.peers[0].fleet_digest, 0xd1ce0002);
	f.change = NULL;
	fleet_reload_node(&f, 2, 1);
	fleet_run(&f, 3 * SC_S);
	sc_node_look(f.node[0], f.now_us, &view);
	CHECK_EQ(view.peers[0].fleet_digest, 0);
	fleet_stop(&f);
}

TEST("a replay of everything that was ever said changes nothing")
{
	struct fleet f;
	uint64_t taken[2], boots[2];
	unsigned int n;

	start(&f);
	for (uint16_t port = 0; port < 200; port++) {
		fleet_client(&f, 1 + port % 2, 1, CLIENT, port, SYN, 0);
		fleet_run(&f, 20 * SC_MS);
	}
	fleet_run(&f, 3 * SC_S);
	REQUIRE(met(&f));
	f.fate = NULL;
	for (int i = 0; i < 2; i++) {
		taken[i] = f.counters[i][SC_C_consumed];
		boots[i] = peer_of(&f, i)->boot;
	}
	n = taped;
	for (unsigned int k = 0; k < n; k++) {
		uint64_t refused = drops(&f, tape[k].to, SC_DROP_replayed) + drops(&f, tape[k].to, SC_DROP_no_session);

		fleet_hand(&f, tape[k].to, tape[k].data, tape[k].len);
		CHECK(drops(&f, tape[k].to, SC_DROP_replayed) + drops(&f, tape[k].to, SC_DROP_no_session) > refused);
	}
	for (int i = 0; i < 2; i++) {
		CHECK_EQ(f.counters[i][SC_C_consumed], taken[i]);
		CHECK_EQ(peer_of(&f, i)->boot, boots[i]);
	}
	CHECK(met(&f));
	fleet_stop(&f);
	forget();
}

TEST("recorded HELLOs of an earlier boot never replace the session, at whatever pace they come")
{
	struct fleet f;
	uint64_t boot, walks;
	unsigned int n;

	start(&f);
	fleet_run(&f, 5 * SC_S);
	fleet_stop_node(&f, 2, 1);
	fleet_run(&f, SC_S);
	fleet_start_node(&f, 2, 1, 0x9002, 256);
	fleet_run(&f, 5 * SC_S);
	fleet_stop_node(&f, 2, 1);
	fleet_start_node(&f, 2, 1, 0x9003, 256);
	fleet_run(&f, 5 * SC_S);
	REQUIRE(met(&f));
	boot = peer_of(&f, 0)->boot;
	walks = f.counters[0][SC_C_walks_started];
	f.fate = NULL;
	n = taped;
	for (int round = 0; round < 4; round++) {
		for (unsigned int k = 0; k < n; k++) {
			fleet_hand(&f, tape[k].to, tape[k].data, tape[k].len);
			if (round % 2)
				fleet_run(&f, 12 * SC_MS);
			CHECK_EQ(peer_of(&f, 0)->boot, boot);
			CHECK(met(&f));
		}
	}
	CHECK_EQ(f.counters[0][SC_C_walks_started], walks);
	fleet_stop(&f);
	forget();
}

TEST("recorded messages keep nobody from meeting a restarted node")
{
	struct fleet f;
	unsigned int n;

	start(&f);
	fleet_run(&f, 5 * SC_S);
	fleet_stop_node(&f, 2, 1);
	fleet_run(&f, SC_S);
	f.fate = NULL;
	n = taped;
	fleet_start_node(&f, 2, 1, 0x9002, 256);
	for (unsigned int i = 0; i < 400; i++) {
		fleet_hand(&f, tape[i * 7 % n].to, tape[i * 7 % n].data, tape[i * 7 % n].len);
		fleet_run(&f, 12 * SC_MS);
	}
	CHECK(met(&f));
	fleet_stop(&f);
	forget();
}

TEST("recorded HELLOs of a dead node do not bring it back to life")
{
	struct fleet f;
	unsigned int n;

	start(&f);
	fleet_run(&f, 5 * SC_S);
	fleet_stop_node(&f, 2, 1);
	n = taped;
	fleet_run(&f, 4 * SC_S);
	f.fate = NULL;
	for (unsigned int k = 0; k < n; k++) {
		fleet_hand(&f, tape[k].to, tape[k].data, tape[k].len);
		fleet_run(&f, 4 * SC_MS);
		CHECK(!peer_of(&f, 0)->alive);
	}
	fleet_stop(&f);
	forget();
}

TEST("messages may come in any order within 64, and are taken once")
{
	struct fleet f;
	uint64_t taken, sent = 0;

	start(&f);
	fleet_run(&f, 5 * SC_S);
	silence[2][1] = true;
	forget();
	silence[2][1] = true;
	for (int i = 0; i < 70; i++) {
		peer_of(&f, 1)->hello_due_us = f.now_us;
		fleet_run(&f, 2 * SC_MS);
	}
	taken = f.counters[0][SC_C_consumed];
	for (unsigned int k = taped; k-- > 0;)
		if (tape[k].to == 0) {
			fleet_hand(&f, 0, tape[k].data, tape[k].len);
			sent++;
		}
	CHECK(sent >= 70);
	CHECK_EQ(f.counters[0][SC_C_consumed], taken + 64);
	CHECK_EQ(drops(&f, 0, SC_DROP_replayed), sent - 64);
	for (unsigned int k = 0; k < taped; k++)
		if (tape[k].to == 0)
			fleet_hand(&f, 0, tape[k].data, tape[k].len);
	CHECK_EQ(f.counters[0][SC_C_consumed], taken + 64);
	fleet_stop(&f);
	forget();
}

TEST("no bit of a control message can be changed")
{
	struct fleet f;
	uint64_t consumed;
	uint32_t bits = 0;

	start(&f);
	fleet_run(&f, 5 * SC_S);
	fleet_client(&f, 2, 1, CLIENT, 1, SYN, 0);
	forget();
	silence[2][1] = true;
	fleet_run(&f, 1100 * SC_MS);
	f.fate = NULL;
	consumed = f.counters[0][SC_C_consumed];
	for (unsigned int k = 0; k < taped; k++) {
		if (tape[k].to != 0)
			continue;
		for (uint32_t bit = 28 * 8; bit < tape[k].len * 8; bit++, bits++) {
			tape[k].data[bit / 8] ^= (uint8_t)(1 << bit % 8);
			fleet_hand(&f, 0, tape[k].data, tape[k].len);
			tape[k].data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
	}
	CHECK(bits > 1000);
	CHECK_EQ(f.counters[0][SC_C_consumed], consumed);
	CHECK_EQ(fleet_unaccounted(&f, 0), 0);
	for (unsigned int k = 0; k < taped; k++)
		if (tape[k].to == 0)
			fleet_hand(&f, 0, tape[k].data, tape[k].len);
	CHECK(f.counters[0][SC_C_consumed] > consumed);
	fleet_stop(&f);
	forget();
}

TEST("who may begin a session: only one who echoes what this node said after its last session began")
{
	struct fleet f;
	struct sc_peer *peer;
	uint8_t body[56];
	uint64_t me, adopted;

	start(&f);
	f.dead[1] = true;
	fleet_run(&f, 3 * SC_S);
	peer = peer_of(&f, 0);
	me = f.node[0]->boot_id;
	hello_body(body, 0);
	say(&f, SC_VERB_HELLO, 0, me, 1, body, 56);
	CHECK_EQ(peer->boot, 0);
	say(&f, SC_VERB_HELLO, 77, 0, 1, body, 56);
	CHECK_EQ(peer->boot, 0);
	say(&f, SC_VERB_HELLO, 77, me, 1, body, 56);		/* echo 0 */
	CHECK_EQ(peer->boot, 0);
	hello_body(body, peer->tx_seq + 1);			/* not said yet */
	say(&f, SC_VERB_HELLO, 77, me, 1, body, 56);
	CHECK_EQ(peer->boot, 0);
	hello_body(body, peer->tx_seq);
	say(&f, SC_VERB_HELLO, 77, me + 1, 1, body, 56);	/* to an earlier boot */
	CHECK_EQ(peer->boot, 0);
	say(&f, SC_VERB_HELLO, 77, me, 1, body, 56);
	CHECK_EQ(peer->boot, 77);
	CHECK(peer->alive);

	adopted = peer->adopted_at;
	CHECK_EQ(adopted, peer->tx_seq);
	hello_body(body, adopted);				/* said before this session */
	say(&f, SC_VERB_HELLO, 78, me, 1, body, 56);
	CHECK_EQ(peer->boot, 77);
	CHECK(peer->alive);
	fleet_run(&f, 1100 * SC_MS);
	hello_body(body, adopted + 1);
	say(&f, SC_VERB_HELLO, 78, me, 1, body, 56);
	CHECK_EQ(peer->boot, 78);
	fleet_stop(&f);
	forget();
}

TEST("strangers are answered at most once in 10 ms")
{
	struct fleet f;
	uint8_t body[56];
	uint64_t sent;

	start(&f);
	f.dead[1] = true;
	fleet_run(&f, 3 * SC_S);
	hello_body(body, 0);
	sent = f.counters[0][SC_C_hello_sent];
	for (uint64_t i = 0; i < 100; i++)
		say(&f, SC_VERB_HELLO, 500 + i, 0, 1, body, 56);
	CHECK_EQ(f.counters[0][SC_C_hello_sent], sent + 1);
	f.now_us += 10 * SC_MS;
	say(&f, SC_VERB_HELLO, 700, 0, 1, body, 56);
	CHECK_EQ(f.counters[0][SC_C_hello_sent], sent + 2);
	CHECK_EQ(drops(&f, 0, SC_DROP_no_session), 101);
	fleet_stop(&f);
	forget();
}

TEST("PUBLISH and OWNER outside a session are refused, and so is what is addressed to another boot")
{
	struct fleet f;
	uint8_t body[56] = { [7] = 1, [9] = 1 };
	uint64_t me;

	start(&f);
	f.dead[1] = true;
	fleet_run(&f, 3 * SC_S);
	me = f.node[0]->boot_id;
	say(&f, SC_VERB_PUBLISH, 77, me, 1, body, 32);
	say(&f, SC_VERB_OWNER, 77, me, 1, body, 24);
	CHECK_EQ(drops(&f, 0, SC_DROP_no_session), 2);
	hello_body(body, peer_of(&f, 0)->tx_seq);
	say(&f, SC_VERB_HELLO, 77, me, 5, body, 56);
	REQUIRE(peer_of(&f, 0)->boot == 77);
	say(&f, SC_VERB_PUBLISH, 77, 0, 6, body, 32);
	say(&f, SC_VERB_PUBLISH, 77, me + 1, 6, body, 32);
	say(&f, SC_VERB_HELLO, 77, me + 1, 6, body, 56);
	CHECK_EQ(drops(&f, 0, SC_DROP_no_session), 5);
	fleet_stop(&f);
	forget();
}

TEST("bodies that do not fit their verb are refused")
{
	struct fleet f;
	uint8_t body[1200] = { 0 };
	uint64_t me, seq = 100;

	start(&f);
	f.dead[1] = true;
	fleet_run(&f, 3 * SC_S);
	me = f.node[0]->boot_id;
	hello_body(body, peer_of(&f, 0)->tx_seq);
	for (uint32_t len = 0; len < 100; len++)
		if (len != 56)
			say(&f, SC_VERB_HELLO, 77, me, seq++, body, len);
	CHECK_EQ(drops(&f, 0, SC_DROP_bad_message), 99);
	CHECK_EQ(peer_of(&f, 0)->boot, 0);
	say(&f, SC_VERB_HELLO, 77, me, seq++, body, 56);
	for (uint32_t count = 0; count <= 70; count++) {
		for (int off = -1; off <= 1; off++) {
			bool right = off == 0 && count >= 1 && count <= 64;
			uint64_t before = drops(&f, 0, SC_DROP_bad_message);

			memset(body, 0, sizeof(body));
			sc_put64(body, 1 + count);
			sc_put16(body + 8, (uint16_t)count);
			say(&f, SC_VERB_PUBLISH, 77, me, seq++, body, (uint32_t)((int)(16 + count * 16) + off));
			CHECK_EQ(drops(&f, 0, SC_DROP_bad_message), before + !right);
			before = drops(&f, 0, SC_DROP_bad_message);
			memset(body, 0, sizeof(body));
			sc_put16(body, (uint16_t)count);
			say(&f, SC_VERB_OWNER, 77, me, seq++, body, (uint32_t)((int)(8 + count * 16) + off));
			CHECK_EQ(drops(&f, 0, SC_DROP_bad_message), before + !right);
		}
	}
	memset(body, 0, sizeof(body));
	sc_put16(body + 8, 1);
	say(&f, SC_VERB_PUBLISH, 77, me, seq++, body, 32);	/* batch 0 */
	CHECK(peer_of(&f, 0)->pub.taken <= 65);
	fleet_stop(&f);
	forget();
}

TEST("the round-trip time is measured, without the time that the echo waited")
{
	struct fleet f;

	start(&f);
	f.random = 40 * SC_MS;
	fleet_run(&f, 6 * SC_S);
	CHECK(met(&f));
	for (int i = 0; i < 2; i++)
		CHECK(peer_of(&f, i)->rtt_us >= 80 * SC_MS && peer_of(&f, i)->rtt_us <= 86 * SC_MS);
	fleet_stop(&f);
	forget();
}

TEST("in the largest fleet every peer gets its HELLO in time, though not in one call")
{
	struct fleet f;
	struct plan *p = malloc(sizeof(*p));
	struct sc_out *out = malloc(sizeof(*out));
	static unsigned int hellos[SC_MAX_NODES + 1];
	struct sc_generation *g;
	struct sc_node *node;
	uint64_t *counters;
	const char *why;

	fleet_shape(&f, 8, 1, 1);
	fleet_plan(&f, p, 1, 1);
	for (p->h.nodes = 0; p->h.nodes < SC_MAX_NODES; p->h.nodes++)
		p->node[p->h.nodes] = (struct sc_node_row){
			.addr = ip4(0x0a000001 + p->h.nodes), .id = (uint16_t)(1 + p->h.nodes), .pop = (uint16_t)(1 + p->h.nodes / 32),
		};
	p->h.self = 1;
	REQUIRE(plan_load(p, &g, &why) == 0);
	counters = calloc(sc_counter_slots(g), sizeof(*counters));
	REQUIRE(sc_node_new(&(struct sc_node_options){ .boot_id = 5, .flow_entries = 64 }, g, counters, &node) == 0);
	for (uint64_t us = SC_S; us < 2 * SC_S; us += SC_TIMER_US) {
		sc_timers(node, us, out);
		for (unsigned int i = 0; i < out->n; i++)
			hellos[sc_get32(out->p[i].data + 16) - 0x0a000000]++;
	}
	for (uint32_t n = 2; n <= SC_MAX_NODES; n++)
		CHECK(n <= 32 ? hellos[n] >= 9 && hellos[n] <= 11 : hellos[n] == 1);
	sc_node_free(node);
	free(counters);
	free(out);
	free(p);
}

TEST("clocks that are hours apart do not matter")
{
	struct fleet f;
	uint32_t at;

	start(&f);
	f.skew_us[1] = 5 * 3600 * SC_S + 777;
	fleet_run(&f, 5 * SC_S);
	CHECK(met(&f));
	at = fleet_client(&f, 1, 1, CLIENT, 1, SYN, 0);
	fleet_run(&f, 10 * SC_MS);
	CHECK_EQ(fleet_client(&f, 2, 1, CLIENT, 1, ACK, 0), at);
	CHECK_EQ(sc_flow_age(sc_flow_find(&f.node[1]->table, fleet_flow(CLIENT, 1)), f.node[1]->tick), 0);
	fleet_stop(&f);
	forget();
}

CHECK_MAIN
