/* Publications: batches lost, repeated and reordered, acknowledgements, windows that overflow, walks. */
#include "check.h"
#include "fleet.h"
#include "state.h"

enum { CLIENT = 0xcb007101, SYN = SC_TCP_SYN, ACK = SC_TCP_ACK, FIN = SC_TCP_FIN | SC_TCP_ACK };

static struct sc_publication *pub_of(struct fleet *f, int i)
{
	return &f->node[i]->peers[1 - i].pub;
}

/* A PUBLISH body of one half-open flow. */
static uint32_t one_flow(uint8_t *body, uint64_t batch, uint64_t flow, uint32_t backend)
{
	memset(body, 0, SC_PUBLISH_HEAD + SC_RECORD_LEN);
	sc_put64(body, batch);
	sc_put16(body + 8, 1);
	sc_put64(body + SC_PUBLISH_HEAD, flow);
	sc_put32(body + SC_PUBLISH_HEAD + 8, backend);
	sc_put32(body + SC_PUBLISH_HEAD + 12, (uint32_t)SC_FLOW_HALF_OPEN << 29);
	return SC_PUBLISH_HEAD + SC_RECORD_LEN;
}

static void take(struct fleet *f, uint64_t batch, uint64_t flow)
{
	uint8_t body[SC_PUBLISH_HEAD + SC_RECORD_LEN];
	uint16_t len = (uint16_t)one_flow(body, batch, flow, fleet_backend_id(2, 1));

	CHECK_EQ(sc_publish_receive(f->node[0], &f->node[0]->peers[1], body, len), SC_OK);
}

/* Node 1 with a session in which the test speaks for the other one. */
static void start_alone(struct fleet *f)
{
	fleet_start(f, 2, 1, 2, 1 << 14);
	fleet_run(f, 5 * SC_S);
	f->dead[1] = true;
	sc_publication_reset(pub_of(f, 0));
}

TEST("batches are taken once in whatever order they come, and acknowledged by number and mask")
{
	uint64_t random = check_seed();

	for (int round = 0; round < 300; round++) {
		struct fleet f;
		uint64_t order[60], next = 1;
		bool had[70] = { false };

		start_alone(&f);
		for (uint64_t i = 0; i < 60; i++) {
			uint64_t at = check_random(&random) % (i + 1);

			order[i] = order[at];
			order[at] = i + 1;
		}
		for (int i = 0; i < 60; i++) {
			struct sc_publication *pub = pub_of(&f, 0);

			take(&f, order[i], order[i]);
			had[order[i]] = true;
			if (check_random(&random) % 4 == 0)	/* once more: not counted twice */
				take(&f, order[check_random(&random) % (unsigned int)(i + 1)], 1000);
			while (had[next])
				next++;
			CHECK_EQ(pub->taken, next - 1);
			for (uint64_t b = 0; b < 64; b++)
				CHECK_EQ(pub->taken_mask >> b & 1, pub->taken + 2 + b < 70 && had[pub->taken + 2 + b]);
		}
		CHECK(sc_flow_find(&f.node[0]->table, 1000) == NULL);
		for (uint64_t flow = 1; flow <= 60; flow++)
			CHECK(sc_flow_find(&f.node[0]->table, flow) != NULL);
		fleet_stop(&f);
		if (round >= 20)
			round += 20;
	}
}

TEST("a batch too far ahead of the first one missing is not taken, and not acknowledged either")
{
	struct fleet f;

	start_alone(&f);
	take(&f, 1, 1);
	take(&f, 66, 66);	/* bit 63 of the mask */
	CHECK_EQ(pub_of(&f, 0)->taken_mask, 1ull << 63);
	take(&f, 67, 67);
	take(&f, 1ull << 63, 68);
	take(&f, UINT64_MAX, 69);
	CHECK_EQ(pub_of(&f, 0)->taken_mask, 1ull << 63);
	CHECK_EQ(pub_of(&f, 0)->taken, 1);
	CHECK(sc_flow_find(&f.node[0]->table, 66) != NULL);
	for (uint64_t flow = 67; flow <= 69; flow++)
		CHECK(sc_flow_find(&f.node[0]->table, flow) == NULL);
	for (uint64_t b = 2; b < 66; b++)
		take(&f, b, b);
	CHECK_EQ(pub_of(&f, 0)->taken, 66);
	CHECK_EQ(pub_of(&f, 0)->taken_mask, 0);
	fleet_stop(&f);
}

