#include "keyservice/server/mail/mailview.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "envelope/text.h"
#include "keyservice/server/mail/html_text.h"
#include "keyservice/server/mail/mailview_items.h"
#include "keyservice/server/mail/received.h"

#include <errno.h>
#include <gmime/gmime.h>
#include <iconv.h>
#include <string.h>

#define TYPE_CHARS_MAX  5
#define BLANK_BYTES_MAX 2 /* a text of no more says nothing */

/* The mail while its parts are gone through, in its order. */
struct walk {
    struct mailview_items *items;
    uint32_t wanted; /* part; 0: the message itself */
    uint32_t files_count;
    size_t text_bytes;
    bool cut;
    bool found; /* the wanted part */
};

/* A part that waits to be looked at. */
struct waiting {
    GMimeObject *object;
    bool hidden;
};

/* Readers of charsets are shared objects: those of mail are loaded here, since where mail is read
 * nothing can be loaded. They stay for the process's life. */
static const char *const charsets[] = {
    "ISO-8859-1",   "ISO-8859-2",   "ISO-8859-3",   "ISO-8859-4",   "ISO-8859-5",   "ISO-8859-6",
    "ISO-8859-7",   "ISO-8859-8",   "ISO-8859-9",   "ISO-8859-10",  "ISO-8859-13",  "ISO-8859-14",
    "ISO-8859-15",  "ISO-8859-16",  "WINDOWS-1250", "WINDOWS-1251", "WINDOWS-1252", "WINDOWS-1253",
    "WINDOWS-1254", "WINDOWS-1255", "WINDOWS-1256", "WINDOWS-1257", "WINDOWS-1258", "KOI8-R",
    "KOI8-U",       "SHIFT_JIS",    "EUC-JP",       "ISO-2022-JP",  "GBK",          "GB18030",
    "BIG5",         "EUC-KR",       "ISO-2022-KR",  "UTF-16",       "UTF-7",        "TIS-620",
    "IBM437",       "IBM850",       "MACINTOSH",
};

void mailview_init(void)
{
    static iconv_t kept[ARRAY_COUNT(charsets)];
    g_mime_init();
    for (size_t i = 0; i < ARRAY_COUNT(charsets); i++)
        kept[i] = iconv_open("UTF-8", charsets[i]); /* one that this system lacks is done without */
    (void)kept;
}

void mailview_item_write(struct mailview_items *items, enum mailview_tag tag, const void *bytes_at,
                         size_t bytes)
{
    if (items->full || bytes > UINT32_MAX ||
        MAILVIEW_ITEM_HEAD_BYTES + bytes > items->room - items->bytes) {
        items->full = true;
        return;
    }
    uint8_t *head = items->dst + items->bytes;
    head[0] = (uint8_t)tag;
    bytes_store_le32(head + 1, (uint32_t)bytes);
    if (bytes > 0) /* memmove: a text is written where it will stand */
        memmove(head + MAILVIEW_ITEM_HEAD_BYTES, bytes_at, bytes);
    items->bytes += MAILVIEW_ITEM_HEAD_BYTES + bytes;
}

bool mailview_next(struct mailview_item *item, const uint8_t *items, size_t items_bytes,
                   size_t *offset)
{
    if (*offset > items_bytes || items_bytes - *offset < MAILVIEW_ITEM_HEAD_BYTES)
        return false;
    const uint8_t *head = items + *offset;
    const uint32_t bytes = bytes_load_le32(head + 1);
    if (bytes > items_bytes - *offset - MAILVIEW_ITEM_HEAD_BYTES)
        return false;
    *item = (struct mailview_item){.tag = (enum mailview_tag)head[0],
                                   .bytes_at = head + MAILVIEW_ITEM_HEAD_BYTES,
                                   .bytes = bytes};
    *offset += MAILVIEW_ITEM_HEAD_BYTES + (size_t)bytes;
    return true;
}

/* A header field, decoded, as one clean line; nothing where there is none. */
static void field_write(struct mailview_items *items, enum mailview_tag tag, GMimeMessage *message,
                        const char *name)
{
    uint8_t line[MAILVIEW_LINE_BYTES_MAX];
    struct text text = text_make(line, sizeof(line));
    const char *value = g_mime_object_get_header(GMIME_OBJECT(message), name);
    if (value == NULL)
        return;
    text_put_utf8(&text, (const uint8_t *)value, strlen(value));
    if (text.bytes > 0)
        mailview_item_write(items, tag, line, text.bytes);
}

