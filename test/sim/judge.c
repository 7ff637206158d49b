/* The judge: what counts as broken, and what must hold whatever happens.
 * The promise: while a connection's backend lives, is configured, and is reachable from
 * a live node of its PoP, and the connection is never silent for longer than its idle
 * timeout, nothing breaks it. Where the promise does not hold for a connection it is
 * marked outside, with the reason in the trace, and counted. */
#include <stdarg.h>

#include "flow_id.h"
#include "sim.h"

/* Entries give up in steps of 2 s. */
enum { SLACK_S = 4, ENOUGH_ASKED = 500 };

#define MOVES_US (10 * SC_S)

static uint32_t number_of(const struct world *w, const struct connection *c)
{
	return (uint32_t)(c - w->conn);
}

void sim_leave_outside(struct world *w, struct connection *c, enum sim_excuse why)
{
	if (c->outside)
		return;
	c->outside = true;
	w->result->outside++;
	w->result->excused[why]++;
	sim_say(w, "connection %u is outside the promise: %s", number_of(w, c), sim_excuse_names[why]);
}

static bool covered(struct world *w, struct connection *c)
{
	if (!c->outside && c->fate != FATE_HANDSHAKE &&
	    w->now_us - c->delivered_us > (c->timeout_s - SLACK_S) * SC_S)
		sim_leave_outside(w, c, OUT_SILENT);
	return !c->outside && !c->contested;
}

static void keep_message(struct world *w, const char *text)
{
	struct sim_result *r = w->result;

	sim_say(w, "*** %s", text);
	if (r->nmessages < SIM_MESSAGES)
		snprintf(r->message[r->nmessages++], sizeof(r->message[0]), "%.3f s: %.180s",
			 (double)(w->now_us - SIM_START_US) / 1e6, text);
}

void sim_contest(struct world *w, struct connection *c, enum sim_excuse why)
{
	if (c->contested)
		return;
	c->contested = true;
	w->result->contested++;
	w->result->excused[why]++;
	sim_say(w, "connection %u is contested: %s", number_of(w, c), sim_excuse_names[why]);
}

/* While its handshake has yet to be over at its backend, and for as long as that is on
 * its way to all, its port's last connection stands before it wherever it is not known
 * to have ended; one whose backend is down, for as long as an ingress node trusts what it
 * was told. */
static bool unheard(const struct world *w, const struct connection *c)
{
	uint64_t for_us = c->anew ? SC_OWNER_CACHE_S * SC_S : SIM_CONTEST_US;

	return c->acked_us == 0 || w->now_us - c->acked_us < for_us;
}

void sim_broken(struct world *w, struct connection *c, const char *how)
{
	char text[180];

	if (c->raced)
		sim_contest(w, c, CONTESTED_RACE);
	if (c->damaged)
		sim_leave_outside(w, c, OUT_DAMAGED);
	if (c->reused || (c->again && unheard(w, c)))
		sim_contest(w, c, CONTESTED_REUSE);
	if (c->fate == FATE_BROKEN || c->fate == FATE_OVER || c->fate == FATE_DEAD || !covered(w, c))
		return;
	snprintf(text, sizeof(text), "connection %u is broken: %s", number_of(w, c), how);
	keep_message(w, text);
	c->fate = FATE_BROKEN;
	w->result->broken++;
	w->result->failed[number_of(w, c)] = 1;
}

void sim_violation(struct world *w, const char *fmt, ...)
{
	char text[180];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	w->result->violations++;
	keep_message(w, text);
}

/* Something between the two PoPs, or in one of them, keeps news from spreading. */
void sim_disturbed_between(struct world *w, int p, int q, uint64_t until_us)
{
	if (until_us > w->bad_us[p][q])
		w->bad_us[p][q] = w->bad_us[q][p] = until_us;
}

/* A PoP is not whole. */
void sim_disturbed_pop(struct world *w, int pop, uint64_t until_us)
{
	for (int q = 0; q < w->npops; q++)
		sim_disturbed_between(w, pop, q, until_us);
	if (until_us > w->odd_us[pop])
		w->odd_us[pop] = until_us;
}

static uint64_t bad_between(const struct world *w, int backend, int other)
{
	return w->bad_us[w->backend[backend].pop][w->backend[other].pop];
}

