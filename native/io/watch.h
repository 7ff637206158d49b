/* The thread of `observe`: reads what a device receives and hands it to an observer. Sends nothing, changes nothing: the
 * kernel gives it copies. Called by napi_observe.c. Guarantees: JavaScript is never entered; stop() joins the thread. */
#ifndef SC_WATCH_H
#define SC_WATCH_H

#include "../observe.h"

struct sc_watch;

/* Takes o over when it succeeds. -ENODEV, -EPERM, ... */
int sc_watch_start(const char *device, struct sc_observer *o, struct sc_watch **out);

/* error: 0, or the -errno that ended the watching. lost: packets that the kernel had no room for. */
void sc_watch_look(struct sc_watch *w, struct sc_observe_report *report, int *error, uint64_t *lost);
void sc_watch_stop(struct sc_watch *w);

#endif
