/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/agent/events.h - tell the host what befell this guest. The
 * original's host does not know the call: then nothing is lost but the news. */
#pragma once

#include <stdint.h>

struct events;
struct transport;
struct vmt_clock;
typedef struct Vmt__GuestEvent Vmt__GuestEvent;

#define EVENTS_QUEUED_MAX 16
#define EVENTS_PATH "/vmt.GuestListener/ReportEvent"

/* port is that of the host's StartupListener. */
int events_new(struct vmt_clock *clock, struct transport *transport, uint32_t port,
               struct events **ret_events);
void events_free(struct events *events);

/* Queue a copy. One is on its way at a time, with a deadline of 5 s; what the queue does
 * not hold is dropped, and so is what the host does not take. events may be NULL. */
void events_report(struct events *events, const Vmt__GuestEvent *event);
