/* No core file of a process that has a key: what the kernel says of it. */
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "io/cores.h"

TEST("a process that asked for it is not dumpable, and what it starts is")
{
	int status = 0;
	pid_t child;

	CHECK_EQ(sc_no_cores(), 0);
	CHECK_EQ(prctl(PR_GET_DUMPABLE), 0);
	child = fork();
	if (child == 0) {
		execl("/bin/sh", "sh", "-c", "test -O /proc/self/environ", (char *)NULL);
		_exit(127);
	}
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK_EQ(status, 0);
}

CHECK_MAIN
