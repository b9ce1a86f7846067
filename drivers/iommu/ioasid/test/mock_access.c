// SPDX-License-Identifier: GPL-2.0-only
/*
 * IOMMU_TEST_CMD: in-kernel accesses, each behind a file descriptor.
 */
#include <linux/anon_inodes.h>
#include <linux/cleanup.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "mock.h"

static_assert((u32)MOCK_ACCESS_RW_WRITE == (u32)IOMMUFD_ACCESS_RW_WRITE);
static_assert((u32)MOCK_ACCESS_RW_SLOW_PATH ==
	      (u32)__IOMMUFD_ACCESS_RW_SLOW_PATH);

/* As much as can be pinned or copied at a time */
#define MOCK_ACCESS_MAX_LENGTH SZ_16M

/**
 * struct mock_pin - A range that is pinned
 * @entry: In mock_access.pins
 * @iova: Its first address
 * @length: Its length in bytes
 * @id: What the user calls it
 */
struct mock_pin {
	struct list_head entry;
	unsigned long iova;
	unsigned long length;
	u32 id;
};

/**
 * struct mock_access - An in-kernel access of a test
 * @access: What the core knows of it; constant once the file can be used
 * @attach_lock: Serializes changes of the address space
 * @lock: Protects @pins and @next_id. Also held while pages are being pinned, so
 *        that the callback misses none.
 * @pins: struct mock_pin
 * @next_id: Identifier of the next pin
 */
struct mock_access {
	struct iommufd_access *access;
	struct mutex attach_lock;	/* iommufd_access_replace() */
	struct mutex lock;		/* what follows */
	struct list_head pins;
	u32 next_id;
};

/* ---- pins ---- */

static void end_pin(struct mock_access *macc, struct mock_pin *pin)
{
	lockdep_assert_held(&macc->lock);

	iommufd_access_unpin_pages(macc->access, pin->iova, pin->length);
	list_del(&pin->entry);
	kfree(pin);
}

static void mock_access_unmap(void *data, unsigned long iova,
			      unsigned long length)
{
	struct mock_access *macc = data;
	unsigned long last = iova + length - 1;
	struct mock_pin *pin, *next;

	guard(mutex)(&macc->lock);
	list_for_each_entry_safe(pin, next, &macc->pins, entry)
		if (pin->iova <= last && iova <= pin->iova + pin->length - 1)
			end_pin(macc, pin);
}

static const struct iommufd_access_ops mock_access_ops = {
	.unmap = mock_access_unmap,
};

static const struct iommufd_access_ops mock_access_pin_ops = {
	.needs_pin_pages = 1,
	.unmap = mock_access_unmap,
};

/* Return: 0; -ENOENT: no such pin, it may have been unmapped. */
static int end_pin_by_id(struct mock_access *macc, u32 id)
{
	struct mock_pin *pin;

	guard(mutex)(&macc->lock);
	list_for_each_entry(pin, &macc->pins, entry)
		if (pin->id == id) {
			end_pin(macc, pin);
			return 0;
		}
	return -ENOENT;
}

static int begin_pin(struct mock_access *macc, unsigned long iova,
		     unsigned long length, struct page **pages,
		     unsigned int flags, u32 *id)
{
	struct mock_pin *pin;
	int rc;

	pin = kzalloc_obj(*pin, GFP_KERNEL_ACCOUNT);
	if (!pin)
		return -ENOMEM;
	pin->iova = iova;
	pin->length = length;

	guard(mutex)(&macc->lock);
	rc = iommufd_access_pin_pages(macc->access, iova, length, pages, flags);
	if (rc) {
		kfree(pin);
		return rc;
	}
	pin->id = macc->next_id++;
	list_add_tail(&pin->entry, &macc->pins);
	*id = pin->id;
	return 0;
}

/* ---- files ---- */

static int mock_access_release(struct inode *inode, struct file *file)
{
	struct mock_access *macc = file->private_data;

	if (macc->access)
		iommufd_access_destroy(macc->access);
	WARN_ON(!list_empty(&macc->pins));
	mutex_destroy(&macc->lock);
	mutex_destroy(&macc->attach_lock);
	kfree(macc);
	return 0;
}

static const struct file_operations mock_access_fops = {
	.owner = THIS_MODULE,
	.release = mock_access_release,
};

/* Return: A file, with a struct mock_access that has no access yet. */
static struct file *make_file(void)
{
	struct mock_access *macc;
	struct file *file;

	macc = kzalloc_obj(*macc, GFP_KERNEL_ACCOUNT);
	if (!macc)
		return ERR_PTR(-ENOMEM);
	mutex_init(&macc->attach_lock);
	mutex_init(&macc->lock);
	INIT_LIST_HEAD(&macc->pins);
	file = anon_inode_getfile("[iommufd_mock_access]", &mock_access_fops,
				  macc, O_RDWR);
	if (IS_ERR(file))
		kfree(macc);
	return file;
}

