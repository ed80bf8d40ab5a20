#include "envelope/unsealed.h"

#include "base/assert.h"
#include "crypto/base64.h"
#include "crypto/secret.h"
#include "envelope/part.h"
#include "envelope/unpack.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct span {
    const uint8_t *at;
    size_t bytes;
};

/* A start tag, with the attributes that matter; `at` NULL: not there. */
struct tag {
    struct span element;
    struct span id;
    struct span type;
    struct span name;
    struct span value;
};

/* What the HTML has told so far. */
struct reading {
    struct unsealed unsealed;
    const uint8_t *end; /* of the HTML                                      */
    size_t room_bytes;  /* of unsealed.sealed                               */
    uint32_t seen;      /* one bit for each field, 'a' is bit 0             */
    bool marked;        /* something only a bulla envelope has              */
    bool padded;        /* the ciphertext's last field ended with padding   */
    int rc;             /* the first fault                                  */
};

#define BIT(letter)     (UINT32_C(1) << ((letter) - 'a'))
#define FIELD_NAMES     "vsmfutkce"
#define TIME_DIGITS_MAX 12 /* as web/opener/fields.js */
#define FIELDS_REQUIRED (BIT('v') | BIT('s') | BIT('m') | BIT('k') | BIT('c') | BIT('e'))

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f';
}

static bool span_is(struct span span, const char *lower)
{
    return span.at != NULL && span.bytes == strlen(lower) &&
           strncasecmp((const char *)span.at, lower, span.bytes) == 0;
}

static struct span trimmed(struct span span)
{
    while (span.bytes != 0 && is_space(span.at[0])) {
        span.at++;
        span.bytes--;
    }
    while (span.bytes != 0 && is_space(span.at[span.bytes - 1]))
        span.bytes--;
    return span;
}

static const uint8_t *skip_space(const uint8_t *at, const uint8_t *end)
{
    while (at != end && is_space(*at))
        at++;
    return at;
}

/* Letters, digits and dashes of a name. */
static struct span name_at(const uint8_t *at, const uint8_t *end)
{
    struct span name = {.at = at};

    while (at != end && !is_space(*at) && *at != '=' && *at != '>' && *at != '/')
        at++;
    name.bytes = (size_t)(at - name.at);
    return name;
}

/* An attribute's value; returns where it ended, or NULL when the file did. */
static const uint8_t *value_at(const uint8_t *at, const uint8_t *end, struct span *value)
{
    const uint8_t *stop = at;

    if (at == end)
        return NULL;
    if (*at == '"' || *at == '\'') {
        stop = memchr(at + 1, *at, (size_t)(end - at - 1));
        if (stop == NULL)
            return NULL;
        *value = (struct span){.at = at + 1, .bytes = (size_t)(stop - at - 1)};
        return stop + 1;
    }
    while (stop != end && !is_space(*stop) && *stop != '>')
        stop++;
    *value = (struct span){.at = at, .bytes = (size_t)(stop - at)};
    return stop;
}

static void attribute_set(struct tag *tag, struct span name, struct span value)
{
    struct span *slot = NULL;

    if (span_is(name, "id"))
        slot = &tag->id;
    else if (span_is(name, "type"))
        slot = &tag->type;
    else if (span_is(name, "name"))
        slot = &tag->name;
    else if (span_is(name, "value"))
        slot = &tag->value;
    if (slot != NULL && slot->at == NULL) /* HTML: the first of a name counts */
        *slot = value;
}

/* Reads the start tag whose name stands at `at`; returns behind its '>', or NULL at a cut. */
static const uint8_t *tag_read(struct tag *tag, const uint8_t *at, const uint8_t *end)
{
    *tag = (struct tag){.element = name_at(at, end)};
    at += tag->element.bytes;
    for (;;) {
        at = skip_space(at, end);
        if (at == end)
            return NULL;
        if (*at == '>')
            return at + 1;
        const struct span name = name_at(at, end);
        struct span value = {.at = (const uint8_t *)"", .bytes = 0};
        if (name.bytes == 0) {
            at++; /* '/' or '=' without a name */
            continue;
        }
        at = skip_space(at + name.bytes, end);
        if (at != end && *at == '=') {
            at = value_at(skip_space(at + 1, end), end, &value);
            if (at == NULL)
                return NULL;
        }
        attribute_set(tag, name, value);
    }
}

