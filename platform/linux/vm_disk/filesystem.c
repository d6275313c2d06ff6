/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vm_disk/filesystem.h"

#include <blkid/blkid.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/argv.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/vm_disk/jail.h"
#include "platform/linux/vm_disk/options.h"
#include "platform/linux/vm_disk/tool.h"

#define IMAGE "/proc/self/fd/3" /* as a tool has it */
/* e2fsck: 1 is "errors were corrected". */
#define FSCK_OK_MAX 1

/* The letters of options that can do no more than shape the file system. */
static const struct filesystem_kind {
    const char *name; /* as libblkid calls it */
    const char *letters;
    const char *argv[8]; /* before those options */
    const char *usual[4];
} kinds[] = {
    [FILE_SYSTEM_EXT4] = {"ext4",
                          "bCEgGiILmNOTU",
                          {"mke2fs", "-t", "ext4", "-F", "-q"},
                          {"-Elazy_itable_init=0,lazy_journal_init=0,discard",
                           "-Ocasefold", "-i32768"}},
    [FILE_SYSTEM_BTRFS] = {"btrfs", "LUOnsdm", {"mkfs.btrfs", "-q", "-f"}, {NULL}},
};
#define TUNE_LETTERS "cCeEgiLmoOruU"

/* "-Xvalue": the value must be in the same argument, or the next one would be it. */
static int
option_check(const char *option, const char *letters, struct vmt_err *err)
{
    if (option[0] != '-' || !option[1] || !strchr(letters, option[1]) || !option[2])
        return vmt_err_setx(err, EINVAL, "not an option for a file system: %s", option);
    return 0;
}

int
filesystem_check_options(const struct options *opt, struct vmt_err *err)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < opt->fs_option.n; i++)
        r = option_check(opt->fs_option.v[i], kinds[opt->fs].letters, err);
    for (size_t i = 0; r == 0 && i < opt->tune_option.n; i++)
        r = option_check(opt->tune_option.v[i], TUNE_LETTERS, err);
    return r;
}

static void
probe_freep(blkid_probe *probe)
{
    if (*probe)
        blkid_free_probe(*probe);
}

/* In the jail: what libblkid finds, in answer->text, or "". */
static int
filesystem_blkid(void *arg, struct jail_answer *answer, struct vmt_err *err)
{
    VMT_CLEANUP(probe_freep) blkid_probe probe = blkid_new_probe();
    const char *type = NULL;
    int r;

    if (!probe || blkid_probe_set_device(probe, *(int *)arg, 0, 0) < 0)
        return vmt_err_setx(err, EIO, "cannot look at the disk");
    (void)blkid_probe_enable_superblocks(probe, 1);
    (void)blkid_probe_enable_partitions(probe, 1);
    r = blkid_do_safeprobe(probe);
    if (r == 1)
        return 0;
    if (r < 0)
        return vmt_err_setx(err, EIO, "the disk holds more than one thing");
    if (blkid_probe_lookup_value(probe, "TYPE", &type, NULL) < 0 &&
        blkid_probe_lookup_value(probe, "PTTYPE", &type, NULL) < 0)
        type = "something unknown";
    (void)snprintf(answer->text, sizeof(answer->text), "%s", type);
    return 0;
}

static int
filesystem_tool(const struct vmt_argv *argv, int fd, bool filter, struct vmt_err *err)
{
    const struct tool tool = {.argv = (const char *const *)(uintptr_t)argv->v,
                              .fds = &fd,
                              .nfds = 1,
                              .filter = filter};

    return tool_run(&tool, err);
}

static int
filesystem_mkfs(const struct options *opt, int fd, struct vmt_err *err)
{
    const struct filesystem_kind *kind = &kinds[opt->fs];
    VMT_CLEANUP(vmt_argv_done) struct vmt_argv argv = {0};
    int r;

    for (size_t i = 0; kind->argv[i]; i++)
        vmt_argv_add(&argv, kind->argv[i]);
    for (size_t i = 0; i < opt->fs_option.n; i++)
        vmt_argv_add(&argv, opt->fs_option.v[i]);
    for (size_t i = 0; opt->fs_option.n == 0 && kind->usual[i]; i++)
        vmt_argv_add(&argv, kind->usual[i]);
    vmt_argv_add(&argv, IMAGE);
    r = vmt_argv_finish(&argv, err);
    return r < 0 ? r : filesystem_tool(&argv, fd, opt->sandbox, err);
}

static int
filesystem_tune(const struct options *opt, int fd, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_argv_done) struct vmt_argv argv = {0};
    int r;

    if (opt->tune_option.n == 0)
        return 0;
    vmt_argv_add(&argv, "tune2fs");
    for (size_t i = 0; i < opt->tune_option.n; i++)
        vmt_argv_add(&argv, opt->tune_option.v[i]);
    vmt_argv_add(&argv, IMAGE);
    r = vmt_argv_finish(&argv, err);
    return r < 0 ? r : filesystem_tool(&argv, fd, opt->sandbox, err);
}

int
filesystem_make(const struct options *opt, int fd, struct vmt_err *err)
{
    const struct jail jail = {{fd}, 1, opt->sandbox};
    struct jail_answer found = {0};
    int r;

    if (opt->fs == FILE_SYSTEM_NONE)
        return 0;
    r = jail_run(&jail, filesystem_blkid, &fd, &found, err);
    if (r < 0)
        return r;
    if (strcmp(found.text, kinds[opt->fs].name) == 0)
        return 0;
    if (found.text[0])
        return vmt_err_setx(err, EIO, "the disk holds %s, so no %s is made", found.text,
                            kinds[opt->fs].name);
    r = filesystem_mkfs(opt, fd, err);
    return r < 0 ? r : filesystem_tune(opt, fd, err);
}

int
filesystem_probe(int fd, struct disk_probe *ret_probe, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) uint8_t *data = malloc(DISK_PROBE_BYTES);
    ssize_t n = data ? pread(fd, data, DISK_PROBE_BYTES, 0) : -1;

    if (n < 0)
        return vmt_err_set(err, errno, "read the beginning of the disk");
    disk_probe(data, (size_t)n, ret_probe);
    return 0;
}

int
filesystem_check(int fd, bool filter, struct vmt_err *err)
{
    const char *const argv[] = {"e2fsck", "-f", "-p", IMAGE, NULL};
    const struct tool tool = {
        .argv = argv, .fds = &fd, .nfds = 1, .filter = filter, .ok_max = FSCK_OK_MAX};
    int r = tool_run(&tool, err);

    return r < 0 ? vmt_err_wrap(err, r, "check the file system") : 0;
}

int
filesystem_resize(int fd, uint64_t size, bool filter, struct vmt_err *err)
{
    char sectors[32];
    const char *const argv[] = {"resize2fs", IMAGE, sectors, NULL};
    const struct tool tool = {.argv = argv, .fds = &fd, .nfds = 1, .filter = filter};
    int r;

    (void)snprintf(sectors, sizeof(sectors), "%llus", (unsigned long long)(size / 512));
    r = tool_run(&tool, err);
    return r < 0 ? vmt_err_wrap(err, r, "resize the file system") : 0;
}
