/* The TUN port: one device, one file descriptor, a virtio-net header in front of
 * every packet, so that local TCP stacks may hand over super-packets and leave
 * checksums to us. See port.h. */
#include "port.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "vnet.h"

/* Newer than the headers of the oldest systems we build on. */
#define SC_TUN_F_USO4	0x20
#define SC_TUN_F_USO6	0x40

/* Packets the device queues for us; the kernel's default of 500 is less than 1 ms
 * of small packets. */
#define SC_TUN_QUEUE	4096

struct tun_port {
	struct sc_port port;
	struct sc_vnet current;		/* points into buffer */
	uint8_t buffer[SC_SUPER_MAX];
};

/* 1: a packet was taken in; 0: none there; -errno. */
static int read_one(struct tun_port *t)
{
	struct virtio_net_hdr h;
	struct iovec iov[2] = {
		{ .iov_base = &h, .iov_len = sizeof(h) },
		{ .iov_base = t->buffer, .iov_len = sizeof(t->buffer) },
	};
	ssize_t n;

	do {
		n = readv(t->port.fd, iov, 2);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	if ((size_t)n < sizeof(h) ||
	    sc_vnet_take(&t->current, &h, t->buffer, (uint32_t)((size_t)n - sizeof(h))))
		t->port.rx_dropped++;
	return 1;
}

static int tun_receive(struct sc_port *port, struct sc_packet *burst, unsigned int n)
{
	struct tun_port *t = (struct tun_port *)port;
	unsigned int got = 0;
	unsigned int reads = 0;

	while (got < n) {
		int err;

		if (sc_vnet_next(&t->current, &burst[got])) {
			got++;
			continue;
		}
		if (reads++ == n)	/* all of them dropped: let others have their turn */
			break;
		err = read_one(t);
		if (err < 0 && !got)
			return err;
		if (err <= 0)
			break;
	}
	return (int)got;
}

static int tun_send(struct sc_port *port, struct sc_packet *burst, unsigned int n)
{
	struct virtio_net_hdr h = { .gso_type = VIRTIO_NET_HDR_GSO_NONE };
	int sent = 0;

	for (unsigned int i = 0; i < n; i++) {
		struct iovec iov[2] = {
			{ .iov_base = &h, .iov_len = sizeof(h) },
			{ .iov_base = burst[i].data, .iov_len = burst[i].len },
		};
		ssize_t written;

		do {
			written = writev(port->fd, iov, 2);
		} while (written < 0 && errno == EINTR);
		if (written >= 0) {
			sent++;
			continue;
		}
		port->tx_errors++;
		burst[i].len = 0;
		if (errno == EBADFD || errno == ENODEV) {
			for (i++; i < n; i++) {
				port->tx_errors++;
				burst[i].len = 0;
			}
			return sent ? sent : -ENODEV;
		}
	}
	return sent;
}

static void tun_close(struct sc_port *port)
{
	close(port->fd);
	free(port);
}

static const struct sc_port_ops tun_ops = {
	.receive = tun_receive,
	.send = tun_send,
	.close = tun_close,
};

static void set_queue(const char *name)
{
	struct ifreq ifr = { .ifr_qlen = SC_TUN_QUEUE };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return;
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	/* A shorter queue works as well, only worse. */
	(void)!ioctl(fd, SIOCSIFTXQLEN, &ifr);
	close(fd);
}

static int create_device(int fd, const char *name)
{
	struct ifreq ifr = { .ifr_flags = 0 };
	unsigned long offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
	int header_len = sizeof(struct virtio_net_hdr);

	/* IFF_TUN_EXCL lies beyond a short's positive half. */
	ifr.ifr_flags = (short)(IFF_TUN | IFF_NO_PI | IFF_VNET_HDR | IFF_TUN_EXCL);
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (ioctl(fd, TUNSETIFF, &ifr)) {
		/* Of a name that another kind of device has, the kernel says EINVAL. */
		if (errno == EINVAL && if_nametoindex(name))
			return -EBUSY;
		return -errno;
	}
	if (ioctl(fd, TUNSETVNETHDRSZ, &header_len))
		return -errno;
	if (ioctl(fd, TUNSETOFFLOAD, offloads | SC_TUN_F_USO4 | SC_TUN_F_USO6) &&
	    ioctl(fd, TUNSETOFFLOAD, offloads))
		return -errno;
	return 0;
}

int sc_port_tun_open(const char *name, struct sc_port **out)
{
	struct tun_port *t;
	int fd, err;

	if (!name[0] || strlen(name) >= IFNAMSIZ)
		return -EINVAL;
	fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = create_device(fd, name);
	if (err) {
		close(fd);
		return err;
	}
	set_queue(name);
	t = calloc(1, sizeof(*t));
	if (!t) {
		close(fd);
		return -ENOMEM;
	}
	t->port.ops = &tun_ops;
	t->port.fd = fd;
	*out = &t->port;
	return 0;
}
