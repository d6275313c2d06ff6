#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Write a C file with tables of all descriptors that protobuf-c's headers declare.

list_descriptors.py OUTPUT HEADER...
"""
import pathlib
import re
import sys

KINDS = ("Message", "Enum", "Service")


def main():
    output, headers = sys.argv[1], [pathlib.Path(h) for h in sys.argv[2:]]
    text = "".join(h.read_text() for h in headers)
    lines = ['#include "tests/conformance/descriptors.h"', ""]
    for header in headers:
        include = str(header).split("/proto/", 1)[1]
        lines.append(f'#include "{include}"')
    for kind in KINDS:
        names = re.findall(rf"^extern const ProtobufC{kind}Descriptor\s+(\w+);", text, re.M)
        table = f"all_{kind.lower()}s"
        lines += ["", f"const ProtobufC{kind}Descriptor *const {table}[] = {{"]
        lines += [f"    &{name}," for name in names] + ["    NULL,", "};"]
    pathlib.Path(output).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
