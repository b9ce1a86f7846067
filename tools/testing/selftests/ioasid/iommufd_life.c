// SPDX-License-Identifier: GPL-2.0-only
/*
 * How the objects of iommufd's interface end: in any order, under the hands of
 * calls that use them, with their files, and with their devices.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "ioasid_utils.h"
#include "iommufd_utils.h"
#include "test_iommu_utils.h"

#define MEM_PAGES	32
#define MEM_SIZE	(MEM_PAGES * PAGE)
#define ADDR(n)		(TEST_IOVA + (n) * PAGE)
#define MARK		0xa5a5a5a5a5a5a5a5ULL

FIXTURE(life)
{
	struct counts begin;
	struct dma_device one;
	struct dma_device two;
	int iommu;
	int queue;
	__u32 ioas;
	__u32 parent;
	__u32 nested;
	__u32 fault;
	char *mem;
};

FIXTURE_SETUP(life)
{
	const char *missing = test_iommu_missing();

	self->one.fd = -1;
	self->two.fd = -1;
	self->iommu = -1;
	self->queue = -1;
	self->mem = NULL;
	if (missing)
		SKIP(return, "%s", missing);
	ASSERT_EQ(0, test_iommu_remove_all());
	COUNTS_BEGIN(&self->begin);
	self->mem = mem_alloc(MEM_SIZE);
	ASSERT_NE(NULL, self->mem);
	self->iommu = iommu_open();
	ASSERT_LE(0, self->iommu);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

FIXTURE_TEARDOWN(life)
{
	if (!self->mem)
		return;
	dev_close(&self->one);
	dev_close(&self->two);
	close_fd(&self->iommu);
	close_fd(&self->queue);
	EXPECT_EQ(0, test_iommu_remove_all());
	munmap(self->mem, MEM_SIZE);
	COUNTS_END(&self->begin);
}

/* As the comment of struct ioasid_test_hwpt_data says */
#define ENTRY		7ULL
#define TABLE		4096
#define DATA_PAGE	8
#define VIRTUAL		0x400000201000ULL	/* indices 128, 0, 1, 1 */

/* A table at the start of the memory that leads to its DATA_PAGE */
static void make_table(char *mem)
{
	__u64 (*level)[TABLE / 8] = (void *)mem;

	level[0][128] = (TEST_IOVA + TABLE) | ENTRY;
	level[1][0] = (TEST_IOVA + 2 * TABLE) | ENTRY;
	level[2][1] = (TEST_IOVA + 3 * TABLE) | ENTRY;
	level[3][1] = ADDR(DATA_PAGE) | ENTRY;
}

static int add_nested(struct _test_data_life *self, __u32 flags, __u32 *nested)
{
	struct ioasid_test_hwpt_data data = { .table = TEST_IOVA, .levels = 4 };

	return hwpt_alloc_data(self->iommu, self->one.dev_id, self->parent,
			       flags, self->fault, &data, sizeof(data), nested);
}

static int begin_device(struct _test_data_life *self)
{
	return test_device_begin("pri=1", &self->one, self->iommu);
}

/* A device in a nested table with a fault queue: all that can hang together */
static int begin_all(struct _test_data_life *self)
{
	int rc = begin_device(self);

	make_table(self->mem);
	if (!rc)
		rc = ioas_alloc(self->iommu, &self->ioas);
	if (!rc)
		rc = ioas_map(self->iommu, self->ioas, IOAS_RW, self->mem,
			      TEST_IOVA, MEM_SIZE);
	if (!rc)
		rc = hwpt_alloc(self->iommu, self->one.dev_id, self->ioas,
				IOMMU_HWPT_ALLOC_NEST_PARENT, &self->parent);
	if (rc)
		return rc;
	self->queue = fault_queue_alloc(self->iommu, &self->fault);
	if (self->queue < 0)
		return self->queue;
	rc = add_nested(self, IOMMU_HWPT_FAULT_ID_VALID, &self->nested);
	return rc ? rc : vfio_attach(self->one.fd, self->nested);
}

/* The device writes where there is nothing, and asks for it. */
static int start_asking(struct _test_data_life *self, unsigned int channel)
{
	struct ioasid_test_command command = {
		.op = IOASID_TEST_FILL,
		.flags = IOASID_TEST_ASYNC | IOASID_TEST_PAGE_REQUEST,
		.iova = VIRTUAL + (channel + 1) * TABLE,
		.length = 64,
		.pattern = MARK,
	};

	return test_device_run(&self->one, channel, &command);
}

