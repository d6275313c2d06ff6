/* SPDX-License-Identifier: BSD-3-Clause */
/* The small parsers of PID 1: kernel command line, mountinfo, device events,
 * startup jobs, sysctl.d, account files, modules.alias. The first byte says which; each
 * gets a block of exactly its size. */
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "platform/guest/maitred/agent/job.h"
#include "platform/guest/maitred/agent/mountinfo.h"
#include "platform/guest/maitred/init/cmdline.h"
#include "platform/guest/maitred/init/coldplug.h"
#include "platform/guest/maitred/init/sysctl.h"
#include "platform/guest/maitred/init/uevent.h"
#include "platform/guest/maitred/proc/extra.h"
#include "platform/guest/maitred/proc/login.h"
#include "tests/fuzz/fuzz.h"

static void
try_cmdline(char *text, size_t len)
{
    struct cmdline c;

    (void)len;
    cmdline_parse(text, &c);
    if (strlen(c.root) >= CMDLINE_VALUE_MAX)
        abort();
    cmdline_done(&c);
}

static void
try_mountinfo(char *text, size_t len)
{
    struct mountinfo m;

    if (mountinfo_parse(text, &m) &&
        (strlen(m.target) > len || strlen(m.type) > len || strlen(m.source) > len))
        abort();
}

static void
try_uevent(char *text, size_t len)
{
    const char *value = uevent_find(text, len, "DEVNAME");

    if (value && (value < text || value > text + len))
        abort();
}

/* A job that is taken makes sense, and its control group is a file name. */
static void
try_job(char *text, size_t len)
{
    char name[GROUP_NAME_MAX];
    struct job job;

    if (job_parse(text, len, &job, NULL) < 0)
        return;
    if (job.argv.n == 0 || !job.argv.v[0][0] || (job.respawn && job.wait_for_exit) ||
        (job.respawn && job.poweroff_on_exit) || job.extra->nrlimits > PROC_RLIMITS_MAX)
        abort();
    group_name(name, "job-", job.argv.v[0]);
    if (strchr(name, '/'))
        abort();
    job_done(&job);
}

static void
try_sysctl(char *text, size_t len)
{
    struct sysctl_line knob;

    if (sysctl_parse(text, &knob) &&
        (knob.value < text || knob.value > text + len ||
         strncmp(knob.path, "/proc/sys/", 10) != 0 || strstr(knob.path, "..")))
        abort();
}

static void
try_login(char *text, size_t len)
{
    struct login login;

    (void)len;
    if (login_parse(text, text, "user", "", &login, NULL) == 0 &&
        login.ngroups > LOGIN_GROUPS_MAX)
        abort();
    (void)login_parse(text, text, "0", "7", &login, NULL);
}

static void
try_alias(char *text, size_t len)
{
    char name[COLDPLUG_NAME_MAX];

    if (coldplug_match(text, len, "pci:v00008086d000025ABsv", name) == 0 &&
        strlen(name) >= sizeof(name))
        abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const tries[])(char *text, size_t len) = {
        try_cmdline, try_mountinfo, try_uevent, try_job,
        try_sysctl,  try_login,     try_alias};
    char *text;

    if (size == 0)
        return 0;
    text = calloc(size, 1); /* the text without the first byte, and a NUL */
    if (!text)
        return 0;
    memcpy(text, data + 1, size - 1);
    tries[data[0] % VMT_ARRAY_SIZE(tries)](text, size - 1);
    free(text);
    return 0;
}
