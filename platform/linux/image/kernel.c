/* SPDX-License-Identifier: BSD-3-Clause */
/* Debian's kernel package: fetched, unpacked, and the ELF taken out of the bzImage,
 * because unpacking it under emulation costs seconds at every start. */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <glob.h>
#include <lzma.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/str.h"
#include "platform/linux/image/image_internal.h"
#include "platform/linux/os/paths.h"

#define KERNEL_FILE_MAX (256ul * 1024 * 1024)
#define KERNEL_ELF_MAX (512ull * 1024 * 1024)
#define KERNEL_LZMA_MEM (1024ull * 1024 * 1024)
#define KERNEL_CHUNK (1024 * 1024)

/* Note type of the 32-bit PVH entry point. Source: xen public/elfnote.h,
 * XEN_ELFNOTE_PHYS32_ENTRY. */
#define KERNEL_NOTE_PVH 18

typedef struct archive archive;

static void
archive_read_freep(archive **a)
{
    if (*a)
        (void)archive_read_free(*a);
}

static void
archive_write_freep(archive **a)
{
    if (*a)
        (void)archive_write_free(*a);
}

/* A .deb is an ar archive with a data.tar.* in it: feed one into the other. */
struct deb {
    archive *outer; /* owned */
    char chunk[65536];
};

static la_ssize_t
deb_read(struct archive *inner, void *arg, const void **ret_data)
{
    struct deb *deb = arg;
    la_ssize_t n = archive_read_data(deb->outer, deb->chunk, sizeof(deb->chunk));

    if (n < 0)
        archive_set_error(inner, EIO, "%s", archive_error_string(deb->outer));
    *ret_data = deb->chunk;
    return n;
}

static int
deb_find_data(archive *outer, const char *path, struct vmt_err *err)
{
    struct archive_entry *e;

    while (archive_read_next_header(outer, &e) == ARCHIVE_OK) {
        if (vmt_str_has_prefix(archive_entry_pathname(e), "data.tar"))
            return 0;
    }
    return vmt_err_setx(err, EINVAL, "%s has no data.tar: not a Debian package", path);
}

/* Only what a guest needs: the kernel and its modules. */
static bool
deb_wanted(const char *name)
{
    if (vmt_str_has_prefix(name, "./"))
        name += 2;
    return vmt_str_has_prefix(name, "boot/vmlinuz-") ||
           vmt_str_has_prefix(name, "lib/modules/");
}

static int
deb_unpack_entry(archive *inner, archive *disk, struct archive_entry *e, const char *dir,
                 struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *path = NULL;

    if (asprintf(&path, "%s/%s", dir, archive_entry_pathname(e)) < 0)
        return vmt_err_set(err, ENOMEM, "unpack kernel package");
    archive_entry_set_pathname(e, path);
    if (archive_read_extract2(inner, e, disk) != ARCHIVE_OK)
        return image_archive_error(inner, err, "unpack kernel package");
    return 0;
}

static int
deb_unpack(const char *path, const char *dir, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) struct deb *deb = calloc(1, sizeof(*deb));
    VMT_CLEANUP(archive_read_freep) archive *outer = archive_read_new();
    VMT_CLEANUP(archive_read_freep) archive *inner = archive_read_new();
    VMT_CLEANUP(archive_write_freep) archive *disk = archive_write_disk_new();
    struct archive_entry *e;
    int r;

    if (!deb || !outer || !inner || !disk)
        return vmt_err_set(err, ENOMEM, "unpack %s", path);
    (void)archive_read_support_format_ar(outer);
    (void)archive_read_support_format_tar(inner);
    (void)archive_read_support_filter_all(inner);
    if (archive_read_open_filename(outer, path, 65536) != ARCHIVE_OK)
        return image_archive_error(outer, err, path);
    r = deb_find_data(outer, path, err);
    if (r < 0)
        return r;
    deb->outer = outer;
    if (archive_read_open(inner, deb, NULL, deb_read, NULL) != ARCHIVE_OK)
        return image_archive_error(inner, err, path);
    while ((r = archive_read_next_header(inner, &e)) == ARCHIVE_OK) {
        if (!deb_wanted(archive_entry_pathname(e)))
            continue;
        r = deb_unpack_entry(inner, disk, e, dir, err);
        if (r < 0)
            return r;
    }
    return r == ARCHIVE_EOF ? 0 : image_archive_error(inner, err, path);
}

