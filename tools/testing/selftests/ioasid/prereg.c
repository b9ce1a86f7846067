// SPDX-License-Identifier: GPL-2.0-only
/*
 * IOASIDs of type PREREG: what they register is pinned and charged once, whoever
 * maps it below.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "access_utils.h"
#include "prereg.h"

/* ---- what the type allows ---- */

TEST_F(prereg, type)
{
	__u64 ops, must = 1ULL << IOMMU_IOASID_OP_ROOT |
			  1ULL << IOMMU_IOASID_OP_MAP |
			  1ULL << IOMMU_IOASID_OP_PARENT;
	__u64 must_not = 1ULL << IOMMU_IOASID_OP_CHILD |
			 1ULL << IOMMU_IOASID_OP_ATTACH |
			 1ULL << IOMMU_IOASID_OP_ATTACH_PASID |
			 1ULL << IOMMU_IOASID_OP_DIRTY;
	struct iommu_ioasid_info info;

	ASSERT_EQ(0, iommu_extension(self->iommu, IOMMU_EXT_TYPE_OPS,
				     IOMMU_IOASID_TYPE_PREREG, &ops));
	EXPECT_EQ(must, ops & (must | must_not));
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->prereg, &info));
	EXPECT_EQ(IOMMU_IOASID_TYPE_PREREG, info.type);
	EXPECT_EQ(0, info.parent);
	EXPECT_EQ(1, info.num_children);
	EXPECT_EQ(0, info.num_shadows);
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->child, &info));
	EXPECT_EQ(IOMMU_IOASID_TYPE_KERNEL, info.type);
	EXPECT_EQ(self->prereg, info.parent);
}

TEST_F(prereg, alloc_refused)
{
	struct iommu_ioasid_alloc cmd = {
		.type = IOMMU_IOASID_TYPE_PREREG,
		.flags = IOMMU_IOASID_ALLOC_DIRTY,
	};
	__u32 ioasid;

	EXPECT_EQ(-EINVAL, ioasid_alloc_call(self->iommu, &cmd, &ioasid));
	cmd.flags = 0;
	cmd.parent = self->prereg;
	EXPECT_EQ(-EINVAL, ioasid_alloc_call(self->iommu, &cmd, &ioasid));
	cmd.parent = self->child;
	EXPECT_EQ(-EINVAL, ioasid_alloc_call(self->iommu, &cmd, &ioasid));
	cmd.parent = 0;
	EXPECT_EQ(0, ioasid_alloc_call(self->iommu, &cmd, &ioasid));
	EXPECT_EQ(0, ioasid_free(self->iommu, ioasid));
}

TEST_F(prereg, no_dirty_tracking)
{
	__u64 bits;

	EXPECT_EQ(-EINVAL, dirty_start(self->iommu, self->prereg));
	EXPECT_EQ(-EINVAL, dirty_stop(self->iommu, self->prereg));
	EXPECT_EQ(-EINVAL, dirty_get(self->iommu, self->prereg, 0, REG, PAGE,
				     PAGE, &bits));
	EXPECT_EQ(-EINVAL, ioasid_unmap_dirty(self->iommu, self->prereg, REG,
					      PAGE, PAGE, &bits));
}

TEST_F(prereg, no_device_attaches)
{
	struct iommu_ioasid_info info;

	EXPECT_EQ(-EINVAL, vfio_attach(self->dev.fd, self->prereg));
	EXPECT_EQ(-EINVAL, vfio_attach_pasid(self->dev.fd, 1, self->prereg));
	/* Nor is a device moved there from elsewhere. */
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->child));
	EXPECT_EQ(-EINVAL, vfio_attach(self->dev.fd, self->prereg));
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->prereg, &info));
	EXPECT_EQ(0, info.num_devices);
	EXPECT_EQ(0, info.num_tables);
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->child, &info));
	EXPECT_EQ(1, info.num_devices);
}

