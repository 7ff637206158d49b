/* The counter table of reason.h as data: read by napi.c for metric names and docs. */
#include "reason.h"

const struct sc_counter_info sc_counter_table[SC_COUNTER_COUNT] = {
#define X(name, help) { "drop", #name, help },
	SC_DROPS(X)
#undef X
#define X(name, help) { "exit", #name, help },
	SC_EXITS(X)
#undef X
#define X(name, help) { "event", #name, help },
	SC_EVENTS(X)
#undef X
};
