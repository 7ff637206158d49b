/* A node's life: made, fed packets, told the time, looked at. See node.h. */
#include <errno.h>
#include <stdlib.h>

#include "state.h"

size_t sc_counter_slots(const struct sc_generation *g)
{
	return SC_COUNTER_COUNT + (size_t)SC_TRAFFIC_COUNT * (g->h.services + g->h.backends);
}

static int allocate(struct sc_node *node, uint32_t flow_entries)
{
	uint32_t nodes = node->g->h.nodes;

	node->scratch_size = (SC_HEADROOM + node->g->h.mtu + 1500u + 63) & ~63u;
	node->scratch = malloc((size_t)SC_SCRATCH * node->scratch_size);
	node->peers = calloc(nodes, sizeof(*node->peers));
	if (!node->scratch || !node->peers)
		return -ENOMEM;
	for (uint32_t i = 0; i < nodes; i++) {
		if (i == node->g->self)
			continue;
		node->peers[i].pub.ring = calloc(SC_PUBLISH_WINDOW, sizeof(struct sc_batch));
		if (!node->peers[i].pub.ring)
			return -ENOMEM;
	}
	return sc_flow_table_new(&node->table, flow_entries);
}

int sc_node_new(const struct sc_node_options *o, struct sc_generation *g, uint64_t *counters,
		struct sc_node **out)
{
	struct sc_node *node;
	int err;

	if (o->boot_id == 0 || o->flow_entries == 0 || o->flow_entries > SC_MAX_FLOW_ENTRIES ||
	    g->self == SC_NO_ROW)
		return -EINVAL;
	node = calloc(1, sizeof(*node));
	if (!node)
		return -ENOMEM;
	node->g = g;
	err = allocate(node, o->flow_entries);
	if (err) {
		node->g = NULL;		/* still the caller's */
		for (uint32_t i = 0; node->peers && i < g->h.nodes; i++)
			free(node->peers[i].pub.ring);
		free(node->peers);
		free(node->scratch);
		free(node);
		return err;
	}
	node->boot_id = o->boot_id;
	node->counters = counters;
	node->service_counters = counters + SC_COUNTER_COUNT;
	node->backend_counters = node->service_counters + (size_t)SC_TRAFFIC_COUNT * g->h.services;
	node->self = g->nodes[g->self].addr;
	node->self_id = g->h.self;
	*out = node;
	return 0;
}

void sc_node_free(struct sc_node *node)
{
	if (!node)
		return;
	for (uint32_t i = 0; i < node->g->h.nodes; i++)
		free(node->peers[i].pub.ring);
	free(node->peers);
	free(node->scratch);
	sc_flow_table_free(&node->table);
	sc_generation_free(node->g);
	free(node);
}

/* Every call begins here. */
static void enter(struct sc_node *node, uint64_t now_us, struct sc_out *out)
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
	enter(node, now_us, out);
	sc_forward_burst(node, burst, n);
}

void sc_timers(struct sc_node *node, uint64_t now_us, struct sc_out *out)
{
	enter(node, now_us, out);
	sc_peers_timers(node);
	sc_sweep(node);
}

static void look_at_peer(const struct sc_peer *peer, const struct sc_node_row *row,
			 struct sc_peer_view *v)
{
	*v = (struct sc_peer_view){
		.id = row->id, .pop = row->pop, .up = peer->alive,
		.filled = peer->alive && sc_publication_complete(&peer->pub),
		.peer_filled = peer->peer_filled, .version = peer->version, .rtt_us = peer->rtt_us,
		.unacked = (uint32_t)(peer->pub.sent - peer->pub.acked),
	};
}

void sc_node_look(const struct sc_node *node, uint64_t now_us, struct sc_node_view *view)
{
	const struct sc_generation *g = node->g;

	(void)now_us;
	memset(view, 0, sizeof(*view));
	view->flow_capacity = (node->table.mask + 1) * SC_FLOW_WAYS;
	view->flows_half_open = node->table.count[SC_FLOW_HALF_OPEN];
	view->flows_established = node->table.count[SC_FLOW_ESTABLISHED];
	view->flows_closing = node->table.count[SC_FLOW_CLOSING];
	view->filled = node->filled;
	view->certain = node->started_us != 0 && sc_certain(node, 0);
	for (uint16_t i = 0; i < g->h.nodes; i++)
		if (i != g->self)
			look_at_peer(&node->peers[i], &g->nodes[i], &view->peers[view->npeers++]);
}
