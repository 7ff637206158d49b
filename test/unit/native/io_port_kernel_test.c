/* The TUN and the AF_PACKET port against this machine's kernel, in a network
 * namespace of the test's own: the kernel's TCP sends into the port, a few lines here
 * play the other host and read every packet as the wire would carry it. */
#include "check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/port.h"
#include "naive.h"
#include "namespace.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

enum {
	MTU = 1500,
	TRANSFER = 4 * 1024 * 1024,
	PORT_NUMBER = 7000,
	TCP = 6,
	UDP = 17,
	FIN = 1,
	SYN = 2,
	ACK = 16,
};

enum kind { TUN, PACKET };

/* Opens a port of this kind on a device that is up and has addresses ending in 1. */
static const char *open_port(enum kind kind, struct sc_port **port)
{
	const char *why = enter_namespace();
	int err;

	if (why)
		return why;
	if (kind == TUN) {
		err = sc_port_tun_open("sct", port);
		if (err == -ENOENT || err == -EACCES || err == -EPERM)
			return "no /dev/net/tun that this user may open";
	} else {
		command("ip link add sct type veth peer name sctp", "");
		command("echo 1 > /proc/sys/net/ipv6/conf/sctp/disable_ipv6", "");
		command("ip link set sctp arp off multicast off up", "");
		command("ip link set sct arp off multicast off", "");
		err = sc_port_packet_open("sctp", "sct", port);
	}
	if (!CHECK_EQ(err, 0))
		return "the port does not open";
	CHECK_EQ(command("ip link set %s mtu 1500 up", "sct"), 0);
	CHECK_EQ(command("ip addr add 10.9.0.1/24 dev %s", "sct"), 0);
	CHECK_EQ(command("ip addr add fd09::1/64 dev %s nodad", "sct"), 0);
	return NULL;
}

static void close_port(enum kind kind, struct sc_port *port)
{
	sc_port_close(port);
	if (kind == PACKET)
		command("ip link del %s", "sct");
}

/* The other host. */

struct host {
	struct sc_port *port;
	int family;
	uint32_t l4;			/* where the transport header begins */
	uint16_t peer_port;
	uint32_t received;		/* next byte of the stream that is expected */
	uint32_t first;			/* sequence number of stream byte 0 */
	uint32_t sent;
	bool ended;
	uint64_t packets;		/* with TCP data */
	unsigned int burst_size;
};

static uint8_t buffers[SC_BURST_MAX][SC_HEADROOM + SC_PACKET_MAX];

static uint8_t stream_byte(uint32_t at)
{
	return (uint8_t)(at * 31 + (at >> 10));
}

static void make_ip(const struct host *h, uint8_t *p, uint8_t proto, uint32_t len)
{
	memset(p, 0, h->l4);
	if (h->family == AF_INET) {
		p[0] = 0x45;
		sc_put16(p + 2, (uint16_t)len);
		p[8] = 64;
		p[9] = proto;
		inet_pton(AF_INET, "10.9.0.2", p + 12);
		inet_pton(AF_INET, "10.9.0.1", p + 16);
		sc_put16(p + 10, (uint16_t)~naive_sum(p, 20, 0));
	} else {
		p[0] = 0x60;
		sc_put16(p + 4, (uint16_t)(len - 40));
		p[6] = proto;
		p[7] = 64;
		inet_pton(AF_INET6, "fd09::2", p + 8);
		inet_pton(AF_INET6, "fd09::1", p + 24);
	}
}

/* Fills in the transport checksum at offset field of the transport header. */
static void seal(const struct host *h, uint8_t *p, uint32_t len, uint8_t proto, uint32_t field)
{
	uint8_t *at = p + h->l4 + field;

	sc_put16(at, 0);
	sc_put16(at, naive_transport_field(p, len, h->l4, proto));
}

static bool send_one(struct host *h, uint8_t *p, uint32_t len)
{
	struct sc_packet packet = { .data = p, .len = len };

	return CHECK_EQ(h->port->ops->send(h->port, &packet, 1), 1);
}

