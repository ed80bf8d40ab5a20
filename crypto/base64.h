/*
 * base64: RFC 4648 section 4 at memory speed, in lines as mail carries it.
 * Ownership: borrows; source and destination never overlap.
 * Threads:   any; codecs are constant tables.
 * Units:     bytes; lines of BASE64_LINE_CHARS characters carry BASE64_LINE_BYTES bytes.
 * Errors:    decoding is strict: what is not canonical is not decoded, and the result says so.
 */
#ifndef CRYPTO_BASE64_H
#define CRYPTO_BASE64_H

#include "base/macros.h"
#include "crypto/isa.h"

#include <stddef.h>
#include <stdint.h>

#define BASE64_LINE_BYTES  57 /* of data in a full line                       */
#define BASE64_LINE_CHARS  76 /* RFC 2045, 6.8: the longest line mail may use */
#define BASE64_LINE_STRIDE 78 /* with its CRLF                                */

/* Beyond the end of `dst` that a codec may scribble on, never past dst_bytes + this. */
#define BASE64_SLACK_BYTES 64

struct base64_codec {
    enum isa isa;

    /* lines_count × 57 bytes in, lines_count × 78 characters out (CRLF after each line). `dst`
     * has BASE64_SLACK_BYTES of room after them; `src` is never read past its end. */
    void (*encode_lines)(uint8_t *dst, const uint8_t *src, size_t lines_count);
    /* A last line of one to 56 bytes, padded, with its CRLF; as base64_encode(). */
    size_t (*encode_short)(uint8_t *dst, const uint8_t *src, size_t bytes);

    /*
     * Decodes lines of exactly `width` canonical characters (4 ≤ width ≤ 76, a multiple of 4, no
     * padding), each followed by CRLF (eol_bytes 2) or LF (eol_bytes 1), up to the first line that
     * is not so or not whole. Returns the lines decoded; each gave width / 4 * 3 bytes. `dst` has
     * room for all of src_bytes decoded and BASE64_SLACK_BYTES.
     */
    size_t (*decode_lines)(uint8_t *dst, const uint8_t *src, size_t src_bytes, uint32_t width,
                           uint32_t eol_bytes);
};

/* A codec for a supported ISA; base64_codec(isa_best()) is the fastest. */
const struct base64_codec *base64_codec(enum isa isa);

/* Characters for `bytes` in lines of 76, each ended by CRLF; 0 for 0. */
size_t base64_lines_chars(size_t bytes);

/* Any number of bytes, the last line possibly short and padded, CRLF after every line. `dst` has
 * base64_lines_chars(bytes) + BASE64_SLACK_BYTES. Returns characters written. */
size_t base64_encode(const struct base64_codec *codec, uint8_t *dst, const uint8_t *src,
                     size_t bytes);

/* Bytes that the caller will copy soon. They are asked for, never read: they may be a client's. */
struct base64_ahead {
    const uint8_t *bytes_at;
    size_t bytes;
};

/*
 * As encode_lines, for texts larger than the caches: what is written goes past them, so that memory
 * is not read for the sake of being written over, and meanwhile the next ahead_bytes of `ahead`,
 * which moves on, are brought close. Writes nothing past the last line. base64_stream_end() comes
 * before anything by which another thread learns that the text is there.
 */
HOT void base64_stream_lines(const struct base64_codec *codec, uint8_t *dst, const uint8_t *src,
                             size_t lines_count, struct base64_ahead *ahead, size_t ahead_bytes);
HOT void base64_stream_end(void);

/* One unbroken padded run without line ends (JSON, headers); returns characters written. */
size_t base64_encode_run(uint8_t *dst, const uint8_t *src, size_t bytes);
/* The same in the URL-safe alphabet, unpadded (RFC 4648 section 5). */
size_t base64url_encode_run(uint8_t *dst, const uint8_t *src, size_t bytes);

/*
 * Strict decoding of a whole text in which ASCII white space is ignored (mail gateways re-wrap
 * lines): canonical alphabet, full groups, zero trailing bits. 0 and *dst_bytes, or -EBADMSG.
 * `dst` has room for src_bytes / 4 * 3 + BASE64_SLACK_BYTES.
 */
MUST_USE int base64_decode(const struct base64_codec *codec, uint8_t *dst, const uint8_t *src,
                           size_t src_bytes, size_t *dst_bytes);
MUST_USE int base64url_decode(uint8_t *dst, const uint8_t *src, size_t src_bytes,
                              size_t *dst_bytes);

#endif
