/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_concierge/options.h - the command line of vm_concierge. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/log.h"
#include "platform/linux/vm_concierge/network.h"

#define OPTIONS_SERVICES_MAX 8

/* Strings point into argv. */
struct options {
    bool system_mode;
    int ready_fd;         /* -1: none */
    uint32_t idle_exit_s; /* 0: never */
    bool release_cgroup;  /* do that and nothing else */
    const char *dbus;     /* "none", "system", "session" or an address; NULL: by mode */
    bool no_sandbox;
    bool require_mitigations;
    uint32_t shutdown_limit_s;
    const char *sleep_bus;         /* likewise, where logind is; NULL: system */
    const char *hypervisor;        /* name of a backend */
    const char *hypervisor_binary; /* NULL: the backend's own choice */
    const char *vm_vsock;          /* NULL: beside this program, else in PATH */
    const char *vm_disk;           /* NULL: beside this program, else from PATH */
    const char *service_users[OPTIONS_SERVICES_MAX]; /* names or numbers */
    size_t nservice_users;
    struct network_options network;
    uint32_t template_count; /* per owner; 0: none are made or used */
    uint64_t template_bytes; /* of all owners */
    uint32_t snapshot_count; /* per owner */
    uint64_t snapshot_bytes; /* of one owner */
    enum vmt_log_level log_level;
};

enum options_outcome { OPTIONS_RUN, OPTIONS_DONE, OPTIONS_USAGE };

/* Fill in opt. OPTIONS_DONE: --help or --version was printed on stdout; OPTIONS_USAGE:
 * one line on stderr says what is wrong. */
enum options_outcome options_parse(int argc, char **argv, struct options *opt);
