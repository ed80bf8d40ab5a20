#include "tools/bulla/addresses.h"

#include "envelope/address.h"
#include "envelope/header.h"
#include "ipc/layout.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* One field of the header: its name, and its body with the folds in it. */
struct addresses_field {
    const uint8_t *name;
    size_t name_bytes;
    const uint8_t *body;
    size_t body_bytes;
};

static const uint8_t *addresses_line_end(const uint8_t *at, const uint8_t *end)
{
    const uint8_t *line_end = memchr(at, '\n', (size_t)(end - at));
    return line_end == NULL ? end : line_end + 1;
}

/* Moves *at past the next field. False at the end; a line that is no field has no name. */
static bool addresses_next_field(const uint8_t **at, const uint8_t *end,
                                 struct addresses_field *field)
{
    if (*at >= end)
        return false;
    const uint8_t *start = *at;
    const uint8_t *next = addresses_line_end(start, end);
    while (next < end && (*next == ' ' || *next == '\t'))
        next = addresses_line_end(next, end);
    *at = next;

    const uint8_t *colon = memchr(start, ':', (size_t)(next - start));
    memset(field, 0, sizeof(*field));
    if (colon == NULL)
        return true;
    const uint8_t *name_end = colon;
    while (name_end > start && (name_end[-1] == ' ' || name_end[-1] == '\t'))
        name_end--; /* RFC 5322, 4.5.8: white space before the colon */
    field->name = start;
    field->name_bytes = (size_t)(name_end - start);
    field->body = colon + 1;
    field->body_bytes = (size_t)(next - colon - 1);
    return true;
}

static bool addresses_named(const struct addresses_field *field, const char *name)
{
    return field->name_bytes == strlen(name) &&
           strncasecmp((const char *)field->name, name, field->name_bytes) == 0;
}

static char *addresses_copy(const struct address *address)
{
    return strndup((const char *)address->text, address->bytes);
}

static int addresses_add(struct addresses *addresses, const struct address *address)
{
    for (uint32_t i = 0; i < addresses->recipients_count; i++) {
        const char *known = addresses->recipients[i];
        if (strlen(known) == address->bytes && memcmp(known, address->text, address->bytes) == 0)
            return 0;
    }
    if (addresses->recipients_count == IPC_RECIPIENTS_MAX)
        return -E2BIG;
    char *copy = addresses_copy(address);
    if (copy == NULL)
        return -ENOMEM;
    addresses->recipients[addresses->recipients_count++] = copy;
    return 0;
}

static int addresses_add_list(struct addresses *addresses, const struct addresses_field *field)
{
    struct address_list list = address_list_make(field->body, field->body_bytes);
    struct address_mailbox mailbox;
    int rc = 0;
    while (rc == 0 && address_list_next(&list, &mailbox))
        rc = addresses_add(addresses, &mailbox.address);
    return rc;
}

/* The first mailbox of a field, unless one is known already. */
static int addresses_first(char **address, const struct addresses_field *field)
{
    struct address_list list = address_list_make(field->body, field->body_bytes);
    struct address_mailbox mailbox;
    if (*address != NULL || !address_list_next(&list, &mailbox))
        return 0;
    *address = addresses_copy(&mailbox.address);
    return *address == NULL ? -ENOMEM : 0;
}

static int addresses_take(struct addresses *addresses, char **sender_field,
                          const struct addresses_field *field)
{
    if (addresses_named(field, "From"))
        return addresses_first(&addresses->sender, field);
    if (addresses_named(field, "Sender"))
        return addresses_first(sender_field, field);
    if (addresses_named(field, "To") || addresses_named(field, "Cc") ||
        addresses_named(field, "Bcc"))
        return addresses_add_list(addresses, field);
    return 0;
}

int addresses_read(struct addresses *addresses, const uint8_t *mail, size_t mail_bytes)
{
    memset(addresses, 0, sizeof(*addresses));
    addresses->recipients = calloc(IPC_RECIPIENTS_MAX, sizeof(*addresses->recipients));
    if (addresses->recipients == NULL)
        return -ENOMEM;
    struct header header;
    header_read(&header, mail, mail_bytes, mail_bytes);

    int rc = 0;
    char *sender_field = NULL;
    struct addresses_field field;
    const uint8_t *at = mail;
    const uint8_t *end = mail + header.header_bytes;
    while (rc == 0 && addresses_next_field(&at, end, &field))
        rc = addresses_take(addresses, &sender_field, &field);
    if (addresses->sender == NULL)
        addresses->sender = sender_field;
    else
        free(sender_field);
    return rc;
}

void addresses_fini(struct addresses *addresses)
{
    for (uint32_t i = 0; i < addresses->recipients_count; i++)
        free(addresses->recipients[i]);
    free(addresses->recipients);
    free(addresses->sender);
    memset(addresses, 0, sizeof(*addresses));
}
