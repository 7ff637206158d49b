/* Cutting and checksum completion; see segment.h. */
#include "segment.h"

#include <errno.h>

enum {
	IP4_LEN = 2, IP4_ID = 4, IP4_CHECKSUM = 10, IP4_ADDRESSES = 12,
	IP6_LEN = 4, IP6_ADDRESSES = 8, IP6_HEADER = 40,
	TCP_SEQ = 4, TCP_FLAGS = 13, TCP_CHECKSUM = 16, TCP_URGENT = 18,
	UDP_LEN = 4, UDP_CHECKSUM = 6,
	TCP_URG = 0x20, TCP_CWR = 0x80,
};

/* A checksum of 0 is written as its other form: in UDP 0 means that there is none. */
static uint16_t finish(uint32_t sum)
{
	uint16_t v = (uint16_t)~sc_fold(sum);

	return v ? v : 0xffff;
}

/* The addresses lie side by side in either header. */
static uint32_t sum_addresses(const uint8_t *data, uint8_t family)
{
	return family == 4 ? sc_sum(data + IP4_ADDRESSES, 8, 0) :
			     sc_sum(data + IP6_ADDRESSES, 32, 0);
}

static bool whole_tcp_or_udp(const struct sc_parsed *p)
{
	return (p->kind == SC_KIND_TCP || p->kind == SC_KIND_UDP) && !p->first_fragment;
}

int sc_segment_plan(const uint8_t *data, const struct sc_parsed *p, uint32_t part_len,
		    struct sc_segment_plan *plan)
{
	uint32_t payload;

	if (!whole_tcp_or_udp(p) || part_len == 0 || p->payload_offset > p->total_len)
		return -EINVAL;
	payload = (uint32_t)p->total_len - p->payload_offset;
	if (p->kind == SC_KIND_TCP && (p->tcp_flags & (SC_TCP_SYN | SC_TCP_RST)) &&
	    payload > part_len)
		return -EINVAL;

	*plan = (struct sc_segment_plan){
		.data = data,
		.header_len = p->payload_offset,
		.payload_len = payload,
		.part_len = part_len,
		.parts = payload ? 1 + (payload - 1) / part_len : 1,
		.l4_offset = p->l4_offset,
		.family = p->family,
		.proto = p->kind == SC_KIND_TCP ? SC_PROTO_TCP : SC_PROTO_UDP,
	};
	plan->sum = sum_addresses(data, plan->family) + plan->proto;
	return 0;
}

static void make_ip(const struct sc_segment_plan *plan, uint32_t index, uint8_t *ip, uint32_t len)
{
	if (plan->family == 6) {
		sc_put16(ip + IP6_LEN, (uint16_t)(len - IP6_HEADER));
		return;
	}
	sc_put16(ip + IP4_LEN, (uint16_t)len);
	sc_put16(ip + IP4_ID, (uint16_t)(sc_get16(ip + IP4_ID) + index));
	sc_put16(ip + IP4_CHECKSUM, 0);
	sc_put16(ip + IP4_CHECKSUM, (uint16_t)~sc_fold(sc_sum(ip, (ip[0] & 15u) * 4, 0)));
}

/* offset: of the part in the payload. The urgent pointer counts from the sequence
 * number, so that it has to follow it. */
static void make_tcp(uint8_t *tcp, uint32_t offset, bool last)
{
	uint16_t urgent = sc_get16(tcp + TCP_URGENT);

	sc_put32(tcp + TCP_SEQ, sc_get32(tcp + TCP_SEQ) + offset);
	if (!last)
		tcp[TCP_FLAGS] &= (uint8_t)~(SC_TCP_FIN | SC_TCP_PSH);
	if (offset == 0)
		return;
	tcp[TCP_FLAGS] &= (uint8_t)~TCP_CWR;
	if (!(tcp[TCP_FLAGS] & TCP_URG))
		return;
	if (urgent > offset) {
		sc_put16(tcp + TCP_URGENT, (uint16_t)(urgent - offset));
	} else {
		tcp[TCP_FLAGS] &= (uint8_t)~TCP_URG;
		sc_put16(tcp + TCP_URGENT, 0);
	}
}

void sc_segment_make(const struct sc_segment_plan *plan, uint32_t index, struct sc_packet *out)
{
	uint32_t offset = index * plan->part_len;
	uint32_t left = plan->payload_len - offset;
	uint32_t n = left < plan->part_len ? left : plan->part_len;
	uint8_t *l4 = out->data + plan->l4_offset;
	uint8_t *checksum;
	uint32_t l4_len;

	memcpy(out->data, plan->data, plan->header_len);
	memcpy(out->data + plan->header_len, plan->data + plan->header_len + offset, n);
	out->len = plan->header_len + n;
	l4_len = out->len - plan->l4_offset;

	make_ip(plan, index, out->data, out->len);
	if (plan->proto == SC_PROTO_TCP) {
		make_tcp(l4, offset, index + 1 == plan->parts);
		checksum = l4 + TCP_CHECKSUM;
	} else {
		sc_put16(l4 + UDP_LEN, (uint16_t)l4_len);
		checksum = l4 + UDP_CHECKSUM;
	}
	sc_put16(checksum, 0);
	sc_put16(checksum, finish(sc_sum(l4, l4_len, plan->sum + l4_len)));
}

int sc_finish_checksum(uint8_t *data, uint32_t len, uint32_t start, uint32_t offset)
{
	/* In this order nothing overflows. */
	if (len < 2 || start > len - 2 || offset > len - 2 - start)
		return -EINVAL;
	sc_put16(data + start + offset, finish(sc_sum(data + start, len - start, 0)));
	return 0;
}

bool sc_checksum_good(const uint8_t *data, const struct sc_parsed *p)
{
	uint32_t l4_len, sum;

	if (!whole_tcp_or_udp(p) || p->payload_offset > p->total_len)
		return false;
	l4_len = (uint32_t)p->total_len - p->l4_offset;
	if (p->kind == SC_KIND_UDP && p->family == 4 &&
	    sc_get16(data + p->l4_offset + UDP_CHECKSUM) == 0)
		return true;
	sum = sum_addresses(data, p->family) + l4_len +
	      (p->kind == SC_KIND_TCP ? SC_PROTO_TCP : SC_PROTO_UDP);
	return sc_fold(sc_sum(data + p->l4_offset, l4_len, sum)) == 0xffff;
}
