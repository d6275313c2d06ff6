/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/fake/fake_disks.h - the disk images of a fake host: names and sizes. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/adapter/host.h"
#include "core/adapter/spawn.h"

/* Where the logs of workers are, for fake_host_append. */
#define FAKE_DISKS_PROGRESS "/run/disk-operations/"

struct fake_disks;

struct fake_disks *fake_disks_new(void);
void fake_disks_free(struct fake_disks *d);
extern const struct host_disk_ops fake_disk_ops;

/* Make an image, or change its size; what is given back may be changed. */
struct host_disk *fake_disks_put(struct host *host, const char *owner, const char *file,
                                 uint64_t bytes);
bool fake_disks_has(struct host *host, const char *owner, const char *file);
/* Somebody else holds the lock of an image. */
void fake_disks_lock(struct host *host, const char *owner, const char *file, bool locked);
/* The process that progress_writer finds for every log. */
void fake_disks_set_writer(struct host *host, const struct spawn_id *id);
