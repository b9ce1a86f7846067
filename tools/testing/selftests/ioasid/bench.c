// SPDX-License-Identifier: GPL-2.0-only
/*
 * What it costs to give memory to devices, in instructions, through each of the
 * interfaces that Linux has for it. Runs in QEMU with -icount shift=0, where the
 * time stamp counter counts the instructions of the guest.
 *
 *	bench <candidate> [<row>...]
 *	bench <candidate> profile <row> map|unmap|attach|detach
 *
 * A row is an operation on memory of a known physical layout, at I/O addresses
 * of its own, so that it inherits no page tables from another. An operation is
 * done many times in a row on different addresses, and the whole batch is
 * counted, with all that comes with it: refilled slabs, grown page tables, and
 * timer ticks if it is long. First it is done on fresh addresses, for the kernel
 * memory that it takes, and once to warm up. What the kernel puts off to a later
 * time is given that time between the batches, and not counted.
 *
 * The rows, each with the memory that its name says; see enum layout:
 *
 *	4k-..., 64k-...		one call for each 4 or 64 KiB, all of them
 *				adjacent in memory and in I/O addresses
 *	64m-..., ...-128m	one call for all
 *	thp-2m, hugetlb-2m	one call for each huge page
 *	attach-first-1g		from a device without an address space to one that
 *				reaches the memory, mapping included
 *	attach-next-1g		a second device behind the same IOMMU, which gets
 *				the page table of the first, comes and goes
 *	attach-own-1g		one behind another IOMMU, which gets a page table
 *				of its own that is filled first; needs a machine
 *				with two IOMMUs, which test IOMMUs can be
 *
 * and for candidates whose address spaces can be nested, with the scattered pages
 * of 4k-scattered in all of them, registered once in a parent, by one call that is
 * not counted:
 *
 *	child-4k		one call for each 4 KiB, as in 4k-...
 *	child-batch		512 times 4 KiB with each call, one behind the
 *				other in the parent and in the child; an operation
 *				is one of the 512, and writing it down counts, too
 *	child-batch-scattered	the same, and none is next to another of its call,
 *				neither in the parent nor in the child
 *
 * What cannot be had here is left out, unless nothing is left then.
 *
 * Each count is printed as it is:
 *
 *	csv <candidate>,<row>,<operation>,<measure>,<repeat>,<operations>,<value>
 *
 * where measure is instructions, or bytes of kernel memory: "kernel" (all that
 * the memory cgroup of this process is charged), of it "slab" and "tables"
 * (page tables of IOMMUs), and "system" (slabs, page tables of IOMMUs and
 * per-CPU memory of the whole machine, in pages, charged or not). "pages" and
 * "runs" say how contiguous the memory is, and "bytes" how much of it one
 * operation maps.
 *
 * "profile" stops the machine with a write to the pvpanic device before and
 * after one batch; the functions bench_begin() and bench_end() are its edges.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#ifdef __x86_64__
#include <sys/io.h>
#endif
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "kselftest.h"

#define CGROUP		"/sys/fs/cgroup/bench"
#define PVPANIC_PORT	0x505
#define WINDOW		(8ULL * 1024 * 1024 * 1024)
#define PARENT_ADDRESS	0x100000000ULL
#define REPEATS		5

#define SECOND_NS	1000000000L
/* A multiple of the time between two ticks, whatever CONFIG_HZ is */
#define SETTLE_NS	120000000L
#define AFTER_TICK_NS	200000L

/* Entries of one call */
#define VECTOR		512

/*
 * Odd, so that as many operations as are a power of two get a place each. With
 * 4096 of them, those that get neighbouring places are 971 apart.
 */
#define STEP		2531

enum kind {
	MAPS,
	CHILD_MAPS,
	CHILD_VECTORS,
	CHILD_VECTORS_SCATTERED,
	ATTACH_FIRST,
	ATTACH_NEXT,
	ATTACH_OWN,
};

/**
 * struct row - A row of the table
 * @name: Its name
 * @kind: What is done
 * @layout: Of the memory
 * @size: Bytes of one operation
 * @operations: How many of them are a batch
 * @copies: How many batches are mapped at once, to see what memory they take
 */
