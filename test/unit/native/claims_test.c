/* Two claims to one flow: two PoPs each took a SYN of it while they could not hear each other. */
#include "check.h"
#include "fleet.h"
#include "state.h"

enum { CLIENT = 0xcb007101, SYN = SC_TCP_SYN, ACK = SC_TCP_ACK };

static uint32_t backend_at(struct fleet *f, int i, uint16_t port)
{
	struct sc_flow_entry *e = sc_flow_find(&f->node[i]->table, fleet_flow(CLIENT, port));

	return e ? e->backend : 0;
}

static uint64_t claims(const struct fleet *f, enum sc_counter c)
{
	uint64_t n = 0;

	for (int i = 0; i < f->n; i++)
		n += f->counters[i][c];
	return n;
}

/* SYNs of port reach PoP first, and after gap_us PoP 3 - first, while nothing passes between the two; then they meet
 * again. */
static void split(struct fleet *f, int first, uint64_t gap_us, uint16_t port, uint64_t seconds)
{
	f->lose = 1 << 30;
	fleet_client(f, first, 1, CLIENT, port, SYN, 0);
	fleet_run(f, gap_us);
	fleet_client(f, 3 - first, 1, CLIENT, port, SYN, 0);
	fleet_run(f, seconds * SC_S);
	f->lose = 0;
	fleet_run(f, 3 * SC_S);
}

TEST("of two claims the younger wins, whichever backend has the smaller id")
{
	for (int first = 1; first <= 2; first++) {
		struct fleet f;

		fleet_start(&f, 2, 1, 1, 64);
		fleet_run(&f, 5 * SC_S);
		split(&f, first, 8 * SC_S, 1, 2);
		for (int i = 0; i < 2; i++)
			CHECK_EQ(backend_at(&f, i, 1), fleet_backend_id(3 - first, 1));
		CHECK(claims(&f, SC_C_claims_lost) >= 1);
		for (int pop = 1; pop <= 2; pop++)
			CHECK_EQ(fleet_client(&f, pop, 1, CLIENT, 1, ACK, 0), fleet_backend_ip(3 - first, 1));
		fleet_stop(&f);
	}
}

TEST("a stale copy's word makes no fresh entry old, though their ages have drifted apart")
{
	struct fleet f;
	struct sc_flow_entry *e;
	struct sc_record stale;

	fleet_start(&f, 2, 1, 1, 64);
	fleet_run(&f, 5 * SC_S);
	fleet_client(&f, 1, 1, CLIENT, 1, SYN, 0);
	fleet_client(&f, 1, 1, CLIENT, 1, ACK, 0);
	fleet_run(&f, 60 * SC_S);
	fleet_client(&f, 1, 1, CLIENT, 1, ACK, 0);
	e = sc_flow_find(&f.node[0]->table, fleet_flow(CLIENT, 1));
	CHECK(e != NULL && sc_flow_idle(e, f.node[0]->tick) == 0);
	stale = sc_make_record(f.node[0], e, e->state);
	stale.age -= 2;
	stale.idle = stale.age;
	sc_take_record(f.node[0], &stale, 1);
	CHECK_EQ(sc_flow_idle(e, f.node[0]->tick), 0);
	fleet_stop(&f);
}

TEST("of two claims of the same age the smaller backend id wins")
{
	for (int first = 1; first <= 2; first++) {
		struct fleet f;

		fleet_start(&f, 2, 1, 1, 64);
		f.now_us = 4 * SC_TICK_US;
		fleet_run(&f, 3 * SC_TICK_US);
		f.lose = 0;
		split(&f, first, 10 * SC_MS, 1, 4);
		for (int i = 0; i < 2; i++)
			CHECK_EQ(backend_at(&f, i, 1), fleet_backend_id(1, 1));
		fleet_stop(&f);
	}
}

TEST("claims older than an age can say tie, and the smaller backend id wins")
{
	struct fleet f;
	struct sc_record r = { .flow = 9, .backend = fleet_backend_id(1, 1), .age = 600, .state = SC_FLOW_ESTABLISHED };

	fleet_start(&f, 2, 1, 2, 64);
	fleet_run(&f, 5 * SC_S);
	sc_take_record(f.node[0], &r, 1);
	r.age = 511;
	r.backend = fleet_backend_id(1, 2);
	sc_take_record(f.node[0], &r, 1);
	CHECK_EQ(sc_flow_find(&f.node[0]->table, 9)->backend, fleet_backend_id(1, 1));
	fleet_stop(&f);
}

