/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/ipc/ipc.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common.pb-c.h"
#include "concierge_service.pb-c.h"
#include "core/base/cleanup.h"
#include "core/base/limits.h"
#include "tests/fake/fake_ipc.h"
#include "tests/unit/test.h"

VMT_DEFINE_FREEP(struct ipc, ipc_free)

static int
open_null(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    return fd;
}

static size_t
pack_import(uint8_t *buf, char *vm_name)
{
    VmTools__Concierge__ImportDiskImageRequest m;

    vm_tools__concierge__import_disk_image_request__init(&m);
    m.vm_name = vm_name;
    return vm_tools__concierge__import_disk_image_request__pack(&m, buf);
}

static size_t
pack_start(uint8_t *buf, char *owner)
{
    VmTools__Concierge__StartVmRequest m;

    vm_tools__concierge__start_vm_request__init(&m);
    m.owner_id = owner;
    return vm_tools__concierge__start_vm_request__pack(&m, buf);
}

static void
a_call_reaches_its_handler_parsed_and_is_answered_once(void **state)
{
    struct fake_daemon d;
    VMT_CLEANUP(ipc_freep) struct ipc *ipc = fake_ipc_new(&d);
    VmTools__Concierge__ImportDiskImageResponse reply;
    const VmTools__Concierge__ImportDiskImageRequest *req;
    VMT_CLEANUP(vmt_closep) int mine = -1;
    struct fake_answer a;
    uint8_t buf[64];
    int fd = open_null();

    vm_tools__concierge__import_disk_image_response__init(&reply);
    (void)state;
    fake_call(ipc, "ImportDiskImage", 0, buf, pack_import(buf, "vm"), &fd, 1, &a);
    assert_int_equal(d.handled, 1);
    assert_int_equal(a.replies + a.failures, 0);
    req = (const VmTools__Concierge__ImportDiskImageRequest *)d.request;
    assert_string_equal(req->vm_name, "vm");
    assert_int_equal(ipc_call_caller(d.call)->pid, 77);
    assert_int_equal(ipc_call_take_fds(d.call, &mine, 1), 1);
    assert_int_equal(mine, fd);
    reply.status = VM_TOOLS__CONCIERGE__DISK_IMAGE_STATUS__DISK_STATUS_CREATED;
    ipc_call_reply(d.call, &reply.base, NULL, 0);
    assert_int_equal(a.replies, 1);
    assert_int_equal(a.failures, 0);
    assert_int_equal(a.len, 2);
    assert_memory_equal(a.bytes, "\x08\x01", 2);
    assert_true(fake_fd_is_open(mine)); /* taken: not closed with the call */
}

static void
a_wrong_number_of_descriptors_is_refused_and_closes_them(void **state)
{
    struct fake_daemon d;
    VMT_CLEANUP(ipc_freep) struct ipc *ipc = fake_ipc_new(&d);
    int fds[VMT_FDS_MAX + 1];
    struct fake_answer a;

    (void)state;
    fake_call(ipc, "ImportDiskImage", 0, NULL, 0, NULL, 0, &a);
    assert_int_equal(a.code, IPC_ERROR_INVALID_ARGS);
    fds[0] = open_null();
    fds[1] = open_null();
    fake_call(ipc, "ImportDiskImage", 0, NULL, 0, fds, 2, &a);
    assert_int_equal(a.code, IPC_ERROR_INVALID_ARGS);
    assert_false(fake_fd_is_open(fds[0]) || fake_fd_is_open(fds[1]));
    fds[0] = open_null();
    fake_call(ipc, "StopAllVms", 0, NULL, 0, fds, 1, &a);
    assert_int_equal(a.code, IPC_ERROR_INVALID_ARGS);
    assert_false(fake_fd_is_open(fds[0]));
    for (size_t i = 0; i < VMT_ARRAY_SIZE(fds); i++)
        fds[i] = open_null();
    fake_call(ipc, "StartVm", 0, NULL, 0, fds, VMT_ARRAY_SIZE(fds), &a);
    assert_int_equal(a.code, IPC_ERROR_INVALID_ARGS);
    assert_false(fake_fd_is_open(fds[VMT_FDS_MAX]));
    assert_int_equal(d.handled, 0);
}

static void
an_optional_array_takes_none_and_descriptors_left_over_are_closed(void **state)
{
    struct fake_daemon d;
    VMT_CLEANUP(ipc_freep) struct ipc *ipc = fake_ipc_new(&d);
    struct fake_answer a;
    int fds[2], got[2] = {-1, -1};

    (void)state;
    fake_call(ipc, "StartVm", 0, NULL, 0, NULL, 0, &a);
    ipc_call_fail(d.call, IPC_ERROR_FAILED, "no %s", "kernel");
    assert_string_equal(a.text, "no kernel");
    fds[0] = open_null();
    fds[1] = open_null();
    fake_call(ipc, "StartVm", 0, NULL, 0, fds, 2, &a);
    assert_int_equal(ipc_call_take_fds(d.call, got, 1), 1);
    assert_int_equal(got[0], fds[0]);
    ipc_call_fail(d.call, IPC_ERROR_FAILED, "x");
    assert_true(fake_fd_is_open(fds[0]));
    assert_false(fake_fd_is_open(fds[1]));
    vmt_closep(&got[0]);
}

