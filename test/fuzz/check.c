/* What must hold after every call of a node, whatever it was given. See fuzz.h. */
#include <stdarg.h>

#include "fuzz.h"

_Noreturn void fuzz_fail(const char *file, int line, const char *format, ...)
{
	const char *name = strrchr(file, '/');
	va_list args;

	va_start(args, format);
	fprintf(stderr, "fuzz: %s:%d: ", name ? name + 1 : file, line);
	vfprintf(stderr, format, args);
	fprintf(stderr, "\n");
	va_end(args);
	abort();
}

/* What left a call, by kind. */
struct seen {
	unsigned int local, plain, ask, forward, relay, control, too_big;
	uint32_t payload;	/* of the parts of a client's packet, all together */
	const uint8_t *inner;	/* the last part */
	uint32_t inner_len;
};

static bool is_vip(const struct sc_addr *a)
{
	struct sc_addr four = ip4(FLEET_VIP), six = ip6(FLEET_VIP);

	return sc_addr_eq(a, &four) || sc_addr_eq(a, &six);
}

/* The tag of private data or of a control message at d, as its sender must have made it. */
static bool tag_right(const struct sc_generation *g, const struct fuzz_look *look)
{
	const struct sc_key *key = sc_find_key(g, look->gue[5]);
	uint8_t m[SC_TAGGED_MAX];
	const uint8_t *d = look->gue + 4;
	uint32_t len = look->gue_len - 4, at = look->kind == FUZZ_CONTROL ? SC_CONTROL_TAG : 8;
	uint64_t tag = 0;

	if (!key)
		return false;
	if (look->kind == FUZZ_CONTROL) {
		memcpy(m, d, len);
		memset(m + SC_CONTROL_TAG, 0, 8);
		tag = sc_tag(key, &look->outer.src, &look->outer.dst, m, len, NULL, 0);
	} else {
		tag = sc_tag(key, &look->outer.src, &look->outer.dst, d, 8, look->inner,
			     look->inner_len < SC_TAGGED_INNER ? look->inner_len : SC_TAGGED_INNER);
	}
	for (int i = 0; i < 8; i++)
		if (d[at + (uint32_t)i] != (uint8_t)(tag >> 8 * i))
			return false;
	return true;
}

static void look_at_gue(const struct sc_generation *g, struct fuzz_look *look)
{
	uint32_t hlen = (look->gue[0] & 0x1fu) * 4;

	if (look->gue_len < 4 || look->gue[0] & 0xc0 || sc_get16(look->gue + 2) || 4 + hlen > look->gue_len)
		return;
	if (look->gue[0] & 0x20) {
		if (hlen || look->gue_len < 4 + SC_CONTROL_LEN || look->gue_len - 4 > SC_TAGGED_MAX)
			return;
		look->kind = FUZZ_CONTROL;
	} else {
		if (hlen != 0 && hlen != SC_PRIVATE_LEN)
			return;
		look->inner = look->gue + 4 + hlen;
		look->inner_len = look->gue_len - 4 - hlen;
		look->kind = hlen ? FUZZ_PRIVATE : FUZZ_PLAIN;
		if (!hlen)
			return;
	}
	look->verb = look->gue[4] & 0xf;
	look->version = look->gue[4] >> 4;
	look->genuine = look->version >= SC_WIRE_VERSION_LOW && look->version <= SC_WIRE_VERSION && tag_right(g, look);
}

struct fuzz_look fuzz_look(const struct sc_generation *g, const struct sc_addr *self, const uint8_t *data,
			   uint32_t len)
{
	struct fuzz_look look = { .kind = FUZZ_BROKEN };

	if (sc_parse(data, len, &look.outer) != SC_OK)
		return look;
	if (look.outer.kind == SC_KIND_UDP && !look.outer.first_fragment && look.outer.dport == SC_GUE_PORT &&
	    sc_addr_eq(&look.outer.dst, self)) {
		look.gue = data + look.outer.l4_offset + 8;
		look.gue_len = sc_get16(data + look.outer.l4_offset + 4) - 8u;
		look_at_gue(g, &look);
	} else {
		look.kind = FUZZ_RAW;
		look.inner = data;
		look.inner_len = look.outer.total_len;
	}
	return look;
}

/* The table of node i: counts are those of entries, every entry is found where it is, its backend is of a PoP that is
 * configured, unless that was taken away from under it. */
