/* SPDX-License-Identifier: BSD-3-Clause */
/* bench/rpc_peer.cc - gRPC C++ (callback API) as a server on 127.0.0.1, for bench/rpc.
 * Usage: bench_rpc_peer PORT; runs until it is killed. */
#include <iostream>
#include <memory>
#include <string>

#include <grpcpp/grpcpp.h>

#include "echo.grpc.pb.h"

class Echo final : public vmt::bench::Echo::CallbackService
{
    grpc::ServerUnaryReactor *Unary(grpc::CallbackServerContext *context,
                                    const vmt::bench::Payload *request,
                                    vmt::bench::Payload *reply) override
    {
        grpc::ServerUnaryReactor *reactor = context->DefaultReactor();

        reply->set_data(request->data());
        reactor->Finish(grpc::Status::OK);
        return reactor;
    }
};

int
main(int argc, char **argv)
{
    Echo service;
    grpc::ServerBuilder builder;
    std::unique_ptr<grpc::Server> server;
    int bound = 0;

    if (argc != 2) {
        std::cerr << "usage: " << argv[0] << " PORT\n";
        return 1;
    }
    builder.AddListeningPort(std::string("127.0.0.1:") + argv[1],
                             grpc::InsecureServerCredentials(), &bound);
    builder.RegisterService(&service);
    server = builder.BuildAndStart();
    if (!server || !bound) {
        std::cerr << argv[0] << ": cannot listen on port " << argv[1] << "\n";
        return 1;
    }
    server->Wait();
    return 0;
}
