/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/rpc/reflection.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <protobuf-c/protobuf-c.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/list.h"
#include "core/rpc/descriptor_internal.h"
#include "core/rpc/health.h"
#include "core/rpc/server_internal.h"
#include "grpc/reflection/v1/reflection.file.h"
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "grpc/reflection/v1alpha/reflection.file.h"
#include "proto/file.h"

/* One request, which comes back with the answer. Names of ours have less than 100 bytes.
 */
#define REQUEST_MAX 4096u

/* Answers that may wait before no further request is looked at: what one client can make
 * us do in one turn of the loop, and hold. All files of a daemon have some 30 KiB
 * together, which is the most that one answer adds. */
#define QUEUED_HIGH (64u * 1024)

/* Calls of one connection. A client needs one; each may hold QUEUED_HIGH and a window of
 * requests that wait. */
#define STREAMS_MAX 16u

typedef Grpc__Reflection__V1__ServerReflectionRequest request_t;
typedef Grpc__Reflection__V1__ServerReflectionResponse response_t;

struct rpc_reflection {
    struct rpc_server *server; /* borrowed */
    struct vmt_list streams;
};

struct reflection_file {
    const struct proto_file *file; /* borrowed */
    bool sent;                     /* on this stream */
};

/* A call to ServerReflectionInfo. */
struct reflection_stream {
    struct vmt_list node;
    struct rpc_server *server;     /* borrowed */
    struct rpc_server_call *call;  /* borrowed until finished or cancelled */
    struct reflection_file *files; /* owned: all that can be asked for */
    size_t nfiles;
};

static void
stream_free(struct reflection_stream *s)
{
    if (!s)
        return;
    vmt_list_remove(&s->node);
    free(s->files);
    free(s);
}

VMT_DEFINE_FREEP(struct reflection_stream, stream_free)

void
rpc_reflection_free(struct rpc_reflection *reflection)
{
    if (!reflection)
        return;
    VMT_LIST_FOREACH(node, next, &reflection->streams)
    stream_free(VMT_CONTAINER_OF(node, struct reflection_stream, node));
    free(reflection);
}

static int
stream_add_file(struct reflection_stream *s, const struct proto_file *file)
{
    struct reflection_file *more;

    for (size_t i = 0; i < s->nfiles; i++) {
        if (s->files[i].file == file)
            return 0;
    }
    more = realloc(s->files, (s->nfiles + 1) * sizeof(*more));
    if (!more)
        return -ENOMEM;
    s->files = more;
    s->files[s->nfiles++] = (struct reflection_file){.file = file};
    return 0;
}

/* The files of all services, then what these import, and so on. */
static int
stream_collect(struct reflection_stream *s)
{
    VMT_LIST_FOREACH(node, next, &s->server->services)
    {
        const struct proto_file *file =
            VMT_CONTAINER_OF(node, struct server_service, node)->service->file;

        if (file && stream_add_file(s, file) < 0)
            return -ENOMEM;
    }
    for (size_t i = 0; i < s->nfiles; i++) {
        for (const struct proto_file *const *f = s->files[i].file->imports; *f; f++) {
            if (stream_add_file(s, *f) < 0)
                return -ENOMEM;
        }
    }
    return 0;
}

static struct reflection_file *
stream_find_file(struct reflection_stream *s, const struct proto_file *file)
{
    for (size_t i = 0; i < s->nfiles; i++) {
        if (s->files[i].file == file)
            return &s->files[i];
    }
    return NULL;
}

static void
stream_end(struct reflection_stream *s, enum rpc_code code, const char *text)
{
    struct rpc_server_call *call = s->call;

    stream_free(s);
    rpc_server_call_fail(call, code, "%s", text);
}

static int
stream_send(struct reflection_stream *s, const request_t *request, response_t *response)
{
    response->valid_host = request->host;
    response->original_request = (request_t *)(uintptr_t)request; /* packed only */
    return rpc_server_call_send(s->call, &response->base, NULL, 0);
}

