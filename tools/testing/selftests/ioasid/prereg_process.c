// SPDX-License-Identifier: GPL-2.0-only
/*
 * Registered memory of several processes: which of them pays, and whose memory a
 * device sees after fork, exec and exit.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "prereg.h"

enum step {
	REGISTER, UNREGISTER, WRITE_MEM, CHECK_MEM, TAKE_FD, EXEC, EXIT,
};

/* What an actor does with its own copy of everything */
static int act(void *arg, int step)
{
	struct _test_data_prereg *self = arg;

	switch (step) {
	case REGISTER:
		return ioasid_map(self->iommu, self->prereg, READ_WRITE,
				  self->mem, OTHER_REG, 8 * PAGE);
	case UNREGISTER:
		return ioasid_unmap(self->iommu, self->prereg, OTHER_REG,
				    8 * PAGE, NULL);
	case WRITE_MEM:
		fill_pattern(self->mem, 8 * PAGE, 99);
		return 0;
	case CHECK_MEM:
		return has_pattern(self->mem + 4 * PAGE, 128, 98) ? 0 : -EILSEQ;
	case EXEC:
		fcntl(self->iommu, F_SETFD, 0);
		execl("/bin/sleep", "sleep", "1000", NULL);
		return -errno;
	case EXIT:
		_exit(0);
	}
	return -EINVAL;
}

/* Shows what the actor has registered, and looks at it with the device. */
static int read_actors_memory(struct _test_data_prereg *self)
{
	int rc = reg_show_attach(self, READ_WRITE);

	if (!rc)
		rc = show(self, READ_WRITE, OTHER_REG, OTHER_IOVA, 8 * PAGE);
	if (!rc)
		rc = dev_dma_copy(&self->dev, OTHER_IOVA, TEST_IOVA, 128);
	if (rc)
		return rc;
	return has_pattern(self->mem, 128, 99) ? 0 : -EILSEQ;
}

static int write_actors_memory(struct _test_data_prereg *self)
{
	fill_pattern(self->mem + PAGE, 128, 98);
	return dev_dma_copy(&self->dev, TEST_IOVA + PAGE,
			    OTHER_IOVA + 4 * PAGE, 128);
}

/*
 * Another process, perhaps there already, writes to its copy of the memory; the
 * device stays with who registered it. @written: that is first
 */
static void fork_and_write(struct __test_metadata *_metadata,
			   struct _test_data_prereg *self, bool written)
{
	char *to = mem_alloc(PAGE);

	ASSERT_NE(NULL, to);
	if (!self->actor.pid)
		ASSERT_EQ(0, actor_start(&self->actor, act, self));
	if (!written)
		fill_pattern(self->mem, 128, 5);
	ASSERT_EQ(0, actor_do(&self->actor, WRITE_MEM));
	if (written)
		fill_pattern(self->mem, 128, 5);
	ASSERT_EQ(0, ioasid_map(self->iommu, self->prereg, READ_WRITE, to,
				OTHER_REG, PAGE));
	ASSERT_EQ(0, show(self, READ_WRITE, OTHER_REG, OTHER_IOVA, PAGE));
	ASSERT_EQ(0, dev_dma_copy(&self->dev, TEST_IOVA, OTHER_IOVA, 128));
	EXPECT_TRUE(has_pattern(to, 128, 5));
}

TEST_F(prereg, fork_parent_writes_first)
{
	ASSERT_EQ(0, reg_show_attach(self, READ_WRITE));
	fork_and_write(_metadata, self, false);
	/* And what the device writes is seen here. */
	EXPECT_TRUE(device_copies(self, self->mem, TEST_IOVA, 4 * PAGE, 6));
}

TEST_F(prereg, fork_child_writes_first)
{
	ASSERT_EQ(0, reg_show_attach(self, READ_WRITE));
	fork_and_write(_metadata, self, true);
	EXPECT_TRUE(device_copies(self, self->mem, TEST_IOVA, 4 * PAGE, 6));
}

/* Pages that were pinned to be read only must be kept apart, too. */
TEST_F(prereg, fork_read_only)
{
	ASSERT_EQ(0, reg_show_attach(self, READ_ONLY));
	fork_and_write(_metadata, self, false);
}

/* Registered when they are shared with a child already */
TEST_F(prereg, fork_before)
{
	ASSERT_EQ(0, actor_start(&self->actor, act, self));
	ASSERT_EQ(0, reg_show_attach(self, READ_WRITE));
	ASSERT_EQ(0, actor_do(&self->actor, WRITE_MEM));
	EXPECT_TRUE(device_copies(self, self->mem, TEST_IOVA, 4 * PAGE, 6));
	EXPECT_EQ(0, process_locked(self->actor.pid));
	EXPECT_CHARGED(MEM_PAGES * PAGE, MEM_PAGES);
}

TEST_F(prereg, fork_before_read_only)
{
	ASSERT_EQ(0, actor_start(&self->actor, act, self));
	ASSERT_EQ(0, reg_show_attach(self, READ_ONLY));
	fork_and_write(_metadata, self, false);
}

