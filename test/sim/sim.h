/* The seeded simulator of whole fleets: its world, and what its files offer each other.
 * One world is one seed's run: the real data path's nodes, a network, backends' and
 * clients' TCP, a schedule of events, and a judge. Everything happens in simulated
 * microseconds, in the order of one queue; the same options always give the same run.
 * docs/simulator.md says what is simulated, and what counts as broken. */
#ifndef SC_SIM_H
#define SC_SIM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "random.h"
#include "state.h"

enum {
	SIM_MAX_POPS = 16,
	SIM_MAX_NODES = 64,
	SIM_MAX_BACKENDS = 96,
	SIM_MAX_EVENTS = 4096,
	SIM_MAX_CLIENTS = 16384,
	SIM_PORTS = 64,			/* a client's ports */
	SIM_FIRST_PORT = 32768,
	SIM_FAMILIES = 2,		/* service 0 is the IPv4 VIP, service 1 the IPv6 one */
	SIM_TURNS = 8,
	SIM_MESSAGES = 8,		/* failures kept in words */
	SIM_HANDLED_MAX = 4,		/* nodes that handle one packet: ingress, home, relay, owner */
	SIM_NOBODY = 0x7fffffff,	/* no connection */
};

#define SIM_HASH_SEED	0x9f1c5e7702ab44d1ull
#define SIM_START_US	(1000 * SC_S)	/* when the first node starts */
#define SIM_WARM_US	(6 * SC_S)	/* until the first client comes */
#define SIM_CALM_US	(20 * SC_S)	/* after the last event, until everyone is asked to go on */
#define SIM_BOUND_US	(60 * SC_S)	/* within which everyone must have gone on */
#define SIM_YOUNG_US	(5 * SC_S)	/* a flow may be known to one node alone for this long */
#define SIM_CONTEST_US	(3 * SC_S)	/* a SYN may be unknown to another PoP for this long */
#define SIM_REPAIR_US	(30 * SC_S)	/* after a node's death, until every copy is made again */

struct world;

/* What the data path does not have yet: off until it has. See events.c. */
enum sim_feature {
	SIM_RELAY, SIM_SPILL, SIM_ROTATION, SIM_RELOAD, SIM_MEMORY, SIM_VERSIONS, SIM_DRAIN_REUSE,
	SIM_FEATURES,
};

struct sim_options {
	uint64_t seed;
	int pops, nodes;		/* nodes of each PoP; 0: by seed */
	int connections, events;
	bool feature[SIM_FEATURES];
	bool sabotage;			/* homes forget: the judge must see it */
	bool trace;
	const uint8_t *no_event;	/* [SIM_MAX_EVENTS] 1: left out. NULL: none */
	const uint8_t *no_client;	/* [SIM_MAX_CLIENTS] */
	const uint8_t *watch;		/* [connections] to trace, NULL: all that fail */
};

struct sim_result {
	uint32_t connections, events, broken, violations, outside, contested, resets, finished;
	uint64_t simulated_us, packets, tasks;
	uint32_t events_left;		/* how many of the schedule were not left out */
	int nmessages;
	char message[SIM_MESSAGES][200];
	uint8_t *failed;		/* [connections] 1: broken */
};

/* queue.c: what happens next. */
typedef void (*task_fn)(struct world *w, void *p, uint32_t a, uint32_t b);
struct task {
	uint64_t at_us, order;
	task_fn fn;
	void *p;
	uint32_t a, b;
};
struct queue {
	struct task *heap;
	uint32_t n, room;
	uint64_t order;
};
void sim_at(struct world *w, uint64_t at_us, task_fn fn, void *p, uint32_t a, uint32_t b);
static inline void sim_in(struct world *w, uint64_t us, task_fn fn, void *p, uint32_t a, uint32_t b);
bool sim_step(struct world *w, uint64_t until_us);
void sim_queue_free(struct world *w);

/* A TCP segment as its receiver sees it. */
struct segment {
	uint32_t client;		/* SIM_MAX_CLIENTS and above: nobody has this address */
	uint16_t sport;
	uint8_t service;		/* 0: IPv4, 1: IPv6 */
	uint8_t flags;
	uint32_t seq, ack;
	uint16_t len;
	bool spoofed;
	uint32_t conn;			/* whose it is, SIM_NOBODY */
	uint32_t serial;		/* of the packet that carried it */
	int backend;			/* that sent it */
};

