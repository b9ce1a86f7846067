// SPDX-License-Identifier: GPL-2.0-only
/*
 * Devices that share an IOMMU group: the IOMMU cannot tell them apart, so they
 * belong to one context and have one address space at a time.
 */
#include <dirent.h>
#include <limits.h>
#include <linux/vfio.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "device_utils.h"
#include "ioasid_utils.h"

#define COPY		512
#define MAX_MEMBERS	16

FIXTURE(group) {
	int iommu;
	struct dma_device dev[2];
	__u32 ioasid;
	__u32 other;
	char *mem;
	struct counts counts;
};

FIXTURE_SETUP(group)
{
	COUNTS_BEGIN(&self->counts);
	if (!dev_find_shared(self->dev))
		SKIP(return, "no two DMA devices in one IOMMU group");
	self->iommu = iommu_open();
	ASSERT_LE(0, self->iommu);
	ASSERT_EQ(0, ioasid_alloc(self->iommu, &self->ioasid));
	ASSERT_EQ(0, ioasid_alloc(self->iommu, &self->other));
	self->mem = mem_alloc(4 * PAGE);
	ASSERT_NE(NULL, self->mem);
	memset(self->mem, 0, 4 * PAGE);
}

FIXTURE_TEARDOWN(group)
{
	dev_close(&self->dev[0]);
	dev_close(&self->dev[1]);
	close(self->iommu);
	COUNTS_END(&self->counts);
}

static int bind_both(struct _test_data_group *self)
{
	int rc = dev_open_bind(&self->dev[0], self->iommu);

	return rc ? rc : dev_open_bind(&self->dev[1], self->iommu);
}

/* The first two pages in one address space, the others in the other. */
static int map_both(struct _test_data_group *self)
{
	int rc = ioasid_map(self->iommu, self->ioasid, READ_WRITE, self->mem,
			    TEST_IOVA, 2 * PAGE);

	if (rc)
		return rc;
	return ioasid_map(self->iommu, self->other, READ_WRITE,
			  self->mem + 2 * PAGE, TEST_IOVA, 2 * PAGE);
}

/* Whether the device can copy between the two pages at @mem. */
static bool can_copy(struct dma_device *dev, char *mem, unsigned int seed)
{
	fill_pattern(mem, COPY, seed);
	memset(mem + PAGE, 0, COPY);
	if (dev_dma_copy(dev, TEST_IOVA, TEST_IOVA + PAGE, COPY))
		return false;
	return has_pattern(mem + PAGE, COPY, seed);
}

static int get_members(struct _test_data_group *self, int device,
		       struct iommu_group_member *members,
		       struct iommu_device_info *info)
{
	memset(members, 0, MAX_MEMBERS * sizeof(*members));
	memset(info, 0, sizeof(*info));
	info->num_members = MAX_MEMBERS;
	info->members = (uintptr_t)members;
	return iommu_device_info(self->iommu, self->dev[device].dev_id, info);
}

static struct iommu_group_member *
find_member(struct iommu_group_member *members, unsigned int num,
	    const char *name)
{
	unsigned int i;

	for (i = 0; i < num && i < MAX_MEMBERS; i++)
		if (!strcmp(members[i].name, name))
			return &members[i];
	return NULL;
}

TEST_F(group, members)
{
	struct iommu_group_member members[MAX_MEMBERS], *member;
	struct iommu_device_info info;
	unsigned int num = 0;
	char path[64], driver[64];
	struct dirent *de;
	DIR *dir;

	ASSERT_EQ(0, dev_open_bind(&self->dev[0], self->iommu));
	ASSERT_EQ(0, get_members(self, 0, members, &info));
	EXPECT_EQ(self->dev[0].group, info.group_id);
	EXPECT_TRUE(info.caps & IOMMU_DEVICE_CAP_VIABLE);
	ASSERT_GE(MAX_MEMBERS, info.num_members);

	/* The same as sysfs has, no more and no less. */
	snprintf(path, sizeof(path), "/sys/kernel/iommu_groups/%d/devices",
		 self->dev[0].group);
	dir = opendir(path);
	ASSERT_NE(NULL, dir);
	while ((de = readdir(dir))) {
		if (de->d_name[0] == '.')
			continue;
		num++;
		member = find_member(members, info.num_members, de->d_name);
		ASSERT_NE(NULL, member) {
			TH_LOG("%s is missing", de->d_name);
		}
		bus_driver(self->dev[0].kind->bus, de->d_name, driver,
			   sizeof(driver));
		EXPECT_STREQ(driver, member->driver);
		EXPECT_EQ(!!driver[0],
			  !!(member->flags & IOMMU_GROUP_MEMBER_DRIVER));
		EXPECT_FALSE(member->flags & (IOMMU_GROUP_MEMBER_CONFLICT |
					      IOMMU_GROUP_MEMBER_CHANGING));
	}
	closedir(dir);
	EXPECT_EQ(num, info.num_members);
}