TEST("a backend of no configured PoP makes no claim to a flow that is known")
{
	struct fleet f;
	struct sc_record r = { .flow = 9, .backend = fleet_backend_id(2, 1), .age = 10, .state = SC_FLOW_HALF_OPEN };

	fleet_start(&f, 2, 1, 2, 64);
	fleet_run(&f, 5 * SC_S);
	sc_take_record(f.node[0], &r, 1);
	r = (struct sc_record){ .flow = 9, .backend = fleet_backend_id(3, 1), .state = SC_FLOW_ESTABLISHED };
	sc_take_record(f.node[0], &r, 1);
	CHECK_EQ(sc_flow_find(&f.node[0]->table, 9)->backend, fleet_backend_id(2, 1));
	CHECK_EQ(claims(&f, SC_C_claims_lost), 0);
	fleet_stop(&f);
}

TEST("the record's end does not end a younger entry, nor one of another backend")
{
	struct fleet f;
	struct sc_record r = { .flow = 9, .backend = fleet_backend_id(2, 1), .age = 10, .state = SC_FLOW_ESTABLISHED };

	fleet_start(&f, 2, 1, 2, 64);
	fleet_run(&f, 5 * SC_S);
	sc_take_record(f.node[0], &r, 1);
	r.state = SC_FLOW_NONE;
	r.age = 12;
	sc_take_record(f.node[0], &r, 1);
	CHECK(sc_flow_find(&f.node[0]->table, 9) != NULL);
	r.age = 3;
	r.backend = fleet_backend_id(2, 2);
	sc_take_record(f.node[0], &r, 1);
	CHECK(sc_flow_find(&f.node[0]->table, 9) != NULL);
	r.backend = fleet_backend_id(2, 1);
	r.age = 10;
	sc_take_record(f.node[0], &r, 1);
	CHECK(sc_flow_find(&f.node[0]->table, 9) == NULL);
	fleet_stop(&f);
}

TEST("both PoPs come to agree, whatever the time between two claims and the phase of either clock")
{
	uint64_t random = check_seed();
	unsigned int disagreed = 0, dropped = 0;

	for (int round = 0; round < 300; round++) {
		uint64_t gap_us = check_random(&random) % (8 * SC_S);
		struct fleet f;

		fleet_start(&f, 2, 1, 1, 64);
		f.now_us += check_random(&random) % SC_TICK_US;
		f.skew_us[1] = check_random(&random) % SC_TICK_US;
		fleet_run(&f, 4 * SC_S);
		split(&f, 1 + round % 2, gap_us, 1, 1 + check_random(&random) % 5);
		for (int i = 0; i < 6; i++) {
			fleet_client(&f, 1 + i % 2, 1, CLIENT, 1, ACK, 0);
			fleet_run_in_steps(&f, 3 * SC_S, 50 * SC_MS);
		}
		disagreed += backend_at(&f, 0, 1) != backend_at(&f, 1, 1);
		for (int pop = 1; pop <= 2; pop++)
			dropped += fleet_client(&f, pop, 1, CLIENT, 1, ACK, 0) == 0;
		fleet_stop(&f);
	}
	CHECK_EQ(disagreed, 0);
	CHECK_EQ(dropped, 0);
}

/* A flow of PoP 1, which has two nodes, held by both. Returns its home there; *second is the other. */
static int held_by_two(struct fleet *f, int *second)
{
	int home;

	fleet_start(f, 2, 2, 1, 64);
	fleet_run(f, 5 * SC_S);
	fleet_client(f, 1, 1, CLIENT, 1, SYN, 0);
	fleet_client(f, 1, 1, CLIENT, 1, ACK, 0);
	fleet_run(f, 8 * SC_S);
	home = sc_home(f->node[0], fleet_flow(CLIENT, 1), 0);
	*second = 1 - home;
	CHECK_EQ(backend_at(f, home, 1), fleet_backend_id(1, 1));
	CHECK_EQ(backend_at(f, *second, 1), fleet_backend_id(1, 1));
	return home;
}

static struct sc_record claim_of_pop_2(void)
{
	return (struct sc_record){
		.flow = fleet_flow(CLIENT, 1), .backend = fleet_backend_id(2, 1), .state = SC_FLOW_ESTABLISHED,
	};
}

TEST("a flow that another PoP took over is known as such to the second copy, too")
{
	struct sc_record r = claim_of_pop_2();
	struct fleet f;
	int second, home = held_by_two(&f, &second);

	sc_take_record(f.node[home], &r, 2);
	fleet_run(&f, 100 * SC_MS);
	CHECK_EQ(backend_at(&f, second, 1), fleet_backend_id(2, 1));
	CHECK_EQ(backend_at(&f, home, 1), fleet_backend_id(2, 1));
	fleet_stop(&f);
}

