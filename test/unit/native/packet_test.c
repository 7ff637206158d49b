/* Parsing: every length a packet can be cut to, every header that can lie, both families, in buffers that end where the
 * packet does. */
#include "check.h"
#include "packets.h"

enum {
	CLIENT = 0xcb007101,
	VIP = 0xc633640a,
	ROUTER = 0x08080808,
	HOP = 0,
	ROUTING = 43,
	FRAGMENT = 44,
	AUTH = 51,
	DEST = 60,
	SYN = SC_TCP_SYN,
	ACK = SC_TCP_ACK,
};

static struct draft d, q;
static struct sc_parsed ip;

static enum sc_reason parse(void)
{
	return exact_parse(d.b, d.len, &ip);
}

static void check_flow(int family, uint8_t kind, uint8_t proto, uint16_t sport, uint16_t dport)
{
	struct sc_addr client = family == 4 ? ip4(CLIENT) : ip6(CLIENT);
	struct sc_addr vip = family == 4 ? ip4(VIP) : ip6(VIP);

	CHECK_EQ(ip.family, family);
	CHECK_EQ(ip.kind, kind);
	CHECK_EQ(ip.proto, proto);
	CHECK_EQ(ip.sport, sport);
	CHECK_EQ(ip.dport, dport);
	CHECK_MEM(ip.src.b, client.b, 16);
	CHECK_MEM(ip.dst.b, vip.b, 16);
}

/* Cut anywhere it is truncated, whatever the cut leaves of it; with its IP length made
 * to fit, anywhere up to need bytes. */
static void check_truncations(uint32_t need)
{
	struct draft *cut = malloc(sizeof(*cut));
	struct sc_parsed p;

	for (uint32_t len = 0; len < d.len; len++)
		CHECK_EQ(exact_parse(d.b, len, &p), SC_DROP_truncated);
	for (uint32_t len = d.b[0] >> 4 == 4 ? (d.b[0] & 15u) * 4 : 40; len < d.len; len++) {
		enum sc_reason r;

		*cut = d;
		cut->len = len;
		if (d.b[0] >> 4 == 4) {
			sc_put16(cut->b + 2, (uint16_t)len);
			fix_ip4(cut->b);
		} else {
			sc_put16(cut->b + 4, (uint16_t)(len - 40));
		}
		r = exact_parse(cut->b, len, &p);
		if (len < need)
			CHECK_EQ(r, SC_DROP_truncated);
		else
			CHECK_EQ(r, SC_OK);
	}
	free(cut);
}

TEST("TCP over IPv4 is parsed with every length of options of either, and cut anywhere it is truncated")
{
	for (uint32_t options = 0; options <= 40; options += 4) {
		uint32_t tcp_options = 40 - options;

		draft_ip4(&d, SC_PROTO_TCP, CLIENT, VIP, options, 0x4000);
		draft_tcp(&d, 40000, 443, SYN | ACK, tcp_options, 11);
		draft_done(&d);
		REQUIRE(parse() == SC_OK);
		check_flow(4, SC_KIND_TCP, SC_PROTO_TCP, 40000, 443);
		CHECK_EQ(ip.tcp_flags, SYN | ACK);
		CHECK_EQ(ip.l4_offset, 20 + options);
		CHECK_EQ(ip.payload_offset, 20 + options + 20 + tcp_options);
		CHECK_EQ(ip.total_len, d.len);
		CHECK(ip.df);
		CHECK(!ip.first_fragment);
		check_truncations(ip.payload_offset);
	}
}

TEST("UDP over either family is parsed, and cut anywhere it is truncated")
{
	for (int family = 4; family <= 6; family += 2) {
		draft_client(&d, family, SC_PROTO_UDP, CLIENT, VIP, 5353, 53, 0, 30);
		REQUIRE(parse() == SC_OK);
		check_flow(family, SC_KIND_UDP, SC_PROTO_UDP, 5353, 53);
		CHECK_EQ(ip.payload_offset, ip.l4_offset + 8);
		check_truncations(d.len);
	}
}

