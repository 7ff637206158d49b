/* Observers as JavaScript has them: of a device, with a thread that ends with its handle or its environment, or of a pcap
 * file. See napi.c. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/limits.h>

#include "io/watch.h"
#include "napi_worker.h"

static const napi_type_tag watch_tag = { 0x1d4be0937acf5826, 0xa90e3b7c4421f6d8 };

static bool set_counts(napi_env env, napi_value object, const struct sc_observe_counts *n)
{
	return set_number(env, object, "begun", (double)n->begun) &&
	       set_number(env, object, "middle", (double)n->middle) &&
	       set_number(env, object, "wentOn", (double)n->went_on) &&
	       set_number(env, object, "stalled", (double)n->stalled) &&
	       set_number(env, object, "repeated", (double)n->repeated);
}

static bool set_columns(napi_env env, napi_value object, const struct sc_observe_report *r)
{
	napi_value array, column;

	if (napi_create_array_with_length(env, r->columns, &array) != napi_ok)
		return false;
	for (uint32_t i = 0; i < r->columns; i++)
		if (napi_create_object(env, &column) != napi_ok || !set_counts(env, column, &r->time[i]) ||
		    napi_set_element(env, array, i, column) != napi_ok)
			return false;
	return napi_set_named_property(env, object, "columns", array) == napi_ok;
}

static bool set_prefixes(napi_env env, napi_value object, const struct sc_observe_report *r)
{
	char text[INET6_ADDRSTRLEN + 4], addr[INET6_ADDRSTRLEN];
	napi_value array, prefix;
	uint32_t at = 0;

	if (napi_create_array(env, &array) != napi_ok)
		return false;
	for (uint32_t i = 0; i < SC_OBSERVE_PREFIXES; i++) {
		const struct sc_observe_prefix *p = &r->prefix[i];

		if (p->family == 0)
			continue;
		inet_ntop(p->family == 4 ? AF_INET : AF_INET6, p->addr.b + (p->family == 4 ? 12 : 0), addr, sizeof(addr));
		snprintf(text, sizeof(text), "%s/%d", addr, p->family == 4 ? SC_OBSERVE_PREFIX4 : SC_OBSERVE_PREFIX6);
		if (napi_create_object(env, &prefix) != napi_ok || !set_text(env, prefix, "prefix", text) ||
		    !set_counts(env, prefix, &p->n) || napi_set_element(env, array, at++, prefix) != napi_ok)
			return false;
	}
	return napi_set_named_property(env, object, "prefixes", array) == napi_ok;
}

static napi_value report_of(napi_env env, const struct sc_observe_report *r, int error, uint64_t lost)
{
	napi_value object;

	TRY(napi_create_object(env, &object));
	if (set_counts(env, object, &r->n) &&
	    set_number(env, object, "seconds", (double)(r->last_us - r->start_us) / SC_S) &&
	    set_number(env, object, "packets", (double)r->packets) &&
	    set_number(env, object, "others", (double)r->others) &&
	    set_number(env, object, "before", (double)r->before) &&
	    set_number(env, object, "ending", (double)r->ending) &&
	    set_number(env, object, "pending", (double)r->pending) &&
	    set_number(env, object, "unfollowed", (double)r->unfollowed) &&
	    set_number(env, object, "unplaced", (double)r->unplaced) &&
	    set_number(env, object, "lost", (double)lost) && set_number(env, object, "errno", -error) &&
	    set_number(env, object, "columnS", (double)r->column_ms / 1000) && set_columns(env, object, r) &&
	    set_prefixes(env, object, r))
		return object;
	return failed(env);
}

/* (VIPs as 17 bytes each: address, bits of 128; grace in ms; seed) */
static bool make_observer(napi_env env, const napi_value *arg, struct sc_observer **out)
{
	struct sc_observe_options o = { 0 };
	const uint8_t *vips;
	size_t len;
	int err;

	if (!get_bytes(env, arg[0], &vips, &len) || !get_number(env, arg[1], UINT32_MAX, &o.grace_ms) ||
	    !get_bigint(env, arg[2], &o.seed))
		return false;
	if (len % 17 != 0 || len / 17 > SC_OBSERVE_VIPS) {
		wrong(env, "expected at most SC_OBSERVE_VIPS prefixes of 17 bytes");
		return false;
	}
	for (; o.nvips < len / 17; o.nvips++) {
		memcpy(o.vip[o.nvips].addr.b, vips + o.nvips * 17, 16);
		o.vip[o.nvips].bits = vips[o.nvips * 17 + 16];
	}
	err = sc_observe_new(&o, out);
	if (err)
		fail(env, err, "observer");
	return !err;
}

