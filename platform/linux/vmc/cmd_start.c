/* SPDX-License-Identifier: BSD-3-Clause */
/* vmc start: boot a VM, show how it goes, open a shell. */
#include "platform/linux/vmc/cmd_start.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "concierge_service.pb-c.h"

#include "core/base/cleanup.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/vmc/cmd_stop.h"
#include "platform/linux/vmc/cmd_wait.h"
#include "platform/linux/vmc/guest_command.h"
#include "platform/linux/vmc/vm_info.h"
#include "platform/linux/vmc/vmc.h"
#include "platform/linux/vsh/concierge_client.h"
#include "vmt_life.pb-c.h"

/* The daemon has deadlines of its own, counted from the last sign of life; this one only
 * ends the wait for a daemon that hangs. */
#define START_TIMEOUT_MS (15u * 60 * 1000)
#define START_GRACE_MS (2u * 60 * 1000)
#define ASK_AGAIN_MS 200u
#define TEXT_MAX 512
#define DEFAULT_MEM_MIB 2048u

typedef VmTools__Concierge__StartVmRequest pb_request;
typedef VmTools__Concierge__StartVmResponse pb_response;
typedef VmTools__Concierge__DiskImage pb_disk;

/* A request and what its pointers point to. */
struct start_request {
    pb_request pb;
    pb_disk disks[START_DISKS_MAX];
    pb_disk *disk_list[START_DISKS_MAX];
    VmTools__Concierge__StartVmRequest__FdType kinds[3];
    char *params[START_PARAMS_MAX + 1];
    Vmt__RestartPolicy restart;
};

static void
fill_params(struct start_request *rq, const struct start_options *o,
            const struct start_files *files)
{
    size_t n = 0;

    /* The kernel takes the last one where two contradict: the user's. */
    if (files->cmdline && *files->cmdline)
        rq->params[n++] = files->cmdline;
    for (size_t i = 0; i < o->nparams; i++)
        rq->params[n++] = (char *)(uintptr_t)o->params[i];
    rq->pb.kernel_params = rq->params;
    rq->pb.n_kernel_params = n;
}

static void
fill_disks(struct start_request *rq, const struct start_options *o)
{
    for (size_t i = 0; i < o->ndisks; i++) {
        vm_tools__concierge__disk_image__init(&rq->disks[i]);
        rq->disks[i].path = o->disks[i].path;
        rq->disks[i].writable = !o->disks[i].read_only;
        rq->disks[i].image_type = VM_TOOLS__CONCIERGE__DISK_IMAGE_TYPE__DISK_IMAGE_AUTO;
        rq->disk_list[i] = &rq->disks[i];
    }
    rq->pb.disks = rq->disk_list;
    rq->pb.n_disks = o->ndisks;
    rq->pb.diskless = o->ndisks == 0;
}

static void
fill_request(struct start_request *rq, const struct vmc *vmc, const char *name,
             const struct start_options *o, const struct start_files *files)
{
    vm_tools__concierge__start_vm_request__init(&rq->pb);
    rq->pb.name = (char *)(uintptr_t)name;
    rq->pb.owner_id = (char *)(uintptr_t)vmc->owner;
    rq->pb.cpus = o->cpus;
    rq->pb.memory_mib = o->mem_mib;
    rq->pb.timeout = o->timeout_s;
    rq->pb.accel = (char *)(uintptr_t)o->accel;
    vmt__restart_policy__init(&rq->restart);
    rq->restart.mode = (Vmt__RestartPolicy__Mode)o->restart_mode;
    rq->restart.max_restarts = o->restarts;
    rq->pb.restart = &rq->restart;
    rq->pb.network = (char *)(uintptr_t)o->network;
    rq->pb.container_network = o->container_network;
    rq->pb.cold = o->cold;
    rq->pb.cpu_weight = o->cpu_weight;
    rq->pb.hugepages = o->hugepages;
    rq->pb.storage_ballooning = o->storage_balloon;
    for (size_t i = 0; i < files->n; i++)
        rq->kinds[i] = (VmTools__Concierge__StartVmRequest__FdType)files->kinds[i];
    rq->pb.fds = rq->kinds;
    rq->pb.n_fds = files->n;
    fill_params(rq, o, files);
    fill_disks(rq, o);
}

static void
on_interrupt(void *arg, int sig)
{
    struct vmc *vmc = arg;

    (void)sig;
    if (vmc->client)
        concierge_client_interrupt(vmc->client);
}

/* Those that somebody had us ignore, as nohup(1) does, stay ignored. */
static int
watch_interrupts(struct vmc *vmc, struct vmt_err *err)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    int r = 0;

    for (size_t i = 0; r == 0 && i < VMT_ARRAY_SIZE(signals); i++)
        if (!os_signal_is_ignored(signals[i]))
            r = os_loop_on_signal(vmc->loop, signals[i], on_interrupt, vmc, err);
    return r;
}

/* Whoever interrupts a start does not want the VM: a boot that goes on in the background
 * would surprise. */
