#include "keyservice/key_answer.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#define ID_HEX_BYTES ((size_t)RECORD_ID_BYTES * 2)

static bool answer_names(const char *hex, const uint8_t *id)
{
    static const char digits[] = "0123456789abcdef";
    if (strlen(hex) != ID_HEX_BYTES)
        return false;
    for (size_t i = 0; i < RECORD_ID_BYTES; i++) {
        if (hex[2 * i] != digits[id[i] >> 4] || hex[2 * i + 1] != digits[id[i] & 15])
            return false;
    }
    return true;
}

static int answer_status(const char *text, enum key_result_status *status)
{
    if (strcmp(text, "stored") == 0)
        *status = KEY_STORED;
    else if (strcmp(text, "conflict") == 0)
        *status = KEY_CONFLICT;
    else if (strcmp(text, "invalid") == 0)
        *status = KEY_INVALID;
    else
        return -EBADMSG;
    return 0;
}

static int answer_results(const json_t *results, const uint8_t *const *ids, uint32_t ids_count,
                          enum key_result_status *statuses)
{
    if (!json_is_array(results) || json_array_size(results) != ids_count)
        return -EBADMSG;
    for (uint32_t i = 0; i < ids_count; i++) {
        const json_t *result = json_array_get(results, i);
        const char *id = json_string_value(json_object_get(result, "id"));
        const char *status = json_string_value(json_object_get(result, "status"));
        if (id == NULL || status == NULL || !answer_names(id, ids[i]) ||
            answer_status(status, &statuses[i]) != 0)
            return -EBADMSG;
    }
    return 0;
}

/* Exactly two members: this batch's name and the number of its records. */
static int answer_all_stored(const json_t *root, const char *batch, uint32_t ids_count,
                             enum key_result_status *statuses)
{
    const json_t *stored = json_object_get(root, "stored");
    const char *name = json_string_value(json_object_get(root, "batch"));
    if (batch == NULL || name == NULL || json_object_size(root) != 2 || !json_is_integer(stored) ||
        json_integer_value(stored) != (json_int_t)ids_count || strcmp(name, batch) != 0)
        return -EBADMSG;
    for (uint32_t i = 0; i < ids_count; i++)
        statuses[i] = KEY_STORED;
    return 0;
}

int key_answer_read(const char *text, size_t text_bytes, const char *batch,
                    const uint8_t *const *ids, uint32_t ids_count, enum key_result_status *statuses)
{
    json_t *root = json_loadb(text, text_bytes, JSON_REJECT_DUPLICATES, NULL);
    if (root == NULL)
        return -EBADMSG;
    const int rc = json_object_get(root, "stored") != NULL
                       ? answer_all_stored(root, batch, ids_count, statuses)
                       : answer_results(json_object_get(root, "results"), ids, ids_count, statuses);
    json_decref(root);
    return rc;
}

bool key_answer_refuses(const char *text, size_t text_bytes)
{
    json_t *root = json_loadb(text, text_bytes, JSON_REJECT_DUPLICATES, NULL);
    const char *code = json_string_value(json_object_get(json_object_get(root, "error"), "code"));
    const bool refuses =
        code != NULL && (strcmp(code, "bad_request") == 0 || strcmp(code, "too_large") == 0);
    json_decref(root);
    return refuses;
}
