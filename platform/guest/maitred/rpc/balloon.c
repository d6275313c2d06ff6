/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/rpc/balloon.c - UpdateStorageBalloon.
 * ext4 can be told to keep space to itself, in memory only: a guest that ends has its
 * space again. btrfs, xfs and f2fs get a file that takes the space; others a refusal.
 * Sources: spec/maitred.md 10; Documentation/ABI/testing/sysfs-fs-ext4 of Linux 6.1,
 * reserved_clusters. */
#include "platform/guest/maitred/rpc/balloon.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <vm_guest.pb-c.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/guest/maitred/agent/agent.h"
#include "platform/guest/maitred/proc/worker.h"
#include "platform/guest/maitred/rpc/handlers.h"
#include "platform/guest/maitred/rpc/look.h"
#include "platform/guest/maitred/rpc/stateful.h"

uint64_t
balloon_clusters(const struct balloon_space *space, int64_t host_free, bool empty)
{
    uint64_t held = space->value > space->base ? space->value - space->base : 0;
    uint64_t wanted =
        host_free > BALLOON_HOST_KEEPS ? (uint64_t)(host_free - BALLOON_HOST_KEEPS) : 0;

    if (empty || space->block_size == 0)
        return space->base;
    wanted /= space->block_size;
    if (held + space->available <= wanted)
        return space->base;
    return space->base + held + space->available - wanted;
}

/* What it kept to itself before there was a balloon. Another value than ours: it was
 * mounted anew, or an agent before us held a balloon that is larger than any base. */
static uint64_t
base_of(struct balloon_last *last, dev_t dev, uint64_t value)
{
    if (dev != last->dev || value != last->set)
        last->base = value < BALLOON_BASE_CLUSTERS ? value : BALLOON_BASE_CLUSTERS;
    last->dev = dev;
    return last->base;
}

/* Path of the knob of the file system on dev: the last part of the device's name, to
 * which /sys/dev/block links. Returns 0 or -errno. */
static int
find_knob(dev_t dev, char *path, size_t cap)
{
    char link[64], target[256];
    const char *name;
    ssize_t n;

    (void)snprintf(link, sizeof(link), "/sys/dev/block/%u:%u", major(dev), minor(dev));
    n = readlink(link, target, sizeof(target) - 1);
    if (n < 0)
        return -errno;
    target[n] = '\0';
    name = strrchr(target, '/');
    if ((size_t)snprintf(path, cap, "/sys/fs/ext4/%s/reserved_clusters",
                         name ? name + 1 : target) >= cap)
        return -ENAMETOOLONG;
    return 0;
}

static int
adjust(struct balloon_order *order, const char *path, dev_t dev, const struct statfs *fs)
{
    VMT_CLEANUP(vmt_closep) int fd = open(path, O_RDWR | O_CLOEXEC);
    struct balloon_space space = {.available = (uint64_t)fs->f_bavail,
                                  .block_size = (uint64_t)fs->f_bsize};
    char text[32] = "";
    uint64_t clusters;

    if (fd < 0 || pread(fd, text, sizeof(text) - 1, 0) <= 0)
        return -errno;
    space.value = strtoull(text, NULL, 10);
    space.base = base_of(&order->last, dev, space.value);
    clusters = balloon_clusters(&space, order->host_free, order->empty);
    order->last.set = clusters;
    if (clusters == space.value)
        return 0;
    (void)snprintf(text, sizeof(text), "%" PRIu64, clusters);
    return pwrite(fd, text, strlen(text), 0) < 0 ? -errno : 0;
}

static int
update_ext4(struct balloon_order *order, const struct statfs *fs, dev_t dev)
{
    char path[320];
    int r = find_knob(dev, path, sizeof(path));

    return r < 0 ? r : adjust(order, path, dev, fs);
}

static int
update_file(struct balloon_order *order, const struct statfs *fs, dev_t dev)
{
    (void)fs;
    (void)dev;
    return balloon_file_update(STATEFUL_DIR "/" BALLOON_FILE, order->host_free,
                               order->empty);
}

static const struct {
    uint32_t magic;
    int (*fn)(struct balloon_order *order, const struct statfs *fs, dev_t dev);
} types[] = {
    {EXT4_SUPER_MAGIC, update_ext4},
    {BTRFS_SUPER_MAGIC, update_file},
    {XFS_SUPER_MAGIC, update_file},
    {F2FS_SUPER_MAGIC, update_file},
};

static int
update(struct balloon_order *order)
{
    struct stat own, above;
    struct statfs fs;

    if (statfs(STATEFUL_DIR, &fs) < 0 || stat(STATEFUL_DIR, &own) < 0 ||
        stat(STATEFUL_DIR "/..", &above) < 0)
        return -errno;
    if (own.st_dev == above.st_dev)
        return -ENODEV; /* the root is not ours to fill */
    for (size_t i = 0; i < VMT_ARRAY_SIZE(types); i++)
        if ((uint32_t)fs.f_type == types[i].magic)
            return types[i].fn(order, &fs, own.st_dev);
    return -EOPNOTSUPP;
}

/* A worker_fn. */
static int
do_update(void *arg, struct vmt_err *err)
{
    int r = update(arg);

    return r < 0 ? vmt_err_set(err, -r, "set the storage balloon") : 0;
}

static void
answer(struct rpc_server_call *call, bool success)
{
    VmTools__UpdateStorageBalloonResponse reply =
        VM_TOOLS__UPDATE_STORAGE_BALLOON_RESPONSE__INIT;

    if (!success)
        reply.result = VM_TOOLS__UPDATE_STORAGE_BALLOON_RESULT__BALLOON_INFLATE_FAILED;
    rpc_server_call_reply(call, &reply.base);
}

static void begin(struct agent *agent);

/* A worker_done_fn. */
static void
on_updated(void *arg, int status, const struct vmt_err *err)
{
    struct agent *agent = arg;
    struct balloon *b = &agent->balloon;

    if (status < 0)
        vmt_log_warning("%s", vmt_err_text(err));
    answer(vmt_take_ptr(&b->call), status == 0);
    if (b->next.call)
        begin(agent);
}

/* What waits becomes what is done. */
static void
begin(struct agent *agent)
{
    struct balloon *b = &agent->balloon;
    struct worker_spec spec = {.fn = do_update,
                               .fn_arg = &b->order,
                               .timeout_ms = LOOK_TIMEOUT_MS,
                               .on_done = on_updated,
                               .arg = agent,
                               .result = &b->order,
                               .result_bytes = sizeof(b->order)};
    struct vmt_err err;

    b->order.host_free = b->next.host_free;
    b->order.empty = b->next.empty;
    b->call = vmt_take_ptr(&b->next.call);
    if (worker_start(&agent->procs, &spec, &err) == 0)
        return;
    vmt_log_warning("set the storage balloon: %s", err.msg);
    answer(vmt_take_ptr(&b->call), false);
}

/* One at a time; of those that wait only the last one counts. */
void
handle_update_storage_balloon(void *ctx, struct rpc_server_call *call,
                              const ProtobufCMessage *message)
{
    const VmTools__UpdateStorageBalloonRequest *request =
        (const VmTools__UpdateStorageBalloonRequest *)message;
    struct agent *agent = ctx;
    struct balloon *b = &agent->balloon;

    if (b->next.call)
        answer(b->next.call, false);
    b->next.call = call;
    b->next.host_free = request->free_space_bytes;
    b->next.empty = (int)request->state == 0;
    if (!b->call)
        begin(agent);
}
