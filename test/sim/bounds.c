/* The judge's eye on time and on what crosses between PoPs: while two PoPs do not hear
 * each other and a third one bridges them, connections make progress; and what a flood
 * makes a node send to other PoPs keeps the limits that native/limits.h names. */
#include "gue.h"
#include "sim.h"

enum { QUIET_PACKETS = 3000 };	/* what a node of these fleets sends to other PoPs in a second without a flood */

static bool whole_for(const struct world *w, int pop, uint64_t us, bool handing_on)
{
	if (w->now_us < w->odd_us[pop] + us)
		return false;
	for (int i = w->first_node[pop]; i < w->first_node[pop] + w->nodes_of[pop]; i++) {
		const struct sim_node *n = &w->node[i];

		if (!n->node && !sim_newest(w)->node[i])
			continue;
		if (!n->filled_us || w->now_us < n->filled_us + us || !n->announced ||
		    (handing_on && n->version < SC_WIRE_VERSION_RELAY))
			return false;
	}
	return true;
}

/* Whether some PoP has heard both p and q, and they it, for that long. */
static bool bridged(const struct world *w, int p, int q, uint64_t us)
{
	for (int r = 0; r < w->npops; r++)
		if (r != p && r != q && whole_for(w, r, us, true) && w->now_us >= w->bad_us[p][r] + us &&
		    w->now_us >= w->bad_us[q][r] + us)
			return true;
	return false;
}

static bool stands_still(const struct world *w, const struct tcp *t)
{
	return t->due_us && w->now_us > t->since_us + SIM_BRIDGE_US;
}

static void judge_bridge(struct world *w, int p, int q)
{
	for (uint32_t i = 0; i < w->nconns; i++) {
		struct connection *c = &w->conn[i];
		const struct client *at = &w->client[c->client];
		const struct socket *k;

		if (c->fate != FATE_LIVING || w->backend[c->backend].pop != q || at->route != p || at->split >= 0 ||
		    w->now_us < at->moved_us + SIM_BRIDGE_US)
			continue;
		w->result->seen[SAW_BRIDGED]++;
		k = sim_socket(w, c->backend, c->client, c->service, c->sport);
		if (stands_still(w, &c->tcp) || (k && k->conn == i && stands_still(w, &k->tcp)))
			sim_broken(w, c, "it stands still though a third PoP bridges the cut");
	}
}

/* Once a second. */
void sim_judge_progress(struct world *w)
{
	if (w->far_loss > 0.001 || w->now_us < w->flood_us + SIM_BRIDGE_US)
		return;
	for (int p = 0; p < w->npops; p++)
		for (int q = 0; q < w->npops; q++) {
			uint64_t since_us = w->cut_us[p][q] ? w->cut_us[p][q] : w->cut_us[q][p];

			if (p != q && since_us && w->now_us > since_us + SIM_BRIDGE_US && whole_for(w, p, SIM_BRIDGE_US, true) &&
			    whole_for(w, q, SIM_BRIDGE_US, false) && bridged(w, p, q, SIM_BRIDGE_US))
				judge_bridge(w, p, q);
		}
}

/* A packet leaves for another PoP. */
void sim_judge_crossing(struct world *w, int from, int to, const uint8_t *data, uint32_t len)
{
	uint32_t gue = (data[0] >> 4 == 4 ? SC_IP4_LEN : SC_IP6_LEN) + SC_UDP_LEN;
	struct sim_node *n = &w->node[from];

	(void)to;
	n->crossing++;
	if (len > gue + SC_GUE_LEN && !(data[gue] & SC_GUE_CONTROL) && (data[gue + SC_GUE_LEN] & 15) == SC_VERB_RELAY)
		n->relays++;
}

/* Once a second: no window of the limits' own is longer, but two may lie in one of ours. */
void sim_judge_rates(struct world *w)
{
	const uint32_t handed = 2 * (SC_RELAY_PER_S + SC_SPILL_PER_S);
	const uint32_t told = 2 * SC_HALF_OPEN_PER_S / SC_BATCH_FLOWS * (uint32_t)w->nnodes;

	for (int i = 0; i < w->nnodes; i++) {
		struct sim_node *n = &w->node[i];

		if (n->relays > handed || n->crossing > handed + 2 * told + QUIET_PACKETS)
			sim_violation(w, "node %d.%d sent %u packets to other PoPs within a second, %u of them RELAY",
				      n->pop + 1, n->number, n->crossing, n->relays);
		w->result->seen[SAW_RELAY_LIMIT] += n->relays >= SC_RELAY_PER_S;
		n->relays = n->crossing = 0;
	}
}
