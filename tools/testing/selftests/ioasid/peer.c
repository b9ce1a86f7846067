// SPDX-License-Identifier: GPL-2.0-only
/*
 * The test IOMMU under the interface of iommufd: page requests with answers,
 * and page tables in user memory. It runs on a kernel with CONFIG_IOASID=n, too,
 * to show that the test IOMMU does not depend on who provides /dev/iommu, that
 * it does what such users expect of an IOMMU, and that ours does not differ.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "ioasid_utils.h"
#include "iommufd_utils.h"
#include "test_iommu_utils.h"

#define MEM_PAGES	32
#define MARK		0xa5a5a5a5a5a5a5a5ULL
#define OTHER		0x5a5a5a5a5a5a5a5aULL

FIXTURE(peer)
{
	struct counts begin;
	struct dma_device dev;
	int iommu;
	__u32 ioas;
	char *mem;
};

static int map(struct _test_data_peer *self, void *mem, __u64 iova,
	       __u64 length, __u32 flags)
{
	return ioas_map(self->iommu, self->ioas, flags, mem, iova, length);
}

static int unmap(struct _test_data_peer *self, __u64 iova, __u64 length)
{
	return ioas_unmap(self->iommu, self->ioas, iova, length, NULL);
}

static int make_table(struct _test_data_peer *self, __u32 parent, __u32 flags,
		      __u32 fault, void *data, size_t length, __u32 *hwpt)
{
	return hwpt_alloc_data(self->iommu, self->dev.dev_id, parent, flags,
			       fault, data, length, hwpt);
}

FIXTURE_SETUP(peer)
{
	self->dev.fd = -1;
	self->iommu = -1;
	self->mem = NULL;
	if (access(IOASID_TEST_CONFIGFS, F_OK))
		SKIP(return, "no configfs of module ioasid_test_iommu");
	ASSERT_EQ(0, test_iommu_remove_all());
	COUNTS_BEGIN(&self->begin);
	self->mem = mem_alloc(MEM_PAGES * PAGE);
	ASSERT_NE(NULL, self->mem);
	self->iommu = iommu_open();
	ASSERT_LE(0, self->iommu);
	ASSERT_EQ(0, ioas_alloc(self->iommu, &self->ioas));
}

FIXTURE_TEARDOWN(peer)
{
	if (!self->mem)
		return;
	dev_close(&self->dev);
	if (self->iommu >= 0)
		close(self->iommu);
	EXPECT_EQ(0, test_iommu_remove_all());
	munmap(self->mem, MEM_PAGES * PAGE);
	COUNTS_END(&self->begin);
}

static int begin(struct _test_data_peer *self, const char *settings)
{
	return test_device_begin(settings, &self->dev, self->iommu);
}

static enum ioasid_test_fault run(struct _test_data_peer *self, __u32 op,
				  __u64 iova, __u64 pattern)
{
	struct ioasid_test_command command = {
		.op = op,
		.iova = iova,
		.length = 8,
		.pattern = pattern,
	};
	struct ioasid_test_status status;

	if (test_device_run(&self->dev, 0, &command) ||
	    test_device_status(&self->dev, 0, &status))
		return -1;
	return status.fault ?: status.mismatches ? -2 : 0;
}

static enum ioasid_test_fault fill_at(struct _test_data_peer *self, __u64 iova,
				      __u64 pattern)
{
	return run(self, IOASID_TEST_FILL, iova, pattern);
}

static enum ioasid_test_fault compare_at(struct _test_data_peer *self,
					 __u64 iova, __u64 pattern)
{
	return run(self, IOASID_TEST_COMPARE, iova, pattern);
}

TEST_F(peer, plain)
{
	ASSERT_EQ(0, begin(self, NULL));
	ASSERT_EQ(0, map(self, self->mem, TEST_IOVA, PAGE, IOAS_RW));
	EXPECT_EQ(IOASID_TEST_FAULT_BLOCKED, fill_at(self, TEST_IOVA, MARK));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioas));
	EXPECT_EQ(0, fill_at(self, TEST_IOVA, MARK));
	EXPECT_TRUE(all_bytes(self->mem, 8, 0xa5));
	ASSERT_EQ(0, unmap(self, TEST_IOVA, PAGE));
	EXPECT_EQ(IOASID_TEST_FAULT_NOT_PRESENT,
		  fill_at(self, TEST_IOVA, MARK));
}

TEST_F(peer, hardware_info)
{
	struct ioasid_test_hw_info info;
	struct iommu_hw_info cmd = {
		.size = sizeof(cmd),
		.data_len = sizeof(info),
		.data_uptr = (uintptr_t)&info,
	};

	ASSERT_EQ(0, begin(self, "width=40;page_sizes=0x201000;pasid_bits=9"));
	cmd.dev_id = self->dev.dev_id;
	ASSERT_EQ(0, iommu_call(self->iommu, IOMMU_GET_HW_INFO, &cmd));
	EXPECT_EQ(IOASID_TEST_DATA_TYPE, cmd.out_data_type);
	EXPECT_EQ(40, info.width);
	EXPECT_EQ(0x201000, info.page_sizes);
	EXPECT_EQ(1, info.nesting);
	EXPECT_TRUE(cmd.out_capabilities & IOMMU_HW_CAP_DIRTY_TRACKING);
}

/* ---- page requests ---- */

