/* SPDX-License-Identifier: GPL-2.0-only */
/* Calls of iommufd's interface that return 0 or a negative errno. */
#ifndef IOMMUFD_UTILS_H
#define IOMMUFD_UTILS_H

#include <linux/iommufd.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#define IOAS_READ	IOMMU_IOAS_MAP_READABLE
#define IOAS_RW		(IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE)

int ioas_alloc(int iommu, __u32 *ioas);
int ioas_map(int iommu, __u32 ioas, __u32 flags, const void *mem, __u64 iova,
	     __u64 length);
int ioas_map_file(int iommu, __u32 ioas, __u32 flags, int fd, __u64 start,
		  __u64 iova, __u64 length);
int ioas_copy(int iommu, __u32 from, __u64 src, __u32 to, __u64 dst,
	      __u64 length, __u32 flags);
int ioas_unmap(int iommu, __u32 ioas, __u64 iova, __u64 length,
	       __u64 *unmapped);
int ioas_ranges(int iommu, __u32 ioas, struct iommu_iova_range *ranges,
		__u32 *num, __u64 *alignment);
int ioas_huge_pages(int iommu, __u32 ioas, bool on);
int ioas_change_process(int iommu);

int iommufd_destroy(int iommu, __u32 id);
int iommufd_account_mm(int iommu, bool on);
int iommufd_vfio_ioas(int iommu, __u32 ioas);

int hwpt_alloc(int iommu, __u32 dev_id, __u32 pt_id, __u32 flags, __u32 *hwpt);
int hwpt_alloc_data(int iommu, __u32 dev_id, __u32 pt_id, __u32 flags,
		    __u32 fault, void *data, size_t length, __u32 *hwpt);
int hwpt_track(int iommu, __u32 hwpt, bool on);
int hwpt_dirty(int iommu, __u32 hwpt, __u32 flags, __u64 iova, __u64 length,
	       __u64 size, void *bitmap);
int fault_queue_alloc(int iommu, __u32 *id);

int dmabuf_make(int iommu, size_t length);

int vfio_attach_id(int device, __u32 *pt_id);
long context_objects(int iommu);

#endif
