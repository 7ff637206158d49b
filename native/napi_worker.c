/* Workers as JavaScript has them: started with a device, looked at, given another
 * generation, stopped. See napi.c. Guarantees: a thread ends with its handle or with its
 * environment, whichever goes first. */
#include <errno.h>
#include <linux/limits.h>

#include "io/worker.h"
#include "lookup.h"
#include "napi_worker.h"

static const napi_type_tag worker_tag = { 0x2f8be94a1d7703c5, 0xb16c5ef0a3d94827 };

static struct port_handle *get_port(napi_env env, napi_value v)
{
	struct port_handle *h = get_handle(env, v, &port_tag);

	if (h && !h->port) {
		napi_throw_error(env, NULL, "the port is closed or has a worker already");
		return NULL;
	}
	return h;
}

struct worker_handle {
	struct sc_worker *worker;	/* NULL before the start and after the stop */
	struct counters *counters;
	struct sc_worker_status last;	/* when it was stopped */
	enum sc_worker_role role;
};

/* Also the environment's cleanup hook: a worker thread of Node.js may end, and with it
 * what its finalizers would need, while ours runs. */
static void stop_worker(void *data)
{
	struct worker_handle *h = data;

	if (!h->worker)
		return;
	sc_worker_look(h->worker, &h->last);
	sc_worker_stop(h->worker);
	h->worker = NULL;
}

static void finalize_worker(napi_env env, void *data, void *hint)
{
	struct worker_handle *h = data;

	(void)hint;
	napi_remove_env_cleanup_hook(env, stop_worker, h);
	stop_worker(h);
	drop_counters(h->counters);
	free(h);
}

static napi_value worker_stop(napi_env env, napi_callback_info info)
{
	struct worker_handle *h;
	struct call c;

	if (get_call(env, info, &c) && (h = get_handle(env, c.self, &worker_tag)))
		stop_worker(h);
	return NULL;
}

static napi_value worker_status(napi_env env, napi_callback_info info)
{
	struct worker_handle *h;
	napi_value object, view;
	struct call c;

	if (!get_call(env, info, &c) || !(h = get_handle(env, c.self, &worker_tag)))
		return NULL;
	if (h->worker)
		sc_worker_look(h->worker, &h->last);
	TRY(napi_create_object(env, &object));
	if (!set_number(env, object, "errno", -h->last.error) ||
	    !set_number(env, object, "busyUs", (double)h->last.busy_us) ||
	    !set_number(env, object, "loops", (double)h->last.loops))
		return failed(env);
	if (h->role == SC_WORKER_NODE) {
		view = make_view(env, &h->last.view);
		if (!view)
			return NULL;
	} else {
		TRY(napi_get_null(env, &view));
	}
	TRY(napi_set_named_property(env, object, "view", view));
	return object;
}

/* Has the flows of each backend counted anew. */
static napi_value worker_survey(napi_env env, napi_callback_info info)
{
	struct worker_handle *h;
	struct call c;

	if (!get_call(env, info, &c) || !(h = get_handle(env, c.self, &worker_tag)))
		return NULL;
	if (h->role != SC_WORKER_NODE)
		return wrong(env, "expected a worker that is a node");
	if (h->worker)
		sc_worker_survey(h->worker);
	return NULL;
}

/* (generation): the handle's counters are others afterwards. */
static napi_value worker_adopt(napi_env env, napi_callback_info info)
{
	const char *step = "worker";
	struct sc_generation *g;
	struct worker_handle *h;
	struct counters *fresh;
	struct call c;
	int err;

	if (!get_call(env, info, &c) || !(h = get_handle(env, c.self, &worker_tag)))
		return NULL;
	if (h->role == SC_WORKER_SPLITTER)
		return wrong(env, "expected a worker that goes by a generation");
	if (!h->worker)
		return fail(env, -ESHUTDOWN, step);
	if (!(g = load_generation(env, c.arg[0])))
		return NULL;
	fresh = new_counters(sc_counter_slots(g));
	if (!fresh) {
		sc_generation_free(g);
		return fail(env, -ENOMEM, "counters");
	}
	err = sc_worker_adopt(h->worker, g, fresh->values, &step);
	if (err) {
		drop_counters(fresh);
		return fail(env, err, step);
	}
	drop_counters(h->counters);
	h->counters = fresh;
	return set_counters(env, c.self, fresh) ? NULL : failed(env);
}

