/* The worker thread; see worker.h.
 *
 * Counters are plain 64-bit values that this thread alone writes and JavaScript
 * reads at any time. On the 64-bit machines we run on an aligned 64-bit store is one
 * access, so that a reader sees an old value or a new one, never half of each; two
 * counters read together may be a burst apart, which no reader minds. */
#include "worker.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "thread.h"
#include "../explain.h"
#include "outer.h"

_Static_assert(sizeof(void *) == 8, "counters are read while they are written: 64-bit machines only");

#define SC_LOOK_US	(250 * SC_MS)	/* how often the status is refreshed */

enum {
	/* One receive buffer; a multiple of a cache line, not of a page. */
	BUFFER_SIZE = SC_HEADROOM + SC_PACKET_MAX + 64,
};

_Static_assert(BUFFER_SIZE % 64 == 0, "buffers begin on a cache line");

/* What of a port's own counts has been added to the counters. */
struct port_seen {
	uint64_t rx_dropped, tx_errors;
};

/* What the thread is to go by from its next burst on. */
struct offer {
	struct sc_swap *swap;		/* node */
	struct sc_generation *g;	/* backend; the one of before when it was taken */
	uint64_t *counters;
	struct sc_node *copy;		/* not to go by, but to fill: sc_worker_copy() */
	uint64_t flow;
	const struct sc_pin *pin;	/* nor this: sc_worker_pin() */
	bool pinned;
};

struct sc_worker {
	struct sc_worker_config c;
	struct sc_outer outer;
	bool has_outer;
	int wake_fd;
	atomic_bool stopping, survey_asked;
	pthread_t thread;

	pthread_mutex_t offer_lock;
	pthread_cond_t answered;
	struct offer *_Atomic offer;	/* written under offer_lock; NULL: none, or taken */
	bool ended;			/* under offer_lock */

	/* The thread's own. */
	uint8_t *buffers;
	struct sc_packet burst[SC_BURST_MAX];
	struct sc_out out;
	struct sc_packet local[SC_OUT_MAX], wire[SC_OUT_MAX];
	struct port_seen seen[3];
	uint64_t outer_too_long_seen;
	unsigned int turn;		/* splitter: whose turn it is */
	uint64_t busy_us, loops;
	int error;

	pthread_mutex_t lock;
	struct sc_worker_status status;	/* under lock */
};

static uint64_t clock_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SC_S + (uint64_t)t.tv_nsec / 1000;
}

static void count(struct sc_worker *w, enum sc_counter packets, enum sc_counter bytes,
		  const struct sc_packet *p, unsigned int n)
{
	uint64_t sum_packets = 0, sum_bytes = 0;

	for (unsigned int i = 0; i < n; i++) {
		sum_packets += p[i].len != 0;
		sum_bytes += p[i].len;
	}
	w->c.counters[packets] += sum_packets;
	w->c.counters[bytes] += sum_bytes;
}

/* Nearly all that a port cannot hand over is too long; the rest are contradictions
 * in what the kernel says of a super-packet. */
static void count_port(struct sc_worker *w, const struct sc_port *port, struct port_seen *seen)
{
	w->c.counters[SC_DROP_too_long] += port->rx_dropped - seen->rx_dropped;
	w->c.counters[SC_C_tx_errors] += port->tx_errors - seen->tx_errors;
	seen->rx_dropped = port->rx_dropped;
	seen->tx_errors = port->tx_errors;
}

static void count_ports(struct sc_worker *w)
{
	count_port(w, w->c.port, &w->seen[0]);
	for (int i = 0; i < 2 && w->c.split[i]; i++)
		count_port(w, w->c.split[i], &w->seen[1 + i]);
	w->c.counters[SC_DROP_too_long] += w->outer.too_long - w->outer_too_long_seen;
	w->outer_too_long_seen = w->outer.too_long;
}

static void send_to(struct sc_worker *w, struct sc_port *port, struct sc_packet *p, unsigned int n)
{
	int err;

	if (!n)
		return;
	err = port->ops->send(port, p, n);
	count(w, SC_C_tx_packets, SC_C_tx_bytes, p, n);
	if (err < 0 && !w->error)
		w->error = err;
}

