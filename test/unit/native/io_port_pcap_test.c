/* The pcap port: files of every kind that it reads are written here byte by byte,
 * and damaged in every way that comes to mind. */
#include "check.h"

#include <errno.h>
#include <unistd.h>

#include "io/port.h"

enum { US = 0xa1b2c3d4, NS = 0xa1b23c4d, ETHERNET = 1, RAW = 101, SLL = 113, SLL2 = 276 };

struct file {
	uint8_t data[300000];
	size_t len;
	bool swapped;
};

static struct file file;
static char path[64];
static uint8_t buffers[SC_BURST_MAX][SC_HEADROOM + SC_PACKET_MAX];
static struct sc_packet burst[SC_BURST_MAX];

static void put(const void *data, size_t len)
{
	memcpy(file.data + file.len, data, len);
	file.len += len;
}

static void put32(uint32_t v)
{
	if (file.swapped)
		v = __builtin_bswap32(v);
	put(&v, sizeof(v));
}

static void put_file_header(uint32_t magic, uint32_t linktype, bool swapped)
{
	file.len = 0;
	file.swapped = swapped;
	put32(magic);
	put32(swapped ? 0x00020004 : 0x00040002);
	put32(0);
	put32(0);
	put32(65535);
	put32(linktype);
}

static void put_record(const void *head, uint32_t head_len, const void *data, uint32_t len)
{
	put32(1700000000);
	put32(123456);
	put32(head_len + len);
	put32(head_len + len);
	put(head, head_len);
	put(data, len);
}

static void save(size_t len)
{
	FILE *f;

	snprintf(path, sizeof(path), "/tmp/steadycast-pcap-%d", (int)getpid());
	f = fopen(path, "wb");
	if (CHECK(f)) {
		CHECK_EQ(fwrite(file.data, 1, len, f), len);
		fclose(f);
	}
}

static int receive(struct sc_port *port, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		burst[i] = (struct sc_packet){ .data = buffers[i] + SC_HEADROOM };
	return port->ops->receive(port, burst, n);
}

static const uint8_t packet[24] = {
	0x45, 0, 0, 24, [8] = 64, [9] = 17, [20] = 1, [21] = 2, [22] = 3, [23] = 4,
};

TEST("packets of every link type, byte order and resolution come out as IP packets")
{
	static const uint8_t ether4[14] = { [12] = 8 };
	static const uint8_t ether6[14] = { [12] = 0x86, [13] = 0xdd };
	static const uint8_t arp[14] = { [12] = 8, [13] = 6 };
	static const uint8_t vlan[22] = { [12] = 0x88, [13] = 0xa8, [16] = 0x81, [17] = 0, [20] = 8 };
	static const uint8_t sll[16] = { [14] = 8 };
	static const uint8_t sll2[20] = { 8 };
	static const struct {
		uint32_t linktype;
		const uint8_t *head;
		uint32_t head_len;
	} kinds[] = {
		{ RAW, NULL, 0 },	    { ETHERNET, ether4, 14 }, { ETHERNET, ether6, 14 },
		{ ETHERNET, vlan, 22 }, { SLL, sll, 16 },	      { SLL2, sll2, 20 },
	};

	for (size_t i = 0; i < 4 * sizeof(kinds) / sizeof(kinds[0]); i++) {
		uint32_t linktype = kinds[i / 4].linktype;
		struct sc_port *port;

		put_file_header(i & 1 ? US : NS, linktype, i & 2);
		if (linktype == ETHERNET)
			put_record(arp, sizeof(arp), packet, sizeof(packet));
		put_record(kinds[i / 4].head ? (const void *)kinds[i / 4].head : "",
			   kinds[i / 4].head_len, packet, sizeof(packet));
		save(file.len);
		REQUIRE(sc_port_pcap_open(path, NULL, &port) == 0);
		CHECK_EQ(receive(port, 8), 1);
		CHECK_EQ(burst[0].len, sizeof(packet));
		CHECK_MEM(burst[0].data, packet, sizeof(packet));
		CHECK_EQ(receive(port, 8), 0);
		sc_port_close(port);
		unlink(path);
	}
}

TEST("what is sent can be read again, at the time of what was received")
{
	char copy[80];
	struct sc_port *port;
	uint8_t header[40];
	uint32_t words[4];
	FILE *f;

	put_file_header(NS, RAW, true);
	put_record("", 0, packet, sizeof(packet));
	save(file.len);
	snprintf(copy, sizeof(copy), "%s.out", path);
	REQUIRE(sc_port_pcap_open(path, copy, &port) == 0);
	REQUIRE(receive(port, 1) == 1);
	CHECK_EQ(port->ops->send(port, burst, 1), 1);
	sc_port_close(port);

	f = fopen(copy, "rb");
	REQUIRE(f);
	CHECK_EQ(fread(header, 1, sizeof(header), f), sizeof(header));
	fclose(f);
	memcpy(words, header + 24, sizeof(words));
	CHECK_EQ(words[0], 1700000000);
	CHECK_EQ(words[1], 123);
	REQUIRE(sc_port_pcap_open(copy, NULL, &port) == 0);
	CHECK_EQ(receive(port, 8), 1);
	CHECK_MEM(burst[0].data, packet, sizeof(packet));
	sc_port_close(port);
	unlink(copy);
	unlink(path);
}

