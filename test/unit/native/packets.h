/* Packets for native tests, header by header, with checksums by naive.h; and buffers
 * that end where their packet ends, so that ASan sees a read behind it. */
#ifndef SC_TEST_PACKETS_H
#define SC_TEST_PACKETS_H

#include <stdlib.h>

#include "naive.h"
#include "packet.h"

/* A packet under construction: ip, then what is appended. */
struct draft {
	uint8_t b[SC_PACKET_MAX + 1024];
	uint32_t len;
	uint32_t l4;		/* where the transport header begins */
	uint8_t proto;		/* of the transport */
};

static inline struct sc_addr ip4(uint32_t v)
{
	uint8_t b[4];

	sc_put32(b, v);
	return sc_addr4(b);
}

/* fd00::a.b.c.d: every IPv4 address of a test has its IPv6 sister. */
static inline struct sc_addr ip6(uint32_t v)
{
	struct sc_addr a = { .b = { 0xfd } };

	sc_put32(a.b + 12, v);
	return a;
}

/* Begins with an IPv4 header of 20 bytes and options (a multiple of 4, NOPs). frag:
 * the field with DF, MF and offset. */
static inline void draft_ip4(struct draft *d, uint8_t proto, uint32_t src, uint32_t dst,
			     uint32_t options, uint16_t frag)
{
	memset(d->b, 0, sizeof(d->b));
	d->b[0] = (uint8_t)(0x45 + options / 4);
	sc_put16(d->b + 6, frag);
	d->b[8] = 60;
	d->b[9] = proto;
	sc_put32(d->b + 12, src);
	sc_put32(d->b + 16, dst);
	memset(d->b + 20, 1, options);
	d->len = d->l4 = 20 + options;
	d->proto = proto;
}

static inline void draft_ip6(struct draft *d, uint8_t next, uint32_t src, uint32_t dst)
{
	struct sc_addr from = ip6(src), to = ip6(dst);

	memset(d->b, 0, sizeof(d->b));
	d->b[0] = 0x60;
	d->b[6] = next;
	d->b[7] = 60;
	memcpy(d->b + 8, from.b, 16);
	memcpy(d->b + 24, to.b, 16);
	d->len = d->l4 = 40;
	d->proto = next;
}

/* An IPv6 extension header of units * 8 bytes (an authentication header: units * 4) of
 * type; next: what follows it. The header before must have named type. */
static inline void draft_extension(struct draft *d, uint8_t type, uint8_t next, uint32_t units)
{
	uint8_t *h = d->b + d->len;
	uint32_t size = type == 51 ? units * 4 : units * 8;

	memset(h, 0, size);
	h[0] = next;
	if (type == 51)
		h[1] = (uint8_t)(units - 2);
	else if (type != 44)
		h[1] = (uint8_t)(units - 1);
	d->len += size;
	d->l4 = d->len;
	d->proto = next;
}

static inline void draft_payload(struct draft *d, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		d->b[d->len++] = (uint8_t)(i * 7 + 3);
}

static inline void draft_tcp(struct draft *d, uint16_t sport, uint16_t dport, uint8_t flags,
			     uint32_t options, uint32_t payload)
{
	uint8_t *h = d->b + d->len;

	memset(h, 0, 20);
	sc_put16(h, sport);
	sc_put16(h + 2, dport);
	sc_put32(h + 4, 1000);
	h[12] = (uint8_t)(0x50 + options / 4 * 16);
	h[13] = flags;
	memset(h + 20, 1, options);
	d->len += 20 + options;
	draft_payload(d, payload);
}

static inline void draft_udp(struct draft *d, uint16_t sport, uint16_t dport, uint32_t payload)
{
	uint8_t *h = d->b + d->len;

	memset(h, 0, 8);
	sc_put16(h, sport);
	sc_put16(h + 2, dport);
	sc_put16(h + 4, (uint16_t)(8 + payload));
	d->len += 8;
	draft_payload(d, payload);
}

static inline void draft_icmp(struct draft *d, uint8_t type, uint8_t code)
{
	uint8_t *h = d->b + d->len;

	memset(h, 0, 8);
	h[0] = type;
	h[1] = code;
	d->len += 8;
}

/* The IPv4 header checksum, made anew. */
static inline void fix_ip4(uint8_t *b)
{
	sc_put16(b + 10, 0);
	sc_put16(b + 10, (uint16_t)~naive_sum(b, (b[0] & 15u) * 4, 0));
}

/* Fills in lengths and checksums. */
static inline void draft_done(struct draft *d)
{
	static const int at[256] = { [6] = 16, [17] = 6, [58] = 2 };
	uint8_t *l4 = d->b + d->l4;

	if (d->b[0] >> 4 == 4)
		sc_put16(d->b + 2, (uint16_t)d->len);
	else
		sc_put16(d->b + 4, (uint16_t)(d->len - 40));
	if (at[d->proto]) {
		sc_put16(l4 + at[d->proto], 0);
		sc_put16(l4 + at[d->proto], naive_transport_field(d->b, d->len, d->l4, d->proto));
	} else if (d->proto == 1) {
		sc_put16(l4 + 2, 0);
		sc_put16(l4 + 2, (uint16_t)~naive_sum(l4, d->len - d->l4, 0));
	}
	if (d->b[0] >> 4 == 4)
		fix_ip4(d->b);
}

/* A whole TCP or UDP packet of a client. */
static inline void draft_client(struct draft *d, int family, uint8_t proto, uint32_t src, uint32_t dst,
				uint16_t sport, uint16_t dport, uint8_t flags, uint32_t payload)
{
	if (family == 4)
		draft_ip4(d, proto, src, dst, 0, 0x4000);
	else
		draft_ip6(d, proto, src, dst);
	if (proto == SC_PROTO_TCP)
		draft_tcp(d, sport, dport, flags, 0, payload);
	else
		draft_udp(d, sport, dport, payload);
	draft_done(d);
}

/* A copy with SC_HEADROOM bytes in front that ends where its packet does. Freed with
 * exact_free() whatever became of p. */
struct exact {
	uint8_t *block;
	struct sc_packet p;
};

static inline struct exact exact_copy(const uint8_t *data, uint32_t len)
{
	struct exact e = { .block = malloc(SC_HEADROOM + len) };

	e.p.data = e.block + SC_HEADROOM;
	e.p.len = len;
	if (len)
		memcpy(e.p.data, data, len);
	return e;
}

static inline void exact_free(struct exact *e)
{
	free(e->block);
}

/* sc_parse() of a copy that ends where it says. */
static inline enum sc_reason exact_parse(const uint8_t *data, uint32_t len, struct sc_parsed *ip)
{
	struct exact e = exact_copy(data, len);
	enum sc_reason r = sc_parse(e.p.data, len, ip);

	exact_free(&e);
	return r;
}

#endif
