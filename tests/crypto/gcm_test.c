#include "base/macros.h"
#include "crypto/aes_ctr_internal.h"
#include "crypto/aes_schedule_internal.h"
#include "crypto/core_internal.h"
#include "crypto/gcm_internal.h"
#include "tests/crypto/vectors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* One published vector. */
struct gcm_vector {
    struct vector_bytes key;
    struct vector_bytes nonce;
    struct vector_bytes aad;
    struct vector_bytes plain;
    struct vector_bytes cipher;
    struct vector_bytes tag; /* 4 to 16 bytes: a shorter one is a prefix of the whole */
    bool valid;
    bool has_plain; /* NIST gives none for what must not open */
};

static void gcm_vector_free(struct gcm_vector *vector)
{
    vector_free(&vector->key);
    vector_free(&vector->nonce);
    vector_free(&vector->aad);
    vector_free(&vector->plain);
    vector_free(&vector->cipher);
    vector_free(&vector->tag);
}

static struct gcm_aad vector_aad(const struct gcm_vector *vector)
{
    return (struct gcm_aad){.bytes_at = vector->aad.at, .bytes = vector->aad.bytes};
}

static void check_seal(struct crypto_core *core, const struct gcm_vector *vector,
                       const uint8_t *expanded)
{
    uint8_t *sealed = malloc(vector->plain.bytes + GCM_TAG_BYTES);
    assert_non_null(sealed);
    gcm_seal(core, expanded, (uint32_t)vector->key.bytes, vector->nonce.at, vector_aad(vector),
             sealed, vector->plain.at, vector->plain.bytes);
    const bool same_cipher = memcmp(sealed, vector->cipher.at, vector->cipher.bytes) == 0;
    const bool same_tag =
        memcmp(sealed + vector->plain.bytes, vector->tag.at, vector->tag.bytes) == 0;
    assert_true(same_cipher);
    assert_int_equal(same_tag, vector->valid);
    free(sealed);
}

static void check_open(struct crypto_core *core, const struct gcm_vector *vector,
                       const uint8_t *expanded)
{
    const size_t bytes = vector->cipher.bytes;
    uint8_t *sealed = malloc(bytes + GCM_TAG_BYTES);
    uint8_t *plain = malloc(bytes + 1);
    assert_true(sealed != NULL && plain != NULL);
    memcpy(sealed, vector->cipher.at, bytes);
    memcpy(sealed + bytes, vector->tag.at, GCM_TAG_BYTES);
    memset(plain, 0xaa, bytes + 1);
    const bool opened = gcm_open(core, expanded, (uint32_t)vector->key.bytes, vector->nonce.at,
                                 vector_aad(vector), plain, sealed, bytes);
    assert_int_equal(opened, vector->valid);
    if (opened && vector->has_plain)
        assert_memory_equal(plain, vector->plain.at, bytes);
    for (size_t i = 0; i < bytes && !opened; i++)
        assert_int_equal(plain[i], 0);
    assert_int_equal(plain[bytes], 0xaa);
    free(sealed);
    free(plain);
}

static void check(struct crypto_core *core, const struct gcm_vector *vector)
{
    _Alignas(CACHE_LINE) uint8_t expanded[GCM_EXPANDED_BYTES];
    gcm_expand(core, expanded, vector->key.at, (uint32_t)vector->key.bytes);
    if (vector->has_plain)
        check_seal(core, vector, expanded);
    if (vector->tag.bytes == GCM_TAG_BYTES)
        check_open(core, vector, expanded);
}

static struct crypto_core *core_for(enum isa isa)
{
    struct crypto_core *core = NULL;
    assert_int_equal(crypto_core_open(&core, isa), 0);
    return core;
}

static void wycheproof_group(struct crypto_core *core, const json_t *group, uint32_t *checked,
                             uint32_t *skipped)
{
    size_t i;
    json_t *test;
    json_array_foreach(json_object_get(group, "tests"), i, test)
    {
        struct gcm_vector vector = {
            .key = vector_from_json(test, "key"),
            .nonce = vector_from_json(test, "iv"),
            .aad = vector_from_json(test, "aad"),
            .plain = vector_from_json(test, "msg"),
            .cipher = vector_from_json(test, "ct"),
            .tag = vector_from_json(test, "tag"),
            .valid = strcmp(vector_text(test, "result"), "valid") == 0,
            .has_plain = true,
        };
        if (vector.nonce.bytes == GCM_NONCE_BYTES) {
            check(core, &vector);
            (*checked)++;
        } else {
            (*skipped)++;
        }
        gcm_vector_free(&vector);
    }
}

