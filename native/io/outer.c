/* GUE's UDP socket and the raw sockets; see outer.h. */
#include "outer.h"

#include <errno.h>
#include <unistd.h>

#include "socket.h"

enum {
	IP4_LEN = 2, IP4_CHECKSUM = 10, IP4_SOURCE = 12, IP4_DESTINATION = 16, IP4_HEADER = 20,
	IP6_LEN = 4, IP6_SOURCE = 8, IP6_DESTINATION = 24, IP6_HEADER = 40,
	UDP_SOURCE = 0, UDP_DESTINATION = 2, UDP_LEN = 4, UDP_HEADER = 8,
	HOP_LIMIT = 64,
};

static socklen_t make_name(const struct sc_addr *a, uint16_t port, union sc_sockaddr *name)
{
	memset(name, 0, sizeof(*name));
	if (sc_addr_is4(a)) {
		name->in.sin_family = AF_INET;
		name->in.sin_port = htons(port);
		memcpy(&name->in.sin_addr, a->b + 12, 4);
		return sizeof(name->in);
	}
	name->in6.sin6_family = AF_INET6;
	name->in6.sin6_port = htons(port);
	memcpy(&name->in6.sin6_addr, a->b, 16);
	return sizeof(name->in6);
}

static int open_udp(const struct sc_addr *address, uint16_t port)
{
	union sc_sockaddr name;
	socklen_t len = make_name(address, port, &name);
	int family = name.any.sa_family;
	int on = 1;
	int err;
	int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	/* No SO_REUSEADDR: a second process on this port is an error, not a thief. */
	if ((family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on))) ||
	    bind(fd, &name.any, len)) {
		err = -errno;
		close(fd);
		return err;
	}
	sc_receive_buffer(fd);
	return fd;
}

/* IPPROTO_RAW: the packet brings its own IP header. The size that the kernel has
 * learned for a path plays no part (and neither does a forged ICMP message): the data
 * path knows the configured one, and has set DF or not. */
static int open_raw(int family)
{
	int fd = socket(family, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_RAW);
	int mode = family == AF_INET ? IP_PMTUDISC_INTERFACE : IPV6_PMTUDISC_INTERFACE;
	int failed, err;

	if (fd < 0)
		return -errno;
	failed = family == AF_INET ?
		 setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &mode, sizeof(mode)) :
		 setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &mode, sizeof(mode));
	if (failed) {
		err = -errno;
		close(fd);
		return err;
	}
	sc_send_buffer(fd);
	return fd;
}

static void make_header(struct sc_outer *o, const struct sc_addr *address, uint16_t port)
{
	uint8_t *h = o->header;

	memset(h, 0, sizeof(o->header));
	if (sc_addr_is4(address)) {
		o->header_len = IP4_HEADER + UDP_HEADER;
		h[0] = 0x45;
		h[8] = HOP_LIMIT;
		h[9] = SC_PROTO_UDP;
		memcpy(h + IP4_DESTINATION, address->b + 12, 4);
	} else {
		o->header_len = IP6_HEADER + UDP_HEADER;
		h[0] = 0x60;
		h[6] = SC_PROTO_UDP;
		h[7] = HOP_LIMIT;
		memcpy(h + IP6_DESTINATION, address->b, 16);
	}
	sc_put16(h + o->header_len - UDP_HEADER + UDP_DESTINATION, port);
}

int sc_outer_open(struct sc_outer *o, const struct sc_addr *address, uint16_t port,
		  const char **what)
{
	int own;

	*what = "GUE socket";
	o->raw4_fd = o->raw6_fd = -1;
	o->udp_fd = open_udp(address, port);
	if (o->udp_fd < 0)
		return o->udp_fd;

	/* The other family carries only ICMP answers from a VIP: a machine without it
	 * does without them. */
	*what = "raw socket";
	o->raw4_fd = open_raw(AF_INET);
	o->raw6_fd = open_raw(AF_INET6);
	own = sc_addr_is4(address) ? o->raw4_fd : o->raw6_fd;
	if (own < 0) {
		sc_outer_close(o);
		return own;
	}
	make_header(o, address, port);
	return 0;
}

void sc_outer_close(struct sc_outer *o)
{
	if (o->udp_fd >= 0)
		close(o->udp_fd);
	if (o->raw4_fd >= 0)
		close(o->raw4_fd);
	if (o->raw6_fd >= 0)
		close(o->raw6_fd);
	o->udp_fd = o->raw4_fd = o->raw6_fd = -1;
}