struct row {
	const char *name;
	enum kind kind;
	enum layout layout;
	size_t size;
	unsigned int operations;
	unsigned int copies;
};

#define KIB(n) ((n) * 1024UL)
#define MIB(n) ((n) * 1024UL * 1024)

static const struct row rows[] = {
	{ "4k-scattered", MAPS, SCATTERED, KIB(4), 4096, 1 },
	{ "4k-contiguous", MAPS, CONTIGUOUS, KIB(4), 4096, 1 },
	{ "64k-scattered", MAPS, SCATTERED, KIB(64), 256, 4 },
	{ "64k-contiguous", MAPS, CONTIGUOUS, KIB(64), 256, 4 },
	{ "64m-scattered", MAPS, SCATTERED, MIB(64), 1, 4 },
	{ "64m-contiguous", MAPS, CONTIGUOUS, MIB(64), 1, 16 },
	{ "thp-2m", MAPS, THP, MIB(2), 64, 4 },
	{ "thp-128m", MAPS, THP, MIB(128), 1, 32 },
	{ "hugetlb-2m", MAPS, HUGETLB, MIB(2), 64, 4 },
	{ "hugetlb-128m", MAPS, HUGETLB, MIB(128), 1, 32 },
	{ "memfd-128m", MAPS, MEMFD, MIB(128), 1, 16 },
	{ "attach-first-1g", ATTACH_FIRST, THP, MIB(1024), 1, 1 },
	{ "attach-next-1g", ATTACH_NEXT, THP, MIB(1024), 8, 1 },
	{ "child-4k", CHILD_MAPS, SCATTERED, KIB(4), 4096, 1 },
	{ "child-batch", CHILD_VECTORS, SCATTERED, KIB(4), 4096, 1 },
	{ "child-batch-scattered", CHILD_VECTORS_SCATTERED, SCATTERED, KIB(4),
	  4096, 1 },
	{ "attach-own-1g", ATTACH_OWN, HUGETLB, MIB(1024), 2, 1 },
};

#define NUM_ROWS ((int)ARRAY_SIZE(rows))

/**
 * struct bench - What is being measured
 * @candidate: The interface
 * @session: Its address space and devices
 * @row: The row
 * @memory: The memory of the row
 * @source: What is mapped: the memory, or where it is in a parent
 * @window: The I/O addresses of the row begin here
 * @profile: Operation to profile, NULL to measure
 */
struct bench {
	const struct candidate *candidate;
	struct session session;
	const struct row *row;
	struct memory memory;
	char *source;
	__u64 window;
	const char *profile;
};

static void fail(const struct bench *bench, const char *what, int rc)
{
	printf("bench: %s, %s: %s: %s\n", bench->candidate->name,
	       bench->row ? bench->row->name : "setup", what, strerror(-rc));
	exit(1);
}

/* ---- the clock ---- */

static __u64 clock_cost;

#ifdef __x86_64__
static __u64 now(void)
{
	__u32 low, high;

	asm volatile("rdtsc" : "=a" (low), "=d" (high) : : "memory");
	return (__u64)high << 32 | low;
}

static __u64 loop_of_two(__u64 times)
{
	__u64 begin = now();

	asm volatile("1: dec %0; jnz 1b" : "+r" (times) : : "cc");
	return now() - begin;
}

/* A loop of known length tells whether instructions are what is counted. */
static bool clock_check(void)
{
	__u64 cost, best = -1ULL, times = 1000000;
	int i;

	clock_cost = -1ULL;
	for (i = 0; i < 100; i++) {
		cost = now();
		cost = now() - cost;
		if (cost < clock_cost)
			clock_cost = cost;
	}
	for (i = 0; i < 10; i++) {
		cost = loop_of_two(times);
		if (cost < best)
			best = cost;
	}
	return best > times * 2 * 99 / 100 && best < times * 2 * 101 / 100;
}

