// SPDX-License-Identifier: BSD-3-Clause
// tests/interop/peer.cc - the interoperability tests on gRPC C++.
//
// interop_peer serve [--cert=FILE --key=FILE]     prints "listening on port N"
// interop_peer call --port=N --test_case=A,B [--ca=FILE --name=NAME]     a line for each case
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <thread>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "grpc/testing/test.grpc.pb.h"

// Of libgrpc; no header that is installed has it.
uint32_t grpc_call_test_only_get_message_flags(grpc_call *call);

namespace grpc::testing
{
// The friend of ServerContext that may look at its call.
class InteropServerContextInspector
{
  public:
    static grpc_call *call(const ServerContext &context)
    {
        return context.call_.call;
    }
};
} // namespace grpc::testing

namespace
{
using namespace grpc::testing;
using grpc::ClientContext;
using grpc::ServerContext;
using grpc::Status;
using grpc::StatusCode;
using Options = std::map<std::string, std::string>;

constexpr int large_request = 271828, large_response = 314159;
const std::vector<int> sizes_sent = {27182, 8, 1828, 45904};
const std::vector<int> sizes_asked = {31415, 9, 2653, 58979};
const std::string echo_initial = "x-grpc-test-echo-initial";
const std::string echo_trailing = "x-grpc-test-echo-trailing-bin";

// How gRPC marks a received message: compressed now, or before it was unpacked.
bool was_compressed(grpc_call *call)
{
    return (grpc_call_test_only_get_message_flags(call) & 0xc0000000u) != 0;
}

std::string read_file(const std::string &path)
{
    std::ifstream in(path);
    std::stringstream text;

    text << in.rdbuf();
    return text.str();
}

// --- server ---

template <typename Request> Status check_compression(ServerContext &context, const Request &r)
{
    bool compressed = was_compressed(InteropServerContextInspector::call(context));

    if (r.has_expect_compressed() && r.expect_compressed().value() != compressed)
        return Status(StatusCode::INVALID_ARGUMENT, "not compressed as it says");
    return Status::OK;
}

void echo_metadata(ServerContext &context)
{
    auto sent = context.client_metadata();

    for (auto [i, end] = sent.equal_range(echo_initial); i != end; ++i)
        context.AddInitialMetadata(echo_initial, {i->second.data(), i->second.size()});
    for (auto [i, end] = sent.equal_range(echo_trailing); i != end; ++i)
        context.AddTrailingMetadata(echo_trailing, {i->second.data(), i->second.size()});
}

class Service final : public TestService::Service
{
    Status EmptyCall(ServerContext *context, const Empty *, Empty *) override
    {
        echo_metadata(*context);
        return Status::OK;
    }

    Status UnaryCall(ServerContext *context, const SimpleRequest *request,
                     SimpleResponse *response) override
    {
        echo_metadata(*context);
        if (auto status = check_compression(*context, *request); !status.ok())
            return status;
        if (request->has_response_status())
            return Status(StatusCode(request->response_status().code()),
                          request->response_status().message());
        if (request->response_compressed().value())
            context->set_compression_algorithm(GRPC_COMPRESS_GZIP);
        response->mutable_payload()->set_body(std::string(request->response_size(), '\0'));
        return Status::OK;
    }

    template <typename Writer>
    static void answer(Writer *writer, const StreamingOutputCallRequest &request)
    {
        for (const auto &p : request.response_parameters()) {
            StreamingOutputCallResponse response;
            grpc::WriteOptions how;

            if (!p.compressed().value())
                how.set_no_compression();
            std::this_thread::sleep_for(std::chrono::microseconds(p.interval_us()));
            response.mutable_payload()->set_body(std::string(p.size(), '\0'));
            writer->Write(response, how);
        }
    }

    Status StreamingOutputCall(ServerContext *context,
                               const StreamingOutputCallRequest *request,
                               grpc::ServerWriter<StreamingOutputCallResponse> *writer) override
    {
        context->set_compression_algorithm(GRPC_COMPRESS_GZIP);
        answer(writer, *request);
        return Status::OK;
    }

    Status StreamingInputCall(ServerContext *context,
                              grpc::ServerReader<StreamingInputCallRequest> *reader,
                              StreamingInputCallResponse *response) override
    {
        StreamingInputCallRequest request;
        size_t sum = 0;

        while (reader->Read(&request)) {
            if (auto status = check_compression(*context, request); !status.ok())
                return status;
            sum += request.payload().body().size();
        }
        response->set_aggregated_payload_size(int(sum));
        return Status::OK;
    }

