/* SPDX-License-Identifier: BSD-3-Clause */
#include "hypervisor/qemu/peripheral_internal.h"

#include <errno.h>
#include <string.h>

#include "tests/unit/test.h"

/* As QEMU lists them: objects with name and type. */
static json_t *
list_of(const char *const *names, size_t n)
{
    json_t *list = json_array();

    for (size_t i = 0; i < n; i++)
        json_array_append_new(list,
                              json_pack("{s:s,s:s}", "name", names[i], "type", "child"));
    return list;
}

static struct qemu_peripheral
read_names(const char *const *names, size_t n, const char *kind)
{
    struct qemu_peripheral p;
    json_t *list = list_of(names, n);

    qemu_peripheral_read(list, kind, &p);
    json_decref(list);
    return p;
}

static const char *const full[] = {
    "type",
    "rp1",
    "rp2",
    "rp3",
    "rpvsock",
    "balloon0",
    "vblk0-726f6f74",
    "vblk1",
    "slot1-disk-6120",
    "slot3-usb0",
    "usb2",
    "usb16",
    "vhost-vsock0",
};
#define FULL full, sizeof(full) / sizeof(full[0])

static void
slots_and_ports_are_read_from_names(void **state)
{
    const struct qemu_peripheral p = read_names(FULL, NULL);

    (void)state;
    assert_int_equal(p.slots, 1 << 1 | 1 << 2 | 1 << 3);
    assert_int_equal(p.used, 1 << 1 | 1 << 3);
    assert_int_equal(p.usb_slot[0], 3);
    assert_int_equal(p.usb_slot[1], 0);
    assert_int_equal(p.usb_ports, 1 << 2 | 1 << 16);
    assert_false(p.found);
}

static void
disks_are_found_by_serial_wherever_they_are(void **state)
{
    char kind[QEMU_DEVICE_ID_MAX];
    struct qemu_peripheral p;

    (void)state;
    qemu_peripheral_disk("a ", kind);
    assert_string_equal(kind, "disk-6120");
    p = read_names(FULL, kind);
    assert_true(p.found);
    assert_int_equal(p.slot, 1);
    assert_string_equal(p.id, "slot1-disk-6120");
    qemu_peripheral_disk("root", kind);
    p = read_names(FULL, kind);
    assert_true(p.found);
    assert_int_equal(p.slot, 0);
    assert_int_equal(p.index, 0);
    qemu_peripheral_disk("roo", kind);
    assert_false(read_names(FULL, kind).found);
    qemu_peripheral_disk("\xff", kind);
    assert_string_equal(kind, "disk-ff");
}

static void
a_serial_that_is_too_long_overflows_nothing(void **state)
{
    char kind[QEMU_DEVICE_ID_MAX], serial[100];

    (void)state;
    memset(serial, 'x', sizeof(serial) - 1);
    serial[sizeof(serial) - 1] = '\0';
    qemu_peripheral_disk(serial, kind);
    assert_true(strlen(kind) < sizeof(kind));
}

static void
other_names_mean_nothing(void **state)
{
    static const char *const names[] = {
        "rp0",
        "rp9",
        "rp",
        "rp1x",
        "rp99999999999",
        "slot0-disk-61",
        "slot9-usb0",
        "slot1",
        "slot-disk-61",
        "usb0",
        "usb17",
        "usb1x",
        "vblk-61",
        "",
        "slot1x-disk-61",
        "slot1-usb99-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    };
    const struct qemu_peripheral p =
        read_names(names, sizeof(names) / sizeof(names[0]), "disk-61");

    (void)state;
    assert_int_equal(p.slots | p.used | p.usb_ports | p.usb_slot[0], 0);
    assert_false(p.found);
}

static void
answers_that_are_no_list_are_empty(void **state)
{
    const char *const texts[] = {"{}", "[]", "[1,null,{}]", "[{\"name\":1}]", "3"};

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        json_t *json = json_loads(texts[i], JSON_DECODE_ANY, NULL);
        struct qemu_peripheral p = {.slots = 1};

        assert_non_null(json);
        qemu_peripheral_read(json, "disk-61", &p);
        assert_int_equal(p.slots, 0);
        json_decref(json);
    }
}

static void
the_lowest_free_slot_is_chosen(void **state)
{
    const struct qemu_peripheral p = {.slots = 0x1e, .used = 1 << 1};

    (void)state;
    assert_int_equal(qemu_peripheral_choose(&p, 0, 0), 2);
    assert_int_equal(qemu_peripheral_choose(&p, 0, 1 << 2), 3);
    assert_int_equal(qemu_peripheral_choose(&p, 0, 0x1c), -ENOSPC);
    assert_int_equal(qemu_peripheral_choose(&p, 4, 0), 4);
    assert_int_equal(qemu_peripheral_choose(&p, 1, 0), -EBUSY);
    assert_int_equal(qemu_peripheral_choose(&p, 2, 1 << 2), -EBUSY);
    assert_int_equal(qemu_peripheral_choose(&p, 5, 0), -ENOSPC);
    assert_int_equal(qemu_peripheral_choose(&p, 1000, 0), -ENOSPC);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_and_ports_are_read_from_names),
        cmocka_unit_test(disks_are_found_by_serial_wherever_they_are),
        cmocka_unit_test(a_serial_that_is_too_long_overflows_nothing),
        cmocka_unit_test(other_names_mean_nothing),
        cmocka_unit_test(answers_that_are_no_list_are_empty),
        cmocka_unit_test(the_lowest_free_slot_is_chosen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