static int
start_interrupted(struct vmc *vmc, const char *name, struct vmt_err *err)
{
    struct vmt_err why;
    char safe[128];

    (void)fprintf(stderr, "vmc: interrupted, stopping %s\n",
                  vmc_escape(safe, sizeof(safe), name));
    if (vm_stop(vmc, name, &why) < 0)
        return vmt_err_setx(err, EINTR, "interrupted, and stopping failed: %s", why.msg);
    return vmt_err_setx(err, EINTR, "start was interrupted");
}

/* Somebody else starts or stops it: the daemon says what there is, and does nothing. */
static bool
is_under_way(const pb_response *response)
{
    return response->success &&
           (response->status == VM_TOOLS__CONCIERGE__VM_STATUS__VM_STATUS_STARTING ||
            response->status == VM_TOOLS__CONCIERGE__VM_STATUS__VM_STATUS_STOPPED);
}

/* A daemon that died with our start leaves a VM that its heir starts on, or cleans up:
 * asked again until it is one of both, it tells that the VM runs, or starts it anew. */
static int
ask_until_settled(struct vmc *vmc, const char *name, const struct concierge_call *call,
                  struct ProtobufCMessage **ret_reply, struct vmt_err *err)
{
    struct ProtobufCMessage *reply = NULL;
    char safe[128];

    for (uint64_t waited = 0; waited < call->timeout_ms; waited += ASK_AGAIN_MS) {
        int r = vmc_call(vmc, call, &reply, err);

        if (r < 0)
            return r;
        if (!is_under_way((const pb_response *)(const void *)reply)) {
            *ret_reply = reply;
            return 0;
        }
        protobuf_c_message_free_unpacked(reply, NULL);
        (void)poll(NULL, 0, ASK_AGAIN_MS);
    }
    return vmt_err_setx(err, ETIMEDOUT, "start %s: it neither runs nor ends",
                        vmc_escape(safe, sizeof(safe), name));
}

static int
start_call(struct vmc *vmc, const char *name, const struct start_options *o,
           const struct start_files *files, pb_response **ret_response,
           struct vmt_err *err)
{
    struct start_request rq;
    struct concierge_call call = {
        .method = "StartVm",
        .request = &rq.pb.base,
        .reply = &vm_tools__concierge__start_vm_response__descriptor,
        .fds = files->fds,
        .nfds = files->n,
        .timeout_ms =
            o->timeout_s ? o->timeout_s * 1000u + START_GRACE_MS : START_TIMEOUT_MS,
    };
    struct ProtobufCMessage *reply = NULL;
    int r;

    fill_request(&rq, vmc, name, o, files);
    r = watch_interrupts(vmc, err);
    if (r == 0)
        r = ask_until_settled(vmc, name, &call, &reply, err);
    if (r == -EINTR)
        return start_interrupted(vmc, name, err);
    if (r == 0)
        *ret_response = (pb_response *)(void *)reply;
    return r;
}

/* One line per phase, as wide as the longest usual name. */
static void
print_phases(const char *name, const pb_response *response)
{
    char safe[128], phase[64], reason[512];
    uint64_t total = 0;

    for (size_t i = 0; i < response->n_boot_phases; i++) {
        const VmTools__Concierge__BootPhase *p = response->boot_phases[i];

        total += p->duration_us;
        (void)fprintf(stderr, "  %-12s %8.3f s\n",
                      vmc_escape(phase, sizeof(phase), p->name),
                      (double)p->duration_us / 1e6);
    }
    (void)fprintf(stderr, "%s runs", vmc_escape(safe, sizeof(safe), name));
    if (total)
        (void)fprintf(stderr, " after %.3f s", (double)total / 1e6);
    if (*response->accel)
        (void)fprintf(
            stderr, " (%s%s)", vmc_escape(phase, sizeof(phase), response->accel),
            strcmp(response->start_mode, "warm") == 0 ? ", from a template" : "");
    (void)fputc('\n', stderr);
    if (strcmp(response->accel, "tcg") == 0 && *response->accel_reason)
        (void)fprintf(stderr, "note: without hardware acceleration: %s\n",
                      vmc_escape(reason, sizeof(reason), response->accel_reason));
}

static void
print_console(const char *tail)
{
    if (*tail == '\0')
        return;
    (void)fputs("last lines of its console:\n", stderr);
    while (*tail) {
        size_t len = strcspn(tail, "\n");

        (void)fputs("  | ", stderr);
        vmc_print_plain(stderr, tail, len);
        (void)fputc('\n', stderr);
        tail += len;
        tail += *tail == '\n';
    }
}

static int
start_refused(const char *name, const pb_response *response, struct vmt_err *err)
{
    bool busy =
        response->status == VM_TOOLS__CONCIERGE__VM_STATUS__VM_STATUS_DISK_OP_IN_PROGRESS;
    char text[TEXT_MAX], safe[128];

    print_console(response->console_tail);
    return vmt_err_setx(err, busy ? EBUSY : EIO, "start %s: %s",
                        vmc_escape(safe, sizeof(safe), name),
                        vmc_escape(text, sizeof(text), response->failure_reason));
}