/* Fills n batches of node 1's for its peer, none of them delivered. */
static void send_batches(struct fleet *f, unsigned int n)
{
	struct sc_publication *pub = pub_of(f, 0);
	struct sc_record r = { .backend = fleet_backend_id(1, 1), .state = SC_FLOW_ESTABLISHED };
	struct sc_out *out = malloc(sizeof(*out));

	while (n-- > 0) {
		f->now_us += SC_TIMER_US;
		f->node[0]->peers[1].heard_us = f->now_us;
		sc_timers(f->node[0], f->now_us, out);
		for (int i = 0; i < SC_BATCH_FLOWS; i++, r.flow++)
			sc_publish_to(f->node[0], &f->node[0]->peers[1], &r);
		out->n = 0;
	}
	CHECK_EQ(pub->open_count, 0);
	free(out);
}

static bool waits(struct fleet *f, uint64_t number)
{
	return pub_of(f, 0)->ring[number % SC_PUBLISH_WINDOW].number == number;
}

static void acked(struct fleet *f, uint64_t number, uint64_t mask)
{
	sc_publish_acked(f->node[0], &f->node[0]->peers[1], number, mask);
}

TEST("exactly the batches that an acknowledgement names are done with")
{
	struct fleet f;

	start_alone(&f);
	send_batches(&f, 10);
	CHECK_EQ(pub_of(&f, 0)->sent, 10);
	acked(&f, 3, 1ull << 1 | 1ull << 4);	/* and 6 and 9 */
	CHECK_EQ(pub_of(&f, 0)->acked, 3);
	for (uint64_t n = 1; n <= 10; n++)
		CHECK_EQ(waits(&f, n), n > 3 && n != 6 && n != 9);
	CHECK_EQ(f.counters[0][SC_C_publish_batches_acked], 5);
	acked(&f, 2, UINT64_MAX);		/* an older one that came late */
	acked(&f, 11, 0);			/* of what was never sent */
	acked(&f, UINT64_MAX, UINT64_MAX);
	CHECK_EQ(pub_of(&f, 0)->acked, 3);
	for (uint64_t n = 1; n <= 10; n++)
		CHECK_EQ(waits(&f, n), n > 3 && n != 6 && n != 9);
	acked(&f, 4, UINT64_MAX);		/* 6 and on, as far as sent */
	CHECK(!waits(&f, 4) && waits(&f, 5) && !waits(&f, 7) && !waits(&f, 10));
	acked(&f, 10, 0);
	CHECK_EQ(pub_of(&f, 0)->acked, 10);
	CHECK(!waits(&f, 5));
	CHECK_EQ(f.counters[0][SC_C_publish_batches_acked], 10);
	fleet_stop(&f);
}

TEST("what is not acknowledged is sent again, unchanged, after 400 ms and not before")
{
	struct fleet f;
	uint32_t at;
	uint64_t begun;

	fleet_start(&f, 2, 1, 2, 64);
	fleet_run(&f, 5 * SC_S);
	at = fleet_client(&f, 1, 1, CLIENT, 1, SYN, 0);
	f.lose = 1;
	fleet_run(&f, 4 * SC_MS);
	REQUIRE(f.lose == 0);
	begun = pub_of(&f, 0)->ring[pub_of(&f, 0)->sent % SC_PUBLISH_WINDOW].sent_us;
	while (f.counters[0][SC_C_publish_batches_resent] == 0 && f.now_us < begun + SC_S)
		fleet_run(&f, 2 * SC_MS);
	CHECK(f.now_us >= begun + SC_RESEND_US && f.now_us <= begun + SC_RESEND_US + 2 * SC_MS);
	CHECK_EQ(fleet_client(&f, 2, 1, CLIENT, 1, ACK, 0), at);
	fleet_run(&f, SC_S);
	CHECK_EQ(f.counters[0][SC_C_publish_batches_resent], 1);
	CHECK_EQ(pub_of(&f, 0)->sent, pub_of(&f, 0)->acked);
	fleet_stop(&f);
}

