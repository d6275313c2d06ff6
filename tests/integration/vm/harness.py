# SPDX-License-Identifier: BSD-3-Clause
"""A world of its own for tests with real VMs: private XDG folders, the programs under test, and a
count of what they leave behind."""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

SKIP = 77
BIN = pathlib.Path(os.environ.get("VMT_BIN", ""))
SOURCE = pathlib.Path(os.environ.get("VMT_SOURCE", ""))
IMAGE = pathlib.Path(os.environ.get("VMT_TEST_IMAGE", ""))
# A guest under emulation on a loaded machine; never a verdict about speed.
PATIENCE = 120

# What was started in the background, or by nohup, ignores some; its children shall not.
for _sig in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
    if signal.getsignal(_sig) == signal.SIG_IGN:
        signal.signal(_sig, signal.SIG_DFL)


def require():
    """Skip, with a name, what this machine cannot run."""
    if not os.environ.get("VMT_TEST_IMAGE") or not (IMAGE / "manifest.json").exists():
        print("no guest image: VMT_TEST_IMAGE is unset or has no manifest.json (run ./test)")
        sys.exit(SKIP)
    if not shutil.which("qemu-system-x86_64"):
        print("qemu-system-x86 is not installed")
        sys.exit(SKIP)


def eventually(what, check, timeout=PATIENCE):
    """Poll until check() is true; its value is returned."""
    end = time.monotonic() + timeout
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout} s: {what}")
        time.sleep(0.05)


class World:
    """Private folders and whatever runs in them."""

    def __init__(self):
        # Short: unix socket paths have 108 bytes.
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="vmt-", dir="/tmp"))
        self.env = dict(os.environ)
        for name, sub in (("XDG_RUNTIME_DIR", "run"), ("XDG_STATE_HOME", "state"),
                          ("XDG_DATA_HOME", "data"), ("XDG_CACHE_HOME", "cache")):
            (self.root / sub).mkdir(mode=0o700)
            self.env[name] = str(self.root / sub)
        self.env["PATH"] = f"{BIN}:{self.env['PATH']}"
        self.env["ASAN_OPTIONS"] = "detect_leaks=1:log_path=" + str(self.root / "asan")
        self.env["UBSAN_OPTIONS"] = "print_stacktrace=1:log_path=" + str(self.root / "ubsan")
        images = self.root / "data" / "vm_tools" / "images"
        images.mkdir(parents=True)
        (images / "debian").symlink_to(IMAGE)
        self.runtime = self.root / "run" / "vm_tools"

    def vmc(self, *args, check=0, timeout=PATIENCE, stdin=subprocess.DEVNULL, **kw):
        """Run vmc; check is the exit code to insist on, None for any."""
        p = subprocess.run([BIN / "vmc", *args], env=self.env, capture_output=True, text=True,
                           timeout=timeout, stdin=stdin if "input" not in kw else None,
                           check=False, **kw)
        if check is not None and p.returncode != check:
            raise AssertionError(f"vmc {' '.join(map(str, args))}: exit code {p.returncode}, not "
                                 f"{check}\nstdout: {p.stdout}\nstderr: {p.stderr}")
        return p

    def start(self, name, *args, check=0, timeout=PATIENCE, cold=True):
        """Start a VM under emulation, small. A cold one leaves no template behind, nor the VM
        that makes one."""
        return self.vmc("start", "--no-shell", "--accel", "tcg", "--cpus", "1", "--mem", "256",
                        *(["--cold"] if cold else []), *args, name, check=check,
                        timeout=timeout)

    def guest(self, name, script, check=0, shell="sh"):
        """Run a shell script in the guest; its stdout, stripped."""
        return self.vmc("exec", name, "--", shell, "-c", script, check=check).stdout.strip()

    def processes(self, *words):
        """Pids of our processes whose command line holds all words."""
        found = []
        for proc in pathlib.Path("/proc").iterdir():
            if not proc.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                line = (proc / "cmdline").read_bytes().replace(b"\0", b" ").decode(
                    errors="replace")
                env = (proc / "environ").read_bytes()
                if str(self.root).encode() in env and all(w in line for w in words):
                    state = (proc / "stat").read_text().rsplit(")", 1)[1].split()[0]
                    if state != "Z":
                        found.append(int(proc.name))
        return found

    def leftovers(self):
        """What a world without VMs and daemons must not have."""
        left = {}
        left["processes"] = [(p, self._cmdline(p)) for p in self.processes()]
        left["sockets"] = [line.split()[-1]
                           for line in pathlib.Path("/proc/net/unix").read_text().splitlines()
                           if str(self.root) in line]
        left["folders"] = [str(p) for p in self.runtime.glob("vm.*")] \
            if self.runtime.exists() else []
        left["mounts"] = [line for line in pathlib.Path("/proc/self/mountinfo").read_text()
                          .splitlines() if str(self.root) in line]
        return {k: v for k, v in left.items() if v}

    @staticmethod
    def _cmdline(pid):
        with contextlib.suppress(OSError):
            return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(
                errors="replace")[:120]
        return "gone"

    def vm_leftovers(self):
        """The same while the daemon lives on: only what belongs to VMs."""
        left = self.leftovers()
        left["processes"] = [p for p in left.get("processes", [])
                             if "qemu" in p[1] or "vm_vsock" in p[1]]
        left["sockets"] = [s for s in left.get("sockets", []) if "/vm." in s]
        return {k: v for k, v in left.items() if v}

    def close(self):
        """Stop everything; the sanitizers' reports, if there are any. A second time: nothing."""
        if not self.root.exists():
            return [], []
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.vmc("stop", "--all", check=None)
        for pid in self.processes("vm_concierge"):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGTERM)
        with contextlib.suppress(AssertionError):
            eventually("all processes end", lambda: not self.processes(), 30)
        stubborn = self.processes()
        for pid in stubborn:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        reports = [p.read_text() for p in self.root.glob("*san.*")]
        shutil.rmtree(self.root, ignore_errors=True)
        return reports, stubborn


