/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/agent/drivers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "tests/fake/fake_clock.h"
#include "tests/unit/test.h"

#define ADD(path, alias)                                                                 \
    "add@" path "\0ACTION=add\0DEVPATH=" path "\0MODALIAS=" alias "\0SEQNUM=7"
#define SEND(bench, event) drivers_event((bench)->drivers, event, sizeof(event))

struct bench {
    struct fake_clock *clock;
    struct drivers *drivers;
    char sys[64];
    unsigned loads;
    char last[128];
};

static void
on_load(void *arg, const char *modalias)
{
    struct bench *bench = arg;

    bench->loads++;
    (void)snprintf(bench->last, sizeof(bench->last), "%s", modalias);
}

static void
make_dir(const struct bench *bench, const char *name)
{
    char path[128];

    (void)snprintf(path, sizeof(path), "%s%s", bench->sys, name);
    assert_int_equal(mkdir(path, 0755), 0);
}

static int
set_up(void **state)
{
    struct bench *bench = calloc(1, sizeof(*bench));
    struct drivers_config config = {.load = on_load, .arg = bench};

    assert_non_null(bench);
    (void)snprintf(bench->sys, sizeof(bench->sys), "/tmp/drivers-XXXXXX");
    assert_non_null(mkdtemp(bench->sys));
    bench->clock = fake_clock_new();
    assert_non_null(bench->clock);
    config.clock = fake_clock_base(bench->clock);
    config.sys = bench->sys;
    assert_int_equal(drivers_new(&config, &bench->drivers), 0);
    *state = bench;
    return 0;
}

static int
tear_down(void **state)
{
    struct bench *bench = *state;
    char command[128];

    drivers_free(bench->drivers);
    assert_int_equal(fake_clock_pending(bench->clock), 0);
    fake_clock_free(bench->clock);
    (void)snprintf(command, sizeof(command), "rm -r %s", bench->sys);
    assert_int_equal(system(command), 0);
    free(bench);
    return 0;
}

static void
a_device_without_a_driver_gets_a_module(void **state)
{
    struct bench *bench = *state;

    make_dir(bench, "/a");
    SEND(bench, ADD("/a", "pci:v1"));
    fake_clock_advance(bench->clock, DRIVERS_PATIENCE_MS - 1);
    assert_int_equal(bench->loads, 0);
    fake_clock_advance(bench->clock, 1);
    assert_int_equal(bench->loads, 1);
    assert_string_equal(bench->last, "pci:v1");
}

static void
a_device_that_found_its_driver_costs_nothing(void **state)
{
    struct bench *bench = *state;

    make_dir(bench, "/a");
    SEND(bench, ADD("/a", "pci:v1"));
    make_dir(bench, "/a/driver");
    fake_clock_advance(bench->clock, DRIVERS_PATIENCE_MS);
    assert_int_equal(bench->loads, 0);
}

static void
a_device_that_went_away_costs_nothing(void **state)
{
    struct bench *bench = *state;

    SEND(bench, ADD("/gone", "pci:v1"));
    fake_clock_advance(bench->clock, DRIVERS_PATIENCE_MS);
    assert_int_equal(bench->loads, 0);
}

static void
each_device_waits_for_itself(void **state)
{
    struct bench *bench = *state;

    make_dir(bench, "/a");
    make_dir(bench, "/b");
    SEND(bench, ADD("/a", "pci:v1"));
    fake_clock_advance(bench->clock, DRIVERS_PATIENCE_MS / 2);
    SEND(bench, ADD("/b", "pci:v2"));
    fake_clock_advance(bench->clock, DRIVERS_PATIENCE_MS / 2);
    assert_int_equal(bench->loads, 1);
    assert_string_equal(bench->last, "pci:v1");
    fake_clock_advance(bench->clock, DRIVERS_PATIENCE_MS / 2);
    assert_int_equal(bench->loads, 2);
    assert_string_equal(bench->last, "pci:v2");
}

static void
only_new_devices_that_ask_count(void **state)
{
    struct bench *bench = *state;

    make_dir(bench, "/a");
    SEND(bench, "add@/a\0ACTION=add\0DEVPATH=/a");
    SEND(bench, "add@/a\0ACTION=add\0DEVPATH=/a\0MODALIAS=");
    SEND(bench, "add@/a\0ACTION=add\0DEVPATH=/a\0DRIVER=x\0MODALIAS=pci:v1");
    SEND(bench, "bind@/a\0ACTION=bind\0DEVPATH=/a\0MODALIAS=pci:v1");
    SEND(bench, "add@/a\0ACTION=add\0MODALIAS=pci:v1");
    fake_clock_advance(bench->clock, DRIVERS_PATIENCE_MS);
    assert_int_equal(bench->loads, 0);
}

static void
too_many_at_a_time_are_served_at_once(void **state)
{
    struct bench *bench = *state;

    make_dir(bench, "/a");
    for (unsigned i = 0; i < 40; i++)
        SEND(bench, ADD("/a", "pci:v1"));
    assert_in_range(bench->loads, 1, 39);
    fake_clock_advance(bench->clock, DRIVERS_PATIENCE_MS);
    assert_int_equal(bench->loads, 40);
}

static void
a_device_that_waits_is_forgotten_with_the_rest(void **state)
{
    struct bench *bench = *state;

    SEND(bench, ADD("/a", "pci:v1")); /* tear_down looks for what is left */
    assert_int_equal(fake_clock_pending(bench->clock), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_device_without_a_driver_gets_a_module),
        TEST(a_device_that_found_its_driver_costs_nothing),
        TEST(a_device_that_went_away_costs_nothing),
        TEST(each_device_waits_for_itself),
        TEST(only_new_devices_that_ask_count),
        TEST(too_many_at_a_time_are_served_at_once),
        TEST(a_device_that_waits_is_forgotten_with_the_rest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