static bool given_up(const struct world *w, uint32_t id)
{
	for (int i = 0; i < w->nbackends; i++)
		if (w->backend[i].id == id)
			return sim_down_somewhere(w, i) || sim_newest(w)->state[i] == SIM_ABSENT;
	return true;
}

/* Another PoP still holds, or remembers, what its port was used for before, and cannot
 * hear of the new claim, or the claiming PoP could not hear of the old one. If the old
 * backend is down the new claim begins anew elsewhere, and its news take their time. */
static void judge_reuse(struct world *w, struct connection *c, int backend)
{
	int pop = w->backend[backend].pop;

	for (int i = 0; i < w->nnodes; i++) {
		const struct sc_flow_entry *e = sim_entry(w, i, c->flow);

		if (!e)
			e = sim_remembered(w, i, c->flow);
		if (!e || e->backend == w->backend[backend].id)
			continue;
		c->reused |= w->now_us < w->bad_us[pop][w->node[i].pop];
		c->anew |= given_up(w, e->backend);
	}
}

/* The first backend that gets a connection's SYN has it, unless the others could not
 * have heard of it yet: then its two claims race, and it is outside the promise. */
static void judge_syn(struct world *w, struct connection *c, int backend)
{
	char how[120];

	if (c->claimed < 0) {
		c->claimed = backend;
		c->claimed_us = w->now_us;
		judge_reuse(w, c, backend);
	}
	if (c->claimed == backend || c->contested)
		return;
	if (w->now_us - c->claimed_us < SIM_CONTEST_US || c->claimed_us < bad_between(w, c->claimed, backend)) {
		sim_contest(w, c, CONTESTED_SYN);
		return;
	}
	snprintf(how, sizeof(how), "its SYN reached backend %d.%d, and then %d.%d",
		 w->backend[c->claimed].pop + 1, w->backend[c->claimed].number, w->backend[backend].pop + 1,
		 w->backend[backend].number);
	sim_broken(w, c, how);
}

/* Whether a node of the PoP that has filled hears the node, and was told all it has to tell. */
static bool told_by(const struct world *w, int pop, int node)
{
	for (int i = w->first_node[pop]; i < w->first_node[pop] + w->nodes_of[pop]; i++) {
		const struct sim_node *n = &w->node[i];

		for (uint32_t row = 0; sim_serving(w, i) && row < n->g->h.nodes; row++)
			if (n->g->nodes[row].id == w->node[node].id && n->node->peers[row].alive &&
			    sc_publication_complete(&n->node->peers[row].pub))
				return true;
	}
	return false;
}

/* Whether a node that lives knows the flow of c, and is one of the PoP's or can have told
 * it: a PoP that was restarted whole while it was cut off has only its own memories. */
static bool known_alive(const struct world *w, const struct connection *c, int pop)
{
	for (int i = 0; i < w->nnodes; i++) {
		const struct sc_flow_entry *e = sim_entry(w, i, c->flow);
		int at = w->node[i].pop;

		if (e && !e->cached && (at == pop || w->now_us >= w->bad_us[pop][at] || told_by(w, pop, i)))
			return true;
	}
	return false;
}

/* Whether a flood has driven the handshake of c out of a PoP's tables. */
static bool driven_out(const struct world *w, const struct connection *c, int pop)
{
	if (c->acked_us || w->now_us < w->flooded_us || w->now_us > w->flood_us + w->half_open_s * SC_S)
		return false;
	for (int i = w->first_node[pop]; i < w->first_node[pop] + w->nodes_of[pop]; i++)
		if (sim_entry(w, i, c->flow))
			return false;
	return true;
}

/* Whether the home of c in the PoP knows where it is. */
static bool known_at_home(const struct world *w, const struct connection *c, int pop)
{
	for (int i = w->first_node[pop]; i < w->first_node[pop] + w->nodes_of[pop]; i++) {
		const struct sc_flow_entry *e = sim_serving(w, i) ? sim_entry(w, i, c->flow) : NULL;

		if (e && !e->cached && e->backend == w->backend[c->backend].id &&
		    sc_home(w->node[i].node, c->flow, w->node[i].g->own_pop) == w->node[i].g->self)
			return true;
	}
	return false;
}