static void
bytes_that_are_no_request_are_refused_at_every_cut(void **state)
{
    struct fake_daemon d;
    VMT_CLEANUP(ipc_freep) struct ipc *ipc = fake_ipc_new(&d);
    VmTools__Concierge__StartVmRequest m;
    struct fake_answer a;
    uint8_t buf[64];
    size_t len;

    vm_tools__concierge__start_vm_request__init(&m);
    (void)state;
    m.name = "some name";
    len = vm_tools__concierge__start_vm_request__pack(&m, buf);
    for (size_t cut = 1; cut < len; cut++) {
        fake_call(ipc, "StartVm", 0, buf, cut, NULL, 0, &a);
        assert_int_equal(a.code, IPC_ERROR_INVALID_ARGS);
    }
    assert_int_equal(d.handled, 0);
    fake_call(ipc, "StopAllVms", 0, buf, len, NULL, 0, &a);
    assert_int_equal(a.code, IPC_ERROR_INVALID_ARGS); /* it takes no argument */
}

static void
a_request_that_would_fill_the_memory_is_refused(void **state)
{
    struct fake_daemon d;
    VMT_CLEANUP(ipc_freep) struct ipc *ipc = fake_ipc_new(&d);
    size_t len = 2u * 1024 * 1024;
    VMT_CLEANUP(vmt_freep) uint8_t *buf = malloc(len);
    struct fake_answer a;

    (void)state;
    assert_non_null(buf);
    for (size_t i = 0; i < len; i += 2) /* disks of nothing, each of them an object */
        memcpy(buf + i, "\x12\x00", 2);
    fake_call(ipc, "StartVm", 0, buf, len, NULL, 0, &a);
    assert_int_equal(a.code, IPC_ERROR_INVALID_ARGS);
    fake_call(ipc, "StartVm", 0, buf, 2048, NULL, 0, &a);
    assert_int_equal(a.failures, 0);
    ipc_call_fail(d.call, IPC_ERROR_FAILED, "enough");
}

static void
one_user_cannot_have_calls_without_end_in_flight(void **state)
{
    enum { CALLS = 300 };
    static struct fake_answer a[CALLS], root;
    struct ipc_call *calls[CALLS];
    struct fake_daemon d;
    VMT_CLEANUP(ipc_freep) struct ipc *ipc = fake_ipc_new(&d);
    int n = 0;

    (void)state;
    for (int i = 0; i < CALLS; i++) {
        fake_call(ipc, "GetDnsSettings", FAKE_UID_USER, NULL, 0, NULL, 0, &a[i]);
        if (a[i].failures == 0)
            calls[n++] = d.call;
        else
            assert_int_equal(a[i].code, IPC_ERROR_NO_MEMORY);
    }
    assert_true(n >= 200 && n < CALLS);
    fake_call(ipc, "GetDnsSettings", 0, NULL, 0, NULL, 0, &root);
    assert_int_equal(root.failures, 0); /* the others are not held up */
    ipc_call_fail(d.call, IPC_ERROR_FAILED, "enough");
    while (n > 0)
        ipc_call_fail(calls[--n], IPC_ERROR_FAILED, "enough");
    fake_call(ipc, "GetDnsSettings", FAKE_UID_USER, NULL, 0, NULL, 0, &a[0]);
    assert_int_equal(a[0].failures, 0);
    ipc_call_fail(d.call, IPC_ERROR_FAILED, "enough");
}

static void
one_user_cannot_hold_descriptors_without_end(void **state)
{
    enum { CALLS = 40 };
    static struct fake_answer a[CALLS];
    struct ipc_call *calls[CALLS];
    struct fake_daemon d;
    VMT_CLEANUP(ipc_freep) struct ipc *ipc = fake_ipc_new(&d);
    char owner[IPC_OWNER_MAX];
    uint8_t buf[64];
    size_t len;
    int n = 0;

    (void)state;
    ipc_owner_for_uid(FAKE_UID_USER, owner);
    len = pack_start(buf, owner);
    for (int i = 0; i < CALLS; i++) {
        int fds[VMT_FDS_MAX];

        for (int k = 0; k < VMT_FDS_MAX; k++)
            fds[k] = open_null();
        fake_call(ipc, "StartVm", FAKE_UID_USER, buf, len, fds, VMT_FDS_MAX, &a[i]);
        if (a[i].failures == 0) {
            calls[n++] = d.call;
            continue;
        }
        assert_int_equal(a[i].code, IPC_ERROR_NO_MEMORY);
        assert_false(fake_fd_is_open(fds[0]));
    }
    assert_true(n >= 4 && n < CALLS);
    while (n > 0)
        ipc_call_fail(calls[--n], IPC_ERROR_FAILED, "enough");
}

