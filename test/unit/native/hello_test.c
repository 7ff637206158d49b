/* What a HELLO says, and what its receiver makes of each of its words; which messages are fresh; when a peer is dead, and
 * what follows from it. The test speaks for PoP 2's node where that is cut off. */
#include "check.h"
#include "speak.h"
#include "state.h"

enum { CLIENT = 0xcb007101, SYN = SC_TCP_SYN, ACK = SC_TCP_ACK, M = 28 + SC_GUE_LEN, BODY = M + SC_CONTROL_LEN };

/* The last HELLO of node 1 of PoP 1, as it was sent. */
static uint8_t hello[200];
static unsigned int hellos;
static bool mute;		/* nothing arrives */

static unsigned int listen(struct fleet *f, int to, const uint8_t *data, uint32_t len, uint64_t delay_us[FLEET_COPIES])
{
	(void)to;
	if (f->random)
		delay_us[0] = f->random;	/* one-way latency */
	if (sc_get32(data + 12) == fleet_node_ip(1, 1) && (data[M] & 15) == SC_VERB_HELLO && data[28] & SC_GUE_CONTROL) {
		memcpy(hello, data, len);
		hellos++;
	}
	return mute ? 0 : 1;
}

static void begin(struct fleet *f, int pops, int nodes)
{
	mute = false;
	fleet_shape(f, pops, nodes, 2);
	f->fate = listen;
	fleet_begin(f, 1024);
	fleet_run(f, 5 * SC_S);
}

static struct sc_peer *peer_of(struct fleet *f)
{
	return &f->node[0]->peers[1];
}

/* Two nodes in a session, PoP 2's cut off; returns the sequence number to go on with. */
static uint64_t cut_off(struct fleet *f)
{
	begin(f, 2, 1);
	mute = true;
	f->dead[1] = true;
	return f->node[1]->peers[0].tx_seq + 1;
}

static void hello_now(struct fleet *f)
{
	peer_of(f)->hello_due_us = f->now_us;
	fleet_run(f, SC_TIMER_US);
}

static void tell(struct fleet *f, uint64_t seq, const uint8_t *body)
{
	say(f, SC_VERB_HELLO, f->node[1]->boot_id, f->node[0]->boot_id, seq, body, SC_HELLO_LEN);
}

TEST("a HELLO says what the page says, byte for byte, in the lowest version")
{
	struct fleet f;
	struct sc_publication *pub;

	cut_off(&f);
	pub = &peer_of(&f)->pub;
	pub->sent = 0x102030405;
	pub->acked = pub->sent;
	pub->taken = 0x203040506;
	pub->taken_mask = 0x8000000000000001;
	pub->walk_end = 0x304050607;
	peer_of(&f)->heard_seq = 0x405060708;
	for (int half = 0; half < 4; half++) {	/* a quarter of the 1024 entries */
		struct sc_flow_entry gone;
		enum sc_eviction evicted;

		for (uint64_t i = 0; i < 64; i++)
			sc_flow_insert(&f.node[0]->table, i << 34 | (uint64_t)(half * 64 + i), 1, 1 + i % 3, f.node[0]->tick, &evicted, &gone);
	}
	peer_of(&f)->heard_us = f.now_us - 123456;
	hello_now(&f);
	CHECK_EQ(hello[M], 0x14);
	CHECK_EQ(hello[BODY], 1);
	CHECK_EQ(hello[BODY + 1], 2);
	CHECK_EQ(hello[BODY + 2], SC_HELLO_FILLED | SC_HELLO_WALK_DONE);
	CHECK_EQ(sc_get16(hello + BODY + 4), 250);
	CHECK_EQ(sc_get64(hello + BODY + 8), 0x405060708);
	CHECK_EQ(sc_get32(hello + BODY + 16), 123456 + SC_TIMER_US);
	CHECK_EQ(sc_get64(hello + BODY + 24), 0x102030405);
	CHECK_EQ(sc_get64(hello + BODY + 32), 0x203040506);
	CHECK_EQ(sc_get64(hello + BODY + 40), 0x8000000000000001);
	CHECK_EQ(sc_get64(hello + BODY + 48), 0x304050607);
	fleet_stop(&f);
}

