#include "envelope/pack.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "crypto/secret.h"

#include <string.h>

/*
 * A run that is worth its header is found by its density (envelope/scan.h): ordinary text has no
 * dense block, so it is copied and passed over in one go. A run of at least 63 bytes always holds a
 * whole block.
 */
#define LINE_BYTES_MAX (PACK_WIDTH_MAX + 2)

#define LITERAL_GROWTH_MAX   (PACK_CARRY_BYTES + PACK_SLICE_BYTES) /* in one step */
#define LITERAL_DEFLATED_MIN 100                                   /* shorter ones never shrink */

_Static_assert(PACK_CARRY_BYTES == LINE_BYTES_MAX - 1, "all of a line but its LF");
_Static_assert(LITERAL_GROWTH_MAX <= DEFLATE_SRC_BYTES_MAX, "a step's literal can be deflated");
_Static_assert(BASE64_LINE_BYTES == PACK_WIDTH_MAX / 4 * 3, "the widest line");

/* Where a step writes. */
struct output {
    uint8_t *end;  /* next byte to write                                        */
    uint8_t *open; /* header of the segment at the end that may grow, or NULL   */
};

/* A run in the making, written behind the output's end and not yet part of it. */
struct run {
    uint8_t *header;
    uint8_t *end;
    uint32_t width;
    uint32_t eol_bytes;
    uint8_t flags;
    bool grows;  /* an earlier segment goes on */
    bool closed; /* its last line was taken     */
    size_t text_bytes;
    size_t data_bytes;
};

/* Where the next byte of literal goes: behind the open one, or where a header leaves room. */
static uint8_t *literal_at(const struct output *out)
{
    const bool is_open = out->open != NULL && out->open[0] == PACK_TAG_LITERAL &&
                         bytes_load_le32(out->open + 1) <= UINT32_MAX - LITERAL_GROWTH_MAX;

    return out->end + (is_open ? 0 : PACK_LITERAL_HEADER);
}

/* Makes bytes that stand at literal_at() part of the output. */
static void literal_take(struct output *out, size_t bytes_count)
{
    uint8_t *const at = literal_at(out);

    ASSERT_HOT(bytes_count <= LITERAL_GROWTH_MAX);
    if (bytes_count == 0)
        return;
    if (at != out->end) {
        out->open = out->end;
        out->open[0] = PACK_TAG_LITERAL;
        bytes_store_le32(out->open + 1, 0);
    }
    out->end = at + bytes_count;
    bytes_store_le32(out->open + 1, bytes_load_le32(out->open + 1) + (uint32_t)bytes_count);
}

static void literal(struct output *out, const uint8_t *bytes, size_t bytes_count)
{
    memcpy(literal_at(out), bytes, bytes_count);
    literal_take(out, bytes_count);
}

static struct run run_begin(const struct output *out, uint32_t width, uint32_t eol_bytes)
{
    struct run run = {.width = width, .eol_bytes = eol_bytes};

    ASSERT_HOT(width >= 4 && width <= PACK_WIDTH_MAX && width % 4 == 0);
    run.grows = out->open != NULL && out->open[0] == PACK_TAG_RUN && out->open[1] == width &&
                out->open[2] == eol_bytes &&
                bytes_load_le32(out->open + 4) <= UINT32_MAX - PACK_SLICE_BYTES;
    run.header = run.grows ? out->open : out->end;
    run.end = run.grows ? out->end : out->end + PACK_RUN_HEADER;
    return run;
}

/* Takes full lines; returns the bytes of `text` taken. */
static size_t run_lines(struct run *run, const struct base64_codec *codec, const uint8_t *text,
                        size_t text_bytes)
{
    const size_t lines_count =
        codec->decode_lines(run->end, text, text_bytes, run->width, run->eol_bytes);
    const size_t taken_bytes = lines_count * (run->width + run->eol_bytes);
    const size_t data_bytes = lines_count * (run->width / 4 * 3);

    ASSERT(taken_bytes <= text_bytes);
    run->end += data_bytes;
    run->data_bytes += data_bytes;
    run->text_bytes += taken_bytes;
    return taken_bytes;
}

/* The value of a character of the alphabet, or 64. */
static uint32_t sextet(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A' + 0u;
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26u;
    if (c >= '0' && c <= '9')
        return c - '0' + 52u;
    return c == '+' ? 62 : c == '/' ? 63 : 64;
}

