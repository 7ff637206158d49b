/* The fleet file: its versions, how each reaches every node in its own time, and the
 * picture that a node makes of the one it has. A running node takes a newer file over
 * at once (reload); one that is down finds it at its start. */
#include "plan.h"
#include "sim.h"

enum {
	SLOTS = 251,
	MTU = 1500,
	RECHECK_S = 10,
};

#define DEPARTED_US	(15 * 60 * SC_S)	/* src/fleet/departed.ts */

const struct file *sim_newest(const struct world *w)
{
	return &w->file[w->files - 1];
}

/* A copy of the newest version, to be changed and rolled out. */
struct file *sim_edit(struct world *w)
{
	w->file = realloc(w->file, (w->files + 1) * sizeof(*w->file));
	if (!w->file)
		abort();
	w->file[w->files] = w->file[w->files - 1];
	return &w->file[w->files++];
}

/* Every PoP has backends that are ready, some that are down yet, and some of which the
 * file does not know yet; a spare node is not in it either. */
void sim_config_init(struct world *w, struct rng *r)
{
	struct file *f = calloc(1, sizeof(*f));

	if (!f)
		abort();
	for (int i = 0; i < w->nbackends; i++) {
		f->weight[i] = 1;
		if (w->backend[i].number > 2 && rng_below(r, 2))
			f->state[i] = (uint8_t)(rng_below(r, 2) ? SC_BACKEND_DOWN : SIM_ABSENT);
	}
	for (int i = 0; i < w->nnodes; i++)
		f->node[i] = !w->node[i].spare;
	f->keys = 1;
	f->key[0] = (uint8_t)rng_below(r, 256);
	w->file = f;
	w->files = 1;
}

static uint16_t pop_id(int pop)
{
	return (uint16_t)(pop + 1);
}

static bool names(const struct world *w, int node, int backend)
{
	const struct sc_flow_table *t = &w->node[node].node->table;

	for (uint32_t i = 0; i <= t->mask; i++)
		for (int k = 0; k < SC_FLOW_WAYS; k++) {
			const struct sc_flow_entry *e = &t->buckets[i].way[k];

			if (e->state != SC_FLOW_NONE && !e->cached && e->backend == w->backend[backend].id)
				return true;
		}
	return false;
}

/* Whether the nodes of its PoP keep it, draining, though the file does not name it any
 * more: for a while, and as long as flows name it. */
static bool in_use(const struct world *w, int backend)
{
	if (w->backend[backend].gone_us && w->now_us - w->backend[backend].gone_us < DEPARTED_US)
		return true;
	for (int i = 0; i < w->nnodes; i++)
		if (w->node[i].node && w->node[i].pop == w->backend[backend].pop && names(w, i, backend))
			return true;
	for (uint32_t i = 0; i < w->nconns; i++) {
		const struct connection *c = &w->conn[i];
		int own = c->backend >= 0 ? c->backend : c->claimed;

		if (own == backend && (c->fate == FATE_HANDSHAKE || c->fate == FATE_LIVING || c->fate == FATE_DEAD))
			return true;
	}
	return false;
}

/* As node self sees it. */
static uint8_t state_of(const struct world *w, int self, const struct file *f, int backend)
{
	if (f->state[backend] == SIM_ABSENT && self >= 0 && w->backend[backend].pop == w->node[self].pop &&
	    in_use(w, backend))
		return SC_BACKEND_DRAINING;
	return f->state[backend];
}

/* Weighted rendezvous, so that a change moves little, as Maglev does. */
static void fill_slots(const struct world *w, struct plan *p, int pop, const struct file *f, const int *row)
{
	for (uint32_t slot = 0; slot < SLOTS; slot++) {
		uint64_t high = 0;
		uint16_t best = SC_NO_BACKEND;

		for (int i = w->first_backend[pop]; i < w->first_backend[pop] + w->backends_of[pop]; i++)
			for (int k = 0; f->state[i] == SC_BACKEND_READY && k < f->weight[i]; k++) {
				struct rng r = { (uint64_t)w->backend[i].id << 32 | slot << 8 | (uint32_t)k };
				uint64_t score = rng_next(&r);

				if (best == SC_NO_BACKEND || score > high) {
					high = score;
					best = (uint16_t)row[i];
				}
			}
		p->slot[slot] = best;
	}
	if (p->slot[0] != SC_NO_BACKEND)
		p->pool[0].size = p->h.slots = SLOTS;
}

static void fill_keys(const struct world *w, struct plan *p, const struct file *f)
{
	p->h.keys = f->keys;
	for (uint8_t i = 0; i < f->keys; i++) {
		struct rng r = rng_of(w->o.seed, 'q', f->key[i]);
		uint64_t half[2] = { rng_next(&r), rng_next(&r) };

		p->key[i].id = f->key[i];
		memcpy(p->key[i].key, half, sizeof(half));
	}
}

static void fill_nodes(const struct world *w, struct plan *p, int self, const struct file *f)
{
	for (int i = 0; i < w->nnodes; i++)
		if (f->node[i] || self < 0)
			p->node[p->h.nodes++] = (struct sc_node_row){
				.addr = w->node[i].addr, .id = w->node[i].id, .pop = pop_id(w->node[i].pop),
			};
}

