/* Following connections by what clients send; see observe.h. */
#include "observe.h"

#include <errno.h>
#include <stdlib.h>

#include "flow_id.h"

enum { WAYS = 8, BUCKETS = SC_OBSERVE_FLOWS / WAYS, SWEEP = BUCKETS / 64 };

/* More than headers take. */
enum { CUT = 512 };

#define NO_PREFIX 0xffffu

_Static_assert(SC_OBSERVE_PREFIXES < NO_PREFIX, "a prefix has a number of 16 bits");

enum state { FREE, HALF_OPEN, STALLED, OPEN, MIDDLE, WENT_ON, ENDED };

struct flow {
	uint64_t id;
	uint32_t first_ms, last_ms;	/* since the start */
	uint16_t prefix;		/* row, NO_PREFIX: none */
	uint8_t state;
	bool repeated;			/* the SYN came again */
};

struct sc_observer {
	struct sc_observe_options options;
	struct sc_observe_report report;
	uint32_t sweep;			/* bucket */
	struct flow flow[BUCKETS][WAYS];
};

int sc_observe_new(const struct sc_observe_options *options, struct sc_observer **out)
{
	struct sc_observer *o;

	if (options->nvips == 0 || options->nvips > SC_OBSERVE_VIPS)
		return -EINVAL;
	for (uint32_t i = 0; i < options->nvips; i++)
		if (options->vip[i].bits > 128)
			return -EINVAL;
	o = calloc(1, sizeof(*o));
	if (!o)
		return -ENOMEM;
	o->options = *options;
	o->report.column_ms = 1000;
	*out = o;
	return 0;
}

void sc_observe_free(struct sc_observer *o)
{
	free(o);
}

void sc_observe_start(struct sc_observer *o, uint64_t now_us)
{
	o->report.start_us = o->report.last_us = now_us;
}

const struct sc_observe_report *sc_observe_report(const struct sc_observer *o)
{
	return &o->report;
}

static bool starts_with(const struct sc_addr *a, const struct sc_addr *prefix, uint8_t bits)
{
	uint8_t rest = bits % 8;

	if (memcmp(a->b, prefix->b, bits / 8) != 0)
		return false;
	return rest == 0 || (a->b[bits / 8] ^ prefix->b[bits / 8]) >> (8 - rest) == 0;
}

static bool watched(const struct sc_observer *o, const struct sc_addr *dst)
{
	for (uint32_t i = 0; i < o->options.nvips; i++)
		if (starts_with(dst, &o->options.vip[i].addr, o->options.vip[i].bits))
			return true;
	return false;
}

static uint32_t now_ms(const struct sc_observer *o)
{
	return (uint32_t)((o->report.last_us - o->report.start_us) / 1000);
}

/* Time runs forwards only. */
static void advance(struct sc_observer *o, uint64_t now_us)
{
	if (o->report.start_us == 0)
		sc_observe_start(o, now_us);
	if (now_us > o->report.last_us)
		o->report.last_us = now_us;
}

static void add(struct sc_observe_counts *to, const struct sc_observe_counts *n)
{
	to->begun += n->begun;
	to->middle += n->middle;
	to->went_on += n->went_on;
	to->stalled += n->stalled;
	to->repeated += n->repeated;
}

static struct sc_observe_counts *column_of(struct sc_observer *o, uint32_t ms)
{
	struct sc_observe_report *r = &o->report;
	uint64_t at;

	while ((at = ms / r->column_ms) >= SC_OBSERVE_TIMES) {
		for (uint32_t i = 0; i < SC_OBSERVE_TIMES; i++) {
			struct sc_observe_counts n = r->time[i];

			memset(&r->time[i], 0, sizeof(n));
			add(&r->time[i / 2], &n);
		}
		r->column_ms *= 2;
		r->columns = (r->columns + 1) / 2;
	}
	if (at >= r->columns)
		r->columns = (uint32_t)at + 1;
	return &r->time[at];
}

static void count(struct sc_observer *o, const struct flow *f, struct sc_observe_counts n)
{
	add(&o->report.n, &n);
	add(column_of(o, f->first_ms), &n);
	if (f->prefix != NO_PREFIX)
		add(&o->report.prefix[f->prefix].n, &n);
}

/* Rows are never given up, so that a number stays good. */
static uint16_t prefix_of(struct sc_observer *o, const struct sc_parsed *ip)
{
	uint8_t bytes = ip->family == 4 ? 12 + SC_OBSERVE_PREFIX4 / 8 : SC_OBSERVE_PREFIX6 / 8;
	struct sc_addr addr = { 0 };
	uint32_t at;

	memcpy(addr.b, ip->src.b, bytes);
	at = (uint32_t)sc_xxh64(addr.b, sizeof(addr.b), o->options.seed);
	for (uint32_t i = 0; i < 16; i++) {
		uint16_t row = (uint16_t)((at + i) % SC_OBSERVE_PREFIXES);
		struct sc_observe_prefix *p = &o->report.prefix[row];

		if (p->family == 0)
			*p = (struct sc_observe_prefix){ .addr = addr, .family = ip->family };
		if (p->family == ip->family && sc_addr_eq(&p->addr, &addr))
			return row;
	}
	o->report.unplaced++;
	return NO_PREFIX;
}

/* What silence makes of a connection. */
static void judge(struct sc_observer *o, struct flow *f)
{
	uint32_t idle = now_ms(o) - f->last_ms;

	if (f->state == HALF_OPEN && idle >= SC_OBSERVE_STALL_MS) {
		f->state = STALLED;
		o->report.pending--;
		count(o, f, (struct sc_observe_counts){ .stalled = 1, .repeated = f->repeated });
	}
	if ((f->state == ENDED || f->state == STALLED) ? idle >= SC_OBSERVE_ENDED_MS : idle >= SC_OBSERVE_IDLE_MS)
		f->state = FREE;
}

