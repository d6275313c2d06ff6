/* SPDX-License-Identifier: BSD-3-Clause */
/* One connector over another. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/adapter/connector.h"
#include "core/base/cleanup.h"
#include "platform/linux/tls/transport_tls.h"
#include "tests/unit/test.h"
#include "tests/unit/tls/world.h"

/* Gives the client's end of the world's wire, when the test says so. */
struct below {
    struct connector base;
    connector_done_fn *on_done;
    void *arg;
    unsigned timeout_ms;
    unsigned connects, cancels;
    bool freed;
};

static int
below_connect(struct connector *c, unsigned timeout_ms, connector_done_fn *on_done,
              void *arg, struct vmt_err *err)
{
    struct below *b = VMT_CONTAINER_OF(c, struct below, base);

    (void)err;
    b->connects++;
    b->on_done = on_done;
    b->arg = arg;
    b->timeout_ms = timeout_ms;
    return 0;
}

static void
below_cancel(struct connector *c)
{
    VMT_CONTAINER_OF(c, struct below, base)->cancels++;
}

static void
below_free(struct connector *c)
{
    VMT_CONTAINER_OF(c, struct below, base)->freed = true;
}

static const struct connector_ops below_ops = {below_connect, below_cancel, below_free};

struct outcome {
    struct stream *s;
    int code;
    unsigned times;
};

static void
on_done(void *arg, struct stream *s, const struct vmt_err *err)
{
    struct outcome *out = arg;

    out->times++;
    out->s = s;
    out->code = s ? 0 : err->code;
}

static struct connector *
make(struct tls_world *w, struct below *b, const char *name)
{
    struct connector *c;

    b->base.ops = &below_ops;
    assert_int_equal(tls_connector_new(w->client, &b->base, name, NULL, &c, NULL), 0);
    return c;
}

static void
a_stream_comes_when_both_steps_are_done(void **state)
{
    struct tls_world *w = *state;
    struct below b = {.freed = false};
    struct outcome out = {.times = 0};
    struct connector *c = make(w, &b, "vm.example");

    for (unsigned round = 1; round <= 2; round++) { /* as often as needed */
        tls_world_wire(w);
        tls_side_start(&w->s, w->server, NULL, NULL);
        assert_int_equal(c->ops->connect(c, 5000, on_done, &out, NULL), 0);
        assert_int_equal(b.timeout_ms, 5000);
        b.on_done(b.arg, vmt_take_ptr(&w->c.raw), NULL);
        assert_int_equal(out.times, round - 1);
        tls_world_run(w);
        assert_int_equal(out.times, round);
        assert_non_null(out.s);
        stream_close(out.s);
    }
    connector_free(c);
    assert_true(b.freed);
}

static void
a_failure_of_either_step_is_told_once(void **state)
{
    struct tls_world *w = *state;
    struct below b = {.freed = false};
    struct outcome out = {.times = 0};
    struct connector *c = make(w, &b, "other.example");
    struct vmt_err err;

    assert_int_equal(c->ops->connect(c, 5000, on_done, &out, NULL), 0);
    (void)vmt_err_set(&err, ECONNREFUSED, "no");
    b.on_done(b.arg, NULL, &err);
    assert_int_equal(out.times, 1);
    assert_int_equal(out.code, ECONNREFUSED);

    tls_world_wire(w);
    tls_side_start(&w->s, w->server, NULL, NULL);
    assert_int_equal(c->ops->connect(c, 5000, on_done, &out, NULL), 0);
    b.on_done(b.arg, vmt_take_ptr(&w->c.raw), NULL);
    tls_world_run(w);
    assert_int_equal(out.times, 2);
    assert_int_equal(out.code, EACCES);
    connector_free(c);
}

/* What the first step used up is not there for the second. */
static void
one_deadline_covers_both_steps(void **state)
{
    struct tls_world *w = *state;
    struct below b = {.freed = false};
    struct outcome out = {.times = 0};
    struct connector *c = make(w, &b, "vm.example");

    tls_world_wire(w);
    assert_int_equal(c->ops->connect(c, 5000, on_done, &out, NULL), 0);
    fake_clock_advance(w->clock, 4000);
    b.on_done(b.arg, vmt_take_ptr(&w->c.raw), NULL);
    fake_clock_advance(w->clock, 999);
    assert_int_equal(out.times, 0);
    fake_clock_advance(w->clock, 1);
    assert_int_equal(out.times, 1);
    assert_int_equal(out.code, ETIMEDOUT);
    connector_free(c);
}

static void
cancel_and_free_end_either_step_without_a_word(void **state)
{
    struct tls_world *w = *state;
    struct below b = {.freed = false};
    struct outcome out = {.times = 0};
    struct connector *c = make(w, &b, "vm.example");

    assert_int_equal(c->ops->connect(c, 5000, on_done, &out, NULL), 0);
    c->ops->cancel(c);
    assert_int_equal(b.cancels, 1);
    c->ops->cancel(c);
    for (int by_free = 0; by_free < 2; by_free++) {
        tls_world_wire(w);
        assert_int_equal(c->ops->connect(c, 5000, on_done, &out, NULL), 0);
        b.on_done(b.arg, vmt_take_ptr(&w->c.raw), NULL);
        if (by_free)
            connector_free(c);
        else
            c->ops->cancel(c);
    }
    tls_world_run(w);
    assert_int_equal(out.times, 0);
}

static void
nobody_in_particular_is_refused(void **state)
{
    struct tls_world *w = *state;
    struct below b = {.freed = false};
    struct connector *c;

    assert_int_equal(tls_connector_new(w->client, &b.base, NULL, NULL, &c, NULL),
                     -EINVAL);
}

#define CONNECTOR_TEST(f)                                                                \
    cmocka_unit_test_setup_teardown(f, tls_world_setup, tls_world_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CONNECTOR_TEST(a_stream_comes_when_both_steps_are_done),
        CONNECTOR_TEST(a_failure_of_either_step_is_told_once),
        CONNECTOR_TEST(one_deadline_covers_both_steps),
        CONNECTOR_TEST(cancel_and_free_end_either_step_without_a_word),
        CONNECTOR_TEST(nobody_in_particular_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
