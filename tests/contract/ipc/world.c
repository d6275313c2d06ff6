/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/contract/ipc/world.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/test.h"

/* A bus of our own, open to every uid: the checks under test are the daemon's. */
static const char bus_config[] =
    "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\"\n"
    " \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\n"
    "<busconfig>\n"
    " <type>session</type>\n"
    " <listen>unix:path=%s/bus</listen>\n"
    " <auth>EXTERNAL</auth>\n"
    " <policy context=\"default\">\n"
    "  <allow user=\"*\"/>\n"
    "  <allow send_destination=\"*\" eavesdrop=\"true\"/>\n"
    "  <allow eavesdrop=\"true\"/>\n"
    "  <allow own=\"*\"/>\n"
    " </policy>\n"
    " <limit name=\"max_replies_per_connection\">4096</limit>\n"
    "</busconfig>\n";

/* Start argv with a pipe as stdout. */
static pid_t
spawn(const char *const *argv, int *ret_out)
{
    int fds[2];
    pid_t pid;

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)dup2(fds[1], STDOUT_FILENO);
        (void)execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    (void)close(fds[1]);
    *ret_out = fds[0];
    return pid;
}

/* Wait for the first byte; false when the child ended without one. */
static bool
spawn_ready(int out)
{
    char c;
    ssize_t n = read(out, &c, 1);

    (void)close(out);
    return n == 1;
}

int
world_wait(pid_t pid)
{
    int status = 0;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int
world_start_daemon(struct world *w, const char *daemon, pid_t *ret_pid)
{
    const char *argv[] = {daemon, w->ops->name, w->address, NULL};
    int out;
    pid_t pid = spawn(argv, &out);

    if (!spawn_ready(out))
        return world_wait(pid);
    *ret_pid = pid;
    return 0;
}

static void
world_start_bus(struct world *w)
{
    char config[128], option[192];
    const char *argv[] = {"dbus-daemon",       option, "--nofork", "--nopidfile",
                          "--print-address=1", NULL};
    int out;
    FILE *f;

    (void)snprintf(config, sizeof(config), "%s/bus.conf", w->dir);
    (void)snprintf(option, sizeof(option), "--config-file=%s", config);
    f = fopen(config, "we");
    assert_non_null(f);
    assert_true(fprintf(f, bus_config, w->dir) > 0);
    assert_int_equal(fclose(f), 0);
    w->bus = spawn(argv, &out);
    assert_true(spawn_ready(out));
    (void)snprintf(w->address, sizeof(w->address), "unix:path=%s/bus", w->dir);
}

void
world_start(struct world *w, const char *backend, const char *daemon)
{
    memset(w, 0, sizeof(*w));
    (void)snprintf(w->dir, sizeof(w->dir), "/tmp/vmt_ipc.XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    assert_int_equal(chmod(w->dir, 0755), 0);
#ifdef VMT_TEST_DBUS
    if (strcmp(backend, "dbus") == 0) {
        w->ops = &client_dbus_ops;
        world_start_bus(w);
    }
#endif
    if (!w->ops) {
        assert_string_equal(backend, "unix");
        w->ops = &client_unix_ops;
        (void)snprintf(w->address, sizeof(w->address), "%s/sock", w->dir);
        (void)world_start_bus;
    }
    assert_int_equal(world_start_daemon(w, daemon, &w->daemon), 0);
}

void
world_stop(struct world *w)
{
    static const char *const files[] = {"bus", "bus.conf", "sock"};
    char path[128];

    if (w->daemon) {
        (void)kill(w->daemon, SIGTERM);
        assert_int_equal(world_wait(w->daemon), 0); /* the sanitizers found nothing */
    }
    if (w->bus) {
        (void)kill(w->bus, SIGKILL);
        (void)world_wait(w->bus);
    }
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", w->dir, files[i]);
        (void)unlink(path);
    }
    assert_int_equal(rmdir(w->dir), 0);
}
