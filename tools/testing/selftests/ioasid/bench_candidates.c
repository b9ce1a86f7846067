// SPDX-License-Identifier: GPL-2.0-only
/* The interfaces that the benchmark compares; see bench.h. */
#include <errno.h>
#include <fcntl.h>
#include <linux/iommufd.h>
#include <linux/vfio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "bench.h"
#include "kselftest.h"

static void iommu_name(const struct dma_device *dev, char *name, size_t size)
{
	char path[128], link[256];
	ssize_t n;

	snprintf(path, sizeof(path), "%s/devices/%s/iommu", dev->kind->bus,
		 dev->name);
	n = readlink(path, link, sizeof(link) - 1);
	link[n < 0 ? 0 : n] = 0;
	snprintf(name, size, "%s", link);
}

static bool same_iommu(const struct dma_device *a, const struct dma_device *b)
{
	char name[256], other[256];

	iommu_name(a, name, sizeof(name));
	iommu_name(b, other, sizeof(other));
	return !strcmp(name, other);
}

/* Two devices that are alone in their groups, behind one IOMMU or @apart */
static int two_devices(bool apart, struct dma_device pair[2])
{
	struct dma_device all[DEV_MAX];
	int i, num = dev_find_alone(all, DEV_MAX);

	for (i = 1; i < num; i++) {
		if (same_iommu(&all[0], &all[i]) == apart)
			continue;
		pair[0] = all[0];
		pair[1] = all[i];
		return 0;
	}
	return -ENODEV;
}

/* Whether a session has the devices that it needs. */
bool devices_found(bool apart)
{
	struct dma_device pair[2];

	return !two_devices(apart, pair);
}

static int session_devices(struct session *session)
{
	session->iommu = -1;
	session->parent = 0;
	session->group[0] = -1;
	session->group[1] = -1;
	session->dev[0].fd = -1;
	session->dev[1].fd = -1;
	return two_devices(session->apart, session->dev);
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

static int iommufd_space(struct session *session)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };

	if (ioctl(session->iommu, IOMMU_IOAS_ALLOC, &alloc))
		return -errno;
	session->space = alloc.out_ioas_id;
	return 0;
}

static int iommufd_open(struct session *session)
{
	return bound_open(session) ?: iommufd_space(session);
}

static int iommufd_another(const struct session *session,
			   struct session *other)
{
	*other = *session;
	return iommufd_space(other);
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

static int native_alloc(struct session *session, __u32 type, __u32 *ioasid)
{
	struct iommu_ioasid_alloc alloc = {
		.size = sizeof(alloc),
		.type = type,
		.parent = session->parent,
	};
	int rc = iommu_call(session->iommu, IOMMU_IOASID_ALLOC, &alloc);

	if (!rc)
		*ioasid = alloc.ioasid;
	return rc;
}

/* A root, or a child if there is a parent */
static int native_space(struct session *session)
{
	return native_alloc(session, IOMMU_IOASID_TYPE_KERNEL, &session->space);
}

static int native_open(struct session *session)
{
	return bound_open(session) ?: native_space(session);
}

static int native_open_child(struct session *session, __u64 at, void *memory,
			     size_t size)
{
	__u32 parent;
	int rc;

	rc = bound_open(session);
	if (!rc)
		rc = native_alloc(session, IOMMU_IOASID_TYPE_PREREG, &parent);
	if (!rc)
		rc = ioasid_map(session->iommu, parent, READ_WRITE, memory, at,
				size);
	if (rc)
		return rc;
	session->parent = parent;
	return native_space(session);
}

static int native_another(const struct session *session, struct session *other)
{
	*other = *session;
	return native_space(other);
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

static int native_vector(struct session *session,
			 const struct iommu_batch_entry *entries,
			 unsigned int num, __u64 *unmapped)
{
	struct iommu_map_batch batch = {
		.size = sizeof(batch),
		.ioasid = session->space,
		.num_entries = num,
		.entries = (uintptr_t)entries,
	};
	int rc = iommu_call(session->iommu, IOMMU_MAP_BATCH, &batch);

	*unmapped = batch.unmapped;
	return rc;
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
		.another = iommufd_another,
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
		.open_child = native_open_child,
		.vector = native_vector,
		.another = native_another,
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
		.another = iommufd_another,
	},
};

const int num_candidates = ARRAY_SIZE(candidates);

/* NULL if there is none of that name. */
const struct candidate *candidate_find(const char *name)
{
	int i;

	for (i = 0; i < num_candidates; i++)
		if (!strcmp(candidates[i].name, name))
			return &candidates[i];
	return NULL;
}

void bench_begin(void)
{
	asm volatile("");
}

void bench_end(void)
{
	asm volatile("");
}
