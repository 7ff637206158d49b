/* The kinds of steps, one row each; a new one is a function and a row at the end. See fuzz.h. */
#include "fuzz.h"

static struct fuzz_draft draft;

static int node_of(uint8_t choice)
{
	return choice % FUZZ_NODES;
}

/* Another node than that one. */
static int other_node(int i, uint8_t choice)
{
	return (i + 1 + choice % (FUZZ_NODES - 1)) % FUZZ_NODES;
}

static void client(struct fuzz_world *w, struct fuzz_args *a)
{
	int i = node_of(fuzz_8(a));

	fuzz_draft_client(&draft, a);
	fuzz_hand(w, i, draft.b, draft.len);
}

static void icmp(struct fuzz_world *w, struct fuzz_args *a)
{
	int i = node_of(fuzz_8(a));

	fuzz_draft_icmp(&draft, a);
	fuzz_hand(w, i, draft.b, draft.len);
}

static void raw(struct fuzz_world *w, struct fuzz_args *a)
{
	uint8_t how = fuzz_8(a);

	draft.len = a->left;
	memcpy(draft.b, a->at, a->left);
	if (how & 0x80)
		fuzz_mend(draft.b, draft.len);
	fuzz_hand(w, node_of(how), draft.b, draft.len);
}

static void gue(struct fuzz_world *w, struct fuzz_args *a)
{
	uint8_t who = fuzz_8(a);
	int to = node_of(who), from = other_node(to, who / FUZZ_NODES);

	fuzz_draft_gue(w, &draft, from, to, a);
	fuzz_hand(w, to, draft.b, draft.len);
}

static void control(struct fuzz_world *w, struct fuzz_args *a)
{
	uint8_t who = fuzz_8(a);
	int to = node_of(who), from = other_node(to, who / FUZZ_NODES);

	fuzz_draft_control(w, &draft, from, to, a);
	fuzz_hand(w, to, draft.b, draft.len);
}

static void carry(struct fuzz_world *w, struct fuzz_args *a)
{
	(void)a;
	fuzz_carry(w);
}

static void lose(struct fuzz_world *w, struct fuzz_args *a)
{
	unsigned int n = fuzz_8(a), all = w->air_count;

	if (n == 0 || n > all)
		n = all;
	w->air_first = (w->air_first + n) % FUZZ_AIR;
	w->air_count -= n;
}

/* What a node sent, lately or long ago: again, bent or not, to whom it was sent or to another. */
static void again(struct fuzz_world *w, struct fuzz_args *a)
{
	unsigned int kept = w->past_count < FUZZ_PAST ? w->past_count : FUZZ_PAST;
	unsigned int back = fuzz_8(a);
	uint8_t how = fuzz_8(a), to = fuzz_8(a);
	const struct fuzz_flight *flight;
	int i;

	if (kept == 0)
		return;
	flight = &w->past[(w->past_count - 1 - back % kept) % FUZZ_PAST];
	i = how & 4 ? node_of(to) : flight->to;
	memcpy(draft.b, flight->data, flight->len);
	draft.len = flight->len;
	if (how & 4) {
		const struct sc_addr *self = &w->f.node[i]->self;

		if (w->f.ip6)
			memcpy(draft.b + 24, self->b, 16);
		else
			memcpy(draft.b + 16, self->b + 12, 4);
	}
	fuzz_bend(draft.b, &draft.len, sizeof(draft.b), a);
	if ((how & 1) && draft.len > 0)
		fuzz_retag(draft.b, draft.len, w->f.node[i]->g);
	if (how & 2)
		fuzz_mend(draft.b, draft.len);
	fuzz_hand(w, i, draft.b, draft.len);
}

/* Time passes in up to 16 equal parts; timers run at the nodes that the mask does not leave out, and what they send
 * arrives, or not. */
static void pass_time(struct fuzz_world *w, struct fuzz_args *a)
{
	static const uint64_t parts_us[] = {
		SC_TIMER_US, 20 * SC_MS, 90 * SC_MS, 400 * SC_MS, 990 * SC_MS, 4 * SC_S, 31 * SC_S,
		66 * SC_S, 301 * SC_S, 901 * SC_S, 11000 * SC_S, 1,
	};
	uint8_t part = fuzz_8(a), times = 1 + fuzz_8(a) % 16, how = fuzz_8(a);

	while (times-- > 0) {
		w->f.now_us += parts_us[part % (sizeof(parts_us) / sizeof(parts_us[0]))];
		for (int i = 0; i < FUZZ_NODES; i++)
			if (!(how >> i & 1))
				fuzz_timers(w, i);
		if (!(how & 0x80))
			fuzz_carry(w);
	}
}

