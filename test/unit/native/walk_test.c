/* What is said to one peer, when, and how much at once: batches, resends, walks. The peer hears nothing and says nothing. */
#include "check.h"
#include "fleet.h"
#include "state.h"

enum { CLIENT = 0xcb007101, SYN = SC_TCP_SYN, ACK = SC_TCP_ACK };

static struct sc_out *out;

static void begin_with(struct fleet *f, int pops, int nodes, uint32_t entries)
{
	out = malloc(sizeof(*out));
	fleet_start(f, pops, nodes, 2, entries);
	fleet_run(f, 5 * SC_S);
	for (int i = 1; i < f->n; i++)
		f->dead[i] = true;
	f->node[0]->out = out;
	out->n = 0;
}

static void begin(struct fleet *f)
{
	begin_with(f, 2, 1, 1 << 14);
}

static void end(struct fleet *f)
{
	free(out);
	fleet_stop(f);
}

static struct sc_publication *pub_of(struct fleet *f, int i)
{
	return &f->node[0]->peers[i].pub;
}

static void at(struct fleet *f, uint64_t us)
{
	f->now_us = us;
	f->node[0]->now_us = us;
	f->node[0]->tick = sc_tick(us);
}

/* One call of the timers after us, in which no peer dies. */
static void timers_after(struct fleet *f, uint64_t us)
{
	f->now_us += us;
	for (int i = 1; i < f->n; i++)
		f->node[0]->peers[i].mutual_us = f->now_us;
	sc_timers(f->node[0], f->now_us, out);
}

static struct sc_flow_entry *put(struct fleet *f, uint64_t flow, uint32_t backend, enum sc_flow_state state)
{
	struct sc_flow_entry gone;
	enum sc_eviction evicted;

	return sc_flow_insert(&f->node[0]->table, flow, backend, state, f->node[0]->tick, &evicted, &gone);
}

static uint64_t told(const struct fleet *f)
{
	return f->counters[0][SC_C_publish_flows_sent];
}

static void publish(struct fleet *f, struct sc_record r, int times)
{
	for (int i = 0; i < times; i++)
		sc_publish_to(f->node[0], &f->node[0]->peers[1], &r);
}

static bool is_nothing(const struct sc_record *r)
{
	return r->flow == 0 && r->backend == 0 && r->state == SC_FLOW_NONE;
}

/* Checks what became of six records that were made 7 ticks ago; see below. */
static void check_renewed(const struct fleet *f, const struct sc_record *r)
{
	CHECK_EQ(r[0].state, SC_FLOW_CLOSING);		/* went on since */
	CHECK_EQ(r[0].age, 27);
	CHECK_EQ(r[0].idle, 7);
	CHECK(is_nothing(&r[1]));			/* forgotten since: not a word, least of all that it ended */
	CHECK(is_nothing(&r[2]));			/* only cached now */
	CHECK_EQ(r[3].state, SC_FLOW_NONE);		/* ended: stays so, of the same life */
	CHECK_EQ(r[3].flow, 4);
	CHECK_EQ(r[3].backend, fleet_backend_id(1, 1));
	CHECK_EQ(r[3].age, 17);
	CHECK_EQ(r[4].age, SC_AGE_MAX);
	CHECK_EQ(r[5].state, SC_FLOW_HALF_OPEN);	/* ended, and lives again */
	CHECK_EQ(r[5].age, 7);
	(void)f;
}

static void six_records(struct fleet *f)
{
	const uint32_t b = fleet_backend_id(1, 1);
	const struct sc_record r[6] = {
		{ .flow = 1, .backend = b, .state = SC_FLOW_ESTABLISHED, .age = 20 }, { .flow = 2, .backend = b, .state = SC_FLOW_ESTABLISHED, .age = 20 },
		{ .flow = 3, .backend = b, .state = SC_FLOW_ESTABLISHED, .age = 20 }, { .flow = 4, .backend = b, .state = SC_FLOW_NONE, .age = 10 },
		{ .flow = 5, .backend = b, .state = SC_FLOW_NONE, .age = 508 },	      { .flow = 6, .backend = b, .state = SC_FLOW_NONE, .age = 10 },
	};

	for (int i = 0; i < 6; i++)
		publish(f, r[i], 1);
	sc_flow_set_age(put(f, 1, b, SC_FLOW_CLOSING), f->node[0]->tick, 20);
	put(f, 3, b, SC_FLOW_ESTABLISHED)->cached = 1;
	put(f, 6, b, SC_FLOW_HALF_OPEN);
}

