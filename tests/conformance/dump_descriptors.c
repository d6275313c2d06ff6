/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/conformance/dump_descriptors.c - the compiled descriptors as text for
 * messages.py. One line each: message NAME field NUMBER LABEL TYPE NAME ONEOF   (of the
 * last message; ONEOF is a number or -) enum NAME value NUMBER NAME (of the last enum)
 *   service NAME
 *   method NAME INPUT OUTPUT             (of the last service)
 *
 * With the argument files what reflection gives out, for files.py: for each file a line
 * NAME LENGTH IMPORT..., then LENGTH bytes and a newline. */
#include <stdio.h>
#include <string.h>

#include "tests/conformance/descriptors.h"

static const char *const type_names[] = {
    [PROTOBUF_C_TYPE_INT32] = "int32",       [PROTOBUF_C_TYPE_SINT32] = "sint32",
    [PROTOBUF_C_TYPE_SFIXED32] = "sfixed32", [PROTOBUF_C_TYPE_INT64] = "int64",
    [PROTOBUF_C_TYPE_SINT64] = "sint64",     [PROTOBUF_C_TYPE_SFIXED64] = "sfixed64",
    [PROTOBUF_C_TYPE_UINT32] = "uint32",     [PROTOBUF_C_TYPE_FIXED32] = "fixed32",
    [PROTOBUF_C_TYPE_UINT64] = "uint64",     [PROTOBUF_C_TYPE_FIXED64] = "fixed64",
    [PROTOBUF_C_TYPE_FLOAT] = "float",       [PROTOBUF_C_TYPE_DOUBLE] = "double",
    [PROTOBUF_C_TYPE_BOOL] = "bool",         [PROTOBUF_C_TYPE_STRING] = "string",
    [PROTOBUF_C_TYPE_BYTES] = "bytes",
};

static const char *
field_type(const ProtobufCFieldDescriptor *f)
{
    if (f->type == PROTOBUF_C_TYPE_ENUM)
        return ((const ProtobufCEnumDescriptor *)f->descriptor)->name;
    if (f->type == PROTOBUF_C_TYPE_MESSAGE)
        return ((const ProtobufCMessageDescriptor *)f->descriptor)->name;
    return type_names[f->type];
}

static void
dump_field(const ProtobufCFieldDescriptor *f)
{
    static const char *const labels[] = {[PROTOBUF_C_LABEL_REQUIRED] = "required",
                                         [PROTOBUF_C_LABEL_OPTIONAL] = "optional",
                                         [PROTOBUF_C_LABEL_REPEATED] = "repeated",
                                         [PROTOBUF_C_LABEL_NONE] = "single"};
    const char *label = labels[f->label];

    /* The members of a oneof share the word that says which of them is set. */
    if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
        (void)printf("field %u single %s %s %u\n", f->id, field_type(f), f->name,
                     f->quantifier_offset);
    else
        (void)printf("field %u %s %s %s -\n", f->id, label, field_type(f), f->name);
}

static void
dump_enum(const ProtobufCEnumDescriptor *e)
{
    (void)printf("enum %s\n", e->name);
    for (unsigned i = 0; i < e->n_value_names; i++)
        (void)printf("value %d %s\n", e->values[e->values_by_name[i].index].value,
                     e->values_by_name[i].name);
}

static void
dump_service(const ProtobufCServiceDescriptor *s)
{
    (void)printf("service %s\n", s->name);
    for (unsigned i = 0; i < s->n_methods; i++)
        (void)printf("method %s %s %s\n", s->methods[i].name, s->methods[i].input->name,
                     s->methods[i].output->name);
}

static void
dump_file(const struct proto_file *file)
{
    (void)printf("%s %zu", file->name, file->len);
    for (const struct proto_file *const *import = file->imports; *import; import++)
        (void)printf(" %s", (*import)->name);
    (void)printf("\n");
    (void)fwrite(file->bytes, 1, file->len, stdout);
    (void)printf("\n");
}

int
main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "files") == 0) {
        for (size_t i = 0; all_files[i]; i++)
            dump_file(all_files[i]);
        return 0;
    }
    for (size_t i = 0; all_messages[i]; i++) {
        (void)printf("message %s\n", all_messages[i]->name);
        for (unsigned k = 0; k < all_messages[i]->n_fields; k++)
            dump_field(&all_messages[i]->fields[k]);
    }
    for (size_t i = 0; all_enums[i]; i++)
        dump_enum(all_enums[i]);
    for (size_t i = 0; all_services[i]; i++)
        dump_service(all_services[i]);
    return 0;
}
