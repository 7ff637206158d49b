/*
 * The harness tests itself: what a check accepts here, and what it refuses in a child process, whose output and exit
 * code are what a broken test of the data path would show.
 */
#include "check.h"

#include <sys/wait.h>
#include <unistd.h>

struct child {
	int exit_code;
	char output[4096];
};

static bool child_fails;
static bool child_skips;

/* Runs the harness again on the one test whose sentence is "child", in a process of its own. */
static struct child run_child(const char *ci)
{
	struct child child = { .exit_code = -1 };
	char *argv[] = { (char *)"check_test", (char *)"child of", NULL };
	size_t used = 0;
	int fds[2];
	int status;
	ssize_t n;
	pid_t pid;

	fflush(stdout);
	if (pipe(fds) != 0)
		return child;
	pid = fork();
	if (pid == 0) {
		dup2(fds[1], STDOUT_FILENO);
		if (ci)
			setenv("STEADYCAST_CI", ci, 1);
		else
			unsetenv("STEADYCAST_CI");
		status = check_main(2, argv);
		fflush(stdout);
		_exit(status);
	}
	close(fds[1]);
	while ((n = read(fds[0], child.output + used, sizeof(child.output) - 1 - used)) > 0)
		used += (size_t)n;
	close(fds[0]);
	if (waitpid(pid, &status, 0) == pid && WIFEXITED(status))
		child.exit_code = WEXITSTATUS(status);
	return child;
}

TEST("the child of the tests below does what they ask for")
{
	if (child_skips)
		SKIP("asked to");
	CHECK_EQ(child_fails ? 41 : 42, 42);
	CHECK_MEM(child_fails ? "abc" : "abd", "abd", 3);
}

TEST("a passed test is counted and the program exits 0")
{
	struct child child = run_child(NULL);

	CHECK_EQ(child.exit_code, 0);
	CHECK(strstr(child.output, "# 1 passed, 0 failed"));
}

TEST("a failed check names the place and both values, and the program exits 1")
{
	struct child child;

	child_fails = true;
	child = run_child(NULL);
	child_fails = false;
	CHECK_EQ(child.exit_code, 1);
	CHECK(strstr(child.output, "is 41 (0x29), expected 42 = 42 (0x2a)"));
	CHECK(strstr(child.output, "check_test.c:"));
	CHECK(strstr(child.output, "at byte 2 of 3"));
	CHECK(strstr(child.output, "not ok - the child"));
	CHECK(strstr(child.output, "# 0 passed, 1 failed"));
}

TEST("a skip passes, and fails under STEADYCAST_CI=1")
{
	struct child child;

	child_skips = true;
	child = run_child(NULL);
	CHECK_EQ(child.exit_code, 0);
	CHECK(strstr(child.output, "# SKIP asked to"));
	child = run_child("1");
	CHECK_EQ(child.exit_code, 1);
	child_skips = false;
}

TEST("minus one and the largest unsigned number differ")
{
	CHECK(!check_eq(-1, (__int128)UINT64_MAX, "a", "b", "expected failure", 0));
	CHECK_EQ(check_failures, 1);
	check_failures = 0;
}

CHECK_MAIN
