// SPDX-License-Identifier: GPL-2.0-only
/* Calls of iommufd's interface; see iommufd_utils.h. */
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

/* Beside the folder of all selftests, which is where the compiler looks */
#include "../../../drivers/iommu/iommufd/iommufd_test.h"
#include "ioasid_utils.h"
#include "iommufd_utils.h"
#include "test_iommu_utils.h"

int ioas_alloc(int iommu, __u32 *ioas)
{
	struct iommu_ioas_alloc cmd = { .size = sizeof(cmd) };
	int rc = iommu_call(iommu, IOMMU_IOAS_ALLOC, &cmd);

	if (!rc)
		*ioas = cmd.out_ioas_id;
	return rc;
}

int ioas_map(int iommu, __u32 ioas, __u32 flags, const void *mem, __u64 iova,
	     __u64 length)
{
	struct iommu_ioas_map cmd = {
		.size = sizeof(cmd),
		.flags = flags | IOMMU_IOAS_MAP_FIXED_IOVA,
		.ioas_id = ioas,
		.user_va = (uintptr_t)mem,
		.length = length,
		.iova = iova,
	};

	return iommu_call(iommu, IOMMU_IOAS_MAP, &cmd);
}

int ioas_map_file(int iommu, __u32 ioas, __u32 flags, int fd, __u64 start,
		  __u64 iova, __u64 length)
{
	struct iommu_ioas_map_file cmd = {
		.size = sizeof(cmd),
		.flags = flags | IOMMU_IOAS_MAP_FIXED_IOVA,
		.ioas_id = ioas,
		.fd = fd,
		.start = start,
		.length = length,
		.iova = iova,
	};

	return iommu_call(iommu, IOMMU_IOAS_MAP_FILE, &cmd);
}

int ioas_copy(int iommu, __u32 from, __u64 src, __u32 to, __u64 dst,
	      __u64 length, __u32 flags)
{
	struct iommu_ioas_copy cmd = {
		.size = sizeof(cmd),
		.flags = flags | IOMMU_IOAS_MAP_FIXED_IOVA,
		.dst_ioas_id = to,
		.src_ioas_id = from,
		.length = length,
		.dst_iova = dst,
		.src_iova = src,
	};

	return iommu_call(iommu, IOMMU_IOAS_COPY, &cmd);
}

/* @unmapped: told how much it was, or NULL */
int ioas_unmap(int iommu, __u32 ioas, __u64 iova, __u64 length,
	       __u64 *unmapped)
{
	struct iommu_ioas_unmap cmd = {
		.size = sizeof(cmd),
		.ioas_id = ioas,
		.iova = iova,
		.length = length,
	};
	int rc = iommu_call(iommu, IOMMU_IOAS_UNMAP, &cmd);

	if (!rc && unmapped)
		*unmapped = cmd.length;
	return rc;
}

/* @num: room in @ranges; told how many there are */
int ioas_ranges(int iommu, __u32 ioas, struct iommu_iova_range *ranges,
		__u32 *num, __u64 *alignment)
{
	struct iommu_ioas_iova_ranges cmd = {
		.size = sizeof(cmd),
		.ioas_id = ioas,
		.num_iovas = *num,
		.allowed_iovas = (uintptr_t)ranges,
	};
	int rc = iommu_call(iommu, IOMMU_IOAS_IOVA_RANGES, &cmd);

	*num = cmd.num_iovas;
	*alignment = cmd.out_iova_alignment;
	return rc;
}

static int set_option(int iommu, __u32 option, __u32 object, __u64 value)
{
	struct iommu_option cmd = {
		.size = sizeof(cmd),
		.option_id = option,
		.op = IOMMU_OPTION_OP_SET,
		.object_id = object,
		.val64 = value,
	};

	return iommu_call(iommu, IOMMU_OPTION, &cmd);
}

int ioas_huge_pages(int iommu, __u32 ioas, bool on)
{
	return set_option(iommu, IOMMU_OPTION_HUGE_PAGES, ioas, on);
}

int ioas_change_process(int iommu)
{
	struct iommu_ioas_change_process cmd = { .size = sizeof(cmd) };

	return iommu_call(iommu, IOMMU_IOAS_CHANGE_PROCESS, &cmd);
}

int iommufd_destroy(int iommu, __u32 id)
{
	struct iommu_destroy cmd = { .size = sizeof(cmd), .id = id };

	return iommu_call(iommu, IOMMU_DESTROY, &cmd);
}

