/* Packets made of an input's bytes, with tags and checksums that are right unless the input bends them. See fuzz.h. */
#include "fuzz.h"

#include "flow_id.h"

uint8_t fuzz_8(struct fuzz_args *a)
{
	if (a->left == 0)
		return 0;
	a->left--;
	return *a->at++;
}

uint16_t fuzz_16(struct fuzz_args *a)
{
	uint16_t low = fuzz_8(a);

	return (uint16_t)(fuzz_8(a) << 8 | low);
}

uint32_t fuzz_32(struct fuzz_args *a)
{
	uint32_t low = fuzz_16(a);

	return (uint32_t)fuzz_16(a) << 16 | low;
}

uint64_t fuzz_64(struct fuzz_args *a)
{
	uint64_t low = fuzz_32(a);

	return (uint64_t)fuzz_32(a) << 32 | low;
}

void fuzz_mend(uint8_t *b, uint32_t len)
{
	if (len >= 28 && b[0] >> 4 == 4 && (b[0] & 15u) * 4 + 8 <= len && (b[0] & 15) >= 5) {
		uint8_t *udp = b + (b[0] & 15u) * 4;

		sc_put16(b + 2, (uint16_t)len);
		fix_ip4(b);
		if (b[9] == SC_PROTO_UDP)
			sc_put16(udp + 4, (uint16_t)(b + len - udp));
	} else if (len >= 48 && b[0] >> 4 == 6) {
		sc_put16(b + 4, (uint16_t)(len - 40));
		if (b[6] != SC_PROTO_UDP)
			return;
		sc_put16(b + 44, (uint16_t)(len - 40));
		sc_put16(b + 46, 0);
		sc_put16(b + 46, naive_transport_field(b, len, 40, SC_PROTO_UDP));
	}
}

void fuzz_retag(uint8_t *b, uint32_t len, const struct sc_generation *g)
{
	uint32_t at = b[0] >> 4 == 4 ? 20 : 40;
	struct sc_addr src, dst;
	const struct sc_key *key;
	uint8_t *d = b + at + 12;
	uint32_t left;

	if (len < at + 12 + SC_PRIVATE_LEN)
		return;
	src = at == 20 ? sc_addr4(b + 12) : sc_addr6(b + 8);
	dst = at == 20 ? sc_addr4(b + 16) : sc_addr6(b + 24);
	left = len - at - 12;
	key = sc_find_key(g, d[1]);
	if (!key)
		key = &g->keys[0];
	if (d[-4] & SC_GUE_CONTROL) {
		if (left < SC_CONTROL_LEN || left > SC_TAGGED_MAX)
			return;
		memset(d + SC_CONTROL_TAG, 0, 8);
		sc_put_tag(d + SC_CONTROL_TAG, sc_tag(key, &src, &dst, d, left, NULL, 0));
	} else {
		left -= SC_PRIVATE_LEN;
		sc_put_tag(d + 8, sc_tag(key, &src, &dst, d, 8, d + SC_PRIVATE_LEN,
					 left < SC_TAGGED_INNER ? left : SC_TAGGED_INNER));
	}
}

void fuzz_bend(uint8_t *b, uint32_t *len, uint32_t room, struct fuzz_args *a)
{
	/* Version and lengths of IP headers, of UDP behind them, GUE; first and last bytes of tags. */
	static const uint8_t fields[] = {
		0, 2, 3, 4, 5, 6, 7, 8, 9, 24, 25, 28, 29, 30, 31, 44, 45, 48, 49, 50, 51, 40, 47, 60, 64, 67, 71, 84, 91,
	};
	static const uint8_t telling[] = { 0, 1, 4, 5, 6, 17, 41, 43, 44, 51, 58, 60, 0x45, 0x60, 0x7f, 0x80, 0xff };
	unsigned int times = fuzz_8(a) & 7;

	while (times-- > 0 && *len > 0) {
		uint8_t how = fuzz_8(a);
		uint32_t at = fuzz_16(a) % *len, value = fuzz_8(a);

		switch (how % 8) {
		case 7:		/* a little more or less */
			at = fields[at % sizeof(fields)];
			if (at < *len)
				b[at] = (uint8_t)(b[at] + value + 1);
			break;
		case 0:
			b[at] ^= (uint8_t)(1 << (value & 7));
			break;
		case 1:
			b[at] = (uint8_t)value;
			break;
		case 2:
			b[at] = telling[value % sizeof(telling)];
			break;
		case 3:
			*len = at;
			break;
		case 4:
			for (; value > 0 && *len < room; value--)
				b[(*len)++] = (uint8_t)(value * 7);
			break;
		case 5:		/* nearer to the end */
			b[*len - 1 - value % *len] = (uint8_t)at;
			break;
		default:	/* a piece left out */
			value = value < *len - at ? value : *len - at;
			memmove(b + at, b + at + value, *len - at - value);
			*len -= value;
			break;
		}
	}
}

