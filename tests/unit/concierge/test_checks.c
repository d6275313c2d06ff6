/* SPDX-License-Identifier: BSD-3-Clause */
/* Every check of StartVm refuses with its words and without a trace: world_done counts.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/concierge/service.h"
#include "tests/unit/concierge/world.h"
#include "tests/unit/test.h"

typedef VmTools__Concierge__StartVmRequest request_t;

static char *
str(const char *s)
{
    return (char *)(uintptr_t)s;
}

#define REFUSAL(name, words, ...)                                                        \
    static void name##_is_refused(void **state)                                          \
    {                                                                                    \
        struct world w;                                                                  \
        struct start_args args;                                                          \
        struct client_call call;                                                         \
        request_t *rq __attribute__((unused)) = &args.request;                           \
                                                                                         \
        (void)state;                                                                     \
        world_init(&w);                                                                  \
        start_args_init(&args, "demo");                                                  \
        __VA_ARGS__;                                                                     \
        client_start(&w, &args, &call);                                                  \
        world_run(&w, 100);                                                              \
        expect_start_refused(&call, words);                                              \
        world_expect_signals(&w, "");                                                    \
        assert_int_equal(fake_hypervisor_calls(w.hv)->starts, 0);                        \
        assert_int_equal(client_status(&w, "demo"), -1);                                 \
        client_call_done(&call);                                                         \
        world_done(&w);                                                                  \
    }

static const char long_name[] =
    "1234567890123456789012345678901234567890123456789012345678901";

REFUSAL(an_empty_name, "VM name is empty", rq->name = str(""))
REFUSAL(a_name_of_61_bytes, "61 bytes", rq->name = str(long_name))
REFUSAL(a_name_with_an_escape, "control character", rq->name = str("a\x1b[0m"))
REFUSAL(a_cpu_more_than_the_host_has, "5 cpus were asked for, but the host has 4",
        rq->cpus = 5)
REFUSAL(a_descriptor_too_few, "2 descriptors came with the request, but it lists 3",
        args.kinds[2] = VM_TOOLS__CONCIERGE__START_VM_REQUEST__FD_TYPE__INITRD;
        rq->n_fds = 3)
REFUSAL(a_descriptor_too_many, "but it lists 1", rq->n_fds = 1)
REFUSAL(borealis, "retired",
        rq->vm_type = VM_TOOLS__CONCIERGE__VM_INFO__VM_TYPE__BOREALIS)
REFUSAL(termina_without_cicerone, "vm_cicerone", rq->start_termina = true)
REFUSAL(a_request_without_kernel, "there is no kernel",
        args.kinds[0] = VM_TOOLS__CONCIERGE__START_VM_REQUEST__FD_TYPE__INITRD)
REFUSAL(firmware_beside_a_kernel, "either a kernel or firmware",
        args.kinds[1] = VM_TOOLS__CONCIERGE__START_VM_REQUEST__FD_TYPE__BIOS)
REFUSAL(variables_without_firmware, "need their firmware",
        args.kinds[1] = VM_TOOLS__CONCIERGE__START_VM_REQUEST__FD_TYPE__PFLASH)
REFUSAL(a_request_without_disk, "there is no disk", rq->diskless = false)
REFUSAL(big_gl_without_gpu, "enable_big_gl needs enable_gpu", rq->enable_big_gl = true)
REFUSAL(native_context_without_gpu, "needs enable_gpu",
        rq->enable_virtgpu_native_context = true)
REFUSAL(a_gpu, "no GPU", rq->enable_gpu = true)
REFUSAL(a_tpm, "no TPM", rq->vtpm_proxy = true)
REFUSAL(an_unknown_accelerator, "auto, kvm or tcg", rq->accel = str("hvf"))
REFUSAL(an_unknown_hypervisor, "no such hypervisor", rq->hypervisor = str("xen"))
REFUSAL(more_memory_than_the_host_has, "9000 MiB of memory", rq->memory_mib = 9000)
REFUSAL(too_little_memory, "8 MiB of memory", rq->memory_mib = 8)
REFUSAL(a_kernel_parameter_with_a_newline, "control character",
        char *params[] = {str("quiet\nx")};
        rq->kernel_params = params; rq->n_kernel_params = 1)

REFUSAL(a_dlc, "ChromiumOS only", VmTools__Concierge__VirtualMachineSpec spec;
        vm_tools__concierge__virtual_machine_spec__init(&spec);
        spec.dlc_id = str("some-dlc"); rq->vm = &spec)

REFUSAL(a_disk_that_is_not_there, "open image /nowhere",
        VmTools__Concierge__DiskImage disk;
        vm_tools__concierge__disk_image__init(&disk);
        VmTools__Concierge__DiskImage * disks[] = {&disk}; disk.path = str("/nowhere");
        rq->disks = disks; rq->n_disks = 1)

REFUSAL(a_mount_without_a_place, "no mount point", VmTools__Concierge__DiskImage disk;
        vm_tools__concierge__disk_image__init(&disk);
        VmTools__Concierge__DiskImage * disks[] = {&disk}; disk.path = str("/nowhere");
        disk.do_mount = true; rq->disks = disks; rq->n_disks = 1)

REFUSAL(an_eleventh_disk, "11 disks were given, more than the 10 allowed",
        VmTools__Concierge__DiskImage disk;
        vm_tools__concierge__disk_image__init(&disk);
        VmTools__Concierge__DiskImage * disks[11];
        for (size_t i = 0; i < 11; i++) disks[i] = &disk; disk.path = str("/disk");
        fake_host_add_image(w.host, "/disk"); rq->disks = disks; rq->n_disks = 11)

/* The IPC layer asks whether the caller may speak for the owner before the concierge sees
 * the request; whoever may (root) still cannot use an owner that is none. */
