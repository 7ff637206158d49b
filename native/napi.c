/*
 * The Node-API face of the data path: conversion and lifetimes only.
 *
 * Owns the exports of steadycast.node; called by src/dataplane. Guarantees
 * that no C pointer reaches JavaScript except wrapped with a finalizer, and
 * that a failed conversion throws instead of continuing.
 */
#include <node_api.h>

#define SC_NATIVE_VERSION "0.1.0"

static napi_value sc_napi_version(napi_env env, napi_callback_info info)
{
	napi_value result;

	(void)info;
	if (napi_create_string_utf8(env, SC_NATIVE_VERSION, NAPI_AUTO_LENGTH, &result) != napi_ok)
		return NULL;
	return result;
}

static const napi_property_descriptor sc_napi_exports[] = {
	{ .utf8name = "version", .method = sc_napi_version, .attributes = napi_enumerable },
};

NAPI_MODULE_INIT()
{
	size_t count = sizeof(sc_napi_exports) / sizeof(sc_napi_exports[0]);

	if (napi_define_properties(env, exports, count, sc_napi_exports) != napi_ok)
		return NULL;
	return exports;
}
