/* The exports about the process itself, `notify` and `noCores`: conversion only. Called by napi.c. */
#include "napi_worker.h"

#include "io/cores.h"
#include "io/notify.h"

enum { SOCKET_NAME_SIZE = 109, TEXT_SIZE = 4096 };

/* (socket, text) */
napi_value sc_napi_notify(napi_env env, napi_callback_info info)
{
	char socket[SOCKET_NAME_SIZE], text[TEXT_SIZE];
	struct call c;
	int err;

	if (!get_call(env, info, &c) || !get_text(env, c.arg[0], socket, sizeof(socket)) ||
	    !get_text(env, c.arg[1], text, sizeof(text)))
		return NULL;
	err = sc_notify(socket, text, strlen(text));
	return err ? fail(env, err, "notification") : NULL;
}

napi_value sc_napi_no_cores(napi_env env, napi_callback_info info)
{
	int err = sc_no_cores();

	(void)info;
	return err ? fail(env, err, "no core files") : NULL;
}
