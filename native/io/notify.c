/* sd_notify(3); see notify.h. The kernel tells the receiver who sent: the process's id goes
 * with every datagram without our doing, and outlives the socket. */
#include "notify.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int sc_notify(const char *socket_name, const char *text, size_t len)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	size_t name_len = strlen(socket_name);
	socklen_t to_len;
	int fd, err = 0;

	if (socket_name[0] != '/' && socket_name[0] != '@')
		return -EINVAL;
	/* An abstract name has no end mark. */
	if (name_len + (socket_name[0] == '/') > sizeof(to.sun_path))
		return -ENAMETOOLONG;
	memcpy(to.sun_path, socket_name, name_len);
	if (to.sun_path[0] == '@')
		to.sun_path[0] = '\0';
	to_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + name_len +
			     (socket_name[0] == '/'));
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (sendto(fd, text, len, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&to, to_len) < 0)
		err = -errno;
	close(fd);
	return err;
}
