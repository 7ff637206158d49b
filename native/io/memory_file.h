/* A node's own memory in a file, which outlives the process: PATH on a tmpfs, beside it
 * PATH.past, what an earlier life left and this one has yet to recall, and PATH.lock.
 * Opened by napi.c, owned by the node's worker. See ../memory.h.
 * Guarantees: one process at a time; all of the file is there before it is written to, so
 * that a full tmpfs is an error here and no SIGBUS later; what cannot be trusted is said
 * and removed; a process that dies at any moment leaves the better of the two tables. */
#ifndef SC_MEMORY_FILE_H
#define SC_MEMORY_FILE_H

#include "../memory.h"

struct sc_memory_file;

struct sc_memory_view {
	void *region;		/* empty, for at least the entries asked for */
	void *past;		/* to be recalled, read-only; NULL: there is nothing */
	const char *doubt;	/* why what was there is not recalled; NULL: no doubt */
};

/* Opens the memory of id at path. -EBUSY: another process has it; -ENOSPC: no room for
 * two tables, which a restart takes for a moment; -ENAMETOOLONG, -EACCES, -EROFS, ...;
 * *what names the step that failed. */
int sc_memory_file_open(const char *path, uint32_t entries, const struct sc_memory_id *id,
			struct sc_memory_file **out, const char **what);

struct sc_memory_view sc_memory_file_view(const struct sc_memory_file *f);

/* The past was recalled, and nobody reads it any more: it goes. */
void sc_memory_file_forget_past(struct sc_memory_file *f);

/* Lets go of the files, which stay: the next life recalls them. NULL is fine. */
void sc_memory_file_close(struct sc_memory_file *f);

#endif
