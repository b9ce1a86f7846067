// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VFIO device behind the software IOMMU, and its DMA engine.
 *
 * The engine has channels that work in parallel. A channel executes a command,
 * in accesses that each lie within one page of 4 KiB; what they do to memory
 * they do under test_dma_lock, so that a flush of the IOMMU waits for them.
 */
#include <linux/cleanup.h>
#include <linux/eventfd.h>
#include <linux/interrupt.h>
#include <linux/kcsan-checks.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vfio.h>
#include <linux/workqueue.h>

#include "test_iommu.h"

#define REGION_SHIFT	40
#define REGION_OFFSET(index)	((u64)(index) << REGION_SHIFT)
#define BUFFER_ORDER	get_order(IOASID_TEST_BUFFER_SIZE)
#define PAGE_4K		4096ULL
/* Somebody maps what somebody else unmaps: one day it has to end. */
#define MAX_REQUESTS	64

struct test_vfio;

/**
 * struct test_channel - A channel of the DMA engine
 * @tvfio: The device
 * @lock: Held while a command is executed by the writer of it, or is handed to
 *        @work
 * @work: Executes a command that nobody waits for
 * @stoppers: How many want it to end; nothing begins as long as there is one
 * @command: What it does
 * @status: What it tells; written by who executes the command
 */
struct test_channel {
	struct test_vfio *tvfio;
	struct mutex lock; /* command */
	struct work_struct work;
	atomic_t stoppers;
	struct ioasid_test_command command;
	struct ioasid_test_status status;
};

/**
 * struct test_vfio - A device
 * @vdev: What VFIO knows of it
 * @tdev: What the IOMMU knows of it
 * @buffer: Its memory
 * @channels: Of the DMA engine
 * @irq_lock: Protects @irqs_on, and changes of the eventfds
 * @irqs_on: Interrupts are allocated
 * @trigger_lock: Protects @trigger; held while an interrupt is delivered, so
 *                that none is merged with another
 * @trigger: Who wants to know of an interrupt
 * @request: Whom VFIO asks to close the device; under @irq_lock
 * @accesses: Counter, as all that follow: see struct ioasid_test_globals
 * @tlb_hits: Counter
 * @walks: Counter
 * @faults: Counter
 * @page_requests: Counter
 * @page_responses: Counter
 * @interrupts: Counter
 * @delivered: Counter
 */
struct test_vfio {
	struct vfio_device vdev;
	struct test_device *tdev;
	void *buffer;
	struct test_channel channels[IOASID_TEST_NUM_CHANNELS];
	struct mutex irq_lock; /* irqs_on, changes of trigger, request */
	bool irqs_on;
	spinlock_t trigger_lock; /* trigger */
	struct eventfd_ctx *trigger[IOASID_TEST_NUM_MSI];
	struct eventfd_ctx *request;
	atomic64_t accesses, tlb_hits, walks, faults;
	atomic64_t page_requests, page_responses, interrupts, delivered;
};

static struct workqueue_struct *engine;

static struct test_vfio *to_test_vfio(struct vfio_device *vdev)
{
	return container_of(vdev, struct test_vfio, vdev);
}

/* ---- interrupts ---- */

static irqreturn_t test_irq_handler(int irq, void *data)
{
	struct test_vfio *tvfio = data;

	atomic64_inc(&tvfio->delivered);
	return IRQ_HANDLED;
}

static void raise_irq(struct test_vfio *tvfio, unsigned int vector)
{
	s64 before;

	atomic64_inc(&tvfio->interrupts);
	guard(spinlock_irqsave)(&tvfio->trigger_lock);
	before = atomic64_read(&tvfio->delivered);
	if (!test_msi_send(tvfio->tdev, tvfio->vdev.dev, vector)) {
		atomic64_inc(&tvfio->faults);
		return;
	}
	if (atomic64_read(&tvfio->delivered) != before &&
	    tvfio->trigger[vector])
		eventfd_signal(tvfio->trigger[vector]);
}

static void set_trigger(struct test_vfio *tvfio, unsigned int vector,
			struct eventfd_ctx *ctx)
{
	struct eventfd_ctx *old;

	scoped_guard(spinlock_irqsave, &tvfio->trigger_lock) {
		old = tvfio->trigger[vector];
		tvfio->trigger[vector] = ctx;
	}
	if (old)
		eventfd_ctx_put(old);
}

