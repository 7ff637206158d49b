/* Checks and indexes a generation blob. See generation.h and lookup.h. */
#include <errno.h>
#include <stdlib.h>

#include "flow_id.h"
#include "lookup.h"

_Static_assert((int)SC_MAX_NODES < (int)SC_NO_ROW && SC_MAX_BACKENDS < SC_NO_BACKEND, "rows fit 16 bits");

static uint32_t service_slot(const struct sc_addr *vip, uint16_t port, uint8_t proto)
{
	uint64_t h = sc_get64(vip->b + 8) ^ sc_get64(vip->b) ^ (uint64_t)port << 8 ^ proto;

	return (uint32_t)(h * 0x9e3779b97f4a7c15ull >> 32) % SC_SERVICE_HASH;
}

static uint32_t backend_slot(uint32_t id)
{
	return (uint32_t)((uint64_t)id * 0x9e3779b97f4a7c15ull >> 32) % SC_BACKEND_HASH;
}

uint16_t sc_find_service(const struct sc_generation *g, const struct sc_addr *vip, uint16_t port,
			 uint8_t proto)
{
	for (uint32_t i = service_slot(vip, port, proto);; i = (i + 1) % SC_SERVICE_HASH) {
		uint16_t row = g->service_hash[i];
		const struct sc_service_row *s;

		if (row == SC_NO_ROW)
			return SC_NO_ROW;
		s = &g->services[row];
		if (s->port == port && s->proto == proto && sc_addr_eq(&s->vip, vip))
			return row;
	}
}

uint16_t sc_find_portless_service(const struct sc_generation *g, const struct sc_addr *vip,
				  uint8_t proto)
{
	for (uint16_t i = 0; i < g->nvips; i++) {
		const struct sc_vip *v = &g->vips[i];

		if (!sc_addr_eq(&v->addr, vip))
			continue;
		if (proto == 0)
			return v->any;
		if (proto == SC_PROTO_TCP || proto == SC_PROTO_UDP)
			return v->fragments[proto == SC_PROTO_UDP];
		return SC_NO_ROW;
	}
	return SC_NO_ROW;
}

uint16_t sc_find_backend(const struct sc_generation *g, uint32_t id)
{
	for (uint32_t i = backend_slot(id);; i = (i + 1) % SC_BACKEND_HASH) {
		uint16_t row = g->backend_hash[i];

		if (row == SC_NO_ROW || g->backends[row].id == id)
			return row;
	}
}

struct sc_place sc_place_of(const struct sc_generation *g, uint32_t id)
{
	uint16_t row = sc_find_backend(g, id);

	return (struct sc_place){
		row != SC_NO_ROW ? g->backend_pop[row] : sc_find_pop(g, (uint16_t)(id >> 20)), row,
	};
}

uint16_t sc_find_pop(const struct sc_generation *g, uint16_t id)
{
	for (uint16_t i = 0; i < g->npops; i++)
		if (g->pops[i].id == id)
			return i;
	return SC_NO_ROW;
}

const struct sc_key *sc_find_key(const struct sc_generation *g, uint8_t id)
{
	for (uint32_t i = 0; i < g->h.keys; i++)
		if (g->keys[i].id == id)
			return &g->keys[i];
	return NULL;
}

uint16_t sc_maglev(const struct sc_generation *g, uint32_t table, uint64_t flow)
{
	const struct sc_pool_row *p = &g->pools[table];

	if (p->size == 0)
		return SC_NO_BACKEND;
	return g->slots[p->first + sc_maglev_slot(flow, p->size)];
}

static int index_nodes(struct sc_generation *g, const char **why)
{
	memset(g->node_by_id, 0xff, sizeof(g->node_by_id));
	g->self = SC_NO_ROW;
	for (uint16_t i = 0; i < g->h.nodes; i++) {
		const struct sc_node_row *n = &g->nodes[i];
		uint16_t pop = sc_find_pop(g, n->pop);
		struct sc_pop *p;

		*why = "nodes";
		if (n->id == 0 || n->pop == 0)
			return -ERANGE;
		if (g->node_by_id[n->id] != SC_NO_ROW)
			return -EEXIST;
		if (pop == SC_NO_ROW) {
			if (g->npops == SC_MAX_POPS)
				return -ERANGE;
			pop = g->npops++;
			g->pops[pop].id = n->pop;
		}
		p = &g->pops[pop];
		if (p->count == SC_MAX_NODES_PER_POP)
			return -ERANGE;
		p->nodes[p->count++] = i;
		g->node_pop[i] = pop;
		g->node_by_id[n->id] = i;
		if (n->id == g->h.self)
			g->self = i;
	}
	*why = "self";
	g->own_pop = g->self == SC_NO_ROW ? SC_NO_ROW : g->node_pop[g->self];
	return g->h.self != 0 && g->self == SC_NO_ROW ? -ERANGE : 0;
}