static void check_table(const struct fuzz_world *w, int i)
{
	const struct sc_flow_table *t = &w->f.node[i]->table;
	uint32_t count[SC_FLOW_STATES] = { 0 };

	for (uint32_t b = 0; b <= t->mask; b++) {
		for (int k = 0; k < SC_FLOW_WAYS; k++) {
			const struct sc_flow_entry *e = &t->buckets[b].way[k];

			count[e->state]++;
			if (e->state == SC_FLOW_NONE)
				continue;
			FUZZ_CHECK(sc_flow_find(t, e->flow) == e, "node %d: flow %016llx is twice in its table, or lost",
				   i, (unsigned long long)e->flow);
			FUZZ_CHECK(w->swaps > 0 || sc_place_of(w->f.node[i]->g, e->backend).pop != SC_NO_ROW,
				   "node %d: an entry names backend %08x, of no PoP", i, e->backend);
		}
	}
	for (int s = SC_FLOW_HALF_OPEN; s < SC_FLOW_STATES; s++)
		FUZZ_CHECK(count[s] == t->count[s], "node %d: %u entries of state %d, counted as %u", i, count[s], s,
			   t->count[s]);
}

static void check_publication(int i, int k, const struct sc_peer *peer, uint32_t mask)
{
	const struct sc_publication *pub = &peer->pub;

	FUZZ_CHECK(pub->acked <= pub->sent && pub->sent - pub->acked <= SC_PUBLISH_WINDOW,
		   "node %d: window to %d: %llu sent, %llu acknowledged", i, k, (unsigned long long)pub->sent,
		   (unsigned long long)pub->acked);
	for (uint64_t n = pub->acked + 1; n <= pub->sent; n++) {
		const struct sc_batch *b = &pub->ring[n % SC_PUBLISH_WINDOW];

		FUZZ_CHECK(b->number == 0 || (b->number == n && b->count > 0 && b->count <= SC_BATCH_FLOWS),
			   "node %d: batch %llu to %d is %llu of %u flows", i, (unsigned long long)n, k,
			   (unsigned long long)b->number, b->count);
	}
	FUZZ_CHECK(pub->open_count <= SC_BATCH_FLOWS, "node %d: %u flows in an open batch", i, pub->open_count);
	FUZZ_CHECK(pub->walk_next <= mask + 1, "node %d: its walk is behind its table", i);
	FUZZ_CHECK(pub->walk_end <= pub->sent, "node %d: a walk ends with a batch not sent", i);
	FUZZ_CHECK(peer->adopted_at <= peer->tx_seq, "node %d: a session that begins later than now", i);
	FUZZ_CHECK(peer->rx_high == 0 || peer->rx_window & 1, "node %d: the newest message counts as unseen", i);
	FUZZ_CHECK(peer->owner_count == 0, "node %d: OWNER left over for %d", i, k);
}

void fuzz_check_node(const struct fuzz_world *w, int i)
{
	const struct sc_node *node = w->f.node[i];

	check_table(w, i);
	for (int k = 0; k < (int)node->g->h.nodes; k++)
		if (k != node->g->self)
			check_publication(i, k, &node->peers[k], node->table.mask);
	FUZZ_CHECK(node->scratch_used <= SC_SCRATCH, "node %d: %u scratch buffers", i, node->scratch_used);
	FUZZ_CHECK(node->icmp.used <= SC_ICMP_PER_S && node->relay.used <= SC_RELAY_PER_S &&
			   node->spill.used <= SC_SPILL_PER_S && node->half_open.used <= SC_HALF_OPEN_PER_S,
		   "node %d: more than its limits in one second", i);
}

/* IP and UDP headers, lengths and checksums of what goes to another machine. */
static void check_outer(const struct fuzz_world *w, int i, const struct sc_packet *p)
{
	const struct sc_node *node = w->f.node[i];
	uint32_t at = p->data[0] >> 4 == 4 ? 20 : 40;

	FUZZ_CHECK(p->len <= node->g->h.mtu, "node %d sends %u bytes", i, p->len);
	if (at == 20) {
		FUZZ_CHECK(p->data[0] == 0x45 && sc_get16(p->data + 2) == p->len, "length of an outer IPv4 header");
		FUZZ_CHECK(naive_sum(p->data, 20, 0) == 0xffff, "checksum of an outer IPv4 header");
	} else {
		FUZZ_CHECK(p->data[0] >> 4 == 6 && sc_get16(p->data + 4) == p->len - 40, "length of an outer IPv6 header");
	}
	FUZZ_CHECK(p->data[at == 20 ? 8 : 7] > 0, "a time to live of 0");
}