static void irqs_off(struct test_vfio *tvfio)
{
	struct device *dev = tvfio->vdev.dev;
	unsigned int i;

	lockdep_assert_held(&tvfio->irq_lock);
	/* None is under way, and none begins, when all triggers are gone. */
	test_msi_clear(tvfio->tdev);
	for (i = 0; i < IOASID_TEST_NUM_MSI; i++)
		set_trigger(tvfio, i, NULL);
	if (!tvfio->irqs_on)
		return;
	for (i = 0; i < IOASID_TEST_NUM_MSI; i++)
		free_irq(msi_get_virq(dev, i), tvfio);
	platform_device_msi_free_irqs_all(dev);
	test_msi_clear(tvfio->tdev);
	tvfio->irqs_on = false;
}

static int irqs_enable(struct test_vfio *tvfio)
{
	struct device *dev = tvfio->vdev.dev;
	unsigned int i;
	int rc;

	lockdep_assert_held(&tvfio->irq_lock);
	if (tvfio->irqs_on)
		return 0;
	rc = platform_device_msi_init_and_alloc_irqs(dev, IOASID_TEST_NUM_MSI,
						     test_msi_write);
	if (rc)
		return rc;
	for (i = 0; i < IOASID_TEST_NUM_MSI; i++) {
		/* It has to be there when raise_irq() looks. */
		rc = request_irq(msi_get_virq(dev, i), test_irq_handler,
				 IRQF_NO_THREAD, dev_name(dev), tvfio);
		if (rc)
			goto err_free;
	}
	tvfio->irqs_on = true;
	return 0;

err_free:
	while (i--)
		free_irq(msi_get_virq(dev, i), tvfio);
	platform_device_msi_free_irqs_all(dev);
	test_msi_clear(tvfio->tdev);
	return rc;
}

static int set_msi(struct test_vfio *tvfio, const struct vfio_irq_set *set,
		   const void *data)
{
	const s32 *fds = data;
	const u8 *bools = data;
	unsigned int i;
	int rc;

	if (set->flags & VFIO_IRQ_SET_DATA_NONE && !set->count) {
		irqs_off(tvfio);
		return 0;
	}
	if (!(set->flags & VFIO_IRQ_SET_DATA_EVENTFD)) {
		for (i = 0; i < set->count; i++)
			if (set->flags & VFIO_IRQ_SET_DATA_NONE || bools[i])
				raise_irq(tvfio, set->start + i);
		return 0;
	}
	rc = irqs_enable(tvfio);
	for (i = 0; !rc && i < set->count; i++) {
		struct eventfd_ctx *ctx = NULL;

		if (fds[i] >= 0)
			ctx = eventfd_ctx_fdget(fds[i]);
		if (IS_ERR(ctx))
			rc = PTR_ERR(ctx);
		else
			set_trigger(tvfio, set->start + i, ctx);
	}
	return rc;
}

static void set_request(struct test_vfio *tvfio, struct eventfd_ctx *ctx)
{
	lockdep_assert_held(&tvfio->irq_lock);
	if (tvfio->request)
		eventfd_ctx_put(tvfio->request);
	tvfio->request = ctx;
}

static int set_req(struct test_vfio *tvfio, const struct vfio_irq_set *set,
		   const void *data)
{
	const s32 *fds = data;
	struct eventfd_ctx *ctx = NULL;

	if (set->flags & VFIO_IRQ_SET_DATA_NONE && !set->count) {
		set_request(tvfio, NULL);
		return 0;
	}
	if (!(set->flags & VFIO_IRQ_SET_DATA_EVENTFD) || set->count != 1)
		return -EINVAL;
	if (fds[0] >= 0)
		ctx = eventfd_ctx_fdget(fds[0]);
	if (IS_ERR(ctx))
		return PTR_ERR(ctx);
	set_request(tvfio, ctx);
	return 0;
}

