/* Where packets leave a call, and the buffers for those that the node makes
 * itself. See state.h. */
#include "state.h"

enum sc_reason sc_emit(struct sc_node *node, const struct sc_packet *p, enum sc_egress egress)
{
	struct sc_out *out = node->out;

	if (out->n == SC_OUT_MAX)
		return SC_DROP_no_buffer;
	out->p[out->n] = *p;
	out->p[out->n].egress = egress;
	out->n++;
	return SC_OK;
}

bool sc_scratch(struct sc_node *node, struct sc_packet *p)
{
	if (node->scratch_used == SC_SCRATCH)
		return false;
	p->data = node->scratch + (size_t)node->scratch_used++ * node->scratch_size + SC_HEADROOM;
	p->len = 0;
	return true;
}