static bool answer(struct host *h, uint8_t flags)
{
	/* MSS 1400 and a window scale of 14, on a SYN only. */
	static const uint8_t options[8] = { 2, 4, 1400 >> 8, 1400 & 255, 1, 3, 3, 14 };
	uint32_t header = flags & SYN ? 28 : 20;
	uint8_t p[SC_HEADROOM + 128];
	uint8_t *tcp = p + h->l4;

	make_ip(h, p, TCP, h->l4 + header);
	memset(tcp, 0, 20);
	sc_put16(tcp, PORT_NUMBER);
	sc_put16(tcp + 2, h->peer_port);
	sc_put32(tcp + 4, 5000 + h->sent);
	sc_put32(tcp + 8, h->first + h->received + h->ended);
	tcp[12] = (uint8_t)(header / 4 << 4);
	tcp[13] = flags;
	sc_put16(tcp + 14, 0xffff);
	memcpy(tcp + 20, options, header - 20);
	seal(h, p, h->l4 + header, TCP, 16);
	h->sent += flags & (SYN | FIN) ? 1 : 0;
	return send_one(h, p, h->l4 + header);
}

/* One TCP segment of the kernel's. */
static bool take_segment(struct host *h, const struct sc_packet *p)
{
	const uint8_t *tcp = p->data + h->l4;
	uint32_t header = (tcp[12] >> 4) * 4u;
	const uint8_t *data = tcp + header;
	uint32_t n = p->len - h->l4 - header;
	uint32_t at;

	if (tcp[13] & SYN) {
		h->peer_port = sc_get16(tcp);
		h->first = sc_get32(tcp + 4) + 1;
		return answer(h, SYN | ACK);
	}
	at = sc_get32(tcp + 4) - h->first;
	/* Repeated ones may come on a slow machine; a gap never, for nothing is lost. */
	if (!CHECK(at <= h->received))
		return false;
	for (uint32_t i = 0; i < n; i++) {
		if (data[i] != stream_byte(at + i)) {
			CHECK_EQ(data[i], stream_byte(at + i));
			return false;
		}
	}
	if (at + n > h->received)
		h->received = at + n;
	h->packets += n > 0;
	if (tcp[13] & FIN && at + n == h->received && !h->ended) {
		h->ended = true;
		return answer(h, FIN | ACK);
	}
	return n == 0 || answer(h, ACK);
}

static bool is_right(const struct host *h, const struct sc_packet *p, uint8_t proto)
{
	return CHECK(p->len <= MTU) &&
	       (h->family == AF_INET6 ||
		(CHECK_EQ(naive_sum(p->data, h->l4, 0), 0xffff) &&
		 CHECK_EQ(sc_get16(p->data + 2), p->len))) &&
	       (h->family == AF_INET || CHECK_EQ(sc_get16(p->data + 4) + 40, p->len)) &&
	       CHECK(naive_transport_good(p->data, p->len, h->l4, proto));
}

static bool is_ours(const struct host *h, const struct sc_packet *p, uint8_t proto)
{
	return p->data[0] >> 4 == (h->family == AF_INET ? 4 : 6) &&
	       p->data[h->family == AF_INET ? 9 : 6] == proto;
}

/* Waits for packets and takes them in. false: a check has failed. */
static bool turn(struct host *h, bool (*take)(struct host *, const struct sc_packet *), uint8_t proto)
{
	struct sc_packet burst[SC_BURST_MAX];
	struct pollfd p = { .fd = h->port->fd, .events = POLLIN };
	int n;

	for (unsigned int i = 0; i < h->burst_size; i++)
		burst[i] = (struct sc_packet){ .data = buffers[i] + SC_HEADROOM };
	n = h->port->ops->receive(h->port, burst, h->burst_size);
	if (!CHECK(n >= 0))
		return false;
	if (n == 0)
		poll(&p, 1, 10);
	for (int i = 0; i < n; i++) {
		if (is_ours(h, &burst[i], proto) &&
		    (!is_right(h, &burst[i], proto) || !take(h, &burst[i])))
			return false;
	}
	return true;
}

static struct host make_host(struct sc_port *port, int family)
{
	return (struct host){
		.port = port, .family = family, .l4 = family == AF_INET ? 20 : 40,
		.burst_size = 7,	/* a super-packet has more parts than that */
	};
}

static socklen_t address(int family, int last, int number, struct sockaddr_storage *out)
{
	struct sockaddr_in *in = (struct sockaddr_in *)out;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
	char text[32];

	memset(out, 0, sizeof(*out));
	out->ss_family = (sa_family_t)family;
	snprintf(text, sizeof(text), family == AF_INET ? "10.9.0.%d" : "fd09::%d", last);
	if (family == AF_INET) {
		in->sin_port = htons((uint16_t)number);
		inet_pton(family, text, &in->sin_addr);
		return sizeof(*in);
	}
	in6->sin6_port = htons((uint16_t)number);
	inet_pton(family, text, &in6->sin6_addr);
	return sizeof(*in6);
}