static void check_udp(const struct sc_packet *p)
{
	uint32_t at = p->data[0] >> 4 == 4 ? 20 : 40;

	FUZZ_CHECK(p->data[at == 20 ? 9 : 6] == SC_PROTO_UDP && sc_get16(p->data + at + 2) == SC_GUE_PORT,
		   "what goes to a machine is not GUE");
	FUZZ_CHECK(sc_get16(p->data + at + 4) == p->len - at, "length of an outer UDP header");
	if (at == 40)
		FUZZ_CHECK(naive_transport_good(p->data, p->len, at, SC_PROTO_UDP), "checksum of an outer UDP header");
	else
		FUZZ_CHECK(sc_get16(p->data + at + 6) == 0, "a checksum in UDP over IPv4");
}

static struct sc_addr address_in(const uint8_t *ip, bool destination)
{
	if (ip[0] >> 4 == 4)
		return sc_addr4(ip + (destination ? 16 : 12));
	return sc_addr6(ip + (destination ? 24 : 8));
}

/* A client's packet, or a part of one, as it goes on. */
static void check_inner(struct seen *seen, const uint8_t *data, uint32_t len)
{
	struct sc_parsed ip;
	enum sc_reason r = exact_parse(data, len, &ip);

	FUZZ_CHECK(r == SC_OK, "what goes on does not parse: %s", r >= 0 ? sc_counter_table[r].name : "");
	FUZZ_CHECK(ip.total_len == len && is_vip(&ip.dst), "what goes on is not a packet to a VIP");
	seen->inner = data;
	seen->inner_len = len;
	seen->payload += len - (ip.kind == SC_KIND_TCP && !ip.first_fragment ? ip.payload_offset :
				ip.family == 4				     ? (data[0] & 15u) * 4 :
										       40u);
}

static uint16_t row_at(const struct sc_generation *g, const struct sc_addr *a)
{
	for (uint16_t row = 0; row < g->h.nodes; row++)
		if (sc_addr_eq(&g->nodes[row].addr, a))
			return row;
	return SC_NO_ROW;
}

static void check_private(const struct fuzz_world *w, int i, const struct fuzz_look *look, uint16_t row,
			  struct seen *seen)
{
	const struct sc_node *node = w->f.node[i];
	const struct sc_generation *g = node->g;
	uint32_t named = sc_get32(look->gue + 8);
	uint16_t pop = sc_place_of(g, named).pop;

	FUZZ_CHECK(look->genuine && look->gue[5] == g->keys[0].id, "private data of node %d: its tag", i);
	FUZZ_CHECK(sc_get16(look->gue + 6) == node->self_id, "private data of node %d: its origin", i);
	if (look->verb == SC_VERB_ASK) {
		FUZZ_CHECK(named == 0 && g->node_pop[row] == g->own_pop, "node %d asks out of its PoP", i);
		seen->ask++;
	} else if (look->verb == SC_VERB_FORWARD) {
		FUZZ_CHECK(pop == g->node_pop[row] && pop != g->own_pop, "node %d forwards for backend %08x to node %d", i,
			   named, row);
		seen->forward++;
	} else {
		FUZZ_CHECK(look->verb == SC_VERB_RELAY && look->version >= SC_WIRE_VERSION_RELAY, "node %d sends verb %d", i,
			   look->verb);
		FUZZ_CHECK(g->node_pop[row] != g->own_pop, "node %d relays within its PoP", i);
		seen->relay++;
	}
	FUZZ_CHECK(look->version <= node->version, "node %d sends version %d", i, look->version);
	check_inner(seen, look->inner, look->inner_len);
}

static void check_records(int i, const uint8_t *r, uint32_t count, uint32_t len)
{
	FUZZ_CHECK(count > 0 && count <= SC_BATCH_FLOWS && len == count * SC_RECORD_LEN, "node %d tells %u flows in %u bytes",
		   i, count, len);
	for (uint32_t k = 0; k < count; k++) {
		uint32_t word = sc_get32(r + k * SC_RECORD_LEN + 12);

		FUZZ_CHECK(word >> 29 < SC_FLOW_STATES && (word >> 16 & 0x1fff) <= SC_AGE_MAX,
			   "node %d tells of state %u, age %u", i, word >> 29, word >> 16 & 0x1fff);
	}
}

