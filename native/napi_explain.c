/* What native/explain.c finds, as JavaScript has it: ids instead of rows, addresses as text;
 * and pcap files, packet by packet. See napi.c. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/limits.h>

#include "flow_id.h"
#include "napi_worker.h"

static const napi_type_tag pcap_tag = { 0x5b0d9c7731f24ea8, 0x93c2e6f40ab71d65 };

bool sc_napi_get_packet(napi_env env, napi_value v, const uint8_t **data, size_t *len)
{
	if (!get_bytes(env, v, data, len))
		return false;
	if (*len <= SC_PACKET_MAX)
		return true;
	wrong(env, "expected a packet no longer than SC_PACKET_MAX");
	return false;
}

static bool set_null(napi_env env, napi_value object, const char *name)
{
	napi_value none;

	return napi_get_null(env, &none) == napi_ok &&
	       napi_set_named_property(env, object, name, none) == napi_ok;
}

/* v: NULL is null. */
static bool set_value(napi_env env, napi_value object, const char *name, napi_value v)
{
	return v ? napi_set_named_property(env, object, name, v) == napi_ok : set_null(env, object, name);
}

static bool set_number_if(napi_env env, napi_value object, const char *name, bool there, double v)
{
	return there ? set_number(env, object, name, v) : set_null(env, object, name);
}

static bool set_address(napi_env env, napi_value object, const char *name, const struct sc_addr *a)
{
	char text[INET6_ADDRSTRLEN];

	if (sc_addr_is4(a))
		inet_ntop(AF_INET, a->b + 12, text, sizeof(text));
	else
		inet_ntop(AF_INET6, a->b, text, sizeof(text));
	return set_text(env, object, name, text);
}

static bool set_headers(napi_env env, napi_value object, const struct sc_parsed *ip)
{
	static const char *const kinds[] = {
		[SC_KIND_TCP] = "tcp", [SC_KIND_UDP] = "udp", [SC_KIND_FRAGMENT] = "fragment",
		[SC_KIND_ICMP_ERROR] = "icmp-error", [SC_KIND_ICMP_ECHO] = "icmp-echo",
	};

	return set_address(env, object, "src", &ip->src) && set_address(env, object, "dst", &ip->dst) &&
	       set_number(env, object, "sport", ip->sport) && set_number(env, object, "dport", ip->dport) &&
	       set_number(env, object, "family", ip->family) && set_number(env, object, "proto", ip->proto) &&
	       set_text(env, object, "kind", kinds[ip->kind]) &&
	       set_number(env, object, "tcpFlags", ip->tcp_flags) &&
	       set_bool(env, object, "df", ip->df) && set_number(env, object, "length", ip->total_len);
}

static napi_value headers_of(napi_env env, const struct sc_parsed *ip)
{
	napi_value object;

	return napi_create_object(env, &object) == napi_ok && set_headers(env, object, ip) ? object : NULL;
}

static napi_value flow_of(napi_env env, const struct sc_generation *g, const struct sc_explained_flow *f)
{
	static const char *const states[] = {
		[SC_FLOW_HALF_OPEN] = "half-open", [SC_FLOW_ESTABLISHED] = "established",
		[SC_FLOW_CLOSING] = "closing",
	};
	napi_value object;

	if (!f->known || napi_create_object(env, &object) != napi_ok)
		return NULL;
	return set_number(env, object, "backendId", f->backend) &&
	       set_number_if(env, object, "popId", f->pop != SC_NO_ROW, f->pop == SC_NO_ROW ? 0 : g->pops[f->pop].id) &&
	       set_number_if(env, object, "ownerId", f->owner != SC_NO_ROW,
			     f->owner == SC_NO_ROW ? 0 : g->nodes[f->owner].id) &&
	       set_text(env, object, "state", states[f->state]) && set_bool(env, object, "cached", f->cached) &&
	       set_number(env, object, "ageS", f->age_s) && set_number(env, object, "idleS", f->idle_s) ?
	       object : NULL;
}

/* The nodes of a PoP in the flow's order. */
static napi_value order_of(napi_env env, const struct sc_node *node, const struct sc_pop *pop, uint64_t flow)
{
	const uint8_t *order = pop->order[sc_home_row(flow)];
	napi_value array, object;

	if (napi_create_array(env, &array) != napi_ok)
		return NULL;
	for (uint32_t i = 0; i < pop->count; i++) {
		const uint16_t row = pop->nodes[order[i]];
		const bool self = row == node->g->self;

		if (napi_create_object(env, &object) != napi_ok ||
		    !set_number(env, object, "nodeId", node->g->nodes[row].id) ||
		    !set_bool(env, object, "up", self || node->peers[row].alive) ||
		    !set_bool(env, object, "filled", self ? node->filled : node->peers[row].peer_filled) ||
		    napi_set_element(env, array, i, object) != napi_ok)
			return NULL;
	}
	return array;
}