static int test_set_irqs(struct test_vfio *tvfio, void __user *arg)
{
	const size_t minsz = offsetofend(struct vfio_irq_set, count);
	struct vfio_irq_set set;
	void *data = NULL;
	size_t size = 0;
	int num, rc;

	if (copy_from_user(&set, arg, minsz))
		return -EFAULT;
	num = set.index == IOASID_TEST_IRQ_MSI ? IOASID_TEST_NUM_MSI : 1;
	rc = vfio_set_irqs_validate_and_prepare(&set, num,
						IOASID_TEST_NUM_IRQS, &size);
	if (rc)
		return rc;
	if (!(set.flags & VFIO_IRQ_SET_ACTION_TRIGGER))
		return -ENOTTY;
	if (size) {
		data = memdup_user(arg + minsz, size);
		if (IS_ERR(data))
			return PTR_ERR(data);
	}
	scoped_guard(mutex, &tvfio->irq_lock)
		rc = set.index == IOASID_TEST_IRQ_MSI ?
			     set_msi(tvfio, &set, data) :
			     set_req(tvfio, &set, data);
	kfree(data);
	return rc;
}

static void test_request(struct vfio_device *vdev, unsigned int count)
{
	struct test_vfio *tvfio = to_test_vfio(vdev);

	guard(mutex)(&tvfio->irq_lock);
	if (tvfio->request)
		eventfd_signal(tvfio->request);
	else if (!count)
		dev_notice(vdev->dev, "no program listens to the request to close the device\n");
}

/* ---- an access ---- */

static void fill(u8 *at, u64 iova, u64 length, u64 pattern)
{
	u64 i;

	if (!((iova | length) & 7)) {
		memset64((u64 *)at, pattern, length / 8);
		return;
	}
	for (i = 0; i < length; i++)
		at[i] = ((u8 *)&pattern)[(iova + i) & 7];
}

static void touch(const u8 *at, u64 length)
{
	u64 i;

	for (i = 0; i < length; i += SMP_CACHE_BYTES)
		READ_ONCE(at[i]);
}

static bool is_filled(const u8 *at, u64 iova, u64 length, u64 pattern)
{
	const u64 *words = (const u64 *)at;
	u64 i;

	if (!((iova | length) & 7)) {
		for (i = 0; i < length / 8; i++)
			if (READ_ONCE(words[i]) != pattern)
				return false;
		return true;
	}
	for (i = 0; i < length; i++)
		if (READ_ONCE(at[i]) != ((u8 *)&pattern)[(iova + i) & 7])
			return false;
	return true;
}

static void compare(struct test_channel *channel, const u8 *at, u64 iova,
		    u64 length)
{
	struct ioasid_test_status *status = &channel->status;

	if (is_filled(at, iova, length, channel->command.pattern))
		WRITE_ONCE(status->matches, status->matches + 1);
	else if (is_filled(at, iova, length, channel->command.pattern2))
		WRITE_ONCE(status->matches2, status->matches2 + 1);
	else if (!status->mismatches++)
		WRITE_ONCE(status->mismatch_iova, iova);
}

/* Finds the memory at an address. */
static enum ioasid_test_fault reach(struct test_channel *channel, u64 iova,
				    bool write, void **memory)
{
	const struct ioasid_test_command *command = &channel->command;
	struct test_vfio *tvfio = channel->tvfio;
	const struct test_features *features = &tvfio->tdev->owner->features;
	struct iommu_domain *domain;
	enum ioasid_test_fault fault;
	phys_addr_t phys;
	bool hit = false;

	lockdep_assert_held_read(&test_dma_lock);

	atomic64_inc(&tvfio->accesses);
	if (features->msi != TEST_MSI_MODE_MAPPED && iova >= TEST_MSI_DIRECT &&
	    iova < TEST_MSI_DIRECT + TEST_MSI_SIZE)
		return IOASID_TEST_FAULT_INTERRUPT;
	domain = test_attached(tvfio->tdev, command->flags, command->pasid);
	if (!domain)
		return IOASID_TEST_FAULT_BLOCKED;
	if (features->width < 64 && iova >> features->width)
		return IOASID_TEST_FAULT_ADDRESS;
	fault = test_translate(domain, iova, write, &phys, &hit);
	atomic64_inc(hit ? &tvfio->tlb_hits : &tvfio->walks);
	if (fault)
		return fault;
	if (test_msi_is_doorbell(phys))
		return IOASID_TEST_FAULT_INTERRUPT;
	*memory = test_memory(phys);
	return *memory ? IOASID_TEST_FAULT_NONE : IOASID_TEST_FAULT_NO_MEMORY;
}

