// SPDX-License-Identifier: GPL-2.0-only
/*
 * The interface as such: the layout of its structures, the conventions that all
 * ioctls keep, and the commands that need no memory.
 */
#include <assert.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/vfio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "device_fixture.h"
#include "ioasid_utils.h"

/* What programs are compiled with can never change again. */
#define LAYOUT(condition) static_assert(condition, #condition)

LAYOUT(sizeof(struct iommu_check_extension) == 24);
LAYOUT(offsetof(struct iommu_check_extension, value) == 16);
LAYOUT(sizeof(struct iommu_range) == 16);
LAYOUT(sizeof(struct iommu_group_member) == 72);
LAYOUT(offsetof(struct iommu_group_member, driver) == 40);
LAYOUT(sizeof(struct iommu_device_info) == 88);
LAYOUT(offsetof(struct iommu_device_info, window_page_sizes) == 80);
LAYOUT(offsetof(struct iommu_device_info, cookie) == 16);
LAYOUT(offsetof(struct iommu_device_info, addr_width) == 40);
LAYOUT(offsetof(struct iommu_device_info, ranges) == 56);
LAYOUT(sizeof(struct iommu_device_cookie) == 24);
LAYOUT(sizeof(struct iommu_ioasid_alloc) == 48);
LAYOUT(offsetof(struct iommu_ioasid_alloc, ioasid) == 24);
LAYOUT(offsetof(struct iommu_ioasid_alloc, num_ranges) == 28);
LAYOUT(offsetof(struct iommu_ioasid_alloc, ranges) == 32);
LAYOUT(offsetof(struct iommu_ioasid_alloc, page_size) == 40);
LAYOUT(sizeof(struct iommu_ioasid_free) == 16);
LAYOUT(sizeof(struct iommu_ioasid_info) == 104);
LAYOUT(offsetof(struct iommu_ioasid_info, num_ranges) == 40);
LAYOUT(offsetof(struct iommu_ioasid_info, num_mappings) == 48);
LAYOUT(offsetof(struct iommu_ioasid_info, ranges) == 80);
LAYOUT(offsetof(struct iommu_ioasid_info, num_children) == 88);
LAYOUT(sizeof(struct iommu_window_create) == 40);
LAYOUT(offsetof(struct iommu_window_create, iova) == 24);
LAYOUT(sizeof(struct iommu_window_remove) == 24);
LAYOUT(sizeof(struct iommu_device_eeh) == 48);
LAYOUT(offsetof(struct iommu_device_eeh, err_addr) == 32);
LAYOUT(sizeof(struct iommu_map_dma) == 40);
LAYOUT(offsetof(struct iommu_map_dma, iova) == 16);
LAYOUT(sizeof(struct iommu_unmap_dma) == 48);
LAYOUT(offsetof(struct iommu_unmap_dma, iova) == 16);
LAYOUT(offsetof(struct iommu_unmap_dma, page_size) == 32);
LAYOUT(sizeof(struct iommu_batch_entry) == 32);
LAYOUT(offsetof(struct iommu_batch_entry, iova) == 8);
LAYOUT(sizeof(struct iommu_map_batch) == 32);
LAYOUT(offsetof(struct iommu_map_batch, num_entries) == 12);
LAYOUT(offsetof(struct iommu_map_batch, entries) == 16);
LAYOUT(sizeof(struct iommu_uring_cmd) == 16);
LAYOUT(sizeof(struct iommu_event) == 24);
LAYOUT(offsetof(struct iommu_event, iova) == 8);
LAYOUT(sizeof(struct iommu_event_fd) == 16);
LAYOUT(sizeof(struct iommu_dirty_start) == 16);
LAYOUT(sizeof(struct iommu_dirty_stop) == 16);
LAYOUT(sizeof(struct iommu_dirty_get) == 48);
LAYOUT(offsetof(struct iommu_dirty_get, iova) == 16);
LAYOUT(offsetof(struct iommu_dirty_get, bitmap) == 40);
LAYOUT(_IO(';', 0xc0) == IOMMU_CHECK_EXTENSION);
LAYOUT(_IO(';', 0xc1) == IOMMU_DEVICE_GET_INFO);
LAYOUT(_IO(';', 0xc2) == IOMMU_DEVICE_SET_COOKIE);
LAYOUT(_IO(';', 0xc3) == IOMMU_IOASID_ALLOC);
LAYOUT(_IO(';', 0xc4) == IOMMU_IOASID_FREE);
LAYOUT(_IO(';', 0xc5) == IOMMU_IOASID_GET_INFO);
LAYOUT(_IO(';', 0xc6) == IOMMU_WINDOW_CREATE);
LAYOUT(_IO(';', 0xc7) == IOMMU_WINDOW_REMOVE);
LAYOUT(_IO(';', 0xc8) == IOMMU_MAP_DMA);
LAYOUT(_IO(';', 0xc9) == IOMMU_UNMAP_DMA);
LAYOUT(_IO(';', 0xca) == IOMMU_MAP_BATCH);
LAYOUT(_IO(';', 0xcc) == IOMMU_EVENT_FD);
LAYOUT(_IO(';', 0xcd) == IOMMU_DIRTY_START);
LAYOUT(_IO(';', 0xce) == IOMMU_DIRTY_STOP);
LAYOUT(_IO(';', 0xcf) == IOMMU_DIRTY_GET);
LAYOUT(_IO(';', 0xd0) == IOMMU_DEVICE_EEH);

/* An id that nothing has been given so far. */
#define NO_ID 0x12345678U

/* ---- the conventions, for every command ---- */

FIXTURE(command) {
	int iommu;
	int other;
	struct dma_device dev;
	__u32 ioasid;
	__u32 tracked;
	void *mem;
	__u64 iova;
	int events;
	struct iommu_batch_entry entry;
	struct counts counts;
};

/*
 * @size: Of its structure
 * @first_size: Of the first version of its structure, 0 if there is no other
 * @flags: That it knows
 * @reserved: Offset of a member that must be zero, 0 if there is none
 * @id: Offset of the member that names an object, 0 if there is none
 * @id_is_device: That is a device, and not an IOASID
 * @always_output: What has been done is written back when it fails, too
 */
FIXTURE_VARIANT(command) {
	unsigned long command;
	size_t size;
	size_t first_size;
	__u32 flags;
	size_t reserved;
	size_t id;
	bool id_is_device;
	bool always_output;
};

FIXTURE_VARIANT_ADD(command, check_extension) {
	.command = IOMMU_CHECK_EXTENSION,
	.size = sizeof(struct iommu_check_extension),
};

FIXTURE_VARIANT_ADD(command, device_get_info) {
	.command = IOMMU_DEVICE_GET_INFO,
	.size = sizeof(struct iommu_device_info),
	.first_size = offsetof(struct iommu_device_info, num_windows),
	.id = offsetof(struct iommu_device_info, dev_id),
	.id_is_device = true,
};

