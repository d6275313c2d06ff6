/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vmc/start_options.c - the options of vmc start. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/str.h"
#include "platform/linux/vmc/cmd_start.h"
#include "platform/linux/vmc/disk.h"
#include "platform/linux/vmc/vmc.h"
#include "vmt_life.pb-c.h"

#define CPUS_MAX 1024u
#define MEM_MIB_MAX                                                                      \
    (64u * 1024 * 1024) /* 64 TiB: a slip of the finger, not a machine                   \
                         */
#define TIMEOUT_S_MAX 86400u
#define CPU_WEIGHT_MAX 10000u /* cgroup-v2.rst of Linux, cpu.weight */
#define RESTARTS_MAX 1000000u

static int
parse_number(const char *what, const char *value, uint32_t max, uint32_t *ret,
             struct vmt_err *err)
{
    uint64_t n;

    if (vmt_parse_u64(value, max, &n) < 0 || n == 0)
        return vmt_err_setx(err, EINVAL, "%s is a number from 1 to %u, not \"%s\"", what,
                            max, value);
    *ret = (uint32_t)n;
    return 0;
}

static int
set_cpus(void *target, const char *value, struct vmt_err *err)
{
    return parse_number("--cpus", value, CPUS_MAX,
                        &((struct start_options *)target)->cpus, err);
}

static int
set_mem(void *target, const char *value, struct vmt_err *err)
{
    return parse_number("--mem", value, MEM_MIB_MAX,
                        &((struct start_options *)target)->mem_mib, err);
}

static int
set_cpu_weight(void *target, const char *value, struct vmt_err *err)
{
    return parse_number("--cpu-weight", value, CPU_WEIGHT_MAX,
                        &((struct start_options *)target)->cpu_weight, err);
}

static int
set_hugepages(void *target, const char *value, struct vmt_err *err)
{
    (void)value;
    (void)err;
    ((struct start_options *)target)->hugepages = true;
    return 0;
}

static int
set_storage_balloon(void *target, const char *value, struct vmt_err *err)
{
    (void)value;
    (void)err;
    ((struct start_options *)target)->storage_balloon = true;
    return 0;
}

static int
set_timeout(void *target, const char *value, struct vmt_err *err)
{
    return parse_number("--timeout", value, TIMEOUT_S_MAX,
                        &((struct start_options *)target)->timeout_s, err);
}

static int
set_accel(void *target, const char *value, struct vmt_err *err)
{
    static const char *const names[] = {"auto", "kvm", "tcg"};

    for (size_t i = 0; i < VMT_ARRAY_SIZE(names); i++)
        if (strcmp(names[i], value) == 0) {
            ((struct start_options *)target)->accel = names[i];
            return 0;
        }
    return vmt_err_setx(err, EINVAL, "--accel is auto, kvm or tcg, not \"%s\"", value);
}

static int
set_network(void *target, const char *value, struct vmt_err *err)
{
    static const char *const names[] = {"user", "tap", "none"};

    for (size_t i = 0; i < VMT_ARRAY_SIZE(names); i++)
        if (strcmp(names[i], value) == 0) {
            ((struct start_options *)target)->network = names[i];
            return 0;
        }
    return vmt_err_setx(err, EINVAL, "--network is user, tap or none, not \"%s\"", value);
}

/* never, on-failure or always, and how often in a row. */
static int
set_restart(void *target, const char *value, struct vmt_err *err)
{
    static const struct {
        const char *name;
        int mode;
    } modes[] = {{"never", VMT__RESTART_POLICY__MODE__NEVER},
                 {"on-failure", VMT__RESTART_POLICY__MODE__ON_FAILURE},
                 {"always", VMT__RESTART_POLICY__MODE__ALWAYS}};
    struct start_options *o = target;
    const char *colon = strchr(value, ':');
    size_t len = colon ? (size_t)(colon - value) : strlen(value);

    for (size_t i = 0; i < VMT_ARRAY_SIZE(modes); i++) {
        if (strlen(modes[i].name) != len || strncmp(modes[i].name, value, len) != 0)
            continue;
        o->restart_mode = modes[i].mode;
        return colon ? parse_number("MAX of --restart", colon + 1, RESTARTS_MAX,
                                    &o->restarts, err)
                     : 0;
    }
    return vmt_err_setx(
        err, EINVAL,
        "--restart is never, on-failure or always, with :MAX behind it or "
        "not, but not \"%s\"",
        value);
}

static int
set_container_network(void *target, const char *value, struct vmt_err *err)
{
    (void)value;
    (void)err;
    ((struct start_options *)target)->container_network = true;
    return 0;
}

