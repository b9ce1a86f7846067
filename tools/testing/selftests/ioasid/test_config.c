// SPDX-License-Identifier: GPL-2.0-only
/*
 * The configuration of the test IOMMU: IOMMUs and devices come and go as they are
 * told to, the kernel finds what was configured, and nonsense is refused.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "device_utils.h"
#include "ioasid_utils.h"
#include "test_iommu_utils.h"

FIXTURE(config) {
	struct counts counts;
	struct dma_device dev;
	int iommu;
};

FIXTURE_SETUP(config)
{
	const char *missing = test_iommu_missing();

	self->iommu = -1;
	self->dev.fd = -1;
	if (missing)
		SKIP(return, "%s", missing);
	ASSERT_EQ(0, test_iommu_remove_all());
	COUNTS_BEGIN(&self->counts);
	self->iommu = iommu_open();
	ASSERT_LE(0, self->iommu);
}

FIXTURE_TEARDOWN(config)
{
	dev_close(&self->dev);
	if (self->iommu < 0)
		return;
	close(self->iommu);
	EXPECT_EQ(0, test_iommu_remove_all());
	COUNTS_END(&self->counts);
}

TEST_F(config, device_comes_and_goes)
{
	char path[128];

	ASSERT_EQ(0, test_iommu_make("a", NULL));
	ASSERT_EQ(0, test_device_make("a", "one", NULL, &self->dev));
	snprintf(path, sizeof(path), "/sys/bus/platform/devices/%s",
		 self->dev.name);
	EXPECT_EQ(0, access(path, F_OK));
	ASSERT_EQ(0, access(self->dev.cdev, F_OK));
	ASSERT_EQ(0, dev_open_bind(&self->dev, self->iommu));
	dev_close(&self->dev);

	ASSERT_EQ(0, test_device_unplug("a", "one"));
	EXPECT_EQ(-1, access(path, F_OK));
	EXPECT_EQ(-1, access(self->dev.cdev, F_OK));
	ASSERT_EQ(0, test_device_plug("a", "one", &self->dev));
	EXPECT_EQ(0, access(self->dev.cdev, F_OK));

	/* What is plugged is not removed, nor an IOMMU that has devices. */
	EXPECT_EQ(-1, rmdir(IOASID_TEST_CONFIGFS "/selftest-a/one"));
	EXPECT_EQ(EBUSY, errno);
	EXPECT_EQ(-1, rmdir(IOASID_TEST_CONFIGFS "/selftest-a"));
	ASSERT_EQ(0, test_device_remove("a", "one"));
	EXPECT_EQ(-1, access(self->dev.cdev, F_OK));
	EXPECT_EQ(0, rmdir(IOASID_TEST_CONFIGFS "/selftest-a"));
}