/* Puts IP and UDP headers in front of len bytes of payload at p->data. */
static void put_header(const struct sc_outer *o, const union sc_sockaddr *from,
		       struct sc_packet *p, uint32_t len)
{
	uint8_t *h = p->data - o->header_len;
	uint8_t *udp = p->data - UDP_HEADER;

	memcpy(h, o->header, o->header_len);
	if (from->any.sa_family == AF_INET) {
		sc_put16(h + IP4_LEN, (uint16_t)(o->header_len + len));
		memcpy(h + IP4_SOURCE, &from->in.sin_addr, 4);
		sc_put16(h + IP4_CHECKSUM, (uint16_t)~sc_fold(sc_sum(h, IP4_HEADER, 0)));
		memcpy(udp + UDP_SOURCE, &from->in.sin_port, 2);
	} else {
		sc_put16(h + IP6_LEN, (uint16_t)(UDP_HEADER + len));
		memcpy(h + IP6_SOURCE, &from->in6.sin6_addr, 16);
		memcpy(udp + UDP_SOURCE, &from->in6.sin6_port, 2);
	}
	sc_put16(udp + UDP_LEN, (uint16_t)(UDP_HEADER + len));
	p->data = h;
	p->len = o->header_len + len;
}

unsigned int sc_outer_receive(struct sc_outer *o, struct sc_packet *burst, unsigned int n)
{
	unsigned int got = 0;
	int received;

	for (unsigned int i = 0; i < n; i++) {
		o->iov[i].iov_base = burst[i].data + o->header_len;
		o->iov[i].iov_len = SC_PACKET_MAX - o->header_len;
		o->messages[i] = (struct mmsghdr){
			.msg_hdr = {
				.msg_name = &o->names[i],
				.msg_namelen = sizeof(o->names[i]),
				.msg_iov = &o->iov[i],
				.msg_iovlen = 1,
			},
		};
	}
	received = recvmmsg(o->udp_fd, o->messages, n, MSG_DONTWAIT, NULL);
	for (int i = 0; i < received; i++) {
		struct sc_packet p = { .data = o->iov[i].iov_base };

		if (o->messages[i].msg_hdr.msg_flags & MSG_TRUNC) {
			o->too_long++;
			continue;
		}
		put_header(o, &o->names[i], &p, o->messages[i].msg_len);
		burst[got++] = p;
	}
	return got;
}

/* Sends the first n messages, all of one family. */
static unsigned int flush(struct sc_outer *o, int fd, struct sc_packet *packets, unsigned int n)
{
	unsigned int refused[SC_OUT_MAX];
	unsigned int nrefused;

	if (fd >= 0) {
		nrefused = sc_send_all(fd, o->messages, n, refused);
	} else {
		for (nrefused = 0; nrefused < n; nrefused++)
			refused[nrefused] = nrefused;
	}
	for (unsigned int i = 0; i < nrefused; i++)
		packets[o->tx_index[refused[i]]].len = 0;
	return nrefused;
}

static void add_message(struct sc_outer *o, unsigned int at, const struct sc_packet *p, int family)
{
	union sc_sockaddr *name = &o->names[at];

	memset(name, 0, sizeof(*name));
	name->any.sa_family = (sa_family_t)family;
	if (family == AF_INET)
		memcpy(&name->in.sin_addr, p->data + IP4_DESTINATION, 4);
	else
		memcpy(&name->in6.sin6_addr, p->data + IP6_DESTINATION, 16);
	o->iov[at] = (struct iovec){ .iov_base = p->data, .iov_len = p->len };
	o->messages[at] = (struct mmsghdr){
		.msg_hdr = {
			.msg_name = name,
			.msg_namelen = family == AF_INET ? sizeof(name->in) : sizeof(name->in6),
			.msg_iov = &o->iov[at],
			.msg_iovlen = 1,
		},
	};
}

unsigned int sc_outer_send(struct sc_outer *o, struct sc_packet *packets, unsigned int n)
{
	static const int families[2] = { AF_INET, AF_INET6 };
	unsigned int refused = 0;
	unsigned int taken = 0;

	for (int f = 0; f < 2; f++) {
		int family = families[f];
		uint32_t shortest = family == AF_INET ? IP4_HEADER : IP6_HEADER;
		unsigned int count = 0;

		for (unsigned int i = 0; i < n; i++) {
			const struct sc_packet *p = &packets[i];

			if (p->len < shortest || p->data[0] >> 4 != (family == AF_INET ? 4 : 6))
				continue;
			o->tx_index[count] = i;
			add_message(o, count++, p, family);
		}
		taken += count;
		if (count)
			refused += flush(o, family == AF_INET ? o->raw4_fd : o->raw6_fd, packets,
					 count);
	}
	/* The rest is no IP packet. */
	return refused + (n - taken);
}
