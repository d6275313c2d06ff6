/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vm_disk/options.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/str.h"

/* What no disk of ours is larger than: the most that a seek table can describe. */
#define SIZE_MAX_BYTES (1ull << 44)
#define VM_TYPE_MAX 99u /* two digits in an exported file */

const char options_usage[] =
    "Usage: vm_disk create|resize|export|import|convert|clean --image=PATH [OPTION...]\n"
    "Do one piece of long work on a disk image of a VM.\n"
    "\n"
    "  create    make a new image\n"
    "  resize    make an image larger or smaller while its VM is off\n"
    "  export    write an image as seekable zstd\n"
    "  import    make or replace an image from zstd, zip, qcow2 or raw bytes\n"
    "  convert   copy an image, also into another format\n"
    "  clean     remove what killed workers left in the folder of PATH\n"
    "\n"
    "The image:\n"
    "  --image=PATH         the image; its name must not begin with a dot\n"
    "  --dir-fd=FD          PATH is beneath this open folder, without symbolic links\n"
    "  --format=FORMAT      raw or qcow2; else by the name, .qcow2 or any other\n"
    "  --size=BYTES         new size; 0 for create: as large as fits\n"
    "  --allocation=HOW     sparse (default) or full: every block is allocated\n"
    "  --fs=FS              none (default), ext4 or btrfs: make it if nothing is there\n"
    "  --fs-option=OPTION   hand this to mke2fs or mkfs.btrfs instead of what is usual\n"
    "  --tune-option=OPTION hand this to tune2fs afterwards\n"
    "  --storage-balloon    size 0 is 95 % of the file system, not 90 % of what is free\n"
    "  --vm-type=N          type of the VM, 0 to 99, kept with the image\n"
    "  --user-chosen-size   note that a user chose the size\n"
    "  --keep-attributes    import: what was noted of the image before stays\n"
    "  --shrink-fs          resize: make an ext4 in it smaller first\n"
    "  --grow-fs            resize: make an ext4 in it larger afterwards, also when\n"
    "                       the image has the size already\n"
    "  --output=PATH        convert: the new image\n"
    "  --output-format=FORMAT\n"
    "                       its format; else by the name\n"
    "  --force              export, convert: a VM may have it open\n"
    "\n"
    "The bytes:\n"
    "  --data-fd=FD         what is exported to, or imported from: file, pipe or socket\n"
    "  --source=KIND        import: zstd, zip, qcow2 or raw; auto (default): look at it\n"
    "  --source-size=BYTES  size of what is imported, for the progress\n"
    "  --max-size=BYTES     an imported disk is not larger than this\n"
    "  --digest-fd=FD       export: the SHA-256 of what was written goes here\n"
    "  --digest=HEX         import: the SHA-256 that what is read must have\n"
    "\n"
    "The work:\n"
    "  --progress-fd=FD     tell progress and result here, one line each\n"
    "  --result-file=PATH   keep the last such line in this file\n"
    "  --priority=LEVEL     normal, low (default) or idle, for processor and disk\n"
    "  --max-rate=BYTES     no more than this a second\n"
    "  --named-temp         no unnamed temporary files\n"
    "  --no-sandbox         do without the system call filter\n"
    "  --help               show this text\n"
    "  --version            show the version\n";

/* Where the value of an option goes: each kind knows how to read it. */
enum option_kind {
    OPTION_TEXT,
    OPTION_FD,
    OPTION_BYTES,
    OPTION_FLAG,
    OPTION_UNFLAG,
    OPTION_FORMAT,
    OPTION_ALLOCATION,
    OPTION_FS,
    OPTION_ARGUMENT,
    OPTION_VM_TYPE,
    OPTION_DIGEST,
    OPTION_SOURCE,
    OPTION_PRIORITY,
};
struct option_row {
    const char *name;
    enum option_kind kind;
    size_t member;
    size_t given; /* a bool that is set as well, or 0 */
};
#define MEMBER(name) offsetof(struct options, name)

