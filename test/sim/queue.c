/* What happens next: a heap of four children a parent, ordered by time, then by the order
 * of asking. It moves keys; the tasks themselves stay where they are. */
#include "sim.h"

enum { CHILDREN = 4 };

static bool sooner(const struct queue_key *a, const struct queue_key *b)
{
	return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void grow(struct queue *q)
{
	uint32_t room = q->room ? q->room * 2 : 4096;

	q->heap = realloc(q->heap, room * sizeof(*q->heap));
	q->task = realloc(q->task, room * sizeof(*q->task));
	q->vacant = realloc(q->vacant, room * sizeof(*q->vacant));
	if (!q->heap || !q->task || !q->vacant)
		abort();
	for (uint32_t i = q->room; i < room; i++)
		q->vacant[i] = i;
	q->room = room;
}

void sim_at(struct world *w, uint64_t at_us, task_fn fn, void *p, uint32_t a, uint32_t b)
{
	struct queue *q = &w->queue;
	struct queue_key key;
	uint32_t i;

	if (q->n == q->room)
		grow(q);
	key = (struct queue_key){ at_us < w->now_us ? w->now_us : at_us, q->order++, q->vacant[q->n] };
	q->task[key.task] = (struct task){ fn, p, a, b };
	for (i = q->n++; i > 0 && sooner(&key, &q->heap[(i - 1) / CHILDREN]); i = (i - 1) / CHILDREN)
		q->heap[i] = q->heap[(i - 1) / CHILDREN];
	q->heap[i] = key;
}

/* vacant[n ..] are the places of no task: each that leaves makes one. */
static struct queue_key take_first(struct queue *q)
{
	struct queue_key first = q->heap[0], last = q->heap[--q->n];
	uint32_t i = 0;

	for (;;) {
		uint32_t from = CHILDREN * i + 1, end = from + CHILDREN < q->n ? from + CHILDREN : q->n, best = from;

		if (from >= q->n)
			break;
		for (uint32_t k = from + 1; k < end; k++)
			if (sooner(&q->heap[k], &q->heap[best]))
				best = k;
		if (!sooner(&q->heap[best], &last))
			break;
		q->heap[i] = q->heap[best];
		i = best;
	}
	q->heap[i] = last;
	q->vacant[q->n] = first.task;
	return first;
}

/* Does the next thing, if it is due by until_us. */
bool sim_step(struct world *w, uint64_t until_us)
{
	struct queue_key key;
	struct task t;

	if (w->queue.n == 0 || w->queue.heap[0].at_us > until_us) {
		w->now_us = until_us;
		return false;
	}
	key = take_first(&w->queue);
	t = w->queue.task[key.task];
	w->now_us = key.at_us;
	w->result->tasks++;
	t.fn(w, t.p, t.a, t.b);
	return true;
}

/* What is left owns its memory: a task with a pointer gets it back to free. */
void sim_queue_free(struct world *w)
{
	for (uint32_t i = 0; i < w->queue.n; i++)
		free(w->queue.task[w->queue.heap[i].task].p);
	free(w->queue.heap);
	free(w->queue.task);
	free(w->queue.vacant);
}