static int wait_fault(struct _test_data_life *self)
{
	struct pollfd wait = { .fd = self->queue, .events = POLLIN };

	return poll(&wait, 1, 10000) == 1 && wait.revents & POLLIN ? 0 : -EIO;
}

/* ---- order ---- */

TEST_F(life, nothing_ends_that_is_in_use)
{
	__u32 *ids[] = { &self->ioas, &self->parent, &self->nested,
			 &self->fault, &self->one.dev_id };
	unsigned int i;
	long objects;

	ASSERT_EQ(0, begin_all(self));
	objects = context_objects(self->iommu);
	EXPECT_EQ(5, objects);
	for (i = 0; i < ARRAY_SIZE(ids); i++)
		EXPECT_EQ(-EBUSY, iommufd_destroy(self->iommu, *ids[i])) {
			TH_LOG("object %u", i);
		}
	EXPECT_EQ(-EBUSY, ioasid_free(self->iommu, self->ioas));
	/* The file of the queue does not keep it once it is closed. */
	close_fd(&self->queue);
	EXPECT_EQ(-EBUSY, iommufd_destroy(self->iommu, self->fault));
	EXPECT_EQ(0, test_device_fill(&self->one, VIRTUAL, 8, MARK));

	ASSERT_EQ(0, vfio_detach(self->one.fd));
	EXPECT_EQ(-EBUSY, iommufd_destroy(self->iommu, self->ioas));
	EXPECT_EQ(-EBUSY, iommufd_destroy(self->iommu, self->parent));
	EXPECT_EQ(-EBUSY, iommufd_destroy(self->iommu, self->fault));
	EXPECT_EQ(0, iommufd_destroy(self->iommu, self->nested));
	EXPECT_EQ(-ENOENT, iommufd_destroy(self->iommu, self->nested));
	EXPECT_EQ(-EBUSY, iommufd_destroy(self->iommu, self->ioas));
	EXPECT_EQ(0, iommufd_destroy(self->iommu, self->fault));
	EXPECT_EQ(0, iommufd_destroy(self->iommu, self->parent));
	EXPECT_EQ(0, iommufd_destroy(self->iommu, self->ioas));
	EXPECT_EQ(1, context_objects(self->iommu));
}

/* Two nested tables on one parent, a table that reports and an open file */
TEST_F(life, counts_all_users)
{
	__u32 other;

	ASSERT_EQ(0, begin_all(self));
	ASSERT_EQ(0, add_nested(self, IOMMU_HWPT_FAULT_ID_VALID, &other));
	ASSERT_EQ(0, vfio_attach(self->one.fd, other));
	EXPECT_EQ(0, iommufd_destroy(self->iommu, self->nested));
	EXPECT_EQ(-EBUSY, iommufd_destroy(self->iommu, self->parent));
	/* Under the nested table itself */
	ASSERT_EQ(0, vfio_attach(self->one.fd, self->parent));
	EXPECT_EQ(0, iommufd_destroy(self->iommu, other));
	EXPECT_EQ(-EBUSY, iommufd_destroy(self->iommu, self->parent));
	EXPECT_EQ(-EBUSY, iommufd_destroy(self->iommu, self->fault));
	close_fd(&self->queue);
	EXPECT_EQ(0, iommufd_destroy(self->iommu, self->fault));
	EXPECT_EQ(0, test_device_fill(&self->one, ADDR(3), 8, MARK));
	dev_close(&self->one);
	EXPECT_EQ(0, iommufd_destroy(self->iommu, self->parent));
	EXPECT_EQ(0, iommufd_destroy(self->iommu, self->ioas));
	EXPECT_EQ(0, context_objects(self->iommu));
}

/* A nested table moves to and from the address space that it is built on. */
TEST_F(life, nested_and_back)
{
	struct iommu_ioasid_info info;
	__u32 table;
	int i;

	ASSERT_EQ(0, begin_all(self));
	for (i = 0; i < 10; i++) {
		table = i % 2 ? self->parent : self->ioas;
		EXPECT_EQ(0, test_device_fill(&self->one, VIRTUAL, 8, MARK));
		ASSERT_EQ(0, vfio_attach_id(self->one.fd, &table));
		EXPECT_EQ(0, test_device_fill(&self->one, ADDR(4), 8, MARK));
		EXPECT_EQ(IOASID_TEST_FAULT_NOT_PRESENT,
			  test_device_fill(&self->one, VIRTUAL, 8, MARK));
		ASSERT_EQ(0, vfio_attach(self->one.fd, self->nested));
		ASSERT_EQ(0, ioasid_totals(self->iommu, self->ioas, &info));
		EXPECT_EQ(1, info.num_devices);
		EXPECT_EQ(1, info.num_tables);
	}
}