/* In-kernel users are no hardware: CHECK_EXTENSION says whether they may. */
TEST_F(prereg, access)
{
	char cdev[2][64], byte = 7;
	__u32 dev_id;
	__u64 ops;
	int device;

	if (access_missing(cdev))
		SKIP(return, "no access test device");
	ASSERT_EQ(0, iommu_extension(self->iommu, IOMMU_EXT_TYPE_OPS,
				     IOMMU_IOASID_TYPE_PREREG, &ops));
	device = vfio_open(cdev[0]);
	ASSERT_LE(0, device);
	ASSERT_EQ(0, vfio_bind(device, self->iommu, &dev_id));
	ASSERT_EQ(0, reg(self, READ_WRITE, REG, 4 * PAGE));
	if (ops & 1ULL << IOMMU_IOASID_OP_ACCESS) {
		ASSERT_EQ(0, vfio_attach(device, self->prereg));
		EXPECT_EQ(0, access_write(device, REG + PAGE, &byte, 1));
		EXPECT_EQ(7, self->mem[PAGE]);
		EXPECT_EQ(0, access_pin(device, REG, PAGE, PIN_WRITE));
		EXPECT_CHARGED(4 * PAGE, 4);
		EXPECT_EQ(0, access_unpin(device, REG, PAGE));
	} else {
		EXPECT_EQ(-EINVAL, vfio_attach(device, self->prereg));
	}
	close(device);
}

TEST_F(prereg, needs_a_device)
{
	__u32 ioasid;
	int iommu = iommu_open();

	ASSERT_LE(0, iommu);
	ASSERT_EQ(0, ioasid_alloc_prereg(iommu, &ioasid));
	EXPECT_EQ(-EPERM, ioasid_map(iommu, ioasid, READ_WRITE, self->mem, REG,
				     PAGE));
	EXPECT_EQ(0, ioasid_unmap_all(iommu, ioasid, NULL));
	EXPECT_EQ(0, ioasid_free(iommu, ioasid));
	close(iommu);

	dev_close(&self->dev);
	EXPECT_EQ(-EPERM, reg(self, READ_WRITE, REG, PAGE));
	EXPECT_CHARGED(0, 0);
}

/* ---- pinned once ---- */

/**
 * struct kind - Of memory
 * @size: Of all of it
 * @flags: For mmap()
 * @file: Registered as a file: these flags are for memfd_create(), else 0
 * @min_pins: How many pins that takes, at least
 * @max_pins: At most
 */
struct kind {
	size_t size;
	int flags;
	int file;
	size_t min_pins;
	size_t max_pins;
};

/* Return: where it is in this process, or NULL. @fd: the file, or -1 */
static char *kind_alloc(const struct kind *kind, int *fd)
{
	char *mem;

	*fd = -1;
	if (kind->file) {
		*fd = memfd_create("ioasid", MFD_CLOEXEC | kind->file);
		if (*fd < 0)
			return NULL;
		if (ftruncate(*fd, kind->size)) {
			close(*fd);
			return NULL;
		}
	}
	mem = mmap(NULL, kind->size, PROT_READ | PROT_WRITE,
		   kind->file ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS |
		   kind->flags, *fd, 0);
	if (mem != MAP_FAILED) {
		/* Who looks first whether it is huge has it there already. */
		memset(mem, 0x22, kind->size);
		return mem;
	}
	if (*fd >= 0)
		close(*fd);
	return NULL;
}

/* Two more children; what each shows of the registered memory is not the same. */
static int show_thrice(struct _test_data_prereg *self, __u32 more[2],
		       size_t size)
{
	int rc = show(self, READ_WRITE, REG, TEST_IOVA, size);
	int i;

	for (i = 0; !rc && i < 2; i++) {
		rc = ioasid_alloc_child(self->iommu, self->prereg, &more[i]);
		if (!rc)
			rc = ioasid_show(self->iommu, more[i], READ_ONLY,
					 REG + PAGE, TEST_IOVA, size - PAGE);
		if (!rc)
			rc = ioasid_show(self->iommu, more[i], READ_WRITE, REG,
					 OTHER_IOVA, size);
	}
	return rc;
}

/* However many address spaces, devices and page tables there are. */
static void pinned_once(struct __test_metadata *_metadata,
			struct _test_data_prereg *self, const struct kind *kind)
{
	struct counts first, now;
	struct dma_device devs[2];
	int fd, num = dev_find_alone(devs, 2);
	char *mem = kind_alloc(kind, &fd);
	__u32 more[2];