static uint32_t client_ip(uint8_t which)
{
	return FUZZ_CLIENT + (which & 7u);
}

/* Where a client's packet goes: most of them to the VIP. */
static uint32_t destination(const struct fuzz_world *w, uint8_t choice)
{
	(void)w;
	switch (choice & 7) {
	case 5:
		return fleet_node_ip(1, 1);
	case 6:
		return FLEET_VIP + 1;
	case 7:
		return fleet_backend_ip(1, 1);
	default:
		return FLEET_VIP;
	}
}

static uint16_t port_of(struct fuzz_args *a, uint8_t proto)
{
	static const uint16_t tcp[] = { 80, 80, 443, 8080 }, udp[] = { 53, 53, 123, SC_GUE_PORT };
	uint8_t choice = fuzz_8(a);

	if (choice >= 0xf0)
		return fuzz_16(a);
	return proto == SC_PROTO_TCP ? tcp[choice & 3] : udp[choice & 3];
}

static uint8_t flags_of(uint8_t choice)
{
	static const uint8_t usual[] = {
		SC_TCP_ACK, SC_TCP_SYN, SC_TCP_ACK | SC_TCP_FIN, SC_TCP_RST, SC_TCP_SYN | SC_TCP_ACK,
		SC_TCP_ACK | SC_TCP_PSH, SC_TCP_RST | SC_TCP_ACK, 0,
	};

	return choice & 0x80 ? choice & 0x7f : usual[choice & 7];
}

/* 0 to 199 bytes, or up to 9350. */
static uint32_t payload_of(uint8_t choice)
{
	return choice < 200 ? choice : (choice - 200u) * 170;
}

enum { LONG_HEADER = 1, FRAGMENT = 2, NO_DF = 4, TCP_OPTIONS = 8, BENT = 16, UNMENDED = 32, BAD_SUM = 64 };

/* IPv6 extension headers as they come, or one fragment header; next: what follows them. */
static void extensions(struct draft *d, uint8_t next, uint8_t options, struct fuzz_args *a)
{
	static const uint8_t types[] = { 60, 0, 43, 51, 44 };
	uint8_t count = options & LONG_HEADER ? fuzz_8(a) % (SC_MAX_EXTENSIONS + 3) : 0;
	uint8_t *before = d->b + 6;

	for (uint8_t k = 0; k < count; k++) {
		uint8_t choice = fuzz_8(a), type = types[choice % 5];
		uint32_t units = 1 + (choice / 5) % 8 + (type == 51);

		*before = type;
		before = d->b + d->len;
		draft_extension(d, type, next, type == 44 ? 1 : units);
	}
	if (options & FRAGMENT) {
		*before = 44;
		before = d->b + d->len;
		draft_extension(d, 44, next, 1);
		sc_put16(before + 2, fuzz_16(a));
	}
}

static void begin_ip(struct draft *d, bool six, uint8_t proto, uint32_t src, uint32_t dst, uint8_t options,
		     struct fuzz_args *a)
{
	uint16_t frag = options & NO_DF ? 0 : 0x4000;

	if (six) {
		draft_ip6(d, proto, src, dst);
		extensions(d, proto, options, a);
		return;
	}
	if (options & FRAGMENT)
		frag = fuzz_16(a);
	draft_ip4(d, proto, src, dst, options & LONG_HEADER ? (fuzz_8(a) % 11u) * 4 : 0, frag);
}

static void end_ip(struct fuzz_draft *out, struct draft *d, uint8_t options, struct fuzz_args *a)
{
	draft_done(d);
	if (options & BAD_SUM)
		d->b[d->l4 + 17 < d->len ? d->l4 + 17 : 1] ^= 1;
	if (options & BENT) {
		fuzz_bend(d->b, &d->len, sizeof(d->b), a);
		if (!(options & UNMENDED))
			fuzz_mend(d->b, d->len);
	}
	out->len = d->len < sizeof(out->b) ? d->len : sizeof(out->b);
	memcpy(out->b, d->b, out->len);
}