/* tcp.c: one end of a connection, client's or backend's. */
enum tcp_state { TCP_CLOSED, TCP_SYN_SENT, TCP_SYN_RECEIVED, TCP_OPEN, TCP_TIME_WAIT };
struct tcp {
	uint8_t state;
	bool fin_wanted, fin_acked, peer_fin, closed_first;
	uint8_t tries;
	uint16_t mss;
	uint32_t iss, una, nxt, max, end;	/* end: behind the last byte that may be sent */
	uint32_t irs, rcv;
	uint32_t rto_us;
	uint64_t due_us;			/* retransmission, 0: nothing in flight */
	uint64_t armed_us;			/* when the queue looks at it, 0: not at all */
};
enum tcp_verdict { TCP_NOTHING, TCP_ESTABLISHED, TCP_RESET, TCP_REFUSED };
typedef void (*tcp_send_fn)(struct world *w, void *ctx, uint8_t flags, uint32_t seq, uint32_t ack,
			    uint16_t len);
struct tcp_host {
	struct world *w;
	tcp_send_fn send;
	void *ctx;
};
void tcp_connect(const struct tcp_host *h, struct tcp *t, uint32_t iss);
void tcp_accept(const struct tcp_host *h, struct tcp *t, uint32_t iss, uint32_t irs);
enum tcp_verdict tcp_input(const struct tcp_host *h, struct tcp *t, const struct segment *s);
void tcp_output(const struct tcp_host *h, struct tcp *t);
void tcp_timeout(const struct tcp_host *h, struct tcp *t);
void tcp_keepalive(const struct tcp_host *h, const struct tcp *t);
static inline uint32_t tcp_received(const struct tcp *t)
{
	return t->rcv - t->irs - 1 - (t->peer_fin ? 1 : 0);
}
static inline bool tcp_before(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}

/* What the two applications of a connection do. */
enum script_end { END_CLIENT_FIN, END_SERVER_FIN, END_CLIENT_RST, END_STAYS, END_HALF_CLOSED };
struct script {
	uint8_t turns, end;
	bool keepalive;			/* probes instead of turns after a silence */
	uint64_t begin_us;
	uint64_t think_us[SIM_TURNS];
	uint32_t up[SIM_TURNS], down[SIM_TURNS];
	uint32_t chunk;			/* the backend sends so much ... */
	uint64_t pace_us;		/* ... this often; 0: all at once */
};

enum fate {
	FATE_NONE,		/* not begun */
	FATE_HANDSHAKE,
	FATE_LIVING,		/* the promise holds */
	FATE_OVER,		/* closed or aborted by its own ends */
	FATE_DEAD,		/* its backend forgot it: its client is to be told */
	FATE_BROKEN,
};
struct connection {
	uint32_t client;
	uint16_t sport;
	uint8_t service, fate;
	bool outside;			/* not covered by the promise: why is in the trace */
	bool contested;
	bool raced;			/* a SYN of it came to a PoP that could not know it */
	uint8_t turn;
	bool wrote;			/* this turn's bytes are written */
	bool asked_last;		/* the last turn, after the last event */
	uint32_t up_total, down_total;	/* by the turns so far */
	int backend;			/* its own, -1 before it has one */
	int claimed;			/* backend that first got its SYN, -1 */
	uint64_t claimed_us, living_us;
	uint64_t delivered_us;		/* last packet that reached its own backend */
	uint64_t timeout_s;		/* that holds for it now */
	uint64_t flow;
	struct tcp tcp;
	struct script script;
};

/* client.c */
struct client {
	uint64_t delay_us[SIM_MAX_POPS];
	uint8_t prefers[SIM_MAX_POPS];	/* PoPs, the nearest first */
	int route;			/* PoP, -1: the first of prefers that announces */
	int split;			/* the PoP of every other packet, -1 */
	uint32_t sent;
	uint16_t path_mtu;
	uint32_t port[SIM_FAMILIES][SIM_PORTS];	/* connection, SIM_NOBODY */
};
void sim_clients_init(struct world *w);
void sim_client_receive(struct world *w, const struct segment *s);
void sim_ask_last(struct world *w);
struct connection *sim_current(struct world *w, uint32_t client, uint8_t service, uint16_t sport);
struct script sim_script(struct world *w, uint32_t conn);
void sim_zombies(struct world *w);

