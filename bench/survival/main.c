/* The benchmark as a program: each seed, scenario and strategy asked for, one JSON line
 * each. Called by scripts/survival.mjs, which runs one of these on each core, and by hand. */
#include <errno.h>

#include "survival.h"

static const struct sv_strategy *const strategies[] = {
	&sv_hash, &sv_flow_table, &sv_second_chance, &sv_previous, &sv_previous_far, &sv_steadycast,
};
enum { STRATEGIES = sizeof(strategies) / sizeof(strategies[0]) };

struct arguments {
	uint64_t from, to;
	uint32_t connections;
	const char *scenario, *strategy;
	bool trace;
};

static void usage(void)
{
	fputs("usage: survival --seeds A..B [--connections N] [--scenario NAME] [--strategy NAME] [--trace]\n"
	      "One JSON line for each seed, scenario and strategy; --trace tells of broken connections.\n"
	      "docs/survival.md\n\nscenarios:\n", stderr);
	for (unsigned int i = 0; i < sv_nscenarios; i++)
		fprintf(stderr, "  %s%s\n", sv_scenarios[i].name, sv_scenarios[i].extra ? " (only when named)" : "");
	fputs("strategies:\n", stderr);
	for (unsigned int i = 0; i < STRATEGIES; i++)
		fprintf(stderr, "  %s\n", strategies[i]->name);
	exit(2);
}

static uint64_t number(const char *text, uint64_t low, uint64_t high)
{
	char *end;
	unsigned long long v;

	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno || *end || end == text || v < low || v > high) {
		fprintf(stderr, "survival: '%s' is not a number from %llu to %llu\n", text, (unsigned long long)low,
			(unsigned long long)high);
		exit(2);
	}
	return v;
}

static void take_seeds(struct arguments *a, const char *value)
{
	const char *dots = strstr(value, "..");
	char *first = dots ? strndup(value, (size_t)(dots - value)) : strdup(value);

	a->from = number(first, 1, UINT32_MAX);
	a->to = dots ? number(dots + 2, a->from, UINT32_MAX) : a->from;
	free(first);
}

static void take_arguments(struct arguments *a, int argc, char **argv)
{
	bool known = false;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--trace") == 0)
			a->trace = true;
		else if (i + 1 == argc)
			usage();
		else if (strcmp(argv[i], "--seeds") == 0)
			take_seeds(a, argv[++i]);
		else if (strcmp(argv[i], "--connections") == 0)
			a->connections = (uint32_t)number(argv[++i], 1, SV_MAX_CONNECTIONS);
		else if (strcmp(argv[i], "--scenario") == 0)
			a->scenario = argv[++i];
		else if (strcmp(argv[i], "--strategy") == 0)
			a->strategy = argv[++i];
		else
			usage();
	}
	for (unsigned int i = 0; i < sv_nscenarios; i++)
		known = known || !a->scenario || strcmp(a->scenario, sv_scenarios[i].name) == 0;
	if (!known || a->from == 0)
		usage();
	known = !a->strategy;
	for (unsigned int i = 0; i < STRATEGIES; i++)
		known = known || strcmp(a->strategy, strategies[i]->name) == 0;
	if (!known)
		usage();
}

static void print(const struct sv_schedule *s, const char *strategy, const struct sv_result *r)
{
	uint32_t of_one = 0, long_ones = 0;
	uint64_t packets = 0, of_long = 0;

	for (uint32_t i = 0; i < s->nflows; i++) {
		uint64_t n = s->flow[i].packets;

		of_one += n == 1;
		long_ones += n > 1000;
		packets += n;
		of_long += n > 1000 ? n : 0;
	}
	printf("{\"seed\":%llu,\"scenario\":\"%s\",\"strategy\":\"%s\",\"connections\":%u,\"events\":%u,"
	       "\"broken\":%u,\"stuck\":%u,\"packets\":%llu,\"packets_broken\":%llu,\"longest_pause_s\":%.3f,"
	       "\"mix\":{\"one_packet\":%u,\"over_1000\":%u,\"packets\":%llu,\"packets_over_1000\":%llu}}\n",
	       (unsigned long long)s->seed, s->scenario->name, strategy, s->nflows, s->nevents, r->broken, r->stuck,
	       (unsigned long long)r->packets, (unsigned long long)r->packets_broken, (double)r->pause_us / 1e6, of_one,
	       long_ones, (unsigned long long)packets, (unsigned long long)of_long);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct arguments a = { .connections = 20000 };

	take_arguments(&a, argc, argv);
	for (uint64_t seed = a.from; seed <= a.to; seed++)
		for (unsigned int i = 0; i < sv_nscenarios; i++) {
			struct sv_schedule s;

			if (a.scenario ? strcmp(a.scenario, sv_scenarios[i].name) != 0 : sv_scenarios[i].extra)
				continue;
			sv_schedule_new(&s, seed, &sv_scenarios[i], a.connections);
			for (unsigned int k = 0; k < STRATEGIES; k++) {
				struct sv_result r;

				if (a.strategy && strcmp(a.strategy, strategies[k]->name) != 0)
					continue;
				sv_run(&s, strategies[k], a.trace, &r);
				print(&s, strategies[k]->name, &r);
			}
			sv_schedule_free(&s);
		}
	return 0;
}
