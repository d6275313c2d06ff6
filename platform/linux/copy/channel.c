/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/copy/channel.c - records over a descriptor that blocks. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "platform/linux/copy/copy_internal.h"

static volatile sig_atomic_t stopped;

static void
on_signal(int sig)
{
    (void)sig;
    stopped = 1;
    (void)alarm(1); /* again: this time it may have come right before a read that waits */
}

void
copy_watch_signals(void)
{
    /* Without SA_RESTART: a read or write that waits has to end, too. */
    struct sigaction action = {.sa_handler = on_signal};

    (void)sigaction(SIGHUP, &action, NULL);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGALRM, &action, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
}

bool
copy_stopped(void)
{
    return stopped != 0;
}

int
write_all(int fd, const void *data, size_t len)
{
    const uint8_t *at = data;

    while (len > 0) {
        ssize_t n = copy_stopped() ? -1 : write(fd, at, len);

        if (copy_stopped())
            return -EINTR;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

int
out_flush(struct copy_out *out)
{
    int r = write_all(out->fd, out->bytes, out->used);

    out->used = 0;
    return r;
}

int
out_write(struct copy_out *out, const void *data, size_t len)
{
    int r = len > sizeof(out->bytes) - out->used ? out_flush(out) : 0;

    if (r < 0)
        return r;
    if (len > sizeof(out->bytes))
        return write_all(out->fd, data, len);
    if (len > 0)
        memcpy(out->bytes + out->used, data, len);
    out->used += len;
    return 0;
}

static int
in_fill(struct copy_in *in)
{
    ssize_t n;

    do {
        if (copy_stopped())
            return -EINTR;
        n = read(in->fd, in->bytes, sizeof(in->bytes));
    } while (n < 0 && errno == EINTR);
    if (copy_stopped())
        return -EINTR;
    if (n <= 0)
        return n < 0 ? -errno : -EPIPE;
    in->at = 0;
    in->have = (size_t)n;
    return 0;
}

static int
in_read(struct copy_in *in, void *data, size_t len)
{
    uint8_t *to = data;

    while (len > 0) {
        size_t n = in->have - in->at;

        if (n == 0) {
            int r = in_fill(in);

            if (r < 0)
                return r;
            continue;
        }
        n = n < len ? n : len;
        memcpy(to, in->bytes + in->at, n);
        in->at += n;
        to += n;
        len -= n;
    }
    return 0;
}

int
in_record(struct copy_in *in, struct copy_record *ret_record)
{
    uint8_t head[COPY_HEAD];
    enum copy_kind kind = COPY_END;
    size_t len = 0;
    int r = in_read(in, head, sizeof(head));

    if (r == 0)
        r = copy_head_decode(head, &kind, &len);
    if (r == 0)
        r = in_read(in, in->body, len);
    return r < 0 ? r : copy_body_decode(kind, in->body, len, ret_record);
}
