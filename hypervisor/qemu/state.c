/* SPDX-License-Identifier: BSD-3-Clause */
/* hypervisor/qemu/state.c - save the state of a paused VM, and wake up from one.
 *
 * Source: QEMU 7.2, qemu-qmp-ref(7): migrate, migrate-incoming, query-migrate;
 * docs/devel/migration.rst. RAM goes another way, see state_file_internal.h. */
#include "hypervisor/qemu/state_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "core/adapter/clock.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "hypervisor/qemu/qemu_internal.h"
#include "hypervisor/qemu/state_file_internal.h"
#include "hypervisor/qemu/vm_internal.h"

#define FD_NAME "vmt-state"
/* What QEMU writes and reads is half a megabyte of devices: more than that without an end
 * means that it hangs. Copying RAM depends on its size and on the disk. */
#define STREAM_DEADLINE_MS 60000u
#define COPY_DEADLINE_MS 600000u
#define LOOK_MS 3u
#define BANDWIDTH_MAX (INT64_C(1) << 40) /* no limit: the VM stands still meanwhile */
/* As memory-backend-memfd names its file; proc(5), fd. */
#define RAM_LINK "/memfd:memory-backend-memfd"

struct qemu_state {
    struct hypervisor_vm *vm; /* borrowed */
    bool restoring;
    int fd; /* owned */
    struct state_file file;
    int (*const *steps)(struct qemu_state *s, struct vmt_err *err);
    unsigned at;              /* the step that runs */
    struct qemu_copy *copy;   /* owned; NULL while none runs */
    struct vmt_timer *timer;  /* owned by the clock: the next look, or a deadline */
    uint64_t deadline_ms;     /* of the stream */
    hypervisor_done_fn *done; /* of a save; may be NULL */
    void *arg;                /* borrowed */
};

static void
state_free(struct qemu_state *s)
{
    struct vmt_clock *clock;

    if (!s)
        return;
    clock = s->vm->hv->clock;
    clock->ops->timer_cancel(clock, s->timer);
    qemu_copy_cancel(s->copy);
    vmt_closep(&s->fd);
    free(s);
}

void
qemu_state_drop(struct hypervisor_vm *vm)
{
    state_free(vm->state);
    vm->state = NULL;
}

static struct qemu_state *
state_new(struct hypervisor_vm *vm, int fd)
{
    struct qemu_state *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    s->vm = vm;
    s->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (s->fd < 0) {
        free(s);
        return NULL;
    }
    return s;
}

/* The end of a save. */
static void
state_finish(struct qemu_state *s, int result, const struct vmt_err *err)
{
    hypervisor_done_fn *done = s->done;
    void *arg = s->arg;

    if (result < 0)
        vmt_log_debug("state was not saved: %s pid=%d", vmt_err_text(err),
                      (int)s->vm->id.pid);
    qemu_state_drop(s->vm);
    if (done)
        done(arg, result, result < 0 ? err : NULL);
}

/* A VM that was not restored is none: it ends, and its last words are ours. */
static void
state_fail(struct qemu_state *s, int result, const struct vmt_err *err)
{
    struct hypervisor_vm *vm = s->vm;

    if (!s->restoring) {
        state_finish(s, result, err);
        return;
    }
    qemu_state_drop(vm);
    vm->facts.unrestored = true;
    qemu_tail_add(&vm->tail, vmt_err_text(err));
    if (vm->child)
        (void)vm->hv->spawn->ops->kill(vm->child, SIGKILL);
}

static void
state_next(struct qemu_state *s)
{
    struct vmt_err err;
    int r = s->steps[s->at++](s, &err);

    if (r < 0)
        state_fail(s, r, &err);
}

void
qemu_state_lost(struct hypervisor_vm *vm)
{
    struct vmt_err err;

    if (!vm->state)
        return;
    (void)vmt_err_setx(&err, ENOTCONN, "QEMU's control channel is closed");
    /* A process that is gone has had its own last words. One that is not has failed, and
     * nobody could ever resume it. */
    if (vm->state->restoring && !vm->child)
        qemu_state_drop(vm);
    else
        state_fail(vm->state, -ENOTCONN, &err);
}

/* --- commands --- */

/* Takes arguments, which NULL of no memory is. */
static int
state_send(struct qemu_state *s, const char *command, json_t *arguments,
           qmp_answer_fn *answer, struct vmt_err *err)
{
    const struct qmp_request req = {
        .command = command,
        .arguments = arguments,
        .fd = strcmp(command, "getfd") == 0 ? s->fd : -1,
        .answer = answer,
        .arg = s->vm,
    };
    int r = arguments ? -ENOTCONN : -ENOMEM;

    if (arguments && s->vm->qmp)
        r = qmp_request(s->vm->qmp, &req);
    json_decref(arguments);
    return r < 0 ? vmt_err_set(err, -r, "send %s to QEMU", command) : 0;
}

