/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The devices of the ioasid_access_test module, for tests of in-kernel access:
 * commands that return 0 or a negative errno.
 */
#ifndef ACCESS_UTILS_H
#define ACCESS_UTILS_H

#include <linux/types.h>

#include "../../../../drivers/iommu/ioasid/test/access_device.h"

#define PIN_READ	IOASID_ACCESS_PIN_READ
#define PIN_WRITE	IOASID_ACCESS_PIN_WRITE

const char *access_missing(char cdev[2][64]);
int access_open(int iommu, __u32 ioasid);
int access_run(int device, unsigned int slot, __u32 op, __u32 flags,
	       __u64 iova, __u64 length, void *data);
int access_pin(int device, __u64 iova, __u64 length, __u32 flags);
int access_unpin(int device, __u64 iova, __u64 length);
int access_peek(int device, __u64 iova, void *data, __u64 length);
int access_poke(int device, __u64 iova, const void *data, __u64 length);
int access_read(int device, __u64 iova, void *data, __u64 length);
int access_write(int device, __u64 iova, const void *data, __u64 length);
int access_policy(int device, enum ioasid_access_policy policy);
int access_stat(int device, struct ioasid_access_stat *stat);
int access_stat_reset(int device);
long access_num_pins(int device);

#endif