static void
an_owner_that_is_not_hexadecimal_is_refused(void **state)
{
    static const char *const owners[] = {"", "xyz"};
    struct world w;

    (void)state;
    world_init(&w);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(owners); i++) {
        struct start_args args;
        struct client_call call;

        start_args_init(&args, "demo");
        args.request.owner_id = str(owners[i]);
        client_call(&w, "StartVm", 0, &args.request.base, args.fds, args.nfds, &call);
        expect_start_refused(&call, "owner id");
        client_call_done(&call);
    }
    world_expect_signals(&w, "");
    world_done(&w);
}

static void
somebody_else_may_not_start_for_an_owner(void **state)
{
    struct world w;
    struct start_args args;
    struct client_call call;

    (void)state;
    world_init(&w);
    start_args_init(&args, "demo");
    client_call(&w, "StartVm", WORLD_UID + 1, &args.request.base, args.fds, args.nfds,
                &call);
    assert_int_equal(call.answers, 1);
    assert_true(call.failed);
    assert_int_equal(call.code, IPC_ERROR_ACCESS_DENIED);
    world_done(&w);
}

/* A request that speaks for WORLD_OWNER, as far as its type has a place for that. */
static ProtobufCMessage *
speak_for_owner(const ProtobufCMessageDescriptor *d)
{
    static const char *const fields[] = {"owner_id", "cryptohome_id"};
    ProtobufCMessage *m = d ? calloc(1, d->sizeof_message) : NULL;

    if (!m)
        return NULL;
    protobuf_c_message_init(d, m);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(fields); i++) {
        const ProtobufCFieldDescriptor *f =
            protobuf_c_message_descriptor_get_field_by_name(d, fields[i]);
        const char *owner = WORLD_OWNER;

        if (f)
            memcpy((char *)m + f->offset, &owner, sizeof(owner));
    }
    return m;
}

/* spec 17, row 26: not one method of all lets another user at what is not his, and each
 * takes its owner's word. */
static void
no_method_serves_another_user(void **state)
{
    struct world w;
    unsigned denied = 0;

    (void)state;
    world_init(&w);
    for (size_t i = 0; i < concierge_service.nmethods; i++) {
        const struct ipc_method *method = &concierge_service.methods[i];
        VMT_CLEANUP(vmt_freep) ProtobufCMessage *m = speak_for_owner(method->request);
        struct client_call call;
        size_t nfds = method->fds_in == IPC_FDS_ONE || method->fds_in == IPC_FDS_ARRAY;
        int fd = nfds ? open("/dev/null", O_RDWR | O_CLOEXEC) : -1;

        client_call(&w, method->name, WORLD_UID + 1, m, &fd, nfds, &call);
        assert_int_equal(call.answers, 1);
        if (method->access == IPC_ACCESS_ANY)
            assert_true(!call.failed || call.code != IPC_ERROR_ACCESS_DENIED);
        else if (!call.failed || call.code != IPC_ERROR_ACCESS_DENIED)
            fail_msg("%s serves a user who is not its owner", method->name);
        denied += method->access != IPC_ACCESS_ANY;
        client_call_done(&call);
    }
    assert_true(denied > 30);
    world_expect_signals(&w, "");
    world_done(&w);
}