static int next_fault(int queue, struct iommu_hwpt_pgfault *fault)
{
	struct pollfd wait = { .fd = queue, .events = POLLIN };

	if (poll(&wait, 1, 10000) != 1)
		return -ETIMEDOUT;
	return read(queue, fault, sizeof(*fault)) == sizeof(*fault) ? 0 : -EIO;
}

static int answer(int queue, __u32 cookie, __u32 code)
{
	struct iommu_hwpt_page_response response = {
		.cookie = cookie,
		.code = code,
	};

	return write(queue, &response, sizeof(response)) == sizeof(response) ?
		       0 : -errno;
}

/* Fills a page that is not there, and says so when it misses it. */
static int start_asking(struct _test_data_peer *self, __u32 pasid)
{
	struct ioasid_test_command command = {
		.op = IOASID_TEST_FILL,
		.flags = IOASID_TEST_ASYNC | IOASID_TEST_PAGE_REQUEST |
			 (pasid ? IOASID_TEST_PASID : 0),
		.pasid = pasid,
		.iova = TEST_IOVA + 16,
		.length = 64,
		.pattern = MARK,
	};

	return test_device_run(&self->dev, 0, &command);
}

static void check_request(struct __test_metadata *_metadata,
			  struct _test_data_peer *self, __u32 pasid)
{
	struct iommu_hwpt_pgfault fault;
	struct ioasid_test_globals globals;
	struct ioasid_test_status status;
	__u32 id, hwpt;
	int queue;

	ASSERT_EQ(0, begin(self, "pri=1"));
	queue = fault_queue_alloc(self->iommu, &id);
	ASSERT_LE(0, queue);
	ASSERT_EQ(0, make_table(self, self->ioas,
				IOMMU_HWPT_FAULT_ID_VALID |
					IOMMU_HWPT_ALLOC_PASID,
				id, NULL, 0, &hwpt));
	ASSERT_EQ(0, pasid ? vfio_attach_pasid(self->dev.fd, pasid, hwpt) :
			     vfio_attach(self->dev.fd, hwpt));

	/* Granted: DMA goes on as if nothing had been. */
	ASSERT_EQ(0, start_asking(self, pasid));
	ASSERT_EQ(0, next_fault(queue, &fault));
	EXPECT_EQ(self->dev.dev_id, fault.dev_id);
	EXPECT_EQ(TEST_IOVA, fault.addr);
	EXPECT_EQ(IOMMU_PGFAULT_PERM_WRITE, fault.perm);
	EXPECT_EQ(!!pasid, !!(fault.flags & IOMMU_PGFAULT_FLAGS_PASID_VALID));
	EXPECT_EQ(pasid, fault.pasid);
	ASSERT_EQ(0, test_device_status(&self->dev, 0, &status));
	EXPECT_EQ(1, status.running);
	EXPECT_EQ(0, status.bytes);
	ASSERT_EQ(0, map(self, self->mem, TEST_IOVA, PAGE, IOAS_RW));
	ASSERT_EQ(0, answer(queue, fault.cookie, IOMMUFD_PAGE_RESP_SUCCESS));
	ASSERT_EQ(0, test_device_wait(&self->dev, 0, &status));
	EXPECT_EQ(IOASID_TEST_FAULT_NONE, status.fault);
	EXPECT_EQ(64, status.bytes);
	EXPECT_TRUE(all_bytes(self->mem + 16, 64, 0xa5));

	/* Denied. */
	ASSERT_EQ(0, unmap(self, TEST_IOVA, PAGE));
	ASSERT_EQ(0, start_asking(self, pasid));
	ASSERT_EQ(0, next_fault(queue, &fault));
	ASSERT_EQ(0, answer(queue, fault.cookie, IOMMUFD_PAGE_RESP_INVALID));
	ASSERT_EQ(0, test_device_wait(&self->dev, 0, &status));
	EXPECT_EQ(IOASID_TEST_FAULT_REQUEST, status.fault);

