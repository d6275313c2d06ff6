#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""clang-tidy over every file of ours that the build compiles; .clang-tidy says which checks."""
import concurrent.futures
import json
import pathlib
import shutil
import subprocess
import sys


def tidy(args):
    build, path = args
    r = subprocess.run(["clang-tidy", "--quiet", "-p", str(build), path], capture_output=True,
                       text=True, check=False)
    return path, r.stdout if r.returncode else ""


def main():
    if not shutil.which("clang-tidy"):
        print("clang-tidy is not installed")
        return 77
    build = pathlib.Path(sys.argv[1])
    root = pathlib.Path.cwd()
    files = sorted({e["file"] for e in json.loads((build / "compile_commands.json").read_text())
                    if not e["file"].startswith(str(build))
                    and not e["file"].startswith(str(root / "tests"))})
    bad = 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for path, text in pool.map(tidy, [(build, f) for f in files]):
            if text:
                print(text)
                bad += 1
    print(f"{len(files)} files, {bad} with findings")
    return 1 if bad or not files else 0


if __name__ == "__main__":
    sys.exit(main())
