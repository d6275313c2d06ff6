/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/rpc/reflection.h"
#include "core/rpc/server_internal.h"
#include "extend.file.h"
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "grpc/reflection/v1alpha/reflection.pb-c.h"
#include "tests/unit/rpc/pair.h"
#include "tests/unit/test.h"

#define V1 "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
#define V1ALPHA "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
#define BASE "vmt.rpctest.more.Base"

#define CASE(name) GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##name
#define ANSWER(name)                                                                     \
    GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##name

typedef Grpc__Reflection__V1__ServerReflectionRequest request_t;
typedef Grpc__Reflection__V1__ServerReflectionResponse response_t;

/* A stream and what came on it, as text. */
struct asked {
    struct rpc_client_call *call;
    char text[600]; /* of the newest answer */
    char host[64];  /* valid_host */
    int question;   /* of original_request */
    size_t messages, bytes, dones;
    struct rpc_status status;
};

static void
say(struct asked *a, const char *text, size_t len)
{
    size_t n = strlen(a->text);

    (void)snprintf(a->text + n, sizeof(a->text) - n, "%.*s ", (int)len, text);
}

static void
say_number(struct asked *a, int32_t number)
{
    char text[16];

    say(a, text, (size_t)snprintf(text, sizeof(text), "%d", number));
}

/* protoc writes the name of a file as its first field. */
static void
say_file(struct asked *a, const ProtobufCBinaryData *file)
{
    assert_true(file->len > 2 && file->data[0] == 0x0a);
    say(a, (const char *)file->data + 2, file->data[1]);
}

static void
on_message(void *arg, const struct ProtobufCMessage *message, const int *fds, size_t nfds)
{
    const response_t *r = (const response_t *)message;
    struct asked *a = arg;

    (void)fds, (void)nfds;
    a->messages++;
    a->bytes += protobuf_c_message_get_packed_size(message);
    a->text[0] = '\0';
    (void)snprintf(a->host, sizeof(a->host), "%s", r->valid_host);
    a->question = (int)r->original_request->message_request_case;
    if (r->message_response_case == ANSWER(FILE_DESCRIPTOR_RESPONSE)) {
        for (size_t i = 0; i < r->file_descriptor_response->n_file_descriptor_proto; i++)
            say_file(a, &r->file_descriptor_response->file_descriptor_proto[i]);
    } else if (r->message_response_case == ANSWER(ALL_EXTENSION_NUMBERS_RESPONSE)) {
        say(a, r->all_extension_numbers_response->base_type_name,
            strlen(r->all_extension_numbers_response->base_type_name));
        for (size_t i = 0; i < r->all_extension_numbers_response->n_extension_number; i++)
            say_number(a, r->all_extension_numbers_response->extension_number[i]);
    } else if (r->message_response_case == ANSWER(LIST_SERVICES_RESPONSE)) {
        for (size_t i = 0; i < r->list_services_response->n_service; i++)
            say(a, r->list_services_response->service[i]->name,
                strlen(r->list_services_response->service[i]->name));
    } else if (r->message_response_case == ANSWER(ERROR_RESPONSE)) {
        say(a, "error", 5);
        say_number(a, r->error_response->error_code);
        assert_true(r->error_response->error_message[0] != '\0');
    }
}

static void
on_done(void *arg, const struct rpc_status *status)
{
    struct asked *a = arg;

    a->dones++;
    a->call = NULL;
    a->status = *status;
}

static const struct rpc_client_handler handler = {.on_message = on_message,
                                                  .on_done = on_done};

static void
open_stream(struct pair *pair, struct asked *a, const char *path)
{
    const struct rpc_client_request request = {
        .path = path,
        .reply = &grpc__reflection__v1__server_reflection_response__descriptor,
        .server_streams = true,
        .client_streams = true,
        .handler = &handler,
        .arg = a};

    memset(a, 0, sizeof(*a));
    assert_int_equal(rpc_client_start(pair->client, &request, NULL, &a->call, NULL), 0);
}

static void
send_request(struct asked *a, int question, const char *text)
{
    char host[] = "here";
    request_t request;

    grpc__reflection__v1__server_reflection_request__init(&request);
    request.host = host;
    request.message_request_case =
        (Grpc__Reflection__V1__ServerReflectionRequest__MessageRequestCase)question;
    request.list_services = (char *)(uintptr_t)text; /* all of a union of strings */
    assert_int_equal(rpc_client_send(a->call, &request.base), 0);
}

