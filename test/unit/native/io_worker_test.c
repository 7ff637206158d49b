/* Worker threads with the real data path, real UDP and raw sockets, in a network
 * namespace of the test's own. Their devices are memory, so that the test holds both
 * ends. */
#include "check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <sys/socket.h>

#include "fleet.h"
#include "io/worker.h"
#include "namespace.h"

enum { GUE_PORT = 6080, CLIENT = 0xcb007101, CAPACITY = 512 };

static const char *set_up(void)
{
	static bool done;
	const char *why = enter_namespace();

	if (why || done)
		return why;
	done = true;
	for (int pop = 1; pop <= 2; pop++) {
		for (int kind = 0; kind < 2; kind++) {
			char text[128];

			snprintf(text, sizeof(text),
				 "ip addr add 10.%d.%d.1/32 dev lo && "
				 "ip addr add fd00::a0%d:%d01/128 dev lo nodad",
				 pop, kind, pop, kind);
			CHECK_EQ(command("%s", text), 0);
		}
	}
	return NULL;
}

/* The same machine's address in the other family: fd00:: and the IPv4 address. */
static struct sc_addr address_of(uint32_t v4, int family)
{
	struct sc_addr a = ip4(v4);

	if (family == AF_INET6) {
		a.b[0] = 0xfd;
		a.b[10] = a.b[11] = 0;
	}
	return a;
}

static struct sc_generation *generation(const struct fleet *f, int pop, int family)
{
	size_t len;
	uint8_t *blob = fleet_blob(f, pop, 1, &len);
	uint8_t *rows = blob + sizeof(struct sc_generation_header) + sizeof(struct sc_key);
	struct sc_generation *g = NULL;
	const char *why;

	for (int i = 0; i < f->n + f->pops * f->backends_per_pop; i++) {
		size_t size = i < f->n ? sizeof(struct sc_node_row) : sizeof(struct sc_backend_row);
		struct sc_addr a = address_of(sc_get32(rows + 12), family);

		memcpy(rows, a.b, sizeof(a.b));
		rows += size;
	}
	CHECK_EQ(sc_generation_load(blob, len, &g, &why), 0);
	free(blob);
	return g;
}

struct running {
	struct sc_worker *worker;
	struct sc_port *port;
	uint64_t *counters;
};

static struct fleet pops(int n)
{
	return (struct fleet){ .pops = n, .nodes_per_pop = 1, .backends_per_pop = 1, .n = n };
}

static struct running start(enum sc_worker_role role, int npops, int pop, int family)
{
	struct fleet f = pops(npops);
	struct sc_node_options o = { .boot_id = 100 + (unsigned int)pop, .flow_entries = 1024 };
	struct sc_generation *g = generation(&f, pop, family);
	struct running r = { .counters = calloc(sc_counter_slots(g), sizeof(uint64_t)) };
	struct sc_worker_config c = {
		.role = role, .udp_port = GUE_PORT, .counters = r.counters, .pop = (uint16_t)pop,
	};
	const char *what = "";

	CHECK_EQ(sc_port_memory_open(CAPACITY, &r.port), 0);
	c.port = r.port;
	if (role == SC_WORKER_NODE) {
		c.address = address_of(fleet_node_ip(pop, 1), family);
		CHECK_EQ(sc_node_new(&o, g, r.counters, &c.node), 0);
	} else {
		c.address = address_of(fleet_backend_ip(pop, 1), family);
		c.generation = g;
	}
	if (!CHECK_EQ(sc_worker_start(&c, &r.worker, &what), 0)) {
		printf("#   %s\n", what);
		exit(1);
	}
	return r;
}

static void stop(struct running *r)
{
	sc_worker_stop(r->worker);
	free(r->counters);
}

/* The next packet that the worker has sent to its port; its length, 0 when none came. */
static int await_packet(struct sc_port *port, uint8_t *data)
{
	int64_t give_up = now_ms() + PATIENCE_MS;
	int len = 0;

	while (len == 0 && now_ms() < give_up) {
		usleep(500);
		len = sc_port_memory_take(port, data, SC_PACKET_MAX);
	}
	return len;
}

static bool await_count(const uint64_t *counter, uint64_t value)
{
	int64_t give_up = now_ms() + PATIENCE_MS;

	while (*(volatile const uint64_t *)counter < value && now_ms() < give_up)
		usleep(500);
	return CHECK_EQ(*counter, value);
}