static const struct option_row rows[] = {
    {"image", OPTION_TEXT, MEMBER(image), 0},
    {"output", OPTION_TEXT, MEMBER(output), 0},
    {"result-file", OPTION_TEXT, MEMBER(result_file), 0},
    {"dir-fd", OPTION_FD, MEMBER(dir_fd), 0},
    {"data-fd", OPTION_FD, MEMBER(data_fd), 0},
    {"digest-fd", OPTION_FD, MEMBER(digest_fd), 0},
    {"progress-fd", OPTION_FD, MEMBER(progress_fd), 0},
    {"size", OPTION_BYTES, MEMBER(size), MEMBER(size_given)},
    {"source-size", OPTION_BYTES, MEMBER(source_size), 0},
    {"max-size", OPTION_BYTES, MEMBER(max_size), 0},
    {"max-rate", OPTION_BYTES, MEMBER(max_rate), 0},
    {"format", OPTION_FORMAT, MEMBER(format), MEMBER(format_given)},
    {"output-format", OPTION_FORMAT, MEMBER(output_format), MEMBER(output_format_given)},
    {"allocation", OPTION_ALLOCATION, MEMBER(full), 0},
    {"fs", OPTION_FS, MEMBER(fs), 0},
    {"fs-option", OPTION_ARGUMENT, MEMBER(fs_option), 0},
    {"tune-option", OPTION_ARGUMENT, MEMBER(tune_option), 0},
    {"vm-type", OPTION_VM_TYPE, MEMBER(vm_type), 0},
    {"digest", OPTION_DIGEST, MEMBER(digest), 0},
    {"source", OPTION_SOURCE, MEMBER(source), 0},
    {"priority", OPTION_PRIORITY, MEMBER(priority), 0},
    {"storage-balloon", OPTION_FLAG, MEMBER(storage_balloon), 0},
    {"user-chosen-size", OPTION_FLAG, MEMBER(user_chosen_size), 0},
    {"keep-attributes", OPTION_FLAG, MEMBER(keep_attributes), 0},
    {"shrink-fs", OPTION_FLAG, MEMBER(shrink_fs), 0},
    {"grow-fs", OPTION_FLAG, MEMBER(grow_fs), 0},
    {"force", OPTION_FLAG, MEMBER(force), 0},
    {"named-temp", OPTION_FLAG, MEMBER(named_temp), 0},
    {"no-sandbox", OPTION_UNFLAG, MEMBER(sandbox), 0},
    {"help", OPTION_FLAG, MEMBER(help), 0},
    {"version", OPTION_FLAG, MEMBER(version), 0},
};
#define ROWS VMT_ARRAY_SIZE(rows)

/* The place of word among n words of which not all need exist, or -EINVAL. */
static int
word_find(const char *const *words, unsigned n, const char *word)
{
    for (unsigned i = 0; i < n; i++) {
        if (words[i] && strcmp(words[i], word) == 0)
            return (int)i;
    }
    return -EINVAL;
}

static int
set_word(void *member, const char *const *words, unsigned n, const char *value)
{
    int found = word_find(words, n, value);

    if (found >= 0)
        *(unsigned *)member = (unsigned)found;
    return found < 0 ? found : 0;
}

static int
set_text(void *member, const char *value)
{
    *(const char **)member = value;
    return *value ? 0 : -EINVAL;
}

static int
set_fd(void *member, const char *value)
{
    uint64_t fd = 0;
    int r = vmt_parse_u64(value, INT_MAX, &fd);

    if (r == 0)
        *(int *)member = (int)fd;
    return r;
}

static int
set_bytes(void *member, const char *value)
{
    return vmt_parse_u64(value, SIZE_MAX_BYTES, member);
}

static int
set_flag(void *member, const char *value)
{
    (void)value;
    *(bool *)member = true;
    return 0;
}

static int
set_unflag(void *member, const char *value)
{
    (void)value;
    *(bool *)member = false;
    return 0;
}

static int
set_format(void *member, const char *value)
{
    return disk_format_parse(value, member);
}

