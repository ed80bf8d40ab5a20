#include "policy/select.h"

#include "base/assert.h"
#include "envelope/address.h"
#include "envelope/encoded_word.h"
#include "envelope/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define SELECT_VALUE_BYTES_MAX 16384 /* of a subject or a value that is looked at */
#define SELECT_ROUTES_MAX      8     /* "x%c%b@a": so many steps are followed        */

static int PRINTF_LIKE(2, 3) select_fault(char why[SELECT_WHY_BYTES], const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(why, SELECT_WHY_BYTES, format, args);
    va_end(args);
    return -EINVAL;
}

void select_init(struct select_rules *rules)
{
    memset(rules, 0, sizeof(*rules));
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static bool same_letters(const char *a, const char *b, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        if (lower(a[i]) != lower(b[i]))
            return false;
    }
    return true;
}

/* A header name of RFC 5322, 3.6.8. */
static size_t name_bytes_of(const char *text)
{
    size_t bytes = 0;
    while (text[bytes] > ' ' && text[bytes] < 0x7f && text[bytes] != ':')
        bytes++;
    return bytes;
}

/* Single blanks, nothing that cannot be shown: as the values are that it is compared with. */
static size_t clean(const char *text, char out[SELECT_ENTRY_BYTES_MAX])
{
    struct text made = text_make((uint8_t *)out, SELECT_ENTRY_BYTES_MAX - 1);
    text_put_utf8(&made, (const uint8_t *)text, strlen(text));
    out[made.bytes] = '\0';
    return made.cut || made.dirty ? 0 : made.bytes;
}

static int address_entry(const char *text, char out[SELECT_ENTRY_BYTES_MAX],
                         char why[SELECT_WHY_BYTES])
{
    struct address address;
    if (text[0] == '@') {
        const char *domain = text[1] == '.' ? text + 2 : text + 1;
        if (strlen(text) < SELECT_ENTRY_BYTES_MAX &&
            address_domain_ok((const uint8_t *)domain, strlen(domain))) {
            memcpy(out, text, strlen(text) + 1);
            return 0;
        }
    } else if (address_parse(&address, (const uint8_t *)text, strlen(text)) == 0) {
        memcpy(out, address.text, address.bytes);
        out[address.bytes] = '\0';
        return 0;
    }
    return select_fault(why,
                        "\"%.64s\" is no address; write user@domain, @domain, or @.domain for "
                        "all domains below it",
                        text);
}

static int header_entry(const char *text, char out[SELECT_ENTRY_BYTES_MAX],
                        char why[SELECT_WHY_BYTES])
{
    const size_t name_bytes = name_bytes_of(text);
    const char *rest = text + name_bytes;
    if (name_bytes > 0 && (*rest == '\0' || *rest == ':') && clean(text, out) > 0)
        return 0;
    return select_fault(why,
                        "\"%.64s\" is no header; write \"Name: value\", or \"Name\" for any "
                        "value",
                        text);
}

static int scope_entry(struct select_rules *rules, const char *text, char why[SELECT_WHY_BYTES])
{
    if (strcasecmp(text, "all") == 0)
        rules->all = true;
    else if (strcasecmp(text, "selected") == 0)
        rules->all = false;
    else
        return select_fault(why, "seal = \"%.64s\" cannot be; write all or selected", text);
    return 0;
}

int select_add(struct select_rules *rules, enum select_kind kind, const char *text,
               char why[SELECT_WHY_BYTES])
{
    char entry[SELECT_ENTRY_BYTES_MAX] = "";
    int rc = 0;
    switch (kind) {
    case SELECT_SCOPE: return scope_entry(rules, text, why);
    case SELECT_SUBJECT:
        if (clean(text, entry) == 0)
            rc = select_fault(why, "the phrase \"%.64s\" is empty, too long or not plain text",
                              text);
        break;
    case SELECT_HEADER: rc = header_entry(text, entry, why); break;
    case SELECT_SENDER:
    case SELECT_RECIPIENT: rc = address_entry(text, entry, why); break;
    }
    if (rc != 0)
        return rc;
    const size_t bytes = strlen(entry) + 2;
    if (bytes > SELECT_TEXT_BYTES_MAX - rules->text_bytes) {
        (void)select_fault(why,
                           "the lists of one profile are longer than %d bytes; name domains "
                           "in place of addresses",
                           SELECT_TEXT_BYTES_MAX);
        return -ENOSPC;
    }
    rules->text[rules->text_bytes] = (char)kind;
    memcpy(rules->text + rules->text_bytes + 1, entry, bytes - 1);
    rules->text_bytes += (uint32_t)bytes;
    rules->entries_count++;
    return 0;
}

/* --- a message ----------------------------------------------------------------------------------
 */

/* The address as it stands, without the dot of a name from the root. */
static bool place_matches(const char *entry, const char *address, size_t bytes)
{
    while (bytes > 0 && address[bytes - 1] == '.')
        bytes--;
    if (entry[0] != '@')
        return strlen(entry) == bytes && same_letters(entry, address, bytes);
    const char *at = memrchr(address, '@', bytes);
    if (at == NULL)
        return false;
    const size_t domain_bytes = bytes - (size_t)(at - address) - 1;
    const char *wanted = entry + 1;
    const size_t wanted_bytes = strlen(wanted);
    if (wanted[0] == '.')
        return domain_bytes > wanted_bytes &&
               same_letters(wanted, address + bytes - wanted_bytes, wanted_bytes);
    return domain_bytes == wanted_bytes && same_letters(wanted, at + 1, wanted_bytes);
}

/* Where the next mail server takes it from there: "x%b@a" and "b!x@a" are for x@b, and Postfix, as
 * it comes, rewrites them so. In place; false when it leads no further. */
