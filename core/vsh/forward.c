/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/vsh/forward.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/str.h"

#define PARTS_MAX 4u
#define SUN_PATH_MAX 107u /* of sockaddr_un, without the NUL */

/* Cut text at its colons, but not inside of brackets, which are dropped. Returns the
 * number of parts, or 0 when it makes no sense. */
static size_t
parts_cut(char *text, char **parts)
{
    size_t n = 0;

    for (size_t i = 0; i < PARTS_MAX; i++)
        parts[i] = text;
    for (char *at = text; at;) {
        char *end = *at == '[' ? strchr(at, ']') : at;

        if (n == PARTS_MAX || !end)
            return 0;
        if (*at == '[') {
            if (end[1] != ':' && end[1] != '\0')
                return 0;
            *end++ = '\0';
            at++;
        }
        parts[n++] = at;
        end = strchr(end, ':');
        if (end)
            *end++ = '\0';
        at = end;
    }
    return n;
}

static int
port_parse(const char *text, uint32_t min, uint32_t *ret_port, struct vmt_err *err)
{
    uint64_t port;

    if (vmt_parse_u64(text, UINT16_MAX, &port) < 0 || port < min)
        return vmt_err_setx(err, EINVAL, "%s is no port number", text);
    *ret_port = (uint32_t)port;
    return 0;
}

static int
path_take(const char *part, struct vsh_address *ret, struct vmt_err *err)
{
    if (strlen(part) > SUN_PATH_MAX)
        return vmt_err_setx(err, EINVAL, "the path of a socket has at most %u bytes: %s",
                            SUN_PATH_MAX, part);
    ret->path = part;
    return 0;
}

/* Take where to connect off the end of the parts. Returns how many are left. */
static int
connect_take(char **parts, size_t n, struct vsh_address *ret, struct vmt_err *err)
{
    int r;

    if (n >= 2 && *parts[n - 1] == '/') {
        r = path_take(parts[n - 1], ret, err);
        return r < 0 ? r : (int)n - 1;
    }
    if (n < 3 || *parts[n - 2] == '\0')
        return vmt_err_setx(err, EINVAL, "HOST:PORT or a path to connect to is missing");
    ret->host = parts[n - 2];
    r = port_parse(parts[n - 1], 1, &ret->port, err);
    return r < 0 ? r : (int)n - 2;
}

static int
listen_take(char **parts, size_t n, struct vsh_address *ret, struct vmt_err *err)
{
    if (n == 1 && *parts[0] == '/')
        return path_take(parts[0], ret, err);
    if (n == 2)
        ret->host = *parts[0] ? parts[0] : "*"; /* as ssh(1) has it */
    if (n > 2 || *ret->host == '/')
        return vmt_err_setx(err, EINVAL, "it has too many parts");
    return port_parse(parts[n - 1], 0, &ret->port, err);
}

int
vsh_forward_parse(const char *text, struct vsh_forward_spec *ret_spec,
                  struct vmt_err *err)
{
    VMT_CLEANUP(vsh_forward_spec_done)
    struct vsh_forward_spec spec = {.listen = {.host = "", .path = ""},
                                    .connect = {.host = "", .path = ""}};
    char *parts[PARTS_MAX];
    size_t n;
    int r;

    spec.text = strdup(text);
    if (!spec.text)
        return vmt_err_set(err, ENOMEM, "forward %s", text);
    n = parts_cut(spec.text, parts);
    r = n == 0 ? vmt_err_setx(err, EINVAL, "it has too many parts, or a bracket is open")
               : connect_take(parts, n, &spec.connect, err);
    if (r > 0)
        r = listen_take(parts, (size_t)r, &spec.listen, err);
    if (r < 0)
        return vmt_err_wrap(err, r, "forward %s", text);
    *ret_spec = spec;
    spec.text = NULL;
    return 0;
}

void
vsh_forward_spec_done(struct vsh_forward_spec *spec)
{
    free(spec->text);
    spec->text = NULL;
}
