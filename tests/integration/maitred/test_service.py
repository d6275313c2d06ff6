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


def answer_to(uid, path):
    """What comes back to a program of that user which speaks HTTP/2: b"" is hung up on."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setuid(uid)
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        s.settimeout(guest.PATIENCE)
        s.connect(path)
        try:
            s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
            os.write(theirs, s.recv(9))
        except ConnectionError:
            pass
        os._exit(0)
    os.close(theirs)
    os.waitpid(pid, 0)
    data = os.read(ours, 9)
    os.close(ours)
    return data


def others_are_not_served(path):
    """Not even when they get past the rights of the socket's file."""
    if os.geteuid() != 0:
        return
    assert answer_to(0, path)
    os.chmod(path, 0o666)
    os.chmod(os.path.dirname(path), 0o755)
    assert answer_to(65534, path) == b""


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
            others_are_not_served(path)
            assert before == state()
        finally:
            agent.send_signal(signal.SIGTERM)
            code = agent.wait(guest.PATIENCE)
            manager.close()
        assert code == 0, code
    print("ok")


if __name__ == "__main__":
    main()