static void
ask(struct pair *pair, struct asked *a, int question, const char *text)
{
    size_t before = a->messages;

    send_request(a, question, text);
    wire_settle(&pair->clock, &pair->wire);
    assert_int_equal(a->messages, before + 1);
    assert_string_equal(a->host, "here");
    assert_int_equal(a->question, question);
}

static void
ask_extension(struct pair *pair, struct asked *a, const char *type, int32_t number)
{
    Grpc__Reflection__V1__ExtensionRequest extension;
    request_t request;

    grpc__reflection__v1__extension_request__init(&extension);
    grpc__reflection__v1__server_reflection_request__init(&request);
    extension.containing_type = (char *)(uintptr_t)type;
    extension.extension_number = number;
    request.message_request_case = CASE(FILE_CONTAINING_EXTENSION);
    request.file_containing_extension = &extension;
    assert_int_equal(rpc_client_send(a->call, &request.base), 0);
    wire_settle(&pair->clock, &pair->wire);
}

static const struct rpc_server_service more = {.name = "vmt.rpctest.more.More",
                                               .file = &proto_file_extend};
static const struct rpc_server_service unfiled = {.name = "vmt.rpctest.Unfiled"};

static void
begin(struct pair *pair)
{
    pair_init(pair, NULL);
    assert_int_equal(rpc_server_add_standard(pair->server, NULL), 0);
    assert_int_equal(rpc_server_add(pair->server, &more, NULL, NULL), 0);
    assert_int_equal(rpc_server_add(pair->server, &unfiled, NULL, NULL), 0);
}

static void
services_are_listed_in_both_versions(void **state)
{
    static const char *const paths[] = {V1, V1ALPHA};
    VMT_CLEANUP(pair_done) struct pair pair;
    struct asked a;

    (void)state;
    begin(&pair);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(paths); i++) {
        open_stream(&pair, &a, paths[i]);
        ask(&pair, &a, CASE(LIST_SERVICES), "*");
        assert_string_equal(a.text, "vmt.rpctest.Test grpc.health.v1.Health "
                                    "grpc.reflection.v1.ServerReflection "
                                    "grpc.reflection.v1alpha.ServerReflection "
                                    "vmt.rpctest.more.More vmt.rpctest.Unfiled ");
        rpc_client_half_close(a.call);
        wire_settle(&pair.clock, &pair.wire);
        assert_int_equal(a.dones, 1);
        assert_int_equal(a.status.code, RPC_OK);
    }
}

static void
a_file_comes_with_what_it_imports_once(void **state)
{
    VMT_CLEANUP(pair_done) struct pair pair;
    struct asked a, b;

    (void)state;
    begin(&pair);
    open_stream(&pair, &a, V1);
    ask(&pair, &a, CASE(FILE_BY_FILENAME), "extend.proto");
    assert_string_equal(a.text, "extend.proto test.proto ");
    ask(&pair, &a, CASE(FILE_BY_FILENAME), "extend.proto");
    assert_string_equal(a.text, "extend.proto ");
    ask(&pair, &a, CASE(FILE_BY_FILENAME), "test.proto");
    assert_string_equal(a.text, "test.proto ");
    open_stream(&pair, &b, V1);
    ask(&pair, &b, CASE(FILE_BY_FILENAME), "extend.proto");
    assert_string_equal(b.text, "extend.proto test.proto ");
}

static void
symbols_lead_to_their_files(void **state)
{
    static const struct {
        const char *symbol, *answer;
    } symbols[] = {
        {"vmt.rpctest.Test", "test.proto "},
        {"vmt.rpctest.Test.Echo", "test.proto "},
        {"vmt.rpctest.Request.text", "test.proto "},
        {BASE ".Inner.SOME", "extend.proto "}, /* its import was sent before */
        {"grpc.health.v1.Health", "grpc/health/v1/health.proto "},
        {"grpc.reflection.v1.ServerReflection", "grpc/reflection/v1/reflection.proto "},
        {"grpc.reflection.v1alpha.ErrorResponse",
         "grpc/reflection/v1alpha/reflection.proto "},
        {"vmt.rpctest.Unfiled", "error 5 "},
        {"nothing", "error 5 "},
        {"", "error 5 "},
    };
    VMT_CLEANUP(pair_done) struct pair pair;
    struct asked a;

    (void)state;
    begin(&pair);
    open_stream(&pair, &a, V1ALPHA);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(symbols); i++) {
        ask(&pair, &a, CASE(FILE_CONTAINING_SYMBOL), symbols[i].symbol);
        assert_string_equal(a.text, symbols[i].answer);
    }
    ask(&pair, &a, CASE(FILE_BY_FILENAME), "nothing.proto");
    assert_string_equal(a.text, "error 5 ");
    assert_int_equal(a.dones, 0); /* an error is an answer */
}

