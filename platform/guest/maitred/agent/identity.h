/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/agent/identity.h - who this guest is: a restored state makes it
 * wake up as a copy of another. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vmt_err;

#define IDENTITY_ENTROPY_MIN 32u /* fewer would not seed the pool; random(4) */
#define IDENTITY_ENTROPY_MAX 512u
#define IDENTITY_MACHINE_ID_LEN 32u /* machine-id(5) */
#define IDENTITY_HOSTNAME_MAX 64u   /* HOST_NAME_MAX of Linux */
#define IDENTITY_MAC_LEN 6u

/* What is NULL, "" or 0 stays as it is. Borrowed. */
struct identity {
    int64_t wall_time_ns; /* since 1970 */
    const uint8_t *entropy;
    size_t nentropy;
    const char *machine_id, *hostname, *timezone;
    const uint8_t *mac; /* IDENTITY_MAC_LEN bytes */
    size_t nmac;
};

/* Is all of it well-formed? Returns 0 or -EINVAL with words. */
int identity_check(const struct identity *id, struct vmt_err *err);

/* Become that, the clock first. Returns 0; -EINVAL, -ENOENT: the zone; -errno, and what
 * came before is done. */
int identity_apply(const struct identity *id, struct vmt_err *err);

/* Is a disk with the serial there? */
bool identity_has_disk(const char *serial);
