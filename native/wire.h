/* The wire between nodes and to backends as bytes: docs/wire-format.md in C.
 * Offsets and sizes only; gue.c, peer.c and publish.c read and write by them. */
#ifndef SC_WIRE_H
#define SC_WIRE_H

#include <stdint.h>

enum {
	SC_WIRE_VERSION = 2,
	SC_WIRE_VERSION_LOW = 1,
	SC_WIRE_VERSION_RELAY = 2,	/* the first that speaks RELAY and REACH */
	SC_GUE_PORT = 6080,
	SC_GUE_LEN = 4,
	SC_GUE_CONTROL = 0x20,		/* C bit in the first byte */
	SC_GUE_CTYPE = 128,
	SC_GUE_PROTO_IP4 = 4,
	SC_GUE_PROTO_IP6 = 41,
	SC_PRIVATE_LEN = 16,
	SC_TAGGED_INNER = 64,		/* inner bytes under the tag */
	SC_IP4_LEN = 20,
	SC_IP6_LEN = 40,
	SC_UDP_LEN = 8,

	SC_CONTROL_LEN = 40,
	SC_CONTROL_TAG = 32,		/* offset */
	SC_HELLO_LEN = 56,
	SC_PUBLISH_HEAD = 16,
	SC_OWNER_HEAD = 8,
	SC_RECORD_LEN = 16,

	SC_REACH_HEAD = 8,
	SC_REACH_SERVICES = 224,	/* named at most */
	SC_REACH_SERVES_NONE = 0xffff,	/* instead of their number */

	SC_HELLO_FILLED = 1,
	SC_HELLO_DRAINING = 2,
	SC_HELLO_WALK_DONE = 4,
	SC_HELLO_WITHHOLDS = 8,
	SC_HELLO_SILENT = 16,
};

enum sc_verb {
	SC_VERB_ASK = 1,
	SC_VERB_FORWARD = 2,
	SC_VERB_RELAY = 3,
	SC_VERB_HELLO = 4,
	SC_VERB_PUBLISH = 5,
	SC_VERB_OWNER = 6,
	SC_VERB_REACH = 7,
	/* Not on the wire: plain GUE from a node of this PoP, for a backend that is
	 * delivered locally here. */
	SC_VERB_PLAIN = 16,
};

/* One flow in a PUBLISH or OWNER message, host byte order. */
struct sc_record {
	uint64_t flow;
	uint32_t backend;
	uint16_t age;		/* ticks of 2 s */
	uint16_t idle;
	uint8_t state;
};

#endif