static void
extensions_are_found_by_number(void **state)
{
    VMT_CLEANUP(pair_done) struct pair pair;
    struct asked a;

    (void)state;
    begin(&pair);
    open_stream(&pair, &a, V1);
    ask(&pair, &a, CASE(ALL_EXTENSION_NUMBERS_OF_TYPE), BASE);
    assert_string_equal(a.text, BASE " 150 120 ");
    ask(&pair, &a, CASE(ALL_EXTENSION_NUMBERS_OF_TYPE), "vmt.rpctest.Request");
    assert_string_equal(a.text, "vmt.rpctest.Request ");
    ask(&pair, &a, CASE(ALL_EXTENSION_NUMBERS_OF_TYPE), BASE ".Inner.Kind");
    assert_string_equal(a.text, "error 5 ");
    ask_extension(&pair, &a, BASE, 150);
    assert_string_equal(a.text, "extend.proto test.proto ");
    ask_extension(&pair, &a, BASE, 151);
    assert_string_equal(a.text, "error 5 ");
    ask_extension(&pair, &a, "nothing", 150);
    assert_string_equal(a.text, "error 5 ");
}

static void
an_unknown_question_is_unimplemented(void **state)
{
    VMT_CLEANUP(pair_done) struct pair pair;
    struct asked a;

    (void)state;
    begin(&pair);
    open_stream(&pair, &a, V1);
    ask(&pair, &a, CASE(_NOT_SET), "");
    assert_string_equal(a.text, "error 12 ");
}

static void
any_cut_of_the_bytes_gives_the_same(void **state)
{
    (void)state;
    for (size_t chunk = 1; chunk < 40; chunk++) {
        VMT_CLEANUP(pair_done) struct pair pair;
        struct asked a;

        begin(&pair);
        pair.wire.chunk = chunk;
        open_stream(&pair, &a, V1);
        ask(&pair, &a, CASE(FILE_BY_FILENAME), "extend.proto");
        assert_string_equal(a.text, "extend.proto test.proto ");
    }
}

static void
a_request_is_bounded(void **state)
{
    VMT_CLEANUP(pair_done) struct pair pair;
    char name[5000];
    struct asked a;

    (void)state;
    begin(&pair);
    memset(name, 'x', sizeof(name));
    name[4000] = '\0';
    open_stream(&pair, &a, V1);
    ask(&pair, &a, CASE(FILE_CONTAINING_SYMBOL), name);
    assert_string_equal(a.text, "error 5 ");
    name[4000] = 'x';
    name[sizeof(name) - 1] = '\0';
    send_request(&a, CASE(FILE_CONTAINING_SYMBOL), name);
    wire_settle(&pair.clock, &pair.wire);
    assert_int_equal(a.messages, 1);
    assert_int_equal(a.status.code, RPC_INVALID_ARGUMENT);
}

/* Bytes that wait on the server in its one call. */
static size_t
queued(const struct pair *pair)
{
    const struct server_conn *conn =
        VMT_CONTAINER_OF(pair->server->conns.next, struct server_conn, node);

    return VMT_CONTAINER_OF(conn->base.calls.next, struct rpc_call, node)->out.len;
}

/* A client may ask as much as it likes before it reads, and gets every answer. What
 * waits for it meanwhile does not grow. */