static void deliver(int family)
{
	const char *why = set_up();
	uint8_t sent[SC_PACKET_MAX], got[SC_PACKET_MAX];
	struct running node, backend;

	if (why)
		SKIP(why);
	node = start(SC_WORKER_NODE, 1, 1, family);
	backend = start(SC_WORKER_BACKEND, 1, 1, family);
	for (uint32_t i = 0; i < 200; i++) {
		uint32_t len = client_tcp(sent, CLIENT, 4000, i ? SC_TCP_ACK : SC_TCP_SYN, i * 7);

		CHECK_EQ(sc_port_memory_push(node.port, sent, len), 0);
		if (!CHECK_EQ(await_packet(backend.port, got), len) || !CHECK_MEM(got, sent, len))
			break;
	}
	await_count(&node.counters[SC_C_rx_packets], 200);
	await_count(&backend.counters[SC_C_tx_packets], 200);
	stop(&node);
	stop(&backend);
}

TEST("what enters a node's device leaves the backend's, through real sockets of IPv4")
{
	deliver(AF_INET);
}

TEST("what enters a node's device leaves the backend's, through real sockets of IPv6")
{
	deliver(AF_INET6);
}

TEST("every packet and byte is counted, on both sides alike")
{
	const char *why = set_up();
	uint8_t data[SC_PACKET_MAX];
	struct running node, backend;
	uint64_t inner = 0;

	if (why)
		SKIP(why);
	node = start(SC_WORKER_NODE, 1, 1, AF_INET);
	backend = start(SC_WORKER_BACKEND, 1, 1, AF_INET);
	for (uint32_t i = 0; i < 100; i++) {
		uint32_t len = client_tcp(data, CLIENT, 4000, i ? SC_TCP_ACK : SC_TCP_SYN, i);

		inner += len;
		CHECK_EQ(sc_port_memory_push(node.port, data, len), 0);
		CHECK_EQ(await_packet(backend.port, data), len);
	}
	await_count(&backend.counters[SC_C_tx_packets], 100);
	sc_worker_stop(node.worker);
	sc_worker_stop(backend.worker);
	CHECK_EQ(node.counters[SC_C_rx_packets], 100);
	CHECK_EQ(node.counters[SC_C_rx_bytes], inner);
	CHECK_EQ(node.counters[SC_C_tx_packets], 100);
	/* Outer IPv4, UDP and GUE headers. */
	CHECK_EQ(node.counters[SC_C_tx_bytes], inner + 100 * 32);
	CHECK_EQ(node.counters[SC_C_delivered_gue], 100);
	CHECK_EQ(backend.counters[SC_C_rx_bytes], inner + 100 * 32);
	CHECK_EQ(backend.counters[SC_C_tx_bytes], inner);
	CHECK_EQ(backend.counters[SC_C_delivered_local], 100);
	for (int i = 0; i < SC_DROP_COUNT; i++) {
		CHECK_EQ(node.counters[i], 0);
		CHECK_EQ(backend.counters[i], 0);
	}
	CHECK_EQ(node.counters[SC_C_tx_errors] + backend.counters[SC_C_tx_errors], 0);
	free(node.counters);
	free(backend.counters);
}

static void meet(int family)
{
	int64_t give_up = now_ms() + PATIENCE_MS;
	struct sc_worker_status status[2] = { 0 };
	const char *why = set_up();
	struct running nodes[2];

	if (why)
		SKIP(why);
	for (int i = 0; i < 2; i++)
		nodes[i] = start(SC_WORKER_NODE, 2, 1 + i, family);
	while (now_ms() < give_up && !(status[0].view.peers[0].up && status[1].view.peers[0].up)) {
		usleep(5000);
		for (int i = 0; i < 2; i++)
			sc_worker_look(nodes[i].worker, &status[i]);
	}
	for (int i = 0; i < 2; i++) {
		CHECK_EQ(status[i].error, 0);
		CHECK_EQ(status[i].view.npeers, 1);
		CHECK_EQ(status[i].view.peers[0].id, i ? 101 : 201);
		CHECK(status[i].view.peers[0].up);
		CHECK(status[i].loops > 0 && status[i].busy_us > 0);
		stop(&nodes[i]);
	}
}

/* Another key beside the one there is, and a backend that no flow knows in front of the others. */
static void rotate(const struct fleet *f, struct plan *p, int pop, int self)
{
	(void)f;
	(void)pop;
	(void)self;
	p->key[p->h.keys++] = (struct sc_key){ .id = 9, .key = "fedcba9876543210" };
	for (int i = p->h.backends++; i > 0; i--)
		p->backend[i] = p->backend[i - 1];
	p->backend[0].id = 0x1fffff;
	for (uint32_t i = 0; i < p->h.slots; i++)
		p->slot[i] = 0;
}

