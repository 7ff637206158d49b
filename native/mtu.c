/* Packets that do not fit the path once they are wrapped: TCP is cut into segments
 * that do, IPv4 that may be fragmented is, the rest is answered with "fragmentation
 * needed" (RFC 1191) or "packet too big" (RFC 4443) from the VIP. Called by gue.c;
 * one packet in, its parts wrapped and emitted. */
#include "segment.h"
#include "state.h"

enum {
	IP4_MIN = 20,
	ICMP_LEN = 8,
	ICMP4_QUOTE = 548,	/* the answer stays within 576 bytes (RFC 1812, 4.3.2.3) */
	IP6_MIN_MTU = 1280,	/* RFC 8200, section 5 */
	ICMP6_QUOTE = IP6_MIN_MTU - SC_IP6_LEN - ICMP_LEN,
};

static enum sc_reason cut_tcp(struct sc_way *w, uint32_t room, sc_wrap_fn wrap, const void *to)
{
	uint32_t headers = w->ip.payload_offset;
	struct sc_segment_plan plan;
	enum sc_reason r = SC_OK;

	if (!sc_checksum_good(w->packet->data, &w->ip))
		return SC_DROP_bad_checksum;
	if (headers >= room || sc_segment_plan(w->packet->data, &w->ip, room - headers, &plan) < 0)
		return SC_DROP_too_big;
	if (plan.parts > SC_SCRATCH - w->node->scratch_used)
		return SC_DROP_no_buffer;
	for (uint32_t i = 0; i < plan.parts && r == SC_OK; i++) {
		struct sc_packet part;

		if (!sc_scratch(w->node, &part))
			return SC_DROP_no_buffer;
		sc_segment_make(&plan, i, &part);
		r = wrap(w, &part, to);
	}
	if (r == SC_OK)
		sc_count(w->node, SC_C_segments_cut);
	return r;
}

static enum sc_reason fragment_ip4(struct sc_way *w, uint32_t room, sc_wrap_fn wrap, const void *to)
{
	const uint8_t *ip = w->packet->data;
	uint32_t header = (ip[0] & 0xfu) * 4;
	uint32_t payload = w->ip.total_len - header;
	uint16_t field = sc_get16(ip + 6);
	uint32_t step = (room - header) & ~7u;
	enum sc_reason r = SC_OK;

	if (room < header + 8)
		return SC_DROP_too_big;
	if ((payload + step - 1) / step > SC_SCRATCH - w->node->scratch_used)
		return SC_DROP_no_buffer;
	for (uint32_t at = 0; at < payload && r == SC_OK; at += step) {
		uint32_t n = payload - at < step ? payload - at : step;
		bool more = at + n < payload || field & 0x2000;
		struct sc_packet part;

		if (!sc_scratch(w->node, &part))
			return SC_DROP_no_buffer;
		memcpy(part.data, ip, header);
		memcpy(part.data + header, ip + header + at, n);
		part.len = header + n;
		sc_put16(part.data + 2, (uint16_t)part.len);
		sc_put16(part.data + 6, (uint16_t)(((field & 0x1fff) + at / 8) | (more ? 0x2000 : 0)));
		sc_put16(part.data + 10, 0);
		sc_put16(part.data + 10, (uint16_t)~sc_fold(sc_sum(part.data, header, 0)));
		r = wrap(w, &part, to);
	}
	return r;
}

static void build_too_big4(struct sc_packet *p, const uint8_t *ip, uint32_t quote, uint32_t room)
{
	uint8_t *h = p->data, *icmp = h + IP4_MIN;

	p->len = IP4_MIN + ICMP_LEN + quote;
	memset(h, 0, IP4_MIN + ICMP_LEN);
	h[0] = 0x45;
	sc_put16(h + 2, (uint16_t)p->len);
	h[8] = 64;
	h[9] = SC_PROTO_ICMP;
	memcpy(h + 12, ip + 16, 4);
	memcpy(h + 16, ip + 12, 4);
	sc_put16(h + 10, (uint16_t)~sc_fold(sc_sum(h, IP4_MIN, 0)));
	icmp[0] = 3;
	icmp[1] = 4;
	sc_put16(icmp + 6, (uint16_t)room);
	memcpy(icmp + ICMP_LEN, ip, quote);
	sc_put16(icmp + 2, (uint16_t)~sc_fold(sc_sum(icmp, ICMP_LEN + quote, 0)));
}

static void build_too_big6(struct sc_packet *p, const uint8_t *ip, uint32_t quote, uint32_t room)
{
	uint8_t *h = p->data, *icmp = h + SC_IP6_LEN;
	struct sc_parsed pseudo = { .src = sc_addr6(ip + 24), .dst = sc_addr6(ip + 8), .family = 6 };
	uint32_t len = ICMP_LEN + quote;
	uint32_t sum;

	p->len = SC_IP6_LEN + len;
	memset(h, 0, SC_IP6_LEN + ICMP_LEN);
	h[0] = 0x60;
	sc_put16(h + 4, (uint16_t)len);
	h[6] = SC_PROTO_ICMP6;
	h[7] = 64;
	memcpy(h + 8, pseudo.src.b, 16);
	memcpy(h + 24, pseudo.dst.b, 16);
	icmp[0] = 2;
	sc_put32(icmp + 4, room);
	memcpy(icmp + ICMP_LEN, ip, quote);
	sum = sc_sum(icmp, len, sc_sum_pseudo(&pseudo, SC_PROTO_ICMP6, len));
	sc_put16(icmp + 2, (uint16_t)~sc_fold(sum));
}

/* The packet is dropped as too big; its sender hears of it, if that is allowed. */
static enum sc_reason answer_too_big(struct sc_way *w, uint32_t room)
{
	uint32_t most = w->ip.family == 4 ? ICMP4_QUOTE : ICMP6_QUOTE;
	uint32_t quote = w->ip.total_len < most ? w->ip.total_len : most;
	struct sc_packet answer;

	if (w->ip.kind == SC_KIND_ICMP_ERROR || w->ip.kind == SC_KIND_FRAGMENT)
		return SC_DROP_too_big;
	if (!sc_allows(w->node, &w->node->icmp, SC_ICMP_PER_S) || !sc_scratch(w->node, &answer))
		return SC_DROP_too_big;
	if (w->ip.family == 4)
		build_too_big4(&answer, w->packet->data, quote, room);
	else
		build_too_big6(&answer, w->packet->data, quote, room < IP6_MIN_MTU ? IP6_MIN_MTU : room);
	if (sc_emit(w->node, &answer, SC_EGRESS_WIRE) == SC_OK)
		sc_count(w->node, SC_C_too_big_sent);
	return SC_DROP_too_big;
}

enum sc_reason sc_fit(struct sc_way *w, uint32_t room, sc_wrap_fn wrap, const void *to)
{
	enum sc_reason r;

	w->packet->len = w->ip.total_len;
	if (w->packet->len <= room)
		return wrap(w, w->packet, to);
	if (w->ip.kind == SC_KIND_TCP && !w->ip.first_fragment) {
		r = cut_tcp(w, room, wrap, to);
		return r == SC_DROP_too_big ? answer_too_big(w, room) : r;
	}
	if (w->ip.family == 4 && !w->ip.df)
		return fragment_ip4(w, room, wrap, to);
	return answer_too_big(w, room);
}
