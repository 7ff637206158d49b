/* What outlives a node's process: the region of memory.h that its table lived in, of
 * its last life and, until that one has filled, of the one before. A machine that is
 * started anew loses it and counts time anew. */
#include "memory.h"
#include "sim.h"

enum { CORRUPT_BYTES = 24, HEADER_BYTES = 96 };

static struct sc_memory_id id_of(const struct sim_node *n)
{
	struct sc_memory_id id = { .hash_seed = SIM_HASH_SEED, .node = n->id };

	memcpy(id.clock, &n->reboots, sizeof(n->reboots));
	return id;
}

static bool good(const struct world *w, const struct sim_node *n, const void *region)
{
	struct sc_memory_id id = id_of(n);

	return region && sc_memory_doubt(region, sc_memory_size(w->flow_entries), &id) == NULL;
}

/* The region that the node would recall now, were it started. */
static void *recallable(const struct world *w, const struct sim_node *n)
{
	return good(w, n, n->memory) ? n->memory : good(w, n, n->past) ? n->past : NULL;
}

static struct sc_flow_entry *find(void *region, uint64_t flow)
{
	struct sc_flow_table t;

	if (!region)
		return NULL;
	sc_flow_table_init(&t, sc_memory_buckets(region), sc_memory_mask(region));
	return sc_flow_find(&t, flow);
}

/* What a node that is dead, or has not recalled it yet, would recall of the flow; NULL:
 * nothing. */
struct sc_flow_entry *sim_remembered(const struct world *w, int node, uint64_t flow)
{
	const struct sim_node *n = &w->node[node];

	return find(n->node ? n->past : recallable(w, n), flow);
}

static void lose_all(struct world *w, int node, enum sim_excuse why)
{
	for (uint32_t i = 0; i < w->nconns; i++) {
		const struct sc_flow_entry *e = sim_remembered(w, node, w->conn[i].flow);

		if (e && !e->cached)
			sim_judge_loss(w, node, &w->conn[i], e, why);
	}
}

/* Once a second: what only nodes know that are dead for longer than copies live is lost to
 * the others, whether or not these come back. */
void sim_memory_pass(struct world *w)
{
	for (int i = 0; i < w->nnodes; i++)
		if (!w->node[i].node && w->node[i].died_us && w->now_us - w->node[i].died_us > SC_COPY_S * SC_S)
			lose_all(w, i, OUT_AWAY);
}

/* A node starts: what its last life left, and an empty memory for this one. */
void sim_memory_begin(struct world *w, int node, struct sc_node_options *o)
{
	struct sim_node *n = &w->node[node];
	size_t size = sc_memory_size(w->flow_entries);
	struct sc_memory_id id = id_of(n);
	void *left = recallable(w, n);
	uint64_t away_us;

	if (left) {
		away_us = w->now_us + n->skew_us - sc_memory_alive_us(left);
		if (away_us > SC_RECALL_BESIDE_S * SC_S)
			lose_all(w, node, OUT_AWAY);
	}
	if (left != n->memory)
		free(n->memory);
	if (left != n->past)
		free(n->past);
	n->past = left;
	n->memory = aligned_alloc(64, size);
	if (!n->memory)
		abort();
	memset(n->memory, 0, size);
	sc_memory_init(n->memory, w->flow_entries, &id);
	o->memory = n->memory;
	o->past = n->past;
}

/* What has been recalled is done with: as io/worker.c sees it. */
void sim_memory_done(struct world *w, int node)
{
	struct sim_node *n = &w->node[node];
	struct sc_node_view v;

	if (!n->past)
		return;
	sc_node_look(n->node, w->now_us + n->skew_us, &v);
	if (!v.recalling) {
		free(n->past);
		n->past = NULL;
	}
}

void sim_memory_free(struct sim_node *n)
{
	free(n->memory);
	free(n->past);
	n->memory = n->past = NULL;
}

/* A dead node's machine starts anew. */
void sim_memory_wipe(struct world *w, int node)
{
	struct sim_node *n = &w->node[node];

	lose_all(w, node, OUT_REBOOT);
	sim_memory_free(n);
	n->reboots++;
}

/* A dead node is no more to return. */
void sim_memory_retire(struct world *w, int node)
{
	lose_all(w, node, OUT_REMOVED);
	sim_memory_free(&w->node[node]);
}

/* A bucket with something in it, if there are many. */
static uint32_t any_bucket(const void *region, struct rng *r)
{
	const struct sc_flow_bucket *b = sc_memory_buckets((void *)(uintptr_t)region);
	uint32_t at = 0;

	for (int tries = 0; tries < 50; tries++) {
		at = rng_below(r, sc_memory_mask(region) + 1);
		if (b[at].way[0].state != SC_FLOW_NONE)
			break;
	}
	return at;
}

static void change_bytes(uint8_t *region, bool header, struct rng *r)
{
	for (uint32_t i = 1 + rng_below(r, CORRUPT_BYTES); i > 0; i--) {
		size_t at = header ? rng_below(r, HEADER_BYTES) :
			SC_MEMORY_HEADER + any_bucket(region, r) * sizeof(struct sc_flow_bucket) +
			rng_below(r, sizeof(struct sc_flow_bucket));

		region[at] ^= (uint8_t)(1 + rng_below(r, 255));
	}
}

/* Some bytes of a dead node's memory change: of entries, or of the header. */
void sim_memory_corrupt(struct world *w, int node, struct rng *r)
{
	struct sim_node *n = &w->node[node];
	size_t size = sc_memory_size(w->flow_entries);
	uint8_t *region = recallable(w, n), *before;
	bool header = rng_below(r, 4) == 0;

	if (!region)
		return;
	before = malloc(size);
	if (!before)
		abort();
	memcpy(before, region, size);
	change_bytes(region, header, r);
	for (uint32_t i = 0; i < w->nconns; i++) {
		const struct sc_flow_entry *was = find(before, w->conn[i].flow), *is = sim_remembered(w, node, w->conn[i].flow);

		if (!was || (is && memcmp(was, is, sizeof(*was)) == 0))
			continue;
		w->conn[i].damaged |= is != NULL;
		sim_judge_loss(w, node, &w->conn[i], was, OUT_DAMAGED);
	}
	free(before);
	sim_say(w, "node %d.%d: its memory is damaged in %s", n->pop + 1, n->number, header ? "its header" : "its entries");
}
