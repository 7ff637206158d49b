/* Generations: what a blob may hold, and what is refused, by name. */
#include <errno.h>

#include "check.h"
#include "fleet.h"
#include "state.h"

static struct plan plan;

/* Two PoPs of two nodes and three backends. */
static struct plan *sound(void)
{
	struct fleet f;

	fleet_shape(&f, 2, 2, 3);
	fleet_plan(&f, &plan, 1, 1);
	return &plan;
}

static void check_refused_at(int err, const char *what, int line)
{
	struct sc_generation *g = NULL;
	const char *why = "";
	int got = plan_load(&plan, &g, &why);

	check_eq(got, err, "sc_generation_load()", "the error", __FILE__, line);
	if (got == 0)
		sc_generation_free(g);
	else
		check_true(strncmp(why, what, strlen(what)) == 0, what, __FILE__, line);
	sound();
}

#define CHECK_REFUSED(err, what) check_refused_at((err), (what), __LINE__)

TEST("a sound generation loads and every row is found by what it is looked up by")
{
	struct plan *p = sound();
	struct sc_generation *g;
	struct sc_addr vip = ip4(FLEET_VIP), other = ip4(FLEET_VIP + 1);
	const char *why;

	p->h.services = 2;
	p->service[1] = p->service[0];
	p->service[1].proto = SC_PROTO_UDP;
	p->service[1].flags = SC_SERVICE_FRAGMENTS;
	REQUIRE(plan_load(p, &g, &why) == 0);
	CHECK_EQ(g->self, 0);
	CHECK_EQ(g->own_pop, 0);
	CHECK_EQ(g->npops, 2);
	for (int pop = 1; pop <= 2; pop++) {
		CHECK_EQ(sc_find_pop(g, (uint16_t)pop), pop - 1);
		CHECK_EQ(g->pops[pop - 1].count, 2);
		for (int n = 1; n <= 2; n++)
			CHECK_EQ(g->node_by_id[fleet_node_id(pop, n)], (pop - 1) * 2 + n - 1);
		for (int b = 1; b <= 3; b++) {
			CHECK_EQ(sc_find_backend(g, fleet_backend_id(pop, b)), (pop - 1) * 3 + b - 1);
			CHECK_EQ(g->backend_pop[(pop - 1) * 3 + b - 1], pop - 1);
		}
	}
	CHECK_EQ(sc_find_pop(g, 3), SC_NO_ROW);
	CHECK_EQ(sc_find_backend(g, 0), SC_NO_ROW);
	CHECK_EQ(sc_find_backend(g, fleet_backend_id(1, 4)), SC_NO_ROW);
	CHECK_EQ(g->node_by_id[0], SC_NO_ROW);
	CHECK_EQ(g->node_by_id[65535], SC_NO_ROW);
	CHECK_EQ(sc_find_service(g, &vip, 80, SC_PROTO_TCP), 0);
	CHECK_EQ(sc_find_service(g, &vip, 80, SC_PROTO_UDP), 1);
	CHECK_EQ(sc_find_service(g, &vip, 81, SC_PROTO_TCP), SC_NO_ROW);
	CHECK_EQ(sc_find_service(g, &other, 80, SC_PROTO_TCP), SC_NO_ROW);
	CHECK_EQ(sc_find_portless_service(g, &vip, SC_PROTO_UDP), 1);
	CHECK_EQ(sc_find_portless_service(g, &vip, SC_PROTO_TCP), SC_NO_ROW);
	CHECK_EQ(sc_find_portless_service(g, &vip, 0), 0);
	CHECK_EQ(sc_find_portless_service(g, &other, 0), SC_NO_ROW);
	CHECK(sc_find_key(g, FLEET_KEY_ID) == &g->keys[0]);
	CHECK(sc_find_key(g, FLEET_KEY_ID + 1) == NULL);
	sc_generation_free(g);
}