void fuzz_draft_client(struct fuzz_draft *out, struct fuzz_args *a)
{
	static struct draft d;
	uint8_t what = fuzz_8(a), who = fuzz_8(a), flags = fuzz_8(a), options;
	uint8_t proto = (what >> 1 & 3) == 0 ? SC_PROTO_TCP : (what >> 1 & 3) == 1 ? SC_PROTO_UDP : fuzz_8(a);
	uint16_t dport = port_of(a, proto);
	uint32_t payload = payload_of(fuzz_8(a));

	options = fuzz_8(a);
	begin_ip(&d, what & 1, proto, client_ip(who), destination(NULL, what >> 3), options, a);
	if (proto == SC_PROTO_UDP)
		draft_udp(&d, who >> 3, dport, payload);
	else if (proto == SC_PROTO_ICMP || proto == SC_PROTO_ICMP6)
		draft_icmp(&d, flags, 0);
	else
		draft_tcp(&d, who >> 3, dport, flags_of(flags), options & TCP_OPTIONS ? (fuzz_8(a) % 11u) * 4 : 0,
			  payload);
	end_ip(out, &d, options, a);
}

/* An ICMP error that quotes a packet from the VIP to a client, or a ping. */
void fuzz_draft_icmp(struct fuzz_draft *out, struct fuzz_args *a)
{
	static const uint8_t errors4[] = { 3, 11, 12, 8 }, errors6[] = { 1, 2, 3, 128 };
	static struct draft d, q;
	uint8_t what = fuzz_8(a), who = fuzz_8(a), type = fuzz_8(a), quote = fuzz_8(a), options = fuzz_8(a);
	uint8_t inner_options = fuzz_8(a);
	bool six = what & 1;
	uint8_t proto = what & 2 ? SC_PROTO_UDP : SC_PROTO_TCP;
	uint16_t sport = port_of(a, proto);
	uint8_t carrier = six ? SC_PROTO_ICMP6 : SC_PROTO_ICMP;

	begin_ip(&q, six, proto, destination(NULL, what >> 5), client_ip(who), inner_options, a);
	if (proto == SC_PROTO_UDP)
		draft_udp(&q, sport, who >> 3, 100);
	else
		draft_tcp(&q, sport, who >> 3, SC_TCP_ACK, 0, 1000);
	draft_done(&q);
	begin_ip(&d, six, carrier, what & 4 ? client_ip(who) : 0x08080808, destination(NULL, what >> 3 & 3),
		 options, a);
	draft_icmp(&d, type & 0x80 ? type & 0x7f : (six ? errors6 : errors4)[type & 3], type >> 2 & 31);
	quote = quote == 0 ? 28 + 20 * six : quote;
	if (quote > 0xf0)
		quote = 0xff;
	memcpy(d.b + d.len, q.b, quote < q.len ? quote : q.len);
	d.len += quote < q.len ? quote : q.len;
	end_ip(out, &d, options, a);
}

/* The outer headers of a packet from one node to another, whose payload is at b + 48 or so. */
static void wrap(const struct fuzz_world *w, struct fuzz_draft *d, int from, int to, const uint8_t *payload,
		 uint32_t len, uint8_t outer_bend, struct fuzz_args *a)
{
	static uint8_t room[SC_HEADROOM + sizeof(d->b)];
	const struct sc_generation *g = w->f.node[to]->g;
	const struct sc_addr *src = &w->f.node[from]->self, *dst = &w->f.node[to]->self;
	struct sc_packet p = { .data = room + SC_HEADROOM, .len = len };

	if (len > sizeof(d->b) - SC_HEADROOM)
		p.len = sizeof(d->b) - SC_HEADROOM;
	memcpy(p.data, payload, p.len);
	sc_push_outer(&p, src, dst, 0xc123, 0);
	fuzz_retag(p.data, p.len, g);
	fuzz_mend(p.data, p.len);
	if (outer_bend & 1) {		/* behind the tag's back */
		fuzz_bend(p.data, &p.len, (uint32_t)(room + sizeof(room) - p.data), a);
		if (outer_bend & 2)
			fuzz_mend(p.data, p.len);
	}
	d->len = p.len < sizeof(d->b) ? p.len : sizeof(d->b);
	memcpy(d->b, p.data, d->len);
}

static const uint32_t backends[] = {
	0x100001, 0x100002, 0x100003, 0x200001, 0x200002, 0x200003, 0x300001, 0x300002, 0x300003, 0x200004,
	0x400001, 0, 0x100009, 0xffffffff,
};
enum { BACKEND_CHOICES = sizeof(backends) / sizeof(backends[0]) };

