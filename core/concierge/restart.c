/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/concierge/restart_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "concierge_service.pb-c.h"
#include "core/adapter/clock.h"
#include "core/adapter/host.h"
#include "core/adapter/ipc.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/concierge/concierge_internal.h"
#include "core/concierge/record_internal.h"
#include "core/vm/restart.h"
#include "vmt_life.pb-c.h"
#include "vmt_state.pb-c.h"

typedef VmTools__Concierge__StartVmRequest request_t;

struct kept_image {
    int fd; /* owned, -1: an earlier daemon had it */
    bool writable;
    struct host_place place;
};

struct vm_restart {
    struct vmt_list node; /* of the daemon while it waits */
    struct concierge *c;  /* borrowed */
    struct vm_id id;
    struct restart_policy policy;
    uint8_t *request; /* owned, packed */
    size_t len;
    struct ipc_caller caller;
    unsigned restarts; /* in a row */
    uint64_t due_ms;
    struct vmt_timer *timer; /* owned while it waits */
    struct opening *opening; /* owned while images are being opened */
    size_t nimages;
    struct kept_image *images; /* owned */
};

VMT_DEFINE_FREEP(struct vm_restart, restart_free)

static int
read_policy(const Vmt__RestartPolicy *from, struct restart_policy *ret,
            struct vmt_err *err)
{
    *ret = (struct restart_policy){.max = from->max_restarts};
    if (from->mode == VMT__RESTART_POLICY__MODE__ON_FAILURE)
        ret->mode = RESTART_ON_FAILURE;
    else if (from->mode == VMT__RESTART_POLICY__MODE__ALWAYS)
        ret->mode = RESTART_ALWAYS;
    else if (from->mode != VMT__RESTART_POLICY__MODE__NEVER)
        return vmt_err_setx(err, EINVAL, "there is no such restart policy");
    ret->delay_ms = from->delay_ms ? from->delay_ms : RESTART_DELAY_MS;
    ret->max_delay_ms = from->max_delay_ms ? from->max_delay_ms : RESTART_DELAY_MAX_MS;
    if (ret->delay_ms < RESTART_DELAY_MIN_MS)
        ret->delay_ms = RESTART_DELAY_MIN_MS;
    if (ret->max_delay_ms < ret->delay_ms)
        ret->max_delay_ms = ret->delay_ms;
    return 0;
}

static int
keep_request(struct vm_restart *r, const request_t *request, struct vmt_err *err)
{
    r->len = protobuf_c_message_get_packed_size(&request->base);
    if (r->len > RESTART_REQUEST_MAX)
        return vmt_err_setx(err, EINVAL,
                            "the request has %zu bytes, too many to be kept for restarts",
                            r->len);
    r->request = malloc(r->len + 1);
    if (!r->request)
        return vmt_err_set(err, ENOMEM, "keep the request for restarts");
    (void)protobuf_c_message_pack(&request->base, r->request);
    return 0;
}

static int
keep_images(struct vm_restart *r, const int *fds, size_t nfds, struct vmt_err *err)
{
    struct host *host = r->c->config.host;

    r->images = calloc(nfds + 1, sizeof(*r->images));
    if (!r->images)
        return vmt_err_set(err, ENOMEM, "keep the descriptors for restarts");
    for (size_t i = 0; i < nfds; i++) {
        struct kept_image *image = &r->images[i];

        image->fd = vmt_dup_fd(fds[i]);
        r->nimages++;
        if (image->fd < 0)
            return vmt_err_set(err, -image->fd, "keep a descriptor for restarts");
        if (host->files->image_check(host, image->fd, &image->writable, NULL) < 0)
            continue; /* the start itself says so */
        host->files->image_place(host, image->fd, &image->place);
    }
    return 0;
}

int
restart_keep(struct concierge *c, const request_t *request,
             const struct ipc_caller *caller, const int *fds, size_t nfds,
             struct vm_restart **ret_restart, struct vmt_err *err)
{
    VMT_CLEANUP(restart_freep) struct vm_restart *restart = NULL;
    struct restart_policy policy = {.mode = RESTART_NEVER};
    int r = request->restart ? read_policy(request->restart, &policy, err) : 0;

