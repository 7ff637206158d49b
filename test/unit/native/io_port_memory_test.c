/* The memory port: order, bounds, and what happens when it is full. */
#include "check.h"

#include <errno.h>

#include "io/port.h"

static uint8_t buffers[SC_BURST_MAX][SC_HEADROOM + SC_PACKET_MAX];
static struct sc_packet burst[SC_BURST_MAX];

static int receive(struct sc_port *port, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		burst[i] = (struct sc_packet){ .data = buffers[i] + SC_HEADROOM };
	return port->ops->receive(port, burst, n);
}

TEST("packets are received in the order in which they were pushed, burst by burst")
{
	struct sc_port *port;

	REQUIRE(sc_port_memory_open(100, &port) == 0);
	CHECK_EQ(receive(port, 8), 0);
	for (uint8_t round = 0; round < 3; round++) {	/* the ring goes round */
		for (uint8_t i = 0; i < 70; i++)
			CHECK_EQ(sc_port_memory_push(port, &i, 1), 0);
		CHECK_EQ(receive(port, SC_BURST_MAX), SC_BURST_MAX);
		for (uint8_t i = 0; i < SC_BURST_MAX; i++)
			CHECK_EQ(burst[i].data[0], i);
		CHECK_EQ(receive(port, SC_BURST_MAX), 70 - SC_BURST_MAX);
		CHECK_EQ(burst[0].data[0], SC_BURST_MAX);
	}
	sc_port_close(port);
}

TEST("what is sent can be taken, in order, and only into enough room")
{
	uint8_t out[SC_PACKET_MAX];
	struct sc_port *port;

	REQUIRE(sc_port_memory_open(4, &port) == 0);
	receive(port, 2);
	memset(burst[0].data, 0xaa, 1500);
	burst[0].len = 1500;
	memset(burst[1].data, 0xbb, 20);
	burst[1].len = 20;
	CHECK_EQ(port->ops->send(port, burst, 2), 2);
	CHECK_EQ(sc_port_memory_take(port, out, 1499), -EMSGSIZE);
	CHECK_EQ(sc_port_memory_take(port, out, sizeof(out)), 1500);
	CHECK_EQ(out[1499], 0xaa);
	CHECK_EQ(sc_port_memory_take(port, out, sizeof(out)), 20);
	CHECK_EQ(out[19], 0xbb);
	CHECK_EQ(sc_port_memory_take(port, out, sizeof(out)), 0);
	sc_port_close(port);
}

TEST("a full port refuses, counts and marks what it did not take")
{
	struct sc_port *port;
	uint8_t byte = 1;

	REQUIRE(sc_port_memory_open(2, &port) == 0);
	CHECK_EQ(sc_port_memory_push(port, &byte, 1), 0);
	CHECK_EQ(sc_port_memory_push(port, &byte, 1), 0);
	CHECK_EQ(sc_port_memory_push(port, &byte, 1), -ENOBUFS);
	receive(port, 3);
	for (int i = 0; i < 3; i++)
		burst[i].len = 1;
	CHECK_EQ(port->ops->send(port, burst, 3), 2);
	CHECK_EQ(port->tx_errors, 1);
	CHECK_EQ(burst[1].len, 1);
	CHECK_EQ(burst[2].len, 0);
	sc_port_close(port);
}

TEST("packets of no length or too long a length are refused")
{
	static uint8_t data[SC_PACKET_MAX + 1];
	struct sc_port *port;

	CHECK_EQ(sc_port_memory_open(0, &port), -EINVAL);
	REQUIRE(sc_port_memory_open(2, &port) == 0);
	CHECK_EQ(sc_port_memory_push(port, data, 0), -EMSGSIZE);
	CHECK_EQ(sc_port_memory_push(port, data, SC_PACKET_MAX + 1), -EMSGSIZE);
	CHECK_EQ(sc_port_memory_push(port, data, SC_PACKET_MAX), 0);
	CHECK_EQ(receive(port, 1), 1);
	CHECK_EQ(burst[0].len, SC_PACKET_MAX);
	sc_port_close(port);
}

CHECK_MAIN
