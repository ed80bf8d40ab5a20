/*
 * store_person: what belongs to an account beside its password: devices, second factors,
 * passkeys, phrase and language.
 * Ownership: as store.h.
 * Threads:   as store.h.
 * Units:     unix milliseconds; `number` is the account's; ids are STORE_ID_BYTES.
 * Errors:    as store.h.
 */
#ifndef KEYSERVICE_SERVER_STORE_STORE_PERSON_H
#define KEYSERVICE_SERVER_STORE_STORE_PERSON_H

#include "base/macros.h"
#include "keyservice/server/store/store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STORE_ID_BYTES             16 /* the first of a hash, by which a page names a row */
#define STORE_PHRASE_BYTES         256
#define STORE_DEVICES_MAX          32 /* of one account; the one unseen longest goes */
#define STORE_PASSKEYS_MAX         20
#define STORE_RECOVERY_COUNT       10
#define STORE_CREDENTIAL_BYTES_MAX 1023 /* WebAuthn level 2, 4 */
#define STORE_PUBLIC_KEY_BYTES_MAX 512
#define STORE_DEVICE_LIFE_MS       (UINT64_C(400) * 24 * 3600 * 1000)

struct store_writer;

/* --- what a person chose --- */

struct store_person {
    uint64_t created_unix_ms;
    char language[STORE_LANGUAGE_BYTES];
    char phrase[STORE_PHRASE_BYTES];
    bool totp;
    uint32_t recovery_count; /* codes that are left */
};
MUST_USE int store_person_get(struct store *store, int64_t number, struct store_person *person);
MUST_USE int store_person_language(struct store *store, int64_t number, const char *language);
MUST_USE int store_person_phrase(struct store *store, int64_t number, const char *phrase);

/* --- sessions and devices, as their owner sees them --- */

struct store_place {
    uint8_t hash[STORE_HASH_BYTES];
    uint64_t created_unix_ms;
    uint64_t seen_unix_ms;
    char label[STORE_LABEL_BYTES];
};
/* Newest first. */
MUST_USE int store_session_list(struct store *store, int64_t number,
                                struct store_place places[STORE_SESSIONS_MAX], uint32_t *count);
MUST_USE int store_session_end(struct store *store, int64_t number,
                               const uint8_t id[STORE_ID_BYTES]);
MUST_USE int store_session_end_others(struct store *store, int64_t number,
                                      const uint8_t keep[STORE_HASH_BYTES]);

/* A browser that was signed in from: its cookie's digest changes with every sign-in, and all
 * accounts that it is known for go along. */
struct store_device {
    const uint8_t *hash_old; /* NULL: it had none */
    const uint8_t *hash;
    int64_t account_number;
    const char *label;
    uint64_t now_unix_ms;
};
MUST_USE int store_device_put(struct store *store, const struct store_device *device);
/* 0 where the device is known for that address, with its phrase. */
MUST_USE int store_device_get(struct store *store, const uint8_t hash[STORE_HASH_BYTES],
                              const char *address, char phrase[STORE_PHRASE_BYTES]);
MUST_USE int store_device_list(struct store *store, int64_t number,
                               struct store_place places[STORE_DEVICES_MAX], uint32_t *count);
MUST_USE int store_device_end(struct store *store, int64_t number,
                              const uint8_t id[STORE_ID_BYTES]);
MUST_USE int store_device_end_others(struct store *store, int64_t number,
                                     const uint8_t keep[STORE_HASH_BYTES]);

/* --- second factors --- */

struct store_totp {
    uint32_t key_version;
    uint32_t wrapped_bytes;
    uint64_t step; /* the last one that was accepted */
    uint8_t wrapped[MASTER_WRAPPED_BYTES_MAX];
};
/* What the master key binds it to: the account, and no message. */
void store_totp_id(uint8_t id[MASTER_ID_BYTES], int64_t number);
/* With its recovery codes; -EEXIST when there is one. */
MUST_USE int store_totp_put(struct store *store, int64_t number, const struct store_totp *totp,
                            const uint8_t codes[STORE_RECOVERY_COUNT][STORE_HASH_BYTES]);
MUST_USE int store_totp_get(struct store *store, int64_t number, struct store_totp *totp);
/* -EACCES: this step, or a later one, was accepted before. */
MUST_USE int store_totp_use(struct store *store, int64_t number, uint64_t step);
/* With its recovery codes. */
MUST_USE int store_totp_remove(struct store *store, int64_t number);
MUST_USE int store_recovery_put(struct store *store, int64_t number,
                                const uint8_t codes[STORE_RECOVERY_COUNT][STORE_HASH_BYTES]);
/* -EACCES: no such code, or used. */
MUST_USE int store_recovery_spend(struct store *store, int64_t number,
                                  const uint8_t hash[STORE_HASH_BYTES]);

/* --- passkeys --- */

struct store_passkey {
    uint8_t id[STORE_ID_BYTES]; /* of the credential's SHA-256 */
    int64_t account_number;
    int32_t algorithm; /* COSE */
    uint32_t counter;
    uint64_t created_unix_ms;
    uint64_t used_unix_ms; /* 0: never */
    size_t credential_bytes;
    size_t public_key_bytes;
    char name[STORE_NAME_BYTES];
    char address[STORE_ADDRESS_BYTES]; /* out */
    uint8_t credential[STORE_CREDENTIAL_BYTES_MAX];
    uint8_t public_key[STORE_PUBLIC_KEY_BYTES_MAX];
};
/* -EEXIST: this credential is known, or there are STORE_PASSKEYS_MAX. */
MUST_USE int store_passkey_add(struct store *store, const struct store_passkey *passkey);
MUST_USE int store_passkey_get(struct store *store, const uint8_t id[STORE_ID_BYTES],
                               struct store_passkey *passkey);
typedef void store_passkey_visit(void *context, const struct store_passkey *passkey);
MUST_USE int store_passkey_list(struct store *store, int64_t number, store_passkey_visit *visit,
                                void *context);
/* Spends a challenge, for ever, and moves the counter on. -EEXIST: it was spent; -EACCES: the
 * counter is not ahead of what was seen, so there are two of this key. */
MUST_USE int store_passkey_use(struct store *store, const uint8_t id[STORE_ID_BYTES],
                               uint32_t counter, const uint8_t challenge[STORE_HASH_BYTES],
                               uint64_t challenge_expires_unix_ms, uint64_t now_unix_ms);
MUST_USE int store_passkey_name(struct store *store, int64_t number,
                                const uint8_t id[STORE_ID_BYTES], const char *name);
MUST_USE int store_passkey_remove(struct store *store, int64_t number,
                                  const uint8_t id[STORE_ID_BYTES]);
/* All of them; how many there were does not matter. */
MUST_USE int store_passkey_clear(struct store *store, int64_t number);

/* Spends a challenge that no passkey is known for yet; -EEXIST when it was. */
MUST_USE int store_challenge_spend(struct store *store, const uint8_t challenge[STORE_HASH_BYTES],
                                   uint64_t expires_unix_ms);

/* Part of store_prune(): the most rows that one statement took, or -errno. */
MUST_USE int store_person_prune(struct store_writer *writer, uint64_t now_unix_ms);

#endif
