#include "keyservice/server/plain.h"

#include "base/assert.h"
#include "crypto/secret.h"
#include "envelope/text.h"
#include "keyservice/server/mail/html_text.h"
#include "keyservice/server/preview.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ESCAPED_TIMES 6   /* "&quot;" */
#define AROUND_BYTES  256 /* markup around one item */

/* Markup while it is written, in memory that is surely enough. */
struct markup {
    char *at;
    size_t bytes;
    size_t room;
};

static void markup_put(struct markup *markup, const char *text, size_t bytes)
{
    ASSERT(bytes <= markup->room - markup->bytes);
    memcpy(markup->at + markup->bytes, text, bytes);
    markup->bytes += bytes;
}

static void markup_words(struct markup *markup, const char *words)
{
    markup_put(markup, words, strlen(words));
}

static void markup_escaped(struct markup *markup, const uint8_t *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        switch (text[i]) {
        case '&': markup_words(markup, "&amp;"); break;
        case '<': markup_words(markup, "&lt;"); break;
        case '>': markup_words(markup, "&gt;"); break;
        case '"': markup_words(markup, "&quot;"); break;
        case '\'': markup_words(markup, "&#39;"); break;
        default: markup_put(markup, (const char *)text + i, 1); break;
        }
    }
}

void plain_line(char *line, size_t room, const uint8_t *bytes_at, size_t bytes)
{
    ASSERT(room > 0);
    struct text text = text_make((uint8_t *)line, room - 1);
    text_put_utf8(&text, bytes_at, bytes);
    line[text.bytes] = '\0';
}

static void file_put(struct markup *markup, uint32_t number, const struct mailview_item *item,
                     const char *look)
{
    char name[MAILVIEW_NAME_BYTES_MAX + 1];
    char opening[AROUND_BYTES];
    plain_line(name, sizeof(name), item->bytes_at, item->bytes);
    (void)snprintf(
        opening, sizeof(opening),
        "<span class=\"pair\"><button class=\"plain file\" name=\"part\" value=\"%u\"><bdi>",
        number);
    markup_words(markup, opening);
    markup_escaped(markup, (const uint8_t *)name, strlen(name));
    markup_words(markup, "</bdi></button>");
    if (preview_named(name)) {
        (void)snprintf(opening, sizeof(opening),
                       "<button class=\"plain\" name=\"look\" value=\"%u\" formtarget=\"_blank\">",
                       number);
        markup_words(markup, opening);
        markup_escaped(markup, (const uint8_t *)look, strlen(look));
        markup_words(markup, "</button>");
    }
    markup_words(markup, "</span>\n");
}

/* Cleaned once more: it must be text even where the process that says so is not ours any more. */
static int body_put(struct markup *markup, const struct mailview_item *item)
{
    /* A malformed byte becomes three. */
    struct html_text text = {.room = 3 * item->bytes};
    text.dst = malloc(text.room + 1);
    if (text.dst == NULL)
        return -ENOMEM;
    html_text_plain(&text, item->bytes_at, item->bytes);
    markup_words(markup, "<div class=\"text\" dir=\"auto\">");
    markup_escaped(markup, text.dst, text.bytes);
    markup_words(markup, "</div>\n");
    secret_wipe(text.dst, text.bytes);
    free(text.dst);
    return 0;
}

/* Room for all that the items may become. */
static int markups_open(struct markup *files, struct markup *body, const uint8_t *items,
                        size_t items_bytes, size_t look_bytes)
{
    struct mailview_item item;
    size_t offset = 0;
    files->room = 1;
    body->room = 1;
    while (mailview_next(&item, items, items_bytes, &offset)) {
        if (item.tag == MAILVIEW_TEXT)
            body->room += AROUND_BYTES + 3 * ESCAPED_TIMES * item.bytes;
        else
            files->room +=
                AROUND_BYTES +
                ESCAPED_TIMES * (look_bytes + MIN(item.bytes * 3, (size_t)MAILVIEW_NAME_BYTES_MAX));
    }
    files->at = malloc(files->room);
    body->at = malloc(body->room);
    if (files->at != NULL && body->at != NULL)
        return 0;
    free(files->at);
    free(body->at);
    return -ENOMEM;
}

