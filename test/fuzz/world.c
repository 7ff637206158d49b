/* The fleets that inputs run on: two PoPs of two nodes and one of one, TCP and UDP services of both families, backends of every kind
 * of delivery and state, two keys. See fuzz.h. In the fuzzing build what is allocated here is in the arena. */
#include "fuzz.h"

/* Row 0 is the fleet's TCP service on port 80; each has its sister on the IPv6 VIP. */
static void services(struct plan *p)
{
	static const struct { uint16_t port; uint8_t proto, flags; uint32_t pool; } more[] = {
		{ 53, SC_PROTO_UDP, SC_SERVICE_FRAGMENTS, 0 },
		{ 123, SC_PROTO_UDP, 0, 0 },
		{ 443, SC_PROTO_TCP, SC_SERVICE_FRAGMENTS, 0 },
		{ 8080, SC_PROTO_TCP, 0, 1 },
	};

	for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++) {
		struct sc_service_row *s = &p->service[p->h.services++];

		*s = p->service[0];
		s->port = more[i].port;
		s->proto = more[i].proto;
		s->flags = more[i].flags;
		s->pool = s->table = (uint16_t)more[i].pool;
	}
	for (uint32_t i = 0, n = p->h.services; i < n; i++) {
		p->service[p->h.services] = p->service[i];
		p->service[p->h.services++].vip = ip6(FLEET_VIP);
	}
}

static void change(const struct fleet *f, struct plan *p, int pop, int self)
{
	(void)self;
	p->h.nodes = FUZZ_NODES;
	p->h.mtu = f->ip6 ? FUZZ_MTU6 : FUZZ_MTU4;
	p->key[1] = p->key[0];
	p->key[1].id = FUZZ_KEY_IDS + 1;
	p->key[1].key[0] ^= 0x55;
	p->h.keys = 2;
	services(p);
	for (int q = 1; q <= f->pops; q++) {
		struct sc_backend_row *b = &p->backend[(q - 1) * f->backends_per_pop];
		int local = q < 3 ? q : 1;

		b[1].deliver = SC_DELIVER_LOCAL;
		b[1].node = fleet_node_id(q, local);
		b[1].addr = fleet_addr(f, fleet_node_ip(q, local));
		b[2].state = q == 1 ? SC_BACKEND_DRAINING : SC_BACKEND_DOWN;
		b[3].state = q == 2 ? SC_BACKEND_READY : SC_BACKEND_DOWN;
		b[3].pool = 1;
	}
	/* Of a PoP of which no node is configured. */
	p->backend[p->h.backends++] = (struct sc_backend_row){
		.addr = fleet_addr(f, fleet_backend_ip(4, 1)), .id = fleet_backend_id(4, 1), .pop = 4,
	};
	for (int i = 0; i < FLEET_SLOTS; i++)
		p->slot[i] = (uint16_t)((pop - 1) * f->backends_per_pop + i % 2);
	/* Only PoP 2 has a ready backend of pool 1: the others hand its new connections on. */
	p->pool[p->h.pools++] = (struct sc_pool_row){ .first = FLEET_SLOTS, .size = pop == 2 };
	p->slot[p->h.slots++] = (uint16_t)(f->backends_per_pop + 3);
}

static int pop_of(int i)
{
	return i / FUZZ_NODES_PER_POP + 1;
}

static int place_of(int i)
{
	return i % FUZZ_NODES_PER_POP + 1;
}

static struct sc_memory_id memory_of(int i)
{
	return (struct sc_memory_id){ .hash_seed = FLEET_SEED, .clock = "fuzz",
				      .node = fleet_node_id(pop_of(i), place_of(i)) };
}

