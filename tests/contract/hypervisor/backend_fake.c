/* SPDX-License-Identifier: BSD-3-Clause */
/* The fake keeps the contract too, so that tests on it say something about real ones. */
#include <stdio.h>
#include <string.h>

#include "tests/contract/hypervisor/suite.h"
#include "tests/fake/fake_hypervisor.h"
#include "tests/unit/test.h"

static struct hypervisor *
fake_open(struct suite *s)
{
    struct hypervisor *hv = NULL;

    assert_int_equal(fake_hypervisor_new(s->clock, 0, &hv), 0);
    return hv;
}

static void
fake_close(struct suite *s)
{
    assert_int_equal(fake_hypervisor_count(s->hv), 0);
}

static struct fake_process *
only_process(struct suite *s)
{
    assert_int_equal(fake_hypervisor_count(s->hv), 1);
    return fake_hypervisor_process(s->hv, 0);
}

static void
fake_act(struct suite *s, const char *act)
{
    struct fake_process *p = only_process(s);

    if (strcmp(act, "panic") == 0)
        fake_process_panic(p);
    fake_process_exit(p,
                      strcmp(act, "poweroff") == 0 ? HYPERVISOR_EXIT_POWEROFF
                      : strcmp(act, "reset") == 0  ? HYPERVISOR_EXIT_RESET
                                                   : HYPERVISOR_EXIT_PANIC,
                      NULL);
}

static void
fake_refuse(struct suite *s)
{
    fake_hypervisor_behaviour(s->hv)->no_control = true;
    fake_process_exit(only_process(s), HYPERVISOR_EXIT_CONFIG,
                      "cannot open /nonexistent,readonly=on");
}

static void
fake_freeze(struct suite *s)
{
    fake_process_freeze(only_process(s));
}

static void
fake_murder(struct suite *s)
{
    fake_process_exit(only_process(s), HYPERVISOR_EXIT_KILLED, NULL);
}

static void
fake_tell_memory(struct suite *s)
{
    const struct hypervisor_memory memory = {
        .total = 200 << 20, .free = 50 << 20, .available = 100 << 20};

    fake_process_set_memory(only_process(s), &memory);
}

int
main(void)
{
    const struct suite_backend backend = {
        .open = fake_open,
        .close = fake_close,
        .act = fake_act,
        .refuse = fake_refuse,
        .freeze = fake_freeze,
        .murder = fake_murder,
        .tell_memory = fake_tell_memory,
        .probed = HYPERVISOR_ACCEL_TCG,
    };

    return suite_run(&backend);
}