static void
on_answer(void *arg, const struct qmp_answer *answer)
{
    struct hypervisor_vm *vm = arg;

    if (!vm->state)
        return;
    if (answer->result < 0)
        state_fail(vm->state, answer->result, answer->err);
    else
        state_next(vm->state);
}

static void
on_status(void *arg, const struct qmp_answer *answer)
{
    struct hypervisor_vm *vm = arg;
    struct vmt_err err;

    if (!vm->state)
        return;
    if (answer->result == 0 && json_is_true(json_object_get(answer->data, "running"))) {
        (void)vmt_err_setx(&err, EINVAL, "a vm must be paused to be saved");
        state_fail(vm->state, -EINVAL, &err);
        return;
    }
    on_answer(arg, answer);
}

static int
ask_status(struct qemu_state *s, struct vmt_err *err)
{
    return state_send(s, "query-status", json_object(), on_status, err);
}

static int
leave_ram_out(struct qemu_state *s, struct vmt_err *err)
{
    json_t *arguments = json_pack("{s:[{s:s,s:b}]}", "capabilities", "capability",
                                  "x-ignore-shared", "state", true);

    return state_send(s, "migrate-set-capabilities", arguments, on_answer, err);
}

static int
take_all_bandwidth(struct qemu_state *s, struct vmt_err *err)
{
    json_t *arguments = json_pack("{s:I}", "max-bandwidth", (json_int_t)BANDWIDTH_MAX);

    return state_send(s, "migrate-set-parameters", arguments, on_answer, err);
}

/* QEMU goes on at the place where the descriptor stands: it shares that with us. */
static int
pass_file(struct qemu_state *s, struct vmt_err *err)
{
    if (lseek(s->fd, (off_t)state_stream_at(&s->file), SEEK_SET) < 0)
        return vmt_err_set(err, errno, "seek in the saved state");
    return state_send(s, "getfd", json_pack("{s:s}", "fdname", FD_NAME), on_answer, err);
}

/* QEMU refuses at once what has a device that it cannot save. */
static void
on_begun(void *arg, const struct qmp_answer *answer)
{
    struct hypervisor_vm *vm = arg;

    if (vm->state && answer->result == -EIO)
        state_fail(vm->state, -EINVAL, answer->err);
    else
        on_answer(arg, answer);
}

static int
begin_stream(struct qemu_state *s, struct vmt_err *err)
{
    struct vmt_clock *clock = s->vm->hv->clock;

    s->deadline_ms = clock->ops->now_ms(clock) + STREAM_DEADLINE_MS;
    return state_send(s, s->restoring ? "migrate-incoming" : "migrate",
                      json_pack("{s:s}", "uri", "fd:" FD_NAME), on_begun, err);
}

static int look(struct qemu_state *s, struct vmt_err *err);

static void
look_again(void *arg)
{
    struct qemu_state *s = arg;
    struct vmt_err err;
    int r;

    s->timer = NULL;
    r = look(s, &err);
    if (r < 0)
        state_fail(s, r, &err);
}

static void
on_look_deadline(struct qemu_state *s)
{
    struct vmt_err err;

    if (!s->restoring && s->vm->qmp)
        (void)qmp_execute(s->vm->qmp, "migrate_cancel", NULL, NULL);
    (void)vmt_err_setx(&err, ETIMEDOUT, "QEMU did not %s the state within %u s",
                       s->restoring ? "load" : "save", STREAM_DEADLINE_MS / 1000);
    state_fail(s, -ETIMEDOUT, &err);
}

static void
on_migration_failed(struct qemu_state *s, const json_t *data)
{
    const char *why = json_string_value(json_object_get(data, "error-desc"));
    char text[256];
    struct vmt_err err;

    (void)vmt_err_setx(
        &err, EIO, "QEMU did not %s the state: %s", s->restoring ? "load" : "save",
        why ? vmt_log_escape(text, sizeof(text), why, strlen(why)) : "no reason given");
    state_fail(s, -EIO, &err);
}

