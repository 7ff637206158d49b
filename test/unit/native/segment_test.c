/* Cutting: every part is compared with what a byte-by-byte reading of RFC 9293, RFC
 * 768 and RFC 1071 expects, with a checksum of the test's own. */
#include "check.h"

#include <errno.h>

#include "naive.h"
#include "segment.h"

enum { TCP = 6, UDP = 17, FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16, URG = 32, CWR = 128 };

struct made {
	uint8_t data[65535];
	uint32_t len, l4, payload;
	uint8_t family, proto;
};

static void put_ip4(struct made *m, uint64_t *seed, uint32_t options, uint8_t proto)
{
	m->data[0] = (uint8_t)(0x40 | (5 + options / 4));
	m->data[4] = (uint8_t)check_random(seed);
	m->data[5] = (uint8_t)check_random(seed);
	m->data[6] = check_random(seed) % 2 ? 0x40 : 0;
	m->data[8] = 64;
	m->data[9] = proto;
	for (int i = 12; i < 20; i++)
		m->data[i] = (uint8_t)check_random(seed);
	memset(m->data + 20, 1, options);	/* no-operation */
	m->l4 = 20 + options;
}

static void put_ip6(struct made *m, uint64_t *seed, uint32_t extensions, uint8_t proto)
{
	static const uint8_t chain[4] = { 0, 60, 43, 60 };	/* hop-by-hop, destination, routing */
	uint8_t *next = &m->data[6];

	m->data[0] = 0x60;
	m->data[7] = 64;
	for (int i = 8; i < 40; i++)
		m->data[i] = (uint8_t)check_random(seed);
	m->l4 = 40;
	for (uint32_t i = 0; i < extensions; i++) {
		uint8_t units = (uint8_t)(check_random(seed) % 3);

		*next = chain[i];
		next = m->data + m->l4;
		memset(next, 0, 8u * (units + 1));
		next[1] = units;
		if (chain[i] != 43 && units) {	/* PadN over all of it */
			next[2] = 1;
			next[3] = (uint8_t)(8 * (units + 1) - 4);
		}
		m->l4 += 8u * (units + 1);
	}
	*next = proto;
}

/* A super-packet of random headers and payload_len random bytes. */
static void make_super(struct made *m, uint64_t *seed, uint8_t family, uint8_t proto,
		       uint32_t payload_len, uint8_t flags)
{
	uint32_t tcp_options = proto == TCP ? (uint32_t)(check_random(seed) % 11) * 4 : 0;
	uint8_t *l4;

	memset(m->data, 0, 512);
	m->family = family;
	m->proto = proto;
	if (family == 4)
		put_ip4(m, seed, (uint32_t)(check_random(seed) % 11) * 4, proto);
	else
		put_ip6(m, seed, (uint32_t)(check_random(seed) % 5), proto);
	l4 = m->data + m->l4;
	m->payload = m->l4 + (proto == TCP ? 20 + tcp_options : 8);
	m->len = m->payload + payload_len;
	for (uint32_t i = m->l4; i < m->len; i++)
		m->data[i] = (uint8_t)check_random(seed);
	if (proto == TCP) {
		l4[12] = (uint8_t)((5 + tcp_options / 4) << 4);
		l4[13] = flags;
	} else {
		sc_put16(l4 + 4, (uint16_t)(m->len - m->l4));
	}
	if (family == 4) {
		sc_put16(m->data + 2, (uint16_t)m->len);
		sc_put16(m->data + 10, (uint16_t)~naive_sum(m->data, m->l4, 0));
	} else {
		sc_put16(m->data + 4, (uint16_t)(m->len - 40));
	}
}

/* What part index of m must look like, byte for byte, its transport checksum excepted. */
static uint32_t expect_part(const struct made *m, uint32_t part_len, uint32_t index, uint8_t *out)
{
	uint32_t payload = m->len - m->payload;
	uint32_t offset = index * part_len;
	uint32_t n = payload - offset < part_len ? payload - offset : part_len;
	uint32_t len = m->payload + n;
	uint8_t *l4 = out + m->l4;
	uint16_t urgent;

	memcpy(out, m->data, m->payload);
	memcpy(out + m->payload, m->data + m->payload + offset, n);
	if (m->family == 4) {
		sc_put16(out + 2, (uint16_t)len);
		sc_put16(out + 4, (uint16_t)(sc_get16(out + 4) + index));
		sc_put16(out + 10, 0);
		sc_put16(out + 10, (uint16_t)~naive_sum(out, m->l4, 0));
	} else {
		sc_put16(out + 4, (uint16_t)(len - 40));
	}
	if (m->proto == UDP) {
		sc_put16(l4 + 4, (uint16_t)(len - m->l4));
		return len;
	}
	sc_put32(l4 + 4, sc_get32(l4 + 4) + offset);
	if (offset + n < payload)
		l4[13] &= (uint8_t)~(FIN | PSH);
	if (offset > 0) {
		l4[13] &= (uint8_t)~CWR;
		urgent = sc_get16(l4 + 18);
		if (l4[13] & URG && urgent <= offset) {
			l4[13] &= (uint8_t)~URG;
			sc_put16(l4 + 18, 0);
		} else if (l4[13] & URG) {
			sc_put16(l4 + 18, (uint16_t)(urgent - offset));
		}
	}
	return len;
}