static void reseed(const struct fleet *f, struct plan *p, int pop, int self)
{
	(void)f;
	(void)pop;
	(void)self;
	p->h.hash_seed++;
}

/* What the worker is to go over to; the counters are those to count on in. */
static int adopt(struct running *r, void (*change)(const struct fleet *, struct plan *, int, int),
		 uint64_t **counters, const char **what)
{
	struct fleet f = pops(1);
	struct sc_generation *g;

	f.change = change;
	g = generation(&f, 1, AF_INET);
	*counters = calloc(sc_counter_slots(g), sizeof(uint64_t));
	return sc_worker_adopt(r->worker, g, *counters, what);
}

/* Also while packets come: each is delivered, and to the backend of its flow. */
TEST("workers go over to another generation between two bursts and count on elsewhere")
{
	enum { PACKETS = 300 };
	const char *why = set_up(), *what = "";
	uint8_t sent[SC_PACKET_MAX], got[SC_PACKET_MAX];
	struct running r[2];
	uint64_t *counters[2][4], last = 0;

	if (why)
		SKIP(why);
	r[0] = start(SC_WORKER_NODE, 1, 1, AF_INET);
	r[1] = start(SC_WORKER_BACKEND, 1, 1, AF_INET);
	for (uint32_t i = 0; i < PACKETS; i++) {
		uint32_t len = client_tcp(sent, CLIENT, 4000, i ? SC_TCP_ACK : SC_TCP_SYN, i);

		CHECK_EQ(sc_port_memory_push(r[0].port, sent, len), 0);
		for (int side = 0; i % 100 == 50 && side < 2; side++)
			CHECK_EQ(adopt(&r[side], rotate, &counters[side][i / 100], &what), 0);
		if (!CHECK_EQ(await_packet(r[1].port, got), len) || !CHECK_MEM(got, sent, len))
			break;
	}
	await_count(&counters[0][2][SC_C_delivered_gue], PACKETS);
	await_count(&counters[1][2][SC_C_delivered_local], PACKETS);
	await_count(&counters[1][2][SC_C_tx_packets], PACKETS);
	CHECK_EQ(counters[0][2][SC_C_flows_new], 1);
	/* Backend row 0 is the one that the flow was not given to. */
	last = counters[0][2][SC_COUNTER_COUNT + 2 * SC_TRAFFIC_COUNT];
	CHECK_EQ(last, PACKETS);
	for (int side = 0; side < 2; side++) {
		CHECK(r[side].counters[SC_C_rx_packets] <= counters[side][0][SC_C_rx_packets]);
		CHECK(counters[side][0][SC_C_rx_packets] <= counters[side][1][SC_C_rx_packets]);
		sc_worker_stop(r[side].worker);
		free(r[side].counters);
		for (int i = 0; i < 3; i++)
			free(counters[side][i]);
	}
}

TEST("a generation that a running node cannot take over is refused by name, and the worker goes on")
{
	const char *why = set_up(), *what = "";
	uint8_t data[SC_PACKET_MAX];
	struct running node;
	uint64_t *counters;

	if (why)
		SKIP(why);
	node = start(SC_WORKER_NODE, 1, 1, AF_INET);
	CHECK_EQ(adopt(&node, reseed, &counters, &what), -EINVAL);
	CHECK_STR(what, "hash_seed");
	CHECK_EQ(sc_port_memory_push(node.port, data, client_tcp(data, CLIENT, 1, SC_TCP_SYN, 0)), 0);
	await_count(&node.counters[SC_C_delivered_gue], 1);
	stop(&node);
	free(counters);
}

TEST("the timers of idle workers let nodes find each other, over IPv4 and IPv6")
{
	meet(AF_INET);
	meet(AF_INET6);
}

TEST("an occupied port and a foreign address are told apart, and nothing is taken over")
{
	const char *why = set_up();
	struct running first;
	struct fleet f = pops(1);
	struct sc_worker_config c = { .role = SC_WORKER_BACKEND, .udp_port = GUE_PORT, .pop = 1 };
	struct sc_worker *second;
	const char *what = "";

	if (why)
		SKIP(why);
	first = start(SC_WORKER_BACKEND, 1, 1, AF_INET);
	c.counters = first.counters;
	c.generation = generation(&f, 1, AF_INET);
	REQUIRE(sc_port_memory_open(1, &c.port) == 0);
	c.address = address_of(fleet_backend_ip(1, 1), AF_INET);
	CHECK_EQ(sc_worker_start(&c, &second, &what), -EADDRINUSE);
	CHECK_STR(what, "GUE socket");
	c.address = ip4(0x0a636363);
	CHECK_EQ(sc_worker_start(&c, &second, &what), -EADDRNOTAVAIL);
	CHECK_STR(what, "GUE socket");
	sc_generation_free(c.generation);
	sc_port_close(c.port);
	stop(&first);
}

