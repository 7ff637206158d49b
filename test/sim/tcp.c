/* One end of a TCP connection, as far as a load balancer can tell it from a kernel's
 * (RFC 9293): real sequence numbers, handshake, retransmission with back-off (go back
 * n), half-close, TIME-WAIT, keep-alive, challenge ACKs (RFC 5961). Client and backend
 * run the same code. No window, no reassembly: what is out of order comes again. */
#include "sim.h"

enum {
	WINDOW_SEGMENTS = 8,
	TRIES_MAX = 250,
};

#define RTO_FIRST_US	(600 * SC_MS)
#define RTO_SYN_US	(1 * SC_S)
#define RTO_MAX_US	(8 * SC_S)
#define CHALLENGE_US	(500 * SC_MS)

static void emit(const struct tcp_host *h, const struct tcp *t, uint8_t flags, uint32_t seq, uint16_t len)
{
	h->send(h->w, h->ctx, flags, seq, flags & SC_TCP_ACK ? t->rcv : 0, len);
}

static void acknowledge(const struct tcp_host *h, const struct tcp *t)
{
	emit(h, t, SC_TCP_ACK, t->nxt, 0);
}

/* An answer to what does not fit, at most one in a while, as kernels limit it: two ends
 * that disagree would answer each other for ever (tcp_invalid_ratelimit). */
static void challenge(const struct tcp_host *h, struct tcp *t)
{
	if (t->challenged_us && h->w->now_us - t->challenged_us < CHALLENGE_US)
		return;
	t->challenged_us = h->w->now_us;
	acknowledge(h, t);
}

static void expect_answer(const struct tcp_host *h, struct tcp *t)
{
	t->due_us = h->w->now_us + t->rto_us;
}

static void begin(const struct tcp_host *h, struct tcp *t, uint32_t iss)
{
	t->iss = t->una = iss;
	t->nxt = t->max = t->end = iss + 1;
	t->rto_us = (uint32_t)RTO_SYN_US;
	t->tries = 0;
	expect_answer(h, t);
}

void tcp_connect(const struct tcp_host *h, struct tcp *t, uint32_t iss)
{
	t->state = TCP_SYN_SENT;
	begin(h, t, iss);
	emit(h, t, SC_TCP_SYN, iss, 0);
}

void tcp_accept(const struct tcp_host *h, struct tcp *t, uint32_t iss, uint32_t irs)
{
	t->state = TCP_SYN_RECEIVED;
	t->irs = irs;
	t->rcv = irs + 1;
	begin(h, t, iss);
	emit(h, t, SC_TCP_SYN | SC_TCP_ACK, iss, 0);
}

/* Sends what the window lets go: data, then the FIN. */
void tcp_output(const struct tcp_host *h, struct tcp *t)
{
	uint32_t limit = t->una + WINDOW_SEGMENTS * (uint32_t)t->mss;

	if (t->state != TCP_OPEN || t->fin_acked)
		return;
	while (tcp_before(t->nxt, t->end) && tcp_before(t->nxt, limit)) {
		uint32_t left = t->end - t->nxt;
		uint16_t len = left > t->mss ? t->mss : (uint16_t)left;

		emit(h, t, SC_TCP_ACK | SC_TCP_PSH, t->nxt, len);
		t->nxt += len;
		if (tcp_before(t->max, t->nxt))
			t->max = t->nxt;
	}
	if (t->fin_wanted && t->nxt == t->end) {
		emit(h, t, SC_TCP_ACK | SC_TCP_FIN, t->nxt, 0);
		t->nxt++;
		if (tcp_before(t->max, t->nxt))
			t->max = t->nxt;
		t->closed_first = !t->peer_fin;
	}
	if (t->una == t->max) {
		t->due_us = 0;
	} else if (t->due_us == 0) {
		t->since_us = h->w->now_us;
		expect_answer(h, t);
	}
}

void tcp_timeout(const struct tcp_host *h, struct tcp *t)
{
	t->rto_us = t->rto_us * 2 > RTO_MAX_US ? (uint32_t)RTO_MAX_US : t->rto_us * 2;
	t->tries += t->tries < TRIES_MAX;
	expect_answer(h, t);
	if (t->state == TCP_SYN_SENT) {
		emit(h, t, SC_TCP_SYN, t->iss, 0);
	} else if (t->state == TCP_SYN_RECEIVED) {
		emit(h, t, SC_TCP_SYN | SC_TCP_ACK, t->iss, 0);
	} else if (t->state == TCP_OPEN && t->una != t->max) {
		t->nxt = t->una;
		tcp_output(h, t);
	} else {
		t->due_us = 0;
	}
}