	if (!mem)
		SKIP(return, "no such memory");
	ASSERT_EQ(0, fd < 0 ? ioasid_map(self->iommu, self->prereg, READ_WRITE,
					 mem, REG, kind->size) :
			      ioasid_map_file(self->iommu, self->prereg,
					      READ_WRITE, fd, 0, REG,
					      kind->size));
	ASSERT_EQ(0, counts_read(&first));
	EXPECT_EQ(kind->size, first.locked - self->counts.locked);
	EXPECT_LE(kind->min_pins, first.pins - self->counts.pins);
	EXPECT_GE(kind->max_pins, first.pins - self->counts.pins);
	EXPECT_PINNED(kind->size);

	ASSERT_EQ(0, show_thrice(self, more, kind->size));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->child));
	if (num > 1) {
		ASSERT_EQ(0, dev_open_bind(&devs[1], self->iommu));
		ASSERT_EQ(0, vfio_attach(devs[1].fd, more[0]));
	}
	ASSERT_EQ(0, counts_read(&now));
	EXPECT_TRUE(counts_equal(&first, &now));
	EXPECT_PINNED(kind->size);
	EXPECT_TRUE(device_copies(self, mem, TEST_IOVA, kind->size - PAGE, 1));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, more[1]));
	EXPECT_TRUE(device_copies(self, mem, OTHER_IOVA, kind->size / 2, 2));

	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->child, NULL));
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, more[0], NULL));
	ASSERT_EQ(0, vfio_detach(self->dev.fd));
	ASSERT_EQ(0, ioasid_free(self->iommu, more[1]));
	ASSERT_EQ(0, counts_read(&now));
	EXPECT_TRUE(counts_equal(&first, &now));
	ASSERT_EQ(0, unreg(self, REG, kind->size));
	EXPECT_CHARGED(0, 0);
	EXPECT_PINNED(0);

	munmap(mem, kind->size);
	if (fd >= 0)
		close(fd);
	if (num > 1)
		dev_close(&devs[1]);
}

TEST_F(prereg, pinned_once)
{
	const struct kind kind = {
		.size = 16 * PAGE,
		.min_pins = 16,
		.max_pins = 16,
	};

	pinned_once(_metadata, self, &kind);
}

TEST_F(prereg, pinned_once_file)
{
	const struct kind kind = {
		.size = 16 * PAGE,
		.file = MFD_ALLOW_SEALING,
		.min_pins = 1,
		.max_pins = 16,
	};

	pinned_once(_metadata, self, &kind);
}

/*
 * Pins that two huge pages of a process take: one each, but with pages of 64 KiB arm64
 * makes such a huge page of 32 entries, which are looked at one by one.
 */
static size_t huge_pins(void)
{
#ifdef __aarch64__
	if (PAGE == 0x10000)
		return 2 * HUGE_SIZE / PAGE;
#endif
	return 2;
}

TEST_F(prereg, pinned_once_huge)
{
	const struct kind kind = {
		.size = 2 * HUGE_SIZE,
		.flags = MAP_HUGETLB | HUGE_2M,
		.min_pins = 2,
		.max_pins = huge_pins(),
	};

	pinned_once(_metadata, self, &kind);
}

TEST_F(prereg, pinned_once_huge_file)
{
	const struct kind kind = {
		.size = 2 * HUGE_SIZE,
		.file = MFD_HUGETLB | HUGE_2M,
		.min_pins = 2,
		.max_pins = 2,
	};

	pinned_once(_metadata, self, &kind);
}

/* ---- what may be registered ---- */