/* Sends what a call has left in w->out. */
static void flush_out(struct sc_worker *w)
{
	unsigned int nlocal = 0, nwire = 0;

	for (unsigned int i = 0; i < w->out.n; i++) {
		if (w->out.p[i].egress == SC_EGRESS_LOCAL)
			w->local[nlocal++] = w->out.p[i];
		else
			w->wire[nwire++] = w->out.p[i];
	}
	w->out.n = 0;
	send_to(w, w->c.port, w->local, nlocal);
	if (nwire) {
		w->c.counters[SC_C_tx_errors] += sc_outer_send(&w->outer, w->wire, nwire);
		count(w, SC_C_tx_packets, SC_C_tx_bytes, w->wire, nwire);
	}
}

static void split(struct sc_worker *w, const struct sc_packet *p, unsigned int n)
{
	struct sc_packet half[2][SC_BURST_MAX];
	unsigned int counts[2] = { 0, 0 };

	for (unsigned int i = 0; i < n; i++, w->turn ^= 1)
		half[w->turn][counts[w->turn]++] = p[i];
	send_to(w, w->c.split[0], half[0], counts[0]);
	send_to(w, w->c.split[1], half[1], counts[1]);
}

static void handle(struct sc_worker *w, unsigned int n, uint64_t now)
{
	if (!n)
		return;
	count(w, SC_C_rx_packets, SC_C_rx_bytes, w->burst, n);
	switch (w->c.role) {
	case SC_WORKER_NODE:
		sc_forward(w->c.node, w->burst, n, now, &w->out);
		break;
	case SC_WORKER_BACKEND:
		sc_backend_receive(w->c.generation, &w->c.address, w->c.pop, w->burst, n,
				   w->c.counters, &w->out);
		break;
	case SC_WORKER_SPLITTER:
		split(w, w->burst, n);
		return;
	}
	flush_out(w);
}

static struct sc_packet *fresh_burst(struct sc_worker *w)
{
	for (unsigned int i = 0; i < SC_BURST_MAX; i++) {
		w->burst[i] = (struct sc_packet){
			.data = w->buffers + (size_t)i * BUFFER_SIZE + SC_HEADROOM,
		};
	}
	return w->burst;
}

/* A backend's device carries what the local stack sends, all of which is routed
 * elsewhere: a packet that comes out of it has no way to go. */
static int from_port(struct sc_worker *w, uint64_t now)
{
	int n = w->c.port->ops->receive(w->c.port, fresh_burst(w), SC_BURST_MAX);

	if (n < 0)
		w->error = n;
	else if (w->c.role == SC_WORKER_BACKEND)
		w->c.counters[SC_DROP_not_ours] += (unsigned int)n;
	else
		handle(w, (unsigned int)n, now);
	return n;
}

static void refresh_status(struct sc_worker *w, uint64_t now)
{
	/* A reader that was put to sleep with the lock must not stop the packets. */
	if (pthread_mutex_trylock(&w->lock))
		return;
	w->status.error = w->error;
	w->status.busy_us = w->busy_us;
	w->status.loops = w->loops;
	if (w->c.role == SC_WORKER_NODE)
		sc_node_look(w->c.node, now, &w->status.view);
	pthread_mutex_unlock(&w->lock);
}

/* Backend rows and service rows count nothing on a backend machine. */
static void take_generation(struct sc_worker *w, struct offer *o)
{
	struct sc_generation *before = w->c.generation;

	memcpy(o->counters, w->c.counters, SC_COUNTER_COUNT * sizeof(*o->counters));
	w->c.generation = o->g;
	o->g = before;
}

static void take_offer(struct sc_worker *w)
{
	struct offer *o;

	pthread_mutex_lock(&w->offer_lock);
	o = w->offer;
	if (!o) {
		/* Who made it has waited for too long. */
	} else if (o->copy) {
		sc_explain_copy(w->c.node, o->copy, o->flow, clock_us());
	} else if (o->pin) {
		o->pinned = sc_node_pin(w->c.node, o->pin, clock_us(), &w->out);
		flush_out(w);
	} else {
		if (w->c.role == SC_WORKER_NODE)
			sc_swap_apply(w->c.node, o->swap);
		else
			take_generation(w, o);
		w->c.counters = o->counters;
	}
	w->offer = NULL;
	pthread_cond_signal(&w->answered);
	pthread_mutex_unlock(&w->offer_lock);
}