static bool check_parts(const struct made *m, uint32_t part_len)
{
	static uint8_t buffer[65535], expected[65535];
	uint32_t payload = m->len - m->payload;
	uint32_t parts = payload ? (payload + part_len - 1) / part_len : 1;
	uint32_t at = m->l4 + (m->proto == TCP ? 16 : 6);
	struct sc_segment_plan plan;
	struct sc_parsed p;

	if (!CHECK_EQ(sc_parse_super(m->data, m->len, &p), SC_OK) ||
	    !CHECK_EQ(sc_segment_plan(m->data, &p, part_len, &plan), 0) ||
	    !CHECK_EQ(plan.parts, parts))
		return false;
	for (uint32_t i = 0; i < parts; i++) {
		struct sc_packet out = { .data = buffer };
		uint32_t len = expect_part(m, part_len, i, expected);

		sc_segment_make(&plan, i, &out);
		if (!CHECK_EQ(out.len, len) || !CHECK(out.len <= sc_segment_longest(&plan)))
			return false;
		memcpy(expected + at, buffer + at, 2);
		if (!CHECK_MEM(buffer, expected, len) ||
		    !CHECK(naive_transport_good(buffer, len, m->l4, m->proto)) ||
		    !CHECK(sc_get16(buffer + at) != 0))
			return false;
	}
	return true;
}

static struct made made;

TEST("random super-packets are cut into exactly the parts that the standards ask for")
{
	uint64_t seed = check_seed();

	for (int i = 0; i < 400; i++) {
		uint8_t family = check_random(&seed) % 2 ? 4 : 6;
		uint8_t proto = check_random(&seed) % 4 ? TCP : UDP;
		uint8_t flags = (uint8_t)(check_random(&seed) & ~(uint64_t)(SYN | RST));
		uint32_t payload = (uint32_t)(check_random(&seed) % (i % 8 ? 9000 : 65000));
		uint32_t part = 1 + (uint32_t)(check_random(&seed) % 1500);

		if (payload / part > 200)
			part = payload / 200 + 1;
		make_super(&made, &seed, family, proto, payload, flags);
		if (!check_parts(&made, part)) {
			printf("#   round %d: IPv%d, protocol %d, payload %u in parts of %u\n", i,
			       family, proto, payload, part);
			return;
		}
	}
}

TEST("FIN and PSH stay on the last part only, CWR on the first only")
{
	static uint8_t buffer[2000];
	struct sc_packet out = { .data = buffer };
	struct sc_segment_plan plan;
	struct sc_parsed p;
	uint64_t seed = 1;

	make_super(&made, &seed, 4, TCP, 3000, ACK | FIN | PSH | CWR);
	REQUIRE(sc_parse_super(made.data, made.len, &p) == SC_OK);
	REQUIRE(sc_segment_plan(made.data, &p, 1000, &plan) == 0);
	REQUIRE(plan.parts == 3);
	sc_segment_make(&plan, 0, &out);
	CHECK_EQ(buffer[made.l4 + 13], ACK | CWR);
	sc_segment_make(&plan, 1, &out);
	CHECK_EQ(buffer[made.l4 + 13], ACK);
	sc_segment_make(&plan, 2, &out);
	CHECK_EQ(buffer[made.l4 + 13], ACK | FIN | PSH);
}

TEST("an urgent pointer goes on pointing at the same byte")
{
	static uint8_t buffer[2000];
	struct sc_packet out = { .data = buffer };
	struct sc_segment_plan plan;
	struct sc_parsed p;
	uint64_t seed = 1;

	make_super(&made, &seed, 6, TCP, 3000, ACK | URG);
	sc_put16(made.data + made.l4 + 18, 1500);
	REQUIRE(sc_parse_super(made.data, made.len, &p) == SC_OK);
	REQUIRE(sc_segment_plan(made.data, &p, 1000, &plan) == 0);
	sc_segment_make(&plan, 1, &out);
	CHECK_EQ(buffer[made.l4 + 13], ACK | URG);
	CHECK_EQ(sc_get16(buffer + made.l4 + 18), 500);
	sc_segment_make(&plan, 2, &out);
	CHECK_EQ(buffer[made.l4 + 13], ACK);
}

TEST("a packet that fits is one part, the same but for its checksum")
{
	uint64_t seed = check_seed();

	make_super(&made, &seed, 4, TCP, 0, ACK | FIN);
	CHECK(check_parts(&made, 1460));
	make_super(&made, &seed, 6, TCP, 1440, ACK | FIN);
	CHECK(check_parts(&made, 1440));
}

