/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/sim/saved.c - saved states: templates that are made behind the VMs, and snapshots
 * that clients ask for. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "tests/fake/fake_states.h"
#include "tests/sim/sim.h"
#include "tests/unit/test.h"
#include "vmt_snapshot.pb-c.h"

void
sim_give_templates(struct sim *s)
{
    world_kill_daemon(&s->w);
    s->w.template_count = 1 + sim_dice(s, 3);
    s->w.template_bytes = 1 << 20;
    world_start_daemon(&s->w);
}

bool
sim_makes_template(const struct fake_process *p)
{
    const struct fake_start *start = fake_process_start(p);

    return strstr(start->cmdline, "maitred.template") && start->restore_fd <= 0;
}

void
sim_template_ready(struct sim *s)
{
    for (size_t i = 0; i < fake_hypervisor_count(s->w.hv); i++) {
        struct fake_process *p = fake_hypervisor_process(s->w.hv, i);

        if (sim_makes_template(p))
            fake_host_append(s->w.host, fake_process_start(p)->run_dir,
                             "vm_tools-template-ready\n");
    }
}

const char *
sim_snapshot_name(struct sim *s)
{
    static const char *const names[] = {"one", "two", "three"};

    return names[sim_dice(s, VMT_ARRAY_SIZE(names))];
}

/* The three requests have the same fields. */
void
sim_snapshot(struct sim *s)
{
    static const char *const methods[] = {"CreateSnapshot", "CreateSnapshot",
                                          "RestoreSnapshot", "DeleteSnapshot"};
    const char *method = methods[sim_dice(s, VMT_ARRAY_SIZE(methods))];
    const struct ipc_method *m = ipc_find_method(s->w.ipc, method);
    Vmt__CreateSnapshotRequest request = VMT__CREATE_SNAPSHOT_REQUEST__INIT;
    struct sim_call *call = sim_call_new(s, method);

    if (!call)
        return;
    fake_host_add_image(s->w.host, "/images/file");
    request.base.descriptor = m->request;
    request.owner_id = (char *)(uintptr_t)WORLD_OWNER;
    request.vm_name = (char *)(uintptr_t)sim_name(s);
    request.snapshot_name = (char *)(uintptr_t)sim_snapshot_name(s);
    client_call(&s->w, method, WORLD_UID, &request.base, NULL, 0, &call->call);
}

/* What a hypervisor is asked for states fails, or it is refused. */
void
sim_spoil(struct sim *s)
{
    static const enum fake_op ops[] = {FAKE_OP_VSOCK_ADD, FAKE_OP_VSOCK_REMOVE,
                                       FAKE_OP_SAVE, FAKE_OP_DISK_ADD};
    struct fake_behaviour *b = fake_hypervisor_behaviour(s->w.hv);

    for (size_t i = 0; i < VMT_ARRAY_SIZE(ops); i++) {
        b->fail[ops[i]] = sim_dice(s, 4) == 0 ? EIO : 0;
        b->refuse[ops[i]] = sim_dice(s, 6) == 0 ? EBUSY : 0;
    }
    s->w.sync_fails = sim_dice(s, 5) == 0;
    s->w.sync_hangs = sim_dice(s, 5) == 0;
    fake_states_set_identity(s->w.host, sim_dice(s, 5) ? "file 1" : "file 2");
}

void
sim_fail_states(struct sim *s)
{
    fake_states_fail_after(s->w.host, sim_dice(s, 12), ENOSPC);
}

void
sim_end_saved(struct sim *s)
{
    fake_states_fail_after(s->w.host, 0, 0);
    s->w.sync_hangs = false;
}

/* A VM is started, and nothing is in its way that is not there already. */
static void
run_up(struct sim *s)
{
    struct sim_call *call = sim_call_new(s, "StartVm");

    if (!call)
        return;
    client_start_name(&s->w, sim_name(s), &call->call);
    world_run(&s->w, 200);
    for (unsigned i = 0; i < 2 * s->names && i < 8; i++)
        sim_ready(s);
    world_run(&s->w, sim_dice(s, 1000));
}

static void
restore(struct sim *s)
{
    sim_snapshot(s);
    world_run(&s->w, sim_dice(s, 1000));
    sim_ready(s);
}

/* The builder waits for a while in which nobody boots. */
static void
make_template(struct sim *s)
{
    world_run(&s->w, 3200);
    sim_template_ready(s);
    world_run(&s->w, sim_dice(s, 1000));
}

static void
stop_one(struct sim *s)
{
    struct sim_call *call = sim_call_new(s, "StopVm");

    if (!call)
        return;
    client_stop(&s->w, sim_name(s), &call->call);
    world_run(&s->w, sim_dice(s, 2000));
}

void
sim_saved_deed(struct sim *s)
{
    static void (*const deeds[])(struct sim * s) = {
        run_up, run_up, restore, restore, make_template, stop_one, sim_snapshot,
    };

    deeds[sim_dice(s, VMT_ARRAY_SIZE(deeds))](s);
}
