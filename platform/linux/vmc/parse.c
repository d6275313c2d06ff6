/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vmc/parse.c - options, alike for all commands. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "platform/linux/vmc/vmc.h"

#define OPTIONS_MAX 32
#define LETTERS_MAX 16

static int
set_json(void *target, const char *value, struct vmt_err *err)
{
    struct vmc *vmc = target;

    (void)value;
    (void)err;
    vmc->json = true;
    return 0;
}

static int
set_system(void *target, const char *value, struct vmt_err *err)
{
    struct vmc *vmc = target;

    (void)value;
    (void)err;
    vmc->system = true;
    return 0;
}

static int
set_owner(void *target, const char *value, struct vmt_err *err)
{
    struct vmc *vmc = target;
    size_t len = strlen(value);

    /* What vm_concierge takes: the original's user hashes are hexadecimal. */
    if (len == 0 || strspn(value, "0123456789abcdefABCDEF") != len)
        return vmt_err_setx(err, EINVAL, "an owner is a hexadecimal number, not \"%s\"",
                            value);
    vmc->owner = value;
    return 0;
}

static const struct vmc_option common[] = {
    {"json", false, set_json},
    {"system", false, set_system},
    {"owner", true, set_owner},
};
#define COMMON VMT_ARRAY_SIZE(common)
#define HELP_KEY 1000
#define COMMON_KEY 500

/* Words that an option takes there: 0 when it is none of those that all commands know. */
static int
common_words(const char *word)
{
    for (size_t i = 0; strncmp(word, "--", 2) == 0 && i < COMMON; i++) {
        size_t len = strlen(common[i].name);

        if (strncmp(word + 2, common[i].name, len) != 0)
            continue;
        if (word[2 + len] == '\0')
            return common[i].has_value ? 2 : 1;
        if (word[2 + len] == '=')
            return 1;
    }
    return 0;
}

void
vmc_command_first(int argc, char **argv)
{
    int at = 1, words;
    char *command;

    while (at < argc && (words = common_words(argv[at])) > 0)
        at += words;
    if (at == 1 || at >= argc)
        return;
    command = argv[at];
    memmove(argv + 2, argv + 1, (size_t)(at - 1) * sizeof(*argv));
    argv[1] = command;
}

static size_t
longs_fill(const struct vmc_syntax *syntax, struct option *longs)
{
    size_t n = 0;

    for (const struct vmc_option *o = syntax->options; o && o->name; o++, n++)
        longs[n] = (struct option){
            o->name, o->has_value ? required_argument : no_argument, NULL, (int)n};
    for (size_t i = 0; i < COMMON; i++, n++)
        longs[n] = (struct option){common[i].name,
                                   common[i].has_value ? required_argument : no_argument,
                                   NULL, COMMON_KEY + (int)i};
    longs[n++] = (struct option){"help", no_argument, NULL, HELP_KEY};
    return n;
}

/* What getopt wants to know of letters. */
static void
order_fill(const struct vmc_syntax *syntax, char order[LETTERS_MAX])
{
    size_t n = (size_t)snprintf(order, LETTERS_MAX, "%s:h",
                                syntax->order == VMC_ORDER_FIRST ? "+" : "");

    for (const struct vmc_letter *l = syntax->letters; l && l->letter; l++)
        if (n < LETTERS_MAX - 1)
            order[n++] = l->letter;
    order[n] = '\0';
}

/* The row of the option that a letter stands for; a row itself stays. */
static int
option_row(const struct vmc_syntax *syntax, int key)
{
    for (const struct vmc_letter *l = syntax->letters; l && l->letter; l++)
        for (int i = 0; l->letter == key && syntax->options[i].name; i++)
            if (strcmp(syntax->options[i].name, l->option) == 0)
                return i;
    return key;
}

static int
option_apply(struct vmc *vmc, const struct vmc_syntax *syntax, void *target, int key,
             struct vmt_err *err)
{
    const struct vmc_option *o;

    if (key >= COMMON_KEY)
        return common[key - COMMON_KEY].set(vmc, optarg, err);
    o = &syntax->options[option_row(syntax, key)];
    return o->set(target, optarg, err);
}

static int
check_operands(const struct vmc_syntax *syntax, char **operands, size_t n,
               struct vmt_err *err)
{
    if (n < syntax->operands_min)
        return vmt_err_setx(err, EINVAL, "an argument is missing");
    if (n > syntax->operands_max)
        return vmt_err_setx(err, EINVAL, "unexpected argument %s",
                            operands[syntax->operands_max]);
    return 0;
}

int
vmc_parse(struct vmc *vmc, int argc, char **argv, const struct vmc_syntax *syntax,
          void *target, char ***ret_operands, size_t *ret_noperands, bool *ret_help,
          struct vmt_err *err)
{
    struct option longs[OPTIONS_MAX] = {0};
    char order[LETTERS_MAX];
    int key, r = 0;

    order_fill(syntax, order);
    (void)longs_fill(syntax, longs);
    *ret_help = false;
    optind = 0; /* start over, also its state: GNU */
    while (r == 0 && (key = getopt_long(argc, argv, order, longs, NULL)) != -1) {
        if (key == HELP_KEY || key == 'h') {
            *ret_help = true;
            return 0;
        }
        if (key == ':')
            r = vmt_err_setx(err, EINVAL, "%s wants a value", argv[optind - 1]);
        else if (key == '?')
            r = vmt_err_setx(err, EINVAL, "unknown option %s", argv[optind - 1]);
        else
            r = option_apply(vmc, syntax, target, key, err);
    }
    if (r < 0)
        return r;
    *ret_operands = argv + optind;
    *ret_noperands = (size_t)(argc - optind);
    return check_operands(syntax, *ret_operands, *ret_noperands, err);
}

int
vmc_begin(struct vmc *vmc, const struct vmc_command *command, int argc, char **argv,
          const struct vmc_syntax *syntax, void *target, char ***ret_operands,
          size_t *ret_noperands)
{
    struct vmt_err err;
    bool help;

    if (vmc_parse(vmc, argc, argv, syntax, target, ret_operands, ret_noperands, &help,
                  &err) < 0) {
        (void)fprintf(stderr, "vmc %s: %s; try vmc help %s\n", command->name, err.msg,
                      command->name);
        return VMC_USAGE;
    }
    if (!help)
        return -1;
    (void)printf("usage: vmc %s %s", command->name, command->usage);
    return VMC_DONE;
}