TEST("what waited behind a full window is said as it is when it goes")
{
	struct fleet f;
	struct sc_publication *pub;

	begin(&f);
	pub = pub_of(&f, 1);
	pub->acked = pub->sent;
	pub->sent += SC_PUBLISH_WINDOW;
	six_records(&f);
	at(&f, f.now_us + 7 * SC_TICK_US);
	pub->sent = pub->acked;
	timers_after(&f, 0);
	REQUIRE(pub->sent > pub->acked);
	check_renewed(&f, pub->ring[(pub->acked + 1) % SC_PUBLISH_WINDOW].record);
	end(&f);
}

TEST("what is sent again is said as it is when it goes")
{
	struct fleet f;
	struct sc_publication *pub;
	uint64_t number;

	begin(&f);
	pub = pub_of(&f, 1);
	six_records(&f);
	timers_after(&f, SC_FLUSH_US);
	number = pub->sent;
	at(&f, f.now_us - f.now_us % SC_TICK_US);
	pub->ring[number % SC_PUBLISH_WINDOW].sent_us = f.now_us;
	sc_flow_find(&f.node[0]->table, 1)->seen = f.node[0]->tick;
	sc_flow_set_age(sc_flow_find(&f.node[0]->table, 1), f.node[0]->tick, 20);
	sc_flow_set_age(sc_flow_find(&f.node[0]->table, 6), f.node[0]->tick, 0);
	timers_after(&f, 7 * SC_TICK_US);
	CHECK_EQ(f.counters[0][SC_C_publish_batches_resent], 1);
	check_renewed(&f, pub->ring[number % SC_PUBLISH_WINDOW].record);
	end(&f);
}

TEST("nothing is published to a peer without a session")
{
	struct fleet f;

	fleet_start(&f, 2, 1, 2, 64);
	f.dead[1] = true;
	fleet_run(&f, 4 * SC_S);
	REQUIRE(f.node[0]->filled);
	CHECK(fleet_client(&f, 1, 1, CLIENT, 1, SYN, 0) != 0);
	fleet_run(&f, 10 * SC_MS);
	CHECK_EQ(pub_of(&f, 1)->open_count, 0);
	CHECK_EQ(pub_of(&f, 1)->sent, 0);
	sc_owner_to(f.node[0], 1, sc_flow_find(&f.node[0]->table, fleet_flow(CLIENT, 1)));
	CHECK_EQ(f.node[0]->peers[1].owner_count, 0);
	fleet_stop(&f);
}

TEST("a part-filled batch waits 2 ms since its first flow, however many follow")
{
	struct fleet f;
	struct sc_record r = { .flow = 9, .backend = fleet_backend_id(1, 1), .state = SC_FLOW_ESTABLISHED };
	uint64_t sent;

	begin(&f);
	sent = pub_of(&f, 1)->sent;
	for (int i = 0; i < 20; i++) {
		publish(&f, r, 1);
		timers_after(&f, SC_MS);
		CHECK_EQ(pub_of(&f, 1)->sent - sent, (uint64_t)(i + 1) / 2);
	}
	publish(&f, r, SC_BATCH_FLOWS);		/* a full one does not wait */
	CHECK_EQ(pub_of(&f, 1)->sent - sent, 11);
	end(&f);
}

TEST("a window that overflows begins the walk anew, done or under way")
{
	struct fleet f;
	struct sc_record r = { .flow = 9, .backend = fleet_backend_id(1, 1), .state = SC_FLOW_ESTABLISHED };
	struct sc_publication *pub;

	begin(&f);
	pub = pub_of(&f, 1);
	pub->sent = pub->acked + SC_PUBLISH_WINDOW;
	publish(&f, r, SC_BATCH_FLOWS);
	CHECK(pub->walk_done);
	CHECK_EQ(pub->open_count, SC_BATCH_FLOWS);
	publish(&f, r, 1);
	CHECK(!pub->walk_done);
	CHECK_EQ(pub->walk_next, 0);
	pub->walk_next = 5;
	publish(&f, r, 1);
	CHECK_EQ(pub->walk_next, 0);
	CHECK_EQ(pub->open_count, SC_BATCH_FLOWS);
	CHECK_EQ(f.counters[0][SC_C_publish_overflow], 2);
	CHECK_EQ(pub->sent - pub->acked, SC_PUBLISH_WINDOW);
	end(&f);
}