TEST("an echo delay of more than 71 minutes does not begin anew")
{
	struct fleet f;

	cut_off(&f);
	f.now_us += 5000 * SC_S;
	fleet_run(&f, SC_TIMER_US);
	peer_of(&f)->heard_us = f.now_us - (1ull << 32) - 1000;
	hello_now(&f);
	CHECK_EQ(sc_get32(hello + BODY + 16), UINT32_MAX);
	fleet_stop(&f);
}

TEST("W is clear while the walk lasts, while flows wait behind a full window, and while there is something to recall")
{
	struct fleet f;
	struct sc_publication *pub;

	cut_off(&f);
	pub = &peer_of(&f)->pub;
	for (int what = 0; what < 4; what++) {
		pub->walk_done = what != 1;
		pub->walk_next = what == 1 ? 0 : UINT32_MAX;
		f.node[0]->past = what == 2 ? &f : NULL;
		pub->sent = what == 3 ? pub->acked + SC_PUBLISH_WINDOW : pub->acked;
		pub->open_count = what == 3;
		f.node[0]->peers[1].alive = false;	/* no walk, no flush, no timers */
		hello_now(&f);
		CHECK_EQ(hello[BODY + 2] & SC_HELLO_WALK_DONE, what == 0 ? SC_HELLO_WALK_DONE : 0);
	}
	f.node[0]->past = NULL;
	fleet_stop(&f);
}

TEST("to a stranger nothing is said of the session that there is")
{
	struct fleet f;
	uint8_t body[SC_HELLO_LEN];
	unsigned int before;

	cut_off(&f);
	peer_of(&f)->pub.sent = peer_of(&f)->pub.acked = peer_of(&f)->pub.taken = peer_of(&f)->pub.walk_end = 77;
	peer_of(&f)->pub.taken_mask = 5;
	before = hellos;
	hello_body(body, 0);
	say(&f, SC_VERB_HELLO, 4711, 0, 33, body, SC_HELLO_LEN);
	CHECK_EQ(hellos, before + 1);
	CHECK_EQ(sc_get64(hello + M + 16), 4711);
	CHECK_EQ(hello[BODY + 2] & SC_HELLO_WALK_DONE, 0);
	CHECK_EQ(sc_get64(hello + BODY + 8), 33);
	for (int at = 24; at < SC_HELLO_LEN; at++)
		CHECK_EQ(hello[BODY + at], 0);
	fleet_stop(&f);
}

TEST("an acknowledgement is sent once, not with every call of the timers")
{
	struct fleet f;
	unsigned int before;

	begin(&f, 2, 1);
	fleet_client(&f, 2, 1, CLIENT, 1, SYN, 0);
	before = hellos;
	fleet_run(&f, 100 * SC_MS);
	CHECK(hellos >= before + 1 && hellos <= before + 2);
	fleet_stop(&f);
}

