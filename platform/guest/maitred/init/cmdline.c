/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/init/cmdline.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/limits.h"
#include "core/base/str.h"

/* A job may take as long as this before the next one starts without it; the host gives a
 * guest 60 s to report in. */
#define JOB_TIMEOUT_S 20
#define ROOT_TIMEOUT_S 10
/* Guest time stands still while the VM is paused, so this is only what the host needs to
 * take the link away, and to give it back and thaw us. */
#define THAW_TIMEOUT_S 30
#define TIMEOUT_S_MAX 3600
/* Longer than any step of ours takes on a host that has a bad day. */
#define WATCHDOG_S 60
#define CRASH_COLLECTOR "/usr/lib/vm_tools/crash_collector"

static bool
is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* End of the option that starts at at; *ret_equals is its first '=' or NULL. */
static char *
option_end(char *at, char **ret_equals)
{
    bool quoted = false;

    *ret_equals = NULL;
    for (; *at && (quoted || !is_space(*at)); at++) {
        if (*at == '"')
            quoted = !quoted;
        else if (*at == '=' && !*ret_equals)
            *ret_equals = at;
    }
    return at;
}

/* Remove the quote before start and the one before the NUL at end. */
static char *
unquote(char *start, char *end)
{
    if (*start != '"')
        return start;
    if (end > start + 1 && end[-1] == '"')
        end[-1] = '\0';
    return start + 1;
}

void
cmdline_each(char *text, cmdline_fn *fn, void *arg)
{
    while (true) {
        char *key, *equals, *end;
        bool last;

        while (is_space(*text))
            text++;
        if (!*text)
            return;
        end = option_end(text, &equals);
        last = !*end;
        *end = '\0';
        if (strcmp(text, "--") == 0)
            return;
        key = unquote(text, end);
        if (equals) {
            *equals = '\0';
            fn(arg, key, unquote(equals + 1, end));
        } else {
            fn(arg, key, NULL);
        }
        if (last)
            return;
        text = end + 1;
    }
}

static int
set_flag(void *member, const char *value)
{
    bool *flag = member;

    if (value && strcmp(value, "1") != 0 && strcmp(value, "0") != 0)
        return -EINVAL;
    *flag = !value || *value == '1';
    return 0;
}

static int
set_number(void *member, const char *value, uint64_t max)
{
    uint64_t v;

    if (!value || vmt_parse_u64(value, max, &v) < 0 || v == 0)
        return -EINVAL;
    *(uint32_t *)member = (uint32_t)v;
    return 0;
}

static int
set_port(void *member, const char *value)
{
    return set_number(member, value, UINT32_MAX - 1); /* UINT32_MAX is VMADDR_PORT_ANY */
}

static int
set_seconds(void *member, const char *value)
{
    return set_number(member, value, TIMEOUT_S_MAX);
}

static int
set_text(void *member, const char *value)
{
    if (!value || strlen(value) >= CMDLINE_VALUE_MAX)
        return -EINVAL;
    (void)snprintf(member, CMDLINE_VALUE_MAX, "%s", value);
    return 0;
}

static int
set_poweroff(void *member, const char *value)
{
    static const char *const names[] = {
        [CMDLINE_POWEROFF_AUTO] = "auto",
        [CMDLINE_POWEROFF_OFF] = "off",
        [CMDLINE_POWEROFF_REBOOT] = "reboot",
        [CMDLINE_POWEROFF_HALT] = "halt",
    };

    for (unsigned i = 0; value && i < VMT_ARRAY_SIZE(names); i++) {
        if (strcmp(value, names[i]) == 0) {
            *(enum cmdline_poweroff *)member = (enum cmdline_poweroff)i;
            return 0;
        }
    }
    return -EINVAL;
}

static int
set_overlay(void *member, const char *value)
{
    if (!value || (strcmp(value, "tmpfs") != 0 && strcmp(value, "none") != 0))
        return -EINVAL;
    *(bool *)member = *value == 't';
    return 0;
}

