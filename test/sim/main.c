/* The simulator as a program: runs seeds one after the other, each in a world of its
 * own, and prints one JSON line for each; traces and shrinks one that fails. Called by
 * scripts/sim.mjs, which runs one of these on each core, and by hand. */
#include <errno.h>

#include "sim.h"

static void usage(const char *name, const char *wrong)
{
	fprintf(stderr, "steadycast: sim: %s: %s\n", name, wrong);
	fputs("usage: sim --seeds A..B [--pops P] [--nodes N] [--connections N] [--events N] [--sabotage]\n"
	      "           [--only-events A,B,...] [--only-clients A,B,...] [--watch A,B,...] [--trace] [--shrink]\n"
	      "One JSON line for each seed; exit status 1 when something broke. docs/simulator.md\n", stderr);
	exit(2);
}

static uint64_t number(const char *name, const char *text, uint64_t low, uint64_t high)
{
	char *end;
	unsigned long long v;

	errno = 0;
	v = strtoull(text, &end, 0);
	if (errno || *end || end == text || v < low || v > high) {
		fprintf(stderr, "steadycast: sim: %s: expected a number from %llu to %llu, got '%s'\n", name,
			(unsigned long long)low, (unsigned long long)high, text);
		exit(2);
	}
	return v;
}

/* Everything but the numbers listed is left out. */
static const uint8_t *only(const char *name, const char *list, size_t max)
{
	uint8_t *out = malloc(max);
	char *copy = strdup(list), *save = NULL;

	if (!out || !copy)
		abort();
	memset(out, 1, max);
	for (char *at = strtok_r(copy, ",", &save); at; at = strtok_r(NULL, ",", &save))
		out[number(name, at, 0, max - 1)] = 0;
	free(copy);
	return out;
}

static void print_json(const struct sim_options *o, const struct sim_result *r)
{
	printf("{\"seed\":%llu,\"connections\":%u,\"events\":%u,\"broken\":%u,\"violations\":%u,\"outside\":%u,"
	       "\"contested\":%u,\"resets\":%u,\"finished\":%u,\"packets\":%llu,\"simulated_s\":%.1f,\"fired\":{",
	       (unsigned long long)o->seed, r->connections, r->events, r->broken, r->violations, r->outside,
	       r->contested, r->resets, r->finished, (unsigned long long)r->packets, (double)r->simulated_us / 1e6);
	for (unsigned int i = 0; i < sim_nevents; i++)
		printf("%s\"%s\":%u", i ? "," : "", sim_events[i].name, r->fired[i]);
	printf("},\"seen\":{");
	for (int i = 0; i < SIM_SIGHTS; i++)
		printf("%s\"%s\":%u", i ? "," : "", sim_sight_names[i], r->seen[i]);
	printf("},\"excused\":{");
	for (int i = 0; i < SIM_EXCUSES; i++)
		printf("%s\"%s\":%u", i ? "," : "", sim_excuse_names[i], r->excused[i]);
	printf("},\"messages\":[");
	for (int i = 0; i < r->nmessages; i++)
		printf("%s\"%s\"", i ? "," : "", r->message[i]);
	puts("]}");
	fflush(stdout);
}

/* Runs again and tells of the connections that failed. */
static void trace(const struct sim_options *o, const uint8_t *failed)
{
	struct sim_options again = *o;
	struct sim_result r;

	again.trace = true;
	again.watch = failed;
	sim_run(&again, &r);
	sim_result_free(&r);
}

struct arguments {
	struct sim_options o;
	uint64_t from, to;
	const char *only_events, *only_clients, *watch;
	bool trace, shrink;
};

static void take_option(struct arguments *a, const char *name, const char *value)
{
	char *dots;

	if (strcmp(name, "--seeds") == 0 && (dots = strstr(value, ".."))) {
		char *first = strndup(value, (size_t)(dots - value));

		a->from = number(name, first, 1, UINT32_MAX);
		a->to = number(name, dots + 2, a->from, UINT32_MAX);
		free(first);
	} else if (strcmp(name, "--seeds") == 0) {
		a->from = a->to = number(name, value, 1, UINT32_MAX);
	} else if (strcmp(name, "--pops") == 0) {
		a->o.pops = (int)number(name, value, 1, SIM_MAX_POPS);
	} else if (strcmp(name, "--nodes") == 0) {
		a->o.nodes = (int)number(name, value, 1, SC_MAX_NODES_PER_POP);
	} else if (strcmp(name, "--connections") == 0) {
		a->o.connections = (int)number(name, value, 1, 1000000);
	} else if (strcmp(name, "--events") == 0) {
		a->o.events = (int)number(name, value, 0, SIM_MAX_EVENTS);
	} else if (strcmp(name, "--only-events") == 0) {
		a->only_events = value;
	} else if (strcmp(name, "--only-clients") == 0) {
		a->only_clients = value;
	} else if (strcmp(name, "--watch") == 0) {
		a->watch = value;
	} else {
		usage(name, "no such option");
	}
}

/* Where neither is given the seed draws them. */
static void check_nodes(const struct sim_options *o)
{
	int most = (o->pops ? o->pops : SIM_DRAWN_POPS) * ((o->nodes ? o->nodes : SIM_DRAWN_NODES) + 1);

	if (most <= SIM_MAX_NODES)
		return;
	fprintf(stderr, "steadycast: sim: --pops, --nodes: expected at most %d nodes in all, one to spare in each PoP "
			"included, got up to %d\n", SIM_MAX_NODES, most);
	exit(2);
}

static void take_arguments(struct arguments *a, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--trace") == 0)
			a->trace = true;
		else if (strcmp(argv[i], "--shrink") == 0)
			a->shrink = true;
		else if (strcmp(argv[i], "--sabotage") == 0)
			a->o.sabotage = true;
		else if (i + 1 < argc)
			take_option(a, argv[i], argv[i + 1]), i++;
		else
			usage(argv[i], "no such option, or it lacks its value");
	}
	if (a->only_events)
		a->o.no_event = only("--only-events", a->only_events, SIM_MAX_EVENTS);
	if (a->only_clients)
		a->o.no_client = only("--only-clients", a->only_clients, SIM_MAX_CLIENTS);
	check_nodes(&a->o);
	if (a->from == 0)
		usage("--seeds", "it is missing");
}

/* The connections of --watch as flags: the complement of a list of exceptions. */
static uint8_t *watched(const char *list, size_t n)
{
	uint8_t *out = (uint8_t *)(uintptr_t)only("--watch", list, n);

	for (size_t i = 0; i < n; i++)
		out[i] ^= 1;
	return out;
}

int main(int argc, char **argv)
{
	struct arguments a = { .o = { .connections = 1000, .events = 20 } };
	bool failed = false;

	take_arguments(&a, argc, argv);
	for (uint64_t seed = a.from; seed <= a.to; seed++) {
		struct sim_result r;

		a.o.seed = seed;
		if (a.watch) {
			trace(&a.o, watched(a.watch, (size_t)a.o.connections));
			continue;
		}
		sim_run(&a.o, &r);
		print_json(&a.o, &r);
		if (r.broken || r.violations) {
			failed = true;
			if (a.shrink)
				sim_shrink(&a.o);
			if (a.trace)
				trace(&a.o, r.failed);
		}
		sim_result_free(&r);
	}
	return failed ? 1 : 0;
}
