#include "keyservice/server/audit/audit_line.h"

#include "base/clock.h"

#include <errno.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* SHA-256 over the previous line's hash, as written, and this line's JSON. */
static int chain_hash(const char *previous, const char *json, size_t json_bytes,
                      char hash[AUDIT_HASH_CHARS + 1])
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned int digest_bytes = 0;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    const bool fine = ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 &&
                      EVP_DigestUpdate(ctx, previous, AUDIT_HASH_CHARS) == 1 &&
                      EVP_DigestUpdate(ctx, json, json_bytes) == 1 &&
                      EVP_DigestFinal_ex(ctx, digest, &digest_bytes) == 1;
    EVP_MD_CTX_free(ctx);
    if (!fine)
        return -EIO;
    for (unsigned int i = 0; i < digest_bytes; i++)
        (void)snprintf(hash + 2 * (size_t)i, 3, "%02x", digest[i]);
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

static void member_set(json_t *root, const char *name, const char *value)
{
    if (value != NULL && value[0] != '\0')
        (void)json_object_set_new(root, name, json_string(value));
}

/* The line's JSON, malloc'ed; NULL when memory is short. A member that is not UTF-8 is left out. */
static char *event_json(const struct audit_event *event, uint64_t sequence, uint64_t now_unix_ns)
{
    char at[32];
    struct tm utc;
    const time_t now_s = (time_t)(now_unix_ns / NS_PER_S);
    (void)gmtime_r(&now_s, &utc);
    const size_t chars = strftime(at, sizeof(at), "%Y-%m-%dT%H:%M:%S", &utc);
    (void)snprintf(at + chars, sizeof(at) - chars, ".%03uZ",
                   (unsigned)(now_unix_ns / NS_PER_MS % 1000));
    json_t *root = json_object();
    (void)json_object_set_new(root, "seq", json_integer((json_int_t)sequence));
    member_set(root, "at", at);
    member_set(root, "event", event->event);
    member_set(root, "outcome", event->outcome);
    member_set(root, "m", event->id);
    member_set(root, "user", event->user);
    member_set(root, "from", event->from);
    member_set(root, "by", event->by);
    member_set(root, "detail", event->detail);
    char *json = json_dumps(root, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_ENSURE_ASCII);
    json_decref(root);
    return json;
}

int audit_line_make(char line[AUDIT_LINE_BYTES_MAX + 1], uint32_t *line_bytes,
                    const struct audit_event *event, uint64_t sequence, uint64_t now_unix_ns,
                    char hash[AUDIT_HASH_CHARS + 1])
{
    char next[AUDIT_HASH_CHARS + 1];
    char *json = event_json(event, sequence, now_unix_ns);
    if (json == NULL)
        return -ENOMEM;
    const int rc = chain_hash(hash, json, strlen(json), next);
    const int chars = snprintf(line, AUDIT_LINE_BYTES_MAX + 1, "%s %s\n", next, json);
    free(json);
    if (rc != 0)
        return rc;
    if (chars < 0 || chars > AUDIT_LINE_BYTES_MAX)
        return -EMSGSIZE;
    memcpy(hash, next, sizeof(next));
    *line_bytes = (uint32_t)chars;
    return 0;
}
