/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/agent/late.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "platform/guest/maitred/agent/agent.h"
#include "platform/guest/maitred/agent/memory.h"
#include "platform/guest/maitred/agent/watchdog.h"
#include "platform/guest/maitred/init/coldplug.h"
#include "platform/guest/maitred/proc/worker.h"
#include "platform/linux/os/paths.h"

#define COLDPLUG_MS 60000u
#define MACHINE_ID "/etc/machine-id"
#define MACHINE_ID_BYTES 16

static void
start_watchdog(struct agent *agent)
{
    int r = watchdog_new(agent->clock, agent->boot.cmdline.watchdog_s, &agent->watchdog);

    if (r < 0)
        report_degraded(&agent->boot.report, "watchdog: %s", strerror(-r));
}

/* machine-id(5): an image that is shared has none, or an empty file. A host that wants a
 * certain one says so by SetIdentity. */
static int
make_machine_id(struct vmt_err *err)
{
    uint8_t id[MACHINE_ID_BYTES];
    char text[2 * MACHINE_ID_BYTES + 2];
    struct stat st;
    int r;

    if (stat(MACHINE_ID, &st) == 0 && st.st_size > 0)
        return 0;
    if (getrandom(id, sizeof(id), GRND_NONBLOCK) != sizeof(id))
        return 0;                             /* told below */
    id[6] = (uint8_t)((id[6] & 0x0f) | 0x40); /* a random UUID: RFC 9562, 5.4 */
    id[8] = (uint8_t)((id[8] & 0x3f) | 0x80);
    vmt_hex_encode(text, id, sizeof(id));
    text[2 * sizeof(id)] = '\n';
    r = os_write_file_atomic(MACHINE_ID, text, 2 * sizeof(id) + 1, 0444, err);
    return r == -EROFS ? 0 : r;
}

/* A worker_fn: the root may be on a disk that takes its time. */
static int
do_rest(void *arg, struct vmt_err *err)
{
    const bool *coldplug = arg;
    int r = make_machine_id(err);

    if (*coldplug)
        (void)coldplug_run(NULL, NULL); /* does not fail: see there */
    return r;
}

static void
on_rest_done(void *arg, int status, const struct vmt_err *err)
{
    struct agent *agent = arg;

    if (status < 0)
        report_degraded(&agent->boot.report, "%s", vmt_err_text(err));
    start_watchdog(agent);
    report_phase(&agent->boot.report, "devices");
}

static void
start_rest(struct agent *agent)
{
    const struct worker_spec spec = {
        .fn = do_rest,
        .fn_arg = &agent->boot.cmdline.coldplug,
        .timeout_ms = COLDPLUG_MS,
        .on_done = on_rest_done,
        .arg = agent,
    };
    struct vmt_err err;
    int r = worker_start(&agent->procs, &spec, &err);

    if (r < 0)
        on_rest_done(agent, r, &err);
}

static void
check_entropy(struct agent *agent)
{
    uint8_t byte;

    if (getrandom(&byte, 1, GRND_NONBLOCK) < 0 && errno == EAGAIN)
        report_degraded(&agent->boot.report,
                        "the kernel has no entropy yet: give the VM a virtio-rng device");
}

void
late_start(struct agent *agent)
{
    if (!agent->is_init || agent->is_late)
        return;
    agent->is_late = true;
    memory_start(agent);
    check_entropy(agent);
    start_rest(agent);
}
