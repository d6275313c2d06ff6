/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/init/last_words.h"

#include <linux/vm_sockets.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "core/base/limits.h"

#define STEP_S 1
#define FRAME_HEAD 9
#define FRAME_DATA 0
#define FRAME_HEADERS 1
#define FRAME_SETTINGS 4
#define FLAG_END_STREAM 1
#define FLAG_END_HEADERS 4

struct writer {
    uint8_t *buf; /* LAST_WORDS_BYTES_MAX bytes: more than all of it needs */
    size_t n;
};

static void
put(struct writer *w, const void *data, size_t len)
{
    if (len > LAST_WORDS_BYTES_MAX - w->n)
        len = LAST_WORDS_BYTES_MAX - w->n;
    memcpy(w->buf + w->n, data, len);
    w->n += len;
}

static void
put_byte(struct writer *w, unsigned byte)
{
    const uint8_t b = (uint8_t)byte;

    put(w, &b, 1);
}

/* A string of HPACK, and of protobuf: its length in one byte before it. */
static void
put_string(struct writer *w, const char *text, size_t len)
{
    put_byte(w, (unsigned)len);
    put(w, text, len);
}

/* Leave room for the head of a frame; frame_end fills it in. */
static size_t
frame_begin(struct writer *w)
{
    static const uint8_t nothing[FRAME_HEAD];

    put(w, nothing, sizeof(nothing));
    return w->n;
}

static void
frame_end(struct writer *w, size_t start, unsigned type, unsigned flags, unsigned stream)
{
    uint8_t *head = w->buf + start - FRAME_HEAD;
    size_t len = w->n - start;

    head[0] = (uint8_t)(len >> 16);
    head[1] = (uint8_t)(len >> 8);
    head[2] = (uint8_t)len;
    head[3] = (uint8_t)type;
    head[4] = (uint8_t)flags;
    head[8] = (uint8_t)stream;
}

static void
put_headers(struct writer *w)
{
    static const char path[] = "/vmt.GuestListener/ReportEvent";
    static const char type[] = "application/grpc";
    size_t start = frame_begin(w);

    put_byte(w, 0x83); /* :method POST and :scheme http, of the static table */
    put_byte(w, 0x86);
    put_byte(w, 0x04); /* :path, :authority and content-type by the number of the name */
    put_string(w, path, sizeof(path) - 1);
    put_byte(w, 0x01);
    put_string(w, "host", 4);
    put_byte(w, 0x0f);
    put_byte(w, 31 - 15);
    put_string(w, type, sizeof(type) - 1);
    put_byte(w, 0x00);
    put_string(w, "te", 2);
    put_string(w, "trailers", 8);
    frame_end(w, start, FRAME_HEADERS, FLAG_END_HEADERS, 1);
}

/* GuestEvent{last_words{text}}: fields 4 and 1, both with a length. */
static void
put_message(struct writer *w, const char *text)
{
    size_t len = strnlen(text, LAST_WORDS_MAX);
    size_t start = frame_begin(w);
    const uint8_t prefix[] = {0, 0, 0, 0, (uint8_t)(len + 4)};

    put(w, prefix, sizeof(prefix)); /* not compressed, and the length */
    put_byte(w, 4 << 3 | 2);
    put_byte(w, (unsigned)len + 2);
    put_byte(w, 1 << 3 | 2);
    put_string(w, text, len);
    frame_end(w, start, FRAME_DATA, FLAG_END_STREAM, 1);
}

size_t
last_words_encode(const char *text, uint8_t *buf)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    struct writer w = {.buf = buf};

    put(&w, preface, sizeof(preface) - 1);
    frame_end(&w, frame_begin(&w), FRAME_SETTINGS, 0, 0);
    put_headers(&w);
    put_message(&w, text);
    return w.n;
}

void
last_words_send(uint32_t port, const char *text)
{
    const struct sockaddr_vm host = {
        .svm_family = AF_VSOCK, .svm_cid = VMT_CID_HOST, .svm_port = port};
    const struct timeval limit = {.tv_sec = STEP_S};
    uint8_t buf[LAST_WORDS_BYTES_MAX];
    int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
    size_t len = last_words_encode(text, buf);
    ssize_t n;

    if (fd < 0)
        return;
    (void)setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &limit, sizeof(limit));
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    if (connect(fd, (const struct sockaddr *)&host, sizeof(host)) == 0 &&
        send(fd, buf, len, MSG_NOSIGNAL) == (ssize_t)len) {
        do /* until it has said all that it has to say */
            n = recv(fd, buf, sizeof(buf), 0);
        while (n > 0);
    }
    (void)close(fd);
}
