/* Socket buffers and sending in bursts; see socket.h. */
#include "socket.h"

#include <errno.h>

static void set_buffer(int fd, int force, int plain)
{
	int size = SC_SOCKET_BUFFER;

	if (setsockopt(fd, SOL_SOCKET, force, &size, sizeof(size)))
		(void)!setsockopt(fd, SOL_SOCKET, plain, &size, sizeof(size));
}

void sc_receive_buffer(int fd)
{
	set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF);
}

void sc_send_buffer(int fd)
{
	set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF);
}

unsigned int sc_send_all(int fd, struct mmsghdr *messages, unsigned int n, unsigned int *refused)
{
	unsigned int nrefused = 0;
	unsigned int i = 0;

	while (i < n) {
		int sent = sendmmsg(fd, messages + i, n - i, MSG_DONTWAIT);

		if (sent > 0) {
			i += (unsigned int)sent;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno == EAGAIN) {
			while (i < n)
				refused[nrefused++] = i++;
			break;
		}
		refused[nrefused++] = i++;
	}
	return nrefused;
}