/* @at: Output: which address, and @write for what, a fault is about */
static enum ioasid_test_fault do_access(struct test_channel *channel, u64 pos,
					u64 length, u64 *at, bool *write)
{
	const struct ioasid_test_command *command = &channel->command;
	void *buffer = channel->tvfio->buffer;
	enum ioasid_test_fault fault;
	void *memory, *target;
	u64 other = command->other + pos;
	u64 iova = command->iova + pos;

	*at = iova;
	*write = command->op == IOASID_TEST_WRITE ||
		 command->op == IOASID_TEST_FILL;

	guard(read_lock)(&test_dma_lock);
	fault = reach(channel, iova, *write, &memory);
	if (fault)
		return fault;

	/* Who shares memory with a device has to cope with races. */
	kcsan_disable_current();
	switch (command->op) {
	case IOASID_TEST_READ:
		memcpy(buffer + other, memory, length);
		break;
	case IOASID_TEST_WRITE:
		memcpy(memory, buffer + other, length);
		break;
	case IOASID_TEST_COPY:
		*at = other;
		*write = true;
		fault = reach(channel, other, true, &target);
		if (!fault)
			memmove(target, memory, length);
		break;
	case IOASID_TEST_FILL:
		fill(memory, iova, length, command->pattern);
		break;
	case IOASID_TEST_COMPARE:
		compare(channel, memory, iova, length);
		break;
	case IOASID_TEST_TOUCH_READ:
		touch(memory, length);
		break;
	}
	kcsan_enable_current();
	return fault;
}

static bool may_ask(const struct ioasid_test_command *command,
		    enum ioasid_test_fault fault)
{
	return command->flags & IOASID_TEST_PAGE_REQUEST &&
	       (fault == IOASID_TEST_FAULT_NOT_PRESENT ||
		fault == IOASID_TEST_FAULT_PERMISSION);
}

/* An access, repeated while page requests are answered. Return: it was done. */
static bool access_memory(struct test_channel *channel, u64 pos, u64 length)
{
	const struct ioasid_test_command *command = &channel->command;
	struct ioasid_test_status *status = &channel->status;
	struct test_vfio *tvfio = channel->tvfio;
	enum ioasid_test_fault fault;
	unsigned int requests = 0;
	bool write;
	u64 at;

	for (;;) {
		fault = do_access(channel, pos, length, &at, &write);
		if (!fault)
			return true;
		if (!may_ask(command, fault) || requests++ == MAX_REQUESTS)
			break;
		atomic64_inc(&tvfio->page_requests);
		fault = test_page_request(tvfio->tdev, command->flags,
					  command->pasid, at, write,
					  &channel->stoppers);
		if (fault)
			break;
		atomic64_inc(&tvfio->page_responses);
	}
	atomic64_inc(&tvfio->faults);
	WRITE_ONCE(status->fault, fault);
	WRITE_ONCE(status->fault_iova, at);
	WRITE_ONCE(status->faults, status->faults + 1);
	return false;
}

/* ---- commands ---- */

static u64 access_length(const struct ioasid_test_command *command, u64 pos)
{
	u64 step = command->step ?: PAGE_4K;
	u64 length = min(command->length - pos,
			 step - ((command->iova + pos) & (step - 1)));

	if (command->op == IOASID_TEST_COPY)
		length = min(length, PAGE_4K - ((command->other + pos) &
						(PAGE_4K - 1)));
	return length;
}

static bool must_end(const struct test_channel *channel)
{
	return atomic_read(&channel->stoppers) || fatal_signal_pending(current);
}

/* Return: whether to go on */
static bool run_round(struct test_channel *channel)
{
	const struct ioasid_test_command *command = &channel->command;
	struct ioasid_test_status *status = &channel->status;
	u64 pos = 0, length;

	while (pos < command->length) {
		if (must_end(channel))
			return false;
		length = access_length(command, pos);
		if (access_memory(channel, pos, length))
			WRITE_ONCE(status->bytes, status->bytes + length);
		else if (!(command->flags & IOASID_TEST_KEEP_GOING))
			return false;
		pos += length;
		cond_resched();
	}
	WRITE_ONCE(status->rounds, status->rounds + 1);
	return true;
}

static bool is_running(const struct test_channel *channel)
{
	/* Pairs with the release at the end of run_command(). */
	return smp_load_acquire(&channel->status.running);
}

