/* GUE on and off the wire: outer headers, private data, tags. Called by forward.c,
 * backend.c, peer.c and mtu.c; the format is docs/wire-format.md, section 2.
 * Guarantees: nothing is believed before its length and its tag were checked. */
#include "flow_id.h"
#include "gue.h"
#include "siphash.h"

uint64_t sc_tag(const struct sc_key *key, const struct sc_addr *src, const struct sc_addr *dst,
		const uint8_t *a, uint32_t alen, const uint8_t *b, uint32_t blen)
{
	uint8_t input[32 + SC_TAGGED_MAX];

	memcpy(input, src->b, 16);
	memcpy(input + 16, dst->b, 16);
	memcpy(input + 32, a, alen);
	if (blen)
		memcpy(input + 32 + alen, b, blen);
	return sc_siphash(key->key, input, 32 + alen + blen);
}

void sc_put_tag(uint8_t *p, uint64_t tag)
{
	for (int i = 0; i < 8; i++)
		p[i] = (uint8_t)(tag >> (8 * i));
}

bool sc_tag_is(const uint8_t *p, uint64_t tag)
{
	uint8_t want[8], differ = 0;

	sc_put_tag(want, tag);
	for (int i = 0; i < 8; i++)
		differ |= (uint8_t)(p[i] ^ want[i]);
	return differ == 0;
}

static void push_ip4(struct sc_packet *p, const struct sc_addr *src, const struct sc_addr *dst,
		     uint8_t dscp)
{
	uint8_t *h = p->data -= SC_IP4_LEN;

	p->len += SC_IP4_LEN;
	memset(h, 0, SC_IP4_LEN);
	h[0] = 0x45;
	h[1] = dscp;
	sc_put16(h + 2, (uint16_t)p->len);
	h[8] = 64;
	h[9] = SC_PROTO_UDP;
	memcpy(h + 12, src->b + 12, 4);
	memcpy(h + 16, dst->b + 12, 4);
	sc_put16(h + 10, (uint16_t)~sc_fold(sc_sum(h, SC_IP4_LEN, 0)));
}

static void push_ip6(struct sc_packet *p, const struct sc_addr *src, const struct sc_addr *dst,
		     uint8_t dscp)
{
	uint32_t udp_len = p->len;
	uint8_t *udp = p->data, *h;
	struct sc_parsed pseudo = { .src = *src, .dst = *dst, .family = 6 };
	uint16_t sum;

	sum = (uint16_t)~sc_fold(sc_sum(udp, udp_len, sc_sum_pseudo(&pseudo, SC_PROTO_UDP, udp_len)));
	sc_put16(udp + 6, sum ? sum : 0xffff);
	h = p->data -= SC_IP6_LEN;
	p->len += SC_IP6_LEN;
	memset(h, 0, 8);
	h[0] = (uint8_t)(0x60 | dscp >> 4);
	h[1] = (uint8_t)(dscp << 4);
	sc_put16(h + 4, (uint16_t)udp_len);
	h[6] = SC_PROTO_UDP;
	h[7] = 64;
	memcpy(h + 8, src->b, 16);
	memcpy(h + 24, dst->b, 16);
}

void sc_push_outer(struct sc_packet *p, const struct sc_addr *src, const struct sc_addr *dst,
		   uint16_t sport, uint8_t dscp)
{
	uint8_t *udp = p->data -= SC_UDP_LEN;

	p->len += SC_UDP_LEN;
	sc_put16(udp, sport);
	sc_put16(udp + 2, SC_GUE_PORT);
	sc_put16(udp + 4, (uint16_t)p->len);
	sc_put16(udp + 6, 0);
	if (sc_addr_is4(src))
		push_ip4(p, src, dst, dscp);
	else
		push_ip6(p, src, dst, dscp);
}

/* DSCP of an IP packet, in the place it has in IPv4's TOS byte. */
static uint8_t dscp_of(const uint8_t *ip)
{
	if (ip[0] >> 4 == 4)
		return ip[1] & 0xfc;
	return (uint8_t)(ip[0] << 4 | ip[1] >> 4) & 0xfc;
}

static void push_gue(struct sc_packet *p, uint32_t hlen)
{
	uint8_t proto = p->data[hlen * 4] >> 4 == 4 ? SC_GUE_PROTO_IP4 : SC_GUE_PROTO_IP6;
	uint8_t *gue = p->data -= SC_GUE_LEN;

	p->len += SC_GUE_LEN;
	gue[0] = (uint8_t)hlen;
	gue[1] = proto;
	sc_put16(gue + 2, 0);
}

static uint16_t entropy(uint64_t flow)
{
	return (uint16_t)(0xc000 | (flow & 0x3fff));
}

static uint32_t outer_len(const struct sc_node *node)
{
	return (sc_addr_is4(&node->self) ? SC_IP4_LEN : SC_IP6_LEN) + SC_UDP_LEN + SC_GUE_LEN;
}