TEST("IPv6 is parsed behind each extension header of many lengths, and cut anywhere it is truncated")
{
	static const uint8_t types[] = { HOP, ROUTING, FRAGMENT, AUTH, DEST };

	for (unsigned int i = 0; i < sizeof(types); i++) {
		for (uint32_t units = types[i] == AUTH ? 2 : 1; units <= (types[i] == FRAGMENT ? 1 : 5); units++) {
			draft_ip6(&d, types[i], CLIENT, VIP);
			draft_extension(&d, types[i], SC_PROTO_TCP, units);
			draft_tcp(&d, 40000, 443, ACK, 4, 9);
			draft_done(&d);
			REQUIRE(parse() == SC_OK);
			check_flow(6, SC_KIND_TCP, SC_PROTO_TCP, 40000, 443);
			CHECK_EQ(ip.l4_offset, 40 + units * (types[i] == AUTH ? 4 : 8));
			check_truncations(ip.payload_offset);
		}
	}
}

TEST("the longest extension header is walked, and one that claims to be longer than the packet is not")
{
	draft_ip6(&d, DEST, CLIENT, VIP);
	draft_extension(&d, DEST, SC_PROTO_UDP, 256);
	draft_udp(&d, 1, 2, 0);
	draft_done(&d);
	REQUIRE(parse() == SC_OK);
	CHECK_EQ(ip.l4_offset, 40 + 2048);
	for (int claim = 0; claim < 256; claim++) {
		draft_ip6(&d, DEST, CLIENT, VIP);
		draft_extension(&d, DEST, SC_PROTO_UDP, 2);
		draft_udp(&d, 1, 2, 0);
		draft_done(&d);
		d.b[41] = (uint8_t)claim;
		if (claim == 1)
			CHECK_EQ(parse(), SC_OK);
		else if (claim >= 2)
			CHECK_EQ(parse(), SC_DROP_truncated);
		else
			CHECK(parse() != SC_OK);
	}
}

TEST("a chain of as many extension headers as are walked is parsed, and one more is refused")
{
	for (uint32_t n = 1; n <= SC_MAX_EXTENSIONS + 3; n++) {
		draft_ip6(&d, DEST, CLIENT, VIP);
		for (uint32_t i = 0; i < n; i++)
			draft_extension(&d, DEST, i + 1 == n ? SC_PROTO_TCP : DEST, 1);
		draft_tcp(&d, 1, 2, ACK, 0, 0);
		draft_done(&d);
		CHECK_EQ(parse(), n <= SC_MAX_EXTENSIONS ? SC_OK : SC_DROP_too_many_extensions);
	}
}

TEST("lengths that lie are refused for what they are")
{
	draft_client(&d, 4, SC_PROTO_TCP, CLIENT, VIP, 1, 2, ACK, 10);
	for (uint32_t ihl = 0; ihl < 5; ihl++) {
		d.b[0] = (uint8_t)(0x40 | ihl);
		CHECK_EQ(parse(), SC_DROP_bad_header);
	}
	d.b[0] = 0x45;
	for (uint32_t total = 0; total < 20; total++) {
		sc_put16(d.b + 2, (uint16_t)total);
		fix_ip4(d.b);
		CHECK_EQ(parse(), SC_DROP_bad_header);
	}
	sc_put16(d.b + 2, (uint16_t)(d.len + 1));
	fix_ip4(d.b);
	CHECK_EQ(parse(), SC_DROP_truncated);
	sc_put16(d.b + 2, 65535);
	fix_ip4(d.b);
	CHECK_EQ(parse(), SC_DROP_truncated);

	draft_client(&d, 6, SC_PROTO_TCP, CLIENT, VIP, 1, 2, ACK, 10);
	sc_put16(d.b + 4, (uint16_t)(d.len - 39));
	CHECK_EQ(parse(), SC_DROP_truncated);
	sc_put16(d.b + 4, 65535);
	CHECK_EQ(parse(), SC_DROP_truncated);

	for (uint32_t words = 0; words < 16; words++) {
		draft_client(&d, 4, SC_PROTO_TCP, CLIENT, VIP, 1, 2, ACK, 10);
		d.b[32] = (uint8_t)(words << 4);
		CHECK_EQ(parse(), words < 5 ? SC_DROP_bad_header : words > 7 ? SC_DROP_truncated : SC_OK);
	}
	for (uint32_t claim = 0; claim < 40; claim++) {
		draft_client(&d, 4, SC_PROTO_UDP, CLIENT, VIP, 1, 2, 0, 10);
		sc_put16(d.b + 24, (uint16_t)claim);
		CHECK_EQ(parse(), claim < 8 ? SC_DROP_bad_header : claim > 18 ? SC_DROP_truncated : SC_OK);
	}
}