static void run_command(struct test_channel *channel)
{
	const struct ioasid_test_command *command = &channel->command;

	while (run_round(channel)) {
		if (command->flags & IOASID_TEST_IRQ)
			raise_irq(channel->tvfio, command->irq);
		if (!(command->flags & IOASID_TEST_FOREVER) ||
		    must_end(channel))
			break;
		cond_resched();
	}
	/* What was counted is there when it has ended. */
	smp_store_release(&channel->status.running, 0);
}

static void test_channel_work(struct work_struct *work)
{
	run_command(container_of(work, struct test_channel, work));
}

/* Who executes a command by writing it holds the lock. */
static void stop_channel(struct test_channel *channel)
{
	atomic_inc(&channel->stoppers);
	test_page_requests_end(channel->tvfio->tdev, &channel->stoppers);
	scoped_guard(mutex, &channel->lock)
		flush_work(&channel->work);
	atomic_dec(&channel->stoppers);
}

static int check_command(const struct ioasid_test_command *command)
{
	const u32 flags = IOASID_TEST_ASYNC | IOASID_TEST_FOREVER |
			  IOASID_TEST_KEEP_GOING | IOASID_TEST_PASID |
			  IOASID_TEST_PAGE_REQUEST | IOASID_TEST_IRQ;
	u64 last;

	if (command->op > IOASID_TEST_TOUCH_READ || command->flags & ~flags ||
	    command->irq >= IOASID_TEST_NUM_MSI || command->step > PAGE_4K ||
	    (command->step && !is_power_of_2(command->step)))
		return -EINVAL;
	if (!command->length)
		return 0;
	if (check_add_overflow(command->iova, command->length - 1, &last))
		return -EINVAL;
	switch (command->op) {
	case IOASID_TEST_READ:
	case IOASID_TEST_WRITE:
		if (command->other > IOASID_TEST_BUFFER_SIZE ||
		    command->length > IOASID_TEST_BUFFER_SIZE - command->other)
			return -EINVAL;
		break;
	case IOASID_TEST_COPY:
		if (check_add_overflow(command->other, command->length - 1,
				       &last))
			return -EINVAL;
		break;
	}
	return 0;
}

static int write_command(struct test_channel *channel, const char __user *buf)
{
	struct ioasid_test_command command;
	int rc;

	if (copy_from_user(&command, buf, sizeof(command)))
		return -EFAULT;
	rc = check_command(&command);
	if (rc)
		return rc;
	if (command.op == IOASID_TEST_STOP) {
		stop_channel(channel);
		return 0;
	}
	if (!mutex_trylock(&channel->lock))
		return -EBUSY;
	if (atomic_read(&channel->stoppers) || is_running(channel)) {
		mutex_unlock(&channel->lock);
		return -EBUSY;
	}
	flush_work(&channel->work);
	channel->command = command;
	memset(&channel->status, 0, sizeof(channel->status));
	channel->status.running = 1;
	if (command.flags & (IOASID_TEST_ASYNC | IOASID_TEST_FOREVER))
		queue_work(engine, &channel->work);
	else
		run_command(channel);
	mutex_unlock(&channel->lock);
	return fatal_signal_pending(current) ? -EINTR : 0;
}

/* ---- regions ---- */

static void stop_all(struct test_vfio *tvfio)
{
	unsigned int i;

	for (i = 0; i < IOASID_TEST_NUM_CHANNELS; i++)
		stop_channel(&tvfio->channels[i]);
}

static void reset_counters(struct test_vfio *tvfio)
{
	atomic64_set(&tvfio->accesses, 0);
	atomic64_set(&tvfio->tlb_hits, 0);
	atomic64_set(&tvfio->walks, 0);
	atomic64_set(&tvfio->faults, 0);
	atomic64_set(&tvfio->page_requests, 0);
	atomic64_set(&tvfio->page_responses, 0);
	atomic64_set(&tvfio->interrupts, 0);
	atomic64_set(&tvfio->delivered, 0);
}

static int write_globals(struct test_vfio *tvfio, const char __user *buf,
			 size_t count, u64 offset)
{
	u32 value;

	if (count != sizeof(value))
		return -EINVAL;
	if (copy_from_user(&value, buf, sizeof(value)))
		return -EFAULT;
	switch (offset) {
	case offsetof(struct ioasid_test_globals, raise):
		if (value >= IOASID_TEST_NUM_MSI)
			return -EINVAL;
		raise_irq(tvfio, value);
		return 0;
	case offsetof(struct ioasid_test_globals, reset):
		stop_all(tvfio);
		reset_counters(tvfio);
		return 0;
	default:
		return -EINVAL;
	}
}

