#include "base/bytes.h"
#include "crypto/cobblestone.h"
#include "crypto/core_internal.h"
#include "crypto/secret.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct crypto_core *core_for(enum isa isa)
{
    struct crypto_core *core = NULL;
    assert_int_equal(crypto_core_open(&core, isa), 0);
    assert_int_equal(crypto_core_isa(core), isa);
    return core;
}

static bool contains(const void *where, size_t where_bytes, const void *what, size_t what_bytes)
{
    return memmem(where, where_bytes, what, what_bytes) != NULL;
}

/*
 * Each of 256 values expected 16,384 times in 4 MiB: the sum of squared deviations is chi-square
 * with 255 degrees of freedom, mean 255 and deviation 22.6. 255 ± 200 is nine deviations, so a
 * sound generator fails this once in far more runs than there will be.
 */
static void check_distribution(const uint8_t *bytes, size_t count)
{
    uint32_t seen[256] = {0};
    uint64_t ones = 0;
    for (size_t i = 0; i < count; i++) {
        seen[bytes[i]]++;
        ones += (uint64_t)__builtin_popcount(bytes[i]);
    }
    const double expected = (double)count / 256;
    double chi_square = 0;
    for (uint32_t value = 0; value < 256; value++)
        chi_square += (seen[value] - expected) * (seen[value] - expected) / expected;
    assert_true(chi_square > 55 && chi_square < 455);
    const double bias = (double)ones / ((double)count * 8) - 0.5;
    assert_true(bias > -0.001 && bias < 0.001);
}

static int compare_16(const void *a, const void *b)
{
    return memcmp(a, b, 16);
}

static void check_no_block_twice(uint8_t *bytes, size_t count)
{
    qsort(bytes, count / 16, 16, compare_16);
    for (size_t i = 16; i < count; i += 16)
        assert_int_not_equal(memcmp(bytes + i - 16, bytes + i, 16), 0);
}

static void draws_of_every_size_look_uniform_and_never_repeat(void **state)
{
    (void)state;
    const size_t count = (size_t)4 << 20;
    uint8_t *bytes = malloc(count);
    assert_non_null(bytes);
    for (enum isa isa = ISA_SCALAR; isa <= isa_best(); isa++) {
        struct crypto_core *core = core_for(isa);
        size_t size = 1;
        for (size_t done = 0; done < count;) {
            const size_t now = MIN(size, count - done);
            crypto_random(core, bytes + done, now);
            done += now;
            size = size % 9000 + 1;
        }
        check_distribution(bytes, count);
        check_no_block_twice(bytes, count);
        for (size_t done = 0; done < count; done += 32)
            crypto_random(core, bytes + done, 32);
        check_distribution(bytes, count);
        check_no_block_twice(bytes, count);
        crypto_core_close(core);
    }
    free(bytes);
}

static void a_draw_writes_just_its_bytes(void **state)
{
    (void)state;
    struct crypto_core *core = core_for(isa_best());
    static uint8_t bytes[10000];
    for (size_t size = 0; size < sizeof(bytes) - 32; size += size < 300 ? 1 : 611) {
        memset(bytes, 0, sizeof(bytes));
        crypto_random(core, bytes + 16, size);
        uint8_t outside = 0;
        for (size_t i = 0; i < 16; i++)
            outside |= bytes[i] | bytes[16 + size + i];
        assert_int_equal(outside, 0);
        /* Sixteen zeros in a row anywhere inside mean bytes that were never made: 2^-128. */
        const uint8_t zeros[16] = {0};
        if (size > 0)
            assert_false(contains(bytes + 16, size, zeros, sizeof(zeros)) && size >= 16);
    }
    crypto_core_close(core);
}

static void two_cores_differ(void **state)
{
    (void)state;
    struct crypto_core *a = core_for(isa_best());
    struct crypto_core *b = core_for(isa_best());
    uint8_t bytes_a[1024];
    uint8_t bytes_b[1024];
    crypto_random(a, bytes_a, sizeof(bytes_a));
    crypto_random(b, bytes_b, sizeof(bytes_b));
    for (size_t i = 0; i < sizeof(bytes_a); i += 16)
        assert_false(contains(bytes_b, sizeof(bytes_b), bytes_a + i, 16));
    crypto_core_close(a);
    crypto_core_close(b);
}

