/* SPDX-License-Identifier: BSD-3-Clause */
/* What the jail and the filter of tools refuse, each next to the same without a filter: a
 * probe that finds nothing would prove nothing. Built without sanitizers, with which
 * there is no filter. As "tool" this is the program that tool_run starts. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/vm_disk/jail.h"
#include "platform/linux/vm_disk/tool.h"
#include "tests/unit/test.h"

#define EXIT_SKIP 77

/* --- the jail --- */

static int
try_open(void)
{
    int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);

    return fd < 0 ? -errno : close(fd);
}

static int
try_make(void)
{
    return unlink("/nonexistent/file") < 0 && errno == ENOENT ? 0 : -errno;
}

static int
try_socket(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    return fd < 0 ? -errno : close(fd);
}

static int
try_process(void)
{
    pid_t pid = fork();

    if (pid == 0)
        _exit(0);
    return pid < 0 ? -errno : waitpid(pid, NULL, 0) != pid;
}

static int
try_exec(void)
{
    char *const argv[] = {NULL};

    (void)execve("/nonexistent/program", argv, argv);
    return errno == ENOENT ? 0 : -errno;
}

static int
try_code(void)
{
    void *page =
        mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return page == MAP_FAILED ? -errno : munmap(page, 4096);
}

static int
try_signal(void)
{
    return kill(getppid(), 0) < 0 ? -errno : 0;
}

static int
try_ioctl(void)
{
    return ioctl(0, 0, NULL) < 0 && errno != ENOSYS ? 0 : -errno;
}

static int
try_namespace(void)
{
    return unshare(CLONE_NEWUSER) < 0 && errno != EINVAL ? -errno : 0;
}

static int
try_trace(void)
{
    return ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0 ? -errno : 0;
}

/* Each gives 0 when it worked, or got as far as it would have to. */
static const struct probe {
    const char *name;
    int (*run)(void);
    bool of_jail, of_tool; /* who refuses it */
} probes[] = {
    {"open a file", try_open, true, false},
    {"remove a file", try_make, true, false},
    {"make a socket", try_socket, true, true},
    {"make a process", try_process, true, false},
    {"run a program", try_exec, true, false},
    {"map code", try_code, true, false},
    {"signal another process", try_signal, true, true},
    {"control a device", try_ioctl, true, false},
    {"make a namespace", try_namespace, true, true},
    {"trace", try_trace, true, true},
};

struct cell {
    int given, other; /* descriptors: only the first is kept */
    char failed[64];
};

static void *
thread_main(void *arg)
{
    *(bool *)arg = true;
    return NULL;
}

/* What the work needs still goes. */
static const char *
what_is_missing(const struct cell *cell)
{
    pthread_t thread;
    bool ran = false;
    char byte;

    if (pwrite(cell->given, "x", 1, 0) != 1 || pread(cell->given, &byte, 1, 0) != 1)
        return "its own file";
    if (!malloc(1u << 24))
        return "memory";
    if (pthread_create(&thread, NULL, thread_main, &ran) != 0 ||
        pthread_join(thread, NULL) != 0 || !ran)
        return "threads";
    return NULL;
}

static int
look_around(void *arg, struct jail_answer *answer, struct vmt_err *err)
{
    const struct cell *cell = arg;
    const char *missing = what_is_missing(cell);
    char byte;

    if (missing)
        return vmt_err_setx(err, EINVAL, "the jail lacks %s", missing);
    if (pread(cell->other, &byte, 1, 0) >= 0 || errno != EBADF)
        return vmt_err_setx(err, EINVAL, "a descriptor was left open");
    for (size_t i = 0; i < VMT_ARRAY_SIZE(probes); i++)
        if (probes[i].run() == 0)
            answer->size |= UINT64_C(1) << i;
    return 0;
}

