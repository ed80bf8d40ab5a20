#include "keyservice/server/master.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>
#include <openssl/evp.h>

#define KWP_BYTES_MAX 4096

static const uint8_t id_one[MASTER_ID_BYTES] = {1, 2, 3};
static const uint8_t id_two[MASTER_ID_BYTES] = {3, 2, 1};

struct folder {
    char name[64];
    char path[96];
};

static int folder_make(void **state)
{
    struct folder *folder = calloc(1, sizeof(*folder));
    if (folder == NULL)
        return -1;
    (void)snprintf(folder->name, sizeof(folder->name), "/tmp/bulla-master-XXXXXX");
    if (mkdtemp(folder->name) == NULL)
        return -1;
    (void)snprintf(folder->path, sizeof(folder->path), "%s/master.key", folder->name);
    *state = folder;
    return 0;
}

static int folder_remove(void **state)
{
    struct folder *folder = *state;
    (void)unlink(folder->path);
    (void)rmdir(folder->name);
    free(folder);
    return 0;
}

static struct master *open_fine(const struct folder *folder)
{
    struct master *master = NULL;
    char why[MASTER_WHY_BYTES] = "";
    if (master_open(&master, folder->path, why) != 0)
        fail_msg("%s", why);
    return master;
}

static void wrap(const struct master *master, const uint8_t *id, size_t key_bytes, uint8_t *wrapped,
                 size_t *wrapped_bytes)
{
    struct master_burst *burst = NULL;
    uint8_t key[MASTER_PLAIN_BYTES_MAX];
    memset(key, 0xa5, sizeof(key));
    assert_int_equal(master_burst_open(&burst, master, master_version(master)), 0);
    struct master_wrap one = {
        .id = id, .key = key, .key_bytes = (uint32_t)key_bytes, .wrapped = wrapped};
    assert_int_equal(master_burst_wrap(burst, &one, 1), 0);
    *wrapped_bytes = one.wrapped_bytes;
    master_burst_close(burst);
}