TEST("a datagram longer than the largest packet is dropped and counted, the next one is taken")
{
	const char *why = set_up();
	static uint8_t data[SC_PACKET_MAX + 100];
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(GUE_PORT) };
	struct running backend;
	int fd;

	if (why)
		SKIP(why);
	backend = start(SC_WORKER_BACKEND, 1, 1, AF_INET);
	to.sin_addr.s_addr = htonl(fleet_backend_ip(1, 1));
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	for (size_t len = SC_PACKET_MAX - 28; len <= SC_PACKET_MAX - 27; len++)
		CHECK_EQ(sendto(fd, data, len, 0, (struct sockaddr *)&to, sizeof(to)), len);
	CHECK_EQ(sendto(fd, data, 0, 0, (struct sockaddr *)&to, sizeof(to)), 0);
	await_count(&backend.counters[SC_DROP_too_long], 1);
	await_count(&backend.counters[SC_C_rx_packets], 2);
	close(fd);
	stop(&backend);
}

TEST("a splitter sends packets to its two outputs in turn")
{
	uint64_t counters[SC_COUNTER_COUNT] = { 0 };
	struct sc_worker_config c = { .role = SC_WORKER_SPLITTER, .counters = counters };
	uint8_t got[SC_PACKET_MAX];
	struct sc_worker *w;
	const char *what;

	REQUIRE(sc_port_memory_open(CAPACITY, &c.port) == 0);
	REQUIRE(sc_port_memory_open(CAPACITY, &c.split[0]) == 0);
	REQUIRE(sc_port_memory_open(CAPACITY, &c.split[1]) == 0);
	for (uint8_t i = 0; i < 201; i++)
		CHECK_EQ(sc_port_memory_push(c.port, &i, 1), 0);
	REQUIRE(sc_worker_start(&c, &w, &what) == 0);
	for (uint8_t i = 0; i < 201; i++) {
		CHECK_EQ(await_packet(c.split[i % 2], got), 1);
		CHECK_EQ(got[0], i);
	}
	await_count(&counters[SC_C_tx_packets], 201);
	sc_worker_stop(w);
}

static int dying_receive(struct sc_port *port, struct sc_packet *burst, unsigned int n)
{
	(void)burst;
	(void)n;
	return ++port->rx_dropped < 5 ? 0 : -ENODEV;
}

static void no_close(struct sc_port *port)
{
	(void)port;
}

TEST("a device that dies ends the loop, and the status says why")
{
	static const struct sc_port_ops ops = { .receive = dying_receive, .close = no_close };
	uint64_t counters[SC_COUNTER_COUNT] = { 0 };
	struct sc_port dying = { .ops = &ops, .fd = -1 };
	struct sc_port idle[2] = { { .ops = &ops, .fd = -1 }, { .ops = &ops, .fd = -1 } };
	struct sc_worker_config c = {
		.role = SC_WORKER_SPLITTER, .counters = counters, .port = &dying,
		.split = { &idle[0], &idle[1] },
	};
	int64_t give_up = now_ms() + PATIENCE_MS;
	struct sc_worker_status status;
	struct sc_worker *w;
	const char *what;

	REQUIRE(sc_worker_start(&c, &w, &what) == 0);
	do {
		usleep(500);
		sc_worker_look(w, &status);
	} while (status.error == 0 && now_ms() < give_up);
	CHECK_EQ(status.error, -ENODEV);
	CHECK_EQ(counters[SC_DROP_too_long], 5);
	sc_worker_stop(w);
}

static int slow_receive(struct sc_port *port, struct sc_packet *burst, unsigned int n)
{
	(void)burst;
	(void)n;
	if (port->rx_dropped == 0)
		usleep(6000 * SC_PIN_WAIT_MS);
	return 0;
}

