/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "concierge_service.pb-c.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "tests/fake/fake_ipc.h"
#include "tests/unit/test.h"

VMT_DEFINE_FREEP(struct ipc, ipc_free)

static int lines_logged;
static char last_line[512];

static void
remember_line(void *arg, enum vmt_log_level level, const char *line)
{
    (void)arg;
    (void)level;
    lines_logged++;
    (void)snprintf(last_line, sizeof(last_line), "%s", line);
}

static size_t
pack_start(uint8_t *buf, char *owner)
{
    VmTools__Concierge__StartVmRequest m;

    vm_tools__concierge__start_vm_request__init(&m);
    m.owner_id = owner;
    return vm_tools__concierge__start_vm_request__pack(&m, buf);
}

/* Whether uid may start a VM of owner. */
static bool
may_start(struct ipc *ipc, struct fake_daemon *d, uint32_t uid, char *owner)
{
    struct fake_answer a;
    uint8_t buf[256];

    d->call = NULL;
    fake_call(ipc, "StartVm", uid, buf, pack_start(buf, owner), NULL, 0, &a);
    if (!d->call) {
        assert_int_equal(a.failures, 1);
        assert_int_equal(a.code, IPC_ERROR_ACCESS_DENIED);
        return false;
    }
    ipc_call_fail(d->call, IPC_ERROR_FAILED, "enough");
    return true;
}

static bool
may_call(struct ipc *ipc, struct fake_daemon *d, uint32_t uid, const char *method)
{
    struct fake_answer a;

    d->call = NULL;
    fake_call(ipc, method, uid, NULL, 0, NULL, 0, &a);
    if (!d->call)
        return false;
    ipc_call_fail(d->call, IPC_ERROR_FAILED, "enough");
    return true;
}

static void
the_owner_id_of_a_uid_is_hex_and_readable(void **state)
{
    char buf[IPC_OWNER_MAX];

    (void)state;
    ipc_owner_for_uid(1000, buf);
    assert_string_equal(buf, "7569643a31303030");
    ipc_owner_for_uid(UINT32_MAX, buf);
    assert_string_equal(buf, "7569643a34323934393637323935");
}

static void
only_the_owner_the_daemon_and_root_may_touch_an_owners_vm(void **state)
{
    struct fake_daemon d;
    VMT_CLEANUP(ipc_freep) struct ipc *ipc = fake_ipc_new(&d);
    char own[IPC_OWNER_MAX];

    (void)state;
    ipc_owner_for_uid(FAKE_UID_USER, own);
    assert_true(may_start(ipc, &d, FAKE_UID_USER, own));
    assert_true(may_start(ipc, &d, FAKE_UID_DAEMON, own));
    assert_true(may_start(ipc, &d, 0, own));
    assert_false(may_start(ipc, &d, FAKE_UID_USER + 1, own));
    assert_false(may_start(ipc, &d, FAKE_UID_USER, ""));
    assert_false(may_start(ipc, &d, FAKE_UID_USER, "7569643A31303030"));
    own[strlen(own) - 1] = '\0';
    assert_false(may_start(ipc, &d, FAKE_UID_USER, own));
}

static void
the_cryptohome_id_counts_as_owner_too(void **state)
{
    struct fake_daemon d = {0};
    struct ipc_service service = fake_service;
    struct ipc_method method = {
        .name = "DestroyDiskImage",
        .request = &vm_tools__concierge__destroy_disk_image_request__descriptor,
        .reply = &vm_tools__concierge__destroy_disk_image_response__descriptor,
        .access = IPC_ACCESS_OWNER,
        .handle = fake_service.methods[0].handle};
    VmTools__Concierge__DestroyDiskImageRequest m;
    struct ipc_identity self = {.uid = FAKE_UID_DAEMON};
    VMT_CLEANUP(ipc_freep) struct ipc *ipc = NULL;
    char own[IPC_OWNER_MAX];
    struct fake_answer a;
    uint8_t buf[64];
    size_t len;

    vm_tools__concierge__destroy_disk_image_request__init(&m);
    (void)state;
    service.methods = &method;
    service.nmethods = 1;
    assert_int_equal(ipc_new(&service, &d, &self, &ipc, NULL), 0);
    ipc_owner_for_uid(FAKE_UID_USER, own);
    m.cryptohome_id = own;
    len = vm_tools__concierge__destroy_disk_image_request__pack(&m, buf);
    fake_call(ipc, "DestroyDiskImage", FAKE_UID_USER + 1, buf, len, NULL, 0, &a);
    assert_int_equal(a.code, IPC_ERROR_ACCESS_DENIED);
    fake_call(ipc, "DestroyDiskImage", FAKE_UID_USER, buf, len, NULL, 0, &a);
    assert_int_equal(d.handled, 1);
    ipc_call_fail(d.call, IPC_ERROR_FAILED, "enough");
}