/* What a part holds, decoded; NULL without memory. The caller frees it. */
GByteArray *mailview_part_bytes(GMimeObject *object)
{
    GMimeStream *stream = g_mime_stream_mem_new();
    GMimeFormatOptions *options = g_mime_format_options_new();
    GByteArray *bytes = g_byte_array_new();
    g_mime_format_options_set_newline_format(options, GMIME_NEWLINE_FORMAT_DOS);
    g_mime_stream_mem_set_byte_array(GMIME_STREAM_MEM(stream), bytes);
    g_mime_stream_mem_set_owner(GMIME_STREAM_MEM(stream), FALSE);
    if (GMIME_IS_PART(object)) {
        GMimeDataWrapper *content = g_mime_part_get_content(GMIME_PART(object));
        if (content != NULL)
            (void)g_mime_data_wrapper_write_to_stream(content, stream);
    } else if (GMIME_IS_MESSAGE_PART(object)) {
        GMimeMessage *inner = g_mime_message_part_get_message(GMIME_MESSAGE_PART(object));
        if (inner != NULL)
            (void)g_mime_object_write_to_stream(GMIME_OBJECT(inner), options, stream);
    } else
        (void)g_mime_object_write_to_stream(object, options, stream);
    g_object_unref(stream);
    g_mime_format_options_free(options);
    return bytes;
}

/*
 * Text in UTF-8; g_free() it. As the opener reads it: what is said to be ASCII or Western European,
 * and what says nothing, is UTF-8 when it can be.
 */
static char *text_decode(const GByteArray *raw, const char *charset)
{
    const char *at = (const char *)raw->data;
    const bool western = charset == NULL || g_ascii_strcasecmp(charset, "us-ascii") == 0 ||
                         g_ascii_strncasecmp(charset, "iso-8859-1", 11) == 0 ||
                         g_ascii_strcasecmp(charset, "windows-1252") == 0;
    if ((western || g_ascii_strcasecmp(charset, "utf-8") == 0) && text_is_utf8(raw->data, raw->len))
        return g_strndup(at, raw->len);
    char *decoded = g_convert_with_fallback(
        at, (gssize)raw->len, "UTF-8", western ? "WINDOWS-1252" : charset, NULL, NULL, NULL, NULL);
    return decoded != NULL ? decoded
                           : g_convert_with_fallback(at, (gssize)raw->len, "UTF-8", "ISO-8859-1",
                                                     NULL, NULL, NULL, NULL);
}

/* One body, as text, within what all of them may have. */
static void body_write(struct walk *walk, GMimeObject *object, bool html)
{
    struct mailview_items *items = walk->items;
    const size_t room = MAILVIEW_TEXT_BYTES_MAX - walk->text_bytes;
    if (items->full || items->room - items->bytes < MAILVIEW_ITEM_HEAD_BYTES + room || room == 0) {
        walk->cut = true;
        return;
    }
    GByteArray *raw = mailview_part_bytes(object);
    if (raw->len > MAILVIEW_TEXT_BYTES_MAX) { /* what is cut off could not be shown anyway */
        g_byte_array_set_size(raw, MAILVIEW_TEXT_BYTES_MAX);
        walk->cut = true;
    }
    char *decoded =
        raw->len == 0
            ? NULL
            : text_decode(raw, g_mime_object_get_content_type_parameter(object, "charset"));
    struct html_text text = {.dst = items->dst + items->bytes + MAILVIEW_ITEM_HEAD_BYTES,
                             .room = room};
    if (decoded != NULL && html)
        html_text_write(&text, (const uint8_t *)decoded, strlen(decoded));
    else if (decoded != NULL)
        html_text_plain(&text, (const uint8_t *)decoded, strlen(decoded));
    walk->cut = walk->cut || text.cut;
    walk->text_bytes += text.bytes;
    if (text.bytes > 0)
        mailview_item_write(items, MAILVIEW_TEXT, text.dst, text.bytes);
    g_free(decoded);
    g_byte_array_free(raw, TRUE);
}

