/* Mutations that keep an input a program of steps: whole steps come, go, double and change places, and the arguments of
 * one are mutated by libFuzzer without moving the others. Called by libFuzzer. See fuzz.h. */
#include "fuzz.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len, uint8_t *out,
				 size_t max, unsigned int seed);

struct step {
	uint8_t row, n;
	uint8_t args[FUZZ_MAX_ARGS];
};

struct program {
	uint8_t options;
	unsigned int steps;
	struct step step[FUZZ_MAX_STEPS];
};

static uint64_t rnd;

/* splitmix64. */
static uint32_t below(uint32_t n)
{
	uint64_t z = rnd += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return (uint32_t)((z ^ (z >> 31)) >> 32) % n;
}

static void unpack(struct program *p, const uint8_t *data, size_t len)
{
	size_t at = 1;

	p->options = len ? data[0] : 0;
	p->steps = 0;
	while (at + 2 <= len && p->steps < FUZZ_MAX_STEPS) {
		struct step *s = &p->step[p->steps++];

		s->row = data[at];
		s->n = data[at + 1];
		at += 2;
		if (s->n > len - at)
			s->n = (uint8_t)(len - at);
		memcpy(s->args, data + at, s->n);
		at += s->n;
	}
}

static size_t pack(const struct program *p, uint8_t *data, size_t max)
{
	size_t at = 1;

	if (max == 0)
		return 0;
	data[0] = p->options;
	for (unsigned int k = 0; k < p->steps && at + 2 + p->step[k].n <= max; k++) {
		data[at] = p->step[k].row;
		data[at + 1] = p->step[k].n;
		memcpy(data + at + 2, p->step[k].args, p->step[k].n);
		at += 2 + p->step[k].n;
	}
	return at;
}

/* Small numbers mean more than large ones; 0 is the usual thing. */
static uint8_t argument(void)
{
	switch (below(4)) {
	case 0:
		return 0;
	case 1:
		return (uint8_t)below(8);
	case 2:
		return (uint8_t)(1 << below(8));
	default:
		return (uint8_t)below(256);
	}
}

/* Every other one is bent in few places, if in any. */
static void fresh_step(struct step *s)
{
	bool tame = below(2);

	do
		s->row = (uint8_t)below(fuzz_step_count);
	while (fuzz_steps[s->row].slow && below(4));
	s->n = fuzz_steps[s->row].args;
	if (s->n)
		s->n = (uint8_t)below(s->n + 1u);
	for (unsigned int k = 0; k < s->n; k++)
		s->args[k] = tame && below(4) ? 0 : argument();
}

static void insert_step(struct program *p, const struct step *s)
{
	unsigned int at = below(p->steps + 1);

	if (p->steps == FUZZ_MAX_STEPS)
		at = FUZZ_MAX_STEPS - 1;
	else
		memmove(&p->step[at + 1], &p->step[at], (p->steps++ - at) * sizeof(*s));
	p->step[at] = *s;
}

static void mutate_arguments(struct step *s)
{
	unsigned int at;

	switch (below(6)) {
	case 0:		/* longer */
		if (s->n < FUZZ_MAX_ARGS)
			s->args[s->n++] = argument();
		break;
	case 1:		/* shorter: the rest is as usual */
		if (s->n > 0)
			s->n = (uint8_t)below(s->n);
		break;
	case 2:
	case 3:
		if (s->n > 0)
			s->args[below(s->n)] = argument();
		break;
	case 4:
		if (s->n > 0) {
			at = below(s->n);
			s->args[at] = (uint8_t)(s->args[at] + (below(2) ? 1 : -1));
		}
		break;
	default:
		if (s->n > 0)
			s->n = (uint8_t)LLVMFuzzerMutate(s->args, s->n, FUZZ_MAX_ARGS);
		break;
	}
}

static void mutate(struct program *p)
{
	unsigned int at = p->steps ? below(p->steps) : 0, other;
	struct step s;

	switch (p->steps ? below(10) : 0) {
	case 0:
	case 1:
		fresh_step(&s);
		insert_step(p, &s);
		break;
	case 2:		/* twice */
		s = p->step[at];
		insert_step(p, &s);
		break;
	case 3:
		memmove(&p->step[at], &p->step[at + 1], (--p->steps - at) * sizeof(s));
		break;
	case 4:		/* two change places */
		s = p->step[at];
		other = below(p->steps);
		p->step[at] = p->step[other];
		p->step[other] = s;
		break;
	case 5:
		if (below(4) == 0) {
			p->options ^= FUZZ_OUTER6;
			break;
		}
		/* fall through */
	default:
		mutate_arguments(&p->step[at]);
		break;
	}
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	static struct program p;

	rnd = seed;
	unpack(&p, data, size);
	for (uint32_t times = 1 + below(3); times > 0; times--)
		mutate(&p);
	return pack(&p, data, max_size);
}

size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len, uint8_t *out,
				 size_t max, unsigned int seed)
{
	static struct program p, q;
	unsigned int from, head;

	rnd = seed;
	unpack(&p, a, a_len);
	unpack(&q, b, b_len);
	head = below(p.steps + 1);
	from = below(q.steps + 1);
	for (p.steps = head; p.steps < FUZZ_MAX_STEPS && from < q.steps; from++)
		p.step[p.steps++] = q.step[from];
	return pack(&p, out, max);
}
