/* The simulator's own random numbers: SplitMix64 (Steele, Lea, Flood, 2014), one
 * stream for each purpose, so that leaving one thing out moves nothing else. */
#ifndef SC_SIM_RANDOM_H
#define SC_SIM_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

struct rng {
	uint64_t state;
};

static inline uint64_t rng_next(struct rng *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

/* A stream of its own for purpose and number. */
static inline struct rng rng_of(uint64_t seed, uint64_t purpose, uint64_t number)
{
	struct rng r = { seed * 0xd1342543de82ef95ull ^ purpose << 48 };

	r.state ^= rng_next(&r) + number * 0x2545f4914f6cdd1dull;
	rng_next(&r);
	return r;
}

/* 0 .. n - 1. */
static inline uint32_t rng_below(struct rng *r, uint32_t n)
{
	return n == 0 ? 0 : (uint32_t)((rng_next(r) >> 32) * n >> 32);
}

/* low .. high, both included. */
static inline uint64_t rng_range(struct rng *r, uint64_t low, uint64_t high)
{
	return low + rng_next(r) % (high - low + 1);
}

static inline bool rng_chance(struct rng *r, double p)
{
	return (double)(rng_next(r) >> 11) * 0x1p-53 < p;
}

#endif