static enum sc_reason wrap_plain(struct sc_way *w, struct sc_packet *p, const void *to)
{
	uint8_t dscp = dscp_of(p->data);

	push_gue(p, 0);
	sc_push_outer(p, &w->node->self, to, entropy(w->flow), dscp);
	return sc_emit(w->node, p, SC_EGRESS_WIRE);
}

enum sc_reason sc_gue_to_backend(struct sc_way *w, const struct sc_addr *to)
{
	return sc_fit(w, w->node->g->h.mtu - outer_len(w->node), wrap_plain, to);
}

struct to_node {
	const struct sc_node_row *node;
	enum sc_verb verb;
	uint8_t version;
	uint32_t backend;
};

static enum sc_reason wrap_private(struct sc_way *w, struct sc_packet *p, const void *arg)
{
	const struct to_node *to = arg;
	const struct sc_node *node = w->node;
	const struct sc_key *key = &node->g->keys[0];
	uint32_t tagged = p->len < SC_TAGGED_INNER ? p->len : SC_TAGGED_INNER;
	uint8_t dscp = dscp_of(p->data);
	uint8_t *inner = p->data;
	uint8_t *d = p->data -= SC_PRIVATE_LEN;

	p->len += SC_PRIVATE_LEN;
	d[0] = (uint8_t)(to->version << 4 | to->verb);
	d[1] = key->id;
	sc_put16(d + 2, (uint16_t)node->self_id);
	sc_put32(d + 4, to->backend);
	sc_put_tag(d + 8, sc_tag(key, &node->self, &to->node->addr, d, 8, inner, tagged));
	push_gue(p, SC_PRIVATE_LEN / 4);
	sc_push_outer(p, &node->self, &to->node->addr, entropy(w->flow), dscp);
	return sc_emit(w->node, p, SC_EGRESS_WIRE);
}

enum sc_reason sc_gue_to_node(struct sc_way *w, uint16_t row, enum sc_verb verb, uint32_t backend)
{
	struct to_node to = { &w->node->g->nodes[row], verb, w->node->peers[row].version, backend };
	enum sc_reason r = sc_fit(w, w->node->g->h.mtu - outer_len(w->node) - SC_PRIVATE_LEN, wrap_private, &to);

	if (r == SC_OK)
		w->node->counts.between[row * SC_BETWEEN_COUNT + SC_BETWEEN_SENT]++;
	return r;
}

bool sc_is_gue(const struct sc_node *node, const struct sc_parsed *ip)
{
	return ip->kind == SC_KIND_UDP && !ip->first_fragment && ip->dport == SC_GUE_PORT &&
	       sc_addr_eq(&ip->dst, &node->self);
}

/* Takes the outer headers off: the packet begins at its GUE header. */
static void pull_outer(struct sc_packet *p, const struct sc_parsed *ip)
{
	uint32_t udp_len = sc_get16(p->data + ip->l4_offset + 4);

	p->data += ip->payload_offset;
	p->len = udp_len - SC_UDP_LEN;
}

static void pull(struct sc_packet *p, uint32_t n)
{
	p->data += n;
	p->len -= n;
}

enum sc_reason sc_gue_check(const struct sc_packet *p, uint8_t *hlen)
{
	if (p->len < SC_GUE_LEN)
		return SC_DROP_gue_bad_length;
	if (p->data[0] >> 6 != 0)
		return SC_DROP_gue_bad_variant;
	*hlen = p->data[0] & 0x1f;
	if (SC_GUE_LEN + *hlen * 4u > p->len)
		return SC_DROP_gue_bad_length;
	if (sc_get16(p->data + 2) != 0)
		return SC_DROP_gue_flags;
	return SC_OK;
}

/* Whether the inner packet is of the IP version that the GUE header names. */
static bool proto_fits(const struct sc_packet *inner, uint8_t proto)
{
	return inner->len > 0 && inner->data[0] >> 4 == (proto == SC_GUE_PROTO_IP4 ? 4 : 6);
}

enum sc_reason sc_gue_pull_plain(struct sc_packet *p, const struct sc_parsed *outer,
				 const struct sc_generation *g, uint16_t pop)
{
	enum sc_reason r;
	uint8_t hlen, proto;

	r = SC_DROP_not_a_peer;
	for (uint32_t i = 0; i < g->h.nodes && r != SC_OK; i++)
		if (g->nodes[i].pop == pop && sc_addr_eq(&g->nodes[i].addr, &outer->src))
			r = SC_OK;
	if (r != SC_OK)
		return r;
	pull_outer(p, outer);
	if ((r = sc_gue_check(p, &hlen)) != SC_OK)
		return r;
	if (p->data[0] & SC_GUE_CONTROL)
		return SC_DROP_gue_bad_ctype;
	proto = p->data[1];
	if (proto != SC_GUE_PROTO_IP4 && proto != SC_GUE_PROTO_IP6)
		return SC_DROP_gue_bad_proto;
	pull(p, SC_GUE_LEN + hlen * 4u);
	return proto_fits(p, proto) ? SC_OK : SC_DROP_gue_bad_proto;
}

