/* The Node-API face of the data path: conversion and lifetimes only.
 *
 * Owns the exports of steadycast.node; called by src/dataplane/addon.ts, which checks
 * arguments and says what is wrong with them: here they are only kept from doing
 * harm. Guarantees: no C pointer reaches JavaScript except wrapped, tagged and with a
 * finalizer; no thread outlives its environment; a failed conversion throws. */
#include <node_api.h>

#include <errno.h>
#include <stdlib.h>

#include "flow_id.h"
#include "napi_worker.h"

#define SC_NATIVE_VERSION "0.1.0"

/* Changes with the exports' meaning: src/dataplane/addon.ts refuses another. */
#define SC_NATIVE_ABI 5

static const napi_type_tag node_tag = { 0xe35a7c9014bf628d, 0x84f2d60b9ea1357c };

/* Ports. */

static void finalize_port(napi_env env, void *data, void *hint)
{
	struct port_handle *h = data;

	(void)env;
	(void)hint;
	sc_port_close(h->port);
	free(h);
}

static napi_value close_port(napi_env env, napi_callback_info info)
{
	struct port_handle *h;
	struct call c;

	if (!get_call(env, info, &c) || !(h = get_handle(env, c.self, &port_tag)))
		return NULL;
	sc_port_close(h->port);
	h->port = NULL;
	return NULL;
}

static napi_value make_port(napi_env env, struct sc_port *port)
{
	static const napi_property_descriptor methods[] = {
		{ .utf8name = "close", .method = close_port, .attributes = napi_enumerable },
	};
	struct port_handle *h = calloc(1, sizeof(*h));

	if (!h) {
		sc_port_close(port);
		return fail(env, -ENOMEM, "port");
	}
	h->port = port;
	return make_handle(env, h, &port_tag, finalize_port, methods, 1);
}

static napi_value open_tun(napi_env env, napi_callback_info info)
{
	struct sc_port *port;
	struct call c;
	char name[64];
	int err;

	if (!get_call(env, info, &c) || !get_text(env, c.arg[0], name, sizeof(name)))
		return NULL;
	err = sc_port_tun_open(name, &port);
	return err ? fail(env, err, "TUN device") : make_port(env, port);
}

static napi_value open_packet(napi_env env, napi_callback_info info)
{
	struct sc_port *port;
	struct call c;
	char name[64], peer[64];
	int err;

	if (!get_call(env, info, &c) || !get_text(env, c.arg[0], name, sizeof(name)) ||
	    !get_text(env, c.arg[1], peer, sizeof(peer)))
		return NULL;
	err = sc_port_packet_open(name, peer, &port);
	return err ? fail(env, err, "packet socket") : make_port(env, port);
}

/* Nodes in memory. */

struct node_handle {
	struct sc_node *node;
	struct counters *counters;
	struct sc_out out;
	uint8_t buffers[SC_BURST_MAX][SC_HEADROOM + SC_PACKET_MAX];
};

static void finalize_node(napi_env env, void *data, void *hint)
{
	struct node_handle *h = data;

	(void)env;
	(void)hint;
	if (h->node)
		sc_node_free(h->node);
	drop_counters(h->counters);
	free(h);
}

/* Appends what is in h->out. */
static bool append_out(napi_env env, napi_value array, uint32_t *at, struct node_handle *h)
{
	for (unsigned int i = 0; i < h->out.n; i++) {
		const struct sc_packet *p = &h->out.p[i];
		napi_value buffer, bytes, object;
		void *data;

		if (napi_create_object(env, &object) != napi_ok ||
		    napi_create_arraybuffer(env, p->len, &data, &buffer) != napi_ok)
			return false;
		if (p->len)
			memcpy(data, p->data, p->len);
		if (napi_create_typedarray(env, napi_uint8_array, p->len, buffer, 0, &bytes) != napi_ok ||
		    napi_set_named_property(env, object, "data", bytes) != napi_ok ||
		    !set_text(env, object, "egress", p->egress == SC_EGRESS_LOCAL ? "local" : "wire") ||
		    napi_set_element(env, array, (*at)++, object) != napi_ok)
			return false;
	}
	h->out.n = 0;
	return true;
}

