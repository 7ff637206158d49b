/* Values on their way between JavaScript and C: arguments, errors, results, handles,
 * counters. Called by napi.c and napi_worker.c. Guarantees: whatever returns NULL or false on the
 * way in has thrown. */
#ifndef SC_NAPI_CONVERT_H
#define SC_NAPI_CONVERT_H

#include <node_api.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "node.h"

/* Only for calls that fail when an exception is pending or memory has run out. */
#define TRY(call)                           \
	do {                                \
		if ((call) != napi_ok)      \
			return failed(env); \
	} while (0)

static inline napi_value failed(napi_env env)
{
	bool pending = false;

	napi_is_exception_pending(env, &pending);
	if (!pending)
		napi_throw_error(env, NULL, "steadycast.node: a Node-API call failed");
	return NULL;
}

static inline napi_value wrong(napi_env env, const char *what)
{
	napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", what);
	return NULL;
}

/* Throws an Error with errno (positive) and step; addon.ts adds code. err: negative. */
static inline napi_value fail(napi_env env, int err, const char *step)
{
	char text[256], buffer[128];
	napi_value message, error, value;

	snprintf(text, sizeof(text), "%s: %s", step, strerror_r(-err, buffer, sizeof(buffer)));
	TRY(napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &message));
	TRY(napi_create_error(env, NULL, message, &error));
	TRY(napi_create_int32(env, -err, &value));
	TRY(napi_set_named_property(env, error, "errno", value));
	TRY(napi_create_string_utf8(env, step, NAPI_AUTO_LENGTH, &value));
	TRY(napi_set_named_property(env, error, "step", value));
	napi_throw(env, error);
	return NULL;
}

/* Arguments. Each getter throws and returns false when the value will not do. */

enum { ARGS_MAX = 7 };

struct call {
	napi_value self;
	napi_value arg[ARGS_MAX];
};

static inline bool get_call(napi_env env, napi_callback_info info, struct call *c)
{
	size_t n = ARGS_MAX;

	/* Missing arguments are undefined. */
	if (napi_get_cb_info(env, info, &n, c->arg, &c->self, NULL) == napi_ok)
		return true;
	failed(env);
	return false;
}

static inline bool get_number(napi_env env, napi_value v, uint32_t max, uint32_t *out)
{
	double d;

	if (napi_get_value_double(env, v, &d) == napi_ok && d >= 0 && d <= max) {
		*out = (uint32_t)d;
		return true;
	}
	wrong(env, "expected a number in range");
	return false;
}

static inline bool get_bigint(napi_env env, napi_value v, uint64_t *out)
{
	bool lossless;

	if (napi_get_value_bigint_uint64(env, v, out, &lossless) == napi_ok && lossless)
		return true;
	wrong(env, "expected a bigint of 64 bits");
	return false;
}

static inline bool get_bytes(napi_env env, napi_value v, const uint8_t **data, size_t *len)
{
	napi_typedarray_type type;
	bool is = false;
	void *p;

	if (napi_is_typedarray(env, v, &is) == napi_ok && is &&
	    napi_get_typedarray_info(env, v, &type, len, &p, NULL, NULL) == napi_ok &&
	    type == napi_uint8_array) {
		/* Of an empty array the pointer may be NULL, which memcpy() must not see. */
		*data = *len ? p : (const uint8_t *)"";
		return true;
	}
	wrong(env, "expected a Uint8Array");
	return false;
}

static inline bool get_address(napi_env env, napi_value v, struct sc_addr *out)
{
	const uint8_t *data;
	size_t len;

	if (!get_bytes(env, v, &data, &len))
		return false;
	if (len == sizeof(out->b)) {
		memcpy(out->b, data, sizeof(out->b));
		return true;
	}
	wrong(env, "expected an address of 16 bytes");
	return false;
}

static inline bool get_text(napi_env env, napi_value v, char *out, size_t size)
{
	size_t len;

	if (napi_get_value_string_utf8(env, v, out, size, &len) == napi_ok && len < size - 1)
		return true;
	wrong(env, "expected a short string");
	return false;
}

/* Results. */

static inline bool set_number(napi_env env, napi_value object, const char *name, double v)
{
	napi_value value;

	return napi_create_double(env, v, &value) == napi_ok &&
	       napi_set_named_property(env, object, name, value) == napi_ok;
}

static inline bool set_bool(napi_env env, napi_value object, const char *name, bool v)
{
	napi_value value;

	return napi_get_boolean(env, v, &value) == napi_ok &&
	       napi_set_named_property(env, object, name, value) == napi_ok;
}

static inline bool set_text(napi_env env, napi_value object, const char *name, const char *v)
{
	napi_value value;

	return napi_create_string_utf8(env, v, NAPI_AUTO_LENGTH, &value) == napi_ok &&
	       napi_set_named_property(env, object, name, value) == napi_ok;
}

/* Handles: JavaScript objects around one C pointer. */

static inline napi_value make_handle(napi_env env, void *data, const napi_type_tag *tag,
			      napi_finalize finalize, const napi_property_descriptor *properties,
			      size_t n)
{
	napi_value object;

	if (napi_create_object(env, &object) == napi_ok &&
	    napi_define_properties(env, object, n, properties) == napi_ok &&
	    napi_wrap(env, object, data, finalize, NULL, NULL) == napi_ok) {
		TRY(napi_type_tag_object(env, object, tag));
		return object;
	}
	finalize(env, data, NULL);
	return failed(env);
}

