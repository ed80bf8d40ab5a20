/*
 * password_words: is a password one that many people have, or made of its owner's address?
 * Ownership: keeps nothing; the list is part of the program.
 * Threads:   any.
 * Units:     bytes; letters of ASCII count the same in either case.
 * Errors:    none.
 *
 * password_words.txt has about 10,000 words, 2,900 of them of ten characters or more. Also refused
 * is one of them with digits and signs behind it, and an address or a word of this service with
 * fewer than PASSWORD_OWN_CHARS_MIN other characters around it (docs/keyservice/guesses.md).
 */
#ifndef KEYSERVICE_SERVER_ACCOUNT_PASSWORD_WORDS_H
#define KEYSERVICE_SERVER_ACCOUNT_PASSWORD_WORDS_H

#include <stdbool.h>
#include <stddef.h>

#define PASSWORD_OWN_CHARS_MIN 5

bool password_words_common(const char *password, size_t password_bytes);
/* `address` is a normalised one. */
bool password_words_of_address(const char *password, size_t password_bytes, const char *address);

#endif
