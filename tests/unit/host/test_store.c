/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/cleanup.h"
#include "tests/unit/host/place.h"
#include "tests/unit/test.h"

static void
add_name(void *arg, const char *name)
{
    char *names = arg;

    strcat(names, name);
    strcat(names, " ");
}

static void
records_are_kept_replaced_and_forgotten(void **state)
{
    struct place *p = *state;
    const struct host_store_ops *store = p->host->store;
    VMT_CLEANUP(vmt_freep) void *data = NULL;
    char names[128] = "";
    struct stat st;
    size_t len = 0;

    assert_int_equal(store->save(p->host, "b", "one", 3, NULL), 0);
    assert_int_equal(store->save(p->host, "a", "\0\xff", 2, NULL), 0);
    assert_int_equal(store->save(p->host, "b", "three", 5, NULL), 0);
    assert_int_equal(stat(place_path(p, "records/b.record"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600); /* it holds the VM's token */
    assert_int_equal(store->load(p->host, "b", &data, &len, NULL), 0);
    assert_int_equal(len, 5);
    assert_memory_equal(data, "three", 5);
    place_write(p, "records/b.record.AbCdEf", "a write that was cut short");
    assert_int_equal(store->each(p->host, add_name, names, NULL), 0);
    assert_string_equal(names, "a b ");
    store->remove(p->host, "b");
    store->remove(p->host, "b");
    names[0] = '\0';
    assert_int_equal(store->each(p->host, add_name, names, NULL), 0);
    assert_string_equal(names, "a ");
}

static void
a_record_that_is_not_there_is_told(void **state)
{
    struct place *p = *state;
    void *data;
    size_t len;

    assert_int_equal(p->host->store->load(p->host, "x", &data, &len, NULL), -ENOENT);
}

static void
facts_are_plausible(void **state)
{
    struct place *p = *state;
    const struct host_fact_ops *facts = p->host->facts;
    uint8_t a[16], b[16];
    struct host_dns dns;
    char zone[8];

    assert_true(facts->cpus(p->host) >= 1);
    assert_true(facts->mem_mib(p->host) >= 64);
    assert_int_equal(facts->random(p->host, a, sizeof(a), NULL), 0);
    assert_int_equal(facts->random(p->host, b, sizeof(b), NULL), 0);
    assert_memory_not_equal(a, b, sizeof(a));
    memset(zone, 'x', sizeof(zone));
    facts->zone(p->host, zone, sizeof(zone));
    assert_non_null(memchr(zone, '\0', sizeof(zone)));
    facts->dns(p->host, &dns);
    assert_true(dns.nservers <= HOST_DNS_MAX && dns.ndomains <= HOST_DNS_MAX);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)
    const struct CMUnitTest tests[] = {
        T(records_are_kept_replaced_and_forgotten),
        T(a_record_that_is_not_there_is_told),
        T(facts_are_plausible),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