    *ret_restart = NULL;
    if (r < 0 || policy.mode == RESTART_NEVER)
        return r;
    restart = calloc(1, sizeof(*restart));
    if (!restart)
        return vmt_err_set(err, ENOMEM, "keep the request for restarts");
    restart->c = c;
    restart->policy = policy;
    restart->caller = *caller;
    r = vm_id_set(&restart->id, request->owner_id, request->name, err);
    if (r == 0)
        r = keep_request(restart, request, err);
    if (r == 0)
        r = keep_images(restart, fds, nfds, err);
    if (r < 0)
        return r;
    *ret_restart = vmt_take_ptr(&restart);
    return 0;
}

void
restart_free(struct vm_restart *r)
{
    struct vmt_clock *clock;

    if (!r)
        return;
    clock = r->c->config.clock;
    clock->ops->timer_cancel(clock, r->timer);
    opening_cancel(r->opening);
    vmt_list_remove(&r->node);
    for (size_t i = 0; i < r->nimages; i++)
        vmt_closep(&r->images[i].fd);
    free(r->images);
    free(r->request);
    free(r);
}

/* Is it the very file that was given? Then keep it. */
static int
take_image(struct vm_restart *r, struct kept_image *image, int *fd, struct vmt_err *err)
{
    struct host *host = r->c->config.host;
    struct host_place now;

    host->files->image_place(host, *fd, &now);
    if (now.device != image->place.device || now.inode != image->place.inode)
        return vmt_err_setx(err, ESTALE, "image %s is another file now",
                            image->place.path);
    image->fd = vmt_take_fd(fd);
    return 0;
}

static int
copy_images(const struct vm_restart *r, int *fds, struct vmt_err *err)
{
    for (size_t i = 0; i < r->nimages; i++) {
        fds[i] = vmt_dup_fd(r->images[i].fd);
        if (fds[i] < 0)
            return vmt_err_set(err, -fds[i], "use a descriptor again");
    }
    return 0;
}

static int
start_again(struct vm_restart *r, struct concierge_vm **ret_vm, struct vmt_err *err)
{
    request_t *request =
        vm_tools__concierge__start_vm_request__unpack(NULL, r->len, r->request);
    int fds[VMT_FDS_MAX];
    const struct plan_input in = {
        .request = request, .caller = &r->caller, .fds = fds, .nfds = r->nimages};
    int result;

    for (size_t i = 0; i < VMT_ARRAY_SIZE(fds); i++)
        fds[i] = -1;
    if (!request)
        return vmt_err_set(err, ENOMEM, "read the request again");
    result = copy_images(r, fds, err);
    if (result == 0)
        result = concierge_make_vm(r->c, &in, ret_vm, err);
    else
        for (size_t i = 0; i < r->nimages; i++)
            vmt_closep(&fds[i]);
    vm_tools__concierge__start_vm_request__free_unpacked(request, NULL);
    return result;
}

static void wait_again(struct vm_restart *r, uint32_t delay_ms);

/* What cannot even be tried counts like an attempt. */
static void
attempt_failed(struct vm_restart *r, const struct vmt_err *err)
{
    const struct restart_end end = {.failed = true, .restarts = r->restarts};
    uint32_t delay_ms;

    vmt_log_warning("vm not started again: %s name=%s", err->msg, r->id.name);
    if (restart_decide(&r->policy, &end, &delay_ms, &r->restarts)) {
        wait_again(r, delay_ms);
        return;
    }
    restart_record_remove(r->c, &r->id);
    restart_free(r);
}

/* All images are there. */
static void
start_now(struct vm_restart *r)
{
    struct concierge *c = r->c;
    struct vmt_clock *clock = c->config.clock;
    struct concierge_vm *vm = NULL;
    struct vmt_err err = {0};

    if (start_again(r, &vm, &err) < 0 || !vm) {
        attempt_failed(r, &err);
        return;
    }
    vmt_log_notice("starting a vm again, time %u in a row vm=%s", r->restarts, vm->key);
    vmt_list_remove(&r->node);
    vm->restart = r;
    vm->times.request = clock->ops->now_us(clock);
    vm_insert(vm);
    vm_open_files(vm, &r->caller, vm_probe);
}

static void
on_opened(void *arg, int *fds, const struct vmt_err *cause)
{
    struct vm_restart *r = arg;
    struct vmt_err err = {0};
    int result = 0;

    r->opening = NULL;
    if (!fds) {
        attempt_failed(r, cause);
        return;
    }
    for (size_t i = 0; i < r->nimages && result == 0; i++)
        if (r->images[i].fd < 0)
            result = take_image(r, &r->images[i], fds++, &err);
    if (result < 0)
        attempt_failed(r, &err);
    else
        start_now(r);
}

/* What an earlier daemon had, opened anew with the rights of who gave it. Returns how
 * many are on their way, or -errno. */
