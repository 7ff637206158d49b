/* A received packet with its virtio-net header, on its way to wire-sized packets
 * with full checksums. Called by the TUN and the AF_PACKET port. Guarantees: what
 * the header claims is checked against the packet; a super-packet's parts come one
 * by one, so that none is lost where a burst ends in the middle. */
#ifndef SC_VNET_H
#define SC_VNET_H

#include <linux/virtio_net.h>

#include "../segment.h"

enum {
	/* Longest super-packet read: an IP packet's length has 16 bits. The byte more
	 * shows that something was cut off. */
	SC_SUPER_MAX = 65535 + 1,
};

struct sc_vnet {
	const uint8_t *data;	/* NULL: nothing left */
	uint32_t len;
	uint32_t next;		/* part that comes next */
	bool cut;		/* by plan; else data is one packet */
	struct sc_segment_plan plan;
};

/* Takes in a packet of len bytes, whose buffer stays untouched by the caller until
 * sc_vnet_next() says that nothing is left. -EINVAL: header and packet contradict
 * each other; -EMSGSIZE: longer than SC_PACKET_MAX, even when cut. */
int sc_vnet_take(struct sc_vnet *v, const struct virtio_net_hdr *h, uint8_t *data, uint32_t len);

/* Copies the next packet to out->data (room for SC_PACKET_MAX). False: nothing left. */
bool sc_vnet_next(struct sc_vnet *v, struct sc_packet *out);

#endif
