/* A node's life: made, fed packets, told the time, looked at. See node.h. */
#include <errno.h>
#include <stdlib.h>

#include "state.h"

size_t sc_counter_slots(const struct sc_generation *g)
{
	return SC_COUNTER_COUNT + (size_t)SC_TRAFFIC_COUNT * (g->h.services + g->h.backends) +
	       (size_t)SC_CENSUS_COUNT * g->h.backends + (size_t)SC_BETWEEN_COUNT * g->h.nodes;
}

struct sc_counts sc_counts_of(uint64_t *counters, const struct sc_generation *g)
{
	uint64_t *service = counters + SC_COUNTER_COUNT;
	uint64_t *backend = service + (size_t)SC_TRAFFIC_COUNT * g->h.services;
	uint64_t *flows = backend + (size_t)SC_TRAFFIC_COUNT * g->h.backends;

	return (struct sc_counts){ service, backend, flows, flows + (size_t)SC_CENSUS_COUNT * g->h.backends };
}

uint32_t sc_scratch_size(const struct sc_generation *g)
{
	return (SC_HEADROOM + g->h.mtu + 1500u + 63) & ~63u;
}

static int allocate(struct sc_node *node, uint32_t flow_entries)
{
	node->scratch_size = sc_scratch_size(node->g);
	node->scratch = malloc((size_t)SC_SCRATCH * node->scratch_size);
	node->peers = sc_peers_new(node->g);
	node->survey.rows = sc_survey_rows(node->g);
	if (!node->scratch || !node->peers || !node->survey.rows)
		return -ENOMEM;
	if (!node->memory)
		return sc_flow_table_new(&node->table, flow_entries);
	sc_flow_table_init(&node->table, sc_memory_buckets(node->memory), sc_memory_mask(node->memory));
	return 0;
}

static void release(struct sc_node *node)
{
	sc_peers_free(node->peers, node->g->h.nodes);
	free(node->survey.rows);
	free(node->scratch);
	if (!node->memory)
		sc_flow_table_free(&node->table);
}

int sc_node_new(const struct sc_node_options *o, struct sc_generation *g, uint64_t *counters,
		struct sc_node **out)
{
	struct sc_node *node;
	int err;

	if (o->boot_id == 0 || o->flow_entries == 0 || o->flow_entries > SC_MAX_FLOW_ENTRIES ||
	    o->wire_version > SC_WIRE_VERSION || g->self == SC_NO_ROW)
		return -EINVAL;
	node = calloc(1, sizeof(*node));
	if (!node)
		return -ENOMEM;
	node->g = g;
	node->memory = o->memory;
	node->past = o->past;
	node->recalls = o->past != NULL;
	err = allocate(node, o->flow_entries);
	if (err) {
		release(node);
		free(node);	/* g is still the caller's */
		return err;
	}
	node->version = o->wire_version ? o->wire_version : SC_WIRE_VERSION;
	node->boot_id = o->boot_id;
	node->counters = counters;
	node->counts = sc_counts_of(counters, g);
	node->self = g->nodes[g->self].addr;
	node->self_id = g->h.self;
	*out = node;
	return 0;
}

void sc_node_free(struct sc_node *node)
{
	if (!node)
		return;
	release(node);
	sc_generation_free(node->g);
	free(node);
}

void sc_enter(struct sc_node *node, uint64_t now_us, struct sc_out *out)
{
	node->now_us = now_us;
	node->tick = sc_tick(now_us);
	node->out = out;
	node->scratch_used = 0;
	out->n = 0;
	if (node->started_us == 0) {
		node->started_us = now_us;
		node->sweep_us = now_us;
		sc_peers_init(node);
	}
}

void sc_forward(struct sc_node *node, struct sc_packet *burst, unsigned int n, uint64_t now_us,
		struct sc_out *out)
{
	sc_enter(node, now_us, out);
	sc_forward_burst(node, burst, n);
}

static void mark_memory(struct sc_node *node)
{
	sc_memory_mark(node->memory, node->now_us, node->filled);
	for (uint16_t row = 0; row < SC_MAX_NODES; row++) {
		bool heard = row < node->g->h.nodes && row != node->g->self && sc_serving(node, row);

		sc_memory_mark_peer(node->memory, row, heard ? node->peers[row].boot : 0);
	}
}

void sc_timers(struct sc_node *node, uint64_t now_us, struct sc_out *out)
{
	sc_enter(node, now_us, out);
	sc_peers_timers(node);
	sc_sweep(node);
	sc_survey_timers(node);
	if (node->memory)
		mark_memory(node);
}

static void look_at_peer(const struct sc_peer *peer, const struct sc_node_row *row,
			 struct sc_peer_view *v)
{
	*v = (struct sc_peer_view){
		.id = row->id, .pop = row->pop, .up = peer->alive,
		.filled = peer->alive && sc_publication_complete(&peer->pub),
		.peer_filled = peer->peer_filled, .version = peer->version, .rtt_us = peer->rtt_us,
		.unacked = (uint32_t)(peer->pub.sent - peer->pub.acked),
		.draining = peer->draining, .silent = peer->silent, .fleet_digest = peer->fleet_digest,
		.told = peer->alive && peer->reach_seq != 0,
	};
	memcpy(v->unserved, peer->unserved, sizeof(v->unserved));
}

void sc_node_look(const struct sc_node *node, uint64_t now_us, struct sc_node_view *view)
{
	const struct sc_generation *g = node->g;
	uint64_t missing;

	memset(view, 0, sizeof(*view));
	view->flow_capacity = (node->table.mask + 1) * SC_FLOW_WAYS;
	view->flows_half_open = node->table.count[SC_FLOW_HALF_OPEN];
	view->flows_established = node->table.count[SC_FLOW_ESTABLISHED];
	view->flows_closing = node->table.count[SC_FLOW_CLOSING];
	view->filled = node->filled;
	view->certain = node->started_us != 0 && sc_certain(node, 0, &missing);
	view->withholds = sc_withholds(node);
	view->recalling = node->recalls && !node->filled;
	view->counted_ms = UINT32_MAX;
	if (node->survey.counted_us != 0 && now_us - node->survey.counted_us < UINT32_MAX * SC_MS)
		view->counted_ms = (uint32_t)((now_us - node->survey.counted_us) / SC_MS);
	for (uint16_t i = 0; i < g->h.nodes; i++)
		if (i != g->self)
			look_at_peer(&node->peers[i], &g->nodes[i], &view->peers[view->npeers++]);
}