static void wycheproof_aes_gcm(void **state)
{
    (void)state;
    json_t *root = vectors_load("aes_gcm_test.json");
    if (root == NULL)
        skip();
    for (enum isa isa = ISA_SCALAR; isa <= isa_best(); isa++) {
        struct crypto_core *core = core_for(isa);
        uint32_t checked = 0;
        uint32_t skipped = 0;
        size_t i;
        json_t *group;
        json_array_foreach(json_object_get(root, "testGroups"), i, group)
            wycheproof_group(core, group, &checked, &skipped);
        print_message("%s: %u vectors; skipped %u whose nonce is not 12 bytes\n", isa_name(isa),
                      checked, skipped);
        assert_int_equal(checked + skipped,
                         json_integer_value(json_object_get(root, "numberOfTests")));
        assert_int_equal(checked, 197);
        crypto_core_close(core);
    }
    json_decref(root);
}

/* A CAVP file: sections in brackets, then `Name = value` lines, a blank line after each vector. */
struct cavp {
    struct gcm_vector vector;
    bool started;
    uint32_t checked;
    uint32_t skipped;
};

static void cavp_finish(struct cavp *cavp, struct crypto_core *core)
{
    if (!cavp->started)
        return;
    if (cavp->vector.nonce.bytes == GCM_NONCE_BYTES &&
        (cavp->vector.has_plain || cavp->vector.tag.bytes == GCM_TAG_BYTES)) {
        check(core, &cavp->vector);
        cavp->checked++;
    } else {
        cavp->skipped++;
    }
    gcm_vector_free(&cavp->vector);
    cavp->vector = (struct gcm_vector){0};
    cavp->started = false;
}

static void cavp_line(struct cavp *cavp, struct crypto_core *core, char *line)
{
    struct gcm_vector *vector = &cavp->vector;
    line[strcspn(line, "\r\n")] = '\0';
    if (line[0] == '\0' || line[0] == '#' || line[0] == '[')
        return;
    if (strncmp(line, "Count = ", 8) == 0) {
        cavp_finish(cavp, core);
        cavp->started = true;
        vector->valid = true;
        return;
    }
    if (strcmp(line, "FAIL") == 0) {
        vector->valid = false;
        return;
    }
    const char *value = strstr(line, " =");
    assert_non_null(value);
    const size_t name_chars = (size_t)(value - line);
    value += value[2] == ' ' ? 3 : 2;
    const struct {
        const char *name;
        struct vector_bytes *bytes;
    } fields[] = {
        {"Key", &vector->key},   {"IV", &vector->nonce}, {"PT", &vector->plain},
        {"CT", &vector->cipher}, {"AAD", &vector->aad},  {"Tag", &vector->tag},
    };
    for (size_t i = 0; i < ARRAY_COUNT(fields); i++) {
        if (strlen(fields[i].name) == name_chars && strncmp(line, fields[i].name, name_chars) == 0)
            *fields[i].bytes = vector_from_hex(value, strlen(value));
    }
    if (name_chars == 2 && strncmp(line, "PT", 2) == 0)
        vector->has_plain = true;
}

static void cavp_file(const char *name)
{
    FILE *file = cavp_open(name);
    for (enum isa isa = ISA_SCALAR; isa <= isa_best(); isa++) {
        struct crypto_core *core = core_for(isa);
        struct cavp cavp = {0};
        char line[8192];
        rewind(file);
        while (fgets(line, sizeof(line), file) != NULL)
            cavp_line(&cavp, core, line);
        cavp_finish(&cavp, core);
        print_message("%s %s: %u vectors; skipped %u whose nonce is not 12 bytes, or that must "
                      "not open by a tag that is not 16\n",
                      name, isa_name(isa), cavp.checked, cavp.skipped);
        assert_int_equal(cavp.checked + cavp.skipped, 7875);
        assert_true(cavp.checked >= 1400);
        crypto_core_close(core);
    }
    (void)fclose(file);
}

static void nist_cavp_aes_gcm(void **state)
{
    (void)state;
    static const char *const names[] = {
        "gcmEncryptExtIV128.rsp", "gcmEncryptExtIV192.rsp", "gcmEncryptExtIV256.rsp",
        "gcmDecrypt128.rsp",      "gcmDecrypt192.rsp",      "gcmDecrypt256.rsp",
    };
    for (size_t i = 0; i < ARRAY_COUNT(names); i++)
        cavp_file(names[i]);
}