TEST("in a new session everything begins anew, and a HELLO goes at once")
{
	struct fleet f;
	struct sc_peer *peer;
	uint8_t body[SC_HELLO_LEN];
	uint64_t seq = cut_off(&f), tx_seq;
	unsigned int before;

	peer = peer_of(&f);
	hello_body(body, peer->tx_seq);
	tell(&f, seq + 1000, body);
	for (uint64_t flow = 1; flow <= 600; flow++)	/* so that the walk has not ended when the HELLO goes */
		sc_take_record(f.node[0], &(struct sc_record){ .flow = flow * 0x9e3779b97f4a7c15ull, .backend = fleet_backend_id(2, 1),
							       .state = SC_FLOW_ESTABLISHED }, 1);
	peer->unreached = 3;
	peer->reach_seq = seq + 1000;
	peer->owner_count = 1;
	tx_seq = peer->tx_seq;
	before = hellos;
	hello_body(body, tx_seq);
	say(&f, SC_VERB_HELLO, 4711, f.node[0]->boot_id, 5, body, SC_HELLO_LEN);
	REQUIRE(peer->boot == 4711);
	CHECK_EQ(peer->unreached, 0);
	CHECK_EQ(peer->reach_seq, 0);
	CHECK_EQ(peer->rx_high, 5);
	CHECK_EQ(peer->adopted_at, tx_seq);
	CHECK_EQ(peer->heard_seq, 5);
	CHECK(!peer->pub.walk_done);
	CHECK_EQ(peer->owner_count, 0);
	fleet_run(&f, SC_TIMER_US);
	CHECK(hellos > before && !peer->pub.walk_done);
	/* Also what the new session numbers from 1. */
	memset(body, 0, sizeof(body));
	sc_put16(body, 1);
	sc_put16(body + SC_REACH_HEAD, 1);
	say(&f, SC_VERB_REACH, 4711, f.node[0]->boot_id, 2, body, SC_REACH_HEAD + 2);
	CHECK_EQ(peer->unreached, 1);
	fleet_stop(&f);
}

TEST("of REACH the highest sequence number counts, and it counts whole")
{
	struct fleet f;
	uint8_t body[SC_REACH_HEAD + 4] = { 0 };
	uint64_t seq = cut_off(&f);
	const uint64_t me = f.node[0]->boot_id, peer = f.node[1]->boot_id;

	sc_put16(body, 2);
	sc_put16(body + SC_REACH_HEAD, 2);
	sc_put16(body + SC_REACH_HEAD + 2, 9);	/* not configured */
	say(&f, SC_VERB_REACH, peer, me, seq + 10, body, SC_REACH_HEAD + 4);
	CHECK_EQ(peer_of(&f)->unreached, 2);
	sc_put16(body, 1);
	sc_put16(body + SC_REACH_HEAD, 1);
	say(&f, SC_VERB_REACH, peer, me, seq + 9, body, SC_REACH_HEAD + 2);
	CHECK_EQ(peer_of(&f)->unreached, 2);
	say(&f, SC_VERB_REACH, peer, me, seq + 11, body, SC_REACH_HEAD + 2);
	CHECK_EQ(peer_of(&f)->unreached, 1);
	sc_put16(body, 0);
	say(&f, SC_VERB_REACH, peer, me, seq + 12, body, SC_REACH_HEAD);
	CHECK_EQ(peer_of(&f)->unreached, 0);
	/* Bodies that do not fit. */
	for (uint16_t count = 0; count < 70; count++) {
		uint8_t long_body[SC_REACH_HEAD + 2 * 70] = { 0 };
		uint64_t bad = f.counters[0][SC_DROP_bad_message];

		sc_put16(long_body, count);
		say(&f, SC_VERB_REACH, peer, me, seq + 20 + 2 * count, long_body, SC_REACH_HEAD + 2u * count);
		CHECK_EQ(f.counters[0][SC_DROP_bad_message] - bad, count > SC_MAX_POPS);
		say(&f, SC_VERB_REACH, peer, me, seq + 21 + 2 * count, long_body, SC_REACH_HEAD + 2u * count + 1);
		CHECK_EQ(f.counters[0][SC_DROP_bad_message] - bad, 1 + (count > SC_MAX_POPS));
	}
	fleet_stop(&f);
}