/* The other process pays for what it registers, and the device reaches that. */
static void actor_registers(struct __test_metadata *_metadata,
			    struct _test_data_prereg *self)
{
	ASSERT_EQ(0, actor_do(&self->actor, WRITE_MEM));
	ASSERT_EQ(0, actor_do(&self->actor, REGISTER));
	EXPECT_EQ(8 * PAGE, process_locked(self->actor.pid));
	EXPECT_CHARGED(0, 8);
	ASSERT_EQ(0, read_actors_memory(self));
	ASSERT_EQ(0, write_actors_memory(self));
	EXPECT_EQ(0, actor_do(&self->actor, CHECK_MEM));
	EXPECT_EQ(8 * PAGE, process_locked(self->actor.pid));
	EXPECT_CHARGED(MEM_PAGES * PAGE, MEM_PAGES + 8);
}

/* The other direction: the child registers its memory with what it inherited. */
TEST_F(prereg, child_registers)
{
	ASSERT_EQ(0, actor_start(&self->actor, act, self));
	actor_registers(_metadata, self);

	/* The refund is its, whoever unmaps. */
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->child, NULL));
	ASSERT_EQ(0, unreg(self, OTHER_REG, 8 * PAGE));
	EXPECT_EQ(0, process_locked(self->actor.pid));
	EXPECT_CHARGED(MEM_PAGES * PAGE, MEM_PAGES);
	ASSERT_EQ(0, actor_do(&self->actor, REGISTER));
	ASSERT_EQ(0, actor_do(&self->actor, UNREGISTER));
	EXPECT_EQ(0, process_locked(self->actor.pid));
}

/* Its memory stays as long as the context does, and the device reaches it. */
TEST_F(prereg, process_exits)
{
	ASSERT_EQ(0, actor_start(&self->actor, act, self));
	ASSERT_EQ(0, actor_do(&self->actor, WRITE_MEM));
	ASSERT_EQ(0, actor_do(&self->actor, REGISTER));
	EXPECT_EQ(-EPIPE, actor_do(&self->actor, EXIT));
	EXPECT_CHARGED(0, 8);
	EXPECT_PINNED(8 * PAGE);
	ASSERT_EQ(0, read_actors_memory(self));
	ASSERT_EQ(0, write_actors_memory(self));
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->child, NULL));
	ASSERT_EQ(0, unreg(self, OTHER_REG, 8 * PAGE));
	EXPECT_CHARGED(MEM_PAGES * PAGE, MEM_PAGES);
}

TEST_F(prereg, process_exits_and_context_goes)
{
	ASSERT_EQ(0, actor_start(&self->actor, act, self));
	ASSERT_EQ(0, actor_do(&self->actor, REGISTER));
	EXPECT_EQ(-EPIPE, actor_do(&self->actor, EXIT));
	dev_close(&self->dev);
	close(self->iommu);
	self->iommu = -1;
	EXPECT_CHARGED(0, 0);
}

/* Another program in its place has another memory, which pays for nothing. */
TEST_F(prereg, exec)
{
	if (access("/bin/sleep", X_OK))
		SKIP(return, "no program to execute");
	ASSERT_EQ(0, actor_start(&self->actor, act, self));
	ASSERT_EQ(0, actor_do(&self->actor, WRITE_MEM));
	ASSERT_EQ(0, actor_do(&self->actor, REGISTER));
	EXPECT_EQ(8 * PAGE, process_locked(self->actor.pid));
	/* The pipe goes with the program. */
	ASSERT_EQ(-EPIPE, actor_do(&self->actor, EXEC));
	EXPECT_EQ(0, process_locked(self->actor.pid));
	EXPECT_CHARGED(0, 8);
	ASSERT_EQ(0, read_actors_memory(self));
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->child, NULL));
	ASSERT_EQ(0, unreg(self, OTHER_REG, 8 * PAGE));
	EXPECT_EQ(0, process_locked(self->actor.pid));
	EXPECT_CHARGED(MEM_PAGES * PAGE, MEM_PAGES);
}

/* The file of a context that is opened here, for an actor that was there first */
static int take_fd(void *arg, int step)
{
	struct _test_data_prereg *self = arg;
	int pidfd, fd;

	if (step != TAKE_FD)
		return act(arg, step);
	pidfd = syscall(SYS_pidfd_open, getppid(), 0);
	if (pidfd < 0)
		return -errno;
	fd = syscall(SYS_pidfd_getfd, pidfd, self->iommu, 0);
	close(pidfd);
	if (fd < 0)
		return -errno;
	/* The same number as there */
	if (dup3(fd, self->iommu, O_CLOEXEC) < 0)
		return -errno;
	close(fd);
	return 0;
}

TEST_F(prereg, file_of_another_process)
{
	int first = self->iommu;

	/* At the fork this is not the context that the device is bound to. */
	self->iommu = iommu_open();
	ASSERT_LE(0, self->iommu);
	ASSERT_EQ(0, actor_start(&self->actor, take_fd, self));
	ASSERT_EQ(self->iommu, dup3(first, self->iommu, O_CLOEXEC));
	close(first);
	EXPECT_EQ(-ENOENT, actor_do(&self->actor, REGISTER));
	ASSERT_EQ(0, actor_do(&self->actor, TAKE_FD));

	/* It has the file now: it is its own memory that it registers. */
	actor_registers(_metadata, self);
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->child, NULL));
	ASSERT_EQ(0, actor_do(&self->actor, UNREGISTER));
	EXPECT_EQ(0, process_locked(self->actor.pid));
}

TEST_HARNESS_MAIN
