#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Compare every compiled protobuf-c descriptor with the tables of the original.

messages.py DUMP_PROGRAM TABLE_FOLDER

For each message, enum and service that we compile and that a table has, both must say the same:
a member that we lack is as wrong as one that we have too many. Fields from 1000 on are ours. A
message, enum or service that no table has is ours, too: it belongs into a package that starts
with vmt, or into OURS below; messages of gRPC and protobuf are theirs. A table whose .proto file
we have must be compiled whole.
"""
import copy
import pathlib
import re
import subprocess
import sys

FIRST_OWN_FIELD = 1000
OTHERS = ("vmt.", "google.protobuf.", "grpc.")
# Additions that live among the original's messages because fields of those use them, and the bus
# interface as a service (bus.py looks after it).
OURS = {"vm_tools.concierge.BootPhase", "vm_tools.concierge.VmConcierge"}


class Model:
    """messages: name -> {number: (label, type, name, oneof)}; enums: name -> {value name: number};
    services: name -> {method: (input, output)}; file_of: name -> table it stands in."""

    def __init__(self):
        self.messages, self.enums, self.services, self.file_of = {}, {}, {}, {}


def read_tables(folder):
    model = Model()
    for path in sorted(folder.glob("*.txt")):
        if path.name != "dbus.txt":
            read_table(model, path)
    return model


def read_table(model, path):
    current = None
    for line in path.read_text().splitlines():
        head = re.fullmatch(r"(message|enum|service) (\S+)", line)
        field = re.fullmatch(r" +(\d+) +(repeated |optional )?(map<.*>|\S+) (\w+)( +\[oneof (\w+)\])?( +\[deprecated\])?",
                             line)
        method = re.fullmatch(r"  (\w+)\((\S+)\) -> (\S+)", line)
        if head:
            kind, name = head.groups()
            current = getattr(model, kind + "s").setdefault(name, {})
            model.file_of[name] = path.stem
        elif field:
            number, label, kind, name, _, oneof, _ = field.groups()
            if label == "optional ":
                oneof = "_" + name
            repeated = "repeated" if label == "repeated " else "single"
            current[int(number)] = (repeated, kind.replace(" ", ""), name, oneof)
        elif method:
            current[method[1]] = (method[2], method[3])
        elif re.fullmatch(r"  (\w+=-?\d+)(, \w+=-?\d+)*", line):
            for item in line.split(","):
                name, value = item.strip().split("=")
                current[name] = int(value)
        elif line and not line.startswith("#"):
            sys.exit(f"{path}: cannot read: {line!r}")


def read_dump(program):
    model = Model()
    text = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    current = None
    for words in map(str.split, text.splitlines()):
        if words[0] in ("message", "enum", "service"):
            current = getattr(model, words[0] + "s").setdefault(words[1], {})
        elif words[0] == "field":
            number, label, kind, name, oneof = words[1:]
            current[int(number)] = (label, kind, name, None if oneof == "-" else oneof)
        elif words[0] == "value":
            current[words[2]] = int(words[1])
        else:
            current[words[1]] = (words[2], words[3])
    fold_maps(model)
    return model


def fold_maps(model):
    """A map is compiled as a repeated message of its own: key 1, value 2."""
    entries = set()
    for name, fields in model.messages.items():
        for number, (label, kind, field, oneof) in fields.items():
            entry = model.messages.get(kind, {})
            camel = "".join(part.capitalize() for part in field.split("_"))
            if label == "repeated" and kind == f"{name}.{camel}Entry" and set(entry) == {1, 2}:
                fields[number] = ("single", f"map<{entry[1][1]},{entry[2][1]}>", field, oneof)
                entries.add(kind)
    for kind in entries:
        del model.messages[kind]


def oneof_groups(fields):
    groups = {}
    for number, (_, _, _, oneof) in fields.items():
        if oneof is not None and number < FIRST_OWN_FIELD:
            groups.setdefault(oneof, set()).add(number)
    return sorted(map(sorted, groups.values()))


def compare_message(name, want, have):
    for number, (label, kind, field, _) in sorted(want.items()):
        if number not in have:
            yield f"{name}: field {number} {field} is missing"
        elif have[number][:3] != (label, kind, field):
            yield f"{name}: field {number} is {have[number][:3]}, not {(label, kind, field)}"
    for number in sorted(set(have) - set(want)):
        if number < FIRST_OWN_FIELD:
            yield f"{name}: field {number} {have[number][2]} is not in the table"
    if oneof_groups(want) != oneof_groups(have):
        yield f"{name}: oneofs are {oneof_groups(have)}, not {oneof_groups(want)}"


def compare_names(name, want, have):
    for key in sorted(set(want) | set(have)):
        if want.get(key) != have.get(key):
            yield f"{name}: {key} is {have.get(key)}, not {want.get(key)}"


def compare(tables, ours, compiled_files):
    for kind, differ in (("messages", compare_message), ("enums", compare_names),
                         ("services", compare_names)):
        want, have = getattr(tables, kind), getattr(ours, kind)
        for name in sorted(have):
            if name in want:
                yield from differ(name, want[name], have[name])
            elif not name.startswith(OTHERS) and name not in OURS:
                yield f"{name}: no table has it, and it is not among our additions"
        for name in sorted(set(want) - set(have)):
            if tables.file_of[name] in compiled_files:
                yield f"{name}: {tables.file_of[name]}.proto does not define it"


def mutations(ours):
    """Wrong versions of what we have, each of which the comparison must notice."""
    def changed(kind, name, edit):
        model = copy.deepcopy(ours)
        edit(getattr(model, kind), name)
        return model

    disk = "vm_tools.concierge.DiskImage"
    yield changed("messages", disk, lambda m, n: m[n].pop(8))
    yield changed("messages", disk, lambda m, n: m[n].update({12: ("single", "bool", "x", None)}))
    yield changed("messages", disk, lambda m, n: m[n].update({1: ("single", "bytes", "path", None)}))
    yield changed("messages", disk, lambda m, n: m[n].update({1: ("repeated", "string", "path", None)}))
    yield changed("messages", disk, lambda m, n: m[n].update({1: ("single", "string", "pat", None)}))
    yield changed("messages", disk, lambda m, n: m[n].update({1: ("single", "string", "path", "9")}))
    yield changed("messages", disk, lambda m, n: m.pop(n))
    yield changed("messages", "vm_tools.Extra", lambda m, n: m.update({n: {}}))
    yield changed("enums", "vm_tools.concierge.VmStatus", lambda m, n: m[n].update(VM_STATUS_RUNNING=9))
    yield changed("enums", "vm_tools.concierge.VmStatus", lambda m, n: m[n].update(MORE=9))
    yield changed("enums", "vm_tools.concierge.VmStatus", lambda m, n: m[n].popitem())
    yield changed("services", "vm_tools.Maitred", lambda m, n: m[n].popitem())
    yield changed("services", "vm_tools.Maitred",
                  lambda m, n: m[n].update(Mount=("vm_tools.EmptyMessage", "vm_tools.EmptyMessage")))


def main():
    folder = pathlib.Path(sys.argv[2])
    tables, ours = read_tables(folder), read_dump(sys.argv[1])
    protos = {p.stem for p in (folder.parents[2] / "proto").glob("*.proto")}
    findings = list(compare(tables, ours, protos))
    for finding in findings:
        print(finding)
    blind = [i for i, wrong in enumerate(mutations(ours)) if not list(compare(tables, wrong, protos))]
    if blind:
        print(f"the comparison does not see the mutations {blind}")
    shared = [sum(n in getattr(tables, k) for n in getattr(ours, k))
              for k in ("messages", "enums", "services")]
    print("compared: {} messages, {} enums, {} services; {} findings".format(*shared, len(findings)))
    return 1 if findings or blind or not all(shared) else 0


if __name__ == "__main__":
    sys.exit(main())
