/* observe.c: what is a connection that arrives in the middle, what a handshake that stalls, and what is neither; the
 * bounds of its memory; and against a plain account of random connections. */
#include "check.h"
#include "naive.h"
#include "observe.h"
#include "packets.h"

enum { CLIENT = 0xcb007101, VIP = 0xc633640a, SYN = SC_TCP_SYN, ACK = SC_TCP_ACK, FIN = SC_TCP_FIN, RST = SC_TCP_RST };

#define START (1000 * SC_S)

static uint64_t now;

static struct sc_observer *observer(uint32_t grace_ms)
{
	struct sc_observe_options o = { .nvips = 1, .grace_ms = grace_ms, .seed = 7 };
	struct sc_observer *out;

	o.vip[0] = (struct sc_observe_vip){ ip4(VIP), 120 };
	if (sc_observe_new(&o, &out) < 0)
		abort();
	now = START;
	sc_observe_start(out, now);
	return out;
}

static void packet(struct sc_observer *o, uint32_t client, uint16_t port, uint8_t flags)
{
	struct draft *d = malloc(sizeof(*d));
	struct exact e;

	draft_client(d, 4, SC_PROTO_TCP, client, VIP, port, 80, flags, flags & SYN ? 0 : 100);
	e = exact_copy(d->b, d->len);
	sc_observe_packet(o, e.p.data, e.p.len, now);
	exact_free(&e);
	free(d);
}

static void pass(struct sc_observer *o, uint64_t ms)
{
	now += ms * SC_MS;
	sc_observe_tick(o, now);
}

static const struct sc_observe_report *report(struct sc_observer *o)
{
	sc_observe_settle(o);
	return sc_observe_report(o);
}

TEST("a connection that is seen from its SYN on is neither in the middle nor stalled")
{
	struct sc_observer *o = observer(1000);

	pass(o, 5000);
	packet(o, CLIENT, 1, SYN);
	packet(o, CLIENT, 1, ACK);
	pass(o, 60000);
	packet(o, CLIENT, 1, ACK);
	packet(o, CLIENT, 1, ACK | FIN);
	packet(o, CLIENT, 1, ACK);
	CHECK_EQ(report(o)->n.begun, 1);
	CHECK_EQ(report(o)->n.middle, 0);
	CHECK_EQ(report(o)->n.stalled, 0);
	CHECK_EQ(report(o)->pending, 0);
	CHECK_EQ(report(o)->packets, 5);
	sc_observe_free(o);
}

TEST("what was open when the watching began does not count, what arrives in the middle later does")
{
	struct sc_observer *o = observer(75000);

	packet(o, CLIENT, 1, ACK);
	pass(o, 74000);
	packet(o, CLIENT, 2, ACK);
	pass(o, 2000);
	packet(o, CLIENT, 1, ACK);
	packet(o, CLIENT, 3, ACK);
	packet(o, CLIENT, 4, ACK);
	pass(o, 2000);
	packet(o, CLIENT, 4, ACK);
	packet(o, CLIENT, 5, RST);
	packet(o, CLIENT, 6, ACK | FIN);
	CHECK_EQ(report(o)->before, 2);
	CHECK_EQ(report(o)->n.middle, 2);
	CHECK_EQ(report(o)->n.went_on, 1);
	CHECK_EQ(report(o)->ending, 2);
	sc_observe_free(o);
}

TEST("a handshake without an end has stalled after ten seconds, and has not when it ends after all")
{
	struct sc_observer *o = observer(0);

	packet(o, CLIENT, 1, SYN);
	packet(o, CLIENT, 2, SYN);
	pass(o, 1000);
	packet(o, CLIENT, 2, SYN);
	pass(o, 8500);
	CHECK_EQ(report(o)->n.stalled, 0);
	CHECK_EQ(report(o)->pending, 2);
	pass(o, 2000);
	CHECK_EQ(report(o)->n.stalled, 2);
	CHECK_EQ(report(o)->n.repeated, 1);
	CHECK_EQ(report(o)->pending, 0);
	/* Repetitions come ever later. */
	pass(o, 16000);
	packet(o, CLIENT, 1, SYN);
	CHECK_EQ(report(o)->n.begun, 2);
	CHECK_EQ(report(o)->n.repeated, 2);
	packet(o, CLIENT, 2, ACK);
	CHECK_EQ(report(o)->n.stalled, 1);
	CHECK_EQ(report(o)->n.repeated, 1);
	packet(o, CLIENT, 1, RST);
	CHECK_EQ(report(o)->n.stalled, 0);
	sc_observe_free(o);
}

TEST("a port that is used again is another connection")
{
	struct sc_observer *o = observer(0);

	packet(o, CLIENT, 1, SYN);
	packet(o, CLIENT, 1, ACK | FIN);
	packet(o, CLIENT, 1, SYN);
	packet(o, CLIENT, 1, ACK);
	CHECK_EQ(report(o)->n.begun, 2);
	CHECK_EQ(report(o)->pending, 0);
	CHECK_EQ(report(o)->n.middle, 0);
	sc_observe_free(o);
}