TEST("a sequence number is taken once, in any order, unless it is 0 or 64 or more behind the highest")
{
	uint64_t random = check_seed();
	static bool had[20000];
	struct fleet f;
	uint8_t body[SC_HELLO_LEN];
	uint64_t first = cut_off(&f), high = first - 1;
	const uint64_t me = f.node[0]->boot_id, boot = f.node[1]->boot_id;

	memset(had, 0, sizeof(had));
	hello_body(body, 0);
	say(&f, SC_VERB_HELLO, boot, me, 0, body, SC_HELLO_LEN);
	CHECK_EQ(f.counters[0][SC_DROP_replayed], 1);
	for (int i = 0; i < 5000; i++) {
		uint64_t jump = check_random(&random) % 40 == 0 ? 70 : 5;
		uint64_t seq = high + 1 + check_random(&random) % jump - check_random(&random) % 70;
		uint64_t replayed = f.counters[0][SC_DROP_replayed];
		bool fresh;

		if (i % 50 == 0)
			seq = high - 64;
		if (seq < first || seq - first >= sizeof(had))
			continue;
		fresh = !had[seq - first] && seq + 64 > high;
		say(&f, SC_VERB_HELLO, boot, me, seq, body, SC_HELLO_LEN);
		CHECK_EQ(f.counters[0][SC_DROP_replayed] - replayed, !fresh);
		if (fresh)
			had[seq - first] = true;
		if (seq > high)
			high = seq;
	}
	fleet_stop(&f);
}

TEST("a HELLO that comes late takes nothing back that a later one said")
{
	struct fleet f;
	struct sc_peer *peer;
	uint8_t body[SC_HELLO_LEN];
	uint64_t seq = cut_off(&f), heard_us;

	peer = peer_of(&f);
	hello_body(body, peer->tx_seq);
	body[1] = 9;			/* a version to come */
	sc_put64(body + 24, 50);
	sc_put64(body + 48, 60);
	tell(&f, seq + 5, body);
	heard_us = f.now_us;
	CHECK_EQ(peer->version, SC_WIRE_VERSION);
	fleet_run(&f, 10 * SC_MS);
	hello_body(body, peer->tx_seq);
	body[2] = SC_HELLO_WITHHOLDS;
	tell(&f, seq + 4, body);
	CHECK(peer->peer_filled && !peer->withholds && peer->pub.said_walk_done);
	CHECK_EQ(peer->pub.said_sent, 50);
	CHECK_EQ(peer->pub.said_walk_end, 60);
	CHECK_EQ(peer->heard_seq, seq + 5);
	CHECK_EQ(peer->heard_us, heard_us);
	CHECK_EQ(peer->version, SC_WIRE_VERSION);
	/* A later one does. */
	tell(&f, seq + 6, body);
	CHECK(!peer->peer_filled && peer->withholds && !peer->pub.said_walk_done);
	CHECK_EQ(peer->pub.said_sent, 0);
	CHECK_EQ(peer->version, 1);
	fleet_stop(&f);
}

TEST("a peer has told all when W is set and all up to the greater of walk end and batches sent was taken")
{
	static const struct { bool walk_done; uint64_t sent, walk_end, taken; bool complete; } cases[] = {
		{ true, 0, 0, 0, true },  { false, 0, 0, 0, false }, { true, 5, 3, 5, true },  { true, 5, 3, 4, false },
		{ true, 3, 5, 5, true },  { true, 3, 5, 4, false },  { true, 5, 3, 6, true },  { false, 5, 3, 6, false },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sc_publication pub = { .said_walk_done = cases[i].walk_done, .said_sent = cases[i].sent,
					      .said_walk_end = cases[i].walk_end, .taken = cases[i].taken };

		CHECK_EQ(sc_publication_complete(&pub), cases[i].complete);
	}
}