/* "Depends: linux-image-6.1.0-56-amd64 (= 6.1.192-2)": the real package behind the name
 * that follows the newest kernel. */
static int
kernel_package(char ret_package[128], struct vmt_err *err)
{
    static const char *const argv[] = {"apt-cache", "show", "--no-all-versions",
                                       "linux-image-amd64", NULL};
    VMT_CLEANUP(vmt_freep) char *out = NULL;
    const char *at;
    size_t n;
    int r = image_run(argv, NULL, &out, err);

    if (r < 0)
        return vmt_err_wrap(err, r, "find Debian's kernel package (try `apt update`)");
    at = strstr(out, "\nDepends: linux-image-");
    if (!at)
        return vmt_err_setx(
            err, ENOENT,
            "apt knows no kernel package linux-image-amd64: try `apt update`");
    at += strlen("\nDepends: ");
    n = strcspn(at, " ,\n");
    if (n >= 128)
        return vmt_err_setx(err, EINVAL, "the name of the kernel package is too long");
    memcpy(ret_package, at, n);
    ret_package[n] = '\0';
    return 0;
}

static int
kernel_glob(const char *dir, const char *pattern, char **ret_path)
{
    VMT_CLEANUP(vmt_freep) char *full = NULL;
    glob_t found = {0};
    int r = -ENOENT;

    if (asprintf(&full, "%s/%s", dir, pattern) < 0)
        return -ENOMEM;
    if (glob(full, 0, NULL, &found) == 0 && found.gl_pathc > 0) {
        *ret_path = strdup(found.gl_pathv[found.gl_pathc - 1]);
        r = *ret_path ? 0 : -ENOMEM;
    }
    globfree(&found);
    return r;
}

static int
kernel_download(const char *package, const char *dir, struct vmt_err *err)
{
    const char *const argv[] = {"apt-get", "-q", "download", package, NULL};
    VMT_CLEANUP(vmt_freep) char *deb = NULL;
    int r = os_mkdir_p(dir, 0755, err);

    if (r < 0)
        return r;
    r = image_run(argv, dir, NULL, err);
    if (r < 0)
        return vmt_err_wrap(err, r, "download %s (is there a network? try `apt update`)",
                            package);
    r = kernel_glob(dir, "linux-image-*.deb", &deb);
    if (r < 0)
        return vmt_err_set(err, -r, "find the downloaded package in %s", dir);
    r = deb_unpack(deb, dir, err);
    if (r < 0)
        return r;
    (void)unlink(deb);
    return 0;
}

static int
kernel_depmod(const char *dir, const char *release, struct vmt_err *err)
{
    const char *const argv[] = {"/sbin/depmod", "-b", dir, release, NULL};

    return image_run(argv, NULL, NULL, err);
}

static int
kernel_release(const char *dir, char **ret_release, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *path = NULL;
    int r = kernel_glob(dir, "boot/vmlinuz-*", &path);

    if (r < 0)
        return vmt_err_set(err, -r, "find the kernel in %s", dir);
    *ret_release = strdup(strstr(path, "boot/vmlinuz-") + strlen("boot/vmlinuz-"));
    return *ret_release ? 0 : vmt_err_set(err, ENOMEM, "read kernel release");
}

/* The kernel that an earlier build unpacked, so that a build needs no network twice. */
static int
kernel_cached(const char *cache_dir, char **ret_dir)
{
    VMT_CLEANUP(vmt_freep) char *marker = NULL;
    int r = kernel_glob(cache_dir, "kernel/*/complete", &marker);

    if (r < 0)
        return r;
    *strrchr(marker, '/') = '\0';
    *ret_dir = vmt_take_ptr(&marker);
    return 0;
}

int
image_kernel_fetch(const char *cache_dir, bool refresh, char **ret_dir,
                   char **ret_release, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *dir = NULL;
    VMT_CLEANUP(vmt_freep) char *marker = NULL;
    VMT_CLEANUP(vmt_freep) char *release = NULL;
    char package[128];
    int r;

    if (refresh || kernel_cached(cache_dir, &dir) < 0) {
        r = kernel_package(package, err);
        if (r < 0)
            return r;
        if (asprintf(&dir, "%s/kernel/%s", cache_dir, package) < 0 ||
            asprintf(&marker, "%s/complete", dir) < 0)
            return vmt_err_set(err, ENOMEM, "fetch kernel");
        if (access(marker, F_OK) < 0) {
            r = os_remove_tree(dir, err);
            if (r == 0)
                r = kernel_download(package, dir, err);
            if (r == 0)
                r = kernel_release(dir, &release, err);
            if (r == 0)
                r = kernel_depmod(dir, release, err);
            if (r == 0)
                r = os_write_file_atomic(marker, package, strlen(package), 0644, err);
            if (r < 0)
                return r;
        }
    }
    vmt_freep(&release);
    release = NULL;
    r = kernel_release(dir, &release, err);
    if (r < 0)
        return r;
    *ret_dir = vmt_take_ptr(&dir);
    *ret_release = vmt_take_ptr(&release);
    return 0;
}