/* What this has done is undone when the file goes. */
static int make_access(struct iommufd_ctx *ictx, struct mock_access *macc,
		       u32 ioas_id, bool needs_pin_pages)
{
	struct iommufd_access *access;
	u32 id;

	access = iommufd_access_create(ictx,
				       needs_pin_pages ? &mock_access_pin_ops :
							 &mock_access_ops,
				       macc, &id);
	if (IS_ERR(access))
		return PTR_ERR(access);
	macc->access = access;
	return iommufd_access_attach(access, ioas_id);
}

/**
 * mock_access_create - IOMMU_TEST_OP_CREATE_ACCESS
 * @ucmd: The ioctl
 * @cmd: Its structure
 *
 * Return: 0; -EOPNOTSUPP: no such flags; -EMFILE; -ENFILE; -ENOMEM; -EFAULT; or
 * what iommufd_access_create() or iommufd_access_attach() says.
 */
int mock_access_create(struct ioasid_ucmd *ucmd, struct iommu_test_cmd *cmd)
{
	u32 flags = cmd->create_access.flags;
	struct file *file;
	int fd, rc;

	if (flags & ~MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES)
		return -EOPNOTSUPP;
	file = make_file();
	if (IS_ERR(file))
		return PTR_ERR(file);
	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0) {
		rc = fd;
		goto err_file;
	}
	rc = make_access(ucmd->ictx, file->private_data, cmd->id,
			 flags & MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES);
	if (rc)
		goto err_fd;
	cmd->create_access.out_access_fd = fd;
	rc = ioasid_respond(ucmd, sizeof(*cmd));
	if (rc)
		goto err_fd;
	fd_install(fd, file);
	return 0;

err_fd:
	put_unused_fd(fd);
err_file:
	fput(file);
	return rc;
}

static struct mock_access *mock_access_of(struct fd f)
{
	if (fd_empty(f) || fd_file(f)->f_op != &mock_access_fops)
		return NULL;
	return fd_file(f)->private_data;
}

/* ---- operations on them ---- */

/**
 * mock_access_replace - IOMMU_TEST_OP_ACCESS_REPLACE_IOAS
 * @ucmd: The ioctl
 * @cmd: Its structure
 *
 * Return: 0; -EBADFD: not an access; or as iommufd_access_replace().
 */
int mock_access_replace(struct ioasid_ucmd *ucmd, struct iommu_test_cmd *cmd)
{
	CLASS(fd, f)(cmd->id);
	struct mock_access *macc = mock_access_of(f);

	if (!macc)
		return -EBADFD;
	guard(mutex)(&macc->attach_lock);
	return iommufd_access_replace(macc->access,
				      cmd->access_replace_ioas.ioas_id);
}

/*
 * Programs that call at random cannot guess addresses. For them, the two halves
 * of an address are the number of a mapping and an offset into it.
 */
static unsigned long address_of_nth_mapping(struct mock_access *macc, u64 iova)
{
	struct ioasid *ioas;
	struct mapping *map;
	u32 nth, offset;

	memcpy(&nth, &iova, sizeof(nth));
	memcpy(&offset, (void *)&iova + sizeof(nth), sizeof(offset));

	guard(mutex)(&macc->access->lock);
	ioas = macc->access->ioas;
	if (!ioas)
		return 0;
	guard(mutex)(&ioas->lock);
	for_each_mapping(map, &ioas->mappings, 0, ULONG_MAX)
		if (map->state == MAPPING_LIVE && !nth--)
			return map->first + offset;
	return 0;
}

/* Whether the pages are those behind the user's addresses */
static int compare_pages(unsigned long addr, struct page **pages,
			 unsigned long num_pages)
{
	unsigned long i;
	int rc;

	for (i = 0; i < num_pages; i++) {
		struct page *page;

		rc = get_user_pages_fast(addr + i * PAGE_SIZE, 1, 0, &page);
		if (rc < 0)
			return rc;
		if (rc != 1)
			return -EFAULT;
		put_page(page);
		if (page != pages[i])
			return -EBADE;
	}
	return 0;
}

/*
 * No lock is held for the user's memory, so the pin may be gone when it is
 * compared; then it does not matter any more.
 */
static int pin_and_compare(struct ioasid_ucmd *ucmd, struct mock_access *macc,
			   struct iommu_test_cmd *cmd, unsigned long iova)
{
	unsigned long length = cmd->access_pages.length;
	unsigned long offset = offset_in_page(iova);
	unsigned long num_pages = PAGE_ALIGN(offset + length) >> PAGE_SHIFT;
	struct page **pages __free(kvfree) =
		kvcalloc(num_pages, sizeof(*pages), GFP_KERNEL_ACCOUNT);
	u32 id;
	int rc;

