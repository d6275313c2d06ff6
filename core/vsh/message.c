/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/vsh/message.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmt_vsh.pb-c.h"
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
typedef Vmt__Vsh__Address pb_address;
typedef Vmt__Vsh__Accepted pb_accepted;
typedef Vmt__Vsh__Session pb_session;

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

static void
address_fill(const struct vsh_address *address, pb_address *pb)
{
    vmt__vsh__address__init(pb);
    pb->host = unconst(address->host);
    pb->port = address->port;
    pb->path = unconst(address->path);
    pb->agent = address->agent;
}

/* Fill n entries, VSH_LISTENERS_MAX at most, and the list of pointers to them. */
static void
addresses_fill(const struct vsh_address *addresses, size_t n, pb_address *entries,
               pb_address **list)
{
    for (size_t i = 0; i < n; i++) {
        address_fill(&addresses[i], &entries[i]);
        list[i] = &entries[i];
    }
}

/* The fields of request that are additions. pb points to connect and listen then. */
struct request_additions {
    pb_address connect;
    pb_address listen[VSH_LISTENERS_MAX];
    pb_address *list[VSH_LISTENERS_MAX];
};

static void
additions_fill(const struct vsh_request *request, struct request_additions *more,
               pb_request *pb)
{
    pb->features = request->features;
    pb->no_command = request->no_command;
    pb->list_sessions = request->list_sessions;
    if (request->connect) {
        address_fill(request->connect, &more->connect);
        pb->connect = &more->connect;
    }
    if (request->accepted) {
        pb->accepted.data = (uint8_t *)(uintptr_t)request->accepted;
        pb->accepted.len = VSH_TOKEN_BYTES;
    }
    addresses_fill(request->listen, request->nlisten, more->listen, more->list);
    pb->n_listen = request->nlisten;
    pb->listen = more->list;
}

ssize_t
vsh_request_encode(const struct vsh_request *request, uint8_t *out)
{
    VMT_CLEANUP(vmt_freep) pb_env *entries = NULL;
    VMT_CLEANUP(vmt_freep) pb_env **list = NULL;
    struct request_additions more;
    pb_request pb;

    /* An entry takes at least two bytes: more cannot fit, and need not be looked at. */
    if (request->nenv > VSH_BODY_MAX || request->argc > VSH_BODY_MAX ||
        request->nlisten > VSH_LISTENERS_MAX)
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
    additions_fill(request, &more, &pb);
    return vsh_frame_encode(&pb.base, out);
}

ssize_t
vsh_response_encode(const struct vsh_response *response, uint8_t *out)
{
    pb_address entries[VSH_LISTENERS_MAX], *list[VSH_LISTENERS_MAX];
    pb_response pb;

    if (response->nlistening > VSH_LISTENERS_MAX)
        return -EMSGSIZE;
    vm_tools__vsh__setup_connection_response__init(&pb);
    pb.status = (VmTools__Vsh__ConnectionStatus)response->status;
    pb.description = unconst(response->text);
    pb.pid = response->pid;
    pb.exit_code = response->exit_code;
    pb.features = response->features;
    addresses_fill(response->listening, response->nlistening, entries, list);
    pb.n_listening = response->nlistening;
    pb.listening = list;
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
    default: /* nothing, or what only the host is told */
        break;
    }
    return vsh_frame_encode(&pb.base, out);
}

static void
accepted_fill(const struct vsh_message *message, pb_accepted *pb)
{
    vmt__vsh__accepted__init(pb);
    pb->listener = message->listener;
    pb->token.data = (uint8_t *)(uintptr_t)message->token;
    pb->token.len = VSH_TOKEN_BYTES;
}

static void
session_fill(const struct vsh_session_info *info, pb_session *pb)
{
    vmt__vsh__session__init(pb);
    pb->id = info->id;
    pb->pid = info->pid;
    pb->uid = info->uid;
    pb->user = unconst(info->user);
    pb->tty = unconst(info->tty);
    pb->command = unconst(info->command);
    pb->since = info->since;
    pb->seconds = info->seconds;
    pb->cgroup = unconst(info->cgroup);
    pb->forward = unconst(info->forward);
}