/* What is in use does not change. */
TEST_F(config, frozen_while_enabled)
{
	static const char *const attributes[][2] = {
		{ "page_sizes", "0x1000" }, { "width", "40" },
		{ "aperture", "0 ffffff" }, { "pasid_bits", "4" },
		{ "snoop_control", "1" }, { "pri", "1" }, { "dirty", "0" },
		{ "nesting", "0" }, { "hitless", "0" }, { "attach_first", "1" },
		{ "shares_tables", "1" }, { "msi", "mapped" },
		{ "reserved", "1000 1fff reserved" },
	};
	char before[512], after[512];
	size_t i;

	ASSERT_EQ(0, test_iommu_make("a", NULL));
	for (i = 0; i < ARRAY_SIZE(attributes); i++) {
		ASSERT_EQ(0, test_iommu_get("a", attributes[i][0], before,
					    sizeof(before)));
		EXPECT_EQ(-EBUSY, test_iommu_set("a", attributes[i][0],
						 attributes[i][1])) {
			TH_LOG("%s", attributes[i][0]);
		}
		ASSERT_EQ(0, test_iommu_get("a", attributes[i][0], after,
					    sizeof(after)));
		EXPECT_STREQ(before, after);
	}
	ASSERT_EQ(0, test_iommu_set("a", "enabled", "0"));
	for (i = 0; i < ARRAY_SIZE(attributes); i++) {
		EXPECT_EQ(0, test_iommu_set("a", attributes[i][0],
					    attributes[i][1])) {
			TH_LOG("%s", attributes[i][0]);
		}
		ASSERT_EQ(0, test_iommu_get("a", attributes[i][0], after,
					    sizeof(after)));
	}
	EXPECT_EQ(0, test_iommu_set("a", "enabled", "1"));
	EXPECT_EQ(-EBUSY, test_iommu_set("a", "width", "48"));

	ASSERT_EQ(0, test_device_make("a", "one", NULL, &self->dev));
	EXPECT_EQ(-EBUSY, test_device_set("a", "one", "group", "b"));
	EXPECT_EQ(-EBUSY, test_device_set("a", "one", "kind", "none"));
	ASSERT_EQ(0, test_device_unplug("a", "one"));
	EXPECT_EQ(0, test_device_set("a", "one", "group", "b"));
	EXPECT_EQ(0, test_device_set("a", "one", "kind", "none"));
}

TEST_F(config, nonsense)
{
	static const char *const settings[] = {
		"width=19", "width=65", "width=x", "pasid_bits=21",
		"page_sizes=0xfff", "page_sizes=0x100000", "msi=none", "enabled=2", "aperture=1000",
		"aperture=2000 1fff", "reserved=1000 1fff sometimes",
		"fail=map", "fail=map 0 -12", "fail=dance 0 12",
	};
	struct dma_device dev;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(settings); i++) {
		EXPECT_EQ(-EINVAL, test_iommu_make("a", settings[i])) {
			TH_LOG("at %s", settings[i]);
		}
	}
	ASSERT_EQ(0, test_iommu_make("a", NULL));
	EXPECT_EQ(-EINVAL, test_device_make("a", "one", "kind=toaster", &dev));
}

TEST_F(config, groups)
{
	struct dma_device dev[4];

	ASSERT_EQ(0, test_iommu_make("a", NULL));
	ASSERT_EQ(0, test_iommu_make("b", NULL));
	ASSERT_EQ(0, test_device_make("a", "one", "group=g", &dev[0]));
	ASSERT_EQ(0, test_device_make("a", "two", "group=g", &dev[1]));
	ASSERT_EQ(0, test_device_make("a", "three", NULL, &dev[2]));
	/* Another IOMMU has groups of its own. */
	ASSERT_EQ(0, test_device_make("b", "one", "group=g", &dev[3]));
	EXPECT_EQ(dev[0].group, dev[1].group);
	EXPECT_NE(dev[0].group, dev[2].group);
	EXPECT_NE(dev[0].group, dev[3].group);
}

TEST_F(config, kinds)
{
	struct dma_device dev[3];
	char driver[64];

	ASSERT_EQ(0, test_iommu_make("a", NULL));
	ASSERT_EQ(0, test_device_make("a", "vfio", NULL, &dev[0]));
	ASSERT_EQ(0, test_device_make("a", "kernel", "kind=kernel", &dev[1]));
	ASSERT_EQ(0, test_device_make("a", "none", "kind=none", &dev[2]));
	EXPECT_STRNE("", dev[0].cdev);
	EXPECT_STREQ("", dev[1].cdev);
	EXPECT_STREQ("", dev[2].cdev);
	bus_driver(dev[1].kind->bus, dev[1].name, driver, sizeof(driver));
	EXPECT_STREQ(IOASID_TEST_KERNEL, driver);
	bus_driver(dev[2].kind->bus, dev[2].name, driver, sizeof(driver));
	EXPECT_STREQ("", driver);
}