/* A SYN, repeated or forged, comes to a PoP that cannot know the flow yet or any more, or
 * while only nodes know it that are dead, or that this PoP does not hear: it may begin a
 * second claim there, whether or not that reaches a backend now. */
void sim_judge_syn(struct world *w, int pop, const struct segment *s)
{
	struct connection *c = s->conn < w->nconns ? &w->conn[s->conn] : NULL;
	int own;

	if (!c || !(s->flags & SC_TCP_SYN) || c->claimed < 0)
		return;
	if (s->spoofed && c->fate == FATE_LIVING && known_at_home(w, c, pop))
		return;
	own = w->backend[c->backend >= 0 ? c->backend : c->claimed].pop;
	if ((pop != own && (w->now_us < w->bad_us[own][pop] || w->now_us - c->claimed_us < SIM_CONTEST_US)) ||
	    driven_out(w, c, pop) || !known_alive(w, c, pop))
		c->raced = true;
}

void sim_judge_delivery(struct world *w, int backend, const struct segment *s, bool too_big)
{
	struct connection *c;
	char how[120];

	if (too_big)
		c = sim_current(w, s->client, s->service, s->sport);
	else
		c = s->conn < w->nconns && !s->spoofed ? &w->conn[s->conn] : NULL;
	if (!c)
		return;
	if ((c->fate == FATE_HANDSHAKE || c->fate == FATE_LIVING) && !too_big && (s->flags & SC_TCP_SYN))
		judge_syn(w, c, backend);
	if (c->fate != FATE_LIVING)
		return;
	if (c->backend == backend) {
		if (!too_big && !(s->flags & SC_TCP_SYN) && !c->acked_us)
			c->acked_us = w->now_us;
		w->result->seen[SAW_LONG_SILENCE] += w->now_us - c->delivered_us > (uint64_t)w->idle_s * SC_S / 3;
		if (covered(w, c))
			c->delivered_us = w->now_us;
		return;
	}
	/* ICMP for the port's last connection may still be steered by it; kernels know better. */
	if (too_big && w->now_us - c->claimed_us < SIM_CONTEST_US)
		return;
	snprintf(how, sizeof(how), "a packet of it reached backend %d.%d, its own is %d.%d%s",
		 w->backend[backend].pop + 1, w->backend[backend].number, w->backend[c->backend].pop + 1,
		 w->backend[c->backend].number, too_big ? " (ICMP)" : "");
	sim_broken(w, c, how);
}

/* Whether some node that lives, but for this one, holds the flow, and for long enough
 * to tell of it. */
static bool held_elsewhere(const struct world *w, int node, const struct connection *c, uint32_t backend)
{
	for (int i = 0; i < w->nnodes; i++) {
		const struct sc_flow_entry *e = i == node ? NULL : sim_entry(w, i, c->flow);

		if (e && !e->cached && e->backend == backend &&
		    sc_flow_idle(e, w->node[i].node->tick) * SC_TICK_S + SLACK_S <= SC_COPY_S)
			return true;
	}
	return false;
}

static bool remembered_elsewhere(const struct world *w, int node, const struct connection *c)
{
	for (int i = 0; i < w->nnodes; i++) {
		const struct sc_flow_entry *e = i == node ? NULL : sim_remembered(w, i, c->flow);

		if (e && !e->cached)
			return true;
	}
	return false;
}

/* Whether a node that dies had the time, and anybody to tell what it knew of c: each
 * other PoP's home; a second node of its own PoP only for that PoP's backends. */
static bool could_tell(const struct world *w, int node, const struct connection *c)
{
	const struct sim_node *n = &w->node[node];
	int own = c->backend >= 0 ? c->backend : c->claimed, pop = own < 0 ? n->pop : w->backend[own].pop;

	if (c->claimed < 0 || w->now_us - c->claimed_us < SIM_YOUNG_US || !n->filled_us || w->now_us - n->filled_us < SIM_YOUNG_US)
		return false;
	if (c->fate == FATE_HANDSHAKE && w->now_us < w->flood_us)
		return false;
	for (int i = 0; i < w->nnodes; i++)
		if (i != node && (w->node[i].pop != n->pop || pop == n->pop) &&
		    n->quiet >> w->node[i].pop & 1 && sim_serving(w, i) && w->node[i].filled_us &&
		    w->now_us - w->node[i].filled_us >= SIM_YOUNG_US)
			return true;
	return false;
}