TEST("a blob cut or lengthened anywhere is refused, and read nowhere beyond its end")
{
	struct plan *p = sound();
	size_t len;
	uint8_t *blob = plan_pack(p, &len);

	for (size_t n = 0; n <= len + 8; n++) {
		uint8_t *exact = calloc(1, n ? n : 1);
		struct sc_generation *g = NULL;
		const char *why;
		int err;

		memcpy(exact, blob, n < len ? n : len);
		exact = realloc(exact, n ? n : 1);
		err = sc_generation_load(exact, n, &g, &why);
		if (n == len) {
			CHECK_EQ(err, 0);
			sc_generation_free(g);
		} else {
			CHECK_EQ(err, -EINVAL);
		}
		free(exact);
	}
	free(blob);
}

TEST("a header that is not one is refused")
{
	sound()->h.magic++;
	CHECK_REFUSED(-EINVAL, "header");
	plan.h.mtu = SC_MIN_MTU - 1;
	CHECK_REFUSED(-EINVAL, "header");
	plan.h.self = 9;
	CHECK_REFUSED(-ERANGE, "self");
}

TEST("counts above the limits are refused, whatever the blob's length")
{
	uint32_t *count[] = { &plan.h.keys, &plan.h.nodes, &plan.h.backends, &plan.h.services, &plan.h.pools };

	for (int i = 0; i < 5; i++) {
		static const uint32_t limit[] = { SC_MAX_KEYS, SC_MAX_NODES, SC_MAX_BACKENDS, SC_MAX_SERVICES, SC_MAX_TABLES };

		sound();
		*count[i] = limit[i] + 1;
		CHECK_REFUSED(-ERANGE, "length");
		for (uint32_t lie = 0; lie < 28; lie += 3) {
			struct sc_generation *g;
			const char *why;
			size_t len;
			uint8_t *blob = plan_pack(sound(), &len);

			memcpy(blob + 4 + i * 4, &(uint32_t){ UINT32_MAX >> lie }, 4);
			CHECK(sc_generation_load(blob, len, &g, &why) < 0);
			free(blob);
		}
	}
}

TEST("keys: none and two of one id are refused, two are held")
{
	struct sc_generation *g;
	const char *why;

	sound()->h.keys = 0;
	CHECK_REFUSED(-ERANGE, "keys");
	plan.h.keys = 2;
	plan.key[1] = plan.key[0];
	CHECK_REFUSED(-EEXIST, "keys");
	plan.h.keys = 2;
	plan.key[1] = (struct sc_key){ .id = 255, .key = "another" };
	REQUIRE(plan_load(&plan, &g, &why) == 0);
	CHECK(sc_find_key(g, 255) == &g->keys[1]);
	sc_generation_free(g);
}

TEST("nodes: id 0, PoP 0, an id twice and too many in a PoP are refused")
{
	sound()->node[1].id = 0;
	CHECK_REFUSED(-ERANGE, "nodes");
	plan.node[1].pop = 0;
	CHECK_REFUSED(-ERANGE, "nodes");
	plan.node[1].id = plan.node[3].id;
	CHECK_REFUSED(-EEXIST, "nodes");
	plan.h.nodes = SC_MAX_NODES_PER_POP + 1;
	for (uint16_t i = 0; i < plan.h.nodes; i++)
		plan.node[i] = (struct sc_node_row){ .addr = ip4(i), .id = (uint16_t)(100 + i), .pop = 1 };
	CHECK_REFUSED(-ERANGE, "nodes");
}

TEST("more PoPs than a fleet may have are refused")
{
	struct sc_generation *g;
	const char *why;

	sound()->h.backends = 0;
	plan.h.slots = 0;
	plan.pool[0].size = 0;
	plan.h.nodes = SC_MAX_POPS;
	plan.h.self = 1;
	for (uint16_t i = 0; i <= plan.h.nodes; i++)
		plan.node[i] = (struct sc_node_row){ .addr = ip4(i), .id = (uint16_t)(1 + i), .pop = (uint16_t)(1 + i) };
	CHECK_EQ(plan_load(&plan, &g, &why), 0);
	sc_generation_free(g);
	plan.h.nodes++;
	CHECK_REFUSED(-ERANGE, "nodes");
}

