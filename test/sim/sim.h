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
	SIM_MAX_NODES = 96,
	SIM_DRAWN_POPS = 4,		/* at most, where no option says how many */
	SIM_DRAWN_NODES = 3,		/* of each PoP, the same */
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
	SIM_ABSENT = SC_BACKEND_DOWN + 1,	/* a backend that the file does not name */
	SIM_KINDS = 48,			/* of events, at most */
};

#define SIM_HASH_SEED	0x9f1c5e7702ab44d1ull
#define SIM_START_US	(1000 * SC_S)	/* when the first node starts */
#define SIM_WARM_US	(6 * SC_S)	/* until the first client comes */
#define SIM_CALM_US	(20 * SC_S)	/* after the last event, until everyone is asked to go on */
#define SIM_BOUND_US	(60 * SC_S)	/* within which everyone must have gone on */
#define SIM_YOUNG_US	(5 * SC_S)	/* a flow may be known to one node alone for this long */
#define SIM_CONTEST_US	(3 * SC_S)	/* a SYN may be unknown to another PoP for this long */
#define SIM_BRIDGE_US	(26 * SC_S)	/* of a cut, within which a third PoP bridges it: 4 s to notice, then TCP */

struct world;

struct sim_options {
	uint64_t seed;
	int pops, nodes;		/* nodes of each PoP; 0: by seed */
	int connections, events;
	bool sabotage;			/* homes forget: the judge must see it */
	bool trace;
	const uint8_t *no_event;	/* [SIM_MAX_EVENTS] 1: left out. NULL: none */
	const uint8_t *no_client;	/* [SIM_MAX_CLIENTS] */
	const uint8_t *watch;		/* [connections] to trace, NULL: all that fail */
};

/* What a run is to meet, counted where it happens. */
enum sim_sight {
	SAW_SPLIT_SYN_ACK_LOST,		/* of a client that alternates between PoPs */
	SAW_PORT_ELSEWHERE,		/* a port used again, at another PoP than the last time */
	SAW_LONG_SILENCE,		/* a connection goes on after a third of its idle timeout or more */
	SAW_RECALLED,			/* flows that a node took from its own memory */
	SAW_RELAYED,			/* packets of unknown or unreachable flows handed on */
	SAW_SPILLED,			/* new connections handed on */
	SAW_BRIDGED,			/* connections looked at while a third PoP bridges a cut */
	SAW_ADOPTED,			/* generations taken over by running nodes */
	SAW_OLD_VERSION,		/* starts of nodes that speak only version 1 */
	SAW_WITHHELD,			/* half-open publications stopped by a flood */
	SAW_RELAY_LIMIT,		/* node seconds in which SC_RELAY_PER_S was reached */
	SIM_SIGHTS,
};

/* Why a connection is not, or not wholly, covered by the promise. */
enum sim_excuse {
	OUT_SILENT,			/* nothing of it reached its backend for longer than its timeout */
	OUT_HANDSHAKE,			/* its backend gave the handshake up */
	OUT_REBOOT,			/* the machine that alone could know of it was started anew */
	OUT_AWAY,			/* or its node was down for longer than a memory is recalled */
	OUT_DAMAGED,			/* or what it remembered of it was damaged */
	OUT_REMOVED,			/* or its node was removed */
	OUT_UNFILLED,			/* or its node died before it had filled */
	OUT_FLOODED,			/* a flood larger than the table took its handshake's place */
	OUT_FULL,			/* it never began: a table was full of what looks like connections */
	CONTESTED_SYN,			/* two backends got its SYN before they could know */
	CONTESTED_RACE,			/* a SYN of it came to a PoP that could not know it */
	CONTESTED_REUSE,		/* its port's last connection lives on where the new one is not known */
	SIM_EXCUSES,
};

struct sim_result {
	uint32_t connections, events, broken, violations, outside, contested, resets, finished;
	uint32_t fired[SIM_KINDS];	/* events that did something, by kind */
	uint32_t seen[SIM_SIGHTS];
	uint32_t excused[SIM_EXCUSES];	/* connections */
	uint64_t simulated_us, packets, tasks;
	uint32_t events_left;		/* how many of the schedule were not left out */
	int nmessages;
	char message[SIM_MESSAGES][200];
	uint8_t *failed;		/* [connections] 1: broken */
};

