/* SPDX-License-Identifier: BSD-3-Clause */
/* vmc disk: the disk images of VMs. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "concierge_service.pb-c.h"

#include "core/base/cleanup.h"
#include "core/base/str.h"
#include "platform/linux/vmc/disk.h"

#define SIZE_MAX_BYTES (1ull << 44)

int
disk_parse_size(const char *text, uint64_t *ret_bytes, struct vmt_err *err)
{
    static const char units[] = "KMGT";
    size_t len = strlen(text);
    const char *unit = len ? strchr(units, text[len - 1] & ~0x20) : NULL;
    char number[32];
    uint64_t n = 0;
    unsigned shift = unit && *unit ? 10 * (unsigned)(unit - units + 1) : 0;

    (void)snprintf(number, sizeof(number), "%.*s", (int)(len - (shift ? 1 : 0)), text);
    if (len >= sizeof(number) || vmt_parse_u64(number, SIZE_MAX_BYTES >> shift, &n) < 0 ||
        n == 0)
        return vmt_err_setx(err, EINVAL,
                            "a size is a number with K, M, G or T, up to 16T, not \"%s\"",
                            text);
    *ret_bytes = n << shift;
    return 0;
}

static int
set_size(void *target, const char *value, struct vmt_err *err)
{
    return disk_parse_size(value, &((struct disk_options *)target)->size, err);
}

/* One of some words. */
static int
set_word(const char *const *words, size_t n, const char *value, const char **ret,
         struct vmt_err *err)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(words[i], value) != 0)
            continue;
        *ret = words[i];
        return 0;
    }
    return vmt_err_setx(err, EINVAL, "\"%s\" is not one of %s, %s ...", value, words[0],
                        words[1]);
}

static int
set_format(void *target, const char *value, struct vmt_err *err)
{
    static const char *const words[] = {"raw", "qcow2"};

    return set_word(words, VMT_ARRAY_SIZE(words), value,
                    &((struct disk_options *)target)->format, err);
}

static int
set_fs(void *target, const char *value, struct vmt_err *err)
{
    static const char *const words[] = {"ext4", "btrfs", "none"};
    struct disk_options *o = target;
    int r = set_word(words, VMT_ARRAY_SIZE(words), value, &o->filesystem, err);

    if (r == 0 && o->filesystem == words[2])
        o->filesystem = "";
    return r;
}

static int
set_sha256(void *target, const char *value, struct vmt_err *err)
{
    if (*value == '\0')
        return vmt_err_setx(err, EINVAL, "--sha256 wants a file");
    ((struct disk_options *)target)->sha256 = value;
    return 0;
}

static int
set_type(void *target, const char *value, struct vmt_err *err)
{
    static const struct {
        const char *name;
        int type;
    } types[] = {
        {"termina", VM_TOOLS__CONCIERGE__VM_INFO__VM_TYPE__TERMINA},
        {"bruschetta", VM_TOOLS__CONCIERGE__VM_INFO__VM_TYPE__BRUSCHETTA},
        {"baguette", VM_TOOLS__CONCIERGE__VM_INFO__VM_TYPE__BAGUETTE},
    };

    for (size_t i = 0; i < VMT_ARRAY_SIZE(types); i++) {
        if (strcmp(types[i].name, value) != 0)
            continue;
        ((struct disk_options *)target)->vm_type = types[i].type;
        return 0;
    }
    return vmt_err_setx(err, EINVAL, "--type is termina, bruschetta or baguette");
}

static int
set_preallocate(void *target, const char *value, struct vmt_err *err)
{
    (void)value;
    (void)err;
    ((struct disk_options *)target)->preallocate = true;
    return 0;
}

static int
set_ballooning(void *target, const char *value, struct vmt_err *err)
{
    (void)value;
    (void)err;
    ((struct disk_options *)target)->ballooning = true;
    return 0;
}

static int
set_force(void *target, const char *value, struct vmt_err *err)
{
    (void)value;
    (void)err;
    ((struct disk_options *)target)->force = true;
    return 0;
}

