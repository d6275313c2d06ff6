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
    " <limit name=\"max_message_unix_fds\">64</limit>\n"
    "</busconfig>\n";

/* Start argv with a pipe as stdout, and log, unless it is NULL, as stderr. */
static pid_t
spawn(const char *const *argv, const char *log, int *ret_out)
{
    int fds[2];
    pid_t pid;

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)dup2(fds[1], STDOUT_FILENO);
        if (log)
            (void)dup2(open(log, O_WRONLY | O_CREAT | O_APPEND, 0600), STDERR_FILENO);
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
    char uid[16], service[16], log[128];
    const char *argv[] = {daemon, w->ops->name, w->address, NULL, service, NULL};
    int out;
    pid_t pid;

    (void)snprintf(uid, sizeof(uid), "%u", w->daemon_uid);
    (void)snprintf(service, sizeof(service), "%u", w->service_uid);
    (void)snprintf(log, sizeof(log), "%s/log", w->dir);
    if (w->daemon_uid)
        argv[3] = uid;
    pid = spawn(argv, log, &out);

    if (!spawn_ready(out))
        return world_wait(pid);
    *ret_pid = pid;
    return 0;
}

void
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
    w->bus = spawn(argv, NULL, &out);
    assert_true(spawn_ready(out));
    (void)snprintf(w->address, sizeof(w->address), "unix:path=%s/bus", w->dir);
}

void
world_stop_bus(struct world *w)
{
    if (!w->bus)
        return;
    assert_int_equal(kill(w->bus, SIGKILL), 0);
    (void)world_wait(w->bus);
    w->bus = 0;
}

static void
world_begin(struct world *w, const char *backend, const char *daemon)
{
    (void)snprintf(w->dir, sizeof(w->dir), "/tmp/vmt_ipc.XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    assert_int_equal(chmod(w->dir, 0755), 0);
    if (w->daemon_uid)
        assert_int_equal(chown(w->dir, w->daemon_uid, w->daemon_uid), 0);
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
    }
    assert_int_equal(world_start_daemon(w, daemon, &w->daemon), 0);
}

void
world_start(struct world *w, const char *backend, const char *daemon)
{
    memset(w, 0, sizeof(*w));
    world_begin(w, backend, daemon);
}

void
world_start_system(struct world *w, const char *backend, const char *daemon)
{
    memset(w, 0, sizeof(*w));
    w->daemon_uid = 1; /* a bus lets in users that the system knows: daemon, bin */
    w->service_uid = 2;
    world_begin(w, backend, daemon);
}

int
world_logged(const struct world *w, const char *text)
{
    char path[128], line[1024];
    int found = 0;
    FILE *f;

    (void)snprintf(path, sizeof(path), "%s/log", w->dir);
    f = fopen(path, "re");
    assert_non_null(f);
    while (fgets(line, sizeof(line), f))
        found += strstr(line, text) != NULL;
    (void)fclose(f);
    return found;
}

/* What the daemon said belongs to the test's own output. */
static void
world_show_log(const struct world *w)
{
    char path[128], line[1024];
    FILE *f;

    (void)snprintf(path, sizeof(path), "%s/log", w->dir);
    f = fopen(path, "re");
    while (f && fgets(line, sizeof(line), f))
        (void)fputs(line, stderr);
    if (f)
        (void)fclose(f);
}

void
world_stop(struct world *w)
{
    static const char *const files[] = {"bus", "bus.conf", "sock", "log"};
    int code = 0;
    char path[128];

    if (w->daemon) {
        (void)kill(w->daemon, SIGTERM);
        code = world_wait(w->daemon);
    }
    world_show_log(w);
    assert_int_equal(code, 0); /* the sanitizers found nothing */
    world_stop_bus(w);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", w->dir, files[i]);
        (void)unlink(path);
    }
    assert_int_equal(rmdir(w->dir), 0);
}