static void fill_backends(const struct world *w, struct plan *p, int self, const struct file *f, int *row)
{
	for (int i = 0; i < w->nbackends; i++) {
		const struct backend *b = &w->backend[i];
		uint8_t state = state_of(w, self, f, i);

		if (state == SIM_ABSENT)
			continue;
		row[i] = (int)p->h.backends;
		p->backend[p->h.backends++] = (struct sc_backend_row){
			.addr = b->addr, .id = b->id, .pop = pop_id(b->pop), .state = state,
			.deliver = b->node < 0 ? SC_DELIVER_GUE : SC_DELIVER_LOCAL,
			.node = b->node < 0 ? 0 : w->node[b->node].id,
		};
	}
}

/* What version f of the file says, as node self sees it, or (-1) the backends' side. */
struct sc_generation *sim_picture(const struct world *w, int self, const struct file *f)
{
	struct plan *p = calloc(1, sizeof(*p));
	int row[SIM_MAX_BACKENDS];
	struct sc_generation *g;
	const char *why;

	if (!p)
		abort();
	p->h = (struct sc_generation_header){
		.magic = SC_GENERATION_MAGIC, .services = SIM_FAMILIES, .pools = 1,
		.self = self < 0 ? 0 : w->node[self].id, .mtu = MTU, .hash_seed = SIM_HASH_SEED,
	};
	fill_keys(w, p, f);
	fill_nodes(w, p, self, f);
	fill_backends(w, p, self, f, row);
	for (uint8_t s = 0; s < SIM_FAMILIES; s++)
		p->service[s] = (struct sc_service_row){
			.vip = sim_vip(s), .port = 80, .proto = SC_PROTO_TCP, .half_open_s = w->half_open_s,
			.idle_s = w->idle_s, .closing_s = w->closing_s,
		};
	if (self >= 0)
		fill_slots(w, p, w->node[self].pop, f, row);
	if (plan_load(p, &g, &why) < 0) {
		fprintf(stderr, "steadycast: sim: the generation does not load: %s\n", why);
		abort();
	}
	free(p);
	return g;
}

/* The file arrives on a node's machine. */
static void deliver(struct world *w, void *p, uint32_t node, uint32_t version)
{
	struct sim_node *n = &w->node[node];

	if (n->frozen) {
		sim_in(w, 100 * SC_MS, deliver, p, node, version);
		return;
	}
	if (version <= n->disk)
		return;
	n->disk = version;
	if (n->node && w->file[version].node[node])
		sim_node_adopt(w, (int)node);
	else if (n->node)
		sim_node_retire(w, (int)node);
}

void sim_roll_out(struct world *w, uint64_t within_us)
{
	for (int i = 0; i < w->nnodes; i++)
		sim_in(w, rng_range(&w->rollout, 0, within_us), deliver, NULL, (uint32_t)i, w->files - 1);
	sim_until(w, within_us + 2 * SC_S);
}

/* Whether every node has that version, or will start with it. */
bool sim_rolled_out(const struct world *w, uint32_t version)
{
	for (int i = 0; i < w->nnodes; i++)
		if (w->node[i].disk < version || (w->node[i].node && w->node[i].works_from < version))
			return false;
	return true;
}

static bool pictured(const struct world *w, int node, int backend)
{
	return w->node[node].node && sc_find_backend(w->node[node].g, w->backend[backend].id) != SC_NO_ROW;
}

static void adopt_again(struct world *w, void *p, uint32_t node, uint32_t boot)
{
	const struct sim_node *n = &w->node[node];

	(void)p;

	if (n->node && n->boots == boot && !n->frozen && w->file[n->disk].node[node])
		sim_node_adopt(w, (int)node);
}

/* A backend that was removed while in use: its PoP's nodes drop it when nothing of it
 * lives any more. */
void sim_watch_removed(struct world *w, void *p, uint32_t backend, uint32_t b)
{
	bool left = false;

	(void)p;
	if (sim_newest(w)->state[backend] != SIM_ABSENT)
		return;
	for (int i = 0; i < w->nnodes; i++) {
		if (!pictured(w, i, (int)backend))
			continue;
		left = true;
		if (!in_use(w, (int)backend))
			sim_in(w, rng_range(&w->rollout, 0, 3 * SC_S), adopt_again, NULL, (uint32_t)i, w->node[i].boots);
	}
	if (left && !w->finishing)
		sim_in(w, RECHECK_S * SC_S, sim_watch_removed, NULL, backend, b);
}

/* Whether some node, or a file on its way, says that the backend is down. */
bool sim_down_somewhere(const struct world *w, int backend)
{
	uint32_t oldest = w->files - 1;

	for (int i = 0; i < w->nnodes; i++) {
		const struct sim_node *n = &w->node[i];
		uint32_t version = n->node ? n->works_from : n->disk;

		if (version < oldest)
			oldest = version;
	}
	for (; oldest < w->files; oldest++)
		if (w->file[oldest].state[backend] == SC_BACKEND_DOWN)
			return true;
	return false;
}

int sim_ready_in(const struct world *w, int pop)
{
	const struct file *f = sim_newest(w);
	int n = 0;

	for (int i = w->first_backend[pop]; i < w->first_backend[pop] + w->backends_of[pop]; i++)
		n += f->state[i] == SC_BACKEND_READY;
	return n;
}

bool sim_pop_without_ready(const struct world *w)
{
	for (int p = 0; p < w->npops; p++)
		if (sim_ready_in(w, p) == 0)
			return true;
	return false;
}
