/* SPDX-License-Identifier: BSD-3-Clause */
/* bench/rpc_client_peer.cc - gRPC C++ (callback API) as a client, for bench/rpc.
 * Arguments and output are those of bench/rpc_client_ours.c. */
#include <time.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "echo.grpc.pb.h"

namespace
{

constexpr size_t data_bytes = 30;

uint64_t
now_ns(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return static_cast<uint64_t>(t.tv_sec) * 1000000000u +
           static_cast<uint64_t>(t.tv_nsec);
}

class Load
{
  public:
    Load(int port, size_t connections, size_t outstanding, size_t calls);
    bool run();
    void report();

  private:
    /* One of the calls in flight, started again as soon as it is over. */
    struct Lane {
        vmt::bench::Echo::Stub *stub;
        std::unique_ptr<grpc::ClientContext> context;
        vmt::bench::Payload request, reply;
        uint64_t began_ns;
    };

    void start(Lane *lane);
    void on_done(Lane *lane, const grpc::Status &status);
    void finish(bool ok);

    std::vector<std::unique_ptr<vmt::bench::Echo::Stub>> stubs;
    std::vector<Lane> lanes;
    std::vector<uint64_t> took_ns;
    size_t warm, calls;
    std::atomic<size_t> started{0}, done{0};
    std::atomic<uint64_t> began_ns{0}, began_cpu_ns{0};
    std::mutex mutex;
    std::condition_variable over_changed;
    bool over = false, good = true;
};

Load::Load(int port, size_t connections, size_t outstanding, size_t calls_wanted)
    : lanes(connections * outstanding), took_ns(calls_wanted),
      warm(calls_wanted / 10 + 1), calls(calls_wanted)
{
    for (size_t i = 0; i < connections; i++) {
        grpc::ChannelArguments args;

        /* Or all channels would share one connection. */
        args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
        stubs.push_back(vmt::bench::Echo::NewStub(
            grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(port),
                                      grpc::InsecureChannelCredentials(), args)));
    }
    for (size_t i = 0; i < lanes.size(); i++) {
        lanes[i].stub = stubs[i % connections].get();
        lanes[i].request.set_data(std::string(data_bytes, '\0'));
    }
}

void
Load::start(Lane *lane)
{
    lane->context = std::make_unique<grpc::ClientContext>();
    lane->context->set_wait_for_ready(true);
    lane->began_ns = now_ns(CLOCK_MONOTONIC);
    lane->stub->async()->Unary(
        lane->context.get(), &lane->request, &lane->reply,
        [this, lane](const grpc::Status &status) { on_done(lane, status); });
}

void
Load::finish(bool ok)
{
    std::lock_guard<std::mutex> lock(mutex);

    over = true;
    good = good && ok;
    over_changed.notify_one();
}

void
Load::on_done(Lane *lane, const grpc::Status &status)
{
    uint64_t now = now_ns(CLOCK_MONOTONIC);
    size_t mine = done.fetch_add(1);

    if (!status.ok() || lane->reply.data().size() != data_bytes) {
        std::cerr << "a call failed: " << status.error_message() << "\n";
        finish(false);
        return;
    }
    if (mine >= warm)
        took_ns[mine - warm] = now - lane->began_ns;
    if (mine + 1 == warm) {
        began_ns = now;
        began_cpu_ns = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    }
    if (started.fetch_add(1) < warm + calls)
        start(lane);
    else if (mine + 1 == warm + calls)
        finish(true);
}

bool
Load::run()
{
    std::unique_lock<std::mutex> lock(mutex);

    started = lanes.size();
    for (auto &lane : lanes)
        start(&lane);
    over_changed.wait(lock, [this] { return over; });
    return good;
}

void
Load::report()
{
    uint64_t took = now_ns(CLOCK_MONOTONIC) - began_ns;
    uint64_t cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID) - began_cpu_ns;

    std::sort(took_ns.begin(), took_ns.end());
    std::printf("%.1f %.2f %.2f %.3f\n",
                static_cast<double>(calls) * 1e9 / static_cast<double>(took),
                static_cast<double>(took_ns[calls / 2]) / 1e3,
                static_cast<double>(took_ns[calls * 99 / 100]) / 1e3,
                static_cast<double>(cpu) / 1e3 / static_cast<double>(calls));
}

} // namespace

int
main(int argc, char **argv)
{
    if (argc != 5) {
        std::cerr << "usage: " << argv[0] << " PORT CONNECTIONS OUTSTANDING CALLS\n";
        return 1;
    }
    Load load(std::atoi(argv[1]), std::strtoul(argv[2], nullptr, 10),
              std::strtoul(argv[3], nullptr, 10), std::strtoul(argv[4], nullptr, 10));
    if (!load.run())
        return 1;
    load.report();
    /* Calls of other lanes are over, too; what is left is taking the library apart. */
    std::fflush(stdout);
    std::_Exit(0);
}
