#include "keyservice/server/audit/audit_line.h"

#include "base/clock.h"
#include "keyservice/server/digest.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* SHA-256 over the previous line's hash, as written, and this line's JSON. */
static int chain_hash(const char *previous, const char *json, size_t json_bytes,
                      char hash[AUDIT_HASH_CHARS + 1])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t digest[DIGEST_BYTES];
    const struct digest_part parts[] = {{.bytes_at = previous, .bytes = AUDIT_HASH_CHARS},
                                        {.bytes_at = json, .bytes = json_bytes}};
    const int rc = digest_parts(parts, ARRAY_COUNT(parts), digest);
    if (rc != 0)
        return rc;
    for (uint32_t i = 0; i < DIGEST_BYTES; i++) {
        hash[2 * i] = digits[digest[i] >> 4];
        hash[2 * i + 1] = digits[digest[i] & 15];
    }
    hash[2 * DIGEST_BYTES] = '\0';
    return 0;
}

uint64_t audit_line_check(const char *line, size_t line_bytes, const char *previous,
                          char hash[AUDIT_HASH_CHARS + 1])
{
    if (line_bytes < AUDIT_HASH_CHARS + 2 || line[AUDIT_HASH_CHARS] != ' ')
        return 0;
    const char *json = line + AUDIT_HASH_CHARS + 1;
    const size_t json_bytes = line_bytes - AUDIT_HASH_CHARS - 1;
    if (previous != NULL) {
        char right[AUDIT_HASH_CHARS + 1];
        if (chain_hash(previous, json, json_bytes, right) != 0 ||
            memcmp(right, line, AUDIT_HASH_CHARS) != 0)
            return 0;
    }
    json_t *root = json_loadb(json, json_bytes, JSON_REJECT_DUPLICATES, NULL);
    const json_int_t sequence = json_integer_value(json_object_get(root, "seq"));
    json_decref(root);
    memcpy(hash, line, AUDIT_HASH_CHARS);
    hash[AUDIT_HASH_CHARS] = '\0';
    return sequence > 0 ? (uint64_t)sequence : 0;
}

/* A line as it grows; what does not fit is not written, and `full` says so. */
struct line_text {
    char *at;
    size_t used;
    size_t room;
    bool full;
};

static void text_put(struct line_text *text, const char *chars, size_t count)
{
    text->full = text->full || count > text->room - text->used;
    if (text->full)
        return;
    memcpy(text->at + text->used, chars, count);
    text->used += count;
}

/* Nothing in it has to be escaped. */
static bool is_plain(const char *value)
{
    for (; *value != '\0'; value++)
        if (*value < ' ' || *value > '~' || *value == '"' || *value == '\\')
            return false;
    return true;
}

/* A member behind others; one without meaning, or that is not UTF-8, is left out. */
static void member_put(struct line_text *text, const char *name, const char *value)
{
    char *escaped = NULL;
    if (value == NULL || value[0] == '\0')
        return;
    if (!is_plain(value)) {
        json_t *string = json_string(value);
        escaped = json_dumps(string, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
        json_decref(string);
        if (escaped == NULL)
            return;
    }
    text_put(text, ",\"", 2);
    text_put(text, name, strlen(name));
    text_put(text, "\":", 2);
    if (escaped != NULL) {
        text_put(text, escaped, strlen(escaped));
    } else {
        text_put(text, "\"", 1);
        text_put(text, value, strlen(value));
        text_put(text, "\"", 1);
    }
    free(escaped);
}

static void event_put(struct line_text *text, const struct audit_event *event, uint64_t sequence,
                      uint64_t now_unix_ns)
{
    char start[96];
    struct tm utc;
    const time_t now_s = (time_t)(now_unix_ns / NS_PER_S);
    (void)gmtime_r(&now_s, &utc);
    const int chars =
        snprintf(start, sizeof(start),
                 "{\"seq\":%" PRIu64 ",\"at\":\"%04d-%02d-%02dT%02d:%02d:%02d.%03uZ\"", sequence,
                 utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min,
                 utc.tm_sec, (unsigned)(now_unix_ns / NS_PER_MS % 1000));
    text_put(text, start, (size_t)chars);
    member_put(text, "event", event->event);
    member_put(text, "outcome", event->outcome);
    member_put(text, "m", event->id);
    member_put(text, "user", event->user);
    member_put(text, "from", event->from);
    member_put(text, "by", event->by);
    member_put(text, "detail", event->detail);
    text_put(text, "}\n", 2);
}

int audit_line_make(char line[AUDIT_LINE_BYTES_MAX + 1], uint32_t *line_bytes,
                    const struct audit_event *event, uint64_t sequence, uint64_t now_unix_ns,
                    char hash[AUDIT_HASH_CHARS + 1])
{
    const size_t head = AUDIT_HASH_CHARS + 1;
    char next[AUDIT_HASH_CHARS + 1];
    struct line_text text = {.at = line, .used = head, .room = AUDIT_LINE_BYTES_MAX};
    event_put(&text, event, sequence, now_unix_ns);
    if (text.full)
        return -EMSGSIZE;
    const int rc = chain_hash(hash, line + head, text.used - head - 1, next);
    if (rc != 0)
        return rc;
    memcpy(line, next, AUDIT_HASH_CHARS);
    line[AUDIT_HASH_CHARS] = ' ';
    line[text.used] = '\0';
    memcpy(hash, next, sizeof(next));
    *line_bytes = (uint32_t)text.used;
    return 0;
}