static void a_file_is_made_once_and_private(void **state)
{
    const struct folder *folder = *state;
    struct stat info;
    assert_int_equal(master_create(folder->path), 0);
    assert_int_equal(master_create(folder->path), -EEXIST);
    assert_int_equal(stat(folder->path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
}

static void keys_of_both_sizes_come_back(void **state)
{
    const struct folder *folder = *state;
    assert_int_equal(master_create(folder->path), 0);
    struct master *master = open_fine(folder);
    for (size_t bytes = 24; bytes <= 32; bytes += 8) {
        uint8_t wrapped[MASTER_WRAPPED_BYTES_MAX];
        uint8_t key[MASTER_PLAIN_BYTES_MAX] = {0};
        size_t wrapped_bytes = 0;
        size_t key_bytes = 0;
        wrap(master, id_one, bytes, wrapped, &wrapped_bytes);
        assert_int_equal(wrapped_bytes, MASTER_ID_BYTES + bytes + 8);
        assert_int_equal(master_unwrap(master, 1, id_one, wrapped, wrapped_bytes, key, &key_bytes),
                         0);
        assert_int_equal(key_bytes, bytes);
        for (size_t i = 0; i < bytes; i++)
            assert_int_equal(key[i], 0xa5);
    }
    master_close(master);
}

static void a_wrapped_key_moved_to_another_envelope_does_not_open(void **state)
{
    const struct folder *folder = *state;
    uint8_t wrapped[MASTER_WRAPPED_BYTES_MAX];
    uint8_t key[MASTER_PLAIN_BYTES_MAX];
    size_t wrapped_bytes = 0;
    size_t key_bytes = 0;
    assert_int_equal(master_create(folder->path), 0);
    struct master *master = open_fine(folder);
    wrap(master, id_one, 32, wrapped, &wrapped_bytes);
    assert_int_equal(master_unwrap(master, 1, id_two, wrapped, wrapped_bytes, key, &key_bytes),
                     -EBADMSG);
    master_close(master);
}

static void every_flipped_bit_of_a_wrapped_key_is_noticed(void **state)
{
    const struct folder *folder = *state;
    uint8_t wrapped[MASTER_WRAPPED_BYTES_MAX];
    uint8_t key[MASTER_PLAIN_BYTES_MAX];
    size_t wrapped_bytes = 0;
    size_t key_bytes = 0;
    assert_int_equal(master_create(folder->path), 0);
    struct master *master = open_fine(folder);
    wrap(master, id_one, 32, wrapped, &wrapped_bytes);
    for (size_t bit = 0; bit < 8 * wrapped_bytes; bit++) {
        wrapped[bit / 8] ^= (uint8_t)(1U << bit % 8);
        assert_int_equal(master_unwrap(master, 1, id_one, wrapped, wrapped_bytes, key, &key_bytes),
                         -EBADMSG);
        wrapped[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    for (size_t bytes = 0; bytes < wrapped_bytes; bytes++)
        assert_int_not_equal(master_unwrap(master, 1, id_one, wrapped, bytes, key, &key_bytes), 0);
    master_close(master);
}

static void old_versions_open_what_was_wrapped_under_them(void **state)
{
    const struct folder *folder = *state;
    char why[MASTER_WHY_BYTES];
    uint8_t wrapped[2][MASTER_WRAPPED_BYTES_MAX];
    uint8_t derived[2][MASTER_KEY_BYTES];
    uint8_t key[MASTER_PLAIN_BYTES_MAX];
    size_t wrapped_bytes[2];
    size_t key_bytes = 0;
    assert_int_equal(master_create(folder->path), 0);
    struct master *master = open_fine(folder);
    wrap(master, id_one, 32, wrapped[0], &wrapped_bytes[0]);
    assert_int_equal(master_derive(master, "test", derived[0]), 0);
    master_close(master);
    assert_int_equal(master_add(folder->path, why), 0);
    master = open_fine(folder);
    assert_int_equal(master_version(master), 2);
    wrap(master, id_one, 32, wrapped[1], &wrapped_bytes[1]);
    assert_memory_not_equal(wrapped[0], wrapped[1], wrapped_bytes[0]);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(
            master_unwrap(master, i + 1, id_one, wrapped[i], wrapped_bytes[i], key, &key_bytes), 0);
        assert_int_equal(master_unwrap(master, 2 - i, id_one, wrapped[i], wrapped_bytes[i], key,
                                       &key_bytes),
                         -EBADMSG);
    }
    assert_int_equal(
        master_unwrap(master, 3, id_one, wrapped[1], wrapped_bytes[1], key, &key_bytes), -ENOKEY);
    assert_int_equal(
        master_unwrap(master, 0, id_one, wrapped[1], wrapped_bytes[1], key, &key_bytes), -ENOKEY);
    assert_int_equal(master_derive(master, "test", derived[1]), 0);
    assert_memory_equal(derived[0], derived[1], MASTER_KEY_BYTES);
    assert_int_equal(master_derive(master, "other", derived[1]), 0);
    assert_memory_not_equal(derived[0], derived[1], MASTER_KEY_BYTES);
    master_close(master);
}

static void the_same_key_wraps_to_the_same_bytes_under_one_version_alone(void **state)
{
    const struct folder *folder = *state;
    char why[MASTER_WHY_BYTES];
    const uint8_t id[MASTER_ID_BYTES] = {1};
    const uint8_t key[MASTER_PLAIN_BYTES_MAX] = {2};
    uint8_t wrapped[3][MASTER_WRAPPED_BYTES_MAX] = {{0}};
    assert_int_equal(master_create(folder->path), 0);
    assert_int_equal(master_add(folder->path, why), 0);
    struct master *master = open_fine(folder);
    for (uint32_t i = 0; i < 3; i++) {
        struct master_burst *burst = NULL;
        struct master_wrap wrap = {
            .id = id, .key = key, .key_bytes = sizeof(key), .wrapped = wrapped[i]};
        assert_int_equal(master_burst_open(&burst, master, i < 2 ? 1 : 2), 0);
        assert_int_equal(master_burst_wrap(burst, &wrap, 1), 0);
        master_burst_close(burst);
    }
    assert_memory_equal(wrapped[0], wrapped[1], sizeof(wrapped[0]));
    assert_memory_not_equal(wrapped[0], wrapped[2], sizeof(wrapped[0]));
    master_close(master);
}

static void file_put(const char *path, const char *text)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(close(fd), 0);
}

static void beside(char path[128], const struct folder *folder, const char *ending)
{
    (void)snprintf(path, 128, "%s%s", folder->path, ending);
}

static void a_retired_version_opens_nothing_and_all_that_is_derived_stays(void **state)
{
    const struct folder *folder = *state;
    char why[MASTER_WHY_BYTES];
    char name[128];
    uint8_t wrapped[MASTER_WRAPPED_BYTES_MAX];
    uint8_t derived[2][MASTER_KEY_BYTES];
    uint8_t proof[2][MASTER_PROOF_BYTES];
    uint8_t key[MASTER_PLAIN_BYTES_MAX];
    size_t wrapped_bytes = 0;
    size_t key_bytes = 0;
    struct master_burst *burst = NULL;
    assert_int_equal(master_create(folder->path), 0);
    struct master *before = open_fine(folder);
    wrap(before, id_one, 32, wrapped, &wrapped_bytes);
    assert_int_equal(master_derive(before, "test", derived[0]), 0);
    assert_int_equal(master_proof(before, 1, proof[0]), 0);
    assert_int_equal(master_add(folder->path, why), 0);
    assert_int_equal(master_retire(folder->path, 1, why), 0);
    assert_int_equal(master_retire(folder->path, 1, why), 0); /* it was done before */
    for (uint32_t i = 0; i < 2; i++) {
        beside(name, folder, i == 0 ? ".old" : ".new");
        assert_int_equal(access(name, F_OK), -1);
    }

    struct master *after = open_fine(folder);
    assert_int_equal(master_version(after), 2);
    assert_true(master_retired(after, 1));
    assert_false(master_retired(after, 2));
    assert_int_equal(master_unwrap(after, 1, id_one, wrapped, wrapped_bytes, key, &key_bytes),
                     -ENOKEY);
    assert_int_equal(master_burst_open(&burst, after, 1), -ENOKEY);
    assert_int_equal(master_derive(after, "test", derived[1]), 0);
    assert_memory_equal(derived[0], derived[1], MASTER_KEY_BYTES);
    assert_int_equal(master_proof(after, 1, proof[1]), 0);
    assert_memory_equal(proof[0], proof[1], MASTER_PROOF_BYTES);
    master_close(after);
    /* Who read the file before still opens, and finds what came behind it. */
    assert_int_equal(master_unwrap(before, 1, id_one, wrapped, wrapped_bytes, key, &key_bytes), 0);
    assert_int_equal(master_burst_open(&burst, before, 2), 0);
    master_burst_close(burst);
    master_close(before);
}

static void the_newest_version_and_one_that_is_not_there_are_not_retired(void **state)
{
    const struct folder *folder = *state;
    char why[MASTER_WHY_BYTES];
    char name[128];
    assert_int_equal(master_create(folder->path), 0);
    for (uint32_t version = 0; version < 3; version++)
        assert_int_equal(master_retire(folder->path, version, why), -ENOKEY);
    assert_int_equal(master_add(folder->path, why), 0);
    /* Another name of the file would be overwritten with it. */
    beside(name, folder, ".copy");
    assert_int_equal(link(folder->path, name), 0);
    assert_int_equal(master_retire(folder->path, 1, why), -EMLINK);
    assert_non_null(strstr(why, "hard link"));
    assert_int_equal(unlink(name), 0);
    assert_int_equal(master_retire(folder->path, 1, why), 0);
}

static void what_a_change_left_that_was_cut_off_goes_with_the_next(void **state)
{
    const struct folder *folder = *state;
    char why[MASTER_WHY_BYTES];
    char name[2][128];
    char kept[128];
    struct stat info;
    beside(name[0], folder, ".old");
    beside(name[1], folder, ".new");
    beside(kept, folder, ".kept");
    assert_int_equal(master_create(folder->path), 0);
    /* A second name of the file itself is only a name: nothing of it is overwritten. */
    assert_int_equal(link(folder->path, name[0]), 0);
    file_put(name[1], "half a file");
    assert_int_equal(link(name[1], kept), 0);
    assert_int_equal(master_add(folder->path, why), 0);
    for (uint32_t i = 0; i < 2; i++)
        assert_int_equal(access(name[i], F_OK), -1);
    struct master *master = open_fine(folder);
    assert_int_equal(master_version(master), 2);
    master_close(master);
    /* The other was overwritten before its name went. */
    char text[16] = "";
    const int fd = open(kept, O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &info), 0);
    assert_int_equal(info.st_size, 11);
    assert_int_equal(read(fd, text, sizeof(text)), 11);
    for (uint32_t i = 0; i < 11; i++)
        assert_int_equal(text[i], 0);
    assert_int_equal(close(fd), 0);
    assert_int_equal(unlink(kept), 0);
}

static void files_that_are_not_master_keys_are_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "bulla-master-key 1\n",
        "bulla-master-key 2\n1 00\n",
        "bulla-master-key 1\n2 "
        "0000000000000000000000000000000000000000000000000000000000000000\n",
        "bulla-master-key 1\n1 000000000000000000000000000000000000000000000000000000000000000\n",
        "bulla-master-key 1\n1 "
        "0000000000000000000000000000000000000000000000000000000000000000",
        "bulla-master-key 1\n1 "
        "000000000000000000000000000000000000000000000000000000000000000G\n",
        "bulla-master-key 1\n1 retired\n",
        /* Nothing is left to wrap with. */
        "bulla-master-key 1\n1 retired "
        "0000000000000000000000000000000000000000000000000000000000000000\n",
    };
    const struct folder *folder = *state;
    char why[MASTER_WHY_BYTES];
    struct master *master = NULL;
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        file_put(folder->path, texts[i]);
        assert_int_equal(master_open(&master, folder->path, why), -EBADMSG);
    }
    assert_int_equal(chmod(folder->path, 0644), 0);
    assert_int_equal(master_open(&master, folder->path, why), -EPERM);
    assert_int_equal(unlink(folder->path), 0);
    assert_int_equal(master_open(&master, folder->path, why), -ENOENT);
}

