/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/init/file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "platform/linux/os/paths.h"
#include "tests/unit/test.h"

#define GIVE_UP_S 30u /* an open that hangs ends the test */

struct place {
    char dir[32], path[64];
};

static int
set_up(void **state)
{
    static struct place p;

    p = (struct place){.dir = "/tmp/vmt-file-XXXXXX"};
    assert_non_null(mkdtemp(p.dir));
    (void)snprintf(p.path, sizeof(p.path), "%s/it", p.dir);
    (void)alarm(GIVE_UP_S);
    *state = &p;
    return 0;
}

static int
tear_down(void **state)
{
    struct place *p = *state;

    (void)alarm(0);
    return os_remove_tree(p->dir, NULL);
}

static void
a_file_is_read_whole_or_not_at_all(void **state)
{
    VMT_CLEANUP(vmt_freep) char *text = NULL;
    struct place *p = *state;

    assert_int_equal(file_read(p->path, 10, &text), -ENOENT);
    assert_int_equal(os_write_file_atomic(p->path, "0123456789", 10, 0600, NULL), 0);
    assert_int_equal(file_read(p->path, 9, &text), -EFBIG);
    assert_null(text);
    assert_int_equal(file_read(p->path, 10, &text), 10);
    assert_string_equal(text, "0123456789");
}

/* Who can write to /etc would else stop process 1 for ever. */
static void
a_pipe_in_the_place_of_a_file_holds_nobody(void **state)
{
    VMT_CLEANUP(vmt_freep) char *text = NULL;
    struct place *p = *state;

    assert_int_equal(mkfifo(p->path, 0600), 0);
    assert_int_equal(file_read(p->path, 10, &text), 0);
    assert_string_equal(text, "");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_file_is_read_whole_or_not_at_all, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_pipe_in_the_place_of_a_file_holds_nobody,
                                        set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