static void stop_machine(void)
{
	if (ioperm(PVPANIC_PORT, 1, 1)) {
		perror("bench: ioperm");
		exit(1);
	}
	outb(1, PVPANIC_PORT);
	/* Or each system call would pay for it. */
	ioperm(PVPANIC_PORT, 1, 0);
}
#else
static __u64 now(void)
{
	return 0;
}

static bool clock_check(void)
{
	return false;
}

static void stop_machine(void)
{
}
#endif

/*
 * What was put off happens now: callbacks of RCU, work on other threads. Returns
 * a moment after a timer tick, so that a batch which is shorter than the time
 * between two has none, and a longer one always has its share.
 */
static void settle(void)
{
	struct timespec wake;

	/* The time of the last tick */
	clock_gettime(CLOCK_MONOTONIC_COARSE, &wake);
	wake.tv_nsec += SETTLE_NS + AFTER_TICK_NS;
	wake.tv_sec += wake.tv_nsec / SECOND_NS;
	wake.tv_nsec %= SECOND_NS;
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &wake, NULL);
}

/* ---- what is counted beside instructions ---- */

struct charged {
	long kernel;
	long slab;
	long tables;
	long system;
};

static long number(const char *text, const char *key)
{
	size_t length = strlen(key);

	while (text && strncmp(text, key, length)) {
		text = strchr(text, '\n');
		if (text)
			text++;
	}
	return text ? strtol(text + length, NULL, 10) : 0;
}

static void charged_read(const struct bench *bench, struct charged *charged)
{
	char text[16384];
	int rc;

	/* The numbers of memory cgroups are brought up to date every 2 s. */
	sleep(5);
	rc = file_read(CGROUP "/memory.stat", text, sizeof(text));
	if (rc < 0)
		fail(bench, CGROUP, rc);
	charged->kernel = number(text, "kernel ");
	charged->slab = number(text, "slab ");
	charged->tables = number(text, "sec_pagetables ");
	file_read("/proc/sys/vm/stat_refresh", text, sizeof(text));
	rc = file_read("/proc/meminfo", text, sizeof(text));
	if (rc < 0)
		fail(bench, "/proc/meminfo", rc);
	charged->system = KIB(number(text, "Slab:") +
			      number(text, "SecPageTables:") +
			      number(text, "Percpu:"));
}

static void print_value(const struct bench *bench, const char *operation,
			const char *measure, int repeat,
			unsigned int operations, long value)
{
	printf("csv %s,%s,%s,%s,%d,%u,%ld\n", bench->candidate->name,
	       bench->row->name, operation, measure, repeat, operations, value);
}

static void print_charged(const struct bench *bench, const char *operation,
			  unsigned int operations, const struct charged *begin)
{
	struct charged end;

	charged_read(bench, &end);
	print_value(bench, operation, "kernel", 0, operations,
		    end.kernel - begin->kernel);
	print_value(bench, operation, "slab", 0, operations,
		    end.slab - begin->slab);
	print_value(bench, operation, "tables", 0, operations,
		    end.tables - begin->tables);
	print_value(bench, operation, "system", 0, operations,
		    end.system - begin->system);
}

/* ---- batches ---- */

static void map(struct bench *bench, __u64 iova, size_t offset)
{
	const struct candidate *candidate = bench->candidate;
	const struct memory *memory = &bench->memory;
	size_t size = bench->row->size;
	int rc;

	if (memory->fd >= 0 && candidate->map_file)
		rc = candidate->map_file(&bench->session, iova, memory->fd,
					 offset, size);
	else
		rc = candidate->map(&bench->session, iova,
				    bench->source + offset, size);
	if (rc)
		fail(bench, "map", rc);
}

static void unmap(struct bench *bench, __u64 iova)
{
	int rc = bench->candidate->unmap(&bench->session, iova,
					 bench->row->size);

	if (rc)
		fail(bench, "unmap", rc);
}

static void attach(struct bench *bench, int which)
{
	int rc = bench->candidate->attach(&bench->session, which);

	if (rc)
		fail(bench, "attach", rc);
}