FIXTURE_VARIANT_ADD(command, device_set_cookie) {
	.command = IOMMU_DEVICE_SET_COOKIE,
	.size = sizeof(struct iommu_device_cookie),
	.reserved = offsetof(struct iommu_device_cookie, __reserved),
	.id = offsetof(struct iommu_device_cookie, dev_id),
	.id_is_device = true,
};

FIXTURE_VARIANT_ADD(command, ioasid_alloc) {
	.command = IOMMU_IOASID_ALLOC,
	.size = sizeof(struct iommu_ioasid_alloc),
	.first_size = offsetof(struct iommu_ioasid_alloc, ranges),
	.flags = IOMMU_IOASID_ALLOC_DIRTY,
};

FIXTURE_VARIANT_ADD(command, ioasid_free) {
	.command = IOMMU_IOASID_FREE,
	.size = sizeof(struct iommu_ioasid_free),
	.reserved = offsetof(struct iommu_ioasid_free, __reserved),
	.id = offsetof(struct iommu_ioasid_free, ioasid),
};

FIXTURE_VARIANT_ADD(command, ioasid_get_info) {
	.command = IOMMU_IOASID_GET_INFO,
	.size = sizeof(struct iommu_ioasid_info),
	.first_size = offsetof(struct iommu_ioasid_info, num_children),
	.id = offsetof(struct iommu_ioasid_info, ioasid),
};

FIXTURE_VARIANT_ADD(command, window_create) {
	.command = IOMMU_WINDOW_CREATE,
	.size = sizeof(struct iommu_window_create),
	.flags = IOMMU_WINDOW_CREATE_FIXED,
	.id = offsetof(struct iommu_window_create, ioasid),
};

FIXTURE_VARIANT_ADD(command, window_remove) {
	.command = IOMMU_WINDOW_REMOVE,
	.size = sizeof(struct iommu_window_remove),
	.reserved = offsetof(struct iommu_window_remove, __reserved),
	.id = offsetof(struct iommu_window_remove, ioasid),
};

FIXTURE_VARIANT_ADD(command, map_dma) {
	.command = IOMMU_MAP_DMA,
	.size = sizeof(struct iommu_map_dma),
	.flags = READ_WRITE | IOMMU_MAP_DMA_ALLOC_IOVA | IOMMU_MAP_DMA_FILE |
		 IOMMU_MAP_DMA_REPLACE,
	.id = offsetof(struct iommu_map_dma, ioasid),
};

FIXTURE_VARIANT_ADD(command, unmap_dma) {
	.command = IOMMU_UNMAP_DMA,
	.size = sizeof(struct iommu_unmap_dma),
	.first_size = offsetof(struct iommu_unmap_dma, page_size),
	.flags = IOMMU_UNMAP_DMA_ALL | IOMMU_UNMAP_DMA_GET_DIRTY |
		 IOMMU_UNMAP_DMA_REVOKE,
	.reserved = offsetof(struct iommu_unmap_dma, __reserved),
	.id = offsetof(struct iommu_unmap_dma, ioasid),
};

FIXTURE_VARIANT_ADD(command, map_batch) {
	.command = IOMMU_MAP_BATCH,
	.size = sizeof(struct iommu_map_batch),
	.id = offsetof(struct iommu_map_batch, ioasid),
	.always_output = true,
};

FIXTURE_VARIANT_ADD(command, event_fd) {
	.command = IOMMU_EVENT_FD,
	.size = sizeof(struct iommu_event_fd),
	.reserved = offsetof(struct iommu_event_fd, __reserved),
};

FIXTURE_VARIANT_ADD(command, dirty_start) {
	.command = IOMMU_DIRTY_START,
	.size = sizeof(struct iommu_dirty_start),
	.reserved = offsetof(struct iommu_dirty_start, __reserved),
	.id = offsetof(struct iommu_dirty_start, ioasid),
};

FIXTURE_VARIANT_ADD(command, dirty_stop) {
	.command = IOMMU_DIRTY_STOP,
	.size = sizeof(struct iommu_dirty_stop),
	.reserved = offsetof(struct iommu_dirty_stop, __reserved),
	.id = offsetof(struct iommu_dirty_stop, ioasid),
};

FIXTURE_VARIANT_ADD(command, dirty_get) {
	.command = IOMMU_DIRTY_GET,
	.size = sizeof(struct iommu_dirty_get),
	.flags = IOMMU_DIRTY_GET_NO_CLEAR,
	.reserved = offsetof(struct iommu_dirty_get, __reserved),
	.id = offsetof(struct iommu_dirty_get, ioasid),
};

FIXTURE_SETUP(command)
{
	if (!DEVICE_BEGIN())
		return;
	self->other = iommu_open();
	ASSERT_LE(0, self->other);
	ASSERT_EQ(0, ioasid_alloc(self->iommu, &self->ioasid));
	ASSERT_EQ(0, ioasid_alloc_dirty(self->iommu, &self->tracked));
	ASSERT_EQ(0, dirty_start(self->iommu, self->tracked));
	MEM_BEGIN(PAGE);
	self->iova = TEST_IOVA;
}

FIXTURE_TEARDOWN(command)
{
	close(self->other);
	DEVICE_END();
}

/* The largest page that a kernel can have here */
#define MAX_PAGE 0x10000

union command_buf {
	__u32 size;
	__u32 word[2 * MAX_PAGE / 4];
	unsigned char byte[2 * MAX_PAGE];
	struct iommu_check_extension check;
	struct iommu_device_info device;
	struct iommu_device_cookie cookie;
	struct iommu_ioasid_alloc alloc;
	struct iommu_ioasid_free free;
	struct iommu_ioasid_info info;
	struct iommu_window_create window;
	struct iommu_window_remove remove;
	struct iommu_map_dma map;
	struct iommu_unmap_dma unmap;
	struct iommu_map_batch batch;
	struct iommu_event_fd event;
	struct iommu_dirty_start start;
	struct iommu_dirty_stop stop;
	struct iommu_dirty_get get;
};

/* An IOASID of its own, which has a window from 0 on */
static int prepare_window(struct _test_data_command *self, __u32 *ioasid)
{
	__u64 iova = 0;
	int rc = ioasid_alloc(self->iommu, ioasid);

	return rc ? rc : ioasid_window_create(self->iommu, *ioasid, 0, PAGE,
					      &iova, PAGE);
}