/* A node dies. What it alone knew, and could have told nobody, is now in its own memory
 * alone; in none if it has not filled. */
void sim_judge_death(struct world *w, int node)
{
	for (uint32_t i = 0; i < w->nconns; i++) {
		struct connection *c = &w->conn[i];
		const struct sc_flow_entry *e;

		if (c->fate != FATE_LIVING && c->fate != FATE_HANDSHAKE)
			continue;
		e = sim_entry(w, node, c->flow);
		if (e && !e->cached)
			c->only = !held_elsewhere(w, node, c, e->backend) && !could_tell(w, node, c);
		if (e && !e->cached && c->only && !w->node[node].node->filled && !sim_remembered(w, node, c->flow) &&
		    !remembered_elsewhere(w, node, c))
			sim_leave_outside(w, c, OUT_UNFILLED);
	}
}

/* A dead node has lost e, what its memory said of c. */
void sim_judge_loss(struct world *w, int node, struct connection *c, const struct sc_flow_entry *e,
		    enum sim_excuse why)
{
	bool long_gone = why == OUT_AWAY && w->now_us - w->node[node].died_us > SC_COPY_S * SC_S;

	if ((c->fate == FATE_LIVING || c->fate == FATE_HANDSHAKE) && (c->only || long_gone) &&
	    !held_elsewhere(w, node, c, e->backend) && !remembered_elsewhere(w, node, c))
		sim_leave_outside(w, c, why);
}

/* Once a second while SYNs come that no table holds: a handshake, of which nothing after
 * its SYN had reached its backend before, had to give way and is known to no node of its
 * backend's PoP. */
void sim_judge_flood(struct world *w)
{
	if (w->now_us < w->flooded_us || w->now_us > w->flood_us + w->half_open_s * SC_S)
		return;
	for (uint32_t i = 0; i < w->nconns; i++) {
		struct connection *c = &w->conn[i];
		bool held = false;

		if (c->claimed < 0 || (c->fate != FATE_HANDSHAKE && c->fate != FATE_LIVING) ||
		    (c->acked_us && c->acked_us + SC_S < w->flooded_us))
			continue;
		for (int k = 0; k < w->nnodes && !held; k++) {
			const struct sc_flow_entry *e = sim_entry(w, k, c->flow);

			held = w->node[k].pop == w->backend[c->backend >= 0 ? c->backend : c->claimed].pop &&
			       ((e && !e->cached) || sim_remembered(w, k, c->flow));
		}
		if (!held)
			sim_leave_outside(w, c, OUT_FLOODED);
	}
}

/* A node gets a client's packet: no loops. Copies made by the network and segments cut
 * in two are packets of their own. */
void sim_judge_handled(struct world *w, int node, uint32_t serial)
{
	struct handled *h = &w->handled[serial % HANDLED];
	unsigned int most = SIM_HANDLED_MAX * (1u + h->copies);

	if (h->serial != serial)
		return;
	if (++h->nodes == most + 1)
		sim_violation(w, "packet %u is handled by a %uth node, %d.%d", serial, most + 1,
			      w->node[node].pop + 1, w->node[node].number);
}

/* Counters add up: what was handed in went out or was dropped for one reason. */
void sim_judge_counters(struct world *w, int node)
{
	const struct sim_node *n = &w->node[node];
	uint64_t ends = 0;

	if (!n->node)
		return;
	for (int r = 0; r < SC_DROP_COUNT; r++)
		ends += n->counters[r];
	for (int x = SC_C_EXIT_BASE; x <= SC_C_consumed; x++)
		ends += n->counters[x];
	if (ends != n->handed)
		sim_violation(w, "node %d.%d was handed %llu packets and accounts for %llu", n->pop + 1,
			      n->number, (unsigned long long)n->handed, (unsigned long long)ends);
}

