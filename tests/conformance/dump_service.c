/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/conformance/dump_service.c - concierge's method table for bus.py, as text with
 * "method NAME REQUEST REPLY FDS_IN FDS_OUT" and "signal NAME MESSAGE" lines; with the
 * argument xml, its introspection data. It fails when ipc refuses the table. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <protobuf-c/protobuf-c.h>

#include "core/base/err.h"
#include "core/concierge/service.h"
#include "core/ipc/ipc.h"
#include "platform/linux/dbus/dbus_server.h"

static const char *
type_name(const struct ProtobufCMessageDescriptor *type)
{
    return type ? type->name : "-";
}

static void
dump(const struct ipc_service *s)
{
    (void)printf("service %s %s %s\n", s->dbus_name, s->dbus_path, s->grpc_name);
    for (size_t i = 0; i < s->nmethods; i++)
        (void)printf("method %s %s %s %d %d\n", s->methods[i].name,
                     type_name(s->methods[i].request), type_name(s->methods[i].reply),
                     s->methods[i].fds_in, s->methods[i].fds_out);
    for (size_t i = 0; i < s->nsignals; i++)
        (void)printf("signal %s %s\n", s->signals[i].name,
                     type_name(s->signals[i].message));
}

int
main(int argc, char **argv)
{
    struct ipc_identity self = {0};
    struct vmt_err err = {0};
    struct ipc *ipc;
    char *xml;

    if (ipc_new(&concierge_service, NULL, &self, &ipc, &err) < 0) {
        (void)fprintf(stderr, "%s\n", vmt_err_text(&err));
        return 1;
    }
    ipc_free(ipc);
    if (argc < 2 || strcmp(argv[1], "xml") != 0) {
        dump(&concierge_service);
        return 0;
    }
    xml = dbus_server_xml(&concierge_service);
    if (!xml)
        return 1;
    (void)fputs(xml, stdout);
    free(xml);
    return 0;
}