TEST_F(group, members_bound)
{
	struct iommu_group_member members[MAX_MEMBERS], *member;
	struct iommu_device_info info;

	ASSERT_EQ(0, dev_open_bind(&self->dev[0], self->iommu));
	ASSERT_EQ(0, get_members(self, 0, members, &info));
	member = find_member(members, info.num_members, self->dev[0].name);
	ASSERT_NE(NULL, member);
	EXPECT_TRUE(member->flags & IOMMU_GROUP_MEMBER_BOUND);
	EXPECT_EQ(self->dev[0].dev_id, member->dev_id);
	member = find_member(members, info.num_members, self->dev[1].name);
	ASSERT_NE(NULL, member);
	EXPECT_FALSE(member->flags & IOMMU_GROUP_MEMBER_BOUND);
	EXPECT_EQ(0, member->dev_id);

	/* Each names the other. */
	ASSERT_EQ(0, dev_open_bind(&self->dev[1], self->iommu));
	EXPECT_NE(self->dev[0].dev_id, self->dev[1].dev_id);
	ASSERT_EQ(0, get_members(self, 0, members, &info));
	member = find_member(members, info.num_members, self->dev[1].name);
	ASSERT_NE(NULL, member);
	EXPECT_TRUE(member->flags & IOMMU_GROUP_MEMBER_BOUND);
	EXPECT_EQ(self->dev[1].dev_id, member->dev_id);
	ASSERT_EQ(0, get_members(self, 1, members, &info));
	EXPECT_EQ(self->dev[0].group, info.group_id);
	member = find_member(members, info.num_members, self->dev[0].name);
	ASSERT_NE(NULL, member);
	EXPECT_EQ(self->dev[0].dev_id, member->dev_id);

	dev_close(&self->dev[0]);
	ASSERT_EQ(0, get_members(self, 1, members, &info));
	member = find_member(members, info.num_members, self->dev[0].name);
	ASSERT_NE(NULL, member);
	EXPECT_FALSE(member->flags & IOMMU_GROUP_MEMBER_BOUND);
	EXPECT_EQ(0, member->dev_id);
}

/* A member without a driver does no harm. */
TEST_F(group, member_without_driver)
{
	struct iommu_group_member members[MAX_MEMBERS], *member;
	struct iommu_device_info info;
	const char *bus = self->dev[1].kind->bus;
	char driver[64];
	int rc;

	bus_driver(bus, self->dev[1].name, driver, sizeof(driver));
	ASSERT_STRNE("", driver);
	ASSERT_EQ(0, dev_open_bind(&self->dev[0], self->iommu));
	ASSERT_EQ(0, bus_unbind(bus, self->dev[1].name));
	rc = get_members(self, 0, members, &info);
	EXPECT_EQ(0, bus_probe(bus, self->dev[1].name));
	ASSERT_EQ(0, rc);
	EXPECT_TRUE(info.caps & IOMMU_DEVICE_CAP_VIABLE);
	member = find_member(members, info.num_members, self->dev[1].name);
	ASSERT_NE(NULL, member);
	EXPECT_EQ(0, member->flags);
	EXPECT_STREQ("", member->driver);

	ASSERT_EQ(0, get_members(self, 0, members, &info));
	member = find_member(members, info.num_members, self->dev[1].name);
	ASSERT_NE(NULL, member);
	EXPECT_EQ(IOMMU_GROUP_MEMBER_DRIVER, member->flags);
	EXPECT_STREQ(driver, member->driver);
}