/* (generation that it goes by, packet): runs the packet in a copy of the node */
static napi_value worker_explain(napi_env env, napi_callback_info info)
{
	const struct sc_node_options options = { .boot_id = 1, .flow_entries = 1 };
	struct sc_generation *g = NULL;
	struct counters *counters = NULL;
	struct sc_node *copy = NULL;
	napi_value result = NULL;
	struct worker_handle *h;
	struct sc_packet p;
	const uint8_t *data;
	uint64_t flow;
	struct call c;
	size_t len;
	int err;

	if (!get_call(env, info, &c) || !(h = get_handle(env, c.self, &worker_tag)) ||
	    !sc_napi_get_packet(env, c.arg[1], &data, &len))
		return NULL;
	if (h->role != SC_WORKER_NODE)
		return wrong(env, "expected a worker that is a node");
	if (!h->worker)
		return fail(env, -ESHUTDOWN, "worker");
	if (!(g = load_generation(env, c.arg[0])))
		return NULL;
	counters = new_counters(sc_counter_slots(g));
	err = counters ? sc_node_new(&options, g, counters->values, &copy) : -ENOMEM;
	if (err) {
		sc_generation_free(g);
		drop_counters(counters);
		return fail(env, err, "node");
	}
	p = (struct sc_packet){ .data = (uint8_t *)data, .len = (uint32_t)len };
	sc_explain_flow(copy, &p, &flow);
	err = sc_worker_copy(h->worker, copy, flow);
	if (err)
		fail(env, err, "worker");
	else
		result = sc_napi_explain(env, copy, data, len, 0);
	sc_node_free(copy);
	drop_counters(counters);
	return result;
}

/* (client, VIP, source port, destination port, backend id): whether it was done */
static napi_value worker_pin(napi_env env, napi_callback_info info)
{
	uint32_t sport, dport;
	struct worker_handle *h;
	struct sc_pin pin;
	napi_value result;
	struct call c;
	int err;

	if (!get_call(env, info, &c) || !(h = get_handle(env, c.self, &worker_tag)) ||
	    !get_address(env, c.arg[0], &pin.client) || !get_address(env, c.arg[1], &pin.vip) ||
	    !get_number(env, c.arg[2], UINT16_MAX, &sport) || !get_number(env, c.arg[3], UINT16_MAX, &dport) ||
	    !get_number(env, c.arg[4], UINT32_MAX, &pin.backend))
		return NULL;
	if (h->role != SC_WORKER_NODE)
		return wrong(env, "expected a worker that is a node");
	if (!h->worker)
		return fail(env, -ESHUTDOWN, "worker");
	pin.sport = (uint16_t)sport;
	pin.dport = (uint16_t)dport;
	err = sc_worker_pin(h->worker, &pin);
	if (err < 0)
		return fail(env, err, "worker");
	TRY(napi_get_boolean(env, err == 1, &result));
	return result;
}

/* A handle without a worker yet. */
static napi_value make_worker(napi_env env, size_t counters, enum sc_worker_role role,
			      struct worker_handle **out)
{
	static const napi_property_descriptor methods[] = {
		{ .utf8name = "stop", .method = worker_stop, .attributes = napi_enumerable },
		{ .utf8name = "status", .method = worker_status, .attributes = napi_enumerable },
		{ .utf8name = "adopt", .method = worker_adopt, .attributes = napi_enumerable },
		{ .utf8name = "survey", .method = worker_survey, .attributes = napi_enumerable },
		{ .utf8name = "pin", .method = worker_pin, .attributes = napi_enumerable },
		{ .utf8name = "explain", .method = worker_explain, .attributes = napi_enumerable },
	};
	struct worker_handle *h = calloc(1, sizeof(*h));
	napi_value object;

	if (h)
		h->counters = new_counters(counters);
	if (!h || !h->counters) {
		free(h);
		return fail(env, -ENOMEM, "counters");
	}
	h->role = role;
	napi_add_env_cleanup_hook(env, stop_worker, h);
	object = make_handle(env, h, &worker_tag, finalize_worker, methods, sizeof(methods) / sizeof(*methods));
	if (object && !set_counters(env, object, h->counters))
		return failed(env);
	*out = h;
	return object;
}

/* false: thrown, nothing taken over. */
static bool start_worker(napi_env env, struct worker_handle *h, struct sc_worker_config *config)
{
	const char *step;
	int err;

	config->counters = h->counters->values;
	err = sc_worker_start(config, &h->worker, &step);
	if (err)
		fail(env, err, step);
	return !err;
}

/* The machine's boot: 16 bytes as text, "01234567-89ab-...". */
static bool read_clock(uint8_t clock[16])
{
	FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
	bool whole = f != NULL;

	for (int i = 0; whole && i < 16; i++) {
		unsigned int byte = 0;

		whole = fscanf(f, "%*[-]") != EOF && fscanf(f, "%2x", &byte) == 1;
		clock[i] = (uint8_t)byte;
	}
	if (f)
		fclose(f);
	return whole;
}

/* path: a string, or null for a node without a memory. */
static bool open_memory(napi_env env, napi_value path, const struct sc_generation *g,
			struct sc_node_options *o, struct sc_memory_file **out)
{
	struct sc_memory_id id = { .hash_seed = g->h.hash_seed, .node = g->h.self };
	const char *step = "memory: /proc/sys/kernel/random/boot_id";
	napi_valuetype type;
	char text[PATH_MAX];
	int err = -ENOENT;

	*out = NULL;
	if (napi_typeof(env, path, &type) == napi_ok && type == napi_null)
		return true;
	if (!get_text(env, path, text, sizeof(text)))
		return false;
	if (read_clock(id.clock))
		err = sc_memory_file_open(text, o->flow_entries, &id, out, &step);
	if (err) {
		fail(env, err, step);
		return false;
	}
	o->memory = sc_memory_file_view(*out).region;
	o->past = sc_memory_file_view(*out).past;
	return true;
}