/* The connection; when it is new, a free place for it; NULL: there is none. */
static struct flow *find(struct sc_observer *o, uint64_t id)
{
	struct flow *bucket = o->flow[id % BUCKETS], *spare = NULL;

	for (int i = 0; i < WAYS; i++) {
		if (bucket[i].state != FREE)
			judge(o, &bucket[i]);
		if (bucket[i].state == FREE)
			spare = &bucket[i];
		else if (bucket[i].id == id)
			return &bucket[i];
	}
	return spare;
}

static void begin(struct sc_observer *o, struct flow *f)
{
	f->first_ms = now_ms(o);
	f->state = HALF_OPEN;
	f->repeated = false;
	o->report.pending++;
	count(o, f, (struct sc_observe_counts){ .begun = 1 });
}

static void first_seen(struct sc_observer *o, struct flow *f, const struct sc_parsed *ip, uint64_t id)
{
	*f = (struct flow){ .id = id, .first_ms = now_ms(o), .prefix = prefix_of(o, ip) };
	if (ip->tcp_flags & SC_TCP_SYN) {
		begin(o, f);
	} else if (ip->tcp_flags & (SC_TCP_FIN | SC_TCP_RST)) {
		f->state = ENDED;
		o->report.ending++;
	} else if (f->first_ms < o->options.grace_ms) {
		f->state = OPEN;
		o->report.before++;
	} else {
		f->state = MIDDLE;
		count(o, f, (struct sc_observe_counts){ .middle = 1 });
	}
}

static void seen_again(struct sc_observer *o, struct flow *f, uint8_t flags)
{
	if (flags & SC_TCP_SYN) {
		if (f->state != HALF_OPEN && f->state != STALLED) {
			begin(o, f);
			return;
		}
		if (f->state == STALLED && !f->repeated)
			count(o, f, (struct sc_observe_counts){ .repeated = 1 });
		f->repeated = true;
		return;
	}
	if (f->state == HALF_OPEN)
		o->report.pending--;
	if (f->state == MIDDLE && now_ms(o) - f->first_ms >= SC_OBSERVE_WENT_ON_MS && !(flags & SC_TCP_RST)) {
		f->state = WENT_ON;
		count(o, f, (struct sc_observe_counts){ .went_on = 1 });
	}
	/* A handshake that was taken for stalled has come to its end after all. */
	if (f->state == STALLED)
		count(o, f, (struct sc_observe_counts){ .stalled = -1ull, .repeated = -(uint64_t)f->repeated });
	if (flags & (SC_TCP_FIN | SC_TCP_RST))
		f->state = ENDED;
	else if (f->state == HALF_OPEN || f->state == STALLED)
		f->state = OPEN;
}

/* A capture may hold the beginnings of packets only: the IP header then says what there is. */
static uint32_t mend_cut(uint8_t copy[CUT], const uint8_t *data, uint32_t len)
{
	const uint32_t kept = len < CUT ? len : CUT;

	memcpy(copy, data, kept);
	if (kept >= 20 && copy[0] >> 4 == 4 && (copy[0] & 0xfu) * 4 <= kept) {
		sc_put16(copy + 2, (uint16_t)kept);
		sc_put16(copy + 10, 0);
		sc_put16(copy + 10, (uint16_t)~sc_fold(sc_sum(copy, (copy[0] & 0xfu) * 4, 0)));
	} else if (kept >= 40 && copy[0] >> 4 == 6) {
		sc_put16(copy + 4, (uint16_t)(kept - 40));
	}
	return kept;
}

static bool parse(const uint8_t *data, uint32_t len, struct sc_parsed *ip)
{
	enum sc_reason r = sc_parse_super(data, len, ip);
	uint8_t copy[CUT];

	if (r == SC_DROP_truncated)
		r = sc_parse_super(copy, mend_cut(copy, data, len), ip);
	return r == SC_OK;
}

void sc_observe_packet(struct sc_observer *o, const uint8_t *data, uint32_t len, uint64_t now_us)
{
	struct sc_parsed ip;
	struct flow *f;
	uint64_t id;

	advance(o, now_us);
	if (!parse(data, len, &ip) || !watched(o, &ip.dst))
		return;
	if (ip.kind != SC_KIND_TCP) {
		o->report.others++;
		return;
	}
	o->report.packets++;
	id = sc_flow_id(&ip.src, &ip.dst, ip.sport, ip.dport, ip.proto, o->options.seed);
	f = find(o, id);
	if (!f) {
		o->report.unfollowed++;
		return;
	}
	if (f->state == FREE)
		first_seen(o, f, &ip, id);
	else
		seen_again(o, f, ip.tcp_flags);
	f->last_ms = now_ms(o);
}

static void sweep(struct sc_observer *o, uint32_t buckets)
{
	for (; buckets > 0; buckets--, o->sweep = (o->sweep + 1) % BUCKETS)
		for (int i = 0; i < WAYS; i++)
			if (o->flow[o->sweep][i].state != FREE)
				judge(o, &o->flow[o->sweep][i]);
}

void sc_observe_tick(struct sc_observer *o, uint64_t now_us)
{
	advance(o, now_us);
	column_of(o, now_ms(o));
	sweep(o, SWEEP);
}

void sc_observe_settle(struct sc_observer *o)
{
	column_of(o, now_ms(o));
	sweep(o, BUCKETS);
}
