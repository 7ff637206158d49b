/* The backend side: inner packets out of GUE that one of the PoP's nodes sent.
 * Called by the worker of `steadycast backend`. docs/wire-format.md, section 2.1. */
#include "gue.h"

static enum sc_reason take_out(const struct sc_generation *g, const struct sc_addr *self,
			       uint16_t pop, struct sc_packet *p)
{
	struct sc_parsed ip;
	enum sc_reason r;

	if ((r = sc_parse(p->data, p->len, &ip)) != SC_OK)
		return r;
	if (ip.kind != SC_KIND_UDP || ip.first_fragment || ip.dport != SC_GUE_PORT ||
	    !sc_addr_eq(&ip.dst, self))
		return SC_DROP_not_ours;
	if ((r = sc_gue_pull_plain(p, &ip, g, pop)) != SC_OK)
		return r;
	if ((r = sc_parse(p->data, p->len, &ip)) != SC_OK)
		return r;
	if (sc_find_portless_service(g, &ip.dst, 0) == SC_NO_ROW)
		return SC_DROP_no_service;
	p->len = ip.total_len;
	return SC_OK;
}

void sc_backend_receive(const struct sc_generation *g, const struct sc_addr *self, uint16_t pop,
			struct sc_packet *burst, unsigned int n, uint64_t *counters,
			struct sc_out *out)
{
	out->n = 0;
	for (unsigned int i = 0; i < n; i++) {
		enum sc_reason r = take_out(g, self, pop, &burst[i]);

		if (r != SC_OK) {
			counters[r]++;
			continue;
		}
		out->p[out->n] = burst[i];
		out->p[out->n++].egress = SC_EGRESS_LOCAL;
		counters[SC_C_delivered_local]++;
	}
}
