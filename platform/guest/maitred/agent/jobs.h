/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/agent/jobs.h - the startup jobs of an image: /etc/maitred. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/argv.h"

struct jobs;
struct proc_exit;
struct proc_table;
struct report;
struct vmt_err;

#define JOBS_DIR "/etc/maitred"
#define JOBS_FILES_MAX 512
#define JOBS_DEPTH_MAX 8

/* All regular files below dir, in byte order of their whole path. A missing dir is no
 * file. Deeper than JOBS_DEPTH_MAX or more than JOBS_FILES_MAX: -E2BIG. Links are not
 * followed. */
int jobs_list(const char *dir, struct vmt_argv *ret_paths, struct vmt_err *err);

struct jobs_config {
    struct proc_table *procs; /* borrowed */
    struct report *report;    /* borrowed */
    const char *dir;          /* borrowed for the call */
    const char *skip;    /* names of files that are left out, with commas; borrowed */
    unsigned timeout_ms; /* of one job with wait_for_exit that names none */
    unsigned hold_ms;    /* on_done runs after that even if jobs are left */
    bool provision;      /* "provision" is added to the mount-stateful job */
    void (*on_first)(void *arg); /* runs before the first job; not if there is none */
    /* The job that the machine is there for ended, or could not be started: status 127.
     */
    void (*on_application)(void *arg, const char *program, const struct proc_exit *how);
    void (*on_done)(void *arg);
    void *arg; /* borrowed */
};

/* Run the jobs one after the other; a job with wait_for_exit holds the next one back
 * until it ends or timed out (it runs on then). on_done runs once, from the loop: all
 * jobs are started and waited for, or hold_ms passed, which must not keep the host
 * waiting. */
int jobs_start(const struct jobs_config *config, struct jobs **ret_jobs);
void jobs_free(struct jobs *jobs);
