/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/concierge/guest.h - the inside of one VM: a maitred that does as the test
 * says. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/rpc/rpc.h"
#include "tests/unit/concierge/world.h"

struct guest;
typedef struct Vmt__GuestEvent Vmt__GuestEvent;

/* Methods by name ("Mount"); see guest_set. */
enum guest_way {
    GUEST_ANSWERS = 0,
    GUEST_FAILS,   /* INTERNAL, "no luck" */
    GUEST_IGNORES, /* never answers */
};

/* Bring up the agent inside the VM with this cid. */
struct guest *guest_new(struct world *w, uint32_t cid);
void guest_free(struct guest *guest);

/* From now on. */
void guest_set(struct guest *guest, const char *method, enum guest_way way);
/* What GetDiskSpace tells. */
void guest_set_space(struct guest *guest, uint64_t available, uint64_t min_size);

/* The file system: ResizeFilesystem only notes what was asked, and sets in_progress; the
 * test does the rest. */
struct guest_resize {
    uint64_t asked, current;
    char serial[32];
    bool in_progress;
};
struct guest_resize *guest_resize(struct guest *guest);
void guest_set_mount_error(struct guest *guest, int error);
/* After an answered Shutdown the hypervisor process of vm_name ends: power off. */
void guest_power_off_on_shutdown(struct guest *guest, const char *vm_name);

/* Call VmReady; *ret_status is filled in when it was answered. */
void guest_call_ready(struct guest *guest, struct rpc_status *ret_status, int *answers);

/* Tell the host an event, which is borrowed until it was answered. */
void guest_report(struct guest *guest, const Vmt__GuestEvent *event,
                  struct rpc_status *ret_status, int *answers);

/* What the last SetTime said, seconds; 0: there was none. */
int64_t guest_time(const struct guest *guest);

/* What the guest was told last: "SERVER DOMAIN" of SetResolvConfig, and a time zone. */
const char *guest_resolv(const struct guest *guest);
const char *guest_zone(const struct guest *guest);

/* The methods that were called, "ConfigureNetwork SetResolvConfig ...", in order. */
const char *guest_calls(const struct guest *guest);

/* What SetIdentity said last. */
struct guest_identity {
    unsigned sent;                                /* how often */
    char hostname[64], machine_id[64], disks[64]; /* disks: the first serial */
    size_t entropy, mac;                          /* bytes */
    int64_t time_ns;
};
const struct guest_identity *guest_identity(const struct guest *guest);
void guest_forget_calls(struct guest *guest);
