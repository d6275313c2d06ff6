/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/fake/fake_host.h - a host whose files are in memory, and which fails on demand.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/adapter/host.h"

/* 4 processors, 8192 MiB of which 6144 are available, zone Europe/Berlin. Descriptors
 * that it gives are real ones (of /dev/null), so that a leak shows in the process.
 * Returns NULL without memory. */
struct host *fake_host_new(void);
void fake_host_free(struct host *host);

/* What the resolver uses and the time zone from now on, copied. At the start one server,
 * 192.0.2.53, one domain, example.org, and Europe/Berlin. */
void fake_host_set_dns(struct host *host, const char *server, const char *domain);
void fake_host_set_zone(struct host *host, const char *zone);

/* What the kernel says of l1tf, copied; NULL: nothing, as at the start. */
void fake_host_set_l1tf(struct host *host, const char *text);

/* Of the calls that can fail, the one after skip others gives -error; 0: none. Counted
 * from now on. */
void fake_host_fail_after(struct host *host, unsigned skip, int error);
/* Did that happen? */
bool fake_host_has_failed(const struct host *host);

/* Paths that image_open knows; everything else is -ENOENT. */
void fake_host_add_image(struct host *host, const char *path);

size_t fake_host_dirs(const struct host *host);
size_t fake_host_records(const struct host *host);
/* Put bytes in a record, as an earlier life would have left it. */
void fake_host_set_record(struct host *host, const char *name, const void *data,
                          size_t len);

/* Append to a log, as the process that holds its descriptor would; to the log of the
 * first path that contains part. */
void fake_host_append(struct host *host, const char *part, const char *text);
unsigned fake_host_trims(const struct host *host);

/* A process that names dir in its command line, for dir_users. It may have ended. All of
 * them have an argument that begins with any mark. */
void fake_host_add_user(struct host *host, const char *dir, const struct spawn_id *id);

/* What the host says about its memory from now on. */
void fake_host_set_memory(struct host *host, const struct host_memory *memory);
/* For the fakes of other concerns. */
struct fake_disks;
struct fake_disks *fake_host_disks(struct host *host);
int fake_host_may_fail(struct host *host, const char *what, struct vmt_err *err);
/* Names of the logs below a directory. */
void fake_host_logs_each(struct host *host, const char *dir,
                         void (*fn)(void *arg, const char *name), void *arg);
void fake_host_log_remove(struct host *host, const char *path);

/* Cgroups: error 0 (the default): there are; else prepare gives it. The next busy calls
 * of remove find that something is still ending. */
void fake_host_set_groups(struct host *host, int error, unsigned busy);
void fake_host_set_cpu_limit(struct host *host, uint32_t limit);
size_t fake_host_groups(const struct host *host);
/* 0: not set, or no such group. */
uint32_t fake_host_group_weight(const struct host *host, const char *name);
/* One that an earlier life left. */
void fake_host_add_group(struct host *host, const char *name);

/* Bytes in RAM of any process. */
void fake_host_set_resident(struct host *host, uint64_t bytes);

/* Space on every file system, 0 at the start. */
void fake_host_set_free_bytes(struct host *host, uint64_t bytes);
