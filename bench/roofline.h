/*
 * roofline: how fast messages could be sealed if nothing but decode, GCM and encode cost time.
 * Ownership: roofline_open() allocates and borrows the set; roofline_close() frees.
 * Threads:   one; the caller has pinned it.
 * Units:     MB (10^6 bytes) of original mail per second; packed bytes are counted as the mail's.
 * Errors:    -errno with a sentence in `why`.
 *
 * Decode is our own routine over the messages' base64 lines, GCM ipsec-mb's direct call in the
 * envelope's 16 KiB chunks over what packing leaves, encode our own routine over the sealed bytes;
 * no key schedule, no scan, no copy, no header. Each of the three runs alone over all messages, so
 * that the limit is 1 / (1/decode + 1/GCM + 1/encode): of three steps that wait for memory each for
 * itself. One that fetches from memory while another computes may be faster than the first two
 * places below; the third no order of steps beats. One round goes before, untimed; decode asks for
 * mail ahead, as the engine does, and encode writes past the caches where the engine does.
 */
#ifndef BENCH_ROOFLINE_H
#define BENCH_ROOFLINE_H

#include "base/macros.h"
#include "bench/mailset.h"

#include <stdint.h>

struct roofline;

enum roofline_place {
    ROOFLINE_ONE_PASS, /* mail read from memory once, result written there once; between, cache */
    ROOFLINE_BUFFERS,  /* each step from and to buffers as large as the message: three passes   */
    ROOFLINE_CACHE,    /* the same piece of 64 KiB again and again: no memory at all            */
};
#define ROOFLINE_PLACES 3

struct roofline_rates {
    double decode_mb_per_s; /* 0: the messages hold no base64 */
    double gcm_mb_per_s;
    double encode_mb_per_s;
    double mb_per_s;
};

MUST_USE int roofline_open(struct roofline **roofline, const struct mailset *set,
                           char why[MAILSET_WHY_BYTES]);
void roofline_close(struct roofline *roofline); /* NULL is harmless */

void roofline_measure(struct roofline *roofline, enum roofline_place place, uint64_t duration_ns,
                      struct roofline_rates *rates);

#endif