/* Makes @buf a call that succeeds, once. */
static int prepare(struct _test_data_command *self,
		   const struct _fixture_variant_command *variant,
		   union command_buf *buf)
{
	memset(buf, 0, sizeof(*buf));
	buf->size = variant->size;
	switch (variant->command) {
	case IOMMU_CHECK_EXTENSION:
		buf->check.extension = IOMMU_EXT_MAP_TYPE1V2;
		return 0;
	case IOMMU_DEVICE_GET_INFO:
		buf->device.dev_id = self->dev.dev_id;
		return 0;
	case IOMMU_DEVICE_SET_COOKIE:
		buf->cookie.dev_id = self->dev.dev_id;
		return 0;
	case IOMMU_IOASID_ALLOC:
		buf->alloc.type = IOMMU_IOASID_TYPE_KERNEL;
		return 0;
	case IOMMU_IOASID_FREE:
		return ioasid_alloc(self->iommu, &buf->free.ioasid);
	case IOMMU_IOASID_GET_INFO:
		buf->info.ioasid = self->ioasid;
		return 0;
	case IOMMU_WINDOW_CREATE:
		buf->window.page_size = PAGE;
		buf->window.length = PAGE;
		return ioasid_alloc(self->iommu, &buf->window.ioasid);
	case IOMMU_WINDOW_REMOVE:
		return prepare_window(self, &buf->remove.ioasid);
	case IOMMU_MAP_DMA:
		self->iova += PAGE;
		buf->map.flags = READ_WRITE;
		buf->map.ioasid = self->ioasid;
		buf->map.iova = self->iova;
		buf->map.src = (uintptr_t)self->mem;
		buf->map.length = PAGE;
		return 0;
	case IOMMU_UNMAP_DMA:
		buf->unmap.ioasid = self->ioasid;
		buf->unmap.iova = TEST_IOVA;
		buf->unmap.length = PAGE;
		return 0;
	case IOMMU_MAP_BATCH:
		self->entry.flags = IOMMU_BATCH_ENTRY_UNMAP;
		self->entry.iova = TEST_IOVA;
		self->entry.length = PAGE;
		buf->batch.ioasid = self->ioasid;
		buf->batch.num_entries = 1;
		buf->batch.entries = (uintptr_t)&self->entry;
		return 0;
	case IOMMU_EVENT_FD:
		/* One at a time */
		if (self->events > 0)
			close(self->events);
		self->events = 0;
		return 0;
	case IOMMU_DIRTY_START:
		buf->start.ioasid = self->tracked;
		return 0;
	case IOMMU_DIRTY_STOP:
		buf->stop.ioasid = self->tracked;
		return 0;
	case IOMMU_DIRTY_GET:
		buf->get.ioasid = self->tracked;
		buf->get.iova = TEST_IOVA;
		buf->get.length = PAGE;
		buf->get.page_size = PAGE;
		buf->get.bitmap = (uintptr_t)self->mem;
		return 0;
	}
	return -EINVAL;
}

static int call(struct _test_data_command *self,
		const struct _fixture_variant_command *variant, void *arg)
{
	int rc = iommu_call(self->iommu, variant->command, arg);

	if (!rc && variant->command == IOMMU_EVENT_FD)
		self->events = ((union command_buf *)arg)->event.fd;
	return rc;
}

TEST_F(command, succeeds)
{
	union command_buf buf;

	ASSERT_EQ(0, prepare(self, variant, &buf));
	EXPECT_EQ(0, call(self, variant, &buf));
	EXPECT_EQ(variant->size, buf.size);
}

TEST_F(command, size_too_small)
{
	size_t size = variant->first_size ?: variant->size;
	size_t sizes[] = { 0, 1, 4, 8, size - 8, size - 1 };
	union command_buf buf;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		ASSERT_EQ(0, prepare(self, variant, &buf));
		buf.size = sizes[i];
		EXPECT_EQ(-EINVAL, call(self, variant, &buf))
			TH_LOG("size %zu", sizes[i]);
	}
}

/* What a program was compiled with before the structure grew */
TEST_F(command, size_of_older_versions)
{
	union command_buf buf;
	size_t size;

	for (size = variant->first_size ?: variant->size; size < variant->size;
	     size++) {
		ASSERT_EQ(0, prepare(self, variant, &buf));
		buf.size = size;
		/* That is somebody else's. */
		memset(&buf.byte[size], 0xff, sizeof(buf) - size);
		EXPECT_EQ(0, call(self, variant, &buf)) {
			TH_LOG("size %zu", size);
		}
		EXPECT_EQ(0xff, buf.byte[size]);
	}
}

TEST_F(command, unknown_tail_is_zero)
{
	size_t more[] = { 1, 8, 64, PAGE - variant->size };
	union command_buf buf;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(more); i++) {
		ASSERT_EQ(0, prepare(self, variant, &buf));
		buf.size = variant->size + more[i];
		EXPECT_EQ(0, call(self, variant, &buf))
			TH_LOG("%zu bytes more", more[i]);
	}
}

TEST_F(command, unknown_tail_is_not_zero)
{
	size_t more[] = { 1, 8, 64, PAGE - variant->size };
	union command_buf buf, copy;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(more); i++) {
		/* Only the last byte of the tail ... */
		ASSERT_EQ(0, prepare(self, variant, &buf));
		buf.size = variant->size + more[i];
		buf.byte[buf.size - 1] = 1;
		copy = buf;
		EXPECT_EQ(-E2BIG, call(self, variant, &buf))
			TH_LOG("%zu bytes more", more[i]);
		EXPECT_EQ(0, memcmp(&buf, &copy, sizeof(buf)));

		/* ... and what lies behind it is nobody's business. */
		ASSERT_EQ(0, prepare(self, variant, &buf));
		buf.size = variant->size + more[i];
		buf.byte[buf.size] = 1;
		EXPECT_EQ(0, call(self, variant, &buf));
	}
}

/* Whatever it holds, a page is enough. */
TEST_F(command, larger_than_a_page)
{
	size_t sizes[] = { PAGE + 1, 2 * PAGE, INT_MAX, UINT_MAX };
	union command_buf buf, copy;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		ASSERT_EQ(0, prepare(self, variant, &buf));
		buf.size = sizes[i];
		copy = buf;
		EXPECT_EQ(-E2BIG, call(self, variant, &buf)) {
			TH_LOG("size %zu", sizes[i]);
		}
		EXPECT_EQ(0, memcmp(&buf, &copy, sizeof(buf)));
	}
}

TEST_F(command, unknown_flags)
{
	union command_buf buf, copy;
	unsigned int bit;

	for (bit = 0; bit < 32; bit++) {
		if (variant->flags & (1U << bit))
			continue;
		ASSERT_EQ(0, prepare(self, variant, &buf));
		buf.word[1] |= 1U << bit;
		copy = buf;
		EXPECT_EQ(-EOPNOTSUPP, call(self, variant, &buf))
			TH_LOG("bit %u", bit);
		/* A call that fails writes nothing back. */
		EXPECT_EQ(0, memcmp(&buf, &copy, sizeof(buf)));
	}
}

