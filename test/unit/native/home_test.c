/* Who holds a flow: rendezvous order and what of it is alive and has filled. */
#include "check.h"
#include "fleet.h"
#include "state.h"

enum { CLIENT = 0xcb007101, FLOWS = 4096 };

/* A flow of each home row. */
static uint64_t flow_of(uint32_t row)
{
	return (uint64_t)row << 32 | 77;
}

static uint16_t id_at(const struct sc_generation *g, uint16_t row)
{
	return row == SC_NO_ROW ? 0 : g->nodes[row].id;
}

/* The order by the page's definition, slowly: the k-th best node id of the PoP for row. */
static uint16_t naive_order(const struct sc_generation *g, const struct sc_pop *p, uint32_t row, int k)
{
	uint16_t taken[SC_MAX_NODES_PER_POP];

	for (int n = 0; n <= k; n++) {
		uint64_t best_score = 0;
		uint16_t best = 0;

		for (int i = 0; i < p->count; i++) {
			uint16_t id = g->nodes[p->nodes[i]].id;
			uint8_t input[8] = { (uint8_t)(id >> 8), (uint8_t)id, 0, 0, 0, 0, (uint8_t)(row >> 8), (uint8_t)row };
			uint64_t score = sc_xxh64(input, 8, g->h.hash_seed);
			bool used = false;

			for (int t = 0; t < n; t++)
				used = used || taken[t] == id;
			if (!used && (best == 0 || score > best_score || (score == best_score && id < best))) {
				best = id;
				best_score = score;
			}
		}
		taken[n] = best;
	}
	return taken[k];
}

TEST("every row of a PoP is in the order that the page defines")
{
	struct fleet f;
	const struct sc_generation *g;

	fleet_start(&f, 2, 5, 1, 64);
	g = f.node[0]->g;
	for (uint32_t row = 0; row < SC_HOME_ROWS; row++)
		for (int k = 0; k < 5; k++)
			CHECK_EQ(g->nodes[g->pops[1].nodes[g->pops[1].order[row][k]]].id, naive_order(g, &g->pops[1], row, k));
	fleet_stop(&f);
}

static void without_node_3(const struct fleet *f, struct plan *p, int pop, int self)
{
	(void)f;
	(void)pop;
	(void)self;
	p->node[2] = p->node[3];
	p->h.nodes--;
}

static void shuffled(const struct fleet *f, struct plan *p, int pop, int self)
{
	struct sc_node_row first = p->node[0];

	(void)f;
	(void)pop;
	(void)self;
	for (uint32_t i = 1; i < p->h.nodes; i++)
		p->node[i - 1] = p->node[i];
	p->node[p->h.nodes - 1] = first;
}

static struct sc_generation *generation_of(struct fleet *f, void (*change)(const struct fleet *, struct plan *, int, int))
{
	struct sc_generation *g = NULL;
	const char *why;
	size_t len;
	uint8_t *blob;

	fleet_shape(f, 1, 4, 1);
	f->change = change;
	blob = fleet_blob(f, 1, 1, &len);
	CHECK_EQ(sc_generation_load(blob, len, &g, &why), 0);
	free(blob);
	return g;
}

static uint16_t first_of(const struct sc_generation *g, uint32_t row)
{
	return g->nodes[g->pops[0].nodes[g->pops[0].order[row][0]]].id;
}

TEST("taking a node out of the fleet moves only the rows that it was first in, and those to every other")
{
	struct fleet f;
	struct sc_generation *all = generation_of(&f, NULL), *fewer = generation_of(&f, without_node_3);
	uint32_t moved[5] = { 0 };

	for (uint32_t row = 0; row < SC_HOME_ROWS; row++) {
		uint16_t before = first_of(all, row), after = first_of(fewer, row);

		if (before == fleet_node_id(1, 3))
			moved[after - 100]++;
		else
			CHECK_EQ(after, before);
	}
	for (int n = 1; n <= 4; n++)
		CHECK(n == 3 ? moved[n] == 0 : moved[n] > 250 && moved[n] < 450);
	sc_generation_free(all);
	sc_generation_free(fewer);
}

TEST("the order of the fleet file changes nobody's home")
{
	struct fleet f;
	struct sc_generation *one = generation_of(&f, NULL), *other = generation_of(&f, shuffled);

	for (uint32_t row = 0; row < SC_HOME_ROWS; row++)
		CHECK_EQ(first_of(one, row), first_of(other, row));
	sc_generation_free(one);
	sc_generation_free(other);
}

