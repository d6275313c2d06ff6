/* SPDX-License-Identifier: BSD-3-Clause */
/* The rules as text; whether they do what they should is tested with packets. */
#include <stdio.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/base/cleanup.h"
#include "platform/linux/net/net_internal.h"
#include "tests/unit/test.h"

static struct host_net_vm vms[] = {
    {.tap = "vmtap0",
     .guest = 0x64735c06,
     .gateway = 0x64735c05,
     .prefix = 30,
     .container = 0x64735cc0,
     .container_prefix = 28,
     .mac = {0x52, 0x54, 0, 0xab, 0xcd, 0xef}},
    {.tap = "vmtap1", .guest = 0x64735c0a, .prefix = 30, .mac = {2, 0, 0, 0, 0, 1}},
};

static void
two_vms_make_the_whole_table(void **state)
{
    const struct linux_net self = {.table = "vm_tools",
                                   .ports = {{false, 80}, {true, 53}},
                                   .nports = 2,
                                   .vms = vms,
                                   .nvms = 2,
                                   .uplinks = {{"eth0", "wlan0"}, 2}};
    VMT_CLEANUP(vmt_buf_done) struct vmt_buf text = {0};
    char want[4096];
    FILE *f = fopen(GOLDEN, "re");
    size_t n;

    (void)state;
    assert_non_null(f);
    n = fread(want, 1, sizeof(want) - 1, f);
    want[n] = '\0';
    (void)fclose(f);
    assert_int_equal(rules_text(&self, &text), 0);
    assert_string_equal((const char *)text.data, want);
}

static void
without_vms_there_is_no_table(void **state)
{
    const struct linux_net self = {.table = "vm_tools"};
    VMT_CLEANUP(vmt_buf_done) struct vmt_buf text = {0};

    (void)state;
    assert_int_equal(rules_text(&self, &text), 0);
    assert_string_equal((const char *)text.data,
                        "add table inet vm_tools\ndelete table inet vm_tools\n");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_vms_make_the_whole_table),
        cmocka_unit_test(without_vms_there_is_no_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