struct watch_handle {
	struct sc_watch *watch;	/* NULL after the stop */
};

static void stop_watch(void *data)
{
	struct watch_handle *h = data;

	if (h->watch)
		sc_watch_stop(h->watch);
	h->watch = NULL;
}

static void finalize_watch(napi_env env, void *data, void *hint)
{
	(void)hint;
	napi_remove_env_cleanup_hook(env, stop_watch, data);
	stop_watch(data);
	free(data);
}

static napi_value watch_stop(napi_env env, napi_callback_info info)
{
	struct watch_handle *h;
	struct call c;

	if (get_call(env, info, &c) && (h = get_handle(env, c.self, &watch_tag)))
		stop_watch(h);
	return NULL;
}

static napi_value watch_look(napi_env env, napi_callback_info info)
{
	struct sc_observe_report *r;
	struct watch_handle *h;
	napi_value result;
	struct call c;
	uint64_t lost;
	int error;

	if (!get_call(env, info, &c) || !(h = get_handle(env, c.self, &watch_tag)))
		return NULL;
	if (!h->watch)
		return fail(env, -ESHUTDOWN, "observer");
	r = malloc(sizeof(*r));
	if (!r)
		return fail(env, -ENOMEM, "report");
	sc_watch_look(h->watch, r, &error, &lost);
	result = report_of(env, r, error, lost);
	free(r);
	return result;
}

/* (VIPs, grace, seed, device) */
napi_value sc_napi_observe_device(napi_env env, napi_callback_info info)
{
	static const napi_property_descriptor methods[] = {
		{ .utf8name = "look", .method = watch_look, .attributes = napi_enumerable },
		{ .utf8name = "stop", .method = watch_stop, .attributes = napi_enumerable },
	};
	struct sc_observer *o;
	struct watch_handle *h;
	char device[64];
	struct call c;
	int err;

	if (!get_call(env, info, &c) || !get_text(env, c.arg[3], device, sizeof(device)) ||
	    !make_observer(env, c.arg, &o))
		return NULL;
	h = calloc(1, sizeof(*h));
	err = h ? sc_watch_start(device, o, &h->watch) : -ENOMEM;
	if (err) {
		sc_observe_free(o);
		free(h);
		return fail(env, err, "packet socket");
	}
	napi_add_env_cleanup_hook(env, stop_watch, h);
	return make_handle(env, h, &watch_tag, finalize_watch, methods, 2);
}

/* (VIPs, grace, seed, path): reads all of it, or as far as it is whole; errno says why no further. */
napi_value sc_napi_observe_pcap(napi_env env, napi_callback_info info)
{
	static _Thread_local uint8_t buffer[SC_HEADROOM + SC_PACKET_MAX];
	struct sc_observer *o;
	struct sc_port *port;
	napi_value result;
	char path[PATH_MAX];
	struct sc_packet p;
	struct call c;
	bool any = false;
	int n;

	if (!get_call(env, info, &c) || !get_text(env, c.arg[3], path, sizeof(path)) ||
	    !make_observer(env, c.arg, &o))
		return NULL;
	n = sc_port_pcap_open(path, NULL, &port);
	if (n) {
		sc_observe_free(o);
		return fail(env, n, "pcap file");
	}
	for (p.data = buffer + SC_HEADROOM; (n = port->ops->receive(port, &p, 1)) > 0; p.data = buffer + SC_HEADROOM) {
		sc_observe_packet(o, p.data, p.len, sc_port_pcap_time_us(port));
		any = true;
	}
	sc_observe_settle(o);
	result = n < 0 && !any ? fail(env, n, "pcap file") : report_of(env, sc_observe_report(o), n, port->rx_dropped);
	sc_port_close(port);
	sc_observe_free(o);
	return result;
}
