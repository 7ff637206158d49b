/* Backends: each a kernel with a table of sockets by 5-tuple, and an application that
 * follows its connection's script. A kernel answers what it has no socket for with RST,
 * accepts an ACK that fits a SYN cookie, keeps TIME-WAIT; answers go straight to the
 * client. */
#include "flow_id.h"
#include "sim.h"

enum {
	BACKLOG = 64,			/* half-open sockets, SYN cookies beyond */
	SYN_ACK_TRIES = 6,
	ORPHAN_TRIES = 12,
	SMALL_MSS = 1180,		/* after "packet too big" */
	BACKEND_MSS = 1340,
};

#define TIME_WAIT_US	(60 * SC_S)

static uint64_t key_of(int backend, uint32_t client, uint8_t service, uint16_t sport)
{
	return (uint64_t)backend << 48 | (uint64_t)service << 47 | (uint64_t)client << 16 | sport;
}

static uint32_t chain_of(uint64_t key)
{
	return (uint32_t)(key * 0x9e3779b97f4a7c15ull >> 40) % SOCKET_CHAINS;
}

struct socket *sim_socket(struct world *w, int backend, uint32_t client, uint8_t service, uint16_t sport)
{
	uint64_t key = key_of(backend, client, service, sport);

	for (int32_t i = w->chain[chain_of(key)]; i >= 0; i = w->socket[i].next)
		if (w->socket[i].key == key)
			return &w->socket[i];
	return NULL;
}

static struct socket *open_socket(struct world *w, int backend, const struct segment *s)
{
	uint64_t key = key_of(backend, s->client, s->service, s->sport);
	int32_t i = w->free_socket;
	struct socket *k;

	if (i >= 0) {
		w->free_socket = w->socket[i].next;
	} else if (w->nsockets < w->sockets_room) {
		i = (int32_t)w->nsockets++;
	} else {
		return NULL;		/* out of memory, as it were: the packet is lost */
	}
	k = &w->socket[i];
	*k = (struct socket){
		.key = key, .life = k->life + 1, .used = true, .backend = backend, .client = s->client,
		.conn = s->spoofed ? SIM_NOBODY : s->conn, .sport = s->sport, .service = s->service,
		.next = w->chain[chain_of(key)], .tcp.mss = BACKEND_MSS,
	};
	w->chain[chain_of(key)] = i;
	return k;
}

static void close_socket(struct world *w, struct socket *k)
{
	int32_t i = (int32_t)(k - w->socket), *at = &w->chain[chain_of(k->key)];

	while (*at != i)
		at = &w->socket[*at].next;
	*at = k->next;
	if (k->tcp.state == TCP_SYN_RECEIVED)
		w->backend[k->backend].half_open--;
	k->used = false;
	k->key = UINT64_MAX;
	k->next = w->free_socket;
	w->free_socket = i;
}

static void answer(struct world *w, int backend, const struct segment *to, uint8_t flags, uint32_t seq,
		   uint32_t ack, uint16_t len)
{
	struct segment s = {
		.client = to->client, .sport = to->sport, .service = to->service, .flags = flags,
		.seq = seq, .ack = ack, .len = len, .conn = to->conn, .backend = backend,
	};

	sim_trace_segment(w, "backend answers", &s, NULL);
	sim_to_client(w, &s);
}

static void send_from(struct world *w, void *ctx, uint8_t flags, uint32_t seq, uint32_t ack, uint16_t len)
{
	const struct socket *k = ctx;
	struct segment to = { .client = k->client, .sport = k->sport, .service = k->service, .conn = k->conn };

	answer(w, k->backend, &to, flags, seq, ack, len);
}

static struct tcp_host host_of(struct world *w, struct socket *k)
{
	return (struct tcp_host){ w, send_from, k };
}

static uint32_t cookie(int backend, const struct segment *s, uint32_t irs)
{
	uint32_t key[5] = { (uint32_t)backend, s->client, s->sport, s->service, irs };

	return (uint32_t)sc_xxh64(key, sizeof(key), 99);
}

static void after(struct world *w, struct socket *k);

static void socket_timer(struct world *w, void *p, uint32_t i, uint32_t life)
{
	struct socket *k = &w->socket[i];
	struct tcp_host h = host_of(w, k);
	struct connection *c = k->conn < w->nconns ? &w->conn[k->conn] : NULL;

	(void)p;
	if (!k->used || k->life != life)
		return;
	k->tcp.armed_us = 0;
	if (k->tcp.state == TCP_TIME_WAIT && w->now_us >= k->gone_us) {
		close_socket(w, k);
		return;
	}
	if (k->tcp.due_us && w->now_us >= k->tcp.due_us) {
		bool half = k->tcp.state == TCP_SYN_RECEIVED;

		if (half ? k->tcp.tries >= SYN_ACK_TRIES :
			   k->tcp.tries >= ORPHAN_TRIES && (!c || c->fate >= FATE_OVER)) {
			if (half && c && c->fate == FATE_LIVING && c->backend == k->backend)
				sim_leave_outside(w, c, OUT_HANDSHAKE);
			close_socket(w, k);
			return;
		}
		tcp_timeout(&h, &k->tcp);
	}
	after(w, k);
}