static int
set_path(const char *what, const char *value, const char **ret, struct vmt_err *err)
{
    if (*value == '\0')
        return vmt_err_setx(err, EINVAL, "%s wants a path", what);
    *ret = value;
    return 0;
}

static int
set_image(void *target, const char *value, struct vmt_err *err)
{
    return set_path("--image", value, &((struct start_options *)target)->image, err);
}

static int
set_kernel(void *target, const char *value, struct vmt_err *err)
{
    return set_path("--kernel", value, &((struct start_options *)target)->kernel, err);
}

static int
set_initrd(void *target, const char *value, struct vmt_err *err)
{
    return set_path("--initrd", value, &((struct start_options *)target)->initrd, err);
}

static int
set_rootfs(void *target, const char *value, struct vmt_err *err)
{
    return set_path("--rootfs", value, &((struct start_options *)target)->root, err);
}

/* PATH or NAME, or one with ",ro". The daemon has another working directory, so a path is
 * made absolute here; what is no file here may be a disk of vmc disk. */
static int
set_disk(void *target, const char *value, struct vmt_err *err)
{
    struct start_options *o = target;
    size_t len = strlen(value);
    bool read_only = len > 3 && strcmp(value + len - 3, ",ro") == 0;
    VMT_CLEANUP(vmt_freep) char *path = strndup(value, read_only ? len - 3 : len);
    char *absolute;
    bool is_name;

    if (!path)
        return vmt_err_set(err, ENOMEM, "read --disk");
    if (o->ndisks == START_DISKS_MAX)
        return vmt_err_setx(err, EINVAL, "a VM has at most %d disks", START_DISKS_MAX);
    absolute = realpath(path, NULL);
    is_name = !absolute && errno == ENOENT && !strchr(path, '/');
    if (is_name)
        absolute = vmt_take_ptr(&path);
    if (!absolute)
        return vmt_err_set(err, errno, "disk %s", path);
    o->disks[o->ndisks++] =
        (struct start_disk){.path = absolute, .read_only = read_only, .is_name = is_name};
    return 0;
}

int
start_disks_find(struct vmc *vmc, struct start_options *o, struct vmt_err *err)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < o->ndisks; i++) {
        char *path = NULL;

        if (!o->disks[i].is_name)
            continue;
        r = disk_path_get(vmc, o->disks[i].path, &path, err);
        if (r < 0)
            break;
        free(o->disks[i].path);
        o->disks[i].path = path;
        o->disks[i].is_name = false;
    }
    return r;
}

static int
set_param(void *target, const char *value, struct vmt_err *err)
{
    struct start_options *o = target;

    if (o->nparams == START_PARAMS_MAX)
        return vmt_err_setx(err, EINVAL, "at most %d times --kernel-param",
                            START_PARAMS_MAX);
    o->params[o->nparams++] = value;
    return 0;
}

static int
set_no_shell(void *target, const char *value, struct vmt_err *err)
{
    (void)value;
    (void)err;
    ((struct start_options *)target)->no_shell = true;
    return 0;
}

static int
set_wait(void *target, const char *value, struct vmt_err *err)
{
    (void)value;
    (void)err;
    ((struct start_options *)target)->wait = true;
    return 0;
}

static int
set_cold(void *target, const char *value, struct vmt_err *err)
{
    (void)value;
    (void)err;
    ((struct start_options *)target)->cold = true;
    return 0;
}

const struct vmc_option start_option_table[] = {
    {"image", true, set_image},
    {"cpus", true, set_cpus},
    {"mem", true, set_mem},
    {"cpu-weight", true, set_cpu_weight},
    {"hugepages", false, set_hugepages},
    {"storage-balloon", false, set_storage_balloon},
    {"disk", true, set_disk},
    {"accel", true, set_accel},
    {"network", true, set_network},
    {"container-network", false, set_container_network},
    {"restart", true, set_restart},
    {"kernel", true, set_kernel},
    {"initrd", true, set_initrd},
    {"rootfs", true, set_rootfs},
    {"kernel-param", true, set_param},
    {"timeout", true, set_timeout},
    {"no-shell", false, set_no_shell},
    {"cold", false, set_cold},
    {"wait", false, set_wait},
    {0},
};

_Static_assert(VMT_ARRAY_SIZE(start_option_table) <= START_OPTIONS_MAX,
               "vmc run has too little room for them");

void
start_options_done(struct start_options *options)
{
    for (size_t i = 0; i < options->ndisks; i++)
        free(options->disks[i].path);
    options->ndisks = 0;
}
