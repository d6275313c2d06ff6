/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/agent/identity.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/guest/maitred/init/file.h"
#include "platform/guest/maitred/rpc/netlink.h"
#include "platform/guest/maitred/rpc/time.h"
#include "platform/linux/os/dir.h"
#include "platform/linux/os/paths.h"

#define MACHINE_ID_FILE "/etc/machine-id"
#define MACHINE_ID_RUN "/run/machine-id"
#define HOSTNAME_FILE "/etc/hostname"
#define NS_PER_S 1000000000

static bool
is_set(const char *text)
{
    return text && text[0];
}

static bool
is_machine_id(const char *text)
{
    return strlen(text) == IDENTITY_MACHINE_ID_LEN &&
           strspn(text, "0123456789abcdef") == IDENTITY_MACHINE_ID_LEN &&
           strspn(text, "0") < IDENTITY_MACHINE_ID_LEN;
}

/* Letters, digits, '-' and '.', the last two neither first nor last: hostname(7). */
static bool
is_hostname(const char *text)
{
    size_t len = strlen(text);

    if (len > IDENTITY_HOSTNAME_MAX)
        return false;
    for (size_t i = 0; i < len; i++) {
        bool inside = i > 0 && i + 1 < len;

        if (!isalnum((unsigned char)text[i]) &&
            !(inside && (text[i] == '-' || text[i] == '.')))
            return false;
    }
    return true;
}

int
identity_check(const struct identity *id, struct vmt_err *err)
{
    if (id->wall_time_ns < 0)
        return vmt_err_setx(err, EINVAL, "a time before 1970");
    if (id->nentropy > 0 &&
        (id->nentropy < IDENTITY_ENTROPY_MIN || id->nentropy > IDENTITY_ENTROPY_MAX))
        return vmt_err_setx(err, EINVAL, "entropy has %zu bytes, not %u to %u",
                            id->nentropy, IDENTITY_ENTROPY_MIN, IDENTITY_ENTROPY_MAX);
    if (is_set(id->machine_id) && !is_machine_id(id->machine_id))
        return vmt_err_setx(err, EINVAL,
                            "a machine id has 32 lower case hexadecimal digits");
    if (is_set(id->hostname) && !is_hostname(id->hostname))
        return vmt_err_setx(err, EINVAL, "not the name of a host");
    if (id->nmac > 0 && (id->nmac != IDENTITY_MAC_LEN || (id->mac[0] & 1)))
        return vmt_err_setx(err, EINVAL, "not the address of one interface");
    return 0;
}

/* Source: random(4), RNDADDENTROPY and RNDRESEEDCRNG; the last one takes effect at once,
 * not with the next of the kernel's own rounds. */
static int
add_entropy(const struct identity *id, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int fd = open("/dev/urandom", O_WRONLY | O_CLOEXEC);
    union {
        struct rand_pool_info info;
        uint8_t bytes[sizeof(struct rand_pool_info) + IDENTITY_ENTROPY_MAX];
    } pool = {
        .info = {.entropy_count = (int)id->nentropy * 8, .buf_size = (int)id->nentropy}};

    memcpy(pool.bytes + offsetof(struct rand_pool_info, buf), id->entropy, id->nentropy);
    if (fd < 0 || ioctl(fd, RNDADDENTROPY, &pool) < 0 || ioctl(fd, RNDRESEEDCRNG) < 0)
        return vmt_err_set(err, errno, "seed the random number generator");
    return 0;
}

/* A root that cannot be written gets the file as systemd does it: mounted over. */
static int
set_machine_id(const char *machine_id, struct vmt_err *err)
{
    char line[IDENTITY_MACHINE_ID_LEN + 2];
    int len = snprintf(line, sizeof(line), "%s\n", machine_id);
    int r = os_write_file_lazy(MACHINE_ID_FILE, line, (unsigned long)len, 0444, NULL);

    if (r == 0)
        return 0;
    r = os_write_file_lazy(MACHINE_ID_RUN, line, (unsigned long)len, 0444, err);
    if (r < 0)
        return r;
    (void)umount2(MACHINE_ID_FILE, MNT_DETACH | UMOUNT_NOFOLLOW);
    if (mount(MACHINE_ID_RUN, MACHINE_ID_FILE, NULL, MS_BIND, NULL) < 0)
        return vmt_err_set(err, errno, "set " MACHINE_ID_FILE);
    return 0;
}

static int
set_hostname(const char *hostname, struct vmt_err *err)
{
    char line[IDENTITY_HOSTNAME_MAX + 2];
    int len = snprintf(line, sizeof(line), "%s\n", hostname);

    if (sethostname(hostname, strlen(hostname)) < 0)
        return vmt_err_set(err, errno, "set the host name");
    if (os_write_file_lazy(HOSTNAME_FILE, line, (unsigned long)len, 0644, NULL) < 0)
        vmt_log_debug(HOSTNAME_FILE " was not written");
    return 0;
}

static int
set_mac(const uint8_t *mac, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int fd = -1;
    char name[NETLINK_NAME_MAX];
    int r = netlink_open(&fd, err), ifindex;

    if (r < 0)
        return r;
    ifindex = netlink_find_ethernet(fd, name, err);
    return ifindex < 0 ? ifindex : netlink_set_mac(fd, ifindex, mac, err);
}

int
identity_apply(const struct identity *id, struct vmt_err *err)
{
    const struct timespec now = {.tv_sec = id->wall_time_ns / NS_PER_S,
                                 .tv_nsec = id->wall_time_ns % NS_PER_S};
    int r = 0;

    if (id->wall_time_ns > 0)           /* first: it runs on while the rest is done */
        r = time_set(&now, false, err); /* the hardware clock ran on at the host */
    if (r == 0 && id->nentropy > 0)
        r = add_entropy(id, err);
    if (r == 0 && is_set(id->machine_id))
        r = set_machine_id(id->machine_id, err);
    if (r == 0 && is_set(id->hostname))
        r = set_hostname(id->hostname, err);
    if (r == 0 && id->nmac > 0)
        r = set_mac(id->mac, err);
    if (r == 0 && is_set(id->timezone))
        r = time_set_zone(id->timezone, false, err);
    return r;
}

/* Source: Linux, Documentation/ABI/stable/sysfs-block, serial. */
bool
identity_has_disk(const char *serial)
{
    VMT_CLEANUP(os_closedirp) DIR *dir = opendir("/sys/block");
    struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        VMT_CLEANUP(vmt_freep) char *text = NULL;
        char path[300];

        (void)snprintf(path, sizeof(path), "/sys/block/%s/serial", entry->d_name);
        if (file_read(path, 256, &text) < 0)
            continue;
        text[strcspn(text, "\n")] = '\0';
        if (strcmp(text, serial) == 0)
            return true;
    }
    return false;
}
