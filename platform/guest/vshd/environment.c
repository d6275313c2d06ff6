/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/vshd/environment.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/vsh/message.h"
#include "platform/guest/vshd/account.h"

/* What login(1) of Debian gives root and everybody else. */
#define PATH_ROOT "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define PATH_USER "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games"

/* Where name=... stands in env, or env->n. */
static size_t
env_find(const struct vmt_argv *env, const char *name)
{
    size_t len = strlen(name), i;

    for (i = 0; i < env->n; i++)
        if (strncmp(env->v[i], name, len) == 0 && env->v[i][len] == '=')
            break;
    return i;
}

static void
env_set(struct vmt_argv *env, const char *name, const char *value)
{
    size_t at = env_find(env, name), last = env->n;

    vmt_argv_addf(env, "%s=%s", name, value);
    if (at == last || env->n == last)
        return;
    free(env->v[at]);
    env->v[at] = env->v[last];
    env->v[last] = NULL;
    env->n = last;
}

static void
env_default(struct vmt_argv *env, const char *name, const char *value)
{
    if (env_find(env, name) == env->n)
        env_set(env, name, value);
}

int
environment_build(const char *const *inherited, const struct account *account,
                  const struct vsh_request *request, struct vmt_argv *ret_env)
{
    struct vmt_argv env = {0};
    int r;

    for (; inherited && *inherited; inherited++)
        vmt_argv_add(&env, *inherited);
    env_set(&env, "HOME", account->home);
    env_set(&env, "SHELL", account->shell);
    env_set(&env, "USER", account->name);
    env_set(&env, "LOGNAME", account->name);
    for (size_t i = 0; i < request->nenv; i++) {
        const char *name = request->env[i].name;

        if (*name && !strchr(name, '='))
            env_set(&env, name, request->env[i].value);
    }
    env_default(&env, "PATH", account->uid == 0 ? PATH_ROOT : PATH_USER);
    env_default(&env, "TERM", "linux");
    r = vmt_argv_finish(&env, NULL);
    if (r == 0)
        *ret_env = env;
    return r;
}