TEST_F(command, reserved_is_not_zero)
{
	union command_buf buf, copy;
	unsigned int bit;

	if (!variant->reserved)
		return;
	for (bit = 0; bit < 32; bit++) {
		ASSERT_EQ(0, prepare(self, variant, &buf));
		buf.word[variant->reserved / 4] = 1U << bit;
		copy = buf;
		EXPECT_EQ(-EINVAL, call(self, variant, &buf))
			TH_LOG("bit %u", bit);
		EXPECT_EQ(0, memcmp(&buf, &copy, sizeof(buf)));
	}
}

TEST_F(command, bad_pointer)
{
	unsigned char *pages = mem_alloc(2 * PAGE);
	union command_buf buf;
	size_t visible;

	ASSERT_NE(NULL, pages);
	EXPECT_EQ(-EFAULT, call(self, variant, NULL));
	EXPECT_EQ(-EFAULT, call(self, variant, (void *)(0 - PAGE)));
	ASSERT_EQ(0, mprotect(pages + PAGE, PAGE, PROT_NONE));
	EXPECT_EQ(-EFAULT, call(self, variant, pages + PAGE));

	/* The page ends within the structure. */
	for (visible = 0; visible < variant->size; visible += 4) {
		unsigned char *at = pages + PAGE - visible;

		ASSERT_EQ(0, prepare(self, variant, &buf));
		memcpy(at, &buf, visible);
		EXPECT_EQ(-EFAULT, call(self, variant, at))
			TH_LOG("%zu of %zu bytes", visible, variant->size);
	}

	/* Within the unknown tail. */
	ASSERT_EQ(0, prepare(self, variant, &buf));
	buf.size = variant->size + 8;
	memcpy(pages + PAGE - variant->size, &buf, variant->size);
	EXPECT_EQ(-EFAULT, call(self, variant, pages + PAGE - variant->size));
}

TEST_F(command, unknown_id)
{
	__u32 ids[] = {
		0, NO_ID, INT_MAX, 0x80000000U, UINT_MAX,
		/* Known, but of the other kind. */
		variant->id_is_device ? self->ioasid : self->dev.dev_id,
	};
	union command_buf buf, copy;
	size_t i;

	if (!variant->id)
		return;
	for (i = 0; i < ARRAY_SIZE(ids); i++) {
		ASSERT_EQ(0, prepare(self, variant, &buf));
		buf.word[variant->id / 4] = ids[i];
		copy = buf;
		EXPECT_EQ(-ENOENT, call(self, variant, &buf))
			TH_LOG("id %u", ids[i]);
		if (!variant->always_output)
			EXPECT_EQ(0, memcmp(&buf, &copy, sizeof(buf)));
	}
}

TEST_F(command, id_of_another_context)
{
	struct dma_device devs[2];
	union command_buf buf, copy;
	__u32 id, i;
	__u64 iova = 0;

	if (!variant->id)
		return;
	/* MAP_DMA looks for a device of its own context first. */
	if (dev_find_alone(devs, 2) < 2)
		SKIP(return, "no second DMA device");
	/* The other context has used the first ids, but not for a device. */
	for (i = 0; i < 4; i++)
		ASSERT_EQ(0, ioasid_alloc(self->other, &id));
	ASSERT_EQ(0, dev_open_bind(&devs[1], self->other));

	for (i = 0; i < 16; i++)
		ASSERT_EQ(0, ioasid_alloc_dirty(self->iommu, &id));
	ASSERT_EQ(0, dirty_start(self->iommu, id));
	/* There must be one to be removed. */
	if (variant->command == IOMMU_WINDOW_REMOVE)
		ASSERT_EQ(0, ioasid_window_create(self->iommu, id, 0, PAGE,
						  &iova, PAGE));
	ASSERT_EQ(0, prepare(self, variant, &buf));
	if (!variant->id_is_device)
		buf.word[variant->id / 4] = id;
	copy = buf;
	EXPECT_EQ(-ENOENT, iommu_call(self->other, variant->command, &buf));
	EXPECT_EQ(0, call(self, variant, &copy));
	dev_close(&devs[1]);
}

/* ---- what the command number says ---- */

TEST(unknown_command)
{
	struct iommu_check_extension check = { .size = sizeof(check) };
	int nr, iommu = iommu_open();

	ASSERT_LE(0, iommu);
	EXPECT_EQ(-ENOTTY, iommu_call(iommu, _IO(';', 0xcb), &check));
	for (nr = 0xd1; nr <= 0xff; nr++) {
		EXPECT_EQ(-ENOTTY, iommu_call(iommu, _IO(';', nr), &check))
			TH_LOG("nr 0x%x", nr);
	}
	EXPECT_EQ(-ENOTTY, iommu_call(iommu, _IO(':', 0xc0), &check));
	/* The encoding of size and direction is a part of the number. */
	EXPECT_EQ(-ENOTTY, iommu_call(iommu, _IOWR(';', 0xc0, check), &check));
	EXPECT_EQ(-ENOTTY, iommu_call(iommu, 0, &check));
	EXPECT_EQ(-ENOTTY, iommu_call(iommu, _IO(';', 0xcb), NULL));
	close(iommu);
}

/* ---- commands that need no device ---- */

FIXTURE(context) {
	int iommu;
	struct counts counts;
};

FIXTURE_SETUP(context)
{
	COUNTS_BEGIN(&self->counts);
	self->iommu = iommu_open();
	ASSERT_LE(0, self->iommu);
}

FIXTURE_TEARDOWN(context)
{
	close(self->iommu);
	COUNTS_END(&self->counts);
}

TEST_F(context, extensions)
{
	__u32 yes[] = {
		IOMMU_EXT_MAP_TYPE1V2, IOMMU_EXT_UNMAP_ALL,
		IOMMU_EXT_MAP_ALLOC_IOVA, IOMMU_EXT_MAP_FILE,
		IOMMU_EXT_MULTIDEV_GROUP, IOMMU_EXT_DIRTY_TRACKING,
		IOMMU_EXT_MAP_REPLACE, IOMMU_EXT_EVENT_FD,
		IOMMU_EXT_ALLOC_RANGES, IOMMU_EXT_URING_CMD,
	};
	struct {
		__u32 extension;
		__u64 value;
	} numbers[] = {
		{ IOMMU_EXT_NESTING, IOMMU_IOASID_MAX_DEPTH },
		{ IOMMU_EXT_MAP_BATCH, IOMMU_MAP_BATCH_MAX },
		{ IOMMU_EXT_WINDOWS, IOMMU_IOASID_MAX_WINDOWS },
	};
	__u32 unknown[] = { 0, 17, 1000, INT_MAX, UINT_MAX };
	__u64 value;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(yes); i++) {
		value = 99;
		EXPECT_EQ(0, iommu_extension(self->iommu, yes[i], 0, &value));
		EXPECT_EQ(1, value)
			TH_LOG("extension %u", yes[i]);
		EXPECT_EQ(-EINVAL,
			  iommu_extension(self->iommu, yes[i], 1, &value));
	}
	for (i = 0; i < ARRAY_SIZE(numbers); i++) {
		EXPECT_EQ(0, iommu_extension(self->iommu, numbers[i].extension,
					     0, &value));
		EXPECT_EQ(numbers[i].value, value);
		EXPECT_EQ(-EINVAL, iommu_extension(self->iommu,
						   numbers[i].extension, 1,
						   &value));
	}
	for (i = 0; i < ARRAY_SIZE(unknown); i++) {
		value = 99;
		/* Nobody knows whether it has an argument. */
		EXPECT_EQ(0, iommu_extension(self->iommu, unknown[i], i,
					     &value));
		EXPECT_EQ(0, value)
			TH_LOG("extension %u", unknown[i]);
	}
}