/* Writes the next part of an answer. */
static void write_chunk(struct socket *k, const struct script *sc, bool finishing)
{
	uint32_t part = sc->pace_us && !finishing && k->left > sc->chunk ? sc->chunk : k->left;

	k->tcp.end += part;
	k->left -= part;
}

static void pace(struct world *w, void *p, uint32_t i, uint32_t life);

/* The application: answers every turn's request, closes when it is its turn to. */
static void serve(struct world *w, struct socket *k)
{
	const struct connection *c = k->conn < w->nconns ? &w->conn[k->conn] : NULL;
	const struct script *sc = c ? &c->script : NULL;

	if (!sc || k->tcp.state != TCP_OPEN)
		return;
	while (k->turn < sc->turns && k->left == 0 && tcp_received(&k->tcp) >= k->up_total + sc->up[k->turn]) {
		if (!k->replied) {
			k->replied = true;
			k->left = sc->down[k->turn];
			write_chunk(k, sc, w->finishing);
			if (k->left > 0) {
				sim_in(w, sc->pace_us, pace, NULL, (uint32_t)(k - w->socket), k->life);
				break;
			}
		}
		k->up_total += sc->up[k->turn++];
		k->replied = false;
	}
	if (k->left == 0 && ((k->turn == sc->turns && sc->end == END_SERVER_FIN) || k->tcp.peer_fin))
		k->tcp.fin_wanted = true;
}

static void pace(struct world *w, void *p, uint32_t i, uint32_t life)
{
	struct socket *k = &w->socket[i];
	const struct script *sc;

	(void)p;
	if (!k->used || k->life != life || k->left == 0)
		return;
	sc = &w->conn[k->conn].script;
	write_chunk(k, sc, w->finishing);
	if (k->left > 0)
		sim_in(w, sc->pace_us, pace, NULL, i, life);
	after(w, k);
}

/* What every change of a socket ends with: application, output, timer, end. */
static void after(struct world *w, struct socket *k)
{
	struct tcp_host h = host_of(w, k);
	uint64_t due_us;

	serve(w, k);
	tcp_output(&h, &k->tcp);
	if (k->tcp.state == TCP_CLOSED) {
		close_socket(w, k);
		return;
	}
	if (k->tcp.state == TCP_TIME_WAIT && !k->gone_us)
		k->gone_us = w->now_us + TIME_WAIT_US;
	due_us = k->tcp.state == TCP_TIME_WAIT ? k->gone_us : k->tcp.due_us;
	if (due_us && (!k->tcp.armed_us || due_us < k->tcp.armed_us)) {
		k->tcp.armed_us = due_us;
		sim_at(w, due_us, socket_timer, NULL, (uint32_t)(k - w->socket), k->life);
	}
}

/* An ACK of the SYN-ACK with this backend's cookie. A kernel takes the SYN's sequence
 * number from the segment and answers one that overtook another with RST; here it is the
 * true one, so that no RST is the network's fault. */
static bool fits_cookie(const struct world *w, int backend, const struct segment *s)
{
	return s->flags & SC_TCP_ACK && !s->spoofed && s->conn < w->nconns && w->conn[s->conn].fate == FATE_LIVING &&
	       s->ack - 1 == cookie(backend, s, w->conn[s->conn].tcp.iss);
}