    Status FullDuplexCall(ServerContext *context,
                          grpc::ServerReaderWriter<StreamingOutputCallResponse,
                                                   StreamingOutputCallRequest> *stream) override
    {
        StreamingOutputCallRequest request;

        echo_metadata(*context);
        while (stream->Read(&request)) {
            if (request.has_response_status())
                return Status(StatusCode(request.response_status().code()),
                              request.response_status().message());
            answer(stream, request);
        }
        return Status::OK;
    }
};

int serve(Options &options)
{
    std::shared_ptr<grpc::ServerCredentials> credentials = grpc::InsecureServerCredentials();
    grpc::ServerBuilder builder;
    Service service;
    int port = 0;

    if (options.count("cert")) {
        grpc::SslServerCredentialsOptions ssl;

        ssl.pem_key_cert_pairs.push_back({read_file(options["key"]), read_file(options["cert"])});
        credentials = grpc::SslServerCredentials(ssl);
    }
    builder.RegisterService(&service);
    builder.AddListeningPort("localhost:0", credentials, &port);
    auto server = builder.BuildAndStart();
    if (!server || port == 0)
        return 1;
    std::printf("listening on port %d\n", port);
    std::fflush(stdout);
    server->Wait(); // until the signal that ends the process
    return 0;
}

// --- client ---

void check(bool ok, const std::string &what)
{
    if (!ok)
        throw std::runtime_error(what);
}

void check_status(const Status &status, StatusCode code, const char *text = nullptr)
{
    check(status.error_code() == code, "status " + std::to_string(status.error_code()) +
                                           ": " + status.error_message());
    check(!text || status.error_message() == text, "text: " + status.error_message());
}

template <typename Response> void check_size(const Response &response, int size)
{
    check(response.payload().body() == std::string(size, '\0'), "payload differs");
}

// A call that does not end by itself fails its case.
void limit(ClientContext &context)
{
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
}

SimpleRequest simple_large()
{
    SimpleRequest request;

    request.set_response_size(large_response);
    request.mutable_payload()->set_body(std::string(large_request, '\0'));
    return request;
}

StreamingOutputCallRequest output_request(int payload, const std::vector<int> &sizes)
{
    StreamingOutputCallRequest request;

    if (payload > 0)
        request.mutable_payload()->set_body(std::string(payload, '\0'));
    for (int size : sizes)
        request.add_response_parameters()->set_size(size);
    return request;
}

StreamingInputCallRequest input_request(int payload)
{
    StreamingInputCallRequest request;

    request.mutable_payload()->set_body(std::string(payload, '\0'));
    return request;
}

struct Client {
    std::shared_ptr<grpc::Channel> channel;
    std::unique_ptr<TestService::Stub> stub = TestService::NewStub(channel);

    void empty_unary()
    {
        ClientContext context;
        Empty reply;

        limit(context);
        check_status(stub->EmptyCall(&context, {}, &reply), StatusCode::OK);
    }

    void large_unary()
    {
        ClientContext context;
        SimpleResponse reply;

        limit(context);
        check_status(stub->UnaryCall(&context, simple_large(), &reply), StatusCode::OK);
        check_size(reply, large_response);
    }

    void compressed_unary_call(bool expect, bool compress, StatusCode code)
    {
        SimpleRequest request = simple_large();
        ClientContext context;
        SimpleResponse reply;

        limit(context);
        request.mutable_expect_compressed()->set_value(expect);
        if (compress)
            context.set_compression_algorithm(GRPC_COMPRESS_GZIP);
        check_status(stub->UnaryCall(&context, request, &reply), code);
        if (code == StatusCode::OK)
            check_size(reply, large_response);
    }

    void client_compressed_unary()
    {
        compressed_unary_call(true, false, StatusCode::INVALID_ARGUMENT);
        compressed_unary_call(true, true, StatusCode::OK);
        compressed_unary_call(false, false, StatusCode::OK);
    }

    void server_compressed_unary()
    {
        for (bool compressed : {true, false}) {
            SimpleRequest request = simple_large();
            ClientContext context;
            SimpleResponse reply;

            limit(context);
            request.mutable_response_compressed()->set_value(compressed);
            check_status(stub->UnaryCall(&context, request, &reply), StatusCode::OK);
            check(was_compressed(context.c_call()) == compressed, "compression differs");
            check_size(reply, large_response);
        }
    }

    void client_streaming()
    {
        ClientContext context;
        StreamingInputCallResponse reply;
        auto stream = stub->StreamingInputCall(&context, &reply);

        for (int size : sizes_sent)
            check(stream->Write(input_request(size)), "write");
        stream->WritesDone();
        check_status(stream->Finish(), StatusCode::OK);
        check(reply.aggregated_payload_size() == 74922, "sum differs");
    }