TEST_F(context, extension_type_ops)
{
	__u64 must = 1ULL << IOMMU_IOASID_OP_ROOT |
		     1ULL << IOMMU_IOASID_OP_MAP |
		     1ULL << IOMMU_IOASID_OP_ATTACH |
		     1ULL << IOMMU_IOASID_OP_ACCESS |
		     1ULL << IOMMU_IOASID_OP_DIRTY |
		     1ULL << IOMMU_IOASID_OP_CHILD |
		     1ULL << IOMMU_IOASID_OP_PARENT |
		     1ULL << IOMMU_IOASID_OP_WINDOW;
	__u64 may = must | 1ULL << IOMMU_IOASID_OP_ATTACH_PASID;
	__u32 unknown[] = { 0, 3, 64, UINT_MAX };
	__u64 value;
	size_t i;

	ASSERT_EQ(0, iommu_extension(self->iommu, IOMMU_EXT_TYPE_OPS,
				     IOMMU_IOASID_TYPE_KERNEL, &value));
	EXPECT_EQ(must, value & must);
	EXPECT_EQ(0, value & ~may);
	for (i = 0; i < ARRAY_SIZE(unknown); i++) {
		value = 99;
		EXPECT_EQ(0, iommu_extension(self->iommu, IOMMU_EXT_TYPE_OPS,
					     unknown[i], &value));
		EXPECT_EQ(0, value);
	}
}

TEST_F(context, extension_group_ioasid)
{
	__u64 value = 99;

	EXPECT_EQ(0, iommu_extension(self->iommu, IOMMU_EXT_GROUP_IOASID, 0,
				     &value));
	EXPECT_EQ(0, value);
	EXPECT_EQ(-EINVAL, iommu_extension(self->iommu, IOMMU_EXT_GROUP_IOASID,
					   1, &value));
}

TEST_F(context, alloc_errors)
{
	struct iommu_ioasid_alloc alloc = {
		.size = sizeof(alloc),
		.type = IOMMU_IOASID_TYPE_KERNEL,
	};
	__u32 types[] = { 0, 3, 4, INT_MAX, UINT_MAX };
	__u32 widths[] = { 1, 11, 65, UINT_MAX };
	struct iommu_ioasid_alloc cmd;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(types); i++) {
		cmd = alloc;
		cmd.type = types[i];
		EXPECT_EQ(-EOPNOTSUPP,
			  iommu_call(self->iommu, IOMMU_IOASID_ALLOC, &cmd));
	}

	cmd = alloc;
	cmd.parent = NO_ID;
	EXPECT_EQ(-ENOENT, iommu_call(self->iommu, IOMMU_IOASID_ALLOC, &cmd));

	for (i = 0; i < ARRAY_SIZE(widths); i++) {
		cmd = alloc;
		cmd.addr_width = widths[i];
		EXPECT_EQ(-EINVAL,
			  iommu_call(self->iommu, IOMMU_IOASID_ALLOC, &cmd))
			TH_LOG("width %u", widths[i]);
	}
	for (i = 3; i < 6; i++) {
		cmd = alloc;
		cmd.snoop = i;
		EXPECT_EQ(-EINVAL,
			  iommu_call(self->iommu, IOMMU_IOASID_ALLOC, &cmd));
	}
	EXPECT_EQ(0, cmd.ioasid);
}

TEST_F(context, alloc_attributes)
{
	__u32 widths[] = { 0, 12, 32, 39, 48, 63, 64 };
	struct iommu_ioasid_info info;
	__u32 snoop, ioasid, last = 0;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(widths); i++) {
		for (snoop = IOMMU_SNOOP_AUTO; snoop <= IOMMU_SNOOP_OFF;
		     snoop++) {
			ioasid = 0;
			ASSERT_EQ(0, ioasid_alloc_attr(self->iommu, widths[i],
						       snoop, &ioasid));
			EXPECT_LE(1, ioasid);
			EXPECT_GE(INT_MAX, ioasid);
			EXPECT_NE(last, ioasid);
			last = ioasid;

			memset(&info, 0, sizeof(info));
			ASSERT_EQ(0, ioasid_info(self->iommu, ioasid, &info));
			EXPECT_EQ(IOMMU_IOASID_TYPE_KERNEL, info.type);
			EXPECT_EQ(0, info.parent);
			EXPECT_EQ(widths[i], info.addr_width);
			EXPECT_EQ(snoop, info.snoop);
			EXPECT_EQ(0, info.num_devices);
			EXPECT_EQ(0, info.num_accesses);
			EXPECT_EQ(0, info.num_tables);
			EXPECT_EQ(0, info.num_mappings);
			EXPECT_EQ(0, info.mapped_bytes);
			EXPECT_EQ(0, info.pinned_bytes);
			EXPECT_EQ((__u64)sysconf(_SC_PAGESIZE), info.alignment);
			EXPECT_LE(1, info.num_ranges);
		}
	}
}

TEST_F(context, info_ranges)
{
	struct iommu_range ranges[3] = {};
	struct iommu_ioasid_info info = {};
	__u32 ioasid;

	/* All of what the width allows, as long as nothing is attached. */
	ASSERT_EQ(0, ioasid_alloc_attr(self->iommu, 32, 0, &ioasid));
	memset(ranges, 0xff, sizeof(ranges));
	info.num_ranges = 2;
	info.ranges = (uintptr_t)ranges;
	ASSERT_EQ(0, ioasid_info(self->iommu, ioasid, &info));
	EXPECT_EQ(1, info.num_ranges);
	EXPECT_EQ(0, ranges[0].first);
	EXPECT_EQ(UINT_MAX, ranges[0].last);
	/* Nothing is written behind it. */
	EXPECT_TRUE(all_bytes(&ranges[1], sizeof(ranges[1]), 0xff));

	/* Without room the count is still given, the address not looked at. */
	info.num_ranges = 0;
	info.ranges = 8;
	ASSERT_EQ(0, ioasid_info(self->iommu, ioasid, &info));
	EXPECT_EQ(1, info.num_ranges);

	info.num_ranges = 1;
	info.ranges = 8;
	EXPECT_EQ(-EFAULT, ioasid_info(self->iommu, ioasid, &info));
	EXPECT_EQ(1, info.num_ranges);

	ASSERT_EQ(0, ioasid_alloc(self->iommu, &ioasid));
	info.num_ranges = 1;
	info.ranges = (uintptr_t)ranges;
	ASSERT_EQ(0, ioasid_info(self->iommu, ioasid, &info));
	EXPECT_EQ(1, info.num_ranges);
	EXPECT_EQ(0, ranges[0].first);
	EXPECT_EQ(ULLONG_MAX, ranges[0].last);
}

