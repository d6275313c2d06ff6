# SPDX-License-Identifier: BSD-3-Clause
"""A VM whose whole user land is guest_init.c, with vm_vsock as its socket device.

Needs VMT_BIN (folder of vm_vsock and vsock_guest_init; VMT_VM_VSOCK names another vm_vsock), VMT_TEST_KERNEL (a kernel that QEMU
boots with -kernel) and VMT_TEST_MODULES (its /lib/modules/<release>, uncompressed modules, with
modules.dep).
"""
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

CID = 42
COMMAND_PORT = 1000
DEADLINE = 180  # seconds for anything: emulated, on a loaded machine


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(77)


def program():
    return os.environ.get("VMT_VM_VSOCK", os.path.join(os.environ["VMT_BIN"], "vm_vsock"))


def requirements():
    """The environment, or a skip that names what is missing."""
    for name in ("VMT_TEST_KERNEL", "VMT_TEST_MODULES"):
        if not os.environ.get(name):
            skip(f"{name} is not set")
    if not shutil.which("qemu-system-x86_64"):
        skip("no qemu-system-x86_64")


def pattern(start, length):
    return bytes(((i * 2654435761) >> 13) & 0xFF for i in range(start, start + length))


def module_files(folder, wanted=("virtio_pci", "vmw_vsock_virtio_transport")):
    """Paths of the wanted modules and what they need, in load order; those of virtio-vsock over
    PCI unless told otherwise."""
    deps = {}
    with open(os.path.join(folder, "modules.dep"), encoding="utf-8") as f:
        for line in f:
            path, _, rest = line.partition(":")
            deps[path.strip()] = rest.split()
    by_name = {os.path.basename(p).split(".")[0].replace("-", "_"): p for p in deps}
    order = []

    def visit(path):
        for dep in reversed(deps[path]):
            visit(dep)
        if path not in order:
            order.append(path)

    for name in wanted:
        if name in by_name:
            visit(by_name[name])
    return [os.path.join(folder, p) for p in order]


def cpio(entries):
    """A newc archive of (name, mode, bytes)."""
    out = bytearray()
    for number, (name, mode, data) in enumerate(entries + [("TRAILER!!!", 0, b"")], 1):
        fields = [number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
        out += b"070701" + b"".join(b"%08X" % v for v in fields) + name.encode() + b"\0"
        out += b"\0" * (-len(out) % 4) + data
        out += b"\0" * (-len(out) % 4)
    return bytes(out)


def initrd(init, modules):
    entries = [("dev", 0o40755, b""), ("lib", 0o40755, b""), ("lib/modules", 0o40755, b"")]
    names = []
    for path in module_files(modules):
        names.append(os.path.basename(path))
        with open(path, "rb") as f:
            entries.append((f"lib/modules/{names[-1]}", 0o100644, f.read()))
    entries.append(("lib/modules/load.list", 0o100644, "".join(n + "\n" for n in names).encode()))
    with open(init, "rb") as f:
        entries.append(("init", 0o100755, f.read()))
    return cpio(entries)


def listen(path):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    s.bind(path)
    s.listen(64)
    s.settimeout(DEADLINE)
    return s


class Guest:
    """vm_vsock and QEMU; use as a context manager."""

    init = "vsock_guest_init"

    def __init__(self):
        self.bin = os.environ["VMT_BIN"]
        self.procs = []
        self.program = program()

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="vmt-vsock-")
        self.log_file = open(f"{self.dir}/log", "w+", encoding="utf-8")
        try:
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def start_device(self):
        vhost, vsock = listen(f"{self.dir}/vhost.sock"), listen(f"{self.dir}/vsock")
        self.device = subprocess.Popen(
            [self.program, f"--guest-cid={CID}", f"--vhost-fd={vhost.fileno()}",
             f"--vsock-fd={vsock.fileno()}", f"--uds-dir={self.dir}"],
            pass_fds=[vhost.fileno(), vsock.fileno()], stderr=self.log_file)
        self.procs.append(self.device)
        vhost.close()
        vsock.close()

    def start(self):
        with open(f"{self.dir}/initrd", "wb") as f:
            f.write(initrd(os.path.join(self.bin, self.init), os.environ["VMT_TEST_MODULES"]))
        self.console = f"{self.dir}/console"
        self.start_device()
        self.start_vmm()

    def start_vmm(self):
        if os.path.exists(self.console):
            os.unlink(self.console)
        self.qemu = subprocess.Popen(
            ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none",
             "-name", "guest,debug-threads=on",
             "-M", "q35,memory-backend=mem0", "-accel", "tcg", "-cpu", "max", "-m", "256",
             "-object", "memory-backend-memfd,id=mem0,size=256M,share=on",
             "-kernel", os.environ["VMT_TEST_KERNEL"], "-initrd", f"{self.dir}/initrd",
             "-append", "console=ttyS0 panic=-1 quiet", "-action", "reboot=shutdown,panic=shutdown",
             "-serial", f"file:{self.console}",
             "-chardev", f"socket,id=vs,path={self.dir}/vhost.sock",
             "-device", "vhost-user-vsock-pci,chardev=vs",
             "-qmp", f"unix:{self.dir}/qmp,server=on,wait=off"],
            stdin=subprocess.DEVNULL)
        self.procs.append(self.qemu)
        self.wait_ready()

    def wait_ready(self):
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            if self.qemu.poll() is not None:
                break
            if "guest: listening" in self.tail():
                return
            time.sleep(0.05)
        raise RuntimeError(f"the guest does not come up; console:\n{self.tail()}")

    def tail(self):
        try:
            with open(self.console, "rb") as f:
                return f.read()[-2000:].decode(errors="replace")
        except OSError:
            return "(none)"

    def log(self):
        """What vm_vsock wrote so far."""
        with open(self.log_file.name, encoding="utf-8") as f:
            return f.read()

    def connect(self, port=COMMAND_PORT):
        """A connection to a port of the guest, or None when it is refused."""
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        s.settimeout(DEADLINE)
        s.connect(f"{self.dir}/vsock")
        s.sendall(f"CONNECT {port}\n".encode())
        line = b""
        while not line.endswith(b"\n"):
            got = s.recv(1)
            if not got:
                s.close()
                return None
            line += got
        assert line.startswith(b"OK "), line
        self.host_port = int(line[3:])
        return s

    def command(self, text):
        """Start a command in the guest; the connection to it."""
        s = self.connect()
        assert s, "the guest refused a connection"
        s.sendall(text.encode() + b"\n")
        return s

    def ask(self, text):
        """Run a command; its answer, as numbers."""
        with self.command(text) as s:
            return [int(v) for v in read_all(s).split()]

    def __exit__(self, *exc):
        for p in reversed(self.procs):
            if p.poll() is None:
                p.send_signal(signal.SIGTERM)
                try:
                    p.wait(20)
                except subprocess.TimeoutExpired:
                    p.kill()
                    p.wait()
        sys.stderr.write(self.log())
        self.log_file.close()
        shutil.rmtree(self.dir, ignore_errors=True)


def read_all(s):
    out = bytearray()
    while True:
        data = s.recv(1 << 20)
        if not data:
            return bytes(out)
        out += data
