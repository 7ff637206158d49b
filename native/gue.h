/* The parts of gue.c that peer.c and backend.c use too. Addresses are canonical;
 * docs/wire-format.md, sections 1 and 2. */
#ifndef SC_GUE_H
#define SC_GUE_H

#include "state.h"

enum {
	SC_TAGGED_MAX = SC_CONTROL_LEN + SC_PUBLISH_HEAD + SC_BATCH_FLOWS * SC_RECORD_LEN,
};

_Static_assert(SC_IP6_LEN + SC_UDP_LEN + SC_GUE_LEN + SC_TAGGED_MAX <= (int)SC_MIN_MTU,
	       "a full batch fits the smallest path");

/* The tag over both outer addresses, then a, then b; alen + blen <= SC_TAGGED_MAX. */
uint64_t sc_tag(const struct sc_key *key, const struct sc_addr *src, const struct sc_addr *dst,
		const uint8_t *a, uint32_t alen, const uint8_t *b, uint32_t blen);
void sc_put_tag(uint8_t *p, uint64_t tag);

/* In constant time. */
bool sc_tag_is(const uint8_t *p, uint64_t tag);

/* Puts UDP and IP headers in front of p. dscp as in IPv4's TOS byte. */
void sc_push_outer(struct sc_packet *p, const struct sc_addr *src, const struct sc_addr *dst,
		   uint16_t sport, uint8_t dscp);

/* The GUE header itself: complete, variant 0, no flags. */
enum sc_reason sc_gue_check(const struct sc_packet *p, uint8_t *hlen);

/* Plain GUE from a node of PoP pop: leaves p at its inner packet. */
enum sc_reason sc_gue_pull_plain(struct sc_packet *p, const struct sc_parsed *outer,
				 const struct sc_generation *g, uint16_t pop);

#endif