/* A node dies and starts again, perhaps of another wire version, perhaps recalling what it left. */
static void restart(struct fuzz_world *w, struct fuzz_args *a)
{
	int i = node_of(fuzz_8(a));
	uint8_t how = fuzz_8(a);
	struct fuzz_life life = {
		.version = how & 3, .recalls = how & 4, .bends = a,
	};

	if (w->restarts++ >= FUZZ_MAX_RESTARTS)
		return;
	if (life.version > SC_WIRE_VERSION)
		life.version = 0;
	life.boot = 0x5000u + w->restarts * 16 + (how >> 4);
	fuzz_world_restart(w, i, &life);
}

static void swap(struct fuzz_world *w, struct fuzz_args *a)
{
	int i = node_of(fuzz_8(a));

	if (w->swaps++ < FUZZ_MAX_SWAPS)
		fuzz_world_swap(w, i, a);
}

/* A burst: the same packet with ports and clients that count on, as clients or floods send them; TCP and UDP. */
static void burst(struct fuzz_world *w, struct fuzz_args *a)
{
	static uint8_t room[SC_BURST_MAX][256];
	struct fuzz_bytes in[SC_BURST_MAX];
	int i = node_of(fuzz_8(a));
	unsigned int n = 1 + fuzz_8(a) % SC_BURST_MAX;
	uint16_t port = fuzz_16(a);

	fuzz_draft_client(&draft, a);
	if (draft.len > sizeof(room[0]))
		n = 1;
	for (unsigned int k = 0; k < n; k++) {
		uint8_t *b = draft.len > sizeof(room[0]) ? draft.b : room[k];
		uint32_t l4 = draft.b[0] >> 4 == 4 ? (draft.b[0] & 15u) * 4 : 40;

		if (b != draft.b)
			memcpy(b, draft.b, draft.len);
		if (l4 + 2 <= draft.len)
			sc_put16(b + l4, (uint16_t)(port + k));
		in[k] = (struct fuzz_bytes){ b, draft.len, 0 };
	}
	fuzz_forward(w, i, in, n);
}

/* GUE to the machine of backend 1 of PoP 1. */
static void backend(struct fuzz_world *w, struct fuzz_args *a)
{
	uint8_t who = fuzz_8(a);
	struct sc_addr to = fleet_addr(&w->f, fleet_backend_ip(1, 1));

	fuzz_draft_gue(w, &draft, who & 1 ? 2 : 0, 1, a);
	if (draft.len >= 40 && draft.b[0] >> 4 == 4)
		memcpy(draft.b + 16, to.b + 12, 4);
	else if (draft.len >= 40)
		memcpy(draft.b + 24, to.b, 16);
	fuzz_mend(draft.b, draft.len);
	if (who & 2)
		fuzz_bend(draft.b, &draft.len, sizeof(draft.b), a);
	fuzz_backend(w, draft.b, draft.len);
}

/* A generation's blob with fields overwritten, or cut short. */
static void generation(struct fuzz_world *w, struct fuzz_args *a)
{
	static const uint32_t telling[] = { 0, 1, 2, 0xff, 0xffff, 0x10000, 0x7fffffff, 0xffffffff };
	uint8_t edits = fuzz_8(a) % 8;
	size_t len, kept;
	uint8_t *blob;

	if (w->loads++ >= FUZZ_MAX_LOADS)
		return;
	blob = fleet_blob(&w->f, 1, 1, &len);
	kept = len;
	while (edits-- > 0) {
		uint16_t where = fuzz_16(a);
		uint8_t how = fuzz_8(a);
		uint32_t value = how & 0x80 ? fuzz_32(a) : telling[how >> 2 & 7];
		/* Most of what matters is in the header and in the rows before the slots. */
		size_t at = where % (where & 0x8000 ? len : len - 2 * FLEET_SLOTS), size = how & 1 ? 4 : how & 2 ? 2 : 1;

		if (how == 0x7f)
			kept = at;
		else
			memcpy(blob + at, &value, size < len - at ? size : len - at);
	}
	fuzz_world_load(blob, kept);
	free(blob);
}

const struct fuzz_step fuzz_steps[] = {
	{ "client", 7, false, client },
	{ "icmp", 8, false, icmp },
	{ "raw", 60, false, raw },
	{ "gue", 12, false, gue },
	{ "control", 24, false, control },
	{ "carry", 0, false, carry },
	{ "lose", 1, false, lose },
	{ "again", 12, false, again },
	{ "time", 3, false, pass_time },
	{ "restart", 6, true, restart },
	{ "burst", 10, false, burst },
	{ "backend", 14, false, backend },
	{ "generation", 10, true, generation },
	{ "swap", 8, true, swap },
};

const unsigned int fuzz_step_count = sizeof(fuzz_steps) / sizeof(fuzz_steps[0]);
