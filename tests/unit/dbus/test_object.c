/* SPDX-License-Identifier: BSD-3-Clause */
#include <fcntl.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/ipc/ipc.h"
#include "tests/unit/dbus/object.h"
#include "tests/unit/rpc/alloc.h"
#include "tests/unit/test.h"

#define STEPS_MAX 64

/* A call of a method of ours with len bytes and nfds descriptors. */
static DBusMessage *
call_new(const char *method, const void *bytes, int len, int nfds)
{
    const struct ipc_service *s = object_service();
    DBusMessage *msg =
        dbus_message_new_method_call(s->dbus_name, s->dbus_path, s->dbus_name, method);
    VMT_CLEANUP(vmt_closep) int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    DBusMessageIter it, sub;

    assert_true(msg && fd >= 0);
    dbus_message_set_serial(msg, 7);
    dbus_message_iter_init_append(msg, &it);
    if (bytes) {
        assert_true(dbus_message_iter_open_container(&it, DBUS_TYPE_ARRAY, "y", &sub));
        assert_true(
            dbus_message_iter_append_fixed_array(&sub, DBUS_TYPE_BYTE, &bytes, len));
        assert_true(dbus_message_iter_close_container(&it, &sub));
    }
    if (nfds == 0)
        return msg;
    assert_true(dbus_message_iter_open_container(&it, DBUS_TYPE_ARRAY, "h", &sub));
    for (int i = 0; i < nfds; i++)
        assert_true(dbus_message_iter_append_basic(&sub, DBUS_TYPE_UNIX_FD, &fd));
    assert_true(dbus_message_iter_close_container(&it, &sub));
    return msg;
}

static void
a_call_without_memory_gets_one_answer_and_leaves_no_descriptor(void **state)
{
    static const char request[] = "\x22\x02vm"; /* field 4, the name */
    bool failed = true;
    size_t step = 0;

    (void)state;
    object_init();
    for (; failed; step++) {
        DBusMessage *msg = call_new("StartVm", request, sizeof(request) - 1, 3);

        assert_true(step < STEPS_MAX);
        alloc_fail_after(step);
        object_deliver(msg, 0); /* which looks at all of that */
        failed = alloc_fail_over();
        dbus_message_unref(msg);
    }
    assert_true(step > 3);
}

static void
arguments_of_another_shape_get_an_answer(void **state)
{
    static const struct {
        const char *method, *bytes;
        int nfds;
    } rows[] = {
        {"ListVms", NULL, 0},       {"ListVms", "", 1},         {"GetDnsSettings", "", 0},
        {"ImportDiskImage", "", 0}, {"ImportDiskImage", "", 2}, {"StartVm", NULL, 1},
        {"StartVm", "", 20},
    };

    (void)state;
    object_init();
    for (size_t i = 0; i < VMT_ARRAY_SIZE(rows); i++) {
        DBusMessage *msg = call_new(rows[i].method, rows[i].bytes, 0, rows[i].nfds);

        object_deliver(msg, 0);
        dbus_message_unref(msg);
    }
}

static void
a_call_that_wants_no_answer_gets_none(void **state)
{
    DBusMessage *msg;

    (void)state;
    object_init();
    msg = call_new("StopAllVms", NULL, 0, 0);
    dbus_message_set_no_reply(msg, TRUE);
    object_deliver(msg, 0);
    object_deliver(msg, 12345);
    dbus_message_unref(msg);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_without_memory_gets_one_answer_and_leaves_no_descriptor),
        cmocka_unit_test(arguments_of_another_shape_get_an_answer),
        cmocka_unit_test(a_call_that_wants_no_answer_gets_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
