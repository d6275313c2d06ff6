/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/vmc/guard.h"
#include "platform/linux/vmc/vmc.h"
#include "tests/unit/test.h"

static void
a_guard_that_is_dismissed_does_nothing_and_is_gone(void **state)
{
    struct vmc vmc = {.owner = "00"};
    struct vmc_guard guard;
    struct vmt_err err;

    (void)state;
    assert_int_equal(vmc_guard_start(&vmc, "a", &guard, &err), 0);
    vmc_guard_dismiss(&guard);
    assert_int_equal(guard.fd, -1);
    assert_int_equal(waitpid(guard.pid, NULL, 0), -1);
    assert_int_equal(errno, ECHILD);
}

static void
a_guard_is_in_a_session_of_its_own_and_ends_by_no_polite_signal(void **state)
{
    static const int signals[] = {SIGHUP, SIGINT, SIGTERM, SIGQUIT};
    struct vmc vmc = {.owner = "00"};
    struct vmc_guard guard;
    struct vmt_err err;
    int status;

    (void)state;
    assert_int_equal(vmc_guard_start(&vmc, "a", &guard, &err), 0);
    while (getsid(guard.pid) != guard.pid) /* the last thing that it does */
        assert_int_equal(waitpid(guard.pid, &status, WNOHANG), 0);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(signals); i++)
        assert_int_equal(kill(guard.pid, signals[i]), 0);
    assert_int_equal(waitpid(guard.pid, &status, WNOHANG), 0);
    vmc_guard_dismiss(&guard);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_guard_that_is_dismissed_does_nothing_and_is_gone),
        cmocka_unit_test(a_guard_is_in_a_session_of_its_own_and_ends_by_no_polite_signal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
