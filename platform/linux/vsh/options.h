/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vsh/options.h - command line of vsh. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/vsh/forward.h"
#include "platform/linux/vsh/endpoint.h"
#include "platform/linux/vsh/run.h"
#include "platform/linux/vsh/words.h"

struct vmt_err;

/* Strings are borrowed from the command line. */
struct options {
    bool endpoint_set;
    struct vsh_endpoint endpoint;
    const char *vm_name;                               /* NULL: endpoint is set */
    const char *owner_id;                              /* NULL: that of our uid */
    const char *user;                                  /* "": the guest's choice */
    const char *cwd;                                   /* "" or a path */
    int32_t cwd_pid;                                   /* 0, or a process of the guest */
    struct vsh_forward_spec local[VSH_LISTENERS_MAX];  /* owned, nlocal of them */
    struct vsh_forward_spec remote[VSH_LISTENERS_MAX]; /* owned, nremote of them */
    size_t nlocal, nremote;
    bool agent;      /* forward ours */
    bool no_command; /* only forward */
    bool list, json; /* tell the sessions, as JSON */
    enum vsh_tty tty;
    int escape;            /* see vsh_run_config */
    unsigned keepalive_ms; /* likewise */
    bool no_stdin, reconnect;
    bool help, version;
    struct vsh_words words; /* owned */
};

/* Returns 0, -EINVAL, -ENOTSUP for what this program cannot do, -ENOMEM. */
int options_parse(int argc, char **argv, struct options *ret_options,
                  struct vmt_err *err);
void options_done(struct options *options);
extern const char options_usage[];