TEST("what is sent again is as of now: it takes no state back")
{
	struct fleet f;
	struct sc_flow_entry *e;

	fleet_start(&f, 2, 1, 2, 64);
	fleet_run(&f, 5 * SC_S);
	fleet_run(&f, SC_TICK_US - f.now_us % SC_TICK_US - 200 * SC_MS);
	fleet_client(&f, 1, 1, CLIENT, 1, SYN, 0);
	f.lose = 1;
	fleet_run(&f, 4 * SC_MS);
	REQUIRE(f.lose == 0);
	fleet_client(&f, 1, 1, CLIENT, 1, ACK, 0);
	fleet_run(&f, 4 * SC_MS);
	e = sc_flow_find(&f.node[1]->table, fleet_flow(CLIENT, 1));
	REQUIRE(e != NULL);
	CHECK_EQ(e->state, SC_FLOW_ESTABLISHED);
	fleet_run(&f, 500 * SC_MS);
	CHECK_EQ(f.counters[0][SC_C_publish_batches_resent], 1);
	CHECK_EQ(e->state, SC_FLOW_ESTABLISHED);
	fleet_stop(&f);
}

TEST("what is sent again within the tick in which its port was used again does not close the new connection")
{
	struct fleet f;
	struct sc_flow_entry *e;

	fleet_start(&f, 2, 1, 2, 64);
	fleet_run(&f, 5 * SC_S);
	fleet_client(&f, 1, 1, CLIENT, 1, SYN, 0);
	fleet_client(&f, 1, 1, CLIENT, 1, ACK, 0);
	fleet_run(&f, 10 * SC_S);
	fleet_run(&f, SC_TICK_US - f.now_us % SC_TICK_US + 100 * SC_MS);
	fleet_client(&f, 1, 1, CLIENT, 1, SC_TCP_FIN | ACK, 0);
	f.lose = 1;
	fleet_run(&f, 4 * SC_MS);
	REQUIRE(f.lose == 0);
	fleet_client(&f, 1, 1, CLIENT, 1, SYN, 0);
	fleet_client(&f, 1, 1, CLIENT, 1, ACK, 0);
	fleet_run(&f, 4 * SC_MS);
	e = sc_flow_find(&f.node[1]->table, fleet_flow(CLIENT, 1));
	REQUIRE(e != NULL);
	CHECK_EQ(e->state, SC_FLOW_ESTABLISHED);
	fleet_run(&f, 500 * SC_MS);
	CHECK_EQ(f.counters[0][SC_C_publish_batches_resent], 1);
	CHECK_EQ(e->state, SC_FLOW_ESTABLISHED);
	CHECK_EQ(sc_flow_age(e, f.node[1]->tick), 0);
	fleet_stop(&f);
}

/* Nothing passes from PoP 1 to PoP 2. */
static unsigned int one_way(struct fleet *f, int to, const uint8_t *data, uint32_t len,
			    uint64_t delay_us[FLEET_COPIES])
{
	(void)f;
	(void)data;
	(void)len;
	(void)delay_us;
	return to == 1 ? 0 : 1;
}