static int
set_allocation(void *member, const char *value)
{
    static const char *const words[] = {"sparse", "full"};
    int found = word_find(words, VMT_ARRAY_SIZE(words), value);

    if (found >= 0)
        *(bool *)member = found == 1;
    return found < 0 ? found : 0;
}

static int
set_fs(void *member, const char *value)
{
    static const char *const words[] = {[FILE_SYSTEM_NONE] = "none",
                                        [FILE_SYSTEM_EXT4] = "ext4",
                                        [FILE_SYSTEM_BTRFS] = "btrfs"};

    return set_word(member, words, VMT_ARRAY_SIZE(words), value);
}

static int
set_argument(void *member, const char *value)
{
    vmt_argv_add(member, value);
    return 0;
}

static int
set_vm_type(void *member, const char *value)
{
    uint64_t type = 0;
    int r = vmt_parse_u64(value, VM_TYPE_MAX, &type);

    if (r == 0)
        *(int *)member = (int)type;
    return r;
}

static int
set_digest(void *member, const char *value)
{
    char *to = member;

    if (strlen(value) != SHA256_HEX - 1 ||
        strspn(value, "0123456789abcdefABCDEF") != SHA256_HEX - 1)
        return -EINVAL;
    for (unsigned i = 0; i < SHA256_HEX; i++)
        to[i] = (char)tolower((unsigned char)value[i]);
    return 0;
}

static int
set_source(void *member, const char *value)
{
    static const char *const words[] = {[SOURCE_AUTO] = "auto",
                                        [SOURCE_ZSTD] = "zstd",
                                        [SOURCE_ZIP] = "zip",
                                        [SOURCE_RAW] = "raw",
                                        [SOURCE_QCOW2] = "qcow2"};

    return set_word(member, words, VMT_ARRAY_SIZE(words), value);
}

static int
set_priority(void *member, const char *value)
{
    static const char *const words[] = {
        [PRIORITY_NORMAL] = "normal", [PRIORITY_LOW] = "low", [PRIORITY_IDLE] = "idle"};

    return set_word(member, words, VMT_ARRAY_SIZE(words), value);
}

static int (*const setters[])(void *member, const char *value) = {
    [OPTION_TEXT] = set_text,
    [OPTION_FD] = set_fd,
    [OPTION_BYTES] = set_bytes,
    [OPTION_FLAG] = set_flag,
    [OPTION_UNFLAG] = set_unflag,
    [OPTION_FORMAT] = set_format,
    [OPTION_ALLOCATION] = set_allocation,
    [OPTION_FS] = set_fs,
    [OPTION_ARGUMENT] = set_argument,
    [OPTION_VM_TYPE] = set_vm_type,
    [OPTION_DIGEST] = set_digest,
    [OPTION_SOURCE] = set_source,
    [OPTION_PRIORITY] = set_priority,
};

static int
options_set(struct options *opt, const struct option_row *row, const char *value,
            struct vmt_err *err)
{
    uint8_t *base = (uint8_t *)opt;

    if (setters[row->kind](base + row->member, value) < 0)
        return vmt_err_setx(err, EINVAL, "--%s cannot be %s", row->name, value);
    if (row->given)
        *(bool *)(base + row->given) = true;
    return 0;
}

static int
options_command(struct options *opt, const char *word, struct vmt_err *err)
{
    static const char *const words[COMMAND_COUNT] = {
        [COMMAND_CREATE] = "create",   [COMMAND_RESIZE] = "resize",
        [COMMAND_EXPORT] = "export",   [COMMAND_IMPORT] = "import",
        [COMMAND_CONVERT] = "convert", [COMMAND_CLEAN] = "clean"};

    if (set_word(&opt->command, words, COMMAND_COUNT, word) < 0)
        return vmt_err_setx(err, EINVAL, "not a command: %s", word);
    return 0;
}

static int
options_check_create(const struct options *opt, struct vmt_err *err)
{
    if (opt->full && (!opt->size || opt->storage_balloon))
        return vmt_err_setx(err, EINVAL,
                            "--allocation=full needs a --size and no --storage-balloon");
    if (opt->full && opt->format == DISK_QCOW2)
        return vmt_err_setx(err, EINVAL, "--allocation=full is for raw images");
    return 0;
}

