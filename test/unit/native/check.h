/*
 * The C unit tests' harness: one program per file, tests registered where they are written.
 *
 *	#include "check.h"
 *
 *	TEST("a table of one entry finds it")
 *	{
 *		CHECK_EQ(sc_table_count(t), 1);
 *	}
 *
 *	CHECK_MAIN
 *
 * Prints "ok - sentence" or "not ok - sentence" with the place and both values of each failed check, then
 * "# N passed, M failed". Exits 1 when a test failed, or when there was none. A failed check ends its test only
 * when it is a REQUIRE. An argument runs the tests whose sentence contains it.
 *
 * Random tests take their seed from check_seed(): it prints the seed, and STEADYCAST_SEED=0x... replays it.
 */
#ifndef STEADYCAST_TEST_CHECK_H
#define STEADYCAST_TEST_CHECK_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct check_test {
	const char *sentence;
	void (*run)(void);
	struct check_test *next;
};

static struct check_test *check_first;
static struct check_test **check_tail = &check_first;
static const char *check_skip_reason;
static unsigned int check_failures;

static inline void check_register(struct check_test *test)
{
	*check_tail = test;
	check_tail = &test->next;
}

static inline void check_fail_at(const char *file, int line, const char *what)
{
	check_failures++;
	printf("#   %s:%d: %s\n", file, line, what);
}

static inline bool check_true(bool holds, const char *text, const char *file, int line)
{
	char what[512];

	if (holds)
		return true;
	snprintf(what, sizeof(what), "expected: %s", text);
	check_fail_at(file, line, what);
	return false;
}

/* Values go through 128 bits, so that -1 and UINT64_MAX differ and every integer type of C compares as itself. */
static inline bool check_eq(__int128 a, __int128 b, const char *a_text, const char *b_text,
			    const char *file, int line)
{
	char what[512];

	if (a == b)
		return true;
	snprintf(what, sizeof(what), "%s is %s%lld (0x%llx), expected %s = %s%lld (0x%llx)", a_text,
		 a > INT64_MAX ? "unsigned " : "", (long long)a, (unsigned long long)a, b_text,
		 b > INT64_MAX ? "unsigned " : "", (long long)b, (unsigned long long)b);
	check_fail_at(file, line, what);
	return false;
}

static inline void check_hex(const char *name, const uint8_t *bytes, size_t length, size_t differs)
{
	size_t from = differs > 8 ? (differs - 8) & ~(size_t)7 : 0;

	printf("#     %s [%zu..]", name, from);
	for (size_t i = from; i < length && i < from + 32; i++)
		printf(i == differs ? " >%02x<" : " %02x", bytes[i]);
	printf("\n");
}

static inline bool check_mem(const void *a, const void *b, size_t length, const char *a_text,
			     const char *b_text, const char *file, int line)
{
	const uint8_t *left = a;
	const uint8_t *right = b;
	char what[512];

	for (size_t i = 0; i < length; i++) {
		if (left[i] == right[i])
			continue;
		snprintf(what, sizeof(what), "%s differs from %s at byte %zu of %zu", a_text, b_text, i, length);
		check_fail_at(file, line, what);
		check_hex("is      ", left, length, i);
		check_hex("expected", right, length, i);
		return false;
	}
	return true;
}

static inline bool check_str(const char *a, const char *b, const char *a_text, const char *file, int line)
{
	char what[512];

	if (a == b || (a && b && strcmp(a, b) == 0))
		return true;
	snprintf(what, sizeof(what), "%s is \"%s\", expected \"%s\"", a_text, a ? a : "(null)", b ? b : "(null)");
	check_fail_at(file, line, what);
	return false;
}

#define CHECK(cond) check_true((cond), #cond, __FILE__, __LINE__)
#define CHECK_EQ(a, b) check_eq((a), (b), #a, #b, __FILE__, __LINE__)
#define CHECK_MEM(a, b, length) check_mem((a), (b), (length), #a, #b, __FILE__, __LINE__)
#define CHECK_STR(a, b) check_str((a), (b), #a, __FILE__, __LINE__)

/* Ends the test when the condition does not hold: for what the rest of the test cannot do without. */
#define REQUIRE(cond)              \
	do {                       \
		if (!CHECK(cond))  \
			return;    \
	} while (0)

/* Ends the test as skipped, which is a failure under STEADYCAST_CI=1. */
#define SKIP(reason)                          \
	do {                                  \
		check_skip_reason = (reason); \
		return;                       \
	} while (0)

#define CHECK_JOIN_(a, b) a##b
#define CHECK_JOIN(a, b) CHECK_JOIN_(a, b)
#define CHECK_TEST_(sentence_, id)                                                          \
	static void CHECK_JOIN(check_run_, id)(void);                                       \
	static struct check_test CHECK_JOIN(check_test_, id) = { (sentence_),               \
								 CHECK_JOIN(check_run_, id), \
								 NULL };                     \
	__attribute__((constructor)) static void CHECK_JOIN(check_add_, id)(void)           \
	{                                                                                   \
		check_register(&CHECK_JOIN(check_test_, id));                               \
	}                                                                                   \
	static void CHECK_JOIN(check_run_, id)(void)
#define TEST(sentence) CHECK_TEST_(sentence, __LINE__)

__attribute__((unused)) static uint64_t check_seed(void)
{
	const char *given = getenv("STEADYCAST_SEED");
	struct timespec now;
	uint64_t seed;

	clock_gettime(CLOCK_REALTIME, &now);
	seed = given ? strtoull(given, NULL, 0)
		     : (uint64_t)now.tv_nsec * 0x9e3779b97f4a7c15u ^ (uint64_t)now.tv_sec;
	printf("# seed: STEADYCAST_SEED=0x%llx replays this\n", (unsigned long long)seed);
	return seed;
}

/* splitmix64: the next number after *state, which it advances. */
__attribute__((unused)) static uint64_t check_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static inline bool check_run_one(const struct check_test *test, bool skips_fail)
{
	check_failures = 0;
	check_skip_reason = NULL;
	test->run();
	if (check_skip_reason && skips_fail)
		check_fail_at("STEADYCAST_CI", 1, "a skip is a failure here");
	printf("%s - %s", check_failures ? "not ok" : "ok", test->sentence);
	if (check_skip_reason)
		printf(" # SKIP %s", check_skip_reason);
	printf("\n");
	fflush(stdout);
	return check_failures == 0;
}

static inline int check_main(int argc, char **argv)
{
	const char *ci = getenv("STEADYCAST_CI");
	bool skips_fail = ci && strcmp(ci, "1") == 0;
	unsigned int passed = 0;
	unsigned int failed = 0;

	for (const struct check_test *test = check_first; test; test = test->next) {
		if (argc > 1 && !strstr(test->sentence, argv[1]))
			continue;
		if (check_run_one(test, skips_fail))
			passed++;
		else
			failed++;
	}
	printf("# %u passed, %u failed\n", passed, failed);
	return failed || !passed ? 1 : 0;
}

#define CHECK_MAIN                       \
	int main(int argc, char **argv)  \
	{                                \
		return check_main(argc, argv); \
	}

#endif
