#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""docs/concierge.md lists every method and signal of the daemon, and no other.

methods_told.py DUMP_PROGRAM DOCUMENT
"""
import pathlib
import re
import subprocess
import sys


def section(text, title):
    return text.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def cells(text, column):
    rows = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("| ")]
    words = " ".join(row[column] for row in rows[2:])
    return {w.lstrip("-") for w in re.findall(r"-?[A-Z]\w+", words)}


def main():
    text = pathlib.Path(sys.argv[2]).read_text()
    dump = subprocess.run([sys.argv[1]], capture_output=True, text=True, check=True).stdout
    have = {"method": set(), "signal": set()}
    for line in dump.splitlines():
        words = line.split()
        if words[0] in have:
            have[words[0]].add(words[1])
    told = {"method": cells(section(text, "Methods"), 1),
            "signal": cells(section(text, "Signals"), 0)}
    findings = [f"{kind} {name} is {'not told of' if name in have[kind] else 'told of, but not there'}"
                for kind in have for name in sorted(have[kind] ^ told[kind])]
    print("\n".join(findings))
    print(f"{len(have['method'])} methods, {len(have['signal'])} signals; {len(findings)} findings")
    return 1 if findings or not have["method"] else 0


if __name__ == "__main__":
    sys.exit(main())
