/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/agent/devices.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/test.h"

static void
names_are_those_of_udev(void **state)
{
    char name[DEVICES_NAME_MAX], longest[DEVICES_NAME_MAX];

    (void)state;
    assert_true(devices_link_name("data\n", 0, name));
    assert_string_equal(name, "virtio-data");
    assert_true(devices_link_name("data", 12, name));
    assert_string_equal(name, "virtio-data-part12");
    assert_true(devices_link_name("../a b\x01", 0, name));
    assert_string_equal(name, "virtio-.._a_b_");
    assert_false(devices_link_name("", 0, name));
    assert_false(devices_link_name(" \n", 1, name));
    memset(longest, 'x', sizeof(longest));
    longest[sizeof(longest) - 1] = '\0';
    assert_false(devices_link_name(longest, 0, name));
}

static void
put(const char *top, const char *path, const char *text)
{
    char full[256];
    FILE *f;

    (void)snprintf(full, sizeof(full), "%s/%s", top, path);
    f = fopen(full, "w");
    assert_non_null(f);
    (void)fputs(text, f);
    (void)fclose(f);
}

static void
make(const char *top, const char *path)
{
    char full[256];

    (void)snprintf(full, sizeof(full), "%s/%s", top, path);
    assert_int_equal(mkdir(full, 0755), 0);
}

static void
assert_link(const char *top, const char *name, const char *target)
{
    char full[256], is[256] = "";

    (void)snprintf(full, sizeof(full), "%s/by-id/%s", top, name);
    if (readlink(full, is, sizeof(is) - 1) < 0)
        is[0] = '\0';
    assert_string_equal(is, target);
}

static void
links_come_and_go_with_their_disks(void **state)
{
    char top[] = "/tmp/vmt-devices-XXXXXX", sys[64], dir[64], command[64];

    (void)state;
    assert_non_null(mkdtemp(top));
    (void)snprintf(sys, sizeof(sys), "%s/block", top);
    (void)snprintf(dir, sizeof(dir), "%s/by-id", top);
    make(top, "block");
    make(top, "block/vda");
    make(top, "block/vdb");
    make(top, "block/vdb/vdb1");
    make(top, "block/vdc");
    make(top, "block/loop0");
    put(top, "block/vdb/serial", "data\n");
    put(top, "block/vdb/vdb1/partition", "1\n");
    put(top, "block/vdc/serial", "data\n"); /* the same once more */
    put(top, "block/loop0/serial", "loop\n");
    assert_int_equal(devices_link_disks(sys, dir, NULL), 0);
    assert_link(top, "virtio-data-part1", "../../vdb1");
    assert_link(top, "virtio-loop", "");
    put(top, "block/vdb/serial", "other\n");
    assert_int_equal(devices_link_disks(sys, dir, NULL), 0);
    assert_link(top, "virtio-data", "../../vdc");
    assert_link(top, "virtio-data-part1", "");
    assert_link(top, "virtio-other", "../../vdb");
    assert_link(top, "virtio-other-part1", "../../vdb1");
    assert_int_equal(devices_link_disks("/no/such/dir", dir, NULL), -2);
    (void)snprintf(command, sizeof(command), "rm -r %s", top);
    assert_int_equal(system(command), 0);
}

static void
only_new_cards_are_brought_up(void **state)
{
#define CARD(action, path, subsystem)                                                    \
    action "@" path "\0ACTION=" action "\0DEVPATH=" path "\0SUBSYSTEM=" subsystem        \
           "\0INTERFACE=eth1"
#define IS(event) devices_new_card(event, sizeof(event))
    (void)state;
    assert_string_equal(IS(CARD("add", "/devices/pci0000:00/net/eth1", "net")), "eth1");
    assert_null(IS(CARD("add", "/devices/virtual/net/eth1", "net")));
    assert_null(IS(CARD("remove", "/devices/pci0000:00/net/eth1", "net")));
    assert_null(IS(CARD("add", "/devices/pci0000:00/net/eth1/queues/rx-0", "queues")));
    assert_null(IS("add@/devices/x"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_those_of_udev),
        cmocka_unit_test(links_come_and_go_with_their_disks),
        cmocka_unit_test(only_new_cards_are_brought_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