static void
on_look(void *arg, const struct qmp_answer *answer)
{
    struct hypervisor_vm *vm = arg;
    struct qemu_state *s = vm->state;
    struct vmt_clock *clock = vm->hv->clock;
    const char *status = json_string_value(json_object_get(answer->data, "status"));

    if (!s)
        return;
    if (answer->result < 0) {
        state_fail(s, answer->result, answer->err);
        return;
    }
    if (status && strcmp(status, "completed") == 0) {
        state_next(s);
    } else if (status &&
               (strcmp(status, "failed") == 0 || strcmp(status, "cancelled") == 0)) {
        on_migration_failed(s, answer->data);
    } else if (clock->ops->now_ms(clock) >= s->deadline_ms ||
               clock->ops->timer_start(clock, LOOK_MS, look_again, s, &s->timer) < 0) {
        on_look_deadline(s);
    }
}

/* Stays the current step until the stream is through. */
static int
look(struct qemu_state *s, struct vmt_err *err)
{
    return state_send(s, "query-migrate", json_object(), on_look, err);
}

/* --- RAM --- */

/* QEMU's memory by its own descriptor: it made the file, and only it knows the number.
 * Who has taken QEMU over could put another file there, but no more than a file whose
 * bytes are memory of the same size. Returns -ENOENT when there is none. */
static int
open_ram(const struct hypervisor_vm *vm, int *ret_fd, struct vmt_err *err)
{
    char dir[64], link[PATH_MAX];
    VMT_CLEANUP(vmt_closep) int dirfd = -1;
    int r = -ENOENT;

    (void)snprintf(dir, sizeof(dir), "/proc/%d/fd", (int)vm->id.pid);
    dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int fd = 0; dirfd >= 0 && r < 0 && fd < 1024; fd++) {
        char name[16];
        ssize_t n;

        (void)snprintf(name, sizeof(name), "%d", fd);
        n = readlinkat(dirfd, name, link, sizeof(link) - 1);
        if (n < 0)
            continue;
        link[n] = '\0';
        if (!vmt_str_has_prefix(link, RAM_LINK))
            continue;
        *ret_fd = openat(dirfd, name, O_RDWR | O_CLOEXEC | O_NONBLOCK);
        r = *ret_fd < 0 ? -errno : 0;
    }
    return r < 0 ? vmt_err_set(err, -r, "open the memory of the vm") : 0;
}

static int
check_ram(int fd, uint64_t *ret_bytes, struct vmt_err *err)
{
    struct statfs fs;
    struct stat st;

    if (fstat(fd, &st) < 0 || fstatfs(fd, &fs) < 0)
        return vmt_err_set(err, errno, "look at the memory of the vm");
    if (fs.f_type != TMPFS_MAGIC || !S_ISREG(st.st_mode) || st.st_size <= 0)
        return vmt_err_setx(err, EOPNOTSUPP,
                            "the memory of this vm cannot be saved: it is made of huge "
                            "pages");
    *ret_bytes = (uint64_t)st.st_size;
    return 0;
}

static void
on_copied(void *arg, int result, const struct vmt_err *err)
{
    struct qemu_state *s = arg;
    struct vmt_clock *clock = s->vm->hv->clock;

    s->copy = NULL;
    clock->ops->timer_cancel(clock, s->timer);
    s->timer = NULL;
    if (result < 0)
        state_fail(s, result, err);
    else
        state_next(s);
}

static void
on_copy_deadline(void *arg)
{
    struct qemu_state *s = arg;
    struct vmt_err err;

    s->timer = NULL;
    (void)vmt_err_setx(&err, ETIMEDOUT, "the memory was not copied within %u s",
                       COPY_DEADLINE_MS / 1000);
    state_fail(s, -ETIMEDOUT, &err);
}

static int
copy_ram(struct qemu_state *s, struct vmt_err *err)
{
    struct vmt_clock *clock = s->vm->hv->clock;
    struct qemu_copy_spec spec = {
        .base = s->vm->hv->event_base,
        .kind = s->restoring ? QEMU_COPY_FILL : QEMU_COPY_SAVE,
        .file_fd = s->fd,
        .file = s->file,
        .on_done = on_copied,
        .arg = s,
    };
    VMT_CLEANUP(vmt_closep) int ram = -1;
    uint64_t bytes = 0;
    int r = open_ram(s->vm, &ram, err);

    if (r == 0)
        r = check_ram(ram, &bytes, err);
    if (r == 0 && bytes != s->file.ram_bytes)
        r = vmt_err_setx(err, EINVAL, "the state is of a vm with %" PRIu64 " MiB",
                         s->file.ram_bytes >> 20);
    if (r < 0)
        return r;
    spec.ram_fd = ram;
    r = clock->ops->timer_start(clock, COPY_DEADLINE_MS, on_copy_deadline, s, &s->timer);
    if (r < 0)
        return vmt_err_set(err, -r, "copy memory");
    return qemu_copy_start(&spec, &s->copy, err);
}

