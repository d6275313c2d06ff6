/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vsh/sink.h"

#include <errno.h>

#include <event2/event.h>

#include "core/base/err.h"
#include "platform/linux/os/loop.h"

static void
sink_shut(struct sink *sink, bool close_fd)
{
    if (!sink->ev)
        return;
    event_free(sink->ev);
    sink->ev = NULL;
    vmt_buf_done(&sink->queue);
    local_fd_close(&sink->local, close_fd);
}

/* Write what the descriptor takes. Returns 0 or what broke it; then it is closed. */
static int
sink_flush(struct sink *sink)
{
    while (sink->queue.len > 0) {
        ssize_t n = local_fd_write(&sink->local, sink->queue.data, sink->queue.len);

        if (n == -EINTR)
            continue;
        if (n == -EAGAIN)
            return event_add(sink->ev, NULL) < 0 ? -ENOMEM : 0;
        if (n < 0) {
            sink_shut(sink, false);
            return (int)n;
        }
        vmt_buf_consume(&sink->queue, (size_t)n);
    }
    if (sink->ending)
        sink_shut(sink, true);
    return 0;
}

static void
sink_on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct sink *sink = arg;
    int r = sink_flush(sink);

    (void)fd;
    (void)what;
    sink->on_progress(sink->arg, r);
}

int
sink_open(struct sink *sink, struct os_loop *loop, int fd, struct vmt_err *err)
{
    bool file;

    local_fd_open(&sink->local, fd, true);
    file = sink->local.kind == LOCAL_FILE;
    sink->ev = event_new(os_loop_base(loop), file ? -1 : sink->local.work,
                         file ? 0 : EV_WRITE, sink_on_writable, sink);
    if (!sink->ev) {
        local_fd_close(&sink->local, false);
        return vmt_err_set(err, ENOMEM, "watch descriptor %d", fd);
    }
    return 0;
}

static int
sink_put(struct sink *sink, const uint8_t *data, size_t len)
{
    bool idle = sink->queue.len == 0;

    if (!sink->ev)
        return 0;
    /* Most of the time it takes everything at once: no copy then. */
    while (idle && len > 0) {
        ssize_t n = local_fd_write(&sink->local, data, len);

        if (n == -EINTR)
            continue;
        if (n < 0)
            break; /* the flush below meets it again and deals with it */
        data += n;
        len -= (size_t)n;
    }
    if (vmt_buf_append(&sink->queue, data, len) < 0)
        return -ENOMEM;
    return idle ? sink_flush(sink) : 0;
}

/* What a terminal could act upon becomes a question mark; also bytes of other alphabets,
 * which on some terminals hold control characters. */
static int
sink_put_plain(struct sink *sink, const uint8_t *data, size_t len)
{
    uint8_t plain[512];
    int r = 0;

    while (r == 0 && len > 0) {
        size_t n = len < sizeof(plain) ? len : sizeof(plain);

        for (size_t i = 0; i < n; i++)
            plain[i] =
                data[i] == '\n' || (data[i] >= 0x20 && data[i] < 0x7f) ? data[i] : '?';
        r = sink_put(sink, plain, n);
        data += n;
        len -= n;
    }
    return r;
}

int
sink_write(struct sink *sink, const uint8_t *data, size_t len)
{
    return sink->plain ? sink_put_plain(sink, data, len) : sink_put(sink, data, len);
}

void
sink_end(struct sink *sink)
{
    sink->ending = true;
    if (sink->ev && sink->queue.len == 0)
        sink_shut(sink, true);
}

void
sink_close(struct sink *sink)
{
    sink_shut(sink, false);
}