void fuzz_draft_gue(const struct fuzz_world *w, struct fuzz_draft *d, int from, int to, struct fuzz_args *a)
{
	static const uint8_t verbs[] = { SC_VERB_ASK, SC_VERB_FORWARD, SC_VERB_RELAY, 0 };
	static struct fuzz_draft inner;
	static uint8_t gue[sizeof(inner.b) + SC_GUE_LEN + SC_PRIVATE_LEN];
	uint8_t what = fuzz_8(a), bends = fuzz_8(a), named = fuzz_8(a);
	bool plain = (what & 7) >= 4;
	uint32_t head = plain ? SC_GUE_LEN : SC_GUE_LEN + SC_PRIVATE_LEN;
	uint32_t len;

	if (bends & 0x80)
		fuzz_draft_icmp(&inner, a);
	else
		fuzz_draft_client(&inner, a);
	memset(gue, 0, head);
	gue[0] = (uint8_t)(plain ? 0 : SC_PRIVATE_LEN / 4);
	gue[1] = inner.b[0] >> 4 == 4 ? SC_GUE_PROTO_IP4 : SC_GUE_PROTO_IP6;
	if (!plain) {
		gue[4] = (uint8_t)((SC_WIRE_VERSION - (bends >> 6 & 1)) << 4 |
				   ((what & 7) == 3 ? what >> 3 & 15 : verbs[what & 3]));
		gue[5] = (uint8_t)(FUZZ_KEY_IDS + (bends >> 2 & 1));
		sc_put16(gue + 6, (uint16_t)w->f.node[from]->self_id);
		/* Of the receiver's PoP, most often. */
		sc_put32(gue + 8, (what & 3) != 1 && named == 0 ? 0 : backends[(named + (uint32_t)(to / 2) * 3) % BACKEND_CHOICES]);
	}
	memcpy(gue + head, inner.b, inner.len);
	len = head + inner.len;
	if (bends & 8)
		fuzz_bend(gue, &len, sizeof(gue), a);
	wrap(w, d, from, to, gue, len, bends & 3, a);
}

/* A flow of the VIP's first service, as in warm_up(); from 0xf0 on any. */
static uint64_t flow_of(const struct fuzz_world *w, uint8_t choice, struct fuzz_args *a)
{
	bool six = choice & 8;
	struct sc_addr src = six ? ip6(client_ip(choice >> 5)) : ip4(client_ip(choice >> 5));
	struct sc_addr vip = six ? ip6(FLEET_VIP) : ip4(FLEET_VIP);

	if (choice >= 0xf0)
		return choice == 0xff ? fuzz_64(a) : choice;
	return sc_flow_id(&src, &vip, choice & 31, 80, SC_PROTO_TCP, w->f.node[0]->g->h.hash_seed);
}

/* Records: every one from its own arguments, or, past their end, flows one after the other. */
static uint32_t put_records(const struct fuzz_world *w, uint8_t *at, uint8_t count, struct fuzz_args *a)
{
	for (uint8_t k = 0; k < count; k++, at += SC_RECORD_LEN) {
		uint8_t flow = a->left ? fuzz_8(a) : k, backend = fuzz_8(a), state = fuzz_8(a);
		uint16_t age = fuzz_8(a), idle = fuzz_8(a);

		sc_put64(at, flow_of(w, flow, a));
		sc_put32(at + 8, backends[backend % BACKEND_CHOICES]);
		sc_put16(at + 12, (uint16_t)((state ^ SC_FLOW_ESTABLISHED) << 13 | (age << (state >> 4 & 7) & 0x1fff)));
		sc_put16(at + 14, (uint16_t)(idle << (state >> 3 & 8)));
	}
	return count * (uint32_t)SC_RECORD_LEN;
}

/* How node to sees node from. */
static const struct sc_peer *peer_of(const struct fuzz_world *w, int to, int from)
{
	static const struct sc_peer nobody;
	uint16_t row = w->f.node[to]->g->node_by_id[w->f.node[from]->self_id];

	return row == SC_NO_ROW ? &nobody : &w->f.node[to]->peers[row];
}

/* A number near one that a node has in mind, or any. */
static uint64_t near(uint64_t number, struct fuzz_args *a)
{
	uint8_t choice = fuzz_8(a);

	if (choice == 0x80)
		return fuzz_64(a);
	if (choice == 0x81)
		return UINT64_MAX - fuzz_8(a);
	return number + (uint64_t)(int64_t)(int8_t)choice;
}