static json_t *
phases_json(const pb_response *response)
{
    json_t *all = json_array();

    for (size_t i = 0; all && i < response->n_boot_phases; i++)
        (void)json_array_append_new(
            all,
            json_pack("{s:s, s:I}", "name", response->boot_phases[i]->name, "duration_us",
                      (json_int_t)response->boot_phases[i]->duration_us));
    return all;
}

static int
print_start_json(const struct vmc *vmc, const char *name, const pb_response *response,
                 struct vmt_err *err)
{
    json_t *vm = vm_info_json(name, vmc->owner, (int)response->status, response->vm_info);

    if (vm && (json_object_set_new(vm, "accel", json_string(response->accel)) < 0 ||
               json_object_set_new(vm, "boot_phases", phases_json(response)) < 0)) {
        json_decref(vm);
        vm = NULL;
    }
    return print_json(vm, err);
}

int
vm_start(struct vmc *vmc, const char *name, const struct start_options *o,
         struct vmt_err *err)
{
    VMT_CLEANUP(start_files_done) struct start_files files = {0};
    pb_response *response = NULL;
    int r = vmc_name_check(name, err);

    if (r == 0)
        r = start_files_open(vmc, o, &files, err);
    if (r == 0)
        r = start_call(vmc, name, o, &files, &response, err);
    if (r < 0 || !response)
        return r;
    if (!response->success) {
        r = start_refused(name, response, err);
    } else {
        if (!o->quiet)
            print_phases(name, response);
        if (vmc->json && !o->wait)
            r = print_start_json(vmc, name, response, err);
    }
    protobuf_c_message_free_unpacked(&response->base, NULL);
    return r;
}

/* Half of a small host, 2 GiB of a large one: many VMs fit, and an emulated kernel is not
 * kept busy with memory that nobody uses. */
static uint32_t
default_mem_mib(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    uint64_t half = (uint64_t)(pages > 0 ? pages : 0) * (uint64_t)size / 2 >> 20;

    return half == 0 || half > DEFAULT_MEM_MIB ? DEFAULT_MEM_MIB : (uint32_t)half;
}

void
start_options_init(struct start_options *o)
{
    *o = (struct start_options){.accel = "", .network = "", .mem_mib = default_mem_mib()};
}

/* Who interrupts the wait does not want the VM any more either. */
static int
start_wait(struct vmc *vmc, const char *name)
{
    struct vmt_err err;
    int code = VMC_FAILED;
    int r = vm_wait(vmc, name, &code, &err);

    if (r == -EINTR)
        r = start_interrupted(vmc, name, &err);
    return r < 0 ? vmc_fail(r, &err) : code;
}

static int
start_run(struct vmc *vmc, int argc, char **argv)
{
    static const struct vmc_syntax syntax = {
        .options = start_option_table, .operands_min = 1, .operands_max = 1};
    VMT_CLEANUP(start_options_done)
    struct start_options o;
    struct guest_command shell = {.user = "", .cwd = ""};
    struct vmt_err err;
    char **operands;
    size_t n;
    int r;

    start_options_init(&o);
    r = vmc_begin(vmc, &vmc_start, argc, argv, &syntax, &o, &operands, &n);

    if (r >= 0)
        return r;
    r = start_disks_find(vmc, &o, &err);
    if (r == 0)
        r = vm_start(vmc, operands[0], &o, &err);
    if (r < 0)
        return vmc_fail(r, &err);
    if (o.wait)
        return start_wait(vmc, operands[0]);
    if (o.no_shell || vmc->json)
        return VMC_DONE;
    shell.vm_name = operands[0];
    return guest_command_run(vmc, &shell);
}

const struct vmc_command vmc_start = {
    .name = "start",
    .summary = "start a VM, and open a shell in it",
    .usage =
        "[OPTION]... NAME\n"
        "  --image NAME|DIR     guest image (debian); vmc image list shows them\n"
        "  --cpus N, --mem MIB  size of the VM (all CPUs; 2048 MiB or half of the host)\n"
        "  --disk NAME|PATH[,ro]\n"
        "                       attach a disk of vmc disk, or a file; may be repeated\n"
        "  --accel A            auto, kvm or tcg\n"
        "  --network N          user, tap or none, instead of the daemon's choice\n"
        "  --container-network  with a tap: a subnet for containers, routed to the VM\n"
        "  --restart P[:MAX]    never, on-failure or always: when the VM ends, at most "
        "MAX\n"
        "                       times in a row\n"
        "  --kernel, --initrd, --rootfs FILE\n"
        "                       instead of those of the image\n"
        "  --kernel-param P     add to the kernel command line; may be repeated\n"
        "  --cpu-weight N       share of the CPUs when there are not enough, 1 to 10000\n"
        "                       (100)\n"
        "  --hugepages          back the memory with huge pages of the host\n"
        "  --storage-balloon    leave space unused that the host does not have\n"
        "  --timeout SECONDS    how long the boot may take (60 without a sign of life)\n"
        "  --cold               boot, even when there is a template to start from\n"
        "  --no-shell           return when the VM runs\n"
        "  --wait               return when the VM has ended, as vmc wait does\n",
    .run = start_run,
};
