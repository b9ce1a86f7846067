/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _IOASID_FAULT_INJECT_H
#define _IOASID_FAULT_INJECT_H

#include <linux/mutex.h>
#include <linux/sched/signal.h>
#include <linux/xarray.h>

#ifdef CONFIG_IOASID_FAULT_INJECTION
/**
 * ioasid_should_fail - Whether the call that comes next shall fail
 *
 * Who asks acts as if the call had failed, with an error that it can have, and
 * does not make it.
 *
 * Return: false, but for tests.
 */
bool ioasid_should_fail(void);
#else
static inline bool ioasid_should_fail(void)
{
	return false;
}
#endif

/* xa_insert(); it tries again where one allocation fails. */
static inline int ioasid_xa_insert(struct xarray *xa, unsigned long index,
				   void *entry)
{
	return ioasid_should_fail() ?
		       -ENOMEM :
		       xa_insert(xa, index, entry, GFP_KERNEL_ACCOUNT);
}

/* mutex_lock_killable() */
static inline int ioasid_lock_killable(struct mutex *lock)
{
	return ioasid_should_fail() ? -EINTR : mutex_lock_killable(lock);
}

/* Whether a long call must come to its end. */
static inline bool ioasid_killed(void)
{
	return ioasid_should_fail() || fatal_signal_pending(current);
}

#endif