/* ---- files ---- */

static short poll_queue(int queue)
{
	struct pollfd wait = {
		.fd = queue,
		.events = POLLIN | POLLOUT | POLLHUP,
	};

	return poll(&wait, 1, 0) < 0 ? -1 : wait.revents;
}

/* The context goes first: what is left of the queue says so, and harms nobody. */
TEST_F(life, context_is_closed_first)
{
	struct iommu_hwpt_page_response response = {
		.cookie = 1,
		.code = IOMMUFD_PAGE_RESP_SUCCESS,
	};
	struct iommu_hwpt_pgfault fault;

	ASSERT_EQ(0, begin_all(self));
	EXPECT_EQ(POLLOUT, poll_queue(self->queue));
	ASSERT_EQ(0, start_asking(self, 0));
	ASSERT_EQ(0, wait_fault(self));
	/* The device still holds the context. */
	close_fd(&self->iommu);
	EXPECT_EQ(POLLIN | POLLOUT, poll_queue(self->queue));
	ASSERT_EQ(sizeof(fault), read(self->queue, &fault, sizeof(fault)));
	EXPECT_EQ(POLLOUT, poll_queue(self->queue));
	dev_close(&self->one);
	EXPECT_EQ(POLLOUT | POLLHUP, poll_queue(self->queue));
	EXPECT_EQ(0, read(self->queue, &fault, sizeof(fault)));
	response.cookie = fault.cookie;
	EXPECT_EQ(-1, write(self->queue, &response, sizeof(response)));
	EXPECT_EQ(EINVAL, errno);
}

/* Nobody can answer any more: the end of the attachment does. */
TEST_F(life, queue_is_closed_first)
{
	struct ioasid_test_status status;
	unsigned int i;

	ASSERT_EQ(0, begin_all(self));
	for (i = 0; i < IOASID_TEST_NUM_CHANNELS; i++)
		ASSERT_EQ(0, start_asking(self, i));
	ASSERT_EQ(0, wait_fault(self));
	close_fd(&self->queue);
	ASSERT_EQ(0, test_device_status(&self->one, 0, &status));
	EXPECT_EQ(1, status.running);
	ASSERT_EQ(0, vfio_detach(self->one.fd));
	for (i = 0; i < IOASID_TEST_NUM_CHANNELS; i++) {
		ASSERT_EQ(0, test_device_wait(&self->one, i, &status));
		EXPECT_NE(IOASID_TEST_FAULT_NONE, status.fault);
	}
	EXPECT_EQ(0, iommufd_destroy(self->iommu, self->nested));
	EXPECT_EQ(0, iommufd_destroy(self->iommu, self->fault));
}

/* All is closed at once, whatever is under way. */
TEST_F(life, close_with_all_alive)
{
	__u32 nested, ioas;
	int i;

	ASSERT_EQ(0, begin_all(self));
	for (i = 0; i < 50; i++) {
		ASSERT_EQ(0, add_nested(self, i % 2 ? IOMMU_HWPT_FAULT_ID_VALID :
						      0, &nested));
		ASSERT_EQ(0, ioas_alloc(self->iommu, &ioas));
		ASSERT_EQ(0, ioas_copy(self->iommu, self->ioas, TEST_IOVA, ioas,
				       TEST_IOVA, MEM_SIZE, IOAS_RW));
		ASSERT_EQ(0, hwpt_alloc(self->iommu, self->one.dev_id, ioas, 0,
					&nested));
	}
	ASSERT_EQ(0, start_asking(self, 0));
	ASSERT_EQ(0, wait_fault(self));
	close_fd(&self->iommu);
	dev_close(&self->one);
	EXPECT_EQ(POLLOUT | POLLHUP, poll_queue(self->queue));
}

/* ---- devices that go ---- */

static void *unplug(void *result)
{
	*(int *)result = test_device_unplug("a", "one");
	return NULL;
}