static bool route_follow(char *address, size_t *bytes)
{
    char *at = memrchr(address, '@', *bytes);
    size_t local_bytes = at == NULL ? *bytes : (size_t)(at - address);
    if (local_bytes >= 2 && address[0] == '"' && address[local_bytes - 1] == '"') {
        local_bytes -= 2;
        memmove(address, address + 1, local_bytes);
    }
    for (size_t i = local_bytes; i > 0; i--) {
        if (address[i - 1] == '%' || address[i - 1] == '@') {
            address[i - 1] = '@';
            *bytes = local_bytes;
            return true;
        }
    }
    const char *bang = memchr(address, '!', local_bytes);
    if (bang == NULL)
        return false;
    char turned[ADDRESS_BYTES_MAX + 1];
    const size_t host_bytes = (size_t)(bang - address);
    const size_t user_bytes = local_bytes - host_bytes - 1;
    memcpy(turned, bang + 1, user_bytes);
    turned[user_bytes] = '@';
    memcpy(turned + user_bytes + 1, address, host_bytes);
    memcpy(address, turned, local_bytes);
    *bytes = local_bytes;
    return true;
}

/* A mail server may read an address out of this; whose it is, we cannot tell. */
static bool address_is_doubtful(const char *address)
{
    return strpbrk(address, "()<>,;:\\\" \t") != NULL;
}

static bool address_matches(const char *entry, const char *address)
{
    struct address canonical;
    char plain[ADDRESS_BYTES_MAX + 1];
    size_t bytes = strlen(address);
    if (address_parse(&canonical, (const uint8_t *)address, bytes) == 0) {
        address = (const char *)canonical.text;
        bytes = canonical.bytes;
    } else if (address_is_doubtful(address)) {
        return true;
    }
    if (place_matches(entry, address, bytes))
        return true;
    if (bytes > ADDRESS_BYTES_MAX) /* no valid one; what it ends in was looked at */
        return false;
    memcpy(plain, address, bytes);
    for (uint32_t n = 0; n < SELECT_ROUTES_MAX && route_follow(plain, &bytes); n++) {
        if (place_matches(entry, plain, bytes))
            return true;
    }
    return false;
}

struct decoded {
    char text[SELECT_VALUE_BYTES_MAX];
    size_t bytes;
    bool
        cut; /* there is more, or a word in a charset that we do not know: who can say what it is */
};

static void decode(struct decoded *decoded, const struct select_field *field)
{
    struct encoded_word_text found;
    encoded_word_decode(&found, (uint8_t *)decoded->text, sizeof(decoded->text),
                        (const uint8_t *)field->value, field->value_bytes);
    decoded->bytes = found.bytes;
    decoded->cut = found.cut || found.unknown ||
                   (found.words && field->value_bytes > ENCODED_WORD_RUN_BYTES_MAX);
}

static bool holds(const char *text, size_t text_bytes, const char *phrase, size_t phrase_bytes)
{
    for (size_t at = 0; at + phrase_bytes <= text_bytes; at++) {
        if (same_letters(text + at, phrase, phrase_bytes))
            return true;
    }
    return false;
}

/* RFC 5322, 4.5: blanks may stand before the colon, and readers overlook them. */
static bool is_named(const struct select_field *field, const char *name, size_t name_bytes)
{
    size_t bytes = field->name_bytes;
    while (bytes > 0 && (field->name[bytes - 1] == ' ' || field->name[bytes - 1] == '\t'))
        bytes--;
    return bytes == name_bytes && same_letters(field->name, name, name_bytes);
}

static bool subject_matches(const char *phrase, const struct select_message *message)
{
    struct decoded decoded;
    for (uint32_t i = 0; i < message->fields_count; i++) {
        if (!is_named(&message->fields[i], "subject", 7))
            continue;
        decode(&decoded, &message->fields[i]);
        if (decoded.cut || holds(decoded.text, decoded.bytes, phrase, strlen(phrase)))
            return true;
    }
    return false;
}

static bool header_matches(const char *entry, const struct select_message *message)
{
    struct decoded decoded;
    const size_t name_bytes = name_bytes_of(entry);
    const char *wanted = entry + name_bytes;
    if (*wanted == ':')
        wanted++;
    if (*wanted == ' ')
        wanted++;
    const size_t wanted_bytes = strlen(wanted);
    for (uint32_t i = 0; i < message->fields_count; i++) {
        if (!is_named(&message->fields[i], entry, name_bytes))
            continue;
        if (wanted_bytes == 0)
            return true;
        decode(&decoded, &message->fields[i]);
        if (decoded.cut ||
            (decoded.bytes == wanted_bytes && same_letters(decoded.text, wanted, wanted_bytes)))
            return true;
    }
    return false;
}

static bool recipient_matches(const char *entry, const struct select_message *message)
{
    for (uint32_t i = 0; i < message->recipients_count; i++) {
        if (address_matches(entry, message->recipients[i]))
            return true;
    }
    return false;
}

bool select_matches(const struct select_rules *rules, const struct select_message *message)
{
    if (rules->all)
        return true;
    for (uint32_t at = 0; at < rules->text_bytes;) {
        const enum select_kind kind = (enum select_kind)rules->text[at];
        const char *entry = rules->text + at + 1;
        bool matches = false;
        switch (kind) {
        case SELECT_SCOPE: break; /* is no entry */
        case SELECT_SUBJECT: matches = subject_matches(entry, message); break;
        case SELECT_HEADER: matches = header_matches(entry, message); break;
        case SELECT_SENDER: matches = address_matches(entry, message->sender); break;
        case SELECT_RECIPIENT: matches = recipient_matches(entry, message); break;
        }
        if (matches)
            return true;
        at += (uint32_t)strlen(entry) + 2;
    }
    return false;
}