TEST("backends: every field out of bounds is refused")
{
	sound()->backend[1].id = 0;
	CHECK_REFUSED(-ERANGE, "backends");
	plan.backend[1].pop = 0;
	CHECK_REFUSED(-ERANGE, "backends");
	plan.backend[1].deliver = 2;
	CHECK_REFUSED(-ERANGE, "backends");
	plan.backend[1].state = 3;
	CHECK_REFUSED(-ERANGE, "backends");
	plan.backend[1].pool = 1;
	CHECK_REFUSED(-ERANGE, "backends");
	plan.backend[1].id = plan.backend[4].id;
	CHECK_REFUSED(-EEXIST, "backends");
	plan.backend[1].deliver = SC_DELIVER_LOCAL;
	plan.backend[1].node = 9;
	CHECK_REFUSED(-ERANGE, "backends");
	plan.backend[1].deliver = SC_DELIVER_LOCAL;
	plan.backend[1].node = plan.node[3].id;	/* of another PoP */
	CHECK_REFUSED(-ERANGE, "backends");
}

TEST("services: every field out of bounds is refused")
{
	sound()->service[0].pool = 1;
	CHECK_REFUSED(-ERANGE, "services");
	plan.service[0].table = 1;
	CHECK_REFUSED(-ERANGE, "services");
	plan.service[0].proto = SC_PROTO_ICMP;
	CHECK_REFUSED(-ERANGE, "services");
	plan.service[0].half_open_s = 0;
	CHECK_REFUSED(-ERANGE, "services");
	plan.service[0].idle_s = SC_MAX_TIMEOUT_S + 1;
	CHECK_REFUSED(-ERANGE, "services");
	plan.service[0].closing_s = 0;
	CHECK_REFUSED(-ERANGE, "services");
	plan.h.services = 2;
	plan.service[1] = plan.service[0];
	CHECK_REFUSED(-EEXIST, "services");
}

TEST("as many sets of timeouts as an entry can name are taken, one more is refused")
{
	struct sc_generation *g;
	const char *why;

	sound()->h.services = SC_TIMEOUT_CLASSES;
	for (uint16_t i = 0; i < SC_TIMEOUT_CLASSES; i++) {
		plan.service[i] = plan.service[0];
		plan.service[i].port = (uint16_t)(100 + i);
		plan.service[i].idle_s = 100u + i % (SC_TIMEOUT_CLASSES - 1);
	}
	REQUIRE(plan_load(&plan, &g, &why) == 0);
	CHECK_EQ(g->ntimeouts, SC_TIMEOUT_CLASSES);
	CHECK_EQ(g->service_class[SC_TIMEOUT_CLASSES - 1], g->service_class[0]);
	for (uint16_t i = 0; i < SC_TIMEOUT_CLASSES; i++)
		CHECK_EQ(g->timeouts[g->service_class[i]].idle_s, plan.service[i].idle_s);
	CHECK_EQ(g->timeouts[0].idle_s, 100 + SC_TIMEOUT_CLASSES - 2);
	sc_generation_free(g);
	plan.service[SC_TIMEOUT_CLASSES - 1].idle_s = 999;
	CHECK_REFUSED(-ERANGE, "services");
}

static const struct sc_timeouts A = { 10, 100, 20 }, B = { 11, 100, 20 }, C = { 10, 101, 20 }, D = { 10, 100, 21 };

/* A generation whose services, from the first row on, have these timeouts. */
static struct sc_generation *with_timeouts(const struct sc_timeouts *t, uint16_t n)
{
	struct sc_generation *g = NULL;
	const char *why;