static void check_control(const struct fuzz_world *w, int i, const struct fuzz_look *look, uint16_t row,
			  struct seen *seen)
{
	const struct sc_node *node = w->f.node[i];
	const struct sc_peer *peer = &node->peers[row];
	const uint8_t *m = look->gue + 4, *body = m + SC_CONTROL_LEN;
	uint32_t len = look->gue_len - 4 - SC_CONTROL_LEN;

	FUZZ_CHECK(look->gue[1] == SC_GUE_CTYPE && look->genuine, "a control message of node %d: its tag", i);
	FUZZ_CHECK(sc_get16(m + 2) == node->self_id && sc_get64(m + 8) == node->boot_id && sc_get16(m + 4) == len,
		   "a control message of node %d: its header", i);
	FUZZ_CHECK(sc_get64(m + 24) > 0 && sc_get64(m + 24) <= peer->tx_seq, "a control message of node %d: its number", i);
	seen->control++;
	switch (look->verb) {
	case SC_VERB_HELLO:
		FUZZ_CHECK(len == SC_HELLO_LEN && sc_get16(body + 4) <= 1000, "a HELLO of node %d", i);
		break;
	case SC_VERB_PUBLISH:
		FUZZ_CHECK(len >= SC_PUBLISH_HEAD && sc_get64(body) > 0 && sc_get64(body) <= peer->pub.sent,
			   "a batch of node %d", i);
		check_records(i, body + SC_PUBLISH_HEAD, sc_get16(body + 8), len - SC_PUBLISH_HEAD);
		break;
	case SC_VERB_OWNER:
		FUZZ_CHECK(len >= SC_OWNER_HEAD, "an OWNER of node %d", i);
		check_records(i, body + SC_OWNER_HEAD, sc_get16(body), len - SC_OWNER_HEAD);
		break;
	case SC_VERB_REACH:
		FUZZ_CHECK(look->version >= SC_WIRE_VERSION_RELAY && len >= SC_REACH_HEAD &&
				   len == SC_REACH_HEAD + 2u * sc_get16(body) +
						  (sc_get16(body + 2) == SC_REACH_SERVES_NONE ? 0 : 4u * sc_get16(body + 2)),
			   "a REACH of node %d", i);
		break;
	default:
		FUZZ_CHECK(false, "node %d sends verb %d", i, look->verb);
	}
}

/* A generation that was made up may choose another PoP's backends: that is its affair. */
static bool chosen(const struct sc_generation *g, uint32_t backend)
{
	for (uint32_t i = 0; i < g->h.slots; i++)
		if (g->slots[i] == backend)
			return true;
	return false;
}

static void check_plain(const struct fuzz_world *w, int i, const struct fuzz_look *look, const struct sc_addr *to,
			struct seen *seen)
{
	const struct sc_generation *g = w->f.node[i]->g;
	bool found = false;

	for (uint32_t b = 0; b < g->h.backends; b++)
		found = found || (sc_addr_eq(&g->backends[b].addr, to) && (g->backend_pop[b] == g->own_pop || chosen(g, b)));
	FUZZ_CHECK(found, "node %d delivers to what is no backend of its PoP", i);
	seen->plain++;
	check_inner(seen, look->inner, look->inner_len);
}

/* "Packet too big" from the VIP to the client whose packet it quotes. */
static void check_answer(const struct sc_packet *p, const struct fuzz_bytes *in, unsigned int n, struct seen *seen)
{
	uint32_t at = p->data[0] >> 4 == 4 ? 20 : 40;
	const uint8_t *icmp = p->data + at, *quote = icmp + 8;
	uint32_t len = p->len - at - 8;
	struct sc_addr src = address_in(p->data, false), dst = address_in(p->data, true);
	struct sc_addr quoted_dst = address_in(quote, true), quoted_src = address_in(quote, false);
	bool found = false;

	if (at == 20)
		FUZZ_CHECK(icmp[0] == 3 && icmp[1] == 4 && naive_sum(icmp, len + 8, 0) == 0xffff, "an ICMP answer");
	else
		FUZZ_CHECK(icmp[0] == 2 && icmp[1] == 0 && naive_transport_good(p->data, p->len, at, SC_PROTO_ICMP6),
			   "an ICMPv6 answer");
	FUZZ_CHECK(is_vip(&src) && sc_addr_eq(&src, &quoted_dst) && sc_addr_eq(&dst, &quoted_src),
		   "an ICMP answer is not from the VIP to the sender of what it quotes");
	for (unsigned int k = 0; k < n; k++)
		for (uint32_t from = 0; !found && from + len <= in[k].len; from++)
			found = memcmp(in[k].data + from, quote, len) == 0;
	FUZZ_CHECK(found, "an ICMP answer quotes what nobody sent");
	seen->too_big++;
}