/* backend.c */
struct socket {
	uint64_t key;			/* backend, client, service, port */
	int32_t next;			/* in its chain, -1 */
	uint32_t life;			/* counts this slot's sockets */
	bool used;
	int backend;
	uint32_t client, conn;
	uint16_t sport;
	uint8_t service, turn;
	bool replied;
	uint32_t up_total, down_total;	/* by the turns answered so far */
	uint32_t left;			/* of the answer under way */
	uint64_t gone_us;		/* end of TIME-WAIT */
	struct tcp tcp;
};
struct backend {
	int pop, number;
	uint32_t id;
	struct sc_addr addr;
	int node;			/* local delivery: the node, -1: GUE */
	int weight;
	uint8_t state;			/* enum sc_backend_state: as configured now */
	bool was_down, was_draining;	/* ever, in somebody's picture */
	bool pressed;			/* answers with SYN cookies */
	int half_open;
	uint64_t counters[SC_COUNTER_COUNT];
};
void sim_backend_receive(struct world *w, int backend, uint8_t *data, uint32_t len);
void sim_backend_local(struct world *w, int node, const uint8_t *data, uint32_t len);
struct socket *sim_socket(struct world *w, int backend, uint32_t client, uint8_t service, uint16_t sport);
void sim_forget(struct world *w, struct connection *c);

/* fleet.c */
struct sim_node {
	struct sc_node *node;		/* NULL: dead */
	struct sc_generation *g;
	uint64_t *counters;
	int pop, number;
	uint16_t id;
	struct sc_addr addr;
	uint64_t skew_us;
	uint64_t handed;
	uint32_t boots;
	bool announced, frozen, soon, eager;
	bool troubled;			/* when it was killed, others were cut off or refilled */
	uint64_t died_us, began_us;
};
void sim_fleet_init(struct world *w);
void sim_fleet_free(struct world *w);
void sim_node_start(struct world *w, int node);
void sim_node_stop(struct world *w, int node);
bool sim_kill(struct world *w, int node, uint64_t down_us, bool clean, bool eager);
void sim_node_hand(struct world *w, int node, const uint8_t *data, uint32_t len);
bool sim_pop_announces(const struct world *w, int pop);
bool sim_serving(const struct world *w, int node);
bool sim_may_die(const struct world *w, int node);
struct sc_flow_entry *sim_entry(const struct world *w, int node, uint64_t flow);

/* network.c */
struct link {
	uint64_t delay_us;
	double loss, duplicate;		/* always */
	double burst;			/* now */
	uint64_t jitter_us;
	uint32_t cuts;			/* nothing passes while above 0 */
};
void sim_network_init(struct world *w);
void sim_to_node(struct world *w, int from_pop, int node, const uint8_t *data, uint32_t len);
void sim_to_backend(struct world *w, int backend, const uint8_t *data, uint32_t len);
void sim_to_vip(struct world *w, const struct segment *s);
void sim_to_client(struct world *w, const struct segment *s);
int sim_catchment(struct world *w, uint32_t client);

/* bytes.c */
uint32_t sim_write_tcp(const struct segment *s, uint8_t *b);
uint32_t sim_write_too_big(const struct segment *s, uint16_t mtu, uint32_t quote, uint8_t *b);
bool sim_read(const uint8_t *b, uint32_t len, struct segment *s, bool *too_big);
uint32_t sim_serial(const uint8_t *b, uint32_t len);
bool sim_is_plain(const uint8_t *b);
struct sc_addr sim_client_addr(uint32_t client, uint8_t service);
struct sc_addr sim_vip(uint8_t service);
struct sc_addr sim_machine_addr(bool ip6, int pop, int low);
uint64_t sim_flow(uint32_t client, uint16_t sport, uint8_t service);

