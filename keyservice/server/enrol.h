/*
 * enrol: the one-time codes by which engines get their certificates.
 * Ownership: caller's memory.
 * Threads:   any.
 * Units:     milliseconds; characters with their NUL.
 * Errors:    -EIO without entropy.
 */
#ifndef KEYSERVICE_SERVER_ENROL_H
#define KEYSERVICE_SERVER_ENROL_H

#include "base/macros.h"
#include "keyservice/server/store/store.h"

#include <stdint.h>

#define ENROL_LIFE_MS    (60 * UINT64_C(60000))
#define ENROL_CODE_CHARS 24 /* 120 bits, in groups of six */
#define ENROL_CODE_BYTES (ENROL_CODE_CHARS + ENROL_CODE_CHARS / 6)

/* The code as it is shown, and its SHA-256, which the database keeps. */
MUST_USE int enrol_code_make(char code[ENROL_CODE_BYTES], uint8_t hash[STORE_HASH_BYTES]);

#endif