	sound()->h.services = n;
	for (uint16_t i = 0; i < n; i++) {
		plan.service[i] = plan.service[0];
		plan.service[i].port = (uint16_t)(100 + i);
		plan.service[i].half_open_s = t[i].half_open_s;
		plan.service[i].idle_s = t[i].idle_s;
		plan.service[i].closing_s = t[i].closing_s;
	}
	CHECK_EQ(plan_load(&plan, &g, &why), 0);
	return g;
}

static void check_timeouts(const struct sc_generation *g, uint8_t class, struct sc_timeouts want)
{
	CHECK_EQ(g->timeouts[class].half_open_s, want.half_open_s);
	CHECK_EQ(g->timeouts[class].idle_s, want.idle_s);
	CHECK_EQ(g->timeouts[class].closing_s, want.closing_s);
}

TEST("timeouts that differ in one state are different, and what is not known has the longest of each state")
{
	const struct sc_timeouts t[] = { A, B, C, D, B };
	struct sc_generation *g = with_timeouts(t, 5);

	REQUIRE(g != NULL);
	CHECK_EQ(g->ntimeouts, 5);
	for (int i = 0; i < 5; i++)
		check_timeouts(g, g->service_class[i], t[i]);
	check_timeouts(g, 0, (struct sc_timeouts){ 11, 101, 21 });
	sc_generation_free(g);
}

TEST("a generation that follows another keeps the numbers of the timeouts that both have, and those that only entries name")
{
	struct sc_generation *old = with_timeouts((const struct sc_timeouts[]){ A, B, C }, 3);
	struct sc_generation *g = with_timeouts((const struct sc_timeouts[]){ D, C }, 2);

	REQUIRE(old != NULL && g != NULL);
	sc_generation_keep_classes(g, old);
	CHECK_EQ(g->service_class[1], old->service_class[2]);
	check_timeouts(g, g->service_class[0], D);
	check_timeouts(g, g->service_class[1], C);
	check_timeouts(g, 0, (struct sc_timeouts){ 10, 101, 21 });
	CHECK_EQ(g->service_class[0], 4);	/* the first that nobody has used: entries may name A and B */
	check_timeouts(g, old->service_class[0], A);
	check_timeouts(g, old->service_class[1], B);
	sc_generation_free(old);
	sc_generation_free(g);
}

TEST("timeouts that are new take the first number that was never used")
{
	struct sc_generation *old = with_timeouts((const struct sc_timeouts[]){ A, B, C }, 3);
	struct sc_generation *g = with_timeouts((const struct sc_timeouts[]){ D, B, A }, 3);

	REQUIRE(old != NULL && g != NULL);
	sc_generation_keep_classes(g, old);
	CHECK_EQ(g->service_class[1], 2);
	CHECK_EQ(g->service_class[2], 1);
	CHECK_EQ(g->service_class[0], 4);
	check_timeouts(g, 1, A);
	check_timeouts(g, 2, B);
	check_timeouts(g, 4, D);
	sc_generation_free(old);
	sc_generation_free(g);
}

TEST("a backend that is configured is of its own PoP, one that is not of the PoP that its id names")
{
	struct sc_generation *g;
	const char *why;

	sound()->backend[0].id = fleet_backend_id(2, 77);	/* of PoP 1 */
	REQUIRE(plan_load(&plan, &g, &why) == 0);
	CHECK_EQ(sc_place_of(g, fleet_backend_id(2, 77)).pop, 0);
	CHECK_EQ(sc_place_of(g, fleet_backend_id(2, 77)).row, 0);
	CHECK_EQ(sc_place_of(g, fleet_backend_id(2, 78)).pop, 1);
	CHECK_EQ(sc_place_of(g, fleet_backend_id(2, 78)).row, SC_NO_ROW);
	CHECK_EQ(sc_place_of(g, fleet_backend_id(9, 1)).pop, SC_NO_ROW);
	sc_generation_free(g);
}

