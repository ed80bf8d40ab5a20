#include <immintrin.h>

/* Half of a register's lanes cost three quarters of the time: three ports serve 256 bits, two 512.
 */
#define VECTOR_LANES 4
#define VECTOR_TERNARY(a, b, c, table)                                                             \
    ((vector)_mm256_ternarylogic_epi64((__m256i)(a), (__m256i)(b), (__m256i)(c), (table)))
#include "crypto/sha512_vector_internal.h"

HOT void sha512_compress_avx512_4(sha512_row *after, const sha512_row *before,
                                  const sha512_row *block, uint32_t lanes_count)
{
    (void)lanes_count;
    compress_vector(after, before, block, 0);
}

#define WORDS_PAIRS (SHA512_BLOCK_ROWS / 2)

/*
 * One message: rounds in general registers, words two at a time in vector registers, with their
 * constants through memory. Either side alone would leave the other's ports idle.
 */
struct one {
    _Alignas(CACHE_LINE) uint64_t sums[SHA512_BLOCK_ROWS]; /* word + constant, for the rounds */
};

static inline __m128i pair_xor(__m128i a, __m128i b, __m128i c)
{
    return _mm_ternarylogic_epi64(a, b, c, 0x96);
}

static inline __m128i pair_sigma_0(__m128i w)
{
    return pair_xor(_mm_ror_epi64(w, 1), _mm_ror_epi64(w, 8), _mm_srli_epi64(w, 7));
}

static inline __m128i pair_sigma_1(__m128i w)
{
    return pair_xor(_mm_ror_epi64(w, 19), _mm_ror_epi64(w, 61), _mm_srli_epi64(w, 6));
}

/* Through memory indeed: a compiler that kept the sums in vector registers would take each word out
 * by two instructions. */
static inline void pair_give(struct one *one, uint32_t pair, __m128i words,
                             const uint64_t *constants)
{
    __m128i *at = (__m128i *)(void *)&one->sums[2 * pair];
    const __m128i *with = (const __m128i *)(const void *)&constants[2 * pair];
    _mm_store_si128(at, _mm_add_epi64(words, _mm_loadu_si128(with)));
    __asm__ volatile("" : "+m"(*at));
}

/* In the place of the two words just used those that are wanted 16 rounds later. */
static inline void pair_advance(struct one *one, __m128i words[WORDS_PAIRS], uint32_t pair,
                                const uint64_t *constants)
{
    const __m128i ahead = words[(pair + 1) % WORDS_PAIRS];
    const __m128i middle = words[(pair + 4) % WORDS_PAIRS];
    const __m128i middle_next = words[(pair + 5) % WORDS_PAIRS];
    const __m128i last = words[(pair + 7) % WORDS_PAIRS];
    const __m128i w15 = _mm_alignr_epi8(ahead, words[pair], 8);
    const __m128i w7 = _mm_alignr_epi8(middle_next, middle, 8);
    words[pair] = _mm_add_epi64(_mm_add_epi64(words[pair], pair_sigma_0(w15)),
                                _mm_add_epi64(w7, pair_sigma_1(last)));
    pair_give(one, pair, words[pair], constants);
}

#define ROTATE_ONE(w, bits) ((w) >> (bits) | (w) << (64 - (bits)))
/* FIPS 180-4, 6.4.2, step 3. Maj(a, b, c) is b, or a where b and c differ; a ^ b is the next
 * round's b ^ c. */
#define ONE_ROUND(a, b, c, d, e, f, g, h, t)                                                       \
    do {                                                                                           \
        const uint64_t t1 = h + one.sums[t] + ((e & f) + (~e & g)) +                               \
                            (ROTATE_ONE(e, 14) ^ ROTATE_ONE(e, 18) ^ ROTATE_ONE(e, 41));           \
        const uint64_t a_b = a ^ b;                                                                \
        d += t1;                                                                                   \
        h = t1 + (b ^ (a_b & b_c));                                                                \
        h += ROTATE_ONE(a, 28) ^ ROTATE_ONE(a, 34) ^ ROTATE_ONE(a, 39);                            \
        b_c = a_b;                                                                                 \
    } while (0)

#define ONE_EIGHT_ROUNDS(t, THEN)                                                                  \
    do {                                                                                           \
        ONE_ROUND(a, b, c, d, e, f, g, h, (t));                                                    \
        ONE_ROUND(h, a, b, c, d, e, f, g, (t) + 1);                                                \
        THEN((t) / 2);                                                                             \
        ONE_ROUND(g, h, a, b, c, d, e, f, (t) + 2);                                                \
        ONE_ROUND(f, g, h, a, b, c, d, e, (t) + 3);                                                \
        THEN((t) / 2 + 1);                                                                         \
        ONE_ROUND(e, f, g, h, a, b, c, d, (t) + 4);                                                \
        ONE_ROUND(d, e, f, g, h, a, b, c, (t) + 5);                                                \
        THEN((t) / 2 + 2);                                                                         \
        ONE_ROUND(c, d, e, f, g, h, a, b, (t) + 6);                                                \
        ONE_ROUND(b, c, d, e, f, g, h, a, (t) + 7);                                                \
        THEN((t) / 2 + 3);                                                                         \
    } while (0)
#define PAIR_ADVANCE(pair) pair_advance(&one, words, (pair), constants)
#define PAIR_DONE(pair)    (void)0

/* Words stand `stride` apart: a constant. */
static inline __attribute__((always_inline)) void
compress_one(uint64_t *after, const uint64_t *before, const uint64_t *block, uint32_t stride)
{
    struct one one;
    __m128i words[WORDS_PAIRS];
    const uint64_t *constants = sha512_constants;
#pragma GCC unroll 8
    for (uint32_t pair = 0; pair < WORDS_PAIRS; pair++) {
        words[pair] = _mm_set_epi64x((long long)block[(2 * pair + 1) * stride],
                                     (long long)block[2 * pair * stride]);
        pair_give(&one, pair, words[pair], constants);
    }
    uint64_t a = before[0], b = before[stride], c = before[2 * stride], d = before[3 * stride];
    uint64_t e = before[4 * stride], f = before[5 * stride];
    uint64_t g = before[6 * stride], h = before[7 * stride];
    uint64_t b_c = b ^ c;
    for (uint32_t first = 0; first < SHA512_ROUNDS - 16; first += 16) {
        constants += 16;
        ONE_EIGHT_ROUNDS(0, PAIR_ADVANCE);
        ONE_EIGHT_ROUNDS(8, PAIR_ADVANCE);
    }
    ONE_EIGHT_ROUNDS(0, PAIR_DONE);
    ONE_EIGHT_ROUNDS(8, PAIR_DONE);
    const uint64_t state[SHA512_STATE_ROWS] = {a, b, c, d, e, f, g, h};
#pragma GCC unroll 8
    for (uint32_t i = 0; i < SHA512_STATE_ROWS; i++)
        after[i * stride] = before[i * stride] + state[i];
}

HOT void sha512_compress_avx512_1(sha512_row *after, const sha512_row *before,
                                  const sha512_row *block, uint32_t lanes_count)
{
    (void)lanes_count;
    compress_one(after[0], before[0], block[0], SHA512_LANES);
}

HOT void sha512_compress_one_avx512(uint64_t after[SHA512_STATE_ROWS],
                                    const uint64_t before[SHA512_STATE_ROWS],
                                    const uint64_t block[SHA512_BLOCK_ROWS])
{
    compress_one(after, before, block, 1);
}
