/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "concierge_service.pb-c.h"

#include "core/base/cleanup.h"
#include "platform/linux/vmc/disk.h"
#include "tests/unit/test.h"

static void
sizes_have_units(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes; /* 0: refused */
    } rows[] = {
        {"1", 1},
        {"4096", 4096},
        {"1K", 1024},
        {"2m", 2u << 20},
        {"10G", 10ull << 30},
        {"16T", 16ull << 40},
        {"17T", 0},
        {"0", 0},
        {"", 0},
        {"G", 0},
        {"-1", 0},
        {"1.5G", 0},
        {"1GB", 0},
        {" 1", 0},
        {"99999999999999999999999999999999999K", 0},
    };
    struct vmt_err err;

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(rows); i++) {
        uint64_t bytes = 0;
        int r = disk_parse_size(rows[i].text, &bytes, &err);

        assert_int_equal(r, rows[i].bytes ? 0 : -EINVAL);
        assert_int_equal(bytes, rows[i].bytes);
    }
}

static void
every_status_is_a_good_end_or_an_error(void **state)
{
    struct vmt_err err;

    (void)state;
    for (int status = 0; status < 12; status++) {
        bool good =
            status == VM_TOOLS__CONCIERGE__DISK_IMAGE_STATUS__DISK_STATUS_CREATED ||
            status == VM_TOOLS__CONCIERGE__DISK_IMAGE_STATUS__DISK_STATUS_DESTROYED ||
            status == VM_TOOLS__CONCIERGE__DISK_IMAGE_STATUS__DISK_STATUS_RESIZED;

        assert_int_equal(disk_status_error(status, "", &err) == 0, good);
        assert_true(*disk_status_name(status) != '\0');
    }
    assert_int_equal(disk_status_error(4, "none\033[1m", &err), -ENOENT);
    assert_string_equal(err.msg, "none\\x1b[1m");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_have_units),
        cmocka_unit_test(every_status_is_a_good_end_or_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
