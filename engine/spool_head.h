/*
 * spool_head: what stands before a waiting mail's body: its addresses, and its sealed key record.
 * Ownership: caller's memory; a view borrows what it was read from.
 * Threads:   any.
 * Units:     bytes.
 * Errors:    spool_head_read() gives -EBADMSG; nothing in it is to be trusted then.
 *
 * docs/format/spool-head.md; little-endian.
 */
#ifndef ENGINE_SPOOL_HEAD_H
#define ENGINE_SPOOL_HEAD_H

#include "base/macros.h"
#include "envelope/id.h"
#include "ipc/meta.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SPOOL_HEAD_MAGIC         UINT32_C(0x32485342) /* "BSH2" */
#define SPOOL_HEAD_MAGIC_ALONE   UINT32_C(0x31485342) /* "BSH1": read, and written no more */
#define SPOOL_HEAD_FIXED_BYTES   16
#define SPOOL_HEAD_SERVICE_BYTES 63         /* of a key service's name, at most */
#define SPOOL_HEAD_CONTEXT_BYTES 30         /* at most */
#define SPOOL_HEAD_NOTIFY        UINT8_C(1) /* its sender is told when it fails */

/*
 *   0  u32 magic
 *   4  u8  flags          SPOOL_HEAD_*; unknown bit: reject
 *   5  u8  number         of the record among those with its salt; BSH1: 0
 *   6  u16 service_bytes  at most SPOOL_HEAD_SERVICE_BYTES
 *   8  u32 meta_bytes
 *  12  u32 sealed_bytes   of the key record, salt and commitment included; 0: a notification
 *  16  service, meta, sealed
 */
struct spool_head {
    bool notify;
    bool alone; /* BSH1: its record has a derivation of its own */
    uint8_t number;
    uint16_t service_bytes;
    uint32_t meta_bytes;
    uint32_t sealed_bytes;
    const uint8_t *service;
    const uint8_t *meta_at;
    const uint8_t *sealed;
    struct meta meta;
};

MUST_USE int spool_head_read(struct spool_head *head, const uint8_t *bytes_at, size_t bytes);
/* The fixed part; never BSH1. */
void spool_head_write(uint8_t dst[SPOOL_HEAD_FIXED_BYTES], const struct spool_head *head);
/* The Cobblestone context of a key record in the spool: "bulla/spool/2", 0x00; of one that is alone
 * "bulla/spool/1", 0x00, id. Returns its bytes; zeros follow. */
uint32_t spool_head_context(uint8_t context[SPOOL_HEAD_CONTEXT_BYTES], bool alone,
                            const struct id *id);

#endif