/* Packets that the kernel has handed to the device, super-packets counted once. */
static uint64_t handed_over(void)
{
	FILE *f = fopen("/proc/self/net/dev", "re");
	unsigned long long packets = 0;
	char line[512];

	while (f && fgets(line, sizeof(line), f)) {
		char *at = strstr(line, "sct:");

		if (at)
			sscanf(at + 4, "%*u %*u %*u %*u %*u %*u %*u %*u %*u %llu", &packets);
	}
	if (f)
		fclose(f);
	return packets;
}

static void feed(int fd, uint32_t *written)
{
	uint8_t chunk[65536];
	ssize_t n;

	while (*written < TRANSFER) {
		uint32_t want = TRANSFER - *written;

		if (want > sizeof(chunk))
			want = sizeof(chunk);
		for (uint32_t i = 0; i < want; i++)
			chunk[i] = stream_byte(*written + i);
		n = send(fd, chunk, want, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n <= 0)
			return;
		*written += (uint32_t)n;
		if (*written == TRANSFER)
			shutdown(fd, SHUT_WR);
	}
}

static void transfer(enum kind kind, int family)
{
	struct sockaddr_storage to;
	socklen_t to_len = address(family, 2, PORT_NUMBER, &to);
	int64_t give_up = now_ms() + PATIENCE_MS;
	struct sc_port *port;
	const char *why = open_port(kind, &port);
	struct host h;
	uint32_t written = 0;
	int fd;

	if (why)
		SKIP(why);
	h = make_host(port, family);
	fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	CHECK(connect(fd, (struct sockaddr *)&to, to_len) == 0 || errno == EINPROGRESS);
	while (!h.ended && turn(&h, take_segment, TCP) && CHECK(now_ms() < give_up))
		feed(fd, &written);
	CHECK(h.ended);
	CHECK_EQ(h.received, TRANSFER);
	CHECK_EQ(port->rx_dropped, 0);
	CHECK_EQ(port->tx_errors, 0);
	/* Proof that super-packets were among them. */
	CHECK(handed_over() * 2 < h.packets);
	close(fd);
	close_port(kind, port);
}

TEST("the kernel's TCP over IPv4 into TUN leaves as wire-sized packets with right checksums")
{
	transfer(TUN, AF_INET);
}

TEST("the kernel's TCP over IPv6 into TUN leaves as wire-sized packets with right checksums")
{
	transfer(TUN, AF_INET6);
}

TEST("the kernel's TCP over IPv4 into a packet socket leaves as wire-sized packets with right checksums")
{
	transfer(PACKET, AF_INET);
}

TEST("the kernel's TCP over IPv6 into a packet socket leaves as wire-sized packets with right checksums")
{
	transfer(PACKET, AF_INET6);
}

enum { DATAGRAM = 1200, DATAGRAMS = 40, LAST = 500 };

/* One datagram of the super-datagram; they carry the stream one after the other. */
static bool take_datagram(struct host *h, const struct sc_packet *p)
{
	uint32_t n = p->len - h->l4 - 8;

	if (!CHECK_EQ(n, h->packets < DATAGRAMS ? DATAGRAM : LAST))
		return false;
	for (uint32_t i = 0; i < n; i++) {
		if (!CHECK_EQ(p->data[h->l4 + 8 + i], stream_byte(h->received + i)))
			return false;
	}
	h->received += n;
	h->packets++;
	return true;
}

static void datagrams(enum kind kind, int family)
{
	uint8_t data[DATAGRAM * DATAGRAMS + LAST];
	struct sockaddr_storage to;
	socklen_t to_len = address(family, 2, PORT_NUMBER, &to);
	int64_t give_up = now_ms() + PATIENCE_MS;
	int size = DATAGRAM;
	struct sc_port *port;
	const char *why = open_port(kind, &port);
	struct host h;
	int fd;

	if (why)
		SKIP(why);
	h = make_host(port, family);
	for (uint32_t i = 0; i < sizeof(data); i++)
		data[i] = stream_byte(i);
	fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (CHECK_EQ(setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof(size)), 0) &&
	    CHECK_EQ(sendto(fd, data, sizeof(data), 0, (struct sockaddr *)&to, to_len), sizeof(data))) {
		while (h.received < sizeof(data) && turn(&h, take_datagram, UDP) &&
		       CHECK(now_ms() < give_up))
			;
	}
	CHECK_EQ(h.packets, DATAGRAMS + 1);
	CHECK_EQ(port->rx_dropped, 0);
	close(fd);
	close_port(kind, port);
}