static inline void *get_handle(napi_env env, napi_value object, const napi_type_tag *tag)
{
	bool is = false;
	void *data;

	if (napi_check_object_type_tag(env, object, tag, &is) == napi_ok && is &&
	    napi_unwrap(env, object, &data) == napi_ok)
		return data;
	/* An exception of the check would hide what is wrong. */
	napi_get_and_clear_last_exception(env, &object);
	wrong(env, "expected a handle of this addon");
	return NULL;
}

/* Counters: shared by the thread that writes them and a BigUint64Array, freed when
 * neither is left. */

struct counters {
	atomic_uint users;
	size_t n;
	uint64_t *values;
};

static inline struct counters *new_counters(size_t n)
{
	struct counters *c = calloc(1, sizeof(*c));
	size_t size = (n * sizeof(uint64_t) + 63) & ~(size_t)63;

	if (!c)
		return NULL;
	c->values = aligned_alloc(64, size);
	if (!c->values) {
		free(c);
		return NULL;
	}
	memset(c->values, 0, size);
	c->n = n;
	c->users = 1;
	return c;
}

static inline void drop_counters(struct counters *c)
{
	if (c && atomic_fetch_sub(&c->users, 1) == 1) {
		free(c->values);
		free(c);
	}
}

static inline void finalize_counters(napi_env env, void *data, void *hint)
{
	(void)env;
	(void)data;
	drop_counters(hint);
}

static inline bool set_counters(napi_env env, napi_value object, struct counters *c)
{
	napi_value buffer, array;

	atomic_fetch_add(&c->users, 1);
	if (napi_create_external_arraybuffer(env, c->values, c->n * sizeof(uint64_t),
					     finalize_counters, c, &buffer) != napi_ok) {
		drop_counters(c);
		return false;
	}
	return napi_create_typedarray(env, napi_biguint64_array, c->n, buffer, 0, &array) == napi_ok &&
	       napi_set_named_property(env, object, "counters", array) == napi_ok;
}

/* Views. */

/* Rows of services, or null while it has not told. */
static inline bool set_unserved(napi_env env, napi_value peer, const struct sc_peer_view *p, napi_value none)
{
	napi_value rows, row;
	uint32_t n = 0;

	if (!p->told)
		return napi_set_named_property(env, peer, "unserved", none) == napi_ok;
	if (napi_create_array(env, &rows) != napi_ok)
		return false;
	for (uint32_t i = 0; i < SC_MAX_SERVICES; i++)
		if (p->unserved[i / 64] >> i % 64 & 1 &&
		    (napi_create_uint32(env, i, &row) != napi_ok || napi_set_element(env, rows, n++, row) != napi_ok))
			return false;
	return napi_set_named_property(env, peer, "unserved", rows) == napi_ok;
}

static inline bool set_peers(napi_env env, napi_value object, const struct sc_node_view *v)
{
	napi_value peers, peer, none;

	if (napi_create_array_with_length(env, v->npeers, &peers) != napi_ok ||
	    napi_get_null(env, &none) != napi_ok)
		return false;
	for (uint32_t i = 0; i < v->npeers; i++) {
		const struct sc_peer_view *p = &v->peers[i];

		if (napi_create_object(env, &peer) != napi_ok ||
		    !set_number(env, peer, "nodeId", p->id) ||
		    !set_number(env, peer, "popId", p->pop) ||
		    !set_bool(env, peer, "up", p->up) ||
		    !set_bool(env, peer, "filled", p->filled) ||
		    !set_bool(env, peer, "peerFilled", p->peer_filled) ||
		    !set_number(env, peer, "version", p->version) ||
		    !set_number(env, peer, "unacked", p->unacked) ||
		    !set_bool(env, peer, "draining", p->draining) ||
		    !set_bool(env, peer, "silent", p->silent) ||
		    !set_number(env, peer, "fleetDigest", p->fleet_digest) ||
		    !set_unserved(env, peer, p, none) ||
		    !(p->rtt_us ? set_number(env, peer, "rttUs", p->rtt_us) :
				  napi_set_named_property(env, peer, "rttUs", none) == napi_ok) ||
		    napi_set_element(env, peers, i, peer) != napi_ok)
			return false;
	}
	return napi_set_named_property(env, object, "peers", peers) == napi_ok;
}

static inline napi_value make_view(napi_env env, const struct sc_node_view *v)
{
	napi_value object;

	TRY(napi_create_object(env, &object));
	if (set_number(env, object, "flowCapacity", v->flow_capacity) &&
	    set_number(env, object, "flowsHalfOpen", v->flows_half_open) &&
	    set_number(env, object, "flowsEstablished", v->flows_established) &&
	    set_number(env, object, "flowsClosing", v->flows_closing) &&
	    set_bool(env, object, "filled", v->filled) &&
	    set_bool(env, object, "certain", v->certain) &&
	    set_bool(env, object, "withholds", v->withholds) &&
	    set_bool(env, object, "recalling", v->recalling) &&
	    (v->counted_ms == UINT32_MAX || set_number(env, object, "countedMs", v->counted_ms)) && set_peers(env, object, v))
		return object;
	return failed(env);
}

#endif
