/*
 * account: addresses and passwords of recipients.
 * Ownership: borrows; results are written into the caller's memory.
 * Threads:   any. One hash takes ACCOUNT_HASH_KIB of memory and some 20 ms of a core: the callers
 *            are the few threads of the slow lane (work.h), which bounds both.
 * Units:     bytes with their NUL where a constant sizes an array.
 * Errors:    -EINVAL with a sentence in `why` for what a person typed; -ENOMEM.
 *
 * argon2id, RFC 9106, with the parameters of OWASP's password storage cheat sheet.
 */
#ifndef KEYSERVICE_SERVER_ACCOUNT_ACCOUNT_H
#define KEYSERVICE_SERVER_ACCOUNT_ACCOUNT_H

#include "base/macros.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ACCOUNT_WHY_BYTES            128
#define ACCOUNT_ADDRESS_BYTES        321
#define ACCOUNT_HASH_BYTES           192
#define ACCOUNT_HASH_KIB             19456
#define ACCOUNT_HASH_PASSES          2
#define ACCOUNT_PASSWORD_CHARS_MIN   10
#define ACCOUNT_PASSWORD_BYTES_MAX   512
#define ACCOUNT_GENERATED_PASS_CHARS 20
#define ACCOUNT_MADE_DAYS            7 /* that a made password is good for */
#define ACCOUNT_MADE_MS              (ACCOUNT_MADE_DAYS * UINT64_C(24) * 3600 * 1000)

/* ASCII letters to lower case; at most ACCOUNT_ADDRESS_BYTES - 1 bytes. Returns them, adds a NUL.
 */
size_t account_normalise_bytes(char normal[ACCOUNT_ADDRESS_BYTES], const uint8_t *address,
                               size_t address_bytes);

/* The same for what a person typed: white space around it goes, and it must be one mailbox. */
MUST_USE int account_normalise(char normal[ACCOUNT_ADDRESS_BYTES], const char *typed,
                               size_t typed_bytes);

/* Long enough, short enough, valid UTF-8 without controls, not the address itself. */
MUST_USE int account_password_check(const char *password, size_t password_bytes,
                                    const char *address, char why[ACCOUNT_WHY_BYTES]);

MUST_USE int account_password_hash(const char *password, size_t password_bytes,
                                   char encoded[ACCOUNT_HASH_BYTES]);
/* Of one that was made for somebody, and so is known to who made it: it lets nobody in later than
 * that. Its own encoding, so that whatever keeps the one keeps the other. */
MUST_USE int account_password_hash_made(const char *password, size_t password_bytes,
                                        uint64_t until_unix_ms, char encoded[ACCOUNT_HASH_BYTES]);
/* Is it that password? Until when it is good is the caller's to ask: */
bool account_password_verify(const char *encoded, const char *password, size_t password_bytes);
/* 0: its owner's own, without an end. */
uint64_t account_password_until(const char *encoded);

/* Random letters and digits without look-alikes, ACCOUNT_GENERATED_PASS_CHARS and a NUL. */
MUST_USE int account_password_make(char password[ACCOUNT_GENERATED_PASS_CHARS + 1]);

#endif