/* docs/wire-format.md, section 1: rendezvous order (Thaler, Ravishankar, 1998). */
static int order_pop(struct sc_generation *g, struct sc_pop *p)
{
	p->order = calloc(SC_HOME_ROWS, sizeof(*p->order));
	if (!p->order)
		return -ENOMEM;
	for (uint32_t row = 0; row < SC_HOME_ROWS; row++) {
		uint64_t score[SC_MAX_NODES_PER_POP];

		for (uint16_t i = 0; i < p->count; i++) {
			uint16_t id = g->nodes[p->nodes[i]].id;
			uint8_t input[8] = { 0 };
			uint16_t at = i;

			sc_put16(input, id);
			sc_put32(input + 4, row);
			score[i] = sc_xxh64(input, sizeof(input), g->h.hash_seed);
			for (; at > 0; at--) {
				uint8_t before = p->order[row][at - 1];

				if (score[before] > score[i] ||
				    (score[before] == score[i] && g->nodes[p->nodes[before]].id < id))
					break;
				p->order[row][at] = before;
			}
			p->order[row][at] = (uint8_t)i;
		}
	}
	return 0;
}

static int index_backends(struct sc_generation *g, const char **why)
{
	*why = "backends";
	memset(g->backend_hash, 0xff, sizeof(g->backend_hash));
	memset(g->local_backend, 0xff, sizeof(g->local_backend));
	for (uint16_t i = 0; i < g->h.backends; i++) {
		const struct sc_backend_row *b = &g->backends[i];
		uint32_t slot = backend_slot(b->id);

		if (b->id == 0 || b->pop == 0 || b->deliver > SC_DELIVER_LOCAL ||
		    b->state > SC_BACKEND_DOWN || b->pool >= g->h.pools ||
		    b->pool >= SC_MAX_POOLS)
			return -ERANGE;
		if (b->deliver == SC_DELIVER_LOCAL &&
		    (g->node_by_id[b->node] == SC_NO_ROW || g->nodes[g->node_by_id[b->node]].pop != b->pop))
			return -ERANGE;
		if (sc_find_backend(g, b->id) != SC_NO_ROW)
			return -EEXIST;
		while (g->backend_hash[slot] != SC_NO_ROW)
			slot = (slot + 1) % SC_BACKEND_HASH;
		g->backend_hash[slot] = i;
		g->backend_pop[i] = sc_find_pop(g, b->pop);
		if (g->backend_pop[i] != SC_NO_ROW && b->state == SC_BACKEND_READY)
			g->pool_pops[b->pool] |= 1ull << g->backend_pop[i];
		if (b->deliver == SC_DELIVER_LOCAL && b->node == g->h.self && g->h.self != 0)
			g->local_backend[b->pool] = i;
	}
	return 0;
}

static bool same_timeouts(const struct sc_timeouts *a, const struct sc_timeouts *b)
{
	return a->half_open_s == b->half_open_s && a->idle_s == b->idle_s && a->closing_s == b->closing_s;
}

/* Services share classes of timeouts, so that an entry can name its own in 3 bits. */
static int classify_timeouts(struct sc_generation *g, uint16_t row)
{
	const struct sc_service_row *s = &g->services[row];
	struct sc_timeouts timeouts = { s->half_open_s, s->idle_s, s->closing_s };
	struct sc_timeouts *longest = &g->timeouts[0];

	for (uint8_t i = 1; i < g->ntimeouts; i++) {
		if (same_timeouts(&g->timeouts[i], &timeouts)) {
			g->service_class[row] = i;
			return 0;
		}
	}
	if (g->ntimeouts == SC_TIMEOUT_CLASSES)
		return -ERANGE;
	g->timeouts[g->ntimeouts] = timeouts;
	g->service_class[row] = (uint8_t)g->ntimeouts++;
	if (s->half_open_s > longest->half_open_s)
		longest->half_open_s = s->half_open_s;
	if (s->idle_s > longest->idle_s)
		longest->idle_s = s->idle_s;
	if (s->closing_s > longest->closing_s)
		longest->closing_s = s->closing_s;
	return 0;
}