static void check_out(const struct fuzz_world *w, int i, const struct fuzz_bytes *in, unsigned int n,
		      const struct sc_out *out, struct seen *seen)
{
	const struct sc_node *node = w->f.node[i];

	FUZZ_CHECK(out->n <= SC_OUT_MAX, "node %d: %u packets leave", i, out->n);
	for (unsigned int k = 0; k < out->n; k++) {
		const struct sc_packet *p = &out->p[k];
		struct sc_addr src, dst;
		struct fuzz_look look;
		uint16_t row;

		if (p->egress == SC_EGRESS_LOCAL) {
			seen->local++;
			check_inner(seen, p->data, p->len);
			continue;
		}
		FUZZ_CHECK(p->egress == SC_EGRESS_WIRE && p->len >= 28, "node %d: neither to the wire nor to its stack", i);
		check_outer(w, i, p);
		src = address_in(p->data, false);
		dst = address_in(p->data, true);
		if (!sc_addr_eq(&src, &node->self)) {
			check_answer(p, in, n, seen);
			continue;
		}
		check_udp(p);
		look = fuzz_look(node->g, &dst, p->data, p->len);
		row = row_at(node->g, &dst);
		if (look.kind == FUZZ_PLAIN) {
			check_plain(w, i, &look, &dst, seen);
			continue;
		}
		FUZZ_CHECK((look.kind == FUZZ_PRIVATE || look.kind == FUZZ_CONTROL) && row != SC_NO_ROW && row != node->g->self,
			   "node %d sends what no node of the fleet takes", i);
		if (look.kind == FUZZ_PRIVATE)
			check_private(w, i, &look, row, seen);
		else
			check_control(w, i, &look, row, seen);
	}
}

/* A client's packet that went on did so as it came, whole or in parts. */
static void check_same(const struct fuzz_look *look, const struct seen *seen)
{
	unsigned int parts = seen->local + seen->plain + seen->ask + seen->forward + seen->relay;
	const uint8_t *ip = look->inner;
	struct sc_parsed p;
	uint32_t header;

	if (parts == 0)
		return;
	FUZZ_CHECK(ip && sc_parse(ip, look->inner_len, &p) == SC_OK, "a packet goes on that nobody sent");
	header = p.family == 4 ? (ip[0] & 15u) * 4 : 40;
	if (p.kind == SC_KIND_TCP && !p.first_fragment)
		header = p.payload_offset;
	if (parts == 1)
		FUZZ_CHECK(seen->inner_len == p.total_len && memcmp(seen->inner, ip, p.total_len) == 0,
			   "a client's packet does not go on as it came");
	else
		FUZZ_CHECK(seen->payload == p.total_len - header, "%u of %u payload bytes go on, in %u parts", seen->payload,
			   p.total_len - header, parts);
	if (parts > 1 && p.kind == SC_KIND_TCP && !p.first_fragment)
		FUZZ_CHECK(naive_transport_good(seen->inner, seen->inner_len, p.l4_offset, SC_PROTO_TCP),
			   "a segment that was cut has a wrong checksum");
}

static uint64_t ended(const uint64_t *now, const uint64_t *before)
{
	uint64_t n = 0;

	for (int c = 0; c <= SC_C_consumed; c++)
		n += now[c] - before[c];
	return n;
}