TEST("a node of the PoP that tells of a claim which has lost is told the other one")
{
	struct sc_record r = claim_of_pop_2();
	struct fleet f;
	int second, home = held_by_two(&f, &second);
	struct sc_flow_entry *e = sc_flow_find(&f.node[home]->table, fleet_flow(CLIENT, 1));

	e->backend = r.backend;
	sc_flow_set_age(e, f.node[home]->tick, 0);
	r = sc_make_record(f.node[second], sc_flow_find(&f.node[second]->table, r.flow), SC_FLOW_ESTABLISHED);
	CHECK_EQ(r.backend, fleet_backend_id(1, 1));
	sc_publish_to(f.node[second], &f.node[second]->peers[home], &r);
	fleet_run(&f, 100 * SC_MS);
	CHECK_EQ(backend_at(&f, second, 1), fleet_backend_id(2, 1));
	CHECK_EQ(backend_at(&f, home, 1), fleet_backend_id(2, 1));
	fleet_stop(&f);
}

TEST("a handshake that had to stand back is not undone where it began")
{
	struct fleet f;
	int second, home = held_by_two(&f, &second);
	struct sc_flow_entry *e = sc_flow_find(&f.node[home]->table, fleet_flow(CLIENT, 1));
	struct sc_record r;

	e->backend = fleet_backend_id(2, 1);
	sc_flow_set_state(&f.node[home]->table, e, SC_FLOW_HALF_OPEN);
	sc_flow_set_age(e, f.node[home]->tick, 0);
	r = sc_make_record(f.node[home], e, SC_FLOW_HALF_OPEN);
	sc_publish_to(f.node[home], &f.node[home]->peers[second], &r);
	fleet_run(&f, 100 * SC_MS);
	CHECK_EQ(backend_at(&f, second, 1), fleet_backend_id(1, 1));
	CHECK_EQ(backend_at(&f, home, 1), fleet_backend_id(2, 1));
	fleet_stop(&f);
}

TEST("a flow that begins anew in another PoP, because its backend is down, is ended at the second copy, too")
{
	struct fleet f;
	int second, home = held_by_two(&f, &second);

	for (int i = 0; i < f.n; i++) {
		f.node[i]->g->backends[0].state = SC_BACKEND_DOWN;
		if (i < 2)
			f.node[i]->g->pools[0].size = 0;
	}
	CHECK_EQ(fleet_client(&f, 1, home + 1, CLIENT, 1, SYN, 0), fleet_backend_ip(2, 1));
	fleet_run(&f, 100 * SC_MS);
	CHECK_EQ(backend_at(&f, home, 1), fleet_backend_id(2, 1));
	CHECK_EQ(backend_at(&f, second, 1), 0);
	fleet_stop(&f);
}

static uint32_t refuses;	/* the backend of PoP 1 that has no slot when its node starts */

static void only_other(const struct fleet *f, struct plan *p, int pop, int self)
{
	(void)self;
	for (int i = 0; pop == 1 && i < FLEET_SLOTS; i++)
		p->slot[i] = (uint16_t)(refuses == fleet_backend_ip(1, 1) ? f->backends_per_pop - 1 : 0);
}

TEST("a PoP that restarted without its memory takes a SYN of a living flow for a new one only while it is cut off, and gives way when it hears")
{
	for (int cut = 0; cut <= 1; cut++) {
		struct fleet f;
		uint32_t own, got;

		fleet_start(&f, 2, 1, 2, 64);
		fleet_run(&f, 5 * SC_S);
		own = fleet_client(&f, 1, 1, CLIENT, 1, SYN, 0);
		fleet_client(&f, 1, 1, CLIENT, 1, ACK, 0);
		fleet_run(&f, 5 * SC_S);
		refuses = own;
		f.change = only_other;
		f.lose = cut << 30;
		fleet_stop_node(&f, 1, 1);
		fleet_run(&f, SC_S);
		fleet_start_node(&f, 1, 1, 0x9999, 64);
		fleet_run(&f, 4 * SC_S);
		got = fleet_client(&f, 1, 1, CLIENT, 1, SYN, 0);
		CHECK(got != 0);
		CHECK_EQ(got != own, cut);
		f.lose = 0;
		fleet_run(&f, 5 * SC_S);
		for (int pop = 1; pop <= 2; pop++) {
			CHECK_EQ(backend_at(&f, pop - 1, 1), fleet_backend_id(1, own & 0xff));
			CHECK_EQ(fleet_client(&f, pop, 1, CLIENT, 1, ACK, 0), own);
		}
		fleet_stop(&f);
	}
}

CHECK_MAIN
