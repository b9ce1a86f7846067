// SPDX-License-Identifier: GPL-2.0-only
/*
 * Failures on request of what no allocator can make fail: pinning, the drivers
 * of IOMMUs, interrupted waits. Tests reach every one of them by
 * /proc/<pid>/fail-nth, or by /sys/kernel/debug/fail_ioasid.
 */
#include <linux/debugfs.h>
#include <linux/export.h>
#include <linux/fault-inject.h>
#include <linux/init.h>

#include "fault_inject.h"

static DECLARE_FAULT_ATTR(fail_ioasid);

bool ioasid_should_fail(void)
{
	return should_fail(&fail_ioasid, 1);
}
EXPORT_SYMBOL_NS_GPL(ioasid_should_fail, "IOMMUFD_INTERNAL");

static int __init ioasid_fault_init(void)
{
	fault_create_debugfs_attr("fail_ioasid", NULL, &fail_ioasid);
	return 0;
}
late_initcall(ioasid_fault_init);
