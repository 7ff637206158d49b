/* Whole small fleets of the data path in virtual time. */
#include "check.h"
#include "fleet.h"

enum { CLIENT = 0xcb007101 };

TEST("a flow begun at one PoP keeps its backend at every other")
{
	struct fleet f;

	fleet_start(&f, 3, 1, 2, 1024);
	fleet_run(&f, 5 * SC_S);
	for (uint16_t port = 1000; port < 1100; port++) {
		uint32_t at = fleet_client(&f, 1 + port % 3, 1, CLIENT, port, SC_TCP_SYN, 0);

		REQUIRE(at != 0);
		fleet_run(&f, 50 * SC_MS);
		for (int pop = 1; pop <= 3; pop++) {
			CHECK_EQ(fleet_client(&f, pop, 1, CLIENT, port, SC_TCP_ACK, 0), at);
			CHECK_EQ(fleet_client(&f, pop, 1, CLIENT, port, SC_TCP_ACK | SC_TCP_PSH, 1360), at);
		}
	}
	fleet_stop(&f);
}

TEST("with two nodes a PoP it matters to no flow which of them its packets reach")
{
	struct fleet f;

	fleet_start(&f, 3, 2, 3, 4096);
	fleet_run(&f, 5 * SC_S);
	for (uint16_t port = 1000; port < 1200; port++) {
		uint32_t at = fleet_client(&f, 1 + port % 3, 1 + port % 2, CLIENT, port, SC_TCP_SYN, 0);

		REQUIRE(at != 0);
		fleet_run(&f, 20 * SC_MS);
		for (int pop = 1; pop <= 3; pop++) {
			for (int n = 1; n <= 2; n++) {
				CHECK_EQ(fleet_client(&f, pop, n, CLIENT, port, SC_TCP_ACK, 0), at);
				CHECK_EQ(fleet_client(&f, pop, n, CLIENT, port, SC_TCP_ACK, 100), at);
			}
		}
		CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, port, SC_TCP_FIN | SC_TCP_ACK, 0), at);
		CHECK_EQ(fleet_client(&f, 2, 2, CLIENT, port, SC_TCP_ACK, 0), at);
	}
	fleet_stop(&f);
}

TEST("an unknown flow gets silence, then, after two certain refusals 500 ms apart, the Maglev choice")
{
	struct fleet f;

	fleet_start(&f, 2, 1, 2, 1024);
	CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, 999, SC_TCP_ACK, 0), 0);
	CHECK_EQ(f.counters[0][SC_DROP_uncertain], 1);
	fleet_run(&f, 5 * SC_S);
	CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, 999, SC_TCP_ACK, 0), 0);
	CHECK_EQ(f.counters[0][SC_DROP_first_refusal], 1);
	fleet_run(&f, 400 * SC_MS);
	CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, 999, SC_TCP_ACK, 0), 0);
	fleet_run(&f, 1200 * SC_MS);
	CHECK(fleet_client(&f, 1, 1, CLIENT, 999, SC_TCP_ACK, 0) != 0);
	CHECK_EQ(f.counters[0][SC_C_certain_no], 1);
	fleet_stop(&f);
}

TEST("a publication lost on the wire is sent again and known then")
{
	struct fleet f;
	uint32_t at;

	fleet_start(&f, 2, 1, 2, 1024);
	fleet_run(&f, 5 * SC_S);
	at = fleet_client(&f, 1, 1, CLIENT, 7, SC_TCP_SYN, 0);
	REQUIRE(at != 0);
	f.lose = 1;
	fleet_run(&f, 4 * SC_MS);
	CHECK_EQ(f.lose, 0);
	CHECK_EQ(fleet_client(&f, 2, 1, CLIENT, 7, SC_TCP_ACK, 0), 0);
	fleet_run(&f, 450 * SC_MS);
	CHECK_EQ(f.counters[0][SC_C_publish_batches_resent], 1);
	CHECK_EQ(fleet_client(&f, 2, 1, CLIENT, 7, SC_TCP_ACK, 0), at);
	fleet_stop(&f);
}

