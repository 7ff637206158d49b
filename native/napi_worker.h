/* What napi.c and napi_worker.c, the two files of the Node-API face, share: the handle of
 * a port, the arguments of a node, and the exports that start workers. */
#ifndef SC_NAPI_WORKER_H
#define SC_NAPI_WORKER_H

#include "explain.h"
#include "io/port.h"
#include "napi_convert.h"

static const napi_type_tag port_tag = { 0x7ac1d2f06b3e4c51, 0x9d40a8e2c7f51b36 };

struct port_handle {
	struct sc_port *port;	/* NULL once closed or given to a worker */
};

static inline struct sc_generation *load_generation(napi_env env, napi_value v)
{
	struct sc_generation *g;
	const uint8_t *blob;
	const char *why = "";
	char step[128];
	size_t len;
	int err;

	if (!get_bytes(env, v, &blob, &len))
		return NULL;
	err = sc_generation_load(blob, len, &g, &why);
	if (!err)
		return g;
	snprintf(step, sizeof(step), "generation: %s", why ? why : "");
	fail(env, err, step);
	return NULL;
}

static inline bool get_node_options(napi_env env, napi_value boot_id, napi_value flow_entries,
			     struct sc_node_options *o)
{
	return get_bigint(env, boot_id, &o->boot_id) &&
	       get_number(env, flow_entries, UINT32_MAX, &o->flow_entries);
}

/* napi_explain.c. node: where it was run. */
napi_value sc_napi_explanation(napi_env env, const struct sc_node *node, const struct sc_explanation *e);

/* Runs a packet of at most SC_PACKET_MAX bytes through a node in memory. */
napi_value sc_napi_explain(napi_env env, struct sc_node *node, const uint8_t *data, size_t len, uint64_t now_us);

/* A Uint8Array that is a packet, or thrown. */
bool sc_napi_get_packet(napi_env env, napi_value v, const uint8_t **data, size_t *len);

napi_value sc_napi_observe_device(napi_env env, napi_callback_info info);
napi_value sc_napi_observe_pcap(napi_env env, napi_callback_info info);
napi_value sc_napi_open_pcap(napi_env env, napi_callback_info info);
napi_value sc_napi_start_node(napi_env env, napi_callback_info info);
napi_value sc_napi_start_backend(napi_env env, napi_callback_info info);
napi_value sc_napi_start_splitter(napi_env env, napi_callback_info info);

/* In napi_notify.c. */
napi_value sc_napi_notify(napi_env env, napi_callback_info info);
napi_value sc_napi_no_cores(napi_env env, napi_callback_info info);

#endif