/* An ending that says what the file is: letters and digits of the subtype, or "bin". */
static void name_make(char name[MAILVIEW_NAME_BYTES_MAX + 1], GMimeContentType *type, uint32_t part)
{
    const char *subtype = g_mime_content_type_get_media_subtype(type);
    const size_t chars =
        subtype == NULL ? 0 : strspn(subtype, "abcdefghijklmnopqrstuvwxyz0123456789");
    const bool known = chars >= 2 && chars <= TYPE_CHARS_MAX && subtype[chars] == '\0';
    const char *ending = known ? subtype : "bin";
    if (g_mime_content_type_is_type(type, "message", "rfc822"))
        ending = "eml";
    else if (g_mime_content_type_is_type(type, "text", "plain"))
        ending = "txt";
    (void)g_snprintf(name, MAILVIEW_NAME_BYTES_MAX + 1, "%u.%s", part, ending);
}

/* A name that is safe to save under: no path, no controls, no turned direction, no hidden file. */
static void name_read(char name[MAILVIEW_NAME_BYTES_MAX + 1], GMimeObject *object, uint32_t part)
{
    uint8_t line[MAILVIEW_LINE_BYTES_MAX];
    struct text text = text_make(line, sizeof(line));
    GMimeContentType *type = g_mime_object_get_content_type(object);
    const char *stated =
        GMIME_IS_PART(object) ? g_mime_part_get_filename(GMIME_PART(object)) : NULL;
    if (stated == NULL)
        stated = g_mime_object_get_content_disposition_parameter(object, "filename");
    const char *ending = "";
    if (stated == NULL && GMIME_IS_MESSAGE_PART(object)) { /* a mail within has its subject */
        GMimeMessage *inner = g_mime_message_part_get_message(GMIME_MESSAGE_PART(object));
        stated = inner == NULL ? NULL : g_mime_message_get_subject(inner);
        ending = ".eml";
    }
    if (stated != NULL && stated[0] != '\0') {
        text_put_utf8(&text, (const uint8_t *)stated, strlen(stated));
        text_put_utf8(&text, (const uint8_t *)ending, strlen(ending));
    }
    const uint8_t *at = line;
    const uint8_t *end = line + text.bytes;
    for (const uint8_t *next = line; next < end; next++)
        if (*next == '/' || *next == '\\')
            at = next + 1;
    while (at < end && (*at == '.' || *at == ' '))
        at++;
    while (at < end && (end[-1] == '.' || end[-1] == ' '))
        end--;
    /* Of a long name the end is kept: the reader must see what kind of file it is. */
    if ((size_t)(end - at) > MAILVIEW_NAME_BYTES_MAX)
        at = end - MAILVIEW_NAME_BYTES_MAX;
    while (at < end && (*at & 0xc0) == 0x80)
        at++;
    size_t bytes = 0;
    for (; at < end; at++)
        name[bytes++] = strchr("<>:\"|?*", *at) != NULL ? '_' : (char)*at;
    name[bytes] = '\0';
    if (bytes == 0)
        name_make(name, type, part);
}

static void file_write(struct walk *walk, GMimeObject *object)
{
    char name[MAILVIEW_NAME_BYTES_MAX + 1];
    if (walk->files_count == MAILVIEW_FILES_MAX) {
        walk->cut = true;
        return;
    }
    walk->files_count++;
    if (walk->wanted != 0 && walk->wanted != walk->files_count)
        return;
    name_read(name, object, walk->files_count);
    mailview_item_write(walk->items, walk->wanted == 0 ? MAILVIEW_FILE : MAILVIEW_NAME, name,
                        strlen(name));
    if (walk->wanted == 0)
        return;
    GByteArray *bytes = mailview_part_bytes(object);
    mailview_item_write(walk->items, MAILVIEW_BYTES, bytes->data, bytes->len);
    g_byte_array_free(bytes, TRUE);
    walk->found = true;
}

static bool is_text(GMimeObject *object, bool *html)
{
    GMimeContentType *type = g_mime_object_get_content_type(object);
    const char *disposition = g_mime_object_get_disposition(object);
    *html = g_mime_content_type_is_type(type, "text", "html");
    return (*html || g_mime_content_type_is_type(type, "text", "plain")) &&
           (disposition == NULL || g_ascii_strcasecmp(disposition, "attachment") != 0);
}

static bool has_content(GMimeObject *object)
{
    GMimeDataWrapper *content = g_mime_part_get_content(GMIME_PART(object));
    return content != NULL &&
           g_mime_stream_length(g_mime_data_wrapper_get_stream(content)) > BLANK_BYTES_MAX;
}

