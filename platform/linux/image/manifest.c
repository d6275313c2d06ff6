/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/image/image_internal.h"
#include "platform/linux/os/paths.h"

#define MANIFEST_VERSION 1
#define MANIFEST_MAX (1024ul * 1024)

const char *
image_part_file(enum image_part part)
{
    static const char *const files[IMAGE_PART_COUNT] = {
        [IMAGE_KERNEL] = "kernel",
        [IMAGE_INITRD] = "initrd",
        [IMAGE_ROOT] = "root.squashfs",
    };

    return files[part];
}

void
image_manifest_done(struct image_manifest *manifest)
{
    free(manifest->name);
    free(manifest->kernel_release);
    free(manifest->cmdline);
    free(manifest->built_with);
    memset(manifest, 0, sizeof(*manifest));
}

static int
string_take(json_t *root, const char *key, char **ret, struct vmt_err *err)
{
    const char *text = json_string_value(json_object_get(root, key));

    if (!text)
        return vmt_err_setx(err, EBADMSG, "manifest has no text \"%s\"", key);
    *ret = strdup(text);
    return *ret ? 0 : vmt_err_set(err, ENOMEM, "read manifest");
}

static int
part_take(json_t *parts, enum image_part part, struct image_manifest *m,
          struct vmt_err *err)
{
    json_t *entry = json_object_get(parts, image_part_file(part));
    const char *digest = json_string_value(json_object_get(entry, "sha256"));
    json_t *size = json_object_get(entry, "size");

    if (!digest || strlen(digest) != IMAGE_DIGEST_HEX - 1 || !json_is_integer(size) ||
        json_integer_value(size) < 0)
        return vmt_err_setx(err, EBADMSG, "manifest has no sha256 and size of %s",
                            image_part_file(part));
    memcpy(m->digest[part], digest, IMAGE_DIGEST_HEX);
    m->size[part] = (uint64_t)json_integer_value(size);
    return 0;
}

static int
manifest_parse(json_t *root, struct image_manifest *m, struct vmt_err *err)
{
    json_t *parts = json_object_get(root, "files");
    int r = 0;

    if (json_integer_value(json_object_get(root, "version")) != MANIFEST_VERSION)
        return vmt_err_setx(err, EBADMSG, "manifest is not of version %d",
                            MANIFEST_VERSION);
    r = string_take(root, "name", &m->name, err);
    if (r == 0)
        r = string_take(root, "kernel_release", &m->kernel_release, err);
    if (r == 0)
        r = string_take(root, "cmdline", &m->cmdline, err);
    if (r == 0)
        r = string_take(root, "built_with", &m->built_with, err);
    for (int part = 0; part < IMAGE_PART_COUNT && r == 0; part++)
        r = part_take(parts, (enum image_part)part, m, err);
    return r;
}

int
image_manifest_load(const char *dir, struct image_manifest *ret_manifest,
                    struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *path = NULL;
    VMT_CLEANUP(vmt_freep) char *text = NULL;
    VMT_CLEANUP(json_decrefp) json_t *root = NULL;
    struct image_manifest m = {0};
    json_error_t bad;
    unsigned long len;
    int r;

    if (asprintf(&path, "%s/manifest.json", dir) < 0)
        return vmt_err_set(err, ENOMEM, "read manifest");
    r = os_read_file(path, MANIFEST_MAX, &text, &len, err);
    if (r < 0)
        return r;
    root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &bad);
    if (!root)
        return vmt_err_setx(err, EBADMSG, "%s:%d:%d: %s", path, bad.line, bad.column,
                            bad.text);
    r = manifest_parse(root, &m, err);
    if (r < 0) {
        image_manifest_done(&m);
        return vmt_err_wrap(err, r, "%s", path);
    }
    *ret_manifest = m;
    return 0;
}

static json_t *
manifest_files(const struct image_manifest *m)
{
    json_t *files = json_object();

    for (int part = 0; files && part < IMAGE_PART_COUNT; part++) {
        json_t *entry = json_pack("{s:s, s:I}", "sha256", m->digest[part], "size",
                                  (json_int_t)m->size[part]);

        if (json_object_set_new(files, image_part_file((enum image_part)part), entry) <
            0) {
            json_decref(files);
            return NULL;
        }
    }
    return files;
}

int
image_manifest_save(const char *dir, const struct image_manifest *m, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *path = NULL;
    VMT_CLEANUP(vmt_freep) char *text = NULL;
    VMT_CLEANUP(json_decrefp) json_t *root = NULL;

    root = json_pack("{s:i, s:s, s:s, s:s, s:s, s:o}", "version", MANIFEST_VERSION,
                     "name", m->name, "kernel_release", m->kernel_release, "cmdline",
                     m->cmdline, "built_with", m->built_with, "files", manifest_files(m));
    if (root)
        text = json_dumps(root, JSON_INDENT(2));
    if (!text || asprintf(&path, "%s/manifest.json", dir) < 0)
        return vmt_err_set(err, ENOMEM, "write manifest");
    return os_write_file_atomic(path, text, strlen(text), 0644, err);
}