	/* Never answered: the end of the attachment does. */
	ASSERT_EQ(0, start_asking(self, pasid));
	ASSERT_EQ(0, next_fault(queue, &fault));
	ASSERT_EQ(0, pasid ? vfio_detach_pasid(self->dev.fd, pasid) :
			     vfio_detach(self->dev.fd));
	ASSERT_EQ(0, test_device_wait(&self->dev, 0, &status));
	EXPECT_EQ(IOASID_TEST_FAULT_REQUEST, status.fault);
	ASSERT_EQ(0, test_device_globals(&self->dev, &globals));
	EXPECT_EQ(3, globals.page_requests);
	EXPECT_EQ(1, globals.page_responses);
	close(queue);
}

TEST_F(peer, page_request)
{
	check_request(_metadata, self, 0);
}

TEST_F(peer, page_request_pasid)
{
	check_request(_metadata, self, 5);
}

/* The program closes the device while it waits for an answer. */
TEST_F(peer, close_while_asking)
{
	struct iommu_hwpt_pgfault fault;
	__u32 id, hwpt;
	int queue;

	ASSERT_EQ(0, begin(self, "pri=1"));
	queue = fault_queue_alloc(self->iommu, &id);
	ASSERT_LE(0, queue);
	ASSERT_EQ(0, make_table(self, self->ioas, IOMMU_HWPT_FAULT_ID_VALID, id,
				NULL, 0, &hwpt));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, hwpt));
	ASSERT_EQ(0, start_asking(self, 0));
	ASSERT_EQ(0, next_fault(queue, &fault));
	dev_close(&self->dev);
	close(queue);
}

static int begin_faults(struct _test_data_peer *self, __u32 *id, __u32 *hwpt)
{
	int queue, rc = begin(self, "pri=1");

	if (rc)
		return rc;
	queue = fault_queue_alloc(self->iommu, id);
	if (queue < 0)
		return queue;
	rc = make_table(self, self->ioas, IOMMU_HWPT_FAULT_ID_VALID, *id, NULL,
			0, hwpt);
	if (!rc)
		rc = vfio_attach(self->dev.fd, *hwpt);
	return rc ? rc : queue;
}

/* Each channel at a page of its own */
static int ask_at(struct _test_data_peer *self, unsigned int channel, __u32 op)
{
	struct ioasid_test_command command = {
		.op = op,
		.flags = IOASID_TEST_ASYNC | IOASID_TEST_PAGE_REQUEST,
		.iova = TEST_IOVA + channel * PAGE,
		.length = 64,
		.pattern = MARK,
	};

	return test_device_run(&self->dev, channel, &command);
}

#define CHANNELS	IOASID_TEST_NUM_CHANNELS

static int wait_done(struct _test_data_peer *self, unsigned int channel,
		     enum ioasid_test_fault want)
{
	struct ioasid_test_status status;
	int rc = test_device_wait(&self->dev, channel, &status);

	return rc ?: status.fault == want ? 0 : -EILSEQ;
}

/* Several at a time, read at once and answered at once, in another order */
TEST_F_TIMEOUT(peer, many_faults, 60)
{
	struct iommu_hwpt_page_response responses[CHANNELS] = {};
	struct iommu_hwpt_pgfault faults[CHANNELS + 1];
	unsigned int round, i, have, channel;
	__u32 id, hwpt;
	ssize_t n;
	int queue;

	queue = begin_faults(self, &id, &hwpt);
	ASSERT_LE(0, queue);
	for (round = 0; round < 50; round++) {
		struct pollfd wait = { .fd = queue, .events = POLLIN };

		for (i = 0; i < CHANNELS; i++)
			ASSERT_EQ(0, ask_at(self, i, IOASID_TEST_FILL));
		for (have = 0; have < CHANNELS; have += n / sizeof(*faults)) {
			ASSERT_EQ(1, poll(&wait, 1, 10000));
			n = read(queue, faults + have,
				 (CHANNELS + 1 - have) * sizeof(*faults));
			ASSERT_LT(0, n);
		}
		ASSERT_EQ(CHANNELS, have);
		EXPECT_EQ(0, read(queue, faults, sizeof(faults)));
		for (i = 0; i < CHANNELS; i++) {
			channel = (faults[i].addr - TEST_IOVA) / PAGE;
			ASSERT_GT(CHANNELS, channel);
			responses[CHANNELS - 1 - i].cookie = faults[i].cookie;
			responses[CHANNELS - 1 - i].code =
				channel == round % CHANNELS ?
					IOMMUFD_PAGE_RESP_INVALID :
					IOMMUFD_PAGE_RESP_SUCCESS;
		}
		ASSERT_EQ(0, map(self, self->mem, TEST_IOVA, CHANNELS * PAGE,
				 IOAS_RW));
		ASSERT_EQ(sizeof(responses),
			  write(queue, responses, sizeof(responses)));
		for (i = 0; i < CHANNELS; i++)
			EXPECT_EQ(0, wait_done(self, i, i == round % CHANNELS ?
						IOASID_TEST_FAULT_REQUEST :
						IOASID_TEST_FAULT_NONE));
		ASSERT_EQ(0, unmap(self, TEST_IOVA, CHANNELS * PAGE));
	}
	close(queue);
}

