/* A node's own memory in a file; see memory_file.h. */
#include "memory_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MODE = 0600 };

struct region {
	void *at;	/* NULL: none */
	size_t size;
};

struct sc_memory_file {
	char path[PATH_MAX], past_path[PATH_MAX];
	int lock_fd;
	struct region own, past;
	const char *doubt;
};

static void unmap(struct region *r)
{
	if (r->at)
		munmap(r->at, r->size);
	r->at = NULL;
}

static int lock(struct sc_memory_file *f, const char *path)
{
	char name[PATH_MAX];

	if ((size_t)snprintf(f->path, PATH_MAX, "%s", path) >= PATH_MAX ||
	    (size_t)snprintf(f->past_path, PATH_MAX, "%s.past", path) >= PATH_MAX ||
	    (size_t)snprintf(name, PATH_MAX, "%s.lock", path) >= PATH_MAX)
		return -ENAMETOOLONG;
	f->lock_fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, MODE);
	if (f->lock_fd < 0)
		return -errno;
	if (!flock(f->lock_fd, LOCK_EX | LOCK_NB))
		return 0;
	return errno == EWOULDBLOCK ? -EBUSY : -errno;
}

/* Maps what is at path if it can be recalled. Whatever else is there goes: *doubt says why. */
static void take_past(const char *path, const struct sc_memory_id *id, struct region *r,
		      const char **doubt)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;

	*doubt = NULL;
	if (fd < 0 && errno == ENOENT)
		return;
	if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size == 0) {
		*doubt = "it is no flow table";
	} else {
		r->size = (size_t)st.st_size;
		r->at = mmap(NULL, r->size, PROT_READ, MAP_PRIVATE, fd, 0);
		if (r->at == MAP_FAILED) {
			r->at = NULL;
			*doubt = "it cannot be mapped";
		} else {
			*doubt = sc_memory_doubt(r->at, r->size, id);
		}
	}
	if (fd >= 0)
		close(fd);
	if (*doubt) {
		unmap(r);
		unlink(path);
	}
}

/* The newer table, or, when its node died before it had recalled the one before it, that. */
static int find_past(struct sc_memory_file *f, const struct sc_memory_id *id)
{
	const char *older_doubt;

	take_past(f->path, id, &f->past, &f->doubt);
	if (f->past.at)
		return rename(f->path, f->past_path) ? -errno : 0;
	take_past(f->past_path, id, &f->past, &older_doubt);
	if (f->past.at)
		f->doubt = NULL;
	else if (!f->doubt)
		f->doubt = older_doubt;
	return 0;
}

/* Allocates all of it, in a place that has room for so many of them. */
static int fill(int fd, off_t size, int tables)
{
	int err;

	do {
		err = -posix_fallocate(fd, 0, size * tables);
	} while (err == -EINTR);
	if (err)
		return err;
	return ftruncate(fd, size) ? -errno : 0;
}

static int create(struct sc_memory_file *f, uint32_t entries, const struct sc_memory_id *id,
		  int tables)
{
	int fd = open(f->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, MODE);
	int err;

	if (fd < 0)
		return -errno;
	f->own.size = sc_memory_size(entries);
	err = fill(fd, (off_t)f->own.size, tables);
	if (!err) {
		f->own.at = mmap(NULL, f->own.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (f->own.at == MAP_FAILED) {
			f->own.at = NULL;
			err = -errno;
		}
	}
	close(fd);
	if (err)
		unlink(f->path);
	else
		sc_memory_init(f->own.at, entries, id);
	return err;
}

static int open_all(struct sc_memory_file *f, const char *path, uint32_t entries,
		    const struct sc_memory_id *id, const char **what)
{
	int err;

	*what = "memory lock";
	err = lock(f, path);
	if (err)
		return err;
	*what = "memory of before";
	err = find_past(f, id);
	if (err)
		return err;
	*what = "memory file";
	/* The first one makes sure that there is room for another beside it, as a restart needs. */
	err = create(f, entries, id, f->past.at ? 1 : 2);
	if (err == -ENOSPC && f->past.at) {
		/* A node that starts without its past is better than none. */
		sc_memory_file_forget_past(f);
		f->doubt = "there is no room for another table beside it";
		err = create(f, entries, id, 1);
	}
	return err;
}

int sc_memory_file_open(const char *path, uint32_t entries, const struct sc_memory_id *id,
			struct sc_memory_file **out, const char **what)
{
	struct sc_memory_file *f = calloc(1, sizeof(*f));
	int err;

	*what = "memory";
	if (!f)
		return -ENOMEM;
	f->lock_fd = -1;
	err = open_all(f, path, entries, id, what);
	if (err) {
		sc_memory_file_close(f);
		return err;
	}
	*out = f;
	return 0;
}

struct sc_memory_view sc_memory_file_view(const struct sc_memory_file *f)
{
	return (struct sc_memory_view){ f->own.at, f->past.at, f->doubt };
}

void sc_memory_file_forget_past(struct sc_memory_file *f)
{
	if (!f->past.at)
		return;
	unmap(&f->past);
	unlink(f->past_path);
}

void sc_memory_file_close(struct sc_memory_file *f)
{
	if (!f)
		return;
	unmap(&f->own);
	unmap(&f->past);
	if (f->lock_fd >= 0)
		close(f->lock_fd);
	free(f);
}
