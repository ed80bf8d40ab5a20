/* Bodies of JSON calls: flat ones taken into the caller's memory, nested ones parsed in bounds. */
#include "crypto/secret.h"
#include "keyservice/server/api/api.h"

#include <errno.h>
#include <string.h>

#define API_DEPTH_FLAT_MAX 2

/* Counts brackets and commas outside strings, so that the parser is never asked for more. */
static bool body_fits(const uint8_t *body, size_t body_bytes, uint32_t depth_max)
{
    uint32_t depth = 0;
    uint32_t values_count = 1;
    bool in_string = false;
    for (size_t i = 0; i < body_bytes; i++) {
        if (in_string) {
            if (body[i] == '\\')
                i++;
            else if (body[i] == '"')
                in_string = false;
            continue;
        }
        if (body[i] == '"')
            in_string = true;
        else if (body[i] == '{' || body[i] == '[')
            depth++;
        else if ((body[i] == '}' || body[i] == ']') && depth > 0)
            depth--;
        if (body[i] == ',' || body[i] == '{' || body[i] == '[')
            values_count++;
        if (depth > depth_max || values_count > API_JSON_VALUES_MAX)
            return false;
    }
    return true;
}

/* NULL: no object within the bounds. Without JSON_ALLOW_NUL a string with a NUL is none either. */
static json_t *object_read(const uint8_t *body, size_t body_bytes, uint32_t depth_max)
{
    if (body == NULL || body_bytes == 0 || !body_fits(body, body_bytes, depth_max))
        return NULL;
    json_t *root = json_loadb((const char *)body, body_bytes, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(root))
        return root;
    json_decref(root);
    return NULL;
}

static bool field_take(const json_t *root, const struct api_field *field, size_t *taken_count)
{
    const json_t *value = json_object_get(root, field->name);
    field->text[0] = '\0';
    if (value == NULL)
        return field->optional;
    const size_t bytes = json_string_length(value);
    if (!json_is_string(value) || bytes >= field->room)
        return false;
    memcpy(field->text, json_string_value(value), bytes + 1);
    (*taken_count)++;
    return true;
}

int api_fields(const uint8_t *body, size_t body_bytes, const struct api_field *fields,
               uint32_t fields_count)
{
    size_t taken_count = 0;
    bool fine = true;
    json_t *root = object_read(body, body_bytes, API_DEPTH_FLAT_MAX);
    if (root == NULL)
        return -EBADMSG;
    for (uint32_t i = 0; i < fields_count; i++)
        fine = field_take(root, &fields[i], &taken_count) && fine;
    fine = fine && taken_count == json_object_size(root);
    json_decref(root);
    for (uint32_t i = 0; i < fields_count && !fine; i++)
        secret_wipe(fields[i].text, fields[i].room); /* one of them may be a password */
    return fine ? 0 : -EBADMSG;
}

int api_json_body(const struct http_request *request, json_t **root)
{
    json_t *read = object_read(request->body, request->body_bytes, API_JSON_DEPTH_MAX);
    if (read == NULL)
        return -EBADMSG;
    *root = read;
    return 0;
}

bool api_json_known(const json_t *root, const char *const *names, uint32_t names_count)
{
    size_t known_count = 0;
    for (uint32_t i = 0; i < names_count; i++)
        known_count += json_object_get(root, names[i]) != NULL;
    return known_count == json_object_size(root);
}

bool api_json_string(const json_t *root, const char *name, bool optional, char *text, size_t room)
{
    size_t taken_count = 0;
    const struct api_field field = {.name = name, .text = text, .room = room, .optional = optional};
    return field_take(root, &field, &taken_count);
}

bool api_json_u64(const json_t *root, const char *name, bool optional, uint64_t max,
                  uint64_t *value)
{
    const json_t *member = json_object_get(root, name);
    *value = 0;
    if (member == NULL)
        return optional;
    const json_int_t number = json_integer_value(member);
    if (!json_is_integer(member) || number < 0 || (uint64_t)number > max)
        return false;
    *value = (uint64_t)number;
    return true;
}
