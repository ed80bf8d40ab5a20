/*
 * pack: rewrites a message, losslessly, so that its base64 lines cost what their bytes cost.
 * Ownership: caller's memory; a struct pack holds up to PACK_CARRY_BYTES of plaintext.
 * Threads:   one message, one thread.
 * Units:     bytes; a step is a slice of the message of at most PACK_SLICE_BYTES.
 * Errors:    none: any bytes can be packed.
 *
 * docs/format/packed.md is the format; envelope/unpack.h reads it back. Where the message is cut
 * into slices changes the packed bytes, never the unpacked ones.
 */
#ifndef ENVELOPE_PACK_H
#define ENVELOPE_PACK_H

#include "base/macros.h"
#include "crypto/base64.h"
#include "envelope/deflate.h"
#include "envelope/scan.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* docs/format/packed.md */
#define PACK_MAGIC            "BULLA\x01"
#define PACK_MAGIC_BYTES      6
#define PACK_TAG_LITERAL      0x00
#define PACK_TAG_RUN          0x01
#define PACK_TAG_DEFLATED     0x02
#define PACK_LITERAL_HEADER   5 /* tag, length                        */
#define PACK_RUN_HEADER       8 /* tag, width, eol, flags, length     */
#define PACK_DEFLATED_HEADER  9 /* tag, length, raw length            */
#define PACK_WIDTH_MAX        BASE64_LINE_CHARS
#define PACK_EOL_LF           1 /* the code is the length of the line end */
#define PACK_EOL_CRLF         2
#define PACK_FLAG_LAST_NO_EOL 0x01 /* the run's last line has no line end   */
#define PACK_FLAGS_KNOWN      PACK_FLAG_LAST_NO_EOL

#define PACK_SLICE_BYTES (64 * 1024)

/* A line's beginning that waits for the next slice: 76 characters and a CR at most. */
#define PACK_CARRY_BYTES (PACK_WIDTH_MAX + 1)

struct pack {
    const struct base64_codec *codec;
    scan_fn *scan;
    size_t
        open_back; /* from the header of the segment that may grow to the output's end; 0: none */
    uint32_t carry_bytes; /* used of carry */
    bool started;         /* the magic is written */
    bool ended;           /* the last step is done */
    uint8_t carry[PACK_CARRY_BYTES + 1];
};

HOT void pack_init(struct pack *pack, const struct base64_codec *codec);

/* Room that a step may touch behind the bytes kept; what it returns is at most this less
 * BASE64_SLACK_BYTES. */
#define PACK_STEP_ROOM(src_bytes)                                                                  \
    (PACK_MAGIC_BYTES + PACK_CARRY_BYTES + PACK_LITERAL_HEADER + PACK_RUN_HEADER + (src_bytes) +   \
     BASE64_SLACK_BYTES)

/*
 * Packs the next src_bytes (≤ PACK_SLICE_BYTES). dst[0, kept_bytes) are the latest bytes that
 * earlier steps wrote and the caller still has: a segment whose header stands there may grow; 0 is
 * always right. Appends at dst + kept_bytes, which has PACK_STEP_ROOM(src_bytes), and returns the
 * bytes appended. Nothing may follow `last`.
 */
HOT size_t pack_step(struct pack *pack, uint8_t *dst, size_t kept_bytes, const uint8_t *src,
                     size_t src_bytes, bool last);

/*
 * The same, and each literal is deflated where that makes the output shorter: it is never longer
 * than pack_step()'s. The steps of one message may be of either kind.
 */
HOT size_t pack_step_deflated(struct pack *pack, struct deflate *deflate, uint8_t *dst,
                              size_t kept_bytes, const uint8_t *src, size_t src_bytes, bool last);

/*
 * Never more than this for a message of mail_bytes in steps_count steps, whatever its bytes: a run
 * is only written where it saves its own header and that of a literal after it, so all that can be
 * added is the magic and one literal header a step. With bytes kept it is less: one literal header
 * for each time that the open literal's header was no longer among them.
 */
static inline size_t pack_bytes_max(size_t mail_bytes, size_t steps_count)
{
    return PACK_MAGIC_BYTES + mail_bytes + PACK_LITERAL_HEADER * steps_count;
}

void pack_wipe(struct pack *pack);

#endif
