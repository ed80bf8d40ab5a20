#include "mta/milter/gather.h"

#include "base/assert.h"
#include "policy/override.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ROOM_BYTES_MIN     4096
#define ANSWER_BYTES_FIXED ((size_t)256 * 1024) /* script, templates, logo, outer header */
#define DSN_DEFAULT        "NOTIFY=FAILURE"     /* what happens without a word, too */
#define DSN_DELAY          "NOTIFY=FAILURE,DELAY"
#define DSN_DELAY_TOO      "NOTIFY=DELAY,FAILURE"

static bool budget_take(struct gather_budget *budget, uint64_t bytes)
{
    /* A count and no more: nothing is published by it. */
    const uint64_t before =
        atomic_fetch_add_explicit(&budget->used_bytes, bytes, memory_order_relaxed);
    if (before + bytes <= budget->bytes_max)
        return true;
    (void)atomic_fetch_sub_explicit(&budget->used_bytes, bytes, memory_order_relaxed);
    return false;
}

static void budget_give(struct gather_budget *budget, uint64_t bytes)
{
    (void)atomic_fetch_sub_explicit(&budget->used_bytes, bytes, memory_order_relaxed);
}

static void bytes_free(struct gather_bytes *of, struct gather_budget *budget)
{
    if (of->at != NULL)
        explicit_bzero(of->at, of->bytes);
    free(of->at);
    budget_give(budget, of->room);
    *of = (struct gather_bytes){0};
}

/* Doubles until `more` fits; what was there is wiped, since realloc() would leave it lying about.
 */
static int bytes_grow(struct gather_bytes *of, struct gather_budget *budget, size_t more)
{
    if (more <= of->room - of->bytes)
        return 0;
    size_t room = MAX(of->room, (size_t)ROOM_BYTES_MIN);
    while (room - of->bytes < more) {
        if (room > SIZE_MAX / 4)
            return -ENOMEM;
        room *= 2;
    }
    if (!budget_take(budget, room))
        return -ENOMEM;
    uint8_t *made = malloc(room);
    if (made == NULL) {
        budget_give(budget, room);
        return -ENOMEM;
    }
    const size_t bytes = of->bytes;
    if (bytes > 0)
        memcpy(made, of->at, bytes);
    bytes_free(of, budget);
    *of = (struct gather_bytes){.at = made, .bytes = bytes, .room = room};
    return 0;
}

static int bytes_add(struct gather_bytes *of, struct gather_budget *budget, const void *from,
                     size_t bytes)
{
    const int rc = bytes_grow(of, budget, bytes);
    if (rc == 0 && bytes > 0) {
        memcpy(of->at + of->bytes, from, bytes);
        of->bytes += bytes;
    }
    return rc;
}

/* A string with its NUL; *offset says where it stands. */
static int text_add(struct gather *gather, const char *text, size_t text_bytes, size_t *offset)
{
    const size_t at = gather->texts.bytes;
    const int rc = bytes_grow(&gather->texts, gather->budget, text_bytes + 1);
    if (rc != 0)
        return rc;
    memcpy(gather->texts.at + at, text, text_bytes);
    gather->texts.at[at + text_bytes] = '\0';
    gather->texts.bytes += text_bytes + 1;
    *offset = at;
    return 0;
}

static const char *text_at(const struct gather *gather, size_t offset)
{
    ASSERT(offset < gather->texts.bytes);
    return (const char *)gather->texts.at + offset;
}

void gather_init(struct gather *gather, struct gather_budget *budget)
{
    gather->budget = budget;
    gather->answer_bytes = 0;
    gather->texts = (struct gather_bytes){0};
    gather->body = (struct gather_bytes){0};
    gather->recipients_count = 0;
    gather->recipients_bytes = 0;
    gather->fields_count = 0;
    gather->header_over = false;
    gather->has_control = false;
    gather->keep_off_disk = false;
}

void gather_fini(struct gather *gather)
{
    bytes_free(&gather->texts, gather->budget);
    bytes_free(&gather->body, gather->budget);
    budget_give(gather->budget, gather->answer_bytes);
    gather_init(gather, gather->budget);
}

/* An address without the brackets of its path. */
static int path_add(struct gather *gather, const char *path, size_t *offset, size_t *bytes)
{
    size_t path_bytes = strlen(path);
    if (path_bytes >= 2 && path[0] == '<' && path[path_bytes - 1] == '>') {
        path++;
        path_bytes -= 2;
    }
    *bytes = path_bytes;
    return text_add(gather, path, path_bytes, offset);
}

/* RFC 3461: the engine emits later without them, so a mail that says more than what is so anyway
 * stays with the mail server. ORCPT only names an address anew. */
static bool argument_is_dsn(const char *argument)
{
    if (strncasecmp(argument, "RET=", 4) == 0 || strncasecmp(argument, "ENVID=", 6) == 0)
        return true;
    return strncasecmp(argument, "NOTIFY=", 7) == 0 && strcasecmp(argument, DSN_DEFAULT) != 0 &&
           strcasecmp(argument, DSN_DELAY) != 0 && strcasecmp(argument, DSN_DELAY_TOO) != 0;
}

static void arguments_note(struct gather *gather, char **arguments)
{
    for (char **argument = arguments + 1; *argument != NULL; argument++)
        gather->keep_off_disk = gather->keep_off_disk || argument_is_dsn(*argument);
}

int gather_sender(struct gather *gather, char **arguments)
{
    size_t bytes;
    ASSERT(gather->texts.bytes == 0); /* the first thing that is said */
    arguments_note(gather, arguments);
    return path_add(gather, arguments[0], &gather->sender_offset, &bytes);
}

