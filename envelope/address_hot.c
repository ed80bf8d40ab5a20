#include "envelope/address.h"

#include "base/assert.h"
#include "envelope/address_internal.h"
#include "envelope/encoded_word.h"
#include "envelope/text.h"

#include <errno.h>
#include <string.h>

#define COMMENT_DEPTH_MAX 32
#define LABEL_BYTES_MAX   63
#define DOMAIN_BYTES_MAX  255

/* A growing copy of part of the source; what does not fit marks it. */
struct piece {
    uint32_t bytes;
    bool cut;
    uint8_t text[ADDRESS_RAW_BYTES_MAX];
};

static void piece_clear(struct piece *piece)
{
    piece->bytes = 0;
    piece->cut = false;
}

static void piece_add(struct piece *piece, uint8_t byte)
{
    if (piece->bytes == ADDRESS_RAW_BYTES_MAX)
        piece->cut = true;
    else
        piece->text[piece->bytes++] = byte;
}

static void piece_add_run(struct piece *piece, const uint8_t *src, size_t bytes)
{
    const size_t fit = MIN(bytes, (size_t)(ADDRESS_RAW_BYTES_MAX - piece->bytes));
    memcpy(piece->text + piece->bytes, src, fit);
    piece->bytes += (uint32_t)fit;
    piece->cut |= fit < bytes;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* RFC 5322 atext and RFC 6531's UTF8-non-ascii. */
static bool is_atext(uint8_t c)
{
    return c >= 0x80 || text_is_atext(c);
}

/* A label may hold an underscore: it does in real hosts, and no mail server minds. */
static bool is_label_char(uint8_t c)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '-' ||
           c == '_' || c >= 0x80;
}

/* RFC 5321, 4.1.3, loosely: what stands in the brackets goes nowhere but into a header. */
static bool literal_ok(const uint8_t *src, size_t bytes)
{
    if (bytes < 4 || bytes > DOMAIN_BYTES_MAX || src[0] != '[' || src[bytes - 1] != ']')
        return false;
    for (size_t i = 1; i < bytes - 1; i++) {
        const uint8_t c = src[i];
        if (c >= 0x80 || (!is_label_char(c) && c != '.' && c != ':'))
            return false;
    }
    return true;
}

bool address_domain_ok(const uint8_t *src, size_t bytes)
{
    if (bytes == 0 || bytes > DOMAIN_BYTES_MAX)
        return false;
    if (src[0] == '[')
        return literal_ok(src, bytes);
    size_t label_bytes = 0;
    for (size_t i = 0; i < bytes; i++) {
        if (src[i] == '.') {
            if (label_bytes == 0 || src[i - 1] == '-')
                return false;
            label_bytes = 0;
            continue;
        }
        if (!is_label_char(src[i]) || (label_bytes == 0 && src[i] == '-'))
            return false;
        label_bytes++;
        if (label_bytes > LABEL_BYTES_MAX && src[i] < 0x80)
            return false;
    }
    return label_bytes > 0 && src[bytes - 1] != '-';
}

/* Every code point may be shown: an address is. */
static bool shows(const uint8_t *src, size_t bytes)
{
    const uint8_t *end = src + bytes;
    while (src < end) {
        const uint32_t c = text_next(&src, end);
        if (c == TEXT_MALFORMED || !text_shows(c) || c == 0xa0 || c == 0x3000)
            return false;
    }
    return true;
}

/*
 * A local part without its quotes becomes text again: bare if it is a dot-atom, else quoted. That
 * also mends the `first..last.@` of some telephone companies.
 */
static int local_write(struct address *address, const uint8_t *src, size_t bytes)
{
    bool bare = bytes > 0 && src[0] != '.' && src[bytes - 1] != '.';
    for (size_t i = 0; i < bytes; i++) {
        if (src[i] < ' ' || src[i] == 0x7f || src[i] == '<' || src[i] == '>')
            return -EINVAL; /* angle brackets: legal in quotes, and of use to forgers only */
        if (src[i] == '.')
            bare &= i == 0 || src[i - 1] != '.';
        else
            bare &= is_atext(src[i]);
    }
    /* RFC 2047, 5: an address holds no encoded word, and yet some readers decode it there. */
    const uint8_t *word = memmem(src, bytes, "=?", 2);
    if (word != NULL && memmem(word + 2, bytes - (size_t)(word + 2 - src), "?=", 2) != NULL)
        return -EINVAL;
    uint32_t out = 0;
    /* Room for the worst: every byte escaped, two quotes, the at sign. */
    if (bytes == 0 || bytes > (ADDRESS_BYTES_MAX - 3) / (bare ? 1 : 2))
        return -EINVAL;
    if (!bare)
        address->text[out++] = '"';
    for (size_t i = 0; i < bytes; i++) {
        if (!bare && (src[i] == '"' || src[i] == '\\'))
            address->text[out++] = '\\';
        address->text[out++] = src[i];
    }
    if (!bare)
        address->text[out++] = '"';
    address->bytes = out;
    return 0;
}

