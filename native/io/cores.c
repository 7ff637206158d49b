/* See cores.h. Not MADV_DONTDUMP: the key is also in strings and buffers of JavaScript, which
 * moves them as it likes. */
#include "cores.h"

#include <errno.h>
#include <sys/prctl.h>

int sc_no_cores(void)
{
	return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) ? -errno : 0;
}
