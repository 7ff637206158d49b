/* Clients: their kernels (ports, TIME-WAIT, RST for what they do not know) and the
 * applications that follow each connection's script: requests and answers, uploads,
 * downloads, long silence, half-close, abort. */
#include "flow_id.h"
#include "sim.h"

enum {
	CLIENT_MSS = 1340,
	CARELESS_MSS = 1440,		/* of a client whose stack takes no advice */
	ZOMBIES = 6,
	ZOMBIE_PORT = 20000,
	ZOMBIE_TRIES = 38,		/* for as long as a flood makes nodes uncertain, and more */
	PROBES = 11,
};

#define TIME_WAIT_US	(60 * SC_S)
#define NEVER_US	(1000000 * SC_S)

static uint32_t number_of(const struct world *w, const struct connection *c)
{
	return (uint32_t)(c - w->conn);
}

static void send_from(struct world *w, void *ctx, uint8_t flags, uint32_t seq, uint32_t ack, uint16_t len)
{
	const struct connection *c = ctx;
	struct segment s = {
		.client = c->client, .sport = c->sport, .service = c->service, .flags = flags, .seq = seq,
		.ack = ack, .len = len, .conn = number_of(w, c), .backend = -1,
	};

	sim_to_vip(w, &s);
}

static struct tcp_host host_of(struct world *w, struct connection *c)
{
	return (struct tcp_host){ w, send_from, c };
}

/* The connection that has this port now, NULL. */
struct connection *sim_current(struct world *w, uint32_t client, uint8_t service, uint16_t sport)
{
	uint32_t conn, at = (uint32_t)(sport - SIM_FIRST_PORT);

	if (client >= (uint32_t)w->nclients || at >= SIM_PORTS)
		return NULL;
	conn = w->client[client].port[service][at];
	return conn == SIM_NOBODY ? NULL : &w->conn[conn];
}

static void release(struct world *w, struct connection *c)
{
	uint32_t *port = &w->client[c->client].port[c->service][c->sport - SIM_FIRST_PORT];

	if (*port == number_of(w, c))
		*port = SIM_NOBODY;
	c->tcp.state = TCP_CLOSED;
	c->tcp.due_us = 0;
}

static void release_later(struct world *w, void *p, uint32_t conn, uint32_t b)
{
	(void)p;
	(void)b;
	release(w, &w->conn[conn]);
}

/* Its client is done with it: closed, aborted or told. */
static void over(struct world *w, struct connection *c)
{
	if (c->fate == FATE_LIVING || c->fate == FATE_HANDSHAKE || c->fate == FATE_DEAD) {
		c->fate = FATE_OVER;
		w->result->finished++;
	}
	if (c->tcp.state == TCP_TIME_WAIT)
		sim_in(w, TIME_WAIT_US, release_later, NULL, number_of(w, c), 0);
	else
		release(w, c);
}

static void abort_it(struct world *w, struct connection *c)
{
	struct tcp_host h = host_of(w, c);

	h.send(w, c, SC_TCP_RST | SC_TCP_ACK, c->tcp.nxt, c->tcp.rcv, 0);
	over(w, c);
}

/* All turns are done: who closes, and how. false: nobody yet. */
static void conclude(struct world *w, struct connection *c)
{
	switch ((enum script_end)c->script.end) {
	case END_CLIENT_RST:
		abort_it(w, c);
		return;
	case END_SERVER_FIN:
		if (c->tcp.peer_fin)
			c->tcp.fin_wanted = true;
		return;
	default:
		c->tcp.fin_wanted = true;
	}
}

static void after(struct world *w, struct connection *c);