static int
stream_refuse(struct reflection_stream *s, const request_t *request, enum rpc_code code,
              const char *text)
{
    Grpc__Reflection__V1__ErrorResponse error;
    response_t response;

    grpc__reflection__v1__server_reflection_response__init(&response);
    grpc__reflection__v1__error_response__init(&error);
    error.error_code = (int32_t)code;
    error.error_message = (char *)(uintptr_t)text;
    response.message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE;
    response.error_response = &error;
    return stream_send(s, request, &response);
}

/* A file, and of what it imports all that this stream has not had yet. The file itself
 * comes first, and always: whoever asks twice gets two answers. */
static size_t
stream_gather(struct reflection_stream *s, const struct proto_file *file,
              const struct proto_file **queue)
{
    size_t n = 0;

    queue[n++] = file;
    stream_find_file(s, file)->sent = true;
    for (size_t i = 0; i < n; i++) {
        for (const struct proto_file *const *f = queue[i]->imports; *f; f++) {
            struct reflection_file *import = stream_find_file(s, *f);

            if (!import->sent)
                queue[n++] = *f;
            import->sent = true;
        }
    }
    return n;
}

static int
stream_send_file(struct reflection_stream *s, const request_t *request,
                 const struct proto_file *file)
{
    VMT_CLEANUP(vmt_freep)
    const struct proto_file **queue = calloc(s->nfiles, sizeof(struct proto_file *));
    VMT_CLEANUP(vmt_freep)
    ProtobufCBinaryData *data = calloc(s->nfiles, sizeof(*data));
    Grpc__Reflection__V1__FileDescriptorResponse files;
    response_t response;

    if (!queue || !data)
        return -ENOMEM;
    grpc__reflection__v1__server_reflection_response__init(&response);
    grpc__reflection__v1__file_descriptor_response__init(&files);
    files.n_file_descriptor_proto = stream_gather(s, file, queue);
    for (size_t i = 0; i < files.n_file_descriptor_proto; i++)
        data[i] =
            (ProtobufCBinaryData){queue[i]->len, (uint8_t *)(uintptr_t)queue[i]->bytes};
    files.file_descriptor_proto = data;
    response.message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE;
    response.file_descriptor_response = &files;
    return stream_send(s, request, &response);
}

static int
answer_filename(struct reflection_stream *s, const request_t *request)
{
    for (size_t i = 0; i < s->nfiles; i++) {
        if (strcmp(s->files[i].file->name, request->file_by_filename) == 0)
            return stream_send_file(s, request, s->files[i].file);
    }
    return stream_refuse(s, request, RPC_NOT_FOUND, "file not found");
}

static int
answer_symbol(struct reflection_stream *s, const request_t *request)
{
    for (size_t i = 0; i < s->nfiles; i++) {
        if (descriptor_find(s->files[i].file, request->file_containing_symbol))
            return stream_send_file(s, request, s->files[i].file);
    }
    return stream_refuse(s, request, RPC_NOT_FOUND, "symbol not found");
}

static int
answer_extension(struct reflection_stream *s, const request_t *request)
{
    const Grpc__Reflection__V1__ExtensionRequest *e = request->file_containing_extension;

    for (size_t i = 0; i < s->nfiles; i++) {
        if (descriptor_extends(s->files[i].file, e->containing_type, e->extension_number))
            return stream_send_file(s, request, s->files[i].file);
    }
    return stream_refuse(s, request, RPC_NOT_FOUND, "extension not found");
}

static bool
stream_has_message(const struct reflection_stream *s, const char *type)
{
    for (size_t i = 0; i < s->nfiles; i++) {
        if (descriptor_find(s->files[i].file, type) == DESCRIPTOR_MESSAGE)
            return true;
    }
    return false;
}