    void client_compressed_streaming()
    {
        StreamingInputCallRequest request = input_request(27182);
        const auto plain = grpc::WriteOptions().set_no_compression();
        StreamingInputCallResponse reply;
        ClientContext probe, context;

        request.mutable_expect_compressed()->set_value(true);
        probe.set_compression_algorithm(GRPC_COMPRESS_GZIP);
        auto stream = stub->StreamingInputCall(&probe, &reply);
        stream->Write(request, plain);
        stream->WritesDone();
        check_status(stream->Finish(), StatusCode::INVALID_ARGUMENT);

        context.set_compression_algorithm(GRPC_COMPRESS_GZIP);
        stream = stub->StreamingInputCall(&context, &reply);
        check(stream->Write(request), "write");
        request = input_request(45904);
        request.mutable_expect_compressed()->set_value(false);
        check(stream->Write(request, plain), "write");
        stream->WritesDone();
        check_status(stream->Finish(), StatusCode::OK);
        check(reply.aggregated_payload_size() == 73086, "sum differs");
    }

    void server_streaming()
    {
        ClientContext context;
        StreamingOutputCallResponse reply;
        std::vector<size_t> sizes;

        limit(context);
        auto stream = stub->StreamingOutputCall(&context, output_request(0, sizes_asked));
        while (stream->Read(&reply))
            sizes.push_back(reply.payload().body().size());
        check_status(stream->Finish(), StatusCode::OK);
        check(sizes == std::vector<size_t>(sizes_asked.begin(), sizes_asked.end()),
              "sizes differ");
    }

    void server_compressed_streaming()
    {
        StreamingOutputCallRequest request = output_request(0, {31415, 92653});
        StreamingOutputCallResponse reply;
        ClientContext context;

        limit(context);
        request.mutable_response_parameters(0)->mutable_compressed()->set_value(true);
        request.mutable_response_parameters(1)->mutable_compressed()->set_value(false);
        auto stream = stub->StreamingOutputCall(&context, request);
        for (bool compressed : {true, false}) {
            check(stream->Read(&reply), "read");
            check(was_compressed(context.c_call()) == compressed, "compression differs");
            check_size(reply, compressed ? 31415 : 92653);
        }
        check(!stream->Read(&reply), "a third reply");
        check_status(stream->Finish(), StatusCode::OK);
    }

    void ping_pong()
    {
        ClientContext context;
        StreamingOutputCallResponse reply;
        auto stream = stub->FullDuplexCall(&context);

        for (size_t i = 0; i < sizes_sent.size(); i++) {
            check(stream->Write(output_request(sizes_sent[i], {sizes_asked[i]})), "write");
            check(stream->Read(&reply), "read");
            check_size(reply, sizes_asked[i]);
        }
        stream->WritesDone();
        check(!stream->Read(&reply), "a fifth reply");
        check_status(stream->Finish(), StatusCode::OK);
    }

    void empty_stream()
    {
        ClientContext context;
        StreamingOutputCallResponse reply;
        auto stream = stub->FullDuplexCall(&context);

        stream->WritesDone();
        check(!stream->Read(&reply), "a reply");
        check_status(stream->Finish(), StatusCode::OK);
    }

    static void check_metadata(const ClientContext &context)
    {
        auto initial = context.GetServerInitialMetadata();
        auto trailing = context.GetServerTrailingMetadata();
        auto i = initial.find(echo_initial), t = trailing.find(echo_trailing);

        check(i != initial.end() && i->second == "test_initial_metadata_value", "initial");
        check(t != trailing.end() && t->second == "\xab\xab\xab", "trailing");
    }

    void custom_metadata()
    {
        ClientContext unary, duplex;
        SimpleResponse reply;
        StreamingOutputCallResponse response;

        for (ClientContext *context : {&unary, &duplex}) {
            limit(*context);
            context->AddMetadata(echo_initial, "test_initial_metadata_value");
            context->AddMetadata(echo_trailing, "\xab\xab\xab");
        }
        check_status(stub->UnaryCall(&unary, simple_large(), &reply), StatusCode::OK);
        check_metadata(unary);
        auto stream = stub->FullDuplexCall(&duplex);
        stream->Write(output_request(large_request, {large_response}));
        stream->WritesDone();
        check(stream->Read(&response), "read");
        check_size(response, large_response);
        check(!stream->Read(&response), "a second reply");
        check_status(stream->Finish(), StatusCode::OK);
        check_metadata(duplex);
    }

    void status_unary(const char *text)
    {
        ClientContext context;
        SimpleRequest request;
        SimpleResponse reply;

        limit(context);
        request.mutable_response_status()->set_code(StatusCode::UNKNOWN);
        request.mutable_response_status()->set_message(text);
        check_status(stub->UnaryCall(&context, request, &reply), StatusCode::UNKNOWN, text);
    }

