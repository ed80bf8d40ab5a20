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

/* FIPS 180-4, 6.4.2, step 3, with the renaming of a…h left to the caller. */
#define ROUND(a, b, c, d, e, f, g, h, t)                                                           \
    do {                                                                                           \
        const vector t1 =                                                                          \
            h + BIG_SIGMA_1(e) + CHOOSE(e, f, g) + sha512_constants[first + (t)] + schedule[t];    \
        d += t1;                                                                                   \
        h = t1 + BIG_SIGMA_0(a) + MAJOR(a, b, c);                                                  \
    } while (0)

#define EIGHT_ROUNDS(t)                                                                            \
    do {                                                                                           \
        ROUND(a, b, c, d, e, f, g, h, (t));                                                        \
        ROUND(h, a, b, c, d, e, f, g, (t) + 1);                                                    \
        ROUND(g, h, a, b, c, d, e, f, (t) + 2);                                                    \
        ROUND(f, g, h, a, b, c, d, e, (t) + 3);                                                    \
        ROUND(e, f, g, h, a, b, c, d, (t) + 4);                                                    \
        ROUND(d, e, f, g, h, a, b, c, (t) + 5);                                                    \
        ROUND(c, d, e, f, g, h, a, b, (t) + 6);                                                    \
        ROUND(b, c, d, e, f, g, h, a, (t) + 7);                                                    \
    } while (0)

/* The next 16 words of the schedule, in place: the window never is longer than that. */
static inline void schedule_advance(vector schedule[16])
{
#pragma GCC unroll 16
    for (uint32_t t = 0; t < 16; t++)
        schedule[t] += SIGMA_1(schedule[(t + 14) & 15]) + schedule[(t + 9) & 15] +
                       SIGMA_0(schedule[(t + 1) & 15]);
}

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
    for (uint32_t first = 0;; first += 16) {
        EIGHT_ROUNDS(0);
        EIGHT_ROUNDS(8);
        if (first == SHA512_ROUNDS - 16)
            break;
        schedule_advance(schedule);
    }
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