static void
a_table_that_checks_an_owner_nobody_names_is_refused(void **state)
{
    struct ipc_service service = fake_service;
    struct ipc_method method = {
        .name = "DiskImageStatus",
        .request = &vm_tools__concierge__disk_image_status_request__descriptor,
        .access = IPC_ACCESS_OWNER};
    struct ipc_identity self = {0};
    struct ipc *ipc = NULL;
    struct vmt_err err;

    (void)state;
    service.methods = &method;
    service.nmethods = 1;
    assert_int_equal(ipc_new(&service, NULL, &self, &ipc, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "DiskImageStatus"));
    assert_null(ipc);
}

static void
service_and_root_methods_are_closed_to_users(void **state)
{
    struct fake_daemon d;
    VMT_CLEANUP(ipc_freep) struct ipc *ipc = fake_ipc_new(&d);
    static const char *const methods[] = {"SyncVmTimes", "StopAllVms"};

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(methods); i++) {
        assert_true(may_call(ipc, &d, 0, methods[i]));
        assert_true(may_call(ipc, &d, FAKE_UID_DAEMON, methods[i]));
        assert_false(may_call(ipc, &d, FAKE_UID_USER, methods[i]));
    }
    assert_true(may_call(ipc, &d, FAKE_UID_USER, "GetDnsSettings"));
}

static void
only_root_and_the_set_get_into_a_system_daemon(void **state)
{
    enum { SIBLING = 501 };
    static const uint32_t siblings[] = {502, SIBLING};
    const struct ipc_identity self = {.uid = FAKE_UID_DAEMON,
                                      .system = true,
                                      .services = siblings,
                                      .nservices = VMT_ARRAY_SIZE(siblings)};
    static const struct {
        uint32_t uid;
        bool service, root, owner;
    } rows[] = {{0, true, true, true},
                {FAKE_UID_DAEMON, true, false, true},
                {SIBLING, true, false, true},
                {FAKE_UID_USER, false, false, false}};
    VMT_CLEANUP(ipc_freep) struct ipc *ipc = NULL;
    struct fake_daemon d = {0};

    (void)state;
    assert_int_equal(ipc_new(&fake_service, &d, &self, &ipc, NULL), 0);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(rows); i++) {
        assert_int_equal(may_call(ipc, &d, rows[i].uid, "SyncVmTimes"), rows[i].service);
        assert_int_equal(may_call(ipc, &d, rows[i].uid, "StopAllVms"), rows[i].root);
        assert_int_equal(may_start(ipc, &d, rows[i].uid, "75696431"), rows[i].owner);
        assert_true(may_call(ipc, &d, rows[i].uid, "GetDnsSettings"));
    }
}

