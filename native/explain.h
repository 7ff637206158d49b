/* Why a packet goes where it goes: the real data path run on one packet, and what each
 * of its stages had to go by. Called by napi_explain.c and tests. A node that forwards is
 * not touched: its state is copied into a node in memory, by its own thread between two
 * bursts (worker.c), and the packet is run there. Nothing of it is in the packet path. */
#ifndef SC_EXPLAIN_H
#define SC_EXPLAIN_H

#include "state.h"

/* A flow as a node has it. */
struct sc_explained_flow {
	bool known;
	bool cached;		/* hearsay */
	uint32_t backend;
	uint16_t pop;		/* of the backend, index into pops; SC_NO_ROW: no such PoP */
	uint16_t owner;		/* node row, SC_NO_ROW: nobody is alive there */
	uint8_t state;		/* enum sc_flow_state */
	uint32_t age_s, idle_s;
};

/* A packet that leaves. */
struct sc_explained_out {
	struct sc_parsed ip;	/* its outermost headers */
	uint32_t len;
	uint32_t egress;	/* enum sc_egress */
	bool gue;
	uint8_t verb;		/* enum sc_verb; 0: plain GUE */
	uint8_t version, key;	/* of private data and control messages */
	uint32_t backend;	/* that private data names */
	uint32_t inner_len;	/* of the packet inside */
};

struct sc_explanation {
	int reason;		/* enum sc_reason of the drop, SC_OK: none */
	bool parsed;		/* outermost headers */
	bool gue;		/* these are GUE for this node */
	bool opened;		/* ip is the client's packet */
	bool matched;		/* service, flow and all that follow from it */
	struct sc_parsed outer;
	struct sc_parsed ip;
	uint8_t verb, version;
	uint16_t origin;	/* node row, SC_NO_ROW: none */
	uint32_t named;		/* backend that private data names */
	uint16_t service;	/* row */
	uint64_t flow;
	uint16_t home[SC_MAX_POPS];	/* node rows, by PoP; SC_NO_ROW: nobody is alive */
	uint32_t slots, slot;	/* of the Maglev table; slots 0: there is none */
	uint16_t choice;	/* backend row, SC_NO_BACKEND: none */
	struct sc_explained_flow before, after;
	bool filled, certain;
	uint64_t missing;	/* PoPs whose word lacks for a certain "no" */
	uint64_t refused_us;	/* since the first certain "no" about this flow; 0: there was none */
	uint64_t counted[SC_COUNTER_COUNT];	/* by how much each counter rose */
	unsigned int nout;
	struct sc_explained_out out[SC_OUT_MAX];
};

/* In the thread of node, between two bursts: copy, a fresh node of the same generation,
 * takes over what node knows of its peers, of its own certainty and of flow. Allocates
 * nothing. */
void sc_explain_copy(const struct sc_node *node, struct sc_node *copy, uint64_t flow, uint64_t now_us);

/* A fresh node takes for granted that it and all its peers have filled and are heard. */
void sc_explain_assume(struct sc_node *node, uint64_t now_us);

/* The flow of a packet as node would see it; false: it is of none. */
bool sc_explain_flow(struct sc_node *node, const struct sc_packet *p, uint64_t *flow);

/* Runs p, whose buffer is written to, through a node in memory. */
void sc_explain(struct sc_node *node, struct sc_packet *p, uint64_t now_us, struct sc_out *out,
		struct sc_explanation *e);

#endif