TEST("homes are spread over a PoP's nodes, and second places too")
{
	struct fleet f;
	struct sc_generation *g = generation_of(&f, NULL);
	uint32_t place[2][4] = { { 0 } };

	for (uint32_t row = 0; row < SC_HOME_ROWS; row++)
		for (int k = 0; k < 2; k++)
			place[k][g->pops[0].order[row][k]]++;
	for (int i = 0; i < 4; i++) {
		CHECK(place[0][i] > 900 && place[0][i] < 1150);
		CHECK(place[1][i] > 900 && place[1][i] < 1150);
	}
	sc_generation_free(g);
}

TEST("all nodes of a fleet agree on every flow's home in every PoP")
{
	struct fleet f;

	fleet_start(&f, 3, 3, 1, 64);
	fleet_run(&f, 5 * SC_S);
	for (uint32_t row = 0; row < FLOWS; row += 7)
		for (uint16_t pop = 0; pop < 3; pop++)
			for (int i = 1; i < f.n; i++)
				CHECK_EQ(id_at(f.node[i]->g, sc_home(f.node[i], flow_of(row), pop)),
					 id_at(f.node[0]->g, sc_home(f.node[0], flow_of(row), pop)));
	fleet_stop(&f);
}

/* Node 2 does not hear node 3, and so waits for it as long as a node may. */
static unsigned int deaf(struct fleet *f, int to, const uint8_t *data, uint32_t len,
			 uint64_t delay_us[FLEET_COPIES])
{
	(void)f;
	(void)len;
	(void)delay_us;
	return to == 1 && (sc_get32(data + 12) & 0xff) == 3 ? 0 : 1;
}

TEST("a dead home's flows go to the next in order, come back only when it has filled, and no others move")
{
	struct fleet f;
	const struct sc_node *a;
	uint16_t before[FLOWS];
	const struct sc_pop *p;

	fleet_start(&f, 1, 3, 1, 64);
	fleet_run(&f, 5 * SC_S);
	a = f.node[0];
	p = &a->g->pops[0];
	for (uint32_t row = 0; row < FLOWS; row++)
		before[row] = sc_home(a, flow_of(row), 0);
	fleet_stop_node(&f, 1, 2);
	fleet_run(&f, SC_S);
	for (uint32_t row = 0; row < FLOWS; row++)
		CHECK_EQ(sc_home(a, flow_of(row), 0), before[row] == 1 ? p->nodes[p->order[row][1]] : before[row]);
	f.fate = deaf;
	fleet_start_node(&f, 1, 2, 0x999, 64);
	fleet_run(&f, 2 * SC_S);
	CHECK(a->peers[1].alive && !a->peers[1].peer_filled);
	for (uint32_t row = 0; row < FLOWS; row++)
		CHECK(sc_home(a, flow_of(row), 0) != 1);
	f.fate = NULL;
	fleet_run(&f, SC_S);
	for (uint32_t row = 0; row < FLOWS; row++)
		CHECK_EQ(sc_home(a, flow_of(row), 0), before[row]);
	fleet_stop(&f);
}

TEST("a PoP of which no node is alive has no home, and one of which none has filled has the first alive")
{
	struct fleet f;
	struct sc_node *a;

	fleet_start(&f, 2, 2, 1, 64);
	a = f.node[0];
	fleet_run(&f, 5 * SC_S);
	a->peers[2].peer_filled = a->peers[3].peer_filled = false;
	for (uint32_t row = 0; row < FLOWS; row += 11)
		CHECK_EQ(sc_home(a, flow_of(row), 1), 2 + a->g->pops[1].order[row][0]);
	a->peers[2].alive = false;
	for (uint32_t row = 0; row < FLOWS; row += 11)
		CHECK_EQ(sc_home(a, flow_of(row), 1), 3);
	a->peers[3].alive = false;
	for (uint32_t row = 0; row < FLOWS; row += 11)
		CHECK_EQ(sc_home(a, flow_of(row), 1), SC_NO_ROW);
	fleet_stop(&f);
}

