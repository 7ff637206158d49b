/* Packet I/O: one interface shaped for bursts, behind it TUN, an AF_PACKET
 * socket on a veth's end, memory and pcap files. Called by worker.c, tests and
 * benchmarks. A port hands over whole, wire-sized IP packets with full checksums:
 * super-packets and partial checksums of local TCP stacks (virtio-net header) are
 * cut and finished inside (segment.c). */
#ifndef SC_PORT_H
#define SC_PORT_H

#include "../packet.h"

struct sc_port;

struct sc_port_ops {
	/* Receives up to n packets (n <= SC_BURST_MAX). On entry burst[i].data of each
	 * points SC_HEADROOM bytes into a buffer with room for SC_PACKET_MAX bytes
	 * behind it; on return data and len are set. Returns how many, 0 when nothing
	 * is there now, -errno. Never blocks. Packets that cannot be handed over are
	 * counted in port->rx_dropped. */
	int (*receive)(struct sc_port *port, struct sc_packet *burst, unsigned int n);

	/* Sends n whole IP packets. Returns how many were taken, -errno when the
	 * device is gone. A packet the device refuses gets len 0, is counted in
	 * port->tx_errors and not retried. Never blocks. */
	int (*send)(struct sc_port *port, struct sc_packet *burst, unsigned int n);

	void (*close)(struct sc_port *port);
};

struct sc_port {
	const struct sc_port_ops *ops;
	int fd;			/* for poll(), -1 when there is none */
	uint64_t rx_dropped;
	uint64_t tx_errors;
};

/* Opens (creates) TUN device name: IFF_VNET_HDR, TSO and checksum offloads taken.
 * The device is neither up nor addressed. -errno: -EBUSY name in use, -EPERM,
 * -ENOENT no /dev/net/tun. */
int sc_port_tun_open(const char *name, struct sc_port **out);

/* Opens an AF_PACKET socket on Ethernet device name (one end of a veth pair whose
 * other end, peer, is this machine's). */
int sc_port_packet_open(const char *name, const char *peer, struct sc_port **out);

/* A port in memory: what is pushed is received, what is sent can be taken.
 * capacity packets each way. */
int sc_port_memory_open(unsigned int capacity, struct sc_port **out);
int sc_port_memory_push(struct sc_port *port, const uint8_t *data, uint32_t len);
int sc_port_memory_take(struct sc_port *port, uint8_t *data, uint32_t size);	/* length, 0 when empty */

/* Reads packets from pcap file in (LINKTYPE_RAW, ETHERNET, LINUX_SLL, LINUX_SLL2;
 * either byte order, micro- or nanoseconds; NULL: none) and writes what is sent to
 * pcap file out (LINKTYPE_RAW, at the time of the packet received last; NULL:
 * discard). A damaged file ends with -EBADMSG; a pcapng file or another link type
 * is -EPROTONOSUPPORT. */
int sc_port_pcap_open(const char *in, const char *out, struct sc_port **port);

/* When the packet that was received last was captured, microseconds. */
uint64_t sc_port_pcap_time_us(const struct sc_port *port);

static inline void sc_port_close(struct sc_port *port)
{
	if (port)
		port->ops->close(port);
}

#endif