static void detach(struct bench *bench, int which)
{
	int rc = bench->candidate->detach(&bench->session, which);

	if (rc)
		fail(bench, "detach", rc);
}

static void map_batch(struct bench *bench, unsigned int operations)
{
	size_t size = bench->row->size;
	unsigned int i;

	for (i = 0; i < operations; i++)
		map(bench, bench->window + i * size, i * size);
}

static void unmap_batch(struct bench *bench, unsigned int operations)
{
	size_t size = bench->row->size;
	unsigned int i;

	for (i = 0; i < operations; i++)
		unmap(bench, bench->window + i * size);
}

/* As a driver in a guest does it: any page of memory, anywhere. */
static void place(const struct bench *bench, unsigned int i,
		  struct iommu_batch_entry *entry)
{
	unsigned int num = bench->row->operations;
	size_t size = bench->row->size, at = i, from = i;

	if (bench->row->kind == CHILD_VECTORS_SCATTERED) {
		/* Every other place: a free one is next to each. */
		at = (num - 1 - i) * STEP % num * 2;
		from = i * STEP % num;
	}
	entry->iova = bench->window + at * size;
	entry->src = (uintptr_t)bench->source + from * size;
	entry->length = size;
}

static void vector(struct bench *bench, const struct iommu_batch_entry *entries,
		   unsigned int num, __u64 expect)
{
	__u64 unmapped;
	int rc = bench->candidate->vector(&bench->session, entries, num,
					  &unmapped);

	if (!rc && unmapped != expect)
		rc = -ENOENT;
	if (rc)
		fail(bench, "batch", rc);
}

static void map_vectors(struct bench *bench, unsigned int operations)
{
	struct iommu_batch_entry entries[VECTOR] = {};
	unsigned int i, j;

	for (i = 0; i < operations; i += VECTOR) {
		for (j = 0; j < VECTOR; j++) {
			place(bench, i + j, &entries[j]);
			entries[j].flags = READ_WRITE;
		}
		vector(bench, entries, VECTOR, 0);
	}
}

static void unmap_vectors(struct bench *bench, unsigned int operations)
{
	struct iommu_batch_entry entries[VECTOR] = {};
	unsigned int i, j;

	for (i = 0; i < operations; i += VECTOR) {
		for (j = 0; j < VECTOR; j++) {
			place(bench, i + j, &entries[j]);
			entries[j].flags = IOMMU_BATCH_ENTRY_UNMAP;
			entries[j].src = 0;
		}
		vector(bench, entries, VECTOR, VECTOR * bench->row->size);
	}
}

static bool has_vectors(const struct row *row)
{
	return row->kind == CHILD_VECTORS ||
	       row->kind == CHILD_VECTORS_SCATTERED;
}

static void map_all(struct bench *bench, unsigned int operations)
{
	if (has_vectors(bench->row))
		map_vectors(bench, operations);
	else
		map_batch(bench, operations);
}

static void unmap_all(struct bench *bench, unsigned int operations)
{
	if (has_vectors(bench->row))
		unmap_vectors(bench, operations);
	else
		unmap_batch(bench, operations);
}

static void attach_second(struct bench *bench, unsigned int operations)
{
	attach(bench, 1);
}

static void detach_second(struct bench *bench, unsigned int operations)
{
	detach(bench, 1);
}

/* From a device without an address space to one that reaches the memory */
static void attach_with_memory(struct bench *bench, unsigned int operations)
{
	if (bench->candidate->maps_before_attach)
		map(bench, bench->window, 0);
	attach(bench, 0);
	if (!bench->candidate->maps_before_attach)
		map(bench, bench->window, 0);
}

/* Return: instructions */
static __u64 batch(struct bench *bench, const char *operation,
		   void (*run)(struct bench *bench, unsigned int operations),
		   unsigned int operations)
{
	__u64 begin, end;

	settle();
	if (bench->profile && !strcmp(bench->profile, operation)) {
		printf("csv %s,%s,%s,profiled,0,%u,0\n", bench->candidate->name,
		       bench->row->name, operation, operations);
		fflush(stdout);
		settle();
		stop_machine();
		bench_begin();
		run(bench, operations);
		bench_end();
		stop_machine();
		exit(0);
	}
	begin = now();
	run(bench, operations);
	end = now();
	return end - begin - clock_cost;
}

