/* The survival benchmark: one seeded schedule of clients, flows and disturbances, carried
 * by one strategy after the other, and a judge that is the same for all. Called by main.c;
 * each strategy is one file behind struct sv_strategy. docs/survival.md says what is
 * modelled, from which source, and what counts as broken. */
#ifndef SC_SURVIVAL_H
#define SC_SURVIVAL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../test/sim/random.h"
#include "flow_id.h"
#include "limits.h"

enum {
	SV_POPS = 4,
	SV_NODES_PER_POP = 3,
	SV_NODES = SV_POPS * SV_NODES_PER_POP,
	SV_BACKENDS_PER_POP = 8,
	SV_BACKENDS = SV_POPS * SV_BACKENDS_PER_POP,
	SV_READY_AT_FIRST = 6,		/* backends of a PoP; the others are added later */
	SV_SLOTS = 997,			/* of every table: prime, above 100 for each backend (Maglev's rule) */
	SV_FLOWS_PER_CLIENT = 4,
	SV_MAX_CONNECTIONS = 1000000,
	SV_MAX_EVENTS = 512,
	SV_NONE = 255,			/* no backend */
};

/* Simulated time. */
#define SV_BEGIN_US	(1000 * SC_S)	/* all nodes start */
#define SV_WARM_US	(10 * SC_S)	/* until the first client comes */
#define SV_ARRIVALS_US	(420 * SC_S)	/* in which all flows begin */
#define SV_QUIET_US	(30 * SC_S)	/* from the first client to the first event */
#define SV_EVENTS_US	(450 * SC_S)	/* after the first client: no event begins any more */
#define SV_OBSERVED_US	(660 * SC_S)	/* after the first client: the end */
#define SV_STUCK_US	(60 * SC_S)	/* who makes no progress for so long at the end is broken */
#define SV_LONGEST_GAP_US (100 * SC_MS)	/* between two packets of a flow of many */

/* What a scenario has. */
enum sv_disturbance {
	SV_BULK = 1,		/* rows 1 and 8: catchments move, PoPs withdraw and return */
	SV_CHANGES = 2,		/* row 5: backends drained, returned, added */
	SV_RESTARTS = 4,	/* row 7 */
	SV_RESHUFFLES = 8,	/* row 4 */
	SV_ONE_CHANGE = 16,	/* one backend of each PoP drains, once */
	SV_HASTE = 64,		/* every backend of a PoP drains for a while, the next before the last is back */
	SV_MACHINES_LOST = 32,	/* restarted nodes are new machines: nothing of the old one is left */
	SV_CHURN = SV_CHANGES | SV_RESTARTS | SV_RESHUFFLES,
};
struct sv_scenario {
	const char *name;
	double split;		/* share of clients whose packets alternate between two PoPs, all the time */
	unsigned int has;	/* enum sv_disturbance */
	bool extra;		/* not part of the table: for tests and the curious */
};
extern const struct sv_scenario sv_scenarios[];
extern const unsigned int sv_nscenarios;

/* schedule.c: drawn from the seed before anything runs, the same for all strategies. */
enum sv_event_kind {
	SV_E_MOVE,		/* a share of PoP a's clients goes to PoP b */
	SV_E_WITHDRAW,		/* PoP a's clients go to the next PoP of each */
	SV_E_RETURN,		/* those come back */
	SV_E_BACKEND,		/* backend a is in state b from now on */
	SV_E_ROUTE_FALLS,	/* of node a */
	SV_E_NODE_DOWN,		/* its memory is lost */
	SV_E_NODE_UP,
	SV_E_RESHUFFLE,		/* PoP a's router hashes anew */
};
struct sv_event {
	uint64_t at_us;
	enum sv_event_kind kind;
	uint32_t a, b;
	double share;
};
struct sv_flow {
	uint32_t client;
	uint16_t sport;
	uint64_t begin_us, lasts_us;
	uint64_t packets;	/* by the published mix */
	uint64_t observed;	/* of these, before the end */
	uint32_t sends;		/* packets that are simulated: the first, the last, and one every SV_LONGEST_GAP_US */
	uint64_t id;
};
struct sv_client {
	uint8_t prefers[SV_POPS];	/* the nearest PoP first */
	uint8_t other;			/* a split client's second PoP */
	bool split;
	uint64_t delay_us[SV_POPS];
};
struct sv_schedule {
	uint64_t seed;
	const struct sv_scenario *scenario;
	uint32_t nflows, nclients, nevents;
	struct sv_flow *flow;
	struct sv_client *client;
	struct sv_event event[SV_MAX_EVENTS];
	uint64_t delay_us[SV_POPS][SV_POPS];
};
void sv_schedule_new(struct sv_schedule *s, uint64_t seed, const struct sv_scenario *scenario, uint32_t nflows);
void sv_schedule_free(struct sv_schedule *s);

