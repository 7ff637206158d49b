/* Runs inputs without libFuzzer, each in a process of its own: files, or all files of folders. Part of "make test" with
 * the corpus; scripts/fuzz.mjs uses it to make a finding smaller.
 *
 *	fuzz-replay PATH...			"# N passed, M failed"; exit status 1 if one failed, or there was none
 *	fuzz-replay --trace FILE		one input, every step and call told
 *	fuzz-replay --minimise FILE OUT		the fewest steps and arguments that still fail */
#include <dirent.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fuzz.h"

enum { TIMEOUT_S = 60 };	/* of one input */

struct input {
	uint8_t data[FUZZ_MAX_INPUT];
	size_t len;
};

static unsigned int passed, failed;

static bool read_input(const char *path, struct input *in)
{
	FILE *f = fopen(path, "rb");

	if (!f) {
		perror(path);
		return false;
	}
	in->len = fread(in->data, 1, sizeof(in->data), f);
	fclose(f);
	return true;
}

/* Whether it runs to its end; what goes wrong is said on stderr, or not. */
static bool runs(const struct input *in, bool quiet)
{
	int status = 0;
	pid_t child;

	fflush(NULL);
	child = fork();
	if (child == 0) {
		if (quiet && !freopen("/dev/null", "w", stderr))
			_exit(1);
		alarm(TIMEOUT_S);
		fuzz_run(in->data, in->len);
		_exit(0);
	}
	if (child < 0 || waitpid(child, &status, 0) < 0) {
		perror("fork");
		exit(2);
	}
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void replay_file(const char *path)
{
	struct input in;

	if (read_input(path, &in) && runs(&in, false)) {
		passed++;
	} else {
		failed++;
		printf("not ok - %s\n", path);
	}
}

static void replay(const char *path)
{
	struct dirent **names;
	struct stat st;
	int n;

	if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode)) {
		replay_file(path);
		return;
	}
	n = scandir(path, &names, NULL, alphasort);
	for (int k = 0; k < n; k++) {
		char file[4096];

		snprintf(file, sizeof(file), "%s/%s", path, names[k]->d_name);
		if (names[k]->d_name[0] != '.')
			replay(file);
		free(names[k]);
	}
	if (n >= 0)
		free(names);
}

/* The next step's place. */
static size_t behind(const struct input *in, size_t at)
{
	size_t end = at + 2 + (at + 1 < in->len ? in->data[at + 1] : 0);

	return end < in->len ? end : in->len;
}

static bool take_if_it_fails(struct input *best, const struct input *tried)
{
	if (runs(tried, true))
		return false;
	*best = *tried;
	return true;
}

static bool without_a_step(struct input *best)
{
	for (size_t at = 1; at < best->len; at = behind(best, at)) {
		struct input tried = *best;
		size_t end = behind(best, at);

		memmove(tried.data + at, tried.data + end, tried.len - end);
		tried.len -= end - at;
		if (take_if_it_fails(best, &tried))
			return true;
	}
	return false;
}

/* One argument less, or one that is 0. */
static void with_smaller_arguments(struct input *best)
{
	for (size_t at = 1; at + 1 < best->len; at = behind(best, at)) {
		for (uint8_t k = best->data[at + 1]; k > 0; k--) {
			struct input tried = *best;
			size_t last = at + 1 + k;

			if (last >= tried.len)
				continue;
			if (k == tried.data[at + 1]) {
				memmove(tried.data + last, tried.data + last + 1, tried.len - last - 1);
				tried.len--;
				tried.data[at + 1]--;
				if (take_if_it_fails(best, &tried))
					continue;
				tried = *best;
			}
			if (tried.data[last] == 0)
				continue;
			tried.data[last] = 0;
			take_if_it_fails(best, &tried);
		}
	}
}

static int minimise(const char *from, const char *to)
{
	struct input best;
	FILE *f;

	if (!read_input(from, &best))
		return 2;
	if (runs(&best, true)) {
		fprintf(stderr, "fuzz-replay: %s does not fail here\n", from);
		return 1;
	}
	while (without_a_step(&best))
		;
	with_smaller_arguments(&best);
	f = fopen(to, "wb");
	if (!f || fwrite(best.data, 1, best.len, f) != best.len || fclose(f) != 0) {
		perror(to);
		return 2;
	}
	printf("%s: %zu bytes\n", to, best.len);
	return 0;
}

int main(int argc, char **argv)
{
	struct input in;

	fuzz_init();
	if (argc == 4 && strcmp(argv[1], "--minimise") == 0)
		return minimise(argv[2], argv[3]);
	if (argc == 3 && strcmp(argv[1], "--trace") == 0) {
		if (!read_input(argv[2], &in))
			return 2;
		fuzz_trace = true;
		fuzz_run(in.data, in.len);
		return 0;
	}
	for (int k = 1; k < argc; k++)
		replay(argv[k]);
	printf("# %u passed, %u failed\n", passed, failed);
	return failed || !passed;
}
