/* SPDX-License-Identifier: BSD-3-Clause */
/* Guests that asked for it hear how much space their disks have on the host. */
#include <errno.h>
#include <string.h>

#include "core/concierge/storage_internal.h"
#include "tests/unit/concierge/guest.h"
#include "tests/unit/test.h"
#include "vm_guest.pb-c.h"

#define GIB (UINT64_C(1) << 30)

static void
a_level_is_of_the_bytes_that_are_free(void **state)
{
    (void)state;
    assert_int_equal(storage_state(2 * GIB + 1), 1);
    assert_int_equal(storage_state(2 * GIB), 2);
    assert_int_equal(storage_state(GIB + 1), 2);
    assert_int_equal(storage_state(GIB), 3);
    assert_int_equal(storage_state(0), 3);
}

/* How often it was told so far. */
static unsigned
told(const struct guest *g)
{
    unsigned n = 0;

    for (const char *at = guest_calls(g); (at = strstr(at, "UpdateStorageBalloon")); at++)
        n++;
    return n;
}

static struct guest *
run_vm(struct world *w, bool wanted)
{
    struct start_args args;
    struct client_call call;
    struct rpc_status status;
    struct guest *g;
    int answers;

    w->helpers_run = true;
    start_args_init(&args, "a");
    args.request.storage_ballooning = wanted;
    args.request.writable_rootfs = true;
    client_start(w, &args, &call);
    world_run(w, 100);
    g = guest_new(w, fake_process_start(fake_hypervisor_find(w->hv, "a"))->cid);
    guest_power_off_on_shutdown(g, "a");
    guest_call_ready(g, &status, &answers);
    world_run(w, 1000);
    assert_true(start_reply(&call)->success);
    client_call_done(&call);
    return g;
}

static void
end(struct world *w, struct guest *g)
{
    struct client_call call;

    client_stop(w, "a", &call);
    world_run(w, 3000);
    assert_true(stop_reply(&call)->success);
    client_call_done(&call);
    guest_free(g);
    world_done(w);
}

static void
a_guest_is_told_at_once_and_when_it_changes(void **state)
{
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    fake_host_set_free_bytes(w.host, 10 * GIB);
    g = run_vm(&w, true);
    assert_int_equal(told(g), 1);
    world_run(&w, 60000);
    assert_int_equal(told(g), 1);
    fake_host_set_free_bytes(w.host, 10 * GIB - 4096);
    world_run(&w, 20000);
    assert_int_equal(told(g), 1); /* too little to tell */
    fake_host_set_free_bytes(w.host, 9 * GIB);
    world_run(&w, 11000);
    assert_int_equal(told(g), 2);
    world_kill_daemon(&w);
    fake_host_set_free_bytes(w.host, GIB / 2);
    world_start_daemon(&w);
    world_run(&w, 2000);
    assert_int_equal(told(g), 3);
    end(&w, g);
}

static void
a_guest_that_does_not_want_it_hears_nothing(void **state)
{
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    fake_host_set_free_bytes(w.host, 1);
    g = run_vm(&w, false);
    world_run(&w, 60000);
    assert_int_equal(told(g), 0);
    end(&w, g);
}

static void
a_guest_that_does_not_answer_has_one_call_in_flight(void **state)
{
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    fake_host_set_free_bytes(w.host, 10 * GIB);
    g = run_vm(&w, true);
    guest_set(g, "UpdateStorageBalloon", GUEST_IGNORES);
    fake_host_set_free_bytes(w.host, GIB + 1);
    world_run(&w, 11000);
    fake_host_set_free_bytes(w.host, GIB);
    world_run(&w, 5000);
    assert_int_equal(told(g), 2);
    end(&w, g);
}

static void
a_silent_file_system_of_a_disk_delays_nobody(void **state)
{
    struct world w;
    struct guest *g;
    int32_t hung;

    (void)state;
    world_init(&w);
    fake_host_set_free_bytes(w.host, 10 * GIB);
    g = run_vm(&w, true);
    w.helpers_run = false;
    world_run(&w, 11000);
    hung = w.helper;
    assert_int_equal(fake_spawn_last_signal(w.spawn, hung), 0);
    world_run(&w, 20000); /* one look at a time */
    assert_int_equal(w.helper, hung);
    world_run(&w, 11000); /* given up, and ended */
    assert_int_equal(fake_spawn_last_signal(w.spawn, hung), -ESRCH);
    assert_int_equal(told(g), 1);

    w.helpers_run = true;
    fake_host_set_free_bytes(w.host, GIB / 2);
    world_run(&w, 11000);
    assert_int_equal(told(g), 2);
    w.helpers_run = false; /* a VM that ends takes its child along */
    world_run(&w, 3000);
    end(&w, g);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_level_is_of_the_bytes_that_are_free),
        cmocka_unit_test(a_guest_is_told_at_once_and_when_it_changes),
        cmocka_unit_test(a_guest_that_does_not_want_it_hears_nothing),
        cmocka_unit_test(a_guest_that_does_not_answer_has_one_call_in_flight),
        cmocka_unit_test(a_silent_file_system_of_a_disk_delays_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