/* Time for this turn's request, or to probe while it is not. */
static void think(struct world *w, void *p, uint32_t conn, uint32_t turn)
{
	struct connection *c = &w->conn[conn];
	struct tcp_host h = host_of(w, c);
	const struct script *s = &c->script;

	(void)p;
	if ((c->fate != FATE_LIVING && c->fate != FATE_DEAD) || c->turn != turn || c->wrote)
		return;
	if (s->think_us[turn] == NEVER_US && !w->finishing) {
		tcp_keepalive(&h, &c->tcp);
		sim_in(w, (uint64_t)w->idle_s * SC_S / 3, think, NULL, conn, turn);
		return;
	}
	c->wrote = true;
	c->tcp.end += s->up[turn];
	if (s->end == END_HALF_CLOSED && turn + 1u == s->turns)
		c->tcp.fin_wanted = true;
	after(w, c);
}

/* The application looks at what has arrived. */
static void follow_script(struct world *w, struct connection *c)
{
	const struct script *s = &c->script;

	while (c->turn < s->turns && c->wrote && tcp_received(&c->tcp) >= c->down_total + s->down[c->turn] &&
	       !tcp_before(c->tcp.una, c->tcp.end)) {
		uint64_t wait_us;

		c->down_total += s->down[c->turn++];
		c->wrote = false;
		if (c->turn == s->turns)
			break;
		wait_us = w->finishing ? 0 : s->think_us[c->turn];
		if (wait_us == NEVER_US)
			wait_us = (uint64_t)w->idle_s * SC_S / 3;
		sim_in(w, wait_us, think, NULL, number_of(w, c), c->turn);
	}
	if (c->turn == s->turns)
		conclude(w, c);
}

static void timer(struct world *w, void *p, uint32_t conn, uint32_t b)
{
	struct connection *c = &w->conn[conn];
	struct tcp_host h = host_of(w, c);

	(void)p;
	(void)b;
	c->tcp.armed_us = 0;
	if (c->tcp.state == TCP_CLOSED || c->tcp.state == TCP_TIME_WAIT)
		return;
	if (c->tcp.due_us && w->now_us >= c->tcp.due_us)
		tcp_timeout(&h, &c->tcp);
	after(w, c);
}

/* What every change of a connection ends with. */
static void after(struct world *w, struct connection *c)
{
	struct tcp_host h = host_of(w, c);
	uint8_t state;

	if (c->tcp.state == TCP_OPEN)
		follow_script(w, c);
	tcp_output(&h, &c->tcp);
	if (c->tcp.fin_wanted && c->timeout_s != w->closing_s)
		c->timeout_s = w->closing_s;
	state = c->tcp.state;
	if ((state == TCP_CLOSED || state == TCP_TIME_WAIT) && c->fate != FATE_OVER && c->fate != FATE_BROKEN)
		over(w, c);
	if (state == TCP_CLOSED || state == TCP_TIME_WAIT)
		return;
	if (c->tcp.due_us && (!c->tcp.armed_us || c->tcp.due_us < c->tcp.armed_us)) {
		c->tcp.armed_us = c->tcp.due_us;
		sim_at(w, c->tcp.due_us, timer, NULL, number_of(w, c), 0);
	}
}

static void established(struct world *w, struct connection *c, int backend)
{
	c->fate = FATE_LIVING;
	c->backend = backend;
	c->delivered_us = w->now_us;
	c->timeout_s = w->idle_s;
	/* It took a backend's word; another one had its SYN too. */
	if (c->claimed >= 0 && c->claimed != backend)
		sim_contest(w, c, CONTESTED_SYN);
	sim_in(w, w->finishing ? 0 : c->script.think_us[0], think, NULL, number_of(w, c), 0);
}

/* A kernel's answer to a segment of nothing it knows. */
static void refuse(struct world *w, const struct segment *s)
{
	struct segment rst = {
		.client = s->client, .sport = s->sport, .service = s->service, .flags = SC_TCP_RST,
		.seq = s->ack, .conn = SIM_NOBODY, .backend = -1,
	};

	if (s->flags & SC_TCP_RST) {
		if (s->sport >= ZOMBIE_PORT && s->sport < ZOMBIE_PORT + ZOMBIES &&
		    s->client == (uint32_t)s->sport - ZOMBIE_PORT && w->finishing)
			w->zombies_reset |= 1u << (s->sport - ZOMBIE_PORT);
		return;
	}
	sim_to_vip(w, &rst);
}