/* What OpenSSL's own key wrap makes of it. */
static size_t reference_wrap(const uint8_t *kek, size_t kek_bytes, const uint8_t *plain,
                             size_t plain_bytes, uint8_t *wrapped)
{
    int done = 0;
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    assert_non_null(ctx);
    EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    const EVP_CIPHER *cipher = kek_bytes == 32   ? EVP_aes_256_wrap_pad()
                               : kek_bytes == 24 ? EVP_aes_192_wrap_pad()
                                                 : EVP_aes_128_wrap_pad();
    assert_int_equal(EVP_EncryptInit_ex(ctx, cipher, NULL, kek, NULL), 1);
    assert_int_equal(EVP_EncryptUpdate(ctx, wrapped, &done, plain, (int)plain_bytes), 1);
    EVP_CIPHER_CTX_free(ctx);
    return (size_t)done;
}

static void random_bytes(uint8_t *dst, size_t bytes, uint64_t *state)
{
    for (size_t i = 0; i < bytes; i++) {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        dst[i] = (uint8_t)(*state >> 24);
    }
}

static void wraps_of_every_length_are_those_of_openssl(void **state)
{
    uint64_t random = UINT64_C(0x9e3779b97f4a7c15);
    uint8_t kek[32];
    uint8_t plain[256];
    uint8_t ours[512];
    uint8_t theirs[512];
    uint8_t again[512];
    (void)state;
    for (size_t kek_bytes = 16; kek_bytes <= 32; kek_bytes += 8) {
        for (size_t bytes = 1; bytes <= sizeof(plain); bytes++) {
            size_t ours_bytes = 0;
            size_t again_bytes = 0;
            random_bytes(kek, kek_bytes, &random);
            random_bytes(plain, bytes, &random);
            assert_int_equal(master_kwp_wrap(kek, kek_bytes, plain, bytes, ours, &ours_bytes), 0);
            assert_int_equal(reference_wrap(kek, kek_bytes, plain, bytes, theirs), ours_bytes);
            assert_memory_equal(ours, theirs, ours_bytes);
            assert_int_equal(
                master_kwp_unwrap(kek, kek_bytes, ours, ours_bytes, again, &again_bytes), 0);
            assert_int_equal(again_bytes, bytes);
            assert_memory_equal(again, plain, bytes);
        }
    }
}