/* Behind the end tag of an element whose content is not markup; `end` when there is none. */
static const uint8_t *skip_raw(const uint8_t *at, const uint8_t *end, struct span element)
{
    while ((at = memchr(at, '<', (size_t)(end - at))) != NULL) {
        at++;
        if ((size_t)(end - at) > element.bytes && *at == '/' &&
            strncasecmp((const char *)at + 1, (const char *)element.at, element.bytes) == 0)
            return at + 1 + element.bytes;
    }
    return end;
}

/* Behind a comment whose "<!--" stands before `at`. */
static const uint8_t *skip_comment(const uint8_t *at, const uint8_t *end)
{
    const uint8_t *stop = memmem(at, (size_t)(end - at), "-->", 3);
    return stop == NULL ? end : stop + 3;
}

static int salt_commitment_read(struct reading *reading, struct span value)
{
    uint8_t header[128 / 4 * 3 + BASE64_SLACK_BYTES];
    size_t header_bytes = 0;

    if (value.bytes > 128 ||
        base64_decode(base64_codec(isa_best()), header, value.at, value.bytes, &header_bytes) != 0)
        return -EBADMSG;
    if (header_bytes != COBBLE_HEADER_BYTES)
        return -EBADMSG;
    /* All that can follow is less than what is left of the HTML. */
    reading->room_bytes = COBBLE_HEADER_BYTES + (size_t)(reading->end - value.at);
    reading->unsealed.sealed = malloc(reading->room_bytes + BASE64_SLACK_BYTES);
    if (reading->unsealed.sealed == NULL)
        return -ENOMEM;
    memcpy(reading->unsealed.sealed, header, COBBLE_HEADER_BYTES);
    reading->unsealed.sealed_bytes = COBBLE_HEADER_BYTES;
    return 0;
}

static int ciphertext_read(struct reading *reading, struct span value)
{
    struct unsealed *unsealed = &reading->unsealed;
    size_t bytes = 0;

    if (unsealed->sealed == NULL || reading->padded)
        return -EBADMSG;
    ASSERT(value.bytes / 4 * 3 <= reading->room_bytes - unsealed->sealed_bytes);
    if (base64_decode(base64_codec(isa_best()), unsealed->sealed + unsealed->sealed_bytes, value.at,
                      value.bytes, &bytes) != 0)
        return -EBADMSG;
    reading->padded = bytes % 3 != 0;
    unsealed->sealed_bytes += bytes;
    return 0;
}

static bool is_time(struct span word)
{
    for (size_t i = 0; i < word.bytes; i++) {
        if (word.at[i] < '0' || word.at[i] > '9')
            return false;
    }
    return word.bytes != 0 && word.bytes <= TIME_DIGITS_MAX;
}

/* docs/format/envelope.md, fields. */
static int field_read(struct reading *reading, char letter, struct span value)
{
    const struct span word = trimmed(value);

    if ((reading->seen & BIT(letter)) != 0 && letter != 'c')
        return -EBADMSG;
    if ((reading->seen & BIT('e')) != 0)
        return -EBADMSG;
    reading->seen |= BIT(letter);
    switch (letter) {
    case 'v':
    case 'e': return span_is(word, "1") ? 0 : -EBADMSG;
    case 's':
        if (!span_is(word, "1") && !span_is(word, "2"))
            return -EBADMSG;
        reading->unsealed.suite = word.at[0] == '1' ? COBBLE_AES_256 : COBBLE_AES_192;
        return 0;
    case 'm':
        return id_from_hex(&reading->unsealed.id, (const char *)word.at, word.bytes) == 0
                   ? 0
                   : -EBADMSG;
    case 'k': return salt_commitment_read(reading, word);
    case 'c': return ciphertext_read(reading, value);
    case 't': return is_time(word) ? 0 : -EBADMSG;
    default: return 0; /* f and u inform the reader of the attachment */
    }
}

