/* Threads of this addon: worker.c's and watch.c's. Guarantees: signals are the process's
 * business, a thread starts with all of them blocked. */
#ifndef SC_THREAD_H
#define SC_THREAD_H

#include <pthread.h>
#include <signal.h>

/* What pthread_create() says, as -errno. */
static inline int sc_thread_start(pthread_t *thread, void *(*run)(void *), void *arg)
{
	sigset_t all, before;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	err = -pthread_create(thread, NULL, run, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return err;
}

#endif