static int
set_true(void *member, const char *value)
{
    if (!value)
        *(bool *)member = true;
    return 0;
}

static int
set_false(void *member, const char *value)
{
    if (!value)
        *(bool *)member = false;
    return 0;
}

/* maitred.listen_port is, in spite of its name, the port of the host in the original;
 * maitred.host_port is the same under its right name. */
static const struct {
    const char *key;
    int (*set)(void *member, const char *value);
    size_t offset;
} options[] = {
    {"maitred.probe", set_flag, offsetof(struct cmdline, probe)},
    {"maitred.template", set_flag, offsetof(struct cmdline, template)},
    {"maitred.no_startup_processes", set_flag,
     offsetof(struct cmdline, no_startup_processes)},
    {"maitred.provision_stateful", set_flag,
     offsetof(struct cmdline, provision_stateful)},
    {"maitred.shell", set_flag, offsetof(struct cmdline, shell)},
    {"maitred.debug", set_flag, offsetof(struct cmdline, debug)},
    {"maitred.listen_port", set_port, offsetof(struct cmdline, host_port)},
    {"maitred.host_port", set_port, offsetof(struct cmdline, host_port)},
    {"maitred.port", set_port, offsetof(struct cmdline, port)},
    {"maitred.skip_jobs", set_text, offsetof(struct cmdline, skip_jobs)},
    {"maitred.job_timeout", set_seconds, offsetof(struct cmdline, job_timeout_s)},
    {"maitred.root_timeout", set_seconds, offsetof(struct cmdline, root_timeout_s)},
    {"maitred.thaw_timeout", set_seconds, offsetof(struct cmdline, thaw_timeout_s)},
    {"maitred.watchdog", set_seconds, offsetof(struct cmdline, watchdog_s)},
    {"maitred.fault", set_poweroff, offsetof(struct cmdline, fault)},
    {"maitred.coldplug", set_flag, offsetof(struct cmdline, coldplug)},
    {"maitred.modules", set_text, offsetof(struct cmdline, modules)},
    {"maitred.crash_collector", set_text, offsetof(struct cmdline, crash_collector)},
    {"maitred.poweroff", set_poweroff, offsetof(struct cmdline, poweroff)},
    {"maitred.overlay", set_overlay, offsetof(struct cmdline, root_overlay)},
    {"root", set_text, offsetof(struct cmdline, root)},
    {"rootfstype", set_text, offsetof(struct cmdline, rootfstype)},
    {"rootflags", set_text, offsetof(struct cmdline, rootflags)},
    {"rw", set_true, offsetof(struct cmdline, root_rw)},
    {"ro", set_false, offsetof(struct cmdline, root_rw)},
};

static void
on_option(void *arg, const char *key, const char *value)
{
    struct cmdline *c = arg;

    for (size_t i = 0; i < VMT_ARRAY_SIZE(options); i++) {
        if (strcmp(key, options[i].key) != 0)
            continue;
        if (options[i].set((uint8_t *)c + options[i].offset, value) < 0)
            vmt_argv_addf(&c->refused, "%s=%s", key, value ? value : "");
        return;
    }
    if (vmt_str_has_prefix(key, "maitred."))
        vmt_argv_add(&c->refused, key);
}

void
cmdline_parse(char *text, struct cmdline *ret)
{
    *ret = (struct cmdline){
        .host_port = VMT_PORT_STARTUP_LISTENER,
        .port = VMT_PORT_MAITRED,
        .job_timeout_s = JOB_TIMEOUT_S,
        .root_timeout_s = ROOT_TIMEOUT_S,
        .thaw_timeout_s = THAW_TIMEOUT_S,
        .watchdog_s = WATCHDOG_S,
        .fault = CMDLINE_POWEROFF_REBOOT,
        .coldplug = true,
        .crash_collector = CRASH_COLLECTOR,
        .root_overlay = true,
    };
    cmdline_each(text, on_option, ret);
}

void
cmdline_done(struct cmdline *cmdline)
{
    vmt_argv_done(&cmdline->refused);
}
