/* SipHash-2-4 against the vectors of its reference implementation, and tags as bytes. */
#include "check.h"
#include "gue.h"
#include "siphash.h"

/* Of vectors_sip64 in the reference implementation (github.com/veorq/SipHash, vectors.h): key 00..0f, input 00, 00 01,
 * and so on, by length; output as the 8 bytes that it writes. Length 15 is the example of the paper's appendix A. */
static const struct {
	size_t len;
	uint8_t tag[8];
} vectors[] = {
	{ 0, { 0x31, 0x0e, 0x0e, 0xdd, 0x47, 0xdb, 0x6f, 0x72 } },
	{ 1, { 0xfd, 0x67, 0xdc, 0x93, 0xc5, 0x39, 0xf8, 0x74 } },
	{ 2, { 0x5a, 0x4f, 0xa9, 0xd9, 0x09, 0x80, 0x6c, 0x0d } },
	{ 3, { 0x2d, 0x7e, 0xfb, 0xd7, 0x96, 0x66, 0x67, 0x85 } },
	{ 4, { 0xb7, 0x87, 0x71, 0x27, 0xe0, 0x94, 0x27, 0xcf } },
	{ 5, { 0x8d, 0xa6, 0x99, 0xcd, 0x64, 0x55, 0x76, 0x18 } },
	{ 6, { 0xce, 0xe3, 0xfe, 0x58, 0x6e, 0x46, 0xc9, 0xcb } },
	{ 7, { 0x37, 0xd1, 0x01, 0x8b, 0xf5, 0x00, 0x02, 0xab } },
	{ 8, { 0x62, 0x24, 0x93, 0x9a, 0x79, 0xf5, 0xf5, 0x93 } },
	{ 9, { 0xb0, 0xe4, 0xa9, 0x0b, 0xdf, 0x82, 0x00, 0x9e } },
	{ 10, { 0xf3, 0xb9, 0xdd, 0x94, 0xc5, 0xbb, 0x5d, 0x7a } },
	{ 15, { 0xe5, 0x45, 0xbe, 0x49, 0x61, 0xca, 0x29, 0xa1 } },
	{ 63, { 0x72, 0x45, 0x06, 0xeb, 0x4c, 0x32, 0x8a, 0x95 } },
};

TEST("SipHash-2-4 gives what the reference implementation gives")
{
	uint8_t key[16], input[64];

	for (int i = 0; i < 64; i++)
		input[i] = (uint8_t)i;
	memcpy(key, input, sizeof(key));
	for (unsigned int i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		uint8_t *exact = malloc(vectors[i].len);
		uint8_t tag[8];

		memcpy(exact, input, vectors[i].len);
		sc_put_tag(tag, sc_siphash(key, exact, vectors[i].len));
		CHECK_MEM(tag, vectors[i].tag, 8);
		free(exact);
	}
	CHECK_EQ(sc_siphash(key, input, 15), 0xa129ca6149be45e5ull);
}

TEST("a tag differs when any bit of either address, of what is tagged or of the key does")
{
	struct sc_key key = { .id = 1, .key = "fedcba987654321" };
	struct sc_addr a = { .b = { 1 } }, b = { .b = { 2 } };
	uint8_t head[8] = { 3 }, inner[64] = { 4 };
	uint64_t tag = sc_tag(&key, &a, &b, head, 8, inner, 64);
	struct { uint8_t *bytes; uint32_t len; } parts[] = {
		{ a.b, 16 }, { b.b, 16 }, { head, 8 }, { inner, 64 }, { key.key, 16 },
	};

	for (int i = 0; i < 5; i++) {
		for (uint32_t bit = 0; bit < parts[i].len * 8; bit++) {
			parts[i].bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
			CHECK(sc_tag(&key, &a, &b, head, 8, inner, 64) != tag);
			parts[i].bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
	}
	CHECK_EQ(sc_tag(&key, &a, &b, head, 8, inner, 64), tag);
	CHECK(sc_tag(&key, &b, &a, head, 8, inner, 64) != tag);
	CHECK(sc_tag(&key, &a, &b, head, 8, inner, 63) != tag);
}

TEST("a tag is recognized by all of its 8 bytes")
{
	uint8_t bytes[8];

	sc_put_tag(bytes, 0x0102030405060708ull);
	CHECK_EQ(bytes[0], 8);
	CHECK(sc_tag_is(bytes, 0x0102030405060708ull));
	for (int bit = 0; bit < 64; bit++)
		CHECK(!sc_tag_is(bytes, 0x0102030405060708ull ^ 1ull << bit));
}

CHECK_MAIN
