/* A readable trace: the schedule as it happens, and, for the connections watched, every
 * segment, what each node made of it and why, and what each node knows of the flow
 * whenever that changes. */
#include <stdarg.h>

#include "sim.h"

const char *const sim_sight_names[SIM_SIGHTS] = {
	[SAW_SPLIT_SYN_ACK_LOST] = "split_syn_ack_lost",
	[SAW_PORT_ELSEWHERE] = "port_reused_elsewhere",
	[SAW_LONG_SILENCE] = "long_silences",
	[SAW_RECALLED] = "flows_recalled",
	[SAW_RELAYED] = "relayed",
	[SAW_SPILLED] = "spilled",
	[SAW_BRIDGED] = "bridged",
	[SAW_ADOPTED] = "reloads",
	[SAW_OLD_VERSION] = "version_1_nodes",
	[SAW_WITHHELD] = "half_open_withheld",
	[SAW_RELAY_LIMIT] = "relay_limit_reached",
};

const char *const sim_excuse_names[SIM_EXCUSES] = {
	[OUT_SILENT] = "silent_for_longer_than_its_timeout",
	[OUT_HANDSHAKE] = "handshake_given_up_by_its_backend",
	[OUT_REBOOT] = "only_a_machine_that_rebooted_knew",
	[OUT_AWAY] = "only_a_node_away_for_too_long_knew",
	[OUT_DAMAGED] = "only_a_damaged_memory_knew",
	[OUT_REMOVED] = "only_a_removed_node_knew",
	[OUT_UNFILLED] = "only_a_node_that_had_not_filled_knew",
	[OUT_FLOODED] = "handshake_flooded_away",
	[OUT_FULL] = "no_room_among_established_flows",
	[CONTESTED_SYN] = "two_backends_got_its_syn",
	[CONTESTED_RACE] = "syn_at_a_pop_that_could_not_know",
	[CONTESTED_REUSE] = "port_reused_unheard",
};

static const char *const state_names[SC_FLOW_STATES] = { "nothing", "half-open", "established", "closing" };

void sim_say(struct world *w, const char *fmt, ...)
{
	va_list args;

	if (!w->o.trace)
		return;
	fprintf(stderr, "%10.4f  ", (double)(w->now_us - SIM_START_US) / 1e6);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
}

void sim_trace_init(struct world *w)
{
	for (uint32_t i = 0; w->o.trace && w->o.watch && i < w->nconns; i++)
		if (w->o.watch[i] && w->nwatched < 8)
			w->watched[w->nwatched++] = i;
	w->heavy = w->nwatched > 0;
}

bool sim_watched(const struct world *w, uint32_t conn)
{
	for (unsigned int i = 0; i < w->nwatched; i++)
		if (w->watched[i] == conn)
			return true;
	return false;
}

void sim_trace_segment(struct world *w, const char *who, const struct segment *s, const char *where)
{
	char at[32] = "";

	if (!w->heavy || !sim_watched(w, s->conn))
		return;
	if (s->backend >= 0)
		snprintf(at, sizeof(at), " backend %d.%d", w->backend[s->backend].pop + 1,
			 w->backend[s->backend].number);
	sim_say(w, "  #%u %s%s%s: %s%s%s%s seq %u ack %u len %u", s->conn, who, at, where ? where : "",
		s->flags & SC_TCP_SYN ? "SYN " : "", s->flags & SC_TCP_FIN ? "FIN " : "",
		s->flags & SC_TCP_RST ? "RST " : "", s->flags & SC_TCP_ACK ? "ACK" : "", s->seq, s->ack, s->len);
}

void sim_trace_before(struct world *w, int node)
{
	memcpy(w->counters_before, w->node[node].counters, sizeof(w->counters_before));
}

/* What a node's call did to the counters that say where a packet went. */
static void say_way(struct world *w, int node, uint32_t conn)
{
	const struct sim_node *n = &w->node[node];
	char way[200] = "";
	size_t len = 0;

	for (int i = 0; i < SC_COUNTER_COUNT && len < sizeof(way) - 32; i++)
		if (n->counters[i] != w->counters_before[i])
			len += (size_t)snprintf(way + len, sizeof(way) - len, " %s", sc_counter_table[i].name);
	sim_say(w, "  #%u   node %d.%d:%s", conn, n->pop + 1, n->number, way);
}

static void say_changes(struct world *w, int node)
{
	const struct sim_node *n = &w->node[node];

	for (unsigned int i = 0; i < w->nwatched; i++) {
		struct sc_flow_entry *e = sim_entry(w, node, w->conn[w->watched[i]].flow);
		struct sc_flow_entry now = e ? *e : (struct sc_flow_entry){ 0 }, *was = &w->seen[i][node];

		if (now.state == was->state && now.backend == was->backend && now.cached == was->cached)
			continue;
		*was = now;
		sim_say(w, "  #%u   node %d.%d now knows: %s backend %u.%u%s", w->watched[i], n->pop + 1, n->number,
			state_names[now.state], now.backend >> 20, now.backend & 7,
			now.cached ? " (hearsay)" : "");
	}
}

void sim_trace_after(struct world *w, int node, const struct sc_out *out, uint32_t serial)
{
	const struct handled *h = &w->handled[serial % HANDLED];

	(void)out;
	if (serial && h->serial == serial && sim_watched(w, h->conn))
		say_way(w, node, h->conn);
	say_changes(w, node);
}

/* How every node sees its peers when all is over. */
void sim_trace_end(struct world *w)
{
	for (int i = 0; w->o.trace && i < w->nnodes; i++) {
		struct sim_node *n = &w->node[i];
		struct sc_node_view v;

		if (!n->node)
			continue;
		sc_node_look(n->node, w->now_us + n->skew_us, &v);
		sim_say(w, "node %d.%d: %s, %s; %u established, %u half-open, %u closing", n->pop + 1, n->number,
			n->node->filled ? "filled" : "not filled", v.certain ? "certain" : "not certain",
			v.flows_established, v.flows_half_open, v.flows_closing);
		for (int k = 0; k < v.npeers; k++)
			if (!v.peers[k].up || !v.peers[k].filled || !v.peers[k].peer_filled)
				sim_say(w, "    peer %u of PoP %u: %s, %s, %s, %u unacknowledged", v.peers[k].id,
					v.peers[k].pop, v.peers[k].up ? "up" : "down",
					v.peers[k].filled ? "has sent all" : "has not sent all",
					v.peers[k].peer_filled ? "filled" : "not filled", v.peers[k].unacked);
	}
}
