/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vm_disk/import.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/disk/attrs.h"
#include "platform/linux/disk/attrs.h"
#include "platform/linux/vm_disk/jail.h"
#include "platform/linux/vm_disk/qemu_img.h"
#include "platform/linux/vm_disk/sha256.h"
#include "platform/linux/vm_disk/sink.h"
#include "platform/linux/vm_disk/source.h"
#include "platform/linux/vm_disk/unpack.h"
#include "platform/linux/vm_disk/work.h"

#define SECTOR 512u
#define TYPE_NOT_SAID 4 /* a type like the others, and none: VmType UNKNOWN */

static int
import_unpack(const struct work *work, struct source *source, struct sink *sink,
              struct jail_answer *answer, struct vmt_err *err)
{
    enum source_kind kind = work->opt->source;
    int found = DISK_VM_TYPE_UNKNOWN, r = 0;

    if (kind == SOURCE_AUTO)
        r = unpack_detect(source, &kind, err);
    if (r < 0)
        return r;
    answer->is_qcow2 = kind == SOURCE_QCOW2;
    if (kind == SOURCE_ZSTD)
        r = unpack_zstd(source, sink, &found, err);
    else if (kind == SOURCE_ZIP)
        r = unpack_zip(source, sink, work->place.name, err);
    else if (kind == SOURCE_RAW || kind == SOURCE_QCOW2)
        r = unpack_raw(source, sink, err);
    else
        r = vmt_err_setx(err, EBADMSG,
                         "neither zstd, zip, qcow2 nor a disk that is known");
    if (r == 0 && sink->at == 0)
        r = vmt_err_setx(err, EBADMSG, "the disk is empty");
    if (r == 0 && kind == SOURCE_RAW && sink->at % SECTOR)
        r = vmt_err_setx(err, EBADMSG, "a raw disk has whole sectors of 512 bytes");
    answer->vm_type = found;
    return r;
}

static int
import_jailed(void *arg, struct jail_answer *answer, struct vmt_err *err)
{
    const struct work *work = arg;
    VMT_CLEANUP(source_done)
    struct source source = {.read = source_read_fd,
                            .pace.max_rate = work->opt->max_rate,
                            .total = work->opt->source_size};
    struct sink sink = {.fd = work->temp.fd, .max = work->opt->max_size};
    int data_fd = work->opt->data_fd;
    int r = sha256_new(&source.sha, err);

    source.arg = &data_fd;
    if (r == 0)
        r = import_unpack(work, &source, &sink, answer, err);
    if (r == 0)
        r = sink_finish(&sink, err);
    if (r == 0)
        r = sha256_finish(source.sha, answer->text, err);
    sha256_free(source.sha);
    answer->size = sink.at;
    return r;
}

static int
import_check_qcow2(const struct work *work, struct jail_answer *answer,
                   struct vmt_err *err)
{
    int r = qemu_img_check(work->temp.fd, &answer->size, err);

    if (r == 0 && (answer->size > work->opt->max_size || !answer->size))
        r = vmt_err_setx(err, EFBIG, "the disk has more than %llu bytes, or none",
                         (unsigned long long)work->opt->max_size);
    return r;
}

/* Also from qcow2 to qcow2: what a stranger wrote is not what a VM gets. */
static int
import_convert(struct work *work, enum disk_format from, enum disk_format to,
               struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int old = -1;
    int r = work_temp_again(work, &old, err);

    return r < 0
               ? r
               : qemu_img_convert(old, from, work->temp.fd, to, work->opt->sandbox, err);
}

int
import_read(struct work *work, enum disk_format to, struct jail_answer *ret_answer,
            struct vmt_err *err)
{
    struct jail jail = {.nfds = 2, .filter = work->opt->sandbox};
    enum disk_format from;
    int r = work_temp(work, err);

    if (r < 0)
        return r;
    jail.fds[0] = work->opt->data_fd;
    jail.fds[1] = work->temp.fd;
    r = jail_run(&jail, import_jailed, work, ret_answer, err);
    if (r == 0 && (ret_answer->vm_type < -1 || ret_answer->vm_type > 99))
        return vmt_err_setx(err, EIO, "no such type of VMs");
    from = ret_answer->is_qcow2 ? DISK_QCOW2 : DISK_RAW;
    if (r == 0 && from == DISK_QCOW2)
        r = import_check_qcow2(work, ret_answer, err);
    if (r == 0 && (from == DISK_QCOW2 || to == DISK_QCOW2))
        r = import_convert(work, from, to, err);
    return r;
}

/* Source: platform2 3050786c, vm_tools/apps VmType; those without a name here are of
 * ChromiumOS only. */
static const char *
type_words(int type, char buf[static 16])
{
    static const char *const names[] = {[0] = "termina",
                                        [1] = "pluginvm",
                                        [2] = "borealis",
                                        [3] = "bruschetta",
                                        [TYPE_NOT_SAID] = "unknown",
                                        [5] = "arcvm",
                                        [6] = "baguette"};

    if (type >= 0 && (size_t)type < VMT_ARRAY_SIZE(names) && names[type])
        return names[type];
    (void)snprintf(buf, 16, "%d", type);
    return buf;
}

/* Both known: they agree. One known: that. None: refused. A disk that was made for no VM
 * in particular says so, and is for any. */
static int
import_type(int asked, int found, int *ret_type, struct vmt_err *err)
{
    char words[2][16];

    if (asked >= 0 && found == TYPE_NOT_SAID)
        found = asked;
    if (asked >= 0 && found >= 0 && asked != found)
        return vmt_err_setx(err, EIO, "the image is of a VM of type %s, not %s",
                            type_words(found, words[0]), type_words(asked, words[1]));
    if (asked < 0 && found < 0)
        return vmt_err_setx(err, EIO, "the type of the VM is not known");
    *ret_type = asked >= 0 ? asked : found;
    return 0;
}

int
work_import(struct work *work, struct outcome *ret_outcome, struct vmt_err *err)
{
    const struct options *opt = work->opt;
    struct jail_answer answer = {.vm_type = DISK_VM_TYPE_UNKNOWN};
    VMT_CLEANUP(vmt_closep) int old = -1;
    struct disk_attrs attrs = {!opt->keep_attributes, DISK_VM_TYPE_UNKNOWN};
    int r;

    /* What is replaced stays locked: no VM begins with it meanwhile. */
    r = work_open_image(work, O_RDONLY, false, &old, err);
    if (r == 0 && opt->keep_attributes)
        r = disk_attrs_read(work->place.dir_fd, work->place.name, old, &attrs, err);
    if (r == 0 || r == -ENOENT)
        r = import_read(work, opt->format, &answer, err);
    if (r == 0 && opt->digest[0] && strcmp(opt->digest, answer.text) != 0)
        r = vmt_err_setx(err, EIO, "the digest is %s", answer.text);
    if (r == 0 && !opt->keep_attributes)
        r = import_type(opt->vm_type, answer.vm_type, &attrs.vm_type, err);
    if (r == 0)
        r = work_describe(work->temp.fd, ret_outcome, err);
    if (r == 0)
        r = work_place(work, attrs.user_chosen_size, attrs.vm_type, true, err);
    ret_outcome->size = answer.size;
    ret_outcome->vm_type = attrs.vm_type;
    (void)memcpy(ret_outcome->sha256, answer.text, sizeof(answer.text));
    return r;
}
