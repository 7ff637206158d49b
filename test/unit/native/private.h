/* Packets between nodes with private data that a test writes itself, tagged with the fleet's key. */
#ifndef SC_TEST_PRIVATE_H
#define SC_TEST_PRIVATE_H

#include "fleet.h"
#include "gue.h"

/* A packet from address from_ip, in the name of node origin, for node 1 of PoP to. Returns its length. */
static inline uint32_t private_packet(const struct fleet *f, uint8_t *b, uint32_t from_ip, int to, uint16_t origin,
				      uint8_t version, uint8_t verb, uint32_t backend, const uint8_t *inner, uint32_t len)
{
	struct sc_key key = { .id = FLEET_KEY_ID, .key = "0123456789abcdef" };
	struct sc_addr src = fleet_addr(f, from_ip), dst = fleet_addr(f, fleet_node_ip(to, 1));
	struct sc_packet p = { .data = b + SC_HEADROOM, .len = len + 20 };
	uint8_t *g = p.data;

	g[0] = 4;
	g[1] = inner[0] >> 4 == 4 ? 4 : 41;
	sc_put16(g + 2, 0);
	g[4] = (uint8_t)(version << 4 | verb);
	g[5] = FLEET_KEY_ID;
	sc_put16(g + 6, origin);
	sc_put32(g + 8, backend);
	memcpy(g + 20, inner, len);
	sc_put_tag(g + 12, sc_tag(&key, &src, &dst, g + 4, 8, g + 20, len < 64 ? len : 64));
	sc_push_outer(&p, &src, &dst, 0xc000, 0);
	memmove(b, p.data, p.len);
	return p.len;
}

#endif