TEST_F(prereg, overlap)
{
	ASSERT_EQ(0, reg(self, READ_WRITE, REG + 4 * PAGE, 4 * PAGE));
	EXPECT_EQ(-EEXIST, reg(self, READ_WRITE, REG + 4 * PAGE, 4 * PAGE));
	EXPECT_EQ(-EEXIST, reg(self, READ_ONLY, REG + 7 * PAGE, 2 * PAGE));
	EXPECT_EQ(-EEXIST, reg(self, READ_WRITE, REG, 5 * PAGE));
	EXPECT_EQ(-EEXIST, reg(self, READ_WRITE, REG, 12 * PAGE));
	EXPECT_CHARGED(4 * PAGE, 4);
	EXPECT_PINNED(4 * PAGE);

	/* The same memory at another address is pinned and paid for again. */
	ASSERT_EQ(0, reg(self, READ_WRITE, REG + 8 * PAGE, 4 * PAGE));
	EXPECT_CHARGED(8 * PAGE, 8);
	EXPECT_PINNED(8 * PAGE);
	ASSERT_EQ(0, show(self, READ_WRITE, REG + 4 * PAGE, TEST_IOVA,
			  8 * PAGE));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->child));
	fill_pattern(self->mem, 128, 3);
	ASSERT_EQ(0, dev_dma_copy(&self->dev, TEST_IOVA + 4 * PAGE,
				  TEST_IOVA + PAGE, 128));
	EXPECT_TRUE(has_pattern(self->mem + PAGE, 128, 3));
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->child, NULL));
	ASSERT_EQ(0, unreg(self, REG + 4 * PAGE, 4 * PAGE));
	EXPECT_CHARGED(4 * PAGE, 4);
}

TEST_F(prereg, errors)
{
	EXPECT_EQ(-EINVAL, reg(self, READ_WRITE, REG, 0));
	EXPECT_EQ(-EOVERFLOW, reg(self, READ_WRITE, 0 - PAGE, 2 * PAGE));
	EXPECT_EQ(-EINVAL, reg(self, 0, REG, PAGE));
	EXPECT_EQ(-EINVAL, reg(self, READ_WRITE, REG + 1, PAGE));
	EXPECT_EQ(-EBADF, ioasid_map_file(self->iommu, self->prereg, READ_WRITE,
					  1000, 0, REG, PAGE));
	EXPECT_EQ(-EFAULT, ioasid_map(self->iommu, self->prereg, READ_WRITE,
				      NULL, REG, PAGE));
	ASSERT_EQ(0, mprotect(self->mem + 3 * PAGE, PAGE, PROT_READ));
	EXPECT_EQ(-EFAULT, reg(self, READ_WRITE, REG, 8 * PAGE));
	EXPECT_CHARGED(0, 0);
	EXPECT_EQ(0, reg(self, READ_ONLY, REG, 8 * PAGE));
	ASSERT_EQ(0, unreg(self, REG, 8 * PAGE));
	/* Any address will do, as no IOMMU sees it. */
	EXPECT_EQ(0, reg(self, READ_WRITE, 0 - PAGE, PAGE));
	EXPECT_EQ(0, reg(self, READ_WRITE, 0, PAGE));
	EXPECT_EQ(0, reg(self, READ_WRITE, msi_first, PAGE));
}

TEST_F(prereg, alloc_iova)
{
	__u64 at = 1;

	ASSERT_EQ(0, ioasid_map_alloc(self->iommu, self->prereg, READ_WRITE,
				      self->mem, 4 * PAGE, &at));
	EXPECT_EQ(0, at % PAGE);
	EXPECT_CHARGED(4 * PAGE, 4);
	EXPECT_EQ(0, show(self, READ_WRITE, at, TEST_IOVA, 4 * PAGE));
}

TEST_F(prereg, permissions)
{
	ASSERT_EQ(0, reg(self, READ_ONLY, REG, 4 * PAGE));
	EXPECT_EQ(-EPERM, show(self, READ_WRITE, REG, TEST_IOVA, PAGE));
	EXPECT_EQ(-EPERM, show(self, WRITE_ONLY, REG, TEST_IOVA, PAGE));
	EXPECT_EQ(0, show(self, READ_ONLY, REG, TEST_IOVA, PAGE));
	ASSERT_EQ(0, reg(self, WRITE_ONLY, REG + 4 * PAGE, 4 * PAGE));
	EXPECT_EQ(-EPERM, show(self, READ_ONLY, REG + 4 * PAGE,
			       TEST_IOVA + PAGE, PAGE));
	EXPECT_EQ(-EPERM, show(self, READ_WRITE, REG + 4 * PAGE,
			       TEST_IOVA + PAGE, PAGE));
	EXPECT_EQ(0, show(self, WRITE_ONLY, REG + 4 * PAGE, TEST_IOVA + PAGE,
			  PAGE));
	/* Over both, each side lacks something. */
	EXPECT_EQ(-EPERM, show(self, READ_ONLY, REG, OTHER_IOVA, 8 * PAGE));
	EXPECT_EQ(-EPERM, show(self, WRITE_ONLY, REG, OTHER_IOVA, 8 * PAGE));
}

