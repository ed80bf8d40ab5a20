#include "envelope/unpack.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "crypto/base64.h"
#include "envelope/pack.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <zlib.h>

#define INFLATE_RAW_WINDOW_BITS (-15) /* zlib: negative is raw deflate */

/* One segment's header, checked, and where its bytes stand. */
struct segment {
    uint8_t tag;
    uint32_t width;
    uint32_t eol_bytes;
    bool last_no_eol;
    const uint8_t *data;
    uint32_t data_bytes;
    size_t mail_bytes; /* that it unpacks to */
};

static size_t run_mail_bytes(const struct segment *segment)
{
    const size_t line_data_bytes = segment->width / 4 * 3;
    const size_t lines_count = (segment->data_bytes + line_data_bytes - 1) / line_data_bytes;
    const size_t last_data_bytes = segment->data_bytes - (lines_count - 1) * line_data_bytes;
    const size_t last_chars_count = (last_data_bytes + 2) / 3 * 4;

    return (lines_count - 1) * (segment->width + segment->eol_bytes) + last_chars_count +
           (segment->last_no_eol ? 0 : segment->eol_bytes);
}

static int run_read(struct segment *segment, const uint8_t *at)
{
    segment->width = at[1];
    segment->eol_bytes = at[2];
    segment->last_no_eol = (at[3] & PACK_FLAG_LAST_NO_EOL) != 0;
    segment->data_bytes = bytes_load_le32(at + 4);
    if (segment->width < 4 || segment->width > PACK_WIDTH_MAX || segment->width % 4 != 0)
        return -EBADMSG;
    if (segment->eol_bytes != PACK_EOL_LF && segment->eol_bytes != PACK_EOL_CRLF)
        return -EBADMSG;
    if ((at[3] & ~PACK_FLAGS_KNOWN) != 0 || segment->data_bytes == 0)
        return -EBADMSG;
    segment->mail_bytes = run_mail_bytes(segment);
    return 0;
}

/* Reads the segment at `at`; left_bytes ≥ 1. */
static int segment_read(struct segment *segment, const uint8_t *at, size_t left_bytes)
{
    size_t header_bytes = 0;

    segment->tag = at[0];
    switch (segment->tag) {
    case PACK_TAG_LITERAL: header_bytes = PACK_LITERAL_HEADER; break;
    case PACK_TAG_RUN: header_bytes = PACK_RUN_HEADER; break;
    case PACK_TAG_DEFLATED: header_bytes = PACK_DEFLATED_HEADER; break;
    default: return -EBADMSG;
    }
    if (left_bytes < header_bytes)
        return -EBADMSG;
    if (segment->tag == PACK_TAG_RUN) {
        if (run_read(segment, at) != 0)
            return -EBADMSG;
    } else {
        segment->data_bytes = bytes_load_le32(at + 1);
        segment->mail_bytes = segment->data_bytes;
        if (segment->data_bytes == 0)
            return -EBADMSG;
    }
    if (segment->tag == PACK_TAG_DEFLATED) {
        segment->mail_bytes = bytes_load_le32(at + 5);
        if (segment->mail_bytes == 0 || segment->mail_bytes > UNPACK_INFLATED_BYTES_MAX)
            return -EBADMSG;
    }
    segment->data = at + header_bytes;
    return segment->data_bytes > left_bytes - header_bytes ? -EBADMSG : 0;
}

int unpack_bytes(const uint8_t *packed, size_t packed_bytes, size_t *mail_bytes)
{
    const uint8_t *at = packed + PACK_MAGIC_BYTES;
    size_t sum_bytes = 0;

    if (packed_bytes < PACK_MAGIC_BYTES || memcmp(packed, PACK_MAGIC, PACK_MAGIC_BYTES) != 0)
        return -EBADMSG;
    for (const uint8_t *end = packed + packed_bytes; at != end;) {
        struct segment segment = {0};
        if (segment_read(&segment, at, (size_t)(end - at)) != 0)
            return -EBADMSG;
        if (segment.mail_bytes > UNPACK_MAIL_BYTES_MAX - sum_bytes)
            return -EBADMSG;
        sum_bytes += segment.mail_bytes;
        at = segment.data + segment.data_bytes;
    }
    *mail_bytes = sum_bytes;
    return 0;
}

static uint8_t *eol_write(uint8_t *mail, uint32_t eol_bytes)
{
    if (eol_bytes == PACK_EOL_CRLF)
        *mail++ = '\r';
    *mail++ = '\n';
    return mail;
}

static void run_write(uint8_t *mail, const struct segment *segment)
{
    const size_t line_data_bytes = segment->width / 4 * 3;
    const uint8_t *data = segment->data;
    size_t left_bytes = segment->data_bytes;

    while (left_bytes != 0) {
        uint8_t line[PACK_WIDTH_MAX + BASE64_SLACK_BYTES];
        const size_t data_bytes = MIN(left_bytes, line_data_bytes);
        const size_t chars_count = base64_encode_run(line, data, data_bytes);

        ASSERT(chars_count <= segment->width);
        memcpy(mail, line, chars_count);
        mail += chars_count;
        data += data_bytes;
        left_bytes -= data_bytes;
        if (left_bytes != 0 || !segment->last_no_eol)
            mail = eol_write(mail, segment->eol_bytes);
    }
}

/* The stream must end exactly with the segment and give exactly the size it promised. */
static int inflate_write(uint8_t *mail, const struct segment *segment)
{
    z_stream stream = {0};
    int rc = inflateInit2(&stream, INFLATE_RAW_WINDOW_BITS);

    if (rc != Z_OK)
        return -ENOMEM;
    stream.next_in = (z_const Bytef *)(uintptr_t)segment->data; /* zlib does not write there */
    stream.avail_in = segment->data_bytes;
    stream.next_out = mail;
    stream.avail_out = (uInt)segment->mail_bytes;
    rc = inflate(&stream, Z_FINISH);
    const bool whole = rc == Z_STREAM_END && stream.avail_in == 0 && stream.avail_out == 0;
    (void)inflateEnd(&stream);
    if (rc == Z_MEM_ERROR)
        return -ENOMEM;
    return whole ? 0 : -EBADMSG;
}

int unpack(uint8_t *mail, size_t mail_bytes, const uint8_t *packed, size_t packed_bytes)
{
    size_t expected_bytes = 0;
    int rc = unpack_bytes(packed, packed_bytes, &expected_bytes);

    if (rc != 0)
        return rc;
    ASSERT(mail_bytes == expected_bytes);
    const uint8_t *end = packed + packed_bytes;
    const uint8_t *at = packed + PACK_MAGIC_BYTES;
    size_t written_bytes = 0;
    while (at != end) {
        struct segment segment = {0};
        rc = segment_read(&segment, at, (size_t)(end - at));
        ASSERT(rc == 0);
        ASSERT(segment.mail_bytes <= mail_bytes - written_bytes);
        if (segment.tag == PACK_TAG_RUN)
            run_write(mail + written_bytes, &segment);
        else if (segment.tag == PACK_TAG_LITERAL)
            memcpy(mail + written_bytes, segment.data, segment.data_bytes);
        else
            rc = inflate_write(mail + written_bytes, &segment);
        if (rc != 0)
            return rc;
        written_bytes += segment.mail_bytes;
        at = segment.data + segment.data_bytes;
    }
    ASSERT(written_bytes == mail_bytes);
    return 0;
}