/* Fast key erasure: who reads the state later cannot tell what was drawn earlier. */
static void what_was_drawn_is_no_longer_in_the_state(void **state)
{
    (void)state;
    static uint8_t drawn[20000];
    for (enum isa isa = ISA_SCALAR; isa <= isa_best(); isa++) {
        struct crypto_core *core = core_for(isa);
        uint8_t key_before[RANDOM_KEY_BYTES];
        memcpy(key_before, core->secrets->random.key, sizeof(key_before));
        for (size_t done = 0; done < 8000; done += 40)
            crypto_random(core, drawn + done, 40);
        crypto_random(core, drawn + 8000, 12000);
        assert_false(contains(core->secrets, sizeof(*core->secrets), key_before, 16));
        assert_false(contains(core->mgr_pages, core->mgr_bytes, key_before, 16));
        for (size_t i = 0; i + 16 <= sizeof(drawn); i += 8) {
            assert_false(
                contains(&core->secrets->random, sizeof(core->secrets->random), drawn + i, 16));
        }
        crypto_core_close(core);
    }
}

static void a_state_is_seeded_again_after_its_gigabyte(void **state)
{
    (void)state;
    struct crypto_core *core = core_for(isa_best());
    struct random_state *random = &core->secrets->random;
    uint8_t bytes[512];
    random->seeded_ago = CRYPTO_RANDOM_RESEED_BYTES - 1;
    crypto_random(core, bytes, sizeof(bytes));
    assert_true(random->seeded_ago >= CRYPTO_RANDOM_RESEED_BYTES);
    crypto_random(core, bytes, sizeof(bytes));
    assert_true(random->seeded_ago <= RANDOM_BUFFER_BYTES);
    assert_int_equal(random->alive, RANDOM_ALIVE);
    /* In the middle of a long draw too. */
    static uint8_t many[3 * RANDOM_BUFFER_BYTES];
    random->seeded_ago = CRYPTO_RANDOM_RESEED_BYTES - 1;
    crypto_random(core, many, sizeof(many));
    assert_true(random->seeded_ago <= sizeof(many));
    check_no_block_twice(many, sizeof(many));
    crypto_core_close(core);
}

enum { FORK_BYTES = 4096, CHILDREN = 3 };

