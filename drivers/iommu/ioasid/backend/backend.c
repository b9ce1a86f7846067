// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which backends there are.
 */
#include <linux/array_size.h>

#include "../ioasid_private.h"

static const struct ioasid_backend *const backends[] = { IOASID_BACKEND_LIST };

/**
 * ioasid_find_backend - The backend for a device that is being bound
 * @idev: The device; its dev and group are set
 *
 * Return: The first backend that says that it has the device.
 */
const struct ioasid_backend *ioasid_find_backend(struct iommufd_device *idev)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(backends) - 1; i++)
		if (backends[i]->owns(idev))
			break;
	return backends[i];
}

/**
 * ioasid_backends_have_eeh - Whether errors of devices can be handled
 *
 * Return: Whether a backend handles those of any device.
 */
bool ioasid_backends_have_eeh(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(backends); i++)
		if (backends[i]->eeh)
			return true;
	return false;
}