/* queue.c: what happens next. */
typedef void (*task_fn)(struct world *w, void *p, uint32_t a, uint32_t b);
struct task {
	task_fn fn;
	void *p;
	uint32_t a, b;
};
struct queue_key {
	uint64_t at_us, order;
	uint32_t task;
};
struct queue {
	struct queue_key *heap;
	struct task *task;
	uint32_t *vacant;
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
	uint64_t challenged_us;			/* last answer to what does not fit */
	uint64_t since_us;			/* when what is in flight last moved */
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
	bool again;			/* its port was used before */
	bool reused;			/* its port's last one may live on where it was not heard of */
	bool anew;			/* its port's last one was of a backend that is down now */
	bool damaged;			/* an entry of it was, in some node's memory */
	bool only;			/* the last node that died with it could not have told others */
	uint8_t turn;
	bool wrote;			/* this turn's bytes are written */
	bool asked_last;		/* the last turn, after the last event */
	uint32_t up_total, down_total;	/* by the turns so far */
	int backend;			/* its own, -1 before it has one */
	int claimed;			/* backend that first got its SYN, -1 */
	uint64_t claimed_us;
	uint64_t delivered_us;		/* last packet that reached its own backend */
	uint64_t acked_us;		/* first packet that followed its SYN there */
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
	uint64_t moved_us;		/* when either last changed */
	uint32_t sent;
	uint16_t path_mtu;
	uint32_t port[SIM_FAMILIES][SIM_PORTS];	/* connection, SIM_NOBODY */
	uint8_t port_pop[SIM_FAMILIES][SIM_PORTS];	/* 1 + the PoP of its last SYN, 0: none yet */
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
	uint64_t gone_us;		/* when it was removed from the file, 0: never */
	bool pressed;			/* answers with SYN cookies */
	int half_open;
	uint64_t counters[SC_COUNTER_COUNT];
};
void sim_backend_receive(struct world *w, int backend, uint8_t *data, uint32_t len);
void sim_backend_local(struct world *w, int node, const uint8_t *data, uint32_t len);
struct socket *sim_socket(struct world *w, int backend, uint32_t client, uint8_t service, uint16_t sport);
void sim_forget(struct world *w, struct connection *c);

/* config.c: the fleet file, its versions, and how they reach the nodes. */
struct file {
	uint8_t state[SIM_MAX_BACKENDS];	/* enum sc_backend_state, SIM_ABSENT */
	uint8_t weight[SIM_MAX_BACKENDS];
	bool node[SIM_MAX_NODES];	/* configured */
	uint8_t keys, key[SC_MAX_KEYS];	/* ids, the one to sign with first */
};
void sim_config_init(struct world *w, struct rng *r);
struct sc_generation *sim_picture(const struct world *w, int self, const struct file *f);
const struct file *sim_newest(const struct world *w);
struct file *sim_edit(struct world *w);
void sim_roll_out(struct world *w, uint64_t within_us);
bool sim_rolled_out(const struct world *w, uint32_t version);
void sim_watch_removed(struct world *w, void *p, uint32_t backend, uint32_t b);
bool sim_down_somewhere(const struct world *w, int backend);
int sim_ready_in(const struct world *w, int pop);
bool sim_pop_without_ready(const struct world *w);

