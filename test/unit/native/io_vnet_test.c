/* virtio-net headers: what is handed over comes out wire-sized, what contradicts
 * itself does not come out at all. The parts' contents are segment_test.c's. */
#include "check.h"

#include <errno.h>

#include "io/vnet.h"

enum { IP4 = 20, TCP = 20, HEADERS = IP4 + TCP, GSO_UDP_L4 = 5 };

/* A TCP segment over IPv4 with payload bytes that tell their place. */
static uint32_t make_tcp4(uint8_t *p, uint32_t payload)
{
	uint32_t len = HEADERS + payload;

	memset(p, 0, HEADERS);
	p[0] = 0x45;
	sc_put16(p + 2, (uint16_t)len);
	p[8] = 64;
	p[9] = 6;
	sc_put32(p + 12, 0x0a000001);
	sc_put32(p + 16, 0x0a000002);
	sc_put16(p + 10, (uint16_t)~sc_fold(sc_sum(p, IP4, 0)));
	p[IP4 + 12] = 0x50;
	p[IP4 + 13] = SC_TCP_ACK;
	for (uint32_t i = 0; i < payload; i++)
		p[HEADERS + i] = (uint8_t)(i * 7 + (i >> 8));
	return len;
}

static uint8_t super[SC_SUPER_MAX];
static uint8_t buffer[SC_PACKET_MAX];

TEST("a super-packet comes out whole, part after part, and then nothing")
{
	struct virtio_net_hdr h = { .gso_type = VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN,
				    .gso_size = 1448 };
	struct sc_packet out = { .data = buffer };
	struct sc_vnet v = { 0 };
	uint32_t payload = 65535 - HEADERS;
	uint32_t at = 0;

	CHECK(!sc_vnet_next(&v, &out));
	REQUIRE(sc_vnet_take(&v, &h, super, make_tcp4(super, payload)) == 0);
	while (sc_vnet_next(&v, &out)) {
		uint32_t n = out.len - HEADERS;

		REQUIRE(out.len > HEADERS && n <= 1448);
		CHECK_EQ(sc_get32(buffer + IP4 + 4), at);
		REQUIRE(CHECK_MEM(buffer + HEADERS, super + HEADERS + at, n));
		at += n;
	}
	CHECK_EQ(at, payload);
	CHECK(!sc_vnet_next(&v, &out));
}

TEST("a plain packet comes out as it is, once")
{
	struct virtio_net_hdr h = { 0 };
	struct sc_packet out = { .data = buffer };
	struct sc_vnet v;
	uint32_t len = make_tcp4(super, 100);

	REQUIRE(sc_vnet_take(&v, &h, super, len) == 0);
	REQUIRE(sc_vnet_next(&v, &out));
	CHECK_EQ(out.len, len);
	CHECK_MEM(buffer, super, len);
	CHECK(!sc_vnet_next(&v, &out));
}

TEST("a partial checksum is finished on the way")
{
	struct virtio_net_hdr h = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = IP4,
				    .csum_offset = 16 };
	struct sc_packet out = { .data = buffer };
	struct sc_parsed p;
	struct sc_vnet v;
	uint32_t len = make_tcp4(super, 100);

	sc_put16(super + IP4 + 16, sc_fold(sc_sum(super + 12, 8, 6 + len - IP4)));
	REQUIRE(sc_vnet_take(&v, &h, super, len) == 0);
	REQUIRE(sc_vnet_next(&v, &out));
	REQUIRE(sc_parse(buffer, out.len, &p) == SC_OK);
	CHECK(sc_checksum_good(buffer, &p));
}

#define GSO(type, size) ((struct virtio_net_hdr){ .gso_type = (type), .gso_size = (size) })
#define CSUM(start, offset)                                                            \
	((struct virtio_net_hdr){ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,                \
				  .csum_start = (uint16_t)(start), .csum_offset = (offset) })

static int take(struct virtio_net_hdr h, uint32_t len)
{
	struct sc_packet out = { .data = buffer };
	struct sc_vnet v;
	int err = sc_vnet_take(&v, &h, super, len);

	if (err)
		CHECK(!sc_vnet_next(&v, &out));
	return err;
}

TEST("a header that contradicts the packet is refused")
{
	uint32_t len = make_tcp4(super, 4000);

	CHECK_EQ(take(GSO(VIRTIO_NET_HDR_GSO_TCPV6, 1000), len), -EINVAL);
	CHECK_EQ(take(GSO(GSO_UDP_L4, 1000), len), -EINVAL);
	CHECK_EQ(take(GSO(VIRTIO_NET_HDR_GSO_UDP, 1000), len), -EINVAL);
	CHECK_EQ(take(GSO(77, 1000), len), -EINVAL);
	CHECK_EQ(take(GSO(VIRTIO_NET_HDR_GSO_TCPV4, 0), len), -EINVAL);
	CHECK_EQ(take(GSO(VIRTIO_NET_HDR_GSO_TCPV4, 1000), len - 1), -EINVAL);
	CHECK_EQ(take(CSUM(len - 1, 0), len), -EINVAL);
	CHECK_EQ(take(GSO(0, 0), 0), -EINVAL);
}

TEST("parts and packets longer than the largest packet handled are refused")
{
	uint32_t len = make_tcp4(super, 40000);
	uint16_t room = SC_PACKET_MAX - HEADERS;

	CHECK_EQ(take(GSO(0, 0), len), -EMSGSIZE);
	CHECK_EQ(take(GSO(0, 0), SC_PACKET_MAX), 0);
	CHECK_EQ(take(GSO(0, 0), SC_PACKET_MAX + 1), -EMSGSIZE);
	CHECK_EQ(take(GSO(VIRTIO_NET_HDR_GSO_TCPV4, room + 1), len), -EMSGSIZE);
	CHECK_EQ(take(GSO(VIRTIO_NET_HDR_GSO_TCPV4, room), len), 0);
}

TEST("random headers in front of damaged packets neither crash nor make long packets")
{
	uint64_t seed = check_seed();

	for (int i = 0; i < 3000; i++) {
		uint32_t len = make_tcp4(super, (uint32_t)(check_random(&seed) % 3000));
		uint32_t some = (uint32_t)(check_random(&seed) % (len + 1));
		uint32_t cut = check_random(&seed) % 4 ? len : some;
		uint8_t *exact = malloc(cut ? cut : 1);
		struct sc_packet out = { .data = buffer };
		struct virtio_net_hdr h;
		struct sc_vnet v;

		REQUIRE(exact);
		memcpy(exact, super, cut);
		for (uint64_t k = check_random(&seed) % 4; k > 0 && cut; k--)
			exact[check_random(&seed) % (cut < 60 ? cut : 60)] ^=
				(uint8_t)(1u << check_random(&seed) % 8);
		for (size_t k = 0; k < sizeof(h); k++)
			((uint8_t *)&h)[k] = (uint8_t)check_random(&seed);
		h.gso_type = (uint8_t)(check_random(&seed) % 7);
		h.gso_size %= 2000;
		if (sc_vnet_take(&v, &h, exact, cut) == 0) {
			while (sc_vnet_next(&v, &out))
				REQUIRE(out.len <= SC_PACKET_MAX);
		}
		free(exact);
	}
}

CHECK_MAIN