/* FIPS 197, A.3: the first expanded word, one in the middle, and the last round key. */
static void the_key_schedule_is_fips_197s(void **state)
{
    (void)state;
    static const uint8_t key[32] = "\x60\x3d\xeb\x10\x15\xca\x71\xbe\x2b\x73\xae\xf0\x85\x7d\x77"
                                   "\x81\x1f\x35\x2c\x07\x3b\x61\x08\xd7\x2d\x98\x10\xa3\x09\x14"
                                   "\xdf\xf4";
    static const uint8_t word_8[4] = "\x9b\xa3\x54\x11";
    static const uint8_t word_12[4] = "\xa8\xb0\x9c\x1a";
    static const uint8_t last[16] = "\xfe\x48\x90\xd1\xe6\x18\x8d\x0b\x04\x6d\xf3\x44\x70\x6c\x63"
                                    "\x1e";
    uint8_t schedules[AES_SCHEDULE_KEYS + 1][AES_SCHEDULE_BYTES];
    uint8_t *at[AES_SCHEDULE_KEYS];
    const uint8_t *keys[AES_SCHEDULE_KEYS];
    for (uint32_t i = 0; i < AES_SCHEDULE_KEYS; i++) {
        at[i] = schedules[i];
        keys[i] = key;
    }
    aes_schedule_256(at, keys);
    aes_schedule_256_one(schedules[AES_SCHEDULE_KEYS], key);
    for (uint32_t i = 0; i <= AES_SCHEDULE_KEYS; i++) {
        assert_memory_equal(schedules[i], key, sizeof(key));
        assert_memory_equal(schedules[i] + 8 * 4, word_8, sizeof(word_8));
        assert_memory_equal(schedules[i] + 12 * 4, word_12, sizeof(word_12));
        assert_memory_equal(schedules[i] + AES_SCHEDULE_BYTES - 16, last, sizeof(last));
    }
}

/* Bursts of every size and of mixed lengths leave what one key after the other leaves. */
static void a_burst_of_keys_is_expanded_as_each_alone(void **state)
{
    (void)state;
    enum { BURST = 11 };
    static _Alignas(CACHE_LINE) uint8_t got[BURST][GCM_EXPANDED_BYTES];
    static _Alignas(CACHE_LINE) uint8_t want[GCM_EXPANDED_BYTES];
    static uint8_t keys[BURST][32];
    struct gcm_expansion expansions[BURST];
    for (enum isa isa = ISA_SCALAR; isa <= isa_best(); isa++) {
        struct crypto_core *core = core_for(isa);
        /* Else the library does not keep them as it did, and every key takes twice as long. */
        assert_int_equal(core->has_powers, isa == ISA_AVX512);
        for (uint32_t round = 0; round < 40 * BURST; round++) {
            const uint32_t count = round % BURST + 1;
            crypto_random(core, keys[0], sizeof(keys));
            memset(got, 0, sizeof(got));
            for (uint32_t i = 0; i < count; i++)
                expansions[i] = (struct gcm_expansion){
                    .expanded = got[i],
                    .key = keys[i],
                    .key_bytes = round % 2 == 0 || keys[i][0] < 160 ? 32 : 16 + keys[i][0] % 2u * 8,
                };
            gcm_expand_burst(core, expansions, count);
            for (uint32_t i = 0; i < BURST; i++) {
                memset(want, 0, sizeof(want));
                if (i < count)
                    gcm_expand(core, want, keys[i], expansions[i].key_bytes);
                assert_memory_equal(got[i], want, sizeof(want));
            }
        }
        crypto_core_close(core);
    }
}

/* The library's GCM over zeros gives the same, byte for byte, and nothing is written beyond it. */
static void the_keystream_is_gcms(void **state)
{
    (void)state;
    enum { UNITS = 64 };
    static uint8_t zeros[UNITS * AES_CTR_UNIT_BYTES];
    static uint8_t want[sizeof(zeros) + GCM_TAG_BYTES];
    static uint8_t got[sizeof(zeros) + 1];
    static _Alignas(CACHE_LINE) uint8_t expanded[GCM_EXPANDED_BYTES];
    const struct gcm_aad no_aad = {.bytes_at = NULL, .bytes = 0};
    for (enum isa isa = ISA_SSE; isa <= isa_best(); isa++) {
        struct crypto_core *core = core_for(isa);
        aes_ctr_256_fn *ctr = isa == ISA_AVX512 ? aes_ctr_256_avx512 : aes_ctr_256_sse;
        for (size_t units_count = 0; units_count <= UNITS; units_count++) {
            uint8_t key[AES_SCHEDULE_KEY_BYTES];
            uint8_t nonce[AES_CTR_NONCE_BYTES];
            uint8_t schedule[AES_SCHEDULE_BYTES];
            crypto_random(core, key, sizeof(key));
            crypto_random(core, nonce, sizeof(nonce));
            aes_schedule_256_one(schedule, key);
            const size_t bytes = units_count * AES_CTR_UNIT_BYTES;
            memset(got, 0xa5, sizeof(got));
            ctr(got, units_count, schedule, nonce);
            gcm_expand(core, expanded, key, sizeof(key));
            gcm_seal(core, expanded, sizeof(key), nonce, no_aad, want, zeros, bytes);
            assert_memory_equal(got, want, bytes);
            assert_int_equal(got[bytes], 0xa5);
        }
        crypto_core_close(core);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wycheproof_aes_gcm),
        cmocka_unit_test(nist_cavp_aes_gcm),
        cmocka_unit_test(the_key_schedule_is_fips_197s),
        cmocka_unit_test(a_burst_of_keys_is_expanded_as_each_alone),
        cmocka_unit_test(the_keystream_is_gcms),
    };
    return vectors_verdict(cmocka_run_group_tests(tests, NULL, NULL));
}