TEST_F(context, free_is_final)
{
	struct iommu_ioasid_info info;
	__u32 ioasid;

	ASSERT_EQ(0, ioasid_alloc(self->iommu, &ioasid));
	EXPECT_EQ(0, ioasid_free(self->iommu, ioasid));
	EXPECT_EQ(-ENOENT, ioasid_free(self->iommu, ioasid));
	EXPECT_EQ(-ENOENT, ioasid_totals(self->iommu, ioasid, &info));
	EXPECT_EQ(-ENOENT, ioasid_unmap_all(self->iommu, ioasid, NULL));
}

/* The number of objects that fdinfo shows. */
static long num_objects(int iommu)
{
	char path[64], text[4096], *at;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", iommu);
	if (file_read(path, text, sizeof(text)) < 0)
		return -1;
	at = strstr(text, "ioasid-objects:");
	return at ? strtol(at + strlen("ioasid-objects:"), NULL, 10) : -1;
}

TEST_F(context, alloc_that_cannot_tell_leaves_nothing)
{
	struct iommu_ioasid_alloc *alloc = mem_alloc(PAGE);
	long before = num_objects(self->iommu);

	ASSERT_LE(0, before);
	ASSERT_NE(NULL, alloc);
	alloc->size = sizeof(*alloc);
	alloc->type = IOMMU_IOASID_TYPE_KERNEL;
	ASSERT_EQ(0, mprotect(alloc, PAGE, PROT_READ));
	EXPECT_EQ(-EFAULT, iommu_call(self->iommu, IOMMU_IOASID_ALLOC, alloc));
	EXPECT_EQ(before, num_objects(self->iommu));
}

TEST_F(context, max_objects)
{
	long limit = param_get("max_objects"), base = num_objects(self->iommu);
	struct iommu_ioasid_alloc cmd = {
		.size = sizeof(cmd),
		.type = IOMMU_IOASID_TYPE_KERNEL,
	};
	__u32 ids[4], other_id;
	int i, other, rc[4];

	ASSERT_LT(0, limit);
	ASSERT_LE(0, base);
	ASSERT_EQ(0, param_set("max_objects", base + 3));
	other = iommu_open();
	for (i = 0; i < 4; i++)
		rc[i] = ioasid_alloc(self->iommu, &ids[i]);
	/* Each context has a count of its own. */
	i = ioasid_alloc(other, &other_id);
	ASSERT_EQ(0, param_set("max_objects", limit));
	EXPECT_EQ(0, i);
	EXPECT_EQ(0, rc[0]);
	EXPECT_EQ(0, rc[1]);
	EXPECT_EQ(0, rc[2]);
	EXPECT_EQ(-ENOSPC, rc[3]);
	EXPECT_EQ(base + 3, num_objects(self->iommu));

	/* What was freed can be had again. */
	ASSERT_EQ(0, param_set("max_objects", base + 3));
	rc[0] = ioasid_free(self->iommu, ids[1]);
	rc[1] = ioasid_alloc(self->iommu, &ids[1]);
	rc[2] = iommu_call(self->iommu, IOMMU_IOASID_ALLOC, &cmd);
	ASSERT_EQ(0, param_set("max_objects", limit));
	EXPECT_EQ(0, rc[0]);
	EXPECT_EQ(0, rc[1]);
	EXPECT_EQ(-ENOSPC, rc[2]);
	EXPECT_EQ(0, cmd.ioasid);
	close(other);
}

TEST_F(context, contexts_are_apart)
{
	struct iommu_ioasid_info info;
	__u32 mine, others;
	int i, other = iommu_open();

	ASSERT_LE(0, other);
	for (i = 0; i < 4; i++)
		ASSERT_EQ(0, ioasid_alloc(self->iommu, &mine));
	EXPECT_EQ(-ENOENT, ioasid_totals(other, mine, &info));
	EXPECT_EQ(-ENOENT, ioasid_free(other, mine));
	EXPECT_EQ(-ENOENT, ioasid_unmap_all(other, mine, NULL));

	/* Where both have the number, each means its own. */
	ASSERT_EQ(0, ioasid_alloc_attr(other, 32, 0, &others));
	while (others < mine)
		ASSERT_EQ(0, ioasid_alloc_attr(other, 32, 0, &others));
	if (others == mine) {
		ASSERT_EQ(0, ioasid_totals(other, mine, &info));
		EXPECT_EQ(32, info.addr_width);
		ASSERT_EQ(0, ioasid_totals(self->iommu, mine, &info));
		EXPECT_EQ(0, info.addr_width);
		EXPECT_EQ(0, ioasid_free(other, mine));
		EXPECT_EQ(0, ioasid_totals(self->iommu, mine, &info));
	}
	close(other);
}

/* ---- commands about a device, and with one attached ---- */

FIXTURE(device) {
	int iommu;
	struct dma_device dev;
	__u32 ioasid;
	struct counts counts;
};

FIXTURE_SETUP(device)
{
	if (!DEVICE_BEGIN())
		return;
	ASSERT_EQ(0, ioasid_alloc(self->iommu, &self->ioasid));
}

FIXTURE_TEARDOWN(device)
{
	DEVICE_END();
}

TEST_F(device, free_while_attached)
{
	struct iommu_ioasid_info info;

	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	EXPECT_EQ(-EBUSY, ioasid_free(self->iommu, self->ioasid));
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->ioasid, &info));
	EXPECT_EQ(1, info.num_devices);
	EXPECT_EQ(1, info.num_tables);

	ASSERT_EQ(0, vfio_detach(self->dev.fd));
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->ioasid, &info));
	EXPECT_EQ(0, info.num_devices);
	EXPECT_EQ(0, info.num_tables);
	EXPECT_EQ(0, ioasid_free(self->iommu, self->ioasid));
}

