/* Cuts one large packet into several that fit: what a TSO card does to a TCP
 * super-packet, in memory. Called by the ports (super-packets and partial checksums
 * of local TCP stacks, io/vnet.c) and by mtu.c (a segment that does not fit the
 * path). Pure: nothing is kept, nothing is allocated, only the packet given is
 * read. Guarantees: the parts carry the payload exactly once, in order, and every
 * part has right lengths and full checksums. */
#ifndef SC_SEGMENT_H
#define SC_SEGMENT_H

#include "packet.h"

struct sc_segment_plan {
	const uint8_t *data;	/* the packet, from its IP header */
	uint32_t header_len;	/* IP and TCP or UDP headers, repeated in every part */
	uint32_t payload_len;	/* of the whole packet */
	uint32_t part_len;	/* payload bytes of a part; the last may be shorter */
	uint32_t parts;		/* 1 when everything fits */
	uint32_t sum;		/* of the pseudo-header without its length */
	uint16_t l4_offset;
	uint8_t family;		/* 4 or 6 */
	uint8_t proto;		/* SC_PROTO_TCP or SC_PROTO_UDP */
};

/* Plans to cut the packet at data, of which p is the parse, into parts of at most
 * part_len payload bytes. Of UDP it makes datagrams of their own (a UDP_SEGMENT
 * super-packet), so that mtu.c must ask for TCP only. -EINVAL: neither TCP nor UDP,
 * a fragment, a SYN or RST that would need cutting, part_len 0. The packet must
 * outlive the plan. Checksums are made anew: whoever cuts what came over a wire
 * asks sc_checksum_good() first. */
int sc_segment_plan(const uint8_t *data, const struct sc_parsed *p, uint32_t part_len,
		    struct sc_segment_plan *plan);

/* Length of the longest part, headers included. */
static inline uint32_t sc_segment_longest(const struct sc_segment_plan *plan)
{
	return plan->header_len + (plan->parts > 1 ? plan->part_len : plan->payload_len);
}

/* Writes part index (< plan->parts) to out->data, which has room for
 * sc_segment_longest() bytes and does not overlap the packet, and sets out->len. */
void sc_segment_make(const struct sc_segment_plan *plan, uint32_t index, struct sc_packet *out);

/* Completes a checksum of which only the pseudo-header's part is there
 * (VIRTIO_NET_HDR_F_NEEDS_CSUM): sums data from start to len into the field at
 * start + offset. -EINVAL when they point outside. */
int sc_finish_checksum(uint8_t *data, uint32_t len, uint32_t start, uint32_t offset);

/* Whether the TCP or UDP checksum of an unfragmented packet is right (or absent,
 * for UDP over IPv4). False for anything else. */
bool sc_checksum_good(const uint8_t *data, const struct sc_parsed *p);

#endif
