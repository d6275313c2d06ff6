/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/concierge.h - the VM daemon: decides, and acts through adapters only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/vm/subnet.h"

struct concierge;
struct host;
struct host_sleep;
struct host_watch;
struct host_net;
struct hypervisor;
struct ipc;
struct spawn;
struct transport;
struct vmt_clock;
struct vmt_err;

/* How VMs are connected. */
struct concierge_network {
    /* What a VM gets that does not ask: "user", "tap" or "none"; NULL or "auto": a tap if
     * prefer_tap and that works, else the user network. */
    const char *mode;
    bool prefer_tap;
    /* Where VMs with a tap get their subnets from (VM_SUBNET_PREFIX), and containers in
     * them (VM_CONTAINER_PREFIX). What both hold belongs to the containers. */
    struct vm_range subnets, containers;
};

/* Everything is borrowed for the life of the concierge. */
struct concierge_config {
    struct vmt_clock *clock;
    struct transport *transport;
    struct spawn *spawn;
    struct host *host;
    struct hypervisor *hypervisor;
    unsigned template_count;    /* at most so many per owner; 0: every start boots */
    uint64_t template_bytes;    /* of all owners together */
    uint32_t shutdown_limit_ms; /* for concierge_shutdown, whatever hangs; 0: none */
    bool require_mitigations;   /* no VM on a processor that leaks to guests */
    unsigned snapshot_count;    /* at most so many per owner */
    uint64_t snapshot_bytes;    /* of one owner: with more there is no new one */
    struct host_watch *watch;   /* NULL: changes of the host are not noticed */
    struct host_sleep *sleep;   /* NULL: nobody says that the host is about to sleep */
    const char *vm_vsock;       /* program of the vsock device: path, or name in PATH */
    const char *vm_disk;        /* program that works on disk images: path, or name */
    const char *console_dir;    /* absolute; holds one console log per VM name */
    struct host_net *net;       /* NULL: no VM gets a tap */
    struct concierge_network network;
    /* The last VM is gone, or the last disk operation over. From the loop, but not a
     * place to free anything. May be NULL.
     */
    void (*on_idle)(void *arg);
    void *arg;
};

/* Start to listen for guests. Returns 0, -ENOMEM or what listening gave. */
int concierge_new(const struct concierge_config *config, struct concierge **ret_concierge,
                  struct vmt_err *err);

/* Forget everything; VMs run on and can be adopted by the next concierge. Calls in flight
 * are failed. Not from inside a callback of the concierge. NULL is legal. */
void concierge_free(struct concierge *c);

/* Where signals go; the ipc serves concierge_service with c as its ctx. NULL: nowhere. */
void concierge_set_ipc(struct concierge *c, struct ipc *ipc);

/* Take over the VMs that an earlier concierge left, and clean up what is dead. Call once,
 * before serving. What cannot be taken over is logged. */
void concierge_adopt(struct concierge *c);

/* Refuse new VMs and stop all: VmStopped with reason SERVICE_SHUTDOWN. done runs once,
 * when nothing is left (at once, without VMs) or nothing more can be done. */
void concierge_shutdown(struct concierge *c, void (*done)(void *arg), void *arg);

/* Is there a VM, or something under way that has an end? */
bool concierge_is_busy(const struct concierge *c);
/* Operations on disk images that are going on. */
size_t concierge_disk_operations(const struct concierge *c);

/* VMs in any state, booting and stopping ones too. */
size_t concierge_vm_count(const struct concierge *c);
