#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Each header compiles alone: it includes or declares all that it speaks of."""
import concurrent.futures
import json
import pathlib
import subprocess
import sys


def includes(build):
    """Every include path of the build, so that outside headers are found."""
    flags = set()
    for entry in json.loads((build / "compile_commands.json").read_text()):
        words = entry["command"].split()
        for i, word in enumerate(words):
            if word.startswith("-I"):
                flags.add(word)
            elif word == "-isystem":
                flags.add("-isystem" + words[i + 1])
    return sorted(flags)


def compile_alone(args):
    header, flags = args
    r = subprocess.run(["gcc", "-std=gnu11", "-D_GNU_SOURCE", "-fsyntax-only", "-Wall", "-Wextra",
                        "-Werror", "-I.", *flags, "-x", "c", "-"],
                       input=f'#include "{header}"\n', text=True, capture_output=True,
                       check=False)
    return header, r.stderr if r.returncode else ""


def main():
    flags = includes(pathlib.Path(sys.argv[1]))
    headers = subprocess.run(["git", "ls-files", "*.h"], check=True, capture_output=True,
                             text=True).stdout.split()
    bad = 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for header, text in pool.map(compile_alone, [(h, flags) for h in headers]):
            if text:
                print(f"{header} does not compile alone:\n{text}")
                bad += 1
    print(f"{len(headers)} headers, {bad} problems")
    return 1 if bad or not headers else 0


if __name__ == "__main__":
    sys.exit(main())
