/* Flow ids: the one implementation of flow hashing (XXH64). Called by forward.c,
 * home.c, generation.c and napi.c. */
#ifndef SC_FLOW_ID_H
#define SC_FLOW_ID_H

#include "packet.h"

/* XXH64 of len bytes (xxHash specification, 0.1.1, section 3). */
uint64_t sc_xxh64(const void *data, size_t len, uint64_t seed);

/* The flow id as docs/wire-format.md section 1 defines it: addresses in network
 * byte order, ports in host byte order. */
uint64_t sc_flow_id(const struct sc_addr *src, const struct sc_addr *dst, uint16_t sport,
		    uint16_t dport, uint8_t proto, uint64_t seed);

/* The Maglev slot of a flow in a table of size slots: by the upper half of its id. */
static inline uint32_t sc_maglev_slot(uint64_t flow, uint32_t size)
{
	return (uint32_t)((flow >> 32) * size >> 32);
}

/* The home row of a flow; bits of the id that neither the slot nor the flow
 * table's bucket leans on. */
static inline uint32_t sc_home_row(uint64_t flow)
{
	return (uint32_t)(flow >> 32) & (SC_HOME_ROWS - 1);
}

#endif