/* Answers that answer nothing, and reads that read nothing */
TEST_F(peer, queue_refuses)
{
	struct iommu_hwpt_page_response responses[2] = {};
	struct iommu_hwpt_pgfault fault = {}, same;
	char *nowhere = mem_alloc(PAGE);
	__u32 id, hwpt;
	int queue;

	ASSERT_NE(NULL, nowhere);
	ASSERT_EQ(0, mprotect(nowhere, PAGE, PROT_NONE));
	queue = begin_faults(self, &id, &hwpt);
	ASSERT_LE(0, queue);
	EXPECT_EQ(0, read(queue, &fault, sizeof(fault)));
	ASSERT_EQ(0, ask_at(self, 0, IOASID_TEST_FILL));
	ASSERT_EQ(0, next_fault(queue, &fault));
	EXPECT_EQ(-EINVAL, answer(queue, fault.cookie, 7));
	EXPECT_EQ(-EINVAL, answer(queue, fault.cookie + 1,
				  IOMMUFD_PAGE_RESP_SUCCESS));
	EXPECT_EQ(-1, write(queue, responses, sizeof(responses[0]) - 1));
	EXPECT_EQ(ESPIPE, errno);
	EXPECT_EQ(-1, write(queue, nowhere, sizeof(responses[0])));
	EXPECT_EQ(EFAULT, errno);
	/* The first of two is good. */
	responses[0].cookie = fault.cookie;
	responses[0].code = IOMMUFD_PAGE_RESP_INVALID;
	responses[1] = responses[0];
	EXPECT_EQ(sizeof(responses[0]),
		  write(queue, responses, sizeof(responses)));
	EXPECT_EQ(0, wait_done(self, 0, IOASID_TEST_FAULT_REQUEST));
	EXPECT_EQ(-EINVAL, answer(queue, fault.cookie,
				  IOMMUFD_PAGE_RESP_SUCCESS));

	/* What cannot be read is still there. */
	ASSERT_EQ(0, ask_at(self, 1, IOASID_TEST_FILL));
	ASSERT_EQ(1, poll(&(struct pollfd){ .fd = queue, .events = POLLIN }, 1,
			  10000));
	EXPECT_EQ(-1, read(queue, nowhere, sizeof(fault)));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, read(queue, &fault, sizeof(fault) - 1));
	EXPECT_EQ(ESPIPE, errno);
	ASSERT_EQ(0, next_fault(queue, &same));
	EXPECT_EQ(TEST_IOVA + PAGE, same.addr);
	/* One that is too late */
	ASSERT_EQ(0, vfio_detach(self->dev.fd));
	EXPECT_EQ(0, wait_done(self, 1, IOASID_TEST_FAULT_REQUEST));
	EXPECT_EQ(-EINVAL, answer(queue, same.cookie,
				  IOMMUFD_PAGE_RESP_SUCCESS));
	close(queue);
	munmap(nowhere, PAGE);
}