/* The line that an item is; NULL for what is no line. */
static char *line_of(struct plain *plain, enum mailview_tag tag)
{
    switch (tag) {
    case MAILVIEW_FROM: return plain->from;
    case MAILVIEW_TO: return plain->to;
    case MAILVIEW_CC: return plain->cc;
    case MAILVIEW_SUBJECT: return plain->subject;
    case MAILVIEW_DATE: return plain->date;
    case MAILVIEW_MESSAGE_ID: return plain->message_id;
    case MAILVIEW_REFERENCES: return plain->references;
    case MAILVIEW_TEXT:
    case MAILVIEW_CUT:
    case MAILVIEW_FILE:
    case MAILVIEW_NAME:
    case MAILVIEW_BYTES:
    case MAILVIEW_ENVELOPE: return NULL;
    }
    return NULL;
}

int plain_read(struct plain *plain, const uint8_t *items, size_t items_bytes, const char *look)
{
    struct markup files = {.at = NULL};
    struct markup body = {.at = NULL};
    struct mailview_item item;
    size_t offset = 0;
    uint32_t files_count = 0;
    int rc = markups_open(&files, &body, items, items_bytes, strlen(look));
    if (rc != 0)
        return rc;
    *plain = (struct plain){.cut = false};
    while (rc == 0 && mailview_next(&item, items, items_bytes, &offset)) {
        char *line = line_of(plain, item.tag);
        if (line != NULL)
            plain_line(line, MAILVIEW_LINE_BYTES_MAX + 1, item.bytes_at, item.bytes);
        else if (item.tag == MAILVIEW_TEXT)
            rc = body_put(&body, &item);
        else if (item.tag == MAILVIEW_FILE && files_count < MAILVIEW_FILES_MAX)
            file_put(&files, ++files_count, &item, look);
        else if (item.tag == MAILVIEW_CUT)
            plain->cut = true;
    }
    markup_put(&files, "", 1);
    markup_put(&body, "", 1);
    plain->files = files.at;
    plain->files_bytes = files.bytes;
    plain->body = body.at;
    plain->body_bytes = body.bytes;
    if (rc != 0)
        plain_fini(plain);
    return rc;
}

/* As encodeURIComponent() does it in the envelope's own link: docs/keyservice/write.md. */
char *plain_answer_link(const struct plain *plain, const char *id_hex)
{
    const char *const fields[] = {plain->message_id, plain->references, plain->to, plain->cc};
    size_t room = sizeof("/write?m=#") + strlen(id_hex);
    for (size_t i = 0; i < ARRAY_COUNT(fields); i++)
        room += 3 * strlen(fields[i]) + 1;
    char *link = malloc(room);
    if (link == NULL)
        return NULL;
    size_t used = (size_t)snprintf(link, room, "/write?m=%s#", id_hex);
    for (size_t i = 0; i < ARRAY_COUNT(fields); i++) {
        if (i > 0)
            link[used++] = ',';
        for (const char *at = fields[i]; *at != '\0'; at++) {
            const uint8_t c = (uint8_t)*at;
            if (c < 0x80 && (isalnum(c) || strchr("-_.!~*'()", c) != NULL))
                link[used++] = (char)c;
            else
                used += (size_t)snprintf(link + used, room - used, "%%%02X", c);
        }
    }
    ASSERT(used < room);
    link[used] = '\0';
    return link;
}

void plain_fini(struct plain *plain)
{
    if (plain->files != NULL)
        secret_wipe(plain->files, plain->files_bytes);
    if (plain->body != NULL)
        secret_wipe(plain->body, plain->body_bytes);
    free(plain->files);
    free(plain->body);
    secret_wipe(plain, sizeof(*plain));
}