/* Tables stay within their bounds; whole: their counts are those of their entries. */
void sim_judge_tables(struct world *w, int node, bool whole)
{
	const struct sim_node *n = &w->node[node];
	const struct sc_flow_table *t;
	uint32_t count[SC_FLOW_STATES] = { 0 };

	if (!n->node)
		return;
	t = &n->node->table;
	if ((uint64_t)t->count[1] + t->count[2] + t->count[3] > ((uint64_t)t->mask + 1) * SC_FLOW_WAYS)
		sim_violation(w, "node %d.%d counts more flows than its table holds", n->pop + 1, n->number);
	for (uint32_t i = 0; i < n->g->h.nodes; i++) {
		const struct sc_publication *p = &n->node->peers[i].pub;

		if (p->ring && (p->sent - p->acked > SC_PUBLISH_WINDOW || p->acked > p->sent))
			sim_violation(w, "node %d.%d has %lld batches unacknowledged", n->pop + 1, n->number,
				      (long long)(p->sent - p->acked));
	}
	if (!whole)
		return;
	for (uint32_t b = 0; b <= t->mask; b++)
		for (int k = 0; k < SC_FLOW_WAYS; k++)
			count[t->buckets[b].way[k].state]++;
	for (int s = 1; s < SC_FLOW_STATES; s++)
		if (count[s] != t->count[s])
			sim_violation(w, "node %d.%d counts %u flows of state %d and holds %u", n->pop + 1,
				      n->number, t->count[s], s, count[s]);
}

/* docs/wire-format.md, section 1, once more: the node with the highest score. */
static uint16_t first_in_row(const struct world *w, int pop, uint32_t row)
{
	uint64_t high = 0;
	int best = -1;

	for (int i = w->first_node[pop]; i < w->first_node[pop] + w->nodes_of[pop]; i++) {
		uint8_t key[8] = { 0 };
		uint64_t score;

		if (!sim_newest(w)->node[i])
			continue;
		sc_put16(key, w->node[i].id);
		sc_put32(key + 4, row);
		score = sc_xxh64(key, sizeof(key), SIM_HASH_SEED);
		if (best < 0 || score > high || (score == high && w->node[i].id < w->node[best].id)) {
			high = score;
			best = i;
		}
	}
	return w->node[best].id;
}

bool sim_same_homes(const struct world *w, char *how, size_t size)
{
	for (int i = 0; i < w->nnodes; i++)
		if (sim_newest(w)->node[i] && !sim_serving(w, i))
			return true;
	for (uint32_t k = 0; k < w->nconns; k += 7) {
		uint64_t flow = w->conn[k].flow;

		for (int i = 0; i < w->nnodes; i++)
			for (int p = 0; w->node[i].node && p < w->npops; p++) {
				const struct sim_node *n = &w->node[i];
				uint16_t pop = sc_find_pop(n->g, (uint16_t)(p + 1));

				if (n->g->nodes[sc_home(n->node, flow, pop)].id ==
				    first_in_row(w, p, (uint32_t)(flow >> 32) & 0xfff))
					continue;
				snprintf(how, size, "node %d.%d takes another node for the home of flow %016llx in PoP %d",
					      n->pop + 1, n->number, (unsigned long long)flow, p + 1);
				return false;
			}
	}	return true;
}

/* What a node asks for it is told: OWNER messages, but for those that are lost. */
void sim_tally(struct world *w, int node)
{
	const uint64_t *c = w->node[node].counters;

	w->result->seen[SAW_RECALLED] += (uint32_t)c[SC_C_flows_recalled];
	w->result->seen[SAW_RELAYED] += (uint32_t)c[SC_C_relayed];
	w->result->seen[SAW_SPILLED] += (uint32_t)c[SC_C_spilled];
	w->result->seen[SAW_WITHHELD] += c[SC_C_publish_withheld] > 0;
	w->asked += c[SC_C_ask_received] - c[SC_DROP_uncertain] - c[SC_DROP_first_refusal] - c[SC_DROP_no_backend] -
		    c[SC_DROP_table_full] - c[SC_C_relayed] - c[SC_C_spilled];
	w->told += c[SC_C_owner_sent];
	w->heard += c[SC_C_owner_received];
}

static void judge_owners(struct world *w)
{
	for (int i = 0; i < w->nnodes; i++)
		if (w->node[i].node)
			sim_tally(w, i);
	if (w->asked > ENOUGH_ASKED && (w->told < w->asked / 4 || w->heard < w->told / 2))
		sim_violation(w, "nodes asked for %lld flows that were known, and were told of %lld, heard of %lld",
			      (long long)w->asked, (long long)w->told, (long long)w->heard);
}