static void tag_use(struct reading *reading, const struct tag *tag)
{
    if (span_is(tag->id, "bulla") || span_is(tag->id, "bulla-strings"))
        reading->marked = true;
    if (!span_is(tag->element, "input") || !span_is(tag->type, "hidden"))
        return;
    if (tag->name.bytes != 1 || tag->value.at == NULL ||
        memchr(FIELD_NAMES, tag->name.at[0], sizeof(FIELD_NAMES) - 1) == NULL)
        return;
    const int rc = field_read(reading, (char)tag->name.at[0], tag->value);
    if (reading->rc == 0)
        reading->rc = rc;
}

static void html_scan(struct reading *reading, const uint8_t *at)
{
    const uint8_t *end = reading->end;

    while (at != end && reading->rc != -ENOMEM) {
        struct tag tag;

        at = memchr(at, '<', (size_t)(end - at));
        if (at == NULL || ++at == end)
            return;
        if (end - at >= 3 && memcmp(at, "!--", 3) == 0) {
            at = skip_comment(at + 3, end);
            continue;
        }
        if ((*at | 0x20) < 'a' || (*at | 0x20) > 'z')
            continue; /* an end tag, or a bare '<' */
        at = tag_read(&tag, at, end);
        if (at == NULL)
            return;
        tag_use(reading, &tag);
        if (span_is(tag.element, "script") || span_is(tag.element, "style"))
            at = skip_raw(at, end, tag.element);
    }
}

/* One verdict on all that was read. */
static int verdict(const struct reading *reading)
{
    const bool whole = (reading->seen & BIT('e')) != 0;

    if (reading->rc == -ENOMEM)
        return -ENOMEM;
    if ((reading->seen & BIT('v')) == 0 && !reading->marked)
        return -EINVAL;
    if (!whole)
        return -ENODATA;
    if (reading->rc != 0 || (reading->seen & FIELDS_REQUIRED) != FIELDS_REQUIRED)
        return -EBADMSG;
    return reading->unsealed.sealed_bytes >= COBBLE_HEADER_BYTES + COBBLE_TAG_BYTES ? 0 : -EBADMSG;
}

static int html_read(struct unsealed *unsealed, const uint8_t *html, size_t html_bytes)
{
    struct reading reading = {.end = html + html_bytes};

    html_scan(&reading, html);
    const int rc = verdict(&reading);
    if (rc != 0) {
        free(reading.unsealed.sealed);
        return rc;
    }
    *unsealed = reading.unsealed;
    return 0;
}

int unsealed_read_fields(struct unsealed *unsealed, const struct unsealed_field *fields,
                         uint32_t fields_count, const uint8_t *end)
{
    struct reading reading = {.end = end};

    for (uint32_t i = 0; i < fields_count && reading.rc != -ENOMEM; i++) {
        const struct unsealed_field *field = &fields[i];
        const struct span value = {.at = field->value, .bytes = field->value_bytes};
        ASSERT(field->value <= end && field->value_bytes <= (size_t)(end - field->value));
        if (field->name == '\0' || strchr(FIELD_NAMES, field->name) == NULL)
            continue;
        const int rc = field_read(&reading, field->name, value);
        if (reading.rc == 0)
            reading.rc = rc;
    }
    const int rc = verdict(&reading);
    if (rc != 0) {
        free(reading.unsealed.sealed);
        return rc;
    }
    *unsealed = reading.unsealed;
    return 0;
}

static int part_read(struct unsealed *unsealed, const struct part *part)
{
    uint8_t *html = NULL;
    size_t html_bytes = 0;
    int rc = part_decode(part, &html, &html_bytes);

    if (rc != 0)
        return part->named ? rc : -EINVAL;
    rc = html_read(unsealed, html, html_bytes);
    free(html);
    /* Cut before its first field; only its name still tells what it was. */
    return rc == -EINVAL && part->named && part->cut ? -ENODATA : rc;
}