/* The device is pulled out while it is attached to all that there is. */
TEST_F_TIMEOUT(life, unplug, 60)
{
	int event = eventfd(0, EFD_CLOEXEC), result = 1;
	struct pollfd wait = { .fd = event, .events = POLLIN };
	struct ioasid_test_status status;
	pthread_t thread;

	ASSERT_LE(0, event);
	ASSERT_EQ(0, begin_all(self));
	ASSERT_EQ(0, dev_irq(&self->one, IOASID_TEST_IRQ_REQ, 0, event));
	ASSERT_EQ(0, start_asking(self, 0));
	ASSERT_EQ(0, wait_fault(self));
	ASSERT_EQ(0, pthread_create(&thread, NULL, unplug, &result));
	EXPECT_EQ(1, poll(&wait, 1, 20000));
	/* It waits for the program, which can go on meanwhile. */
	ASSERT_EQ(0, test_device_status(&self->one, 0, &status));
	EXPECT_EQ(1, status.running);
	EXPECT_EQ(-EBUSY, iommufd_destroy(self->iommu, self->nested));
	dev_close(&self->one);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, result);
	close(event);

	/* Its tables are there, of an IOMMU that has no device any more. */
	EXPECT_EQ(4, context_objects(self->iommu));
	ASSERT_EQ(0, ioas_unmap(self->iommu, self->ioas, TEST_IOVA, MEM_SIZE,
				NULL));
	EXPECT_EQ(0, iommufd_destroy(self->iommu, self->nested));
	EXPECT_EQ(0, iommufd_destroy(self->iommu, self->parent));
	close_fd(&self->queue);
	EXPECT_EQ(0, iommufd_destroy(self->iommu, self->fault));
	EXPECT_EQ(0, iommufd_destroy(self->iommu, self->ioas));
}

/* ---- under the hands of others ---- */

#define ROUNDS		1000
#define THREADS		6
/* Identifiers are small, and soon used again */
#define MAX_ID		14

struct race {
	struct _test_data_life *self;
	unsigned int seed;
	unsigned int number;
	int strange;
};

static unsigned int pick(struct race *race, unsigned int n)
{
	return rand_r(&race->seed) / 7 % n;
}

/* What a call may say of an object that comes, goes, or is something else */
static bool is_normal(int rc)
{
	switch (-rc) {
	case 0:
	case EBUSY:
	case EEXIST:
	case EINVAL:
	case ENOENT:
	case EADDRINUSE:
	case EOPNOTSUPP:
	case ENODEV:
	case ENOSPC:
	case EPERM:
		return true;
	default:
		return false;
	}
}

static void check(struct race *race, int rc)
{
	if (!is_normal(rc))
		race->strange = rc;
}

static void make_something(struct race *race)
{
	struct _test_data_life *self = race->self;
	__u32 id;
	int queue;

	switch (pick(race, 5)) {
	case 0:
		check(race, ioas_alloc(self->iommu, &id));
		break;
	case 1:
		check(race, hwpt_alloc(self->iommu, self->one.dev_id,
				       pick(race, MAX_ID),
				       IOMMU_HWPT_ALLOC_NEST_PARENT, &id));
		break;
	case 2:
		check(race, hwpt_alloc(self->iommu, self->one.dev_id,
				       pick(race, MAX_ID),
				       IOMMU_HWPT_ALLOC_DIRTY_TRACKING, &id));
		break;
	case 3:
		queue = fault_queue_alloc(self->iommu, &id);
		check(race, queue < 0 ? queue : 0);
		if (queue >= 0)
			close(queue);
		break;
	default:
		self->parent = pick(race, MAX_ID);
		self->fault = pick(race, MAX_ID);
		check(race, add_nested(self, pick(race, 2) *
					     IOMMU_HWPT_FAULT_ID_VALID, &id));
		break;
	}
}

static void use_something(struct race *race)
{
	struct _test_data_life *self = race->self;
	__u32 id = pick(race, MAX_ID), n = pick(race, MEM_PAGES);
	struct iommu_ioasid_info info;
	__u64 bits;

	switch (pick(race, 7)) {
	case 0:
		check(race, ioas_map(self->iommu, id, IOAS_RW,
				     self->mem + n * PAGE, ADDR(n), PAGE));
		break;
	case 1:
		check(race, ioas_unmap(self->iommu, id, ADDR(n), PAGE, NULL));
		break;
	case 2:
		check(race, ioas_copy(self->iommu, id, ADDR(n),
				      pick(race, MAX_ID), ADDR(n), PAGE,
				      IOAS_RW));
		break;
	case 3:
		check(race, hwpt_dirty(self->iommu, id, 0, ADDR(n), PAGE, PAGE,
				       &bits));
		break;
	case 4:
		check(race, hwpt_track(self->iommu, id, pick(race, 2)));
		break;
	case 5:
		check(race, ioasid_totals(self->iommu, id, &info));
		break;
	default:
		check(race, context_objects(self->iommu) < 0 ? -EIO : 0);
		break;
	}
}

