/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/agent/job.h - one program to start: a file of /etc/maitred, or a
 * call of the host. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "core/base/argv.h"

struct proc_extra;
struct vmt_err;
typedef struct VmTools__LaunchProcessRequest VmTools__LaunchProcessRequest;

#define JOB_TIMEOUT_S_MAX 86400u

/* All zeroes is empty; job_done releases. */
struct job {
    struct vmt_argv argv, env; /* owned */
    bool respawn, use_console, wait_for_exit;
    bool poweroff_on_exit, skip;
    unsigned timeout_s;       /* with wait_for_exit; 0: the default */
    struct proc_extra *extra; /* owned; NULL: nothing special */
    bool has_limits;          /* it needs a control group of its own */
};

/* Check and copy a request. Returns 0; -EINVAL for what makes no sense, such as an empty
 * argv or respawn together with wait_for_exit; -ENOMEM.
 * Source: platform2 vm_tools/maitred/init.cc and service_impl.cc. */
int job_from_request(const VmTools__LaunchProcessRequest *request, struct job *ret_job,
                     struct vmt_err *err);

/* Parse the text of a startup file. Returns as job_from_request; bad text is -EINVAL with
 * line and column. */
int job_parse(const char *text, size_t len, struct job *ret_job, struct vmt_err *err);

void job_done(struct job *job);
