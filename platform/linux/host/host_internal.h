/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/host/host_internal.h - shared by the files of this room. */
#pragma once

#include "platform/linux/host/host.h"

struct linux_host {
    struct host base;
    char *run_root;   /* owned */
    char *record_dir; /* owned */
    char *state_dir;  /* owned */
};

/* Logs outlive their VMs, but not for ever: of the files in dir, the newest keep stay. */
void linux_host_prune_logs(const char *dir, size_t keep);

/* What the resolver uses, from the file that it reads, and, if that names the stub of
 * systemd-resolved, from the file where it says whom it asks. */
void linux_host_read_dns(const char *resolv, const char *resolved,
                         struct host_dns *ret_dns);
/* The time zone by the target of link, else by the text of file; "" if neither says. */
void linux_host_read_zone(const char *link, const char *file, char *buf, size_t cap);

extern const struct host_fact_ops linux_host_facts;
extern const struct host_file_ops linux_host_files;
extern const struct host_log_ops linux_host_logs;
extern const struct host_store_ops linux_host_store;
extern const struct host_state_ops linux_host_state;
extern const struct host_memory_ops linux_host_memory;
