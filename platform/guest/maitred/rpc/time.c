/* SPDX-License-Identifier: BSD-3-Clause */
/* SetTime and SetTimezone. */
#include "platform/guest/maitred/rpc/time.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <linux/rtc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <vm_guest.pb-c.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/guest/maitred/agent/agent.h"
#include "platform/guest/maitred/proc/worker.h"
#include "platform/guest/maitred/rpc/handlers.h"
#include "platform/linux/os/paths.h"

#define ZONE_DIR "/usr/share/zoneinfo"
#define LOCALTIME "/etc/localtime"
#define LOCALTIME_TMP "/etc/.localtime.maitred"
#define TIME_MIN 1735689600 /* 2025-01-01: this code is younger than that */
#define NSEC_PER_SEC 1000000000
#define ZONE_TIMEOUT_MS 10000u
#define ZONE_BYTES_MAX (2ul << 20) /* they have a few thousand */

/* So that the next boot, and a guest kernel without a paravirtual clock, start right. Not
 * every VM has such a clock. */
static void
write_rtc(time_t seconds)
{
    VMT_CLEANUP(vmt_closep) int fd = open("/dev/rtc0", O_RDONLY | O_CLOEXEC);
    struct rtc_time rtc = {0};
    struct tm tm;

    if (fd < 0 || !gmtime_r(&seconds, &tm))
        return;
    rtc.tm_sec = tm.tm_sec;
    rtc.tm_min = tm.tm_min;
    rtc.tm_hour = tm.tm_hour;
    rtc.tm_mday = tm.tm_mday;
    rtc.tm_mon = tm.tm_mon;
    rtc.tm_year = tm.tm_year;
    if (ioctl(fd, RTC_SET_TIME, &rtc) < 0)
        vmt_log_debug("set the hardware clock: %s", strerror(errno));
}

void
time_take_hardware(void)
{
    VMT_CLEANUP(vmt_closep) int fd = open("/dev/rtc0", O_RDONLY | O_CLOEXEC);
    struct rtc_time rtc = {0};
    struct timespec now = {0}, there = {0};
    struct tm tm = {0};

    if (fd < 0 || ioctl(fd, RTC_RD_TIME, &rtc) < 0)
        return;
    tm.tm_sec = rtc.tm_sec;
    tm.tm_min = rtc.tm_min;
    tm.tm_hour = rtc.tm_hour;
    tm.tm_mday = rtc.tm_mday;
    tm.tm_mon = rtc.tm_mon;
    tm.tm_year = rtc.tm_year;
    there.tv_sec = timegm(&tm);
    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (there.tv_sec < TIME_MIN || llabs(there.tv_sec - now.tv_sec) <= 1)
        return;
    vmt_log_notice("the clock was off by %lld s", (long long)(there.tv_sec - now.tv_sec));
    (void)clock_settime(CLOCK_REALTIME, &there);
}

int
time_set(const struct timespec *ts, bool hardware, struct vmt_err *err)
{
    if (ts->tv_sec < TIME_MIN || ts->tv_nsec < 0 || ts->tv_nsec >= NSEC_PER_SEC)
        return vmt_err_setx(err, EINVAL, "%lld s and %ld ns are no present time",
                            (long long)ts->tv_sec, ts->tv_nsec);
    if (clock_settime(CLOCK_REALTIME, ts) < 0)
        return vmt_err_set(err, errno == EINVAL ? EIO : errno, "set the clock");
    if (hardware)
        write_rtc(ts->tv_sec);
    return 0;
}

void
handle_set_time(void *ctx, struct rpc_server_call *call, const ProtobufCMessage *request)
{
    const VmTools__SetTimeRequest *req = (const VmTools__SetTimeRequest *)request;
    struct timespec ts = {0};
    struct vmt_err err;
    int r;

    (void)ctx;
    if (req->time) {
        ts.tv_sec = req->time->seconds;
        ts.tv_nsec = req->time->nanos;
    }
    r = time_set(&ts, true, &err);
    if (r < 0)
        rpc_server_call_fail(call, r == -EINVAL ? RPC_INVALID_ARGUMENT : RPC_INTERNAL,
                             "%s", err.msg);
    else
        rpc_reply_empty(call);
}

/* Is there time zone data under this name, and nowhere else? */
static int
check_zone(const char *name)
{
    struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    VMT_CLEANUP(vmt_closep)
    int dir = open(ZONE_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    VMT_CLEANUP(vmt_closep) int fd = -1;
    struct stat st;
    char magic[4];

    if (dir < 0)
        return -ENOENT;
    fd = (int)syscall(SYS_openat2, dir, name, &how, sizeof(how));
    if (fd < 0)
        return errno == ENOENT ? -ENOENT : -EINVAL;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
        read(fd, magic, sizeof(magic)) != sizeof(magic) ||
        memcmp(magic, "TZif", sizeof(magic)) != 0) /* RFC 8536 section 3.1 */
        return -EINVAL;
    return 0;
}