TEST("what is sent again after a long outage makes no flow younger, and ends no later life of it")
{
	struct fleet f;
	struct sc_flow_entry *e;

	fleet_start(&f, 2, 1, 2, 64);
	fleet_run(&f, 5 * SC_S);
	f.fate = one_way;
	fleet_client(&f, 1, 1, CLIENT, 1, SYN, 0);
	fleet_client(&f, 1, 1, CLIENT, 2, SYN, 0);
	fleet_client(&f, 1, 1, CLIENT, 2, ACK, 0);
	fleet_run_in_steps(&f, 150 * SC_S, 50 * SC_MS);		/* the first has ended */
	fleet_client(&f, 1, 1, CLIENT, 1, SYN, 0);		/* and lives again */
	fleet_run_in_steps(&f, 40 * SC_S, 50 * SC_MS);
	f.fate = NULL;
	fleet_run(&f, 3 * SC_S);
	e = sc_flow_find(&f.node[1]->table, fleet_flow(CLIENT, 1));
	REQUIRE(e != NULL);
	CHECK(sc_flow_age(e, f.node[1]->tick) >= 20 && sc_flow_age(e, f.node[1]->tick) <= 23);
	e = sc_flow_find(&f.node[1]->table, fleet_flow(CLIENT, 2));
	REQUIRE(e != NULL);
	CHECK(sc_flow_age(e, f.node[1]->tick) >= 94 && sc_flow_age(e, f.node[1]->tick) <= 98);
	CHECK_EQ(e->state, SC_FLOW_ESTABLISHED);
	fleet_stop(&f);
}

TEST("a batch is acknowledged within 20 ms though the next HELLO is far")
{
	struct fleet f;

	fleet_start(&f, 2, 1, 2, 64);
	fleet_run(&f, 5100 * SC_MS);
	fleet_client(&f, 1, 1, CLIENT, 1, SYN, 0);
	fleet_run(&f, 26 * SC_MS);
	CHECK(pub_of(&f, 0)->sent > 0);
	CHECK_EQ(pub_of(&f, 0)->sent, pub_of(&f, 0)->acked);
	fleet_stop(&f);
}

TEST("a window that overflows clears W, and the walk that follows tells everything")
{
	struct fleet f;
	uint32_t flows = 0;

	fleet_start(&f, 2, 1, 2, 1 << 16);
	fleet_run(&f, 5 * SC_S);
	f.lose = 1 << 30;
	for (uint16_t port = 0; f.counters[0][SC_C_publish_overflow] < 1000 && port < 40000; port++, flows++) {
		fleet_client(&f, 1, 1, CLIENT, port, SYN, 0);
		if (port % 64 == 0) {
			fleet_run(&f, 2 * SC_MS);
			f.node[0]->peers[1].mutual_us = f.now_us;	/* it is not the death that is tested */
			f.node[1]->peers[0].mutual_us = f.now_us;
		}
	}
	CHECK(!pub_of(&f, 0)->walk_done);
	CHECK_EQ(pub_of(&f, 0)->sent - pub_of(&f, 0)->acked, SC_PUBLISH_WINDOW);
	CHECK(f.node[1]->table.count[SC_FLOW_HALF_OPEN] < 1000);
	f.lose = 0;
	for (int i = 0; i < 5000 && f.node[1]->table.count[SC_FLOW_HALF_OPEN] < flows; i++) {
		fleet_run(&f, 2 * SC_MS);
		if (f.node[1]->table.count[SC_FLOW_HALF_OPEN] < flows && i > 1000)
			CHECK(!sc_publication_complete(pub_of(&f, 1)));
	}
	CHECK_EQ(f.node[1]->table.count[SC_FLOW_HALF_OPEN], flows);
	fleet_run(&f, 2 * SC_S);
	CHECK(pub_of(&f, 0)->walk_done);
	/* The sweep goes on publishing: now and then everything is acknowledged. */
	for (int i = 0; i < 200 && pub_of(&f, 0)->sent != pub_of(&f, 0)->acked; i++)
		fleet_run(&f, 2 * SC_MS);
	CHECK(sc_publication_complete(pub_of(&f, 1)));
	CHECK_EQ(pub_of(&f, 0)->sent, pub_of(&f, 0)->acked);
	fleet_stop(&f);
}

