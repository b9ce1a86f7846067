/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Interrupt messages of QEMU's edu device: writes that pass through the IOMMU as its
 * DMA does, unless the IOMMU remaps interrupts.
 */
#ifndef MSI_UTILS_H
#define MSI_UTILS_H

#include <errno.h>
#include <linux/vfio.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "device_utils.h"

#define EDU_RAISE	0x60
#define EDU_ACKNOWLEDGE	0x64

/* The messages are to signal an eventfd, which is returned, or a negative errno. */
static inline int msi_open(struct dma_device *dev)
{
	union {
		struct vfio_irq_set set;
		char room[sizeof(struct vfio_irq_set) + sizeof(int)];
	} irq = {
		.set = {
			.argsz = sizeof(irq),
			.flags = VFIO_IRQ_SET_DATA_EVENTFD |
				 VFIO_IRQ_SET_ACTION_TRIGGER,
			.index = VFIO_PCI_MSI_IRQ_INDEX,
			.count = 1,
		},
	};
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), rc;

	if (fd < 0)
		return -errno;
	memcpy(irq.set.data, &fd, sizeof(fd));
	if (!ioctl(dev->fd, VFIO_DEVICE_SET_IRQS, &irq))
		return fd;
	rc = -errno;
	close(fd);
	return rc;
}

static inline int msi_write(struct dma_device *dev, off_t reg)
{
	__u32 one = 1;

	return pwrite(dev->fd, &one, sizeof(one), dev->registers + reg) ==
	       sizeof(one) ? 0 : -EIO;
}

/* Has the device send a message. Return: whether it has arrived, after @ms at most. */
static inline bool msi_arrives_in(struct dma_device *dev, int fd, int ms)
{
	struct pollfd wait = { .fd = fd, .events = POLLIN };
	__u64 count;

	if (msi_write(dev, EDU_RAISE) || msi_write(dev, EDU_ACKNOWLEDGE))
		return false;
	return poll(&wait, 1, ms) == 1 &&
	       read(fd, &count, sizeof(count)) == sizeof(count) && count == 1;
}

static inline bool msi_arrives(struct dma_device *dev, int fd)
{
	return msi_arrives_in(dev, fd, 10000);
}

#endif