static int
link_zone(const char *zone)
{
    (void)umount2(LOCALTIME, MNT_DETACH | UMOUNT_NOFOLLOW); /* of the other way */
    (void)unlink(LOCALTIME_TMP);
    if (symlink(zone, LOCALTIME_TMP) < 0 || rename(LOCALTIME_TMP, LOCALTIME) < 0)
        return -errno;
    return 0;
}

/* For programs that do not follow a link to a link. A mount follows one, too, and would
 * cover the data of some zone: so the data itself is below the mount, where it also is
 * right while one mount takes the place of another. */
static int
bind_zone(const char *zone)
{
    VMT_CLEANUP(vmt_freep) char *data = NULL;
    unsigned long len;
    int r = os_read_file(zone, ZONE_BYTES_MAX, &data, &len, NULL);

    if (r < 0)
        return r;
    (void)umount2(LOCALTIME, MNT_DETACH | UMOUNT_NOFOLLOW);
    r = os_write_file_atomic(LOCALTIME, data, len, 0644, NULL);
    if (r < 0)
        return r;
    return mount(zone, LOCALTIME, NULL, MS_BIND, NULL) < 0 ? -errno : 0;
}

int
time_set_zone(const char *name, bool bind, struct vmt_err *err)
{
    char zone[PATH_MAX], line[256];
    int r = check_zone(name);

    if (r == -ENOENT)
        return vmt_err_setx(err, ENOENT, "no such time zone in " ZONE_DIR);
    if (r < 0 || strlen(name) >= sizeof(line) - 1)
        return vmt_err_setx(err, EINVAL, "not the name of a time zone");
    (void)snprintf(zone, sizeof(zone), ZONE_DIR "/%s", name);
    r = bind ? bind_zone(zone) : link_zone(zone);
    if (r < 0)
        return vmt_err_set(err, r == -EINVAL || r == -ENOENT ? EIO : -r,
                           "set " LOCALTIME);
    (void)snprintf(line, sizeof(line), "%s\n", name);
    if (os_write_file_atomic("/etc/timezone", line, strlen(line), 0644, NULL) < 0)
        vmt_log_debug("/etc/timezone was not written");
    return 0;
}

static enum rpc_code
zone_code(int r)
{
    if (r == -ENOENT)
        return RPC_NOT_FOUND;
    if (r == -ETIMEDOUT)
        return RPC_DEADLINE_EXCEEDED;
    return r == -EINVAL ? RPC_INVALID_ARGUMENT : RPC_INTERNAL;
}

/* A worker_fn: the zones are on the root file system. */
static int
do_set_zone(void *arg, struct vmt_err *err)
{
    const struct zone_wish *wish = arg;

    if (!wish->name[0])
        return vmt_err_setx(err, EINVAL, "no name of a time zone");
    return time_set_zone(wish->name, wish->bind, err);
}

static void begin_zone(struct agent *agent);

/* A worker_done_fn. */
static void
on_zone_set(void *arg, int status, const struct vmt_err *err)
{
    struct agent *agent = arg;
    struct rpc_server_call *call = vmt_take_ptr(&agent->zone.call);

    if (status < 0)
        rpc_server_call_fail(call, zone_code(status), "%s", vmt_err_text(err));
    else
        rpc_reply_empty(call);
    if (agent->zone.next.call)
        begin_zone(agent);
}

/* What waits becomes what is done. */
static void
begin_zone(struct agent *agent)
{
    struct zone *zone = &agent->zone;
    const struct worker_spec spec = {.fn = do_set_zone,
                                     .fn_arg = &zone->next,
                                     .timeout_ms = ZONE_TIMEOUT_MS,
                                     .on_done = on_zone_set,
                                     .arg = agent};
    struct vmt_err err;

    zone->call = vmt_take_ptr(&zone->next.call);
    if (worker_start(&agent->procs, &spec, &err) < 0)
        rpc_server_call_fail(vmt_take_ptr(&zone->call), RPC_RESOURCE_EXHAUSTED, "%s",
                             err.msg);
}

/* One at a time; of those that wait the last one counts. */
void
handle_set_timezone(void *ctx, struct rpc_server_call *call,
                    const ProtobufCMessage *request)
{
    const VmTools__SetTimezoneRequest *req = (const VmTools__SetTimezoneRequest *)request;
    struct agent *agent = ctx;
    struct zone_wish *next = &agent->zone.next;

    if (strlen(req->timezone_name) >= sizeof(next->name)) {
        rpc_server_call_fail(call, RPC_INVALID_ARGUMENT, "not the name of a time zone");
        return;
    }
    if (next->call)
        rpc_server_call_fail(next->call, RPC_ABORTED,
                             "a later SetTimezone took its place");
    *next = (struct zone_wish){.call = call, .bind = req->use_bind_mount};
    memcpy(next->name, req->timezone_name, strlen(req->timezone_name));
    if (!agent->zone.call)
        begin_zone(agent);
}