static int
open_images(struct vm_restart *r, struct vmt_err *err)
{
    struct opening_file files[VMT_FDS_MAX];
    struct opening_request request = {
        .owner = r->id.owner, .caller = &r->caller, .files = files};
    int result;

    for (size_t i = 0; i < r->nimages; i++) {
        const struct kept_image *image = &r->images[i];

        if (image->fd >= 0)
            continue;
        if (!*image->place.path)
            return vmt_err_setx(err, ENOENT,
                                "an image came as a descriptor of a file without a name, "
                                "and the daemon that had it is gone");
        files[request.n++] = (struct opening_file){.kind = OPENING_IMAGE,
                                                   .name = image->place.path,
                                                   .writable = image->writable};
    }
    if (request.n == 0)
        return 0;
    result = opening_start(r->c, &request, on_opened, r, &r->opening, err);
    return result < 0 ? result : (int)request.n;
}

static void
on_due(void *arg)
{
    struct vm_restart *r = arg;
    struct vmt_err err = {0};
    int result;

    r->timer = NULL;
    result = open_images(r, &err);
    if (result < 0)
        attempt_failed(r, &err);
    else if (result == 0)
        start_now(r);
}

static void
wait_again(struct vm_restart *r, uint32_t delay_ms)
{
    struct vmt_clock *clock = r->c->config.clock;

    r->due_ms = clock->ops->now_ms(clock) + delay_ms;
    if (clock->ops->timer_start(clock, delay_ms, on_due, r, &r->timer) == 0)
        return;
    vmt_log_error("no memory to start a VM again name=%s", r->id.name);
    restart_record_remove(r->c, &r->id);
    restart_free(r);
}

bool
restart_consider(struct concierge_vm *vm)
{
    struct vm_restart *r = vm->restart;
    const struct restart_end end = {
        .asked = vm->life.asked || vm->c->shutting_down,
        .failed = (vm->life.cause != END_POWEROFF && vm->life.cause != END_REBOOT) ||
                  guest_application_failed(&vm->events_of_guest.application),
        .reboot = vm->life.cause == END_REBOOT,
        .uptime_ms = vm->life.uptime_ms,
        .restarts = r ? r->restarts : 0,
    };
    struct vmt_err err = {0};
    uint32_t delay_ms;

    /* A start that failed is its caller's to repeat. */
    if (!r || (vm->start_call && !vm->was_running) ||
        !restart_decide(&r->policy, &end, &delay_ms, &r->restarts))
        return false;
    vm->restart = NULL;
    vmt_list_append(&vm->c->restarts, &r->node);
    if (restart_record_save(vm->c, &r->id, r, &err) < 0) {
        vmt_log_warning("a restart is not written down: %s vm=%s", err.msg, vm->key);
        vm_record_remove(vm);
    }
    vmt_log_notice("vm ended (%s), it is started again in %u ms vm=%s", vm->failure,
                   delay_ms, vm->key);
    wait_again(r, delay_ms);
    return true;
}

void
restart_adopt(struct concierge *c, struct vm_restart *r)
{
    vmt_list_append(&c->restarts, &r->node);
    wait_again(r, RESTART_DELAY_MIN_MS);
}

static struct vm_restart *
find(const struct concierge *c, const char *owner, const char *name)
{
    VMT_LIST_FOREACH(at, following, &c->restarts)
    {
        struct vm_restart *r = VMT_CONTAINER_OF(at, struct vm_restart, node);

        if (vm_id_compare(&r->id, owner, name) == 0)
            return r;
    }
    return NULL;
}

bool
restart_is_due(struct concierge *c, const struct vm_id *id, uint32_t *ret_in_ms)
{
    struct vmt_clock *clock = c->config.clock;
    const struct vm_restart *r = find(c, id->owner, id->name);
    uint64_t now = clock->ops->now_ms(clock);

    *ret_in_ms = r && r->due_ms > now ? (uint32_t)(r->due_ms - now) : 0;
    return r != NULL;
}

unsigned
restart_count(const struct concierge_vm *vm)
{
    return vm->restart ? vm->restart->restarts : 0;
}

const char *
restart_mode_name(const struct concierge_vm *vm)
{
    if (!vm->restart)
        return "never";
    return vm->restart->policy.mode == RESTART_ALWAYS ? "always" : "on-failure";
}

