/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/vsh/message.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vsh.pb-c.h"

#include "core/base/cleanup.h"
#include "core/vsh/frame.h"

typedef VmTools__Vsh__SetupConnectionRequest pb_request;
typedef VmTools__Vsh__SetupConnectionRequest__EnvEntry pb_env;
typedef VmTools__Vsh__SetupConnectionResponse pb_response;
typedef VmTools__Vsh__DataMessage pb_data;
typedef VmTools__Vsh__ConnectionStatusMessage pb_status;
typedef VmTools__Vsh__WindowResizeMessage pb_resize;
typedef VmTools__Vsh__GuestMessage pb_guest;
typedef VmTools__Vsh__HostMessage pb_host;

/* The generated structs have no const; encoding does not write through them. */
static char *
unconst(const char *text)
{
    return text ? (char *)(uintptr_t)text : (char *)(uintptr_t) "";
}

/* Fill n entries and the list of pointers to them. */
static void
env_fill(const struct vsh_request *request, pb_env *entries, pb_env **list)
{
    for (size_t i = 0; i < request->nenv; i++) {
        vm_tools__vsh__setup_connection_request__env_entry__init(&entries[i]);
        entries[i].key = unconst(request->env[i].name);
        entries[i].value = unconst(request->env[i].value);
        list[i] = &entries[i];
    }
}

ssize_t
vsh_request_encode(const struct vsh_request *request, uint8_t *out)
{
    VMT_CLEANUP(vmt_freep) pb_env *entries = NULL;
    VMT_CLEANUP(vmt_freep) pb_env **list = NULL;
    pb_request pb;

    /* An entry takes at least two bytes: more cannot fit, and need not be looked at. */
    if (request->nenv > VSH_BODY_MAX || request->argc > VSH_BODY_MAX)
        return -EMSGSIZE;
    entries = calloc(request->nenv + 1, sizeof(*entries));
    list = calloc(request->nenv + 1, sizeof(pb_env *));
    if (!entries || !list)
        return -ENOMEM;
    env_fill(request, entries, list);
    vm_tools__vsh__setup_connection_request__init(&pb);
    pb.target = unconst(request->target);
    pb.user = unconst(request->user);
    pb.n_env = request->nenv;
    pb.env = list;
    pb.n_argv = request->argc;
    pb.argv = (char **)(uintptr_t)request->argv;
    pb.window_rows = request->rows;
    pb.window_cols = request->cols;
    pb.nopty = request->nopty;
    pb.cwd = unconst(request->cwd);
    pb.cwd_pid = request->cwd_pid;
    return vsh_frame_encode(&pb.base, out);
}

ssize_t
vsh_response_encode(const struct vsh_response *response, uint8_t *out)
{
    pb_response pb;

    vm_tools__vsh__setup_connection_response__init(&pb);
    pb.status = (VmTools__Vsh__ConnectionStatus)response->status;
    pb.description = unconst(response->text);
    pb.pid = response->pid;
    pb.exit_code = response->exit_code;
    return vsh_frame_encode(&pb.base, out);
}

static int
data_fill(const struct vsh_message *message, pb_data *pb)
{
    if (message->len > VSH_DATA_MAX)
        return -EMSGSIZE;
    vm_tools__vsh__data_message__init(pb);
    pb->stream = (VmTools__Vsh__StdioStream)message->stream;
    pb->data.data = (uint8_t *)(uintptr_t)message->data;
    pb->data.len = message->len;
    return 0;
}

static void
status_fill(const struct vsh_message *message, pb_status *pb)
{
    vm_tools__vsh__connection_status_message__init(pb);
    pb->status = (VmTools__Vsh__ConnectionStatus)message->status;
    pb->description = unconst(message->text);
    pb->code = message->code;
}

ssize_t
vsh_guest_encode(const struct vsh_message *message, uint8_t *out)
{
    pb_guest pb = VM_TOOLS__VSH__GUEST_MESSAGE__INIT;
    pb_resize resize = VM_TOOLS__VSH__WINDOW_RESIZE_MESSAGE__INIT;
    pb_data data;
    pb_status status;

    switch (message->kind) {
    case VSH_KIND_DATA:
        if (data_fill(message, &data) < 0)
            return -EMSGSIZE;
        pb.msg_case = VM_TOOLS__VSH__GUEST_MESSAGE__MSG_DATA_MESSAGE;
        pb.data_message = &data;
        break;
    case VSH_KIND_STATUS:
        status_fill(message, &status);
        pb.msg_case = VM_TOOLS__VSH__GUEST_MESSAGE__MSG_STATUS_MESSAGE;
        pb.status_message = &status;
        break;
    case VSH_KIND_RESIZE:
        resize.rows = message->rows;
        resize.cols = message->cols;
        pb.msg_case = VM_TOOLS__VSH__GUEST_MESSAGE__MSG_RESIZE_MESSAGE;
        pb.resize_message = &resize;
        break;
    case VSH_KIND_SIGNAL:
        pb.msg_case = VM_TOOLS__VSH__GUEST_MESSAGE__MSG_SIGNAL;
        pb.signal = (VmTools__Vsh__Signal)message->signal;
        break;
    case VSH_KIND_NONE:
        break;
    }
    return vsh_frame_encode(&pb.base, out);
}

