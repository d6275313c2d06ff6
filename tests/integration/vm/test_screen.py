#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Full-screen programs in a VM look as they do here: the same program with the same keys runs on
this host and, by vmc, in a guest, and both screens are compared. The programs of this host are
copied to the guest with their libraries."""
import os
import shutil
import subprocess
import sys

import harness

try:
    import screen
except ImportError:
    print("python3-pyte is not installed")
    sys.exit(harness.SKIP)

PROGRAMS = ("vim.basic", "vim.tiny", "htop", "tmux", "nano")
WHERE = "/tmp/screen"
TMUX = """set -g status-right ""
set -g automatic-rename off
set -g default-command "env PS1='$ ' sh"
"""


class FullScreen(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.world.start("box")
        folder = cls.world.root / "screen"
        cls.run_as = {name: screen.portable(name, folder) for name in PROGRAMS
                      if shutil.which(name)}
        (folder / "text").write_text("".join(f"line {i}\n" for i in range(1, 200)))
        (folder / "tmux.conf").write_text(TMUX)
        cls.world.vmc("cp", "-r", folder, f"box:{WHERE}")
        cls.folder = folder
        cls.env = {**cls.world.env, "LC_ALL": "C.UTF-8", "HOME": str(folder), "ESCDELAY": "25"}

    def remote(self, name, *args):
        """In the guest."""
        shown = screen.Screen(
            [harness.BIN / "vmc", "exec", "box", "--", "LC_ALL=C.UTF-8", f"HOME={WHERE}",
             "ESCDELAY=25", *self.command(name, WHERE, args)], self.env)
        self.addCleanup(shown.close)
        return shown

    def command(self, name, where, args):
        if name not in self.run_as:
            self.skipTest(f"{name} is not installed")
        return ["sh", "-c", 'cd "$0" && exec "$@"', where, *self.run_as[name](where), *args]

    def both(self, name, *args):
        here = screen.Screen(self.command(name, self.folder, args), self.env)
        self.addCleanup(here.close)
        return here, self.remote(name, *args)

    def step(self, pair, keys, text, prompts=0):
        """Type on both; here shows text, and that many prompts, and there looks the same."""
        here, there = pair
        for shown in pair:
            shown.send(keys)
        here.until(lambda lines: any(text in line for line in lines) and
                   "".join(lines).count("$") >= prompts, text)
        self.same(here, there)

    def same(self, here, there):
        def alike(lines):
            here.take(0)
            return lines == here.lines()
        there.until(alike, "what is shown here")

    def resize(self, pair, rows, cols):
        for shown in pair:
            shown.resize(rows, cols)

    def editor(self, name):
        pair = self.both(name, "-u", "NONE", "-N", "-i", "NONE", "-n", "text")
        for shown in pair:
            shown.until(lambda lines: any('"text" 199L' in line for line in lines), "the file")
        # Without a key, vim on a slow machine sometimes draws no more than that.
        self.step(pair, b"\x0c", "line 23")
        self.step(pair, b":set number ruler\r", " 23 line 23")
        self.step(pair, "ggOthe first line ä€\x1b".encode(), "the first line ä€")
        self.step(pair, b":split\r\x17jG", "199")
        self.resize(pair, 40, 120)
        self.step(pair, b"\x0c", "199")
        self.resize(pair, 15, 50)
        self.step(pair, b"\x0c", "199")
        for shown in pair:
            shown.send(b":qa!\r")
            self.assertEqual(shown.wait(), 0)

    def test_01_vim(self):
        self.editor("vim.basic" if "vim.basic" in self.run_as else "vim.tiny")

    def test_02_nano(self):
        pair = self.both("nano", "--ignorercfiles", "text")
        self.step(pair, b"", "line 10")
        self.step(pair, b"some words ", "some words line 1")
        self.resize(pair, 30, 100)
        self.step(pair, b"\x0c", "line 20")
        for shown in pair:
            shown.send(b"\x18n")
            self.assertEqual(shown.wait(), 0)

    def test_03_tmux(self):
        server = f"vmt-{os.getpid()}"
        self.addCleanup(subprocess.run, ["tmux", "-L", server, "kill-server"], check=False,
                        capture_output=True)
        pair = self.both("tmux", "-u", "-L", server, "-f", "tmux.conf", "new",
                         "-s", "work")
        self.step(pair, b"", "[work]", 1)
        self.step(pair, b"echo fi''rst\r", "first", 2)
        self.step(pair, b"\x02\"", "──", 3)
        self.step(pair, b"echo sec''ond\r", "second", 4)
        self.step(pair, b"\x02%", "│", 5)
        self.resize(pair, 30, 100)
        self.step(pair, b"", 50 * "─")
        self.step(pair, b"echo thi''rd\r", "third", 6)
        self.step(pair, b"\x02c", "1:", 1)
        for shown in pair:
            shown.send(b"\x02:")
            shown.until(lambda lines: lines[-1].startswith(":"), "tmux's prompt")
            shown.send(b"kill-server\r")
            shown.wait()

    def test_04_htop(self):
        there = self.remote("htop")
        there.until(lambda lines: "F10" in lines[-1] and any("PID" in line for line in lines),
                    "header and keys of htop")
        there.resize(35, 110)
        there.until(lambda lines: len(lines) == 35 and "F10" in lines[34], "keys in line 35")
        there.until(lambda lines: any("/init" in line for line in lines), "PID 1")
        there.send(b"q")
        self.assertEqual(there.wait(), 0)


if __name__ == "__main__":
    harness.main()