/* Node i, from the plan of its fleet; past: what it may recall. */
static void start(struct fuzz_world *w, int i, const struct fuzz_life *life, void *past)
{
	struct sc_node_options o = { .boot_id = life->boot, .flow_entries = FUZZ_ENTRIES, .past = past,
				     .wire_version = life->version };
	struct sc_memory_id id = memory_of(i);
	struct sc_generation *g;
	const char *why;
	size_t len;
	uint8_t *blob = fleet_blob(&w->f, pop_of(i), place_of(i), &len);

	if (sc_generation_load(blob, len, &g, &why) < 0)
		fuzz_fail(__FILE__, __LINE__, "the fleet's generation does not load: %s", why);
	free(blob);
	o.memory = aligned_alloc(64, sc_memory_size(FUZZ_ENTRIES));
	memset(o.memory, 0, sc_memory_size(FUZZ_ENTRIES));
	sc_memory_init(o.memory, FUZZ_ENTRIES, &id);
	w->memory[i] = o.memory;
	w->f.counters[i] = calloc(sc_counter_slots(g), sizeof(uint64_t));
	if (sc_node_new(&o, g, w->f.counters[i], &w->f.node[i]) < 0)
		fuzz_fail(__FILE__, __LINE__, "node %d does not start", i);
	w->f.dead[i] = false;
}

static void load_backend_side(struct fuzz_world *w)
{
	struct plan *plan = malloc(sizeof(*plan));
	const char *why;

	fleet_plan(&w->f, plan, 1, 1);
	plan->h.self = 0;
	if (plan_load(plan, &w->backend_side, &why) < 0)
		abort();
	free(plan);
}

static void pass(struct fuzz_world *w, uint64_t us)
{
	w->f.now_us += us;
	for (int i = 0; i < FUZZ_NODES; i++)
		fuzz_timers(w, i);
	w->calls = 0;
	fuzz_carry(w);
}

/* Sessions of all with all, and flows of all kinds: what most inputs want to begin with. */
static void warm_up(struct fuzz_world *w)
{
	static const uint8_t story[][3] = {	/* of a flow: flags of its packets, 0: no more */
		{ SC_TCP_SYN, SC_TCP_ACK },
		{ SC_TCP_SYN },
		{ SC_TCP_SYN, SC_TCP_ACK, SC_TCP_FIN | SC_TCP_ACK },
		{ SC_TCP_SYN, SC_TCP_ACK, SC_TCP_RST },
	};
	struct sc_node_view view;
	static struct draft d;

	for (int step = 0; step < 60; step++)
		pass(w, 50 * SC_MS);
	for (int i = 0; i < FUZZ_NODES; i++) {
		sc_node_look(w->f.node[i], w->f.now_us, &view);
		FUZZ_CHECK(view.filled && view.certain, "node %d has not filled", i);
	}
	for (uint16_t flow = 0; flow < 16; flow++) {
		for (int k = 0; k < 3 && (k == 0 || story[flow % 4][k]); k++) {
			draft_client(&d, flow & 8 ? 6 : 4, SC_PROTO_TCP, FUZZ_CLIENT, FLEET_VIP, flow, 80,
				     story[flow % 4][k], k ? 10 : 0);
			fuzz_hand(w, (flow / 4 + k) % FUZZ_NODES, d.b, d.len);
			fuzz_carry(w);
			pass(w, 2 * SC_TIMER_US);
		}
	}
	w->calls = 0;
}

void fuzz_world_begin(struct fuzz_world *w, bool outer6)
{
	memset(w, 0, sizeof(*w));
	fleet_shape(&w->f, FUZZ_POPS, FUZZ_NODES_PER_POP, FUZZ_BACKENDS);
	w->f.ip6 = outer6;
	w->f.change = change;
	for (int i = 0; i < FUZZ_NODES; i++) {
		struct fuzz_life life = { .boot = 0x1000u + (unsigned int)i };

		start(w, i, &life, NULL);
	}
	load_backend_side(w);
	warm_up(w);
}

/* What the last life left is bent as by a process that died in the midst of anything. */
void fuzz_world_restart(struct fuzz_world *w, int i, const struct fuzz_life *life)
{
	struct sc_memory_id id = memory_of(i);
	uint32_t size = (uint32_t)sc_memory_size(FUZZ_ENTRIES), len = size;
	void *past = life->recalls ? w->memory[i] : NULL;

	sc_node_free(w->f.node[i]);
	free(w->f.counters[i]);
	if (past) {
		fuzz_bend(past, &len, size, life->bends);
		if (sc_memory_doubt(past, len, &id))
			past = NULL;
	}
	start(w, i, life, past);
}