TEST("only a HELLO for this boot, with a young echo, shows that its sender hears this node")
{
	struct fleet f;
	struct sc_peer *peer;
	uint8_t body[SC_HELLO_LEN];
	uint64_t seq = cut_off(&f), mutual_us;
	unsigned int before;

	peer = peer_of(&f);
	mutual_us = peer->mutual_us;
	hello_body(body, 0);
	tell(&f, seq++, body);
	CHECK_EQ(peer->mutual_us, mutual_us);
	hello_body(body, peer->tx_seq);
	sc_put32(body + 16, 3 * SC_S + 1);
	tell(&f, seq++, body);
	CHECK_EQ(peer->mutual_us, mutual_us);
	/* Its sender does not know this boot: it is told at once. */
	sc_put32(body + 16, 0);
	fleet_run(&f, SC_TIMER_US);
	before = hellos;
	say(&f, SC_VERB_HELLO, f.node[1]->boot_id, 0, seq++, body, SC_HELLO_LEN);
	CHECK_EQ(peer->mutual_us, mutual_us);
	fleet_run(&f, SC_TIMER_US);
	CHECK_EQ(hellos, before + 1);
	sc_put32(body + 16, 3 * SC_S);
	tell(&f, seq++, body);
	CHECK_EQ(peer->mutual_us, f.now_us);
	fleet_stop(&f);
}

TEST("HELLOs of versions that have none in common, of boot id 0, and other messages of strangers begin nothing")
{
	struct fleet f;
	struct sc_peer *peer;
	uint8_t body[SC_HELLO_LEN];
	uint64_t me, no_session;

	fleet_start(&f, 2, 1, 2, 64);
	f.dead[1] = true;
	f.fate = listen;
	mute = true;
	fleet_run(&f, 3 * SC_S);
	peer = peer_of(&f);
	me = f.node[0]->boot_id;
	hello_body(body, peer->tx_seq);
	body[0] = 3, body[1] = 4;
	say(&f, SC_VERB_HELLO, 77, me, 1, body, SC_HELLO_LEN);
	body[0] = 0, body[1] = 0;
	say(&f, SC_VERB_HELLO, 77, me, 1, body, SC_HELLO_LEN);
	CHECK_EQ(f.counters[0][SC_DROP_unknown_version], 2);
	CHECK_EQ(peer->boot, 0);
	body[0] = body[1] = 1;
	say(&f, SC_VERB_HELLO, 0, me, 1, body, SC_HELLO_LEN);
	CHECK_EQ(f.counters[0][SC_DROP_no_session], 1);
	CHECK(!peer->alive);
	/* An OWNER whose flow id would be a HELLO's echo. */
	no_session = f.counters[0][SC_C_hello_sent];
	memset(body, 0, sizeof(body));
	sc_put16(body, 1);
	sc_put64(body + 8, peer->tx_seq);
	say(&f, SC_VERB_OWNER, 77, me, 1, body, SC_OWNER_HEAD + SC_RECORD_LEN);
	CHECK_EQ(peer->boot, 0);
	CHECK_EQ(f.counters[0][SC_DROP_no_session], 2);
	CHECK_EQ(f.counters[0][SC_C_hello_sent], no_session);
	fleet_stop(&f);
}

TEST("every HELLO measures the round trip anew, whichever of ours it echoes")
{
	struct fleet f;

	begin(&f, 2, 1);
	for (int i = 0; i < 100; i++) {
		peer_of(&f)->rtt_us = 0;
		f.node[1]->peers[0].hello_due_us = f.now_us;
		hello_now(&f);
		fleet_run(&f, 4 * SC_MS);
		CHECK(peer_of(&f)->rtt_us > 0);
	}
	fleet_stop(&f);
}

TEST("an echo of one of the last 32 HELLOs measures, an older one does not, and no time is less than 1 us")
{
	struct fleet f;
	struct sc_peer *peer;
	uint8_t body[SC_HELLO_LEN];
	uint64_t seq = cut_off(&f), first;

	peer = peer_of(&f);
	for (int i = 0; i < 40; i++)
		hello_now(&f);
	first = peer->hello[peer->hellos % SC_HELLO_TIMES].seq;
	for (uint64_t echo = first - 1; echo <= peer->tx_seq; echo++) {
		peer->rtt_us = 0;
		hello_body(body, echo);
		tell(&f, seq++, body);
		CHECK_EQ(peer->rtt_us != 0, echo >= first);
		if (echo == peer->tx_seq)
			CHECK_EQ(peer->rtt_us, 1);
	}
	fleet_stop(&f);
}