/* fleet.c */
struct sim_node {
	struct sc_node *node;		/* NULL: dead */
	struct sc_generation *g;
	uint64_t *counters;
	int pop, number;
	uint16_t id;
	struct sc_addr addr;
	uint64_t skew_us;		/* of its machine's clock */
	uint64_t handed;
	uint32_t boots, reboots;	/* of the process, of the machine */
	uint32_t disk, works_from;	/* versions of the file: it has got, it has taken over */
	uint8_t version;		/* of the wire, when it starts next */
	uint8_t how;			/* enum sim_death, of its next or last one */
	bool announced, leaving, frozen, soon;	/* leaving: about to stop */
	bool spare;			/* not configured at first */
	uint32_t quiet;			/* PoPs that heard its PoP well when it was killed */
	uint64_t died_us, began_us, filled_us;	/* filled_us: 0 until it has */
	void *memory, *past;		/* memory.h: this life's, and the one recalled */
	uint32_t crossing, relays;	/* packets to other PoPs in this second, and RELAYs among them */
};
enum sim_death {
	DEATH_CLEAN = 1,		/* its route is withdrawn first */
	DEATH_EAGER = 2,		/* announced as soon as it is back, filled or not */
	DEATH_REBOOT = 4,		/* its machine, and with it its memory */
	DEATH_CORRUPT = 8,		/* some bytes of its memory are others when it is back */
};
void sim_fleet_init(struct world *w);
void sim_fleet_free(struct world *w);
void sim_node_start(struct world *w, int node);
void sim_node_stop(struct world *w, int node);
void sim_node_retire(struct world *w, int node);
void sim_node_adopt(struct world *w, int node);
bool sim_kill(struct world *w, int node, uint64_t down_us, unsigned int how);
void sim_node_hand(struct world *w, int node, const uint8_t *data, uint32_t len);
bool sim_pop_announces(const struct world *w, int pop);
bool sim_serving(const struct world *w, int node);
bool sim_may_lose(const struct world *w, int node);
struct sc_flow_entry *sim_entry(const struct world *w, int node, uint64_t flow);

/* own_memory.c: what outlives a node's process. */
void sim_memory_begin(struct world *w, int node, struct sc_node_options *o);
void sim_memory_done(struct world *w, int node);
void sim_memory_pass(struct world *w);
void sim_memory_wipe(struct world *w, int node);
void sim_memory_retire(struct world *w, int node);
void sim_memory_corrupt(struct world *w, int node, struct rng *r);
void sim_memory_free(struct sim_node *n);
struct sc_flow_entry *sim_remembered(const struct world *w, int node, uint64_t flow);

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

/* events.c, and the files of its table. */
struct sim_event {
	const char *name;
	uint32_t weight;
	bool (*run)(struct world *w, struct rng *r);	/* whether it did anything */
};
extern const struct sim_event sim_events[];
extern const unsigned int sim_nevents;
void sim_until(struct world *w, uint64_t us);	/* an event lasts until us from now */

extern const char *const sim_sight_names[SIM_SIGHTS];
extern const char *const sim_excuse_names[SIM_EXCUSES];

/* judge.c */
void sim_broken(struct world *w, struct connection *c, const char *how);
void sim_violation(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sim_judge_delivery(struct world *w, int backend, const struct segment *s, bool too_big);
void sim_judge_syn(struct world *w, int pop, const struct segment *s);
void sim_judge_death(struct world *w, int node);
void sim_judge_loss(struct world *w, int node, struct connection *c, const struct sc_flow_entry *e,
		    enum sim_excuse why);
void sim_judge_flood(struct world *w);
void sim_contest(struct world *w, struct connection *c, enum sim_excuse why);
void sim_leave_outside(struct world *w, struct connection *c, enum sim_excuse why);
void sim_judge_handled(struct world *w, int node, uint32_t serial);
void sim_judge_counters(struct world *w, int node);
void sim_judge_tables(struct world *w, int node, bool whole);
void sim_tally(struct world *w, int node);
void sim_judge_end(struct world *w);
/* When all are there and have filled, everybody means the same home; otherwise how not. */
bool sim_same_homes(const struct world *w, char *how, size_t size);
void sim_disturbed_pop(struct world *w, int pop, uint64_t until_us);
void sim_disturbed_between(struct world *w, int p, int q, uint64_t until_us);

/* bounds.c */
void sim_judge_progress(struct world *w);
void sim_judge_rates(struct world *w);
void sim_judge_crossing(struct world *w, int from, int to, const uint8_t *data, uint32_t len);

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
	uint64_t bad_us[SIM_MAX_POPS][SIM_MAX_POPS];	/* until when two PoPs may not hear each other */
	uint64_t odd_us[SIM_MAX_POPS];	/* until when a PoP is not whole, or its clients' paths are bad */
	uint64_t cut_us[SIM_MAX_POPS][SIM_MAX_POPS];	/* since when nothing passes, 0: it does */
	uint64_t flooded_us, flood_us;	/* since when, and until when there is a flood */
	uint64_t step_us;		/* between two calls of a quiet node's timers */
	struct queue queue;
	struct rng net, misc, rollout;
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
	struct file *file;		/* [files]: every version */
	uint32_t files;
	uint32_t rotations;		/* of keys, still to be made */
	double far_loss;
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
