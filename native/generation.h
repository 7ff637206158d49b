/* A generation: the immutable picture of the fleet that a node works from.
 * Filled by TypeScript (src/dataplane/generation.ts) as one little-endian blob,
 * checked and indexed here, handed to a node, freed when the node lets go.
 * Guarantees: after sc_generation_load() succeeded every index in it is in
 * bounds, so that the packet path need not check. */
#ifndef SC_GENERATION_H
#define SC_GENERATION_H

#include "packet.h"

#define SC_GENERATION_MAGIC	0x33474353u	/* "SCG3" */

/* The blob: header, then the arrays in this order, each as many as the header
 * counts: keys, nodes, backends, services, pools, slots. Little-endian, packed as
 * the C structs below (no implicit padding). */
struct sc_generation_header {
	uint32_t magic;
	uint32_t keys, nodes, backends, services, pools;
	uint32_t slots;		/* uint16_t slots of all tables together, padded to an even count */
	uint16_t self;		/* this node's id; 0 for the backend side */
	uint16_t mtu;		/* of the path between machines, outer packet */
	uint64_t hash_seed;
	uint32_t fleet_digest;	/* what peers are told, to compare: docs/wire-format.md, HELLO */
	uint32_t pad;
};

struct sc_key {
	uint8_t id;
	uint8_t pad[7];
	uint8_t key[16];
};

struct sc_node_row {
	struct sc_addr addr;
	uint16_t id;
	uint16_t pop;
	uint32_t pad;
};

enum sc_deliver { SC_DELIVER_GUE = 0, SC_DELIVER_LOCAL = 1 };
enum sc_backend_state { SC_BACKEND_READY = 0, SC_BACKEND_DRAINING = 1, SC_BACKEND_DOWN = 2 };

struct sc_backend_row {
	struct sc_addr addr;	/* of the machine GUE goes to; the node's for local delivery */
	uint32_t id;
	uint16_t pop;
	uint16_t node;		/* local delivery: the node's id, else 0 */
	uint8_t deliver;	/* enum sc_deliver */
	uint8_t state;		/* enum sc_backend_state */
	uint8_t pad[2];
	uint32_t pool;		/* index */
};

enum sc_service_flags {
	SC_SERVICE_FRAGMENTS = 1,	/* hash by addresses only */
	SC_SERVICE_WITHHELD = 2,	/* other PoPs are not to count on this node for it */
	SC_SERVICE_SILENT = 4,		/* this node announces it to nobody now */
};

struct sc_service_row {
	struct sc_addr vip;
	uint16_t port;
	uint8_t proto;		/* SC_PROTO_TCP or SC_PROTO_UDP */
	uint8_t flags;
	uint16_t pool;		/* index: whose backends serve it */
	uint16_t table;		/* index: which of them take its new connections */
	uint32_t half_open_s, idle_s, closing_s;
	uint32_t label;		/* which service of the file, for counters */
};

/* A Maglev table of this node's PoP: slots[first .. first + size) hold indexes into
 * backends, 0xffff where there is none. size 0: nobody takes new connections. The
 * first rows are the pools', which backends and services name; behind them come those
 * of services for which other backends of their pool are ready, by health. */
struct sc_pool_row {
	uint32_t first;
	uint32_t size;
};

#define SC_NO_BACKEND 0xffffu

_Static_assert(sizeof(struct sc_generation_header) == 48, "blob header");
_Static_assert(sizeof(struct sc_key) == 24, "blob key");
_Static_assert(sizeof(struct sc_node_row) == 24, "blob node");
_Static_assert(sizeof(struct sc_backend_row) == 32, "blob backend");
_Static_assert(sizeof(struct sc_service_row) == 40, "blob service");
_Static_assert(sizeof(struct sc_pool_row) == 8, "blob pool");

struct sc_generation;

/* Checks and copies a blob of len bytes. -EINVAL: not a blob of this layout;
 * -ERANGE: an index or a count out of bounds; -EEXIST: an id twice; -ENOMEM.
 * *why names the field. */
int sc_generation_load(const void *blob, size_t len, struct sc_generation **out, const char **why);
void sc_generation_free(struct sc_generation *g);

#endif