/* mix.c: how many packets a flow has. */
uint64_t sv_mix_draw(struct rng *r);

/* world.c */
enum sv_backend_state { SV_OUT, SV_READY, SV_DRAINING };	/* a draining one serves what it has */
struct sv_world;
struct sv_packet {
	uint32_t flow;
	uint32_t number;	/* 0: the SYN */
	bool last;
};
typedef void (*sv_fn)(void *ctx, void *p, uint32_t a, uint32_t b);	/* p: freed by fn */
struct sv_task {
	uint64_t at_us, order;
	sv_fn fn;
	void *ctx, *p;
	uint32_t a, b;
};
struct sv_connection {
	uint32_t next;		/* the packet under way, or to be sent */
	uint8_t own;		/* backend that has its socket */
	bool over, broken, waiting, odd;
	uint8_t tries;
	uint64_t first_us;	/* when packet next was sent first */
};
struct sv_result {
	uint32_t broken, stuck;	/* stuck ones are among the broken */
	uint64_t packets, packets_broken;	/* the second: of connections that broke */
	uint64_t pause_us;	/* the longest that a packet of a connection that did not break was under way */
};

/* A way to choose backends. What it delivers, it delivers by sv_deliver(). */
struct sv_strategy {
	const char *name;
	void *(*start)(struct sv_world *w);
	void (*stop)(void *state);
	void (*arrive)(void *state, int node, const struct sv_packet *p);
	void (*backends_changed)(void *state, int pop);
	void (*node_down)(void *state, int node);	/* NULL: nothing is lost */
	void (*node_up)(void *state, int node);	/* NULL: it is announced at once; else it calls sv_announce() */
	void (*catchment_moved)(void *state, int from, int to);	/* NULL: nobody is told */
};
extern const struct sv_strategy sv_hash, sv_flow_table, sv_second_chance, sv_previous, sv_previous_far, sv_steadycast;

struct sv_world {
	const struct sv_schedule *s;
	const struct sv_strategy *strategy;
	void *state;
	uint64_t now_us;
	struct sv_task *heap;
	uint32_t ntasks, room;
	uint64_t order;
	struct sv_connection *connection;
	uint8_t *route, *displaced;		/* of each client: its PoP; the withdrawn PoP it will return to */
	uint8_t backend[SV_BACKENDS];		/* enum sv_backend_state */
	bool announced[SV_NODES], down[SV_NODES];
	uint32_t salt[SV_POPS];
	bool trace;
	struct sv_result result;
};
void sv_run(const struct sv_schedule *s, const struct sv_strategy *strategy, bool trace, struct sv_result *r);
void sv_in(struct sv_world *w, uint64_t us, sv_fn fn, void *ctx, void *p, uint32_t a, uint32_t b);
void sv_deliver(struct sv_world *w, const struct sv_packet *p, uint8_t backend);
void sv_announce(struct sv_world *w, int node, bool announced);
/* Whether backend has this packet's connection: what a server asks its kernel. */
bool sv_has_socket(const struct sv_world *w, const struct sv_packet *p, uint8_t backend);
static inline uint32_t sv_slot(const struct sv_world *w, const struct sv_packet *p)
{
	return (uint32_t)(w->s->flow[p->flow].id % SV_SLOTS);
}

/* table.c: what several strategies compute tables from. */
void sv_maglev(const struct sv_world *w, int pop, uint8_t slot[SV_SLOTS]);
/* The PoP's backends that are in, in rendezvous order for a slot. Returns how many. */
int sv_rendezvous(const struct sv_world *w, int pop, uint32_t slot, uint8_t order[SV_BACKENDS_PER_POP]);

#endif