/*
 * Of what is offered in several forms, the one to show: text as its writer wrote it, else the last
 * HTML. A form within a form (HTML and its pictures) counts as HTML.
 */
static int alternative_choose(GMimeMultipart *multipart)
{
    int chosen = -1;
    const int count = MIN(g_mime_multipart_get_count(multipart), MAILVIEW_PARTS_MAX);
    for (int i = 0; i < count; i++) {
        bool html = false;
        GMimeObject *child = g_mime_multipart_get_part(multipart, i);
        if (is_text(child, &html) && !html && has_content(child))
            return i;
        if (is_text(child, &html) || GMIME_IS_MULTIPART(child))
            chosen = i;
    }
    return chosen;
}

/* The parts in their order, on a stack of its own: a mail chooses how deep it nests. */
static void walk_parts(struct walk *walk, GMimeObject *root)
{
    struct waiting left[MAILVIEW_PARTS_MAX];
    uint32_t left_count = 1;
    uint32_t parts_count = 0;
    left[0] = (struct waiting){.object = root};
    while (left_count > 0 && parts_count++ < MAILVIEW_PARTS_MAX) {
        const struct waiting next = left[--left_count];
        bool html = false;
        if (GMIME_IS_MULTIPART(next.object)) {
            GMimeMultipart *multipart = GMIME_MULTIPART(next.object);
            const bool choose = g_mime_content_type_is_type(
                g_mime_object_get_content_type(next.object), "multipart", "alternative");
            const int chosen = choose ? alternative_choose(multipart) : -1;
            int i = g_mime_multipart_get_count(multipart);
            walk->cut = walk->cut || i > MAILVIEW_PARTS_MAX;
            for (i = MIN(i, MAILVIEW_PARTS_MAX) - 1; i >= 0; i--) {
                if (left_count == MAILVIEW_PARTS_MAX) {
                    walk->cut = true;
                    break;
                }
                left[left_count++] = (struct waiting){
                    .object = g_mime_multipart_get_part(multipart, i),
                    .hidden = next.hidden || (choose && chosen >= 0 && i != chosen)};
            }
        } else if (is_text(next.object, &html)) {
            if (walk->wanted == 0 && !next.hidden)
                body_write(walk, next.object, html);
        } else
            file_write(walk, next.object);
    }
    walk->cut = walk->cut || left_count > 0;
}

GMimeMessage *mailview_parse(const uint8_t *mail, size_t mail_bytes)
{
    GMimeStream *stream = g_mime_stream_mem_new_with_buffer((const char *)mail, mail_bytes);
    GMimeParser *parser = g_mime_parser_new_with_stream(stream);
    g_mime_parser_set_persist_stream(parser, TRUE);
    GMimeMessage *message = g_mime_parser_construct_message(parser, NULL);
    g_object_unref(parser);
    g_object_unref(stream);
    return message;
}

int mailview_write(uint8_t *dst, size_t room, size_t *written, const uint8_t *mail,
                   size_t mail_bytes, uint32_t part)
{
    struct mailview_items items = {.dst = dst, .room = room};
    struct walk walk = {.items = &items, .wanted = part};
    if (part == RECEIVED_PART)
        return received_write(dst, room, written, mail, mail_bytes);
    GMimeMessage *message = mailview_parse(mail, mail_bytes);
    if (message == NULL)
        return -EBADMSG;
    if (part == 0) {
        field_write(&items, MAILVIEW_FROM, message, "From");
        field_write(&items, MAILVIEW_TO, message, "To");
        field_write(&items, MAILVIEW_CC, message, "Cc");
        field_write(&items, MAILVIEW_SUBJECT, message, "Subject");
        field_write(&items, MAILVIEW_DATE, message, "Date");
        field_write(&items, MAILVIEW_MESSAGE_ID, message, "Message-ID");
        field_write(&items, MAILVIEW_REFERENCES, message, "References");
    }
    GMimeObject *root = g_mime_message_get_mime_part(message);
    if (root != NULL)
        walk_parts(&walk, root);
    if (part == 0 && walk.cut)
        mailview_item_write(&items, MAILVIEW_CUT, "", 0);
    g_object_unref(message);
    if (part != 0 && !walk.found)
        return -ENOENT;
    if (items.full)
        return -EFBIG;
    *written = items.bytes;
    return 0;
}
