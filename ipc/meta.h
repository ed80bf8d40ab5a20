/*
 * meta: the addresses of one submission or emission: profile, sender, recipients; and options.
 * Ownership: meta_write() copies into the caller's bytes; a struct meta borrows what it was read
 *            from, which must be private memory.
 * Threads:   any.
 * Units:     bytes, without NULs; a struct meta's recipients are still in wire form.
 * Errors:    meta_read() gives -EBADMSG, and that one message is refused; nothing in it is to be
 *            trusted.
 *
 * docs/format/shared-memory.md, "Meta".
 */
#ifndef IPC_META_H
#define IPC_META_H

#include "base/macros.h"
#include "ipc/layout.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What differs from the profile; IPC_OPTION_*. Zeros: nothing. */
struct meta_options {
    uint32_t set;
    uint32_t values;          /* of IPC_OPTIONS_ON_OFF, inside `set`                   */
    uint64_t expires_after_s; /* after arrival; 0: never; 0 unless set                 */
    uint64_t read_by_after_s;
};

struct meta {
    const uint8_t *profile;
    const uint8_t *sender; /* sender_bytes 0: the null sender */
    const uint8_t *recipients;
    uint16_t profile_bytes;
    uint16_t sender_bytes;
    uint16_t recipients_count;
    uint32_t recipients_bytes;
    struct meta_options options; /* the submitter's wish; policy says whether it counts */
};

/* At least one recipient; no control characters; nothing over its limit; behind the recipients
 * nothing, or options of which each byte is known. */
MUST_USE int meta_read(struct meta *meta, const uint8_t *bytes_at, size_t bytes);

/* What meta_read() stumbles over; from META_RECIPIENT on: that one, counted from 0. */
#define META_SOUND     UINT32_C(0)
#define META_WHOLE     UINT32_C(1) /* too long */
#define META_PROFILE   UINT32_C(2)
#define META_SENDER    UINT32_C(3)
#define META_COUNT     UINT32_C(4) /* of the recipients */
#define META_OPTIONS   UINT32_C(5) /* or other bytes that are left over */
#define META_RECIPIENT UINT32_C(6)
uint32_t meta_fault(const uint8_t *bytes_at, size_t bytes);

/* Walks the recipients: *offset starts at 0 and is moved. False at the end. */
bool meta_recipient(const struct meta *meta, uint32_t *offset, const uint8_t **address,
                    uint16_t *address_bytes);

/* Strings for meta_write(), borrowed. */
struct meta_source {
    const char *profile;
    const char *sender;
    const char *const *recipients;
    uint32_t recipients_count;
    const struct meta_options *options; /* NULL, or with `set` 0: the profile's */
};

/* *bytes is what meta_write() will write. -EINVAL: something meta_read() would reject; -EMSGSIZE:
 * more than IPC_META_BYTES_MAX or IPC_RECIPIENTS_MAX. */
MUST_USE int meta_measure(const struct meta_source *source, size_t *bytes);
void meta_write(const struct meta_source *source, uint8_t *dst, size_t bytes);

#endif