/* Decodes four characters, possibly padded; returns the bytes, 0 when they are not canonical. */
static uint32_t group_decode(uint8_t data[3], const uint8_t chars[4])
{
    const uint32_t padding = chars[3] != '=' ? 0 : chars[2] != '=' ? 1 : 2;
    uint32_t bits = 0;

    for (uint32_t i = 0; i < 4 - padding; i++) {
        const uint32_t value = sextet(chars[i]);
        if (value == 64)
            return 0;
        bits |= value << (18 - 6 * i);
    }
    if ((bits & ((UINT32_C(1) << 8 * padding) - 1)) != 0)
        return 0; /* bits that encoding would not have set */
    data[0] = (uint8_t)(bits >> 16);
    data[1] = (uint8_t)(bits >> 8);
    data[2] = (uint8_t)bits;
    return 3 - padding;
}

/* Decodes one line's characters, possibly padded, if they are canonical, else returns 0. */
static size_t line_decode(const struct base64_codec *codec, uint8_t *data, const uint8_t *chars,
                          size_t chars_count)
{
    const size_t head_count = chars_count - 4;
    const size_t head_bytes = head_count / 4 * 3;
    uint8_t head[PACK_WIDTH_MAX + PACK_EOL_LF];

    ASSERT_HOT(chars_count >= 4 && chars_count <= PACK_WIDTH_MAX && chars_count % 4 == 0);
    memcpy(head, chars, head_count);
    head[head_count] = '\n';
    if (head_count != 0 && codec->decode_lines(data, head, head_count + PACK_EOL_LF,
                                               (uint32_t)head_count, PACK_EOL_LF) != 1)
        return 0;
    const uint32_t group_bytes = group_decode(data + head_bytes, chars + head_count);
    return group_bytes == 0 ? 0 : head_bytes + group_bytes;
}

/*
 * Takes a run's last line: shorter, padded, or without a line end where the message ends (`final`).
 * Returns the bytes of `text` taken, 0 when there is none.
 */
static size_t run_last(struct run *run, const struct base64_codec *codec, const uint8_t *text,
                       size_t text_bytes, bool final)
{
    const uint8_t *lf = memchr(text, '\n', MIN(text_bytes, run->width + run->eol_bytes));
    size_t chars_count = text_bytes;
    size_t taken_bytes = text_bytes;

    if (lf != NULL) {
        taken_bytes = (size_t)(lf - text) + 1;
        if (taken_bytes < run->eol_bytes || (run->eol_bytes == PACK_EOL_CRLF && lf[-1] != '\r'))
            return 0;
        chars_count = taken_bytes - run->eol_bytes;
    } else if (!final) {
        return 0;
    }
    if (chars_count == 0 || chars_count > run->width || chars_count % 4 != 0)
        return 0;
    if (lf != NULL && chars_count == run->width && text[chars_count - 1] != '=')
        return 0; /* a full line that run_lines() did not take: it is not canonical */
    const size_t data_bytes = line_decode(codec, run->end, text, chars_count);
    if (data_bytes == 0)
        return 0;
    run->flags = lf == NULL ? PACK_FLAG_LAST_NO_EOL : 0;
    run->closed = true;
    run->end += data_bytes;
    run->data_bytes += data_bytes;
    run->text_bytes += taken_bytes;
    return taken_bytes;
}

/* Makes the run part of the output if that is worth it; else nothing has happened. */
static bool run_end(const struct run *run, struct output *out)
{
    const size_t added_bytes = (size_t)(run->end - out->end);
    const size_t before_bytes = run->grows ? bytes_load_le32(run->header + 4) : 0;

    /* It pays for the literal header after it too, so that no message grows by its runs. */
    if (run->text_bytes == 0 ||
        (!run->grows && run->text_bytes < added_bytes + PACK_LITERAL_HEADER))
        return false;
    run->header[0] = PACK_TAG_RUN;
    run->header[1] = (uint8_t)run->width;
    run->header[2] = (uint8_t)run->eol_bytes;
    run->header[3] = run->flags;
    bytes_store_le32(run->header + 4, (uint32_t)(before_bytes + run->data_bytes));
    out->end = run->end;
    out->open = run->closed ? NULL : run->header;
    return true;
}

