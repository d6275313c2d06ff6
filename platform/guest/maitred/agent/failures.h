/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/agent/failures.h - tell the host's crash service that a program
 * of ours failed and is started again. */
#pragma once

struct failures;
struct transport;
struct vmt_clock;

#define FAILURES_QUEUED_MAX 16 /* more at a time say nothing new */

int failures_new(struct vmt_clock *clock, struct transport *transport,
                 struct failures **ret_failures);
void failures_free(struct failures *failures);

/* Report a program by the last part of its path. One report is on its way at a time, with
 * a deadline of 2 s; what the queue does not hold is dropped, and so is what the host
 * does not take. */
void failures_report(struct failures *failures, const char *program);
