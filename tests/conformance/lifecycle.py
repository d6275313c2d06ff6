#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The state picture in docs/concierge.md is the table in the code.

lifecycle.py DUMP_PROGRAM DOCUMENT [--write]
"""
import difflib
import pathlib
import subprocess
import sys

FENCE = "```mermaid\n"


def main():
    program, document = sys.argv[1], pathlib.Path(sys.argv[2])
    want = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    text = document.read_text()
    begin = text.index(FENCE) + len(FENCE)
    end = text.index("```", begin)
    have = text[begin:end]
    if have == want:
        print(f"{len(want.splitlines())} lines agree")
        return 0
    if "--write" in sys.argv:
        document.write_text(text[:begin] + want + text[end:])
        print(f"{document.name} rewritten")
        return 0
    print("".join(difflib.unified_diff(have.splitlines(True), want.splitlines(True),
                                       document.name, "the table")))
    print(f"put it right with: {sys.argv[0]} {program} {document} --write")
    return 1


if __name__ == "__main__":
    sys.exit(main())