/* What the old table has asked for the new one does not answer. */
TEST_F(peer, replace_while_asking)
{
	struct iommu_hwpt_pgfault fault, other;
	__u32 id, hwpt, next_id, next;
	int queue, second;

	queue = begin_faults(self, &id, &hwpt);
	ASSERT_LE(0, queue);
	second = fault_queue_alloc(self->iommu, &next_id);
	ASSERT_LE(0, second);
	ASSERT_EQ(0, make_table(self, self->ioas, IOMMU_HWPT_FAULT_ID_VALID,
				next_id, NULL, 0, &next));
	/* One is read, one is not. */
	ASSERT_EQ(0, ask_at(self, 0, IOASID_TEST_FILL));
	ASSERT_EQ(0, next_fault(queue, &fault));
	ASSERT_EQ(0, ask_at(self, 1, IOASID_TEST_COMPARE));
	ASSERT_EQ(1, poll(&(struct pollfd){ .fd = queue, .events = POLLIN }, 1,
			  10000));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, next));
	EXPECT_EQ(0, wait_done(self, 0, IOASID_TEST_FAULT_REQUEST));
	EXPECT_EQ(0, wait_done(self, 1, IOASID_TEST_FAULT_REQUEST));
	EXPECT_EQ(0, read(queue, &other, sizeof(other)));
	EXPECT_EQ(-EINVAL, answer(queue, fault.cookie,
				  IOMMUFD_PAGE_RESP_SUCCESS));
	/* From now on the other queue is told. */
	ASSERT_EQ(0, ask_at(self, 2, IOASID_TEST_FILL));
	ASSERT_EQ(0, next_fault(second, &fault));
	EXPECT_EQ(TEST_IOVA + 2 * PAGE, fault.addr);
	EXPECT_EQ(-EINVAL, answer(queue, fault.cookie,
				  IOMMUFD_PAGE_RESP_SUCCESS));
	ASSERT_EQ(0, answer(second, fault.cookie, IOMMUFD_PAGE_RESP_INVALID));
	EXPECT_EQ(0, wait_done(self, 2, IOASID_TEST_FAULT_REQUEST));
	/* And one without a queue tells nobody. */
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioas));
	ASSERT_EQ(0, ask_at(self, 3, IOASID_TEST_FILL));
	EXPECT_EQ(0, wait_done(self, 3, IOASID_TEST_FAULT_REQUEST));
	EXPECT_EQ(0, read(queue, &other, sizeof(other)));
	EXPECT_EQ(0, read(second, &other, sizeof(other)));
	close(queue);
	close(second);
}

/* Who asks in vain goes on asking: nothing is lost, nothing comes twice. */
TEST_F(peer, granted_but_not_mapped)
{
	struct iommu_hwpt_pgfault fault;
	__u32 id, hwpt, last = 0;
	unsigned int i;
	int queue;

	queue = begin_faults(self, &id, &hwpt);
	ASSERT_LE(0, queue);
	ASSERT_EQ(0, ask_at(self, 0, IOASID_TEST_FILL));
	for (i = 0; i < 20; i++) {
		ASSERT_EQ(0, next_fault(queue, &fault));
		EXPECT_EQ(TEST_IOVA, fault.addr);
		EXPECT_NE(last, fault.cookie);
		last = fault.cookie;
		if (i == 19)
			ASSERT_EQ(0, map(self, self->mem, TEST_IOVA, PAGE,
					 IOAS_RW));
		ASSERT_EQ(0, answer(queue, fault.cookie,
				    IOMMUFD_PAGE_RESP_SUCCESS));
	}
	EXPECT_EQ(0, wait_done(self, 0, IOASID_TEST_FAULT_NONE));
	EXPECT_TRUE(all_bytes(self->mem, 64, 0xa5));
	close(queue);
}

/* ---- page tables in user memory ---- */

/* As the comment of struct ioasid_test_hwpt_data says. */
#define P		(1ULL << 0)
#define W		(1ULL << 1)
#define U		(1ULL << 2)
#define PS		(1ULL << 7)
#define TABLE		4096

/*
 * @mem is seen by the parent from TEST_IOVA on: the tables in 4 KiB pieces, then
 * the data in pages.
 */
struct tables {
	__u64 level[4][512];
};

#define DATA_PAGE	8
#define VIRTUAL		0x400000201000ULL	/* indices 128, 0, 1, 1 */

static __u64 parent_address(unsigned int table)
{
	return TEST_IOVA + table * TABLE;
}

/* From the top to the first page of data */
static void fill_tables(struct tables *tables)
{
	tables->level[0][128] = parent_address(1) | P | W | U;
	tables->level[1][0] = parent_address(2) | P | W | U;
	tables->level[2][1] = parent_address(3) | P | W | U;
	tables->level[3][1] = (TEST_IOVA + DATA_PAGE * PAGE) | P | W | U;
}

static int begin_nested(struct _test_data_peer *self, __u32 *hwpt)
{
	struct ioasid_test_hwpt_data data = {
		.table = parent_address(0),
		.levels = 4,
	};
	int rc = begin(self, NULL);
	__u32 parent;

	fill_tables((void *)self->mem);
	if (!rc)
		rc = map(self, self->mem, TEST_IOVA, MEM_PAGES * PAGE,
			 IOAS_RW);
	if (!rc)
		rc = make_table(self, self->ioas, IOMMU_HWPT_ALLOC_NEST_PARENT,
				0, NULL, 0, &parent);
	if (!rc)
		rc = make_table(self, parent, 0, 0, &data, sizeof(data), hwpt);
	return rc ? rc : vfio_attach(self->dev.fd, *hwpt);
}

