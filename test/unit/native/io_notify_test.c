/* sd_notify(3) to real datagram sockets: by path, by abstract name, and what it refuses. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "check.h"
#include "io/notify.h"

static int listen_at(const char *name, size_t len)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	memcpy(at.sun_path, name, len);
	if (bind(fd, (struct sockaddr *)&at,
		 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) != 0)
		perror("bind");
	return fd;
}

static void heard(int fd, const char *text)
{
	char buffer[64];
	ssize_t n = recv(fd, buffer, sizeof(buffer), 0);

	CHECK_EQ(n, (ssize_t)strlen(text));
	CHECK(n > 0 && memcmp(buffer, text, (size_t)n) == 0);
}

TEST("a datagram comes by path and by abstract name")
{
	char path[64], name[64];
	int by_path, by_name;

	snprintf(path, sizeof(path), "/tmp/sc-notify-%d", (int)getpid());
	snprintf(name, sizeof(name), "@sc-notify-%d", (int)getpid());
	by_path = listen_at(path, strlen(path) + 1);
	CHECK_EQ(sc_notify(path, "READY=1", 7), 0);
	heard(by_path, "READY=1");
	name[0] = '\0';
	by_name = listen_at(name, 1 + strlen(name + 1));
	name[0] = '@';
	CHECK_EQ(sc_notify(name, "WATCHDOG=1\nSTATUS=x", 19), 0);
	heard(by_name, "WATCHDOG=1\nSTATUS=x");
	close(by_path);
	close(by_name);
	unlink(path);
}

TEST("a socket that nobody reads does not block")
{
	int fd = listen_at("\0sc-notify-full", 15), err = 0;

	for (int i = 0; i < 100000 && !err; i++)
		err = sc_notify("@sc-notify-full", "x", 1);
	CHECK_EQ(err, -EAGAIN);
	close(fd);
}

TEST("other kinds of names are refused")
{
	char longest[109], too_long[110];

	CHECK_EQ(sc_notify("", "x", 1), -EINVAL);
	CHECK_EQ(sc_notify("vsock:2:1", "x", 1), -EINVAL);
	CHECK_EQ(sc_notify("relative", "x", 1), -EINVAL);
	CHECK_EQ(sc_notify("/nobody/there", "x", 1), -ENOENT);
	memset(longest, 'n', sizeof(longest));
	longest[0] = '@';
	longest[108] = '\0';
	CHECK_EQ(sc_notify(longest, "x", 1), -ECONNREFUSED);
	memset(too_long, 'n', sizeof(too_long));
	too_long[0] = '@';
	too_long[109] = '\0';
	CHECK_EQ(sc_notify(too_long, "x", 1), -ENAMETOOLONG);
	longest[0] = '/';
	CHECK_EQ(sc_notify(longest, "x", 1), -ENAMETOOLONG);
}

CHECK_MAIN
