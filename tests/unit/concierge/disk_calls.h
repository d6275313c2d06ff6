/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/concierge/disk_calls.h - the disk methods as clients call them. Requests
 * belong to WORLD_OWNER; what is given is borrowed. */
#pragma once

#include "tests/unit/concierge/world.h"

struct guest;

#define DISK_STATUS(name) VM_TOOLS__CONCIERGE__DISK_IMAGE_STATUS__DISK_STATUS_##name

void create_request(VmTools__Concierge__CreateDiskImageRequest *rq, const char *name,
                    uint64_t size);
void export_request(VmTools__Concierge__ExportDiskImageRequest *rq, const char *name);
void import_request(VmTools__Concierge__ImportDiskImageRequest *rq, const char *name);
void list_request(VmTools__Concierge__ListVmDisksRequest *rq, const char *name);
/* "rename" with one parameter. */
void adjust_request(VmTools__Concierge__AdjustVmRequest *rq, const char *name,
                    char **params);

/* Each checks that the call was answered. */
const VmTools__Concierge__CreateDiskImageResponse *
create_reply(const struct client_call *call);
const VmTools__Concierge__DestroyDiskImageResponse *
destroy_reply(const struct client_call *call);
const VmTools__Concierge__ExportDiskImageResponse *
export_reply(const struct client_call *call);
const VmTools__Concierge__ImportDiskImageResponse *
import_reply(const struct client_call *call);
const VmTools__Concierge__ResizeDiskImageResponse *
resize_reply(const struct client_call *call);
const VmTools__Concierge__ListVmDisksResponse *list_reply(const struct client_call *call);
const VmTools__Concierge__DiskImageStatusResponse *
status_reply(const struct client_call *call);

void disk_create(struct world *w, const char *name, uint64_t size,
                 struct client_call *call);
void disk_destroy(struct world *w, const char *name, struct client_call *call);
void disk_status(struct world *w, const char *uuid, struct client_call *call);
void disk_cancel(struct world *w, const char *uuid, uint32_t uid,
                 struct client_call *call);
void disk_resize(struct world *w, const char *name, uint64_t size,
                 struct client_call *call);
/* Begin; uuid has DISK_UUID_MAX bytes. */
void disk_export(struct world *w, const char *name, bool force, char *uuid);
void disk_import(struct world *w, const char *name, char *uuid);
/* A raw disk that is there afterwards. */
void disk_make(struct world *w, const char *name);

void expect_create(struct world *w, VmTools__Concierge__CreateDiskImageRequest *rq,
                   int status, const char *words);
void expect_adjust(struct world *w, VmTools__Concierge__AdjustVmRequest *rq,
                   const char *words);
/* The names in the list, in any order, each with its path and size. */
void expect_disks(struct world *w, const char *const *names, size_t n);

/* A VM whose only disk is a file of the owner's folder. */
void disk_start(struct world *w, const char *vm, const char *file,
                struct client_call *call);
struct guest *disk_run_vm(struct world *w, const char *vm, const char *file);
void disk_stop_vm(struct world *w, const char *vm, struct guest *g);
