/* SPDX-License-Identifier: BSD-3-Clause */
/* SetTime and SetTimezone. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <linux/rtc.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <vm_guest.pb-c.h>

#include "core/base/cleanup.h"
#include "core/base/log.h"
#include "platform/guest/maitred/rpc/handlers.h"
#include "platform/linux/os/paths.h"

#define ZONE_DIR "/usr/share/zoneinfo"
#define LOCALTIME "/etc/localtime"
#define LOCALTIME_TMP "/etc/.localtime.maitred"
#define TIME_MIN 1735689600 /* 2025-01-01: this code is younger than that */
#define NSEC_PER_SEC 1000000000

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
handle_set_time(void *ctx, struct rpc_server_call *call, const ProtobufCMessage *request)
{
    const VmTools__SetTimeRequest *req = (const VmTools__SetTimeRequest *)request;
    struct timespec ts = {0};

    (void)ctx;
    if (req->time) {
        ts.tv_sec = req->time->seconds;
        ts.tv_nsec = req->time->nanos;
    }
    if (ts.tv_sec < TIME_MIN || ts.tv_nsec < 0 || ts.tv_nsec >= NSEC_PER_SEC) {
        rpc_server_call_fail(call, RPC_INVALID_ARGUMENT,
                             "%lld s and %ld ns are no present time",
                             (long long)ts.tv_sec, ts.tv_nsec);
        return;
    }
    if (clock_settime(CLOCK_REALTIME, &ts) < 0) {
        rpc_server_call_fail(call, RPC_INTERNAL, "set the clock: %s", strerror(errno));
        return;
    }
    write_rtc(ts.tv_sec);
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
    (void)unlink(LOCALTIME_TMP);
    if (symlink(zone, LOCALTIME_TMP) < 0 || rename(LOCALTIME_TMP, LOCALTIME) < 0)
        return -errno;
    return 0;
}

/* For programs that do not follow a link to a link. */
static int
bind_zone(const char *zone)
{
    VMT_CLEANUP(vmt_closep)
    int fd = open(LOCALTIME, O_RDONLY | O_CREAT | O_CLOEXEC, 0644);

    if (fd < 0)
        return -errno; /* something must be there to mount on */
    (void)umount2(LOCALTIME, MNT_DETACH | UMOUNT_NOFOLLOW);
    return mount(zone, LOCALTIME, NULL, MS_BIND, NULL) < 0 ? -errno : 0;
}

void
handle_set_timezone(void *ctx, struct rpc_server_call *call,
                    const ProtobufCMessage *request)
{
    const VmTools__SetTimezoneRequest *req = (const VmTools__SetTimezoneRequest *)request;
    char zone[PATH_MAX], line[256];
    int r = check_zone(req->timezone_name);

    (void)ctx;
    if (r == -ENOENT) {
        rpc_server_call_fail(call,
                             req->timezone_name[0] ? RPC_NOT_FOUND : RPC_INVALID_ARGUMENT,
                             "no such time zone in " ZONE_DIR);
        return;
    }
    if (r < 0 || strlen(req->timezone_name) >= sizeof(line) - 1) {
        rpc_server_call_fail(call, RPC_INVALID_ARGUMENT, "not the name of a time zone");
        return;
    }
    (void)snprintf(zone, sizeof(zone), ZONE_DIR "/%s", req->timezone_name);
    r = req->use_bind_mount ? bind_zone(zone) : link_zone(zone);
    if (r < 0) {
        rpc_server_call_fail(call, RPC_INTERNAL, "set " LOCALTIME ": %s", strerror(-r));
        return;
    }
    (void)snprintf(line, sizeof(line), "%s\n", req->timezone_name);
    if (os_write_file_atomic("/etc/timezone", line, strlen(line), 0644, NULL) < 0)
        vmt_log_debug("/etc/timezone was not written");
    rpc_reply_empty(call);
}
