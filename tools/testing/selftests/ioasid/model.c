// SPDX-License-Identifier: GPL-2.0-only
/*
 * Random operations on /dev/iommu and what comes of them, held against a model;
 * see model.h. The environment may say
 *
 *	MODEL_OPS=<number>	how many operations
 *	MODEL_SEED=<number>	which; those of an earlier run are the same again
 *
 * In a guest that is what the kernel's command line says:
 *
 *	IOASID_APPEND="MODEL_SEED=7 MODEL_OPS=20000" TESTS=model make check
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "model.h"

#define DEFAULT_OPS	3000
#define DEFAULT_SEED	0x10a51dULL
/* A lost flush must be found in so many. */
#define STALE_OPS	5000
/* After each step, the first of what it was about */
#define SAMPLES		2
/* Steps from one comparison of what costs more to the next */
#define INFO_INTERVAL	16
#define COUNT_INTERVAL	64
#define MEMORY_INTERVAL	1000
/* Seconds until it says that it is alive */
#define PROGRESS	30

/* ---- random numbers ---- */

/* SplitMix64: every seed is as good as any other. */
__u64 random_number(struct model *m)
{
	__u64 z = m->random += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

__u64 random_below(struct model *m, __u64 limit)
{
	return random_number(m) % limit;
}

bool one_in(struct model *m, unsigned int number)
{
	return !random_below(m, number);
}

/* ---- what happens, and what is wrong ---- */

/* What comes after it is of this operation. */
void doing(struct model *m, const char *format, ...)
{
	char *line = m->history[m->step % HISTORY];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(m->history[0]), format, args);
	va_end(args);
	/* FNV-1a */
	for (; *line; line++)
		m->trace = (m->trace ^ *line) * 0x100000001b3ULL;
}

/* Only the first one counts: what follows comes of it. */
void mismatch(struct model *m, const char *format, ...)
{
	va_list args;

	if (m->mismatch[0])
		return;
	va_start(args, format);
	vsnprintf(m->mismatch, sizeof(m->mismatch), format, args);
	va_end(args);
}

/* Return: whether a call has returned what it had to. */
bool returned(struct model *m, int want, int rc)
{
	if (rc != want)
		mismatch(m, "result %d, not %d", rc, want);
	else if (rc)
		m->refused++;
	return rc == want;
}

static void say_mismatch(const struct model *m)
{
	unsigned long step = m->step > HISTORY ? m->step - HISTORY + 1 : 0;

	printf("# seed 0x%llx step %lu: %s: %s\n", m->seed, m->step,
	       m->history[m->step % HISTORY], m->mismatch);
	for (; step <= m->step; step++)
		printf("#   step %lu: %s\n", step, m->history[step % HISTORY]);
	fflush(stdout);
}

/* ---- a run ---- */

static struct operation *choose(struct model *m)
{
	unsigned int sum = 0, at;
	size_t i;

	for (i = 0; i < num_operations; i++)
		sum += operations[i].weight;
	at = random_below(m, sum);
	for (i = 0; at >= operations[i].weight; i++)
		at -= operations[i].weight;
	return &operations[i];
}

/* Locked memory is charged for what is pinned, mapping by mapping. */
static void compare_counts(struct model *m)
{
	struct counts now;
	__u64 pinned = 0;
	unsigned int i;

	for (i = 0; i < MAX_IOASIDS; i++)
		if (m->ioases[i])
			pinned += mapped_bytes(m->ioases[i], true);
	if (counts_read(&now))
		mismatch(m, "the kernel's counts cannot be read");
	else if (now.locked - m->counts.locked != (long)pinned ||
		 now.pinned - m->counts.pinned != (long)pinned)
		mismatch(m, "%ld bytes are locked and %ld pinned, not %llu",
			 now.locked - m->counts.locked,
			 now.pinned - m->counts.pinned, pinned);
}

static void step(struct model *m)
{
	static const struct subject nothing;
	struct operation *op = choose(m);
	unsigned long refused = m->refused;
	unsigned int i;
	bool all;

	m->subject = nothing;
	doing(m, "%s: nothing to do", op->name);
	if (!(m->stale && op->changes_memory))
		op->run(m);
	op->done++;
	op->refused += m->refused - refused;
	/* What has failed has changed nothing anywhere. */
	all = m->refused != refused || m->step % INFO_INTERVAL == 0;
	operations_check(m, all);
	events_compare(m);
	device_sample(m, &m->subject);
	for (i = 1; i < SAMPLES; i++)
		device_sample(m, &nothing);
	if (m->step % COUNT_INTERVAL == 0)
		compare_counts(m);
	if (m->step % MEMORY_INTERVAL == 0)
		memory_compare(m);
}

static void run(struct model *m, unsigned long ops)
{
	double next = seconds() + PROGRESS;

	for (; m->step < ops && !m->mismatch[0]; m->step++) {
		step(m);
		if (seconds() < next)
			continue;
		printf("# %lu steps of %lu\n", m->step, ops);
		fflush(stdout);
		next += PROGRESS;
	}
	/* Of the step that it was found in */
	if (m->mismatch[0])
		m->step--;
	else
		memory_compare(m);
}