TEST("of two generations with all different timeouts the later one's all have their place")
{
	struct sc_timeouts was[SC_TIMEOUT_CLASSES - 1], is[SC_TIMEOUT_CLASSES - 1];
	struct sc_generation *old, *g;

	for (uint32_t i = 0; i < SC_TIMEOUT_CLASSES - 1; i++) {
		was[i] = (struct sc_timeouts){ 10, 100 + i, 20 };
		is[i] = (struct sc_timeouts){ 10, 106 + i, 20 };	/* the first is the other's last */
	}
	old = with_timeouts(was, SC_TIMEOUT_CLASSES - 1);
	g = with_timeouts(is, SC_TIMEOUT_CLASSES - 1);
	REQUIRE(old != NULL && g != NULL);
	sc_generation_keep_classes(g, old);
	CHECK_EQ(g->service_class[0], old->service_class[SC_TIMEOUT_CLASSES - 2]);
	for (int i = 0; i < SC_TIMEOUT_CLASSES - 1; i++)
		check_timeouts(g, g->service_class[i], is[i]);
	sc_generation_free(old);
	sc_generation_free(g);
}

TEST("every pool has its own slots")
{
	struct sc_generation *g;
	const char *why;

	sound()->h.pools = 2;
	plan.h.slots = FLEET_SLOTS + 3;
	plan.pool[1] = (struct sc_pool_row){ .first = FLEET_SLOTS, .size = 3 };
	for (int i = 0; i < FLEET_SLOTS; i++)
		plan.slot[i] = 0;
	for (uint16_t i = 0; i < 3; i++)
		plan.slot[FLEET_SLOTS + i] = (uint16_t)(i + 1);
	REQUIRE(plan_load(&plan, &g, &why) == 0);
	for (uint64_t i = 0; i < 3; i++) {
		uint64_t flow = ((i << 32) / 3 + 1) << 32;

		CHECK_EQ(sc_maglev(g, 0, flow), 0);
		CHECK_EQ(sc_maglev(g, 1, flow), i + 1);
	}
	sc_generation_free(g);
}

TEST("pools and slots that point outside are refused")
{
	sound()->pool[0].first = 1;
	CHECK_REFUSED(-ERANGE, "pools");
	plan.pool[0].size = FLEET_SLOTS + 1;
	CHECK_REFUSED(-ERANGE, "pools");
	plan.pool[0].first = UINT32_MAX;
	plan.pool[0].size = 2;
	CHECK_REFUSED(-ERANGE, "pools");
	plan.slot[7] = 6;
	CHECK_REFUSED(-ERANGE, "slots");
	plan.slot[7] = 0xfffe;
	CHECK_REFUSED(-ERANGE, "slots");
}

TEST("a slot without a backend and an empty pool choose none")
{
	struct sc_generation *g;
	const char *why;

	for (int i = 0; i < FLEET_SLOTS; i++)
		sound()->slot[i] = 0;
	memset(plan.slot, 0xff, sizeof(plan.slot));
	REQUIRE(plan_load(&plan, &g, &why) == 0);
	CHECK_EQ(sc_maglev(g, 0, 123456789), SC_NO_BACKEND);
	sc_generation_free(g);
	sound()->pool[0] = (struct sc_pool_row){ .first = FLEET_SLOTS, .size = 0 };
	REQUIRE(plan_load(&plan, &g, &why) == 0);
	CHECK_EQ(sc_maglev(g, 0, 123456789), SC_NO_BACKEND);
	sc_generation_free(g);
}

