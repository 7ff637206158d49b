/* Tables that several strategies look flows up in. */
#include "survival.h"

/* Maglev's lookup table (Eisenbud et al., NSDI'16, section 3.4, Pseudocode 1) over the
 * PoP's ready backends. */
void sv_maglev(const struct sv_world *w, int pop, uint8_t slot[SV_SLOTS])
{
	uint32_t at[SV_BACKENDS_PER_POP], skip[SV_BACKENDS_PER_POP], filled = 0;
	uint8_t first = (uint8_t)(pop * SV_BACKENDS_PER_POP);

	memset(slot, SV_NONE, SV_SLOTS);
	for (uint8_t i = 0; i < SV_BACKENDS_PER_POP; i++) {
		uint8_t id = (uint8_t)(first + i);

		at[i] = (uint32_t)(sc_xxh64(&id, 1, 1) % SV_SLOTS);
		skip[i] = (uint32_t)(sc_xxh64(&id, 1, 2) % (SV_SLOTS - 1) + 1);
	}
	while (filled < SV_SLOTS) {
		uint32_t before = filled;

		for (uint8_t i = 0; i < SV_BACKENDS_PER_POP && filled < SV_SLOTS; i++) {
			if (w->backend[first + i] != SV_READY)
				continue;
			while (slot[at[i]] != SV_NONE)
				at[i] = (at[i] + skip[i]) % SV_SLOTS;
			slot[at[i]] = (uint8_t)(first + i);
			filled++;
		}
		if (filled == before)
			return;
	}
}

int sv_rendezvous(const struct sv_world *w, int pop, uint32_t slot, uint8_t order[SV_BACKENDS_PER_POP])
{
	uint64_t score[SV_BACKENDS_PER_POP];
	int n = 0;

	for (int b = pop * SV_BACKENDS_PER_POP; b < (pop + 1) * SV_BACKENDS_PER_POP; b++) {
		uint32_t key[2] = { slot, (uint32_t)b };
		uint64_t s = sc_xxh64(key, sizeof(key), 3);
		int at = n;

		if (w->backend[b] == SV_OUT)
			continue;
		for (; at > 0 && score[at - 1] < s; at--) {
			score[at] = score[at - 1];
			order[at] = order[at - 1];
		}
		score[at] = s;
		order[at] = (uint8_t)b;
		n++;
	}
	return n;
}
