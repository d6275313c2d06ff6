/* SPDX-License-Identifier: BSD-3-Clause */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "concierge_service.pb-c.h"
#include "core/base/cleanup.h"
#include "core/ipc/ipc.h"
#include "tests/fake/fake_ipc.h"
#include "tests/unit/rpc/alloc.h"
#include "tests/unit/test.h"

VMT_DEFINE_FREEP(struct ipc, ipc_free)

#define STEPS_MAX 64

static size_t
pack_start(uint8_t *buf)
{
    VmTools__Concierge__StartVmRequest m;
    char *params[] = {"quiet", "a=b"};

    vm_tools__concierge__start_vm_request__init(&m);
    m.name = "vm";
    m.n_kernel_params = 2;
    m.kernel_params = params;
    return vm_tools__concierge__start_vm_request__pack(&m, buf);
}

/* One StartVm with two descriptors, answered with one. Whatever fails, the client has its
 * answer, and no descriptor is left. */
static void
call_with_a_failure(struct ipc *ipc, struct fake_daemon *d, size_t step)
{
    VmTools__Concierge__StartVmResponse reply;
    int fds[] = {open("/dev/null", O_RDONLY | O_CLOEXEC),
                 open("/dev/null", O_RDONLY | O_CLOEXEC)};
    struct fake_answer a;
    uint8_t buf[64];
    size_t len = pack_start(buf);

    vm_tools__concierge__start_vm_response__init(&reply);
    reply.success = true;
    d->call = NULL;
    alloc_fail_after(step);
    fake_call(ipc, "StartVm", 0, buf, len, fds, 2, &a);
    if (d->call)
        ipc_call_reply(d->call, &reply.base, (int[]){STDIN_FILENO}, 1);
    assert_int_equal(a.replies + a.failures, 1);
    if (a.failures)
        assert_int_equal(a.code, IPC_ERROR_NO_MEMORY); /* not the client's fault */
    assert_false(fake_fd_is_open(fds[0]) || fake_fd_is_open(fds[1]));
}

static void
a_call_without_memory_is_answered_and_closes_its_descriptors(void **state)
{
    struct fake_daemon d;
    VMT_CLEANUP(ipc_freep) struct ipc *ipc = fake_ipc_new(&d);
    bool failed = true;
    size_t step = 0;

    (void)state;
    for (; failed; step++) {
        assert_true(step < STEPS_MAX);
        call_with_a_failure(ipc, &d, step);
        failed = alloc_fail_over();
    }
    assert_true(step > 4); /* the call, its message, its strings, the reply */
}

static void
a_service_without_memory_is_not_made(void **state)
{
    struct ipc_identity self = {0};
    bool failed = true;

    (void)state;
    for (size_t step = 0; failed; step++) {
        struct ipc *ipc = NULL;
        int r;

        alloc_fail_after(step);
        r = ipc_new(&fake_service, NULL, &self, &ipc, NULL);
        failed = alloc_fail_over();
        assert_int_equal(r < 0, failed);
        assert_int_equal(ipc == NULL, failed);
        ipc_free(ipc);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_without_memory_is_answered_and_closes_its_descriptors),
        cmocka_unit_test(a_service_without_memory_is_not_made),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