static void
answers_that_nobody_reads_are_bounded(void **state)
{
    VMT_CLEANUP(pair_done) struct pair pair;
    struct asked a;

    (void)state;
    begin(&pair);
    open_stream(&pair, &a, V1);
    wire_settle(&pair.clock, &pair.wire);
    pair.wire.stall[1] = true;
    for (int i = 0; i < 20000; i++)
        send_request(&a, CASE(LIST_SERVICES), "");
    rpc_client_half_close(a.call);
    wire_settle(&pair.clock, &pair.wire);
    assert_in_range(queued(&pair), 1, 80 * 1024);
    pair.wire.stall[1] = false;
    wire_settle(&pair.clock, &pair.wire);
    assert_int_equal(a.messages, 20000);
    assert_int_equal(a.dones, 1);
    assert_int_equal(a.status.code, RPC_OK);
}

static void
a_connection_has_so_many_streams(void **state)
{
    VMT_CLEANUP(pair_done) struct pair pair;
    struct asked calls[17];

    (void)state;
    begin(&pair);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(calls); i++)
        open_stream(&pair, &calls[i], V1);
    wire_settle(&pair.clock, &pair.wire);
    assert_int_equal(calls[15].dones, 0);
    assert_int_equal(calls[16].status.code, RPC_RESOURCE_EXHAUSTED);
    rpc_client_cancel(calls[3].call);
    open_stream(&pair, &calls[16], V1ALPHA);
    ask(&pair, &calls[16], CASE(FILE_BY_FILENAME), "test.proto");
}

static void
streams_end_in_every_way(void **state)
{
    VMT_CLEANUP(pair_done) struct pair pair;
    struct asked a, b, c;

    (void)state;
    begin(&pair);
    open_stream(&pair, &a, V1);
    open_stream(&pair, &b, V1);
    open_stream(&pair, &c, V1);
    ask(&pair, &a, CASE(FILE_BY_FILENAME), "test.proto");
    rpc_client_cancel(a.call);
    rpc_client_half_close(b.call);
    wire_settle(&pair.clock, &pair.wire);
    assert_int_equal(b.status.code, RPC_OK);
    rpc_server_free(pair.server); /* with a stream open */
    pair.server = NULL;
    wire_settle(&pair.clock, &pair.wire);
    assert_int_equal(c.status.code, RPC_UNAVAILABLE);
}

static void
a_second_time_is_refused(void **state)
{
    VMT_CLEANUP(pair_done) struct pair pair;

    (void)state;
    begin(&pair);
    assert_int_equal(rpc_reflection_add(pair.server, NULL), -EEXIST);
    assert_int_equal(rpc_server_add_standard(pair.server, NULL), -EEXIST);
}

/* One set of handlers serves both versions. */
static void
assert_same(const ProtobufCMessageDescriptor *a, const ProtobufCMessageDescriptor *b)
{
    assert_int_equal(a->n_fields, b->n_fields);
    for (unsigned i = 0; i < a->n_fields; i++) {
        const ProtobufCFieldDescriptor *x = &a->fields[i], *y = &b->fields[i];

        assert_string_equal(x->name, y->name);
        assert_int_equal(x->id, y->id);
        assert_int_equal(x->label, y->label);
        assert_int_equal(x->type, y->type);
        if (x->type == PROTOBUF_C_TYPE_MESSAGE &&
            x->descriptor != &grpc__reflection__v1__server_reflection_request__descriptor)
            assert_same(x->descriptor, y->descriptor);
    }
}

static void
both_versions_have_the_same_messages(void **state)
{
    (void)state;
    assert_same(&grpc__reflection__v1__server_reflection_request__descriptor,
                &grpc__reflection__v1alpha__server_reflection_request__descriptor);
    assert_same(&grpc__reflection__v1__server_reflection_response__descriptor,
                &grpc__reflection__v1alpha__server_reflection_response__descriptor);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(services_are_listed_in_both_versions),
        cmocka_unit_test(a_file_comes_with_what_it_imports_once),
        cmocka_unit_test(symbols_lead_to_their_files),
        cmocka_unit_test(extensions_are_found_by_number),
        cmocka_unit_test(an_unknown_question_is_unimplemented),
        cmocka_unit_test(any_cut_of_the_bytes_gives_the_same),
        cmocka_unit_test(a_request_is_bounded),
        cmocka_unit_test(answers_that_nobody_reads_are_bounded),
        cmocka_unit_test(a_connection_has_so_many_streams),
        cmocka_unit_test(streams_end_in_every_way),
        cmocka_unit_test(a_second_time_is_refused),
        cmocka_unit_test(both_versions_have_the_same_messages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
