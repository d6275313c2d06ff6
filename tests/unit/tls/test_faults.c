/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory runs out at every step: each handshake is answered once, nothing leaks (the
 * sanitizer says so), and no byte arrives that was not sent. */
#include <errno.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "tests/unit/rpc/alloc.h"
#include "tests/unit/test.h"
#include "tests/unit/tls/world.h"

static void
a_context_without_memory_is_none(void **state)
{
    struct tls_world *w = *state;
    const struct tls_config config = {.server = true,
                                      .chain.pem = w->server_cert.pem,
                                      .key.pem = w->server_cert.text,
                                      .roots.pem = w->ca.pem};
    size_t n = 0;
    int r;

    for (bool failed = true; failed; n++) {
        struct tls_context *context = NULL;

        alloc_fail_after(n);
        r = tls_context_new(fake_clock_base(w->clock), &config, &context, NULL);
        failed = alloc_fail_over();
        assert_int_equal(r, failed ? -ENOMEM : 0);
        tls_context_free(context);
    }
    assert_true(n > 3);
}

static void
say_something(struct tls_side *side)
{
    static const uint8_t bulk[5000];

    for (int i = 0; side->s && i < 3; i++)
        (void)side->s->ops->send(side->s, bulk, sizeof(bulk), NULL, 0);
    if (side->s)
        side->s->ops->shutdown_send(side->s);
}

/* Returns whether an allocation failed. */
static bool
talk_with_failure(struct tls_world *w, size_t n)
{
    bool failed;

    tls_world_wire(w);
    alloc_fail_after(n);
    if (tls_side_try(&w->s, w->server, NULL, NULL) == 0 &&
        tls_side_try(&w->c, w->client, "vm.example", NULL) == 0) {
        w->s.discard = w->c.discard = true;
        tls_world_run(w);
        say_something(&w->c);
        tls_world_run(w);
    }
    failed = alloc_fail_over();
    /* Whoever waits in vain for the other is freed by the deadline. */
    fake_clock_advance(w->clock, 20000);
    assert_int_equal(w->s.times, w->s.below ? 1 : 0);
    assert_int_equal(w->c.times, w->c.below ? 1 : 0);
    if (w->s.ended && w->s.status == 0)
        assert_int_equal(w->s.total, 15000);
    assert_true(failed || (w->s.ended && w->s.status == 0));
    tls_world_reset(w);
    tls_world_run(w);
    return failed;
}

static void
a_connection_without_memory_ends_and_tells_no_lies(void **state)
{
    size_t n = 0;

    while (talk_with_failure(*state, n))
        n++;
    assert_true(n > 15);
}

#define FAULT_TEST(f)                                                                    \
    cmocka_unit_test_setup_teardown(f, tls_world_setup, tls_world_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        FAULT_TEST(a_context_without_memory_is_none),
        FAULT_TEST(a_connection_without_memory_ends_and_tells_no_lies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
