// SPDX-License-Identifier: GPL-2.0-only
/*
 * What an event file must say after each step: exactly what has happened, in
 * whatever order.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model.h"

/* Return: an open file that does not wait, or a negative errno */
static int open_events(struct model *m)
{
	struct iommu_event_fd cmd = { .size = sizeof(cmd) };
	int rc;

	rc = iommu_call(m->iommu, IOMMU_EVENT_FD, &cmd);
	if (rc)
		return rc;
	return fcntl(cmd.fd, F_SETFL, O_NONBLOCK) ? -errno : cmd.fd;
}

int events_setup(struct model *m)
{
	m->events = open_events(m);
	return m->events < 0 ? m->events : 0;
}

void events_teardown(struct model *m)
{
	if (m->events >= 0)
		close(m->events);
	m->events = -1;
}

/* It will be there when the step is done. */
void event_expect(struct model *m, __u32 type, const struct ioas *ioas,
		  __u64 iova, __u64 length)
{
	if (m->num_expected == MAX_EVENTS) {
		mismatch(m, "more events than there can be");
		return;
	}
	m->expected[m->num_expected++] = (struct iommu_event){
		.type = type,
		.ioasid = ioas->id,
		.iova = iova,
		.length = length,
	};
}

/* Return: how many were read. */
static unsigned int read_events(struct model *m, struct iommu_event *seen,
				unsigned int room)
{
	ssize_t rc;

	if (m->events < 0)
		return 0;
	rc = read(m->events, seen, room * sizeof(*seen));
	if (rc < 0 && errno != EAGAIN)
		mismatch(m, "events cannot be read: %d", -errno);
	if (rc > 0 && rc % sizeof(*seen))
		mismatch(m, "%zd bytes of events were read", rc);
	return rc > 0 ? rc / sizeof(*seen) : 0;
}

static int compare_events(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct iommu_event));
}

static void say_event(struct model *m, const char *what,
		      const struct iommu_event *event)
{
	mismatch(m, "%s event: %u of %u at 0x%llx length 0x%llx", what,
		 event->type, event->ioasid, event->iova, event->length);
}

void events_compare(struct model *m)
{
	struct iommu_event seen[MAX_EVENTS + 1];
	unsigned int num = read_events(m, seen, lengthof(seen)), i, j = 0;
	int order;

	m->read += num;
	for (i = 0; i < num; i++)
		m->revoked += seen[i].type == IOMMU_EVENT_REVOKED;
	qsort(seen, num, sizeof(seen[0]), compare_events);
	qsort(m->expected, m->num_expected, sizeof(seen[0]), compare_events);
	i = 0;
	while (i < num || j < m->num_expected) {
		if (i == num)
			order = 1;
		else if (j == m->num_expected)
			order = -1;
		else
			order = compare_events(&seen[i], &m->expected[j]);
		if (order < 0)
			say_event(m, "not expected", &seen[i]);
		else if (order > 0)
			say_event(m, "missing", &m->expected[j]);
		i += order <= 0;
		j += order >= 0;
	}
	m->num_expected = 0;
}

/*
 * An attachment was tried while something failed, and undone: nothing, or that there
 * was a device and is none any more.
 */
void events_tried(struct model *m, const struct ioas *ioas)
{
	struct iommu_event seen[3];
	unsigned int num = read_events(m, seen, lengthof(seen)), i;

	if (num && num != 2)
		mismatch(m, "%u events of an attachment that was undone", num);
	for (i = 0; i < num; i++)
		if (seen[i].ioasid != ioas->id ||
		    seen[i].type != (i ? IOMMU_EVENT_UNUSED : IOMMU_EVENT_USED))
			say_event(m, "not expected", &seen[i]);
}

/* ---- the operation ---- */

/* There is one file at a time. What happens while there is none is not told. */
void op_events(struct model *m)
{
	int rc;

	if (one_in(m, 2)) {
		doing(m, "another event file");
		rc = open_events(m);
		if (rc >= 0)
			close(rc);
		returned(m, -EBUSY, rc < 0 ? rc : 0);
		return;
	}
	doing(m, "a new event file");
	events_teardown(m);
	returned(m, 0, events_setup(m));
}