/* `local` is without quotes and escapes. */
static int address_make(struct address *address, const uint8_t *local, size_t local_bytes,
                        const uint8_t *domain, size_t domain_bytes)
{
    const int rc = local_write(address, local, local_bytes);
    if (rc != 0)
        return rc;
    if (!address_domain_ok(domain, domain_bytes) ||
        address->bytes + 1 + domain_bytes > ADDRESS_BYTES_MAX)
        return -EINVAL;
    address->text[address->bytes++] = '@';
    address->domain_offset = address->bytes;
    memcpy(address->text + address->bytes, domain, domain_bytes);
    address->bytes += (uint32_t)domain_bytes;

    address->ascii = true;
    for (uint32_t i = 0; i < address->bytes; i++)
        address->ascii &= address->text[i] < 0x80;
    if (!address->ascii && !shows(address->text, address->bytes))
        return -EINVAL;
    ASSERT(address->bytes <= ADDRESS_BYTES_MAX);
    return 0;
}

/* What a mailbox was made of, before it is known which part is what. */
struct parts {
    struct piece name;    /* words and quoted strings, one blank between        */
    struct piece comment; /* the last one: some put the name there              */
    struct piece local;   /* unquoted, before the at sign                       */
    struct piece domain;
    bool at;       /* the at sign was read                               */
    bool broken;   /* cannot be an address                               */
    bool gap;      /* white space or a comment since the last character   */
    bool noise;    /* more than white space followed it */
    bool complete; /* an angle address was read; what follows is noise     */
};

static void parts_clear_spec(struct parts *parts)
{
    piece_clear(&parts->local);
    piece_clear(&parts->domain);
    parts->at = false;
    parts->broken = false;
    parts->gap = false;
}

static void parts_clear(struct parts *parts)
{
    piece_clear(&parts->name);
    piece_clear(&parts->comment);
    parts_clear_spec(parts);
    parts->complete = false;
    parts->noise = false;
}

/* One character of a bare or angled address. White space is allowed only beside dots and the at
 * sign (RFC 5322, 4.4); between two words it means that this is a name. */
static void parts_add_spec(struct parts *parts, uint8_t c, bool quoted)
{
    struct piece *piece = parts->at ? &parts->domain : &parts->local;
    if (c == '@' && !quoted) {
        parts->broken |= parts->at;
        parts->at = true;
    } else {
        const uint8_t before = piece->bytes == 0 ? '.' : piece->text[piece->bytes - 1];
        if (parts->gap && before != '.' && c != '.')
            parts->broken = true;
        parts->broken |= quoted && parts->at;
        if (!quoted && !is_atext(c) && c != '.')
            parts->broken |= !parts->at || (c != '[' && c != ']' && c != ':');
        piece_add(piece, c);
    }
    parts->gap = false;
}

/* A run of atext, as parts_add_spec() would take it one by one. */
static void parts_add_run(struct parts *parts, const uint8_t *src, size_t bytes)
{
    struct piece *piece = parts->at ? &parts->domain : &parts->local;
    if (parts->gap && piece->bytes > 0 && piece->text[piece->bytes - 1] != '.')
        parts->broken = true;
    parts->gap = false;
    piece_add_run(piece, src, bytes);
}

/* How many of the bytes at `at` are atext. */
static size_t atext_bytes(const uint8_t *at, const uint8_t *end)
{
    const uint8_t *s = at;
    while (s < end && is_atext(*s))
        s++;
    return (size_t)(s - at);
}

/* Past a comment that starts at `at`; its text, folds and all, goes to `piece`. */
static const uint8_t *comment_read(const uint8_t *at, const uint8_t *end, struct piece *piece)
{
    uint32_t depth = 0;
    piece_clear(piece);
    while (at < end) {
        const uint8_t c = *at++;
        if (c == '\\' && at < end) {
            piece_add(piece, *at++);
            continue;
        }
        if (c == '(' && depth < COMMENT_DEPTH_MAX) {
            if (depth++ > 0)
                piece_add(piece, c);
            continue;
        }
        if (c == ')' && --depth == 0)
            return at;
        piece_add(piece, c);
    }
    return at;
}

/* Past a quoted string that starts at `at`. */
static const uint8_t *quoted_read(const uint8_t *at, const uint8_t *end, struct parts *parts,
                                  bool angled)
{
    bool empty = true;
    at++;
    while (at < end && *at != '"') {
        if (*at == '\\' && end - at > 1)
            at++;
        if (*at != '\r' && *at != '\n') { /* folds inside a quoted string mean nothing */
            parts_add_spec(parts, *at, true);
            if (!angled)
                piece_add(&parts->name, *at);
            empty = false;
        }
        at++;
    }
    parts->broken |= empty;
    return at < end ? at + 1 : at;
}

