/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Devices that do DMA when a test tells them to, each through an IOMMU: QEMU's
 * edu, bound to vfio-pci, and the devices of the test IOMMU. A test takes what
 * the machine has, see dev_find_alone() and its like.
 */
#ifndef DEVICE_UTILS_H
#define DEVICE_UTILS_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define DEV_MAX		16

struct dma_device;

/**
 * struct dma_device_kind - What edu devices and test devices do not share
 * @bus: Folder of the bus in sysfs
 * @max: The most that one copy can be, in bytes
 * @is: Whether the device with this name on the bus is one
 * @take_over: Sets &dma_device.registers and .memory, and lets it do DMA
 * @start: Begins a copy, see dev_dma_start()
 * @busy: 1 while a copy is under way, 0 or a negative errno
 * @raise: Sends an interrupt message, the first one that the device has
 * @msi: VFIO's index of its interrupt messages
 * @request: VFIO's index of the interrupt that asks to close the device
 */
struct dma_device_kind {
	const char *bus;
	size_t max;
	bool (*is)(const char *name);
	int (*take_over)(struct dma_device *dev);
	int (*start)(struct dma_device *dev, __u64 iova, size_t length,
		     bool to_ram);
	int (*busy)(struct dma_device *dev);
	int (*raise)(struct dma_device *dev);
	__u32 msi;
	__u32 request;
};

extern const struct dma_device_kind edu_kind;
extern const struct dma_device_kind test_device_kind;

/**
 * struct dma_device - A device that does DMA
 * @kind: How it is driven
 * @name: Its name in sysfs, which is its address if it is on the PCI bus
 * @cdev: Its file in /dev/vfio/devices
 * @group: Number of its IOMMU group
 * @fd: Open file, or -1
 * @dev_id: Identifier in the context that it is bound to
 * @registers: Offset of its registers in the file
 * @memory: Offset in the file of what can be mapped into the process
 * @swapped: Its registers have their bytes in the other order
 */
struct dma_device {
	const struct dma_device_kind *kind;
	char name[32];
	char cdev[64];
	int group;
	int fd;
	__u32 dev_id;
	off_t registers;
	off_t memory;
	bool swapped;
};

int dev_list(struct dma_device *list, int max);
bool dev_probe(const struct dma_device_kind *kind, const char *name,
	       struct dma_device *dev);
int dev_find_alone(struct dma_device *list, int num);
int dev_find_shared(struct dma_device pair[2]);
int dev_find_mixed(struct dma_device *dev, char *other, size_t size);

int dev_open(struct dma_device *dev);
int dev_bind(struct dma_device *dev, int iommu);
int dev_bind_safely(struct dma_device *dev, int iommu);
int dev_take_over(struct dma_device *dev);
int dev_open_bind(struct dma_device *dev, int iommu);
void dev_close(struct dma_device *dev);
int dev_region(struct dma_device *dev, __u32 index, off_t *offset);
int dev_mmap(struct dma_device *dev, size_t size, void **mem);

int dev_dma_start(struct dma_device *dev, __u64 iova, size_t length,
		  bool to_ram);
int dev_dma_wait(struct dma_device *dev);
int dev_dma(struct dma_device *dev, __u64 iova, size_t length, bool to_ram);
int dev_dma_copy(struct dma_device *dev, __u64 from, __u64 to, size_t length);

int dev_irqs(struct dma_device *dev, __u32 index);
int dev_irq(struct dma_device *dev, __u32 index, unsigned int number,
	    int eventfd);
bool dev_translates_msi(const struct dma_device *dev);

/* How many windows its DMA has to go through one of, 0 for most IOMMUs */
unsigned int dev_num_windows(const struct dma_device *dev, int iommu);

/* Whether its IOMMU can refuse reads and still allow writes. */
bool dev_has_write_only(const struct dma_device *dev, int iommu);

/* Drivers of a device of that bus, which need not be one that does DMA */
void bus_driver(const char *bus, const char *name, char *driver, size_t size);
int bus_unbind(const char *bus, const char *name);
int bus_device_set(const char *bus, const char *name, const char *file,
		   const char *text);
int bus_probe(const char *bus, const char *name);

#endif
