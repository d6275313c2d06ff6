/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_disk/options.h - the command line of vm_disk. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/base/argv.h"
#include "core/disk/format.h"

struct vmt_err;

enum command {
    COMMAND_NONE,
    COMMAND_CREATE,
    COMMAND_RESIZE,
    COMMAND_EXPORT,
    COMMAND_IMPORT,
    COMMAND_CONVERT,
    COMMAND_CLEAN,
    COMMAND_COUNT,
};

enum file_system { FILE_SYSTEM_NONE, FILE_SYSTEM_EXT4, FILE_SYSTEM_BTRFS };
enum priority { PRIORITY_NORMAL, PRIORITY_LOW, PRIORITY_IDLE };
/* What comes in by import; AUTO looks at the first bytes. */
enum source_kind { SOURCE_AUTO, SOURCE_ZSTD, SOURCE_ZIP, SOURCE_RAW, SOURCE_QCOW2 };

#define SHA256_HEX 65 /* with the NUL */

/* Strings are borrowed from argv. Descriptors are -1 where none was given. */
struct options {
    enum command command;
    const char *image;
    const char *output; /* of convert */
    const char *result_file;
    int dir_fd, data_fd, digest_fd, progress_fd;
    uint64_t size;        /* bytes; 0: as large as fits */
    uint64_t source_size; /* bytes of the input of import, 0: unknown */
    uint64_t max_size;    /* bytes that import and create may write */
    uint64_t max_rate;    /* bytes a second, 0: as fast as it goes */
    enum disk_format format, output_format;
    enum file_system fs;
    enum priority priority;
    enum source_kind source;
    int vm_type;               /* 0 to 99, or -1: unknown */
    char digest[SHA256_HEX];   /* lower case, or "" */
    struct vmt_argv fs_option; /* owned; of mke2fs or mkfs.btrfs */
    struct vmt_argv tune_option;
    bool full; /* allocate every block */
    bool size_given, format_given, output_format_given;
    bool user_chosen_size, keep_attributes, storage_balloon, shrink_fs, grow_fs, force;
    bool named_temp, sandbox, help, version;
};

extern const char options_usage[];

/* Returns 0, or -EINVAL with a sentence for the user. */
int options_parse(int argc, char **argv, struct options *ret_opt, struct vmt_err *err);
void options_done(struct options *opt);
