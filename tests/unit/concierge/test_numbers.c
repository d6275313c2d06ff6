/* SPDX-License-Identifier: BSD-3-Clause */
/* Numbers and addresses that no two VMs may share. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/concierge/record_internal.h"
#include "tests/unit/concierge/guest.h"
#include "tests/unit/test.h"

#define MANY 40

static const struct fake_start *
spec_of(struct world *w, const char *name)
{
    return fake_process_start(fake_hypervisor_find(w->hv, name));
}

static void
start_once(struct world *w, const char *name, uint8_t mac[6])
{
    struct client_call call;

    client_start_name(w, name, &call);
    memcpy(mac, spec_of(w, name)->mac, 6);
    world_stop_vm(w, name, NULL);
    client_call_done(&call);
}

static void
forty_starts_at_once_share_nothing(void **state)
{
    static struct client_call calls[MANY];
    const struct fake_start *specs[MANY];
    struct world w;
    char name[16];

    (void)state;
    world_init(&w);
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(name, sizeof(name), "vm%d", i);
        client_start_name(&w, name, &calls[i]);
        specs[i] = spec_of(&w, name);
        assert_int_equal(specs[i]->mac[0] & 3, 2);
        for (int j = 0; j < i; j++) {
            assert_int_not_equal(specs[i]->cid, specs[j]->cid);
            assert_memory_not_equal(specs[i]->mac, specs[j]->mac, 6);
        }
    }
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(name, sizeof(name), "vm%d", i);
        world_stop_vm(&w, name, NULL);
        client_call_done(&calls[i]);
    }
    world_done(&w);
}

static void
a_vm_has_the_same_address_whenever_it_starts(void **state)
{
    uint8_t first[6], second[6], other[6];
    struct world w;

    (void)state;
    world_init(&w);
    start_once(&w, "demo", first);
    start_once(&w, "other", other);
    world_kill_daemon(&w);
    world_start_daemon(&w);
    start_once(&w, "demo", second);
    assert_memory_equal(first, second, 6);
    assert_memory_not_equal(first, other, 6);
    world_done(&w);
}

static void
get_info(struct world *w, struct client_call *call)
{
    VmTools__Concierge__GetVmInfoRequest request;

    vm_tools__concierge__get_vm_info_request__init(&request);
    request.name = (char *)(uintptr_t) "demo";
    request.owner_id = (char *)(uintptr_t)WORLD_OWNER;
    client_call(w, "GetVmInfo", WORLD_UID, &request.base, NULL, 0, call);
}

static void
the_address_is_told_and_outlives_the_daemon(void **state)
{
    const VmTools__Concierge__GetVmInfoResponse *before, *after;
    struct client_call first, second;
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    get_info(&w, &first);
    world_kill_daemon(&w);
    world_start_daemon(&w);
    get_info(&w, &second);
    before = (const VmTools__Concierge__GetVmInfoResponse *)first.reply;
    after = (const VmTools__Concierge__GetVmInfoResponse *)second.reply;
    assert_int_equal(strlen(before->vm_info->mac_address), 17);
    assert_string_equal(before->vm_info->mac_address, after->vm_info->mac_address);
    assert_string_equal(before->vm_info->network, "user");
    assert_true(before->vm_info->ipv4_address != 0);
    client_call_done(&first);
    client_call_done(&second);
    world_stop_vm(&w, "demo", NULL);
    guest_free(g);
    world_done(&w);
}

/* Whatever the bytes are, VMs start, with numbers in their ranges. */
static void
a_damaged_record_costs_no_start(void **state)
{
    static const char *const bad[] = {"",
                                      "\xff\xff\xff",
                                      "\x08\x01",
                                      "\xe2\x03\x7f",
                                      "\xea\x03\x02\x10\x01",
                                      "\xea\x03\x00"};
    uint8_t mac[6];
    struct world w;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct client_call call;

        world_init(&w);
        world_kill_daemon(&w);
        fake_host_set_record(w.host, "daemon", bad[i], strlen(bad[i]));
        world_start_daemon(&w);
        client_start_name(&w, "demo", &call);
        assert_true(spec_of(&w, "demo")->cid >= 32);
        memcpy(mac, spec_of(&w, "demo")->mac, 6);
        assert_int_equal(mac[0] & 3, 2);
        world_stop_vm(&w, "demo", NULL);
        client_call_done(&call);
        world_done(&w);
    }
}

/* Another VM was given the address that follows from this one's name: this one gets
 * another, and keeps that. */
static void
a_taken_address_is_replaced_for_good(void **state)
{
    Vmt__DaemonRecord record = VMT__DAEMON_RECORD__INIT;
    Vmt__LeaseRecord lease = VMT__LEASE_RECORD__INIT, *list[] = {&lease};
    uint8_t derived[6], given[6], again[6], bytes[256];
    struct world w;

    (void)state;
    world_init(&w);
    start_once(&w, "demo", derived);
    world_kill_daemon(&w);
    lease.hash = 12345;
    lease.used = 1;
    lease.mac = (ProtobufCBinaryData){6, derived};
    record.leases = list;
    record.n_leases = 1;
    fake_host_set_record(w.host, "daemon", bytes,
                         vmt__daemon_record__pack(&record, bytes));
    world_start_daemon(&w);
    start_once(&w, "demo", given);
    assert_memory_not_equal(given, derived, 6);
    world_kill_daemon(&w);
    world_start_daemon(&w);
    start_once(&w, "demo", again);
    assert_memory_equal(given, again, 6);
    world_done(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forty_starts_at_once_share_nothing),
        cmocka_unit_test(a_vm_has_the_same_address_whenever_it_starts),
        cmocka_unit_test(the_address_is_told_and_outlives_the_daemon),
        cmocka_unit_test(a_damaged_record_costs_no_start),
        cmocka_unit_test(a_taken_address_is_replaced_for_good),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
