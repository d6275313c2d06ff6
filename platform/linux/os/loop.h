/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/os/loop.h - the one event loop of a process, its clock and its signals.
 */
#pragma once

#include <stdbool.h>

#include "core/adapter/clock.h"

struct event_base;
struct vmt_err;

/* The loop of the process; make it in main and hand it down. */
struct os_loop;

int os_loop_new(struct os_loop **ret_loop, struct vmt_err *err);
void os_loop_free(struct os_loop *loop);

/* Run until os_loop_stop, or until nothing is left to wait for. Returns the code given to
 * os_loop_stop, 0 without one. */
int os_loop_run(struct os_loop *loop);
void os_loop_stop(struct os_loop *loop, int code);

struct event_base *os_loop_base(struct os_loop *loop);
/* The monotonic clock (CLOCK_BOOTTIME, so that a suspended host does not stop deadlines).
 */
struct vmt_clock *os_loop_clock(struct os_loop *loop);

/* Call fn from the loop whenever sig arrives; one handler per signal, the last wins. */
int os_loop_on_signal(struct os_loop *loop, int sig, void (*fn)(void *arg, int sig),
                      void *arg, struct vmt_err *err);

/* SIGPIPE ignored, descriptors 0 to 2 open (on /dev/null if they were closed). First
 * thing in every main. */
void os_process_init(void);

/* Was the signal ignored when this program began, as nohup(1) and shells do for what runs
 * in the background? True only while nobody handles it. */
bool os_signal_is_ignored(int sig);

/* Close every descriptor from first on; ignores errors. */
void os_close_from(int first);

/* Raise the soft limit on descriptors to the hard one. */
void os_raise_nofile(void);