/* What a PUBLISH of one flow and this number does; its word is 1 << 29 | age << 16. */
static enum sc_reason take(struct fleet *f, uint64_t number, uint64_t flow, uint32_t age)
{
	uint8_t body[SC_PUBLISH_HEAD + SC_RECORD_LEN] = { 0 };

	sc_put64(body, number);
	sc_put16(body + 8, 1);
	sc_put64(body + SC_PUBLISH_HEAD, flow);
	sc_put32(body + SC_PUBLISH_HEAD + 8, fleet_backend_id(2, 1));
	sc_put32(body + SC_PUBLISH_HEAD + 12, 1u << 29 | age << 16);
	return sc_publish_receive(f->node[0], &f->node[0]->peers[1], body, sizeof(body));
}

TEST("a batch is acknowledged within 20 ms of its coming, again when it comes again; batch 0 is none; an age has 13 bits")
{
	struct fleet f;
	struct sc_publication *pub;

	begin(&f);
	pub = pub_of(&f, 1);
	pub->taken = pub->taken_mask = pub->ack_due_us = 0;
	CHECK_EQ(take(&f, 1, 11, 600), SC_OK);
	CHECK_EQ(sc_flow_age(sc_flow_find(&f.node[0]->table, 11), f.node[0]->tick), SC_AGE_MAX);
	CHECK_EQ(pub->ack_due_us, f.now_us + 20 * SC_MS);
	at(&f, f.now_us + 5 * SC_MS);
	CHECK_EQ(take(&f, 2, 12, 0), SC_OK);
	CHECK_EQ(pub->ack_due_us, f.now_us + 15 * SC_MS);
	pub->ack_due_us = 0;
	CHECK_EQ(take(&f, 1, 13, 0), SC_OK);
	CHECK_EQ(pub->ack_due_us, f.now_us + 20 * SC_MS);
	CHECK(sc_flow_find(&f.node[0]->table, 13) == NULL);
	CHECK_EQ(take(&f, 0, 14, 0), SC_DROP_bad_message);
	end(&f);
}

TEST("what is unacknowledged goes again after 400 ms, or twice the round trip if that is longer, and only as far as the peer can take it")
{
	static const struct { uint64_t rtt_us, after_us; } cases[] = { { 0, 400 * SC_MS }, { 150 * SC_MS, 400 * SC_MS }, { 300 * SC_MS, 600 * SC_MS } };

	for (int i = 0; i < 3; i++) {
		struct fleet f;
		struct sc_record r = { .flow = 9, .backend = fleet_backend_id(1, 1), .state = SC_FLOW_ESTABLISHED };
		uint64_t first;

		begin(&f);
		f.node[0]->peers[1].rtt_us = (uint32_t)cases[i].rtt_us;
		first = pub_of(&f, 1)->acked + 1;
		publish(&f, r, 100 * SC_BATCH_FLOWS);
		REQUIRE(pub_of(&f, 1)->sent == first + 99);
		timers_after(&f, cases[i].after_us - 1);
		CHECK_EQ(f.counters[0][SC_C_publish_batches_resent], 0);
		timers_after(&f, 1);
		CHECK_EQ(f.counters[0][SC_C_publish_batches_resent], SC_TAKEN_AHEAD);
		for (uint64_t n = 0; n < 100; n++)
			CHECK_EQ(pub_of(&f, 1)->ring[(first + n) % SC_PUBLISH_WINDOW].sent_us == f.now_us, n < SC_TAKEN_AHEAD);
		timers_after(&f, cases[i].after_us - 1);
		CHECK_EQ(f.counters[0][SC_C_publish_batches_resent], SC_TAKEN_AHEAD);
		/* Only what the peer does not say that it took. */
		sc_publish_acked(f.node[0], &f.node[0]->peers[1], first, 1);
		timers_after(&f, 1);
		CHECK_EQ(f.counters[0][SC_C_publish_batches_resent], 2 * SC_TAKEN_AHEAD - 1);
		end(&f);
	}
}