void fuzz_check_forward(struct fuzz_world *w, int i, const struct fuzz_bytes *in, unsigned int n,
			const struct fuzz_before *before, const struct sc_out *out)
{
	const struct sc_node *node = w->f.node[i];
	const uint64_t *now = node->counters, *was = before->counters;
	unsigned int raw = 0, plain = 0, ask = 0, forward = 0, relay = 0, control = 0;
	struct seen seen = { 0 };
	struct fuzz_look look = { .kind = FUZZ_BROKEN };
	bool cut_short;

#define GREW(c) (now[SC_C_##c] - was[SC_C_##c])
	for (unsigned int k = 0; k < n; k++) {
		look = fuzz_look(node->g, &node->self, in[k].data, in[k].len);
		raw += look.kind == FUZZ_RAW;
		plain += look.kind == FUZZ_PLAIN;
		ask += look.kind == FUZZ_PRIVATE && look.genuine && look.verb == SC_VERB_ASK;
		forward += look.kind == FUZZ_PRIVATE && look.genuine && look.verb == SC_VERB_FORWARD;
		relay += look.kind == FUZZ_PRIVATE && look.genuine && look.verb == SC_VERB_RELAY;
		control += look.kind == FUZZ_CONTROL && look.genuine;
	}
	check_out(w, i, in, n, out, &seen);
	FUZZ_CHECK(ended(now, was) == n, "%u packets in, %llu ends counted", n, (unsigned long long)ended(now, was));
	FUZZ_CHECK(GREW(consumed) <= control, "a control message was taken that has no right tag");
	FUZZ_CHECK(GREW(ask_received) <= ask && GREW(forward_received) <= forward && GREW(relay_received) <= relay,
		   "a packet was taken that has no right tag");
	FUZZ_CHECK(GREW(asked) <= raw, "ASK was sent for what is no client's packet");
	FUZZ_CHECK(GREW(forwarded) <= raw + ask + relay, "what came as FORWARD was forwarded");
	FUZZ_CHECK(GREW(relayed) + GREW(spilled) <= raw + ask, "what came as FORWARD or RELAY was relayed");
	FUZZ_CHECK(GREW(delivered_gue) + GREW(delivered_local) <= raw + plain + ask + forward + relay,
		   "something was delivered that nobody was to deliver");
	cut_short = now[SC_DROP_no_buffer] > was[SC_DROP_no_buffer];
	FUZZ_CHECK(seen.local == GREW(delivered_local), "%u packets to the stack, counted otherwise", seen.local);
	FUZZ_CHECK(seen.too_big == GREW(too_big_sent), "%u ICMP answers, counted otherwise", seen.too_big);
	FUZZ_CHECK(seen.plain >= GREW(delivered_gue) && (GREW(delivered_gue) > 0 || seen.plain == 0 || cut_short),
		   "%u packets to backends, counted otherwise", seen.plain);
	FUZZ_CHECK(seen.ask >= GREW(asked) && (GREW(asked) > 0 || seen.ask == 0 || cut_short),
		   "%u packets asked for, counted otherwise", seen.ask);
	FUZZ_CHECK(seen.forward >= GREW(forwarded) && (GREW(forwarded) > 0 || seen.forward == 0 || cut_short),
		   "%u packets forwarded, counted otherwise", seen.forward);
	FUZZ_CHECK(seen.relay >= GREW(relayed) + GREW(spilled) &&
			   (GREW(relayed) + GREW(spilled) > 0 || seen.relay == 0 || cut_short),
		   "%u packets relayed, counted otherwise", seen.relay);
	if (n == 1 && !cut_short)
		check_same(&look, &seen);
	fuzz_check_node(w, i);
#undef GREW
}

void fuzz_check_timers(struct fuzz_world *w, int i, const struct fuzz_before *before, const struct sc_out *out)
{
	const struct sc_node *node = w->f.node[i];
	struct seen seen = { 0 };

	check_out(w, i, NULL, 0, out, &seen);
	FUZZ_CHECK(seen.control == out->n, "timers of node %d send a client's packet", i);
	FUZZ_CHECK(ended(node->counters, before->counters) == 0, "timers of node %d count packets as ended", i);
	fuzz_check_node(w, i);
}

void fuzz_check_backend(struct fuzz_world *w, const struct fuzz_before *before, const struct sc_out *out)
{
	struct seen seen = { 0 };

	FUZZ_CHECK(ended(w->backend_counters, before->counters) == 1, "the backend side: one packet, %llu ends",
		   (unsigned long long)ended(w->backend_counters, before->counters));
	FUZZ_CHECK(out->n == w->backend_counters[SC_C_delivered_local] - before->counters[SC_C_delivered_local],
		   "the backend side: %u packets out", out->n);
	if (out->n) {
		FUZZ_CHECK(out->p[0].egress == SC_EGRESS_LOCAL, "the backend side sends");
		check_inner(&seen, out->p[0].data, out->p[0].len);
	}
}
