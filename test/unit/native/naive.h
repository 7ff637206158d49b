/* Checksums as the standards describe them, slowly and independent of the data path's
 * own: what the tests of packets compare with. */
#ifndef STEADYCAST_TEST_NAIVE_H
#define STEADYCAST_TEST_NAIVE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* RFC 1071 the slow way: 16-bit words, the carry added at once. */
static inline uint16_t naive_sum(const uint8_t *p, uint32_t len, uint16_t sum)
{
	for (uint32_t i = 0; i < len; i++) {
		uint32_t next = sum + (uint32_t)(i % 2 ? p[i] : p[i] << 8);

		sum = (uint16_t)(next > 0xffff ? next - 0xffff : next);
	}
	return sum;
}

/* The sum of the IP packet's pseudo-header and transport, which begins at l4. */
static inline uint16_t naive_transport_sum(const uint8_t *p, uint32_t len, uint32_t l4, uint8_t proto)
{
	uint32_t n = p[0] >> 4 == 4 ? 8 : 32;
	uint8_t pseudo[40] = { 0 };

	memcpy(pseudo, p + (n == 8 ? 12 : 8), n);
	pseudo[n + 2] = (uint8_t)((len - l4) >> 8);
	pseudo[n + 3] = (uint8_t)(len - l4);
	pseudo[n + 7] = proto;
	return naive_sum(p + l4, len - l4, naive_sum(pseudo, n + 8, 0));
}

/* Whether the transport checksum is right: all of it sums to minus zero. */
static inline bool naive_transport_good(const uint8_t *p, uint32_t len, uint32_t l4, uint8_t proto)
{
	return naive_transport_sum(p, len, l4, proto) == 0xffff;
}

/* What belongs into a checksum field that is 0 now. */
static inline uint16_t naive_transport_field(const uint8_t *p, uint32_t len, uint32_t l4, uint8_t proto)
{
	uint16_t sum = naive_transport_sum(p, len, l4, proto);

	return sum == 0xffff ? 0xffff : (uint16_t)~sum;
}

#endif
