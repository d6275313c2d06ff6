/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vsh/source.h"

#include <errno.h>
#include <sys/time.h>

#include <event2/event.h>

#include "core/base/err.h"
#include "platform/linux/os/loop.h"

#define SOURCE_READ_BYTES (64u * 1024) /* what a pipe holds, and one large frame */

/* What cannot be polled is read on each turn of the loop, as long as it may run. */
static void
source_arm(struct source *source)
{
    static const struct timeval at_once = {0};

    (void)event_add(source->ev, source->local.kind == LOCAL_FILE ? &at_once : NULL);
}

static void
source_end(struct source *source, int error)
{
    source_close(source);
    source->on_data(source->arg, NULL, 0, error);
}

static void
source_on_ready(evutil_socket_t fd, short what, void *arg)
{
    struct source *source = arg;
    uint8_t bytes[SOURCE_READ_BYTES];
    ssize_t n = local_fd_read(&source->local, bytes, sizeof(bytes));

    (void)fd;
    (void)what;
    if (n == -EAGAIN || n == -EINTR)
        source_arm(source);
    else if (n == 0 || n == -EIO) /* EIO: the terminal is gone */
        source_end(source, 0);
    else if (n < 0)
        source_end(source, (int)n);
    else {
        source->on_data(source->arg, bytes, (size_t)n, 0);
        if (source->running)
            source_arm(source);
    }
}

int
source_open(struct source *source, struct os_loop *loop, int fd, struct vmt_err *err)
{
    bool file;

    local_fd_open(&source->local, fd, false);
    file = source->local.kind == LOCAL_FILE;
    source->ev = event_new(os_loop_base(loop), file ? -1 : source->local.work,
                           file ? 0 : EV_READ | EV_PERSIST, source_on_ready, source);
    if (!source->ev) {
        local_fd_close(&source->local, false);
        return vmt_err_set(err, ENOMEM, "watch stdin");
    }
    return 0;
}

void
source_run(struct source *source, bool run)
{
    if (!source->ev || source->running == run)
        return;
    source->running = run;
    if (run)
        source_arm(source);
    else
        (void)event_del(source->ev);
}

void
source_close(struct source *source)
{
    if (!source->ev)
        return;
    event_free(source->ev);
    source->ev = NULL;
    source->running = false;
    local_fd_close(&source->local, false);
}