TEST("other destinations are not watched, other protocols counted apart, cut packets read as far as they go")
{
	struct sc_observer *o = observer(0);
	struct draft *d = malloc(sizeof(*d));
	struct exact e;

	draft_client(d, 4, SC_PROTO_TCP, CLIENT, VIP ^ 0x100, 1, 80, SYN, 0);
	sc_observe_packet(o, d->b, d->len, now);
	draft_client(d, 4, SC_PROTO_UDP, CLIENT, VIP, 1, 53, 0, 10);
	sc_observe_packet(o, d->b, d->len, now);
	CHECK_EQ(report(o)->packets, 0);
	CHECK_EQ(report(o)->others, 1);
	for (uint32_t len = 0; len <= 54; len++) {
		draft_client(d, 4, SC_PROTO_TCP, CLIENT, VIP, 9, 80, ACK, 1000);
		e = exact_copy(d->b, len);
		sc_observe_packet(o, e.p.data, e.p.len, now);
		exact_free(&e);
	}
	CHECK_EQ(report(o)->packets, 54 - 40 + 1);
	CHECK_EQ(report(o)->n.middle, 1);
	free(d);
	sc_observe_free(o);
}

TEST("columns over time grow twice as wide when they are full, and lose nothing")
{
	struct sc_observer *o = observer(0);
	uint64_t sum = 0;

	for (uint16_t port = 1; port <= 2000; port++) {
		packet(o, CLIENT, port, SYN);
		packet(o, CLIENT, port, ACK);
		pass(o, 997);
	}
	CHECK_EQ(report(o)->column_ms, 16000);
	CHECK(report(o)->columns <= SC_OBSERVE_TIMES);
	for (uint32_t i = 0; i < report(o)->columns; i++)
		sum += report(o)->time[i].begun;
	CHECK_EQ(sum, 2000);
	sc_observe_free(o);
}

TEST("what there is no room for is counted, and the rest stays right")
{
	struct sc_observer *o = observer(0);
	const struct sc_observe_report *r;
	uint64_t placed = 0;

	for (uint32_t i = 0; i < 2 * SC_OBSERVE_FLOWS; i++)
		packet(o, CLIENT + (i >> 8 << 8), (uint16_t)(1 + (i & 0xff)), ACK);
	r = report(o);
	CHECK_EQ(r->n.middle + r->unfollowed, 2 * SC_OBSERVE_FLOWS);
	CHECK(r->n.middle > SC_OBSERVE_FLOWS * 9 / 10);
	CHECK(r->unfollowed > 0);
	for (int i = 0; i < SC_OBSERVE_PREFIXES; i++)
		placed += r->prefix[i].n.middle;
	CHECK_EQ(placed + r->unplaced, r->n.middle);
	/* A new prefix has a row, or is counted as one without. */
	for (uint32_t i = 0; i < 100; i++)
		packet(o, 0x01000001 + (i << 8), 1, SYN);
	pass(o, SC_OBSERVE_IDLE_MS);
	CHECK_EQ(report(o)->pending, 0);
	packet(o, CLIENT, 1, ACK);
	packet(o, CLIENT + (511 << 8), 200, SYN);
	CHECK_EQ(report(o)->unfollowed, r->unfollowed);
	sc_observe_free(o);
}

/* A plain account: what each connection was made to be. */
TEST("random connections are told apart as they were made, by prefix too")
{
	enum { N = 3000 };
	struct sc_observer *o = observer(5000);
	uint64_t rnd = check_seed(), begun = 0, middle = 0, went_on = 0, stalled = 0, repeated = 0, mine = 0;
	const struct sc_observe_report *r;

	pass(o, 6000);
	for (uint32_t i = 0; i < N; i++) {
		const uint32_t client = CLIENT + ((uint32_t)(check_random(&rnd) % 16) << 8);
		const uint16_t port = (uint16_t)(1000 + i);
		const bool here = client >> 8 == CLIENT >> 8;

		switch (check_random(&rnd) % 5) {
		case 0:
			packet(o, client, port, SYN);
			packet(o, client, port, ACK);
			begun++;
			break;
		case 1:
			packet(o, client, port, SYN);
			begun++;
			stalled++;
			break;
		case 2:
			packet(o, client, port, SYN);
			pass(o, 100);
			packet(o, client, port, SYN);
			begun++;
			stalled++;
			repeated++;
			break;
		case 3:
			packet(o, client, port, ACK);
			middle++;
			mine += here;
			break;
		default:
			packet(o, client, port, ACK);
			pass(o, 1000);
			packet(o, client, port, ACK);
			middle++;
			went_on++;
			mine += here;
		}
		pass(o, check_random(&rnd) % 50);
	}
	pass(o, 20000);
	r = report(o);
	CHECK_EQ(r->n.begun, begun);
	CHECK_EQ(r->n.middle, middle);
	CHECK_EQ(r->n.went_on, went_on);
	CHECK_EQ(r->n.stalled, stalled);
	CHECK_EQ(r->n.repeated, repeated);
	for (int i = 0; i < SC_OBSERVE_PREFIXES; i++)
		if (r->prefix[i].family == 4 && sc_get32(r->prefix[i].addr.b + 12) == (CLIENT & 0xffffff00))
			CHECK_EQ(r->prefix[i].n.middle, mine);
	sc_observe_free(o);
}

CHECK_MAIN