/* Splits a line that ends in LF, or not at all, into width and line end; false: not of a run. */
static bool line_shape(const uint8_t *line, size_t line_bytes, uint32_t *width, uint32_t *eol_bytes)
{
    uint32_t eol = 0;

    if (line_bytes >= 1 && line[line_bytes - 1] == '\n')
        eol = line_bytes >= 2 && line[line_bytes - 2] == '\r' ? PACK_EOL_CRLF : PACK_EOL_LF;
    const size_t chars_count = line_bytes - eol;
    if (chars_count == 0 || chars_count > PACK_WIDTH_MAX || chars_count % 4 != 0)
        return false;
    *width = (uint32_t)chars_count;
    *eol_bytes = eol == 0 ? PACK_EOL_LF : eol;
    return true;
}

/*
 * The start of the first line, at or after the line start `at`, that may begin a run; or `end`.
 * What comes before it is copied to `dst`.
 */
static const uint8_t *dense_line(scan_fn *scan, uint8_t *dst, const uint8_t *at, const uint8_t *end)
{
    const size_t left_bytes = (size_t)(end - at);
    const size_t block = scan(dst, at, left_bytes);

    if (block == 0 || block == left_bytes)
        return at + block;
    /* Everything since the last byte of another kind is dense. */
    const uint32_t outside = scan_outside(at + block - SCAN_BLOCK_BYTES);
    ASSERT_HOT(outside != 0);
    const size_t start = block - (size_t)__builtin_clz(outside);
    const uint8_t *lf = memchr(at + start, '\n', left_bytes - start);
    const size_t line = lf == NULL ? left_bytes : (size_t)(lf - at) + 1;
    if (line > block)
        memcpy(dst + block, at + block, line - block);
    return at + line;
}

/*
 * Tries a run at the line start `line`, whose line ends in this slice or is the message's last.
 * Returns the bytes that are now in the output, as run or as literal; 0 when the line has no end.
 */
static size_t run_try(const struct base64_codec *codec, struct output *out, const uint8_t *line,
                      const uint8_t *end, bool last)
{
    const size_t left_bytes = (size_t)(end - line);
    const uint8_t *lf = memchr(line, '\n', left_bytes);
    size_t line_bytes = lf == NULL ? left_bytes : (size_t)(lf - line) + 1;
    uint32_t width = 0;
    uint32_t eol_bytes = 0;

    if (lf == NULL && !last)
        return 0;
    if (line_shape(line, line_bytes, &width, &eol_bytes)) {
        struct run run = run_begin(out, width, eol_bytes);
        size_t taken_bytes = run_lines(&run, codec, line, left_bytes);
        taken_bytes += run_last(&run, codec, line + taken_bytes, left_bytes - taken_bytes, last);
        if (run_end(&run, out))
            return taken_bytes;
        line_bytes = MAX(line_bytes, taken_bytes);
    }
    literal(out, line, line_bytes);
    return line_bytes;
}

/* A line began in an earlier slice: completes it if that can still be a run's. Returns the bytes of
 * `src` used up. */
static size_t carry_complete(struct pack *pack, struct output *out, const uint8_t *src,
                             size_t src_bytes, bool last)
{
    const size_t room_bytes = LINE_BYTES_MAX - pack->carry_bytes;
    const uint8_t *lf = memchr(src, '\n', MIN(room_bytes, src_bytes));
    const size_t head_bytes = lf != NULL ? (size_t)(lf - src) + 1 : MIN(room_bytes - 1, src_bytes);
    uint32_t width = 0;
    uint32_t eol_bytes = 0;

    memcpy(pack->carry + pack->carry_bytes, src, head_bytes);
    pack->carry_bytes += (uint32_t)head_bytes;
    if (lf == NULL && head_bytes == src_bytes && !last)
        return head_bytes; /* still no end in sight, and it fits */

    const uint32_t line_bytes = pack->carry_bytes;
    pack->carry_bytes = 0;
    if ((lf == NULL && head_bytes < src_bytes) ||
        !line_shape(pack->carry, line_bytes, &width, &eol_bytes)) {
        literal(out, pack->carry, line_bytes);
        return head_bytes;
    }
    const uint8_t *rest = src + head_bytes;
    const size_t rest_bytes = src_bytes - head_bytes;
    struct run run = run_begin(out, width, eol_bytes);
    size_t taken_bytes = 0;
    if (run_lines(&run, pack->codec, pack->carry, line_bytes) != 0) {
        taken_bytes = run_lines(&run, pack->codec, rest, rest_bytes);
        taken_bytes +=
            run_last(&run, pack->codec, rest + taken_bytes, rest_bytes - taken_bytes, last);
    } else {
        (void)run_last(&run, pack->codec, pack->carry, line_bytes, last && lf == NULL);
    }
    if (!run_end(&run, out)) {
        literal(out, pack->carry, line_bytes);
        literal(out, rest, taken_bytes);
    }
    return head_bytes + taken_bytes;
}