static napi_value homes_of(napi_env env, const struct sc_node *node, const struct sc_explanation *e)
{
	const struct sc_generation *g = node->g;
	napi_value array, object, order;

	if (napi_create_array(env, &array) != napi_ok)
		return NULL;
	for (uint32_t i = 0; i < g->npops; i++) {
		const uint16_t home = e->home[i];

		order = order_of(env, node, &g->pops[i], e->flow);
		if (!order || napi_create_object(env, &object) != napi_ok ||
		    !set_number(env, object, "popId", g->pops[i].id) ||
		    !set_number_if(env, object, "homeId", home != SC_NO_ROW, home == SC_NO_ROW ? 0 : g->nodes[home].id) ||
		    !set_value(env, object, "order", order) ||
		    napi_set_element(env, array, i, object) != napi_ok)
			return NULL;
	}
	return array;
}

static napi_value missing_of(napi_env env, const struct sc_generation *g, uint64_t missing)
{
	napi_value array, id;
	uint32_t at = 0;

	if (napi_create_array(env, &array) != napi_ok)
		return NULL;
	for (uint16_t i = 0; i < g->npops; i++)
		if ((missing >> i & 1) && (napi_create_uint32(env, g->pops[i].id, &id) != napi_ok ||
					   napi_set_element(env, array, at++, id) != napi_ok))
			return NULL;
	return array;
}

static napi_value counted_of(napi_env env, const struct sc_explanation *e)
{
	napi_value array, object;
	uint32_t at = 0;

	if (napi_create_array(env, &array) != napi_ok)
		return NULL;
	for (uint32_t i = 0; i < SC_COUNTER_COUNT; i++) {
		if (e->counted[i] == 0)
			continue;
		if (napi_create_object(env, &object) != napi_ok ||
		    !set_text(env, object, "kind", sc_counter_table[i].kind) ||
		    !set_text(env, object, "name", sc_counter_table[i].name) ||
		    !set_text(env, object, "help", sc_counter_table[i].help) ||
		    !set_number(env, object, "by", (double)e->counted[i]) ||
		    napi_set_element(env, array, at++, object) != napi_ok)
			return NULL;
	}
	return array;
}

static napi_value out_of(napi_env env, const struct sc_explanation *e)
{
	napi_value array, object;

	if (napi_create_array(env, &array) != napi_ok)
		return NULL;
	for (uint32_t i = 0; i < e->nout; i++) {
		const struct sc_explained_out *o = &e->out[i];

		if (napi_create_object(env, &object) != napi_ok || !set_headers(env, object, &o->ip) ||
		    !set_number(env, object, "length", o->len) ||
		    !set_text(env, object, "egress", o->egress == SC_EGRESS_LOCAL ? "local" : "wire") ||
		    !set_bool(env, object, "gue", o->gue) || !set_number(env, object, "verb", o->verb) ||
		    !set_number(env, object, "version", o->version) || !set_number(env, object, "key", o->key) ||
		    !set_number(env, object, "backendId", o->backend) ||
		    !set_number(env, object, "innerLength", o->inner_len) ||
		    napi_set_element(env, array, i, object) != napi_ok)
			return NULL;
	}
	return array;
}

/* What is known once a service was matched. */
static bool set_inputs(napi_env env, napi_value object, const struct sc_node *node,
		       const struct sc_explanation *e)
{
	const struct sc_generation *g = node->g;
	napi_value flow;

	return napi_create_bigint_uint64(env, e->flow, &flow) == napi_ok &&
	       set_value(env, object, "flow", flow) && set_number(env, object, "serviceRow", e->service) &&
	       set_number(env, object, "homeRow", sc_home_row(e->flow)) &&
	       set_value(env, object, "homes", homes_of(env, node, e)) &&
	       set_number(env, object, "slots", e->slots) && set_number(env, object, "slot", e->slot) &&
	       set_number_if(env, object, "choiceId", e->choice != SC_NO_BACKEND,
			     e->choice == SC_NO_BACKEND ? 0 : g->backends[e->choice].id) &&
	       set_value(env, object, "before", flow_of(env, g, &e->before)) &&
	       set_value(env, object, "after", flow_of(env, g, &e->after)) &&
	       set_bool(env, object, "filled", e->filled) && set_bool(env, object, "certain", e->certain) &&
	       set_value(env, object, "missingPopIds", missing_of(env, g, e->missing)) &&
	       set_number_if(env, object, "refusedUs", e->refused_us != 0, (double)e->refused_us);
}