TEST("records of states that no version 1 node knows are passed over, the rest of their batch is taken")
{
	struct fleet f;
	uint8_t body[SC_PUBLISH_HEAD + 3 * SC_RECORD_LEN] = { [7] = 1, [9] = 3 };

	start_alone(&f);
	for (uint32_t i = 0; i < 3; i++) {
		uint8_t *r = body + SC_PUBLISH_HEAD + i * SC_RECORD_LEN;

		sc_put64(r, i + 1);
		sc_put32(r + 8, fleet_backend_id(2, 1));
		sc_put32(r + 12, (i == 1 ? 7u : 2u) << 29);
	}
	CHECK_EQ(sc_publish_receive(f.node[0], &f.node[0]->peers[1], body, sizeof(body)), SC_OK);
	CHECK(sc_flow_find(&f.node[0]->table, 1) && sc_flow_find(&f.node[0]->table, 3));
	CHECK(sc_flow_find(&f.node[0]->table, 2) == NULL);
	CHECK_EQ(pub_of(&f, 0)->taken, 1);
	fleet_stop(&f);
}

TEST("an age beyond 511 is read as 511, and a record of a backend is kept whose PoP is known")
{
	struct fleet f;
	struct sc_record r = { .flow = 5, .backend = fleet_backend_id(2, 1), .age = 8191, .state = SC_FLOW_ESTABLISHED };

	start_alone(&f);
	sc_take_record(f.node[0], &r, 1);
	CHECK_EQ(sc_flow_age(sc_flow_find(&f.node[0]->table, 5), f.node[0]->tick), SC_AGE_MAX);
	r.flow = 6;
	r.backend = fleet_backend_id(9, 1);
	sc_take_record(f.node[0], &r, 1);
	CHECK(sc_flow_find(&f.node[0]->table, 6) == NULL);
	r.backend = fleet_backend_id(2, 9);	/* a rollout that has not come here yet */
	sc_take_record(f.node[0], &r, 1);
	CHECK(sc_flow_find(&f.node[0]->table, 6) != NULL);
	fleet_stop(&f);
}

/* A third of everything is lost, a fifth comes twice, all after 5 to 300 ms. */
static unsigned int mishap(struct fleet *f, int to, const uint8_t *data, uint32_t len,
			   uint64_t delay_us[FLEET_COPIES])
{
	uint64_t roll = check_random(&f->random) % 15;

	(void)to;
	(void)data;
	(void)len;
	for (int i = 0; i < FLEET_COPIES; i++)
		delay_us[i] = 5 * SC_MS + check_random(&f->random) % (295 * SC_MS);
	return roll < 5 ? 0 : roll < 8 ? 2 : 1;
}