/* Write up to max numbers. Returns how many there are. */
static size_t
stream_extensions(const struct reflection_stream *s, const char *type, int32_t *numbers,
                  size_t max)
{
    size_t n = 0;

    for (size_t i = 0; i < s->nfiles; i++)
        n += descriptor_extensions(s->files[i].file, type, n < max ? numbers + n : NULL,
                                   n < max ? max - n : 0);
    return n;
}

static int
answer_extension_numbers(struct reflection_stream *s, const request_t *request)
{
    VMT_CLEANUP(vmt_freep) int32_t *numbers = NULL;
    Grpc__Reflection__V1__ExtensionNumberResponse extensions;
    char *type = request->all_extension_numbers_of_type;
    response_t response;
    size_t n;

    if (!stream_has_message(s, type))
        return stream_refuse(s, request, RPC_NOT_FOUND, "type not found");
    n = stream_extensions(s, type, NULL, 0);
    numbers = calloc(n ? n : 1, sizeof(*numbers));
    if (!numbers)
        return -ENOMEM;
    grpc__reflection__v1__server_reflection_response__init(&response);
    grpc__reflection__v1__extension_number_response__init(&extensions);
    extensions.base_type_name = type;
    extensions.n_extension_number = stream_extensions(s, type, numbers, n);
    extensions.extension_number = numbers;
    response.message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ALL_EXTENSION_NUMBERS_RESPONSE;
    response.all_extension_numbers_response = &extensions;
    return stream_send(s, request, &response);
}

static int
answer_services(struct reflection_stream *s, const request_t *request)
{
    VMT_CLEANUP(vmt_freep) Grpc__Reflection__V1__ServiceResponse *services = NULL;
    VMT_CLEANUP(vmt_freep) Grpc__Reflection__V1__ServiceResponse **pointers = NULL;
    Grpc__Reflection__V1__ListServiceResponse list;
    response_t response;
    size_t n = 0;

    VMT_LIST_FOREACH(node, next, &s->server->services)
    n++;
    assert(n > 0); /* at least our own */
    services = calloc(n, sizeof(*services));
    pointers = calloc(n, sizeof(Grpc__Reflection__V1__ServiceResponse *));
    if (!services || !pointers)
        return -ENOMEM;
    n = 0;
    VMT_LIST_FOREACH(node, next, &s->server->services)
    {
        const char *name =
            VMT_CONTAINER_OF(node, struct server_service, node)->service->name;

        grpc__reflection__v1__service_response__init(&services[n]);
        services[n].name = (char *)(uintptr_t)name; /* packed only */
        pointers[n] = &services[n];
        n++;
    }
    grpc__reflection__v1__server_reflection_response__init(&response);
    grpc__reflection__v1__list_service_response__init(&list);
    list.service = pointers;
    list.n_service = n;
    response.message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE;
    response.list_services_response = &list;
    return stream_send(s, request, &response);
}

static const struct {
    Grpc__Reflection__V1__ServerReflectionRequest__MessageRequestCase question;
    int (*answer)(struct reflection_stream *s, const request_t *request);
} answers[] = {
    {GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME,
     answer_filename},
    {GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL,
     answer_symbol},
    {GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_EXTENSION,
     answer_extension},
    {GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_ALL_EXTENSION_NUMBERS_OF_TYPE,
     answer_extension_numbers},
    {GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES,
     answer_services},
};

static int
stream_answer(struct reflection_stream *s, const request_t *request)
{
    for (size_t i = 0; i < VMT_ARRAY_SIZE(answers); i++) {
        if (answers[i].question == request->message_request_case)
            return answers[i].answer(s, request);
    }
    return stream_refuse(s, request, RPC_UNIMPLEMENTED, "unknown kind of request");
}