/* spec 5: kinds that nobody knows are ignored, of a repeated kind the last wins. */
static void
unknown_kinds_are_ignored_and_the_last_of_a_kind_wins(void **state)
{
    struct world w;
    struct start_args args;
    struct client_call call;
    int before;

    (void)state;
    world_init(&w);
    start_args_init(&args, "demo");
    args.kinds[args.nfds] = VM_TOOLS__CONCIERGE__START_VM_REQUEST__FD_TYPE__KERNEL;
    args.fds[args.nfds++] = before = open("/dev/null", O_RDONLY | O_CLOEXEC);
    args.kinds[args.nfds] = (VmTools__Concierge__StartVmRequest__FdType)77;
    args.fds[args.nfds++] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    args.request.n_fds = args.nfds;
    client_start(&w, &args, &call);
    assert_int_equal(fake_process_start(fake_hypervisor_find(w.hv, "demo"))->kernel_fd,
                     before);
    client_call_done(&call);
    {
        struct client_call stop;

        client_stop(&w, "demo", &stop);
        world_run(&w, 5000);
        assert_true(stop_reply(&stop)->success);
        client_call_done(&stop);
        client_call_done(&call);
    }
    world_done(&w);
}

static void
one_owner_has_so_many_vms_and_no_more(void **state)
{
    enum { STARTS = 33 };
    static struct client_call calls[STARTS], stop;
    char owner[IPC_OWNER_MAX];
    struct world w;

    (void)state;
    world_init(&w);
    ipc_owner_for_uid(WORLD_UID + 1, owner);
    for (int i = 0; i < STARTS; i++) {
        struct start_args args;
        char name[16];

        (void)snprintf(name, sizeof(name), "vm%d", i);
        start_args_init(&args, name);
        args.request.owner_id = owner;
        client_call(&w, "StartVm", WORLD_UID + 1, &args.request.base, args.fds, args.nfds,
                    &calls[i]);
        assert_int_equal(calls[i].answers, i == STARTS - 1);
    }
    expect_start_refused(&calls[STARTS - 1], "stop one");
    client_call(&w, "StopAllVms", WORLD_UID, NULL, NULL, 0, &stop);
    world_run(&w, 5000);
    assert_int_equal(stop.answers, 1);
    for (int i = 0; i < STARTS; i++)
        client_call_done(&calls[i]);
    w.journal[0] = '\0';
    world_done(&w);
}

int
main(void)
{
#define T(name) cmocka_unit_test(name##_is_refused)
    const struct CMUnitTest tests[] = {
        T(an_empty_name),
        T(a_name_of_61_bytes),
        T(a_name_with_an_escape),
        T(a_cpu_more_than_the_host_has),
        T(a_descriptor_too_few),
        T(a_descriptor_too_many),
        T(borealis),
        T(termina_without_cicerone),
        T(a_request_without_kernel),
        T(firmware_beside_a_kernel),
        T(variables_without_firmware),
        T(a_request_without_disk),
        T(big_gl_without_gpu),
        T(native_context_without_gpu),
        T(a_gpu),
        T(a_tpm),
        T(an_unknown_accelerator),
        T(an_unknown_hypervisor),
        T(more_memory_than_the_host_has),
        T(too_little_memory),
        T(a_kernel_parameter_with_a_newline),
        T(a_dlc),
        T(a_disk_that_is_not_there),
        T(a_mount_without_a_place),
        T(an_eleventh_disk),
        cmocka_unit_test(an_owner_that_is_not_hexadecimal_is_refused),
        cmocka_unit_test(somebody_else_may_not_start_for_an_owner),
        cmocka_unit_test(one_owner_has_so_many_vms_and_no_more),
        cmocka_unit_test(no_method_serves_another_user),
        cmocka_unit_test(unknown_kinds_are_ignored_and_the_last_of_a_kind_wins),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