/* What the kernel finds is what was configured. */
TEST_F(config, properties)
{
	struct iommu_range ranges[8];
	struct iommu_device_info info = {
		.num_ranges = ARRAY_SIZE(ranges),
		.ranges = (uintptr_t)ranges,
	};

	ASSERT_EQ(0, test_iommu_make("a", "page_sizes=0x201000;width=40;"
				     "aperture=10000 ffffffffff;pasid_bits=5;"
				     "snoop_control=1;msi=unsafe;"
				     "reserved=200000 2fffff reserved"));
	ASSERT_EQ(0, test_device_make("a", "one", NULL, &self->dev));
	ASSERT_EQ(0, dev_open(&self->dev));
	/* Who does not keep interrupts apart is not safe to be given away. */
	EXPECT_EQ(-EPERM, dev_bind_safely(&self->dev, self->iommu));
	dev_close(&self->dev);

	ASSERT_EQ(0, test_device_unplug("a", "one"));
	ASSERT_EQ(0, test_iommu_set("a", "enabled", "0"));
	ASSERT_EQ(0, test_iommu_set("a", "msi", "direct"));
	ASSERT_EQ(0, test_iommu_set("a", "enabled", "1"));
	ASSERT_EQ(0, test_device_plug("a", "one", &self->dev));
	ASSERT_EQ(0, dev_open_bind(&self->dev, self->iommu));
	ASSERT_EQ(0, iommu_device_info(self->iommu, self->dev.dev_id, &info));
	EXPECT_EQ(0x201000, info.pgsize_bitmap);
	EXPECT_EQ(40, info.addr_width);
	EXPECT_EQ(5, info.pasid_bits);
	EXPECT_TRUE(info.caps & IOMMU_DEVICE_CAP_ENFORCE_SNOOP);
	EXPECT_TRUE(info.caps & IOMMU_DEVICE_CAP_ISOLATED_MSI);
	ASSERT_EQ(3, info.num_ranges);
	EXPECT_EQ(0x10000, ranges[0].first);
	EXPECT_EQ(0x1fffff, ranges[0].last);
	EXPECT_EQ(0x300000, ranges[1].first);
	EXPECT_EQ(MSI_FIRST - 1, ranges[1].last);
	EXPECT_EQ(MSI_LAST + 1, ranges[2].first);
	EXPECT_EQ(0xffffffffff, ranges[2].last);
}

/* ---- PCI functions ---- */

static bool pci_has(const char *address, const char *file)
{
	char path[320];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", address,
		 file);
	return !access(path, F_OK);
}

/* Bridges, and an IOMMU that is a PCI function itself */
static bool is_of_machine(const char *address)
{
	char path[320], class[16] = "";

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/class", address);
	return file_read(path, class, sizeof(class)) < 0 ||
	       !strncmp(class, "0x06", 4) || !strncmp(class, "0x0806", 6);
}

/* One that has, or does not have, an IOMMU; neither has a driver. */
static bool find_function(bool has_iommu, char *address, size_t size)
{
	struct dirent *de;
	bool found = false;
	DIR *dir;

	dir = opendir("/sys/bus/pci/devices");
	while (dir && !found && (de = readdir(dir))) {
		if (de->d_name[0] == '.' || is_of_machine(de->d_name) ||
		    pci_has(de->d_name, "driver") ||
		    pci_has(de->d_name, "iommu_group") != has_iommu)
			continue;
		snprintf(address, size, "%.31s", de->d_name);
		found = true;
	}
	if (dir)
		closedir(dir);
	return found;
}

static int claim(const char *device, const char *address)
{
	char settings[64];

	snprintf(settings, sizeof(settings), "kind=pci;address=%s", address);
	return test_device_make("a", device, settings, NULL);
}