static void
stream_on_message(void *arg, const struct ProtobufCMessage *message)
{
    struct reflection_stream *s = arg;

    if (protobuf_c_message_get_packed_size(message) > REQUEST_MAX)
        stream_end(s, RPC_INVALID_ARGUMENT, "the request is too long");
    /* -EPIPE: the client is gone, and the cancel callback is on its way. */
    else if (stream_answer(s, (const request_t *)message) == -ENOMEM)
        stream_end(s, RPC_RESOURCE_EXHAUSTED, "out of memory");
    else if (rpc_server_call_queued(s->call) > QUEUED_HIGH)
        rpc_server_call_pause(s->call, true);
}

static void
stream_on_drain(void *arg)
{
    rpc_server_call_pause(((struct reflection_stream *)arg)->call, false);
}

static void
stream_on_half_close(void *arg)
{
    stream_end(arg, RPC_OK, "");
}

static void
stream_on_cancel(void *arg)
{
    stream_free(arg);
}

static bool
is_full_for(const struct rpc_reflection *reflection, const struct server_conn *conn)
{
    size_t n = 0;

    VMT_LIST_FOREACH(node, next, &reflection->streams)
    n += VMT_CONTAINER_OF(node, struct reflection_stream, node)->call->conn == conn;
    return n >= STREAMS_MAX;
}

static void
handle_info(void *ctx, struct rpc_server_call *call,
            const struct ProtobufCMessage *message)
{
    static const struct rpc_server_receiver receiver = {stream_on_message,
                                                        stream_on_half_close};
    VMT_CLEANUP(stream_freep) struct reflection_stream *s = NULL;
    struct rpc_reflection *reflection = ctx;

    (void)message;
    if (is_full_for(reflection, call->conn)) {
        rpc_server_call_fail(call, RPC_RESOURCE_EXHAUSTED,
                             "a connection may have %u such calls", STREAMS_MAX);
        return;
    }
    s = calloc(1, sizeof(*s));
    if (s)
        s->server = reflection->server;
    if (!s || stream_collect(s) < 0) {
        rpc_server_call_fail(call, RPC_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    s->call = call;
    vmt_list_append(&reflection->streams, &s->node);
    rpc_server_call_on_cancel(call, stream_on_cancel, s);
    rpc_server_call_on_drain(call, stream_on_drain, s);
    rpc_server_call_receive(call, &receiver, vmt_take_ptr(&s));
}

/* v1alpha has the same messages under other names: on the wire there is no difference. */
static const struct rpc_server_method methods[] = {
    {.name = "ServerReflectionInfo",
     .request = &grpc__reflection__v1__server_reflection_request__descriptor,
     .handle = handle_info,
     .server_streams = true,
     .client_streams = true},
};

static const struct rpc_server_service services[] = {
    {.name = "grpc.reflection.v1.ServerReflection",
     .methods = methods,
     .nmethods = VMT_ARRAY_SIZE(methods),
     .file = &proto_file_grpc_reflection_v1_reflection},
    {.name = "grpc.reflection.v1alpha.ServerReflection",
     .methods = methods,
     .nmethods = VMT_ARRAY_SIZE(methods),
     .file = &proto_file_grpc_reflection_v1alpha_reflection},
};

int
rpc_reflection_add(struct rpc_server *server, struct vmt_err *err)
{
    struct rpc_reflection *reflection;
    int r = 0;

    if (server->reflection)
        return vmt_err_set(err, EEXIST, "add service %s", services[0].name);
    reflection = calloc(1, sizeof(*reflection));
    if (!reflection)
        return vmt_err_set(err, ENOMEM, "add service %s", services[0].name);
    reflection->server = server;
    vmt_list_init(&reflection->streams);
    server->reflection = reflection; /* both rows, or one and a server that is freed */
    for (size_t i = 0; i < VMT_ARRAY_SIZE(services) && r == 0; i++)
        r = rpc_server_add(server, &services[i], reflection, err);
    return r;
}

int
rpc_server_add_standard(struct rpc_server *server, struct vmt_err *err)
{
    int r = rpc_health_add(server, err);

    return r < 0 ? r : rpc_reflection_add(server, err);
}