	if (!pages)
		return -ENOMEM;
	rc = begin_pin(macc, iova, length, pages,
		       cmd->access_pages.flags & MOCK_FLAGS_ACCESS_WRITE ?
			       IOMMUFD_ACCESS_RW_WRITE :
			       IOMMUFD_ACCESS_RW_READ,
		       &id);
	if (rc)
		return rc;
	/* 0: nothing to compare with */
	if (cmd->access_pages.uptr)
		rc = compare_pages(cmd->access_pages.uptr - offset, pages,
				   num_pages);
	if (!rc) {
		cmd->access_pages.out_access_pages_id = id;
		rc = ioasid_respond(ucmd, sizeof(*cmd));
	}
	if (rc)
		end_pin_by_id(macc, id);
	return rc;
}

/**
 * mock_access_pin - IOMMU_TEST_OP_ACCESS_PAGES
 * @ucmd: The ioctl
 * @cmd: Its structure
 *
 * Return: 0; -ENOMEM: too long, too; -EOPNOTSUPP: no such flags, or an access
 * that does not pin; -EBADFD: not an access; -EBADE: other pages than the user
 * sees; -EFAULT; or as iommufd_access_pin_pages().
 */
int mock_access_pin(struct ioasid_ucmd *ucmd, struct iommu_test_cmd *cmd)
{
	unsigned long iova = cmd->access_pages.iova;
	struct mock_access *macc;

	CLASS(fd, f)(cmd->id);

	macc = mock_access_of(f);
	if (cmd->access_pages.length > MOCK_ACCESS_MAX_LENGTH)
		return -ENOMEM;
	if (!cmd->access_pages.length)
		return -EINVAL;
	if (cmd->access_pages.flags &
	    ~(MOCK_FLAGS_ACCESS_WRITE | MOCK_FLAGS_ACCESS_SYZ))
		return -EOPNOTSUPP;
	if (!macc)
		return -EBADFD;
	if (!macc->access->ops->needs_pin_pages)
		return -EOPNOTSUPP;
	if (cmd->access_pages.flags & MOCK_FLAGS_ACCESS_SYZ)
		iova = address_of_nth_mapping(macc, cmd->access_pages.iova);
	return pin_and_compare(ucmd, macc, cmd, iova);
}

/**
 * mock_access_unpin - IOMMU_TEST_OP_DESTROY_ACCESS_PAGES
 * @ucmd: The ioctl
 * @cmd: Its structure
 *
 * Return: 0; -EBADFD: not an access; -ENOENT: no such pin.
 */
int mock_access_unpin(struct ioasid_ucmd *ucmd, struct iommu_test_cmd *cmd)
{
	CLASS(fd, f)(cmd->id);
	struct mock_access *macc = mock_access_of(f);

	if (!macc)
		return -EBADFD;
	return end_pin_by_id(macc, cmd->destroy_access_pages.access_pages_id);
}

/**
 * mock_access_rw - IOMMU_TEST_OP_ACCESS_RW
 * @ucmd: The ioctl
 * @cmd: Its structure
 *
 * Return: 0; -ENOMEM: too long, too; -EOPNOTSUPP: no such flags; -EBADFD: not an
 * access; -EFAULT; or as iommufd_access_rw().
 */
int mock_access_rw(struct ioasid_ucmd *ucmd, struct iommu_test_cmd *cmd)
{
	void __user *buffer = u64_to_user_ptr(cmd->access_rw.uptr);
	unsigned long length = cmd->access_rw.length;
	unsigned long iova = cmd->access_rw.iova;
	u32 flags = cmd->access_rw.flags;
	struct mock_access *macc;
	int rc;

	CLASS(fd, f)(cmd->id);

	macc = mock_access_of(f);
	if (cmd->access_rw.length > MOCK_ACCESS_MAX_LENGTH)
		return -ENOMEM;
	if (flags & ~(MOCK_ACCESS_RW_WRITE | MOCK_ACCESS_RW_SLOW_PATH |
		      MOCK_FLAGS_ACCESS_SYZ))
		return -EOPNOTSUPP;
	if (!macc)
		return -EBADFD;

	void *data __free(kvfree) = kvzalloc(length, GFP_KERNEL_ACCOUNT);

	if (!data)
		return -ENOMEM;
	if (flags & MOCK_ACCESS_RW_WRITE &&
	    copy_from_user(data, buffer, length))
		return -EFAULT;
	if (flags & MOCK_FLAGS_ACCESS_SYZ)
		iova = address_of_nth_mapping(macc, cmd->access_rw.iova);
	rc = iommufd_access_rw(macc->access, iova, data, length,
			       flags & ~MOCK_FLAGS_ACCESS_SYZ);
	if (rc)
		return rc;
	if (!(flags & MOCK_ACCESS_RW_WRITE) &&
	    copy_to_user(buffer, data, length))
		return -EFAULT;
	return 0;
}
