/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/init/coldplug.h"

#include <errno.h>
#include <string.h>

#include "tests/unit/test.h"

static const char aliases[] = "# Aliases extracted from modules themselves.\n"
                              "alias pci:v00001234d*sv*sd*bc*sc*i* wide\n"
                              "alias pci:v00008086d000025ABsv*sd*bc*sc*i* i6300esb\n"
                              "alias pci:v00008086d000025ABsv*sd*bc*sc*i* second\n"
                              "alias virtio:d0000000[37]v* console\n"
                              "alias broken\n"
                              "options snd x=1\n"
                              "alias usb:v* usb";

static void
the_first_pattern_that_fits_names_the_module(void **state)
{
    char name[COLDPLUG_NAME_MAX];

    (void)state;
    assert_int_equal(
        coldplug_match(aliases, strlen(aliases),
                       "pci:v00008086d000025ABsv00001AF4sd00001100bc08sc80i00", name),
        0);
    assert_string_equal(name, "i6300esb");
    assert_int_equal(coldplug_match(aliases, strlen(aliases),
                                    "pci:v00001234d00001111sv0sd0bc03sc00i00", name),
                     0);
    assert_string_equal(name, "wide");
    assert_int_equal(
        coldplug_match(aliases, strlen(aliases), "virtio:d00000007v00001AF4", name), 0);
    assert_string_equal(name, "console");
    assert_int_equal(coldplug_match(aliases, strlen(aliases), "usb:v1", name), 0);
    assert_string_equal(name, "usb"); /* the last line has no newline */
}

static void
what_nothing_drives_is_left_alone(void **state)
{
    static const char *const others[] = {
        "pci:v00008086d000025ACsv0", "virtio:d00000001v0", "", "broken", "acpi:PNP0C0C:"};
    char name[COLDPLUG_NAME_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        assert_int_equal(coldplug_match(aliases, strlen(aliases), others[i], name),
                         -ENODEV);
    assert_int_equal(coldplug_match("", 0, "usb:v1", name), -ENODEV);
    for (size_t cut = 0; cut < sizeof(aliases); cut++)
        (void)coldplug_match(aliases, cut, "usb:v1", name);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_pattern_that_fits_names_the_module),
        cmocka_unit_test(what_nothing_drives_is_left_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
