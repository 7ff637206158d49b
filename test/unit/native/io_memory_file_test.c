/* A node's memory in real files: locks between processes, nodes killed in the midst of
 * inserts, and whatever else can be at the path. */
#include "check.h"

#include <errno.h>
#include <linux/limits.h>
#include <signal.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "fleet.h"
#include "io/memory_file.h"
#include "namespace.h"

enum { ENTRIES = 4096, PORTS = 1000, CLIENT = 0xcb007101 };

static const struct sc_memory_id own = {
	.hash_seed = FLEET_SEED, .clock = "this boot", .node = 101,
};

static char dir[64], path[96];

static void make_dir(void)
{
	snprintf(dir, sizeof(dir), "/tmp/steadycast-memory-XXXXXX");
	if (!mkdtemp(dir))
		abort();
	snprintf(path, sizeof(path), "%s/ams-1.flows", dir);
}

static void remove_dir(void)
{
	CHECK_EQ(command("rm -r %s", dir), 0);
}

static const char *beside(const char *ending)
{
	static char name[2][128];
	static int turn;

	turn ^= 1;
	snprintf(name[turn], sizeof(name[turn]), "%s%s", path, ending);
	return name[turn];
}

static bool is_there(const char *name)
{
	struct stat st;

	return lstat(name, &st) == 0;
}

static struct sc_memory_file *open_memory(const struct sc_memory_id *id)
{
	struct sc_memory_file *f = NULL;
	const char *what = "";
	int err = sc_memory_file_open(path, ENTRIES, id, &f, &what);

	if (err) {
		printf("#   %s: %s\n", what, strerror(-err));
		check_fail_at(__FILE__, __LINE__, "the memory opens");
		exit(1);
	}
	return f;
}

/* A memory whose node had filled. */
static void leave_behind(uint64_t alive_us)
{
	struct sc_memory_file *f = open_memory(&own);

	sc_memory_mark(sc_memory_file_view(f).region, alive_us, true);
	sc_memory_file_close(f);
}

TEST("a first start finds nothing and makes a file that its owner alone may read")
{
	struct sc_memory_view v;
	struct sc_memory_file *f;
	struct stat st;

	make_dir();
	f = open_memory(&own);
	v = sc_memory_file_view(f);
	CHECK(v.past == NULL);
	CHECK_STR(v.doubt, NULL);
	CHECK_EQ(sc_memory_mask(v.region), sc_flow_table_mask(ENTRIES));
	CHECK_EQ(stat(path, &st), 0);
	CHECK_EQ(st.st_mode & 07777, 0600);
	CHECK_EQ(st.st_size, sc_memory_size(ENTRIES));
	CHECK(st.st_blocks * 512 >= st.st_size);
	sc_memory_file_close(f);
	CHECK(is_there(path));
	remove_dir();
}

/* A child that opens the memory, says so, and waits to be killed. */
static pid_t holder(void)
{
	int ends[2];
	char byte;
	pid_t pid;

	if (pipe(ends))
		abort();
	pid = fork();
	if (pid == 0) {
		open_memory(&own);
		(void)!write(ends[1], "x", 1);
		for (;;)
			pause();
	}
	close(ends[1]);
	CHECK_EQ(read(ends[0], &byte, 1), 1);
	close(ends[0]);
	return pid;
}

