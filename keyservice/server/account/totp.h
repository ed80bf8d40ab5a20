/*
 * totp: six digits of the minute, from a secret that a telephone holds too.
 * Ownership: caller's memory, which the caller wipes.
 * Threads:   any.
 * Units:     unix seconds; steps of TOTP_STEP_S; bytes.
 * Errors:    -EACCES wrong, -EINVAL for a secret that is none, -EIO without entropy.
 *
 * RFC 6238 with SHA-1, 30 seconds and six digits, which is what every app can do.
 */
#ifndef KEYSERVICE_SERVER_ACCOUNT_TOTP_H
#define KEYSERVICE_SERVER_ACCOUNT_TOTP_H

#include "base/macros.h"

#include <stddef.h>
#include <stdint.h>

#define TOTP_SECRET_BYTES 20
#define TOTP_SECRET_CHARS 32 /* base32 */
#define TOTP_DIGITS       6
#define TOTP_STEP_S       30
#define TOTP_URI_BYTES    2048
#define TOTP_IMAGE_BYTES  131072

MUST_USE int totp_secret_make(uint8_t secret[TOTP_SECRET_BYTES]);
void totp_secret_text(char text[TOTP_SECRET_CHARS + 1], const uint8_t secret[TOTP_SECRET_BYTES]);
MUST_USE int totp_secret_parse(uint8_t secret[TOTP_SECRET_BYTES], const char *text);

void totp_code(char code[TOTP_DIGITS + 1], const uint8_t secret[TOTP_SECRET_BYTES], uint64_t step);

/* The step that `code` belongs to: this one, the one before or after, and later than step_last. */
MUST_USE int totp_check(const uint8_t secret[TOTP_SECRET_BYTES], const char *code, uint64_t unix_s,
                        uint64_t step_last, uint64_t *step);

/* otpauth://totp/… (the Key URI Format); -EINVAL when it does not fit. */
MUST_USE int totp_uri(char uri[TOTP_URI_BYTES], const char *issuer, const char *address,
                      const uint8_t secret[TOTP_SECRET_BYTES]);
/* A QR code of a text, as an SVG image of dark squares on light. */
MUST_USE int totp_image(char image[TOTP_IMAGE_BYTES], const char *text);

#endif