TEST_F(config, pci_function)
{
	char address[32], name[64];

	if (!find_function(false, address, sizeof(address)))
		SKIP(return, "no PCI function without an IOMMU and a driver");
	ASSERT_EQ(0, test_iommu_make("a", NULL));
	ASSERT_EQ(0, claim("one", address));
	EXPECT_TRUE(pci_has(address, "iommu_group"));
	ASSERT_EQ(0, test_device_get("a", "one", "name", name, sizeof(name)));
	EXPECT_STREQ(address, name);
	ASSERT_EQ(0, test_device_get("a", "one", "address", name, sizeof(name)));
	EXPECT_STREQ(address, name);
	EXPECT_EQ(-EBUSY, test_device_set("a", "one", "address", address));
	EXPECT_EQ(-EBUSY, claim("two", address));
	EXPECT_EQ(-EBUSY, test_iommu_set("a", "enabled", "0"));

	/* It is given back, and can be had again. */
	ASSERT_EQ(0, test_device_unplug("a", "one"));
	EXPECT_TRUE(pci_has(address, "vendor"));
	EXPECT_FALSE(pci_has(address, "iommu_group"));
	ASSERT_EQ(0, test_device_plug("a", "one", NULL));
	EXPECT_TRUE(pci_has(address, "iommu_group"));
	ASSERT_EQ(0, test_device_remove("a", "one"));

	/* Nothing is left of one that the IOMMU does not want. */
	ASSERT_EQ(0, test_iommu_fail("a", "probe", 0, ENOMEM));
	EXPECT_EQ(-ENOMEM, claim("one", address));
	EXPECT_FALSE(pci_has(address, "iommu_group"));
	ASSERT_EQ(0, claim("one", address));
}

/* Somebody takes it off the bus who knows nothing of the test IOMMU. */
TEST_F(config, pci_function_removed)
{
	char address[32], path[320];

	if (!find_function(false, address, sizeof(address)))
		SKIP(return, "no PCI function without an IOMMU and a driver");
	ASSERT_EQ(0, test_iommu_make("a", NULL));
	ASSERT_EQ(0, claim("one", address));
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/remove", address);
	ASSERT_EQ(0, file_write(path, "1"));
	EXPECT_FALSE(pci_has(address, "vendor"));
	ASSERT_EQ(0, test_device_unplug("a", "one"));
	EXPECT_TRUE(pci_has(address, "vendor"));
	EXPECT_FALSE(pci_has(address, "iommu_group"));
	ASSERT_EQ(0, claim("two", address));
}

TEST_F(config, pci_function_refused)
{
	char address[32];

	ASSERT_EQ(0, test_iommu_make("a", NULL));
	EXPECT_EQ(-EINVAL, claim("one", "0000:00:20.0"));
	EXPECT_EQ(-EINVAL, claim("one", "0000:00:1f.8"));
	EXPECT_EQ(-EINVAL, claim("one", "0000:00"));
	EXPECT_EQ(-EINVAL, test_device_make("a", "one", "kind=pci", NULL));
	EXPECT_EQ(-ENODEV, claim("one", "ffff:ff:1f.7"));
	if (find_function(true, address, sizeof(address)))
		EXPECT_EQ(-EBUSY, claim("one", address));
}

/* What a test that has failed leaves behind is no obstacle to the next one. */
TEST_F(config, remove_all_closes)
{
	void *mem;

	ASSERT_EQ(0, test_iommu_make("a", NULL));
	ASSERT_EQ(0, test_device_make("a", "one", NULL, &self->dev));
	ASSERT_EQ(0, dev_open_bind(&self->dev, self->iommu));
	ASSERT_EQ(0, dev_mmap(&self->dev, PAGE, &mem));
	ASSERT_LE(0, dup(self->dev.fd));
	EXPECT_EQ(0, test_iommu_remove_all());
	EXPECT_EQ(-1, access(self->dev.cdev, F_OK));
	self->dev.fd = -1;
	ASSERT_EQ(0, test_iommu_make("a", NULL));
}

TEST_HARNESS_MAIN