/* While a driver comes or goes, nobody can tell what it is. */
TEST_F(group, member_changing)
{
	struct iommu_group_member members[MAX_MEMBERS], *member;
	const char *bus = self->dev[1].kind->bus;
	struct iommu_device_info info;
	int status, tries;
	__u32 flags = 0;
	pid_t pid;

	ASSERT_EQ(0, bind_both(self));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		/* This is for the parent to close. */
		close(self->dev[1].fd);
		_exit(bus_unbind(bus, self->dev[1].name) ? 1 : 0);
	}
	for (tries = 0; !(flags & IOMMU_GROUP_MEMBER_CHANGING) && tries < 5000;
	     tries++) {
		EXPECT_EQ(0, get_members(self, 0, members, &info));
		member = find_member(members, info.num_members,
				     self->dev[1].name);
		flags = member ? member->flags : 0;
		usleep(1000);
	}
	EXPECT_EQ(IOMMU_GROUP_MEMBER_BOUND | IOMMU_GROUP_MEMBER_CHANGING,
		  flags);
	dev_close(&self->dev[1]);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, get_members(self, 0, members, &info));
	member = find_member(members, info.num_members, self->dev[1].name);
	ASSERT_EQ(0, bus_probe(bus, self->dev[1].name));
	ASSERT_NE(NULL, member);
	EXPECT_EQ(0, member->flags);
}

TEST_F(group, cookies_are_per_device)
{
	struct iommu_group_member members[MAX_MEMBERS];
	struct iommu_device_info info;

	ASSERT_EQ(0, bind_both(self));
	ASSERT_EQ(0, iommu_device_cookie(self->iommu, self->dev[0].dev_id, 7));
	ASSERT_EQ(0, iommu_device_cookie(self->iommu, self->dev[1].dev_id,
					 ULLONG_MAX));
	ASSERT_EQ(0, get_members(self, 0, members, &info));
	EXPECT_EQ(7, info.cookie);
	ASSERT_EQ(0, get_members(self, 1, members, &info));
	EXPECT_EQ(ULLONG_MAX, info.cookie);
}

TEST_F(group, one_context)
{
	int second = iommu_open();

	ASSERT_LE(0, second);
	ASSERT_EQ(0, dev_open_bind(&self->dev[0], self->iommu));
	ASSERT_EQ(0, dev_open(&self->dev[1]));
	EXPECT_EQ(-EPERM, dev_bind(&self->dev[1], second));
	/* As long as the first device is bound. */
	dev_close(&self->dev[0]);
	EXPECT_EQ(0, dev_bind(&self->dev[1], second));
	ASSERT_EQ(0, dev_open(&self->dev[0]));
	EXPECT_EQ(-EPERM, dev_bind(&self->dev[0], self->iommu));
	EXPECT_EQ(0, dev_bind(&self->dev[0], second));
	dev_close(&self->dev[0]);
	dev_close(&self->dev[1]);
	close(second);
}

TEST_F(group, blocked_until_attached)
{
	ASSERT_EQ(0, bind_both(self));
	ASSERT_EQ(0, map_both(self));
	EXPECT_FALSE(can_copy(&self->dev[0], self->mem, 1));
	EXPECT_FALSE(can_copy(&self->dev[1], self->mem, 2));

	ASSERT_EQ(0, vfio_attach(self->dev[0].fd, self->ioasid));
	EXPECT_TRUE(can_copy(&self->dev[0], self->mem, 3));
	ASSERT_EQ(0, vfio_detach(self->dev[0].fd));
	EXPECT_FALSE(can_copy(&self->dev[0], self->mem, 4));
	EXPECT_FALSE(can_copy(&self->dev[1], self->mem, 5));
}