/* Microseconds to wait for packets. */
static uint64_t wait_us(const struct sc_worker *w, uint64_t now, uint64_t next_timer,
			uint64_t next_look)
{
	uint64_t until = next_look;

	if (w->c.role == SC_WORKER_NODE && next_timer < until)
		until = next_timer;
	if (w->c.port->fd < 0 && now + SC_TIMER_US < until)
		until = now + SC_TIMER_US;
	return until > now ? until - now : 0;
}

enum { FD_PORT, FD_OUTER, FD_WAKE, FD_COUNT };

static void loop(struct sc_worker *w)
{
	struct pollfd fds[FD_COUNT] = {
		[FD_PORT] = { .fd = w->c.port->fd, .events = POLLIN },
		[FD_OUTER] = { .fd = w->has_outer ? w->outer.udp_fd : -1, .events = POLLIN },
		[FD_WAKE] = { .fd = w->wake_fd, .events = POLLIN },
	};
	uint64_t now = clock_us();
	uint64_t next_timer = now, next_look = now;
	bool port_has_more = false;

	while (!w->error) {
		uint64_t wait = port_has_more ? 0 : wait_us(w, now, next_timer, next_look);
		struct timespec timeout = {
			.tv_sec = (time_t)(wait / SC_S),
			.tv_nsec = (long)(wait % SC_S) * 1000,
		};
		uint64_t woke, wakes;
		int ready = ppoll(fds, FD_COUNT, &timeout, NULL);

		if (ready < 0 && errno != EINTR)
			w->error = -errno;
		if (ready > 0 && fds[FD_WAKE].revents)
			(void)!read(w->wake_fd, &wakes, sizeof(wakes));
		if (w->stopping)
			return;
		woke = clock_us();
		if (w->offer) {
			take_offer(w);
			next_look = woke;
		}
		w->loops++;

		/* Now and then unasked: not every device says that it is gone. */
		if (port_has_more || w->c.port->fd < 0 || (ready > 0 && fds[FD_PORT].revents) ||
		    woke >= next_look)
			port_has_more = from_port(w, woke) == SC_BURST_MAX;
		if (ready > 0 && fds[FD_OUTER].revents)
			handle(w, sc_outer_receive(&w->outer, fresh_burst(w), SC_BURST_MAX), woke);
		if (w->c.role == SC_WORKER_NODE && woke >= next_timer) {
			if (atomic_exchange(&w->survey_asked, false))
				sc_node_survey(w->c.node);
			sc_timers(w->c.node, woke, &w->out);
			flush_out(w);
			next_timer = woke + SC_TIMER_US;
		}
		count_ports(w);
		if (woke >= next_look) {
			refresh_status(w, woke);
			next_look = woke + SC_LOOK_US;
		}
		now = clock_us();
		w->busy_us += now - woke;
	}
}

static void *run(void *arg)
{
	static const char *const names[] = {
		[SC_WORKER_NODE] = "sc-node",
		[SC_WORKER_BACKEND] = "sc-backend",
		[SC_WORKER_SPLITTER] = "sc-splitter",
	};
	struct sc_worker *w = arg;

	pthread_setname_np(pthread_self(), names[w->c.role]);
	loop(w);
	refresh_status(w, clock_us());
	pthread_mutex_lock(&w->offer_lock);
	w->ended = true;
	pthread_cond_signal(&w->answered);
	pthread_mutex_unlock(&w->offer_lock);
	return NULL;
}

static void free_worker(struct sc_worker *w)
{
	if (w->has_outer)
		sc_outer_close(&w->outer);
	if (w->wake_fd >= 0)
		close(w->wake_fd);
	pthread_cond_destroy(&w->answered);
	pthread_mutex_destroy(&w->offer_lock);
	pthread_mutex_destroy(&w->lock);
	free(w->buffers);
	free(w);
}

static int set_up(struct sc_worker *w, const char **what)
{
	int err;

	*what = "buffers";
	w->buffers = aligned_alloc(64, (size_t)SC_BURST_MAX * BUFFER_SIZE);
	if (!w->buffers)
		return -ENOMEM;
	if (w->c.role != SC_WORKER_SPLITTER) {
		err = sc_outer_open(&w->outer, &w->c.address, w->c.udp_port, what);
		if (err)
			return err;
		w->has_outer = true;
	}
	*what = "eventfd";
	w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->wake_fd < 0)
		return -errno;
	*what = "thread";
	return sc_thread_start(&w->thread, run, w);
}