napi_value sc_napi_explanation(napi_env env, const struct sc_node *node, const struct sc_explanation *e)
{
	const struct sc_generation *g = node->g;
	const bool origin = e->origin != SC_NO_ROW;
	napi_value object, inputs = NULL;

	TRY(napi_create_object(env, &object));
	if (e->matched) {
		TRY(napi_create_object(env, &inputs));
		if (!set_inputs(env, inputs, node, e))
			return failed(env);
	}
	if (!(e->reason == SC_OK ? set_null(env, object, "drop") :
				   set_text(env, object, "drop", sc_counter_table[e->reason].name)) ||
	    !set_value(env, object, "outer", e->parsed ? headers_of(env, &e->outer) : NULL) ||
	    !set_bool(env, object, "gue", e->gue) ||
	    !set_value(env, object, "packet", e->opened ? headers_of(env, &e->ip) : NULL) ||
	    !set_number(env, object, "verb", e->verb) || !set_number(env, object, "version", e->version) ||
	    !set_number_if(env, object, "originId", origin, origin ? g->nodes[e->origin].id : 0) ||
	    !set_number(env, object, "namedId", e->named) || !set_number(env, object, "mtu", g->h.mtu) ||
	    !set_value(env, object, "inputs", inputs) || !set_value(env, object, "counted", counted_of(env, e)) ||
	    !set_value(env, object, "out", out_of(env, e)))
		return failed(env);
	return object;
}

/* now_us 0: the time that the node has. */
napi_value sc_napi_explain(napi_env env, struct sc_node *node, const uint8_t *data, size_t len, uint64_t now_us)
{
	struct {
		struct sc_explanation e;
		struct sc_out out;
		uint8_t buffer[SC_HEADROOM + SC_PACKET_MAX];
	} *t = calloc(1, sizeof(*t));
	struct sc_packet p;
	napi_value result;

	if (!t)
		return fail(env, -ENOMEM, "explanation");
	p = (struct sc_packet){ .data = t->buffer + SC_HEADROOM, .len = (uint32_t)len };
	memcpy(p.data, data, len);
	sc_explain(node, &p, now_us ? now_us : node->now_us, &t->out, &t->e);
	result = sc_napi_explanation(env, node, &t->e);
	free(t);
	return result;
}

/* Pcap files. */

struct pcap_handle {
	struct sc_port *port;
	uint8_t buffer[SC_HEADROOM + SC_PACKET_MAX];
};

static void finalize_pcap(napi_env env, void *data, void *hint)
{
	struct pcap_handle *h = data;

	(void)env;
	(void)hint;
	sc_port_close(h->port);
	free(h);
}

/* The next packet and when it was captured, or null at the end. */
static napi_value pcap_next(napi_env env, napi_callback_info info)
{
	struct sc_packet p;
	struct pcap_handle *h;
	napi_value object, buffer, bytes, time;
	struct call c;
	void *data;
	int n;

	if (!get_call(env, info, &c) || !(h = get_handle(env, c.self, &pcap_tag)))
		return NULL;
	p = (struct sc_packet){ .data = h->buffer + SC_HEADROOM };
	n = h->port->ops->receive(h->port, &p, 1);
	if (n < 0)
		return fail(env, n, "pcap file");
	if (n == 0) {
		TRY(napi_get_null(env, &object));
		return object;
	}
	TRY(napi_create_object(env, &object));
	TRY(napi_create_arraybuffer(env, p.len, &data, &buffer));
	if (p.len)
		memcpy(data, p.data, p.len);
	TRY(napi_create_typedarray(env, napi_uint8_array, p.len, buffer, 0, &bytes));
	TRY(napi_set_named_property(env, object, "data", bytes));
	TRY(napi_create_bigint_uint64(env, sc_port_pcap_time_us(h->port), &time));
	TRY(napi_set_named_property(env, object, "timeUs", time));
	return object;
}

/* (path) */
napi_value sc_napi_open_pcap(napi_env env, napi_callback_info info)
{
	static const napi_property_descriptor methods[] = {
		{ .utf8name = "next", .method = pcap_next, .attributes = napi_enumerable },
	};
	struct pcap_handle *h;
	char path[PATH_MAX];
	struct call c;
	int err;

	if (!get_call(env, info, &c) || !get_text(env, c.arg[0], path, sizeof(path)))
		return NULL;
	h = calloc(1, sizeof(*h));
	if (!h)
		return fail(env, -ENOMEM, "pcap file");
	err = sc_port_pcap_open(path, NULL, &h->port);
	if (err) {
		free(h);
		return fail(env, err, "pcap file");
	}
	return make_handle(env, h, &pcap_tag, finalize_pcap, methods, 1);
}
