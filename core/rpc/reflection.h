/* SPDX-License-Identifier: BSD-3-Clause */
/* core/rpc/reflection.h - server reflection, grpc.reflection.v1 and v1alpha: clients
 * without .proto files ask what there is and how it looks.
 *
 * It gives out the files of the services that were added to the server (the member file
 * of struct rpc_server_service) and what these import, nothing else: the same for every
 * caller, and no more than anybody can read in our sources. A service without a file is
 * listed, but nobody can look it up.
 * Source: grpc doc/server-reflection.md. */
#pragma once

struct rpc_server;
struct vmt_err;

/* Serve both on server, which owns what it takes. Returns 0, -EEXIST, -ENOMEM. */
int rpc_reflection_add(struct rpc_server *server, struct vmt_err *err);
