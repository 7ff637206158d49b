/* Calls of nodes, each judged by check.c, and the network between them: what nodes send each other waits in the air
 * until it is carried, and is remembered to be sent again, bent or not. See fuzz.h. */
#include "fuzz.h"

static int node_at(const struct fuzz_world *w, const uint8_t *data)
{
	uint32_t ip = sc_get32(data + (data[0] >> 4 == 4 ? 16 : 36));
	int pop = ip >> 16 & 0xff, n = ip & 0xff, i;

	if (ip >> 24 != 10 || (ip & 0xff00) || pop < 1 || pop > FUZZ_POPS || n < 1 || n > FUZZ_NODES_PER_POP)
		return -1;
	i = fleet_index(&w->f, pop, n);
	return i < FUZZ_NODES ? i : -1;
}

/* What leaves a node for another takes off. hops: of the client's packet, this node's included. */
static void launch(struct fuzz_world *w, const struct sc_out *out, int hops)
{
	for (unsigned int k = 0; k < out->n; k++) {
		const struct sc_packet *p = &out->p[k];
		struct fuzz_flight *flight = &w->past[w->past_count % FUZZ_PAST];
		uint32_t gue = p->data[0] >> 4 == 4 ? 28 : 48;
		int to;

		if (p->egress != SC_EGRESS_WIRE || p->len > FUZZ_FLIGHT || p->len <= gue)
			continue;
		to = node_at(w, p->data);
		if (to < 0)
			continue;
		flight->to = to;
		flight->hops = p->data[gue] & SC_GUE_CONTROL ? 0 : hops;
		flight->len = p->len;
		memcpy(flight->data, p->data, p->len);
		w->past_count++;
		if (w->air_count < FUZZ_AIR)
			w->air[(w->air_first + w->air_count++) % FUZZ_AIR] = *flight;
	}
}

static void remember(const uint64_t *counters, struct fuzz_before *before)
{
	memcpy(before->counters, counters, sizeof(before->counters));
}

static void tell(const char *what, int i, const uint8_t *data, uint32_t len, const struct sc_out *out)
{
	if (!fuzz_trace)
		return;
	fprintf(stderr, "    %s %d", what, i);
	if (len)
		fprintf(stderr, ", %u bytes:", len);
	for (uint32_t k = 0; k < len && k < 100; k++)
		fprintf(stderr, k % 4 ? "%02x" : " %02x", data[k]);
	if (out)
		fprintf(stderr, ", %u leave", out->n);
	fprintf(stderr, "\n");
}

static void tell_counters(const uint64_t *now, const struct fuzz_before *before)
{
	if (!fuzz_trace)
		return;
	for (int c = 0; c < SC_COUNTER_COUNT; c++)
		if (now[c] != before->counters[c])
			fprintf(stderr, "      %s %s +%llu\n", sc_counter_table[c].kind, sc_counter_table[c].name,
				(unsigned long long)(now[c] - before->counters[c]));
}

static bool may_call(struct fuzz_world *w, int i)
{
	return !w->f.dead[i] && w->calls++ < FUZZ_MAX_CALLS;
}

void fuzz_forward(struct fuzz_world *w, int i, const struct fuzz_bytes *in, unsigned int n)
{
	struct exact e[SC_BURST_MAX];
	struct sc_packet burst[SC_BURST_MAX];
	struct fuzz_before before;
	static struct sc_out out;
	int hops = 0;

	if (!may_call(w, i))
		return;
	for (unsigned int k = 0; k < n; k++) {
		e[k] = exact_copy(in[k].data, in[k].len);
		burst[k] = e[k].p;
		if (in[k].hops > hops)
			hops = in[k].hops;
		tell("packet to node", i, in[k].data, in[k].len, NULL);
	}
	FUZZ_CHECK(hops < FUZZ_MAX_HOPS, "a client's packet has passed %d nodes and goes on", hops);
	remember(w->f.counters[i], &before);
	sc_forward(w->f.node[i], burst, n, w->f.now_us, &out);
	tell_counters(w->f.counters[i], &before);
	fuzz_check_forward(w, i, in, n, &before, &out);
	launch(w, &out, hops + 1);
	for (unsigned int k = 0; k < n; k++)
		exact_free(&e[k]);
}

void fuzz_hand(struct fuzz_world *w, int i, const uint8_t *data, uint32_t len)
{
	struct fuzz_bytes in = { data, len, 0 };

	fuzz_forward(w, i, &in, 1);
}

void fuzz_timers(struct fuzz_world *w, int i)
{
	struct fuzz_before before;
	static struct sc_out out;

	if (!may_call(w, i))
		return;
	remember(w->f.counters[i], &before);
	sc_timers(w->f.node[i], w->f.now_us, &out);
	tell("timers of node", i, NULL, 0, &out);
	tell_counters(w->f.counters[i], &before);
	fuzz_check_timers(w, i, &before, &out);
	launch(w, &out, 0);
}

void fuzz_backend(struct fuzz_world *w, const uint8_t *data, uint32_t len)
{
	struct exact e = exact_copy(data, len);
	struct sc_packet burst = e.p;
	struct sc_addr self = fleet_addr(&w->f, fleet_backend_ip(1, 1));
	struct fuzz_before before;
	static struct sc_out out;

	tell("packet to backend", 1, data, len, NULL);
	remember(w->backend_counters, &before);
	sc_backend_receive(w->backend_side, &self, 1, &burst, 1, w->backend_counters, &out);
	tell_counters(w->backend_counters, &before);
	fuzz_check_backend(w, &before, &out);
	exact_free(&e);
}

void fuzz_carry(struct fuzz_world *w)
{
	static struct fuzz_flight flight;

	while (w->air_count > 0) {
		struct fuzz_bytes in = { flight.data, 0, 0 };

		flight = w->air[w->air_first];
		w->air_first = (w->air_first + 1) % FUZZ_AIR;
		w->air_count--;
		in.len = flight.len;
		in.hops = flight.hops;
		fuzz_forward(w, flight.to, &in, 1);
	}
}