static uint32_t put_hello(const struct sc_peer *peer, uint8_t *b, struct fuzz_args *a)
{
	memset(b, 0, SC_HELLO_LEN);
	b[0] = (uint8_t)(SC_WIRE_VERSION_LOW + (fuzz_8(a) & 3));
	b[2] = (SC_HELLO_FILLED | SC_HELLO_WALK_DONE) ^ fuzz_8(a);
	b[1] = (uint8_t)(SC_WIRE_VERSION - (b[2] >> 4 & 3));
	sc_put64(b + 8, near(peer->tx_seq, a));
	sc_put32(b + 16, (uint32_t)fuzz_8(a) << 14);
	sc_put64(b + 24, near(peer->pub.taken, a));
	sc_put64(b + 32, near(peer->pub.sent, a));
	sc_put64(b + 40, fuzz_8(a) & 0x80 ? fuzz_64(a) : fuzz_8(a));
	sc_put64(b + 48, near(peer->pub.taken, a));
	return SC_HELLO_LEN;
}

static uint32_t put_reach(const struct sc_generation *g, uint8_t *b, struct fuzz_args *a)
{
	uint16_t count = fuzz_8(a), services = count & 0x80 ? fuzz_8(a) : 0;
	uint32_t len = SC_REACH_HEAD;

	count &= 0x7f;
	memset(b, 0, SC_REACH_HEAD);
	sc_put16(b, count);
	sc_put16(b + 2, services == 0xff ? SC_REACH_SERVES_NONE : services);
	for (uint16_t k = 0; k < count; k++, len += 2)
		sc_put16(b + len, a->left ? fuzz_8(a) & 7 : k);
	for (uint16_t k = 0; services != 0xff && k < services; k++, len += 4)
		sc_put32(b + len, g->service_id[(a->left ? fuzz_8(a) : k) % g->h.services]);
	return len;
}

static uint32_t put_body(const struct fuzz_world *w, const struct sc_peer *peer, uint8_t *b, uint8_t verb,
			 struct fuzz_args *a)
{
	uint32_t len = 0;
	uint8_t count;

	switch (verb) {
	case SC_VERB_HELLO:
		return put_hello(peer, b, a);
	case SC_VERB_REACH:
		return put_reach(w->f.node[0]->g, b, a);
	case SC_VERB_PUBLISH:
		sc_put64(b, near(peer->pub.taken + 1, a));
		len = SC_PUBLISH_HEAD;
		break;
	case SC_VERB_OWNER:
		len = SC_OWNER_HEAD;
		break;
	default:
		len = fuzz_8(a);
		for (uint32_t k = 0; k < len; k++)
			b[k] = fuzz_8(a);
		return len;
	}
	count = (uint8_t)(1 + fuzz_8(a) % (SC_BATCH_FLOWS + 1));
	sc_put16(b + len - 8, count);
	return len + put_records(w, b + len, count, a);
}

void fuzz_draft_control(const struct fuzz_world *w, struct fuzz_draft *d, int from, int to, struct fuzz_args *a)
{
	static uint8_t gue[SC_GUE_LEN + SC_TAGGED_MAX + 1024];
	const struct sc_node *node = w->f.node[to];
	const struct sc_peer *peer = peer_of(w, to, from);
	uint8_t what = fuzz_8(a), session = fuzz_8(a), bends = fuzz_8(a);
	uint8_t verb = what & 4 ? what >> 3 & 15 : (uint8_t)(SC_VERB_HELLO + (what & 3));
	uint8_t version = verb == SC_VERB_HELLO ? SC_WIRE_VERSION_LOW : peer->version;
	const uint64_t sender[] = { peer->boot, w->f.node[from]->boot_id, 0, session };
	const uint64_t receiver[] = { node->boot_id, 0, node->boot_id + 1, session };
	uint8_t *m = gue + SC_GUE_LEN;
	uint32_t len;

	memset(gue, 0, SC_GUE_LEN + SC_CONTROL_LEN + SC_HELLO_LEN);
	gue[0] = SC_GUE_CONTROL;
	gue[1] = SC_GUE_CTYPE;
	m[0] = (uint8_t)((version + (bends >> 6 & 1)) << 4 | verb);
	m[1] = (uint8_t)(FUZZ_KEY_IDS + (bends >> 2 & 1));
	sc_put16(m + 2, (uint16_t)w->f.node[from]->self_id);
	sc_put64(m + 8, sender[session & 3]);
	sc_put64(m + 16, receiver[session >> 2 & 3]);
	sc_put64(m + 24, session & 16 ? near(peer->rx_high, a) : peer->rx_high + 1);
	len = put_body(w, peer, m + SC_CONTROL_LEN, verb, a);
	sc_put16(m + 4, (uint16_t)(bends & 16 ? len + fuzz_8(a) : len));
	len += SC_GUE_LEN + SC_CONTROL_LEN;
	if (bends & 8)
		fuzz_bend(gue, &len, sizeof(gue), a);
	wrap(w, d, from, to, gue, len, bends & 3, a);
}
