/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vsh/forward.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/adapter/stream.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/os/unix_socket.h"
#include "platform/linux/vsh/forward_internal.h"

VMT_DEFINE_FREEP(struct vsh_forward, vsh_forward_free)

void
vsh_forward_free(struct vsh_forward *forward)
{
    if (!forward)
        return;
    carriers_free(forward);
    for (size_t i = 0; forward->locals && i < forward->config.nlocal; i++) {
        struct forward_listener *l = &forward->locals[i];

        if (l->accepter)
            os_listener_free(l->accepter);
        vmt_closep(&l->fd);
        if (l->unlink)
            (void)unlink(l->spec->listen.path);
    }
    free(forward->locals);
    free(forward->targets);
    free(forward->listen);
    free(forward);
}

static int
forward_open_locals(struct vsh_forward *forward, struct vmt_err *err)
{
    int r = 0;

    for (size_t i = 0; i < forward->config.nlocal; i++)
        forward->locals[i] = (struct forward_listener){
            .forward = forward, .spec = &forward->config.local[i], .fd = -1};
    for (size_t i = 0; r == 0 && i < forward->config.nlocal; i++) {
        struct forward_listener *l = &forward->locals[i];

        r = forward_listen(&l->spec->listen, &l->fd, err);
        l->unlink = r == 0 && *l->spec->listen.path;
    }
    return r;
}

static int
forward_open_targets(struct vsh_forward *forward, struct vmt_err *err)
{
    const struct vsh_forward_config *config = &forward->config;
    int r = 0;

    for (size_t i = 0; r == 0 && i < config->nremote; i++) {
        forward->listen[i] = config->remote[i].listen;
        r = forward_target_find(&config->remote[i].connect, &forward->targets[i], err);
    }
    if (config->agent) {
        forward->listen[config->nremote] = (struct vsh_address){.agent = true};
        forward->targets[config->nremote].path = config->agent;
    }
    return r;
}

int
vsh_forward_new(struct os_loop *loop, const struct vsh_forward_config *config,
                struct vsh_forward **ret_forward, struct vmt_err *err)
{
    VMT_CLEANUP(vsh_forward_freep) struct vsh_forward *f = calloc(1, sizeof(*f));
    int r;

    if (!f)
        return vmt_err_set(err, ENOMEM, "forward");
    os_raise_nofile(); /* two for each connection */
    f->loop = loop;
    f->config = *config;
    vmt_list_init(&f->carriers);
    f->nlisten = config->nremote + (config->agent != NULL);
    if (f->nlisten > VSH_LISTENERS_MAX)
        return vmt_err_setx(err, EINVAL, "at most %u sockets of the guest can listen",
                            VSH_LISTENERS_MAX);
    f->locals = calloc(config->nlocal + 1, sizeof(*f->locals));
    f->targets = calloc(f->nlisten + 1, sizeof(*f->targets));
    f->listen = calloc(f->nlisten + 1, sizeof(*f->listen));
    if (!f->locals || !f->targets || !f->listen) {
        free(f->locals);
        f->locals = NULL; /* not filled */
        return vmt_err_set(err, ENOMEM, "forward");
    }
    r = forward_open_locals(f, err);
    if (r == 0)
        r = forward_open_targets(f, err);
    if (r == 0)
        *ret_forward = vmt_take_ptr(&f);
    return r;
}

void
vsh_forward_fill(const struct vsh_forward *forward, struct vsh_request *request)
{
    request->listen = forward->listen;
    request->nlisten = forward->nlisten;
}

static void
local_on_accept(void *arg, struct stream *stream, const struct stream_peer *peer)
{
    struct forward_listener *l = arg;

    (void)peer;
    carrier_to_guest(l->forward, &l->spec->connect, stream);
}

int
vsh_forward_ready(struct vsh_forward *forward, uint32_t features, struct vmt_err *err)
{
    static const struct stream_peer nobody = {.kind = STREAM_PEER_UNKNOWN};
    int r = 0;

    if (!(features & VSH_FEATURE_FORWARD))
        return vmt_err_setx(err, ENOTSUP,
                            "vshd in the guest does not know how to forward");
    for (size_t i = 0; r == 0 && i < forward->config.nlocal; i++) {
        struct forward_listener *l = &forward->locals[i];

        if (l->accepter)
            continue; /* this is a new session in place of one that was lost */
        r = os_listener_new(forward->loop, l->fd, &nobody, local_on_accept, l,
                            &l->accepter, err);
        if (r == 0)
            l->fd = -1;
    }
    return r;
}

/* Only what the user does not know yet: a port that the guest chose. */
void
vsh_forward_on_listening(struct vsh_forward *forward, size_t listener,
                         const struct vsh_address *address)
{
    const struct vsh_address *asked = &forward->listen[listener];

    if (asked->port == 0 && address->port != 0 && !asked->agent)
        (void)fprintf(stderr, "%s: the guest listens at port %u\r\n",
                      forward->config.program, address->port);
}

void
vsh_forward_on_accepted(struct vsh_forward *forward, uint32_t listener,
                        const uint8_t *token)
{
    carrier_from_guest(forward, &forward->targets[listener], token);
}
