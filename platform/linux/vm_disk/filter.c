/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vm_disk/filter.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define SANITIZED true
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define SANITIZED true
#endif
#ifndef SANITIZED
#define SANITIZED false
#endif

/* With any arguments. By name: the library leaves out what a machine does not have. */
static const char *const jail_calls[] = {
    "read",
    "write",
    "readv",
    "writev",
    "pread64",
    "pwrite64",
    "lseek",
    "_llseek",
    "ftruncate",
    "ftruncate64",
    "fallocate",
    "fadvise64",
    "fadvise64_64",
    "fstat",
    "fstat64",
    "newfstatat",
    "fsync",
    "fdatasync",
    "close",
    "poll",
    "ppoll",
    /* memory, never executable: see below for mmap */
    "munmap",
    "mremap",
    "madvise",
    "brk",
    /* threads; clone3 cannot be looked into, and the C library does without */
    "futex",
    "futex_time64",
    "set_robust_list",
    "rseq",
    "sched_yield",
    "sched_getaffinity",
    "gettid",
    "getpid",
    "tgkill",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sigaltstack",
    "restart_syscall",
    "exit",
    "exit_group",
    "clock_gettime",
    "clock_gettime64",
    "gettimeofday",
    "clock_nanosleep",
    "clock_nanosleep_time64",
    "nanosleep",
    "getrandom",
};

/* The flags of clone(2) are its second argument there. */
#ifdef __s390__
#define CLONE_FLAGS_ARGUMENT 1
#else
#define CLONE_FLAGS_ARGUMENT 0
#endif

/* Signals to others; tgkill stays, abort(3) sends one to itself with it. */
static const char *const tool_missing[] = {
    "kill",
    "tkill",
    "rt_sigqueueinfo",
    "rt_tgsigqueueinfo",
    "pidfd_open",
    "pidfd_send_signal",
    "socket",
    "socketpair",
    "connect",
    "bind",
    "listen",
    "accept",
    "accept4",
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "kcmp",
    "pidfd_getfd",
    "mount",
    "umount",
    "umount2",
    "pivot_root",
    "chroot",
    "setns",
    "unshare",
    "move_mount",
    "open_tree",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "mount_setattr",
    "swapon",
    "swapoff",
    "reboot",
    "kexec_load",
    "kexec_file_load",
    "init_module",
    "finit_module",
    "delete_module",
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "add_key",
    "request_key",
    "keyctl",
    "open_by_handle_at",
    "name_to_handle_at",
    "acct",
    "quotactl",
    "settimeofday",
    "clock_settime",
    "adjtimex",
    "clock_adjtime",
    "sethostname",
    "setdomainname",
    "iopl",
    "ioperm",
    "syslog",
    "personality",
    "fanotify_init",
    "setuid",
    "setgid",
    "setreuid",
    "setregid",
    "setresuid",
    "setresgid",
    "setgroups",
};

static void
filter_freep(scmp_filter_ctx *ctx)
{
    if (*ctx)
        seccomp_release(*ctx);
}

/* Calls that this machine has not are no failure. */
static int
filter_add(scmp_filter_ctx ctx, uint32_t action, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int call = seccomp_syscall_resolve_name(names[i]);
        int r = call == __NR_SCMP_ERROR ? 0 : seccomp_rule_add(ctx, action, call, 0);

        if (r < 0 && r != -EDOM)
            return r;
    }
    return 0;
}

/* Calls of which one argument is looked at: allowed if (argument & mask) == value. */
static int
filter_add_masked(scmp_filter_ctx ctx)
{
    const struct {
        const char *name;
        unsigned argument;
        uint64_t mask, value;
    } rules[] = {
        {"mmap", 2, PROT_EXEC, 0},
        {"mmap2", 2, PROT_EXEC, 0},
        {"mprotect", 2, PROT_EXEC, 0},
        {"clone", CLONE_FLAGS_ARGUMENT, CLONE_THREAD | CLONE_VM, CLONE_THREAD | CLONE_VM},
    };

    for (size_t i = 0; i < VMT_ARRAY_SIZE(rules); i++) {
        int call = seccomp_syscall_resolve_name(rules[i].name);
        int r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, call, 1,
                                 SCMP_CMP(rules[i].argument, SCMP_CMP_MASKED_EQ,
                                          rules[i].mask, rules[i].value));

        if (r < 0 && r != -EDOM)
            return r;
    }
    return 0;
}

/* New processes and threads, but no new namespaces. The flags of clone3 are in memory,
 * where a filter cannot look; the C library takes clone where it is missing. */
static int
filter_add_namespaces(scmp_filter_ctx ctx)
{
    static const uint64_t flags[] = {CLONE_NEWNS,  CLONE_NEWCGROUP, CLONE_NEWUTS,
                                     CLONE_NEWIPC, CLONE_NEWUSER,   CLONE_NEWPID,
                                     CLONE_NEWNET};
    static const char *const unseen[] = {"clone3"};
    int clone_call = seccomp_syscall_resolve_name("clone");
    int r = filter_add(ctx, SCMP_ACT_ERRNO(ENOSYS), unseen, VMT_ARRAY_SIZE(unseen));

    for (size_t i = 0; r == 0 && i < VMT_ARRAY_SIZE(flags); i++)
        r = seccomp_rule_add(
            ctx, SCMP_ACT_ERRNO(EPERM), clone_call, 1,
            SCMP_CMP(CLONE_FLAGS_ARGUMENT, SCMP_CMP_MASKED_EQ, flags[i], flags[i]));
    return r;
}

int
filter_enter(enum filter filter, struct vmt_err *err)
{
    bool jail = filter == FILTER_JAIL;
    VMT_CLEANUP(filter_freep) scmp_filter_ctx ctx = NULL;
    int r;

    /* A kernel that was built without filters does not know this call either. */
    if (SANITIZED || prctl(PR_GET_SECCOMP, 0, 0, 0, 0) < 0)
        return 0;
    ctx = seccomp_init(jail ? SCMP_ACT_ERRNO(ENOSYS) : SCMP_ACT_ALLOW);
    if (!ctx)
        return vmt_err_setx(err, ENOMEM, "cannot make a system call filter");
    if (jail)
        r = filter_add(ctx, SCMP_ACT_ALLOW, jail_calls, VMT_ARRAY_SIZE(jail_calls));
    else
        r = filter_add(ctx, SCMP_ACT_ERRNO(EPERM), tool_missing,
                       VMT_ARRAY_SIZE(tool_missing));
    if (r == 0)
        r = jail ? filter_add_masked(ctx) : filter_add_namespaces(ctx);
    if (r == 0)
        r = seccomp_load(ctx);
    return r < 0 ? vmt_err_set(err, -r, "load a system call filter") : 0;
}
