/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vmc/vm_end.h"

#include <string.h>

#include "core/base/cleanup.h"
#include "platform/linux/vmc/vmc.h"
#include "vmt_life.pb-c.h"

bool
vm_end_is_in_order(const Vmt__VmEnd *end)
{
    static const char *const names[] = {"stopped", "poweroff", "reboot"};

    for (size_t i = 0; i < VMT_ARRAY_SIZE(names); i++)
        if (strcmp(end->cause, names[i]) == 0)
            return true;
    return false;
}

int
vm_end_exit_code(const Vmt__VmEnd *end)
{
    const Vmt__ApplicationEnd *a = end->application;

    if (a && a->signal)
        return 128 + a->signal;
    if (a && a->exit_code)
        return a->exit_code;
    return vm_end_is_in_order(end) ? VMC_DONE : VMC_FAILED;
}

json_t *
vm_end_json(const Vmt__VmEnd *end)
{
    const Vmt__ApplicationEnd *a = end->application;
    json_t *application = a ? json_pack("{ss si si}", "program", a->program, "exit_code",
                                        (int)a->exit_code, "signal", (int)a->signal)
                            : NULL;

    return json_pack("{ss si si sI sI ss si sb sI so*}", "cause", end->cause, "exit_code",
                     (int)end->exit_code, "signal", (int)end->signal, "uptime_ms",
                     (json_int_t)end->uptime_ms, "ended", (json_int_t)end->ended_s,
                     "text", end->text, "restarts", (int)end->restarts, "will_restart",
                     (int)end->will_restart, "restart_in_ms",
                     (json_int_t)end->restart_in_ms, "application", application);
}