static int
set_yes(void *target, const char *value, struct vmt_err *err)
{
    (void)value;
    (void)err;
    ((struct disk_options *)target)->yes = true;
    return 0;
}

static const struct {
    const char *name;
    size_t min, max; /* operands */
    disk_verb_fn *run;
    size_t new_name; /* that operand names a disk to be, counted from 1; 0: none does */
} verbs[] = {
    {"create", 1, 1, disk_create_run, 1}, {"list", 0, 1, disk_list_run, 0},
    {"resize", 1, 1, disk_resize_run, 0}, {"destroy", 1, 1, disk_destroy_run, 0},
    {"rename", 2, 2, disk_rename_run, 2}, {"export", 2, 2, disk_export_run, 0},
    {"import", 2, 2, disk_import_run, 1}, {"cancel", 1, 1, disk_cancel_run, 0},
    {"status", 1, 1, disk_status_run, 0},
};

static int
usage(const char *what)
{
    (void)fprintf(stderr, "vmc disk: %s; try vmc help disk\n", what);
    return VMC_USAGE;
}

static int
disk_run(struct vmc *vmc, int argc, char **argv)
{
    static const struct vmc_option options[] = {
        {"size", true, set_size},
        {"format", true, set_format},
        {"fs", true, set_fs},
        {"sha256", true, set_sha256},
        {"type", true, set_type},
        {"preallocate", false, set_preallocate},
        {"storage-ballooning", false, set_ballooning},
        {"force", false, set_force},
        {"yes", false, set_yes},
        {0},
    };
    static const struct vmc_letter letters[] = {{'f', "force"}, {'y', "yes"}, {0}};
    static const struct vmc_syntax syntax = {
        .options = options, .letters = letters, .operands_min = 1, .operands_max = 3};
    struct disk_options o = {.format = "raw", .filesystem = ""};
    struct vmt_err err;
    char **operands;
    size_t n;
    int r = vmc_begin(vmc, &vmc_disk, argc, argv, &syntax, &o, &operands, &n);

    if (r >= 0)
        return r;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(verbs); i++) {
        if (strcmp(verbs[i].name, operands[0]) != 0)
            continue;
        if (n - 1 < verbs[i].min || n - 1 > verbs[i].max)
            return usage("the number of arguments is wrong");
        r = verbs[i].new_name ? vmc_name_check(operands[verbs[i].new_name], &err) : 0;
        if (r == 0)
            r = verbs[i].run(vmc, &o, operands + 1, n - 1, &err);
        return r < 0 ? vmc_fail(r, &err) : VMC_DONE;
    }
    return usage("say create, list, resize, destroy, rename, export, import, cancel or "
                 "status");
}

const struct vmc_command vmc_disk = {
    .name = "disk",
    .summary = "create, list, resize, export or import disks",
    .usage =
        "create [OPTION]... NAME\n"
        "       vmc disk list [NAME]\n"
        "       vmc disk resize --size SIZE NAME\n"
        "       vmc disk destroy [--yes] NAME\n"
        "       vmc disk rename NAME NEW_NAME\n"
        "       vmc disk export [--sha256 FILE] [--force] NAME FILE|-\n"
        "       vmc disk import [--type TYPE] NAME FILE|-\n"
        "       vmc disk status ID\n"
        "       vmc disk cancel ID\n"
        "  --size SIZE           bytes, or a number with K, M, G or T\n"
        "  --fs ext4|btrfs|none  make a file system in a new disk (none)\n"
        "  --format raw|qcow2    of a new disk (raw)\n"
        "  --preallocate         take all space of a new disk at once\n"
        "  --storage-ballooning  a new disk shares the free space of the host\n"
        "  --sha256 FILE         write the digest of an export there\n"
        "  --force               also -f: export the disk of a VM that runs\n"
        "  --yes                 also -y: destroy without a question on a terminal\n"
        "  --type TYPE           of the VM: termina, bruschetta or baguette\n"
        "destroy stops the VM that has the disk. resize works on running VMs, too.\n",
    .run = disk_run,
};
