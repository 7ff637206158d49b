/* Control messages that a test writes itself, in the name of PoP 2's node 1 and tagged with the fleet's key. */
#ifndef SC_TEST_SPEAK_H
#define SC_TEST_SPEAK_H

#include "fleet.h"
#include "gue.h"

/* A control message from address from_ip in the name of node origin for node 1 of PoP 1. */
static inline void say_as(struct fleet *f, uint32_t from_ip, uint16_t origin, uint8_t version, uint8_t verb, uint64_t sender,
			  uint64_t receiver, uint64_t seq, const uint8_t *body, uint32_t len)
{
	struct sc_key key = { .id = FLEET_KEY_ID, .key = "0123456789abcdef" };
	struct sc_addr src = ip4(from_ip), dst = ip4(fleet_node_ip(1, 1));
	uint8_t b[SC_HEADROOM + 2000] = { 0 };
	struct sc_packet p = { .data = b + SC_HEADROOM, .len = 4 + 40 + len };
	uint8_t *m = p.data + 4;

	p.data[0] = SC_GUE_CONTROL;
	p.data[1] = SC_GUE_CTYPE;
	m[0] = (uint8_t)(version << 4 | verb);
	m[1] = FLEET_KEY_ID;
	sc_put16(m + 2, origin);
	sc_put16(m + 4, (uint16_t)len);
	sc_put64(m + 8, sender);
	sc_put64(m + 16, receiver);
	sc_put64(m + 24, seq);
	memcpy(m + 40, body, len);
	if (40 + len <= SC_TAGGED_MAX)	/* longer ones are refused before their tag is */
		sc_put_tag(m + 32, sc_tag(&key, &src, &dst, m, 40 + len, NULL, 0));
	sc_push_outer(&p, &src, &dst, SC_GUE_PORT, 0);
	fleet_hand(f, 0, p.data, p.len);
}

/* One of PoP 2's node 1, in the version that first speaks the verb. */
static inline void say(struct fleet *f, uint8_t verb, uint64_t sender, uint64_t receiver, uint64_t seq,
		       const uint8_t *body, uint32_t len)
{
	say_as(f, fleet_node_ip(2, 1), fleet_node_id(2, 1), verb == SC_VERB_REACH ? 2 : 1, verb, sender, receiver, seq, body, len);
}

/* A HELLO's body: filled, all told, nothing sent. */
static inline void hello_body(uint8_t body[SC_HELLO_LEN], uint64_t echo)
{
	memset(body, 0, SC_HELLO_LEN);
	body[0] = body[1] = 1;
	body[2] = SC_HELLO_FILLED | SC_HELLO_WALK_DONE;
	sc_put64(body + 8, echo);
}

#endif