/* The class in t[1 .. SC_TIMEOUT_CLASSES) like c, or 0. */
static uint8_t class_like(const struct sc_timeouts *t, const struct sc_timeouts *c)
{
	for (uint8_t i = 1; i < SC_TIMEOUT_CLASSES; i++)
		if (same_timeouts(&t[i], c))
			return i;
	return 0;
}

void sc_generation_keep_classes(struct sc_generation *g, const struct sc_generation *old)
{
	struct sc_timeouts kept[SC_TIMEOUT_CLASSES] = { g->timeouts[0] };
	uint8_t to[SC_TIMEOUT_CLASSES] = { 0 };

	for (uint8_t i = 1; i < g->ntimeouts; i++)
		if ((to[i] = class_like(old->timeouts, &g->timeouts[i])) != 0)
			kept[to[i]] = g->timeouts[i];
	/* A new class takes a number that nobody has used, while there is one. */
	for (uint8_t i = 1; i < g->ntimeouts; i++) {
		uint8_t at = 1, spare = 0;

		if (to[i] != 0)
			continue;
		for (uint8_t k = SC_TIMEOUT_CLASSES - 1; k > 0; k--) {
			if (kept[k].idle_s == 0)
				at = k;
			if (kept[k].idle_s == 0 && old->timeouts[k].idle_s == 0)
				spare = k;
		}
		to[i] = spare ? spare : at;
		kept[to[i]] = g->timeouts[i];
	}
	/* What only old entries name stays while there is room. */
	for (uint8_t i = 1; i < SC_TIMEOUT_CLASSES; i++)
		if (kept[i].idle_s == 0)
			kept[i] = old->timeouts[i];
	for (uint32_t i = 0; i < g->h.services; i++)
		g->service_class[i] = to[g->service_class[i]];
	memcpy(g->timeouts, kept, sizeof(kept));
}

static int index_vip(struct sc_generation *g, uint16_t row)
{
	const struct sc_service_row *s = &g->services[row];
	struct sc_vip *v = g->vips;

	while (v < g->vips + g->nvips && !sc_addr_eq(&v->addr, &s->vip))
		v++;
	if (v == g->vips + g->nvips) {
		if (g->nvips == SC_MAX_VIPS)
			return -ERANGE;
		g->nvips++;
		*v = (struct sc_vip){ s->vip, row, { SC_NO_ROW, SC_NO_ROW } };
	}
	if (s->flags & SC_SERVICE_FRAGMENTS && v->fragments[s->proto == SC_PROTO_UDP] == SC_NO_ROW)
		v->fragments[s->proto == SC_PROTO_UDP] = row;
	return 0;
}

static int index_services(struct sc_generation *g, const char **why)
{
	*why = "services";
	memset(g->service_hash, 0xff, sizeof(g->service_hash));
	g->ntimeouts = 1;
	g->draining = g->silent = g->h.services > 0;
	for (uint16_t i = 0; i < g->h.services; i++) {
		const struct sc_service_row *s = &g->services[i];
		uint32_t slot = service_slot(&s->vip, s->port, s->proto);

		if (s->pool >= g->h.pools || s->pool >= SC_MAX_POOLS || s->table >= g->h.pools ||
		    (s->proto != SC_PROTO_TCP && s->proto != SC_PROTO_UDP) ||
		    s->half_open_s == 0 || s->idle_s == 0 || s->closing_s == 0 ||
		    s->half_open_s > SC_MAX_TIMEOUT_S || s->idle_s > SC_MAX_TIMEOUT_S ||
		    s->closing_s > SC_MAX_TIMEOUT_S)
			return -ERANGE;
		if (sc_find_service(g, &s->vip, s->port, s->proto) != SC_NO_ROW)
			return -EEXIST;
		while (g->service_hash[slot] != SC_NO_ROW)
			slot = (slot + 1) % SC_SERVICE_HASH;
		g->service_hash[slot] = i;
		g->service_id[i] = (uint32_t)sc_flow_id(&s->vip, &s->vip, s->port, s->port, s->proto, g->h.hash_seed);
		g->draining = g->draining && s->flags & SC_SERVICE_WITHHELD;
		g->silent = g->silent && s->flags & SC_SERVICE_SILENT;
		if (index_vip(g, i) < 0) {
			*why = "services: more VIPs than the limit";
			return -ERANGE;
		}
		if (s->proto == SC_PROTO_TCP && classify_timeouts(g, i) < 0) {
			*why = "services: more distinct timeouts than classes";
			return -ERANGE;
		}
	}
	return 0;
}

