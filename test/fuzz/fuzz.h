/* The fuzzing harness (docs/fuzzing.md): an input is a program of steps for a small fleet of real nodes; after every
 * call of a node all that must hold is checked. Shared by all files here: world.c owns the fleets, call.c calls nodes
 * and carries what they send, check.c judges, steps.c and packets.c make input of bytes, mutate.c and target.c are
 * libFuzzer's side, replay.c is the program that runs files without it.
 *
 * An input: one byte (FUZZ_OUTER6), then steps of a row of fuzz_steps[], a length, so many bytes of arguments. Whatever
 * is missing reads as 0, and 0 is the usual thing everywhere: an empty step is a right one. */
#ifndef SC_FUZZ_H
#define SC_FUZZ_H

#include "fleet.h"
#include "gue.h"
#include "state.h"

enum {
	FUZZ_OUTER6 = 1,	/* first byte of an input: nodes speak IPv6 with each other */
	FUZZ_POPS = 3,
	FUZZ_NODES_PER_POP = 2,
	FUZZ_NODES = 5,		/* the third PoP has one */
	FUZZ_BACKENDS = 4,	/* of a PoP: GUE, local, one that drains or is down, one of another pool */
	FUZZ_ENTRIES = 64,	/* of a node's flow table: full soon */
	FUZZ_MTU4 = 1500,
	FUZZ_MTU6 = SC_MIN_MTU,
	FUZZ_KEY_IDS = FLEET_KEY_ID,	/* the first of two */

	FUZZ_MAX_INPUT = 2048,
	FUZZ_MAX_STEPS = 48,
	FUZZ_MAX_ARGS = 255,	/* bytes of one step */
	FUZZ_MAX_CALLS = 600,	/* of nodes, by one input; the rest of it is left out */
	FUZZ_MAX_RESTARTS = 2,	/* by one input: a start is slow */
	FUZZ_MAX_LOADS = 1,	/* of generations */
	FUZZ_MAX_SWAPS = 1,
	FUZZ_MAX_HOPS = 5,	/* nodes that one client's packet passes: ingress, home, the one it is relayed to,
				 * owner, the local backend's */
	FUZZ_AIR = 256,		/* packets under way between nodes; of more, the newest are lost */
	FUZZ_PAST = 64,		/* packets between nodes that are remembered */
	FUZZ_FLIGHT = 1600,	/* room for one of them */
};

#define FUZZ_CLIENT 0xcb007101u

struct fuzz_flight {
	int to;			/* node, -1: nobody there */
	int hops;		/* nodes that it has passed; 0: a control message */
	uint32_t len;
	uint8_t data[FUZZ_FLIGHT];
};

struct fuzz_world {
	struct fleet f;
	struct sc_generation *backend_side;	/* of PoP 1 */
	uint64_t backend_counters[SC_COUNTER_COUNT];
	void *memory[FUZZ_NODES];		/* each node's flow table */
	unsigned int calls, restarts, loads, swaps;
	unsigned int past_count;		/* ever */
	struct fuzz_flight past[FUZZ_PAST];
	unsigned int air_first, air_count;
	struct fuzz_flight air[FUZZ_AIR];	/* last: not worth keeping while it is empty */
};

/* What is left of a step's arguments. */
struct fuzz_args {
	const uint8_t *at;
	uint32_t left;
};

uint8_t fuzz_8(struct fuzz_args *a);
uint16_t fuzz_16(struct fuzz_args *a);
uint32_t fuzz_32(struct fuzz_args *a);
uint64_t fuzz_64(struct fuzz_args *a);

/* One kind of step. An input names it by its row, so that rows are added at the end and never moved. */
struct fuzz_step {
	const char *name;
	uint8_t args;		/* how many bytes a new one gets at most */
	bool slow;		/* comes more seldom */
	void (*run)(struct fuzz_world *w, struct fuzz_args *a);
};

extern const struct fuzz_step fuzz_steps[];
extern const unsigned int fuzz_step_count;

