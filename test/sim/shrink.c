/* Shrinks what makes a seed fail: leaves out events, then clients, in ever smaller
 * parts, as long as something still breaks (delta debugging: Zeller, Hildebrandt,
 * 2002), and prints the smallest schedule and the command that replays it. */
#include "sim.h"

static bool fails(const struct sim_options *o, uint32_t *events_left)
{
	struct sim_result r;
	bool bad;

	sim_run(o, &r);
	bad = r.broken || r.violations;
	*events_left = r.events_left;
	sim_result_free(&r);
	return bad;
}

/* Tries to leave out ever smaller runs of n things. */
static void reduce(const struct sim_options *o, uint8_t *out, uint32_t n)
{
	uint32_t left;

	for (uint32_t part = n; part > 0; part /= 2) {
		for (uint32_t from = 0; from < n; from += part) {
			uint8_t *saved = malloc(n);
			bool any = false;

			if (!saved)
				abort();
			memcpy(saved, out, n);
			for (uint32_t i = from; i < from + part && i < n; i++) {
				any = any || !out[i];
				out[i] = 1;
			}
			if (any && !fails(o, &left))
				memcpy(out, saved, n);
			free(saved);
		}
	}
}

static void print_list(FILE *to, const char *option, const uint8_t *out, uint32_t n)
{
	bool first = true;

	for (uint32_t i = 0; i < n; i++)
		if (!out[i]) {
			fprintf(to, "%s%s%u", first ? option : "", first ? " " : ",", i);
			first = false;
		}
}

/* The command that runs exactly this. */
void sim_print_replay(const struct sim_options *o, FILE *to)
{
	uint32_t clients = (uint32_t)o->connections;

	fprintf(to, "sim --seeds %llu", (unsigned long long)o->seed);
	if (o->pops)
		fprintf(to, " --pops %d", o->pops);
	if (o->nodes)
		fprintf(to, " --nodes %d", o->nodes);
	fprintf(to, " --connections %d --events %d", o->connections, o->events);
	if (o->sabotage)
		fputs(" --sabotage", to);
	if (o->no_event)
		print_list(to, " --only-events", o->no_event, (uint32_t)o->events);
	if (o->no_client)
		print_list(to, " --only-clients", o->no_client, clients < SIM_MAX_CLIENTS ? clients : SIM_MAX_CLIENTS);
	fputs(" --trace\n", to);
}

void sim_shrink(const struct sim_options *o)
{
	struct sim_options small = *o;
	uint8_t *events = calloc(SIM_MAX_EVENTS, 1), *clients = calloc(SIM_MAX_CLIENTS, 1);
	uint32_t nclients = (uint32_t)o->connections / 6 + 1;
	struct sim_result r;

	if (!events || !clients)
		abort();
	if (o->no_event)
		memcpy(events, o->no_event, SIM_MAX_EVENTS);
	if (o->no_client)
		memcpy(clients, o->no_client, SIM_MAX_CLIENTS);
	small.no_event = events;
	small.no_client = clients;
	for (uint32_t i = nclients; i < SIM_MAX_CLIENTS; i++)
		clients[i] = 1;
	reduce(&small, events, (uint32_t)o->events);
	reduce(&small, clients, nclients < SIM_MAX_CLIENTS ? nclients : SIM_MAX_CLIENTS);
	reduce(&small, events, (uint32_t)o->events);
	sim_run(&small, &r);
	fprintf(stderr, "the smallest schedule that still fails:\n");
	for (int i = 0; i < r.nmessages; i++)
		fprintf(stderr, "  %s\n", r.message[i]);
	sim_print_replay(&small, stderr);
	sim_result_free(&r);
	free(events);
	free(clients);
}
