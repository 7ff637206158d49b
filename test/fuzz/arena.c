/* See arena.h. A bump allocator over a memfd: shared while the fleets are built, private and copied on write after
 * that, so that MADV_DONTNEED undoes what an input did. AddressSanitizer is told of the gaps between blocks and of
 * what was freed; nothing is used twice before the next reset. */
#define SC_FUZZ_ARENA_ITSELF
#include "arena.h"

#include <sanitizer/asan_interface.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
	ARENA_BYTES = 128 << 20,
	ARENA_ALIGN = 64,
	ARENA_GAP = 64,		/* before each block; the block's size is at its beginning */
	ARENA_FREED = 4096,	/* blocks given back by one input */
};

static struct {
	uint8_t *base;
	int fd;
	size_t used, kept;	/* kept: of it, at arena_keep() */
	void *freed[ARENA_FREED];
	size_t nfreed;
} arena;

static _Noreturn void refuse(const char *what)
{
	perror(what);
	abort();
}

static void begin(void)
{
	arena.fd = memfd_create("steadycast-fuzz", MFD_CLOEXEC);
	if (arena.fd < 0 || ftruncate(arena.fd, ARENA_BYTES) < 0)
		refuse("fuzz: memfd");
	arena.base = mmap(NULL, ARENA_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, arena.fd, 0);
	if (arena.base == MAP_FAILED)
		refuse("fuzz: mmap");
	ASAN_POISON_MEMORY_REGION(arena.base, ARENA_BYTES);
}

/* Memory is zero: nothing is used twice. */
void *arena_malloc(size_t size)
{
	size_t at = arena.used + ARENA_GAP;
	size_t end = (at + size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
	uint8_t *p;

	if (!arena.base)
		begin();
	if (size > ARENA_BYTES || end > ARENA_BYTES) {
		fprintf(stderr, "fuzz: ARENA_BYTES is too small\n");
		abort();
	}
	p = arena.base + at;
	arena.used = end;
	ASAN_UNPOISON_MEMORY_REGION(p - ARENA_GAP, sizeof(size));
	*(size_t *)(p - ARENA_GAP) = size;
	ASAN_POISON_MEMORY_REGION(p - ARENA_GAP, sizeof(size));
	ASAN_UNPOISON_MEMORY_REGION(p, size);
	return p;
}

void *arena_calloc(size_t n, size_t size)
{
	return arena_malloc(n * size);
}

void *arena_aligned_alloc(size_t align, size_t size)
{
	return align > ARENA_ALIGN ? NULL : arena_malloc(size);
}

static size_t size_of(void *p)
{
	uint8_t *head = (uint8_t *)p - ARENA_GAP;
	size_t size;

	ASAN_UNPOISON_MEMORY_REGION(head, sizeof(size));
	size = *(size_t *)head;
	ASAN_POISON_MEMORY_REGION(head, sizeof(size));
	return size;
}

void arena_free(void *p)
{
	if (!p)
		return;
	if (__asan_address_is_poisoned(p) && size_of(p) > 0) {
		fprintf(stderr, "fuzz: freed twice, or never allocated: %p\n", p);
		abort();
	}
	ASAN_POISON_MEMORY_REGION(p, size_of(p));
	if (arena.kept && arena.nfreed < ARENA_FREED)
		arena.freed[arena.nfreed++] = p;
}

void arena_keep(void)
{
	if (mmap(arena.base, ARENA_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, arena.fd, 0) ==
	    MAP_FAILED)
		refuse("fuzz: mmap");
	arena.kept = arena.used;
}

void arena_reset(void)
{
	for (size_t i = 0; i < arena.nfreed; i++)
		if ((uint8_t *)arena.freed[i] < arena.base + arena.kept)
			ASAN_UNPOISON_MEMORY_REGION(arena.freed[i], size_of(arena.freed[i]));
	ASAN_POISON_MEMORY_REGION(arena.base + arena.kept, arena.used - arena.kept);
	arena.nfreed = 0;
	arena.used = arena.kept;
	if (madvise(arena.base, ARENA_BYTES, MADV_DONTNEED) < 0)
		refuse("fuzz: madvise");
}