TEST_F(device, attach_errors)
{
	__u32 freed;

	ASSERT_EQ(0, ioasid_alloc(self->iommu, &freed));
	ASSERT_EQ(0, ioasid_free(self->iommu, freed));
	EXPECT_EQ(-ENOENT, vfio_attach(self->dev.fd, 0));
	EXPECT_EQ(-ENOENT, vfio_attach(self->dev.fd, NO_ID));
	EXPECT_EQ(-ENOENT, vfio_attach(self->dev.fd, UINT_MAX));
	EXPECT_EQ(-ENOENT, vfio_attach(self->dev.fd, freed));
	/* A device is no address space. */
	EXPECT_GT(0, vfio_attach(self->dev.fd, self->dev.dev_id));
	EXPECT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
}

TEST_F(device, info)
{
	struct iommu_device_info info = {};

	ASSERT_EQ(0, iommu_device_info(self->iommu, self->dev.dev_id, &info));
	EXPECT_EQ(self->dev.group, info.group_id);
	EXPECT_EQ(0, info.cookie);
	EXPECT_TRUE(info.caps & IOMMU_DEVICE_CAP_VIABLE);
	EXPECT_EQ(0, info.caps & ~(__u64)(IOMMU_DEVICE_CAP_VIABLE |
					  IOMMU_DEVICE_CAP_ENFORCE_SNOOP |
					  IOMMU_DEVICE_CAP_ISOLATED_MSI |
					  IOMMU_DEVICE_CAP_DIRTY));
	EXPECT_TRUE(info.pgsize_bitmap & PAGE);
	/* It is its windows that say where they end. */
	if (info.num_windows) {
		EXPECT_EQ(0, info.addr_width);
	} else {
		EXPECT_LE(32, info.addr_width);
		EXPECT_GE(64, info.addr_width);
	}
	EXPECT_LE(1, info.num_ranges);
	EXPECT_LE(1, info.num_members);
}

TEST_F(device, info_arrays)
{
	struct iommu_group_member members[8];
	struct iommu_range ranges[16];
	struct iommu_device_info info = {};
	__u32 num_ranges, num_members;

	ASSERT_EQ(0, iommu_device_info(self->iommu, self->dev.dev_id, &info));
	num_ranges = info.num_ranges;
	num_members = info.num_members;
	ASSERT_GE(ARRAY_SIZE(ranges) - 1, num_ranges);
	ASSERT_GE(ARRAY_SIZE(members) - 1, num_members);

	/* No room: addresses are not looked at. */
	memset(&info, 0, sizeof(info));
	info.ranges = 8;
	info.members = 8;
	EXPECT_EQ(0, iommu_device_info(self->iommu, self->dev.dev_id, &info));
	EXPECT_EQ(num_ranges, info.num_ranges);
	EXPECT_EQ(num_members, info.num_members);

	memset(&info, 0, sizeof(info));
	info.num_ranges = 1;
	info.ranges = 8;
	EXPECT_EQ(-EFAULT,
		  iommu_device_info(self->iommu, self->dev.dev_id, &info));
	memset(&info, 0, sizeof(info));
	info.num_members = 1;
	info.members = 8;
	EXPECT_EQ(-EFAULT,
		  iommu_device_info(self->iommu, self->dev.dev_id, &info));

	/* One element: filled, and nothing behind it is touched. */
	memset(&info, 0, sizeof(info));
	memset(ranges, 0xee, sizeof(ranges));
	memset(members, 0xee, sizeof(members));
	info.num_ranges = 1;
	info.ranges = (uintptr_t)ranges;
	info.num_members = 1;
	info.members = (uintptr_t)members;
	EXPECT_EQ(0, iommu_device_info(self->iommu, self->dev.dev_id, &info));
	EXPECT_EQ(num_ranges, info.num_ranges);
	EXPECT_EQ(num_members, info.num_members);
	EXPECT_FALSE(all_bytes(ranges, sizeof(*ranges), 0xee));
	EXPECT_TRUE(all_bytes(&ranges[1], sizeof(*ranges), 0xee));
	EXPECT_FALSE(all_bytes(members, sizeof(*members), 0xee));
	EXPECT_TRUE(all_bytes(&members[1], sizeof(*members), 0xee));

	/* More room than needed. */
	memset(&info, 0, sizeof(info));
	memset(ranges, 0xee, sizeof(ranges));
	memset(members, 0xee, sizeof(members));
	info.num_ranges = ARRAY_SIZE(ranges);
	info.ranges = (uintptr_t)ranges;
	info.num_members = ARRAY_SIZE(members);
	info.members = (uintptr_t)members;
	EXPECT_EQ(0, iommu_device_info(self->iommu, self->dev.dev_id, &info));
	EXPECT_EQ(num_ranges, info.num_ranges);
	EXPECT_EQ(num_members, info.num_members);
	EXPECT_TRUE(all_bytes(&ranges[num_ranges], sizeof(*ranges), 0xee));
	EXPECT_TRUE(all_bytes(&members[num_members], sizeof(*members), 0xee));
}

TEST_F(device, cookie)
{
	__u64 cookies[] = { 1, 0xdeadbeefcafef00dULL, ULLONG_MAX, 0 };
	struct iommu_device_info info = {};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cookies); i++) {
		EXPECT_EQ(0, iommu_device_cookie(self->iommu, self->dev.dev_id,
						 cookies[i]));
		memset(&info, 0, sizeof(info));
		ASSERT_EQ(0, iommu_device_info(self->iommu, self->dev.dev_id,
					       &info));
		EXPECT_EQ(cookies[i], info.cookie);
	}
}

/* A new binding is a new device, that nobody has given a cookie yet. */
TEST_F(device, unbind_forgets)
{
	struct iommu_device_info info = {};
	__u32 old = self->dev.dev_id;

	ASSERT_EQ(0, iommu_device_cookie(self->iommu, old, 42));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	dev_close(&self->dev);
	EXPECT_EQ(-ENOENT, iommu_device_info(self->iommu, old, &info));
	EXPECT_EQ(-ENOENT, iommu_device_cookie(self->iommu, old, 43));
	/* It was detached by the way. */
	EXPECT_EQ(0, ioasid_free(self->iommu, self->ioasid));

	ASSERT_EQ(0, dev_open_bind(&self->dev, self->iommu));
	ASSERT_EQ(0, iommu_device_info(self->iommu, self->dev.dev_id, &info));
	EXPECT_EQ(0, info.cookie);
}