static void
what_is_done_by_privilege_is_logged(void **state)
{
    const struct ipc_identity self = {.uid = FAKE_UID_DAEMON, .system = true};
    VMT_CLEANUP(ipc_freep) struct ipc *ipc = NULL;
    struct fake_daemon d = {0};
    char own[IPC_OWNER_MAX];

    (void)state;
    assert_int_equal(ipc_new(&fake_service, &d, &self, &ipc, NULL), 0);
    vmt_log_init("test", remember_line, NULL);
    vmt_log_set_level(VMT_LOG_INFO);
    lines_logged = 0;
    ipc_owner_for_uid(FAKE_UID_USER, own);
    assert_true(may_start(ipc, &d, FAKE_UID_USER, own));
    assert_true(may_call(ipc, &d, 0, "GetDnsSettings"));
    assert_int_equal(lines_logged, 0); /* that is anybody's right */
    assert_true(may_start(ipc, &d, 0, own));
    assert_int_equal(lines_logged, 1);
    assert_non_null(strstr(last_line, "method=StartVm needs=owner uid=0 pid=77 owner="));
    assert_true(may_call(ipc, &d, FAKE_UID_DAEMON, "SyncVmTimes"));
    assert_int_equal(lines_logged, 2);
    assert_non_null(strstr(last_line, "method=SyncVmTimes needs=service uid=500"));
    vmt_log_init("test", NULL, NULL);
}

static void
a_user_is_not_told_about_the_use_of_his_own_daemon(void **state)
{
    struct fake_daemon d;
    VMT_CLEANUP(ipc_freep) struct ipc *ipc = fake_ipc_new(&d);

    (void)state;
    vmt_log_init("test", remember_line, NULL);
    vmt_log_set_level(VMT_LOG_INFO);
    lines_logged = 0;
    assert_true(may_call(ipc, &d, FAKE_UID_DAEMON, "StopAllVms"));
    assert_int_equal(lines_logged, 0);
    vmt_log_init("test", NULL, NULL);
}

static void
refusals_are_logged_escaped_and_do_not_flood_the_log(void **state)
{
    struct fake_daemon d;
    VMT_CLEANUP(ipc_freep) struct ipc *ipc = fake_ipc_new(&d);

    (void)state;
    lines_logged = 0;
    vmt_log_init("test", remember_line, NULL);
    assert_false(may_start(ipc, &d, FAKE_UID_USER, "a\nb"));
    assert_int_equal(lines_logged, 1);
    assert_non_null(strstr(last_line, "method=StartVm"));
    assert_non_null(strstr(last_line, "uid=1000 pid=77 owner=a\\x0ab"));
    for (int i = 1; i < 1000; i++)
        assert_false(may_start(ipc, &d, FAKE_UID_USER, "x"));
    assert_int_equal(lines_logged, 10); /* at 1, 2, 4 ... 512 */
    assert_false(may_start(ipc, &d, FAKE_UID_USER + 1, "x"));
    assert_int_equal(lines_logged, 11);
    vmt_log_init("test", NULL, NULL);
}

static void
taking_turns_does_not_flood_the_log_either(void **state)
{
    struct fake_daemon d;
    VMT_CLEANUP(ipc_freep) struct ipc *ipc = fake_ipc_new(&d);

    (void)state;
    lines_logged = 0;
    vmt_log_init("test", remember_line, NULL);
    for (uint32_t i = 0; i < 5000; i++)
        assert_false(may_start(ipc, &d, FAKE_UID_USER + i % 2, "x"));
    vmt_log_init("test", NULL, NULL);
    assert_true(lines_logged >= 2 && lines_logged < 100);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_owner_id_of_a_uid_is_hex_and_readable),
        cmocka_unit_test(only_the_owner_the_daemon_and_root_may_touch_an_owners_vm),
        cmocka_unit_test(the_cryptohome_id_counts_as_owner_too),
        cmocka_unit_test(a_table_that_checks_an_owner_nobody_names_is_refused),
        cmocka_unit_test(service_and_root_methods_are_closed_to_users),
        cmocka_unit_test(only_root_and_the_set_get_into_a_system_daemon),
        cmocka_unit_test(what_is_done_by_privilege_is_logged),
        cmocka_unit_test(a_user_is_not_told_about_the_use_of_his_own_daemon),
        cmocka_unit_test(refusals_are_logged_escaped_and_do_not_flood_the_log),
        cmocka_unit_test(taking_turns_does_not_flood_the_log_either),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