TEST("a peer is dead when three intervals have passed since it last showed that it hears, and not before")
{
	for (int near = 0; near < 2; near++) {
		struct sc_out *out = malloc(sizeof(*out));
		struct sc_peer *peer;
		uint64_t us;
		struct fleet f;

		begin(&f, near ? 1 : 2, near ? 2 : 1);
		f.dead[1] = true;
		peer = peer_of(&f);
		us = peer->mutual_us + (near ? 300 * SC_MS : 3 * SC_S);
		while (f.now_us + 10 * SC_MS < us) {
			f.now_us += 10 * SC_MS;
			sc_timers(f.node[0], f.now_us, out);
		}
		sc_timers(f.node[0], us, out);
		CHECK(peer->alive);
		CHECK_EQ(peer->last_alive_us, us);
		sc_timers(f.node[0], us + 1, out);
		CHECK(!peer->alive);
		CHECK_EQ(peer->last_alive_us, us);
		free(out);
		fleet_stop(&f);
	}
}

TEST("a node's own pause forgives its peers as long a silence as it lasted, not what they were silent before")
{
	struct sc_out *out = malloc(sizeof(*out));
	struct sc_peer *peer;
	uint64_t us;
	struct fleet f;

	begin(&f, 2, 1);
	f.dead[1] = true;
	peer = peer_of(&f);
	us = peer->mutual_us + 2800 * SC_MS;
	while (f.now_us < us) {
		f.now_us += 10 * SC_MS;
		sc_timers(f.node[0], f.now_us, out);
	}
	sc_timers(f.node[0], f.now_us + 60 * SC_S, out);
	CHECK(peer->alive);
	for (int i = 1; i <= 20; i++)
		sc_timers(f.node[0], f.now_us + 60 * SC_S + (uint64_t)i * 10 * SC_MS, out);
	CHECK(!peer->alive);
	free(out);
	fleet_stop(&f);
}

TEST("a node that is called only every 250 ms still notices a death")
{
	for (int near = 0; near < 2; near++) {
		struct sc_out *out = malloc(sizeof(*out));
		struct fleet f;

		begin(&f, near ? 1 : 2, near ? 2 : 1);
		fleet_run_in_steps(&f, 20 * SC_S, 250 * SC_MS);
		CHECK(peer_of(&f)->alive);
		f.dead[1] = true;
		for (int i = 0; i < 4 * 10; i++)
			sc_timers(f.node[0], f.now_us += 250 * SC_MS, out);
		CHECK(!peer_of(&f)->alive);
		free(out);
		fleet_stop(&f);
	}
}

/* Runs in small steps until cond, or a minute is over. */
#define RUN_UNTIL(f, cond)                                       \
	for (int left_ = 30000; !(cond) && left_ > 0; left_--) \
	fleet_run((f), SC_TIMER_US)

TEST("whoever dies is walked for: its PoP's other nodes are told all, nobody else; and all PoPs hear at once who is silent")
{
	struct fleet f;
	uint64_t walks;

	begin(&f, 3, 3);
	walks = f.counters[0][SC_C_walks_started];
	fleet_stop_node(&f, 2, 1);
	RUN_UNTIL(&f, !f.node[0]->peers[3].alive);
	CHECK_EQ(f.counters[0][SC_C_walks_started], walks + 2);
	CHECK_EQ(f.node[0]->peers[3].pub.walk_done, false);
	fleet_stop_node(&f, 2, 2);
	fleet_stop_node(&f, 2, 3);
	RUN_UNTIL(&f, !f.node[0]->peers[4].alive && !f.node[0]->peers[5].alive);
	fleet_run(&f, 2 * SC_TIMER_US);
	CHECK_EQ(f.node[6]->peers[0].unreached, 1 << 1);
	/* And with the first of them that is alive again. */
	fleet_start_node(&f, 2, 1, 0x7777, 1024);
	RUN_UNTIL(&f, f.node[0]->peers[3].alive);
	fleet_run(&f, 2 * SC_TIMER_US);
	CHECK_EQ(f.node[6]->peers[0].unreached, 0);
	fleet_stop(&f);
}