bool
restart_cancel(struct concierge *c, const char *owner, const char *name)
{
    bool found = false;

    VMT_LIST_FOREACH(at, following, &c->restarts)
    {
        struct vm_restart *r = VMT_CONTAINER_OF(at, struct vm_restart, node);

        if ((name && strcmp(r->id.name, name) != 0) ||
            (owner && strcmp(r->id.owner, owner) != 0))
            continue;
        found = true;
        restart_record_remove(c, &r->id);
        restart_free(r);
    }
    return found;
}

size_t
restart_pending(const struct concierge *c, const char *owner, const char *name)
{
    size_t n = 0;

    VMT_LIST_FOREACH(at, following, &c->restarts)
    {
        const struct vm_restart *r = VMT_CONTAINER_OF(at, struct vm_restart, node);

        n += (!owner || strcmp(r->id.owner, owner) == 0) &&
             (!name || strcmp(r->id.name, name) != 0);
    }
    return n;
}

void
restarts_init(struct concierge *c)
{
    vmt_list_init(&c->restarts);
}

void
restarts_done(struct concierge *c)
{
    while (!vmt_list_empty(&c->restarts))
        restart_free(VMT_CONTAINER_OF(c->restarts.next, struct vm_restart, node));
}

struct restart_room {
    Vmt__RestartRecord record;
    Vmt__RestartPolicy policy;
    Vmt__ImageRecord images[VMT_FDS_MAX];
    Vmt__ImageRecord *list[VMT_FDS_MAX];
};

int
restart_record_fill(const struct vm_restart *r, struct restart_room **ret_room,
                    Vmt__RestartRecord **ret_record)
{
    struct restart_room *room = calloc(1, sizeof(*room));

    if (!room)
        return -ENOMEM;
    vmt__restart_record__init(&room->record);
    vmt__restart_policy__init(&room->policy);
    room->policy.mode = r->policy.mode == RESTART_ALWAYS
                            ? VMT__RESTART_POLICY__MODE__ALWAYS
                            : VMT__RESTART_POLICY__MODE__ON_FAILURE;
    room->policy.max_restarts = r->policy.max;
    room->policy.delay_ms = r->policy.delay_ms;
    room->policy.max_delay_ms = r->policy.max_delay_ms;
    room->record.policy = &room->policy;
    room->record.request = (ProtobufCBinaryData){r->len, r->request};
    room->record.uid = r->caller.uid;
    room->record.privileged = r->caller.privileged;
    room->record.restarts = r->restarts;
    room->record.images = room->list;
    room->record.n_images = r->nimages;
    for (size_t i = 0; i < r->nimages; i++) {
        vmt__image_record__init(&room->images[i]);
        room->images[i].path = (char *)(uintptr_t)r->images[i].place.path;
        room->images[i].device = r->images[i].place.device;
        room->images[i].inode = r->images[i].place.inode;
        room->images[i].writable = r->images[i].writable;
        room->list[i] = &room->images[i];
    }
    *ret_room = room;
    *ret_record = &room->record;
    return 0;
}

void
restart_room_free(struct restart_room *room)
{
    free(room);
}

int
restart_record_read(struct concierge *c, const struct vm_id *id,
                    const Vmt__RestartRecord *record, struct vm_restart **ret_restart)
{
    VMT_CLEANUP(restart_freep) struct vm_restart *r = NULL;

    *ret_restart = NULL;
    if (!record || !record->policy)
        return 0;
    r = calloc(1, sizeof(*r));
    if (!r)
        return -ENOMEM;
    r->c = c;
    r->id = *id;
    r->len = record->request.len;
    r->request = malloc(r->len + 1);
    r->images = calloc(VMT_FDS_MAX, sizeof(*r->images));
    if (!r->images)
        return -ENOMEM;
    if (!r->request || read_policy(record->policy, &r->policy, NULL) < 0)
        return r->request ? -EBADMSG : -ENOMEM;
    if (r->len)
        memcpy(r->request, record->request.data, r->len);
    r->caller = (struct ipc_caller){.uid = record->uid, .privileged = record->privileged};
    r->restarts = record->restarts;
    for (size_t i = 0; i < record->n_images && i < VMT_FDS_MAX; i++) {
        struct kept_image *image = &r->images[r->nimages++];

        image->fd = -1;
        image->writable = record->images[i]->writable;
        image->place.device = record->images[i]->device;
        image->place.inode = record->images[i]->inode;
        (void)snprintf(image->place.path, sizeof(image->place.path), "%s",
                       record->images[i]->path);
    }
    *ret_restart = vmt_take_ptr(&r);
    return 0;
}
