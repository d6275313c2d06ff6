#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Write a C file with tables of all descriptors and files that the headers of .proto files declare.

list_descriptors.py OUTPUT HEADER...
"""
import pathlib
import re
import sys

KINDS = {f"ProtobufC{kind}Descriptor": f"all_{kind.lower()}s" for kind in ("Message", "Enum", "Service")}
KINDS["struct proto_file"] = "all_files"


def main():
    output, headers = sys.argv[1], [pathlib.Path(h) for h in sys.argv[2:]]
    text = "".join(h.read_text() for h in headers)
    lines = ['#include "tests/conformance/descriptors.h"', ""]
    for header in headers:
        include = str(header).split("/proto/", 1)[1]
        lines.append(f'#include "{include}"')
    for kind, table in KINDS.items():
        names = re.findall(rf"^extern const {kind}\s+(\w+);", text, re.M)
        lines += ["", f"const {kind} *const {table}[] = {{"]
        lines += [f"    &{name}," for name in names] + ["    NULL,", "};"]
    pathlib.Path(output).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
