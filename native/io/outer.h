/* The outer side of GUE: receives from the UDP socket and puts the IP and UDP
 * headers that the kernel has taken off back in front, sends whole outer packets
 * through raw sockets. Called by worker.c, one thread. Guarantees: what it hands
 * over has valid lengths and an IPv4 header checksum; the UDP checksum is 0, since
 * the kernel has verified it. */
#ifndef SC_OUTER_H
#define SC_OUTER_H

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "../packet.h"

union sc_sockaddr {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

struct sc_outer {
	int udp_fd;		/* for poll() */
	int raw4_fd, raw6_fd;	/* -1: nothing can be sent in this family */
	uint32_t header_len;	/* of IP and UDP together */
	uint8_t header[48];	/* what all packets received have in common */
	uint64_t too_long;	/* received, but longer than SC_PACKET_MAX */

	struct mmsghdr messages[SC_OUT_MAX];
	struct iovec iov[SC_OUT_MAX];
	union sc_sockaddr names[SC_OUT_MAX];
	uint32_t tx_index[SC_OUT_MAX];	/* of a message: which packet */
};

/* Opens the UDP socket on address and port and the raw sockets. *what names the step
 * that failed. */
int sc_outer_open(struct sc_outer *o, const struct sc_addr *address, uint16_t port,
		  const char **what);
void sc_outer_close(struct sc_outer *o);

/* Receives up to n packets (n <= SC_BURST_MAX). burst[i].data points SC_HEADROOM bytes
 * into a buffer with room for SC_PACKET_MAX behind it, as for a port. Returns how
 * many. Never blocks. */
unsigned int sc_outer_receive(struct sc_outer *o, struct sc_packet *burst, unsigned int n);

/* Sends n whole outer packets (n <= SC_OUT_MAX). What the kernel refuses gets len 0.
 * Returns how many it refused. Never blocks. */
unsigned int sc_outer_send(struct sc_outer *o, struct sc_packet *packets, unsigned int n);

#endif