TEST("a worker pins between two bursts, and one that stands still keeps its caller waiting for a moment only")
{
	static const struct sc_port_ops ops = { .receive = slow_receive, .close = no_close };
	const char *why = set_up(), *what = "";
	struct sc_pin pin = {
		.client = ip4(CLIENT), .vip = ip4(FLEET_VIP), .sport = 1, .dport = 80, .backend = fleet_backend_id(1, 1),
	};
	struct fleet f = pops(1);
	struct sc_node_options o = { .boot_id = 1, .flow_entries = 64 };
	struct sc_port slow = { .ops = &ops, .fd = -1 };
	struct sc_worker_config c = { .role = SC_WORKER_NODE, .udp_port = GUE_PORT, .port = &slow };
	struct running r = { 0 };
	int64_t give_up = now_ms() + PATIENCE_MS;
	struct sc_generation *g;
	int err;

	if (why)
		SKIP(why);
	g = generation(&f, 1, AF_INET);
	r.counters = c.counters = calloc(sc_counter_slots(g), sizeof(uint64_t));
	c.address = address_of(fleet_node_ip(1, 1), AF_INET);
	REQUIRE(sc_node_new(&o, g, c.counters, &c.node) == 0);
	REQUIRE(sc_worker_start(&c, &r.worker, &what) == 0);
	usleep(1000 * SC_PIN_WAIT_MS);
	CHECK_EQ(sc_worker_pin(r.worker, &pin), -ETIMEDOUT);
	slow.rx_dropped = 1;
	do
		err = sc_worker_pin(r.worker, &pin);
	while (err != 1 && now_ms() < give_up);
	CHECK_EQ(err, 1);
	CHECK_EQ(sc_worker_pin(r.worker, &pin), 0);
	stop(&r);
}

TEST("a worker that has ended takes over nothing, and does not keep its caller waiting")
{
	static const struct sc_port_ops ops = { .receive = dying_receive, .close = no_close };
	const char *why = set_up(), *what = "";
	struct sc_port dying = { .ops = &ops, .fd = -1 };
	struct sc_worker_config c = { .role = SC_WORKER_BACKEND, .udp_port = GUE_PORT, .pop = 1 };
	struct running r = { .counters = calloc(SC_COUNTER_COUNT, sizeof(uint64_t)) };
	int64_t give_up = now_ms() + PATIENCE_MS;
	struct fleet f = pops(1);
	uint64_t *counters;
	int err;

	if (why)
		SKIP(why);
	c.port = &dying;
	c.counters = r.counters;
	c.generation = generation(&f, 1, AF_INET);
	c.address = address_of(fleet_backend_ip(1, 1), AF_INET);
	REQUIRE(sc_worker_start(&c, &r.worker, &what) == 0);
	do {
		err = adopt(&r, rotate, &counters, &what);
		if (err == 0) {
			free(r.counters);
			r.counters = counters;
		}
	} while (err == 0 && now_ms() < give_up);
	CHECK_EQ(err, -ESHUTDOWN);
	CHECK_STR(what, "worker");
	free(counters);
	stop(&r);
}

TEST("the thread takes no signals from the process, and leaves its mask alone")
{
	uint64_t counters[SC_COUNTER_COUNT] = { 0 };
	struct sc_worker_config c = { .role = SC_WORKER_SPLITTER, .counters = counters };
	unsigned long long blocked = 0;
	char line[256], path[64];
	struct sc_worker *w;
	const char *what;
	sigset_t mask;
	FILE *f;

	REQUIRE(sc_port_memory_open(1, &c.port) == 0);
	REQUIRE(sc_port_memory_open(1, &c.split[0]) == 0);
	REQUIRE(sc_port_memory_open(1, &c.split[1]) == 0);
	REQUIRE(sc_worker_start(&c, &w, &what) == 0);
	sigprocmask(SIG_BLOCK, NULL, &mask);
	CHECK(!sigismember(&mask, SIGTERM));
	/* The thread is the one with its name. */
	f = popen("grep -l '^sc-splitter$' /proc/$PPID/task/*/comm", "r");
	REQUIRE(f);
	for (int i = 0; !fgets(line, sizeof(line), f) && i < 100; i++) {
		pclose(f);
		usleep(10000);
		f = popen("grep -l '^sc-splitter$' /proc/$PPID/task/*/comm", "r");
	}
	pclose(f);
	REQUIRE(strstr(line, "/comm"));
	snprintf(path, sizeof(path), "%.*sstatus", (int)(strstr(line, "comm") - line), line);
	f = fopen(path, "re");
	REQUIRE(f);
	while (fgets(line, sizeof(line), f))
		sscanf(line, "SigBlk: %llx", &blocked);
	fclose(f);
	CHECK(blocked & 1ull << (SIGTERM - 1));
	CHECK(blocked & 1ull << (SIGINT - 1));
	sc_worker_stop(w);
}

CHECK_MAIN
