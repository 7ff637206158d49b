/* What every socket of the I/O side needs. Called by port_packet.c and worker.c. */
#ifndef SC_SOCKET_H
#define SC_SOCKET_H

#include <sys/socket.h>

enum {
	/* Bytes a socket may hold each way, as the kernel counts them (a small packet
	 * costs about 800): some 10 ms of a full link. Without the privilege the
	 * system's own maximum stays. */
	SC_SOCKET_BUFFER = 8 * 1024 * 1024,
};

void sc_receive_buffer(int fd);
void sc_send_buffer(int fd);

/* Sends n messages without blocking. A message the kernel refuses is not tried
 * again; when its queue is full, neither are those behind it. Returns how many were
 * refused and writes their indexes, ascending, to refused[n]. */
unsigned int sc_send_all(int fd, struct mmsghdr *messages, unsigned int n, unsigned int *refused);

#endif
