#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What the documents refer to is there: links with their headings, paths of this tree, and man
pages of ours."""
import pathlib
import re
import subprocess
import sys

TOPS = ("bench", "cmake", "core", "docs", "hypervisor", "p9", "packaging", "platform", "proto",
        "tests", "tools")
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")
PATH = re.compile(r"`((?:%s)/[^`\s]*)`" % "|".join(TOPS))
PAGE = re.compile(r"\b((?:vm|vsh|maitred)[a-z_-]*)\*?\((\d)\)")


def anchors(path):
    """Names of headings as forges make them."""
    heads = re.findall(r"^#+ +(.*)$", path.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in heads}


def check(path, there):
    text = path.read_text()
    for target, anchor in LINK.findall(text) if path.suffix == ".md" else ():
        if "://" in target:
            continue
        file = path.parent / target if target else path
        if not file.exists():
            yield f"no such file: {target}"
        elif anchor and anchor not in anchors(file):
            yield f"no such heading: {target}#{anchor}"
    for name in PATH.findall(text):
        if not re.search(r"[*<>{]", name) and name.rstrip("/") not in there:
            yield f"no such path: {name}"
    for name, section in PAGE.findall(text):
        if not pathlib.Path(f"docs/man/{name}.{section}.scd").exists():
            yield f"no such page: {name}({section})"


def main():
    files = subprocess.run(["git", "ls-files"], capture_output=True, text=True,
                           check=True).stdout.split("\n")
    there = {*files, *(str(p) for f in files for p in pathlib.PurePosixPath(f).parents)}
    pages = [pathlib.Path(f) for f in files
             if (f.endswith(".md") and "/" not in f) or f.startswith("docs/")]
    bad = 0
    for page in pages:
        for problem in check(page, there):
            print(f"{page}: {problem}")
            bad += 1
    print(f"{len(pages)} pages, {bad} problems")
    return 1 if bad or not pages else 0


if __name__ == "__main__":
    sys.exit(main())
