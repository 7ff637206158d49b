/* A worker: the native thread that moves packets between ports, the GUE socket,
 * the raw sockets and the data path, and calls its timers. Called by napi.c.
 * Guarantees: JavaScript is never entered; stop() joins the thread; a dead device
 * ends the loop and is told in status(). */
#ifndef SC_WORKER_H
#define SC_WORKER_H

#include "../node.h"
#include "memory_file.h"
#include "port.h"

enum sc_worker_role {
	SC_WORKER_NODE,		/* raw VIP packets and GUE -> sc_forward() */
	SC_WORKER_BACKEND,	/* GUE -> sc_backend_receive() -> port */
	SC_WORKER_SPLITTER,	/* lab only: packets of port go to split[0], split[1] in turn */
};

struct sc_worker_config {
	enum sc_worker_role role;
	struct sc_port *port;		/* taken over */
	struct sc_port *split[2];	/* taken over, splitter only */
	struct sc_addr address;		/* GUE is received here; outer packets leave from here */
	uint16_t udp_port;
	struct sc_node *node;		/* taken over, node only */
	struct sc_memory_file *memory;	/* taken over: the node's, or NULL */
	struct sc_generation *generation;	/* taken over, backend only */
	uint16_t pop;			/* backend only */
	uint64_t *counters;		/* outlives the worker */
};

struct sc_worker;

enum { SC_PIN_WAIT_MS = 50 };	/* for a thread that is busy, not for one that stands still */

/* Opens the sockets (UDP on address and port, raw sockets for sending) and starts
 * the thread. On error nothing taken over is freed. -EADDRINUSE, -EADDRNOTAVAIL,
 * -EPERM, ... and *what names the step that failed ("GUE socket", "raw socket"). */
int sc_worker_start(const struct sc_worker_config *c, struct sc_worker **out, const char **what);

/* Ends the thread, joins it, closes and frees all that was taken over. */
void sc_worker_stop(struct sc_worker *w);

struct sc_worker_status {
	int error;		/* 0 while running, else the -errno that ended the loop */
	uint64_t busy_us;	/* time not spent waiting */
	uint64_t loops;
	struct sc_node_view view;	/* node only, at most 250 ms old */
};

/* Reload: from the next burst on the worker goes by g and counts on in counters, which are
 * sc_counter_slots(g) zeroed values that outlive it; waits until it does. g is taken over,
 * also on an error; then the counters stay the old ones. Not for a splitter.
 * -EINVAL and *what: what cannot change while a node runs; -ENOMEM; -ESHUTDOWN: the
 * thread has ended. From one thread at a time. */
int sc_worker_adopt(struct sc_worker *w, struct sc_generation *g, uint64_t *counters,
		    const char **what);

/* Asks for a survey of flows (node.h) after the next burst. From any thread. */
void sc_worker_survey(struct sc_worker *w);
/* A node's worker: between two bursts copy, a fresh node of the generation that it goes by, takes
 * over its state and what it knows of flow (explain.h). Waits until it has. -ESHUTDOWN: the
 * thread has ended. From one thread at a time, and not beside sc_worker_adopt(). */
int sc_worker_copy(struct sc_worker *w, struct sc_node *copy, uint64_t flow);

/* sc_node_pin() in a node's worker, between two bursts. 1: done; 0: it was refused; -ETIMEDOUT: the
 * thread has not gone round within SC_PIN_WAIT_MS; -ESHUTDOWN: it has ended. From one thread at
 * a time, and not beside sc_worker_adopt(). */
int sc_worker_pin(struct sc_worker *w, const struct sc_pin *pin);

/* From any thread but the worker's own; not while another one stops it. */
void sc_worker_look(struct sc_worker *w, struct sc_worker_status *status);

#endif
