/* See watch.h. A cooked packet socket: the kernel takes the link header off. */
#include "watch.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "thread.h"

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING	23
#endif

enum {
	BURST = 32,
	ROOM = 65536,			/* what receive offload merges is no longer */
	SOCKET_BUFFER = 16 << 20,	/* asked for; the kernel may give less */
	TICK_MS = 250,
};

struct sc_watch {
	struct sc_observer *observer;	/* under lock */
	pthread_mutex_t lock;
	pthread_t thread;
	atomic_bool stopping;
	int fd, wake_fd;
	int error;			/* under lock */
	uint64_t lost;			/* under lock */
	struct mmsghdr messages[BURST];
	struct iovec iov[BURST];
	uint8_t *buffers;
};

static uint64_t clock_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SC_S + (uint64_t)t.tv_nsec / 1000;
}

/* Reading them clears them. */
static void count_lost(struct sc_watch *w)
{
	struct tpacket_stats stats;
	socklen_t len = sizeof(stats);

	if (getsockopt(w->fd, SOL_PACKET, PACKET_STATISTICS, &stats, &len) == 0)
		w->lost += stats.tp_drops;
}

/* How many were there, or -errno. */
static int take(struct sc_watch *w)
{
	int n = recvmmsg(w->fd, w->messages, BURST, MSG_DONTWAIT, NULL);
	uint64_t now = clock_us();

	if (n < 0)
		return errno == EAGAIN || errno == EINTR || errno == ENETDOWN ? 0 : -errno;
	pthread_mutex_lock(&w->lock);
	for (int i = 0; i < n; i++)
		sc_observe_packet(w->observer, w->iov[i].iov_base, w->messages[i].msg_len, now);
	pthread_mutex_unlock(&w->lock);
	return n;
}

static void *run(void *arg)
{
	struct sc_watch *w = arg;
	struct pollfd fds[2] = { { .fd = w->fd, .events = POLLIN }, { .fd = w->wake_fd, .events = POLLIN } };
	uint64_t next_tick = clock_us();
	int n = 0;

	pthread_setname_np(pthread_self(), "sc-observe");
	while (!w->stopping && n >= 0) {
		if (n == 0)
			poll(fds, 2, TICK_MS);
		n = take(w);
		if (clock_us() < next_tick)
			continue;
		pthread_mutex_lock(&w->lock);
		sc_observe_tick(w->observer, clock_us());
		count_lost(w);
		pthread_mutex_unlock(&w->lock);
		next_tick = clock_us() + TICK_MS * SC_MS;
	}
	pthread_mutex_lock(&w->lock);
	w->error = n < 0 ? n : 0;
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

static int open_socket(struct sc_watch *w, const char *device)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	int one = 1, room = SOCKET_BUFFER;

	at.sll_ifindex = (int)if_nametoindex(device);
	if (at.sll_ifindex == 0)
		return -ENODEV;
	/* Protocol 0: nothing comes before it is bound to its device. */
	w->fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (w->fd < 0)
		return -errno;
	setsockopt(w->fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	setsockopt(w->fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	if (setsockopt(w->fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) ||
	    bind(w->fd, (struct sockaddr *)&at, sizeof(at)))
		return -errno;
	w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return w->wake_fd < 0 ? -errno : 0;
}

static void release(struct sc_watch *w)
{
	if (w->fd >= 0)
		close(w->fd);
	if (w->wake_fd >= 0)
		close(w->wake_fd);
	pthread_mutex_destroy(&w->lock);
	free(w->buffers);
	free(w);
}

int sc_watch_start(const char *device, struct sc_observer *o, struct sc_watch **out)
{
	struct sc_watch *w = calloc(1, sizeof(*w));
	int err;

	if (!w)
		return -ENOMEM;
	w->fd = w->wake_fd = -1;
	w->observer = o;
	pthread_mutex_init(&w->lock, NULL);
	w->buffers = malloc((size_t)BURST * ROOM);
	err = w->buffers ? open_socket(w, device) : -ENOMEM;
	for (int i = 0; i < BURST && !err; i++) {
		w->iov[i] = (struct iovec){ w->buffers + (size_t)i * ROOM, ROOM };
		w->messages[i].msg_hdr = (struct msghdr){ .msg_iov = &w->iov[i], .msg_iovlen = 1 };
	}
	if (!err) {
		sc_observe_start(o, clock_us());
		err = sc_thread_start(&w->thread, run, w);
	}
	if (err)
		release(w);
	else
		*out = w;
	return err;
}

void sc_watch_look(struct sc_watch *w, struct sc_observe_report *report, int *error, uint64_t *lost)
{
	pthread_mutex_lock(&w->lock);
	sc_observe_settle(w->observer);
	*report = *sc_observe_report(w->observer);
	*error = w->error;
	*lost = w->lost;
	pthread_mutex_unlock(&w->lock);
}

void sc_watch_stop(struct sc_watch *w)
{
	uint64_t one = 1;

	w->stopping = true;
	(void)!write(w->wake_fd, &one, sizeof(one));
	pthread_join(w->thread, NULL);
	sc_observe_free(w->observer);
	release(w);
}