TEST("bytes behind the IP packet's own length are ignored")
{
	for (int family = 4; family <= 6; family += 2) {
		draft_client(&d, family, SC_PROTO_UDP, CLIENT, VIP, 7, 8, 0, 2);
		d.len += 18;
		REQUIRE(parse() == SC_OK);
		CHECK_EQ(ip.total_len, d.len - 18);
	}
}

TEST("versions, checksums and times to live that no router passes on are refused")
{
	draft_client(&d, 4, SC_PROTO_TCP, CLIENT, VIP, 1, 2, ACK, 10);
	for (int version = 0; version < 16; version++) {
		d.b[0] = (uint8_t)(version << 4 | 5);
		if (version != 4 && version != 6)
			CHECK_EQ(parse(), SC_DROP_bad_version);
	}
	d.b[0] = 0x45;
	for (uint32_t bit = 0; bit < 160; bit++) {
		d.b[bit / 8] ^= (uint8_t)(1 << bit % 8);
		CHECK(parse() != SC_OK);
		d.b[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	CHECK_EQ(parse(), SC_OK);
	d.b[8] = 0;
	CHECK_EQ(parse(), SC_DROP_bad_checksum);
	fix_ip4(d.b);
	CHECK_EQ(parse(), SC_DROP_ttl_expired);
	draft_client(&d, 6, SC_PROTO_TCP, CLIENT, VIP, 1, 2, ACK, 10);
	d.b[7] = 0;
	CHECK_EQ(parse(), SC_DROP_ttl_expired);
}

TEST("an IPv4 address mapped into an IPv6 header does not pass for the IPv4 address")
{
	struct sc_addr mapped = ip4(VIP);

	draft_client(&d, 6, SC_PROTO_TCP, CLIENT, VIP, 1, 2, ACK, 10);
	memcpy(d.b + 24, mapped.b, 16);
	CHECK_EQ(parse(), SC_DROP_bad_header);
	draft_client(&d, 6, SC_PROTO_TCP, CLIENT, VIP, 1, 2, ACK, 10);
	memcpy(d.b + 8, mapped.b, 16);
	CHECK_EQ(parse(), SC_DROP_bad_header);
}

TEST("packets up to the largest handled are parsed, and one byte more is too long")
{
	draft_client(&d, 4, SC_PROTO_UDP, CLIENT, VIP, 1, 2, 0, SC_PACKET_MAX - 28);
	CHECK_EQ(d.len, SC_PACKET_MAX);
	CHECK_EQ(parse(), SC_OK);
	draft_client(&d, 4, SC_PROTO_UDP, CLIENT, VIP, 1, 2, 0, SC_PACKET_MAX - 27);
	CHECK_EQ(parse(), SC_DROP_too_long);
	{
		struct exact e = exact_copy(d.b, d.len);

		CHECK_EQ(sc_parse_super(e.p.data, e.p.len, &ip), SC_OK);
		exact_free(&e);
	}
}

TEST("a first fragment has its ports and says so, a later one has none")
{
	draft_ip4(&d, SC_PROTO_UDP, CLIENT, VIP, 0, 0x2000);
	draft_udp(&d, 5, 6, 1000);
	draft_done(&d);
	sc_put16(d.b + 24, 3000);	/* of the whole datagram */
	REQUIRE(parse() == SC_OK);
	check_flow(4, SC_KIND_UDP, SC_PROTO_UDP, 5, 6);
	CHECK(ip.first_fragment);
	CHECK(!ip.df);

	draft_ip4(&d, SC_PROTO_UDP, CLIENT, VIP, 0, 0x2000 | 125);
	draft_payload(&d, 3);		/* no header is expected */
	draft_done(&d);
	REQUIRE(parse() == SC_OK);
	check_flow(4, SC_KIND_FRAGMENT, SC_PROTO_UDP, 0, 0);
	CHECK(!ip.first_fragment);

	draft_ip4(&d, SC_PROTO_UDP, CLIENT, VIP, 0, 1);
	draft_done(&d);
	REQUIRE(parse() == SC_OK);
	CHECK_EQ(ip.kind, SC_KIND_FRAGMENT);
}

TEST("IPv6 fragments: the first has its ports, a later one none, an atomic one is whole, two headers are refused")
{
	for (int more = 0; more < 2; more++) {
		draft_ip6(&d, FRAGMENT, CLIENT, VIP);
		draft_extension(&d, FRAGMENT, SC_PROTO_UDP, 1);
		d.b[43] = (uint8_t)more;
		draft_udp(&d, 5, 6, 100);
		draft_done(&d);
		REQUIRE(parse() == SC_OK);
		check_flow(6, SC_KIND_UDP, SC_PROTO_UDP, 5, 6);
		CHECK_EQ(ip.first_fragment, more);
	}
	draft_ip6(&d, FRAGMENT, CLIENT, VIP);
	draft_extension(&d, FRAGMENT, DEST, 1);
	sc_put16(d.b + 42, 8 << 3 | 1);
	d.b[d.len++] = 0xff;	/* looks like no header */
	d.proto = 0xff;
	draft_done(&d);
	REQUIRE(parse() == SC_OK);
	check_flow(6, SC_KIND_FRAGMENT, DEST, 0, 0);

	draft_ip6(&d, FRAGMENT, CLIENT, VIP);
	draft_extension(&d, FRAGMENT, FRAGMENT, 1);
	d.b[43] = 1;
	draft_extension(&d, FRAGMENT, SC_PROTO_UDP, 1);
	draft_udp(&d, 5, 6, 100);
	draft_done(&d);
	CHECK_EQ(parse(), SC_DROP_bad_header);
}

TEST("a fragment that would reach beyond the longest datagram is refused")
{
	draft_ip4(&d, SC_PROTO_UDP, CLIENT, VIP, 0, 0x1fff);
	draft_payload(&d, 7);
	draft_done(&d);
	CHECK_EQ(parse(), SC_OK);
	draft_payload(&d, 1);
	draft_done(&d);
	CHECK_EQ(parse(), SC_DROP_bad_header);
	draft_ip6(&d, FRAGMENT, CLIENT, VIP);
	draft_extension(&d, FRAGMENT, SC_PROTO_UDP, 1);
	sc_put16(d.b + 42, 0xfff8);
	draft_payload(&d, 8);
	d.proto = 0xff;
	draft_done(&d);
	CHECK_EQ(parse(), SC_DROP_bad_header);
}

/* An ICMP error from a router that quotes n bytes of q. */
static void quote(int family, uint8_t type, uint8_t code, uint32_t n)
{
	if (family == 4)
		draft_ip4(&d, SC_PROTO_ICMP, ROUTER, VIP, 0, 0);
	else
		draft_ip6(&d, SC_PROTO_ICMP6, ROUTER, VIP);
	draft_icmp(&d, type, code);
	memcpy(d.b + d.len, q.b, n);
	d.len += n;
	draft_done(&d);
}

TEST("an ICMP error is about the flow that it quotes, seen from the client, from 8 transport bytes on")
{
	static const uint8_t types[2][4] = { { 3, 11, 12, 0 }, { 1, 2, 3, 4 } };

	for (int family = 4; family <= 6; family += 2) {
		for (int proto = SC_PROTO_TCP; proto <= SC_PROTO_UDP; proto += SC_PROTO_UDP - SC_PROTO_TCP) {
			uint32_t header = family == 4 ? 20 : 40;

			draft_client(&q, family, (uint8_t)proto, VIP, CLIENT, 443, 40000, ACK, 100);
			for (uint32_t n = 0; n <= q.len; n++) {
				quote(family, types[family / 6][0], 1, n);
				if (n < header)
					CHECK_EQ(parse(), SC_DROP_bad_header);
				else if (n < header + 8)
					CHECK_EQ(parse(), SC_DROP_truncated);
				else
					CHECK_EQ(parse(), SC_OK);
				if (n < header + 8)
					continue;
				check_flow(family, SC_KIND_ICMP_ERROR, (uint8_t)proto, 40000, 443);
			}
			for (int i = 0; i < (family == 4 ? 3 : 4); i++) {
				quote(family, types[family / 6][i], 0, q.len);
				CHECK_EQ(parse(), SC_OK);
			}
		}
	}
}

TEST("an ICMP error that quotes options or extension headers is understood")
{
	draft_ip4(&q, SC_PROTO_TCP, VIP, CLIENT, 12, 0x4000);
	draft_tcp(&q, 443, 40000, ACK, 0, 0);
	draft_done(&q);
	quote(4, 3, 4, 40);
	CHECK_EQ(parse(), SC_OK);
	check_flow(4, SC_KIND_ICMP_ERROR, SC_PROTO_TCP, 40000, 443);
	for (uint32_t n = 20; n < 40; n++) {
		quote(4, 3, 4, n);
		CHECK_EQ(parse(), SC_DROP_truncated);
	}
	draft_ip6(&q, DEST, VIP, CLIENT);
	draft_extension(&q, DEST, SC_PROTO_TCP, 3);
	draft_tcp(&q, 443, 40000, ACK, 0, 0);
	draft_done(&q);
	quote(6, 2, 0, 40 + 24 + 8);
	CHECK_EQ(parse(), SC_OK);
	check_flow(6, SC_KIND_ICMP_ERROR, SC_PROTO_TCP, 40000, 443);
}

TEST("an ICMP error about something that is not ours is refused")
{
	draft_client(&q, 4, SC_PROTO_TCP, VIP + 1, CLIENT, 443, 40000, ACK, 0);
	quote(4, 3, 1, q.len);
	CHECK_EQ(parse(), SC_DROP_bad_header);
	draft_client(&q, 6, SC_PROTO_TCP, VIP, CLIENT, 443, 40000, ACK, 0);
	quote(4, 3, 1, q.len);
	CHECK_EQ(parse(), SC_DROP_bad_header);
	draft_ip4(&q, 47, VIP, CLIENT, 0, 0);
	draft_payload(&q, 30);
	quote(4, 3, 1, q.len);
	CHECK_EQ(parse(), SC_DROP_unknown_protocol);
	draft_ip4(&q, SC_PROTO_UDP, VIP, CLIENT, 0, 100);
	draft_payload(&q, 30);
	quote(4, 3, 1, q.len);
	CHECK_EQ(parse(), SC_DROP_fragment);
	draft_client(&q, 4, SC_PROTO_TCP, VIP, CLIENT, 443, 40000, ACK, 0);
	q.b[0] = 0x44;
	quote(4, 3, 1, q.len);
	CHECK_EQ(parse(), SC_DROP_bad_header);
	q.b[0] = 0x4f;
	quote(4, 3, 1, q.len);
	CHECK_EQ(parse(), SC_DROP_truncated);
}

TEST("echo requests are pings, and no other ICMP message is anything")
{
	for (int type = 0; type < 256; type++) {
		memset(&q, 0, sizeof(q));
		quote(4, (uint8_t)type, 0, 0);
		if (type == 8)
			CHECK(parse() == SC_OK && ip.kind == SC_KIND_ICMP_ECHO);
		else
			CHECK_EQ(parse(), type == 3 || type == 11 || type == 12 ? SC_DROP_bad_header : SC_DROP_unknown_protocol);
		quote(6, (uint8_t)type, 0, 0);
		if (type == 128)
			CHECK(parse() == SC_OK && ip.kind == SC_KIND_ICMP_ECHO);
		else
			CHECK_EQ(parse(), type >= 1 && type <= 4 ? SC_DROP_bad_header : SC_DROP_unknown_protocol);
	}
	for (uint32_t n = 0; n < 8; n++) {
		draft_ip4(&d, SC_PROTO_ICMP, CLIENT, VIP, 0, 0);
		d.b[20] = 8;
		d.len += n;
		d.proto = 0xff;
		draft_done(&d);
		CHECK_EQ(parse(), SC_DROP_truncated);
	}
}

TEST("each family has its own ICMP, and other protocols are refused")
{
	draft_ip4(&d, SC_PROTO_ICMP6, CLIENT, VIP, 0, 0);
	draft_icmp(&d, 128, 0);
	d.proto = 0xff;
	draft_done(&d);
	CHECK_EQ(parse(), SC_DROP_unknown_protocol);
	draft_ip6(&d, SC_PROTO_ICMP, CLIENT, VIP);
	draft_icmp(&d, 8, 0);
	d.proto = 0xff;
	draft_done(&d);
	CHECK_EQ(parse(), SC_DROP_unknown_protocol);
	for (int proto = 0; proto < 256; proto++) {
		if (proto == SC_PROTO_TCP || proto == SC_PROTO_UDP || proto == SC_PROTO_ICMP)
			continue;
		draft_ip4(&d, (uint8_t)proto, CLIENT, VIP, 0, 0);
		draft_payload(&d, 40);
		d.proto = 0xff;
		draft_done(&d);
		CHECK_EQ(parse(), SC_DROP_unknown_protocol);
	}
}

TEST("checksums agree with the slow way of RFC 1071 for every length and alignment")
{
	uint64_t random = check_seed();
	uint8_t bytes[200];

	for (int round = 0; round < 50; round++) {
		for (unsigned int i = 0; i < sizeof(bytes); i++)
			bytes[i] = round == 0 ? 0xff : (uint8_t)check_random(&random);
		for (uint32_t len = 0; len < 150; len++) {
			uint32_t at = (uint32_t)check_random(&random) % 50;
			uint16_t fast = sc_fold(sc_sum(bytes + at, len, 0x1fffe)), slow = naive_sum(bytes + at, len, 0);

			/* 0xffff and 0 are the same number. */
			CHECK_EQ(fast % 0xffff, slow % 0xffff);
		}
	}
}

TEST("no random packet is read beyond its end")
{
	uint64_t random = check_seed();

	for (int round = 0; round < 200000; round++) {
		uint32_t len = (uint32_t)check_random(&random) % 120;

		for (uint32_t i = 0; i < len; i += 8)
			sc_put64(d.b + i, check_random(&random));
		d.b[0] = (uint8_t)(round % 2 ? 0x60 | (d.b[0] & 15) : 0x40 | (5 + d.b[0] % 3));
		if (round % 2) {
			static const uint8_t next[] = { 0, 43, 44, 51, 60, 6, 17, 58 };

			sc_put16(d.b + 4, (uint16_t)(len > 40 ? len - 40 : 0));
			for (uint32_t i = 40; i < 120; i += 8) {
				d.b[i] = next[d.b[i] % 8];
				d.b[i + 1] %= 2;
			}
			d.b[6] = next[d.b[6] % 8];
		} else {
			static const uint8_t proto[] = { 1, 6, 17 };

			sc_put16(d.b + 2, (uint16_t)len);
			d.b[9] = proto[d.b[9] % 3];
			d.b[20] = d.b[20] % 3 ? 3 : d.b[20];
			if (len >= 60)
				fix_ip4(d.b);
		}
		d.len = len;
		if (parse() == SC_OK)
			CHECK(ip.total_len <= len && ip.l4_offset <= ip.total_len && ip.payload_offset <= ip.total_len);
	}
}

CHECK_MAIN