/* The plan of a fleet file that was changed. */
static void edit(struct plan *p, int i, struct fuzz_args *a)
{
	uint8_t what = fuzz_8(a), which = fuzz_8(a);

	if (what & 1)		/* a backend comes into another state */
		p->backend[which % p->h.backends].state = (what >> 6) % 3;
	if (what & 2)		/* the last one is gone */
		p->h.backends--;
	if (what & 4) {		/* keys change places */
		struct sc_key key = p->key[0];

		p->key[0] = p->key[1];
		p->key[1] = key;
	}
	if ((what & 8) && i < FUZZ_NODES - 1)	/* PoP 3 has no node any more */
		p->h.nodes--;
	if (what & 16)		/* a service is gone */
		p->h.services -= which % 4;
	if (what & 32) {	/* other timeouts, another path */
		p->service[0].idle_s = 60 + which;
		p->h.mtu = (uint16_t)(SC_MIN_MTU + which);
	}
	for (uint8_t k = fuzz_8(a) % 8; k > 0; k--)
		p->slot[fuzz_8(a) % FLEET_SLOTS] = (uint16_t)(fuzz_8(a) % p->h.backends);
	if (fuzz_8(a) & 0x80)	/* what cannot change */
		p->h.hash_seed++;
	if (fuzz_8(a) & 0x80)
		p->h.self = p->node[which % FUZZ_NODES].id;
}

void fuzz_world_swap(struct fuzz_world *w, int i, struct fuzz_args *a)
{
	struct sc_node *node = w->f.node[i];
	struct plan *plan = malloc(sizeof(*plan));
	uint64_t *counters, *was = w->f.counters[i];
	struct sc_generation *g;
	struct sc_swap *swap;
	const char *why;

	fleet_plan(&w->f, plan, pop_of(i), place_of(i));
	edit(plan, i, a);
	if (plan_load(plan, &g, &why) == 0) {
		counters = calloc(sc_counter_slots(g), sizeof(uint64_t));
		if (sc_swap_prepare(node, g, counters, &swap, &why) < 0) {
			FUZZ_CHECK(why && why[0], "a swap was refused without a reason");
			sc_generation_free(g);
			free(counters);
		} else {
			sc_swap_apply(node, swap);
			sc_swap_free(swap);
			FUZZ_CHECK(memcmp(counters, was, SC_COUNTER_COUNT * sizeof(*was)) == 0,
				   "node %d: a swap changed what was counted", i);
			w->f.counters[i] = counters;
			free(was);
			fuzz_check_node(w, i);
		}
	}
	free(plan);
}

/* A blob that loads makes nodes that take a packet. */
void fuzz_world_load(const uint8_t *blob, size_t len)
{
	struct sc_node_options o = { .boot_id = 1, .flow_entries = 1 };
	struct sc_out *out = malloc(sizeof(*out));
	struct sc_generation *g;
	struct sc_node *node;
	uint64_t *counters;
	const char *why = NULL;
	struct exact e;
	static struct draft d;
	int err = sc_generation_load(blob, len, &g, &why);

	if (err < 0) {
		FUZZ_CHECK(why && why[0], "a blob was refused (%d) without a reason", err);
		free(out);
		return;
	}
	counters = calloc(sc_counter_slots(g), sizeof(uint64_t));
	err = sc_node_new(&o, g, counters, &node);
	if (err < 0) {
		sc_generation_free(g);
	} else {
		draft_client(&d, 4, SC_PROTO_TCP, FUZZ_CLIENT, FLEET_VIP, 1, 80, SC_TCP_SYN, 0);
		e = exact_copy(d.b, d.len);
		sc_timers(node, SC_S, out);
		sc_forward(node, &e.p, 1, SC_S, out);
		exact_free(&e);
		sc_node_free(node);
	}
	free(counters);
	free(out);
}
