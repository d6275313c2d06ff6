/* SPDX-License-Identifier: BSD-3-Clause */
/* hypervisor/qemu/accel_cache.c - verdicts in <cache_dir>/accel.json: an array of objects
 * {key, accel, cpu, reason, wall}, the newest last. Whatever is wrong with the file, it
 * only costs a new probe. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "hypervisor/qemu/accel_internal.h"

/* The array in dir, or a new empty one; NULL: no memory. */
static json_t *
load(const char *dir)
{
    VMT_CLEANUP(vmt_freep) char *path = NULL;
    json_t *all;

    if (asprintf(&path, "%s/accel.json", dir) < 0) {
        path = NULL;
        return NULL;
    }
    all = json_load_file(path, 0, NULL);
    if (json_is_array(all))
        return all;
    json_decref(all);
    return json_array();
}

/* Index of the entry for key, or -1. */
static ssize_t
find(const json_t *all, const json_t *key)
{
    size_t i;
    const json_t *entry;

    json_array_foreach(all, i, entry) if (json_equal(json_object_get(entry, "key"),
                                                     key)) return (ssize_t)i;
    return -1;
}

static bool
copy_text(const json_t *entry, const char *name, char *buf, size_t cap)
{
    const char *text = json_string_value(json_object_get(entry, name));

    return text && (size_t)snprintf(buf, cap, "%s", text) < cap;
}

static bool
decode(const json_t *entry, int64_t now_sec, struct accel_verdict *ret_verdict)
{
    int64_t wall = json_integer_value(json_object_get(entry, "wall"));
    struct accel_verdict v = {0};
    char accel[8];

    if (!copy_text(entry, "accel", accel, sizeof(accel)) ||
        !copy_text(entry, "cpu", v.cpu, sizeof(v.cpu)) ||
        !copy_text(entry, "reason", v.reason, sizeof(v.reason)))
        return false;
    v.accel = strcmp(accel, "kvm") == 0 ? HYPERVISOR_ACCEL_KVM : HYPERVISOR_ACCEL_TCG;
    /* A date in the future is a clock that was set back: not a day, but for ever. */
    if (v.accel == HYPERVISOR_ACCEL_TCG &&
        (wall > now_sec || now_sec - wall >= ACCEL_NEGATIVE_SECONDS))
        return false;
    *ret_verdict = v;
    return true;
}

bool
accel_cache_find(const char *dir, const json_t *key, int64_t now_sec,
                 struct accel_verdict *ret_verdict)
{
    VMT_CLEANUP(json_decrefp) json_t *all = load(dir);
    ssize_t at = all ? find(all, key) : -1;

    return at >= 0 && decode(json_array_get(all, (size_t)at), now_sec, ret_verdict);
}

/* Write all beside the file and put it in its place: a reader sees the old or the new. */
static int
save(const char *dir, const json_t *all)
{
    VMT_CLEANUP(vmt_freep) char *path = NULL;
    VMT_CLEANUP(vmt_freep) char *temporary = NULL;
    VMT_CLEANUP(vmt_closep) int fd = -1;

    if (asprintf(&path, "%s/accel.json", dir) < 0) {
        path = NULL;
        return -ENOMEM;
    }
    if (asprintf(&temporary, "%s/accel.json.XXXXXX", dir) < 0) {
        temporary = NULL;
        return -ENOMEM;
    }
    fd = mkstemp(temporary);
    if (fd < 0)
        return -errno;
    if (json_dumpfd(all, fd, JSON_INDENT(2)) < 0 || rename(temporary, path) < 0) {
        int r = errno ? -errno : -EIO;

        (void)unlink(temporary);
        return r;
    }
    return 0;
}

int
accel_cache_store(const char *dir, const json_t *key, int64_t now_sec,
                  const struct accel_verdict *verdict)
{
    VMT_CLEANUP(json_decrefp) json_t *all = NULL;
    ssize_t at;

    if (mkdir(dir, 0700) < 0 && errno != EEXIST)
        return -errno;
    all = load(dir);
    if (!all)
        return -ENOMEM;
    at = find(all, key);
    if (at >= 0)
        json_array_remove(all, (size_t)at);
    while (json_array_size(all) >= ACCEL_CACHE_MAX)
        json_array_remove(all, 0);
    if (json_array_append_new(
            all, json_pack("{s:O, s:s, s:s, s:s, s:I}", "key", key, "accel",
                           verdict->accel == HYPERVISOR_ACCEL_KVM ? "kvm" : "tcg", "cpu",
                           verdict->cpu, "reason", verdict->reason, "wall",
                           (json_int_t)now_sec)) < 0)
        return -ENOMEM;
    return save(dir, all);
}
