// SPDX-License-Identifier: GPL-2.0-only
/* QEMU's edu device, bound to vfio-pci: a PCI device that copies memory. */
#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "device_utils.h"
#include "ioasid_utils.h"

#define EDU_ID		0x00
#define EDU_ID_SWAPPED	0xed000001U
#define EDU_IRQ_RAISE	0x60
#define EDU_IRQ_ACK	0x64
#define EDU_DMA_SRC	0x80
#define EDU_DMA_DST	0x88
#define EDU_DMA_COUNT	0x90
#define EDU_DMA_CMD	0x98
#define EDU_CMD_RUN	0x1
#define EDU_CMD_TO_RAM	0x2
#define EDU_BUFFER	0x40000

#define PCI_BUS		"/sys/bus/pci"

static bool edu_is(const char *name)
{
	char path[320], id[256];

	snprintf(path, sizeof(path), PCI_BUS "/devices/%s/modalias", name);
	return file_read(path, id, sizeof(id)) >= 0 &&
	       !strncmp(id, "pci:v00001234d000011E8", 22);
}

/* Some QEMUs give it the order of bytes that the machine's CPU starts with. */
static __u32 edu_order(const struct dma_device *dev, __u32 value)
{
	return dev->swapped ? __builtin_bswap32(value) : value;
}

static int edu_write(struct dma_device *dev, off_t reg, __u32 number)
{
	__u32 value = edu_order(dev, number);
	ssize_t n = pwrite(dev->fd, &value, sizeof(value),
			   dev->registers + reg);

	return n == sizeof(value) ? 0 : -EIO;
}

/* 32 bits of it clear the others. */
static int edu_write_address(struct dma_device *dev, off_t reg, __u64 address)
{
	__u64 value = dev->swapped ? __builtin_bswap64(address) : address;

	if (address <= UINT32_MAX)
		return edu_write(dev, reg, address);
	return pwrite(dev->fd, &value, sizeof(value), dev->registers + reg) ==
	       sizeof(value) ? 0 : -EIO;
}

static int edu_read(struct dma_device *dev, off_t reg, __u32 *value)
{
	ssize_t n = pread(dev->fd, value, sizeof(*value),
			  dev->registers + reg);

	*value = edu_order(dev, *value);
	return n == sizeof(*value) ? 0 : -EIO;
}

static int edu_take_over(struct dma_device *dev)
{
	__u16 command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	__u32 id;
	off_t config;
	int rc;

	rc = dev_region(dev, VFIO_PCI_BAR0_REGION_INDEX, &dev->registers);
	if (rc)
		return rc;
	dev->memory = dev->registers;
	rc = dev_region(dev, VFIO_PCI_CONFIG_REGION_INDEX, &config);
	if (rc)
		return rc;
	if (pwrite(dev->fd, &command, sizeof(command), config + PCI_COMMAND) !=
	    sizeof(command))
		return -EIO;
	dev->swapped = false;
	rc = edu_read(dev, EDU_ID, &id);
	if (!rc)
		dev->swapped = id == EDU_ID_SWAPPED;
	return rc;
}

static int edu_start(struct dma_device *dev, __u64 iova, size_t length,
		     bool to_ram)
{
	int rc;

	rc = edu_write_address(dev, EDU_DMA_SRC, to_ram ? EDU_BUFFER : iova);
	if (rc)
		return rc;
	rc = edu_write_address(dev, EDU_DMA_DST, to_ram ? iova : EDU_BUFFER);
	if (rc)
		return rc;
	rc = edu_write(dev, EDU_DMA_COUNT, length);
	if (rc)
		return rc;
	return edu_write(dev, EDU_DMA_CMD,
			 EDU_CMD_RUN | (to_ram ? EDU_CMD_TO_RAM : 0));
}

static int edu_busy(struct dma_device *dev)
{
	__u32 command;
	int rc = edu_read(dev, EDU_DMA_CMD, &command);

	return rc ? rc : command & EDU_CMD_RUN;
}

/* Each write sends a message, also while the last one is not acknowledged. */
static int edu_raise(struct dma_device *dev)
{
	int rc = edu_write(dev, EDU_IRQ_RAISE, 1);

	return rc ? rc : edu_write(dev, EDU_IRQ_ACK, 1);
}

const struct dma_device_kind edu_kind = {
	.bus = PCI_BUS,
	/* QEMU before 8.2 ends itself if a copy touches the last byte of 4096. */
	.max = 4088,
	.is = edu_is,
	.take_over = edu_take_over,
	.start = edu_start,
	.busy = edu_busy,
	.raise = edu_raise,
	.msi = VFIO_PCI_MSI_IRQ_INDEX,
	.request = VFIO_PCI_REQ_IRQ_INDEX,
};