static void *race_thread(void *arg)
{
	struct race *race = arg;
	struct _test_data_life *self = race->self;
	__u32 id;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		id = pick(race, MAX_ID);
		switch (race->number) {
		case 0:
			check(race, pick(race, 3) ?
					    vfio_attach(self->one.fd, id) :
					    vfio_detach(self->one.fd));
			break;
		case 1:
			check(race, pick(race, 3) ?
					    vfio_attach(self->two.fd, id) :
					    vfio_detach(self->two.fd));
			break;
		case 2:
		case 3:
			check(race, iommufd_destroy(self->iommu, id));
			break;
		case 4:
			make_something(race);
			break;
		default:
			use_something(race);
			break;
		}
	}
	return NULL;
}

TEST_F_TIMEOUT(life, everything_at_once, 180)
{
	struct race races[THREADS] = {};
	pthread_t threads[THREADS];
	unsigned int i;
	__u32 id;

	ASSERT_EQ(0, begin_device(self));
	ASSERT_EQ(0, test_device_make("a", "two", NULL, &self->two));
	ASSERT_EQ(0, dev_open_bind(&self->two, self->iommu));
	make_table(self->mem);
	for (i = 0; i < THREADS; i++) {
		races[i].self = self;
		races[i].number = i;
		races[i].seed = i + 1;
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, race_thread,
					    &races[i]));
	}
	for (i = 0; i < THREADS; i++) {
		ASSERT_EQ(0, pthread_join(threads[i], NULL));
		EXPECT_EQ(0, races[i].strange) {
			TH_LOG("thread %u", i);
		}
	}
	/* What is left ends in some order, and then nothing is. */
	vfio_detach(self->one.fd);
	vfio_detach(self->two.fd);
	for (i = 0; i < 4; i++)
		for (id = 1; id < 4096; id++)
			iommufd_destroy(self->iommu, id);
	EXPECT_EQ(2, context_objects(self->iommu));
}

/* Two end whatever there is: who is attached is attached to something. */
TEST_F_TIMEOUT(life, attach_against_destroy, 180)
{
	struct race races[2] = {};
	unsigned int i, attached = 0;
	pthread_t threads[2];
	__u32 hwpt;
	int rc;

	ASSERT_EQ(0, begin_device(self));
	ASSERT_EQ(0, ioas_alloc(self->iommu, &self->ioas));
	for (i = 0; i < ARRAY_SIZE(races); i++) {
		races[i].self = self;
		races[i].number = 2;
		races[i].seed = i + 1;
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, race_thread,
					    &races[i]));
	}
	for (i = 0; i < ROUNDS; i++) {
		rc = hwpt_alloc(self->iommu, self->one.dev_id, self->ioas, 0,
				&hwpt);
		if (rc) {
			/* The address space has gone, and its number with it. */
			EXPECT_TRUE(rc == -EINVAL || rc == -EOPNOTSUPP);
			ASSERT_EQ(0, ioas_alloc(self->iommu, &self->ioas));
			continue;
		}
		rc = vfio_attach(self->one.fd, hwpt);
		if (rc) {
			EXPECT_EQ(-ENOENT, rc);
			continue;
		}
		attached++;
		EXPECT_EQ(-EBUSY, iommufd_destroy(self->iommu, hwpt));
		EXPECT_EQ(IOASID_TEST_FAULT_NOT_PRESENT,
			  test_device_fill(&self->one, TEST_IOVA, 8, MARK));
		ASSERT_EQ(0, vfio_detach(self->one.fd));
		iommufd_destroy(self->iommu, hwpt);
	}
	for (i = 0; i < ARRAY_SIZE(races); i++)
		ASSERT_EQ(0, pthread_join(threads[i], NULL));
	EXPECT_LT(0, attached);
}

TEST_HARNESS_MAIN
