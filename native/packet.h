/* Packets in memory: the buffer every stage hands on, and what parsing finds in
 * it. Owned by packet.c; called by forward.c, backend.c, mtu.c and the I/O side.
 * Guarantees: no byte outside [data, data + len) is read, whatever the headers
 * claim; every refusal is a reason. All multi-byte values in struct sc_parsed are
 * in host byte order; addresses stay in network order. */
#ifndef SC_PACKET_H
#define SC_PACKET_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "limits.h"
#include "reason.h"

/* One IP packet. At least SC_HEADROOM bytes before data belong to it on entry. */
struct sc_packet {
	uint8_t *data;
	uint32_t len;
	uint32_t egress;	/* enum sc_egress, set on the way out */
};

enum sc_egress {
	SC_EGRESS_WIRE,		/* a whole outer IP packet for another machine */
	SC_EGRESS_LOCAL,	/* a packet for this machine's own stack */
};

/* An IP address; IPv4 as ::ffff:a.b.c.d. Network byte order. */
struct sc_addr {
	uint8_t b[16];
};

enum sc_tcp_flags {
	SC_TCP_FIN = 0x01,
	SC_TCP_SYN = 0x02,
	SC_TCP_RST = 0x04,
	SC_TCP_PSH = 0x08,
	SC_TCP_ACK = 0x10,
};

enum sc_ip_proto {
	SC_PROTO_ICMP = 1,
	SC_PROTO_TCP = 6,
	SC_PROTO_UDP = 17,
	SC_PROTO_ICMP6 = 58,
};

/* What a packet is, as far as forwarding cares. */
enum sc_kind {
	SC_KIND_TCP,
	SC_KIND_UDP,
	SC_KIND_FRAGMENT,	/* a later fragment: no ports */
	SC_KIND_ICMP_ERROR,	/* about a flow: src, dst and ports are that flow's, seen from its client */
	SC_KIND_ICMP_ECHO,	/* a ping */
};

struct sc_parsed {
	struct sc_addr src, dst;
	uint16_t sport, dport;
	uint8_t family;		/* 4 or 6 */
	uint8_t proto;		/* of the flow: the embedded packet's for an ICMP error */
	uint8_t kind;		/* enum sc_kind */
	uint8_t tcp_flags;
	bool first_fragment;	/* more fragments follow this one */
	bool df;
	uint16_t l4_offset;	/* from the start of the IP header */
	uint16_t payload_offset;	/* behind the TCP or UDP header */
	uint16_t total_len;	/* what the IP header says; <= len */
};

/* Parses one IPv4 or IPv6 packet of len bytes. Returns SC_OK or why not. Bytes
 * behind the IP header's own length are ignored (link padding). */
enum sc_reason sc_parse(const uint8_t *data, uint32_t len, struct sc_parsed *out);

/* The same for a super-packet of a local stack: up to 65535 bytes. */
enum sc_reason sc_parse_super(const uint8_t *data, uint32_t len, struct sc_parsed *out);

/* Internet checksum (RFC 1071): folds sum and the bytes into 16 bits, host order
 * of a big-endian sum, not inverted. */
uint32_t sc_sum(const void *data, uint32_t len, uint32_t sum);
uint16_t sc_fold(uint32_t sum);

/* The pseudo-header's part of a TCP, UDP or ICMPv6 checksum. */
uint32_t sc_sum_pseudo(const struct sc_parsed *p, uint8_t proto, uint32_t l4_len);

/* Makes an address from 4 or 16 bytes in network order. */
struct sc_addr sc_addr4(const uint8_t *b);
struct sc_addr sc_addr6(const uint8_t *b);
bool sc_addr_is4(const struct sc_addr *a);

static inline bool sc_addr_eq(const struct sc_addr *a, const struct sc_addr *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

static inline uint16_t sc_get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t sc_get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint64_t sc_get64(const uint8_t *p)
{
	return (uint64_t)sc_get32(p) << 32 | sc_get32(p + 4);
}

static inline void sc_put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void sc_put32(uint8_t *p, uint32_t v)
{
	sc_put16(p, (uint16_t)(v >> 16));
	sc_put16(p + 2, (uint16_t)v);
}

static inline void sc_put64(uint8_t *p, uint64_t v)
{
	sc_put32(p, (uint32_t)(v >> 32));
	sc_put32(p + 4, (uint32_t)v);
}

#endif
