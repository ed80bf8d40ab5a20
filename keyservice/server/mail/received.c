#include "keyservice/server/mail/received.h"

#include "base/assert.h"
#include "keyservice/server/mail/mailview_items.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define HEAD_BYTES (ID_BYTES + 1) /* of the item: id and suite before the ciphertext */

static bool word_begins(const char *value, const char *word)
{
    value += strspn(value, " \t\r\n");
    return strncasecmp(value, word, strlen(word)) == 0;
}

/* Written by a program, or on its way through one: answering it could begin an endless exchange
 * (RFC 3834, 2), or write to somebody who never asked. */
static bool field_automatic(const char *name, const char *value)
{
    static const char *const bulk[] = {"bulk", "list", "junk", "auto_reply"};
    if (strcasecmp(name, "Auto-Submitted") == 0)
        return !word_begins(value, "no");
    if (strncasecmp(name, "List-", 5) == 0)
        return true;
    if (strcasecmp(name, "X-Auto-Response-Suppress") == 0)
        return strcasestr(value, "all") != NULL || strcasestr(value, "autoreply") != NULL;
    if (strcasecmp(name, "Return-Path") == 0)
        return word_begins(value, "<>");
    if (strcasecmp(name, "Precedence") == 0)
        for (size_t i = 0; i < ARRAY_COUNT(bulk); i++)
            if (word_begins(value, bulk[i]))
                return true;
    return false;
}

/* May somebody be answered: one writer, no program, no loop? */
static bool header_asks(GMimeMessage *message)
{
    GMimeHeaderList *headers = g_mime_object_get_header_list(GMIME_OBJECT(message));
    const int count = g_mime_header_list_get_count(headers);
    GMimeObject *root = g_mime_message_get_mime_part(message);
    uint32_t hops_count = 0;
    uint32_t from_count = 0;
    /* The type's field is the part's, not the message's. RFC 3462: what has failed, or was read. */
    if (count > RECEIVED_FIELDS_MAX || root == NULL ||
        g_mime_content_type_is_type(g_mime_object_get_content_type(root), "multipart", "report"))
        return false;
    for (int i = 0; i < count; i++) {
        GMimeHeader *header = g_mime_header_list_get_header_at(headers, i);
        const char *name = g_mime_header_get_name(header);
        const char *value = g_mime_header_get_raw_value(header);
        if (name == NULL || value == NULL || field_automatic(name, value))
            return false;
        hops_count += strcasecmp(name, "Received") == 0;
        from_count += strcasecmp(name, "From") == 0;
    }
    return from_count == 1 && hops_count <= RECEIVED_HOPS_MAX;
}

/* The one mailbox of From; NULL: there is none, or several. */
static const char *author(GMimeMessage *message)
{
    InternetAddressList *list = g_mime_message_get_from(message);
    if (list == NULL || internet_address_list_length(list) != 1)
        return NULL;
    InternetAddress *address = internet_address_list_get_address(list, 0);
    return INTERNET_ADDRESS_IS_MAILBOX(address)
               ? internet_address_mailbox_get_addr(INTERNET_ADDRESS_MAILBOX(address))
               : NULL;
}

/* Is the part an envelope? Then it is written. */
static bool envelope_write(struct mailview_items *items, GMimeObject *object)
{
    struct unsealed unsealed = {.sealed = NULL};
    GByteArray *bytes = mailview_part_bytes(object);
    const bool whole = bytes->len > 0 && unsealed_read(&unsealed, bytes->data, bytes->len) == 0;
    if (whole) {
        /* The part's own bytes are not needed any more: their memory takes the item. */
        const size_t item_bytes = HEAD_BYTES + unsealed.sealed_bytes;
        g_byte_array_set_size(bytes, (guint)item_bytes);
        memcpy(bytes->data, unsealed.id.bytes, ID_BYTES);
        bytes->data[ID_BYTES] = (uint8_t)unsealed.suite;
        memcpy(bytes->data + HEAD_BYTES, unsealed.sealed, unsealed.sealed_bytes);
        mailview_item_write(items, MAILVIEW_ENVELOPE, bytes->data, item_bytes);
        unsealed_fini(&unsealed);
    }
    g_byte_array_free(bytes, TRUE);
    return whole;
}

/*
 * The first envelope, in the mail's order, in mails that were forwarded within it too; on a stack
 * of its own: a mail chooses how deep it nests.
 */
static bool envelope_find(struct mailview_items *items, GMimeObject *root)
{
    GMimeObject *left[RECEIVED_PARTS_MAX];
    uint32_t left_count = 1;
    uint32_t parts_count = 0;
    left[0] = root;
    while (left_count > 0 && parts_count++ < RECEIVED_PARTS_MAX) {
        GMimeObject *next = left[--left_count];
        GMimeMessage *inner = NULL;
        if (GMIME_IS_MULTIPART(next)) {
            GMimeMultipart *multipart = GMIME_MULTIPART(next);
            const int count =
                MIN(g_mime_multipart_get_count(multipart), (int)(RECEIVED_PARTS_MAX - left_count));
            for (int i = count - 1; i >= 0; i--)
                left[left_count++] = g_mime_multipart_get_part(multipart, i);
        } else if (GMIME_IS_MESSAGE_PART(next)) {
            inner = g_mime_message_part_get_message(GMIME_MESSAGE_PART(next));
            if (inner != NULL && g_mime_message_get_mime_part(inner) != NULL)
                left[left_count++] = g_mime_message_get_mime_part(inner);
        } else if (envelope_write(items, next)) {
            return true;
        }
    }
    return false;
}

int received_write(uint8_t *dst, size_t room, size_t *written, const uint8_t *mail,
                   size_t mail_bytes)
{
    struct mailview_items items = {.dst = dst, .room = room};
    GMimeMessage *message = mailview_parse(mail, mail_bytes);
    if (message == NULL)
        return -EBADMSG;
    const char *address = header_asks(message) ? author(message) : NULL;
    bool found = false;
    if (address != NULL && strlen(address) < ACCOUNT_ADDRESS_BYTES) {
        mailview_item_write(&items, MAILVIEW_FROM, address, strlen(address));
        found = envelope_find(&items, g_mime_message_get_mime_part(message));
    }
    g_object_unref(message);
    if (!found)
        return -ENOENT;
    if (items.full)
        return -EFBIG;
    *written = items.bytes;
    return 0;
}

int received_read(struct received *received, const uint8_t *items, size_t items_bytes)
{
    struct mailview_item item;
    size_t offset = 0;
    *received = (struct received){.suite = 0};
    if (!mailview_next(&item, items, items_bytes, &offset) || item.tag != MAILVIEW_FROM ||
        account_normalise(received->address, (const char *)item.bytes_at, item.bytes) != 0)
        return -EBADMSG;
    if (!mailview_next(&item, items, items_bytes, &offset) || item.tag != MAILVIEW_ENVELOPE ||
        item.bytes < HEAD_BYTES + COBBLE_HEADER_BYTES + COBBLE_TAG_BYTES)
        return -EBADMSG;
    memcpy(received->id.bytes, item.bytes_at, ID_BYTES);
    received->suite = item.bytes_at[ID_BYTES];
    if (received->suite != COBBLE_AES_256 && received->suite != COBBLE_AES_192)
        return -EBADMSG;
    received->sealed = item.bytes_at + HEAD_BYTES;
    received->sealed_bytes = item.bytes - HEAD_BYTES;
    return 0;
}
