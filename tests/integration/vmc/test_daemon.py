#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""vmc and the daemon that it starts on demand, without any VM."""
import contextlib
import json
import os
import pathlib
import pty
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

BIN = pathlib.Path(os.environ.get("VMT_BIN", "build/ci/bin")).absolute()
DEADLINE = 120  # seconds; generous, the machine may be loaded
OWNER = f"uid:{os.getuid()}".encode().hex()


def eventually(what, check):
    end = time.monotonic() + DEADLINE
    while not check():
        if time.monotonic() > end:
            raise AssertionError("timeout: " + what)
        time.sleep(0.05)


class Vmc(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="vmc-", dir="/tmp"))
        self.addCleanup(shutil.rmtree, self.root, ignore_errors=True)
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("VMC_")}
        for name in ("RUNTIME_DIR", "STATE_HOME", "DATA_HOME", "CACHE_HOME"):
            folder = self.root / name
            folder.mkdir(mode=0o700)
            self.env["XDG_" + name] = str(folder)
        self.addCleanup(self.end_daemons)

    def daemons(self):
        """Pids of the vm_concierge processes of this test."""
        found = []
        for proc in pathlib.Path("/proc").iterdir():
            if not proc.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                if (str(self.root).encode() in (proc / "environ").read_bytes() and
                        b"vm_concierge" in (proc / "cmdline").read_bytes() and
                        (proc / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"):
                    found.append(int(proc.name))
        return found

    def end_daemons(self):
        for pid in self.daemons():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGTERM)
        eventually("the daemons end", lambda: not self.daemons())

    def vmc(self, *arguments, program=BIN / "vmc", code=0, **keywords):
        done = subprocess.run([program, *arguments], env=self.env, capture_output=True,
                              text=True, stdin=subprocess.DEVNULL, timeout=DEADLINE,
                              check=False, **keywords)
        if code is not None:
            self.assertEqual(done.returncode, code, (arguments, done.stdout, done.stderr))
        return done

    def test_usage_errors_are_one_line_and_code_2(self):
        for arguments in ([], ["nonsense"], ["start"], ["start", "a", "b"], ["stop"],
                          ["stop", "--all", "a"], ["list", "x"], ["info"], ["exec"],
                          ["exec", "a"], ["exec", "a", "--"], ["shell"], ["logs"],
                          ["image"], ["image", "nonsense"], ["image", "list", "x"],
                          ["start", "--cpus", "0", "a"], ["list", "--owner", "xyz"],
                          ["help", "nonsense"], ["completion", "fish"]):
            done = self.vmc(*arguments, code=2)
            self.assertEqual(done.stderr.count("\n"), 1, (arguments, done.stderr))
            self.assertEqual(done.stdout, "")
        self.assertEqual(self.daemons(), [])

    def test_help_needs_no_daemon(self):
        text = self.vmc("help").stdout
        self.assertEqual(text, self.vmc("--help").stdout)
        for command in ("start", "stop", "list", "info", "shell", "exec", "logs", "image",
                        "doctor", "completion", "version", "help"):
            self.assertIn(f"  {command} ", text)
            usage = self.vmc("help", command).stdout
            self.assertTrue(usage.startswith(f"usage: vmc {command} "))
            self.assertEqual(usage, self.vmc(command, "--help").stdout)
        self.assertIn("vm_tools", self.vmc("--version").stdout)
        self.assertIn("version", json.loads(self.vmc("version", "--json").stdout))
        self.assertEqual(self.daemons(), [])

    def test_the_completion_is_a_script_that_knows_every_command(self):
        script = self.vmc("completion", "bash").stdout
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)
        offered = subprocess.run(
            ["bash", "-c", script + '\nCOMP_WORDS=(vmc ""); COMP_CWORD=1; _vmc; '
             'echo "${COMPREPLY[@]}"'], capture_output=True, text=True, check=True)
        self.assertEqual(sorted(offered.stdout.split()), sorted(self.commands()))

    def commands(self):
        return [line.split()[0] for line in self.vmc("help").stdout.splitlines()
                if line.startswith("  ") and line[2] != "-"]

    def options(self, command):
        """What the help of a command explains; that of run only says how it differs."""
        got = re.findall(r"--[a-z][a-z0-9-]*", self.vmc(command, "--help").stdout)
        if command == "run":
            got = set(self.options("start")) - {"--no-shell", "--wait", "--restart"}
        return sorted({*got, "--json", "--owner", "--system", "--help"})

    def offered(self, shell, *words):
        """What the completion of a shell offers for the last word."""
        script = self.vmc("completion", shell).stdout
        here = " ".join(f"'{word}'" for word in words)
        ask = {"bash": f"compopt() {{ :; }}\n{script}\nCOMP_WORDS=({here}); COMP_CWORD={len(words) - 1}; _vmc; "
                       "printf '%s\\n' \"${COMPREPLY[@]}\"",
               # What zsh's own machinery gives and takes.
               "zsh": "compdef() { :; }; _files() { :; }; _describe() { print -l -- $commands; }\n"
                      'compadd() { while [[ $1 != -- ]]; do shift; done; print -l -- "${@:2}"; }\n'
                      f"{script}\nwords=({here}); CURRENT={len(words)}; PREFIX='{words[-1]}'; _vmc"}
        path = f"{BIN}:{self.env.get('PATH', os.defpath)}"
        done = subprocess.run([shell, *(["-f"] if shell == "zsh" else []), "-c", ask[shell]],
                              env={**self.env, "PATH": path}, capture_output=True, text=True,
                              check=True)
        self.assertEqual(done.stderr, "")
        return done.stdout.split("\n")[:-1]

    def offers_all_that_help_tells(self, shell):
        if not shutil.which(shell):
            self.skipTest(f"{shell} is not installed")
        for command in self.commands():
            offered = set(self.offered(shell, "vmc", command, "--"))
            if command == "disk":  # bash knows which belong to which verb
                for verb in ("create", "resize", "export", "import", "destroy"):
                    offered |= set(self.offered(shell, "vmc", command, verb, "--"))
            self.assertLessEqual(set(self.options(command)), offered, command)
        self.assertEqual(set(self.offered(shell, "vmc", "snapshot", "")) - {
            "--json", "--owner", "--system", "--help"}, {"create", "list", "restore", "delete"})
        self.assertEqual(self.offered(shell, "vmc", "start", "--accel", ""), ["auto", "kvm", "tcg"])
        self.assertEqual(self.daemons(), [])

    def test_bash_offers_all_options(self):
        self.offers_all_that_help_tells("bash")

    def test_zsh_offers_all_options(self):
        self.offers_all_that_help_tells("zsh")

    def test_zsh_offers_all_commands_with_their_meaning(self):
        if not shutil.which("zsh"):
            self.skipTest("zsh is not installed")
        offered = self.offered("zsh", "vmc", "")
        self.assertEqual(sorted(line.split(":")[0] for line in offered), sorted(self.commands()))
        self.assertIn("stop:stop VMs", offered)

    def test_the_daemon_is_started_once_for_all(self):
        together = [subprocess.Popen([BIN / "vmc", "list", "--json"], env=self.env,
                                     stdout=subprocess.PIPE) for _ in range(8)]
        for child in together:
            out, _ = child.communicate(timeout=DEADLINE)
            self.assertEqual((child.returncode, json.loads(out)), (0, []))
        self.assertEqual(len(self.daemons()), 1)
        before = self.daemons()
        self.vmc("list")
        self.assertEqual(self.daemons(), before)
        os.kill(before[0], signal.SIGKILL)
        eventually("it is gone", lambda: not self.daemons())
        self.vmc("list")  # the dead one's socket is still there

    def test_what_does_not_run_is_not_found(self):
        for arguments in (["info", "nobody"], ["exec", "nobody", "--", "true"],
                          ["shell", "nobody"], ["logs", "nobody"], ["stop", "nobody"], ["ps", "nobody"],
                          ["snapshot", "create", "nobody", "a"],
                          ["snapshot", "restore", "nobody", "a"],
                          ["snapshot", "delete", "nobody", "a"]):
            done = self.vmc(*arguments, code=3)
            self.assertIn("nobody", done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        done = self.vmc("stop", "nobody", "nowhere", code=3)
        self.assertEqual(done.stderr.count("\n"), 2)
        self.vmc("stop", "--all")

    def test_names_that_nothing_new_may_have(self):
        for name in ("two words", "a/b", "a:b", "", "bell\a"):
            for arguments in (["start", "--no-shell"], ["disk", "create", "--size", "1M"]):
                done = self.vmc(*arguments, name, code=1)
                self.assertIn("the name", done.stderr)
        self.vmc("disk", "create", "--size", "1M", "böse.d-1_x")

    def test_options_of_all_commands_may_come_first(self):
        self.assertEqual(self.vmc("--json", "list").stdout, "[]\n")
        self.assertEqual(self.vmc("--json", "--owner", "12", "snapshot", "list").stdout, "[]\n")
        self.assertIn("of the system", self.vmc("--system", "list", code=5).stderr)

    def test_an_export_takes_its_name_when_it_is_whole(self):
        out, digest = self.root / "out.zst", self.root / "out.sum"
        out.write_text("an older one")
        self.vmc("disk", "export", "nodisk", out, code=3)
        self.assertEqual(out.read_text(), "an older one")
        self.vmc("disk", "create", "--size", "1M", "plain")
        self.vmc("disk", "export", "--sha256", digest, "plain", out)
        self.assertEqual(out.read_bytes()[:4], b"\x28\xb5\x2f\xfd")
        self.assertEqual(out.stat().st_mode & 0o777, 0o600)
        self.assertEqual(sorted(p.name for p in self.root.glob("out.*")), ["out.sum", "out.zst"])
        # It was made for no VM in particular, and is for any.
        self.vmc("disk", "import", "--type", "termina", "copy", out)
        self.vmc("disk", "export", "copy", out)
        done = self.vmc("disk", "import", "--type", "baguette", "other", out, code=1)
        self.assertIn("of type termina, not baguette", done.stderr)

    def test_destroying_asks_on_a_terminal(self):
        def destroy(*arguments, answer="", **environment):
            ours, its = pty.openpty()
            os.write(ours, answer.encode())
            done = subprocess.run([BIN / "vmc", *arguments, "kept"], stdin=its, stderr=its,
                                  env={**self.env, **environment}, timeout=DEADLINE, check=False)
            os.close(its)
            with os.fdopen(ours, "rb", buffering=0) as screen:
                return done.returncode, screen.read(4096).decode()

        for answer in ("\n", "n\n", "yeah\n", "\x04"):
            self.vmc("disk", "create", "--size", "1M", "kept", code=None)
            code, said = destroy("disk", "destroy", answer=answer)
            self.assertEqual(code, 1, said)
            self.assertIn("Destroy the disk kept for good", said)
            self.assertIn("disk kept stays", said)
        self.assertEqual(destroy("destroy", answer="Yes\n")[0], 0)
        for arguments, environment in ((("disk", "destroy", "--yes"), {}), (("destroy", "-y"), {}),
                                       (("destroy",), {"VMC_NONINTERACTIVE": "1"})):
            self.vmc("disk", "create", "--size", "1M", "kept")
            self.assertEqual(destroy(*arguments, answer="n\n", **environment)[0], 0)
        self.assertIn("no disk of that name", self.vmc("--json", "destroy", "kept", code=3).stderr)

    def test_names_of_the_original(self):
        self.vmc("disk", "create", "--size", "1M", "plain")
        out = self.root / "out.zst"
        self.vmc("export", "-f", "plain", out)
        self.vmc("import", "--type", "termina", "again", out)
        self.vmc("disk-op-status", "12", code=3)
        for command in (["usb-list"], ["usb-attach"], ["usb-detach"]):
            self.vmc(*command, "nobody", *(["1:1"] if "-list" not in command[0] else []), code=3)

    def test_an_operation_that_nobody_knows(self):
        done = self.vmc("disk", "status", "12", code=3)
        self.assertEqual((done.stdout, done.stderr.count("\n")), ("", 1))

    def test_logs_are_whole_though_larger_than_a_message(self):
        self.vmc("logs", "demo", code=3)  # makes the folders
        [console] = self.root.glob("STATE_HOME/vm_tools/console")
        log = console / f"{OWNER}-ZGVtbw.log"
        parts = [f"{n} ".encode() + b"x" * (1 << 20) + b"\n" for n in (5, 4, 3, 2, 1, 0)]
        for n, part in zip((5, 4, 3, 2, 1), parts):
            log.with_name(f"{log.name}.{n}").write_bytes(part)
        log.write_bytes(parts[-1])
        got = self.vmc("logs", "demo").stdout
        self.assertEqual(got, b"".join(parts).decode())

    def test_a_daemon_that_is_not_there(self):
        alone = self.root / "bin"
        alone.mkdir()
        shutil.copy(BIN / "vmc", alone / "vmc")
        self.env["PATH"] = "/nonexistent"
        done = self.vmc("list", program=alone / "vmc", code=5)
        self.assertIn("vm_concierge", done.stderr)
        self.assertIn("No such file", done.stderr)

    def test_a_daemon_that_fails_says_why(self):
        broken = self.root / "bin"
        broken.mkdir()
        shutil.copy(BIN / "vmc", broken / "vmc")
        (broken / "vm_concierge").write_text("#!/bin/sh\necho the moon is full >&2\nexit 1\n")
        (broken / "vm_concierge").chmod(0o755)
        done = self.vmc("list", program=broken / "vmc", code=5)
        self.assertIn("the moon is full", done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1)

    def test_the_daemon_inherits_nothing_of_ours(self):
        reader, writer = os.pipe()
        self.vmc("list", pass_fds=(writer,))
        os.close(writer)
        self.assertEqual(os.read(reader, 1), b"")  # nobody else holds it
        os.close(reader)
        pid, = self.daemons()
        self.assertEqual(os.getsid(pid), pid)
        self.assertEqual(os.readlink(f"/proc/{pid}/fd/0"), "/dev/null")

    def test_files_that_are_missing_are_named(self):
        for arguments in (["--kernel", "/no/kernel"], ["--image", "/no/image"],
                          ["--image", "noimage"]):
            done = self.vmc("start", "--no-shell", *arguments, "a", code=3)
            self.assertIn(arguments[1], done.stderr)
        kernel = self.root / "kernel"
        kernel.write_bytes(b"x")
        done = self.vmc("start", "--no-shell", "--kernel", kernel, "--initrd", "/no/initrd",
                        "a", code=3)
        self.assertIn("/no/initrd", done.stderr)

    def test_the_owner(self):
        self.assertEqual(json.loads(self.vmc("list", "--json").stdout), [])
        self.env["VMC_OWNER"] = "not hexadecimal"
        self.assertIn("owner", self.vmc("list", code=1).stderr)

    def test_doctor_lists_what_is_missing(self):
        found = json.loads(self.vmc("doctor", "--no-boot", "--json", code=1).stdout)
        network = [f["text"] for f in found if f["check"] == "network"]
        self.assertTrue(network[0].startswith("user: ") and network[1].startswith("tap: "))
        checks = {f["check"]: f for f in found}
        for name in ("rights", "memory", "disk", "programs", "vsock", "hypervisor", "image"):
            self.assertIn(name, checks)
        self.assertEqual(checks["image"]["state"], "bad")
        self.assertIn("vmc image build", checks["image"]["mend"])
        self.assertEqual(checks["rights"]["state"], "ok")
        self.assertIn("image", self.vmc("doctor", "--no-boot", code=1).stdout)

    def doctor_on_daemon(self, code=1):
        found = json.loads(self.vmc("doctor", "--no-boot", "--json", code=code).stdout)
        return next((f["state"], f["text"]) for f in found if f["check"] == "daemon")

    def test_doctor_asks_the_daemon_that_runs(self):
        state, text = self.doctor_on_daemon()
        self.assertEqual(state, "ok")
        self.assertIn("does not run", text)
        self.assertEqual(self.daemons(), [])  # it starts none
        self.vmc("list")
        state, text = self.doctor_on_daemon()
        self.assertEqual(state, "ok")
        self.assertIn("serves on", text)
        os.kill(self.daemons()[0], signal.SIGSTOP)
        try:
            state, text = self.doctor_on_daemon()
        finally:
            os.kill(self.daemons()[0], signal.SIGCONT)
        self.assertEqual(state, "bad")
        self.assertIn("did not answer", text)

    def test_images(self):
        self.assertEqual(json.loads(self.vmc("image", "list", "--json").stdout), [])
        done = self.vmc("image", "verify", "nothing", code=3)
        self.assertIn("nothing", done.stderr)


if __name__ == "__main__":
    unittest.main()