/* A segment that no socket is there for. */
static void unasked(struct world *w, int backend, const struct segment *s)
{
	struct backend *b = &w->backend[backend];
	struct socket *k;

	if (s->flags & SC_TCP_RST)
		return;
	if ((s->flags & (SC_TCP_SYN | SC_TCP_ACK)) == SC_TCP_SYN) {
		uint32_t iss = cookie(backend, s, s->seq);

		if (b->pressed || b->half_open >= BACKLOG) {
			answer(w, backend, s, SC_TCP_SYN | SC_TCP_ACK, iss, s->seq + 1, 0);
		} else if ((k = open_socket(w, backend, s))) {
			struct tcp_host h = host_of(w, k);

			b->half_open++;
			tcp_accept(&h, &k->tcp, iss + (uint32_t)(w->now_us / 4), s->seq);
			after(w, k);
		}
		return;
	}
	if (fits_cookie(w, backend, s) && (k = open_socket(w, backend, s))) {
		struct tcp_host h = host_of(w, k);

		k->tcp.state = TCP_OPEN;
		k->tcp.irs = w->conn[s->conn].tcp.iss;
		k->tcp.rcv = k->tcp.irs + 1;
		k->tcp.iss = s->ack - 1;
		k->tcp.una = k->tcp.nxt = k->tcp.max = k->tcp.end = s->ack;
		k->tcp.rto_us = (uint32_t)(600 * SC_MS);
		tcp_input(&h, &k->tcp, s);
		after(w, k);
		return;
	}
	if (s->conn < w->nconns && !s->spoofed && w->conn[s->conn].fate == FATE_LIVING &&
	    w->conn[s->conn].backend == backend)
		sim_broken(w, &w->conn[s->conn], "its own backend has no socket for it");
	answer(w, backend, s, SC_TCP_RST, s->flags & SC_TCP_ACK ? s->ack : 0, 0, 0);
}

static void take(struct world *w, int backend, const struct segment *s, bool too_big)
{
	struct socket *k = sim_socket(w, backend, s->client, s->service, s->sport);
	struct tcp_host h = host_of(w, k);
	bool half;

	sim_judge_delivery(w, backend, s, too_big);
	sim_trace_segment(w, "delivered", s, NULL);
	if (too_big) {
		if (k && k->tcp.state == TCP_OPEN && k->tcp.mss > SMALL_MSS) {
			k->tcp.mss = SMALL_MSS;
			k->tcp.nxt = k->tcp.una;
			after(w, k);
		}
		return;
	}
	/* A SYN for a port in TIME-WAIT; a cookie's ACK after the SYN came twice, and the second
	 * time there was room for a socket. */
	if (k && ((k->tcp.state == TCP_TIME_WAIT && s->flags & SC_TCP_SYN && !s->spoofed &&
		   tcp_before(k->tcp.rcv, s->seq)) ||
		  (k->tcp.state == TCP_SYN_RECEIVED && s->ack - 1 != k->tcp.iss && fits_cookie(w, backend, s)))) {
		close_socket(w, k);
		k = NULL;
	}
	if (!k) {
		unasked(w, backend, s);
		return;
	}
	half = k->tcp.state == TCP_SYN_RECEIVED;
	tcp_input(&h, &k->tcp, s);
	if (half && k->tcp.state != TCP_SYN_RECEIVED)
		w->backend[backend].half_open--;
	after(w, k);
}

static void receive(struct world *w, int backend, const uint8_t *data, uint32_t len)
{
	struct segment s;
	bool too_big;

	if (!sim_read(data, len, &s, &too_big)) {
		sim_violation(w, "backend %d.%d got a packet that is no client's", w->backend[backend].pop + 1,
			      w->backend[backend].number);
		return;
	}
	s.backend = backend;
	take(w, backend, &s, too_big);
}

/* Plain GUE from a node of its PoP, through the real receiving side. */
void sim_backend_receive(struct world *w, int backend, uint8_t *data, uint32_t len)
{
	struct backend *b = &w->backend[backend];
	struct sc_packet p = { .data = data, .len = len };

	sc_backend_receive(w->backend_side[b->pop], &b->addr, (uint16_t)(b->pop + 1), &p, 1, b->counters,
			   w->out);
	if (w->out->n == 1)
		receive(w, backend, w->out->p[0].data, w->out->p[0].len);
	else
		sim_violation(w, "backend %d.%d refuses what a node sent it", b->pop + 1, b->number);
}

/* What a node gives to its own machine's stack. */
void sim_backend_local(struct world *w, int node, const uint8_t *data, uint32_t len)
{
	uint8_t copy[SC_PACKET_MAX];
	int pop = w->node[node].pop;

	memcpy(copy, data, len);
	for (int i = w->first_backend[pop]; i < w->first_backend[pop] + w->backends_of[pop]; i++)
		if (w->backend[i].node == node) {
			receive(w, i, copy, len);
			return;
		}
	sim_violation(w, "node %d.%d delivers locally and has no backend", pop + 1, w->node[node].number);
}

/* The backend's kernel loses a socket without a word: from now on the connection is
 * dead, and its client is to be told so when it next sends. */
void sim_forget(struct world *w, struct connection *c)
{
	struct socket *k = c->backend < 0 ? NULL :
			   sim_socket(w, c->backend, c->client, c->service, c->sport);

	if (c->fate != FATE_LIVING || !k || k->tcp.state != TCP_OPEN)
		return;
	close_socket(w, k);
	c->fate = FATE_DEAD;
	sim_say(w, "connection %u: its backend forgets it", (uint32_t)(c - w->conn));
}