/* What each command cannot do without. */
static int
options_check_command(const struct options *opt, struct vmt_err *err)
{
    bool streams = opt->command == COMMAND_EXPORT || opt->command == COMMAND_IMPORT;

    if (streams && opt->data_fd < 0)
        return vmt_err_setx(err, EINVAL, "--data-fd is missing");
    if (opt->keep_attributes && (opt->command != COMMAND_IMPORT || opt->vm_type >= 0))
        return vmt_err_setx(err, EINVAL,
                            "--keep-attributes is for import, and no --vm-type");
    if (opt->command == COMMAND_RESIZE && !opt->size)
        return vmt_err_setx(err, EINVAL, "--size is missing");
    if ((opt->command == COMMAND_CONVERT) != (opt->output != NULL))
        return vmt_err_setx(err, EINVAL, "--output is for convert, which needs it");
    if (opt->fs == FILE_SYSTEM_NONE && (opt->fs_option.n || opt->tune_option.n))
        return vmt_err_setx(err, EINVAL, "--fs-option and --tune-option need --fs");
    if (opt->fs != FILE_SYSTEM_EXT4 && opt->tune_option.n)
        return vmt_err_setx(err, EINVAL, "--tune-option needs --fs=ext4");
    return opt->command == COMMAND_CREATE ? options_check_create(opt, err) : 0;
}

static int
options_finish(struct options *opt, struct vmt_err *err)
{
    if (opt->help || opt->version)
        return 0;
    if (opt->command == COMMAND_NONE)
        return vmt_err_setx(err, EINVAL, "say what to do: create, export, ...");
    if (!opt->image)
        return vmt_err_setx(err, EINVAL, "--image is missing");
    if (!opt->format_given)
        opt->format = disk_format_of_name(opt->image);
    if (opt->output && !opt->output_format_given)
        opt->output_format = disk_format_of_name(opt->output);
    if (vmt_argv_finish(&opt->fs_option, err) < 0 ||
        vmt_argv_finish(&opt->tune_option, err) < 0)
        return -ENOMEM;
    return options_check_command(opt, err);
}

static void
options_getopt(struct option *ret_long)
{
    for (size_t i = 0; i < ROWS; i++) {
        bool flag = rows[i].kind == OPTION_FLAG || rows[i].kind == OPTION_UNFLAG;

        ret_long[i] = (struct option){rows[i].name,
                                      flag ? no_argument : required_argument, NULL, 0};
    }
    ret_long[ROWS] = (struct option){0};
}

int
options_parse(int argc, char **argv, struct options *ret_opt, struct vmt_err *err)
{
    struct options opt = {.dir_fd = -1,
                          .data_fd = -1,
                          .digest_fd = -1,
                          .progress_fd = -1,
                          .vm_type = -1,
                          .max_size = SIZE_MAX_BYTES,
                          .priority = PRIORITY_LOW,
                          .sandbox = true};
    struct option table[ROWS + 1];
    int c, row = 0, r = 0;

    options_getopt(table);
    opterr = 0;
    optind = 0;
    while (r == 0 && (c = getopt_long(argc, argv, "", table, &row)) != -1) {
        if (c == '?')
            r = vmt_err_setx(err, EINVAL, "cannot use %s", argv[optind - 1]);
        else
            r = options_set(&opt, &rows[row], optarg, err);
    }
    if (r == 0 && optind < argc)
        r = options_command(&opt, argv[optind++], err);
    if (r == 0 && optind < argc)
        r = vmt_err_setx(err, EINVAL, "too many words: %s", argv[optind]);
    if (r == 0)
        r = options_finish(&opt, err);
    if (r < 0) {
        options_done(&opt);
        return r;
    }
    *ret_opt = opt;
    return 0;
}

void
options_done(struct options *opt)
{
    vmt_argv_done(&opt->fs_option);
    vmt_argv_done(&opt->tune_option);
}