TEST("a file cut off anywhere ends with an error, after the packets before the cut")
{
	put_file_header(US, RAW, false);
	put_record("", 0, packet, sizeof(packet));
	put_record("", 0, packet, sizeof(packet));
	for (size_t len = 0; len < file.len; len++) {
		struct sc_port *port;
		int expected = len < 24 + 40 ? 0 : 1;
		bool whole = len == 24 || len == 24 + 40;

		save(len);
		if (len < 24) {
			CHECK_EQ(sc_port_pcap_open(path, NULL, &port), -EBADMSG);
			continue;
		}
		REQUIRE(sc_port_pcap_open(path, NULL, &port) == 0);
		if (expected)
			CHECK_EQ(receive(port, 8), expected);
		/* Twice: an error stays. */
		CHECK_EQ(receive(port, 8), whole ? 0 : -EBADMSG);
		CHECK_EQ(receive(port, 8), whole ? 0 : -EBADMSG);
		sc_port_close(port);
	}
	unlink(path);
}

TEST("a record that claims an absurd length ends the file")
{
	struct sc_port *port;

	put_file_header(US, RAW, false);
	put_record("", 0, packet, sizeof(packet));
	put32(0);
	put32(0);
	put32(0xfffffff0);
	put32(24);
	save(file.len);
	REQUIRE(sc_port_pcap_open(path, NULL, &port) == 0);
	CHECK_EQ(receive(port, 8), 1);
	CHECK_EQ(receive(port, 8), -EBADMSG);
	sc_port_close(port);
	unlink(path);
}

TEST("a packet longer than the largest handled is counted and skipped")
{
	static uint8_t large[SC_PACKET_MAX + 1] = { 0x45 };
	struct sc_port *port;

	put_file_header(US, RAW, false);
	put_record("", 0, large, sizeof(large));
	put_record("", 0, packet, sizeof(packet));
	save(file.len);
	REQUIRE(sc_port_pcap_open(path, NULL, &port) == 0);
	CHECK_EQ(receive(port, 8), 1);
	CHECK_EQ(burst[0].len, sizeof(packet));
	CHECK_EQ(port->rx_dropped, 1);
	sc_port_close(port);
	unlink(path);
}

TEST("files of other formats and link types are told from damaged ones")
{
	struct sc_port *port;

	put_file_header(0x0a0d0d0a, RAW, false);
	save(file.len);
	CHECK_EQ(sc_port_pcap_open(path, NULL, &port), -EPROTONOSUPPORT);
	put_file_header(US, 105, false);
	save(file.len);
	CHECK_EQ(sc_port_pcap_open(path, NULL, &port), -EPROTONOSUPPORT);
	put_file_header(0x12345678, RAW, false);
	save(file.len);
	CHECK_EQ(sc_port_pcap_open(path, NULL, &port), -EBADMSG);
	unlink(path);
	CHECK_EQ(sc_port_pcap_open(path, NULL, &port), -ENOENT);
}

TEST("randomly damaged files neither crash nor go on for ever")
{
	static const uint32_t linktypes[4] = { ETHERNET, RAW, SLL, SLL2 };
	uint64_t seed = check_seed();

	for (int i = 0; i < 300; i++) {
		struct sc_port *port;
		unsigned int packets = 0;

		put_file_header(US, linktypes[i % 4], i & 4);
		for (int k = 0; k < 20; k++) {
			uint8_t noise[64];
			uint32_t n = (uint32_t)(check_random(&seed) % sizeof(noise));

			for (uint32_t b = 0; b < n; b++)
				noise[b] = (uint8_t)check_random(&seed);
			put_record(noise, n, packet, sizeof(packet));
		}
		for (int k = 0; k < 5; k++)
			file.data[24 + check_random(&seed) % (file.len - 24)] =
				(uint8_t)check_random(&seed);
		save(file.len);
		REQUIRE(sc_port_pcap_open(path, NULL, &port) == 0);
		for (int got = 1; got > 0;) {
			got = receive(port, 3);
			packets += got > 0 ? (unsigned int)got : 0;
			REQUIRE(packets <= 20 * 100);
		}
		sc_port_close(port);
	}
	unlink(path);
}

CHECK_MAIN