static void
one_user_cannot_fill_the_memory_with_requests(void **state)
{
    enum { CALLS = 40, LEN = 200000 };
    static struct fake_answer a[CALLS];
    static uint8_t buf[LEN];
    struct ipc_call *calls[CALLS];
    struct fake_daemon d;
    VMT_CLEANUP(ipc_freep) struct ipc *ipc = fake_ipc_new(&d);
    VmTools__Concierge__StartVmRequest m;
    char owner[IPC_OWNER_MAX];
    size_t len;
    int n = 0;

    (void)state;
    vm_tools__concierge__start_vm_request__init(&m);
    ipc_owner_for_uid(FAKE_UID_USER, owner);
    m.owner_id = owner;
    len = vm_tools__concierge__start_vm_request__pack(&m, buf);
    for (; len + 2 <= LEN; len += 2)
        memcpy(buf + len, "\x12\x00", 2);
    for (int i = 0; i < CALLS; i++) {
        fake_call(ipc, "StartVm", FAKE_UID_USER, buf, len, NULL, 0, &a[i]);
        if (a[i].failures == 0)
            calls[n++] = d.call;
    }
    assert_true(n >= 1 && n < CALLS);
    while (n > 0)
        ipc_call_fail(calls[--n], IPC_ERROR_FAILED, "enough");
}

static void
a_method_without_result_replies_without_bytes(void **state)
{
    struct fake_daemon d;
    VMT_CLEANUP(ipc_freep) struct ipc *ipc = fake_ipc_new(&d);
    struct fake_answer a;

    (void)state;
    fake_call(ipc, "StopAllVms", 0, NULL, 0, NULL, 0, &a);
    assert_null(d.request);
    ipc_call_reply(d.call, NULL, NULL, 0);
    assert_int_equal(a.replies, 1);
    assert_false(a.has_bytes);
}

static void
an_empty_reply_message_still_has_bytes(void **state)
{
    struct fake_daemon d;
    VMT_CLEANUP(ipc_freep) struct ipc *ipc = fake_ipc_new(&d);
    VmTools__Concierge__DnsSettings m;
    struct fake_answer a;

    vm_tools__concierge__dns_settings__init(&m);
    (void)state;
    fake_call(ipc, "GetDnsSettings", 0, NULL, 0, NULL, 0, &a);
    ipc_call_reply(d.call, &m.base, NULL, 0);
    assert_true(a.has_bytes);
    assert_int_equal(a.len, 0);
}

static void
signals_go_to_every_server(void **state)
{
    struct fake_daemon d;
    struct ipc *ipc = fake_ipc_new(&d);
    VmTools__Concierge__DnsSettings m;
    VmTools__EmptyMessage other = VM_TOOLS__EMPTY_MESSAGE__INIT;
    struct fake_server servers[2];
    char *list[] = {"1.1.1.1"};

    vm_tools__concierge__dns_settings__init(&m);
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        fake_server_init(&servers[i]);
        assert_int_equal(ipc_add_server(ipc, &servers[i].base, NULL), 0);
    }
    m.n_nameservers = 1;
    m.nameservers = list;
    assert_int_equal(ipc_emit(ipc, "DnsSettingsChanged", &m.base), 0);
    assert_int_equal(ipc_emit(ipc, "NoSuchSignal", &m.base), -ENOENT);
    assert_int_equal(ipc_emit(ipc, "DnsSettingsChanged", &other.base), -ENOENT);
    ipc_free(ipc);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(servers[i].emitted, 1);
        assert_ptr_equal(servers[i].signal, &fake_service.signals[0]);
        assert_int_equal(servers[i].len, 9);
        assert_memory_equal(servers[i].bytes,
                            "\x0a\x07"
                            "1.1.1.1",
                            9);
        assert_int_equal(servers[i].freed, 1);
    }
}

static void
calls_in_flight_are_failed_at_the_end_and_may_still_be_answered(void **state)
{
    struct fake_daemon d;
    struct ipc *ipc = fake_ipc_new(&d);
    struct fake_answer a;

    (void)state;
    fake_call(ipc, "StopAllVms", 0, NULL, 0, NULL, 0, &a);
    ipc_free(ipc);
    assert_int_equal(a.failures, 1);
    assert_int_equal(a.code, IPC_ERROR_FAILED);
    ipc_call_reply(d.call, NULL, NULL, 0);
    assert_int_equal(a.replies, 0);
    assert_int_equal(a.failures, 1);
}

