/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vmc/vm_end.h"

#include <stdio.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "platform/linux/vmc/vmc.h"
#include "vmt_life.pb-c.h"

#define TEXT_MAX 256

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

/* " with its program server: status 3", or nothing. Returns buf. */
static const char *
application_words(const Vmt__ApplicationEnd *a, char *buf, size_t cap)
{
    char program[128];

    *buf = '\0';
    if (a)
        (void)snprintf(buf, cap, " with its program %s: %s %d",
                       vmc_escape(program, sizeof(program), a->program),
                       a->signal ? "signal" : "status",
                       a->signal ? (int)a->signal : (int)a->exit_code);
    return buf;
}

const char *
vm_end_words(const Vmt__VmEnd *end, char *buf, size_t cap)
{
    char cause[32], text[TEXT_MAX], how[32] = "", again[64] = "", program[192];

    if (end->signal)
        (void)snprintf(how, sizeof(how), " (signal %d)", end->signal);
    else if (end->exit_code)
        (void)snprintf(how, sizeof(how), " (exit code %d)", end->exit_code);
    if (end->will_restart)
        (void)snprintf(again, sizeof(again), "; it is started again in %u s",
                       (end->restart_in_ms + 999) / 1000);
    (void)snprintf(buf, cap, "%s after %llu s%s%s%s%s%s",
                   vmc_escape(cause, sizeof(cause), end->cause),
                   (unsigned long long)(end->uptime_ms / 1000), how,
                   application_words(end->application, program, sizeof(program)),
                   *end->text ? ": " : "", vmc_escape(text, sizeof(text), end->text),
                   again);
    return buf;
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
