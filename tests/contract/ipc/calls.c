/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/contract/ipc/calls.h"

#include <protobuf-c/protobuf-c.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "tests/unit/test.h"

const char *backend, *daemon_path;

bool
suite_args(int argc, char **argv)
{
    if (argc != 3)
        return false;
    backend = argv[1];
    daemon_path = argv[2];
    return true;
}

int
setup(void **state)
{
    static struct world w;

    world_start(&w, backend, daemon_path);
    *state = &w;
    return 0;
}

int
setup_system(void **state)
{
    static struct world w;

    if (getuid() == 0)
        world_start_system(&w, backend, daemon_path);
    *state = &w;
    return 0;
}

int
teardown(void **state)
{
    struct world *w = *state;

    if (w->ops)
        world_stop(w);
    return 0;
}

struct client *
client_new(struct world *w)
{
    struct client *c = w->ops->connect(w->address);

    assert_non_null(c);
    return c;
}

struct client *
client_new_as(struct world *w, uid_t uid)
{
    struct client *c;

    assert_int_equal(seteuid(uid), 0);
    c = client_new(w);
    assert_int_equal(seteuid(0), 0);
    return c;
}

time_t
now_s(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec;
}

void
wait_done(struct client *c, struct answer *answers, size_t n)
{
    time_t end = now_s() + DEADLINE_S;

    for (size_t i = 0; i < n; i++) {
        while (!answers[i].done) {
            assert_true(now_s() < end);
            c->ops->turn(c);
        }
    }
}

void
answer_done(struct answer *a)
{
    for (size_t i = 0; i < a->nfds; i++)
        vmt_closep(&a->fds[i]);
    a->nfds = 0;
    if (a->message)
        protobuf_c_message_free_unpacked(a->message, NULL);
    a->message = NULL;
}

void
call(struct client *c, const struct call_spec *spec, struct answer *a)
{
    c->ops->start(c, spec, a);
    wait_done(c, a, 1);
}

const char *
ask(struct client *c, const char *method)
{
    static char text[64];
    struct call_spec spec = {.method = method, .reply = &vmt__signal__descriptor};
    struct answer a;

    call(c, &spec, &a);
    assert_true(a.ok);
    (void)snprintf(text, sizeof(text), "%s", ((const Vmt__Signal *)a.message)->name);
    answer_done(&a);
    return text;
}

void
await_fds(struct client *c, int n)
{
    time_t end = now_s() + DEADLINE_S;

    while (atoi(ask(c, "CountFds")) != n)
        assert_true(now_s() < end);
}

void
signal_init(Vmt__Signal *m, const char *name)
{
    vmt__signal__init(m);
    m->name = (char *)(uintptr_t)name;
}

void
refused(struct client *c, struct call_spec spec, enum ipc_error code)
{
    struct answer a;

    call(c, &spec, &a);
    assert_false(a.ok);
    assert_int_equal(a.code, code);
    answer_done(&a);
}