/* Faults in the user's table, which the user repairs */
TEST_F(peer, nested_faults)
{
	struct ioasid_test_hwpt_data data = {
		.table = parent_address(0),
		.levels = 4,
	};
	struct tables *tables = (void *)self->mem;
	struct ioasid_test_command command = {
		.op = IOASID_TEST_FILL,
		.flags = IOASID_TEST_ASYNC | IOASID_TEST_PAGE_REQUEST,
		.iova = VIRTUAL,
		.length = 2 * TABLE,
		.pattern = MARK,
	};
	struct iommu_hwpt_pgfault fault;
	__u32 id, parent, hwpt;
	int queue;

	ASSERT_EQ(0, begin(self, "pri=1"));
	queue = fault_queue_alloc(self->iommu, &id);
	ASSERT_LE(0, queue);
	ASSERT_EQ(0, map(self, self->mem, TEST_IOVA, MEM_PAGES * PAGE,
			 IOAS_RW));
	ASSERT_EQ(0, make_table(self, self->ioas, IOMMU_HWPT_ALLOC_NEST_PARENT,
				0, NULL, 0, &parent));
	ASSERT_EQ(0, make_table(self, parent, IOMMU_HWPT_FAULT_ID_VALID, id,
				&data, sizeof(data), &hwpt));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, hwpt));
	ASSERT_EQ(0, test_device_run(&self->dev, 0, &command));
	ASSERT_EQ(0, next_fault(queue, &fault));
	EXPECT_EQ(VIRTUAL, fault.addr);
	fill_tables(tables);
	ASSERT_EQ(0, answer(queue, fault.cookie, IOMMUFD_PAGE_RESP_SUCCESS));
	ASSERT_EQ(0, next_fault(queue, &fault));
	EXPECT_EQ(VIRTUAL + TABLE, fault.addr);
	tables->level[3][2] = (TEST_IOVA + (DATA_PAGE + 1) * PAGE) | P | W | U;
	ASSERT_EQ(0, answer(queue, fault.cookie, IOMMUFD_PAGE_RESP_SUCCESS));
	EXPECT_EQ(0, wait_done(self, 0, IOASID_TEST_FAULT_NONE));
	EXPECT_TRUE(all_bytes(self->mem + DATA_PAGE * PAGE, TABLE, 0xa5));
	EXPECT_TRUE(all_bytes(self->mem + (DATA_PAGE + 1) * PAGE, TABLE, 0xa5));
	close(queue);
}

static int invalidate(struct _test_data_peer *self, __u32 hwpt, __u64 first,
		      __u64 last)
{
	struct ioasid_test_invalidate range = { .first = first, .last = last };
	struct iommu_hwpt_invalidate cmd = {
		.size = sizeof(cmd),
		.hwpt_id = hwpt,
		.data_uptr = (uintptr_t)&range,
		.data_type = IOASID_TEST_DATA_TYPE,
		.entry_len = sizeof(range),
		.entry_num = 1,
	};

	return iommu_call(self->iommu, IOMMU_HWPT_INVALIDATE, &cmd);
}

TEST_F(peer, nested)
{
	struct tables *tables = (void *)self->mem;
	char *data = self->mem + DATA_PAGE * PAGE;
	__u32 hwpt;

	ASSERT_EQ(0, begin_nested(self, &hwpt));
	EXPECT_EQ(0, fill_at(self, VIRTUAL + 8, MARK));
	EXPECT_TRUE(all_bytes(data, 8, 0));
	EXPECT_TRUE(all_bytes(data + 8, 8, 0xa5));
	/* The parent's addresses are not the device's. */
	EXPECT_EQ(IOASID_TEST_FAULT_NOT_PRESENT,
		  fill_at(self, TEST_IOVA, MARK));

	/* Another page at the same address: seen when it is said. */
	tables->level[3][1] = (TEST_IOVA + (DATA_PAGE + 1) * PAGE) | P | W | U;
	EXPECT_EQ(0, fill_at(self, VIRTUAL + 16, MARK));
	EXPECT_TRUE(all_bytes(data + 16, 8, 0xa5));
	ASSERT_EQ(0, invalidate(self, hwpt, VIRTUAL, VIRTUAL + 4095));
	EXPECT_EQ(0, fill_at(self, VIRTUAL + 24, MARK));
	EXPECT_TRUE(all_bytes(data + 24, 8, 0));
	EXPECT_TRUE(all_bytes(data + PAGE + 24, 8, 0xa5));

	/* Gone. */
	tables->level[3][1] = 0;
	ASSERT_EQ(0, invalidate(self, hwpt, 0, -1ULL));
	EXPECT_EQ(IOASID_TEST_FAULT_NOT_PRESENT,
		  fill_at(self, VIRTUAL, MARK));
	EXPECT_EQ(-EINVAL, invalidate(self, hwpt, 1, 0));
	ASSERT_EQ(0, test_iommu_fail("a", "invalidate", 0, EIO));
	EXPECT_EQ(-EIO, invalidate(self, hwpt, 0, -1ULL));
}