/* A device cannot write what was registered to be read. */
TEST_F(prereg, read_only)
{
	ASSERT_EQ(0, reg(self, READ_ONLY, REG, PAGE));
	ASSERT_EQ(0, ioasid_map(self->iommu, self->prereg, READ_WRITE,
				self->mem + PAGE, REG + PAGE, PAGE));
	ASSERT_EQ(0, show(self, READ_ONLY, REG, TEST_IOVA, 2 * PAGE));
	ASSERT_EQ(0, show(self, READ_WRITE, REG + PAGE, OTHER_IOVA, PAGE));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->child));
	fill_pattern(self->mem, 128, 1);
	ASSERT_EQ(0, dev_dma_copy(&self->dev, TEST_IOVA, OTHER_IOVA, 128));
	EXPECT_TRUE(has_pattern(self->mem + PAGE, 128, 1));
	fill_pattern(self->mem + PAGE, 128, 2);
	ASSERT_EQ(0, dev_dma_copy(&self->dev, OTHER_IOVA, TEST_IOVA, 128));
	EXPECT_TRUE(has_pattern(self->mem, 128, 1));
}

TEST_F(prereg, memlock_limit)
{
	long bytes = self->counts.locked + 8 * PAGE;
	struct rlimit limit = { .rlim_cur = bytes, .rlim_max = bytes };

	ASSERT_EQ(0, setrlimit(RLIMIT_MEMLOCK, &limit));
	/* Who may exceed it, may exceed it. */
	ASSERT_EQ(0, reg(self, READ_WRITE, REG, 9 * PAGE));
	ASSERT_EQ(0, unreg(self, REG, 9 * PAGE));
	ASSERT_EQ(0, drop_ipc_lock());
	EXPECT_EQ(-ENOMEM, reg(self, READ_WRITE, REG, 9 * PAGE));
	EXPECT_CHARGED(0, 0);
	EXPECT_PINNED(0);
	ASSERT_EQ(0, reg(self, READ_WRITE, REG, 6 * PAGE));
	/* The same memory counts again, and what a child shows does not. */
	EXPECT_EQ(-ENOMEM, reg(self, READ_WRITE, OTHER_REG, 3 * PAGE));
	EXPECT_EQ(0, reg(self, READ_WRITE, OTHER_REG, 2 * PAGE));
	EXPECT_EQ(0, show(self, READ_WRITE, REG, TEST_IOVA, 6 * PAGE));
	EXPECT_EQ(0, show(self, READ_WRITE, REG, OTHER_IOVA, 6 * PAGE));
	EXPECT_CHARGED(8 * PAGE, 8);
}

TEST_F(prereg, free)
{
	ASSERT_EQ(0, reg_show_attach(self, READ_WRITE));
	EXPECT_EQ(-EBUSY, ioasid_free(self->iommu, self->prereg));
	ASSERT_EQ(0, vfio_detach(self->dev.fd));
	EXPECT_EQ(-EBUSY, ioasid_free(self->iommu, self->prereg));
	EXPECT_CHARGED(MEM_PAGES * PAGE, MEM_PAGES);
	/* The child's mappings go with it, and then the parent's. */
	ASSERT_EQ(0, ioasid_free(self->iommu, self->child));
	ASSERT_EQ(0, ioasid_free(self->iommu, self->prereg));
	EXPECT_CHARGED(0, 0);
}

TEST_F(prereg, close)
{
	long tables;

	ASSERT_EQ(0, reg_show_attach(self, READ_WRITE));
	tables = tables_charged();
	close(self->iommu);
	self->iommu = -1;
	/* The device keeps the context, and its memory. */
	EXPECT_TRUE(device_copies(self, self->mem, TEST_IOVA, 9 * PAGE, 1));
	EXPECT_CHARGED(MEM_PAGES * PAGE + tables, MEM_PAGES);
	dev_close(&self->dev);
	EXPECT_CHARGED(0, 0);
}

TEST_HARNESS_MAIN