/* Packets first .. first + n of array into burst. */
static bool copy_burst(napi_env env, struct node_handle *h, napi_value array, uint32_t first,
		       uint32_t n, struct sc_packet *burst)
{
	for (uint32_t i = 0; i < n; i++) {
		const uint8_t *data;
		napi_value element;
		size_t len;

		if (napi_get_element(env, array, first + i, &element) != napi_ok) {
			failed(env);
			return false;
		}
		if (!get_bytes(env, element, &data, &len))
			return false;
		if (len > SC_PACKET_MAX) {
			wrong(env, "expected packets no longer than SC_PACKET_MAX");
			return false;
		}
		burst[i] = (struct sc_packet){ .data = h->buffers[i] + SC_HEADROOM, .len = (uint32_t)len };
		memcpy(burst[i].data, data, len);
	}
	return true;
}

/* (packets, now in microseconds) */
static napi_value node_forward(napi_env env, napi_callback_info info)
{
	struct sc_packet burst[SC_BURST_MAX];
	struct node_handle *h;
	napi_value array;
	uint32_t count, at = 0;
	uint64_t now;
	struct call c;

	if (!get_call(env, info, &c) || !(h = get_handle(env, c.self, &node_tag)) ||
	    !get_bigint(env, c.arg[1], &now))
		return NULL;
	if (napi_get_array_length(env, c.arg[0], &count) != napi_ok)
		return wrong(env, "expected an array of packets");
	TRY(napi_create_array(env, &array));
	for (uint32_t i = 0; i < count; i += SC_BURST_MAX) {
		uint32_t n = count - i < SC_BURST_MAX ? count - i : SC_BURST_MAX;

		if (!copy_burst(env, h, c.arg[0], i, n, burst))
			return NULL;
		sc_forward(h->node, burst, n, now, &h->out);
		if (!append_out(env, array, &at, h))
			return failed(env);
	}
	return array;
}

/* (now in microseconds) */
static napi_value node_timers(napi_env env, napi_callback_info info)
{
	struct node_handle *h;
	napi_value array;
	uint32_t at = 0;
	uint64_t now;
	struct call c;

	if (!get_call(env, info, &c) || !(h = get_handle(env, c.self, &node_tag)) ||
	    !get_bigint(env, c.arg[0], &now))
		return NULL;
	TRY(napi_create_array(env, &array));
	sc_timers(h->node, now, &h->out);
	return append_out(env, array, &at, h) ? array : failed(env);
}

/* (now in microseconds) */
static napi_value node_look(napi_env env, napi_callback_info info)
{
	struct sc_node_view view;
	struct node_handle *h;
	uint64_t now;
	struct call c;

	if (!get_call(env, info, &c) || !(h = get_handle(env, c.self, &node_tag)) ||
	    !get_bigint(env, c.arg[0], &now))
		return NULL;
	sc_node_look(h->node, now, &view);
	return make_view(env, &view);
}

/* (now in microseconds): as if all of the fleet were well */
static napi_value node_assume(napi_env env, napi_callback_info info)
{
	struct node_handle *h;
	uint64_t now;
	struct call c;

	if (get_call(env, info, &c) && (h = get_handle(env, c.self, &node_tag)) &&
	    get_bigint(env, c.arg[0], &now))
		sc_explain_assume(h->node, now);
	return NULL;
}

/* (packet, now in microseconds) */
static napi_value node_explain(napi_env env, napi_callback_info info)
{
	struct node_handle *h;
	const uint8_t *data;
	uint64_t now;
	struct call c;
	size_t len;

	if (!get_call(env, info, &c) || !(h = get_handle(env, c.self, &node_tag)) ||
	    !sc_napi_get_packet(env, c.arg[0], &data, &len) || !get_bigint(env, c.arg[1], &now))
		return NULL;
	return sc_napi_explain(env, h->node, data, len, now);
}

