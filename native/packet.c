/* Parsing of IPv4 and IPv6 packets down to the ports, and Internet checksums. See
 * packet.h for the contract. Every read is behind a comparison with the bytes that
 * are there. */
#include "packet.h"

enum {
	IP4_MIN = 20,
	IP6_LEN = 40,
	TCP_MIN = 20,
	UDP_LEN = 8,
	ICMP_LEN = 8,
	QUOTED_L4 = 8,		/* transport bytes an ICMP error must quote (RFC 792) */

	EXT_HOP = 0,
	EXT_ROUTING = 43,
	EXT_FRAGMENT = 44,
	EXT_AUTH = 51,
	EXT_DEST = 60,
};

struct sc_addr sc_addr4(const uint8_t *b)
{
	struct sc_addr a = { .b = { [10] = 0xff, [11] = 0xff } };

	memcpy(a.b + 12, b, 4);
	return a;
}

struct sc_addr sc_addr6(const uint8_t *b)
{
	struct sc_addr a;

	memcpy(a.b, b, 16);
	return a;
}

bool sc_addr_is4(const struct sc_addr *a)
{
	static const uint8_t prefix[12] = { [10] = 0xff, [11] = 0xff };

	return memcmp(a->b, prefix, sizeof(prefix)) == 0;
}

uint32_t sc_sum(const void *data, uint32_t len, uint32_t sum)
{
	const uint8_t *p = data;
	uint64_t wide = sum;

	for (; len >= 4; p += 4, len -= 4)
		wide += sc_get32(p);
	if (len >= 2) {
		wide += (uint32_t)sc_get16(p);
		p += 2;
		len -= 2;
	}
	if (len)
		wide += (uint32_t)p[0] << 8;
	wide = (wide & 0xffffffff) + (wide >> 32);
	wide = (wide & 0xffffffff) + (wide >> 32);
	return (uint32_t)((wide & 0xffff) + (wide >> 16));
}

