/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/concierge/workers.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/str.h"
#include "tests/fake/fake_disks.h"
#include "tests/fake/fake_states.h"
#include "tests/unit/concierge/world.h"
#include "tests/unit/test.h"

static void
note_log(void *arg, const char *name)
{
    struct worker *worker = arg;

    (void)snprintf(worker->log, sizeof(worker->log), "%s", name);
}

int
workers_on_spawn(struct world *w, const struct spawn_spec *spec, int32_t pid)
{
    struct worker *worker = &w->workers.v[w->workers.n];
    int error = w->workers.start_error;

    assert_true(w->workers.n < WORKERS_MAX);
    assert_true(spec->new_session);
    w->workers.start_error = 0;
    if (error)
        return -error;
    *worker = (struct worker){.pid = pid};
    for (size_t i = 1; spec->argv[i]; i++) {
        size_t at = strlen(worker->args);

        (void)snprintf(worker->args + at, sizeof(worker->args) - at, "%s%s",
                       at ? " " : "", spec->argv[i]);
    }
    worker->copies = strstr(worker->args, "--result-file=") != NULL;
    assert_int_equal(spec->ends_with_us, worker->copies);
    /* Its log was opened last. */
    if (!worker->copies)
        fake_host_logs_each(w->host, FAKE_DISKS_PROGRESS, note_log, worker);
    assert_true(worker->copies || (worker->log[0] && spec->fds[0].to == 3));
    w->workers.n++;
    return 0;
}

struct worker *
workers_last(struct world *w)
{
    assert_true(w->workers.n > 0);
    return &w->workers.v[w->workers.n - 1];
}

void
worker_say(struct world *w, struct worker *worker, const char *line)
{
    char text[1024];

    (void)snprintf(text, sizeof(text), "%s\n", line);
    fake_host_append(w->host, worker->log, text);
}

void
worker_kill(struct world *w, struct worker *worker, int sig)
{
    worker->over = true;
    assert_int_equal(fake_spawn_exit(w->spawn, worker->pid, SPAWN_EXIT_SIGNAL, sig), 0);
}

/* The value of an option in args; "" without it. */
static const char *
option(const struct worker *worker, const char *name, char *buf, size_t cap)
{
    const char *at = strstr(worker->args, name);
    size_t len;

    buf[0] = '\0';
    if (!at)
        return buf;
    at += strlen(name);
    len = strcspn(at, " ");
    (void)snprintf(buf, cap, "%.*s", (int)len, at);
    return buf;
}

/* What is there afterwards. */
static void
take_effect(struct world *w, struct worker *worker)
{
    char path[512], size[32], *file, *owner;
    uint64_t bytes = 0;

    static const char place[] = "--output=/states/";

    if (vmt_str_has_prefix(worker->args, "export"))
        return;
    if (worker->copies) {
        if (strstr(worker->args, place))
            fake_states_put(w->host, option(worker, place, path, sizeof(path)));
        return;
    }
    (void)option(worker, "--image=", path, sizeof(path));
    (void)vmt_parse_u64(option(worker, "--size=", size, sizeof(size)), UINT64_MAX,
                        &bytes);
    file = strrchr(path, '/');
    assert_non_null(file);
    *file++ = '\0';
    owner = strrchr(path, '/');
    assert_non_null(owner);
    (void)fake_disks_put(w->host, owner + 1, file, bytes ? bytes : 1u << 20);
}

static void
end(struct world *w, struct worker *worker, const char *result)
{
    worker->over = true;
    if (!worker->copies)
        worker_say(w, worker, result);
    if (vmt_str_has_prefix(result, "result ok"))
        take_effect(w, worker);
    (void)fake_spawn_exit(w->spawn, worker->pid, SPAWN_EXIT_CODE,
                          !vmt_str_has_prefix(result, "result ok"));
}

void
workers_work(struct world *w)
{
    for (size_t i = 0; i < w->workers.n; i++) {
        struct worker *worker = &w->workers.v[i];
        int sig = fake_spawn_last_signal(w->spawn, worker->pid);

        if (worker->over || sig < 0)
            worker->over = true;
        else if (sig == SIGTERM && !w->workers.ignore_term)
            end(w, worker, "result cancelled cancelled");
        else if (!w->workers.hang)
            end(w, worker, w->workers.result ? w->workers.result : "result ok size=1");
    }
}