/* Decode one xz stream to out. Returns 0, -EINVAL when it is no whole stream. */
static int
kernel_unxz(const uint8_t *data, size_t len, FILE *out, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) uint8_t *chunk = malloc(KERNEL_CHUNK);
    lzma_stream s = LZMA_STREAM_INIT;
    uint64_t total = 0;
    lzma_ret r = LZMA_MEM_ERROR;

    if (chunk)
        r = lzma_stream_decoder(&s, KERNEL_LZMA_MEM, 0);
    s.next_in = data;
    s.avail_in = len;
    while (r == LZMA_OK) {
        size_t n;

        s.next_out = chunk;
        s.avail_out = KERNEL_CHUNK;
        r = lzma_code(&s, LZMA_RUN);
        n = KERNEL_CHUNK - s.avail_out;
        total += n;
        if (total > KERNEL_ELF_MAX || fwrite(chunk, 1, n, out) != n) {
            lzma_end(&s);
            return vmt_err_set(err, total > KERNEL_ELF_MAX ? EFBIG : errno,
                               "write kernel");
        }
    }
    lzma_end(&s);
    if (r != LZMA_STREAM_END)
        return vmt_err_setx(err, EINVAL,
                            "the kernel inside the bzImage is no whole xz stream");
    return 0;
}

int
image_kernel_extract(const char *bzimage, const char *elf, struct vmt_err *err)
{
    static const uint8_t magic[] = {0xfd, '7', 'z', 'X', 'Z', 0};
    VMT_CLEANUP(vmt_freep) char *data = NULL;
    VMT_CLEANUP(vmt_fclosep) FILE *out = NULL;
    const uint8_t *at;
    unsigned long len;
    int r = os_read_file(bzimage, KERNEL_FILE_MAX, &data, &len, err);

    if (r < 0)
        return r;
    at = memmem(data, len, magic, sizeof(magic));
    if (!at)
        return vmt_err_setx(err, ENOTSUP,
                            "%s holds no xz stream: cannot take the kernel out", bzimage);
    out = fopen(elf, "we");
    if (!out)
        return vmt_err_set(err, errno, "create %s", elf);
    r = kernel_unxz(at, len - (size_t)(at - (const uint8_t *)data), out, err);
    if (r < 0)
        return vmt_err_wrap(err, r, "take the kernel out of %s", bzimage);
    if (fflush(out) != 0)
        return vmt_err_set(err, errno, "write %s", elf);
    return image_kernel_check_pvh(elf, err);
}

static bool
section_has_pvh(Elf_Scn *scn)
{
    GElf_Shdr shdr;
    Elf_Data *data;
    size_t at = 0;

    if (!gelf_getshdr(scn, &shdr) || shdr.sh_type != SHT_NOTE)
        return false;
    data = elf_getdata(scn, NULL);
    while (data && at < data->d_size) {
        GElf_Nhdr note;
        size_t name, desc;

        at = gelf_getnote(data, at, &note, &name, &desc);
        if (at == 0)
            return false;
        if (note.n_type == KERNEL_NOTE_PVH && note.n_namesz == 4 &&
            memcmp((const char *)data->d_buf + name, "Xen", 4) == 0)
            return true;
    }
    return false;
}

int
image_kernel_check_pvh(const char *path, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    Elf_Scn *scn = NULL;
    bool found = false;
    Elf *elf;

    if (fd < 0)
        return vmt_err_set(err, errno, "open %s", path);
    (void)elf_version(EV_CURRENT);
    elf = elf_begin(fd, ELF_C_READ, NULL);
    while (elf && !found && (scn = elf_nextscn(elf, scn)))
        found = section_has_pvh(scn);
    (void)elf_end(elf);
    if (!found)
        return vmt_err_setx(err, ENOEXEC, "%s is no ELF kernel with a PVH entry", path);
    return 0;
}