TEST("what cannot be cut is refused")
{
	struct sc_segment_plan plan;
	struct sc_parsed p;
	uint64_t seed = 1;

	make_super(&made, &seed, 4, TCP, 2000, SYN);
	REQUIRE(sc_parse_super(made.data, made.len, &p) == SC_OK);
	CHECK_EQ(sc_segment_plan(made.data, &p, 1000, &plan), -EINVAL);
	CHECK_EQ(sc_segment_plan(made.data, &p, 2000, &plan), 0);
	CHECK_EQ(sc_segment_plan(made.data, &p, 0, &plan), -EINVAL);
	p.tcp_flags = RST;
	CHECK_EQ(sc_segment_plan(made.data, &p, 1000, &plan), -EINVAL);
	p.tcp_flags = ACK;
	p.first_fragment = true;
	CHECK_EQ(sc_segment_plan(made.data, &p, 1000, &plan), -EINVAL);
	p.first_fragment = false;
	p.kind = SC_KIND_ICMP_ERROR;
	CHECK_EQ(sc_segment_plan(made.data, &p, 1000, &plan), -EINVAL);
}

TEST("a partial checksum is completed, over IPv4 and IPv6")
{
	uint64_t seed = check_seed();

	for (int i = 0; i < 200; i++) {
		uint8_t family = i % 2 ? 4 : 6;
		uint8_t proto = i % 3 ? TCP : UDP;
		uint32_t field = proto == TCP ? 16 : 6;
		uint8_t pseudo[40] = { 0 };
		uint32_t n = family == 4 ? 8 : 32;

		make_super(&made, &seed, family, proto, (uint32_t)(check_random(&seed) % 1500), ACK);
		memcpy(pseudo, made.data + (family == 4 ? 12 : 8), n);
		sc_put16(pseudo + n + 2, (uint16_t)(made.len - made.l4));
		pseudo[n + 7] = proto;
		sc_put16(made.data + made.l4 + field, naive_sum(pseudo, n + 8, 0));
		REQUIRE(sc_finish_checksum(made.data, made.len, made.l4, field) == 0);
		REQUIRE(naive_transport_good(made.data, made.len, made.l4, proto));
	}
}

TEST("a checksum that comes out as 0 is written as 0xffff")
{
	/* The field holds 0xffff and the only other word is 0: the sum is minus zero. */
	uint8_t data[4] = { 0xff, 0xff, 0, 0 };

	CHECK_EQ(sc_finish_checksum(data, sizeof(data), 0, 0), 0);
	CHECK_EQ(sc_get16(data), 0xffff);
}

TEST("a checksum place outside the packet is refused and nothing is written")
{
	static const uint32_t places[][2] = {
		{ 0, 39 }, { 39, 0 }, { 40, 0 }, { 20, 19 }, { 0xffff, 0 }, { 0, 0xffff },
		{ UINT32_MAX, 2 }, { 2, UINT32_MAX }, { UINT32_MAX, UINT32_MAX },
	};
	uint8_t *data = calloc(1, 40);	/* on the heap: the sanitizer sees a byte too far */

	REQUIRE(data);
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		CHECK_EQ(sc_finish_checksum(data, 40, places[i][0], places[i][1]), -EINVAL);
	for (int i = 0; i < 40; i++)
		CHECK_EQ(data[i], 0);
	CHECK_EQ(sc_finish_checksum(data, 40, 20, 18), 0);
	CHECK_EQ(sc_finish_checksum(data, 1, 0, 0), -EINVAL);
	CHECK_EQ(sc_finish_checksum(data, 0, 0, 0), -EINVAL);
	free(data);
}

TEST("a wrong checksum is told from a right one")
{
	static uint8_t buffer[65535];
	struct sc_packet out = { .data = buffer };
	struct sc_segment_plan plan;
	struct sc_parsed p;
	uint64_t seed = check_seed();

	for (int i = 0; i < 100; i++) {
		uint8_t proto = i % 3 ? TCP : UDP;

		make_super(&made, &seed, i % 2 ? 4 : 6, proto, 1 + (uint32_t)i, ACK);
		REQUIRE(sc_parse_super(made.data, made.len, &p) == SC_OK);
		REQUIRE(sc_segment_plan(made.data, &p, 1000, &plan) == 0);
		sc_segment_make(&plan, 0, &out);
		REQUIRE(sc_checksum_good(buffer, &p));
		buffer[out.len - 1] ^= 0x10;
		REQUIRE(!sc_checksum_good(buffer, &p));
	}
	make_super(&made, &seed, 4, UDP, 10, 0);
	sc_put16(made.data + made.l4 + 6, 0);
	REQUIRE(sc_parse_super(made.data, made.len, &p) == SC_OK);
	CHECK(sc_checksum_good(made.data, &p));
	p.kind = SC_KIND_ICMP_ECHO;
	CHECK(!sc_checksum_good(made.data, &p));
}

CHECK_MAIN