TEST("resends leave room for every HELLO of the same call")
{
	struct fleet f;
	struct sc_record r = { .flow = 9, .backend = fleet_backend_id(1, 1), .state = SC_FLOW_ESTABLISHED };
	uint64_t hellos, resent;

	begin_with(&f, 8, 1, 64);
	for (int i = 1; i < f.n; i++) {
		for (int k = 0; k < 64 * SC_BATCH_FLOWS; k++)
			sc_publish_to(f.node[0], &f.node[0]->peers[i], &r);
		f.node[0]->peers[i].hello_due_us = UINT64_MAX;
		f.node[0]->scratch_used = 0;
		out->n = 0;
	}
	f.now_us += 500 * SC_MS;
	for (int i = 1; i < f.n; i++)
		f.node[0]->peers[i].hello_due_us = f.now_us;
	hellos = f.counters[0][SC_C_hello_sent];
	timers_after(&f, 0);
	CHECK_EQ(f.counters[0][SC_C_hello_sent] - hellos, 7);
	resent = f.counters[0][SC_C_publish_batches_resent];
	CHECK(resent > 100 && resent <= SC_SCRATCH - SC_SCRATCH_RESERVE + 1);
	end(&f);
}

/* The walk for every peer begins anew. */
static void walk_again(struct fleet *f)
{
	for (int i = 1; i < f->n; i++)
		sc_publication_walk(pub_of(f, i));
}

TEST("a walk tells each peer what that is to hold, and nothing else: not the other's, not what is cached")
{
	struct fleet f;
	uint64_t want[6] = { 0 };

	begin_with(&f, 2, 3, 1024);
	for (uint64_t i = 1; i <= 300; i++) {
		uint16_t pop = i % 2;
		struct sc_flow_entry *e = put(&f, i * 0x9e3779b97f4a7c15ull, fleet_backend_id(1 + pop, 1), 1 + i % 3);

		e->cached = i % 5 == 0;
		for (uint16_t row = 1; row < 6; row++)
			want[row] += !e->cached && sc_holds(f.node[0], e->flow, pop, row);
	}
	for (uint16_t row = 1; row < 6; row++) {
		uint64_t before = told(&f);

		sc_publication_walk(pub_of(&f, row));
		for (int k = 0; k < 5; k++)
			timers_after(&f, SC_TIMER_US);
		CHECK(pub_of(&f, row)->walk_done);
		CHECK_EQ(told(&f) - before, want[row]);
		CHECK(want[row] > 50 && want[row] < 200);
	}
	end(&f);
}

TEST("a walk tells 256 flows in a millisecond, however long ago the last one was, and none in less than one")
{
	struct fleet f;
	uint64_t before;

	begin(&f);
	for (uint64_t i = 1; i <= 5000; i++)
		put(&f, i * 0x9e3779b97f4a7c15ull, fleet_backend_id(1, 1), SC_FLOW_HALF_OPEN);
	before = told(&f);
	f.now_us += 20 * SC_S;
	walk_again(&f);
	timers_after(&f, 0);
	CHECK(told(&f) - before >= 192 && told(&f) - before <= 256);
	for (int i = 1; i <= 4; i++) {
		before = told(&f) + pub_of(&f, 1)->open_count;
		timers_after(&f, SC_MS * (uint64_t)i);
		CHECK(told(&f) + pub_of(&f, 1)->open_count - before >= (uint64_t)(256 * i) && told(&f) + pub_of(&f, 1)->open_count - before < (uint64_t)(256 * i + 4));
		before = told(&f) + pub_of(&f, 1)->open_count;
		timers_after(&f, SC_MS - 1);
		CHECK_EQ(told(&f) + pub_of(&f, 1)->open_count, before);
		f.now_us -= SC_MS - 1;
	}
	end(&f);
}