/* ---- rows ---- */

static bool is_child(const struct row *row)
{
	return row->kind == CHILD_MAPS || has_vectors(row);
}

static void open_session(struct bench *bench)
{
	const struct candidate *candidate = bench->candidate;
	int rc;

	bench->session.apart = bench->row->kind == ATTACH_OWN;
	bench->source = bench->memory.at;
	if (is_child(bench->row)) {
		rc = candidate->open_child(&bench->session, PARENT_ADDRESS,
					   bench->memory.at,
					   bench->memory.size);
		bench->source = (char *)PARENT_ADDRESS;
	} else {
		rc = candidate->open(&bench->session);
	}
	if (rc)
		fail(bench, "open", rc);
}

static void close_session(struct bench *bench)
{
	bench->candidate->close(&bench->session);
	settle();
}

/* At fresh addresses, and more of them where one batch would be too little. */
static void measure_memory(struct bench *bench)
{
	unsigned int operations = bench->row->operations, i;
	unsigned int copies = bench->row->copies;
	__u64 window = bench->window;
	struct charged begin;

	charged_read(bench, &begin);
	for (i = 0; i < copies; i++) {
		map_all(bench, operations);
		bench->window += bench->memory.size;
	}
	print_charged(bench, "map", copies * operations, &begin);
	bench->window = window;
	for (i = 0; i < copies; i++) {
		unmap_all(bench, operations);
		bench->window += bench->memory.size;
	}
	bench->window = window;
}

static void run_maps(struct bench *bench)
{
	unsigned int operations = bench->row->operations;
	__u64 mapped, unmapped;
	int i;

	if (!bench->profile)
		measure_memory(bench);
	/* The first one warms up. */
	for (i = 0; i <= REPEATS; i++) {
		bool warm = i > 0;
		const char *profile = bench->profile;

		if (!warm)
			bench->profile = NULL;
		mapped = batch(bench, "map", map_all, operations);
		unmapped = batch(bench, "unmap", unmap_all, operations);
		bench->profile = profile;
		if (!warm)
			continue;
		print_value(bench, "map", "instructions", i, operations,
			    mapped);
		print_value(bench, "unmap", "instructions", i, operations,
			    unmapped);
	}
}

/* Each time with a new address space; the first time warms up. */
static void run_attach_first(struct bench *bench)
{
	const char *profile = bench->profile;
	struct charged begin;
	__u64 cost;
	int i;

	for (i = 0; i <= REPEATS; i++) {
		open_session(bench);
		bench->profile = i ? profile : NULL;
		if (!i)
			charged_read(bench, &begin);
		cost = batch(bench, "attach", attach_with_memory, 1);
		if (!i)
			print_charged(bench, "attach", 1, &begin);
		else
			print_value(bench, "attach", "instructions", i, 1,
				    cost);
		close_session(bench);
	}
}

/* A second device comes and goes. */
static void run_attach_next(struct bench *bench)
{
	const char *profile = bench->profile;
	struct charged begin;
	__u64 attached, detached;
	unsigned int j, operations = bench->row->operations;
	int i;

	open_session(bench);
	attach_with_memory(bench, 1);
	charged_read(bench, &begin);
	attach(bench, 1);
	print_charged(bench, "attach", 1, &begin);
	detach(bench, 1);
	for (i = 0; i <= REPEATS; i++) {
		attached = 0;
		detached = 0;
		bench->profile = i ? profile : NULL;
		for (j = 0; j < operations; j++) {
			attached += batch(bench, "attach", attach_second, 1);
			detached += batch(bench, "detach", detach_second, 1);
		}
		if (!i)
			continue;
		print_value(bench, "attach", "instructions", i, operations,
			    attached);
		print_value(bench, "detach", "instructions", i, operations,
			    detached);
	}
	close_session(bench);
}