TEST("a UDP super-datagram leaves as the datagrams it stands for, through either port")
{
	datagrams(TUN, AF_INET);
	datagrams(TUN, AF_INET6);
	datagrams(PACKET, AF_INET);
	datagrams(PACKET, AF_INET6);
}

/* A datagram to the local socket, with text in it. */
static bool inject(struct host *h, const char *text, bool right)
{
	uint8_t p[SC_HEADROOM + 256];
	uint8_t *udp = p + h->l4;
	uint32_t len = h->l4 + 8 + (uint32_t)strlen(text);

	make_ip(h, p, UDP, len);
	sc_put16(udp, 5000);
	sc_put16(udp + 2, PORT_NUMBER);
	sc_put16(udp + 4, (uint16_t)(len - h->l4));
	memcpy(udp + 8, text, strlen(text));
	seal(h, p, len, UDP, 6);
	if (!right)
		udp[6] ^= 1;
	return send_one(h, p, len);
}

static void injection(enum kind kind, int family)
{
	struct sockaddr_storage at;
	socklen_t at_len = address(family, 1, PORT_NUMBER, &at);
	struct timeval patience = { .tv_usec = 100000 };
	int64_t give_up = now_ms() + PATIENCE_MS;
	struct sc_port *port;
	const char *why = open_port(kind, &port);
	struct host h;
	char got[64] = "";
	ssize_t n = -1;
	int fd;

	if (why)
		SKIP(why);
	h = make_host(port, family);
	fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (CHECK_EQ(bind(fd, (struct sockaddr *)&at, at_len), 0)) {
		/* A device that came up just now may not carry anything for a moment. */
		while (n < 0 && now_ms() < give_up && inject(&h, "wrong", false) && inject(&h, "right", true))
			n = recv(fd, got, sizeof(got), 0);
		CHECK_EQ(n, 5);
		CHECK_MEM(got, "right", 5);
	}
	close(fd);
	close_port(kind, port);
}

TEST("an injected packet reaches a local socket, one with a wrong checksum does not")
{
	injection(TUN, AF_INET);
	injection(TUN, AF_INET6);
	injection(PACKET, AF_INET);
	injection(PACKET, AF_INET6);
}

/* Receives until an error comes. */
static int until_error(struct sc_port *port)
{
	int64_t give_up = now_ms() + PATIENCE_MS;
	int n = 0;

	while (n >= 0 && now_ms() < give_up) {
		struct sc_packet burst = { .data = buffers[0] + SC_HEADROOM };
		struct pollfd p = { .fd = port->fd, .events = POLLIN };

		n = port->ops->receive(port, &burst, 1);
		if (n == 0)
			poll(&p, 1, 10);
	}
	return n;
}

TEST("a port says when its device is gone, and not when it is merely down")
{
	for (enum kind kind = TUN; kind <= PACKET; kind++) {
		uint8_t data[SC_HEADROOM + 64] = { [SC_HEADROOM] = 0x45 };
		struct sc_packet packet = { .data = data + SC_HEADROOM, .len = 40 };
		struct sc_packet in = { .data = buffers[0] + SC_HEADROOM };
		struct sc_port *port;
		const char *why = open_port(kind, &port);

		if (why)
			SKIP(why);
		CHECK_EQ(command("ip link set %s down", kind == TUN ? "sct" : "sctp"), 0);
		for (int i = 0; i < 50; i++)
			CHECK(port->ops->receive(port, &in, 1) >= 0);
		CHECK_EQ(port->ops->send(port, &packet, 1), 0);
		CHECK_EQ(port->tx_errors, 1);
		CHECK_EQ(packet.len, 0);
		CHECK_EQ(command("ip link del %s", "sct"), 0);
		CHECK(until_error(port) < 0);
		packet.len = 40;
		CHECK_EQ(port->ops->send(port, &packet, 1), -ENODEV);
		sc_port_close(port);
	}
}

TEST("a name in use is refused, whatever kind of device has it")
{
	struct sc_port *first, *second;
	const char *why = open_port(TUN, &first);

	if (why)
		SKIP(why);
	CHECK_EQ(sc_port_tun_open("sct", &second), -EBUSY);
	CHECK_EQ(sc_port_tun_open("lo", &second), -EBUSY);
	CHECK_EQ(sc_port_tun_open("", &second), -EINVAL);
	CHECK_EQ(sc_port_tun_open("sixteen-letters-", &second), -EINVAL);
	CHECK_EQ(sc_port_packet_open("none", "sct", &second), -ENODEV);
	CHECK_EQ(sc_port_packet_open("sct", "lo", &second), -ENOTSUP);
	close_port(TUN, first);
}

CHECK_MAIN
