// SPDX-License-Identifier: GPL-2.0-only
/*
 * The devices of the test IOMMU: their channels, counters and interrupts, see
 * drivers/iommu/ioasid/test/test_device.h.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "device_utils.h"
#include "ioasid_utils.h"
#include "test_iommu_utils.h"

/* The channel whose copies dev_dma() does */
#define DMA_CHANNEL	0

static int read_at(struct dma_device *dev, off_t pos, void *data, size_t length)
{
	ssize_t n = pread(dev->fd, data, length, pos);

	if (n < 0)
		return -errno;
	return n == (ssize_t)length ? 0 : -EIO;
}

static int write_at(struct dma_device *dev, off_t pos, const void *data,
		    size_t length)
{
	ssize_t n = pwrite(dev->fd, data, length, pos);

	if (n < 0)
		return -errno;
	return n == (ssize_t)length ? 0 : -EIO;
}

/* ---- channels ---- */

/* Without IOASID_TEST_ASYNC it returns when all is done, or has failed. */
int test_device_run(struct dma_device *dev, unsigned int channel,
		    const struct ioasid_test_command *command)
{
	return write_at(dev, dev->registers + IOASID_TEST_CHANNEL(channel),
			command, sizeof(*command));
}

int test_device_status(struct dma_device *dev, unsigned int channel,
		       struct ioasid_test_status *status)
{
	return read_at(dev, dev->registers + IOASID_TEST_CHANNEL(channel) +
		       IOASID_TEST_STATUS, status, sizeof(*status));
}

/* Waits up to ten seconds for the end of a command. */
int test_device_wait(struct dma_device *dev, unsigned int channel,
		     struct ioasid_test_status *status)
{
	double end = seconds() + 10;
	int rc;

	for (;;) {
		rc = test_device_status(dev, channel, status);
		if (rc || !status->running)
			return rc;
		if (seconds() > end)
			return -ETIMEDOUT;
		usleep(1000);
	}
}

/* Ends a command that runs on. @status: what it has done, or NULL */
int test_device_stop(struct dma_device *dev, unsigned int channel,
		     struct ioasid_test_status *status)
{
	struct ioasid_test_command command = { .op = IOASID_TEST_STOP };
	int rc = test_device_run(dev, channel, &command);

	if (rc || !status)
		return rc;
	return test_device_status(dev, channel, status);
}

/*
 * Runs a command to its end, on channel 0. Return: enum ioasid_test_fault of
 * its latest fault, or a negative errno.
 */
int test_device_try(struct dma_device *dev,
		    const struct ioasid_test_command *command)
{
	struct ioasid_test_status status;
	int rc;

	rc = test_device_run(dev, 0, command);
	if (rc)
		return rc;
	rc = test_device_wait(dev, 0, &status);
	return rc ? rc : (int)status.fault;
}

/* Return: as test_device_try(). */
int test_device_fill(struct dma_device *dev, __u64 iova, __u64 length,
		     __u64 pattern)
{
	struct ioasid_test_command command = {
		.op = IOASID_TEST_FILL,
		.iova = iova,
		.length = length,
		.pattern = pattern,
	};

	return test_device_try(dev, &command);
}

/* Return: as test_device_try(), -EILSEQ if it has met anything else. */
int test_device_compare(struct dma_device *dev, __u64 iova, __u64 length,
			__u64 pattern)
{
	struct ioasid_test_command command = {
		.op = IOASID_TEST_COMPARE,
		.iova = iova,
		.length = length,
		.pattern = pattern,
		.pattern2 = pattern,
	};
	struct ioasid_test_status status;
	int rc;

	rc = test_device_try(dev, &command);
	if (!rc)
		rc = test_device_status(dev, 0, &status);
	if (!rc && status.mismatches)
		rc = -EILSEQ;
	return rc;
}

/* Waits until a command that runs on has done something more. */
int test_device_progress(struct dma_device *dev, unsigned int channel)
{
	struct ioasid_test_status status;
	double end = seconds() + 10;
	__u64 seen = ~0ULL;
	int rc;

	while (seconds() < end) {
		rc = test_device_status(dev, channel, &status);
		if (rc)
			return rc;
		if (!status.running)
			return -EPIPE;
		if (seen == ~0ULL)
			seen = status.bytes + status.faults;
		else if (status.bytes + status.faults >= seen + 256)
			return 0;
		usleep(100);
	}
	return -ETIMEDOUT;
}

int test_device_buffer_read(struct dma_device *dev, off_t offset, void *data,
			    size_t length)
{
	return read_at(dev, dev->memory + offset, data, length);
}

int test_device_buffer_write(struct dma_device *dev, off_t offset,
			     const void *data, size_t length)
{
	return write_at(dev, dev->memory + offset, data, length);
}

/* ---- counters and interrupts ---- */

int test_device_globals(struct dma_device *dev,
			struct ioasid_test_globals *globals)
{
	return read_at(dev, dev->registers, globals, sizeof(*globals));
}

static int write_global(struct dma_device *dev, size_t offset, __u32 value)
{
	return write_at(dev, dev->registers + offset, &value, sizeof(value));
}

int test_device_raise(struct dma_device *dev, __u32 number)
{
	return write_global(dev, offsetof(struct ioasid_test_globals, raise),
			    number);
}

/* Stops all channels and clears the counters. */
int test_device_reset(struct dma_device *dev)
{
	return write_global(dev, offsetof(struct ioasid_test_globals, reset),
			    1);
}

static int test_device_raise_first(struct dma_device *dev)
{
	return test_device_raise(dev, 0);
}

/* ---- the same DMA as any device of the tests does ---- */

static bool test_device_is(const char *name)
{
	return !strncmp(name, IOASID_TEST_DEVICE ".",
			sizeof(IOASID_TEST_DEVICE));
}

static int test_device_take_over(struct dma_device *dev)
{
	struct ioasid_test_globals globals;
	int rc;

	rc = dev_region(dev, IOASID_TEST_REGISTERS, &dev->registers);
	if (!rc)
		rc = dev_region(dev, IOASID_TEST_BUFFER, &dev->memory);
	if (!rc)
		rc = test_device_globals(dev, &globals);
	if (rc)
		return rc;
	return globals.magic == IOASID_TEST_MAGIC ? 0 : -ENODEV;
}

/* As edu does: what is refused is left out, and the rest is done. */
static int test_device_start(struct dma_device *dev, __u64 iova, size_t length,
			     bool to_ram)
{
	struct ioasid_test_command command = {
		.op = to_ram ? IOASID_TEST_WRITE : IOASID_TEST_READ,
		.flags = IOASID_TEST_ASYNC | IOASID_TEST_KEEP_GOING,
		.iova = iova,
		.length = length,
	};

	return test_device_run(dev, DMA_CHANNEL, &command);
}

static int test_device_busy(struct dma_device *dev)
{
	struct ioasid_test_status status;
	int rc = test_device_status(dev, DMA_CHANNEL, &status);

	return rc ? rc : (int)status.running;
}

const struct dma_device_kind test_device_kind = {
	.bus = "/sys/bus/platform",
	.max = IOASID_TEST_BUFFER_SIZE,
	.is = test_device_is,
	.take_over = test_device_take_over,
	.start = test_device_start,
	.busy = test_device_busy,
	.raise = test_device_raise_first,
	.msi = IOASID_TEST_IRQ_MSI,
	.request = IOASID_TEST_IRQ_REQ,
};
