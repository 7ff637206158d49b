/* A generation blob of native tests as C arrays, to be changed before it is packed. */
#ifndef SC_TEST_PLAN_H
#define SC_TEST_PLAN_H

#include <stdlib.h>

#include "generation.h"

enum { PLAN_SLOTS = 4 * 251 };

/* One more of each than a generation takes, so that tests can be greedy. */
struct plan {
	struct sc_generation_header h;
	struct sc_key key[SC_MAX_KEYS + 1];
	struct sc_node_row node[SC_MAX_NODES + 1];
	struct sc_backend_row backend[SC_MAX_BACKENDS + 1];
	struct sc_service_row service[SC_MAX_SERVICES + 1];
	struct sc_pool_row pool[SC_MAX_TABLES + 1];
	uint16_t slot[PLAN_SLOTS];
};

static inline uint8_t *plan_append(uint8_t *at, const void *array, size_t size)
{
	memcpy(at, array, size);
	return at + size;
}

/* The blob that the header's counts say. The caller frees it. */
static inline uint8_t *plan_pack(const struct plan *p, size_t *len)
{
	const struct sc_generation_header *h = &p->h;
	uint8_t *blob, *at;

	*len = sizeof(*h) + h->keys * sizeof(p->key[0]) + h->nodes * sizeof(p->node[0]) +
	       h->backends * sizeof(p->backend[0]) + h->services * sizeof(p->service[0]) +
	       h->pools * sizeof(p->pool[0]) + (h->slots + (h->slots & 1)) * sizeof(p->slot[0]);
	at = blob = calloc(1, *len);
	at = plan_append(at, h, sizeof(*h));
	at = plan_append(at, p->key, h->keys * sizeof(p->key[0]));
	at = plan_append(at, p->node, h->nodes * sizeof(p->node[0]));
	at = plan_append(at, p->backend, h->backends * sizeof(p->backend[0]));
	at = plan_append(at, p->service, h->services * sizeof(p->service[0]));
	at = plan_append(at, p->pool, h->pools * sizeof(p->pool[0]));
	plan_append(at, p->slot, h->slots * sizeof(p->slot[0]));
	return blob;
}

/* Loads it; returns what sc_generation_load() does. */
static inline int plan_load(const struct plan *p, struct sc_generation **g, const char **why)
{
	size_t len;
	uint8_t *blob = plan_pack(p, &len);
	int err = sc_generation_load(blob, len, g, why);

	free(blob);
	return err;
}

#endif