static void lengths_that_cannot_be_wrapped_are_refused(void **state)
{
    static uint8_t plain[KWP_BYTES_MAX + 1];
    static uint8_t wrapped[KWP_BYTES_MAX + 32];
    const uint8_t kek[32] = {1};
    size_t bytes = 0;
    (void)state;
    assert_int_equal(master_kwp_wrap(kek, 32, plain, 0, wrapped, &bytes), -EINVAL);
    assert_int_equal(master_kwp_wrap(kek, 32, plain, sizeof(plain), wrapped, &bytes), -EINVAL);
    assert_int_equal(master_kwp_wrap(kek, 31, plain, 8, wrapped, &bytes), -EINVAL);
    assert_int_equal(bytes, 0);
}

/* Of every count around the lanes', in both lengths mixed: each is what it is alone. */
static void keys_wrapped_side_by_side_are_as_if_alone(void **state)
{
    static uint8_t ids[300][MASTER_ID_BYTES];
    static uint8_t keys[300][MASTER_PLAIN_BYTES_MAX];
    static uint8_t wrapped[300][MASTER_WRAPPED_BYTES_MAX];
    static const uint32_t counts[] = {1, 2, 63, 64, 65, 128, 129, 300};
    const struct folder *folder = *state;
    struct master_wrap wraps[300];
    struct master_burst *burst = NULL;
    uint64_t random = 88172645463325252U;
    assert_int_equal(master_create(folder->path), 0);
    struct master *master = open_fine(folder);
    assert_int_equal(master_burst_open(&burst, master, 1), 0);
    for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
        random_bytes(ids[0], sizeof(ids), &random);
        random_bytes(keys[0], sizeof(keys), &random);
        for (uint32_t i = 0; i < counts[c]; i++)
            wraps[i] = (struct master_wrap){.id = ids[i],
                                            .key = keys[i],
                                            .key_bytes = random >> (i % 48) & 1 ? 24 : 32,
                                            .wrapped = wrapped[i]};
        assert_int_equal(master_burst_wrap(burst, wraps, counts[c]), 0);
        for (uint32_t i = 0; i < counts[c]; i++) {
            uint8_t key[MASTER_PLAIN_BYTES_MAX];
            size_t key_bytes = 0;
            assert_int_equal(master_unwrap(master, 1, ids[i], wrapped[i], wraps[i].wrapped_bytes,
                                           key, &key_bytes),
                             0);
            assert_int_equal(key_bytes, wraps[i].key_bytes);
            assert_memory_equal(key, keys[i], key_bytes);
        }
    }
    master_burst_close(burst);
    master_close(master);
}

