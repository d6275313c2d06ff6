/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/rpc/time.h - the wall clock and the time zone of the guest. */
#pragma once

#include <stdbool.h>
#include <time.h>

struct rpc_server_call;
struct vmt_err;

#define ZONE_NAME_MAX 128

struct zone_wish {
    struct rpc_server_call *call; /* NULL: none */
    char name[ZONE_NAME_MAX];
    bool bind;
};

/* Of the agent: the SetTimezone under way, or NULL, and the one that waits for it. */
struct zone {
    struct rpc_server_call *call;
    struct zone_wish next;
};

/* Set the wall clock, and the hardware clock too if it may not be right. Returns 0;
 * -EINVAL: no present time; -errno. */
int time_set(const struct timespec *ts, bool hardware, struct vmt_err *err);

/* Take the time of the hardware clock, which the host keeps going, when ours is further
 * off than that clock can tell, a second. */
void time_take_hardware(void);

/* Make name, which has data below /usr/share/zoneinfo, the zone of the system; by a link,
 * or by a bind mount for programs that do not follow a link to a link. Returns 0;
 * -ENOENT; -EINVAL: not the name of a zone; -errno. */
int time_set_zone(const char *name, bool bind, struct vmt_err *err);
