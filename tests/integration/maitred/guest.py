# SPDX-License-Identifier: BSD-3-Clause
"""A real guest around maitred: a small root of busybox, QEMU without KVM, vm_vsock as transport,
and stock gRPC on both sides."""
import concurrent.futures
import os
import pathlib
import queue
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time

SKIP = 77
PATIENCE = 90  # seconds for anything in a guest under TCG on a loaded machine
CID = 77

SOURCE = pathlib.Path(os.environ.get("VMT_SOURCE", pathlib.Path(__file__).parents[3]))
BIN = pathlib.Path(os.environ.get("VMT_BIN", SOURCE / "build/ci/bin"))
MAITRED = pathlib.Path(os.environ.get("VMT_TEST_MAITRED", SOURCE / "build/guest/bin/maitred"))

FIRST = ["virtio_pci", "virtio_blk", "squashfs", "overlay", "vmw_vsock_virtio_transport"]
LATE = ["virtio_net", "9p", "9pnet_fd", "button", "evdev", "virtio_rng"]
IN_ROOT = ["i6300esb", "dummy", "ext4", "vfat", "crc32c_generic", "vsock_loopback"]


def run_tests(tests):
    """Run each of the functions, or those that the command line names, in a folder of its own
    with an initrd."""
    for test in tests:
        if sys.argv[1:] and test.__name__ not in sys.argv[1:]:
            continue
        start = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="vmt-maitred-") as top:
            make_initrd(f"{top}/initrd")
            test(top)
        print(f"ok {test.__name__} ({time.monotonic() - start:.1f} s)", flush=True)


def skip(what):
    print(f"skipped: {what}")
    sys.exit(SKIP)


def need(condition, what):
    if not condition:
        skip(what)


def check_needs():
    for name in ("VMT_TEST_KERNEL", "VMT_TEST_MODULES"):
        need(os.environ.get(name), f"{name} is unset")
        need(os.path.exists(os.environ[name]), f"{os.environ[name]} does not exist")
    for tool in ("qemu-system-x86_64", "mksquashfs", "busybox", "/usr/sbin/mke2fs"):
        need(shutil.which(tool), f"{tool} is not installed")
    need(MAITRED.exists(), f"{MAITRED} is not built: cmake --preset guest")


class Modules:
    def __init__(self):
        self.top = pathlib.Path(os.environ["VMT_TEST_MODULES"])
        self.release = self.top.name
        self.deps = {}
        for line in (self.top / "modules.dep").read_text().splitlines():
            path, _, needed = line.partition(":")
            self.deps[path] = needed.split()
        self.by_name = {pathlib.PurePath(p).name[:-3].replace("-", "_"): p for p in self.deps}

    def resolve(self, names, seen):
        """Paths in load order, without those seen before; built-in ones are nowhere."""
        found = []
        for name in names:
            path = self.by_name.get(name)
            for each in ([*reversed(self.deps[path]), path] if path else []):
                if each not in seen:
                    seen.add(each)
                    found.append(each)
        return found


