/*
 * sealing: whole envelopes for tests, from envelope/sealer.h and the least HTML around it.
 * Ownership: what is returned is the caller's to free.
 * Threads:   one.
 * Units:     bytes.
 * Errors:    none: what fails stops the test.
 */
#ifndef TESTS_ENVELOPE_SEALING_H
#define TESTS_ENVELOPE_SEALING_H

#include "crypto/base64.h"
#include "crypto/cobblestone.h"
#include "crypto/core.h"
#include "envelope/id.h"
#include "tests/envelope/mailgen.h"

#include <stddef.h>
#include <stdint.h>

struct sealing {
    enum isa isa;
    enum cobble_suite suite;
    struct id id;
    uint8_t key[COBBLE_KEY_BYTES_MAX];
    uint8_t salt[COBBLE_SALT_BYTES];
    size_t slice_bytes; /* 0: random lengths */
    bool compress;
};

struct text {
    uint8_t *at;
    size_t bytes;
};

/* Key, salt and id all made by `gen`; suite AES-256, whole slices, the best instructions. */
struct sealing sealing_random(struct mailgen *gen);

/* The ciphertext fields alone, the sealer's bound checked at each step. */
struct text sealing_fields(const struct sealing *sealing, struct crypto_core *core,
                           struct mailgen *gen, const uint8_t *mail, size_t mail_bytes,
                           uint8_t commitment[COBBLE_COMMITMENT_BYTES]);

/* The HTML attachment: a head with a script that mentions inputs, all fields, the end. */
struct text sealing_html(const struct sealing *sealing, struct crypto_core *core,
                         struct mailgen *gen, const uint8_t *mail, size_t mail_bytes);

/* What gateways do to an attachment. */
enum sealing_form {
    SEALING_7BIT,
    SEALING_LF, /* all line ends bare */
    SEALING_QUOTED_PRINTABLE,
    SEALING_BASE64,
    SEALING_NESTED,  /* in a multipart in a message in a multipart */
    SEALING_UNNAMED, /* no file name, but still text/html */
    SEALING_WRAPPED, /* upper case, other quotes, attributes on lines of their own */
    SEALING_FORM_COUNT,
};

/* A mail around the HTML. */
struct text sealing_mail(enum sealing_form form, const struct text *html);

#endif
