/* SPDX-License-Identifier: BSD-3-Clause */
/* TLS over any wire. If the first byte is even, the rest is what a stranger sends to a
 * server instead of a handshake. Otherwise client and server have shaken hands and each
 * following pair of bytes is a step: what happens, and to which amount. Whatever happens,
 * each side gets a prefix of what the other sent, and one end. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/test.h"
#include "tests/unit/tls/world.h"

/* Bytes from here on ask for keys; those below take their step from a table. */
#define STEP_KEYS 240

struct party {
    struct stream *wire; /* owned until the handshake; borrowed afterwards */
    struct stream *s;    /* owned */
    uint64_t sent, got;
    unsigned ends, keys;
    bool paused, done;
};

static struct tls_world *world;
static struct party parties[2]; /* client, server */
static bool small_pieces;       /* then few bytes are enough */

static void
must(bool truth)
{
    if (!truth)
        abort();
}

static uint8_t
pattern(uint64_t at)
{
    return (uint8_t)(at * 131 >> 5);
}

static void
on_data(void *arg, const uint8_t *data, size_t len)
{
    struct party *p = arg;
    const struct party *other = p == &parties[0] ? &parties[1] : &parties[0];

    must(len > 0 && p->ends == 0 && !p->paused);
    must(p->got + len <= other->sent);
    for (size_t i = 0; i < len; i++)
        must(data[i] == pattern(p->got++));
}

static void
on_drain(void *arg)
{
    const struct party *p = arg;

    must(p->s != NULL);
}

static void
on_end(void *arg, int status)
{
    struct party *p = arg;
    const struct party *other = p == &parties[0] ? &parties[1] : &parties[0];

    must(++p->ends == 1 && status <= 0);
    /* A regular end is the end of everything that was sent. */
    must(status < 0 || p->got == other->sent);
}

static const struct stream_handler handler = {on_data, on_drain, on_end};

static void
on_done(void *arg, struct stream *s, const struct vmt_err *err)
{
    struct party *p = arg;

    must(!p->done && !s == !!err);
    p->done = true;
    p->s = s;
    if (s)
        s->ops->set_handler(s, &handler, p);
}

static void
run(void)
{
    static const bool never = false;

    while (fake_clock_next_ms(world->clock) == 0)
        (void)fake_clock_run_until(world->clock, &never, 0);
}

static void
start(struct party *p, struct tls_context *context, const char *name)
{
    const struct tls_dial dial = {
        .lower = p->wire, .name = name, .on_done = on_done, .arg = p};
    struct tls_handshake *handshake;

    must(tls_handshake_start(context, &dial, &handshake, NULL) == 0);
}

static void
wire(void)
{
    struct stream *raw[2];

    memset(parties, 0, sizeof(parties));
    small_pieces = false;
    must(fake_stream_pair(fake_clock_base(world->clock), raw) == 0);
    parties[0].wire = raw[0];
    parties[1].wire = raw[1];
}

static void
stranger(const uint8_t *data, size_t size)
{
    wire();
    start(&parties[1], world->server, NULL);
    for (size_t n; size > 0; data += n, size -= n) {
        n = size < 700 ? size : 700;
        (void)parties[0].wire->ops->send(parties[0].wire, data, n, NULL, 0);
        run();
    }
    stream_close(parties[0].wire);
    run();
    must(parties[1].done && !parties[1].s);
}

static void
step_send(struct party *p, uint8_t amount)
{
    uint8_t data[255 * 90];
    size_t len = (size_t)amount * 90;

    if (p->sent > (small_pieces ? 16u * 1024 : 512u * 1024))
        return;
    for (size_t i = 0; i < len; i++)
        data[i] = pattern(p->sent + i);
    if (p->s->ops->send(p->s, data, len, NULL, 0) == 0)
        p->sent += len;
}

static void
step_pause(struct party *p, uint8_t amount)
{
    p->paused = amount & 1;
    p->s->ops->pause(p->s, p->paused);
}

static void
step_shutdown(struct party *p, uint8_t amount)
{
    (void)amount;
    p->s->ops->shutdown_send(p->s);
}

static void
step_chunk(struct party *p, uint8_t amount)
{
    if (p->ends > 0)
        return;
    fake_stream_set_chunk(p->wire, amount);
    small_pieces = true;
}

/* Bytes in between that our side did not encrypt. */
static void
step_inject(struct party *p, uint8_t amount)
{
    const uint8_t bytes[3] = {amount, 3, 3};

    (void)p->wire->ops->send(p->wire, bytes, 1u + amount % 3u, NULL, 0);
}

static void
step_break(struct party *p, uint8_t amount)
{
    fake_stream_break(p->wire, -1 - amount % 100);
}

static void
step_close(struct party *p, uint8_t amount)
{
    (void)amount;
    stream_close(vmt_take_ptr(&p->s));
}

static void
step_run(struct party *p, uint8_t amount)
{
    (void)p;
    for (uint8_t i = 0; i < amount % 8; i++)
        fake_clock_advance(world->clock, 0);
}

/* Ask for new keys: one, or a flood. */
static void
step_keys(struct party *p, uint8_t amount)
{
    unsigned most = small_pieces ? 50 : 2000;

    while (amount-- > 0 && p->keys++ < most && tls_stream_ask_for_key(p->s))
        ;
}

static void (*const steps[])(struct party *p, uint8_t amount) = {
    step_send,   step_send,  step_run,   step_pause, step_shutdown,
    step_inject, step_break, step_chunk, step_close, step_run,
};

static void
talk(const uint8_t *data, size_t size)
{
    wire();
    start(&parties[1], world->server, NULL);
    start(&parties[0], world->client, "vm.example");
    run();
    must(parties[0].s && parties[1].s);
    for (size_t i = 0; i + 1 < size && i < 400; i += 2) {
        struct party *p = &parties[data[i] & 1];

        if (p->s && data[i] >= STEP_KEYS)
            step_keys(p, data[i + 1]);
        else if (p->s)
            steps[(data[i] >> 1) % VMT_ARRAY_SIZE(steps)](p, data[i + 1]);
    }
    run();
    for (int i = 0; i < 2; i++)
        stream_close(vmt_take_ptr(&parties[i].s));
    run();
    must(fake_clock_pending(world->clock) == 0);
}

static void
at_exit(void)
{
    (void)tls_world_teardown((void **)&world);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!world) {
        must(tls_world_setup((void **)&world) == 0);
        (void)atexit(at_exit);
    }
    if (size == 0)
        return 0;
    if (data[0] & 1)
        talk(data + 1, size - 1);
    else
        stranger(data + 1, size - 1);
    return 0;
}
