/* A network namespace for a test program that needs a kernel of its own. */
#ifndef STEADYCAST_TEST_NAMESPACE_H
#define STEADYCAST_TEST_NAMESPACE_H

#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
	PATIENCE_MS = 20000,	/* until a test gives up; none takes a tenth of it */
};

/* Runs a shell command in which %s is device, up to three times. */
static inline int command(const char *format, const char *device)
{
	char text[256], line[512];

	snprintf(text, sizeof(text), format, device, device, device);
	snprintf(line, sizeof(line), "PATH=$PATH:/sbin:/usr/sbin; %s", text);
	return system(line);
}

static inline bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return done;
}

/* Into a network namespace of our own, once. NULL, or why not. */
static inline const char *enter_namespace(void)
{
	static bool inside;
	char map[64];

	if (inside)
		return NULL;
	snprintf(map, sizeof(map), "0 %d 1", (int)getuid());
	if (unshare(CLONE_NEWNET) != 0) {
		if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
			return "neither root nor user namespaces";
		if (!write_file("/proc/self/setgroups", "deny") ||
		    !write_file("/proc/self/uid_map", map))
			return "user namespaces do not let a user be root in them";
	}
	if (command("ip link set lo up", "") != 0)
		return "no ip command";
	inside = true;
	return NULL;
}

static inline int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

#endif
