/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/image/untrace.c - spare the kernel what it does for tracing when it
 * loads a module.
 *
 * Compilers put a call of __fentry__ at the begin of every function and the place of it
 * into section __mcount_loc. The kernel turns each into a NOP, one at a time, with a
 * serialized processor around it: ftrace_module_init in kernel/trace/ftrace.c and
 * text_poke_early in arch/x86/kernel/alternative.c of Linux 6.1. Modules whose section is
 * empty are left alone.
 *
 * Section .BTF describes a module's types on top of the kernel's own, all of which are
 * read and checked for the first such module: btf_parse_module in kernel/bpf/btf.c. */
#include <elf.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "platform/linux/image/image_internal.h"

#define CALL_BYTES 5u

/* call with a displacement that a relocation will fill in, and the kernel's NOP of that
 * length, x86_nops[5]. */
static const uint8_t call_code[CALL_BYTES] = {0xe8, 0, 0, 0, 0};
static const uint8_t nop_code[CALL_BYTES] = {0x0f, 0x1f, 0x44, 0x00, 0x00};

struct module {
    uint8_t *data;
    size_t len;
    Elf64_Shdr *sections;
    size_t n;
};

static void *
at(const struct module *m, uint64_t offset, uint64_t bytes, size_t align)
{
    if (offset > m->len || bytes > m->len - offset || offset % align)
        return NULL;
    return m->data + offset;
}

static bool
module_open(struct module *m)
{
    static const unsigned char wanted[] = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB};
    const Elf64_Ehdr *head = at(m, 0, sizeof(*head), _Alignof(Elf64_Ehdr));

    if (!head || memcmp(head->e_ident, wanted, sizeof(wanted)) != 0 ||
        head->e_machine != EM_X86_64 || head->e_type != ET_REL ||
        head->e_shentsize != sizeof(Elf64_Shdr))
        return false;
    m->n = head->e_shnum;
    m->sections = at(m, head->e_shoff, m->n * sizeof(Elf64_Shdr), _Alignof(Elf64_Shdr));
    return m->sections != NULL && head->e_shstrndx < m->n;
}

/* A text in a table of them that ends with a NUL; "" when it is not there. */
static const char *
text_of(const struct module *m, size_t table, uint32_t offset)
{
    const Elf64_Shdr *s = table < m->n ? &m->sections[table] : NULL;
    const char *texts = s ? at(m, s->sh_offset, s->sh_size, 1) : NULL;

    if (!texts || offset >= s->sh_size || texts[s->sh_size - 1] != '\0')
        return "";
    return texts + offset;
}

static Elf64_Shdr *
find_section(const struct module *m, const char *name)
{
    const Elf64_Ehdr *head = (const Elf64_Ehdr *)(const void *)m->data;

    for (size_t i = 0; i < m->n; i++)
        if (strcmp(text_of(m, head->e_shstrndx, m->sections[i].sh_name), name) == 0)
            return &m->sections[i];
    return NULL;
}

/* The entries of a section of relocations, NULL when it is none. */
static Elf64_Rela *
relocations(const struct module *m, const Elf64_Shdr *s, size_t *ret_n)
{
    if (s->sh_type != SHT_RELA || s->sh_entsize != sizeof(Elf64_Rela))
        return NULL;
    *ret_n = s->sh_size / sizeof(Elf64_Rela);
    return at(m, s->sh_offset, s->sh_size, _Alignof(Elf64_Rela));
}

static const Elf64_Sym *
symbol(const struct module *m, const Elf64_Shdr *relocs, uint64_t info)
{
    const Elf64_Shdr *table =
        relocs->sh_link < m->n ? &m->sections[relocs->sh_link] : NULL;
    uint64_t i = ELF64_R_SYM(info);
    const Elf64_Sym *all =
        table ? at(m, table->sh_offset, table->sh_size, _Alignof(Elf64_Sym)) : NULL;

    return all && i < table->sh_size / sizeof(*all) ? &all[i] : NULL;
}

static bool
is_fentry(const struct module *m, const Elf64_Shdr *relocs, const Elf64_Rela *r)
{
    const Elf64_Sym *s = symbol(m, relocs, r->r_info);
    size_t names = relocs->sh_link < m->n ? m->sections[relocs->sh_link].sh_link : m->n;

    return s && strcmp(text_of(m, names, s->st_name), "__fentry__") == 0;
}

/* The relocation that would fill in the call at offset of a section; NULL: none. */
static Elf64_Rela *
find_call(const struct module *m, size_t section, uint64_t offset)
{
    for (size_t i = 0; i < m->n; i++) {
        const Elf64_Shdr *s = &m->sections[i];
        size_t n = 0;
        Elf64_Rela *r = s->sh_info == section ? relocations(m, s, &n) : NULL;

        for (size_t k = 0; r && k < n; k++)
            if (r[k].r_offset == offset + 1 && is_fentry(m, s, &r[k]))
                return &r[k];
    }
    return NULL;
}

/* Where a relocation of __mcount_loc points: a call, and its own relocation. */
static bool
find_site(const struct module *m, const Elf64_Shdr *relocs, const Elf64_Rela *r,
          uint8_t **ret_code, Elf64_Rela **ret_call)
{
    const Elf64_Sym *s = symbol(m, relocs, r->r_info);
    const Elf64_Shdr *code = s && s->st_shndx < m->n ? &m->sections[s->st_shndx] : NULL;
    uint64_t offset = s ? s->st_value + (uint64_t)r->r_addend : 0;

    if (!code || ELF64_R_TYPE(r->r_info) != R_X86_64_64 || code->sh_size < CALL_BYTES ||
        offset > code->sh_size - CALL_BYTES)
        return false;
    *ret_code = at(m, code->sh_offset, code->sh_size, 1);
    *ret_call = find_call(m, s->st_shndx, offset);
    if (!*ret_code || !*ret_call)
        return false;
    *ret_code += offset;
    return memcmp(*ret_code, call_code, CALL_BYTES) == 0;
}

size_t
image_module_untrace(void *data, size_t len)
{
    struct module m = {.data = data, .len = len};
    Elf64_Shdr *list, *relocs;
    Elf64_Rela *r, *call;
    uint8_t *code;
    size_t n = 0;

    if (!module_open(&m))
        return 0;
    list = find_section(&m, "__mcount_loc");
    relocs = find_section(&m, ".rela__mcount_loc");
    r = list && relocs ? relocations(&m, relocs, &n) : NULL;
    for (size_t i = 0; r && i < n; i++)
        if (!find_site(&m, relocs, &r[i], &code, &call))
            return 0; /* not as we know it: the kernel shall see to it */
    for (size_t i = 0; r && i < n; i++) {
        (void)find_site(&m, relocs, &r[i], &code, &call);
        memcpy(code, nop_code, CALL_BYTES);
        call->r_info = ELF64_R_INFO(0, R_X86_64_NONE);
    }
    if (r) {
        list->sh_size = 0;
        relocs->sh_size = 0;
    }
    return n;
}

bool
image_module_untype(void *data, size_t len)
{
    struct module m = {.data = data, .len = len};
    Elf64_Shdr *types = module_open(&m) ? find_section(&m, ".BTF") : NULL;

    /* A module that offers functions to BPF programs does not start without types. */
    if (!types || types->sh_size == 0 || find_section(&m, ".BTF_ids"))
        return false;
    types->sh_size = 0;
    return true;
}