void sim_client_receive(struct world *w, const struct segment *s)
{
	struct connection *c = sim_current(w, s->client, s->service, s->sport);
	struct tcp_host h;

	sim_trace_segment(w, "client gets", s, NULL);
	if (!c || c->tcp.state == TCP_CLOSED) {
		refuse(w, s);
		return;
	}
	h = host_of(w, c);
	switch (tcp_input(&h, &c->tcp, s)) {
	case TCP_ESTABLISHED:
		established(w, c, s->backend);
		break;
	case TCP_RESET:
	case TCP_REFUSED:
		if (c->fate == FATE_DEAD)
			w->result->resets++;
		else
			sim_broken(w, c, "its client got RST");
		over(w, c);
		return;
	default:
		break;
	}
	after(w, c);
}

/* A port of the client that nobody has: often the last one used. -1: none. */
static int choose_port(struct world *w, uint32_t client, uint8_t service, uint32_t conn)
{
	uint32_t from = conn % 4 * 2;

	for (uint32_t i = 0; i < SIM_PORTS; i++) {
		uint32_t at = (from + i) % SIM_PORTS;

		if (w->client[client].port[service][at] == SIM_NOBODY)
			return (int)at;
	}
	return -1;
}

static void start(struct world *w, void *p, uint32_t conn, uint32_t b)
{
	struct connection *c = &w->conn[conn];
	struct tcp_host h = host_of(w, c);
	uint32_t key[3] = { c->client, c->service, 0 };
	int port = choose_port(w, c->client, c->service, conn);

	(void)p;
	(void)b;
	if (port < 0)
		return;
	c->sport = (uint16_t)(SIM_FIRST_PORT + port);
	w->client[c->client].port[c->service][port] = conn;
	c->flow = sim_flow(c->client, c->sport, c->service);
	c->fate = FATE_HANDSHAKE;
	c->again = w->client[c->client].port_pop[c->service][port] != 0;
	c->tcp.mss = conn % 29 == 0 ? CARELESS_MSS : CLIENT_MSS;
	w->result->connections++;
	key[2] = c->sport;
	if (sim_watched(w, conn))
		sim_say(w, "connection %u begins: client %u port %u, IPv%d, flow %016llx", conn, c->client,
			c->sport, c->service ? 6 : 4, (unsigned long long)c->flow);
	tcp_connect(&h, &c->tcp, (uint32_t)sc_xxh64(key, sizeof(key), w->o.seed) + (uint32_t)(w->now_us / 4));
	after(w, c);
}

void sim_clients_init(struct world *w)
{
	for (int i = 0; i < w->nclients; i++)
		for (int s = 0; s < SIM_FAMILIES; s++)
			for (int k = 0; k < SIM_PORTS; k++)
				w->client[i].port[s][k] = SIM_NOBODY;
	for (uint32_t i = 0; i < w->nconns; i++) {
		struct connection *c = &w->conn[i];
		struct rng r = rng_of(w->o.seed, 'k', i);

		*c = (struct connection){ .backend = -1, .claimed = -1 };
		c->client = rng_below(&r, (uint32_t)w->nclients);
		c->service = rng_chance(&r, 0.3) ? 1 : 0;
		c->script = sim_script(w, i);
		if (w->o.no_client && w->o.no_client[c->client])
			continue;
		sim_at(w, c->script.begin_us, start, NULL, i, 0);
	}
}

/* A client whose backend is silent wonders whether it is still there. */
static void probe(struct world *w, void *p, uint32_t conn, uint32_t tries)
{
	struct connection *c = &w->conn[conn];
	struct tcp_host h = host_of(w, c);

	(void)p;
	if (c->fate != FATE_DEAD || tries == PROBES)
		return;
	tcp_keepalive(&h, &c->tcp);
	sim_in(w, 5 * SC_S, probe, NULL, conn, tries + 1);
}

