/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vmc/cmd_start.h - what vmc start was asked for. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "platform/linux/vmc/vmc.h"

/* vm_concierge takes that many. Source: spec of StartVm, "disks <= 10". */
#define START_DISKS_MAX 10
#define START_PARAMS_MAX 64

struct start_disk {
    char *path; /* owned, absolute; or the name of a disk until it is looked up */
    bool read_only;
    bool is_name;
};

/* Other strings are borrowed from the command line. */
struct start_options {
    const char *image;                  /* name or folder; NULL: the default one */
    const char *kernel, *initrd, *root; /* NULL: of the image */
    const char *accel;                  /* "": auto */
    const char *network;                /* "": the daemon's choice */
    uint32_t cpus, mem_mib, timeout_s;  /* 0: the daemon's choice */
    int restart_mode;                   /* Vmt.RestartPolicy.Mode */
    uint32_t restarts;                  /* in a row; 0: without limit */
    struct start_disk disks[START_DISKS_MAX];
    size_t ndisks;
    const char *params[START_PARAMS_MAX];
    size_t nparams;
    bool no_shell, container_network;
    uint32_t cpu_weight; /* 0: the usual one */
    bool hugepages, storage_balloon;
    bool cold;  /* boot, even when there is a template */
    bool wait;  /* until it has ended */
    bool quiet; /* not a word of how it goes */
};

#define START_OPTIONS_MAX 24 /* the last of the table has no name */
extern const struct vmc_option start_option_table[];
/* What is the same for every start. */
void start_options_init(struct start_options *options);
/* Put paths in the place of names of disks. Returns 0, -ENOENT, or as vmc_call. */
int start_disks_find(struct vmc *vmc, struct start_options *options, struct vmt_err *err);
void start_options_done(struct start_options *options);

/* Files to boot: descriptors and what they are, in the order of the request. */
struct start_files {
    int fds[3];   /* owned */
    int kinds[3]; /* StartVmRequest.FdType */
    size_t n;
    char *cmdline; /* owned; kernel parameters that the image needs, NULL: none */
};
/* Open what the options name and take the rest from the image. Returns 0, -ENOENT and so
 * on with words that say which file. */
int start_files_open(const struct vmc *vmc, const struct start_options *options,
                     struct start_files *ret_files, struct vmt_err *err);
void start_files_done(struct start_files *files);

/* Everything up to the running VM. An interrupt stops it. Returns 0, -EBUSY, or as
 * vmc_call. */
int vm_start(struct vmc *vmc, const char *name, const struct start_options *options,
             struct vmt_err *err);
