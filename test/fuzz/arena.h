/* Memory of the nodes that are fuzzed: everything that they and their generations allocate lies in one mapping, which
 * goes back to what it was at arena_keep() in the time that it takes to drop the pages written since. Forced into
 * every file of the data path in the fuzzing build only (native/Makefile); the replay program does without. */
#ifndef SC_FUZZ_ARENA_H
#define SC_FUZZ_ARENA_H

#include <stdlib.h>

void *arena_malloc(size_t size);
void *arena_calloc(size_t n, size_t size);
void *arena_aligned_alloc(size_t align, size_t size);
void arena_free(void *p);

void arena_keep(void);
void arena_reset(void);

#ifndef SC_FUZZ_ARENA_ITSELF
#define malloc arena_malloc
#define calloc arena_calloc
#define aligned_alloc arena_aligned_alloc
#define free arena_free
#endif

#endif