/* (generation, boot id, flow entries) */
static napi_value new_node(napi_env env, napi_callback_info info)
{
	static const napi_property_descriptor methods[] = {
		{ .utf8name = "forward", .method = node_forward, .attributes = napi_enumerable },
		{ .utf8name = "timers", .method = node_timers, .attributes = napi_enumerable },
		{ .utf8name = "look", .method = node_look, .attributes = napi_enumerable },
		{ .utf8name = "assume", .method = node_assume, .attributes = napi_enumerable },
		{ .utf8name = "explain", .method = node_explain, .attributes = napi_enumerable },
	};
	struct sc_node_options options = { 0 };
	struct sc_generation *g;
	struct node_handle *h;
	napi_value object;
	struct call c;
	int err;

	if (!get_call(env, info, &c) || !get_node_options(env, c.arg[1], c.arg[2], &options) ||
	    !(g = load_generation(env, c.arg[0])))
		return NULL;
	h = calloc(1, sizeof(*h));
	if (h)
		h->counters = new_counters(sc_counter_slots(g));
	err = h && h->counters ? sc_node_new(&options, g, h->counters->values, &h->node) : -ENOMEM;
	if (err) {
		sc_generation_free(g);
		if (h)
			finalize_node(env, h, NULL);
		return fail(env, err, "node");
	}
	object = make_handle(env, h, &node_tag, finalize_node, methods, 5);
	if (object && !set_counters(env, object, h->counters))
		return failed(env);
	return object;
}

/* Hashes and tables. */

/* (source, destination, source port, destination port, protocol, seed) */
static napi_value flow_id(napi_env env, napi_callback_info info)
{
	struct sc_addr src, dst;
	uint32_t sport, dport, proto;
	napi_value result;
	struct call c;
	uint64_t seed;

	if (!get_call(env, info, &c) || !get_address(env, c.arg[0], &src) ||
	    !get_address(env, c.arg[1], &dst) || !get_number(env, c.arg[2], UINT16_MAX, &sport) ||
	    !get_number(env, c.arg[3], UINT16_MAX, &dport) ||
	    !get_number(env, c.arg[4], UINT8_MAX, &proto) || !get_bigint(env, c.arg[5], &seed))
		return NULL;
	TRY(napi_create_bigint_uint64(env,
				      sc_flow_id(&src, &dst, (uint16_t)sport, (uint16_t)dport,
						 (uint8_t)proto, seed),
				      &result));
	return result;
}

/* (bytes, seed) */
static napi_value xxh64(napi_env env, napi_callback_info info)
{
	const uint8_t *data;
	napi_value result;
	struct call c;
	uint64_t seed;
	size_t len;

	if (!get_call(env, info, &c) || !get_bytes(env, c.arg[0], &data, &len) ||
	    !get_bigint(env, c.arg[1], &seed))
		return NULL;
	TRY(napi_create_bigint_uint64(env, sc_xxh64(data, len, seed), &result));
	return result;
}

static napi_value counter_table(napi_env env, napi_callback_info info)
{
	napi_value table, row;

	(void)info;
	TRY(napi_create_array_with_length(env, SC_COUNTER_COUNT, &table));
	for (uint32_t i = 0; i < SC_COUNTER_COUNT; i++) {
		const struct sc_counter_info *r = &sc_counter_table[i];

		TRY(napi_create_object(env, &row));
		if (!set_text(env, row, "kind", r->kind) || !set_text(env, row, "name", r->name) ||
		    !set_text(env, row, "help", r->help))
			return failed(env);
		TRY(napi_set_element(env, table, i, row));
	}
	return table;
}

static napi_value version(napi_env env, napi_callback_info info)
{
	napi_value result;

	(void)info;
	TRY(napi_create_string_utf8(env, SC_NATIVE_VERSION, NAPI_AUTO_LENGTH, &result));
	return result;
}

#define METHOD(name_, function) \
	{ .utf8name = name_, .method = function, .attributes = napi_enumerable }

static const napi_property_descriptor sc_napi_exports[] = {
	METHOD("version", version),
	METHOD("counterTable", counter_table),
	METHOD("openTun", open_tun),
	METHOD("openPacket", open_packet),
	METHOD("startNode", sc_napi_start_node),
	METHOD("startBackend", sc_napi_start_backend),
	METHOD("startSplitter", sc_napi_start_splitter),
	METHOD("newNode", new_node),
	METHOD("notify", sc_napi_notify),
	METHOD("noCores", sc_napi_no_cores),
	METHOD("flowId", flow_id),
	METHOD("xxh64", xxh64),
	METHOD("openPcap", sc_napi_open_pcap),
	METHOD("observeDevice", sc_napi_observe_device),
	METHOD("observePcap", sc_napi_observe_pcap),
};

NAPI_MODULE_INIT()
{
	size_t count = sizeof(sc_napi_exports) / sizeof(sc_napi_exports[0]);

	if (napi_define_properties(env, exports, count, sc_napi_exports) != napi_ok ||
	    !set_number(env, exports, "abi", SC_NATIVE_ABI))
		return NULL;
	return exports;
}