static void kill_child(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

TEST("a second process is refused while the first lives, and not once it is killed")
{
	struct sc_memory_file *f = NULL;
	const char *what = "";
	pid_t pid;

	make_dir();
	pid = holder();
	CHECK_EQ(sc_memory_file_open(path, ENTRIES, &own, &f, &what), -EBUSY);
	CHECK_STR(what, "memory lock");
	CHECK(is_there(path));
	CHECK(!is_there(beside(".past")));
	kill_child(pid);
	f = open_memory(&own);
	CHECK_STR(sc_memory_file_view(f).doubt, "its node had not filled");
	sc_memory_file_close(f);
	remove_dir();
}

TEST("what was left is the past until it was recalled, whoever is killed meanwhile")
{
	struct sc_memory_view v;
	struct sc_memory_file *f;

	make_dir();
	leave_behind(7 * SC_S);
	for (int deaths = 0; deaths < 3; deaths++) {
		f = open_memory(&own);
		v = sc_memory_file_view(f);
		REQUIRE(v.past != NULL);
		CHECK_STR(v.doubt, NULL);
		CHECK_EQ(sc_memory_alive_us(v.past), 7 * SC_S);
		/* Not filled: what it holds is only what it was told. */
		sc_memory_mark(v.region, 8 * SC_S, false);
		sc_memory_file_close(f);
	}
	f = open_memory(&own);
	sc_memory_mark(sc_memory_file_view(f).region, 9 * SC_S, true);
	sc_memory_file_close(f);
	f = open_memory(&own);
	v = sc_memory_file_view(f);
	REQUIRE(v.past != NULL);
	CHECK_EQ(sc_memory_alive_us(v.past), 9 * SC_S);
	sc_memory_file_forget_past(f);
	CHECK(sc_memory_file_view(f).past == NULL);
	CHECK(!is_there(beside(".past")));
	sc_memory_file_close(f);
	remove_dir();
}

static void poke(long offset)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	uint8_t byte;

	CHECK_EQ(pread(fd, &byte, 1, offset), 1);
	byte ^= 1;
	CHECK_EQ(pwrite(fd, &byte, 1, offset), 1);
	close(fd);
}

static void cut_to(long size)
{
	CHECK_EQ(truncate(path, size), 0);
}

static void make_fifo(long unused)
{
	(void)unused;
	CHECK_EQ(unlink(path), 0);
	CHECK_EQ(mkfifo(path, 0600), 0);
}

static void make_link(long unused)
{
	(void)unused;
	CHECK_EQ(rename(path, beside(".elsewhere")), 0);
	CHECK_EQ(symlink(beside(".elsewhere"), path), 0);
}

static void nothing(long unused)
{
	(void)unused;
}