static uint64_t
look_from_jail(bool filter)
{
    VMT_CLEANUP(vmt_closep) int given = memfd_create("given", MFD_CLOEXEC);
    VMT_CLEANUP(vmt_closep) int other = memfd_create("other", MFD_CLOEXEC);
    const struct jail jail = {.fds = {given}, .nfds = 1, .filter = filter};
    struct cell cell = {.given = given, .other = other};
    struct jail_answer answer = {0};
    struct vmt_err err = {0};
    int r = jail_run(&jail, look_around, &cell, &answer, &err);

    if (r < 0)
        fail_msg("%s", err.msg);
    return answer.size;
}

static void
the_jail_refuses_what_works_outside(void **state)
{
    uint64_t outside = look_from_jail(false), inside = look_from_jail(true);

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(probes); i++) {
        const struct probe *probe = &probes[i];

        /* An ordinary user may have neither namespaces nor tracers anyway. */
        if (!(outside >> i & 1) && !probe->of_tool)
            fail_msg("\"%s\" does not even work outside", probe->name);
        if (probe->of_jail && inside >> i & 1)
            fail_msg("\"%s\" works inside", probe->name);
    }
}

/* --- tools --- */

static bool
status_has(const char *line)
{
    VMT_CLEANUP(vmt_closep) int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    char text[8192];
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

    if (n < 0)
        return false;
    text[n] = '\0';
    return strstr(text, line) != NULL;
}

/* The exit code names what is wrong; 0: as it is without a filter, 1: all is refused. */
static int
tool_main(void)
{
    struct rlimit memory;
    unsigned refused = 0, asked = 0;

    if (fcntl(3, F_GETFD) < 0)
        return 10;
    for (int fd = 4; fd < 128; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            return 11;
    if (!status_has("CapEff:\t0000000000000000") || !status_has("NoNewPrivs:\t1"))
        return 12;
    if (getrlimit(RLIMIT_AS, &memory) < 0 || memory.rlim_cur == RLIM_INFINITY)
        return 13;
    if (getenv("HOME") || getenv("LD_PRELOAD"))
        return 14;
    if (try_open() < 0 || try_process() != 0)
        return 15; /* a tool may have these */
    for (size_t i = 0; i < VMT_ARRAY_SIZE(probes); i++) {
        asked += probes[i].of_tool;
        refused += probes[i].of_tool && probes[i].run() == -EPERM;
    }
    if (refused == asked)
        return status_has("Seccomp:\t2") ? 1 : 16;
    return refused < asked / 2 + 1 ? 0 : 17;
}

static int
run_as_tool(bool filter)
{
    VMT_CLEANUP(vmt_closep) int image = memfd_create("image", MFD_CLOEXEC);
    VMT_CLEANUP(vmt_closep) int other = dup(image); /* without CLOEXEC */
    const char *const argv[] = {"/proc/self/exe", "tool", NULL};
    const struct tool tool = {
        .argv = argv, .fds = &image, .nfds = 1, .filter = filter, .ok_max = 100};
    struct vmt_err err = {0};
    int r = tool_run(&tool, &err);

    if (r < 0)
        fail_msg("%s", err.msg);
    return r;
}

static void
a_tool_has_its_image_and_no_rights(void **state)
{
    (void)state;
    assert_int_equal(setenv("LD_PRELOAD", "", 1), 0);
    assert_int_equal(run_as_tool(false), 0);
}

static void
a_tool_reaches_no_other_process_and_no_network(void **state)
{
    (void)state;
    assert_int_equal(run_as_tool(true), 1);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_jail_refuses_what_works_outside),
        cmocka_unit_test(a_tool_has_its_image_and_no_rights),
        cmocka_unit_test(a_tool_reaches_no_other_process_and_no_network),
    };

    if (argc == 2 && strcmp(argv[1], "tool") == 0)
        return tool_main();
    if (!status_has("Seccomp:")) {
        (void)puts("skipped: this kernel has no filters for system calls");
        return EXIT_SKIP;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