/* Only as long as the context is empty */
int iommufd_account_mm(int iommu, bool on)
{
	return set_option(iommu, IOMMU_OPTION_RLIMIT_MODE, 0, on);
}

/* Makes it the address space of a container. */
int iommufd_vfio_ioas(int iommu, __u32 ioas)
{
	struct iommu_vfio_ioas cmd = {
		.size = sizeof(cmd),
		.ioas_id = ioas,
		.op = IOMMU_VFIO_IOAS_SET,
	};

	return iommu_call(iommu, IOMMU_VFIO_IOAS, &cmd);
}

int hwpt_alloc_data(int iommu, __u32 dev_id, __u32 pt_id, __u32 flags,
		    __u32 fault, void *data, size_t length, __u32 *hwpt)
{
	struct iommu_hwpt_alloc cmd = {
		.size = sizeof(cmd),
		.flags = flags,
		.dev_id = dev_id,
		.pt_id = pt_id,
		.data_type = data ? IOASID_TEST_DATA_TYPE : IOMMU_HWPT_DATA_NONE,
		.data_len = length,
		.data_uptr = (uintptr_t)data,
		.fault_id = fault,
	};
	int rc = iommu_call(iommu, IOMMU_HWPT_ALLOC, &cmd);

	if (!rc)
		*hwpt = cmd.out_hwpt_id;
	return rc;
}

int hwpt_alloc(int iommu, __u32 dev_id, __u32 pt_id, __u32 flags, __u32 *hwpt)
{
	return hwpt_alloc_data(iommu, dev_id, pt_id, flags, 0, NULL, 0, hwpt);
}

int hwpt_track(int iommu, __u32 hwpt, bool on)
{
	struct iommu_hwpt_set_dirty_tracking cmd = {
		.size = sizeof(cmd),
		.flags = on ? IOMMU_HWPT_DIRTY_TRACKING_ENABLE : 0,
		.hwpt_id = hwpt,
	};

	return iommu_call(iommu, IOMMU_HWPT_SET_DIRTY_TRACKING, &cmd);
}

int hwpt_dirty(int iommu, __u32 hwpt, __u32 flags, __u64 iova, __u64 length,
	       __u64 size, void *bitmap)
{
	struct iommu_hwpt_get_dirty_bitmap cmd = {
		.size = sizeof(cmd),
		.hwpt_id = hwpt,
		.flags = flags,
		.iova = iova,
		.length = length,
		.page_size = size,
		.data = (uintptr_t)bitmap,
	};

	return iommu_call(iommu, IOMMU_HWPT_GET_DIRTY_BITMAP, &cmd);
}

/* Return: the file of the queue, or a negative errno. */
int fault_queue_alloc(int iommu, __u32 *id)
{
	struct iommu_fault_alloc cmd = { .size = sizeof(cmd) };
	int rc = iommu_call(iommu, IOMMU_FAULT_QUEUE_ALLOC, &cmd);

	*id = cmd.out_fault_id;
	return rc ? rc : (int)cmd.out_fault_fd;
}

/*
 * Memory that stands for that of a device, which kernels with CONFIG_IOMMUFD_TEST
 * have. Return: a dma-buf or a negative errno.
 */
int dmabuf_make(int iommu, size_t length)
{
	struct iommu_test_cmd cmd = {
		.size = sizeof(cmd),
		.op = IOMMU_TEST_OP_DMABUF_GET,
		.dmabuf_get = { .length = length, .open_flags = O_CLOEXEC },
	};
	int fd = ioctl(iommu, IOMMU_TEST_CMD, &cmd);

	return fd < 0 ? -errno : fd;
}

/* @pt_id: what to attach to; told which page table it has become */
int vfio_attach_id(int device, __u32 *pt_id)
{
	struct vfio_device_attach_iommufd_pt attach = {
		.argsz = sizeof(attach),
		.pt_id = *pt_id,
	};

	if (ioctl(device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach))
		return -errno;
	*pt_id = attach.pt_id;
	return 0;
}

/* How many objects the context holds, or a negative errno */
long context_objects(int iommu)
{
	static const char key[] = "ioasid-objects:";
	char path[64], text[4096], *at;
	int rc;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", iommu);
	rc = file_read(path, text, sizeof(text));
	if (rc < 0)
		return rc;
	at = strstr(text, key);
	return at ? strtol(at + strlen(key), NULL, 10) : -ENOENT;
}