/* After the last event: who thinks or pauses goes on now. */
void sim_ask_last(struct world *w)
{
	w->finishing = true;
	for (uint32_t i = 0; i < w->nconns; i++) {
		struct connection *c = &w->conn[i];

		c->asked_last = true;
		if ((c->fate == FATE_LIVING || c->fate == FATE_DEAD) && !c->wrote && c->turn < c->script.turns)
			think(w, NULL, i, c->turn);
		probe(w, NULL, i, 0);
	}
}

/* A client that sends on a connection of which nobody has ever heard. */
static void zombie(struct world *w, void *p, uint32_t i, uint32_t tries)
{
	struct segment s = {
		.client = i, .sport = (uint16_t)(ZOMBIE_PORT + i), .flags = SC_TCP_ACK | SC_TCP_PSH,
		.seq = 1000, .ack = 2000, .len = 10, .conn = SIM_NOBODY, .backend = -1,
	};

	(void)p;
	sim_to_vip(w, &s);
	if (tries < ZOMBIE_TRIES)
		sim_in(w, 1500 * SC_MS, zombie, NULL, i, tries + 1);
}

void sim_zombies(struct world *w)
{
	for (uint32_t i = 0; i < ZOMBIES && i < (uint32_t)w->nclients; i++) {
		w->zombies |= 1u << i;
		zombie(w, NULL, i, 0);
	}
}

static void script_turns(struct script *s, struct rng *r, const struct world *w, uint32_t kind)
{
	uint64_t silence_us = (uint64_t)w->idle_s * SC_S * 7 / 10;

	for (uint32_t t = 0; t < s->turns; t++) {
		s->think_us[t] = t == 0 ? 0 : rng_range(r, 0, 4 * SC_S);
		s->up[t] = (uint32_t)rng_range(r, 20, 600);
		s->down[t] = (uint32_t)rng_range(r, 20, 4000);
		if (kind == 1)
			s->up[t] = (uint32_t)rng_range(r, 5000, 60000);
		if (kind == 2)
			s->down[t] = (uint32_t)rng_range(r, 20000, 120000);
		if (kind == 3 && t > 0)
			s->think_us[t] = rng_range(r, silence_us / 4, silence_us);
		if (kind == 4)
			s->down[t] = (uint32_t)rng_range(r, 4000, 30000);
	}
}

/* What connection number conn will do. */
struct script sim_script(struct world *w, uint32_t conn)
{
	/* short and plain, upload, download, silence, half-close, stays, stream */
	static const uint8_t kinds[] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 5, 6 };
	static const uint8_t ends[] = { END_CLIENT_FIN, END_CLIENT_FIN, END_SERVER_FIN, END_SERVER_FIN, END_CLIENT_RST };
	struct rng r = rng_of(w->o.seed, 's', conn);
	uint32_t kind = kinds[rng_below(&r, sizeof(kinds))];
	struct script s = { .end = ends[rng_below(&r, sizeof(ends))], .chunk = 600 };

	s.begin_us = SIM_START_US + SIM_WARM_US + rng_range(&r, 0, w->end_us - SIM_START_US - SIM_WARM_US);
	s.turns = (uint8_t)(kind == 1 || kind == 2 ? 1 : 1 + rng_below(&r, 4));
	script_turns(&s, &r, w, kind);
	if (kind == 4) {
		s.end = END_HALF_CLOSED;
		s.pace_us = rng_range(&r, 200 * SC_MS, 4 * SC_S);
	} else if (kind == 5) {
		s.end = END_CLIENT_FIN;
		s.turns++;
		s.think_us[s.turns - 1] = NEVER_US;
		s.up[s.turns - 1] = s.down[s.turns - 1] = 300;
	} else if (kind == 6) {
		s.turns = 1;
		s.pace_us = rng_range(&r, 300 * SC_MS, 3 * SC_S);
		s.down[0] = (uint32_t)((w->end_us - s.begin_us) / s.pace_us + 1) * s.chunk;
	}
	return s;
}