/* The bytes at the end of [from, end) that may be the beginning of a run's line. */
static size_t tail_bytes(const uint8_t *from, const uint8_t *end)
{
    const size_t window_bytes = MIN((size_t)(end - from), LINE_BYTES_MAX);
    const uint8_t *lf = memrchr(end - window_bytes, '\n', window_bytes);
    const uint8_t *tail = lf != NULL ? lf + 1 : from;
    const size_t bytes_count = (size_t)(end - tail);
    uint8_t blocks[SCAN_BLOCK_BYTES * 3];
    uint32_t mask = 0;

    _Static_assert(sizeof(blocks) >= PACK_CARRY_BYTES, "room for all that may wait");
    if (bytes_count > PACK_CARRY_BYTES)
        return 0;
    memset(blocks, 'A', sizeof(blocks));
    memcpy(blocks, tail, bytes_count);
    for (size_t i = 0; i < sizeof(blocks); i += SCAN_BLOCK_BYTES)
        mask |= scan_outside(blocks + i);
    return mask == 0 ? bytes_count : 0;
}

void pack_init(struct pack *pack, const struct base64_codec *codec)
{
    pack->codec = codec;
    pack->scan = scan_for(codec->isa);
    pack->open_back = 0;
    pack->carry_bytes = 0;
    pack->started = false;
    pack->ended = false;
}

static void slice(struct pack *pack, struct output *out, const uint8_t *src, size_t src_bytes,
                  bool last)
{
    const uint8_t *end = src + src_bytes;
    const uint8_t *at = src; /* everything before it is in the output */
    size_t settled_bytes = 0;

    if (pack->carry_bytes != 0)
        at += carry_complete(pack, out, src, src_bytes, last);
    if (at == end)
        return; /* the carry, if it is still one, stays */
    do {
        const uint8_t *line = dense_line(pack->scan, literal_at(out), at, end);
        ASSERT_HOT(line >= at && line <= end);
        if (line == end)
            break;
        literal_take(out, (size_t)(line - at));
        settled_bytes = run_try(pack->codec, out, line, end, last);
        at = line + settled_bytes;
        if (settled_bytes == 0)
            memcpy(literal_at(out), at, (size_t)(end - at));
    } while (settled_bytes != 0);

    const size_t left_bytes = (size_t)(end - at);
    const size_t carry_bytes = last ? 0 : tail_bytes(at, end);
    memcpy(pack->carry, end - carry_bytes, carry_bytes);
    pack->carry_bytes = (uint32_t)carry_bytes;
    literal_take(out, left_bytes - carry_bytes);
}

static uint32_t segment_data_bytes(const uint8_t *header)
{
    ASSERT(header[0] == PACK_TAG_LITERAL || header[0] == PACK_TAG_RUN);
    return bytes_load_le32(header + (header[0] == PACK_TAG_LITERAL ? 1 : 4));
}

/* Deflates a literal's bytes to a segment of its own at `to`, at or before them. Returns the
 * segment's bytes, or 0 when it would not pay for the header of a literal that may follow. */
static size_t literal_deflate(struct deflate *deflate, uint8_t *to, const uint8_t *bytes,
                              size_t bytes_count)
{
    const size_t headers_bytes = PACK_DEFLATED_HEADER + PACK_LITERAL_HEADER;

    if (bytes_count < LITERAL_DEFLATED_MIN)
        return 0;
    const size_t data_bytes = deflate_try(deflate, to + PACK_DEFLATED_HEADER,
                                          bytes_count - headers_bytes, bytes, bytes_count);
    if (data_bytes == 0)
        return 0;
    to[0] = PACK_TAG_DEFLATED;
    bytes_store_le32(to + 1, (uint32_t)data_bytes);
    bytes_store_le32(to + 5, (uint32_t)bytes_count);
    return PACK_DEFLATED_HEADER + data_bytes;
}

