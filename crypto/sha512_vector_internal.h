/*
 * sha512_vector_internal: the body that every vector width of sha512_compress_*() shares.
 * Ownership: as sha512_internal.h.
 * Threads:   as sha512_internal.h.
 * Units:     VECTOR_LANES 64-bit words to a vector; the including file defines it.
 * Errors:    none.
 *
 * Written in the compiler's vector types: a rotation becomes vprorq where the including file's
 * compile options allow it.
 */
#include "crypto/sha512_internal.h"

#include <string.h>

typedef uint64_t vector __attribute__((vector_size(VECTOR_LANES * 8)));

#define ROTATE(v, bits) ((v) >> (bits) | (v) << (64 - (bits)))
#ifndef VECTOR_TERNARY
#define CHOOSE(e, f, g) ((g) ^ ((e) & ((f) ^ (g))))
#define MAJOR(a, b, c)  (((a) & (b)) | ((c) & ((a) | (b))))
#define XOR_3(a, b, c)  ((a) ^ (b) ^ (c))
#else /* one instruction each, with the truth table as its constant */
#define CHOOSE(e, f, g) VECTOR_TERNARY(e, f, g, 0xca)
#define MAJOR(a, b, c)  VECTOR_TERNARY(a, b, c, 0xe8)
#define XOR_3(a, b, c)  VECTOR_TERNARY(a, b, c, 0x96)
#endif
#define BIG_SIGMA_0(a) XOR_3(ROTATE(a, 28), ROTATE(a, 34), ROTATE(a, 39))
#define BIG_SIGMA_1(e) XOR_3(ROTATE(e, 14), ROTATE(e, 18), ROTATE(e, 41))
#define SIGMA_0(w)     XOR_3(ROTATE(w, 1), ROTATE(w, 8), (w) >> 7)
#define SIGMA_1(w)     XOR_3(ROTATE(w, 19), ROTATE(w, 61), (w) >> 6)

/*
 * FIPS 180-4, 6.4.2, step 3, with the renaming of a…h left to the caller. Only a and e are as new
 * as the round before: what needs neither is added up on its own, ahead of them.
 */
#define ROUND(a, b, c, d, e, f, g, h, t)                                                           \
    do {                                                                                           \
        const vector t1 = (h + (schedule[t] + constants[t])) + (BIG_SIGMA_1(e) + CHOOSE(e, f, g)); \
        d += t1;                                                                                   \
        h = t1 + (BIG_SIGMA_0(a) + MAJOR(a, b, c));                                                \
    } while (0)

#define EIGHT_ROUNDS(t, THEN)                                                                      \
    do {                                                                                           \
        ROUND(a, b, c, d, e, f, g, h, (t));                                                        \
        THEN((t));                                                                                 \
        ROUND(h, a, b, c, d, e, f, g, (t) + 1);                                                    \
        THEN((t) + 1);                                                                             \
        ROUND(g, h, a, b, c, d, e, f, (t) + 2);                                                    \
        THEN((t) + 2);                                                                             \
        ROUND(f, g, h, a, b, c, d, e, (t) + 3);                                                    \
        THEN((t) + 3);                                                                             \
        ROUND(e, f, g, h, a, b, c, d, (t) + 4);                                                    \
        THEN((t) + 4);                                                                             \
        ROUND(d, e, f, g, h, a, b, c, (t) + 5);                                                    \
        THEN((t) + 5);                                                                             \
        ROUND(c, d, e, f, g, h, a, b, (t) + 6);                                                    \
        THEN((t) + 6);                                                                             \
        ROUND(b, c, d, e, f, g, h, a, (t) + 7);                                                    \
        THEN((t) + 7);                                                                             \
    } while (0)

/*
 * The word that is wanted 16 rounds later, in the place of the one just used: window and state fit
 * into AVX-512's registers together, and a word's instructions fill the gaps of the rounds.
 */
#define WORD_ADVANCE(t)                                                                            \
    (schedule[t] = (schedule[t] + SIGMA_1(schedule[((t) + 14) & 15])) +                            \
                   (schedule[((t) + 9) & 15] + SIGMA_0(schedule[((t) + 1) & 15])))
#define WORD_DONE(t) (void)0

/* Lanes first_lane … first_lane + VECTOR_LANES - 1. */
static inline void compress_vector(sha512_row *after, const sha512_row *before,
                                   const sha512_row *block, uint32_t first_lane)
{
    vector schedule[16];
    vector state[8];
    for (uint32_t t = 0; t < SHA512_BLOCK_ROWS; t++)
        memcpy(&schedule[t], &block[t][first_lane], sizeof(schedule[t]));
    for (uint32_t i = 0; i < SHA512_STATE_ROWS; i++)
        memcpy(&state[i], &before[i][first_lane], sizeof(state[i]));

    vector a = state[0], b = state[1], c = state[2], d = state[3];
    vector e = state[4], f = state[5], g = state[6], h = state[7];
    const uint64_t *constants = sha512_constants;
    for (uint32_t first = 0; first < SHA512_ROUNDS - 16; first += 16) {
        EIGHT_ROUNDS(0, WORD_ADVANCE);
        EIGHT_ROUNDS(8, WORD_ADVANCE);
        constants += 16;
    }
    EIGHT_ROUNDS(0, WORD_DONE);
    EIGHT_ROUNDS(8, WORD_DONE);
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
    state[5] += f;
    state[6] += g;
    state[7] += h;
    for (uint32_t i = 0; i < SHA512_STATE_ROWS; i++)
        memcpy(&after[i][first_lane], &state[i], sizeof(state[i]));
}
