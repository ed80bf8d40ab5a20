#include "envelope/encoded_word.h"

#include "base/assert.h"
#include "crypto/base64.h"
#include "envelope/charset.h"
#include "envelope/text.h"
#include "envelope/window.h"

#include <string.h>
#include <strings.h>

#define CHARSET_BYTES_MAX 40
/* A longer word of plain text is encoded, so that the line can be folded inside it. */
#define PLAIN_WORD_BYTES_MAX 66

/* One encoded word as it stands in the source. */
struct word {
    const uint8_t *charset;
    size_t charset_bytes;
    const uint8_t *text;
    size_t text_bytes;
    bool base64;
    const uint8_t *after;
};

/* Encoded words that follow each other in one charset are one text: characters get split. */
struct run {
    const struct charset *charset;
    size_t bytes;
    uint8_t decoded[ENCODED_WORD_RUN_BYTES_MAX];
};

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Reads one at `at`, which holds "=?". Looks no further than the third '?', so that a text of
 * false starts is still read in linear time. */
static bool word_read(struct word *word, const uint8_t *at, const uint8_t *end)
{
    const uint8_t *s = at + 2;
    word->charset = s;
    while (s < end && *s != '?' && *s > ' ' && *s < 0x7f && s - word->charset < CHARSET_BYTES_MAX)
        s++;
    word->charset_bytes = (size_t)(s - word->charset);
    const uint8_t *language = memchr(word->charset, '*', word->charset_bytes); /* RFC 2231, 5 */
    if (language != NULL)
        word->charset_bytes = (size_t)(language - word->charset);
    if (word->charset_bytes == 0 || end - s < 3 || s[0] != '?' || s[2] != '?')
        return false;
    const uint8_t encoding = s[1] | 0x20;
    if (encoding != 'b' && encoding != 'q')
        return false;
    word->base64 = encoding == 'b';
    s += 3;
    word->text = s;
    while (s < end && *s != '?' && *s > ' ' && *s < 0x7f)
        s++;
    word->text_bytes = (size_t)(s - word->text);
    if (end - s < 2 || s[0] != '?' || s[1] != '=')
        return false;
    word->after = s + 2;
    return true;
}