static int check_pools(const struct sc_generation *g, const char **why)
{
	*why = "pools";
	for (uint32_t i = 0; i < g->h.pools; i++) {
		const struct sc_pool_row *p = &g->pools[i];

		if (p->first > g->h.slots || p->size > g->h.slots - p->first)
			return -ERANGE;
	}
	*why = "slots";
	for (uint32_t i = 0; i < g->h.slots; i++)
		if (g->slots[i] != SC_NO_BACKEND && g->slots[i] >= g->h.backends)
			return -ERANGE;
	return 0;
}

/* Copies the next array out of the blob. */
static int take(const uint8_t **at, size_t *left, uint32_t count, uint32_t max, size_t size,
		void *array)
{
	void *copy;

	if (count > max)
		return -ERANGE;
	if (*left / size < count)
		return -EINVAL;
	copy = malloc(count * size + 1);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, *at, count * size);
	*(void **)array = copy;
	*at += count * size;
	*left -= count * size;
	return 0;
}

static int unpack(struct sc_generation *g, const uint8_t *at, size_t left, const char **why)
{
	int err;

	*why = "header";
	if (left < sizeof(g->h))
		return -EINVAL;
	memcpy(&g->h, at, sizeof(g->h));
	at += sizeof(g->h);
	left -= sizeof(g->h);
	if (g->h.magic != SC_GENERATION_MAGIC || g->h.mtu < SC_MIN_MTU)
		return -EINVAL;
	*why = "length";
	if ((err = take(&at, &left, g->h.keys, SC_MAX_KEYS, sizeof(*g->keys), &g->keys)) ||
	    (err = take(&at, &left, g->h.nodes, SC_MAX_NODES, sizeof(*g->nodes), &g->nodes)) ||
	    (err = take(&at, &left, g->h.backends, SC_MAX_BACKENDS, sizeof(*g->backends), &g->backends)) ||
	    (err = take(&at, &left, g->h.services, SC_MAX_SERVICES, sizeof(*g->services), &g->services)) ||
	    (err = take(&at, &left, g->h.pools, SC_MAX_TABLES, sizeof(*g->pools), &g->pools)) ||
	    (err = take(&at, &left, g->h.slots, SC_MAX_SLOTS, sizeof(*g->slots), &g->slots)))
		return err;
	if (left != (g->h.slots & 1) * sizeof(*g->slots))
		return -EINVAL;
	*why = "keys";
	if (g->h.self != 0 && g->h.keys == 0)
		return -ERANGE;
	if (g->h.keys == 2 && g->keys[0].id == g->keys[1].id)
		return -EEXIST;
	return 0;
}

int sc_generation_load(const void *blob, size_t len, struct sc_generation **out, const char **why)
{
	struct sc_generation *g = calloc(1, sizeof(*g));
	int err;

	*why = "memory";
	if (!g)
		return -ENOMEM;
	err = unpack(g, blob, len, why);
	if (!err)
		err = index_nodes(g, why);
	if (!err)
		err = index_backends(g, why);
	if (!err)
		err = index_services(g, why);
	if (!err)
		err = check_pools(g, why);
	g->seed_check = (uint16_t)sc_xxh64("", 0, g->h.hash_seed) | 1;
	for (uint16_t i = 0; !err && i < g->npops; i++)
		err = order_pop(g, &g->pops[i]);
	if (err) {
		sc_generation_free(g);
		return err;
	}
	*out = g;
	return 0;
}

void sc_generation_free(struct sc_generation *g)
{
	if (!g)
		return;
	for (uint16_t i = 0; i < g->npops; i++)
		free(g->pops[i].order);
	free(g->keys);
	free(g->nodes);
	free(g->backends);
	free(g->services);
	free(g->pools);
	free(g->slots);
	free(g);
}
