/* What anycast does to a service before anybody balances it: which TCP connections of VIPs arrive in the middle, which
 * stall half open, from where and when. Sees what clients send, which is all that passes a PoP's routers; remembers
 * within fixed bounds and counts what does not fit. Called by io/watch.c and napi_observe.c; one thread at a time. Knows no
 * clock: the time comes with the packets. No part of the packet path of a node. */
#ifndef SC_OBSERVE_H
#define SC_OBSERVE_H

#include "packet.h"

enum {
	SC_OBSERVE_VIPS = 64,		/* prefixes watched */
	SC_OBSERVE_FLOWS = 1 << 18,	/* connections followed at a time, 8 MiB */
	SC_OBSERVE_PREFIXES = 4096,	/* prefixes of clients told apart */
	SC_OBSERVE_TIMES = 240,		/* columns over time; when they are full each takes twice as long */

	SC_OBSERVE_PREFIX4 = 24,	/* bits of a client's address */
	SC_OBSERVE_PREFIX6 = 48,
};

#define SC_OBSERVE_STALL_MS	10000u		/* silent for so long after its SYN, a handshake has stalled */
#define SC_OBSERVE_WENT_ON_MS	1000u		/* a connection that sends for so long has not been reset at once */
#define SC_OBSERVE_ENDED_MS	120000u		/* remembered so long after its FIN or RST */
#define SC_OBSERVE_IDLE_MS	10800000u	/* and so long without any */

struct sc_observe_vip {
	struct sc_addr addr;
	uint8_t bits;		/* of 128 */
};

struct sc_observe_options {
	struct sc_observe_vip vip[SC_OBSERVE_VIPS];
	uint32_t nvips;
	uint32_t grace_ms;	/* what is first seen in the middle within it was open already */
	uint64_t seed;		/* of the hash of flows, random */
};

/* Counts of connections. */
struct sc_observe_counts {
	uint64_t begun;		/* seen from their SYN on */
	uint64_t middle;	/* first seen in the middle */
	uint64_t went_on;	/* of those, sent for longer than SC_OBSERVE_WENT_ON_MS */
	uint64_t stalled;	/* a SYN, and never anything else */
	uint64_t repeated;	/* of those, the SYN came more than once */
};

struct sc_observe_prefix {
	struct sc_addr addr;
	uint8_t family;		/* 0: unused */
	struct sc_observe_counts n;
};

struct sc_observe_report {
	uint64_t start_us, last_us;	/* of the first and the last packet or tick */
	uint64_t packets;		/* TCP to a VIP */
	uint64_t others;		/* to a VIP, not TCP or not to be read */
	struct sc_observe_counts n;
	uint64_t before;		/* first seen in the middle within the grace */
	uint64_t ending;		/* first seen by a FIN or RST */
	uint64_t pending;		/* handshakes that are not judged yet */
	uint64_t unfollowed;		/* packets of connections that there was no room for */
	uint64_t unplaced;		/* connections whose client's prefix there was no room for */
	uint64_t column_ms;
	uint32_t columns;
	struct sc_observe_counts time[SC_OBSERVE_TIMES];	/* by when they were first seen */
	struct sc_observe_prefix prefix[SC_OBSERVE_PREFIXES];
};

struct sc_observer;

/* -EINVAL, -ENOMEM. */
int sc_observe_new(const struct sc_observe_options *o, struct sc_observer **out);
void sc_observe_free(struct sc_observer *o);

/* The watching begins. */
void sc_observe_start(struct sc_observer *o, uint64_t now_us);

/* An IP packet, of which len bytes are there. */
void sc_observe_packet(struct sc_observer *o, const uint8_t *data, uint32_t len, uint64_t now_us);

/* Judges some of what has been silent; to be called now and then. All of it comes round within 64 calls. */
void sc_observe_tick(struct sc_observer *o, uint64_t now_us);

/* Judges all of it. */
void sc_observe_settle(struct sc_observer *o);

const struct sc_observe_report *sc_observe_report(const struct sc_observer *o);

#endif