static int32_t hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    const uint8_t lower = c | 0x20;
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* A digit's value and 1, so that 0 is none. */
static const uint8_t BASE64_DIGITS[256] = {
    ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,
    ['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
    ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
    ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
    ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
    ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
    ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
    ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['+'] = 63, ['/'] = 64,
};

static void run_add(struct run *run, uint8_t byte)
{
    if (run->bytes < ENCODED_WORD_RUN_BYTES_MAX)
        run->decoded[run->bytes++] = byte;
}

/* RFC 2047, 4.2; a broken escape stands for itself. */
static void run_add_q(struct run *run, const struct word *word)
{
    for (size_t i = 0; i < word->text_bytes; i++) {
        const uint8_t c = word->text[i];
        if (c == '=' && word->text_bytes - i > 2) {
            const int32_t high = hex_digit(word->text[i + 1]);
            const int32_t low = hex_digit(word->text[i + 2]);
            if (high >= 0 && low >= 0) {
                run_add(run, (uint8_t)(high << 4 | low));
                i += 2;
                continue;
            }
        }
        run_add(run, c == '_' ? ' ' : c);
    }
}

/* Lenient on purpose: mail programs leave the padding out, and put it in the middle. */
static void run_add_base64(struct run *run, const struct word *word)
{
    uint32_t bits = 0;
    uint32_t bits_count = 0;
    for (size_t i = 0; i < word->text_bytes; i++) {
        const uint32_t digit = BASE64_DIGITS[word->text[i]];
        if (digit == 0) {
            bits_count = 0;
            continue;
        }
        bits = bits << 6 | (digit - 1);
        bits_count += 6;
        if (bits_count >= 8) {
            bits_count -= 8;
            run_add(run, (uint8_t)(bits >> bits_count));
        }
    }
}

static void run_flush(struct run *run, struct text *text)
{
    if (run->charset != NULL && run->bytes > 0)
        charset_decode(run->charset, text, run->decoded, run->bytes);
    /* Between a word and its neighbour text_put() must not see the end of a run as a blank. */
    run->charset = NULL;
    run->bytes = 0;
}

static void run_add_word(struct run *run, struct text *text, const struct word *word,
                         const struct charset *charset)
{
    if (run->charset != charset)
        run_flush(run, text);
    run->charset = charset;
    const size_t before = run->bytes;
    if (word->base64)
        run_add_base64(run, word);
    else
        run_add_q(run, word);
    /* A line end inside a word is an attempt to forge a header; text_put() would call it a blank,
     * so it is noted here. */
    for (size_t i = before; i < run->bytes; i++)
        text->dirty |= run->decoded[i] == '\r' || run->decoded[i] == '\n';
}

/* UTF-7 writes line ends in plain letters ("+AA0ACg-"), so it may hide anything. Its names are
 * "UTF-7" and "UNICODE-1-1-UTF-7" (RFC 2152). */
static bool word_is_utf_7(const struct word *word)
{
    static const char name[] = "utf-7";
    const size_t bytes = sizeof(name) - 1;
    return word->charset_bytes >= bytes &&
           strncasecmp((const char *)word->charset + word->charset_bytes - bytes, name, bytes) == 0;
}

/* A control byte behind a charset that we cannot read: no reason to pass it on. */
static bool word_hides_controls(struct run *run, const struct word *word)
{
    run->bytes = 0;
    if (word->base64)
        run_add_base64(run, word);
    else
        run_add_q(run, word);
    bool hides = false;
    for (size_t i = 0; i < run->bytes; i++) {
        const uint8_t c = run->decoded[i];
        hides |= c < 0x20 && c != 0x0e && c != 0x0f && c != 0x1b; /* ISO 2022's shifts */
    }
    run->bytes = 0;
    return hides;
}

/* Visible ASCII with single blanks inside and no "=?"? */
static HOT bool is_same(const uint8_t *src, size_t bytes)
{
    uint32_t carry_blank = 1; /* none may stand first */
    uint32_t carry_equals = 0;
    for (size_t i = 0; i < bytes; i += WINDOW_LANES) {
        const __m128i lanes = window_lanes_until(src + i, src + bytes);
        const uint32_t there =
            (uint32_t)window_below((uint32_t)MIN(bytes - i, (size_t)WINDOW_LANES));
        const uint32_t blanks = window_bits(window_equal(lanes, ' '));
        const uint32_t equals = window_bits(window_equal(lanes, '='));
        const uint32_t questions = window_bits(window_equal(lanes, '?'));
        if (((blanks | window_bits(window_visible(lanes))) & there) != there ||
            (blanks & (blanks << 1 | carry_blank)) != 0 ||
            (questions & (equals << 1 | carry_equals)) != 0)
            return false;
        carry_blank = blanks >> (WINDOW_LANES - 1);
        carry_equals = equals >> (WINDOW_LANES - 1);
    }
    return bytes == 0 || src[bytes - 1] != ' ';
}

/*
 * Nearly every field is printable ASCII without encoded words, and is only copied. False: it is
 * not, or has no room, and must be read with care; dst holds nothing then.
 */
static HOT bool decode_plain(struct encoded_word_text *out, uint8_t *dst, size_t dst_room,
                             const uint8_t *src, size_t src_bytes)
{
    if (src_bytes > dst_room)
        return false;
    if (is_same(src, src_bytes)) {
        window_copy(dst, src, src_bytes);
        *out = (struct encoded_word_text){.bytes = src_bytes, .same = true};
        return true;
    }
    size_t bytes = 0;
    bool space = false;
    for (size_t i = 0; i < src_bytes; i++) {
        const uint8_t c = src[i];
        if (c > ' ' && c < 0x7f) {
            if (c == '?' && i > 0 && src[i - 1] == '=')
                return false;
            dst[bytes] = ' ';
            bytes += space && bytes > 0 ? 1 : 0;
            dst[bytes++] = c;
            space = false;
            continue;
        }
        if (!is_blank(c) || (c == '\r' && (i + 1 == src_bytes || src[i + 1] != '\n')))
            return false;
        space = true;
    }
    ASSERT(bytes <= src_bytes);
    *out = (struct encoded_word_text){.bytes = bytes};
    return true;
}

HOT void encoded_word_decode(struct encoded_word_text *out, uint8_t *dst, size_t dst_room,
                             const uint8_t *src, size_t src_bytes)
{
    if (decode_plain(out, dst, dst_room, src, src_bytes))
        return;
    struct text text = text_make(dst, dst_room);
    struct run run;
    run.charset = NULL;
    run.bytes = 0;
    const uint8_t *end = src + src_bytes;
    const uint8_t *at = src;
    bool blank = false;
    *out = (struct encoded_word_text){0};
    /* Raw 8-bit text is UTF-8 if all of it is, else what most such mail is. */
    const bool utf8 = text_is_utf8(src, src_bytes);

    while (at < end) {
        struct word word;
        if (is_blank(*at)) {
            text.dirty |= *at == '\r' && (end - at < 2 || at[1] != '\n');
            blank = true;
            at++;
            continue;
        }
        if (*at == '=' && end - at > 6 && at[1] == '?' && word_read(&word, at, end)) {
            const struct charset *charset = charset_find(word.charset, word.charset_bytes);
            if (charset != NULL) {
                /* RFC 2047, 6.2: white space between encoded words is not shown. */
                if (blank && run.charset == NULL)
                    text_put(&text, ' ');
                run_add_word(&run, &text, &word, charset);
                out->words = true;
                blank = false;
                at = word.after;
                continue;
            }
            run_flush(&run, &text);
            out->unknown = true;
            text.dirty |= word_hides_controls(&run, &word) || word_is_utf_7(&word);
        }
        run_flush(&run, &text);
        if (blank)
            text_put(&text, ' ');
        blank = false;
        /* An unknown word goes byte by byte as well: its "=?" cannot start another known one
         * before its end, since '?' ends every part. */
        if (*at < 0x80)
            text_put(&text, *at++);
        else if (utf8)
            text_put(&text, text_next(&at, end));
        else
            charset_decode(charset_fallback(), &text, at++, 1);
    }
    run_flush(&run, &text);
    out->bytes = text.bytes;
    out->dirty = text.dirty;
    out->cut = text.cut;
}

/* Printable ASCII that no reader would take for an encoded word, in words that a line can hold. */
static bool is_plain(const uint8_t *src, size_t bytes)
{
    size_t in_word = 0;
    for (size_t i = 0; i < bytes; i++) {
        if (src[i] < ' ' || src[i] > '~')
            return false;
        if (src[i] == '=' && i + 1 < bytes && src[i + 1] == '?')
            return false;
        in_word = src[i] == ' ' ? 0 : in_word + 1;
        if (in_word > PLAIN_WORD_BYTES_MAX)
            return false;
    }
    return true;
}

/* RFC 2047, 5 (3): what the Q encoding may leave as it is in a phrase. */
static bool is_q_literal(uint8_t c)
{
    /* ! * + - / 0-9 A-Z a-z, as bits. */
    static const uint64_t literal[2] = {UINT64_C(0x03ffac0200000000), UINT64_C(0x07fffffe07fffffe)};
    return c < 0x80 && (literal[c >> 6] >> (c & 63) & 1) != 0;
}

static void fold(struct writer *writer, size_t *column)
{
    writer_literal(writer, "\r\n ");
    *column = 1;
}

/* Words separated by single spaces, folded before the word that would pass the edge. */
static void write_plain(struct writer *writer, const uint8_t *src, size_t bytes, size_t *column)
{
    size_t at = 0;
    while (at < bytes) {
        const uint8_t *space = memchr(src + at, ' ', bytes - at);
        const size_t word_bytes = space == NULL ? bytes - at : (size_t)(space - src) - at;
        const size_t gap = at == 0 ? 0 : 1;
        if (*column + gap + word_bytes > ENCODED_WORD_COLUMN_MAX && *column > 1) {
            fold(writer, column);
        } else if (gap != 0) {
            writer_byte(writer, ' ');
            *column += 1;
        }
        writer_copy(writer, src + at, word_bytes);
        *column += word_bytes;
        at += word_bytes + (space == NULL ? 0 : 1);
    }
}

static void write_quoted(struct writer *writer, const uint8_t *src, size_t bytes, size_t *column)
{
    if (*column + bytes + 2 > ENCODED_WORD_COLUMN_MAX && *column > 1)
        fold(writer, column);
    const uint8_t *start = writer->at;
    writer_byte(writer, '"');
    for (size_t i = 0; i < bytes; i++) {
        if (src[i] == '"' || src[i] == '\\')
            writer_byte(writer, '\\');
        writer_byte(writer, src[i]);
    }
    writer_byte(writer, '"');
    *column += (size_t)(writer->at - start);
}

static size_t q_bytes(const uint8_t *src, size_t bytes)
{
    size_t total = 0;
    for (size_t i = 0; i < bytes; i++)
        total += src[i] == ' ' || is_q_literal(src[i]) ? 1 : 3;
    return total;
}

/* How much of src, whole characters only, fits `chars` of encoded text. */
static size_t fit_bytes(const uint8_t *src, size_t bytes, size_t chars, bool base64)
{
    size_t fit = 0;
    size_t used = 0;
    while (fit < bytes) {
        const uint8_t *next = src + fit;
        (void)text_next(&next, src + bytes);
        const size_t step = (size_t)(next - src) - fit;
        used = base64 ? (fit + step + 2) / 3 * 4 : used + q_bytes(src + fit, step);
        if (used > chars)
            break;
        fit += step;
    }
    return fit;
}

#define WORD_FRAME_CHARS 12 /* "=?UTF-8?Q?" and "?=" */

static void write_q(struct writer *writer, const uint8_t *src, size_t bytes)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < bytes; i++) {
        if (src[i] == ' ') {
            writer_byte(writer, '_');
        } else if (is_q_literal(src[i])) {
            writer_byte(writer, src[i]);
        } else {
            writer_byte(writer, '=');
            writer_byte(writer, (uint8_t)digits[src[i] >> 4]);
            writer_byte(writer, (uint8_t)digits[src[i] & 15]);
        }
    }
}

