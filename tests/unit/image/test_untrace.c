/* SPDX-License-Identifier: BSD-3-Clause */
/* Trace points and types of kernel modules, on an object that the assembler has made. */
#include <elf.h>
#include <gelf.h>
#include <libelf.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "platform/linux/image/image_internal.h"
#include "platform/linux/os/paths.h"
#include "tests/unit/test.h"

#define OBJECT_MAX (1ul << 20)

struct object {
    char *data; /* owned */
    unsigned long len;
    Elf *elf;
};

static void
object_open(struct object *o)
{
    assert_int_equal(os_read_file(VMT_TRACED_OBJECT, OBJECT_MAX, &o->data, &o->len, NULL),
                     0);
}

/* Look at it as somebody else would. */
static void
object_parse(struct object *o)
{
    assert_int_not_equal(elf_version(EV_CURRENT), EV_NONE);
    o->elf = elf_memory(o->data, o->len);
    assert_non_null(o->elf);
}

static void
object_close(struct object *o)
{
    (void)elf_end(o->elf);
    free(o->data);
}

static Elf_Scn *
section(struct object *o, const char *name, GElf_Shdr *ret_header)
{
    size_t names;

    assert_int_equal(elf_getshdrstrndx(o->elf, &names), 0);
    for (Elf_Scn *s = elf_nextscn(o->elf, NULL); s; s = elf_nextscn(o->elf, s)) {
        assert_non_null(gelf_getshdr(s, ret_header));
        if (strcmp(elf_strptr(o->elf, names, ret_header->sh_name), name) == 0)
            return s;
    }
    fail_msg("there is no section %s", name);
    return NULL;
}

/* Relocations of a section that still do something. */
static size_t
relocations(struct object *o, const char *name)
{
    GElf_Shdr header;
    Elf_Data *data = elf_getdata(section(o, name, &header), NULL);
    size_t n = 0;
    GElf_Rela r;

    for (int i = 0; gelf_getrela(data, i, &r) != NULL; i++)
        n += GELF_R_TYPE(r.r_info) != R_X86_64_NONE;
    return n;
}

static void
listed_calls_become_nops_and_others_stay(void **state)
{
    static const unsigned char expected[] = {
        0x0f, 0x1f, 0x44, 0x00, 0x00, 0xc3, /* first */
        0xe8, 0x00, 0x00, 0x00, 0x00, 0xc3, /* quiet */
        0x0f, 0x1f, 0x44, 0x00, 0x00, 0xc3, /* second */
    };
    struct object o = {.len = 0};
    GElf_Shdr header;
    Elf_Data *code;

    (void)state;
    object_open(&o);
    assert_int_equal(image_module_untrace(o.data, o.len), 2);
    object_parse(&o);
    code = elf_getdata(section(&o, ".text.traced", &header), NULL);
    assert_int_equal(code->d_size, sizeof(expected));
    assert_memory_equal(code->d_buf, expected, sizeof(expected));
    assert_int_equal(relocations(&o, ".rela.text.traced"), 1);   /* of quiet */
    assert_int_equal(relocations(&o, ".rela.text.unlisted"), 1); /* the kernel's to do */
    (void)section(&o, "__mcount_loc", &header);
    assert_int_equal(header.sh_size, 0);
    (void)section(&o, ".rela__mcount_loc", &header);
    assert_int_equal(header.sh_size, 0);
    assert_int_equal(image_module_untrace(o.data, o.len), 0); /* nothing is left */
    object_close(&o);
}

/* A place that is no such call: then the kernel decides about all of them. */
static void
an_object_of_another_form_stays_as_it_is(void **state)
{
    static const char call[] = "\xe8\x00\x00\x00\x00\xc3";
    struct object o = {.len = 0};
    VMT_CLEANUP(vmt_freep) char *before = NULL;
    char *first;

    (void)state;
    object_open(&o);
    first = memmem(o.data, o.len, call, sizeof(call) - 1);
    assert_non_null(first);
    *first = (char)0x90;
    before = malloc(o.len);
    assert_non_null(before);
    memcpy(before, o.data, o.len);
    assert_int_equal(image_module_untrace(o.data, o.len), 0);
    assert_memory_equal(o.data, before, o.len);
    object_close(&o);
}

static void
types_are_emptied_once(void **state)
{
    struct object o = {.len = 0};
    GElf_Shdr header;

    (void)state;
    object_open(&o);
    assert_true(image_module_untype(o.data, o.len));
    object_parse(&o);
    (void)section(&o, ".BTF", &header);
    assert_int_equal(header.sh_size, 0);
    assert_false(image_module_untype(o.data, o.len));
    object_close(&o);
}

/* It registers functions by their types. */
static void
a_module_that_offers_functions_keeps_its_types(void **state)
{
    static const char name[] = ".text.unlisted", ids[] = ".BTF_ids";
    struct object o = {.len = 0};
    char *at;

    (void)state;
    object_open(&o);
    for (size_t n = 0; (at = memmem(o.data, o.len, name, sizeof(name))); n++) {
        assert_true(n < 2); /* the section and its relocations share the text */
        memcpy(at, ids, sizeof(ids));
    }
    assert_false(image_module_untype(o.data, o.len));
    object_close(&o);
}

/* Cut short, and with every byte of its headers spoilt: the sanitizers look on. */
static void
damaged_objects_are_read_within_their_bounds(void **state)
{
    struct object o = {.len = 0};

    (void)state;
    object_open(&o);
    for (unsigned long i = 0; i < o.len; i++) {
        VMT_CLEANUP(vmt_freep) char *copy = malloc(o.len);

        assert_non_null(copy);
        memcpy(copy, o.data, o.len);
        copy[i] = (char)~copy[i];
        (void)image_module_untrace(copy, o.len);
        (void)image_module_untype(copy, o.len);
    }
    for (unsigned long len = 0; len < o.len; len++) {
        VMT_CLEANUP(vmt_freep) char *copy = malloc(len + 1);

        assert_non_null(copy);
        memcpy(copy, o.data, len);
        assert_int_equal(image_module_untrace(copy, len), 0);
        assert_false(image_module_untype(copy, len));
    }
    object_close(&o);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(listed_calls_become_nops_and_others_stay),
        cmocka_unit_test(an_object_of_another_form_stays_as_it_is),
        cmocka_unit_test(types_are_emptied_once),
        cmocka_unit_test(a_module_that_offers_functions_keeps_its_types),
        cmocka_unit_test(damaged_objects_are_read_within_their_bounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