TEST_F(group, same_ioasid)
{
	struct iommu_ioasid_info info;

	ASSERT_EQ(0, bind_both(self));
	ASSERT_EQ(0, map_both(self));
	ASSERT_EQ(0, vfio_attach(self->dev[0].fd, self->ioasid));
	ASSERT_EQ(0, vfio_attach(self->dev[1].fd, self->ioasid));
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->ioasid, &info));
	EXPECT_EQ(2, info.num_devices);
	EXPECT_EQ(1, info.num_tables);
	EXPECT_EQ(2 * PAGE, info.pinned_bytes);
	EXPECT_TRUE(can_copy(&self->dev[0], self->mem, 1));
	EXPECT_TRUE(can_copy(&self->dev[1], self->mem, 2));

	/* The group keeps it until the last device leaves. */
	ASSERT_EQ(0, vfio_detach(self->dev[0].fd));
	EXPECT_EQ(-EBUSY, ioasid_free(self->iommu, self->ioasid));
	EXPECT_TRUE(can_copy(&self->dev[1], self->mem, 3));
	ASSERT_EQ(0, vfio_detach(self->dev[1].fd));
	EXPECT_FALSE(can_copy(&self->dev[1], self->mem, 4));
	EXPECT_EQ(0, ioasid_free(self->iommu, self->ioasid));
}

TEST_F(group, different_ioasid)
{
	struct iommu_ioasid_info info;

	ASSERT_EQ(0, bind_both(self));
	ASSERT_EQ(0, map_both(self));
	ASSERT_EQ(0, vfio_attach(self->dev[0].fd, self->ioasid));
	EXPECT_EQ(-EINVAL, vfio_attach(self->dev[1].fd, self->other));
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->other, &info));
	EXPECT_EQ(0, info.num_devices);
	EXPECT_EQ(0, info.pinned_bytes);
	EXPECT_TRUE(can_copy(&self->dev[0], self->mem, 1));
	EXPECT_EQ(0, ioasid_free(self->iommu, self->other));

	/* Nothing but the right one helps. */
	EXPECT_EQ(0, vfio_attach(self->dev[1].fd, self->ioasid));
	EXPECT_TRUE(can_copy(&self->dev[1], self->mem, 2));
}

/* A device that is attached and moves takes the others along. */
TEST_F(group, replace)
{
	struct iommu_ioasid_info info;

	ASSERT_EQ(0, bind_both(self));
	ASSERT_EQ(0, map_both(self));
	ASSERT_EQ(0, vfio_attach(self->dev[0].fd, self->ioasid));
	ASSERT_EQ(0, vfio_attach(self->dev[1].fd, self->ioasid));
	ASSERT_EQ(0, vfio_attach(self->dev[0].fd, self->other));
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->ioasid, &info));
	EXPECT_EQ(0, info.num_devices);
	EXPECT_EQ(0, info.num_tables);
	EXPECT_EQ(0, info.pinned_bytes);
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->other, &info));
	EXPECT_EQ(2, info.num_devices);
	EXPECT_EQ(2 * PAGE, info.pinned_bytes);
	EXPECT_FALSE(can_copy(&self->dev[0], self->mem, 1));
	EXPECT_TRUE(can_copy(&self->dev[0], self->mem + 2 * PAGE, 2));
	EXPECT_TRUE(can_copy(&self->dev[1], self->mem + 2 * PAGE, 3));
	EXPECT_EQ(0, ioasid_free(self->iommu, self->ioasid));

	ASSERT_EQ(0, vfio_detach(self->dev[0].fd));
	ASSERT_EQ(0, vfio_detach(self->dev[1].fd));
	EXPECT_EQ(0, ioasid_free(self->iommu, self->other));
}

/* A move that fails moves none. */
TEST_F(group, replace_fails)
{
	ASSERT_EQ(0, bind_both(self));
	ASSERT_EQ(0, map_both(self));
	ASSERT_EQ(0, ioasid_map(self->iommu, self->other, READ_WRITE, self->mem,
				msi_first, PAGE));
	ASSERT_EQ(0, vfio_attach(self->dev[0].fd, self->ioasid));
	ASSERT_EQ(0, vfio_attach(self->dev[1].fd, self->ioasid));
	EXPECT_EQ(-EADDRINUSE, vfio_attach(self->dev[1].fd, self->other));
	EXPECT_TRUE(can_copy(&self->dev[0], self->mem, 1));
	EXPECT_TRUE(can_copy(&self->dev[1], self->mem, 2));
	EXPECT_EQ(0, ioasid_free(self->iommu, self->other));
}