TEST("a flow is held by each PoP's home, by the second in its backend's PoP, and by who still fills before them")
{
	struct fleet f;
	struct sc_node *a;
	uint16_t rows[SC_MAX_NODES];

	fleet_start(&f, 2, 3, 1, 64);
	fleet_run(&f, 5 * SC_S);
	a = f.node[0];
	for (int filling = 0; filling < 2; filling++) {
		a->peers[4].peer_filled = !filling;
		for (uint32_t row = 0; row < FLOWS; row += 5) {
			for (uint16_t backend_pop = 0; backend_pop < 2; backend_pop++) {
				unsigned int n = sc_holders(a, flow_of(row), backend_pop, rows);
				bool written[6] = { false };

				for (unsigned int i = 0; i < n; i++) {
					CHECK(rows[i] != 0 && !written[rows[i]]);
					written[rows[i]] = true;
				}
				for (uint16_t pop = 0; pop < 2; pop++) {
					const uint8_t *order = a->g->pops[pop].order[row];
					int copies = pop == backend_pop ? 2 : 1;

					for (int k = 0; k < 3; k++) {
						uint16_t at = (uint16_t)(pop * 3 + order[k]);

						CHECK_EQ(sc_holds(a, flow_of(row), backend_pop, at), copies > 0);
						if (at != 0)
							CHECK_EQ(written[at], copies > 0);
						if (!(filling && at == 4))
							copies--;
					}
				}
			}
		}
	}
	fleet_stop(&f);
}

TEST("nothing is told to a dead node, and its place is the next one's")
{
	uint16_t rows[SC_MAX_NODES];
	struct sc_node *a;
	struct fleet f;

	fleet_start(&f, 2, 3, 1, 64);
	fleet_run(&f, 5 * SC_S);
	a = f.node[0];
	a->peers[4].alive = false;
	for (uint32_t row = 0; row < FLOWS; row += 5) {
		const uint8_t *order = a->g->pops[1].order[row];
		unsigned int n = sc_holders(a, flow_of(row), 1, rows), there = 0;

		for (unsigned int i = 0; i < n; i++) {
			CHECK(rows[i] != 4);
			there += rows[i] == 3 || rows[i] == 5;
		}
		CHECK_EQ(there, 2);
		n = sc_holders(a, flow_of(row), 0, rows);
		CHECK_EQ(rows[n - 1], 3 + (order[0] == 1 ? order[1] : order[0]));
	}
	fleet_stop(&f);
}

TEST("the table of every node holds what it is to hold, and nothing else")
{
	struct fleet f;

	fleet_start(&f, 2, 3, 2, 4096);
	fleet_run(&f, 5 * SC_S);
	for (uint16_t port = 0; port < 300; port++)
		fleet_client(&f, 1 + port % 2, 1, CLIENT, port, SC_TCP_SYN, 0);
	fleet_run(&f, 100 * SC_MS);
	for (uint16_t port = 0; port < 300; port++) {
		uint64_t flow = fleet_flow(CLIENT, port);

		for (int i = 0; i < f.n; i++) {
			struct sc_flow_entry *e = sc_flow_find(&f.node[i]->table, flow);
			bool held = e && !e->cached;

			CHECK_EQ(held, sc_holds(f.node[0], flow, port % 2, (uint16_t)i));
		}
	}
	fleet_stop(&f);
}

TEST("when a node dies its neighbour has the second copy and delivers with the next packet")
{
	struct fleet f;
	uint32_t at[200];

	fleet_start(&f, 1, 3, 3, 4096);
	fleet_run(&f, 5 * SC_S);
	for (uint16_t port = 0; port < 200; port++) {
		at[port] = fleet_client(&f, 1, 3, CLIENT, port, SC_TCP_SYN, 0);
		fleet_client(&f, 1, 3, CLIENT, port, SC_TCP_ACK, 0);
	}
	fleet_run(&f, 100 * SC_MS);
	fleet_stop_node(&f, 1, 1);
	fleet_run(&f, 400 * SC_MS);
	for (uint16_t port = 0; port < 200; port++)
		CHECK_EQ(fleet_client(&f, 1, 2 + port % 2, CLIENT, port, SC_TCP_ACK, 0), at[port]);
	/* And it has made another copy of what it now owns. */
	fleet_run(&f, 3 * SC_S);
	fleet_stop_node(&f, 1, 2);
	fleet_run(&f, 400 * SC_MS);
	for (uint16_t port = 0; port < 200; port++)
		CHECK_EQ(fleet_client(&f, 1, 3, CLIENT, port, SC_TCP_ACK, 0), at[port]);
	fleet_stop(&f);
}

CHECK_MAIN