/* ---- begin and end ---- */

static int begin(struct model *m, __u64 seed, bool stale)
{
	unsigned int i;
	int rc;

	m->seed = seed;
	m->random = seed;
	m->stale = stale;
	failures_setup(m);
	rc = memory_setup(m);
	if (!rc)
		rc = devices_setup(m);
	if (!rc)
		rc = events_setup(m);
	if (!rc)
		rc = counts_read(&m->counts);
	for (i = 0; !rc && i < m->num_devices; i++)
		rc = device_open(m, &m->devices[i]);
	for (i = 0; !rc && i < m->num_devices; i++)
		device_compare(m, &m->devices[i]);
	return rc;
}

/* One without children, or NULL if there is none at all */
static struct ioas *some_leaf(const struct model *m)
{
	unsigned int i;

	for (i = 0; i < MAX_IOASIDS; i++)
		if (m->ioases[i] && !num_children(m, m->ioases[i]))
			return m->ioases[i];
	return NULL;
}

/* Closes all devices, then frees what there is; that needs no device. */
static void end(struct model *m)
{
	struct ioas *ioas;
	unsigned int i;

	for (i = 0; i < m->num_devices; i++)
		device_close(m, &m->devices[i]);
	if (!m->mismatch[0]) {
		doing(m, "close all devices finally");
		operations_check(m, true);
		events_compare(m);
	}
	while ((ioas = some_leaf(m))) {
		if (!m->mismatch[0])
			returned(m, 0, ioasid_free(m->iommu, ioas->id));
		ioas_delete(m, ioas);
	}
}

static __u64 env_number(const char *name, __u64 otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

static void say_what_was_done(const struct model *m, double time)
{
	size_t i;

	printf("# %lu steps in %.1f s, %.0f in a second; trace 0x%llx\n",
	       m->step, time, m->step / time, m->trace);
	printf("# %lu refused, %lu by the driver; %lu while something failed\n",
	       m->refused, m->injected, m->tried);
	printf("# %lu DMA commands, %lu through a parent; %lu mappings of several pieces\n",
	       m->accesses, m->nested, m->pieces);
	printf("# %lu bits of dirty pages, %lu of them beside what was written\n",
	       m->reported, m->beside);
	printf("# %lu events, %lu of REVOKE; trees up to %u deep\n", m->read,
	       m->revoked, m->deepest);
	printf("# operations and how many of them were refused:");
	for (i = 0; i < num_operations; i++)
		printf(" %s %lu/%lu%s", operations[i].name,
		       operations[i].done, operations[i].refused,
		       i + 1 < num_operations ? "," : "\n");
	fflush(stdout);
}

FIXTURE(model) {
	struct model m;
	struct counts counts;
	long limit;
};

FIXTURE_SETUP(model)
{
	const char *missing = test_iommu_missing();

	self->m.iommu = -1;
	self->m.fail_nth = -1;
	self->m.events = -1;
	if (missing)
		SKIP(return, "%s", missing);
	ASSERT_EQ(0, test_iommu_remove_all());
	self->limit = param_get("dma_entry_limit");
	ASSERT_EQ(0, param_set("dma_entry_limit", MAX_MAPPINGS));
	COUNTS_BEGIN(&self->counts);
	self->m.iommu = iommu_open();
	ASSERT_LE(0, self->m.iommu);
}

FIXTURE_TEARDOWN(model)
{
	if (self->m.iommu < 0)
		return;
	end(&self->m);
	devices_teardown(&self->m);
	failures_teardown(&self->m);
	events_teardown(&self->m);
	close(self->m.iommu);
	EXPECT_EQ(0, test_iommu_remove_all());
	memory_teardown(&self->m);
	EXPECT_EQ(0, param_set("dma_entry_limit", self->limit));
	COUNTS_END(&self->counts);
}

TEST_F_TIMEOUT(model, random, 7200)
{
	unsigned long ops = env_number("MODEL_OPS", DEFAULT_OPS);
	struct model *m = &self->m;
	double start;

	ASSERT_EQ(0, begin(m, env_number("MODEL_SEED", DEFAULT_SEED), false));
	printf("# MODEL_SEED=0x%llx MODEL_OPS=%lu\n", m->seed, ops);
	fflush(stdout);
	start = seconds();
	run(m, ops);
	say_what_was_done(m, seconds() - start);
	if (!m->mismatch[0])
		end(m);
	if (m->mismatch[0])
		say_mismatch(m);
	EXPECT_STREQ("", m->mismatch);
}

/* An IOMMU that goes on using what was unmapped does not go unnoticed. */
TEST_F_TIMEOUT(model, finds_lost_flushes, 600)
{
	struct model *m = &self->m;

	ASSERT_EQ(0, begin(m, DEFAULT_SEED, true));
	run(m, STALE_OPS);
	if (m->mismatch[0])
		say_mismatch(m);
	EXPECT_NE('\0', m->mismatch[0]);
}

TEST_HARNESS_MAIN
