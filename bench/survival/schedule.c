/* What happens in one run, drawn from the seed before it: who is where, which flows there
 * are, and the disturbances of the scenario, each kind from a stream of its own, so that
 * leaving one out moves no other. */
#include <math.h>

#include "survival.h"

const struct sv_scenario sv_scenarios[] = {
	{ "split 0.15%", 0.0015, 0, false },
	{ "split 0.15% + churn", 0.0015, SV_CHURN, false },
	{ "split 1%", 0.01, 0, false },
	{ "split 1% + churn", 0.01, SV_CHURN, false },
	{ "split 3%", 0.03, 0, false },
	{ "split 3% + churn", 0.03, SV_CHURN, false },
	{ "bulk moves", 0, SV_BULK, false },
	{ "bulk moves + churn", 0, SV_BULK | SV_CHURN, false },
	{ "churn", 0, SV_CHURN, false },
	{ "nothing", 0, 0, true },
	{ "reshuffles", 0, SV_RESHUFFLES, true },
	{ "restarts", 0, SV_RESTARTS, true },
	{ "restarts on new machines", 0, SV_RESTARTS | SV_MACHINES_LOST, true },
	{ "one backend change", 0, SV_ONE_CHANGE, true },
	{ "one backend change + reshuffles", 0, SV_ONE_CHANGE | SV_RESHUFFLES, true },
	{ "one backend change + restarts", 0, SV_ONE_CHANGE | SV_RESTARTS, true },
	{ "backend changes", 0, SV_CHANGES, true },
	{ "hasty backend changes", 0, SV_HASTE, true },
};
const unsigned int sv_nscenarios = sizeof(sv_scenarios) / sizeof(sv_scenarios[0]);

enum {
	MOVES = 6,
	RESHUFFLES = 6,			/* of each PoP */
	ROLLING_RESTARTS = 2,		/* of each PoP: all its nodes, one after the other */
};

static uint64_t first_us(void)
{
	return SV_BEGIN_US + SV_WARM_US;
}

static void add(struct sv_schedule *s, uint64_t at_us, enum sv_event_kind kind, uint32_t a, uint32_t b, double share)
{
	uint32_t i = s->nevents++;

	if (s->nevents > SV_MAX_EVENTS)
		abort();
	for (; i > 0 && s->event[i - 1].at_us > at_us; i--)
		s->event[i] = s->event[i - 1];
	s->event[i] = (struct sv_event){ at_us, kind, a, b, share };
}

static uint64_t some_time(struct rng *r, uint64_t before_us)
{
	return first_us() + rng_range(r, SV_QUIET_US, SV_EVENTS_US - before_us);
}

/* Half of the moves take a part of one catchment to another PoP for good, half are a PoP's
 * maintenance: it withdraws and comes back. */
static void draw_moves(struct sv_schedule *s)
{
	struct rng r = rng_of(s->seed, 'm', 0);

	for (int i = 0; i < MOVES; i++) {
		uint32_t from = rng_below(&r, SV_POPS), to = (from + 1 + rng_below(&r, SV_POPS - 1)) % SV_POPS;
		double share = (double)rng_range(&r, 30, 100) / 100;
		uint64_t away_us = rng_range(&r, 60 * SC_S, 120 * SC_S), at_us = some_time(&r, away_us);

		if (i % 2) {
			add(s, at_us, SV_E_WITHDRAW, from, 0, 0);
			add(s, at_us + away_us, SV_E_RETURN, from, 0, 0);
		} else {
			add(s, at_us, SV_E_MOVE, from, to, share);
		}
	}
}

/* One PoP's backends: one drains for a while, or a new one is added. At most one drains at
 * a time, as GLB's documentation demands. */
static void draw_changes(struct sv_schedule *s, uint32_t pop)
{
	struct rng r = rng_of(s->seed, 'c', pop);
	uint32_t first = pop * SV_BACKENDS_PER_POP, in = SV_READY_AT_FIRST, draining = SV_NONE;
	uint64_t at_us = first_us() + SV_QUIET_US + rng_range(&r, 0, 40 * SC_S);

	for (; at_us < first_us() + SV_EVENTS_US; at_us += rng_range(&r, 30 * SC_S, 90 * SC_S)) {
		if (in < SV_BACKENDS_PER_POP && rng_below(&r, 4) == 0) {
			add(s, at_us, SV_E_BACKEND, first + in++, SV_READY, 0);
		} else if (draining != SV_NONE) {
			add(s, at_us, SV_E_BACKEND, draining, SV_READY, 0);
			draining = SV_NONE;
		} else {
			draining = first + rng_below(&r, in);
			add(s, at_us, SV_E_BACKEND, draining, SV_DRAINING, 0);
		}
	}
}

/* A rolling deployment that does not wait for flows to end: a backend drains for 40 s, the
 * next one begins after 30. */
static void draw_haste(struct sv_schedule *s, uint32_t pop)
{
	struct rng r = rng_of(s->seed, 'h', pop);
	uint64_t at_us = some_time(&r, (SV_READY_AT_FIRST + 1) * 30 * SC_S);

	for (uint32_t i = 0; i < SV_READY_AT_FIRST; i++, at_us += 30 * SC_S) {
		add(s, at_us, SV_E_BACKEND, pop * SV_BACKENDS_PER_POP + i, SV_DRAINING, 0);
		add(s, at_us + 40 * SC_S, SV_E_BACKEND, pop * SV_BACKENDS_PER_POP + i, SV_READY, 0);
	}
}

/* Every node of a PoP in turn: half are stopped in good order, their route withdrawn first,
 * half crash, and their route falls when the router notices. */