TEST("a fleet at all its limits loads, and every backend and service is found")
{
	struct sc_generation *g;
	const char *why;

	sound()->h.nodes = SC_MAX_NODES;
	plan.h.backends = SC_MAX_BACKENDS;
	plan.h.services = SC_MAX_SERVICES;
	plan.h.pools = SC_MAX_TABLES;
	for (uint32_t i = 0; i < SC_MAX_NODES; i++)
		plan.node[i] = (struct sc_node_row){ .addr = ip4(i), .id = (uint16_t)(65535 - i), .pop = (uint16_t)(1 + i / 32) };
	plan.h.self = 65535;
	for (uint32_t i = 0; i < SC_MAX_BACKENDS; i++)
		plan.backend[i] = (struct sc_backend_row){
			.addr = ip4(i), .id = (1 + i % 8) << 20 | (i * 2654435761u >> 12), .pop = (uint16_t)(1 + i % 8), .pool = i % SC_MAX_POOLS,
		};
	for (uint32_t i = 0; i < SC_MAX_SERVICES; i++) {
		plan.service[i] = plan.service[0];
		plan.service[i].vip = ip4(FLEET_VIP + i % 64);
		plan.service[i].port = (uint16_t)(i / 64);
		plan.service[i].pool = i % SC_MAX_POOLS;
		plan.service[i].table = i % SC_MAX_TABLES;
	}
	for (uint32_t i = 0; i < SC_MAX_TABLES; i++)
		plan.pool[i] = (struct sc_pool_row){ 0, 3 };
	if (!CHECK_EQ(plan_load(&plan, &g, &why), 0))
		return;
	for (uint32_t i = 0; i < SC_MAX_BACKENDS; i++)
		CHECK_EQ(sc_find_backend(g, plan.backend[i].id), i);
	for (uint32_t i = 0; i < SC_MAX_SERVICES; i++)
		CHECK_EQ(sc_find_service(g, &plan.service[i].vip, plan.service[i].port, SC_PROTO_TCP), i);
	CHECK_EQ(sc_find_backend(g, 0x0ff00000), SC_NO_ROW);
	sc_generation_free(g);
}

TEST("a node refuses options that it cannot run with, and leaves the generation to its caller")
{
	static const struct sc_node_options bad[] = {
		{ .boot_id = 0, .flow_entries = 64 }, { .boot_id = 1, .flow_entries = 0 },
		{ .boot_id = 1, .flow_entries = SC_MAX_FLOW_ENTRIES + 1u },
		{ .boot_id = 1, .flow_entries = 64, .wire_version = SC_WIRE_VERSION + 1 },
	};
	struct sc_generation *g;
	struct sc_node *node = NULL;
	uint64_t *counters;
	const char *why;

	REQUIRE(plan_load(sound(), &g, &why) == 0);
	counters = calloc(sc_counter_slots(g), sizeof(*counters));
	for (int i = 0; i < 4; i++)
		CHECK_EQ(sc_node_new(&bad[i], g, counters, &node), -EINVAL);
	sc_generation_free(g);
	sound()->h.self = 0;
	REQUIRE(plan_load(&plan, &g, &why) == 0);
	CHECK_EQ(sc_node_new(&(struct sc_node_options){ .boot_id = 1, .flow_entries = 64 }, g, counters, &node), -EINVAL);
	sc_generation_free(g);
	sc_node_free(NULL);
	sc_generation_free(NULL);
	free(counters);
}

TEST("a node that has not begun can be looked at")
{
	struct fleet f;
	struct sc_node_view view;

	fleet_start(&f, 2, 2, 1, 100);
	sc_node_look(f.node[0], f.now_us, &view);
	CHECK_EQ(view.flow_capacity, 128);
	CHECK_EQ(view.npeers, 3);
	CHECK(!view.certain && !view.peers[0].up);
	fleet_run(&f, 5 * SC_S);
	sc_node_look(f.node[0], f.now_us, &view);
	CHECK(view.certain);
	for (int i = 0; i < 3; i++)
		CHECK(view.peers[i].up && view.peers[i].filled && view.peers[i].peer_filled && view.peers[i].version == SC_WIRE_VERSION);
	CHECK_EQ(view.peers[0].id, fleet_node_id(1, 2));
	CHECK_EQ(view.peers[2].pop, 2);
	fleet_stop(&f);
}

CHECK_MAIN