/* Several in one call: those before the one that fails have happened. */
TEST_F(peer, nested_invalidations)
{
	struct ioasid_test_invalidate ranges[3] = {
		{ .first = 0, .last = 0xfff },
		{ .first = VIRTUAL, .last = VIRTUAL + TABLE - 1 },
		{ .first = 1, .last = 0 },
	};
	struct iommu_hwpt_invalidate cmd = {
		.size = sizeof(cmd),
		.data_uptr = (uintptr_t)ranges,
		.data_type = IOASID_TEST_DATA_TYPE,
		.entry_len = sizeof(ranges[0]),
		.entry_num = 3,
	};
	struct tables *tables = (void *)self->mem;

	ASSERT_EQ(0, begin_nested(self, &cmd.hwpt_id));
	EXPECT_EQ(0, fill_at(self, VIRTUAL, MARK));
	tables->level[3][1] = 0;
	EXPECT_EQ(-EINVAL, iommu_call(self->iommu, IOMMU_HWPT_INVALIDATE, &cmd));
	EXPECT_EQ(2, cmd.entry_num);
	EXPECT_EQ(IOASID_TEST_FAULT_NOT_PRESENT, fill_at(self, VIRTUAL, MARK));
	cmd.entry_num = 2;
	EXPECT_EQ(0, iommu_call(self->iommu, IOMMU_HWPT_INVALIDATE, &cmd));
	EXPECT_EQ(2, cmd.entry_num);
	/* To ask for nothing asks whether the type is known. */
	cmd.entry_num = 0;
	EXPECT_EQ(0, iommu_call(self->iommu, IOMMU_HWPT_INVALIDATE, &cmd));
	cmd.data_type = IOASID_TEST_DATA_TYPE + 1;
	EXPECT_EQ(-EINVAL, iommu_call(self->iommu, IOMMU_HWPT_INVALIDATE, &cmd));
}

TEST_F(peer, nested_permissions)
{
	struct tables *tables = (void *)self->mem;
	__u64 data = TEST_IOVA + DATA_PAGE * PAGE;
	__u32 hwpt;

	ASSERT_EQ(0, begin_nested(self, &hwpt));
	/* A missing permission at any level is a missing permission. */
	tables->level[3][1] = data | P | U;
	EXPECT_EQ(IOASID_TEST_FAULT_PERMISSION,
		  fill_at(self, VIRTUAL, MARK));
	EXPECT_EQ(0, compare_at(self, VIRTUAL, 0));
	tables->level[3][1] = data | P | W | U;
	tables->level[1][0] &= ~W;
	EXPECT_EQ(IOASID_TEST_FAULT_PERMISSION,
		  fill_at(self, VIRTUAL, MARK));
	tables->level[1][0] |= W;
	EXPECT_EQ(0, fill_at(self, VIRTUAL, MARK));
	tables->level[0][128] &= ~U;
	ASSERT_EQ(0, invalidate(self, hwpt, 0, -1ULL));
	EXPECT_EQ(IOASID_TEST_FAULT_PERMISSION,
		  compare_at(self, VIRTUAL, MARK));
	tables->level[0][128] |= U;

	/* A table, or a page, that the parent does not map. */
	tables->level[3][1] = (TEST_IOVA + MEM_PAGES * PAGE) | P | W | U;
	EXPECT_EQ(IOASID_TEST_FAULT_NOT_PRESENT,
		  fill_at(self, VIRTUAL, MARK));
	tables->level[2][1] = (TEST_IOVA - TABLE) | P | W | U;
	EXPECT_EQ(IOASID_TEST_FAULT_NOT_PRESENT,
		  fill_at(self, VIRTUAL, MARK));

	/* Large pages: one that fits, and two that make no sense. */
	tables->level[2][1] = 0x200000 | P | W | U | PS;
	ASSERT_EQ(0, map(self, self->mem, 0x201000, PAGE, IOAS_RW));
	EXPECT_EQ(0, fill_at(self, VIRTUAL + 0xff8, OTHER));
	EXPECT_TRUE(all_bytes(self->mem + 0xff8, 8, 0x5a));
	ASSERT_EQ(0, invalidate(self, hwpt, 0, -1ULL));
	tables->level[2][1] = 0x201000 | P | W | U | PS;
	EXPECT_EQ(IOASID_TEST_FAULT_TABLE, fill_at(self, VIRTUAL, MARK));
	tables->level[0][128] |= PS;
	EXPECT_EQ(IOASID_TEST_FAULT_TABLE, fill_at(self, VIRTUAL, MARK));
}