/* schedule.c and events.c */
void sim_schedule(struct world *w);
struct sim_event {
	const char *name;
	uint32_t weight;
	int feature;			/* enum sim_feature, -1: none */
	void (*run)(struct world *w, struct rng *r);
};
extern const struct sim_event sim_events[];
extern const unsigned int sim_nevents;
void sim_until(struct world *w, uint64_t us);	/* an event lasts until us from now */

extern const char *const sim_feature_names[SIM_FEATURES];

/* judge.c */
void sim_broken(struct world *w, struct connection *c, const char *how);
void sim_violation(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sim_judge_delivery(struct world *w, int backend, const struct segment *s, bool too_big);
void sim_judge_syn(struct world *w, int pop, const struct segment *s);
void sim_judge_death(struct world *w, int node);
void sim_judge_handled(struct world *w, int node, uint32_t serial);
void sim_judge_counters(struct world *w, int node);
void sim_judge_tables(struct world *w, int node, bool whole);
void sim_tally(struct world *w, int node);
void sim_judge_end(struct world *w);
void sim_disturbed(struct world *w, uint64_t until_us);
void sim_disturbed_between(struct world *w, int p, int q, uint64_t until_us);

/* trace.c */
void sim_say(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool sim_watched(const struct world *w, uint32_t conn);
void sim_trace_segment(struct world *w, const char *who, const struct segment *s, const char *where);
void sim_trace_before(struct world *w, int node);
void sim_trace_after(struct world *w, int node, const struct sc_out *out, uint32_t serial);
void sim_trace_init(struct world *w);
void sim_trace_end(struct world *w);

struct handled {
	uint32_t serial, conn;
	uint8_t nodes, copies;
};
enum { HANDLED = 1 << 14, SOCKET_CHAINS = 1 << 13 };

struct world {
	struct sim_options o;
	struct sim_result *result;
	uint64_t now_us, end_us;	/* end_us: of the last event */
	uint64_t disturbed_us;		/* until when something is cut, lossy or dead */
	uint64_t last_death_us;
	uint64_t bad_us[SIM_MAX_POPS][SIM_MAX_POPS];	/* the same, between two PoPs */
	uint64_t step_us;		/* between two calls of a quiet node's timers */
	struct queue queue;
	struct rng net, misc;
	bool ip6;			/* between machines */
	bool heavy;			/* trace pass */
	bool finishing;
	uint32_t half_open_s, idle_s, closing_s;
	uint32_t flow_entries;

	int npops, nnodes, nbackends, nclients;
	uint32_t nconns;
	int first_node[SIM_MAX_POPS], nodes_of[SIM_MAX_POPS];
	int first_backend[SIM_MAX_POPS], backends_of[SIM_MAX_POPS];
	struct sim_node node[SIM_MAX_NODES];
	struct backend backend[SIM_MAX_BACKENDS];
	struct sc_generation *backend_side[SIM_MAX_POPS];
	struct link link[SIM_MAX_POPS][SIM_MAX_POPS];	/* [p][p]: inside */
	struct link access[SIM_MAX_POPS];	/* clients to PoP */
	struct link answers[SIM_MAX_POPS];	/* backends of PoP to clients */
	uint32_t ecmp_salt[SIM_MAX_POPS];
	struct client *client;
	struct connection *conn;
	struct socket *socket;
	uint32_t nsockets, sockets_room;
	int32_t free_socket;
	int32_t chain[SOCKET_CHAINS];
	uint32_t serial;
	struct handled handled[HANDLED];
	struct sc_out *out;
	uint32_t zombies, zombies_reset;
	int64_t asked, told, heard;

	/* trace */
	uint32_t watched[8];			/* connections */
	unsigned int nwatched;
	struct sc_flow_entry seen[8][SIM_MAX_NODES];
	uint64_t counters_before[SC_COUNTER_COUNT];
};

static inline void sim_in(struct world *w, uint64_t us, task_fn fn, void *p, uint32_t a, uint32_t b)
{
	sim_at(w, w->now_us + us, fn, p, a, b);
}

/* world.c: runs one seed. */
void sim_run(const struct sim_options *o, struct sim_result *r);
void sim_result_free(struct sim_result *r);

/* shrink.c */
void sim_shrink(const struct sim_options *o);
void sim_print_replay(const struct sim_options *o, FILE *to);

#endif