int gather_recipient(struct gather *gather, char **arguments)
{
    size_t bytes;
    if (gather->recipients_count == GATHER_RECIPIENTS_MAX)
        return -EMSGSIZE;
    if (strlen(arguments[0]) + 2 > GATHER_RECIPIENTS_BYTES_MAX - gather->recipients_bytes)
        return -EMSGSIZE;
    const int rc = path_add(gather, arguments[0],
                            &gather->recipient_offsets[gather->recipients_count], &bytes);
    if (rc != 0)
        return rc;
    arguments_note(gather, arguments);
    gather->recipients_count++;
    gather->recipients_bytes += bytes + 2;
    return 0;
}

int gather_field(struct gather *gather, const char *name, const char *value)
{
    const size_t bytes = strlen(name) + strlen(value) + 2;
    gather->has_control = gather->has_control || override_is_control(name);
    if (gather->header_over || gather->fields_count == GATHER_FIELDS_MAX ||
        bytes >
            GATHER_HEADER_BYTES_MAX - MIN(gather->texts.bytes, (size_t)GATHER_HEADER_BYTES_MAX)) {
        gather->header_over = true;
        return 0;
    }
    const uint32_t field = gather->fields_count;
    int rc = text_add(gather, name, strlen(name), &gather->name_offsets[field]);
    if (rc == 0)
        rc = text_add(gather, value, strlen(value), &gather->value_offsets[field]);
    if (rc == 0)
        gather->fields_count++;
    return rc;
}

int gather_body(struct gather *gather, const uint8_t *bytes_at, size_t bytes,
                uint64_t mail_bytes_max)
{
    if (gather->body.bytes + bytes > mail_bytes_max)
        return -EMSGSIZE;
    return bytes_add(&gather->body, gather->budget, bytes_at, bytes);
}

/* Base64 in lines is 78/57 of its bytes; then what does not depend on them. */
int gather_expect_answer(struct gather *gather)
{
    const size_t bytes = (gather->body.bytes + gather->texts.bytes) * 3 / 2 + ANSWER_BYTES_FIXED;
    ASSERT(gather->answer_bytes == 0);
    if (!budget_take(gather->budget, bytes))
        return -ENOMEM;
    gather->answer_bytes = bytes;
    return 0;
}

const char *gather_name(const struct gather *gather, uint32_t field)
{
    ASSERT(field < gather->fields_count);
    return text_at(gather, gather->name_offsets[field]);
}

const char *gather_value(const struct gather *gather, uint32_t field)
{
    ASSERT(field < gather->fields_count);
    return text_at(gather, gather->value_offsets[field]);
}

const char *gather_sender_text(const struct gather *gather)
{
    return text_at(gather, gather->sender_offset);
}

struct select_message gather_view(const struct gather *gather, struct gather_view *view)
{
    for (uint32_t i = 0; i < gather->recipients_count; i++)
        view->recipients[i] = text_at(gather, gather->recipient_offsets[i]);
    for (uint32_t i = 0; i < gather->fields_count; i++) {
        const char *name = gather_name(gather, i);
        const char *value = gather_value(gather, i);
        view->fields[i] = (struct select_field){name, value, strlen(name), strlen(value)};
    }
    return (struct select_message){
        .sender = gather_sender_text(gather),
        .recipients = view->recipients,
        .recipients_count = gather->recipients_count,
        .fields = view->fields,
        .fields_count = gather->fields_count,
    };
}

/* Who got a blind copy is for nobody to read, inside the envelope either (RFC 5322, 3.6.3). */
static bool stays_out(const char *name)
{
    static const char *const blind[] = {"Bcc", "Resent-Bcc"};
    bool out = override_is_control(name);
    for (size_t i = 0; i < ARRAY_COUNT(blind); i++) {
        const size_t chars = strlen(blind[i]);
        /* RFC 5322, 4.5: blanks may stand before the colon. */
        out = out || (strncasecmp(name, blind[i], chars) == 0 &&
                      name[chars + strspn(name + chars, " \t")] == '\0');
    }
    return out;
}

/* Appends a value with each LF that has no CR before it as CRLF; returns bytes. */
static size_t value_write(uint8_t *dst, const char *value)
{
    size_t used = 0;
    for (const char *at = value; *at != '\0'; at++) {
        if (*at == '\n' && (at == value || at[-1] != '\r'))
            dst[used++] = '\r';
        dst[used++] = (uint8_t)*at;
    }
    return used;
}

int gather_header(const struct gather *gather, const char *lead, uint8_t **header,
                  size_t *header_bytes)
{
    size_t room = 2;
    for (uint32_t i = 0; i < gather->fields_count; i++)
        room +=
            strlen(gather_name(gather, i)) + strlen(lead) + 2 * strlen(gather_value(gather, i)) + 3;
    uint8_t *made = malloc(room);
    if (made == NULL)
        return -ENOMEM;
    size_t used = 0;
    for (uint32_t i = 0; i < gather->fields_count; i++) {
        const char *name = gather_name(gather, i);
        if (stays_out(name))
            continue;
        memcpy(made + used, name, strlen(name));
        used += strlen(name);
        made[used++] = ':';
        memcpy(made + used, lead, strlen(lead));
        used += strlen(lead);
        used += value_write(made + used, gather_value(gather, i));
        made[used++] = '\r';
        made[used++] = '\n';
    }
    made[used++] = '\r';
    made[used++] = '\n';
    ASSERT(used <= room);
    *header = made;
    *header_bytes = used;
    return 0;
}
