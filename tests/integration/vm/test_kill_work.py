#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""SIGKILL of each process that takes part in work: disk operations, snapshots, restores, templates
and warm starts.

The rows are the moments, the columns the processes; EXPECTED says what each death costs. A process
that is to be met at work is stopped at its gate, a script in front of it, or by SIGSTOP; nothing
here depends on how long anything takes. After each: what could live does, what is told is true,
nothing is left, and the same command works.
"""
import contextlib
import json
import os
import shutil
import signal
import subprocess
import threading
import time

import harness
import kills

MIB = 1 << 20
kills.WORDS["sync"] = ("sync", "/proc/self/fd/")

# row: {victim: what becomes of the work}. "done": it is done all the same; "failed": it is told to
# have failed, and leaves nothing; "lost": so it is, and the VM is gone.
EXPECTED = {
    "export": {"vm_concierge": "done", "vm_disk": "failed"},
    "import": {"vm_concierge": "done", "vm_disk": "failed"},
    "resize": {"vm_concierge": "done", "vm_disk": "failed"},
    "live_resize": {"vm_vsock worker": "done", "vm_concierge": "done", "vm_vsock keeper": "done",
                    "QEMU": "lost"},
    # The VM stands still and its disks are copied; its memory is written; it goes on already.
    "snapshot_disks": {"vm_concierge": "failed", "vm_disk": "failed", "vm_vsock worker": "done",
                       "vm_vsock keeper": "done", "QEMU": "lost"},
    "snapshot_memory": {"vm_concierge": "failed", "vm_vsock worker": "done",
                        "vm_vsock keeper": "done", "QEMU": "lost"},
    "snapshot_sync": {"vm_concierge": "failed", "sync": "failed", "QEMU": "lost"},
    # Its disks become what they were; its hypervisor reads the memory.
    "restore_disks": {"vm_concierge": "done", "vm_disk": "lost"},
    "restore_memory": {"vm_concierge": "lost", "vm_vsock worker": "done",
                       "vm_vsock keeper": "done", "QEMU": "lost"},
    # Another VM boots to become one; its state is written out.
    "template_boot": {"vm_concierge": "failed", "template's QEMU": "failed", "QEMU": "lost"},
    "template_sync": {"vm_concierge": "failed", "sync": "failed"},
    # A hypervisor that reads a template; without either, the VM boots.
    "warm": {"vm_concierge": "done", "vm_vsock worker": "done", "vm_vsock keeper": "done",
             "QEMU": "done"},
}


class Gate:
    """Programs that wait before they begin, while their gate is shut."""

    SCRIPT = '#!/bin/sh\n[ ! -e "{shut}" ] || kill -STOP $$\nexec "{real}" "$@"\n'

    def __init__(self, world):
        self.world = world
        self.folder = world.root / "bin"
        self.folder.mkdir()
        for name in ("vmc", "vm_concierge"):  # they look beside themselves for the others
            shutil.copy2(harness.BIN / name, self.folder / name)
        (self.folder / "vm_vsock").symlink_to(harness.BIN / "vm_vsock")
        for name in ("vm_disk", "sync"):
            script = self.folder / name
            real = shutil.which(name, path=f"{harness.BIN}:{os.environ['PATH']}")
            script.write_text(self.SCRIPT.format(shut=self.shut_file(name), real=real))
            script.chmod(0o755)
        world.env["PATH"] = f"{self.folder}:{world.env['PATH']}"

    def shut_file(self, name):
        return self.world.root / f"shut-{name}"

    def shut(self, name):
        self.shut_file(name).touch()

    def open(self, name):
        self.shut_file(name).unlink()

    def wait(self, name):
        """Somebody stands there; the next ones may pass. Returns its pid."""
        pid = harness.eventually(f"{name} waits at its gate", lambda: next(
            (p for p in self.world.processes(*kills.WORDS[name]) if is_stopped(p)), None))
        self.open(name)
        return pid


def is_stopped(pid):
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/stat", encoding="ascii") as f:
            return f.read().rsplit(")", 1)[1].split()[0] == "T"
    return False


def let_go(*pids):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


class KillWork(kills.KillCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.gate = Gate(cls.world)
        cls.real_bin, harness.BIN = harness.BIN, cls.gate.folder

    @classmethod
    def tearDownClass(cls):
        harness.BIN = cls.real_bin
        super().tearDownClass()

    # --- what the rows share ---

    def disk(self, *args, **kw):
        return self.world.vmc("disk", *args, **kw)

    def disks(self):
        return {row["name"]: row for row in json.loads(self.disk("list", "--json").stdout)}

    def make_disk(self, name, size=16 * MIB):
        """With contents that do not get smaller. Returns where it is."""
        self.disk("create", "--size", str(size), name)
        path = self.disks()[name]["path"]
        with open(path, "r+b") as f:
            f.write(os.urandom(size // 2))
        return path

    def client(self, *args):
        """Its words are in the world's folder, for who wonders why it failed."""
        with open(self.world.root / "client.log", "ab") as log:
            return subprocess.Popen([harness.BIN / "vmc", *args], env=self.world.env,
                                    stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def ended(self, client, expected):
        code = client.wait(harness.PATIENCE)
        words = (self.world.root / "client.log").read_text()[-1000:]
        self.assertEqual(code == 0, expected == "done", f"exit code {code}: {words}")

    def no_trace(self):
        """Of any work, but for templates and snapshots that are whole."""
        self.nothing_left()
        harness.eventually("no worker is left", lambda: not self.pids("vm_disk") and
                           not self.pids("sync"))
        logs = self.world.runtime / "disk-operations"
        harness.eventually("logs of workers are gone",
                           lambda: not logs.exists() or not os.listdir(logs))
        records = [p.name for p in (self.world.runtime / "vms").glob("*")
                   if p.name.startswith("disk-") or p in harness.record_files(p.parent)]
        self.assertEqual(records, [])
        for folder, _, files in os.walk(self.world.root / "data" / "vm_tools" / "vms"):
            odd = [f for f in files if f.startswith(".") and f != ".lock"]
            self.assertEqual(odd, [], folder)
        state = self.world.root / "state" / "vm_tools"
        for entry in state.glob("templates/*/*.state"):
            self.assertTrue(entry.with_suffix(".record").exists(), entry)
        for entry in state.glob("snapshots/*/*"):
            self.assertTrue((entry / "record").exists(), entry)

    # --- disk operations on a disk that no VM has ---

    def cell_export(self, victim, expected):
        self.make_disk("big")
        fifo, out = self.world.root / "fifo", self.world.root / "out.zst"
        os.mkfifo(fifo)
        client = self.client("disk", "export", "big", str(fifo))
        with open(fifo, "rb") as source, open(out, "wb") as sink:
            sink.write(source.read(MIB))  # the rest does not fit into a pipe
            self.kill(victim)
            self.disks()  # somebody serves
            shutil.copyfileobj(source, sink)
        self.ended(client, expected)
        if expected != "done":
            self.disk("export", "big", str(out))
        self.disk("import", "copy", str(out))
        self.same("big", "copy")
        self.drop("big", "copy")
        fifo.unlink()

    def cell_import(self, victim, expected):
        self.make_disk("big")
        fifo, archive = self.world.root / "fifo", self.world.root / "archive.zst"
        self.disk("export", "big", str(archive))
        os.mkfifo(fifo)
        client = self.client("disk", "import", "copy", str(fifo))

        def feed(sink, source):
            with contextlib.suppress(BrokenPipeError), sink:
                shutil.copyfileobj(source, sink)

        with open(archive, "rb") as source:
            sink = open(fifo, "wb", buffering=0)
            sink.write(source.read(MIB))
            self.kill(victim)
            self.assertEqual(list(self.disks()), ["big"])  # half a disk is none
            feeder = threading.Thread(target=feed, args=(sink, source))
            feeder.start()
            feeder.join(harness.PATIENCE)
        self.ended(client, expected)
        if expected != "done":
            self.assertEqual(list(self.disks()), ["big"])
            self.disk("import", "copy", str(archive))
        self.same("big", "copy")
        self.drop("big", "copy")
        fifo.unlink()

    def cell_resize(self, victim, expected):
        path = self.make_disk("big")
        self.gate.shut("vm_disk")
        client = self.client("disk", "resize", "--size", "32M", "big")
        worker = self.gate.wait("vm_disk")
        self.kill(victim)
        if expected == "done":  # who comes next knows that it is going on
            self.assertIn("resize", self.disk("destroy", "big", check=1).stderr)
        let_go(worker)
        self.ended(client, expected)
        size = 32 * MIB if expected == "done" else 16 * MIB
        self.assertEqual(os.stat(path).st_size, size)
        self.disk("resize", "--size", "64M", "big")
        self.assertEqual(self.disks()["big"]["size_bytes"], 64 * MIB)
        self.assertEqual(os.stat(path).st_size, 64 * MIB)
        self.drop("big")

    def same(self, one, other):
        rows = self.disks()
        with open(rows[one]["path"], "rb") as a, open(rows[other]["path"], "rb") as b:
            self.assertEqual(a.read(), b.read())

    def drop(self, *names):
        for name in names:
            self.disk("destroy", name)
        self.assertEqual(self.disks(), {})

    # --- a disk that grows under a running guest ---

    def row_live_resize(self, cells):
        """All deaths on one VM; that of QEMU comes last."""
        self.disk("create", "--size", "64M", "--fs", "ext4", "data")
        self.world.start(self.name, "--disk", "data")
        self.world.guest(self.name, "mkdir -p /mnt/d && mount /dev/vdb /mnt/d")
        for nth, (victim, expected) in enumerate(cells.items()):
            with self.cell("live_resize", victim, expected):
                self.cell_live_resize(victim, expected, (nth + 2) * 64 * MIB)
        self.world.start(self.name, "--disk", "data")
        self.world.vmc("stop", self.name)
        self.drop("data")

    def cell_live_resize(self, victim, expected, size):
        qemu = self.the("QEMU")
        os.kill(qemu, signal.SIGSTOP)
        client = self.client("disk", "resize", "--size", str(size), "data")
        harness.eventually("the operation is on record", lambda: list(
            (self.world.runtime / "vms").glob("disk-*.record")))
        self.kill(victim)
        if expected == "lost":
            self.ended(client, expected)
            self.ends()
            row = self.disks()["data"]
            self.assertEqual(row["size_bytes"], os.stat(row["path"]).st_size)
            self.no_trace()
            return
        let_go(qemu)
        self.ended(client, expected)
        self.assertEqual(self.disks()["data"]["size_bytes"], size)
        seen = int(self.world.guest(self.name, "df -B1 --output=size /mnt/d | tail -n1"))
        self.assertGreater(seen, size * 4 // 5)

    # --- snapshots ---

    def snapshots(self):
        return [s["name"] for s in json.loads(self.world.vmc("snapshot", "list", "--json").stdout)]

    def start_with_disk(self):
        path = self.world.root / "disk.img"
        path.write_bytes(os.urandom(4 * MIB))
        self.world.start(self.name, "--disk", str(path))
        self.world.guest(self.name, "mount -t tmpfs t /mnt && echo kept > /mnt/file")

    def settle(self):
        """A VM that can live does, and can be frozen and thawed again. Returns whether it does."""
        def known():
            if self.name not in self.listed():
                return "gone"
            told = self.world.vmc("info", "--json", self.name, check=None)
            return told.returncode == 0 and json.loads(told.stdout)["state"] == "running" and \
                self.answers() and "running"
        return harness.eventually("the VM runs or is gone", known) == "running"

    def row_snapshot(self, row, cells):
        """The VM lives through most of them, so it is started only where there is none."""
        for victim, expected in cells.items():
            with self.cell(row, victim, expected):
                if self.name not in self.listed():
                    self.start_with_disk()
                self.assertEqual(self.snapshots(), [])
                client, *held = getattr(self, "into_" + row)()
                self.kill(victim)
                self.disks()  # somebody serves
                let_go(*held)
                self.ended(client, expected)
                lives = self.settle()
                self.assertEqual(lives, expected != "lost")
                self.assertEqual(self.snapshots(), ["one"] if expected == "done" else [])
                if lives:
                    self.assertEqual(self.world.guest(self.name, "cat /mnt/file"), "kept")
                    if expected != "done":
                        self.world.vmc("snapshot", "create", self.name, "one")
                if expected == "done" or lives:
                    self.world.vmc("snapshot", "delete", self.name, "one")
        self.world.vmc("stop", "--all")

    def into_snapshot_disks(self):
        self.gate.shut("vm_disk")
        client = self.client("snapshot", "create", self.name, "one")
        return client, self.gate.wait("vm_disk")

    def into_snapshot_memory(self):
        client, worker = self.into_snapshot_disks()
        qemu = self.the("QEMU")
        os.kill(qemu, signal.SIGSTOP)
        let_go(worker)
        harness.eventually("the disks are copied", lambda: not self.pids("vm_disk"))
        return client, qemu

    def into_snapshot_sync(self):
        self.gate.shut("sync")
        client = self.client("snapshot", "create", self.name, "one")
        return client, self.gate.wait("sync")

    def row_snapshot_disks(self, cells):
        self.row_snapshot("snapshot_disks", cells)

    def row_snapshot_memory(self, cells):
        self.row_snapshot("snapshot_memory", cells)

    def row_snapshot_sync(self, cells):
        self.row_snapshot("snapshot_sync", cells)

    # --- starts from a snapshot ---

    def snapshot_files(self):
        return (self.world.root / "state" / "vm_tools").glob("snapshots/*/*/*")

    def daemon_log(self):
        return (self.world.root / "state" / "vm_tools" / "concierge.log").read_text()

    def row_restore(self, row, cells):
        self.start_with_disk()
        disk = (self.world.root / "disk.img").read_bytes()
        self.world.vmc("snapshot", "create", self.name, "one")
        self.world.guest(self.name, "printf after > /dev/vdb && sync")
        self.world.vmc("stop", self.name)
        for victim, expected in cells.items():
            with self.cell(row, victim, expected):
                client, held = getattr(self, "into_" + row)()
                self.kill(victim)
                self.assertEqual(self.snapshots(), ["one"])
                let_go(held)
                lives = self.settle()
                self.ended(client, expected)
                self.assertEqual(lives, expected == "done")
                if (row, victim) == ("restore_memory", "vm_concierge"):
                    self.assertIn("was not loaded yet", self.daemon_log())
                if lives:
                    self.assertEqual(self.world.guest(self.name, "cat /mnt/file"), "kept")
                    self.world.vmc("stop", self.name)
                self.no_trace()
                self.world.vmc("snapshot", "restore", self.name, "one")
                self.assertEqual(self.world.guest(self.name, "cat /mnt/file"), "kept")
                self.world.vmc("stop", self.name)
                self.assertEqual((self.world.root / "disk.img").read_bytes(), disk)
                self.assertEqual(sorted(p.name for p in self.snapshot_files()),
                                 [".lock", "disk1.img", "record", "state"])
        self.world.vmc("snapshot", "delete", self.name, "one")

    def into_restore_disks(self):
        self.gate.shut("vm_disk")
        client = self.client("snapshot", "restore", self.name, "one")
        return client, self.gate.wait("vm_disk")

    def stop_hypervisor(self):
        """Of the one VM that there is, as early as it is on record."""
        def of_record():
            record = self.record()
            return record and record.hypervisor.pid
        end = time.monotonic() + harness.PATIENCE
        while not (pid := of_record()):
            self.assertLess(time.monotonic(), end)
        os.kill(pid, signal.SIGSTOP)
        return pid

    def into_restore_memory(self):
        client = self.client("snapshot", "restore", self.name, "one")
        return client, self.stop_hypervisor()

    def row_restore_disks(self, cells):
        self.row_restore("restore_disks", cells)

    def row_restore_memory(self, cells):
        self.row_restore("restore_memory", cells)

    # --- templates ---

    def templates(self, pattern="*"):
        return sorted((self.world.root / "state" / "vm_tools").glob(f"templates/*/{pattern}"))

    def kill_daemon(self):
        for pid in self.pids("vm_concierge"):
            os.kill(pid, signal.SIGKILL)
        harness.eventually("it is gone", lambda: not self.pids("vm_concierge"))

    def put_templates(self, source):
        """What the next daemon finds; None: none."""
        self.kill_daemon()
        folder = self.world.root / "state" / "vm_tools" / "templates"
        shutil.rmtree(folder, ignore_errors=True)
        if source:
            shutil.copytree(source, folder)
        self.disks()  # it serves, and has cleaned up

    def mode(self):
        return harness.info(self.world, self.name)["start_mode"]

    def row_template(self, row, cells):
        """A template is an aid: whatever happens to its making, VMs live and start."""
        for victim, expected in cells.items():
            with self.cell(row, victim, expected):
                self.put_templates(None)
                if row == "template_sync":
                    self.gate.shut("sync")
                self.world.start(self.name, cold=False)
                vmm = harness.info(self.world, self.name)["pid"]
                held = getattr(self, "into_" + row)(vmm)
                if victim == "QEMU":
                    os.kill(vmm, signal.SIGKILL)
                elif victim == "template's QEMU":
                    os.kill(held, signal.SIGKILL)
                else:
                    self.kill(victim)
                self.assertEqual(self.settle(), expected != "lost")
                if victim == "vm_concierge":  # what nobody looks after is ended
                    harness.eventually("its QEMU is gone", lambda: self.pids("QEMU") == [vmm])
                let_go(held)
                self.assertEqual(self.templates("*.state"), [])
                self.world.vmc("stop", self.name, check=None)
                self.world.start(self.name, cold=False)
                self.assertEqual(self.mode(), "cold")
                self.assertTrue(self.answers())
                self.world.vmc("stop", self.name)
                self.put_templates(None)
                self.no_trace()

    def into_template_boot(self, vmm):
        pid = harness.eventually("a template is made", lambda: next(
            (p for p in self.pids("QEMU") if p != vmm), None))
        os.kill(pid, signal.SIGSTOP)
        return pid

    def into_template_sync(self, _):
        harness.eventually("its state is saved, or there is none", lambda: self.pids("sync") or
                           self.templates("*.record"), 300)
        if not self.pids("sync"):
            self.gate.open("sync")
            self.skipTest("this machine is too busy to make a template")
        return self.gate.wait("sync")

    def row_template_boot(self, cells):
        self.row_template("template_boot", cells)

    def row_template_sync(self, cells):
        self.row_template("template_sync", cells)

    # --- warm starts ---

    def make_template(self):
        """It is made with what nobody else needs of the processors, which may be too little."""
        for _ in range(3):
            self.put_templates(None)
            self.world.start(self.name, cold=False)
            harness.eventually("it is made or not", lambda: self.templates("*.record"), 300)
            self.world.vmc("stop", self.name)
            if self.templates("*.state"):
                return True
        return False

    def row_warm(self, cells):
        good = self.world.root / "good"
        if not self.make_template():
            self.skipTest("this machine is too busy to make a template")
        self.kill_daemon()
        shutil.copytree(self.templates()[0].parent.parent, good)
        for victim, expected in cells.items():
            with self.cell("warm", victim, expected):
                self.put_templates(good)
                client = self.client("start", "--no-shell", "--accel", "tcg", "--cpus", "1",
                                     "--mem", "256", self.name)
                held = self.stop_hypervisor()
                self.kill(victim)
                self.disks()  # somebody serves
                let_go(held)
                self.ended(client, expected)
                self.assertEqual(self.settle(), expected == "done")
                self.world.vmc("stop", "--all")
                self.no_trace()
                self.world.start(self.name, cold=False)
                self.assertTrue(self.answers())
                self.world.vmc("stop", self.name)
        self.put_templates(None)

    # --- the rows ---

    @contextlib.contextmanager
    def cell(self, row, victim, expected):
        with self.subTest(row=row, victim=victim):
            begin = time.monotonic()
            yield
            print(f"{row:14} kill -9 {victim:16} {expected:7} {time.monotonic() - begin:5.1f} s",
                  flush=True)

    def each_on_its_own(self, row, cells):
        for victim, expected in cells.items():
            with self.cell(row, victim, expected):
                getattr(self, "cell_" + row)(victim, expected)
                self.no_trace()


def add_row(nth, row):
    def test(self):
        run = getattr(self, "row_" + row, None)
        if run:
            run(EXPECTED[row])
            self.no_trace()
        else:
            self.each_on_its_own(row, EXPECTED[row])
    setattr(KillWork, f"test_{nth:02}_{row}", test)


for number, title in enumerate(EXPECTED, 1):
    add_row(number, title)

if __name__ == "__main__":
    harness.main()