TEST("all walks of one call together look at 32768 buckets, and a walk has ended only behind the last")
{
	enum { LARGE = 1 << 18, BUCKETS = LARGE / SC_FLOW_WAYS };
	struct fleet f;
	uint64_t walks;
	uint32_t looked;

	begin_with(&f, 3, 1, LARGE);
	put(&f, BUCKETS - 1, fleet_backend_id(1, 1), SC_FLOW_ESTABLISHED);
	walk_again(&f);
	walks = f.counters[0][SC_C_walks_finished];
	for (int call = 1; call < 4; call++) {
		timers_after(&f, SC_TIMER_US);
		looked = pub_of(&f, 1)->walk_next + pub_of(&f, 2)->walk_next;
		CHECK_EQ(looked, (uint32_t)call * SC_WALK_BUCKETS);
		CHECK_EQ(f.counters[0][SC_C_walks_finished] - walks, call / 2);
	}
	timers_after(&f, SC_TIMER_US);
	CHECK_EQ(f.counters[0][SC_C_walks_finished] - walks, 2);
	for (int i = 1; i <= 2; i++) {
		CHECK(pub_of(&f, i)->walk_done);
		CHECK_EQ(pub_of(&f, i)->walk_end, pub_of(&f, i)->sent);
		CHECK_EQ(pub_of(&f, i)->ring[pub_of(&f, i)->sent % SC_PUBLISH_WINDOW].record[0].flow, BUCKETS - 1);
	}
	end(&f);
}

TEST("walks leave room for every HELLO of the same call")
{
	struct fleet f;
	uint64_t hellos, batches;

	begin_with(&f, 8, 1, 1 << 14);
	for (uint64_t i = 1; i <= 6000; i++)
		put(&f, i * 0x9e3779b97f4a7c15ull, fleet_backend_id(1, 1), SC_FLOW_HALF_OPEN);
	walk_again(&f);
	for (int i = 1; i < f.n; i++) {
		pub_of(&f, i)->walk_us = f.now_us;
		f.node[0]->peers[i].hello_due_us = f.now_us + 20 * SC_MS;
	}
	hellos = f.counters[0][SC_C_hello_sent];
	batches = f.counters[0][SC_C_publish_batches_sent];
	timers_after(&f, 20 * SC_MS);
	CHECK_EQ(f.counters[0][SC_C_hello_sent] - hellos, 7);
	batches = f.counters[0][SC_C_publish_batches_sent] - batches;
	CHECK(batches > 100 && batches <= SC_SCRATCH - SC_SCRATCH_RESERVE + 7);
	end(&f);
}

TEST("a walk leaves half the window to news, and its end waits for its last batch")
{
	struct fleet f;
	struct sc_publication *pub;

	begin(&f);
	pub = pub_of(&f, 1);
	put(&f, 5, fleet_backend_id(1, 1), SC_FLOW_ESTABLISHED);
	walk_again(&f);
	pub->acked = pub->sent;
	pub->sent += SC_PUBLISH_WINDOW / 2;
	timers_after(&f, SC_TIMER_US);
	CHECK_EQ(pub->walk_next, 0);
	pub->sent--;
	timers_after(&f, SC_TIMER_US);
	CHECK(pub->walk_done);
	/* The last batch cannot go. */
	walk_again(&f);
	pub->acked = pub->sent;
	pub->walk_next = f.node[0]->table.mask + 1;
	pub->sent += SC_PUBLISH_WINDOW;
	publish(&f, (struct sc_record){ .flow = 5, .backend = fleet_backend_id(1, 1), .state = SC_FLOW_ESTABLISHED }, 1);
	timers_after(&f, SC_TIMER_US);
	CHECK(!pub->walk_done);
	pub->sent = pub->acked;
	timers_after(&f, SC_TIMER_US);
	CHECK(pub->walk_done);
	CHECK_EQ(pub->walk_end, pub->acked + 1);
	end(&f);
}

TEST("the end of a walk is said at once")
{
	struct fleet f;

	fleet_start(&f, 2, 1, 2, 64);
	fleet_run(&f, 5 * SC_S);
	f.node[0]->peers[1].hello_due_us = f.now_us;
	sc_publication_walk(pub_of(&f, 1));
	pub_of(&f, 1)->walk_us = f.now_us + SC_TIMER_US;	/* not in the next call */
	fleet_run(&f, SC_TIMER_US);
	CHECK(!f.node[1]->peers[0].pub.said_walk_done);
	fleet_run(&f, SC_TIMER_US);
	CHECK(f.node[1]->peers[0].pub.said_walk_done);
	fleet_stop(&f);
}

CHECK_MAIN
