/* SPDX-License-Identifier: BSD-3-Clause */
/* core/vsh/message.h - the messages of the vsock shell as plain structs.
 * Source: platform2 3050786c, vm_tools/proto/vsh.proto. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The target that stands for the VM itself; any other one names a container. */
#define VSH_TARGET_VM "/vm_shell"
/* Ours: the other side of a copy of files, whose arguments argv holds. A server that does
 * not know it looks for a program of that name. */
#define VSH_TARGET_COPY "/vm_copy"
#define VSH_COPY_PROGRAM "vm_copy" /* argv[0] */

enum vsh_stream {
    VSH_STREAM_STDIN = 1,
    VSH_STREAM_STDOUT = 2,
    VSH_STREAM_STDERR = 3,
};

enum vsh_status {
    VSH_STATUS_UNKNOWN = 0,
    VSH_STATUS_READY = 1,
    VSH_STATUS_EXITED = 2,
    VSH_STATUS_FAILED = 3,
};

struct vsh_env {
    const char *name;  /* borrowed */
    const char *value; /* borrowed */
};

/* What both ends must know to use it: bits of request and response. */
#define VSH_FEATURE_LARGE_FRAMES                                                         \
    1u                          /* up to VSH_LARGE_BODY_MAX, after the first frames      \
                                 */
#define VSH_FEATURE_FORWARD 2u  /* connect, accepted, listen, no_command */
#define VSH_FEATURE_SESSIONS 4u /* list_sessions */
#define VSH_FEATURES                                                                     \
    (VSH_FEATURE_LARGE_FRAMES | VSH_FEATURE_FORWARD | VSH_FEATURE_SESSIONS)

/* Where a socket of the guest connects to, or listens. No string is NULL when it was
 * decoded; NULL counts as empty when it is encoded. */
struct vsh_address {
    const char *host; /* "": the loopback */
    uint32_t port;    /* 0..65535 when decoded */
    const char *path; /* not "": a unix socket instead */
    bool agent;       /* a listener whose place the server chooses, for SSH_AUTH_SOCK */
};

#define VSH_LISTENERS_MAX 16u /* of one session: their addresses fit into a response */
#define VSH_TOKEN_BYTES 16u

/* What the client asks for in its first frame. No string is NULL when it was decoded;
 * NULL counts as empty when it is encoded. */
struct vsh_request {
    const char *target;
    const char *user; /* "": the server's choice */
    const struct vsh_env *env;
    size_t nenv;
    const char *const *argv; /* argc strings; none: a login shell */
    size_t argc;
    int32_t rows, cols; /* window size, 0 if unknown */
    bool nopty;         /* three pipes instead of a terminal */
    const char *cwd;
    int32_t cwd_pid; /* start in the directory of this process of the guest */

    uint32_t features; /* VSH_FEATURE_ bits of the client */
    /* At most one of these four, instead of a command. */
    bool no_command;
    const struct vsh_address *connect; /* NULL: none */
    const uint8_t *accepted;           /* NULL, or VSH_TOKEN_BYTES */
    bool list_sessions;
    const struct vsh_address *listen; /* nlisten of them */
    size_t nlisten;                   /* 0..VSH_LISTENERS_MAX */
};

/* The server's first frame. */
struct vsh_response {
    enum vsh_status status;
    const char *text; /* not NULL when decoded */
    int32_t pid;
    int32_t exit_code; /* 126 or 127 when the command could not be run, else 0 */
    uint32_t features; /* VSH_FEATURE_ bits that hold from now on */
    const struct vsh_address *listening; /* where the listeners are, nlistening of them */
    size_t nlistening;                   /* 0..VSH_LISTENERS_MAX */
};

/* One session of the list. Strings as in struct vsh_address. */
struct vsh_session_info {
    uint32_t id;
    int32_t pid;
    uint32_t uid;
    const char *user;
    const char *tty;
    const char *command;
    int64_t since;       /* seconds since 1970-01-01 UTC, by the guest's clock */
    uint64_t seconds;    /* that it has lasted */
    const char *cgroup;  /* "": none */
    const char *forward; /* "", or where the connection goes that it carries */
};

enum vsh_kind {
    VSH_KIND_NONE = 0, /* an empty message, or one from a newer peer: ignored */
    VSH_KIND_DATA,
    VSH_KIND_STATUS,
    VSH_KIND_RESIZE,   /* to the guest only */
    VSH_KIND_SIGNAL,   /* to the guest only */
    VSH_KIND_ACCEPTED, /* to the host only, to clients with VSH_FEATURE_FORWARD */
    VSH_KIND_SESSION,  /* to the host only, answers list_sessions */
    VSH_KIND_COUNT
};

/* Everything after the first frames, both ways. */
struct vsh_message {
    enum vsh_kind kind;
    int stream; /* DATA: enum vsh_stream, or what else the peer sent */
    const uint8_t *data;
    size_t len;           /* DATA: 0 is the end of the stream */
    int status;           /* STATUS: enum vsh_status, or what else the peer sent */
    int32_t code;         /* STATUS */
    const char *text;     /* STATUS */
    int32_t rows, cols;   /* RESIZE */
    int signal;           /* SIGNAL: number as on Linux */
    uint32_t listener;    /* ACCEPTED: index in the request's list */
    const uint8_t *token; /* ACCEPTED: VSH_TOKEN_BYTES */
    struct vsh_session_info session; /* SESSION */
};

/* Each writes one frame to out, VSH_FRAME_MAX bytes, and returns its length, or -EMSGSIZE
 * when it would be too long (a data chunk: above VSH_DATA_MAX). */
ssize_t vsh_request_encode(const struct vsh_request *request, uint8_t *out);
ssize_t vsh_response_encode(const struct vsh_response *response, uint8_t *out);
ssize_t vsh_guest_encode(const struct vsh_message *message, uint8_t *out);
ssize_t vsh_host_encode(const struct vsh_message *message, uint8_t *out);

/* A decoded message and what its pointers point into. All zeroes is empty. */
struct vsh_decoded {
    union {
        struct vsh_request request;
        struct vsh_response response;
        struct vsh_message message;
    };
    void *unpacked; /* owned */
    void *lists;    /* owned */
};

/* Each parses one payload. Returns 0, -EBADMSG when it is no such message or has a field
 * of ours out of its bounds, -ENOMEM. What is decoded may point into body. The
 * result is released with vsh_decoded_done. */
int vsh_request_decode(const uint8_t *body, size_t len, struct vsh_decoded *ret);
int vsh_response_decode(const uint8_t *body, size_t len, struct vsh_decoded *ret);
int vsh_guest_decode(const uint8_t *body, size_t len, struct vsh_decoded *ret);
int vsh_host_decode(const uint8_t *body, size_t len, struct vsh_decoded *ret);
void vsh_decoded_done(struct vsh_decoded *decoded);
