#include "tests/crypto/vectors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *folder(const char *variable, const char *otherwise)
{
    const char *named = getenv(variable);
    return named != NULL && named[0] != '\0' ? named : otherwise;
}

static bool vectors_missing;

json_t *vectors_load(const char *name)
{
    char path[4096];
    (void)snprintf(path, sizeof(path), "%s/%s", folder("BULLA_VECTORS", VECTORS_DEFAULT), name);
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        print_message("skipped: no vectors (%s)\n", name);
        vectors_missing = true;
        return NULL;
    }
    json_error_t error;
    json_t *root = json_loadf(file, 0, &error);
    (void)fclose(file);
    if (root == NULL)
        fail_msg("%s line %d: %s", name, error.line, error.text);
    return root;
}

int vectors_verdict(int failed_count)
{
    if (failed_count != 0 || !vectors_missing)
        return failed_count;
    printf("skipped: no vectors\n");
    return VECTORS_SKIPPED;
}

FILE *cavp_open(const char *name)
{
    char path[4096];
    (void)snprintf(path, sizeof(path), "%s/%s", folder("BULLA_CAVP", CAVP_DEFAULT), name);
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        fail_msg("no %s: install python3-cryptography-vectors (tools/deps), or name the folder in "
                 "BULLA_CAVP",
                 path);
    return file;
}

static uint8_t digit_value(char digit)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = memchr(digits, digit | 0x20, sizeof(digits) - 1);
    if (at == NULL)
        fail_msg("not a hexadecimal digit: %d", digit);
    return (uint8_t)(at - digits);
}

struct vector_bytes vector_from_hex(const char *hex, size_t hex_chars)
{
    assert_true(hex_chars % 2 == 0);
    struct vector_bytes vector = {.bytes = hex_chars / 2};
    vector.at = malloc(vector.bytes + 1);
    assert_non_null(vector.at);
    for (size_t i = 0; i < vector.bytes; i++)
        vector.at[i] = (uint8_t)(digit_value(hex[2 * i]) << 4 | digit_value(hex[2 * i + 1]));
    return vector;
}

const char *vector_text(const json_t *test, const char *member)
{
    const char *text = json_string_value(json_object_get(test, member));
    if (text == NULL)
        fail_msg("a vector without \"%s\"", member);
    return text;
}

struct vector_bytes vector_from_json(const json_t *test, const char *member)
{
    const char *hex = vector_text(test, member);
    return vector_from_hex(hex, strlen(hex));
}

void vector_free(struct vector_bytes *vector)
{
    free(vector->at);
    vector->at = NULL;
}

int vector_has_flag(const json_t *test, const char *flag)
{
    const json_t *flags = json_object_get(test, "flags");
    size_t i;
    json_t *value;
    json_array_foreach(flags, i, value)
    {
        if (strcmp(json_string_value(value), flag) == 0)
            return 1;
    }
    return 0;
}
