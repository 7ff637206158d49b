/* XXH64 against published values, flow ids against the byte layout of docs/wire-format.md section 1. */
#include "check.h"
#include "flow_id.h"
#include "packets.h"

#define PRIME32	2654435761u
#define PRIME64	11400714785074694797ull

/* The sanity buffer of the xxHash repository's own tests (xsum_sanity_check.c). */
static void sanity_buffer(uint8_t *b, size_t len)
{
	uint64_t gen = PRIME32;

	for (size_t i = 0; i < len; i++) {
		b[i] = (uint8_t)(gen >> 56);
		gen *= PRIME64;
	}
}

TEST("XXH64 gives the values that the xxHash repository tests itself with")
{
	static const struct { size_t len; uint64_t seed, hash; } vectors[] = {
		{ 0, 0, 0xef46db3751d8e999ull },
		{ 0, PRIME32, 0xac75fda2929b17efull },
		{ 1, 0, 0xe934a84adb052768ull },
		{ 1, PRIME32, 0x5014607643a9b4c3ull },
		{ 4, 0, 0x9136a0dca57457eeull },
		{ 14, 0, 0x8282dcc4994e35c8ull },
		{ 14, PRIME32, 0xc3bd6bf63deb6df0ull },
		{ 222, 0, 0xb641ae8cb691c174ull },
		{ 222, PRIME32, 0x20cb8ab7ae10c14aull },
	};

	for (unsigned int i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		uint8_t *b = malloc(vectors[i].len);

		sanity_buffer(b, vectors[i].len);
		CHECK_EQ(sc_xxh64(b, vectors[i].len, vectors[i].seed), vectors[i].hash);
		free(b);
	}
}

TEST("XXH64 gives the well-known values of short texts")
{
	CHECK_EQ(sc_xxh64("", 0, 0), 0xef46db3751d8e999ull);
	CHECK_EQ(sc_xxh64("a", 1, 0), 0xd24ec4f1a98c6e5bull);
	CHECK_EQ(sc_xxh64("abc", 3, 0), 0x44bc2cf5ad770999ull);
}

TEST("a flow id is XXH64 over the 40 bytes of the page")
{
	struct sc_addr client = ip4(0xcb007107), vip = ip4(0xc633640a);
	uint8_t bytes[40] = {
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 203, 0, 113, 7,
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 198, 51, 100, 10,
		0x9c, 0x41, 0x01, 0xbb, 6, 0, 0, 0,
	};

	CHECK_EQ(sc_flow_id(&client, &vip, 40001, 443, 6, 99), sc_xxh64(bytes, 40, 99));
}

TEST("flow ids differ by every field, by direction and by seed")
{
	struct sc_addr a = ip4(1), b = ip4(2), a6 = ip6(1);
	uint64_t id = sc_flow_id(&a, &b, 3, 4, 6, 5);

	CHECK(sc_flow_id(&b, &a, 3, 4, 6, 5) != id);
	CHECK(sc_flow_id(&a, &b, 4, 3, 6, 5) != id);
	CHECK(sc_flow_id(&a, &b, 3, 4, 17, 5) != id);
	CHECK(sc_flow_id(&a, &b, 3, 4, 6, 6) != id);
	CHECK(sc_flow_id(&a6, &b, 3, 4, 6, 5) != id);
}

TEST("the Maglev slot is below the table's size for every id, and spread over it")
{
	uint32_t hits[251] = { 0 };
	uint64_t random = 1;

	CHECK_EQ(sc_maglev_slot(0, 65537), 0);
	CHECK_EQ(sc_maglev_slot(UINT64_MAX, 65537), 65536);
	CHECK_EQ(sc_maglev_slot(UINT64_MAX, 1), 0);
	CHECK_EQ(sc_maglev_slot(UINT64_MAX, SC_MAX_SLOTS), SC_MAX_SLOTS - 1);
	for (int i = 0; i < 251000; i++)
		hits[sc_maglev_slot(check_random(&random), 251)]++;
	for (int i = 0; i < 251; i++)
		CHECK(hits[i] > 800 && hits[i] < 1200);
}

TEST("the home row is bits 20 to 31 of the id, counted from the most significant")
{
	CHECK_EQ(sc_home_row(0x00000abc00000000ull), 0xabc);
	CHECK_EQ(sc_home_row(0xfffff123ffffffffull), 0x123);
}

CHECK_MAIN