TEST("who restarts so fast that nobody missed it has died all the same: its neighbours are told what it held")
{
	struct fleet f;
	uint64_t walks;

	begin(&f, 2, 2);
	walks = f.counters[0][SC_C_walks_started];
	fleet_stop_node(&f, 2, 1);
	fleet_start_node(&f, 2, 1, 0x7777, 1024);
	RUN_UNTIL(&f, f.node[0]->peers[2].boot == 0x7777);
	CHECK(f.node[0]->peers[2].alive);
	CHECK_EQ(f.counters[0][SC_C_walks_started], walks + 2);
	fleet_stop(&f);
}

TEST("a control message is another configured node's, from its address, in a version and with a verb that this node speaks")
{
	struct fleet f;
	uint8_t body[SC_HELLO_LEN] = { 0 };
	uint64_t seq = cut_off(&f), me = f.node[0]->boot_id, boot = f.node[1]->boot_id;
	const uint32_t ip = fleet_node_ip(2, 1), self = fleet_node_ip(1, 1);
	const uint16_t id = fleet_node_id(2, 1);

	hello_body(body, peer_of(&f)->tx_seq);
	say_as(&f, ip + 1, id, 1, SC_VERB_HELLO, boot, me, seq++, body, SC_HELLO_LEN);
	say_as(&f, ip, fleet_node_id(9, 1), 1, SC_VERB_HELLO, boot, me, seq++, body, SC_HELLO_LEN);
	say_as(&f, self, fleet_node_id(1, 1), 1, SC_VERB_HELLO, boot, me, seq++, body, SC_HELLO_LEN);
	CHECK_EQ(f.counters[0][SC_DROP_unknown_origin], 3);
	say_as(&f, ip, id, 3, SC_VERB_HELLO, boot, me, seq++, body, SC_HELLO_LEN);
	say_as(&f, ip, id, 0, SC_VERB_HELLO, boot, me, seq++, body, SC_HELLO_LEN);
	CHECK_EQ(f.counters[0][SC_DROP_unknown_version], 2);
	memset(body, 0, sizeof(body));
	say_as(&f, ip, id, 1, SC_VERB_REACH, boot, me, seq++, body, SC_REACH_HEAD);
	say_as(&f, ip, id, 2, SC_VERB_REACH + 1, boot, me, seq++, body, SC_REACH_HEAD);
	say_as(&f, ip, id, 2, SC_VERB_RELAY, boot, me, seq++, body, SC_REACH_HEAD);
	CHECK_EQ(f.counters[0][SC_DROP_unknown_verb], 3);
	say_as(&f, ip, id, 2, SC_VERB_REACH, boot, me, seq++, body, SC_REACH_HEAD);
	CHECK_EQ(f.counters[0][SC_DROP_unknown_verb], 3);
	/* A node of version 1. */
	f.node[0]->version = 1;
	say_as(&f, ip, id, 2, SC_VERB_REACH, boot, me, seq++, body, SC_REACH_HEAD);
	CHECK_EQ(f.counters[0][SC_DROP_unknown_version], 3);
	fleet_stop(&f);
}

TEST("a dead peer is shown as one that has told nothing")
{
	struct sc_node_view *view = malloc(sizeof(*view));
	struct fleet f;

	begin(&f, 2, 1);
	sc_node_look(f.node[0], f.now_us, view);
	CHECK(view->peers[0].up && view->peers[0].filled && view->certain);
	CHECK_EQ(f.node[0]->tick, sc_tick(f.now_us));
	fleet_stop_node(&f, 2, 1);
	fleet_run(&f, 4 * SC_S);
	sc_node_look(f.node[0], f.now_us, view);
	CHECK(!view->peers[0].up && !view->peers[0].filled && !view->certain);
	free(view);
	fleet_stop(&f);
}

CHECK_MAIN
