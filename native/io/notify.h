/* One datagram to whoever supervises this process: the protocol of sd_notify(3), without
 * libsystemd. Called by napi_notify.c. Guarantees: never blocks; nothing stays open. */
#ifndef SC_NOTIFY_H
#define SC_NOTIFY_H

#include <stddef.h>

/* socket: NOTIFY_SOCKET, a path or an abstract name behind '@'. -EINVAL for another kind of
 * name (vsock, say), -ENAMETOOLONG, and what the kernel says: -ENOENT, -EAGAIN, ... */
int sc_notify(const char *socket, const char *text, size_t len);

#endif
