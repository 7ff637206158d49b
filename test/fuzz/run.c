/* One input, from its fleet's first state, which is built once: in the fuzzing build the arena goes back to it, the
 * replay program runs each input in a process of its own. See fuzz.h. */
#include "fuzz.h"

#define SC_FUZZ_ARENA_ITSELF
#include "arena.h"

static struct fuzz_world kept[2], world;

bool fuzz_trace;

void fuzz_init(void)
{
	for (int outer6 = 0; outer6 < 2; outer6++) {
		fuzz_world_begin(&world, outer6);
		FUZZ_CHECK(world.air_count == 0, "a warm fleet has packets in the air");
		kept[outer6] = world;
	}
#ifdef FUZZ_ARENA
	arena_keep();
#endif
}

static void begin(bool outer6)
{
#ifdef FUZZ_ARENA
	arena_reset();
#endif
	memcpy(&world, &kept[outer6], offsetof(struct fuzz_world, air));
}

void fuzz_run(const uint8_t *data, size_t len)
{
	struct fuzz_args program = { data, len > FUZZ_MAX_INPUT ? FUZZ_MAX_INPUT : (uint32_t)len };
	struct sc_node_view view;
	uint8_t options = fuzz_8(&program);

	begin(options & FUZZ_OUTER6);
	for (int k = 0; k < FUZZ_MAX_STEPS && program.left > 0 && world.calls < FUZZ_MAX_CALLS; k++) {
		uint8_t row = fuzz_8(&program), n = fuzz_8(&program);
		struct fuzz_args a = { program.at, n < program.left ? n : program.left };

		program.at += a.left;
		program.left -= a.left;
		if (row >= fuzz_step_count)
			continue;
		if (fuzz_trace)
			fprintf(stderr, "  step %d: %s, %u bytes\n", k, fuzz_steps[row].name, a.left);
		fuzz_steps[row].run(&world, &a);
	}
	fuzz_carry(&world);
	for (int i = 0; i < FUZZ_NODES; i++) {
		sc_node_look(world.f.node[i], world.f.now_us, &view);
		FUZZ_CHECK(view.npeers == FUZZ_NODES - 1 &&
				   view.flows_half_open + view.flows_established + view.flows_closing <= view.flow_capacity,
			   "what node %d looks like", i);
	}
}