static void draw_restarts(struct sv_schedule *s, uint32_t pop)
{
	struct rng r = rng_of(s->seed, 'r', pop);
	uint64_t turn_us = 30 * SC_S, window_us = (SV_EVENTS_US - SV_QUIET_US) / ROLLING_RESTARTS;

	for (uint32_t i = 0; i < ROLLING_RESTARTS; i++) {
		uint64_t at_us = first_us() + SV_QUIET_US + i * window_us +
				 rng_range(&r, 0, window_us - SV_NODES_PER_POP * turn_us);

		for (uint32_t n = 0; n < SV_NODES_PER_POP; n++, at_us += turn_us) {
			uint32_t node = pop * SV_NODES_PER_POP + n;
			uint64_t down_us = rng_range(&r, 3 * SC_S, 8 * SC_S);
			uint64_t noticed_us = rng_range(&r, 200 * SC_MS, 2 * SC_S);
			bool clean = rng_below(&r, 2) == 0;

			add(s, clean ? at_us - 500 * SC_MS : at_us + noticed_us, SV_E_ROUTE_FALLS, node, 0, 0);
			add(s, at_us, SV_E_NODE_DOWN, node, 0, 0);
			add(s, at_us + down_us, SV_E_NODE_UP, node, 0, 0);
		}
	}
}

static void draw_events(struct sv_schedule *s)
{
	unsigned int has = s->scenario->has;

	if (has & SV_BULK)
		draw_moves(s);
	for (uint32_t pop = 0; pop < SV_POPS; pop++) {
		struct rng r = rng_of(s->seed, 'e', pop);

		for (int i = 0; i < RESHUFFLES; i++) {
			uint64_t at_us = some_time(&r, 0);

			if (has & SV_RESHUFFLES)
				add(s, at_us, SV_E_RESHUFFLE, pop, 0, 0);
		}
		if (has & SV_ONE_CHANGE)
			add(s, some_time(&r, SV_EVENTS_US / 2), SV_E_BACKEND,
			    pop * SV_BACKENDS_PER_POP + rng_below(&r, SV_READY_AT_FIRST), SV_DRAINING, 0);
		if (has & SV_HASTE)
			draw_haste(s, pop);
		if (has & SV_CHANGES)
			draw_changes(s, pop);
		if (has & SV_RESTARTS)
			draw_restarts(s, pop);
	}
}

/* A flow of n packets lasts sqrt(n) times 0.3 to 3 s: a thousand packets half a minute, a
 * million a quarter of an hour. The published mix has no durations. */
static void draw_flow(struct sv_schedule *s, uint32_t i)
{
	struct rng r = rng_of(s->seed, 'f', i);
	struct sv_flow *f = &s->flow[i];
	uint8_t key[6];
	uint64_t end_us = first_us() + SV_OBSERVED_US, room_us;

	f->packets = sv_mix_draw(&r);
	f->client = i / SV_FLOWS_PER_CLIENT;
	f->sport = (uint16_t)(32768 + i % SV_FLOWS_PER_CLIENT);
	f->begin_us = first_us() + rng_range(&r, 0, SV_ARRIVALS_US);
	f->lasts_us = (uint64_t)(sqrt((double)(f->packets - 1)) * 0.3 *
				 pow(10, (double)(rng_next(&r) >> 11) * 0x1p-53) * SC_S);
	room_us = end_us - f->begin_us;
	f->observed = f->lasts_us <= room_us ? f->packets :
		      1 + (uint64_t)((double)f->packets * (double)room_us / (double)f->lasts_us);
	f->sends = (uint32_t)(f->lasts_us / SV_LONGEST_GAP_US + 2);
	if (f->packets < f->sends)
		f->sends = (uint32_t)f->packets;
	sc_put32(key, f->client);
	sc_put16(key + 4, f->sport);
	f->id = sc_xxh64(key, sizeof(key), s->seed);
}

static void draw_client(struct sv_schedule *s, uint32_t i)
{
	struct rng r = rng_of(s->seed, 'k', i);
	struct sv_client *c = &s->client[i];

	for (uint8_t p = 0; p < SV_POPS; p++) {
		int at = p;

		c->delay_us[p] = rng_range(&r, 5 * SC_MS, 60 * SC_MS);
		for (; at > 0 && c->delay_us[c->prefers[at - 1]] > c->delay_us[p]; at--)
			c->prefers[at] = c->prefers[at - 1];
		c->prefers[at] = p;
	}
	c->split = rng_chance(&r, s->scenario->split);
	c->other = c->prefers[1 + rng_below(&r, SV_POPS - 1)];
}

void sv_schedule_new(struct sv_schedule *s, uint64_t seed, const struct sv_scenario *scenario, uint32_t nflows)
{
	struct rng r = rng_of(seed, 'd', 0);

	*s = (struct sv_schedule){
		.seed = seed, .scenario = scenario, .nflows = nflows,
		.nclients = (nflows + SV_FLOWS_PER_CLIENT - 1) / SV_FLOWS_PER_CLIENT,
	};
	s->flow = calloc(s->nflows, sizeof(*s->flow));
	s->client = calloc(s->nclients, sizeof(*s->client));
	if (!s->flow || !s->client)
		abort();
	for (int p = 0; p < SV_POPS; p++) {
		s->delay_us[p][p] = 100;
		for (int q = 0; q < p; q++)
			s->delay_us[p][q] = s->delay_us[q][p] = rng_range(&r, 5 * SC_MS, 80 * SC_MS);
	}
	for (uint32_t i = 0; i < s->nclients; i++)
		draw_client(s, i);
	for (uint32_t i = 0; i < s->nflows; i++)
		draw_flow(s, i);
	draw_events(s);
}

void sv_schedule_free(struct sv_schedule *s)
{
	free(s->flow);
	free(s->client);
}
