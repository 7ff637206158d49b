/* Who holds a flow: home, owner node, second copy. The one place that answers it.
 * See state.h; the order is docs/wire-format.md section 1. */
#include "flow_id.h"
#include "state.h"

static bool alive(const struct sc_node *node, uint16_t row)
{
	return row == node->g->self || node->peers[row].alive;
}

bool sc_serving(const struct sc_node *node, uint16_t row)
{
	if (row == node->g->self)
		return node->filled;
	return node->peers[row].alive && node->peers[row].peer_filled;
}

static const uint8_t *order_of(const struct sc_pop *p, uint64_t flow)
{
	return p->order[sc_home_row(flow)];
}

uint16_t sc_home(const struct sc_node *node, uint64_t flow, uint16_t pop)
{
	const struct sc_pop *p = &node->g->pops[pop];
	const uint8_t *order = order_of(p, flow);
	uint16_t first_alive = SC_NO_ROW;

	for (uint16_t i = 0; i < p->count; i++) {
		uint16_t row = p->nodes[order[i]];

		if (sc_serving(node, row))
			return row;
		if (first_alive == SC_NO_ROW && alive(node, row))
			first_alive = row;
	}
	return first_alive;
}

unsigned int sc_holders(const struct sc_node *node, uint64_t flow, uint16_t backend_pop,
			uint16_t rows[SC_MAX_NODES])
{
	unsigned int n = 0;

	for (uint16_t pop = 0; pop < node->g->npops; pop++) {
		const struct sc_pop *p = &node->g->pops[pop];
		const uint8_t *order = order_of(p, flow);
		int copies = pop == backend_pop ? 2 : 1;

		for (uint16_t i = 0; i < p->count && copies > 0; i++) {
			uint16_t row = p->nodes[order[i]];

			if (sc_serving(node, row))
				copies--;
			if (row != node->g->self && alive(node, row))
				rows[n++] = row;
		}
	}
	return n;
}

bool sc_holds(const struct sc_node *node, uint64_t flow, uint16_t backend_pop, uint16_t row)
{
	uint16_t pop = node->g->node_pop[row];
	const struct sc_pop *p = &node->g->pops[pop];
	const uint8_t *order = order_of(p, flow);
	int copies = pop == backend_pop ? 2 : 1;

	for (uint16_t i = 0; i < p->count && copies > 0; i++) {
		uint16_t at = p->nodes[order[i]];

		if (at == row)
			return true;
		if (sc_serving(node, at))
			copies--;
	}
	return false;
}
