#include "crypto/aes_schedule_internal.h"

#include <immintrin.h>

#define BLOCK_BYTES  16
#define ROUNDS_COUNT 14

/* Each word with all words before it: what FIPS 197, 5.2 XORs one after the other. */
static inline __m128i words_sum(__m128i words)
{
    words = _mm_xor_si128(words, _mm_slli_si128(words, 4));
    return _mm_xor_si128(words, _mm_slli_si128(words, 8));
}

static inline void round_store(uint8_t *schedule, uint32_t round, __m128i key)
{
    _mm_storeu_si128((__m128i *)(void *)(schedule + round * BLOCK_BYTES), key);
}

/*
 * The cipher's last round is SubBytes, ShiftRows and the XOR of a round key. On a block whose four
 * words are the same ShiftRows changes nothing: what remains is SubWord() and the round constant,
 * at a quarter of AESKEYGENASSIST's latency. `count` is a constant, so that the loops over keys are
 * written out.
 */
static inline __attribute__((always_inline)) void expand(uint8_t *const *schedules,
                                                         const uint8_t *const *keys, uint32_t count)
{
    const __m128i last_rotated = _mm_set1_epi32(0x0c0f0e0d); /* RotWord() of the last word */
    __m128i even[AES_SCHEDULE_KEYS];
    __m128i odd[AES_SCHEDULE_KEYS];
#pragma GCC unroll 4
    for (uint32_t i = 0; i < count; i++) {
        even[i] = _mm_loadu_si128((const __m128i *)(const void *)keys[i]);
        odd[i] = _mm_loadu_si128((const __m128i *)(const void *)(keys[i] + BLOCK_BYTES));
        round_store(schedules[i], 0, even[i]);
        round_store(schedules[i], 1, odd[i]);
    }
    for (uint32_t round = 2;; round += 2) { /* unrolled keys stay in registers, off the stack */
        const __m128i constant = _mm_set1_epi32(1 << (round / 2 - 1));
#pragma GCC unroll 4
        for (uint32_t i = 0; i < count; i++) {
            const __m128i word = _mm_shuffle_epi8(odd[i], last_rotated);
            even[i] = _mm_xor_si128(words_sum(even[i]), _mm_aesenclast_si128(word, constant));
            round_store(schedules[i], round, even[i]);
        }
        if (round == ROUNDS_COUNT)
            break;
#pragma GCC unroll 4
        for (uint32_t i = 0; i < count; i++) {
            const __m128i word = _mm_shuffle_epi32(even[i], 0xff);
            odd[i] =
                _mm_xor_si128(words_sum(odd[i]), _mm_aesenclast_si128(word, _mm_setzero_si128()));
            round_store(schedules[i], round + 1, odd[i]);
        }
    }
}

void aes_schedule_256(uint8_t *const schedules[AES_SCHEDULE_KEYS],
                      const uint8_t *const keys[AES_SCHEDULE_KEYS])
{
    expand(schedules, keys, AES_SCHEDULE_KEYS);
}

void aes_schedule_256_one(uint8_t *schedule, const uint8_t *key)
{
    expand(&schedule, &key, 1);
}
