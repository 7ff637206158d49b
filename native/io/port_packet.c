/* The AF_PACKET port: a raw socket on one end of a veth pair whose other end is
 * this machine's, where no TUN device can be had. With PACKET_VNET_HDR, so that
 * local TCP stacks behave as on TUN. See port.h. */
#include "port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "socket.h"
#include "vnet.h"

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING	23
#endif

/* A message as the socket gives it. */
struct slot {
	struct virtio_net_hdr h;
	struct ether_header eth;
	uint8_t packet[SC_SUPER_MAX];
};

struct packet_port {
	struct sc_port port;
	int ifindex;
	int error;			/* ended with it */
	struct ether_header to4, to6;	/* what goes in front of a packet to the peer */
	struct sc_vnet current;		/* points into a slot */
	unsigned int next, filled;	/* slots[next .. filled) wait to be taken in */
	struct mmsghdr messages[SC_BURST_MAX];
	struct iovec iov[SC_BURST_MAX][3];
	struct slot slots[SC_BURST_MAX];
};

static bool device_gone(const struct packet_port *t)
{
	struct ifreq ifr = { .ifr_ifindex = t->ifindex };

	return ioctl(t->port.fd, SIOCGIFNAME, &ifr) && errno == ENODEV;
}

/* Fills the slots. 1: there is something; 0: nothing; -errno. */
static int refill(struct packet_port *t)
{
	int n;

	for (unsigned int i = 0; i < SC_BURST_MAX; i++) {
		struct slot *s = &t->slots[i];

		t->iov[i][0] = (struct iovec){ &s->h, sizeof(s->h) };
		t->iov[i][1] = (struct iovec){ &s->eth, sizeof(s->eth) };
		t->iov[i][2] = (struct iovec){ s->packet, sizeof(s->packet) };
		t->messages[i] = (struct mmsghdr){
			.msg_hdr = { .msg_iov = t->iov[i], .msg_iovlen = 3 },
		};
	}
	do {
		n = recvmmsg(t->port.fd, t->messages, SC_BURST_MAX, MSG_DONTWAIT, NULL);
	} while (n < 0 && errno == EINTR);
	t->next = 0;
	t->filled = n > 0 ? (unsigned int)n : 0;
	if (n >= 0)
		return n > 0;
	switch (errno) {
	case ENETDOWN:	/* also said of a device that is not up yet */
	case EAGAIN:	/* of a device that goes while it is down nothing is said */
		return device_gone(t) ? -ENODEV : 0;
	case EINVAL:	/* a super-packet that has no virtio-net header; it is gone */
		t->port.rx_dropped++;
		return 0;
	default:
		return -errno;
	}
}

static void take_slot(struct packet_port *t)
{
	const struct mmsghdr *m = &t->messages[t->next];
	struct slot *s = &t->slots[t->next++];
	uint32_t headers = sizeof(s->h) + sizeof(s->eth);
	uint16_t type;
	struct virtio_net_hdr h = s->h;

	if (m->msg_len < headers)
		return;
	type = ntohs(s->eth.ether_type);
	if (type != ETHERTYPE_IP && type != ETHERTYPE_IPV6)
		return;
	/* The kernel counts from the Ethernet header. */
	if (h.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
		if (h.csum_start < sizeof(s->eth)) {
			t->port.rx_dropped++;
			return;
		}
		h.csum_start = (uint16_t)(h.csum_start - sizeof(s->eth));
	}
	if (m->msg_hdr.msg_flags & MSG_TRUNC ||
	    sc_vnet_take(&t->current, &h, s->packet, m->msg_len - headers))
		t->port.rx_dropped++;
}

static int packet_receive(struct sc_port *port, struct sc_packet *burst, unsigned int n)
{
	struct packet_port *t = (struct packet_port *)port;
	unsigned int got = 0;
	bool refilled = false;

	while (got < n) {
		int err;

		if (sc_vnet_next(&t->current, &burst[got])) {
			got++;
			continue;
		}
		if (t->next < t->filled) {
			take_slot(t);
			continue;
		}
		if (refilled)
			break;
		err = t->error ? t->error : refill(t);
		refilled = true;
		if (err < 0) {
			t->error = err;
			return got ? (int)got : err;
		}
		if (err == 0)
			break;
	}
	return (int)got;
}

