/* The memory port: two rings of packets. For tests, benchmarks and the simulator;
 * may be pushed to and taken from by another thread than the one that receives and
 * sends. See port.h. */
#include "port.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

struct slot {
	uint32_t len;
	uint8_t data[SC_PACKET_MAX];
};

struct ring {
	struct slot *slots;
	unsigned int first, count;
};

struct memory_port {
	struct sc_port port;
	pthread_mutex_t lock;
	unsigned int capacity;
	struct ring in, out;
};

static int put(struct memory_port *m, struct ring *r, const uint8_t *data, uint32_t len)
{
	struct slot *s;

	if (len == 0 || len > SC_PACKET_MAX)
		return -EMSGSIZE;
	if (r->count == m->capacity)
		return -ENOBUFS;
	s = &r->slots[(r->first + r->count++) % m->capacity];
	s->len = len;
	memcpy(s->data, data, len);
	return 0;
}

static const struct slot *get(struct memory_port *m, struct ring *r)
{
	const struct slot *s = &r->slots[r->first];

	if (!r->count)
		return NULL;
	r->first = (r->first + 1) % m->capacity;
	r->count--;
	return s;
}

static int memory_receive(struct sc_port *port, struct sc_packet *burst, unsigned int n)
{
	struct memory_port *m = (struct memory_port *)port;
	const struct slot *s;
	unsigned int got = 0;

	pthread_mutex_lock(&m->lock);
	while (got < n && (s = get(m, &m->in))) {
		memcpy(burst[got].data, s->data, s->len);
		burst[got++].len = s->len;
	}
	pthread_mutex_unlock(&m->lock);
	return (int)got;
}

static int memory_send(struct sc_port *port, struct sc_packet *burst, unsigned int n)
{
	struct memory_port *m = (struct memory_port *)port;
	int sent = 0;

	pthread_mutex_lock(&m->lock);
	for (unsigned int i = 0; i < n; i++) {
		if (put(m, &m->out, burst[i].data, burst[i].len)) {
			port->tx_errors++;
			burst[i].len = 0;
		} else {
			sent++;
		}
	}
	pthread_mutex_unlock(&m->lock);
	return sent;
}

static void memory_close(struct sc_port *port)
{
	struct memory_port *m = (struct memory_port *)port;

	pthread_mutex_destroy(&m->lock);
	free(m->in.slots);
	free(m->out.slots);
	free(m);
}

static const struct sc_port_ops memory_ops = {
	.receive = memory_receive,
	.send = memory_send,
	.close = memory_close,
};

int sc_port_memory_open(unsigned int capacity, struct sc_port **out)
{
	struct memory_port *m;

	if (!capacity)
		return -EINVAL;
	m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->in.slots = calloc(capacity, sizeof(struct slot));
	m->out.slots = calloc(capacity, sizeof(struct slot));
	if (!m->in.slots || !m->out.slots) {
		free(m->in.slots);
		free(m->out.slots);
		free(m);
		return -ENOMEM;
	}
	pthread_mutex_init(&m->lock, NULL);
	m->capacity = capacity;
	m->port.ops = &memory_ops;
	m->port.fd = -1;
	*out = &m->port;
	return 0;
}

int sc_port_memory_push(struct sc_port *port, const uint8_t *data, uint32_t len)
{
	struct memory_port *m = (struct memory_port *)port;
	int err;

	pthread_mutex_lock(&m->lock);
	err = put(m, &m->in, data, len);
	pthread_mutex_unlock(&m->lock);
	return err;
}

int sc_port_memory_take(struct sc_port *port, uint8_t *data, uint32_t size)
{
	struct memory_port *m = (struct memory_port *)port;
	const struct slot *s;
	int len = 0;

	pthread_mutex_lock(&m->lock);
	s = m->out.count ? &m->out.slots[m->out.first] : NULL;
	if (s && s->len > size) {
		len = -EMSGSIZE;
	} else if (s) {
		s = get(m, &m->out);
		memcpy(data, s->data, s->len);
		len = (int)s->len;
	}
	pthread_mutex_unlock(&m->lock);
	return len;
}
