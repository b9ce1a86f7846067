// SPDX-License-Identifier: GPL-2.0-only
/*
 * Everything against everything: threads that do random operations on one
 * context; see stress.h. The environment may say
 *
 *	STRESS_SECONDS=<number>	how long
 *	STRESS_THREADS=<number>	how many threads
 *	STRESS_SEED=<number>	which operations each of them does
 *
 * In a guest that is what the kernel's command line says:
 *
 *	IOASID_APPEND="STRESS_SECONDS=600" TESTS=stress make check
 *
 * Each thread does the same with the same seed; how the threads meet each other
 * is another matter.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "access_utils.h"
#include "ioasid_utils.h"
#include "iommufd_utils.h"
#include "stress.h"

#define DEFAULT_SECONDS	5
#define DEFAULT_THREADS	4
#define DEFAULT_SEED	0x10a51dULL
/* From here on, each operation should have succeeded at least once. */
#define LONG_RUN	300
/* Seconds until it says that it is alive */
#define PROGRESS	30
/* No IOASID has a higher identifier: the lowest free one is taken. */
#define HIGHEST_ID	1024

/* ---- random numbers ---- */

/* SplitMix64: every seed is as good as any other. */
static __u64 random_number(struct worker *worker)
{
	__u64 z = worker->random += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

__u64 random_below(struct worker *worker, __u64 limit)
{
	return random_number(worker) % limit;
}

bool one_in(struct worker *worker, unsigned int number)
{
	return !random_below(worker, number);
}

/* ---- what is wrong ---- */

void failure(struct world *world, const char *format, ...)
{
	va_list args;

	if (!__atomic_exchange_n(&world->failed, true, __ATOMIC_RELAXED)) {
		va_start(args, format);
		vsnprintf(world->failure, sizeof(world->failure), format, args);
		va_end(args);
	}
	__atomic_store_n(&world->stop, true, __ATOMIC_RELAXED);
}

static bool expected(const struct operation *op, int error)
{
	size_t i;

	if (!error)
		return true;
	for (i = 0; i < ARRAY_SIZE(op->errnos); i++)
		if (op->errnos[i] == error)
			return true;
	return false;
}

/* Return: whether a call has succeeded; if it has failed, that was allowed. */
bool result(struct worker *worker, int rc)
{
	const struct operation *op = &operations[worker->operation];
	struct world *world = worker->world;

	if (rc > 0 || rc <= -NUM_ERRNOS) {
		failure(world, "%s: returned %d", op->name, rc);
		return false;
	}
	__atomic_fetch_add(&world->results[worker->operation][-rc], 1,
			   __ATOMIC_RELAXED);
	if (!expected(op, -rc))
		failure(world, "%s: %s", op->name, strerrorname_np(-rc));
	return !rc;
}

/* ---- memory ---- */

void mark(void *mem, size_t length)
{
	__u64 *word = mem;

	for (; length; length -= 8)
		*word++ = MARK;
}

bool is_marked(const void *mem, size_t length)
{
	const unsigned char *byte = mem;

	while (length--)
		if (*byte++ != (unsigned char)MARK)
			return false;
	return true;
}

/* Return: a new file with the content of all files, or a negative errno. */
int make_file(void)
{
	int fd = memfd_create("stress", MFD_CLOEXEC);
	size_t i;
	char *page;
	int rc = 0;

	if (fd < 0)
		return -errno;
	page = malloc(PAGE);
	if (!page)
		rc = -ENOMEM;
	else
		mark(page, PAGE);
	for (i = 0; !rc && i < SMALL_PAGES; i++)
		if (write(fd, page, PAGE) != (ssize_t)PAGE)
			rc = -errno;
	free(page);
	if (rc)
		close(fd);
	return rc ? rc : fd;
}

static int make_memory(struct world *world)
{
	char *room;

	world->small = mem_alloc(SMALL_PAGES * PAGE);
	room = mmap(NULL, 2 * HUGE_SIZE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!world->small || room == MAP_FAILED)
		return -ENOMEM;
	world->large = (char *)(((uintptr_t)room + HUGE_SIZE - 1) &
				~(HUGE_SIZE - 1));
	madvise(world->large, HUGE_SIZE, MADV_HUGEPAGE);
	mark(world->small, SMALL_PAGES * PAGE);
	mark(world->large, HUGE_SIZE);
	world->file = make_file();
	return world->file < 0 ? world->file : 0;
}

/* ---- devices ---- */

static int make_devices(struct world *world)
{
	static const struct {
		const char *iommu, *device, *settings;
	} all[NUM_DEVICES + 1] = {
		{ "a", "one", NULL },
		{ "a", "two", NULL },
		{ "a", "three", "group=g" },
		{ "a", "four", "group=g" },
		{ "b", "five", NULL },
		{ "b", "spare", NULL },
	};
	int i, rc;

	rc = test_iommu_make("a", "pasid_bits=4;hitless=1");
	if (!rc)
		rc = test_iommu_make("b", "width=40;hitless=0");
	for (i = 0; !rc && i < NUM_DEVICES; i++) {
		struct dma_device *dev = &world->devices[i];

		rc = test_device_make(all[i].iommu, all[i].device,
				      all[i].settings, dev);
		if (!rc)
			rc = dev_open_bind(dev, world->iommu);
	}
	if (!rc)
		rc = test_device_make(all[i].iommu, all[i].device,
				      all[i].settings, &world->spare);
	return rc;
}

static int make_accesses(struct world *world, char cdev[NUM_ACCESSES][64])
{
	__u32 id;
	int i, rc;

	for (i = 0; i < NUM_ACCESSES; i++) {
		world->accesses[i] = vfio_open(cdev[i]);
		if (world->accesses[i] < 0)
			return world->accesses[i];
		rc = vfio_bind(world->accesses[i], world->iommu, &id);
		if (rc)
			return rc;
	}
	return 0;
}

/* ---- the run ---- */

static unsigned int choose(struct worker *worker)
{
	unsigned int i, sum = 0, at;

	for (i = 0; i < num_operations; i++)
		if (!worker->forked || operations[i].forks)
			sum += operations[i].weight;
	at = random_below(worker, sum);
	for (i = 0; i < num_operations; i++) {
		if (worker->forked && !operations[i].forks)
			continue;
		if (at < operations[i].weight)
			break;
		at -= operations[i].weight;
	}
	return i;
}

void step(struct worker *worker)
{
	worker->operation = choose(worker);
	operations[worker->operation].run(worker);
}

static void *work(void *arg)
{
	struct worker *worker = arg;

	while (!__atomic_load_n(&worker->world->stop, __ATOMIC_RELAXED))
		step(worker);
	return NULL;
}

static unsigned long num_results(const struct world *world)
{
	unsigned long sum = 0;
	unsigned int op, error;

	for (op = 0; op < num_operations; op++)
		for (error = 0; error < NUM_ERRNOS; error++)
			sum += __atomic_load_n(&world->results[op][error],
					       __ATOMIC_RELAXED);
	return sum;
}

static void wait_for_end(struct world *world, double time)
{
	double start = seconds(), next = start + PROGRESS;

	while (seconds() < start + time &&
	       !__atomic_load_n(&world->stop, __ATOMIC_RELAXED)) {
		usleep(100000);
		if (seconds() < next)
			continue;
		printf("# %.0f of %.0f s, %lu calls\n", seconds() - start, time,
		       num_results(world));
		fflush(stdout);
		next += PROGRESS;
	}
	__atomic_store_n(&world->stop, true, __ATOMIC_RELAXED);
}

static void run(struct world *world, unsigned int num, __u64 seed, double time)
{
	struct worker workers[MAX_THREADS];
	pthread_t threads[MAX_THREADS];
	unsigned int i, running = 0;

	for (i = 0; i < num; i++) {
		workers[i] = (struct worker){
			.world = world,
			.number = i,
			.random = seed + i * 0x632be59bd9b4e019ULL,
		};
		if (pthread_create(&threads[i], NULL, work, &workers[i])) {
			failure(world, "a thread cannot be made");
			break;
		}
		running++;
	}
	wait_for_end(world, time);
	while (running--)
		pthread_join(threads[running], NULL);
}

/* ---- the end ---- */

static void stop_devices(struct world *world)
{
	unsigned int i, channel, pasid;

	for (i = 0; i < NUM_DEVICES; i++) {
		for (channel = 0; channel < IOASID_TEST_NUM_CHANNELS; channel++)
			device_check(world, i, channel);
		for (pasid = 1; pasid < 16; pasid++)
			vfio_detach_pasid(world->devices[i].fd, pasid);
		vfio_detach(world->devices[i].fd);
	}
	for (i = 0; i < NUM_ACCESSES; i++)
		vfio_detach(world->accesses[i]);
}

/* Children before their parents: whatever can be freed is, until nothing can. */
static void free_spaces(struct world *world)
{
	bool some = true;
	__u32 id;
	int rc;

	while (some) {
		some = false;
		for (id = 1; id < HIGHEST_ID; id++) {
			rc = ioasid_free(world->iommu, id);
			/* A page table that somebody attached to; no device. */
			if (rc == -ENOENT)
				rc = iommufd_destroy(world->iommu, id);
			if (!rc)
				some = true;
			else if (rc != -ENOENT && rc != -EBUSY)
				failure(world, "free at the end: %d", rc);
		}
	}
}

static void check_memory(struct world *world)
{
	char page[PAGE];
	unsigned int i;

	if (!is_marked(world->small, SMALL_PAGES * PAGE) ||
	    !is_marked(world->large, HUGE_SIZE))
		failure(world, "memory was overwritten");
	for (i = 0; i < SMALL_PAGES; i++)
		if (pread(world->file, page, PAGE, i * PAGE) != (ssize_t)PAGE ||
		    !is_marked(page, PAGE))
			failure(world, "the file was overwritten");
}

static void say_results(const struct world *world)
{
	unsigned int op, error;

	for (op = 0; op < num_operations; op++) {
		const unsigned long *results = world->results[op];

		printf("#   %-16s %8lu", operations[op].name, results[0]);
		for (error = 1; error < NUM_ERRNOS; error++)
			if (results[error])
				printf(", %lu %s", results[error],
				       strerrorname_np(error));
		printf("\n");
	}
	fflush(stdout);
}

static unsigned int never_succeeded(const struct world *world)
{
	unsigned int op, num = 0;

	for (op = 0; op < num_operations; op++) {
		if (world->results[op][0])
			continue;
		printf("# %s has never succeeded\n", operations[op].name);
		num++;
	}
	return num;
}

/* ---- the test ---- */

FIXTURE(stress) {
	struct world *world;
	struct counts counts;
	long objects;
};

FIXTURE_SETUP(stress)
{
	const char *missing = test_iommu_missing();
	char cdev[NUM_ACCESSES][64];
	struct world *world;
	unsigned int i;

	self->world = NULL;
	if (!missing)
		missing = access_missing(cdev);
	if (missing)
		SKIP(return, "%s", missing);
	ASSERT_EQ(0, test_iommu_remove_all());
	COUNTS_BEGIN(&self->counts);
	world = mmap(NULL, sizeof(*world), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, world);
	self->world = world;
	world->file = -1;
	world->events = -1;
	world->spare.fd = -1;
	for (i = 0; i < NUM_DEVICES; i++)
		world->devices[i].fd = -1;
	for (i = 0; i < NUM_ACCESSES; i++)
		world->accesses[i] = -1;
	world->iommu = iommu_open();
	ASSERT_LE(0, world->iommu);
	ASSERT_EQ(0, make_memory(world));
	ASSERT_EQ(0, make_devices(world));
	ASSERT_EQ(0, make_accesses(world, cdev));
	self->objects = context_objects(world->iommu);
	ASSERT_LT(0, self->objects);
	ASSERT_EQ(0, events_open(world));
}

FIXTURE_TEARDOWN(stress)
{
	struct world *world = self->world;
	unsigned int i;

	if (!world)
		return;
	for (i = 0; i < NUM_DEVICES; i++)
		dev_close(&world->devices[i]);
	dev_close(&world->spare);
	for (i = 0; i < NUM_ACCESSES; i++)
		close(world->accesses[i]);
	close(world->events);
	close(world->iommu);
	close(world->file);
	EXPECT_EQ(0, test_iommu_remove_all());
	munmap(world->small, SMALL_PAGES * PAGE);
	munmap(world->large, HUGE_SIZE);
	COUNTS_END(&self->counts);
	munmap(world, sizeof(*world));
}

static __u64 env_number(const char *name, __u64 otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

TEST_F_TIMEOUT(stress, everything, 7200)
{
	__u64 seed = env_number("STRESS_SEED", DEFAULT_SEED);
	__u64 time = env_number("STRESS_SECONDS", DEFAULT_SECONDS);
	__u64 num = env_number("STRESS_THREADS", DEFAULT_THREADS);
	struct world *world = self->world;

	ASSERT_LT(0, num);
	ASSERT_GE(MAX_THREADS, num);
	ASSERT_GE(MAX_OPERATIONS, num_operations);
	printf("# STRESS_SEED=0x%llx STRESS_SECONDS=%llu STRESS_THREADS=%llu\n",
	       seed, time, num);
	fflush(stdout);
	run(world, num, seed, time);
	stop_devices(world);
	free_spaces(world);
	check_memory(world);
	printf("# %lu calls; what succeeded, and what did not:\n",
	       num_results(world));
	say_results(world);
	if (world->failed)
		printf("# seed 0x%llx: %s\n", seed, world->failure);
	EXPECT_STREQ("", world->failure);
	/* What is left is what there was before the first of them. */
	EXPECT_EQ(self->objects, context_objects(world->iommu));
	if (time >= LONG_RUN)
		EXPECT_EQ(0, never_succeeded(world));
}

TEST_HARNESS_MAIN