/* What the parent loses the child loses, without anybody saying so. */
TEST_F(peer, nested_parent_unmap)
{
	__u32 hwpt;

	ASSERT_EQ(0, begin_nested(self, &hwpt));
	EXPECT_EQ(0, fill_at(self, VIRTUAL, MARK));
	ASSERT_EQ(0, unmap(self, TEST_IOVA, MEM_PAGES * PAGE));
	EXPECT_EQ(IOASID_TEST_FAULT_NOT_PRESENT,
		  fill_at(self, VIRTUAL, MARK));
}

TEST_F(peer, nested_refuses)
{
	struct ioasid_test_hwpt_data data = { .levels = 4 }, bad;
	__u32 parent, hwpt;

	ASSERT_EQ(0, begin(self, NULL));
	ASSERT_EQ(0, make_table(self, self->ioas, IOMMU_HWPT_ALLOC_NEST_PARENT,
				0, NULL, 0, &parent));
	bad = data;
	bad.levels = 2;
	EXPECT_EQ(-EINVAL,
		  make_table(self, parent, 0, 0, &bad, sizeof(bad), &hwpt));
	bad = data;
	bad.table = 8;
	EXPECT_EQ(-EINVAL,
		  make_table(self, parent, 0, 0, &bad, sizeof(bad), &hwpt));
	bad = data;
	bad.__reserved = 1;
	EXPECT_EQ(-EINVAL,
		  make_table(self, parent, 0, 0, &bad, sizeof(bad), &hwpt));
	EXPECT_EQ(-EINVAL, make_table(self, parent, 0, 0, &data, 8, &hwpt));
	ASSERT_EQ(0, test_iommu_fail("a", "nested", 0, ENOSPC));
	EXPECT_EQ(-ENOSPC,
		  make_table(self, parent, 0, 0, &data, sizeof(data), &hwpt));
	EXPECT_EQ(0,
		  make_table(self, parent, 0, 0, &data, sizeof(data), &hwpt));
}

/* ---- dirty tracking ---- */

static int dirty_bits(struct _test_data_peer *self, __u32 hwpt, __u32 flags,
		      __u64 *bits)
{
	*bits = 0;
	return hwpt_dirty(self->iommu, hwpt, flags, TEST_IOVA, MEM_PAGES * PAGE,
			  PAGE, bits);
}

TEST_F(peer, dirty)
{
	char settings[32];
	__u64 bits;
	__u32 hwpt;

	/* A large page is dirty as a whole. */
	snprintf(settings, sizeof(settings), "page_sizes=0x%lx", PAGE);
	ASSERT_EQ(0, begin(self, settings));
	ASSERT_EQ(0, map(self, self->mem, TEST_IOVA, MEM_PAGES * PAGE,
			 IOAS_RW));
	ASSERT_EQ(0, make_table(self, self->ioas,
				IOMMU_HWPT_ALLOC_DIRTY_TRACKING, 0, NULL, 0,
				&hwpt));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, hwpt));
	EXPECT_EQ(0, fill_at(self, TEST_IOVA, MARK));
	ASSERT_EQ(0, hwpt_track(self->iommu, hwpt, true));
	EXPECT_EQ(0, compare_at(self, TEST_IOVA + 3 * PAGE, 0));
	EXPECT_EQ(0, fill_at(self, TEST_IOVA + 5 * PAGE, MARK));
	EXPECT_EQ(0, fill_at(self, TEST_IOVA + 31 * PAGE, MARK));
	ASSERT_EQ(0, dirty_bits(self, hwpt,
				IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR, &bits));
	EXPECT_EQ(1ULL << 5 | 1ULL << 31, bits);
	ASSERT_EQ(0, dirty_bits(self, hwpt, 0, &bits));
	EXPECT_EQ(1ULL << 5 | 1ULL << 31, bits);
	ASSERT_EQ(0, dirty_bits(self, hwpt, 0, &bits));
	EXPECT_EQ(0, bits);
	/* It was in the cache, as dirty already. */
	EXPECT_EQ(0, fill_at(self, TEST_IOVA + 5 * PAGE, OTHER));
	ASSERT_EQ(0, dirty_bits(self, hwpt, 0, &bits));
	EXPECT_EQ(1ULL << 5, bits);
	ASSERT_EQ(0, test_iommu_fail("a", "dirty", 0, EIO));
	EXPECT_EQ(-EIO, hwpt_track(self->iommu, hwpt, true));
}

TEST_HARNESS_MAIN
