/* Packets with virtio-net headers; see vnet.h. */
#include "vnet.h"

#include <errno.h>

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4	5
#endif

static int take_super(struct sc_vnet *v, uint8_t gso_type, uint32_t gso_size)
{
	struct sc_parsed p;
	enum sc_kind kind;
	uint8_t family = 0;

	switch (gso_type) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
		kind = SC_KIND_TCP;
		family = 4;
		break;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		kind = SC_KIND_TCP;
		family = 6;
		break;
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		kind = SC_KIND_UDP;
		break;
	default:
		return -EINVAL;
	}
	if (sc_parse_super(v->data, v->len, &p) != SC_OK || p.kind != kind ||
	    (family && p.family != family) || sc_segment_plan(v->data, &p, gso_size, &v->plan))
		return -EINVAL;
	if (sc_segment_longest(&v->plan) > SC_PACKET_MAX)
		return -EMSGSIZE;
	v->cut = true;
	return 0;
}

int sc_vnet_take(struct sc_vnet *v, const struct virtio_net_hdr *h, uint8_t *data, uint32_t len)
{
	uint8_t gso_type = h->gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;
	int err = 0;

	*v = (struct sc_vnet){ .data = data, .len = len };
	if (gso_type != VIRTIO_NET_HDR_GSO_NONE)
		err = take_super(v, gso_type, h->gso_size);
	else if (len == 0 || len > SC_PACKET_MAX)
		err = len ? -EMSGSIZE : -EINVAL;
	else if (h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		err = sc_finish_checksum(data, len, h->csum_start, h->csum_offset);
	if (err)
		v->data = NULL;
	return err;
}

bool sc_vnet_next(struct sc_vnet *v, struct sc_packet *out)
{
	if (!v->data)
		return false;
	if (!v->cut) {
		memcpy(out->data, v->data, v->len);
		out->len = v->len;
		v->data = NULL;
		return true;
	}
	sc_segment_make(&v->plan, v->next++, out);
	if (v->next == v->plan.parts)
		v->data = NULL;
	return true;
}
