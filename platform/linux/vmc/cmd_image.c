/* SPDX-License-Identifier: BSD-3-Clause */
/* vmc image: build, list and verify guest images. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "platform/linux/image/image.h"
#include "platform/linux/vmc/vm_info.h"
#include "platform/linux/vmc/vmc.h"

#define IMAGE_DEFAULT "debian"
#define SUITE_DEFAULT "bookworm"

static int
set_name(void *target, const char *value, struct vmt_err *err)
{
    (void)err;
    ((struct image_build_options *)target)->name = value;
    return 0;
}

static int
set_guest_dir(void *target, const char *value, struct vmt_err *err)
{
    (void)err;
    ((struct image_build_options *)target)->guest_dir = value;
    return 0;
}

static int
set_suite(void *target, const char *value, struct vmt_err *err)
{
    (void)err;
    ((struct image_build_options *)target)->suite = value;
    return 0;
}

static int
set_mirror(void *target, const char *value, struct vmt_err *err)
{
    (void)err;
    ((struct image_build_options *)target)->mirror = value;
    return 0;
}

static int
set_rebuild(void *target, const char *value, struct vmt_err *err)
{
    (void)value;
    (void)err;
    ((struct image_build_options *)target)->rebuild = true;
    return 0;
}

static int
set_refresh(void *target, const char *value, struct vmt_err *err)
{
    (void)value;
    (void)err;
    ((struct image_build_options *)target)->refresh = true;
    return 0;
}

/* A step is announced when it begins, and its line is ended when it is done. */
static void
on_step(void *arg, const char *text, long ms)
{
    (void)arg;
    if (ms < 0 && isatty(STDERR_FILENO))
        (void)fprintf(stderr, "  %s ...", text);
    else if (ms >= 0)
        (void)fprintf(stderr, "%s  %-40s %8.3f s\n", isatty(STDERR_FILENO) ? "\r" : "",
                      text, (double)ms / 1e3);
}

/* The static guest programs: of the build tree that we are in, or installed. */
static char *
find_guest_dir(void)
{
    static const char *const places[] = {"../../guest/bin", "../lib/vm_tools",
                                         "../lib/" VMT_MULTIARCH "/vm_tools"};
    VMT_CLEANUP(vmt_freep) char *self = vmc_program_dir();

    for (size_t i = 0; self && i < VMT_ARRAY_SIZE(places); i++) {
        VMT_CLEANUP(vmt_freep) char *maitred = NULL;
        char *dir;

        if (asprintf(&dir, "%s/%s", self, places[i]) < 0)
            return NULL;
        if (asprintf(&maitred, "%s/maitred", dir) >= 0 && access(maitred, X_OK) == 0)
            return dir;
        free(dir);
    }
    return NULL;
}

static int
image_build_run(struct vmc *vmc, struct image_build_options *o, const char *operand,
                struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *guest_dir = NULL;
    bool built;
    int r;

    (void)operand;
    if (!o->guest_dir) {
        guest_dir = find_guest_dir();
        o->guest_dir = guest_dir;
    }
    if (!o->guest_dir)
        return vmt_err_setx(
            err, ENOENT,
            "the guest programs maitred and vshd are not beside vmc; build "
            "them (cmake --preset guest) or name their folder with "
            "--guest-dir");
    o->data_dir = vmc->paths.data;
    o->cache_dir = vmc->paths.cache;
    r = image_build(o, &built, err);
    if (r < 0)
        return vmt_err_wrap(err, r, "build image %s", o->name);
    (void)fprintf(stderr, built ? "image %s is built\n" : "image %s is up to date\n",
                  o->name);
    if (vmc->json)
        return print_json(json_pack("{s:s, s:b}", "name", o->name, "built", built), err);
    return 0;
}

static json_t *
image_json(const char *data_dir, const char *name)
{
    VMT_CLEANUP(vmt_freep) char *dir = NULL;
    VMT_CLEANUP(image_manifest_done) struct image_manifest m = {0};
    json_t *image = json_pack("{s:s}", "name", name);
    uint64_t size = 0;

    if (!image || image_find(data_dir, name, &dir, NULL) < 0)
        return image;
    (void)json_object_set_new(image, "path", json_string(dir));
    if (image_manifest_load(dir, &m, NULL) < 0)
        return image;
    for (int i = 0; i < IMAGE_PART_COUNT; i++)
        size += m.size[i];
    (void)json_object_set_new(image, "kernel_release", json_string(m.kernel_release));
    (void)json_object_set_new(image, "size_bytes", json_integer((json_int_t)size));
    return image;
}