/*
 * Deflates the literals among the segments in [start, out->end) and closes the gaps that this
 * leaves. What a segment of an earlier step, `grown`, grew by stands before them without a header.
 */
static void segments_deflate(struct deflate *deflate, struct output *out, uint8_t *start,
                             uint8_t *grown, uint32_t grown_before_bytes)
{
    const bool is_open = out->open != NULL;
    const uint8_t *const end = out->end;
    const uint8_t *at = start;
    uint8_t *to = start;
    uint8_t *open = grown;

    if (grown != NULL) {
        const uint32_t growth_bytes = segment_data_bytes(grown) - grown_before_bytes;
        const size_t segment_bytes =
            grown[0] != PACK_TAG_LITERAL ? 0 : literal_deflate(deflate, to, at, growth_bytes);
        at += growth_bytes;
        to += segment_bytes != 0 ? segment_bytes : growth_bytes;
        if (segment_bytes != 0) {
            bytes_store_le32(grown + 1, grown_before_bytes);
            open = NULL;
        }
    }
    while (at != end) {
        const bool is_literal = at[0] == PACK_TAG_LITERAL;
        const size_t header_bytes = is_literal ? PACK_LITERAL_HEADER : PACK_RUN_HEADER;
        const size_t data_bytes = segment_data_bytes(at);
        size_t segment_bytes =
            is_literal ? literal_deflate(deflate, to, at + header_bytes, data_bytes) : 0;
        open = segment_bytes != 0 ? NULL : to;
        if (segment_bytes == 0) {
            segment_bytes = header_bytes + data_bytes;
            memmove(to, at, segment_bytes);
        }
        at += header_bytes + data_bytes;
        to += segment_bytes;
        ASSERT(at <= end && to <= at);
    }
    out->end = to;
    out->open = is_open ? open : NULL;
}

/* With deflate NULL literals stay as they are. */
static size_t step(struct pack *pack, struct deflate *deflate, uint8_t *start, size_t kept_bytes,
                   const uint8_t *src, size_t src_bytes, bool last)
{
    struct output out = {.end = start, .open = NULL};

    ASSERT(!pack->ended);
    ASSERT(src_bytes <= PACK_SLICE_BYTES);
    ASSERT(pack->carry_bytes <= PACK_CARRY_BYTES);
    const size_t input_bytes = pack->carry_bytes + src_bytes;
    if (!pack->started) {
        memcpy(out.end, PACK_MAGIC, PACK_MAGIC_BYTES);
        out.end += PACK_MAGIC_BYTES;
        pack->started = true;
    } else if (pack->open_back != 0 && pack->open_back <= kept_bytes) {
        out.open = start - pack->open_back;
    }
    uint8_t *const body = out.end;
    uint8_t *const grown = out.open;
    const uint32_t grown_before_bytes = grown == NULL ? 0 : segment_data_bytes(grown);
    if (input_bytes != 0)
        slice(pack, &out, src_bytes != 0 ? src : start, src_bytes, last);
    if (deflate != NULL)
        segments_deflate(deflate, &out, body, grown, grown_before_bytes);

    const size_t output_bytes = (size_t)(out.end - start);
    ASSERT(output_bytes <= PACK_MAGIC_BYTES + input_bytes + PACK_LITERAL_HEADER);
    pack->ended = last;
    if (out.open != NULL)
        pack->open_back = (size_t)(out.end - out.open);
    else if (output_bytes != 0)
        pack->open_back = 0;
    return output_bytes;
}

size_t pack_step(struct pack *pack, uint8_t *dst, size_t kept_bytes, const uint8_t *src,
                 size_t src_bytes, bool last)
{
    return step(pack, NULL, dst + kept_bytes, kept_bytes, src, src_bytes, last);
}

size_t pack_step_deflated(struct pack *pack, struct deflate *deflate, uint8_t *dst,
                          size_t kept_bytes, const uint8_t *src, size_t src_bytes, bool last)
{
    ASSERT(deflate != NULL);
    return step(pack, deflate, dst + kept_bytes, kept_bytes, src, src_bytes, last);
}

void pack_wipe(struct pack *pack)
{
    secret_wipe(pack->carry, sizeof(pack->carry));
    pack->carry_bytes = 0;
}
