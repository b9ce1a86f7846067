// SPDX-License-Identifier: GPL-2.0-only
/*
 * How much more is mapped and unmapped when two threads do it than when one does:
 *
 *	bench_scaling <candidate>
 *
 * Each thread has a CPU, pages and an address space with a device, all its own, and
 * maps and unmaps its pages one by one, so often. Prints
 *
 *	scaling <candidate>,<what>,<100 times throughput of two by that of one>
 *
 * for address spaces that have nothing in common but the context ("spaces"), for
 * children of one parent ("children"), and for a system call that shares nothing
 * ("syscalls"), which says what the machine can do: 200 at best.
 *
 * This is time on a clock, in the shortest of a few runs, and it judges nothing: on
 * an emulated machine, how the emulator does its work is in it, and so is what else
 * runs there.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench.h"

#define THREADS		2
#define PAGES		2048
#define ROUNDS		4
#define CALLS		(PAGES * ROUNDS * 32)
#define RUNS		15
#define IOVA		0x40000000ULL
#define PARENT_ADDRESS	0x100000000ULL

/**
 * struct worker - What a thread does
 * @candidate: The interface, NULL for nothing but system calls
 * @session: Its address space
 * @source: What it maps: its memory, or where that is in a parent
 * @cpu: Where it runs
 * @start: All wait for each other here
 * @thread: The thread
 * @rc: 0 or a negative errno
 */
struct worker {
	const struct candidate *candidate;
	struct session session;
	char *source;
	int cpu;
	pthread_barrier_t *start;
	pthread_t thread;
	int rc;
};

static void fail(const char *what, int rc)
{
	printf("bench_scaling: %s: %s\n", what, strerror(-rc));
	exit(1);
}

static int map_and_unmap(struct worker *worker)
{
	const struct candidate *candidate = worker->candidate;
	unsigned int i;
	int rc = 0;

	for (i = 0; i < PAGES && !rc; i++)
		rc = candidate->map(&worker->session, IOVA + i * PAGE,
				    worker->source + i * PAGE, PAGE);
	for (i = 0; i < PAGES && !rc; i++)
		rc = candidate->unmap(&worker->session, IOVA + i * PAGE, PAGE);
	return rc;
}

static void *work(void *arg)
{
	struct worker *worker = arg;
	cpu_set_t cpus;
	int i;

	CPU_ZERO(&cpus);
	CPU_SET(worker->cpu, &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus))
		worker->rc = -errno;
	pthread_barrier_wait(worker->start);
	for (i = 0; !worker->candidate && i < CALLS; i++)
		syscall(SYS_getppid);
	for (i = 0; worker->candidate && i < ROUNDS && !worker->rc; i++)
		worker->rc = map_and_unmap(worker);
	return NULL;
}

/* Return: seconds that so many of them take, each for its own work. */
static double run(struct worker *workers, int num)
{
	pthread_barrier_t start;
	double begin;
	int i;

	pthread_barrier_init(&start, NULL, num + 1);
	for (i = 0; i < num; i++) {
		workers[i].start = &start;
		workers[i].rc = 0;
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
			fail("thread", -EAGAIN);
	}
	begin = seconds();
	pthread_barrier_wait(&start);
	for (i = 0; i < num; i++)
		pthread_join(workers[i].thread, NULL);
	begin = seconds() - begin;
	for (i = 0; i < num; i++)
		if (workers[i].rc)
			fail("map or unmap", workers[i].rc);
	pthread_barrier_destroy(&start);
	return begin;
}

static void measure(const char *candidate, const char *what,
		    struct worker workers[THREADS])
{
	double one = 1e9, two = 1e9, time;
	int i;

	/* The first run of each warms up, and is seldom the shortest. */
	for (i = 0; i < RUNS; i++) {
		time = run(workers, 1);
		if (time < one)
			one = time;
		time = run(workers, THREADS);
		if (time < two)
			two = time;
	}
	printf("# %s, %s: one thread %.3f s, two threads %.3f s\n", candidate,
	       what, one, two);
	printf("scaling %s,%s,%.0f\n", candidate, what,
	       100 * THREADS * one / two);
	fflush(stdout);
}

static void attach_both(struct worker workers[THREADS])
{
	const struct candidate *candidate = workers[0].candidate;
	int rc, i;

	rc = candidate->another(&workers[0].session, &workers[1].session);
	for (i = 0; i < THREADS && !rc; i++)
		rc = candidate->attach(&workers[i].session, i);
	if (rc)
		fail("address spaces", rc);
}

static void measure_spaces(const struct candidate *candidate,
			   struct worker workers[THREADS], char *memory)
{
	int rc, i;

	for (i = 0; i < THREADS; i++) {
		workers[i].candidate = candidate;
		workers[i].source = memory + i * PAGES * PAGE;
	}
	rc = candidate->open(&workers[0].session);
	if (rc)
		fail("open", rc);
	attach_both(workers);
	measure(candidate->name, "spaces", workers);
	candidate->close(&workers[0].session);
}

static void measure_children(const struct candidate *candidate,
			     struct worker workers[THREADS], char *memory)
{
	int rc, i;

	for (i = 0; i < THREADS; i++)
		workers[i].source =
			(char *)PARENT_ADDRESS + i * PAGES * PAGE;
	rc = candidate->open_child(&workers[0].session, PARENT_ADDRESS, memory,
				   THREADS * PAGES * PAGE);
	if (rc)
		fail("open with a parent", rc);
	attach_both(workers);
	measure(candidate->name, "children", workers);
	candidate->close(&workers[0].session);
}

int main(int argc, char **argv)
{
	struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	struct worker workers[THREADS] = {};
	const struct candidate *candidate;
	char *memory;
	int i;

	candidate = argc == 2 ? candidate_find(argv[1]) : NULL;
	if (!candidate || !candidate->another) {
		printf("usage: bench_scaling native|iommufd|front\n");
		return 2;
	}
	if (sysconf(_SC_NPROCESSORS_ONLN) < THREADS)
		fail("two CPUs are needed", -ENODEV);
	setrlimit(RLIMIT_MEMLOCK, &unlimited);
	memory = mmap(NULL, THREADS * PAGES * PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (memory == MAP_FAILED)
		fail("memory", -errno);
	for (i = 0; i < THREADS; i++)
		workers[i].cpu = i;

	measure(candidate->name, "syscalls", workers);
	measure_spaces(candidate, workers, memory);
	if (candidate->open_child)
		measure_children(candidate, workers, memory);
	return 0;
}