TEST("what is torn, cut, foreign, of another layout or of before the boot is not recalled, and goes")
{
	static const struct sc_memory_id rebooted = { FLEET_SEED, "another boot", 101 };
	static const struct sc_memory_id other_node = { FLEET_SEED, "this boot", 102 };
	static const struct sc_memory_id other_fleet = { FLEET_SEED + 1, "this boot", 101 };
	static const struct {
		void (*damage)(long arg);
		long arg;
		const struct sc_memory_id *id;
		const char *doubt;
	} cases[] = {
		{ poke, 0, &own, "it is no flow table" },
		{ poke, 8, &own, "it is of another layout" },
		{ poke, 12, &own, "its header is damaged" },
		{ poke, 20, &own, "its header is damaged" },
		{ cut_to, 0, &own, "it is no flow table" },
		{ cut_to, SC_MEMORY_HEADER - 1, &own, "it is no flow table" },
		{ cut_to, SC_MEMORY_HEADER, &own, "its header is damaged" },
		{ cut_to, SC_MEMORY_HEADER + 70000, &own, "its header is damaged" },
		{ cut_to, 1 << 20, &own, "its header is damaged" },
		{ make_fifo, 0, &own, "it is no flow table" },
		{ make_link, 0, &own, "it is no flow table" },
		{ nothing, 0, &rebooted, "the machine was started anew since" },
		{ nothing, 0, &other_node, "it is another node's" },
		{ nothing, 0, &other_fleet, "it is another node's" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sc_memory_view v;
		struct sc_memory_file *f;

		make_dir();
		leave_behind(SC_S);
		cases[i].damage(cases[i].arg);
		f = open_memory(cases[i].id);
		v = sc_memory_file_view(f);
		CHECK(v.past == NULL);
		CHECK_STR(v.doubt, cases[i].doubt);
		CHECK(!is_there(beside(".past")));
		CHECK_EQ(sc_memory_mask(v.region), sc_flow_table_mask(ENTRIES));
		CHECK_EQ(sc_memory_alive_us(v.region), 0);
		sc_memory_file_close(f);
		remove_dir();
	}
}

TEST("a table of another size is recalled into one of this size")
{
	struct sc_memory_file *f = NULL;
	const char *what;

	make_dir();
	leave_behind(SC_S);
	REQUIRE(sc_memory_file_open(path, 4 * ENTRIES, &own, &f, &what) == 0);
	REQUIRE(sc_memory_file_view(f).past != NULL);
	CHECK_EQ(sc_memory_mask(sc_memory_file_view(f).past), sc_flow_table_mask(ENTRIES));
	CHECK_EQ(sc_memory_mask(sc_memory_file_view(f).region), sc_flow_table_mask(4 * ENTRIES));
	sc_memory_file_close(f);
	remove_dir();
}

/* In a mount namespace of the child's: a tmpfs with room for so many pages. Its exit code
 * is the number of failed checks. */
static void in_small_tmpfs(void (*test)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		char size[32];

		check_failures = 0;
		snprintf(size, sizeof(size), "size=%zu", 5 * sc_memory_size(ENTRIES) / 2 & ~(size_t)4095);
		if (unshare(CLONE_NEWNS) != 0 && enter_namespace() == NULL && unshare(CLONE_NEWNS) != 0)
			_exit(99);
		if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		    mount("tmpfs", dir, "tmpfs", 0, size))
			_exit(99);
		test();
		_exit((int)check_failures);
	}
	waitpid(pid, &status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 99)
		check_skip_reason = "neither root nor user namespaces with tmpfs";
	else
		CHECK_EQ(status, 0);
}

