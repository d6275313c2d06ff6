/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/rpc/handlers.h - one handler for each call of the host. ctx is
 * the struct agent. */
#pragma once

#include "core/rpc/server.h"

extern const struct rpc_server_service maitred_service; /* vm_tools.Maitred */
extern const struct rpc_server_service agent_service;   /* vmt.Agent, our own */

/* All have the type rpc_handler_fn. */
rpc_handler_fn handle_configure_container_guest;
rpc_handler_fn handle_configure_network;
rpc_handler_fn handle_freeze;
rpc_handler_fn handle_get_available_space;
rpc_handler_fn handle_get_boot_report;
rpc_handler_fn handle_get_disk_space;
rpc_handler_fn handle_get_kernel_version;
rpc_handler_fn handle_get_resize_bounds;
rpc_handler_fn handle_get_resize_status;
rpc_handler_fn handle_launch_process;
rpc_handler_fn handle_list_programs;
rpc_handler_fn handle_mount;
rpc_handler_fn handle_mount_9p;
rpc_handler_fn handle_on_host_network_changed;
rpc_handler_fn handle_prepare_to_suspend;
rpc_handler_fn handle_resize_filesystem;
rpc_handler_fn handle_set_identity;
rpc_handler_fn handle_set_resolv_config;
rpc_handler_fn handle_set_time;
rpc_handler_fn handle_set_timezone;
rpc_handler_fn handle_set_up_user;
rpc_handler_fn handle_shutdown;
rpc_handler_fn handle_stop_program;
rpc_handler_fn handle_start_termina;
rpc_handler_fn handle_update_storage_balloon;
rpc_handler_fn handle_thaw;

/* Answer with an empty message. */
void rpc_reply_empty(struct rpc_server_call *call);
