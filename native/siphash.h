/* SipHash-2-4 with 64 bits of output (Aumasson, Bernstein: "SipHash: a fast
 * short-input PRF", 2012). Called by gue.c and peer.c for tags. */
#ifndef SC_SIPHASH_H
#define SC_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t sc_siphash(const uint8_t key[16], const uint8_t *data, size_t len);

#endif
