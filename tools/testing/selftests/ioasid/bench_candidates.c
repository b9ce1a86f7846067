// SPDX-License-Identifier: GPL-2.0-only
/* The interfaces that the benchmark compares; see bench.h. */
#include <errno.h>
#include <fcntl.h>
#include <linux/iommufd.h>
#include <linux/vfio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "bench.h"
#include "kselftest.h"

static int session_devices(struct session *session)
{
	session->iommu = -1;
	session->group[0] = -1;
	session->group[1] = -1;
	if (dev_find_alone(session->dev, 2) < 2)
		return -ENODEV;
	session->dev[0].fd = -1;
	session->dev[1].fd = -1;
	return 0;
}

static void session_close(struct session *session)
{
	int i;

	for (i = 0; i < 2; i++) {
		dev_close(&session->dev[i]);
		if (session->group[i] >= 0)
			close(session->group[i]);
	}
	if (session->iommu >= 0)
		close(session->iommu);
}

static int open_context(struct session *session, const char *path)
{
	session->iommu = open(path, O_RDWR | O_CLOEXEC);
	return session->iommu < 0 ? -errno : 0;
}

/* ---- VFIO type1: a container that groups are added to ---- */

static int type1_open(struct session *session)
{
	char path[64];
	int i, rc;

	rc = session_devices(session);
	if (!rc)
		rc = open_context(session, "/dev/vfio/vfio");
	for (i = 0; i < 2 && !rc; i++) {
		snprintf(path, sizeof(path), "/dev/vfio/%d",
			 session->dev[i].group);
		session->group[i] = open(path, O_RDWR | O_CLOEXEC);
		if (session->group[i] < 0)
			rc = -errno;
	}
	return rc;
}

static int type1_attach(struct session *session, int which)
{
	if (ioctl(session->group[which], VFIO_GROUP_SET_CONTAINER,
		  &session->iommu))
		return -errno;
	if (which == 0 &&
	    ioctl(session->iommu, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		return -errno;
	return 0;
}

static int type1_detach(struct session *session, int which)
{
	if (ioctl(session->group[which], VFIO_GROUP_UNSET_CONTAINER))
		return -errno;
	return 0;
}

static int type1_map(struct session *session, __u64 iova, void *at, size_t size)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)at,
		.iova = iova,
		.size = size,
	};

	return ioctl(session->iommu, VFIO_IOMMU_MAP_DMA, &map) ? -errno : 0;
}

static int type1_unmap(struct session *session, __u64 iova, size_t size)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.iova = iova,
		.size = size,
	};

	if (ioctl(session->iommu, VFIO_IOMMU_UNMAP_DMA, &unmap))
		return -errno;
	return unmap.size == size ? 0 : -ENOENT;
}

/* ---- devices that are bound to /dev/iommu, for the next ones ---- */

static int bound_open(struct session *session)
{
	int i, rc;

	rc = session_devices(session);
	if (!rc)
		rc = open_context(session, "/dev/iommu");
	for (i = 0; i < 2 && !rc; i++) {
		rc = dev_open(&session->dev[i]);
		if (!rc)
			rc = vfio_bind(session->dev[i].fd, session->iommu,
				       &session->dev[i].dev_id);
	}
	return rc;
}

static int bound_attach(struct session *session, int which)
{
	return vfio_attach(session->dev[which].fd, session->space);
}

static int bound_detach(struct session *session, int which)
{
	return vfio_detach(session->dev[which].fd);
}

/* ---- the ioctls of iommufd, whoever answers them ---- */

static int iommufd_open(struct session *session)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
	int rc = bound_open(session);

	if (rc)
		return rc;
	if (ioctl(session->iommu, IOMMU_IOAS_ALLOC, &alloc))
		return -errno;
	session->space = alloc.out_ioas_id;
	return 0;
}

#define IOAS_MAP_FLAGS (IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE | \
			IOMMU_IOAS_MAP_WRITEABLE)

static int iommufd_map(struct session *session, __u64 iova, void *at,
		       size_t size)
{
	struct iommu_ioas_map map = {
		.size = sizeof(map),
		.flags = IOAS_MAP_FLAGS,
		.ioas_id = session->space,
		.user_va = (uintptr_t)at,
		.length = size,
		.iova = iova,
	};

	return ioctl(session->iommu, IOMMU_IOAS_MAP, &map) ? -errno : 0;
}

static int iommufd_map_file(struct session *session, __u64 iova, int fd,
			    __u64 offset, size_t size)
{
	struct iommu_ioas_map_file map = {
		.size = sizeof(map),
		.flags = IOAS_MAP_FLAGS,
		.ioas_id = session->space,
		.fd = fd,
		.start = offset,
		.length = size,
		.iova = iova,
	};

	return ioctl(session->iommu, IOMMU_IOAS_MAP_FILE, &map) ? -errno : 0;
}

static int iommufd_unmap(struct session *session, __u64 iova, size_t size)
{
	struct iommu_ioas_unmap unmap = {
		.size = sizeof(unmap),
		.ioas_id = session->space,
		.iova = iova,
		.length = size,
	};

	if (ioctl(session->iommu, IOMMU_IOAS_UNMAP, &unmap))
		return -errno;
	return unmap.length == size ? 0 : -ENOENT;
}

/* ---- our own ---- */

static int native_open(struct session *session)
{
	int rc = bound_open(session);

	return rc ? rc : ioasid_alloc(session->iommu, &session->space);
}

static int native_map(struct session *session, __u64 iova, void *at,
		      size_t size)
{
	return ioasid_map(session->iommu, session->space, READ_WRITE, at, iova,
			  size);
}

static int native_map_file(struct session *session, __u64 iova, int fd,
			   __u64 offset, size_t size)
{
	return ioasid_map_file(session->iommu, session->space, READ_WRITE, fd,
			       offset, iova, size);
}

static int native_unmap(struct session *session, __u64 iova, size_t size)
{
	__u64 unmapped = 0;
	int rc;

	rc = ioasid_unmap(session->iommu, session->space, iova, size,
			  &unmapped);
	if (rc)
		return rc;
	return unmapped == size ? 0 : -ENOENT;
}

const struct candidate candidates[] = {
	{
		.name = "type1",
		.memfd = "by its pages in the process",
		.open = type1_open,
		.close = session_close,
		.attach = type1_attach,
		.detach = type1_detach,
		.map = type1_map,
		.unmap = type1_unmap,
	}, {
		.name = "iommufd",
		.memfd = "as a file",
		.maps_before_attach = true,
		.open = iommufd_open,
		.close = session_close,
		.attach = bound_attach,
		.detach = bound_detach,
		.map = iommufd_map,
		.map_file = iommufd_map_file,
		.unmap = iommufd_unmap,
	}, {
		.name = "native",
		.memfd = "as a file",
		.maps_before_attach = true,
		.open = native_open,
		.close = session_close,
		.attach = bound_attach,
		.detach = bound_detach,
		.map = native_map,
		.map_file = native_map_file,
		.unmap = native_unmap,
	}, {
		/* What "iommufd" does, on the other kernel */
		.name = "front",
		.memfd = "as a file",
		.maps_before_attach = true,
		.open = iommufd_open,
		.close = session_close,
		.attach = bound_attach,
		.detach = bound_detach,
		.map = iommufd_map,
		.map_file = iommufd_map_file,
		.unmap = iommufd_unmap,
	},
};

const int num_candidates = ARRAY_SIZE(candidates);

void bench_begin(void)
{
	asm volatile("");
}

void bench_end(void)
{
	asm volatile("");
}
