/* What happens next: a binary heap ordered by time, then by the order of asking. */
#include "sim.h"

static bool sooner(const struct task *a, const struct task *b)
{
	return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

void sim_at(struct world *w, uint64_t at_us, task_fn fn, void *p, uint32_t a, uint32_t b)
{
	struct queue *q = &w->queue;
	struct task t = { at_us < w->now_us ? w->now_us : at_us, q->order++, fn, p, a, b };
	uint32_t i;

	if (q->n == q->room) {
		q->room = q->room ? q->room * 2 : 4096;
		q->heap = realloc(q->heap, q->room * sizeof(*q->heap));
		if (!q->heap)
			abort();
	}
	for (i = q->n++; i > 0 && sooner(&t, &q->heap[(i - 1) / 2]); i = (i - 1) / 2)
		q->heap[i] = q->heap[(i - 1) / 2];
	q->heap[i] = t;
}

static struct task take_first(struct queue *q)
{
	struct task first = q->heap[0], last = q->heap[--q->n];
	uint32_t i = 0;

	for (;;) {
		uint32_t child = 2 * i + 1;

		if (child >= q->n)
			break;
		if (child + 1 < q->n && sooner(&q->heap[child + 1], &q->heap[child]))
			child++;
		if (!sooner(&q->heap[child], &last))
			break;
		q->heap[i] = q->heap[child];
		i = child;
	}
	q->heap[i] = last;
	return first;
}

/* Does the next thing, if it is due by until_us. */
bool sim_step(struct world *w, uint64_t until_us)
{
	struct task t;

	if (w->queue.n == 0 || w->queue.heap[0].at_us > until_us) {
		w->now_us = until_us;
		return false;
	}
	t = take_first(&w->queue);
	w->now_us = t.at_us;
	w->result->tasks++;
	t.fn(w, t.p, t.a, t.b);
	return true;
}

/* What is left owns its memory: a task with a pointer gets it back to free. */
void sim_queue_free(struct world *w)
{
	for (uint32_t i = 0; i < w->queue.n; i++)
		free(w->queue.heap[i].p);
	free(w->queue.heap);
}
