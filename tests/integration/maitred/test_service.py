#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""maitred as a plain service, not PID 1: on this machine, with the sanitizers of the build."""
import os
import signal
import socket
import subprocess
import tempfile
import time

import guest


def state():
    """What a service must not touch."""
    with open("/proc/sys/fs/inotify/max_user_watches", encoding="ascii") as f:
        return socket.gethostname(), f.read()


def main():
    with tempfile.TemporaryDirectory(prefix="vmt-maitred-") as top:
        grpc, pb, stubs = guest.load_grpc(top)
        before = state()
        path = f"{top}/agent"
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        manager.bind(f"{top}/notify")
        manager.settimeout(guest.PATIENCE)
        agent = subprocess.Popen([guest.BIN / "maitred", f"--listen=unix:{path}"],
                                 env={**os.environ, "NOTIFY_SOCKET": f"{top}/notify"})
        try:
            assert manager.recv(100) == b"READY=1"
            channel = grpc.insecure_channel(f"unix:{path}")
            grpc.channel_ready_future(channel).result(timeout=guest.PATIENCE)
            stub = stubs["vm_guest"].MaitredStub(channel)
            empty = pb["common"].EmptyMessage()
            reply = stub.GetKernelVersion(empty, timeout=guest.PATIENCE)
            assert reply.kernel_release == os.uname().release, reply
            launch = pb["vm_guest"].LaunchProcessRequest
            reply = stub.LaunchProcess(launch(argv=["sh", "-c", "exit 7"], wait_for_exit=True),
                                       timeout=guest.PATIENCE)
            assert (reply.status, reply.code) == (1, 7), reply
            # A caller that goes away costs nothing.
            waiting = stub.LaunchProcess.future(launch(argv=["sleep", "0.5"],
                                                       wait_for_exit=True))
            time.sleep(0.1)
            waiting.cancel()
            stub.LaunchProcess(launch(argv=["sleep", "1"], wait_for_exit=True),
                               timeout=guest.PATIENCE)
            report = stubs["vmt_agent"].AgentStub(channel).GetBootReport(
                pb["vmt_agent"].BootReportRequest(), timeout=guest.PATIENCE)
            assert not report.ready_acknowledged and not report.degraded, report
            assert os.stat(path).st_mode & 0o777 == 0o600
            assert before == state()
        finally:
            agent.send_signal(signal.SIGTERM)
            code = agent.wait(guest.PATIENCE)
            manager.close()
        assert code == 0, code
    print("ok")


if __name__ == "__main__":
    main()