/* Past an angle address that starts at `at`. Without its '>' it ends with the list's member. */
static const uint8_t *angle_read(const uint8_t *at, const uint8_t *end, struct parts *parts,
                                 struct piece *comment)
{
    parts_clear_spec(parts);
    at++;
    while (at < end && *at != '>') {
        const uint8_t c = *at;
        const size_t run_bytes = atext_bytes(at, end);
        if (run_bytes > 0) {
            parts_add_run(parts, at, run_bytes);
            at += run_bytes;
            continue;
        }
        if (c == '"') {
            at = quoted_read(at, end, parts, true);
            continue;
        }
        if (c == '(') {
            at = comment_read(at, end, comment);
            parts->gap = true;
            continue;
        }
        const bool route = parts->at && parts->local.bytes == 0; /* RFC 5322, 4.4: @host,@host: */
        if (route && (c == ':' || c == ','))
            parts_clear_spec(parts);
        else if (is_blank(c))
            parts->gap = true;
        else if (c == ',' || c == ';')
            break;
        else
            parts_add_spec(parts, c, false);
        at++;
    }
    parts->complete = true;
    return at < end && *at == '>' ? at + 1 : at;
}

/* One member of the list, up to its comma; false when there was nothing left. */
static bool member_read(struct address_list *list, struct parts *parts)
{
    const uint8_t *at = list->at;
    const uint8_t *end = list->end;
    if (at == end)
        return false;
    parts_clear(parts);
    while (at < end) {
        const uint8_t c = *at;
        const size_t run_bytes = atext_bytes(at, end);
        if (run_bytes > 0) {
            if (parts->complete) {
                parts->noise = true;
            } else {
                parts_add_run(parts, at, run_bytes);
                piece_add_run(&parts->name, at, run_bytes);
            }
            at += run_bytes;
            continue;
        }
        if (c == ',' || c == ';') {
            at++;
            break;
        }
        if (c == '(') {
            at = comment_read(at, end, &parts->comment);
            parts->gap = true;
            continue;
        }
        if (c == '<' && !parts->complete) {
            at = angle_read(at, end, parts, &parts->comment);
            continue;
        }
        if (c == ':' && !parts->complete && !parts->at) { /* the name of a group ends here */
            parts_clear(parts);
            at++;
            continue;
        }
        if (c == '"' && !parts->complete) {
            at = quoted_read(at, end, parts, false);
            continue;
        }
        if (is_blank(c)) {
            parts->gap = true;
            if (!parts->complete)
                piece_add(&parts->name, ' ');
        } else if (!parts->complete) {
            parts_add_spec(parts, c, false);
            piece_add(&parts->name, c);
        } else {
            parts->noise = true;
        }
        at++;
    }
    list->at = at;
    return true;
}

/* The name in front of an angle address; without one, the comment after a bare address. */
static void name_decode(struct address_mailbox *mailbox, const struct parts *parts)
{
    const struct piece *piece = parts->complete ? &parts->name : &parts->comment;
    struct encoded_word_text text = {0};
    if (piece->bytes > 0)
        encoded_word_decode(&text, mailbox->name, ADDRESS_NAME_BYTES_MAX, piece->text,
                            piece->bytes);
    if (text.bytes == 0 && parts->complete && parts->comment.bytes > 0)
        encoded_word_decode(&text, mailbox->name, ADDRESS_NAME_BYTES_MAX, parts->comment.text,
                            parts->comment.bytes);
    mailbox->name_bytes = (uint32_t)text.bytes;
}

static int parts_address(struct address *address, const struct parts *parts)
{
    if (parts->broken || !parts->at || parts->local.cut || parts->domain.cut)
        return -EINVAL;
    /* A dot at the end of a domain means the root, which no header needs. */
    uint32_t domain_bytes = parts->domain.bytes;
    if (domain_bytes > 0 && parts->domain.text[domain_bytes - 1] == '.')
        domain_bytes--;
    return address_make(address, parts->local.text, parts->local.bytes, parts->domain.text,
                        domain_bytes);
}

HOT bool address_list_next_any(struct address_list *list, struct address_mailbox *mailbox)
{
    struct parts parts;
    mailbox->atoms = false;
    while (member_read(list, &parts)) {
        if (parts_address(&mailbox->address, &parts) != 0)
            continue;
        name_decode(mailbox, &parts);
        return true;
    }
    return false;
}

HOT bool address_list_next(struct address_list *list, struct address_mailbox *mailbox)
{
    if (list->at == list->end)
        return false;
    return address_list_try(list, mailbox) || address_list_next_any(list, mailbox);
}

HOT int address_parse(struct address *address, const uint8_t *src, size_t bytes)
{
    struct address_list list = address_list_make(src, bytes);
    struct parts parts;
    struct address made;
    /* White space would be a name's in a list; an address alone has none outside quotes. */
    for (size_t i = 0; i < bytes; i++) {
        if (src[i] < ' ' || src[i] == 0x7f)
            return -EINVAL;
    }
    if (!member_read(&list, &parts) || list.at != list.end)
        return -EINVAL;
    if (bytes > 0 && (src[bytes - 1] == ',' || src[bytes - 1] == ';'))
        return -EINVAL;
    if (parts.noise || parts.comment.bytes > 0 || (parts.complete && parts.name.bytes > 0))
        return -EINVAL;
    const int rc = parts_address(&made, &parts);
    if (rc == 0)
        *address = made;
    return rc;
}