/* Closing a device is a detach and an unbind; its neighbour does not notice. */
TEST_F(group, close_one)
{
	ASSERT_EQ(0, bind_both(self));
	ASSERT_EQ(0, map_both(self));
	ASSERT_EQ(0, vfio_attach(self->dev[0].fd, self->ioasid));
	ASSERT_EQ(0, vfio_attach(self->dev[1].fd, self->ioasid));
	dev_close(&self->dev[0]);
	EXPECT_TRUE(can_copy(&self->dev[1], self->mem, 1));
	dev_close(&self->dev[1]);
	EXPECT_EQ(0, ioasid_free(self->iommu, self->ioasid));
}

/* ---- devices that are reset together ---- */

#define MAX_RESET	8

union reset_info {
	struct vfio_pci_hot_reset_info info;
	char room[sizeof(struct vfio_pci_hot_reset_info) +
		  MAX_RESET * sizeof(struct vfio_pci_dependent_device)];
};

FIXTURE(reset) {
	struct counts counts;
	struct dma_device dev[2];
	int iommu;
	__u32 ioasid;
	char *mem;
	union reset_info info;
};

static int reset_info(struct dma_device *dev, union reset_info *info)
{
	memset(info, 0, sizeof(*info));
	info->info.argsz = sizeof(*info);
	return ioctl(dev->fd, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, info) ?
		       -errno : 0;
}

/* Two devices of one group on a bus that can be reset, the first one open. */
static int find_resettable(struct _test_data_reset *self)
{
	struct dma_device all[DEV_MAX];
	int i, num = dev_list(all, DEV_MAX);

	for (i = 0; i + 1 < num; i++) {
		if (all[i].group != all[i + 1].group ||
		    dev_open_bind(&all[i], self->iommu))
			continue;
		if (!reset_info(&all[i], &self->info)) {
			self->dev[0] = all[i];
			self->dev[1] = all[i + 1];
			return 0;
		}
		dev_close(&all[i]);
	}
	return -ENODEV;
}

FIXTURE_SETUP(reset)
{
	COUNTS_BEGIN(&self->counts);
	self->dev[0].fd = -1;
	self->dev[1].fd = -1;
	self->iommu = iommu_open();
	ASSERT_LE(0, self->iommu);
	if (find_resettable(self))
		SKIP(return, "no two PCI devices on a bus that can be reset");
	ASSERT_EQ(0, ioasid_alloc(self->iommu, &self->ioasid));
	self->mem = mem_alloc(2 * PAGE);
	ASSERT_NE(NULL, self->mem);
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				self->mem, TEST_IOVA, 2 * PAGE));
}

FIXTURE_TEARDOWN(reset)
{
	dev_close(&self->dev[0]);
	dev_close(&self->dev[1]);
	close(self->iommu);
	COUNTS_END(&self->counts);
}

/* The identifier that VFIO gives for a device, -1 if it does not name it. */
static int reset_id(const union reset_info *info, const struct dma_device *dev)
{
	unsigned int i, bus, slot, function;

	if (sscanf(dev->name, "%*x:%x:%x.%x", &bus, &slot, &function) != 3)
		return -1;
	for (i = 0; i < info->info.count && i < MAX_RESET; i++)
		if (info->info.devices[i].bus == bus &&
		    info->info.devices[i].devfn == (slot << 3 | function))
			return info->info.devices[i].devid;
	return -1;
}

/* VFIO asks whose the others are: bound here, in a group of ours, or not. */
TEST_F(reset, whose_devices)
{
	__u32 owned = VFIO_PCI_HOT_RESET_FLAG_DEV_ID |
		      VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED;

	EXPECT_EQ(owned, self->info.info.flags);
	EXPECT_EQ(2, self->info.info.count);
	EXPECT_EQ(self->dev[0].dev_id, reset_id(&self->info, &self->dev[0]));
	EXPECT_EQ(VFIO_PCI_DEVID_OWNED, reset_id(&self->info, &self->dev[1]));

	ASSERT_EQ(0, dev_open_bind(&self->dev[1], self->iommu));
	ASSERT_EQ(0, reset_info(&self->dev[0], &self->info));
	EXPECT_EQ(owned, self->info.info.flags);
	EXPECT_EQ(self->dev[1].dev_id, reset_id(&self->info, &self->dev[1]));
}

