#include "keyservice/server/mail/letter.h"

#include "base/assert.h"
#include "crypto/secret.h"
#include "envelope/chunk_fields.h"
#include "envelope/frame.h"
#include "keyservice/record.h"
#include "keyservice/server/pages.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define LETTER_SUBJECTS 2 /* shown, hidden */

struct letters {
    struct frame *frames[PAGES_LOCALES_COUNT][LETTER_SUBJECTS];
};

/* A header while it is being written. */
struct header_text {
    char *text;
    size_t used;
    bool full;
};

int letters_open(struct letters **letters, const char *public_url, const char *host,
                 char why[LETTER_WHY_BYTES])
{
    struct letters *made = calloc(1, sizeof(*made));
    int rc = made == NULL ? -ENOMEM : 0;
    for (uint32_t i = 0; rc == 0 && i < PAGES_LOCALES_COUNT * LETTER_SUBJECTS; i++) {
        const struct frame_config config = {
            .suite = COBBLE_AES_256,
            .locale = pages_locale_name(i / LETTER_SUBJECTS),
            .key_service_url = public_url,
            .message_id_host = host,
            .hide_subject = i % LETTER_SUBJECTS == 1,
            .keep_references = true,
        };
        rc = frame_open(&made->frames[i / LETTER_SUBJECTS][i % LETTER_SUBJECTS], &config, why);
    }
    if (rc != 0) {
        letters_close(made);
        return rc;
    }
    *letters = made;
    return 0;
}

void letters_close(struct letters *letters)
{
    if (letters == NULL)
        return;
    for (uint32_t i = 0; i < PAGES_LOCALES_COUNT; i++)
        for (uint32_t n = 0; n < LETTER_SUBJECTS; n++)
            frame_close(letters->frames[i][n]);
    free(letters);
}

static void text_add(struct header_text *header, const char *text)
{
    const size_t bytes = strlen(text);
    if (header->full || header->used + bytes > LETTER_HEADER_BYTES) {
        header->full = true;
        return;
    }
    memcpy(header->text + header->used, text, bytes);
    header->used += bytes;
}

/* Within a quoted string. */
static void quoted_add(struct header_text *header, const char *text)
{
    char one[2] = "";
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            text_add(header, "\\");
        one[0] = *text;
        text_add(header, one);
    }
}

/* `shown`: an address that stands beside the name, or for it; "": none. */
static void author_add(struct header_text *header, const char *name, const char *shown,
                       const char *address)
{
    const bool both = name[0] != '\0' && shown[0] != '\0';
    const bool any = name[0] != '\0' || shown[0] != '\0';
    text_add(header, any ? "From: \"" : "From: ");
    quoted_add(header, name);
    text_add(header, both ? " (" : "");
    quoted_add(header, shown);
    text_add(header, both ? ")" : "");
    text_add(header, any ? "\" " : "");
    text_add(header, "<");
    text_add(header, address);
    text_add(header, ">\r\n");
}

static void addresses_add(struct header_text *header, const char *field,
                          const char *const *addresses, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        text_add(header, i == 0 ? field : ",\r\n ");
        text_add(header, addresses[i]);
    }
    if (count > 0)
        text_add(header, "\r\n");
}

static void field_add(struct header_text *header, const char *field, const char *value)
{
    if (value[0] == '\0')
        return;
    text_add(header, field);
    text_add(header, value);
    text_add(header, "\r\n");
}

bool letter_name_plain(const char *name)
{
    return strlen(name) <= LETTER_NAME_BYTES_MAX && strpbrk(name, "@<>") == NULL;
}

/* A line end in any of them would begin a field of the writer's own. */
static bool texts_sound(const struct letter *letter)
{
    const char *const texts[] = {letter->name, letter->address, letter->subject,
                                 letter->in_reply_to, letter->references};
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++)
        if (!record_text_sound((const uint8_t *)texts[i], strlen(texts[i])))
            return false;
    return letter_name_plain(letter->name) && strlen(letter->in_reply_to) <= LETTER_IDS_BYTES_MAX &&
           strlen(letter->references) <= LETTER_IDS_BYTES_MAX &&
           letter->to_count + letter->cc_count <= LETTER_ADDRESSES_MAX;
}

/* What the outer header is made of, as if it were the original's. */
static int header_make(struct header_text *header, const struct letter *letter)
{
    const bool in_place = letter->service != NULL;
    /* The name is whatever was typed; the address is what was proven. */
    author_add(header, letter->name, in_place ? letter->address : "",
               in_place ? letter->service : letter->address);
    if (in_place)
        field_add(header, "Reply-To: ", letter->address);
    addresses_add(header, "To: ", letter->to, letter->to_count);
    addresses_add(header, "Cc: ", letter->cc, letter->cc_count);
    field_add(header, "Subject: ", letter->subject);
    field_add(header, "In-Reply-To: ", letter->in_reply_to);
    field_add(header, "References: ", letter->references);
    text_add(header, "\r\n");
    return header->full ? -EINVAL : 0;
}