/* memory: null, or whether an earlier life is recalled, and why not. */
static bool set_memory(napi_env env, napi_value object, const struct sc_memory_file *f)
{
	napi_value memory, none;

	if (napi_get_null(env, &none) != napi_ok)
		return false;
	if (!f)
		return napi_set_named_property(env, object, "memory", none) == napi_ok;
	return napi_create_object(env, &memory) == napi_ok &&
	       set_bool(env, memory, "recalls", sc_memory_file_view(f).past != NULL) &&
	       (sc_memory_file_view(f).doubt ?
			set_text(env, memory, "doubt", sc_memory_file_view(f).doubt) :
			napi_set_named_property(env, memory, "doubt", none) == napi_ok) &&
	       napi_set_named_property(env, object, "memory", memory) == napi_ok;
}

/* What start_node() has made for the worker to take over. false: thrown, nothing left. */
static bool make_node(napi_env env, const struct call *c, struct sc_worker_config *config,
		      napi_value *object, struct worker_handle **h)
{
	struct sc_node_options options = { 0 };
	struct sc_generation *g;
	int err;

	if (!get_node_options(env, c->arg[4], c->arg[5], &options) ||
	    !(g = load_generation(env, c->arg[3])))
		return false;
	if (!open_memory(env, c->arg[6], g, &options, &config->memory)) {
		sc_generation_free(g);
		return false;
	}
	*object = make_worker(env, sc_counter_slots(g), SC_WORKER_NODE, h);
	if (*object && set_memory(env, *object, config->memory)) {
		err = sc_node_new(&options, g, (*h)->counters->values, &config->node);
		if (!err)
			return true;
		fail(env, err, "node");
	} else {
		failed(env);
	}
	sc_memory_file_close(config->memory);
	sc_generation_free(g);
	return false;
}

/* (port, address, UDP port, generation, boot id, flow entries, memory's path or null) */
napi_value sc_napi_start_node(napi_env env, napi_callback_info info)
{
	struct sc_worker_config config = { .role = SC_WORKER_NODE };
	struct worker_handle *h;
	struct port_handle *port;
	napi_value object;
	struct call c;
	uint32_t udp_port;

	if (!get_call(env, info, &c) || !(port = get_port(env, c.arg[0])) ||
	    !get_address(env, c.arg[1], &config.address) ||
	    !get_number(env, c.arg[2], UINT16_MAX, &udp_port) ||
	    !make_node(env, &c, &config, &object, &h))
		return NULL;
	config.port = port->port;
	config.udp_port = (uint16_t)udp_port;
	if (!start_worker(env, h, &config)) {
		sc_node_free(config.node);
		sc_memory_file_close(config.memory);
		return NULL;
	}
	port->port = NULL;
	return object;
}

/* (port, address, UDP port, generation, PoP id) */
napi_value sc_napi_start_backend(napi_env env, napi_callback_info info)
{
	struct sc_worker_config config = { .role = SC_WORKER_BACKEND };
	struct worker_handle *h;
	struct port_handle *port;
	napi_value object;
	struct call c;
	uint32_t udp_port, pop;

	if (!get_call(env, info, &c) || !(port = get_port(env, c.arg[0])) ||
	    !get_address(env, c.arg[1], &config.address) ||
	    !get_number(env, c.arg[2], UINT16_MAX, &udp_port) ||
	    !get_number(env, c.arg[4], UINT16_MAX, &pop) ||
	    !(config.generation = load_generation(env, c.arg[3])))
		return NULL;
	config.port = port->port;
	config.udp_port = (uint16_t)udp_port;
	config.pop = (uint16_t)pop;
	object = make_worker(env, sc_counter_slots(config.generation), SC_WORKER_BACKEND, &h);
	if (!object || !start_worker(env, h, &config)) {
		sc_generation_free(config.generation);
		return NULL;
	}
	port->port = NULL;
	return object;
}

/* (input port, output port, output port) */
napi_value sc_napi_start_splitter(napi_env env, napi_callback_info info)
{
	struct sc_worker_config config = { .role = SC_WORKER_SPLITTER };
	struct port_handle *ports[3];
	struct worker_handle *h;
	napi_value object;
	struct call c;

	if (!get_call(env, info, &c))
		return NULL;
	for (int i = 0; i < 3; i++) {
		ports[i] = get_port(env, c.arg[i]);
		if (!ports[i])
			return NULL;
	}
	if (ports[0] == ports[1] || ports[0] == ports[2] || ports[1] == ports[2])
		return wrong(env, "expected three different ports");
	config.port = ports[0]->port;
	config.split[0] = ports[1]->port;
	config.split[1] = ports[2]->port;
	object = make_worker(env, SC_COUNTER_COUNT, SC_WORKER_SPLITTER, &h);
	if (!object || !start_worker(env, h, &config))
		return NULL;
	for (int i = 0; i < 3; i++)
		ports[i]->port = NULL;
	return object;
}