static void write_encoded(struct writer *writer, const uint8_t *src, size_t bytes, size_t *column)
{
    /* Q stays readable in raw headers; base64 takes over where it is a quarter shorter. */
    const bool base64 = q_bytes(src, bytes) * 3 > (bytes + 2) / 3 * 16;
    size_t at = 0;
    while (at < bytes) {
        /* A first word needs room for a few characters, or it goes to the next line. */
        if (at > 0 || *column > ENCODED_WORD_COLUMN_MAX / 2)
            fold(writer, column);
        const size_t chars = ENCODED_WORD_COLUMN_MAX - 1 - WORD_FRAME_CHARS - *column;
        const size_t fit = fit_bytes(src + at, bytes - at, chars, base64);
        ASSERT(fit > 0);
        const uint8_t *start = writer->at;
        writer_copy(writer, base64 ? "=?UTF-8?B?" : "=?UTF-8?Q?", 10);
        if (base64) {
            uint8_t encoded[BASE64_LINE_CHARS + BASE64_SLACK_BYTES];
            writer_copy(writer, encoded, base64_encode_run(encoded, src + at, fit));
        } else {
            write_q(writer, src + at, fit);
        }
        writer_literal(writer, "?=");
        *column += (size_t)(writer->at - start);
        at += fit;
    }
}

HOT void encoded_word_write(struct writer *writer, const uint8_t *src, size_t src_bytes,
                            enum encoded_word_place place, size_t *column)
{
    if (src_bytes == 0)
        return;
    if (!is_plain(src, src_bytes)) {
        write_encoded(writer, src, src_bytes, column);
        return;
    }
    bool atoms = true;
    for (size_t i = 0; place == ENCODED_WORD_PHRASE && i < src_bytes; i++)
        atoms &= src[i] == ' ' || text_is_atext(src[i]);
    if (atoms)
        write_plain(writer, src, src_bytes, column);
    else
        write_quoted(writer, src, src_bytes, column);
}

size_t encoded_word_write_bytes_max(size_t src_bytes)
{
    /* Q is chosen up to 16/9 characters a byte, in words of at least 48 with 15 around each; the
     * first and last word may be short. Base64 and quoting stay below twice. */
    return src_bytes * 3 + 160;
}
