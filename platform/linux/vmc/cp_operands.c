/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/copy/path.h"
#include "platform/linux/vmc/cp.h"

/* Take "VM:PATH" apart; all of them on one side name the same VM. */
static int
take_vm(char **vm_name, const char *word, const char **ret_path, struct vmt_err *err)
{
    const char *colon = copy_path_colon(word);
    VMT_CLEANUP(vmt_freep) char *name = NULL;

    if (!colon)
        return vmt_err_setx(
            err, EINVAL, "%s is of this host; one side has to be of a VM, as NAME:PATH",
            word);
    name = strndup(word, (size_t)(colon - word));
    if (!name)
        return vmt_err_set(err, ENOMEM, "read the operands");
    if (*vm_name && strcmp(*vm_name, name) != 0)
        return vmt_err_setx(err, EINVAL, "copy from one VM at a time, not from %s and %s",
                            *vm_name, name);
    if (!*vm_name)
        *vm_name = vmt_take_ptr(&name);
    *ret_path = colon + 1;
    return 0;
}

static int
take_sources(struct cp *cp, char *const *words, struct vmt_err *err)
{
    int r = 0;

    for (size_t i = 0; i < cp->nsources && r == 0; i++) {
        cp->sources[i] = words[i];
        if (!cp->to_vm)
            r = take_vm(&cp->vm_name, words[i], &cp->sources[i], err);
        else if (copy_path_colon(words[i]) && (i == 0 || cp->source_vm))
            r = take_vm(&cp->source_vm, words[i], &cp->sources[i], err);
        else if (copy_path_colon(words[i]) || cp->source_vm)
            r = vmt_err_setx(err, EINVAL,
                             "copy from this host or from a VM, not from both");
        if (r == 0 && cp->to_vm && strcmp(words[i], "-") == 0)
            cp->content = true;
    }
    return r;
}

/* What the sources are called tells what may come. */
static int
take_names(struct cp *cp, struct vmt_err *err)
{
    for (size_t i = 0; i < cp->nsources && !(cp->to_vm && cp->content); i++) {
        int r = copy_path_name(cp->sources[i], &cp->names[i]);

        if (r == -EINVAL)
            return vmt_err_setx(err, EINVAL,
                                "\"%s\" has no name that the copy could have",
                                cp->sources[i]);
        if (r < 0)
            return vmt_err_set(err, -r, "read the operands");
    }
    return 0;
}

int
cp_operands(struct cp *cp, char *const *words, size_t n, struct vmt_err *err)
{
    const char *last = words[n - 1];
    int r;

    cp->to_vm = copy_path_colon(last) != NULL;
    cp->nsources = n - 1;
    cp->destination = last;
    cp->sources = calloc(n, sizeof(char *));
    cp->names = calloc(n, sizeof(char *));
    if (!cp->sources || !cp->names)
        return vmt_err_set(err, ENOMEM, "read the operands");
    r = cp->to_vm ? take_vm(&cp->vm_name, last, &cp->destination, err) : 0;
    if (r == 0)
        r = take_sources(cp, words, err);
    if (r == 0 && !cp->to_vm && strcmp(last, "-") == 0)
        cp->content = true;
    if (r == 0 && cp->content && cp->nsources > 1)
        r = vmt_err_setx(err, EINVAL, "\"-\" is one file, and there are several");
    if (r == 0 && cp->content && cp->recursive)
        r = vmt_err_setx(err, EINVAL, "\"-\" is one file, not a folder");
    if (r == 0 && cp->content && cp->to_vm &&
        copy_path_name(cp->destination, &cp->names[0]) < 0)
        r = vmt_err_setx(err, EINVAL, "name the file that \"-\" becomes, not \"%s\"",
                         cp->destination);
    return r < 0 ? r : take_names(cp, err);
}

void
cp_done(struct cp *cp)
{
    for (size_t i = 0; cp->names && i < cp->nsources; i++)
        free(cp->names[i]);
    free(cp->names);
    free(cp->sources);
    free(cp->vm_name);
    free(cp->source_vm);
    memset(cp, 0, sizeof(*cp));
}