static void fill_up(off_t size)
{
	int fd = open(beside(".ballast"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	CHECK_EQ(posix_fallocate(fd, 0, size), 0);
	close(fd);
}

static void start_in_half_a_room(void)
{
	struct sc_memory_file *f = NULL;
	const char *what;

	fill_up((off_t)sc_memory_size(ENTRIES));
	CHECK_EQ(sc_memory_file_open(path, ENTRIES, &own, &f, &what), -ENOSPC);
	CHECK_STR(what, "memory file");
	CHECK(!is_there(path));
}

static void restart_in_half_a_room(void)
{
	struct sc_memory_file *f;

	leave_behind(SC_S);
	fill_up((off_t)sc_memory_size(ENTRIES));
	f = open_memory(&own);
	CHECK(sc_memory_file_view(f).past == NULL);
	CHECK_STR(sc_memory_file_view(f).doubt, "there is no room for another table beside it");
	/* All of it is there: no SIGBUS. */
	memset(sc_memory_buckets(sc_memory_file_view(f).region), 0xff,
	       sc_memory_size(ENTRIES) - SC_MEMORY_HEADER);
	sc_memory_file_close(f);
}

TEST("a start needs room for two tables; a restart that finds room for one goes on without its past")
{
	make_dir();
	in_small_tmpfs(start_in_half_a_room);
	if (!check_skip_reason)
		in_small_tmpfs(restart_in_half_a_room);
	remove_dir();
}

TEST("a path that is too long, or in a folder that is not there, is an error that names its step")
{
	struct sc_memory_file *f = NULL;
	char longest[PATH_MAX];
	const char *what;

	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = 0;
	CHECK_EQ(sc_memory_file_open(longest, ENTRIES, &own, &f, &what), -ENAMETOOLONG);
	CHECK_STR(what, "memory lock");
	CHECK_EQ(sc_memory_file_open("/tmp/steadycast-no-such/a", ENTRIES, &own, &f, &what), -ENOENT);
	CHECK(f == NULL);
}

/* The only node of a fleet, whose new flows all go to one of its two backends. */
static struct sc_node *only_node(struct fleet *f, const struct sc_memory_view *v, int backend)
{
	struct sc_node_options o = {
		.boot_id = 100 + (unsigned int)backend, .flow_entries = ENTRIES,
		.memory = v->region, .past = v->past,
	};
	struct plan *plan = malloc(sizeof(*plan));
	struct sc_generation *g;
	const char *why;
	uint8_t *blob;
	size_t len;

	fleet_shape(f, 1, 1, 2);
	fleet_plan(f, plan, 1, 1);
	for (uint32_t i = 0; i < plan->h.slots; i++)
		plan->slot[i] = (uint16_t)(backend - 1);
	blob = plan_pack(plan, &len);
	if (sc_generation_load(blob, len, &g, &why))
		abort();
	f->counters[0] = calloc(sc_counter_slots(g), sizeof(uint64_t));
	if (sc_node_new(&o, g, f->counters[0], &f->node[0]))
		abort();
	free(blob);
	free(plan);
	return f->node[0];
}

/* Flows without an end, each told of when the node has answered for it. */
static void insert_until_killed(int told)
{
	struct sc_memory_file *file = open_memory(&own);
	struct sc_memory_view v = sc_memory_file_view(file);
	struct fleet f;

	only_node(&f, &v, 1);
	f.now_us = 5 * SC_S;
	fleet_run(&f, SC_S);
	for (uint16_t i = 0; i < PORTS; i++) {
		fleet_client(&f, 1, 1, CLIENT, i, SC_TCP_SYN, 0);
		fleet_client(&f, 1, 1, CLIENT, i, SC_TCP_ACK, 10);
		if (i % 16 == 0)
			fleet_run(&f, SC_TIMER_US);
		if (write(told, &i, sizeof(i)) != sizeof(i))
			_exit(1);
	}
	for (;;)
		pause();
}

static unsigned int kill_amid_inserts(unsigned int after)
{
	unsigned int told = 0;
	uint16_t port;
	int ends[2];
	pid_t pid;

	if (pipe(ends))
		abort();
	pid = fork();
	if (pid == 0) {
		close(ends[0]);
		insert_until_killed(ends[1]);
	}
	close(ends[1]);
	while (told < after && read(ends[0], &port, sizeof(port)) == sizeof(port))
		told++;
	kill_child(pid);
	while (read(ends[0], &port, sizeof(port)) == sizeof(port))
		told++;
	close(ends[0]);
	return told;
}

TEST("of a node killed at any moment another one recalls every flow it had answered for")
{
	uint64_t random = check_seed();

	for (int round = 0; round < 8; round++) {
		struct sc_memory_file *file;
		struct sc_memory_view v;
		struct sc_node_view look;
		unsigned int told, broken = 0;
		struct fleet f;

		make_dir();
		told = kill_amid_inserts(1 + (unsigned int)(check_random(&random) % PORTS));
		file = open_memory(&own);
		v = sc_memory_file_view(file);
		REQUIRE(v.past != NULL);
		only_node(&f, &v, 2);
		f.now_us = 60 * SC_S;
		fleet_run(&f, SC_S);
		sc_node_look(f.node[0], f.now_us, &look);
		CHECK(look.filled && !look.recalling);
		sc_memory_file_forget_past(file);
		for (uint16_t port = 0; port < told; port++)
			broken += fleet_client(&f, 1, 1, CLIENT, port, SC_TCP_ACK, 10) !=
				  fleet_backend_ip(1, 1);
		CHECK_EQ(broken, 0);
		CHECK(f.counters[0][SC_C_flows_recalled] >= told);
		CHECK(f.counters[0][SC_C_flows_recalled] <= told + 1);
		fleet_stop(&f);
		sc_memory_file_close(file);
		remove_dir();
	}
}

CHECK_MAIN