/* Whether a backend that is not its own has a socket of its port's last connection:
 * then two kernels tell each other that they disagree, and nobody is told. */
static bool taken_for_another(struct world *w, const struct connection *c)
{
	for (int i = 0; i < w->nbackends; i++)
		if (i != c->backend && sim_socket(w, i, c->client, c->service, c->sport))
			return true;
	return false;
}

/* Whether somebody was certain of nothing while everyone was to be told: who had to forget
 * a living flow, for as long as copies live; whom a flood took handshakes from, for as
 * long as such may be half-open. */
static bool was_uncertain(const struct world *w)
{
	uint64_t half_open_us = (w->half_open_s + SLACK_S) * SC_S;

	for (int i = 0; i < w->nnodes; i++) {
		const struct sc_node *n = w->node[i].node;
		uint64_t now_us = w->now_us + w->node[i].skew_us;

		if (n && (n->forgot_us || (n->shed_us && now_us - n->shed_us < SIM_BOUND_US + half_open_us) ||
			  (n->withheld_us && now_us - n->withheld_us < SIM_BOUND_US + half_open_us)))
			return true;
	}
	return false;
}

/* Whether a long answer is still on its way: it was acknowledged a moment ago. */
static bool moves(struct world *w, const struct connection *c)
{
	const struct socket *k = c->fate != FATE_LIVING ? NULL :
				 sim_socket(w, c->backend, c->client, c->service, c->sport);

	return k && k->conn == number_of(w, c) && k->tcp.due_us && w->now_us - k->tcp.since_us < MOVES_US;
}

/* Whether a flow finds no place in a node's table: connections never give way to a SYN. */
static bool no_room(const struct sc_flow_table *t, uint64_t flow)
{
	for (uint32_t b = 0; b <= t->mask; b++) {
		for (int i = 0; sc_flow_belongs(t->mask, flow, b) && i < SC_FLOW_WAYS; i++) {
			const struct sc_flow_entry *e = &t->buckets[b].way[i];

			if (e->state != SC_FLOW_ESTABLISHED || e->cached)
				return false;
		}
	}
	return true;
}

/* Its client's PoP has a home whose table is full of what looks like connections. */
static bool turned_away(const struct world *w, const struct connection *c)
{
	for (int i = 0; c->fate == FATE_HANDSHAKE && i < w->nnodes; i++)
		if (w->node[i].node && w->node[i].counters[SC_DROP_table_full] && no_room(&w->node[i].node->table, c->flow))
			return true;
	return false;
}

/* SIM_BOUND_US after everyone was asked to go on. */
void sim_judge_end(struct world *w)
{
	bool uncertain = was_uncertain(w);
	char how[120];

	for (uint32_t i = 0; i < w->nconns; i++) {
		struct connection *c = &w->conn[i];

		if (c->fate == FATE_DEAD && covered(w, c) && !uncertain) {
			sim_violation(w, "connection %u is dead, and its client was never told", i);
			w->result->failed[i] = 1;
		}
		if (c->fate != FATE_LIVING && c->fate != FATE_HANDSHAKE)
			continue;
		if (turned_away(w, c))
			sim_leave_outside(w, c, OUT_FULL);
		snprintf(how, sizeof(how), "%s: turn %u of %u, %u bytes unacknowledged",
			 c->fate == FATE_LIVING ? "it stands still after the last event" : "it never began",
			 c->turn, c->script.turns, c->tcp.max - c->tcp.una);
		if ((c->contested || c->raced || c->reused) && !c->outside && !uncertain && !taken_for_another(w, c)) {
			sim_violation(w, "connection %u is contested and neither goes on nor is told: %s", i, how);
			w->result->failed[i] = 1;
		}
		if (!moves(w, c))
			sim_broken(w, c, how);
	}
	if (w->zombies_reset != w->zombies && !uncertain)
		sim_violation(w, "clients of unknown connections %x were to be told, only %x were", w->zombies,
			      w->zombies_reset);
	judge_owners(w);
	for (int i = 0; i < w->nnodes; i++) {
		if (sim_newest(w)->node[i] && !sim_serving(w, i))
			sim_violation(w, "node %d.%d has not filled", w->node[i].pop + 1, w->node[i].number);
		sim_judge_counters(w, i);
		sim_judge_tables(w, i, true);
	}
}
