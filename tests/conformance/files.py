#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Is what reflection gives out what the program really speaks?

files.py DUMP_PROGRAM GRPC_PROTO_FOLDER

The files that are built in must say the same as the tables that protobuf-c compiled from the same
.proto files, and be linked to the files that they import. Those of gRPC are compared with the
original's, too, as the package grpc-proto has them.
"""
import copy
import pathlib
import subprocess
import sys
import tempfile

from messages import Model, fold_maps, oneof_groups, read_dump

try:
    from google.protobuf import descriptor_pb2
except ImportError:
    print("skipped: needs the package python3-protobuf")
    sys.exit(77)

Field = descriptor_pb2.FieldDescriptorProto
# What gRPC added after the version that grpc-proto has.
NEWER = {"grpc.health.v1.HealthListRequest", "grpc.health.v1.HealthListResponse",
         "grpc.health.v1.HealthListResponse.StatusesEntry"}
NEWER_METHODS = {"grpc.health.v1.Health": {"List"}}
GRPC = ("grpc/health/v1/health.proto", "grpc/reflection/v1/reflection.proto",
        "grpc/reflection/v1alpha/reflection.proto")


def read_files(program):
    """name -> FileDescriptorProto; and what is wrong with them as such"""
    out = subprocess.run([program, "files"], capture_output=True, check=True).stdout
    files, wrong = {}, []
    while out:
        line, out = out.split(b"\n", 1)
        name, size, *imports = line.decode().split()
        data, out = out[:int(size)], out[int(size) + 1:]
        file = descriptor_pb2.FileDescriptorProto.FromString(data)
        if file.SerializeToString() != data:
            wrong.append(f"{name}: the bytes are not what they say")
        if file.name != name or list(file.dependency) != imports:
            wrong.append(f"{name}: it says that it is {file.name} and imports {file.dependency}, "
                         f"but it is linked to {imports}")
        if file.HasField("source_code_info"):
            wrong.append(f"{name}: has source info, which nobody asked for")
        files[name] = file
    return files, wrong


def add_message(model, prefix, message):
    name = f"{prefix}.{message.name}"
    fields = model.messages.setdefault(name, {})
    for f in message.field:
        kind = f.type_name[1:] or Field.Type.Name(f.type)[5:].lower()
        label = "repeated" if f.label == Field.LABEL_REPEATED else "single"
        oneof = str(f.oneof_index) if f.HasField("oneof_index") else None
        fields[f.number] = (label, kind, f.name, oneof)
    for nested in message.nested_type:
        add_message(model, name, nested)
    for enum in message.enum_type:
        model.enums[f"{name}.{enum.name}"] = {v.name: v.number for v in enum.value}


def model_of(files):
    model = Model()
    for file in files:
        for message in file.message_type:
            add_message(model, file.package, message)
        for enum in file.enum_type:
            model.enums[f"{file.package}.{enum.name}"] = {v.name: v.number for v in enum.value}
        for service in file.service:
            model.services[f"{file.package}.{service.name}"] = {
                m.name: (m.input_type[1:], m.output_type[1:]) for m in service.method}
    return model


def streams_of(files):
    return {f"{f.package}.{s.name}/{m.name}": (m.client_streaming, m.server_streaming)
            for f in files for s in f.service for m in s.method}


def without_oneof(fields):
    return {number: field[:3] for number, field in fields.items()}


def differ(what, want, have):
    for kind in ("messages", "enums", "services"):
        wanted, had = getattr(want, kind), getattr(have, kind)
        for name in sorted(set(wanted) | set(had)):
            x, y = wanted.get(name), had.get(name)
            if x is None or y is None:
                yield f"{what}: {name} is only on one side"
            elif kind != "messages" and x != y:
                yield f"{what}: {name} is {y}, not {x}"
            elif kind == "messages" and (without_oneof(x) != without_oneof(y) or
                                         oneof_groups(x) != oneof_groups(y)):
                yield f"{what}: {name} is {y}, not {x}"


def compare_with_grpc(files, folder):
    """Ours may have more, but only what NEWER names."""
    with tempfile.NamedTemporaryFile() as out:
        subprocess.run(["protoc", f"-I{folder}", f"--descriptor_set_out={out.name}", *GRPC],
                       check=True)
        originals = descriptor_pb2.FileDescriptorSet.FromString(
            pathlib.Path(out.name).read_bytes()).file
    ours = [files[name] for name in GRPC]
    have, want = model_of(ours), model_of(originals)
    for name in NEWER:
        del have.messages[name]
    for service, methods in NEWER_METHODS.items():
        for method in methods:
            del have.services[service][method]
    yield from differ("grpc-proto", want, have)
    streams = streams_of(ours)
    for method, kinds in streams_of(originals).items():
        if streams.get(method) != kinds:
            yield f"grpc-proto: {method} streams {streams.get(method)}, not {kinds}"


def is_blind(compiled, files):
    """Whether a wrong file would go unnoticed."""
    wrong = copy.deepcopy(files)
    wrong["vm_guest.proto"].message_type[0].field[0].number = 999
    return not list(differ("", compiled, folded(wrong)))


def folded(files):
    model = model_of(files.values())
    fold_maps(model)
    return model


def main():
    program, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    files, findings = read_files(program)
    compiled = read_dump(program)
    findings += differ("built in", compiled, folded(files))
    if is_blind(compiled, files):
        findings.append("the comparison does not see a wrong number")
    if folder.exists():
        findings += compare_with_grpc(files, folder)
    for finding in findings:
        print(finding)
    print(f"compared: {len(files)} files, {len(compiled.messages)} messages; "
          f"{len(findings)} findings")
    if findings or not files:
        return 1
    if not folder.exists():
        print("skipped in part: the package grpc-proto is not installed")
        return 77
    return 0


if __name__ == "__main__":
    sys.exit(main())