/* run.c: one input, from its fleet's first state; without an arena one only, after fuzz_init(). */
void fuzz_init(void);
void fuzz_run(const uint8_t *data, size_t len);
extern bool fuzz_trace;		/* tell every step and call on stderr */

/* world.c: the fleets, built and warm, and back to that. */
void fuzz_world_begin(struct fuzz_world *w, bool outer6);
struct fuzz_life {
	uint64_t boot;
	uint8_t version;	/* of the wire; 0: the highest */
	bool recalls;		/* what the last life left, after it was bent */
	struct fuzz_args *bends;
};
void fuzz_world_restart(struct fuzz_world *w, int i, const struct fuzz_life *life);
void fuzz_world_swap(struct fuzz_world *w, int i, struct fuzz_args *a);
void fuzz_world_load(const uint8_t *blob, size_t len);

/* call.c: calls of nodes, judged; what they send goes into the air. */
struct fuzz_bytes {
	const uint8_t *data;
	uint32_t len;
	int hops;		/* nodes passed before */
};
void fuzz_forward(struct fuzz_world *w, int i, const struct fuzz_bytes *in, unsigned int n);
void fuzz_hand(struct fuzz_world *w, int i, const uint8_t *data, uint32_t len);
void fuzz_timers(struct fuzz_world *w, int i);
void fuzz_backend(struct fuzz_world *w, const uint8_t *data, uint32_t len);
void fuzz_carry(struct fuzz_world *w);	/* all that is in the air, and what comes of it */

/* check.c. */
struct fuzz_before {
	uint64_t counters[SC_COUNTER_COUNT];
};
void fuzz_check_forward(struct fuzz_world *w, int i, const struct fuzz_bytes *in, unsigned int n,
			const struct fuzz_before *before, const struct sc_out *out);
void fuzz_check_timers(struct fuzz_world *w, int i, const struct fuzz_before *before, const struct sc_out *out);
void fuzz_check_backend(struct fuzz_world *w, const struct fuzz_before *before, const struct sc_out *out);

void fuzz_check_node(const struct fuzz_world *w, int i);

/* What a packet is to node i, as far as its bytes say. */
enum fuzz_kind { FUZZ_RAW, FUZZ_PLAIN, FUZZ_PRIVATE, FUZZ_CONTROL, FUZZ_BROKEN };
struct fuzz_look {
	enum fuzz_kind kind;
	uint8_t verb, version;
	bool genuine;		/* the tag is right */
	struct sc_parsed outer;
	const uint8_t *gue;	/* where the GUE header is, NULL: none */
	uint32_t gue_len;
	const uint8_t *inner;	/* the client's packet */
	uint32_t inner_len;
};
struct fuzz_look fuzz_look(const struct sc_generation *g, const struct sc_addr *self, const uint8_t *data,
			   uint32_t len);

/* Tells what does not hold, and aborts. */
_Noreturn void fuzz_fail(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));
#define FUZZ_CHECK(cond, ...) \
	((cond) ? (void)0 : fuzz_fail(__FILE__, __LINE__, __VA_ARGS__))

/* packets.c: packets by arguments, right where those are 0. */
struct fuzz_draft {
	uint8_t b[FUZZ_FLIGHT + SC_PACKET_MAX];
	uint32_t len;
};
void fuzz_draft_client(struct fuzz_draft *d, struct fuzz_args *a);
void fuzz_draft_icmp(struct fuzz_draft *d, struct fuzz_args *a);
void fuzz_draft_gue(const struct fuzz_world *w, struct fuzz_draft *d, int from, int to, struct fuzz_args *a);
void fuzz_draft_control(const struct fuzz_world *w, struct fuzz_draft *d, int from, int to, struct fuzz_args *a);

/* Bends a packet in up to 7 places. */
void fuzz_bend(uint8_t *b, uint32_t *len, uint32_t room, struct fuzz_args *a);
/* Makes the IP header's length and checksum fit, UDP's length, and over IPv6 its checksum. */
void fuzz_mend(uint8_t *b, uint32_t len);
/* The right tag for what is a packet between nodes by its looks. */
void fuzz_retag(uint8_t *b, uint32_t len, const struct sc_generation *g);

#endif