uint16_t sc_fold(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

uint32_t sc_sum_pseudo(const struct sc_parsed *p, uint8_t proto, uint32_t l4_len)
{
	uint8_t tail[8] = { 0 };
	uint32_t skip = p->family == 4 ? 12 : 0;
	uint32_t sum;

	sc_put32(tail, l4_len);
	tail[7] = proto;
	sum = sc_sum(p->src.b + skip, 16 - skip, 0);
	sum = sc_sum(p->dst.b + skip, 16 - skip, sum);
	return sc_sum(tail, sizeof(tail), sum);
}

/* Walks IPv6 extension headers from *offset. Sets *proto and *offset to the upper
 * layer; *frag to the fragment header's offset-and-M field, if there is one. */
static enum sc_reason walk_extensions(const uint8_t *data, uint32_t len, uint8_t *proto,
				      uint32_t *offset, uint16_t *frag)
{
	bool fragmented = false;

	for (int i = 0; i <= SC_MAX_EXTENSIONS; i++) {
		const uint8_t *h = data + *offset;
		uint32_t size;

		switch (*proto) {
		case EXT_HOP:
		case EXT_ROUTING:
		case EXT_DEST:
		case EXT_AUTH:
			if (len - *offset < 8)
				return SC_DROP_truncated;
			size = *proto == EXT_AUTH ? (h[1] + 2u) * 4 : (h[1] + 1u) * 8;
			break;
		case EXT_FRAGMENT:
			if (len - *offset < 8)
				return SC_DROP_truncated;
			if (fragmented)
				return SC_DROP_bad_header;
			fragmented = true;
			size = 8;
			*frag = sc_get16(h + 2);
			break;
		default:
			return SC_OK;
		}
		if (size > len - *offset)
			return SC_DROP_truncated;
		*proto = h[0];
		*offset += size;
		if (*frag & 0xfff8)	/* a later fragment: what follows is not a header */
			return SC_OK;
	}
	return SC_DROP_too_many_extensions;
}

/* The packet that an ICMP error quotes went from the VIP to the client: turned
 * round it is the flow. */
static enum sc_reason parse_quoted(const uint8_t *q, uint32_t len, struct sc_parsed *p)
{
	struct sc_addr from, to;
	enum sc_reason r;
	uint32_t l4;
	uint16_t frag = 0;
	uint8_t proto;

	if (p->family == 4) {
		if (len < IP4_MIN || q[0] >> 4 != 4)
			return SC_DROP_bad_header;
		l4 = (q[0] & 0xfu) * 4;
		if (l4 < IP4_MIN)
			return SC_DROP_bad_header;
		frag = (uint16_t)(sc_get16(q + 6) << 3);
		proto = q[9];
		from = sc_addr4(q + 12);
		to = sc_addr4(q + 16);
	} else {
		if (len < IP6_LEN || q[0] >> 4 != 6)
			return SC_DROP_bad_header;
		l4 = IP6_LEN;
		proto = q[6];
		from = sc_addr6(q + 8);
		to = sc_addr6(q + 24);
		r = walk_extensions(q, len, &proto, &l4, &frag);
		if (r != SC_OK)
			return r;
	}
	if (l4 > len || len - l4 < QUOTED_L4)
		return SC_DROP_truncated;
	if (frag & 0xfff8)
		return SC_DROP_fragment;
	if (proto != SC_PROTO_TCP && proto != SC_PROTO_UDP)
		return SC_DROP_unknown_protocol;
	if (!sc_addr_eq(&from, &p->dst))
		return SC_DROP_bad_header;
	p->kind = SC_KIND_ICMP_ERROR;
	p->proto = proto;
	p->src = to;
	p->dport = sc_get16(q + l4);
	p->sport = sc_get16(q + l4 + 2);
	return SC_OK;
}

static enum sc_reason parse_icmp(const uint8_t *l4, uint32_t len, struct sc_parsed *p)
{
	uint8_t type;

	if (len < ICMP_LEN)
		return SC_DROP_truncated;
	type = l4[0];
	p->payload_offset = (uint16_t)(p->l4_offset + ICMP_LEN);
	if (type == (p->family == 4 ? 8 : 128)) {
		p->kind = SC_KIND_ICMP_ECHO;
		return SC_OK;
	}
	if (p->family == 4 ? type == 3 || type == 11 || type == 12 : type >= 1 && type <= 4)
		return parse_quoted(l4 + ICMP_LEN, len - ICMP_LEN, p);
	return SC_DROP_unknown_protocol;
}

static enum sc_reason parse_transport(const uint8_t *data, struct sc_parsed *p)
{
	const uint8_t *l4 = data + p->l4_offset;
	uint32_t len = (uint32_t)p->total_len - p->l4_offset;
	uint32_t header;

	switch (p->proto) {
	case SC_PROTO_TCP:
		if (len < TCP_MIN)
			return SC_DROP_truncated;
		header = (l4[12] >> 4) * 4u;
		if (header < TCP_MIN)
			return SC_DROP_bad_header;
		if (header > len)
			return SC_DROP_truncated;
		p->kind = SC_KIND_TCP;
		p->tcp_flags = l4[13];
		break;
	case SC_PROTO_UDP:
		if (len < UDP_LEN)
			return SC_DROP_truncated;
		header = UDP_LEN;
		if (sc_get16(l4 + 4) < UDP_LEN)
			return SC_DROP_bad_header;
		if (sc_get16(l4 + 4) > len && !p->first_fragment)
			return SC_DROP_truncated;
		p->kind = SC_KIND_UDP;
		break;
	case SC_PROTO_ICMP:
	case SC_PROTO_ICMP6:
		if ((p->proto == SC_PROTO_ICMP) != (p->family == 4) || p->first_fragment)
			return SC_DROP_unknown_protocol;
		return parse_icmp(l4, len, p);
	default:
		return SC_DROP_unknown_protocol;
	}
	p->sport = sc_get16(l4);
	p->dport = sc_get16(l4 + 2);
	p->payload_offset = (uint16_t)(p->l4_offset + header);
	return SC_OK;
}

/* No datagram is longer than 65535 bytes behind its header, whatever its fragments say. */
static enum sc_reason fits(uint16_t frag, uint32_t len)
{
	return (frag & 0xfff8u) + len > UINT16_MAX ? SC_DROP_bad_header : SC_OK;
}

static enum sc_reason parse_ip4(const uint8_t *data, uint32_t len, struct sc_parsed *p, uint16_t *frag)
{
	uint32_t header;

	if (len < IP4_MIN)
		return SC_DROP_truncated;
	header = (data[0] & 0xfu) * 4;
	p->total_len = sc_get16(data + 2);
	if (header < IP4_MIN || p->total_len < header)
		return SC_DROP_bad_header;
	if (p->total_len > len)
		return SC_DROP_truncated;
	if (sc_fold(sc_sum(data, header, 0)) != 0xffff)
		return SC_DROP_bad_checksum;
	if (data[8] == 0)
		return SC_DROP_ttl_expired;
	p->family = 4;
	p->proto = data[9];
	p->src = sc_addr4(data + 12);
	p->dst = sc_addr4(data + 16);
	p->df = data[6] & 0x40;
	p->l4_offset = (uint16_t)header;
	*frag = (uint16_t)(sc_get16(data + 6) << 3 | (data[6] & 0x20 ? 1 : 0));
	return fits(*frag, p->total_len - header);
}

static enum sc_reason parse_ip6(const uint8_t *data, uint32_t len, struct sc_parsed *p, uint16_t *frag)
{
	uint32_t offset = IP6_LEN;
	enum sc_reason r;

	if (len < IP6_LEN)
		return SC_DROP_truncated;
	if (sc_get16(data + 4) > len - IP6_LEN)
		return SC_DROP_truncated;
	if (data[7] == 0)
		return SC_DROP_ttl_expired;
	p->family = 6;
	p->total_len = (uint16_t)(IP6_LEN + sc_get16(data + 4));
	p->proto = data[6];
	p->src = sc_addr6(data + 8);
	p->dst = sc_addr6(data + 24);
	p->df = true;
	/* ::ffff:a.b.c.d would pass for a.b.c.d. */
	if (sc_addr_is4(&p->src) || sc_addr_is4(&p->dst))
		return SC_DROP_bad_header;
	r = walk_extensions(data, p->total_len, &p->proto, &offset, frag);
	p->l4_offset = (uint16_t)offset;
	return r == SC_OK ? fits(*frag, p->total_len - offset) : r;
}

enum sc_reason sc_parse(const uint8_t *data, uint32_t len, struct sc_parsed *out)
{
	if (len > SC_PACKET_MAX)
		return SC_DROP_too_long;
	return sc_parse_super(data, len, out);
}

enum sc_reason sc_parse_super(const uint8_t *data, uint32_t len, struct sc_parsed *out)
{
	uint16_t frag = 0;	/* offset in bytes, lowest bit: more follow */
	enum sc_reason r;

	memset(out, 0, sizeof(*out));
	if (len < 1)
		return SC_DROP_truncated;
	if (len > UINT16_MAX)
		return SC_DROP_too_long;
	if (data[0] >> 4 == 4)
		r = parse_ip4(data, len, out, &frag);
	else if (data[0] >> 4 == 6)
		r = parse_ip6(data, len, out, &frag);
	else
		return SC_DROP_bad_version;
	if (r != SC_OK)
		return r;
	if (frag & 0xfff8) {
		out->kind = SC_KIND_FRAGMENT;
		out->payload_offset = out->l4_offset;
		return SC_OK;
	}
	out->first_fragment = frag & 1;
	return parse_transport(data, out);
}