static void
print_image(json_t *image)
{
    const char *release = json_string_value(json_object_get(image, "kernel_release"));
    json_int_t size = json_integer_value(json_object_get(image, "size_bytes"));

    (void)printf("%-16s %-28s %8lld MiB  %s\n",
                 json_string_value(json_object_get(image, "name")),
                 release ? release : "(no manifest)", (long long)(size >> 20),
                 json_string_value(json_object_get(image, "path")));
}

static int
image_list_run(struct vmc *vmc, struct image_build_options *o, const char *operand,
               struct vmt_err *err)
{
    VMT_CLEANUP(json_decrefp) json_t *all = json_array();
    char **names = NULL;
    size_t n = 0, i;
    json_t *image;
    int r = image_list(vmc->paths.data, &names, &n, err);

    (void)o;
    (void)operand;
    for (i = 0; r == 0 && i < n; i++) {
        (void)json_array_append_new(all, image_json(vmc->paths.data, names[i]));
        free(names[i]);
    }
    free(names);
    if (r < 0)
        return r;
    if (vmc->json)
        return print_json(vmt_take_ptr(&all), err);
    if (n == 0)
        (void)fputs("there is no image; vmc image build makes one\n", stderr);
    json_array_foreach(all, i, image) print_image(image);
    return 0;
}

static int
image_verify_run(struct vmc *vmc, struct image_build_options *o, const char *operand,
                 struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *dir = NULL;
    int r = image_find(vmc->paths.data, operand ? operand : IMAGE_DEFAULT, &dir, err);

    (void)o;
    if (r == 0)
        r = image_verify(dir, err);
    if (r == 0)
        (void)fprintf(stderr, "%s is as its manifest says\n", dir);
    return r;
}

static const struct {
    const char *name;
    bool takes_operand;
    int (*run)(struct vmc *vmc, struct image_build_options *o, const char *operand,
               struct vmt_err *err);
} verbs[] = {
    {"build", false, image_build_run},
    {"list", false, image_list_run},
    {"verify", true, image_verify_run},
};

static int
usage(void)
{
    (void)fputs("vmc image: say build, list or verify; try vmc help image\n", stderr);
    return VMC_USAGE;
}

static int
image_run_command(struct vmc *vmc, int argc, char **argv)
{
    static const struct vmc_option options[] = {
        {"name", true, set_name},
        {"guest-dir", true, set_guest_dir},
        {"suite", true, set_suite},
        {"mirror", true, set_mirror},
        {"rebuild", false, set_rebuild},
        {"refresh", false, set_refresh},
        {0},
    };
    static const struct vmc_syntax syntax = {
        .options = options, .operands_min = 1, .operands_max = 2};
    struct image_build_options o = {
        .name = IMAGE_DEFAULT, .suite = SUITE_DEFAULT, .on_step = on_step};
    struct vmt_err err;
    char **operands;
    size_t n;
    int r = vmc_begin(vmc, &vmc_image, argc, argv, &syntax, &o, &operands, &n);

    if (r >= 0)
        return r;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(verbs); i++) {
        if (strcmp(verbs[i].name, operands[0]) != 0)
            continue;
        if (n == 2 && !verbs[i].takes_operand)
            return usage();
        r = verbs[i].run(vmc, &o, n == 2 ? operands[1] : NULL, &err);
        return r < 0 ? vmc_fail(r, &err) : VMC_DONE;
    }
    return usage();
}

const struct vmc_command vmc_image = {
    .name = "image",
    .summary = "build, list or verify guest images",
    .usage =
        "build [--name NAME] [--suite SUITE] [--mirror URL] [--rebuild] [--refresh]\n"
        "                       [--guest-dir DIR]\n"
        "       vmc image list [--json]\n"
        "       vmc image verify [NAME|DIR]\n"
        "  --rebuild    also when nothing changed\n"
        "  --refresh    take new Debian packages instead of the cached ones\n"
        "  --guest-dir  folder of the static programs maitred and vshd\n",
    .run = image_run_command,
};