/* What the snoop policies promise, whatever the IOMMU of the guest can do. */
TEST_F(device, snoop_policy)
{
	struct iommu_device_info info = {};
	__u32 automatic, enforce, off;
	bool can;

	ASSERT_EQ(0, iommu_device_info(self->iommu, self->dev.dev_id, &info));
	can = info.caps & IOMMU_DEVICE_CAP_ENFORCE_SNOOP;
	ASSERT_EQ(0, ioasid_alloc_attr(self->iommu, 0, IOMMU_SNOOP_AUTO,
				       &automatic));
	ASSERT_EQ(0, ioasid_alloc_attr(self->iommu, 0, IOMMU_SNOOP_ENFORCE,
				       &enforce));
	ASSERT_EQ(0, ioasid_alloc_attr(self->iommu, 0, IOMMU_SNOOP_OFF, &off));

	EXPECT_EQ(0, vfio_attach(self->dev.fd, automatic));
	EXPECT_EQ(0, vfio_detach(self->dev.fd));
	EXPECT_EQ(can ? 0 : -EINVAL, vfio_attach(self->dev.fd, enforce));
	EXPECT_EQ(0, vfio_detach(self->dev.fd));
	EXPECT_EQ(can ? -EOPNOTSUPP : 0, vfio_attach(self->dev.fd, off));
	EXPECT_EQ(0, vfio_detach(self->dev.fd));
	/* A device that was refused is not attached. */
	EXPECT_EQ(0, ioasid_free(self->iommu, automatic));
	EXPECT_EQ(0, ioasid_free(self->iommu, enforce));
	EXPECT_EQ(0, ioasid_free(self->iommu, off));
}

/* Who is refused where the policy does not suit stays where it is. */
TEST_F(device, snoop_policy_of_another)
{
	struct iommu_device_info info = {};
	__u32 automatic, enforce, off;
	bool can;

	ASSERT_EQ(0, iommu_device_info(self->iommu, self->dev.dev_id, &info));
	can = info.caps & IOMMU_DEVICE_CAP_ENFORCE_SNOOP;
	ASSERT_EQ(0, ioasid_alloc_attr(self->iommu, 0, IOMMU_SNOOP_AUTO,
				       &automatic));
	ASSERT_EQ(0, ioasid_alloc_attr(self->iommu, 0, IOMMU_SNOOP_ENFORCE,
				       &enforce));
	ASSERT_EQ(0, ioasid_alloc_attr(self->iommu, 0, IOMMU_SNOOP_OFF, &off));

	ASSERT_EQ(0, vfio_attach(self->dev.fd, automatic));
	EXPECT_EQ(can ? -EOPNOTSUPP : -EINVAL,
		  vfio_attach(self->dev.fd, can ? off : enforce));
	EXPECT_EQ(-EBUSY, ioasid_free(self->iommu, automatic));
	EXPECT_EQ(0, ioasid_free(self->iommu, can ? off : enforce));

	/* There and back, between two that suit it */
	EXPECT_EQ(0, vfio_attach(self->dev.fd, can ? enforce : off));
	EXPECT_EQ(0, ioasid_free(self->iommu, automatic));
	EXPECT_EQ(-EBUSY, ioasid_free(self->iommu, can ? enforce : off));
	EXPECT_EQ(0, vfio_detach(self->dev.fd));
	EXPECT_EQ(0, ioasid_free(self->iommu, can ? enforce : off));
}

/* A VFIO group that is given the context has an IOASID made for it. */
TEST_F(context, group_ioasid)
{
	struct iommu_ioasid_info info;
	char path[32];
	struct dma_device dev;
	__u64 value = 0;
	int group;

	if (dev_find_alone(&dev, 1) < 1)
		SKIP(return, "no DMA device in an IOMMU group of its own");
	snprintf(path, sizeof(path), "/dev/vfio/%d", dev.group);
	group = open(path, O_RDWR | O_CLOEXEC);
	if (group < 0)
		SKIP(return, "VFIO has no groups");
	ASSERT_EQ(0, ioctl(group, VFIO_GROUP_SET_CONTAINER, &self->iommu));
	ASSERT_EQ(0, iommu_extension(self->iommu, IOMMU_EXT_GROUP_IOASID, 0,
				     &value));
	EXPECT_LE(1, value);
	EXPECT_GE(INT_MAX, value);
	EXPECT_EQ(0, ioasid_totals(self->iommu, value, &info));
	EXPECT_EQ(-EBUSY, ioasid_free(self->iommu, value));
	EXPECT_EQ(0, ioctl(group, VFIO_GROUP_UNSET_CONTAINER));
	close(group);
}

/* A context that is full takes no device, and no in-kernel user. */
TEST_F(device, max_objects)
{
	long limit = param_get("max_objects"), num;
	int rc[2];

	dev_close(&self->dev);
	ASSERT_EQ(0, dev_open(&self->dev));
	num = num_objects(self->iommu);
	ASSERT_LT(0, num);
	ASSERT_EQ(0, param_set("max_objects", num));
	rc[0] = dev_bind(&self->dev, self->iommu);
	ASSERT_EQ(0, param_set("max_objects", num + 1));
	rc[1] = dev_bind(&self->dev, self->iommu);
	ASSERT_EQ(0, param_set("max_objects", limit));
	EXPECT_EQ(-ENOSPC, rc[0]);
	EXPECT_EQ(0, rc[1]);
	EXPECT_EQ(num + 1, num_objects(self->iommu));
}

TEST_F(device, attach_with_pasid)
{
	struct iommu_device_info info = {};

	ASSERT_EQ(0, iommu_device_info(self->iommu, self->dev.dev_id, &info));
	if (!info.pasid_bits) {
		EXPECT_EQ(-EINVAL, vfio_attach_pasid(self->dev.fd, 1,
						     self->ioasid));
		EXPECT_EQ(0, ioasid_free(self->iommu, self->ioasid));
		return;
	}
	EXPECT_EQ(-EINVAL, vfio_attach_pasid(self->dev.fd,
					     1U << info.pasid_bits,
					     self->ioasid));
	EXPECT_EQ(0, vfio_attach_pasid(self->dev.fd,
				       (1U << info.pasid_bits) - 1,
				       self->ioasid));
	EXPECT_EQ(-EBUSY, ioasid_free(self->iommu, self->ioasid));
	EXPECT_EQ(0, vfio_detach_pasid(self->dev.fd,
				       (1U << info.pasid_bits) - 1));
	EXPECT_EQ(0, ioasid_free(self->iommu, self->ioasid));
}

TEST_F(device, map_that_cannot_tell_leaves_nothing)
{
	struct iommu_map_dma *map = mem_alloc(PAGE);
	struct iommu_ioasid_info info;
	void *mem = mem_alloc(PAGE);

	ASSERT_NE(NULL, map);
	ASSERT_NE(NULL, mem);
	map->size = sizeof(*map);
	map->flags = READ_WRITE | IOMMU_MAP_DMA_ALLOC_IOVA;
	map->ioasid = self->ioasid;
	map->src = (uintptr_t)mem;
	map->length = PAGE;
	ASSERT_EQ(0, mprotect(map, PAGE, PROT_READ));
	EXPECT_EQ(-EFAULT, iommu_call(self->iommu, IOMMU_MAP_DMA, map));
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->ioasid, &info));
	EXPECT_EQ(0, info.num_mappings);
}

TEST_HARNESS_MAIN
