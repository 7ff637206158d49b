/* Nanoseconds a packet takes through sc_forward(), memory to memory, one thread, by
 * case; side by side in one run, so that ratios hold on a noisy machine. `npm run
 * bench` builds and runs it; one JSON object a line on stdout.
 * A burst of 32 packets is prepared outside the measured time; each case is run
 * ROUNDS times and the median round is told. */
#include <stdio.h>
#include <time.h>

#include "../test/unit/native/fleet.h"

enum { BURST = 32, ROUNDS = 15, BURSTS = 20000 };

struct bench {
	struct fleet f;
	uint8_t *buffer[BURST];
	uint8_t packet[BURST][256];
	uint32_t len;
	struct sc_out out;
	uint64_t random;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static uint32_t next_random(struct bench *b)
{
	b->random = b->random * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(b->random >> 33);
}

static void set_flow(uint8_t *packet, uint32_t flow)
{
	sc_put32(packet + 12, 0xcb000000u + (flow >> 16));
	sc_put16(packet + 20, (uint16_t)flow);
	sc_put16(packet + 10, 0);
	sc_put16(packet + 10, (uint16_t)~sc_fold(sc_sum(packet, 20, 0)));
}

/* One burst of packets of flows below flows (0: ever new ones) at node i. Returns the
 * time that sc_forward() took. */
static uint64_t burst(struct bench *b, int node, uint32_t flows, uint32_t *fresh)
{
	struct sc_packet p[BURST];
	uint64_t start;

	for (int i = 0; i < BURST; i++) {
		set_flow(b->packet[i], flows ? next_random(b) % flows : (*fresh)++);
		p[i] = (struct sc_packet){ .data = b->buffer[i] + SC_HEADROOM, .len = b->len };
		memcpy(p[i].data, b->packet[i], b->len);
	}
	start = now_ns();
	sc_forward(b->f.node[node], p, BURST, b->f.now_us, &b->out);
	return now_ns() - start;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* What a call left goes on its way, and time to its next: new flows come no faster than
 * a node publishes them, and their publications are acknowledged. */
static void go_on(struct bench *b)
{
	fleet_carry(&b->f, &b->out);
	fleet_run(&b->f, 1000ull * BURST * SC_MS / SC_HALF_OPEN_PER_S + SC_MS);
}

/* fresh NULL: random flows below flows; else ever new ones. */
static double median_ns(struct bench *b, int node, uint32_t flows, uint32_t *fresh)
{
	double round[ROUNDS];

	for (int r = 0; r < ROUNDS; r++) {
		uint64_t sum = 0;

		for (int i = 0; i < BURSTS / ROUNDS; i++) {
			sum += burst(b, node, flows, fresh);
			if (fresh)
				go_on(b);
		}
		round[r] = (double)sum / (BURSTS / ROUNDS) / BURST;
	}
	qsort(round, ROUNDS, sizeof(round[0]), by_value);
	return round[ROUNDS / 2];
}

static void tell(const char *name, double ns)
{
	printf("{\"bench\":\"forward\",\"case\":\"%s\",\"ns_per_packet\":%.1f}\n", name, ns);
	fflush(stdout);
}

static void prepare(struct bench *b, uint8_t flags)
{
	for (int i = 0; i < BURST; i++)
		b->len = client_tcp(b->packet[i], 0xcb007101, 1, flags, 60);
}

/* Records flows at PoP 1 and lets PoP 2 hear of them. */
static void fill(struct bench *b, uint32_t flows)
{
	uint32_t begun = 0, established = 0;

	while (established < flows) {
		prepare(b, SC_TCP_SYN);
		burst(b, 0, 0, &begun);
		fleet_carry(&b->f, &b->out);
		prepare(b, SC_TCP_ACK);
		burst(b, 0, 0, &established);
		fleet_carry(&b->f, &b->out);
		if (established % 4096 == 0)
			fleet_run(&b->f, 4 * SC_MS);
	}
	fleet_run(&b->f, SC_S);
}

static void run(uint32_t flows, const char *hit, const char *away)
{
	struct bench *b = calloc(1, sizeof(*b));
	uint32_t fresh = 1 << 24;

	b->random = 1;
	for (int i = 0; i < BURST; i++)
		b->buffer[i] = malloc(FLEET_ROOM);
	fleet_start(&b->f, 2, 1, 8, 1 << 21);
	fleet_run(&b->f, 5 * SC_S);
	fill(b, flows);
	tell(hit, median_ns(b, 0, flows, NULL));
	tell(away, median_ns(b, 1, flows, NULL));
	if (flows == 1) {
		prepare(b, SC_TCP_SYN);
		tell("new flow, recorded and published", median_ns(b, 0, 0, &fresh));
	}
	for (int i = 0; i < BURST; i++)
		free(b->buffer[i]);
	fleet_stop(&b->f);
	free(b);
}

int main(void)
{
	run(1, "delivered, 1 flow", "forwarded to another PoP, 1 flow");
	run(1 << 16, "delivered, 64 K flows", "forwarded to another PoP, 64 K flows");
	run(1000000, "delivered, 1 M flows", "forwarded to another PoP, 1 M flows");
	return 0;
}