/* A reset is no detach. */
TEST_F(reset, stays_attached)
{
	struct vfio_pci_hot_reset reset = { .argsz = sizeof(reset) };
	struct iommu_ioasid_info info;

	ASSERT_EQ(0, dev_open_bind(&self->dev[1], self->iommu));
	ASSERT_EQ(0, vfio_attach(self->dev[0].fd, self->ioasid));
	ASSERT_EQ(0, vfio_attach(self->dev[1].fd, self->ioasid));
	if (!can_copy(&self->dev[0], self->mem, 1))
		SKIP(return, "no DMA from behind a bridge");
	ASSERT_EQ(0, ioctl(self->dev[0].fd, VFIO_DEVICE_PCI_HOT_RESET, &reset));
	ASSERT_EQ(0, dev_take_over(&self->dev[0]));
	ASSERT_EQ(0, dev_take_over(&self->dev[1]));
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->ioasid, &info));
	EXPECT_EQ(2, info.num_devices);
	EXPECT_TRUE(can_copy(&self->dev[0], self->mem, 2));
	EXPECT_TRUE(can_copy(&self->dev[1], self->mem, 3));
}

/* A group with a device that a kernel driver uses. */
FIXTURE(mixed) {
	struct counts counts;
	struct dma_device dev;
	char other[32];
	int iommu;
};

static bool has_driver(struct _test_data_mixed *self)
{
	char driver[64];

	bus_driver(self->dev.kind->bus, self->other, driver, sizeof(driver));
	return driver[0];
}

static int unbind_driver(struct _test_data_mixed *self)
{
	return bus_unbind(self->dev.kind->bus, self->other);
}

static int probe_driver(struct _test_data_mixed *self)
{
	return bus_probe(self->dev.kind->bus, self->other);
}

FIXTURE_SETUP(mixed)
{
	COUNTS_BEGIN(&self->counts);
	self->dev.fd = -1;
	self->iommu = -1;
	if (!dev_find_mixed(&self->dev, self->other, sizeof(self->other)))
		SKIP(return, "no DMA device shares its group with a device of the kernel");
	self->dev.fd = -1;
	self->iommu = iommu_open();
	ASSERT_LE(0, self->iommu);
	ASSERT_TRUE(has_driver(self));
}

FIXTURE_TEARDOWN(mixed)
{
	dev_close(&self->dev);
	if (self->iommu >= 0) {
		close(self->iommu);
		if (!has_driver(self))
			probe_driver(self);
		EXPECT_TRUE(has_driver(self));
	}
	COUNTS_END(&self->counts);
}

/* As long as a kernel driver does DMA there, the group is not to be had. */
TEST_F(mixed, kernel_driver_first)
{
	ASSERT_EQ(0, dev_open(&self->dev));
	EXPECT_EQ(-EPERM, dev_bind(&self->dev, self->iommu));
	EXPECT_TRUE(has_driver(self));
	ASSERT_EQ(0, unbind_driver(self));
	EXPECT_EQ(0, dev_bind(&self->dev, self->iommu));
}

/* As long as the group is ours, no kernel driver gets a device of it. */
TEST_F(mixed, kernel_driver_second)
{
	struct iommu_group_member members[8] = {};
	struct iommu_device_info info = {
		.num_members = 8,
		.members = (uintptr_t)members,
	};
	__u32 i, found = 0;

	ASSERT_EQ(0, unbind_driver(self));
	ASSERT_EQ(0, dev_open_bind(&self->dev, self->iommu));
	probe_driver(self);
	EXPECT_FALSE(has_driver(self));

	ASSERT_EQ(0, iommu_device_info(self->iommu, self->dev.dev_id, &info));
	EXPECT_TRUE(info.caps & IOMMU_DEVICE_CAP_VIABLE);
	ASSERT_EQ(2, info.num_members);
	for (i = 0; i < 2; i++) {
		if (strcmp(members[i].name, self->other))
			continue;
		found++;
		EXPECT_EQ(0, members[i].flags);
		EXPECT_EQ(0, members[i].dev_id);
		EXPECT_STREQ("", members[i].driver);
	}
	EXPECT_EQ(1, found);

	dev_close(&self->dev);
	ASSERT_EQ(0, probe_driver(self));
	EXPECT_TRUE(has_driver(self));
}

TEST_HARNESS_MAIN