ssize_t
vsh_host_encode(const struct vsh_message *message, uint8_t *out)
{
    pb_host pb = VM_TOOLS__VSH__HOST_MESSAGE__INIT;
    pb_data data;
    pb_status status;

    if (message->kind == VSH_KIND_DATA) {
        if (data_fill(message, &data) < 0)
            return -EMSGSIZE;
        pb.msg_case = VM_TOOLS__VSH__HOST_MESSAGE__MSG_DATA_MESSAGE;
        pb.data_message = &data;
    } else if (message->kind == VSH_KIND_STATUS) {
        status_fill(message, &status);
        pb.msg_case = VM_TOOLS__VSH__HOST_MESSAGE__MSG_STATUS_MESSAGE;
        pb.status_message = &status;
    }
    return vsh_frame_encode(&pb.base, out);
}

/* Unpack one payload. protobuf-c cannot tell lack of memory from a malformed message;
 * both end the session. */
static int
unpack(const ProtobufCMessageDescriptor *type, const uint8_t *body, size_t len,
       struct vsh_decoded *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->unpacked = protobuf_c_message_unpack(type, NULL, len, body);
    return ret->unpacked ? 0 : -EBADMSG;
}

void
vsh_decoded_done(struct vsh_decoded *decoded)
{
    if (decoded->unpacked)
        protobuf_c_message_free_unpacked(decoded->unpacked, NULL);
    free(decoded->lists);
    memset(decoded, 0, sizeof(*decoded));
}

int
vsh_request_decode(const uint8_t *body, size_t len, struct vsh_decoded *ret)
{
    struct vsh_env *env;
    const pb_request *pb;
    int r = unpack(&vm_tools__vsh__setup_connection_request__descriptor, body, len, ret);

    if (r < 0)
        return r;
    pb = ret->unpacked;
    env = calloc(pb->n_env + 1, sizeof(*env));
    if (!env) {
        vsh_decoded_done(ret);
        return -ENOMEM;
    }
    ret->lists = env;
    for (size_t i = 0; i < pb->n_env; i++)
        env[i] = (struct vsh_env){.name = pb->env[i]->key, .value = pb->env[i]->value};
    ret->request = (struct vsh_request){
        .target = pb->target,
        .user = pb->user,
        .env = env,
        .nenv = pb->n_env,
        .argv = (const char *const *)pb->argv,
        .argc = pb->n_argv,
        .rows = pb->window_rows,
        .cols = pb->window_cols,
        .nopty = pb->nopty,
        .cwd = pb->cwd,
        .cwd_pid = pb->cwd_pid,
    };
    return 0;
}

int
vsh_response_decode(const uint8_t *body, size_t len, struct vsh_decoded *ret)
{
    const pb_response *pb;
    int r = unpack(&vm_tools__vsh__setup_connection_response__descriptor, body, len, ret);

    if (r < 0)
        return r;
    pb = ret->unpacked;
    ret->response = (struct vsh_response){
        .status = (enum vsh_status)pb->status,
        .text = pb->description,
        .pid = pb->pid,
        .exit_code = pb->exit_code,
    };
    return 0;
}

static struct vsh_message
data_view(const pb_data *pb)
{
    return (struct vsh_message){
        .kind = VSH_KIND_DATA,
        .stream = (int)pb->stream,
        .data = pb->data.data,
        .len = pb->data.len,
    };
}

static struct vsh_message
status_view(const pb_status *pb)
{
    return (struct vsh_message){
        .kind = VSH_KIND_STATUS,
        .status = (int)pb->status,
        .code = pb->code,
        .text = pb->description,
    };
}

int
vsh_guest_decode(const uint8_t *body, size_t len, struct vsh_decoded *ret)
{
    const pb_guest *pb;
    int r = unpack(&vm_tools__vsh__guest_message__descriptor, body, len, ret);

    if (r < 0)
        return r;
    pb = ret->unpacked;
    if (pb->msg_case == VM_TOOLS__VSH__GUEST_MESSAGE__MSG_DATA_MESSAGE)
        ret->message = data_view(pb->data_message);
    else if (pb->msg_case == VM_TOOLS__VSH__GUEST_MESSAGE__MSG_STATUS_MESSAGE)
        ret->message = status_view(pb->status_message);
    else if (pb->msg_case == VM_TOOLS__VSH__GUEST_MESSAGE__MSG_RESIZE_MESSAGE)
        ret->message = (struct vsh_message){
            .kind = VSH_KIND_RESIZE,
            .rows = pb->resize_message->rows,
            .cols = pb->resize_message->cols,
        };
    else if (pb->msg_case == VM_TOOLS__VSH__GUEST_MESSAGE__MSG_SIGNAL)
        ret->message =
            (struct vsh_message){.kind = VSH_KIND_SIGNAL, .signal = (int)pb->signal};
    return 0;
}

int
vsh_host_decode(const uint8_t *body, size_t len, struct vsh_decoded *ret)
{
    const pb_host *pb;
    int r = unpack(&vm_tools__vsh__host_message__descriptor, body, len, ret);

    if (r < 0)
        return r;
    pb = ret->unpacked;
    if (pb->msg_case == VM_TOOLS__VSH__HOST_MESSAGE__MSG_DATA_MESSAGE)
        ret->message = data_view(pb->data_message);
    else if (pb->msg_case == VM_TOOLS__VSH__HOST_MESSAGE__MSG_STATUS_MESSAGE)
        ret->message = status_view(pb->status_message);
    return 0;
}