static void get_globals(struct test_vfio *tvfio,
			struct ioasid_test_globals *globals)
{
	*globals = (struct ioasid_test_globals){
		.magic = IOASID_TEST_MAGIC,
		.num_channels = IOASID_TEST_NUM_CHANNELS,
		.accesses = atomic64_read(&tvfio->accesses),
		.tlb_hits = atomic64_read(&tvfio->tlb_hits),
		.walks = atomic64_read(&tvfio->walks),
		.faults = atomic64_read(&tvfio->faults),
		.page_requests = atomic64_read(&tvfio->page_requests),
		.page_responses = atomic64_read(&tvfio->page_responses),
		.interrupts = atomic64_read(&tvfio->interrupts),
		.delivered = atomic64_read(&tvfio->delivered),
	};
}

/* What is behind the registers reads as zero. */
static int read_registers(struct test_vfio *tvfio, char __user *buf,
			  size_t count, u64 offset)
{
	u64 page = offset / IOASID_TEST_CHANNEL_SIZE;
	u64 within = offset % IOASID_TEST_CHANNEL_SIZE;
	u8 *image;
	int rc;

	if (count > IOASID_TEST_CHANNEL_SIZE - within)
		return -EINVAL;
	image = kzalloc(IOASID_TEST_CHANNEL_SIZE, GFP_KERNEL_ACCOUNT);
	if (!image)
		return -ENOMEM;
	if (!page) {
		get_globals(tvfio, (void *)image);
	} else {
		struct test_channel *channel = &tvfio->channels[page - 1];
		struct ioasid_test_status *status =
			(void *)(image + IOASID_TEST_STATUS);
		struct ioasid_test_command *command = (void *)image;
		u32 running = is_running(channel);

		/* As long as it runs, any mixture of counts will do. */
		*status = data_race(channel->status);
		status->running = running;
		/* A torn one is of somebody who writes another one just now. */
		*command = data_race(channel->command);
	}
	rc = copy_to_user(buf, image + within, count) ? -EFAULT : 0;
	kfree(image);
	return rc;
}

static int write_registers(struct test_vfio *tvfio, const char __user *buf,
			   size_t count, u64 offset)
{
	u64 page = offset / IOASID_TEST_CHANNEL_SIZE;

	if (!page)
		return write_globals(tvfio, buf, count, offset);
	if (offset % IOASID_TEST_CHANNEL_SIZE ||
	    count != sizeof(struct ioasid_test_command))
		return -EINVAL;
	return write_command(&tvfio->channels[page - 1], buf);
}

static u64 region_size(unsigned int index)
{
	return index == IOASID_TEST_REGISTERS ?
		       IOASID_TEST_REGISTERS_SIZE : IOASID_TEST_BUFFER_SIZE;
}

/* Splits a position in the file. */
static int find_region(loff_t pos, size_t count, unsigned int *index,
		       u64 *offset)
{
	if (pos < 0 || (pos >> REGION_SHIFT) >= IOASID_TEST_NUM_REGIONS)
		return -EINVAL;
	*index = pos >> REGION_SHIFT;
	*offset = pos & (REGION_OFFSET(1) - 1);
	if (*offset > region_size(*index) ||
	    count > region_size(*index) - *offset)
		return -EINVAL;
	return 0;
}

static ssize_t test_read(struct vfio_device *vdev, char __user *buf,
			 size_t count, loff_t *ppos)
{
	struct test_vfio *tvfio = to_test_vfio(vdev);
	unsigned int index;
	u64 offset;
	int rc;

	rc = find_region(*ppos, count, &index, &offset);
	if (rc || !count)
		return rc;
	if (index == IOASID_TEST_BUFFER)
		rc = copy_to_user(buf, tvfio->buffer + offset, count) ?
			     -EFAULT : 0;
	else
		rc = read_registers(tvfio, buf, count, offset);
	if (rc)
		return rc;
	*ppos += count;
	return count;
}