int unsealed_read(struct unsealed *unsealed, const uint8_t *text, size_t text_bytes)
{
    static const uint8_t byte_order_mark[] = {0xef, 0xbb, 0xbf};
    struct part parts[PART_COUNT_MAX];
    int rc_first = -EINVAL;

    if (text_bytes >= 3 && memcmp(text, byte_order_mark, 3) == 0) {
        text += 3;
        text_bytes -= 3;
    }
    const uint8_t *start = skip_space(text, text + text_bytes);
    if (start == text + text_bytes)
        return -EINVAL;
    if (*start == '<') /* no header field begins so */
        return html_read(unsealed, text, text_bytes);

    const uint32_t parts_count = part_list(parts, text, text_bytes);
    for (uint32_t pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0; i < parts_count; i++) {
            if (parts[i].named != (pass == 0))
                continue;
            const int rc = part_read(unsealed, &parts[i]);
            if (rc == 0 || rc == -ENOMEM)
                return rc;
            rc_first = rc_first == -EINVAL ? rc : rc_first;
        }
    }
    /* Mail whose structure did not survive, or an attachment with something before it. */
    return rc_first == -EINVAL ? html_read(unsealed, text, text_bytes) : rc_first;
}

static int opened_unpack(const uint8_t *packed, size_t packed_bytes, size_t mail_bytes_max,
                         uint8_t **mail, size_t *mail_bytes)
{
    size_t bytes = 0;
    int rc = unpack_bytes(packed, packed_bytes, &bytes);

    if (rc != 0)
        return rc;
    if (bytes > mail_bytes_max)
        return -EFBIG;
    uint8_t *unpacked = malloc(bytes + 1); /* an empty message is a message too */
    if (unpacked == NULL)
        return -ENOMEM;
    rc = unpack(unpacked, bytes, packed, packed_bytes);
    if (rc != 0) {
        secret_wipe(unpacked, bytes);
        free(unpacked);
        return rc;
    }
    *mail = unpacked;
    *mail_bytes = bytes;
    return 0;
}

bool unsealed_key_fits(const struct unsealed *unsealed, struct crypto_core *core,
                       const uint8_t *key)
{
    uint8_t context[ID_CONTEXT_BYTES];
    struct cobble cobble;
    struct cobble_derivation derivation = {.suite = unsealed->suite,
                                           .key = key,
                                           .salt = unsealed->sealed,
                                           .context = context,
                                           .context_bytes = sizeof(context),
                                           .cobble = &cobble};

    id_context(context, unsealed->suite, &unsealed->id);
    cobble_derive_burst(core, &derivation, 1);
    cobble_wipe(&cobble);
    return ct_equal(derivation.commitment, unsealed->sealed + COBBLE_SALT_BYTES,
                    COBBLE_COMMITMENT_BYTES);
}

int unsealed_open_within(const struct unsealed *unsealed, struct crypto_core *core,
                         const uint8_t *key, size_t mail_bytes_max, uint8_t **mail,
                         size_t *mail_bytes)
{
    uint8_t context[ID_CONTEXT_BYTES];
    size_t packed_bytes = 0;

    ASSERT(unsealed->sealed_bytes >= COBBLE_HEADER_BYTES + COBBLE_TAG_BYTES);
    uint8_t *packed = malloc(unsealed->sealed_bytes);
    if (packed == NULL)
        return -ENOMEM;
    id_context(context, unsealed->suite, &unsealed->id);
    int rc = cobble_open_message(core, unsealed->suite, key, context, sizeof(context),
                                 unsealed->sealed, unsealed->sealed_bytes, packed, &packed_bytes);
    if (rc == 0)
        rc = opened_unpack(packed, packed_bytes, mail_bytes_max, mail, mail_bytes);
    secret_wipe(packed, packed_bytes);
    free(packed);
    return rc;
}

int unsealed_open(const struct unsealed *unsealed, struct crypto_core *core, const uint8_t *key,
                  uint8_t **mail, size_t *mail_bytes)
{
    return unsealed_open_within(unsealed, core, key, UNPACK_MAIL_BYTES_MAX, mail, mail_bytes);
}

void unsealed_fini(struct unsealed *unsealed)
{
    free(unsealed->sealed);
    unsealed->sealed = NULL;
    unsealed->sealed_bytes = 0;
}
