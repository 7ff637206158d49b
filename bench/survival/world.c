/* One strategy under one schedule, event by event: clients send and repeat their packets,
 * routing and ECMP decide which node gets them, the strategy decides which backend, and the
 * judge at the backend's door says what becomes of the connection. */
#include <stdarg.h>

#include "survival.h"

#define RTO_SYN_US	(1 * SC_S)
#define RTO_US		(300 * SC_MS)
#define RTO_MAX_US	(30 * SC_S)

struct landing {
	struct sv_packet p;
	int pop;
};

static bool sooner(const struct sv_task *a, const struct sv_task *b)
{
	return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

void sv_in(struct sv_world *w, uint64_t us, sv_fn fn, void *ctx, void *p, uint32_t a, uint32_t b)
{
	struct sv_task t = { w->now_us + us, w->order++, fn, ctx, p, a, b };
	uint32_t i;

	if (w->ntasks == w->room) {
		w->room = w->room ? w->room * 2 : 4096;
		w->heap = realloc(w->heap, w->room * sizeof(*w->heap));
		if (!w->heap)
			abort();
	}
	for (i = w->ntasks++; i > 0 && sooner(&t, &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
		w->heap[i] = w->heap[(i - 1) / 2];
	w->heap[i] = t;
}

static struct sv_task take_first(struct sv_world *w)
{
	struct sv_task first = w->heap[0], last = w->heap[--w->ntasks];
	uint32_t i = 0, child;

	while ((child = 2 * i + 1) < w->ntasks) {
		if (child + 1 < w->ntasks && sooner(&w->heap[child + 1], &w->heap[child]))
			child++;
		if (!sooner(&w->heap[child], &last))
			break;
		w->heap[i] = w->heap[child];
		i = child;
	}
	w->heap[i] = last;
	return first;
}

static void say(const struct sv_world *w, uint32_t flow, const char *fmt, ...)
{
	va_list args;

	if (!w->trace)
		return;
	fprintf(stderr, "%9.3f s  connection %u: ", (double)(w->now_us - SV_BEGIN_US - SV_WARM_US) / 1e6, flow);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
}

/* ECMP as the kindest of routers does it: a node that comes or goes moves no other node's
 * flows. -1: no node of the PoP is announced. */
static int node_of(const struct sv_world *w, int pop, const struct sv_flow *f)
{
	uint64_t high = 0;
	int best = -1;

	for (int n = pop * SV_NODES_PER_POP; n < (pop + 1) * SV_NODES_PER_POP; n++) {
		uint64_t key[2] = { f->id, (uint64_t)w->salt[pop] << 32 | (uint32_t)n };
		uint64_t score = sc_xxh64(key, sizeof(key), 11);

		if (w->announced[n] && (best < 0 || score > high)) {
			high = score;
			best = n;
		}
	}
	return best;
}

static bool announces(const struct sv_world *w, int pop)
{
	for (int n = pop * SV_NODES_PER_POP; n < (pop + 1) * SV_NODES_PER_POP; n++)
		if (w->announced[n])
			return true;
	return false;
}

/* The PoP where the client's packet goes; -1: nobody announces the VIP. */
static int pop_of(const struct sv_world *w, uint32_t client, bool odd)
{
	const struct sv_client *c = &w->s->client[client];
	int pop = w->route[client];

	if (c->split && odd)
		pop = c->other;
	if (announces(w, pop))
		return pop;
	for (int i = 0; i < SV_POPS; i++)
		if (announces(w, c->prefers[i]))
			return c->prefers[i];
	return -1;
}

static void land(void *ctx, void *p, uint32_t a, uint32_t b)
{
	struct sv_world *w = ctx;
	struct landing *l = p;
	int node = node_of(w, l->pop, &w->s->flow[l->p.flow]);

	(void)a;
	(void)b;
	if (node >= 0 && !w->down[node])
		w->strategy->arrive(w->state, node, &l->p);
	free(l);
}

static void send_next(void *ctx, void *p, uint32_t flow, uint32_t b);

/* No answer in time: the packet goes again. */
static void timeout(void *ctx, void *p, uint32_t flow, uint32_t number)
{
	struct sv_world *w = ctx;
	struct sv_connection *c = &w->connection[flow];

	if (!c->over && !c->broken && c->waiting && c->next == number)
		send_next(w, p, flow, 0);
}

static void send_next(void *ctx, void *p, uint32_t flow, uint32_t b)
{
	struct sv_world *w = ctx;
	struct sv_connection *c = &w->connection[flow];
	const struct sv_flow *f = &w->s->flow[flow];
	uint64_t rto_us = c->next == 0 ? RTO_SYN_US : RTO_US;
	struct landing *l;
	int pop;

	(void)p;
	(void)b;
	if (!c->waiting) {
		c->waiting = true;
		c->first_us = w->now_us;
		c->tries = 0;
	}
	rto_us <<= c->tries < 10 ? c->tries : 10;
	if (c->tries < 255)
		c->tries++;
	sv_in(w, rto_us < RTO_MAX_US ? rto_us : RTO_MAX_US, timeout, w, NULL, flow, c->next);
	pop = pop_of(w, f->client, c->odd);
	c->odd = !c->odd;
	if (pop < 0)
		return;
	l = malloc(sizeof(*l));
	if (!l)
		abort();
	*l = (struct landing){ { flow, c->next, c->next > 1 && c->next == f->sends - 1 }, pop };
	sv_in(w, w->s->client[f->client].delay_us[pop], land, w, l, 0, 0);
}

/* When packet number is to be sent, at the earliest. */
static uint64_t due_us(const struct sv_flow *f, uint32_t number)
{
	return number < 2 ? f->begin_us : f->begin_us + f->lasts_us / (f->sends - 1) * number;
}

/* Its own backend has the packet that is under way. After a stall the client goes on with
 * what is due by now: one segment stands for all that waited. */
static void progress(struct sv_world *w, uint32_t flow, int pop)
{
	struct sv_connection *c = &w->connection[flow];
	const struct sv_flow *f = &w->s->flow[flow];
	uint64_t back_us = w->s->client[f->client].delay_us[pop], due;

	if (w->now_us - c->first_us > w->result.pause_us)
		w->result.pause_us = w->now_us - c->first_us;
	c->waiting = false;
	if (++c->next >= f->sends) {
		c->over = true;
		return;
	}
	while (c->next > 1 && c->next + 2 < f->sends && due_us(f, c->next + 1) < w->now_us)
		c->next++;
	due = due_us(f, c->next);
	sv_in(w, due > w->now_us + back_us ? due - w->now_us : back_us, send_next, w, NULL, flow, 0);
}

static void broken(struct sv_world *w, uint32_t flow)
{
	w->connection[flow].broken = true;
	w->result.broken++;
	w->result.packets_broken += w->s->flow[flow].observed;
}

void sv_deliver(struct sv_world *w, const struct sv_packet *p, uint8_t backend)
{
	struct sv_connection *c = &w->connection[p->flow];

	if (backend == SV_NONE || c->over || c->broken)
		return;
	if (p->number == 0 && c->own == SV_NONE)
		c->own = backend;
	if (c->own == backend) {
		if (c->waiting && p->number == c->next)
			progress(w, p->flow, backend / SV_BACKENDS_PER_POP);
	} else if (p->number > 0) {
		say(w, p->flow, "packet %u reaches backend %u, which has no socket for it; its own is %u", p->number,
		    backend, c->own);
		broken(w, p->flow);
	}
}

bool sv_has_socket(const struct sv_world *w, const struct sv_packet *p, uint8_t backend)
{
	return backend != SV_NONE && w->connection[p->flow].own == backend;
}

void sv_announce(struct sv_world *w, int node, bool announced)
{
	w->announced[node] = announced && !w->down[node];
}

/* Clients that are at from (or were displaced from there) go elsewhere. */
static void move_clients(struct sv_world *w, const struct sv_event *e)
{
	bool moved[SV_POPS][SV_POPS] = { { false } };

	for (uint32_t i = 0; i < w->s->nclients; i++) {
		struct rng r = rng_of(w->s->seed, 'w', (uint64_t)e->at_us << 20 | i);
		const struct sv_client *c = &w->s->client[i];
		uint8_t to = w->route[i], from = to;

		if (e->kind == SV_E_MOVE && from == e->a && rng_chance(&r, e->share)) {
			to = (uint8_t)e->b;
		} else if (e->kind == SV_E_WITHDRAW && from == e->a) {
			to = c->prefers[0] == from ? c->prefers[1] : c->prefers[0];
			w->displaced[i] = from;
		} else if (e->kind == SV_E_RETURN && w->displaced[i] == e->a) {
			to = (uint8_t)e->a;
			w->displaced[i] = SV_NONE;
		}
		w->route[i] = to;
		moved[from][to] = from != to;
	}
	for (int a = 0; a < SV_POPS; a++)
		for (int b = 0; b < SV_POPS; b++)
			if (moved[a][b] && w->strategy->catchment_moved)
				w->strategy->catchment_moved(w->state, a, b);
}

static void happen(void *ctx, void *p, uint32_t index, uint32_t b)
{
	struct sv_world *w = ctx;
	const struct sv_event *e = &w->s->event[index];

	(void)p;
	(void)b;
	switch (e->kind) {
	case SV_E_MOVE:
	case SV_E_WITHDRAW:
	case SV_E_RETURN:
		move_clients(w, e);
		break;
	case SV_E_BACKEND:
		w->backend[e->a] = (uint8_t)e->b;
		w->strategy->backends_changed(w->state, (int)e->a / SV_BACKENDS_PER_POP);
		break;
	case SV_E_ROUTE_FALLS:
		w->announced[e->a] = false;
		break;
	case SV_E_NODE_DOWN:
		w->down[e->a] = true;
		if (w->strategy->node_down)
			w->strategy->node_down(w->state, (int)e->a);
		break;
	case SV_E_NODE_UP:
		w->down[e->a] = false;
		if (w->strategy->node_up)
			w->strategy->node_up(w->state, (int)e->a);
		else
			w->announced[e->a] = true;
		break;
	case SV_E_RESHUFFLE:
		w->salt[e->a]++;
		break;
	}
}

static void begin(struct sv_world *w)
{
	const struct sv_schedule *s = w->s;

	w->now_us = SV_BEGIN_US;
	for (uint32_t i = 0; i < s->nclients; i++) {
		w->route[i] = s->client[i].prefers[0];
		w->displaced[i] = SV_NONE;
	}
	for (uint32_t b = 0; b < SV_BACKENDS; b++)
		w->backend[b] = b % SV_BACKENDS_PER_POP < SV_READY_AT_FIRST ? SV_READY : SV_OUT;
	for (int n = 0; n < SV_NODES; n++)
		w->announced[n] = true;
	w->state = w->strategy->start(w);
	for (uint32_t i = 0; i < s->nflows; i++) {
		w->connection[i].own = SV_NONE;
		sv_in(w, s->flow[i].begin_us - w->now_us, send_next, w, NULL, i, 0);
	}
	for (uint32_t i = 0; i < s->nevents; i++)
		sv_in(w, s->event[i].at_us - w->now_us, happen, w, NULL, i, 0);
}

/* Who waits for progress long after the last event waits for good. */
static void judge_end(struct sv_world *w)
{
	for (uint32_t i = 0; i < w->s->nflows; i++) {
		const struct sv_connection *c = &w->connection[i];

		w->result.packets += w->s->flow[i].observed;
		if (!c->over && !c->broken && c->waiting && w->now_us - c->first_us > SV_STUCK_US) {
			say(w, i, "packet %u has been under way since %.3f s, %u times", c->next,
			    (double)(c->first_us - SV_BEGIN_US - SV_WARM_US) / 1e6, c->tries);
			broken(w, i);
			w->result.stuck++;
		}
	}
}

void sv_run(const struct sv_schedule *s, const struct sv_strategy *strategy, bool trace, struct sv_result *r)
{
	struct sv_world w = { .s = s, .strategy = strategy, .trace = trace };
	uint64_t end_us = SV_BEGIN_US + SV_WARM_US + SV_OBSERVED_US;

	w.connection = calloc(s->nflows, sizeof(*w.connection));
	w.route = calloc(s->nclients, 1);
	w.displaced = calloc(s->nclients, 1);
	if (!w.connection || !w.route || !w.displaced)
		abort();
	begin(&w);
	while (w.ntasks > 0 && w.heap[0].at_us <= end_us) {
		struct sv_task t = take_first(&w);

		w.now_us = t.at_us;
		t.fn(t.ctx, t.p, t.a, t.b);
	}
	w.now_us = end_us;
	judge_end(&w);
	for (uint32_t i = 0; i < w.ntasks; i++)
		free(w.heap[i].p);
	strategy->stop(w.state);
	free(w.heap);
	free(w.connection);
	free(w.route);
	free(w.displaced);
	*r = w.result;
}