def cpio(entries, out):
    """Write an uncompressed newc archive of (name, mode, bytes)."""
    with open(out, "wb") as f:
        for ino, (name, mode, data) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
            fields = [ino, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
            head = "070701" + "".join(f"{v:08x}" for v in fields)
            for part in (head.encode() + name.encode() + b"\0", data):
                f.write(part + b"\0" * (-len(part) % 4))


SANITIZED = """#!/busybox sh
/busybox mkdir -p /proc /dev
/busybox mount -t proc proc /proc
/busybox mount -t devtmpfs dev /dev
export ASAN_OPTIONS=quarantine_size_mb=4:detect_leaks=0:handle_segv=0:handle_abort=0:use_sigaltstack=0
export UBSAN_OPTIONS=print_stacktrace=1
exec /maitred </dev/console >/dev/console 2>&1
"""


def is_static(program):
    return subprocess.run(["ldd", program], check=False, capture_output=True).returncode != 0


def sanitized_init():
    """With its libraries; AddressSanitizer reads /proc before main. Bad memory ends it, which is a
    panic."""
    files = {"init": SANITIZED.encode(), "busybox": pathlib.Path(shutil.which("busybox")).read_bytes(),
             **with_libraries(MAITRED, "maitred")}
    folders = sorted({str(p) for n in files for p in pathlib.PurePath(n).parents} - {"."})
    return [*((n, stat.S_IFDIR | 0o755, b"") for n in folders if n != "lib"),
            *((n, stat.S_IFREG | 0o755, data) for n, data in files.items())]


def make_initrd(out, first=tuple(FIRST)):
    modules = Modules()
    seen = set()
    first, late = modules.resolve(first, seen), modules.resolve(LATE, seen)
    folder, program = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o755
    entries = [(n, folder, b"") for n in ("dev", "proc", "sys", "lib", "lib/modules")]
    for list_name, paths in (("load.list", first), ("late.list", late)):
        names = "".join(pathlib.PurePath(p).name + "\n" for p in paths)
        entries.append((f"lib/modules/{list_name}", stat.S_IFREG | 0o644, names.encode()))
    for path in first + late:
        entries.append((f"lib/modules/{pathlib.PurePath(path).name}", stat.S_IFREG | 0o644,
                        (modules.top / path).read_bytes()))
    if is_static(MAITRED):
        entries.append(("init", program, MAITRED.read_bytes()))
    else:
        entries += sanitized_init()
    cpio(entries, out)


def make_root(out, files, without=(), more_modules=()):
    """A squashfs with busybox, the modules of IN_ROOT, and files: {path: text or bytes}, of which
    programs are executable; without names applets that busybox shall not play."""
    modules = Modules()
    with tempfile.TemporaryDirectory() as tmp:
        top = pathlib.Path(tmp) / "root"
        for name in ("bin", "dev", "proc", "sys", "run", "tmp", "etc", "mnt", "usr/bin"):
            (top / name).mkdir(parents=True, exist_ok=True)
        shutil.copy(shutil.which("busybox"), top / "bin/busybox")
        applets = subprocess.run(["busybox", "--list"], capture_output=True, text=True,
                                 check=True).stdout.split()
        for applet in applets:
            if applet not in ("busybox", *without):
                (top / "bin" / applet).symlink_to("busybox")
        target = top / "lib/modules" / modules.release
        for path in modules.resolve([*IN_ROOT, *more_modules], set()):
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(modules.top / path, target / path)
        for name in ("modules.dep", "modules.alias", "modules.symbols", "modules.dep.bin",
                     "modules.alias.bin", "modules.symbols.bin", "modules.builtin.bin",
                     "modules.builtin.alias.bin", "modules.softdep"):
            shutil.copy(modules.top / name, target / name)
        (top / "sbin").mkdir()  # ext4 asks for its checksum by alias
        (top / "sbin/modprobe").symlink_to("../bin/busybox")
        files = {"usr/lib/vm_tools/vshd": "#!/bin/sh\nexec sleep 100000\n", **files}
        for name, text in files.items():
            path = top / name
            path.parent.mkdir(parents=True, exist_ok=True)
            data = text if isinstance(text, bytes) else text.encode()
            path.write_bytes(data)
            path.chmod(0o755 if data.startswith((b"#!", b"\x7fELF")) else 0o644)
        subprocess.run(["mksquashfs", top, out, "-all-root", "-noappend", "-quiet",
                        "-no-progress"], check=True, stdout=subprocess.DEVNULL)


def with_libraries(program, name):
    """A program of this machine and the libraries that it wants, as files for make_root."""
    out = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    paths = [word for line in out.splitlines() for word in line.split() if word[0] == "/"]
    return {name: pathlib.Path(program).read_bytes(),
            **{path.lstrip("/"): pathlib.Path(path).read_bytes() for path in paths}}


class Console(threading.Thread):
    """Collects the serial console and lets others wait for words on it."""

    def __init__(self, pipe):
        super().__init__(daemon=True)
        self.pipe = pipe
        self.text = ""
        self.changed = threading.Condition()
        self.ended = False
        self.start()

    def run(self):
        while True:
            data = os.read(self.pipe.fileno(), 65536)
            with self.changed:
                self.text += data.decode(errors="replace").replace("\r", "")
                self.ended = not data
                self.changed.notify_all()
            if not data:
                return

    def wait(self, words, timeout=PATIENCE):
        with self.changed:
            found = self.changed.wait_for(lambda: words in self.text or self.ended, timeout)
            if not found or words not in self.text:
                raise AssertionError(f"no {words!r} on the console:\n{self.text}")


class Qemu:
    """One machine. Use as a context manager; nothing of it is left behind."""

    def __init__(self, top, append, root=None, extra=()):
        self.args = ["qemu-system-x86_64", "-M", "q35", "-accel", "tcg", "-cpu", "max",
                     "-m", "384", "-nodefaults", "-no-user-config", "-display", "none",
                     "-serial", "stdio", "-no-reboot", "-action", "panic=shutdown",
                     "-kernel", os.environ["VMT_TEST_KERNEL"], "-initrd", f"{top}/initrd",
                     "-append", "console=ttyS0 panic=-1 no_timer_check quiet net.ifnames=0 " +
                     append]
        if root:
            self.args += ["-drive", f"file={root},format=raw,if=virtio,readonly=on"]
        self.args += extra
        self.process = None
        self.console = None

    def __enter__(self):
        self.process = subprocess.Popen(self.args, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.console = Console(self.process.stdout)
        return self

    def wait_off(self, timeout=PATIENCE):
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the machine stays on:\n{self.console.text}") from None
        self.console.join(10)
        return code

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.console.join(10)
        self.process.stdout.close()


def listen(path):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    s.bind(str(path))
    s.listen(16)
    return s


def pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    for s, how in ((sink, socket.SHUT_WR), (source, socket.SHUT_RD)):
        try:
            s.shutdown(how)
        except OSError:
            pass


def connect_guest(folder, port):
    """A stream to a port of the guest, by the hybrid convention."""
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    s.settimeout(PATIENCE)
    s.connect(f"{folder}/vsock")
    s.sendall(f"CONNECT {port}\n".encode())
    answer = b""
    while not answer.endswith(b"\n"):
        byte = s.recv(1)
        if not byte:
            raise ConnectionError(f"the guest refused port {port}")
        answer += byte
    assert answer.startswith(b"OK "), answer
    s.settimeout(None)
    return s


class Proxy(threading.Thread):
    """Lets a stock gRPC client, which knows plain unix sockets only, reach the guest."""

    def __init__(self, folder, port):
        super().__init__(daemon=True)
        self.folder, self.port = folder, port
        self.path = f"{folder}/proxy_{port}"
        self.socket = listen(self.path)
        self.start()

    def run(self):
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            try:
                guest = connect_guest(self.folder, self.port)
            except OSError:
                client.close()
                continue
            for a, b in ((client, guest), (guest, client)):
                threading.Thread(target=pump, args=(a, b), daemon=True).start()

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


def load_grpc(folder):
    """Stock gRPC and the messages, made from the .proto files of the tree."""
    try:
        import grpc  # pylint: disable=import-outside-toplevel
        from grpc_tools import protoc  # pylint: disable=import-outside-toplevel
    except ImportError:
        skip("python3-grpcio and python3-grpc-tools are not installed")
    names = ("common", "vm_crash", "vm_guest", "vm_host", "vmt_agent", "vmt_job", "vmt_net")
    out = pathlib.Path(folder) / "py"
    out.mkdir()
    args = ["protoc", f"-I{SOURCE}/proto", "-I/usr/include", f"--python_out={out}",
            f"--grpc_python_out={out}", *[f"{SOURCE}/proto/{n}.proto" for n in names]]
    assert protoc.main(args) == 0
    sys.path.insert(0, str(out))
    loaded = {n: __import__(n + "_pb2") for n in names}
    stubs = {n: __import__(n + "_pb2_grpc") for n in names}
    return grpc, loaded, stubs


class Guest(Qemu):
    """A machine with a vsock device, a host that takes VmReady and failure reports, and stubs for
    its agent."""

    def __init__(self, top, append="", root=None, extra=(), take_ready=True, cid=CID, plug=False):
        """With plug the device is not there at first: the test plugs it in from self.vhost."""
        self.top = pathlib.Path(top)
        self.cid = cid
        self.folder = self.top / "vm"
        self.folder.mkdir()
        self.take_ready = take_ready
        self.refuse_ready = False
        self.on_ready = lambda: None  # runs before VmReady is answered
        self.ready = queue.Queue()
        self.failures = []
        self.events = queue.Queue()  # what the guest reported of itself, if take_events
        self.take_events = True
        self.vhost = f"{self.folder}/vhost"
        device = ["-object", "memory-backend-memfd,id=mem,size=384M,share=on",
                  "-machine", "memory-backend=mem"]
        if not plug:
            device += ["-chardev", f"socket,id=vs,path={self.vhost}",
                       "-device", "vhost-user-vsock-pci,chardev=vs"]
        super().__init__(top, f"root=/dev/vda rootfstype=squashfs ro {append}", root,
                         [*device, *extra])
        self.grpc, self.pb, self.stub_modules = load_grpc(top)
        self.vsock = self.server = self.proxy = self.channel = None

    def serve_host(self):
        guest = self

        class Listener(self.stub_modules["vm_host"].StartupListenerServicer):
            def VmReady(self, request, context):
                guest.on_ready()
                guest.ready.put(time.monotonic())
                if guest.refuse_ready:
                    context.abort(guest.grpc.StatusCode.FAILED_PRECONDITION, "not waiting")
                return guest.pb["common"].EmptyMessage()

        class Crashes(self.stub_modules["vm_crash"].CrashListenerServicer):
            def SendFailureReport(self, request, context):
                guest.failures.append(request.failed_process)
                return guest.pb["common"].EmptyMessage()

        class Events(self.stub_modules["vmt_agent"].GuestListenerServicer):
            def ReportEvent(self, request, context):
                guest.events.put(request)
                return guest.pb["common"].EmptyMessage()

        pool = concurrent.futures.ThreadPoolExecutor(4)
        self.server = self.grpc.server(pool)
        self.stub_modules["vm_host"].add_StartupListenerServicer_to_server(Listener(),
                                                                           self.server)
        self.stub_modules["vm_crash"].add_CrashListenerServicer_to_server(Crashes(),
                                                                          self.server)
        if self.take_events:
            self.stub_modules["vmt_agent"].add_GuestListenerServicer_to_server(Events(),
                                                                               self.server)
        for port in (7777, 7779):
            self.server.add_insecure_port(f"unix:{self.folder}/vsock_{port}")
        self.server.start()

    def __enter__(self):
        sockets = [listen(self.folder / name) for name in ("vhost", "vsock")]
        fds = [s.fileno() for s in sockets]
        self.vsock = subprocess.Popen(
            [BIN / "vm_vsock", f"--guest-cid={self.cid}", f"--vhost-fd={fds[0]}",
             f"--vsock-fd={fds[1]}", f"--uds-dir={self.folder}", "--log-level=warning"],
            pass_fds=fds)
        for s in sockets:
            s.close()
        if self.take_ready:
            self.serve_host()
        super().__enter__()
        self.proxy = Proxy(self.folder, 8888)
        self.channel = self.grpc.insecure_channel(f"unix:{self.proxy.path}")
        self.agent = self.stub_modules["vm_guest"].MaitredStub(self.channel)
        self.report = self.stub_modules["vmt_agent"].AgentStub(self.channel)
        return self

    def wait_ready(self):
        try:
            self.ready.get(timeout=PATIENCE)
        except queue.Empty:
            raise AssertionError(f"no VmReady:\n{self.console.text}") from None
        self.console.wait("ready +")
        with self.console.changed:  # the rest of the line, so that it mixes with nothing
            self.console.changed.wait_for(lambda: self.console.text.endswith("\n"), PATIENCE)

    def call(self, method, request, code=None):
        """Call and return the reply; with code, expect that status and return its text."""
        try:
            reply = getattr(self.agent, method)(request, timeout=PATIENCE)
        except self.grpc.RpcError as e:
            if code is None or e.code() != getattr(self.grpc.StatusCode, code):
                raise AssertionError(f"{method}: {e}\n{self.console.text[-2000:]}") from e
            return e.details()
        assert code is None, f"{method} succeeded: {reply}"
        return reply

    def run(self, *argv, env=None):
        """Run a program in the guest and wait: (status, code)."""
        request = self.pb["vm_guest"].LaunchProcessRequest(argv=argv, wait_for_exit=True,
                                                           env=env or {})
        reply = self.call("LaunchProcess", request)
        return reply.status, reply.code

    def sh(self, script):
        """Run a shell script; it must succeed. Its output comes back by the console."""
        mark = f"mark-{time.monotonic_ns()}"
        before = len(self.console.text)
        request = self.pb["vm_guest"].LaunchProcessRequest(
            argv=["/bin/sh", "-c", f"({script}); echo {mark} $?"], wait_for_exit=True,
            use_console=True)
        self.call("LaunchProcess", request)
        self.console.wait(mark)
        with self.console.changed:
            self.console.changed.wait_for(
                lambda: self.console.text.rpartition(mark)[2].endswith("\n"), PATIENCE)
        text, _, status = self.console.text[before:].partition(mark)
        assert status.strip().startswith("0"), f"{script}: {text}{status}"
        return text

    def __exit__(self, *args):
        super().__exit__(*args)
        self.channel.close()
        self.proxy.close()
        if self.server:
            self.server.stop(None).wait()
        self.vsock.send_signal(signal.SIGTERM)
        self.vsock.wait()
        shutil.rmtree(self.folder)