TEST("a publication lost twice is not taken for a certain no")
{
	struct fleet f;
	uint32_t at;

	fleet_start(&f, 2, 1, 2, 1024);
	fleet_run(&f, 5 * SC_S);
	at = fleet_client(&f, 1, 1, CLIENT, 7, SC_TCP_SYN, 0);
	f.lose = 1;
	fleet_run(&f, 4 * SC_MS);
	for (int i = 0; i < 40; i++) {
		uint32_t got = fleet_client(&f, 2, 1, CLIENT, 7, SC_TCP_ACK, 0);

		CHECK(got == 0 || got == at);
		if (i == 14)
			f.lose = 1;	/* the batch again */
		fleet_run(&f, 25 * SC_MS);
	}
	CHECK_EQ(fleet_client(&f, 2, 1, CLIENT, 7, SC_TCP_ACK, 0), at);
	fleet_stop(&f);
}

TEST("a restarted node learns every flow again before it answers")
{
	struct fleet f;
	uint32_t at[50];

	fleet_start(&f, 2, 2, 2, 1024);
	fleet_run(&f, 5 * SC_S);
	for (uint16_t i = 0; i < 50; i++) {
		at[i] = fleet_client(&f, 1, 1, CLIENT, i, SC_TCP_SYN, 0);
		fleet_client(&f, 1, 1, CLIENT, i, SC_TCP_ACK, 0);
	}
	fleet_run(&f, SC_S);
	fleet_stop_node(&f, 1, 1);
	fleet_run(&f, SC_S);
	for (uint16_t i = 0; i < 50; i++)
		CHECK_EQ(fleet_client(&f, 1, 2, CLIENT, i, SC_TCP_ACK, 0), at[i]);
	fleet_start_node(&f, 1, 1, 0x9999, 1024);
	fleet_run(&f, 6 * SC_S);
	for (uint16_t i = 0; i < 50; i++) {
		CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, i, SC_TCP_ACK, 0), at[i]);
		CHECK_EQ(fleet_client(&f, 2, 1, CLIENT, i, SC_TCP_ACK, 0), at[i]);
	}
	fleet_stop(&f);
}

TEST("a segment that does not fit the path once wrapped arrives in two that do")
{
	struct fleet f;

	fleet_start(&f, 1, 1, 1, 64);
	fleet_client(&f, 1, 1, CLIENT, 5, SC_TCP_SYN, 0);
	f.deliveries = 0;
	CHECK(fleet_client(&f, 1, 1, CLIENT, 5, SC_TCP_ACK, 1460) != 0);
	CHECK_EQ(f.deliveries, 2);
	CHECK(f.last_len <= 1500);
	CHECK_EQ(f.counters[0][SC_C_segments_cut], 1);
	fleet_stop(&f);
}

TEST("in a table full of established flows a SYN is dropped for want of room, and they live on")
{
	struct fleet f;
	uint32_t at[4];

	fleet_start(&f, 1, 1, 2, 4);
	fleet_run(&f, 10 * SC_MS);
	for (uint16_t port = 0; port < 4; port++) {
		at[port] = fleet_client(&f, 1, 1, CLIENT, port, SC_TCP_SYN, 0);
		fleet_client(&f, 1, 1, CLIENT, port, SC_TCP_ACK, 0);
	}
	for (uint16_t port = 100; port < 200; port++)
		CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, port, SC_TCP_SYN, 0), 0);
	CHECK_EQ(f.counters[0][SC_DROP_table_full], 100);
	for (uint16_t port = 0; port < 4; port++)
		CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, port, SC_TCP_ACK, 0), at[port]);
	CHECK_EQ(fleet_unaccounted(&f, 0), 0);
	fleet_stop(&f);
}

TEST("a flood of SYNs evicts half-open flows, counted, and no established one")
{
	struct fleet f;
	uint32_t at;

	fleet_start(&f, 1, 1, 2, 64);
	fleet_run(&f, 10 * SC_MS);
	at = fleet_client(&f, 1, 1, CLIENT, 1, SC_TCP_SYN, 0);
	fleet_client(&f, 1, 1, CLIENT, 1, SC_TCP_ACK, 0);
	for (uint16_t port = 2; port < 5000; port++)
		CHECK(fleet_client(&f, 1, 1, CLIENT, port, SC_TCP_SYN, 0) != 0);
	CHECK(f.counters[0][SC_C_flows_evicted_half_open] > 4900);
	CHECK_EQ(f.counters[0][SC_C_flows_evicted_idle], 0);
	CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, 1, SC_TCP_ACK, 0), at);
	fleet_stop(&f);
}

CHECK_MAIN