/* Whoever stands in From: the notification and the envelope name the writer. */
static void writer_show(const struct frame *frame, const struct letter *letter,
                        struct header_text *header, struct frame_shown *shown)
{
    struct header read;
    author_add(header, letter->name, "", letter->address);
    text_add(header, "\r\n");
    header_read(&read, (const uint8_t *)header->text, header->used, header->used);
    const struct frame_message message = {
        .id = letter->id, .mail = (const uint8_t *)header->text, .header = &read};
    frame_show(frame, &message, shown);
}

/* The five spans, one after the other. */
static int spans_write(const struct frame *frame, const struct letter *letter,
                       const struct frame_message *message, const struct frame_shown *shown,
                       uint8_t **mail, size_t *mail_bytes)
{
    struct frame_spans spans;
    size_t head_bytes = 0;
    size_t tail_bytes = 0;
    const uint8_t *head = frame_head(frame, FRAME_SCRIPTED, &head_bytes);
    const uint8_t *tail = frame_tail(frame, FRAME_SCRIPTED, &tail_bytes);
    const size_t chunks_bytes = letter->sealed_bytes - COBBLE_HEADER_BYTES;
    const size_t frame_room = frame_bytes_max(frame, message, shown);
    uint8_t *frame_text = malloc(frame_room);
    uint8_t *made =
        malloc(frame_room + head_bytes + tail_bytes + chunk_fields_bytes_max(chunks_bytes));
    if (frame_text == NULL || made == NULL) {
        free(frame_text);
        free(made);
        return -ENOMEM;
    }
    frame_write(frame, message, shown, frame_text, frame_room, &spans);
    const uint8_t *epilogue = frame_text + spans.prologue_bytes;
    uint8_t *at = mempcpy(made, frame_text, spans.prologue_bytes);
    at = mempcpy(at, head, head_bytes);
    at = mempcpy(at, epilogue + spans.epilogue_bytes, spans.fields_bytes);
    at += chunk_fields_write(base64_codec(isa_best()), at, letter->sealed + COBBLE_HEADER_BYTES,
                             chunks_bytes);
    at = mempcpy(at, tail, tail_bytes);
    at = mempcpy(at, epilogue, spans.epilogue_bytes);
    free(frame_text);
    *mail = made;
    *mail_bytes = (size_t)(at - made);
    return 0;
}

int letter_write(const struct letters *letters, const struct letter *letter, uint8_t **mail,
                 size_t *mail_bytes)
{
    uint8_t boundary[FRAME_BOUNDARY_BYTES];
    struct frame_shown shown;
    struct frame_shown writer;
    struct frame_time time = {.unix_s = 0};
    struct header read;
    ASSERT(letter->locale < PAGES_LOCALES_COUNT);
    if (!texts_sound(letter) || letter->sealed_bytes < COBBLE_HEADER_BYTES ||
        !chunk_fields_whole(letter->sealed_bytes - COBBLE_HEADER_BYTES))
        return -EINVAL;
    if (getrandom(boundary, sizeof(boundary), 0) != (ssize_t)sizeof(boundary))
        return -EIO;
    struct header_text header = {.text = malloc(2 * LETTER_HEADER_BYTES)};
    struct header_text author = {.text = header.text + LETTER_HEADER_BYTES};
    int rc = header.text == NULL ? -ENOMEM : header_make(&header, letter);
    if (rc != 0) {
        free(header.text);
        return rc;
    }
    const struct frame *frame = letters->frames[letter->locale][letter->subject[0] == '\0'];
    frame_time_set(&time, letter->now_unix_ns);
    header_read(&read, (const uint8_t *)header.text, header.used, header.used);
    const struct frame_message message = {.id = letter->id,
                                          .mail = (const uint8_t *)header.text,
                                          .header = &read,
                                          .time = &time,
                                          .salt_commitment = letter->sealed,
                                          .boundary_random = boundary};
    frame_show(frame, &message, &shown);
    writer_show(frame, letter, &author, &writer);
    memcpy(shown.sender, writer.sender, sizeof(shown.sender));
    shown.sender_bytes = writer.sender_bytes;
    shown.name = writer.name;
    shown.name_bytes = writer.name_bytes;
    rc = spans_write(frame, letter, &message, &shown, mail, mail_bytes);
    secret_wipe(header.text, header.used);
    frame_shown_wipe(&shown);
    frame_shown_wipe(&writer);
    free(header.text);
    return rc;
}