static ssize_t test_write(struct vfio_device *vdev, const char __user *buf,
			  size_t count, loff_t *ppos)
{
	struct test_vfio *tvfio = to_test_vfio(vdev);
	unsigned int index;
	u64 offset;
	int rc;

	rc = find_region(*ppos, count, &index, &offset);
	if (rc || !count)
		return rc;
	if (index == IOASID_TEST_BUFFER)
		rc = copy_from_user(tvfio->buffer + offset, buf, count) ?
			     -EFAULT : 0;
	else
		rc = write_registers(tvfio, buf, count, offset);
	if (rc)
		return rc;
	*ppos += count;
	return count;
}

static int test_mmap(struct vfio_device *vdev, struct vm_area_struct *vma)
{
	struct test_vfio *tvfio = to_test_vfio(vdev);
	u64 length = vma->vm_end - vma->vm_start;
	unsigned int index;
	u64 offset;
	int rc;

	rc = find_region((u64)vma->vm_pgoff << PAGE_SHIFT, length, &index,
			 &offset);
	if (rc)
		return rc;
	if (index != IOASID_TEST_BUFFER || !(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	return remap_pfn_range(vma, vma->vm_start,
			       PHYS_PFN(virt_to_phys(tvfio->buffer + offset)),
			       length, vma->vm_page_prot);
}

/* ---- VFIO ---- */

static int test_get_region_info(struct vfio_device *vdev,
				struct vfio_region_info *info,
				struct vfio_info_cap *caps)
{
	if (info->index >= IOASID_TEST_NUM_REGIONS)
		return -EINVAL;
	info->offset = REGION_OFFSET(info->index);
	info->size = region_size(info->index);
	info->flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
	if (info->index == IOASID_TEST_BUFFER)
		info->flags |= VFIO_REGION_INFO_FLAG_MMAP;
	return 0;
}

static int test_get_info(void __user *arg)
{
	const size_t minsz = offsetofend(struct vfio_device_info, num_irqs);
	struct vfio_device_info info;

	if (copy_from_user(&info, arg, minsz))
		return -EFAULT;
	if (info.argsz < minsz)
		return -EINVAL;
	info.flags = VFIO_DEVICE_FLAGS_RESET;
	info.num_regions = IOASID_TEST_NUM_REGIONS;
	info.num_irqs = IOASID_TEST_NUM_IRQS;
	return copy_to_user(arg, &info, minsz) ? -EFAULT : 0;
}

static int test_get_irq_info(void __user *arg)
{
	const size_t minsz = offsetofend(struct vfio_irq_info, count);
	struct vfio_irq_info info;

	if (copy_from_user(&info, arg, minsz))
		return -EFAULT;
	if (info.argsz < minsz || info.index >= IOASID_TEST_NUM_IRQS)
		return -EINVAL;
	info.flags = VFIO_IRQ_INFO_EVENTFD;
	info.count = info.index == IOASID_TEST_IRQ_MSI ? IOASID_TEST_NUM_MSI : 1;
	return copy_to_user(arg, &info, minsz) ? -EFAULT : 0;
}

static void reset_device(struct test_vfio *tvfio)
{
	unsigned int i;

	stop_all(tvfio);
	for (i = 0; i < IOASID_TEST_NUM_CHANNELS; i++) {
		struct test_channel *channel = &tvfio->channels[i];

		guard(mutex)(&channel->lock);
		if (is_running(channel))
			continue; /* somebody has begun anew */
		memset(&channel->command, 0, sizeof(channel->command));
		memset(&channel->status, 0, sizeof(channel->status));
	}
	reset_counters(tvfio);
	memset(tvfio->buffer, 0, IOASID_TEST_BUFFER_SIZE);
}

static long test_ioctl(struct vfio_device *vdev, unsigned int cmd,
		       unsigned long arg)
{
	struct test_vfio *tvfio = to_test_vfio(vdev);

	switch (cmd) {
	case VFIO_DEVICE_GET_INFO:
		return test_get_info((void __user *)arg);
	case VFIO_DEVICE_GET_IRQ_INFO:
		return test_get_irq_info((void __user *)arg);
	case VFIO_DEVICE_SET_IRQS:
		return test_set_irqs(tvfio, (void __user *)arg);
	case VFIO_DEVICE_RESET:
		reset_device(tvfio);
		return 0;
	default:
		return -ENOTTY;
	}
}

static int test_open_device(struct vfio_device *vdev)
{
	reset_device(to_test_vfio(vdev));
	return 0;
}

static void test_close_device(struct vfio_device *vdev)
{
	struct test_vfio *tvfio = to_test_vfio(vdev);

	stop_all(tvfio);
	guard(mutex)(&tvfio->irq_lock);
	irqs_off(tvfio);
	set_request(tvfio, NULL);
}

static int test_init_device(struct vfio_device *vdev)
{
	struct test_vfio *tvfio = to_test_vfio(vdev);
	unsigned int i;

	tvfio->buffer = (void *)__get_free_pages(GFP_KERNEL | __GFP_ZERO,
						 BUFFER_ORDER);
	if (!tvfio->buffer)
		return -ENOMEM;
	mutex_init(&tvfio->irq_lock);
	spin_lock_init(&tvfio->trigger_lock);
	for (i = 0; i < IOASID_TEST_NUM_CHANNELS; i++) {
		struct test_channel *channel = &tvfio->channels[i];

		channel->tvfio = tvfio;
		mutex_init(&channel->lock);
		INIT_WORK(&channel->work, test_channel_work);
	}
	return 0;
}

static void test_release_device(struct vfio_device *vdev)
{
	struct test_vfio *tvfio = to_test_vfio(vdev);

	free_pages((unsigned long)tvfio->buffer, BUFFER_ORDER);
}

static const struct vfio_device_ops test_device_ops = {
	.name = IOASID_TEST_DEVICE,
	.init = test_init_device,
	.release = test_release_device,
	.open_device = test_open_device,
	.close_device = test_close_device,
	.read = test_read,
	.write = test_write,
	.mmap = test_mmap,
	.ioctl = test_ioctl,
	.get_region_info_caps = test_get_region_info,
	.request = test_request,
	.bind_iommufd = vfio_iommufd_physical_bind,
	.unbind_iommufd = vfio_iommufd_physical_unbind,
	.attach_ioas = vfio_iommufd_physical_attach_ioas,
	.detach_ioas = vfio_iommufd_physical_detach_ioas,
	.pasid_attach_ioas = vfio_iommufd_physical_pasid_attach_ioas,
	.pasid_detach_ioas = vfio_iommufd_physical_pasid_detach_ioas,
};

static int test_probe(struct platform_device *pdev)
{
	struct test_vfio *tvfio;
	int rc;

	tvfio = vfio_alloc_device(test_vfio, vdev, &pdev->dev,
				  &test_device_ops);
	if (IS_ERR(tvfio))
		return PTR_ERR(tvfio);
	tvfio->tdev = test_device_of(&pdev->dev);
	rc = vfio_register_group_dev(&tvfio->vdev);
	if (rc) {
		vfio_put_device(&tvfio->vdev);
		return rc;
	}
	platform_set_drvdata(pdev, tvfio);
	return 0;
}

static void test_remove(struct platform_device *pdev)
{
	struct test_vfio *tvfio = platform_get_drvdata(pdev);

	vfio_unregister_group_dev(&tvfio->vdev);
	vfio_put_device(&tvfio->vdev);
}

static struct platform_driver test_driver = {
	.probe = test_probe,
	.remove = test_remove,
	.driver = {
		.name = IOASID_TEST_DEVICE,
	},
	.driver_managed_dma = true,
};

/* ---- a driver that would do DMA for the kernel ---- */

static int kernel_probe(struct platform_device *pdev)
{
	return 0;
}

static struct platform_driver kernel_driver = {
	.probe = kernel_probe,
	.driver = {
		.name = IOASID_TEST_KERNEL,
	},
};

/**
 * test_drivers_register - Register the drivers of the devices
 *
 * Return: 0 or a negative errno.
 */
int test_drivers_register(void)
{
	int rc;

	engine = alloc_workqueue("ioasid-test", WQ_UNBOUND, 0);
	if (!engine)
		return -ENOMEM;
	rc = platform_driver_register(&test_driver);
	if (rc)
		goto err_engine;
	rc = platform_driver_register(&kernel_driver);
	if (rc)
		goto err_driver;
	return 0;

err_driver:
	platform_driver_unregister(&test_driver);
err_engine:
	destroy_workqueue(engine);
	return rc;
}

/**
 * test_drivers_unregister - Undo test_drivers_register()
 */
void test_drivers_unregister(void)
{
	platform_driver_unregister(&kernel_driver);
	platform_driver_unregister(&test_driver);
	destroy_workqueue(engine);
}