/* What a child draws first, small draws and then a large one; read from a pipe. */
static void draws_of_child(struct crypto_core *core, uint8_t *bytes)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        for (size_t done = 0; done < FORK_BYTES / 2; done += 32)
            crypto_random(core, bytes + done, 32);
        crypto_random(core, bytes + FORK_BYTES / 2, FORK_BYTES / 2);
        const ssize_t written = write(ends[1], bytes, FORK_BYTES);
        _exit(written == FORK_BYTES ? 0 : 1);
    }
    (void)close(ends[1]);
    for (size_t have = 0; have < FORK_BYTES;) {
        const ssize_t got = read(ends[0], bytes + have, FORK_BYTES - have);
        assert_true(got > 0);
        have += (size_t)got;
    }
    (void)close(ends[0]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void a_forked_child_never_repeats_its_parent_or_its_siblings(void **state)
{
    (void)state;
    static uint8_t bytes[(CHILDREN + 1) * FORK_BYTES];
    for (enum isa isa = ISA_SCALAR; isa <= isa_best(); isa++) {
        struct crypto_core *core = core_for(isa);
        uint8_t warm_up[100];
        crypto_random(core, warm_up, sizeof(warm_up)); /* the buffer holds bytes to be repeated */
        for (size_t child = 1; child <= CHILDREN; child++)
            draws_of_child(core, bytes + child * FORK_BYTES);
        for (size_t done = 0; done < FORK_BYTES / 2; done += 32)
            crypto_random(core, bytes + done, 32);
        crypto_random(core, bytes + FORK_BYTES / 2, FORK_BYTES / 2);
        check_no_block_twice(bytes, sizeof(bytes));
        crypto_core_close(core);
    }
}

static void a_core_still_seals_and_opens_in_a_forked_child(void **state)
{
    (void)state;
    struct crypto_core *core = core_for(isa_best());
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        uint8_t key[32];
        uint8_t message[COBBLE_HEADER_BYTES + 200 + COBBLE_TAG_BYTES];
        uint8_t plain[200];
        uint8_t opened[sizeof(message)];
        struct cobble cobble;
        size_t opened_bytes = 0;
        crypto_random(core, key, sizeof(key));
        crypto_random(core, message, COBBLE_SALT_BYTES);
        crypto_random(core, plain, sizeof(plain));
        struct cobble_derivation derivation = {
            .suite = COBBLE_AES_256, .key = key, .salt = message, .cobble = &cobble};
        cobble_derive_burst(core, &derivation, 1);
        memcpy(message + COBBLE_SALT_BYTES, derivation.commitment, COBBLE_COMMITMENT_BYTES);
        (void)cobble_seal(core, &cobble, message + COBBLE_HEADER_BYTES, plain, sizeof(plain), true);
        const int rc = cobble_open_message(core, COBBLE_AES_256, key, NULL, 0, message,
                                           sizeof(message), opened, &opened_bytes);
        _exit(rc == 0 && opened_bytes == sizeof(plain) && memcmp(opened, plain, sizeof(plain)) == 0
                  ? 0
                  : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    crypto_core_close(core);
}

/* After a burst neither the secret pages nor the manager's memory hold a key, raw or expanded. */
static void no_key_stays_behind_in_a_core(void **state)
{
    (void)state;
    enum { BURST = COBBLE_DERIVE_BURST_MAX };
    static struct cobble cobbles[BURST];
    static uint8_t keys[BURST][32];
    static uint8_t plain[5000];
    static uint8_t sealed[6000];
    for (enum isa isa = ISA_SCALAR; isa <= isa_best(); isa++) {
        struct crypto_core *core = core_for(isa);
        struct cobble_derivation derivations[BURST];
        crypto_random(core, keys[0], sizeof(keys));
        for (uint32_t i = 0; i < BURST; i++)
            derivations[i] = (struct cobble_derivation){.suite = COBBLE_AES_256,
                                                        .key = keys[i],
                                                        .salt = keys[(i + 1) % BURST],
                                                        .cobble = &cobbles[i]};
        cobble_derive_burst(core, derivations, BURST);
        for (uint32_t i = 0; i < BURST; i++) {
            (void)cobble_seal(core, &cobbles[i], sealed, plain, sizeof(plain), true);
            for (size_t at = 0; at < 240; at += 16) {
                assert_false(
                    contains(core->mgr_pages, core->mgr_bytes, cobbles[i].expanded + at, 16));
                assert_false(
                    contains(core->secrets, sizeof(*core->secrets), cobbles[i].expanded + at, 16));
            }
            assert_false(contains(core->mgr_pages, core->mgr_bytes, keys[i], 16));
            assert_false(contains(core->secrets, sizeof(*core->secrets), keys[i], 16));
            assert_false(contains(core->secrets, sizeof(*core->secrets), cobbles[i].base_nonce,
                                  sizeof(cobbles[i].base_nonce)));
        }
        crypto_core_close(core);
    }
}

/* Looks through the stack below the caller, where calls that are over have left their traces. */
static __attribute__((noinline)) bool stack_holds(const void *what, size_t what_bytes)
{
    uint8_t below[SECRET_STACK_BYTES];
    __asm__ volatile("" : "+m"(below)); /* whatever stands there is what is looked for */
    return contains(below, sizeof(below), what, what_bytes);
}

static __attribute__((noinline)) void leave_on_the_stack(const uint8_t *what)
{
    uint8_t below[SECRET_STACK_BYTES / 2];
    memcpy(below + 512, what, 8);
    __asm__ volatile("" : "+m"(below));
}

/*
 * Words that are as good as the key: those of HMAC's padded blocks, as a register holds them, and
 * those of the chaining value after the block. 16 for either pad.
 */
static void words_of_key(const uint8_t key[32], uint8_t pad, uint64_t words[16])
{
    _Alignas(CACHE_LINE) sha512_row block[SHA512_BLOCK_ROWS];
    _Alignas(CACHE_LINE) sha512_row after[SHA512_STATE_ROWS];
    memset(block, pad, sizeof(block));
    for (uint32_t i = 0; i < 4; i++)
        block[i][0] ^= bytes_load_be64(key + 8 * i);
    sha512_compress_scalar(after, sha512_initial, block, 1);
    for (uint32_t i = 0; i < SHA512_STATE_ROWS; i++) {
        words[i] = block[i % 4][0];
        words[8 + i] = after[i][0];
    }
}

static void no_key_stays_behind_on_the_stack(void **state)
{
    (void)state;
    static struct cobble cobbles[SHA512_LANES];
    static uint8_t keys[SHA512_LANES][32];
    static uint64_t words[SHA512_LANES][2][16];
    for (enum isa isa = ISA_SCALAR; isa <= isa_best(); isa++) {
        struct crypto_core *core = core_for(isa);
        struct cobble_derivation derivations[SHA512_LANES];
        crypto_random(core, keys[0], sizeof(keys));
        for (uint32_t i = 0; i < SHA512_LANES; i++) {
            derivations[i] = (struct cobble_derivation){
                .suite = COBBLE_AES_256, .key = keys[i], .salt = keys[i], .cobble = &cobbles[i]};
            words_of_key(keys[i], 0x36, words[i][0]);
            words_of_key(keys[i], 0x5c, words[i][1]);
        }
        secret_wipe_stack(); /* of what words_of_key() left */
        /* One alone, two and all have code of their own. */
        for (uint32_t count = 1; count <= SHA512_LANES;
             count = count == 2 ? SHA512_LANES : count + 1) {
            cobble_derive_burst(core, derivations, count);
            for (uint32_t i = 0; i < SHA512_LANES * 32; i++) {
                const uint64_t word = words[i / 32][i / 16 % 2][i % 16];
                assert_false(stack_holds(&word, sizeof(word)));
                assert_false(contains(core->secrets, sizeof(*core->secrets), &word, sizeof(word)));
            }
        }
        crypto_core_close(core);
    }
    /* The search finds what is there to be found, until it is wiped. */
    leave_on_the_stack(keys[0]);
    assert_true(stack_holds(keys[0], 8));
    leave_on_the_stack(keys[0]);
    secret_wipe_stack();
    assert_false(stack_holds(keys[0], 8));
}

static void a_core_for_an_isa_that_is_not_there_is_refused(void **state)
{
    (void)state;
    struct crypto_core *core = (struct crypto_core *)16;
    if (isa_best() == ISA_AVX512) {
        /* Every one is there: the refusal is that of a number past them. */
        assert_int_equal(crypto_core_open(&core, (enum isa)(ISA_AVX512 + 1)), -ENOTSUP);
    } else {
        assert_int_equal(crypto_core_open(&core, ISA_AVX512), -ENOTSUP);
    }
    assert_ptr_equal(core, (struct crypto_core *)16);
    crypto_core_close(NULL);
}

static void isa_names_and_order(void **state)
{
    (void)state;
    static const char *const names[ISA_COUNT] = {"scalar", "sse", "avx2", "avx512"};
    for (enum isa isa = ISA_SCALAR; isa <= ISA_AVX512; isa++) {
        assert_string_equal(isa_name(isa), names[isa]);
        assert_int_equal(isa_supported(isa), isa <= isa_best());
    }
}

/* A machine resumed twice from one snapshot: the generator's memory is the same in both. */
static void large_draws_part_after_a_snapshot(void **state)
{
    enum { DRAWS = 64 };
    static uint8_t first[DRAWS][CRYPTO_RANDOM_LARGE_BYTES];
    static uint8_t second[DRAWS][CRYPTO_RANDOM_LARGE_BYTES];
    (void)state;
    struct crypto_core *core = core_for(isa_best());
    struct core_secrets *snapshot = malloc(sizeof(*snapshot));
    assert_non_null(snapshot);
    crypto_random(core, first[0], sizeof(first[0]));
    memcpy(snapshot, core->secrets, sizeof(*snapshot));
    for (uint32_t i = 0; i < DRAWS; i++)
        crypto_random(core, first[i], sizeof(first[i]));
    memcpy(core->secrets, snapshot, sizeof(*snapshot));
    for (uint32_t i = 0; i < DRAWS; i++)
        crypto_random(core, second[i], sizeof(second[i]));
    for (uint32_t i = 0; i < DRAWS; i++)
        for (uint32_t j = 0; j < DRAWS; j++)
            assert_false(contains(first[i], sizeof(first[i]), second[j], 16));
    secret_wipe(snapshot, sizeof(*snapshot));
    free(snapshot);
    crypto_core_close(core);
}

int main(void)
{
    print_message("this processor: %s\n", isa_name(isa_best()));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(isa_names_and_order),
        cmocka_unit_test(a_core_for_an_isa_that_is_not_there_is_refused),
        cmocka_unit_test(draws_of_every_size_look_uniform_and_never_repeat),
        cmocka_unit_test(large_draws_part_after_a_snapshot),
        cmocka_unit_test(a_draw_writes_just_its_bytes),
        cmocka_unit_test(two_cores_differ),
        cmocka_unit_test(what_was_drawn_is_no_longer_in_the_state),
        cmocka_unit_test(a_state_is_seeded_again_after_its_gigabyte),
        cmocka_unit_test(a_forked_child_never_repeats_its_parent_or_its_siblings),
        cmocka_unit_test(a_core_still_seals_and_opens_in_a_forked_child),
        cmocka_unit_test(no_key_stays_behind_in_a_core),
        cmocka_unit_test(no_key_stays_behind_on_the_stack),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