static void
count_cancel(void *arg)
{
    ++*(int *)arg;
}

static void
a_cancelled_call_closes_its_descriptors_and_is_answered_into_nothing(void **state)
{
    struct fake_daemon d;
    VMT_CLEANUP(ipc_freep) struct ipc *ipc = fake_ipc_new(&d);
    struct fake_answer a, other;
    int fd = open_null(), cancels = 0;

    (void)state;
    fake_call(ipc, "StopAllVms", 0, NULL, 0, NULL, 0, &other);
    ipc_call_on_cancel(d.call, count_cancel, &cancels);
    ipc_cancel(ipc, &a); /* nobody's */
    ipc_call_reply(d.call, NULL, NULL, 0);
    assert_int_equal(other.replies, 1);
    fake_call(ipc, "ImportDiskImage", 0, NULL, 0, &fd, 1, &a);
    ipc_call_on_cancel(d.call, count_cancel, &cancels);
    ipc_cancel(ipc, &a);
    assert_int_equal(cancels, 1);
    assert_false(fake_fd_is_open(fd));
    ipc_cancel(ipc, &a);
    assert_int_equal(cancels, 1);
    ipc_call_fail(d.call, IPC_ERROR_FAILED, "too late");
    assert_int_equal(a.replies + a.failures, 0);
}

static void
answer_from_cancel(void *arg)
{
    ipc_call_fail(arg, IPC_ERROR_FAILED, "cancelled");
}

static void
a_handler_may_answer_as_soon_as_it_hears_of_the_cancel(void **state)
{
    struct fake_daemon d;
    VMT_CLEANUP(ipc_freep) struct ipc *ipc = fake_ipc_new(&d);
    struct fake_answer a;

    (void)state;
    fake_call(ipc, "StopAllVms", 0, NULL, 0, NULL, 0, &a);
    ipc_call_on_cancel(d.call, answer_from_cancel, d.call);
    ipc_cancel(ipc, &a);
    assert_int_equal(a.replies + a.failures, 0);
}

static void
a_cancelled_call_still_counts_while_its_handler_works(void **state)
{
    enum { CALLS = 300 };
    static struct fake_answer a[CALLS];
    struct ipc_call *calls[CALLS];
    struct fake_daemon d;
    VMT_CLEANUP(ipc_freep) struct ipc *ipc = fake_ipc_new(&d);
    int n = 0;

    (void)state;
    for (int i = 0; i < CALLS; i++) {
        fake_call(ipc, "GetDnsSettings", FAKE_UID_USER, NULL, 0, NULL, 0, &a[i]);
        if (a[i].failures)
            break;
        calls[n++] = d.call;
        ipc_cancel(ipc, &a[i]);
    }
    assert_true(n >= 200 && n < CALLS);
    while (n > 0)
        ipc_call_fail(calls[--n], IPC_ERROR_FAILED, "enough");
}

static void
methods_are_found_by_their_whole_name(void **state)
{
    struct fake_daemon d;
    VMT_CLEANUP(ipc_freep) struct ipc *ipc = fake_ipc_new(&d);

    (void)state;
    assert_ptr_equal(ipc_find_method(ipc, "StartVm"), &fake_service.methods[2]);
    assert_null(ipc_find_method(ipc, "StartV"));
    assert_null(ipc_find_method(ipc, "startvm"));
    assert_ptr_equal(ipc_service(ipc), &fake_service);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_reaches_its_handler_parsed_and_is_answered_once),
        cmocka_unit_test(a_wrong_number_of_descriptors_is_refused_and_closes_them),
        cmocka_unit_test(
            an_optional_array_takes_none_and_descriptors_left_over_are_closed),
        cmocka_unit_test(bytes_that_are_no_request_are_refused_at_every_cut),
        cmocka_unit_test(a_request_that_would_fill_the_memory_is_refused),
        cmocka_unit_test(one_user_cannot_have_calls_without_end_in_flight),
        cmocka_unit_test(one_user_cannot_hold_descriptors_without_end),
        cmocka_unit_test(one_user_cannot_fill_the_memory_with_requests),
        cmocka_unit_test(a_method_without_result_replies_without_bytes),
        cmocka_unit_test(an_empty_reply_message_still_has_bytes),
        cmocka_unit_test(signals_go_to_every_server),
        cmocka_unit_test(calls_in_flight_are_failed_at_the_end_and_may_still_be_answered),
        cmocka_unit_test(
            a_cancelled_call_closes_its_descriptors_and_is_answered_into_nothing),
        cmocka_unit_test(a_handler_may_answer_as_soon_as_it_hears_of_the_cancel),
        cmocka_unit_test(a_cancelled_call_still_counts_while_its_handler_works),
        cmocka_unit_test(methods_are_found_by_their_whole_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