static int packet_send(struct sc_port *port, struct sc_packet *burst, unsigned int n)
{
	struct packet_port *t = (struct packet_port *)port;
	struct virtio_net_hdr h = { .gso_type = VIRTIO_NET_HDR_GSO_NONE };
	struct mmsghdr messages[SC_BURST_MAX];
	struct iovec iov[SC_BURST_MAX][3];
	unsigned int refused[SC_BURST_MAX];
	int sent = 0;

	while (n) {
		unsigned int chunk = n < SC_BURST_MAX ? n : SC_BURST_MAX;
		unsigned int nrefused;

		for (unsigned int i = 0; i < chunk; i++) {
			bool ip6 = burst[i].len && burst[i].data[0] >> 4 == 6;

			iov[i][0] = (struct iovec){ &h, sizeof(h) };
			iov[i][1] = (struct iovec){ ip6 ? &t->to6 : &t->to4, sizeof(t->to4) };
			iov[i][2] = (struct iovec){ burst[i].data, burst[i].len };
			messages[i] = (struct mmsghdr){
				.msg_hdr = { .msg_iov = iov[i], .msg_iovlen = 3 },
			};
		}
		nrefused = sc_send_all(port->fd, messages, chunk, refused);
		for (unsigned int i = 0; i < nrefused; i++)
			burst[refused[i]].len = 0;
		port->tx_errors += nrefused;
		sent += (int)(chunk - nrefused);
		if (nrefused == chunk && device_gone(t)) {
			for (unsigned int i = chunk; i < n; i++)
				burst[i].len = 0;
			port->tx_errors += n - chunk;
			return sent ? sent : -ENODEV;
		}
		burst += chunk;
		n -= chunk;
	}
	return sent;
}

static void packet_close(struct sc_port *port)
{
	close(port->fd);
	free(port);
}

static const struct sc_port_ops packet_ops = {
	.receive = packet_receive,
	.send = packet_send,
	.close = packet_close,
};

static int hardware_address(int fd, const char *name, uint8_t mac[ETH_ALEN])
{
	struct ifreq ifr = { .ifr_flags = 0 };

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (ioctl(fd, SIOCGIFHWADDR, &ifr))
		return -errno;
	if (ifr.ifr_hwaddr.sa_family != ARPHRD_ETHER)
		return -ENOTSUP;
	memcpy(mac, ifr.ifr_hwaddr.sa_data, ETH_ALEN);
	return 0;
}

static int set_up(struct packet_port *t, const char *name, const char *peer)
{
	struct sockaddr_ll ll = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	int on = 1;
	int err;

	err = hardware_address(t->port.fd, name, t->to4.ether_shost);
	if (!err)
		err = hardware_address(t->port.fd, peer, t->to4.ether_dhost);
	if (err)
		return err;
	t->to6 = t->to4;
	t->to4.ether_type = htons(ETHERTYPE_IP);
	t->to6.ether_type = htons(ETHERTYPE_IPV6);

	if (setsockopt(t->port.fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)) ||
	    setsockopt(t->port.fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on)))
		return -errno;
	sc_receive_buffer(t->port.fd);
	sc_send_buffer(t->port.fd);
	t->ifindex = (int)if_nametoindex(name);
	ll.sll_ifindex = t->ifindex;
	if (!t->ifindex || bind(t->port.fd, (struct sockaddr *)&ll, sizeof(ll)))
		return -errno;
	return 0;
}

int sc_port_packet_open(const char *name, const char *peer, struct sc_port **out)
{
	struct packet_port *t;
	int err;

	if (!name[0] || strlen(name) >= IFNAMSIZ || !peer[0] || strlen(peer) >= IFNAMSIZ)
		return -EINVAL;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->port.ops = &packet_ops;
	/* Protocol 0: nothing is received before everything is set. */
	t->port.fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	err = t->port.fd < 0 ? -errno : set_up(t, name, peer);
	if (err) {
		if (t->port.fd >= 0)
			close(t->port.fd);
		free(t);
		return err;
	}
	*out = &t->port;
	return 0;
}