def records(world):
    """The type of the records that the daemon keeps of VMs."""
    stubs = world.root / "state_stubs"
    stubs.mkdir()
    subprocess.run(["protoc", f"--python_out={stubs}", "-I", SOURCE / "proto",
                    *(SOURCE / "proto").glob("vmt_*.proto"), SOURCE / "proto" / "common.proto"],
                   check=True)
    sys.path.insert(0, str(stubs))
    import vmt_state_pb2
    return vmt_state_pb2.VmRecord


def record_files(folder):
    """Those of VMs, not of the daemon itself, of ends and of disk operations."""
    return [p for p in folder.glob("*.record")
            if not p.name.startswith(("daemon.", "ends.", "disk-"))]


class Signals:
    """Every signal of the daemon, as a stock gRPC client sees it."""

    def __init__(self, world):
        import grpc
        stubs = world.root / "stubs"
        if not stubs.exists():
            stubs.mkdir()
            subprocess.run(["protoc", f"--python_out={stubs}", "-I", SOURCE / "proto",
                            SOURCE / "proto" / "vmt_ipc.proto", SOURCE / "proto" / "common.proto",
                            SOURCE / "proto" / "vmt_life.proto",
                            SOURCE / "proto" / "concierge_service.proto"], check=True)
        sys.path.insert(0, str(stubs))
        import concierge_service_pb2
        import vmt_ipc_pb2
        self.types = concierge_service_pb2
        self.seen = []
        self.ready = threading.Event()
        self.channel = grpc.insecure_channel(f"unix:{world.runtime}/concierge.sock")
        self.stream = self.channel.unary_stream(
            "/vm_tools.concierge.VmConcierge/SubscribeSignals",
            request_serializer=lambda _: b"",
            response_deserializer=vmt_ipc_pb2.Signal.FromString)(None)
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()
        if not self.ready.wait(PATIENCE):
            raise AssertionError("the subscription was not acknowledged")

    def _read(self):
        import grpc
        with contextlib.suppress(grpc.RpcError):
            for item in self.stream:
                if item.name:
                    message = getattr(self.types, item.name)() \
                        if hasattr(self.types, item.name) else None
                    if message is not None:
                        message.ParseFromString(item.message)
                    self.seen.append((item.name, message))
                self.ready.set()

    def of(self, name):
        """Names of the signals about a VM, in order, with the stop reason."""
        out = []
        for kind, message in list(self.seen):
            if getattr(message, "name", None) == name:
                if kind == "VmStoppedSignal":
                    out.append((kind, message.reason))
                else:
                    out.append((kind,))
        return out

    def close(self):
        self.stream.cancel()
        self.channel.close()
        self.thread.join(10)


class Case(unittest.TestCase):
    """One world per class; every test leaves it without VMs."""
    world = None

    @classmethod
    def setUpClass(cls):
        cls.world = World()
        cls.addClassCleanup(cls.world.close)  # when the rest of a class's setup fails

    @classmethod
    def tearDownClass(cls):
        reports, stubborn = cls.world.close()
        if reports:
            raise AssertionError("sanitizer reports:\n" + "\n".join(reports))
        if stubborn:
            raise AssertionError(f"processes that did not end: {stubborn}")

    def nothing_left(self):
        eventually(f"no VM leaves anything: {self.world.vm_leftovers()}",
                   lambda: not self.world.vm_leftovers(), 30)


def info(world, name):
    return json.loads(world.vmc("info", "--json", name).stdout)


def main():
    require()
    unittest.main(module="__main__", verbosity=2)