static bool is_attach(const struct row *row)
{
	return row->kind == ATTACH_FIRST || row->kind == ATTACH_NEXT ||
	       row->kind == ATTACH_OWN;
}

/* Whether candidate and machine have what the row needs. */
static bool possible(const struct bench *bench)
{
	const struct candidate *candidate = bench->candidate;
	const struct row *row = bench->row;

	if (is_child(row) && !candidate->open_child)
		return false;
	if (has_vectors(row) && !candidate->vector)
		return false;
	return devices_found(row->kind == ATTACH_OWN);
}

static void run_row(struct bench *bench)
{
	const struct row *row = bench->row;
	__u64 pages, runs;
	int rc;

	bench->window = WINDOW * (row - rows + 1);
	rc = memory_make(&bench->memory, row->layout,
			 is_attach(row) ? row->size :
			 row->size * row->operations);
	if (rc)
		fail(bench, "memory of the layout", rc);
	rc = memory_runs(&bench->memory, row->size, &pages, &runs);
	if (rc)
		fail(bench, "physical addresses", rc);
	print_value(bench, "memory", "pages", 0, 1, pages);
	print_value(bench, "memory", "runs", 0, 1, runs);
	print_value(bench, "memory", "bytes", 0, 1, row->size);

	switch (row->kind) {
	case MAPS:
	case CHILD_MAPS:
	case CHILD_VECTORS:
	case CHILD_VECTORS_SCATTERED:
		open_session(bench);
		attach(bench, 0);
		run_maps(bench);
		close_session(bench);
		break;
	case ATTACH_FIRST:
		run_attach_first(bench);
		break;
	case ATTACH_NEXT:
	case ATTACH_OWN:
		run_attach_next(bench);
		break;
	}
	memory_free(&bench->memory);
	settle();
}

static void own_cgroup(const struct bench *bench)
{
	int rc = 0;

	if (mkdir(CGROUP, 0755))
		rc = -errno;
	if (!rc)
		rc = file_write(CGROUP "/cgroup.procs", "0");
	if (rc)
		fail(bench, CGROUP, rc);
}

static int print_usage(void)
{
	int i;

	printf("usage: bench <candidate> [<row>...]\n");
	printf("       bench <candidate> profile <row> <operation>\n");
	for (i = 0; i < num_candidates; i++)
		printf("candidate %s (memfd: %s)\n", candidates[i].name,
		       candidates[i].memfd);
	for (i = 0; i < NUM_ROWS; i++)
		printf("row %s\n", rows[i].name);
	return 2;
}

/* Rows are chosen by @names, or all of them if there are none. */
static bool chosen(const struct row *row, char **names, int num)
{
	int i;

	for (i = 0; i < num; i++)
		if (!strcmp(names[i], row->name))
			return true;
	return !num;
}

static bool all_rows(char **names, int num)
{
	int i, j, known = 0;

	for (i = 0; i < num; i++)
		for (j = 0; j < NUM_ROWS; j++)
			known += !strcmp(names[i], rows[j].name);
	return known == num;
}

int main(int argc, char **argv)
{
	struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	struct bench bench = {};
	char **names = argv + 2;
	int i, num = argc - 2, done = 0;

	bench.candidate = argc > 1 ? candidate_find(argv[1]) : NULL;
	if (bench.candidate && num == 3 && !strcmp(names[0], "profile")) {
		bench.profile = names[2];
		names++;
		num = 1;
	}
	if (!bench.candidate || !all_rows(names, num))
		return print_usage();

	if (!clock_check()) {
		printf("bench: the clock does not count instructions\n");
		return 1;
	}
	setrlimit(RLIMIT_MEMLOCK, &unlimited);
	prctl(PR_SET_TIMERSLACK, 1);
	own_cgroup(&bench);
	for (i = 0; i < NUM_ROWS; i++) {
		bench.row = &rows[i];
		if (!chosen(bench.row, names, num) || !possible(&bench))
			continue;
		run_row(&bench);
		done++;
	}
	if (!done || bench.profile) {
		printf("bench: nothing of that can be done here\n");
		return 1;
	}
	return 0;
}