static size_t hex_read(uint8_t *bytes_at, const json_t *test, const char *name)
{
    const char *hex = json_string_value(json_object_get(test, name));
    assert_non_null(hex);
    const size_t bytes = strlen(hex) / 2;
    assert_true(bytes <= KWP_BYTES_MAX);
    for (size_t i = 0; i < bytes; i++) {
        unsigned int byte = 0;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        bytes_at[i] = (uint8_t)byte;
    }
    return bytes;
}

static void vector_check(const json_t *test)
{
    static uint8_t key[KWP_BYTES_MAX];
    static uint8_t plain[KWP_BYTES_MAX];
    static uint8_t wrapped[KWP_BYTES_MAX + 32];
    static uint8_t got[KWP_BYTES_MAX + 32];
    size_t got_bytes = 0;
    const size_t key_bytes = hex_read(key, test, "key");
    const size_t plain_bytes = hex_read(plain, test, "msg");
    const size_t wrapped_bytes = hex_read(wrapped, test, "ct");
    const bool valid = strcmp(json_string_value(json_object_get(test, "result")), "invalid") != 0;
    const int rc = master_kwp_unwrap(key, key_bytes, wrapped, wrapped_bytes, got, &got_bytes);
    if (!valid) {
        assert_int_not_equal(rc, 0);
        return;
    }
    assert_int_equal(rc, 0);
    assert_int_equal(got_bytes, plain_bytes);
    assert_memory_equal(got, plain, plain_bytes);
    assert_int_equal(master_kwp_wrap(key, key_bytes, plain, plain_bytes, got, &got_bytes), 0);
    assert_int_equal(got_bytes, wrapped_bytes);
    assert_memory_equal(got, wrapped, wrapped_bytes);
}