/* The private data of a client's packet; leaves the packet at its inner header. */
static enum sc_reason open_private(struct sc_way *w, const struct sc_parsed *outer)
{
	const struct sc_generation *g = w->node->g;
	const uint8_t *d = w->packet->data + SC_GUE_LEN;
	uint8_t proto = w->packet->data[1];
	const struct sc_key *key;
	uint32_t tagged;

	if (proto != SC_GUE_PROTO_IP4 && proto != SC_GUE_PROTO_IP6)
		return SC_DROP_gue_bad_proto;
	w->version = d[0] >> 4;
	if (w->version < SC_WIRE_VERSION_LOW || w->version > w->node->version)
		return SC_DROP_unknown_version;
	w->verb = d[0] & 0xf;
	if (w->verb < SC_VERB_ASK || w->verb > SC_VERB_RELAY)
		return SC_DROP_unknown_verb;
	key = sc_find_key(g, d[1]);
	if (!key)
		return SC_DROP_unknown_key;
	pull(w->packet, SC_GUE_LEN + SC_PRIVATE_LEN);
	tagged = w->packet->len < SC_TAGGED_INNER ? w->packet->len : SC_TAGGED_INNER;
	if (!sc_tag_is(d + 8, sc_tag(key, &outer->src, &outer->dst, d, 8, w->packet->data, tagged)))
		return SC_DROP_bad_tag;
	w->origin = g->node_by_id[sc_get16(d + 2)];
	w->named = sc_get32(d + 4);
	if (w->origin == SC_NO_ROW || w->origin == g->self ||
	    !sc_addr_eq(&g->nodes[w->origin].addr, &outer->src))
		return SC_DROP_unknown_origin;
	return proto_fits(w->packet, proto) ? SC_OK : SC_DROP_gue_bad_proto;
}

/* The fixed part of a control message, up to whom it is from. */
static enum sc_reason open_control(struct sc_way *w, const struct sc_parsed *outer)
{
	static const uint8_t no_tag[8];
	const struct sc_generation *g = w->node->g;
	uint8_t *m = w->packet->data + SC_GUE_LEN;
	uint32_t len = w->packet->len - SC_GUE_LEN;
	const struct sc_key *key;
	uint8_t tag[8];

	if (w->packet->data[1] != SC_GUE_CTYPE)
		return SC_DROP_gue_bad_ctype;
	if (len < SC_CONTROL_LEN)
		return SC_DROP_bad_message;
	w->version = m[0] >> 4;
	if (w->version < SC_WIRE_VERSION_LOW || w->version > w->node->version)
		return SC_DROP_unknown_version;
	w->verb = m[0] & 0xf;
	if (w->verb < SC_VERB_HELLO ||
	    w->verb > (w->version < SC_WIRE_VERSION_RELAY ? SC_VERB_OWNER : SC_VERB_REACH))
		return SC_DROP_unknown_verb;
	key = sc_find_key(g, m[1]);
	if (!key)
		return SC_DROP_unknown_key;
	if (sc_get16(m + 4) != len - SC_CONTROL_LEN || len > SC_TAGGED_MAX)
		return SC_DROP_bad_message;
	memcpy(tag, m + SC_CONTROL_TAG, 8);
	memcpy(m + SC_CONTROL_TAG, no_tag, 8);
	if (!sc_tag_is(tag, sc_tag(key, &outer->src, &outer->dst, m, len, NULL, 0)))
		return SC_DROP_bad_tag;
	w->origin = g->node_by_id[sc_get16(m + 2)];
	if (w->origin == SC_NO_ROW || w->origin == g->self ||
	    !sc_addr_eq(&g->nodes[w->origin].addr, &outer->src))
		return SC_DROP_unknown_origin;
	pull(w->packet, SC_GUE_LEN);
	return SC_OK;
}

enum sc_reason sc_gue_open(struct sc_way *w)
{
	const struct sc_generation *g = w->node->g;
	struct sc_parsed outer = w->ip;
	struct sc_packet gue = *w->packet;
	enum sc_reason r;
	uint8_t hlen;

	pull_outer(&gue, &outer);
	if ((r = sc_gue_check(&gue, &hlen)) != SC_OK)
		return r;
	if (gue.data[0] & SC_GUE_CONTROL) {
		*w->packet = gue;
		return hlen == 0 ? open_control(w, &outer) : SC_DROP_gue_bad_length;
	}
	if (hlen == 0) {
		w->verb = SC_VERB_PLAIN;
		r = sc_gue_pull_plain(w->packet, &outer, g, g->nodes[g->self].pop);
	} else if (hlen * 4 == SC_PRIVATE_LEN) {
		*w->packet = gue;
		r = open_private(w, &outer);
	} else {
		r = SC_DROP_gue_bad_length;
	}
	return r == SC_OK ? sc_parse(w->packet->data, w->packet->len, &w->ip) : r;
}
