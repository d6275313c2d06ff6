/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vmc/vmc.h - what the commands of vmc share. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "core/base/err.h"
#include "core/ipc/ipc.h"
#include "platform/linux/os/paths.h"

struct concierge_client;
struct hypervisor;
struct os_loop;
struct spawn;

/* Stable exit codes; those of `vmc exec` and `vmc shell` are the command's own. */
enum vmc_exit {
    VMC_DONE = 0,
    VMC_FAILED = 1,
    VMC_USAGE = 2,
    VMC_NOT_FOUND = 3,
    VMC_BUSY = 4,
    VMC_DAEMON_AWAY = 5,
    VMC_TIMEOUT = 6,
};

/* Makes the hypervisor backend that doctor looks at; main chooses it. */
typedef int vmc_hypervisor_fn(struct os_loop *loop, struct spawn *spawn,
                              const char *cache_dir, struct hypervisor **ret_hv,
                              struct vmt_err *err);

/* One run of the program. */
struct vmc {
    const char *owner; /* borrowed; never NULL after vmc_init */
    bool json;
    bool system;                     /* talk to the system's daemon, start none */
    vmc_hypervisor_fn *hypervisor;   /* borrowed */
    struct os_loop *loop;            /* owned */
    struct os_paths paths;           /* owned; of our user */
    struct concierge_client *client; /* owned; NULL until vmc_connect */
    char own_id[IPC_OWNER_MAX];
};

/* Loop, paths and owner (VMC_OWNER, else the one that stands for our uid). */
int vmc_init(struct vmc *vmc, struct vmt_err *err);
void vmc_done(struct vmc *vmc);

struct vmc_command {
    const char *name;
    const char *summary; /* one line */
    const char *usage;   /* arguments, and lines that explain options; ends in newline */
    int (*run)(struct vmc *vmc, int argc, char **argv); /* argv[0] is the name */
};

/* All commands; NULL ends the list. */
extern const struct vmc_command *const vmc_commands[];
extern const struct vmc_command vmc_start, vmc_stop, vmc_list, vmc_info, vmc_shell,
    vmc_exec, vmc_logs, vmc_disk, vmc_image, vmc_doctor, vmc_completion, vmc_version,
    vmc_help, vmc_attach_disk, vmc_detach_disk, vmc_usb, vmc_suspend, vmc_resume,
    vmc_wait, vmc_snapshot, vmc_run, vmc_cp, vmc_ps;

/* One option of a command. set gets value NULL for a switch; returns 0 or -EINVAL. */
struct vmc_option {
    const char *name;
    bool has_value;
    int (*set)(void *target, const char *value, struct vmt_err *err);
};

/* Where operands may stand. */
enum vmc_order {
    VMC_ORDER_ANY,   /* options and operands in any order */
    VMC_ORDER_FIRST, /* the first operand ends the options */
};

/* A letter that stands for an option. */
struct vmc_letter {
    char letter;
    const char *option;
};

struct vmc_syntax {
    const struct vmc_option *options; /* the last has no name; borrowed; may be NULL */
    const struct vmc_letter *letters; /* the last is 0; borrowed; may be NULL */
    enum vmc_order order;
    size_t operands_min, operands_max;
};

/* Put the command in front of the options that every command takes and that stand before
 * it; argv[0] stays. What is no such option is taken for the command. */
void vmc_command_first(int argc, char **argv);

/* Read the options of a command into target, and those that every command knows (--json,
 * --owner, --system) into vmc. On success *ret_operands points to the operands in argv.
 * Returns 0 or -EINVAL; *ret_help tells that --help stood there, then nothing else was
 * checked. */
int vmc_parse(struct vmc *vmc, int argc, char **argv, const struct vmc_syntax *syntax,
              void *target, char ***ret_operands, size_t *ret_noperands, bool *ret_help,
              struct vmt_err *err);
/* The same, and say on stderr or stdout what there is to say. Returns -1 when the command
 * goes on, else the exit code of the program. */
int vmc_begin(struct vmc *vmc, const struct vmc_command *command, int argc, char **argv,
              const struct vmc_syntax *syntax, void *target, char ***ret_operands,
              size_t *ret_noperands);

/* Print "vmc: <words>" on stderr and give the exit code for a negative errno. */
int vmc_fail(int error, const struct vmt_err *err);

/* Where vm_concierge listens; cut when path has no room for size bytes. */
void vmc_socket_path(const struct vmc *vmc, char *path, size_t size);

/* Connect to vm_concierge, and start it first where that is needed. */
int vmc_connect(struct vmc *vmc, struct vmt_err *err);

/* Call a method, connected or not. A daemon that was just ending itself is started again
 * and asked once more. See concierge_client_call. */
struct concierge_call;
struct ProtobufCMessage;
int vmc_call(struct vmc *vmc, const struct concierge_call *call,
             struct ProtobufCMessage **ret_reply, struct vmt_err *err);

/* Call a method whose reply only says whether it worked. -EIO: it did not, with the
 * daemon's words. */
int vmc_call_plain(struct vmc *vmc, const char *method,
                   const struct ProtobufCMessage *request, unsigned timeout_ms,
                   struct vmt_err *err);

/* Whether a VM of the owner has this name, in any state: methods that take the name of no
 * VM for success need not mean that for people. Returns 0, -ENOENT with words, or as
 * vmc_call. */
int vmc_require(struct vmc *vmc, const char *name, struct vmt_err *err);

/* May something new be called that? Names of VMs and disks stand in front of the colon of
 * vmc cp, among paths of disks, and in lists that scripts take apart. Who else makes some
 * may call them anything. Returns 0 or -EINVAL. */
int vmc_name_check(const char *name, struct vmt_err *err);

/* Whether a VM of the owner has this name, or had it and its end is remembered. Returns
 * as vmc_call. */
int vmc_is_known(struct vmc *vmc, const char *name, bool *ret_known, struct vmt_err *err);

/* The folder of this program, malloc'ed; NULL without memory or /proc. */
char *vmc_program_dir(void);
/* A program of ours: beside this one, else its plain name for a search in PATH.
 * malloc'ed, NULL without memory. */
char *vmc_find_program(const char *name);

/* Text of a guest or daemon for the user's terminal. Returns buf. */
const char *vmc_escape(char *buf, size_t cap, const char *text);
/* Write lines of a guest without what a terminal would act upon. */
void vmc_print_plain(FILE *out, const char *text, size_t len);