ssize_t
vsh_host_encode(const struct vsh_message *message, uint8_t *out)
{
    pb_host pb = VM_TOOLS__VSH__HOST_MESSAGE__INIT;
    pb_data data;
    pb_status status;
    pb_accepted accepted;
    pb_session session;

    if (message->kind == VSH_KIND_DATA) {
        if (data_fill(message, &data) < 0)
            return -EMSGSIZE;
        pb.msg_case = VM_TOOLS__VSH__HOST_MESSAGE__MSG_DATA_MESSAGE;
        pb.data_message = &data;
    } else if (message->kind == VSH_KIND_STATUS) {
        status_fill(message, &status);
        pb.msg_case = VM_TOOLS__VSH__HOST_MESSAGE__MSG_STATUS_MESSAGE;
        pb.status_message = &status;
    } else if (message->kind == VSH_KIND_ACCEPTED) {
        accepted_fill(message, &accepted);
        pb.msg_case = VM_TOOLS__VSH__HOST_MESSAGE__MSG_ACCEPTED;
        pb.accepted = &accepted;
    } else if (message->kind == VSH_KIND_SESSION) {
        session_fill(&message->session, &session);
        pb.msg_case = VM_TOOLS__VSH__HOST_MESSAGE__MSG_SESSION;
        pb.session = &session;
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

static bool
address_view(const pb_address *pb, struct vsh_address *ret)
{
    *ret = (struct vsh_address){
        .host = pb->host, .port = pb->port, .path = pb->path, .agent = pb->agent};
    return pb->port <= UINT16_MAX;
}

static bool
addresses_view(pb_address *const *list, size_t n, struct vsh_address *ret)
{
    bool fine = n <= VSH_LISTENERS_MAX;

    for (size_t i = 0; fine && i < n; i++)
        fine = address_view(list[i], &ret[i]);
    return fine;
}

/* What the pointers of a request or response point to, besides the unpacked message. */
struct decoded_lists {
    struct vsh_address connect;
    struct vsh_address listen[VSH_LISTENERS_MAX];
    struct vsh_env env[];
};

static bool
additions_view(const pb_request *pb, struct decoded_lists *lists, struct vsh_request *ret)
{
    ret->features = pb->features;
    ret->no_command = pb->no_command;
    ret->list_sessions = pb->list_sessions;
    ret->connect = pb->connect ? &lists->connect : NULL;
    ret->accepted = pb->accepted.len > 0 ? pb->accepted.data : NULL;
    ret->listen = lists->listen;
    ret->nlisten = pb->n_listen;
    return (!pb->connect || address_view(pb->connect, &lists->connect)) &&
           (pb->accepted.len == 0 || pb->accepted.len == VSH_TOKEN_BYTES) &&
           addresses_view(pb->listen, pb->n_listen, lists->listen);
}

static void
request_view(const pb_request *pb, struct decoded_lists *lists, struct vsh_request *ret)
{
    for (size_t i = 0; i < pb->n_env; i++)
        lists->env[i] =
            (struct vsh_env){.name = pb->env[i]->key, .value = pb->env[i]->value};
    *ret = (struct vsh_request){
        .target = pb->target,
        .user = pb->user,
        .env = lists->env,
        .nenv = pb->n_env,
        .argv = (const char *const *)pb->argv,
        .argc = pb->n_argv,
        .rows = pb->window_rows,
        .cols = pb->window_cols,
        .nopty = pb->nopty,
        .cwd = pb->cwd,
        .cwd_pid = pb->cwd_pid,
    };
}

int
vsh_request_decode(const uint8_t *body, size_t len, struct vsh_decoded *ret)
{
    struct decoded_lists *lists;
    const pb_request *pb;
    int r = unpack(&vm_tools__vsh__setup_connection_request__descriptor, body, len, ret);

    if (r < 0)
        return r;
    pb = ret->unpacked;
    lists = calloc(1, sizeof(*lists) + pb->n_env * sizeof(lists->env[0]));
    ret->lists = lists;
    if (lists) {
        request_view(pb, lists, &ret->request);
        r = additions_view(pb, lists, &ret->request) ? 0 : -EBADMSG;
    } else {
        r = -ENOMEM;
    }
    if (r < 0)
        vsh_decoded_done(ret);
    return r;
}

int
vsh_response_decode(const uint8_t *body, size_t len, struct vsh_decoded *ret)
{
    struct decoded_lists *lists;
    const pb_response *pb;
    int r = unpack(&vm_tools__vsh__setup_connection_response__descriptor, body, len, ret);

    if (r < 0)
        return r;
    pb = ret->unpacked;
    lists = calloc(1, sizeof(*lists));
    ret->lists = lists;
    if (!lists || !addresses_view(pb->listening, pb->n_listening, lists->listen)) {
        vsh_decoded_done(ret);
        return lists ? -EBADMSG : -ENOMEM;
    }
    ret->response = (struct vsh_response){
        .status = (enum vsh_status)pb->status,
        .text = pb->description,
        .pid = pb->pid,
        .exit_code = pb->exit_code,
        .features = pb->features,
        .listening = lists->listen,
        .nlistening = pb->n_listening,
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

/* Most messages by far are bytes of stdio. They need no copy. */
static bool
data_decode(const uint8_t *body, size_t len, struct vsh_decoded *ret)
{
    struct vsh_message m = {.kind = VSH_KIND_DATA};

    if (!vsh_frame_data_parse(body, len, &m.stream, &m.data, &m.len))
        return false;
    memset(ret, 0, sizeof(*ret));
    ret->message = m;
    return true;
}

int
vsh_guest_decode(const uint8_t *body, size_t len, struct vsh_decoded *ret)
{
    const pb_guest *pb;
    int r;

    if (data_decode(body, len, ret))
        return 0;
    r = unpack(&vm_tools__vsh__guest_message__descriptor, body, len, ret);

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

static struct vsh_message
session_view(const pb_session *pb)
{
    return (struct vsh_message){
        .kind = VSH_KIND_SESSION,
        .session = {.id = pb->id,
                    .pid = pb->pid,
                    .uid = pb->uid,
                    .user = pb->user,
                    .tty = pb->tty,
                    .command = pb->command,
                    .since = pb->since,
                    .seconds = pb->seconds,
                    .cgroup = pb->cgroup,
                    .forward = pb->forward},
    };
}

static int
accepted_view(const pb_accepted *pb, struct vsh_message *ret)
{
    *ret = (struct vsh_message){
        .kind = VSH_KIND_ACCEPTED, .listener = pb->listener, .token = pb->token.data};
    return pb->token.len == VSH_TOKEN_BYTES ? 0 : -EBADMSG;
}

int
vsh_host_decode(const uint8_t *body, size_t len, struct vsh_decoded *ret)
{
    const pb_host *pb;
    int r;

    if (data_decode(body, len, ret))
        return 0;
    r = unpack(&vm_tools__vsh__host_message__descriptor, body, len, ret);
    if (r < 0)
        return r;
    pb = ret->unpacked;
    if (pb->msg_case == VM_TOOLS__VSH__HOST_MESSAGE__MSG_DATA_MESSAGE)
        ret->message = data_view(pb->data_message);
    else if (pb->msg_case == VM_TOOLS__VSH__HOST_MESSAGE__MSG_STATUS_MESSAGE)
        ret->message = status_view(pb->status_message);
    else if (pb->msg_case == VM_TOOLS__VSH__HOST_MESSAGE__MSG_SESSION)
        ret->message = session_view(pb->session);
    else if (pb->msg_case == VM_TOOLS__VSH__HOST_MESSAGE__MSG_ACCEPTED)
        r = accepted_view(pb->accepted, &ret->message);
    if (r < 0)
        vsh_decoded_done(ret);
    return r;
}