void tcp_keepalive(const struct tcp_host *h, const struct tcp *t)
{
	if (t->state == TCP_OPEN)
		emit(h, t, SC_TCP_ACK, t->una - 1, 0);
}

static enum tcp_verdict in_syn_sent(const struct tcp_host *h, struct tcp *t, const struct segment *s)
{
	bool acks = s->flags & SC_TCP_ACK;

	if (acks && s->ack != t->iss + 1) {
		if (!(s->flags & SC_TCP_RST))
			h->send(h->w, h->ctx, SC_TCP_RST, s->ack, 0, 0);
		return TCP_NOTHING;
	}
	if (s->flags & SC_TCP_RST) {
		if (!acks)
			return TCP_NOTHING;
		t->state = TCP_CLOSED;
		t->due_us = 0;
		return TCP_REFUSED;
	}
	if (!(s->flags & SC_TCP_SYN) || !acks)
		return TCP_NOTHING;
	t->state = TCP_OPEN;
	t->irs = s->seq;
	t->rcv = s->seq + 1;
	t->una = t->iss + 1;
	t->rto_us = (uint32_t)RTO_FIRST_US;
	t->tries = 0;
	t->due_us = 0;
	acknowledge(h, t);
	return TCP_ESTABLISHED;
}

/* What the other end has acknowledged. false: it acknowledges what was never sent. */
static bool take_ack(const struct tcp_host *h, struct tcp *t, uint32_t ack)
{
	if (tcp_before(t->max, ack)) {
		challenge(h, t);
		return false;
	}
	if (!tcp_before(t->una, ack))
		return true;
	t->una = ack;
	if (tcp_before(t->nxt, ack))
		t->nxt = ack;
	t->rto_us = (uint32_t)RTO_FIRST_US;
	t->tries = 0;
	t->due_us = 0;
	if (t->fin_wanted && ack == t->end + 1)
		t->fin_acked = true;
	return true;
}

static void take_data(const struct tcp_host *h, struct tcp *t, const struct segment *s)
{
	uint32_t end = s->seq + s->len;
	bool fin = s->flags & SC_TCP_FIN;

	if (s->len == 0 && !fin) {
		if (s->seq != t->rcv && tcp_before(s->seq, t->rcv))
			challenge(h, t);	/* a keep-alive probe */
		return;
	}
	if (!t->peer_fin && !tcp_before(t->rcv, s->seq) && tcp_before(t->rcv, end + fin)) {
		t->rcv = end;
		if (fin) {
			t->rcv++;
			t->peer_fin = true;
		}
	}
	acknowledge(h, t);
}

enum tcp_verdict tcp_input(const struct tcp_host *h, struct tcp *t, const struct segment *s)
{
	enum tcp_verdict v = TCP_NOTHING;

	if (t->state == TCP_SYN_SENT)
		return in_syn_sent(h, t, s);
	if (t->state == TCP_CLOSED)
		return TCP_NOTHING;
	if (s->flags & SC_TCP_RST) {
		if (t->state == TCP_TIME_WAIT || s->seq != t->rcv) {
			if (!tcp_before(s->seq, t->rcv) && t->state != TCP_TIME_WAIT)
				challenge(h, t);
			return TCP_NOTHING;
		}
		t->state = TCP_CLOSED;
		t->due_us = 0;
		return TCP_RESET;
	}
	if (s->flags & SC_TCP_SYN) {
		if (t->state == TCP_SYN_RECEIVED && s->seq == t->irs)
			emit(h, t, SC_TCP_SYN | SC_TCP_ACK, t->iss, 0);
		else
			challenge(h, t);
		return TCP_NOTHING;
	}
	if (!(s->flags & SC_TCP_ACK))
		return TCP_NOTHING;
	if (t->state == TCP_SYN_RECEIVED) {
		if (s->ack != t->iss + 1) {
			h->send(h->w, h->ctx, SC_TCP_RST, s->ack, 0, 0);
			return TCP_NOTHING;
		}
		t->state = TCP_OPEN;
		v = TCP_ESTABLISHED;
	}
	if (!take_ack(h, t, s->ack))
		return v;
	take_data(h, t, s);
	if (t->fin_acked && t->peer_fin && t->state == TCP_OPEN) {
		t->state = t->closed_first ? TCP_TIME_WAIT : TCP_CLOSED;
		t->due_us = 0;
	}
	return v;
}
