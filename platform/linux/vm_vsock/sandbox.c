/* SPDX-License-Identifier: BSD-3-Clause */
/* A filter of system calls, written for the kernel's classic BPF: the list is short, and
 * the process has no other use for a library.
 * Source: seccomp(2); linux/seccomp.h, struct seccomp_data. */
#include "platform/linux/vm_vsock/sandbox.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"

#if defined(__x86_64__)
#define MACHINE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define MACHINE AUDIT_ARCH_AARCH64
#else
#define MACHINE 0u
#endif

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

/* Calls with any arguments. Those in #ifdef are the old names that newer machines do not
 * have; a C library takes the one or the other. */
static const uint32_t allowed[] = {
    __NR_epoll_pwait,
    __NR_epoll_ctl,
    __NR_ppoll,
    __NR_timerfd_settime,
#ifdef __NR_epoll_wait
    __NR_epoll_wait,
#endif
#ifdef __NR_poll
    __NR_poll,
#endif
    __NR_read,
    __NR_write,
    __NR_readv,
    __NR_writev,
    __NR_recvmsg,
    __NR_sendmsg,
    __NR_recvfrom,
    __NR_sendto,
    __NR_accept4,
    __NR_connect,
    __NR_shutdown,
    __NR_close,
    __NR_fcntl,
    /* fstat on shared memory; the second is how newer C libraries spell it. */
    __NR_fstat,
    __NR_newfstatat,
    /* memory, never executable, see below for mmap */
    __NR_munmap,
    __NR_mremap,
    __NR_madvise,
    __NR_brk,
    __NR_clock_gettime,
    __NR_gettimeofday,
    __NR_getrandom,
    __NR_restart_syscall,
    /* libevent asks these before it looks at the environment */
    __NR_getuid,
    __NR_geteuid,
    __NR_getgid,
    __NR_getegid,
    __NR_rt_sigaction,
    __NR_rt_sigprocmask,
    __NR_rt_sigreturn,
    __NR_exit,
    __NR_exit_group,
};

/* What a keeper needs beside those: to end, to start a program, and what that program and
 * its loader do until they have a filter of their own. */
static const uint32_t allowed_keeper[] = {
    __NR_clone,
    __NR_clone3,
#ifdef __NR_vfork
    __NR_vfork,
#endif
    __NR_execve,
    __NR_waitid,
    __NR_wait4,
    __NR_pidfd_open,
    __NR_pidfd_send_signal,
    __NR_kill,
    __NR_tgkill,
    __NR_getpid,
    __NR_gettid,
    __NR_setsid,
    __NR_dup,
    __NR_dup3,
#ifdef __NR_dup2
    __NR_dup2,
#endif
    __NR_close_range,
    __NR_mmap,
    __NR_mprotect,
    __NR_openat,
#ifdef __NR_open
    __NR_open,
#endif
    __NR_pread64,
    __NR_lseek,
    __NR_statx,
#ifdef __NR_stat
    __NR_stat,
    __NR_lstat,
    __NR_access,
    __NR_readlink,
    __NR_unlink,
#endif
    __NR_faccessat,
    __NR_faccessat2,
    __NR_readlinkat,
    __NR_unlinkat,
    __NR_getdents64,
    __NR_getcwd,
    __NR_socketpair,
    __NR_getsockopt,
    __NR_eventfd2,
    __NR_pipe2,
    __NR_epoll_create1,
    __NR_timerfd_create,
    __NR_prctl,
    __NR_seccomp,
    __NR_prlimit64,
    __NR_set_tid_address,
    __NR_set_robust_list,
    __NR_rseq,
    __NR_futex,
    __NR_uname,
    __NR_sched_getaffinity,
    __NR_sched_yield,
#ifdef __NR_arch_prctl
    __NR_arch_prctl,
#endif
};

/* Calls with one argument that is looked at: allowed if (low 32 bits & mask) == value. */
struct argument_rule {
    uint32_t call;
    unsigned index;
    uint32_t mask, value;
};
static const struct argument_rule argument_rules[] = {
    {__NR_socket, 0, UINT32_MAX, AF_UNIX},
    {__NR_mmap, 2, PROT_EXEC, 0},
    {__NR_mprotect, 2, PROT_EXEC, 0},
};

#define FILTER_MAX 256u

struct filter {
    struct sock_filter op[FILTER_MAX];
    unsigned short n;
};

static void
emit(struct filter *f, uint16_t code, uint32_t k, uint8_t jt, uint8_t jf)
{
    if (f->n < FILTER_MAX) /* the sum of the lists above is known to be less */
        f->op[f->n++] = (struct sock_filter){code, jt, jf, k};
}

static void
emit_load(struct filter *f, size_t offset)
{
    emit(f, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static void
emit_return(struct filter *f, uint32_t action)
{
    emit(f, BPF_RET | BPF_K, action, 0, 0);
}

static void
emit_allow(struct filter *f, uint32_t call)
{
    emit(f, BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1);
    emit_return(f, SECCOMP_RET_ALLOW);
}

/* Load the argument, mask, compare, and load the number of the call again. Both machines
 * are little endian: the low half comes first. */
static void
emit_argument_rule(struct filter *f, const struct argument_rule *rule)
{
    emit(f, BPF_JMP | BPF_JEQ | BPF_K, rule->call, 0, 5);
    emit_load(f, offsetof(struct seccomp_data, args) + 8 * rule->index);
    emit(f, BPF_ALU | BPF_AND | BPF_K, rule->mask, 0, 0);
    emit(f, BPF_JMP | BPF_JEQ | BPF_K, rule->value, 0, 1);
    emit_return(f, SECCOMP_RET_ALLOW);
    emit_load(f, offsetof(struct seccomp_data, nr));
}

static void
filter_build(struct filter *f, enum sandbox_role role)
{
    emit_load(f, offsetof(struct seccomp_data, arch));
    emit(f, BPF_JMP | BPF_JEQ | BPF_K, MACHINE, 1, 0);
    emit_return(f, SECCOMP_RET_KILL_PROCESS); /* calls of another table */
    emit_load(f, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < VMT_ARRAY_SIZE(allowed); i++)
        emit_allow(f, allowed[i]);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(argument_rules); i++)
        emit_argument_rule(f, &argument_rules[i]);
    for (size_t i = 0; role == SANDBOX_KEEPER && i < VMT_ARRAY_SIZE(allowed_keeper); i++)
        emit_allow(f, allowed_keeper[i]);
    emit_return(f, SECCOMP_RET_ERRNO | ENOSYS);
}

int
sandbox_enter(enum sandbox_role role, struct vmt_err *err)
{
    struct filter filter = {.n = 0};
    struct sock_fprog program = {.filter = filter.op};

    if (SANITIZED || !MACHINE)
        return vmt_err_setx(err, ENOTSUP, "no filter for this build");
    filter_build(&filter, role);
    program.len = filter.n;
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
        return vmt_err_set(err, ENOTSUP, "install the filter");
    return 0;
}