TEST("over a path that loses, repeats and reorders, every node knows in the end what it is to know")
{
	uint64_t seed = check_seed();
	struct fleet f;

	fleet_shape(&f, 3, 2, 2);
	f.random = seed;
	f.fate = mishap;
	fleet_begin(&f, 4096);
	fleet_run(&f, 5 * SC_S);
	for (uint16_t port = 0; port < 500; port++) {
		fleet_client(&f, 1 + port % 3, 1 + port % 2, CLIENT, port, SYN, 0);
		fleet_client(&f, 1 + port % 3, 1 + port % 2, CLIENT, port, ACK, 0);
		if (port % 3 == 0)
			fleet_run(&f, 10 * SC_MS);
	}
	fleet_run(&f, 5 * SC_S);
	f.fate = NULL;
	fleet_run(&f, 10 * SC_S);
	for (int i = 0; i < f.n; i++) {
		CHECK(sc_certain(f.node[i], 0, &(uint64_t){ 0 }));
		CHECK_EQ(fleet_unaccounted(&f, i), 0);
		for (int k = 0; k < f.n; k++)
			if (k != i)
				CHECK_EQ(f.node[i]->peers[k].pub.sent, f.node[i]->peers[k].pub.acked);
	}
	for (uint16_t port = 0; port < 500; port++) {
		uint64_t flow = fleet_flow(CLIENT, port);
		uint32_t backend = 0;

		for (int i = 0; i < f.n; i++) {
			struct sc_flow_entry *e = sc_flow_find(&f.node[i]->table, flow);

			if (e && !e->cached && backend == 0)
				backend = e->backend;
		}
		if (!backend)
			continue;	/* the SYN was lost on its way to its home */
		for (int i = 0; i < f.n; i++) {
			struct sc_flow_entry *e = sc_flow_find(&f.node[i]->table, flow);

			if (!sc_holds(f.node[0], flow, (uint16_t)((backend >> 20) - 1), (uint16_t)i))
				continue;
			if (CHECK(e != NULL))
				CHECK_EQ(e->backend, backend);
		}
	}
	fleet_stop(&f);
}

TEST("a copy's older word of the same life changes nothing at its owner, a later one does")
{
	struct fleet f;
	struct sc_flow_entry *e, before;
	struct sc_record r;

	fleet_start(&f, 2, 1, 2, 64);
	fleet_run(&f, 5 * SC_S);
	fleet_client(&f, 1, 1, CLIENT, 1, SYN, 0);
	fleet_client(&f, 1, 1, CLIENT, 1, ACK, 0);
	fleet_run(&f, 20 * SC_S);
	fleet_client(&f, 1, 1, CLIENT, 1, ACK, 0);
	fleet_run(&f, 6 * SC_S);
	e = sc_flow_find(&f.node[0]->table, fleet_flow(CLIENT, 1));
	REQUIRE(e != NULL);
	before = *e;
	r = sc_make_record(f.node[0], e, SC_FLOW_CLOSING);
	r.idle++;
	sc_take_record(f.node[0], &r, 1);
	CHECK_MEM(e, &before, sizeof(before));
	r.idle--;
	r.state = SC_FLOW_HALF_OPEN;
	sc_take_record(f.node[0], &r, 1);
	CHECK_MEM(e, &before, sizeof(before));
	r.idle--;
	r.state = SC_FLOW_CLOSING;
	sc_take_record(f.node[0], &r, 1);
	CHECK_EQ(e->state, SC_FLOW_CLOSING);
	CHECK_EQ(e->seen, (uint16_t)(before.seen + 1));
	fleet_stop(&f);
}

TEST("states and ends are published too, and an end takes the copies away")
{
	struct fleet f;
	struct sc_flow_entry *e;

	fleet_start(&f, 2, 1, 2, 64);
	fleet_run(&f, 5 * SC_S);
	fleet_client(&f, 1, 1, CLIENT, 1, SYN, 0);
	fleet_run(&f, 10 * SC_MS);
	e = sc_flow_find(&f.node[1]->table, fleet_flow(CLIENT, 1));
	REQUIRE(e != NULL);
	CHECK_EQ(e->state, SC_FLOW_HALF_OPEN);
	fleet_client(&f, 1, 1, CLIENT, 1, ACK, 0);
	fleet_run(&f, 10 * SC_MS);
	CHECK_EQ(e->state, SC_FLOW_ESTABLISHED);
	fleet_client(&f, 1, 1, CLIENT, 1, FIN, 0);
	fleet_run(&f, 10 * SC_MS);
	CHECK_EQ(e->state, SC_FLOW_CLOSING);
	fleet_run_in_steps(&f, 130 * SC_S, 250 * SC_MS);
	CHECK_EQ(e->state, SC_FLOW_NONE);
	CHECK_EQ(f.node[1]->table.count[SC_FLOW_CLOSING], 0);
	fleet_stop(&f);
}

CHECK_MAIN