    void status_code_and_message()
    {
        const char *text = "test status message";
        ClientContext context;
        StreamingOutputCallRequest request;
        StreamingOutputCallResponse reply;

        status_unary(text);
        limit(context);
        request.mutable_response_status()->set_code(StatusCode::UNKNOWN);
        request.mutable_response_status()->set_message(text);
        auto stream = stub->FullDuplexCall(&context);
        stream->Write(request);
        stream->WritesDone();
        check(!stream->Read(&reply), "a reply");
        check_status(stream->Finish(), StatusCode::UNKNOWN, text);
    }

    void special_status_message()
    {
        status_unary("\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP "
                     "\U0001f608\t\n");
    }

    void unimplemented_method()
    {
        ClientContext context;
        Empty reply;

        limit(context);
        check_status(stub->UnimplementedCall(&context, {}, &reply),
                     StatusCode::UNIMPLEMENTED);
    }

    void unimplemented_service()
    {
        ClientContext context;
        Empty reply;

        limit(context);
        check_status(UnimplementedService::NewStub(channel)->UnimplementedCall(&context, {},
                                                                               &reply),
                     StatusCode::UNIMPLEMENTED);
    }

    void cancel_after_begin()
    {
        ClientContext context;
        StreamingInputCallResponse reply;
        auto stream = stub->StreamingInputCall(&context, &reply);

        context.TryCancel();
        check_status(stream->Finish(), StatusCode::CANCELLED);
    }

    void cancel_after_first_response()
    {
        ClientContext context;
        StreamingOutputCallResponse reply;
        auto stream = stub->FullDuplexCall(&context);

        stream->Write(output_request(27182, {31415}));
        check(stream->Read(&reply), "read");
        check_size(reply, 31415);
        context.TryCancel();
        while (stream->Read(&reply))
            ;
        check_status(stream->Finish(), StatusCode::CANCELLED);
    }

    void timeout_on_sleeping_server()
    {
        ClientContext context;
        StreamingOutputCallResponse reply;

        context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(1));
        auto stream = stub->FullDuplexCall(&context);
        stream->Write(output_request(27182, {}));
        while (stream->Read(&reply))
            ;
        check_status(stream->Finish(), StatusCode::DEADLINE_EXCEEDED);
    }
};

const std::map<std::string, void (Client::*)()> cases = {
    {"empty_unary", &Client::empty_unary},
    {"large_unary", &Client::large_unary},
    {"client_compressed_unary", &Client::client_compressed_unary},
    {"server_compressed_unary", &Client::server_compressed_unary},
    {"client_streaming", &Client::client_streaming},
    {"server_streaming", &Client::server_streaming},
    {"client_compressed_streaming", &Client::client_compressed_streaming},
    {"server_compressed_streaming", &Client::server_compressed_streaming},
    {"ping_pong", &Client::ping_pong},
    {"empty_stream", &Client::empty_stream},
    {"custom_metadata", &Client::custom_metadata},
    {"status_code_and_message", &Client::status_code_and_message},
    {"special_status_message", &Client::special_status_message},
    {"unimplemented_method", &Client::unimplemented_method},
    {"unimplemented_service", &Client::unimplemented_service},
    {"cancel_after_begin", &Client::cancel_after_begin},
    {"cancel_after_first_response", &Client::cancel_after_first_response},
    {"timeout_on_sleeping_server", &Client::timeout_on_sleeping_server},
};

int call(Options &options)
{
    std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
    grpc::ChannelArguments arguments;
    int code = 0;

    if (options.count("ca")) {
        grpc::SslCredentialsOptions ssl;

        ssl.pem_root_certs = read_file(options["ca"]);
        credentials = grpc::SslCredentials(ssl);
        arguments.SetSslTargetNameOverride(options["name"]);
    }
    Client client{
        grpc::CreateCustomChannel("localhost:" + options["port"], credentials, arguments)};
    std::stringstream list(options["test_case"]);
    for (std::string name; std::getline(list, name, ',');) {
        try {
            (client.*cases.at(name))();
            std::printf("ok   %s\n", name.c_str());
        } catch (const std::exception &e) {
            std::printf("FAIL %s: %s\n", name.c_str(), e.what());
            code = 1;
        }
        std::fflush(stdout);
    }
    return code;
}
} // namespace

int main(int argc, char **argv)
{
    Options options;

    for (int i = 2; i < argc; i++) {
        std::string arg(argv[i]);
        size_t equals = arg.find('=');

        if (arg.rfind("--", 0) != 0 || equals == std::string::npos)
            argc = 0;
        else
            options[arg.substr(2, equals - 2)] = arg.substr(equals + 1);
    }
    if (argc > 1 && argv[1] == std::string("serve"))
        return serve(options);
    if (argc > 1 && argv[1] == std::string("call"))
        return call(options);
    std::cerr << "usage: interop_peer serve|call [--OPTION=VALUE]...\n";
    return 2;
}
