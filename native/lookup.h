/* What the data path asks of a generation: rows by id, by address, by VIP and
 * port. Filled by generation.c; called by all stages. */
#ifndef SC_LOOKUP_H
#define SC_LOOKUP_H

#include "generation.h"

enum {
	SC_BACKEND_HASH = 2 * SC_MAX_BACKENDS,
	SC_SERVICE_HASH = 2 * SC_MAX_SERVICES,
	SC_TIMEOUT_CLASSES = 8,		/* distinct timeouts of services, and 0: not known */
	SC_NO_ROW = 0xffff,
};

struct sc_timeouts {
	uint32_t half_open_s, idle_s, closing_s;
};

/* The nodes of one PoP, as rows of the node array, in rendezvous order by row. */
struct sc_pop {
	uint16_t id;
	uint16_t count;
	uint16_t nodes[SC_MAX_NODES_PER_POP];	/* rows of the node array */
	uint8_t (*order)[SC_MAX_NODES_PER_POP];	/* [SC_HOME_ROWS][]: positions in nodes */
};

/* A VIP, and its services that need no port: a row of services, or SC_NO_ROW. */
struct sc_vip {
	struct sc_addr addr;
	uint16_t any;			/* for pings */
	uint16_t fragments[2];		/* whose packets hash by addresses only: TCP, UDP */
};

struct sc_generation {
	struct sc_generation_header h;
	struct sc_key *keys;
	struct sc_node_row *nodes;
	struct sc_backend_row *backends;
	struct sc_service_row *services;
	struct sc_pool_row *pools;
	uint16_t *slots;

	uint16_t self;			/* row of this node, SC_NO_ROW on the backend side */
	uint16_t own_pop;		/* index into pops, SC_NO_ROW on the backend side */
	uint16_t npops;
	struct sc_pop pops[SC_MAX_POPS];
	uint16_t node_pop[SC_MAX_NODES];	/* node row -> index into pops */
	uint16_t node_by_id[65536];	/* node id -> row */
	uint16_t backend_pop[SC_MAX_BACKENDS];	/* backend row -> index into pops, SC_NO_ROW: no node there */
	uint16_t backend_hash[SC_BACKEND_HASH];
	uint16_t service_hash[SC_SERVICE_HASH];
	uint32_t service_id[SC_MAX_SERVICES];	/* docs/wire-format.md, section 3.3 */
	uint16_t seed_check;		/* of hash_seed; docs/wire-format.md, section 3.1 */
	bool draining;			/* every service is withheld */
	bool silent;			/* none is announced */
	uint16_t nvips;
	struct sc_vip vips[SC_MAX_VIPS];
	uint16_t local_backend[SC_MAX_POOLS];	/* the one this node delivers to locally */
	uint16_t ntimeouts;
	struct sc_timeouts timeouts[SC_TIMEOUT_CLASSES];	/* [0]: the longest of all */
	uint8_t service_class[SC_MAX_SERVICES];
	uint64_t pool_pops[SC_MAX_POOLS];	/* bit i: pops[i] has a ready backend in the pool */
};

_Static_assert(SC_MAX_POPS <= 64, "PoPs fit a mask");

/* Makes classes of timeouts that both have the same number in g as in old, so that
 * entries keep theirs; to be called before g is used. */
void sc_generation_keep_classes(struct sc_generation *g, const struct sc_generation *old);

/* Row of the service, SC_NO_ROW when there is none. */
uint16_t sc_find_service(const struct sc_generation *g, const struct sc_addr *vip, uint16_t port,
			 uint8_t proto);

/* Any service of this VIP whose packets hash by addresses only; any service at all
 * when proto is 0. */
uint16_t sc_find_portless_service(const struct sc_generation *g, const struct sc_addr *vip,
				  uint8_t proto);

uint16_t sc_find_backend(const struct sc_generation *g, uint32_t id);

/* Where a backend is: its PoP as an index into pops, and its row. A backend that is not
 * configured here (SC_NO_ROW) has the PoP of its id: during a rollout others know
 * backends that this node has yet to hear of. SC_NO_ROW: no such PoP. */
struct sc_place {
	uint16_t pop, row;
};
struct sc_place sc_place_of(const struct sc_generation *g, uint32_t id);

uint16_t sc_find_pop(const struct sc_generation *g, uint16_t id);	/* index into pops */
const struct sc_key *sc_find_key(const struct sc_generation *g, uint8_t id);

/* The Maglev choice for a flow by one of the tables: a row of backends of this PoP, or
 * SC_NO_BACKEND. */
uint16_t sc_maglev(const struct sc_generation *g, uint32_t table, uint64_t flow);

#endif