/* --- save --- */

/* Where the stream goes depends on the size of RAM; what the file held is gone. */
static int
make_room(struct qemu_state *s, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int ram = -1;
    int r = open_ram(s->vm, &ram, err);

    if (r == 0)
        r = check_ram(ram, &s->file.ram_bytes, err);
    if (r < 0)
        return r;
    if (ftruncate(s->fd, 0) < 0 || ftruncate(s->fd, (off_t)state_stream_at(&s->file)) < 0)
        return vmt_err_set(err, errno, "make room for the state");
    return ask_status(s, err);
}

static int
measure_stream(struct qemu_state *s, struct vmt_err *err)
{
    struct stat st;

    if (fstat(s->fd, &st) < 0)
        return vmt_err_set(err, errno, "look at the saved state");
    s->file.stream_bytes = (uint64_t)st.st_size - state_stream_at(&s->file);
    if ((uint64_t)st.st_size <= state_stream_at(&s->file))
        return vmt_err_setx(err, EIO, "QEMU saved nothing");
    return copy_ram(s, err);
}

static int
say_saved(struct qemu_state *s, struct vmt_err *err)
{
    (void)err;
    state_finish(s, 0, NULL);
    return 0;
}

static int (*const save_steps[])(struct qemu_state *s, struct vmt_err *err) = {
    make_room,    leave_ram_out, take_all_bandwidth, pass_file,
    begin_stream, look,          measure_stream,     say_saved,
};

int
qemu_vm_save(struct hypervisor_vm *vm, int fd, hypervisor_done_fn *done, void *arg)
{
    struct vmt_err err;
    int r;

    if (!vm->qmp || !vm->facts.control)
        return -ENOTCONN;
    if (vm->state)
        return -EBUSY;
    vm->state = state_new(vm, fd);
    if (!vm->state)
        return -ENOMEM;
    vm->state->steps = save_steps;
    vm->state->done = done;
    vm->state->arg = arg;
    r = vm->state->steps[vm->state->at++](vm->state, &err);
    if (r < 0) {
        vmt_log_debug("state was not saved: %s pid=%d", err.msg, (int)vm->id.pid);
        qemu_state_drop(vm);
    }
    return r;
}

/* --- restore --- */

int
qemu_state_check(const struct vm_spec *spec, struct vmt_err *err)
{
    struct state_file file;
    int r;

    if (spec->restore_fd < 1)
        return 0;
    if (spec->vsock != HYPERVISOR_VSOCK_NONE)
        return vmt_err_setx(err, EINVAL,
                            "a restored vm gets its vsock device after the restore");
    if (spec->hugepages)
        return vmt_err_setx(err, EINVAL, "huge pages cannot be filled from a state");
    r = state_file_read(spec->restore_fd, &file, err);
    if (r == 0 && file.ram_bytes != (uint64_t)spec->mem_mib << 20)
        r = vmt_err_setx(err, EINVAL, "the state is of a vm with %" PRIu64 " MiB",
                         file.ram_bytes >> 20);
    return r;
}

static int
say_restored(struct qemu_state *s, struct vmt_err *err)
{
    struct hypervisor_vm *vm = s->vm;

    (void)err;
    qemu_state_drop(vm);
    qemu_vm_control(vm);
    return 0;
}

/* A VM that moves to another host tells the switches where it is now. One that wakes up
 * under another MAC address would announce one that nobody has, and announcing takes the
 * guest a while. Source: QEMU 7.2, qemu-qmp-ref(7), MigrationParameter. */
static int
announce_nothing(struct qemu_state *s, struct vmt_err *err)
{
    return state_send(s, "migrate-set-parameters",
                      json_pack("{s:i}", "announce-rounds", 0), on_answer, err);
}

static int (*const restore_steps[])(struct qemu_state *s, struct vmt_err *err) = {
    copy_ram,     leave_ram_out, announce_nothing, pass_file,
    begin_stream, look,          say_restored,
};

int
qemu_state_prepare(struct hypervisor_vm *vm, int fd, struct vmt_err *err)
{
    int r;

    vm->state = state_new(vm, fd);
    if (!vm->state)
        return vmt_err_set(err, ENOMEM, "restore a vm");
    vm->state->restoring = true;
    vm->state->steps = restore_steps;
    r = state_file_read(fd, &vm->state->file, err);
    if (r < 0)
        qemu_state_drop(vm);
    return r;
}

void
qemu_state_restore(struct hypervisor_vm *vm)
{
    state_next(vm->state);
}