static void wycheproof_vectors_of_key_wrap_with_padding_pass(void **state)
{
    (void)state;
    char path[1024];
    size_t index;
    size_t test_index;
    json_t *group;
    json_t *test;
    uint32_t tests_count = 0;
    const char *folder = getenv("BULLA_VECTORS");
    (void)snprintf(path, sizeof(path), "%s/aes_kwp_test.json",
                   folder == NULL ? BULLA_SOURCE_DIR "/../shared/vectors" : folder);
    json_t *root = json_load_file(path, 0, NULL);
    if (root == NULL) {
        print_message("skipped: no vectors\n");
        skip();
    }
    json_array_foreach(json_object_get(root, "testGroups"), index, group)
    {
        json_array_foreach(json_object_get(group, "tests"), test_index, test)
        {
            vector_check(test);
            tests_count++;
        }
    }
    assert_int_equal(tests_count, json_integer_value(json_object_get(root, "numberOfTests")));
    json_decref(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_file_is_made_once_and_private, folder_make,
                                        folder_remove),
        cmocka_unit_test_setup_teardown(keys_of_both_sizes_come_back, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(a_wrapped_key_moved_to_another_envelope_does_not_open,
                                        folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(every_flipped_bit_of_a_wrapped_key_is_noticed, folder_make,
                                        folder_remove),
        cmocka_unit_test_setup_teardown(old_versions_open_what_was_wrapped_under_them, folder_make,
                                        folder_remove),
        cmocka_unit_test_setup_teardown(
            the_same_key_wraps_to_the_same_bytes_under_one_version_alone, folder_make,
            folder_remove),
        cmocka_unit_test_setup_teardown(
            a_retired_version_opens_nothing_and_all_that_is_derived_stays, folder_make,
            folder_remove),
        cmocka_unit_test_setup_teardown(
            the_newest_version_and_one_that_is_not_there_are_not_retired, folder_make,
            folder_remove),
        cmocka_unit_test_setup_teardown(what_a_change_left_that_was_cut_off_goes_with_the_next,
                                        folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(files_that_are_not_master_keys_are_refused, folder_make,
                                        folder_remove),
        cmocka_unit_test(wraps_of_every_length_are_those_of_openssl),
        cmocka_unit_test(lengths_that_cannot_be_wrapped_are_refused),
        cmocka_unit_test_setup_teardown(keys_wrapped_side_by_side_are_as_if_alone, folder_make,
                                        folder_remove),
        cmocka_unit_test(wycheproof_vectors_of_key_wrap_with_padding_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
