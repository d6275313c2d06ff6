/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/identity.c - the first call to a guest whose state was restored. Until
 * it is answered nothing of the guest runs but its agent: no program sees the clock, the
 * random numbers or the names of another VM. */
#include "core/concierge/identity_internal.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/adapter/clock.h"
#include "core/adapter/host.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/concierge/concierge_internal.h"
#include "vmt_agent.pb-c.h"

#define ZONE_MAX 128
#define NSEC_PER_SEC 1000000000ll

const char *
identity_hostname(const char *vm_name, char buf[IDENTITY_HOSTNAME_MAX])
{
    size_t n = 0;

    for (; *vm_name && n < IDENTITY_HOSTNAME_MAX - 1; vm_name++) {
        unsigned char c = (unsigned char)*vm_name;
        bool plain = c < 0x80 && isalnum(c);

        if (plain)
            buf[n++] = (char)tolower(c);
        else if (n > 0 && buf[n - 1] != '-') /* not first, and one for many */
            buf[n++] = '-';
    }
    while (n > 0 && buf[n - 1] == '-')
        n--;
    buf[n] = '\0';
    return buf;
}

bool
vm_identity_wanted(const struct concierge_vm *vm)
{
    return vm_warm_is_restoring(vm);
}

static void
on_thawed(void *arg, const struct rpc_status *status)
{
    struct concierge_vm *vm = arg;

    if (vm->state != VM_CONFIGURING)
        return;
    if (status->code == RPC_OK)
        vm_setup_steps(vm);
    else
        vm_fail(vm, "the guest did not let its programs go on: %s",
                rpc_code_name(status->code));
}

static const struct rpc_client_handler thaw_handler = {.on_done = on_thawed};

/* They were frozen for the snapshot, and stay so until they cannot see the past. */
static void
thaw(struct concierge_vm *vm)
{
    const struct rpc_client_request call = {
        .path = "/vmt.Agent/Thaw",
        .reply = &vmt__thaw_response__descriptor,
        .timeout_ms = AGENT_RPC_MS,
        .handler = &thaw_handler,
        .arg = vm,
    };
    Vmt__ThawRequest request = VMT__THAW_REQUEST__INIT;
    struct vmt_err err = {0};

    if (vm_agent_call(&vm->agent, &call, &request.base, &err) < 0)
        vm_fail(vm, "the guest cannot be told to go on: %s", err.msg);
}

static void
on_done(void *arg, const struct rpc_status *status)
{
    struct concierge_vm *vm = arg;
    char why[RPC_MESSAGE_TEXT_MAX + 64], text[RPC_MESSAGE_TEXT_MAX];

    if (vm->state != VM_CONFIGURING)
        return;
    if (status->code == RPC_OK) {
        vm_warm_done(vm);
        if (strcmp(vm->start_mode, "snapshot") == 0)
            thaw(vm);
        else
            vm_setup_steps(vm);
        return;
    }
    (void)vmt_log_escape(text, sizeof(text), status->text, strlen(status->text));
    (void)snprintf(why, sizeof(why), "the guest did not take its identity: %s%s%s",
                   rpc_code_name(status->code), *text ? ": " : "", text);
    if (vm_warm_is_restoring(vm))
        vm_warm_fall_back(vm, why);
    else
        vm_fail(vm, "%s", why);
}

static const struct rpc_client_handler handler = {.on_done = on_done};

static void
fill_disks(struct concierge_vm *vm, char **serials, Vmt__SetIdentityRequest *request)
{
    for (size_t i = 1; i < vm->plan.nblocks; i++)
        serials[request->n_disk_serials++] = vm->plan.serials[i];
    request->disk_serials = serials;
}

static int
send(struct concierge_vm *vm, Vmt__SetIdentityRequest *request, struct vmt_err *err)
{
    static const uint8_t none[VM_MAC_LEN];
    const struct rpc_client_request call = {
        .path = "/vmt.Agent/SetIdentity",
        .reply = &vmt__set_identity_response__descriptor,
        .timeout_ms = AGENT_RPC_MS,
        .handler = &handler,
        .arg = vm,
    };
    struct vmt_clock *clock = vm->c->config.clock;
    int64_t sec = 0;
    int32_t nsec = 0;

    if (memcmp(vm->network.mac, none, sizeof(none)) != 0) {
        request->mac_address.data = vm->network.mac;
        request->mac_address.len = sizeof(vm->network.mac);
    }
    clock->ops->wall(clock, &sec, &nsec); /* last: it grows old */
    request->wall_time_ns = sec * NSEC_PER_SEC + nsec;
    return vm_agent_call(&vm->agent, &call, &request->base, err);
}

/* A machine-id is for this run of the VM, as after a boot of the same image. */
int
identity_names_make(const struct concierge_vm *vm, struct identity_names *names,
                    struct vmt_err *err)
{
    struct host *host = vm->c->config.host;
    uint8_t id[IDENTITY_MACHINE_ID_BYTES];
    int r = host->facts->random(host, names->entropy, sizeof(names->entropy), err);

    if (r == 0)
        r = host->facts->random(host, id, sizeof(id), err);
    if (r < 0)
        return r;
    vmt_hex_encode(names->machine_id, id, sizeof(id));
    (void)identity_hostname(vm->id.name, names->hostname);
    vmt__set_identity_request__init(&names->request);
    names->request.entropy.data = names->entropy;
    names->request.entropy.len = sizeof(names->entropy);
    names->request.machine_id = names->machine_id;
    names->request.hostname = names->hostname;
    return 0;
}

static int
make_and_send(struct concierge_vm *vm, struct vmt_err *err)
{
    struct host *host = vm->c->config.host;
    char zone[ZONE_MAX], *serials[PLAN_BLOCKS_MAX];
    struct identity_names names;
    int r = identity_names_make(vm, &names, err);

    if (r < 0)
        return r;
    host->facts->zone(host, zone, sizeof(zone));
    names.request.timezone = zone;
    fill_disks(vm, serials, &names.request);
    return send(vm, &names.request, err);
}

void
vm_identity_send(struct concierge_vm *vm)
{
    struct vmt_err err = {0};

    if (make_and_send(vm, &err) == 0)
        return;
    if (vm_warm_is_restoring(vm))
        vm_warm_fall_back(vm, err.msg);
    else
        vm_fail(vm, "the guest gets no identity: %s", err.msg);
}
