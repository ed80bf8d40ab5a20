/*
 * claims: what is promised of bulla's speed and size, each with what was measured.
 * Ownership: claims_add() appends to the caller's array; strings are copied into it.
 * Threads:   one.
 * Units:     each claim names its own; a share or a factor is "×".
 * Errors:    none: what could not be measured stands as null with the reason, and does not hold.
 */
#ifndef BENCH_CLAIMS_H
#define BENCH_CLAIMS_H

#include "bench/samples.h"

#include <jansson.h>
#include <stdio.h>

enum claim_compare {
    CLAIM_AT_LEAST,
    CLAIM_AT_MOST,
    CLAIM_BELOW,
};

/* A peer, or the hardware's limit, in the same run. */
struct claim_side {
    const char *name; /* NULL: there is none */
    const char *unit;
    struct samples runs;
};

struct claim {
    const char *row; /* a word for the table's row; the suite's --only takes it */
    const char *name;
    const char *unit;
    enum claim_compare compare;
    double target;
    struct samples runs; /* the value is their median; none: not measured */
    const char *why;     /* it was not measured, or what has to be known beside it; may be NULL */
    struct claim_side peer;
    struct claim_side limit;
};

void claims_add(json_t *claims, const struct claim *claim);
/* One line a claim. */
void claims_print(const json_t *claims, FILE *out);

#endif