int sc_worker_start(const struct sc_worker_config *c, struct sc_worker **out, const char **what)
{
	struct sc_worker *w = calloc(1, sizeof(*w));
	pthread_condattr_t monotonic;
	int err;

	*what = "worker";
	if (!w)
		return -ENOMEM;
	w->c = *c;
	w->wake_fd = -1;
	pthread_mutex_init(&w->lock, NULL);
	pthread_mutex_init(&w->offer_lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&w->answered, &monotonic);
	pthread_condattr_destroy(&monotonic);
	/* The thread has yet to look; the past is not to be let go of before. */
	w->status.view.recalling = c->memory && sc_memory_file_view(c->memory).past;
	err = set_up(w, what);
	if (err) {
		free_worker(w);
		return err;
	}
	*out = w;
	return 0;
}

void sc_worker_survey(struct sc_worker *w)
{
	w->survey_asked = true;
}

static void wake(struct sc_worker *w)
{
	uint64_t one = 1;

	/* An eventfd takes one unless 2^64 - 2 are in it. */
	(void)!write(w->wake_fd, &one, sizeof(one));
}

void sc_worker_stop(struct sc_worker *w)
{
	w->stopping = true;
	wake(w);
	pthread_join(w->thread, NULL);
	sc_port_close(w->c.port);
	sc_port_close(w->c.split[0]);
	sc_port_close(w->c.split[1]);
	if (w->c.role == SC_WORKER_NODE)
		sc_node_free(w->c.node);
	if (w->c.role == SC_WORKER_BACKEND)
		sc_generation_free(w->c.generation);
	sc_memory_file_close(w->c.memory);
	free_worker(w);
}

/* patience: NULL: for ever. -ESHUTDOWN: the thread had ended before it took the offer;
 * -ETIMEDOUT: it has not looked. */
static int offer(struct sc_worker *w, struct offer *o, const struct timespec *patience)
{
	int err = 0;

	pthread_mutex_lock(&w->offer_lock);
	w->offer = o;
	wake(w);
	while (w->offer && !w->ended && !err)
		err = patience ? -pthread_cond_timedwait(&w->answered, &w->offer_lock, patience) :
				 -pthread_cond_wait(&w->answered, &w->offer_lock);
	if (!w->offer)
		err = 0;
	else if (w->ended)
		err = -ESHUTDOWN;
	w->offer = NULL;
	pthread_mutex_unlock(&w->offer_lock);
	return err;
}

int sc_worker_adopt(struct sc_worker *w, struct sc_generation *g, uint64_t *counters,
		    const char **what)
{
	struct offer o = { .g = g, .counters = counters };
	int err;

	if (w->c.role == SC_WORKER_NODE) {
		err = sc_swap_prepare(w->c.node, g, counters, &o.swap, what);
		if (err) {
			sc_generation_free(g);
			return err;
		}
		o.g = NULL;	/* the swap's */
	}
	*what = "worker";
	err = offer(w, &o, NULL);
	sc_swap_free(o.swap);
	sc_generation_free(o.g);
	return err;
}

int sc_worker_copy(struct sc_worker *w, struct sc_node *copy, uint64_t flow)
{
	struct offer o = { .copy = copy, .flow = flow };

	return offer(w, &o, NULL);
}

int sc_worker_pin(struct sc_worker *w, const struct sc_pin *pin)
{
	struct offer o = { .pin = pin };
	struct timespec until;
	uint64_t ns;
	int err;

	clock_gettime(CLOCK_MONOTONIC, &until);
	ns = (uint64_t)until.tv_nsec + SC_PIN_WAIT_MS * 1000000ull;
	until.tv_sec += (time_t)(ns / 1000000000);
	until.tv_nsec = (long)(ns % 1000000000);
	err = offer(w, &o, &until);
	return err ? err : o.pinned;
}

void sc_worker_look(struct sc_worker *w, struct sc_worker_status *status)
{
	pthread_mutex_lock(&w->lock);
	*status = w->status;
	pthread_mutex_unlock(&w->lock);
	/* Here and not in the thread, whose packets would wait for it. */
	if (w->c.memory && !status->view.recalling)
		sc_memory_file_forget_past(w->c.memory);
}
