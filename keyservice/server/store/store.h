/*
 * store: the service's database: envelopes, accounts, sessions, engines.
 * Ownership: store_open() opens; the opener closes after its last call has returned. Out-structs
 *            are the caller's.
 * Threads:   any. Writes of all threads stand in a queue; whoever finds nobody at it commits what
 *            is waiting, together, over its writing connection: SQLite has one, a service on
 *            PostgreSQL two more for batches. A write returns when it is on stable storage. Reads
 * use one of readers_count connections each. Units:     unix milliseconds; addresses are normalised
 * (account_normalise()), NUL-terminated. Errors:    -ENOENT not there, -EEXIST there already,
 * -EACCES refused, -EAGAIN the queue is full, -EIO the database failed: nothing of the write is
 * kept.
 *
 * The one door to the database, SQLite or PostgreSQL: no SQL stands outside store*.c.
 * docs/keyservice/store.md.
 */
#ifndef KEYSERVICE_SERVER_STORE_STORE_H
#define KEYSERVICE_SERVER_STORE_STORE_H

#include "base/macros.h"
#include "keyservice/record.h"
#include "keyservice/server/master.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STORE_WHY_BYTES         256
#define STORE_ADDRESS_BYTES     (RECORD_ADDRESS_BYTES_MAX + 1)
#define STORE_PASSWORD_BYTES    192 /* an encoded argon2id hash and its NUL */
#define STORE_NAME_BYTES        64
#define STORE_LANGUAGE_BYTES    8
#define STORE_LABEL_BYTES       64 /* what a session or a device is called */
#define STORE_HASH_BYTES        32
#define STORE_CODE_TRIES_MAX    5
#define STORE_PENDING_MAX       32 /* unproven registrations an address may have */
#define STORE_SESSIONS_MAX      32 /* of one account; the oldest goes             */
#define STORE_PRUNE_ROWS        256
#define STORE_ENGINES_LIST_MAX  4096
#define STORE_ACCOUNTS_LIST_MAX 1000000

struct store;

struct store_config {
    const char *path;            /* of an SQLite database, or a postgresql:// URL */
    const struct master *master; /* borrowed until store_close() */
    uint32_t readers_count;
    bool create; /* else a missing database file is an error */
    bool serves; /* as a service: several may of a PostgreSQL database, one of an SQLite file */
    bool alone;  /* refused while anyone serves it: -EBUSY                                    */
};

/* "postgresql://…" or "postgres://…", not a path. */
bool store_is_url(const char *path);
MUST_USE int store_open(struct store **store, const struct store_config *config,
                        char why[STORE_WHY_BYTES]);
void store_close(struct store *store); /* NULL is harmless */

/* Whether other services may work on the same database at this time: store_shared.h. */
bool store_shares(const struct store *store);

/* False since a commit failed, until one succeeds; and since a reading found no database. */
bool store_healthy(const struct store *store);

/* --- lines of the audit log that go with a write --- */

struct audit_event;
struct store_writer;

/* On stable storage when the write that brings it returns 0; a write that was refused leaves none.
 */
struct store_line {
    const struct audit_event *event; /* borrowed until the write returns */
    uint64_t now_unix_ns;
    int rc; /* out, of whoever makes the line: that one is not kept */
};

/* Takes the lines of a group of writes; one of the two is NULL. Any -errno fails all of them. */
struct store_trail {
    void *context;
    /* In the group's transaction, the last of it; like a write it may be run again. */
    int (*within)(void *context, struct store_writer *writer, struct store_line *const *lines,
                  uint32_t lines_count);
    /* Behind the group's commit, before its callers are told; while others commit. */
    int (*behind)(void *context, struct store_line *const *lines, uint32_t lines_count);
};

/* Before the first write that brings a line. */
void store_trail_set(struct store *store, const struct store_trail *trail);

/* --- envelopes --- */

enum store_put_result {
    STORE_PUT_STORED,   /* now, or the very same record earlier */
    STORE_PUT_CONFLICT, /* another record has this id           */
};

struct store_put {
    const struct record *record; /* borrowed */
    const uint8_t *wire;         /* the record's bytes in the batch */
    uint32_t wire_bytes;
    enum store_put_result result; /* out */
};

/* All of the batch in one commit; results hold only when 0 is returned. */
MUST_USE int store_register_batch(struct store *store, struct store_put *puts, uint32_t puts_count);

struct store_envelope {
    uint8_t id[RECORD_ID_BYTES];
    uint8_t suite;
    uint8_t level;
    uint16_t flags;
    bool locked;
    uint64_t sent_unix_ms;
    uint64_t expires_unix_ms;
    uint64_t read_by_unix_ms;
    uint64_t mail_bytes;
    char profile[RECORD_PROFILE_BYTES_MAX + 1];
    char sender[RECORD_ADDRESS_BYTES_MAX + 1];
    char subject[RECORD_SUBJECT_BYTES_MAX + 1];
    uint32_t key_version;
    uint32_t wrapped_bytes;
    uint8_t wrapped[MASTER_WRAPPED_BYTES_MAX];
};

MUST_USE int store_envelope_get(struct store *store, const uint8_t id[RECORD_ID_BYTES],
                                struct store_envelope *envelope);
/* What decides whether `address` may open it, in one reading; "" is whoever did not sign in. */
struct store_look {
    bool recipient; /* is it among the recipients?    */
    bool locked;    /* is it locked for it alone?     */
};
MUST_USE int store_envelope_look(struct store *store, const uint8_t id[RECORD_ID_BYTES],
                                 const char *address, struct store_envelope *envelope,
                                 struct store_look *look);
/* 0 when `address` is among the recipients, else -ENOENT. */
MUST_USE int store_envelope_recipient(struct store *store, const uint8_t id[RECORD_ID_BYTES],
                                      const char *address);
/* The message key, unwrapped: the caller wipes it. -EBADMSG when it does not open. */
MUST_USE int store_envelope_key(struct store *store, const struct store_envelope *envelope,
                                uint8_t key[MASTER_PLAIN_BYTES_MAX], size_t *key_bytes);
MUST_USE int store_envelope_lock(struct store *store, const uint8_t id[RECORD_ID_BYTES],
                                 bool locked);

typedef void store_text_visit(void *context, const char *text);
/* Each once, in the order of their bytes. */
MUST_USE int store_envelope_recipients(struct store *store, const uint8_t id[RECORD_ID_BYTES],
                                       store_text_visit *visit, void *context);

/* --- accounts --- */

struct store_account {
    int64_t number;
    uint64_t created_unix_ms;
    char address[STORE_ADDRESS_BYTES];
    char password[STORE_PASSWORD_BYTES]; /* encoded argon2id hash */
    char language[STORE_LANGUAGE_BYTES]; /* chosen by its owner; "": none */
    bool second_factor;                  /* signing in by password asks for another code too */
    bool made; /* the password was made for its owner, who is to choose another */
    uint8_t password_mark[STORE_HASH_BYTES]; /* another with each password; no secret */
};

/* Before the hash of a made one, with its end in unix ms. */
#define STORE_PASSWORD_MADE "until="

MUST_USE int store_account_get(struct store *store, const char *address,
                               struct store_account *account);
MUST_USE int store_account_add(struct store *store, const char *address, const char *password,
                               uint64_t now_unix_ms);
/* A new password; every session of the account ends. */
MUST_USE int store_account_password(struct store *store, const char *address, const char *password);
/* The same in the place of the password that `was` has: -ENOENT where that is not the account's any
 * more. */
MUST_USE int store_account_renew(struct store *store, const struct store_account *was,
                                 const char *password);
/* With its sessions. */
MUST_USE int store_account_remove(struct store *store, const char *address);

typedef void store_account_visit(void *context, const struct store_account *account);
MUST_USE int store_account_list(struct store *store, store_account_visit *visit, void *context);

/* What a mailed code is to end in. */
enum store_pending_purpose {
    STORE_PENDING_ACCOUNT,  /* an account is made                                       */
    STORE_PENDING_PASSWORD, /* one that is there gets that password, its sessions end */
};
#define STORE_PENDING_PURPOSES_COUNT 2

/* A mailbox that is not proven yet, bound to the browser that asked for it. */
struct store_pending {
    enum store_pending_purpose purpose;
    const char *address;
    const uint8_t *browser;   /* STORE_HASH_BYTES: digest of its cookie */
    const uint8_t *code_hash; /* STORE_HASH_BYTES */
    const char *password;     /* encoded argon2id hash */
    uint64_t now_unix_ms;
    uint64_t expires_unix_ms;
};

/* Takes the place of the same browser's earlier one; the oldest beyond STORE_PENDING_MAX goes. */
MUST_USE int store_pending_put(struct store *store, const struct store_pending *pending);
/* Spends a try; a right one does what it is for. -EACCES: wrong, late, spent or unknown, all alike,
 * and where there is, or is not, an account already. */
MUST_USE int store_pending_spend(struct store *store, const struct store_pending *pending);

/* --- sessions --- */

/* By what a session was signed in, or what was set up in it since; bits, in the database. */
enum store_factor {
    STORE_FACTOR_PASSWORD = 1,
    STORE_FACTOR_CODE_APP = 2, /* or one of its recovery codes */
    STORE_FACTOR_PASSKEY = 4,
};
#define STORE_FACTORS_SECOND ((uint32_t)STORE_FACTOR_CODE_APP | (uint32_t)STORE_FACTOR_PASSKEY)

struct store_session {
    uint8_t hash[STORE_HASH_BYTES]; /* of the cookie */
    int64_t account_number;
    uint64_t created_unix_ms;
    uint64_t seen_unix_ms;
    uint64_t password_unix_ms; /* when the password was typed; 0 once that is used up */
    uint32_t factors;          /* of enum store_factor */
    char address[STORE_ADDRESS_BYTES];
    char label[STORE_LABEL_BYTES]; /* of the browser; store_session_get() leaves it empty */
};

/* Makes a session and ends `old_hash`, unless NULL, in the same commit. With `account`, as it was
 * when its password was proven: -ENOENT where it has another one by now. */
MUST_USE int store_session_add(struct store *store, const struct store_session *session,
                               const struct store_account *account, const uint8_t *old_hash);
MUST_USE int store_session_get(struct store *store, const uint8_t hash[STORE_HASH_BYTES],
                               struct store_session *session);
MUST_USE int store_session_seen(struct store *store, const uint8_t hash[STORE_HASH_BYTES],
                                uint64_t now_unix_ms);
/* `factor` was set up in this session. */
MUST_USE int store_session_factor(struct store *store, const uint8_t hash[STORE_HASH_BYTES],
                                  enum store_factor factor);
/* Uses up the typed password; -EACCES when another request was first. */
MUST_USE int store_session_use_password(struct store *store, const uint8_t hash[STORE_HASH_BYTES]);
MUST_USE int store_session_remove(struct store *store, const uint8_t hash[STORE_HASH_BYTES]);
/* Ends at most a few hundred sessions and registrations that are over. */
MUST_USE int store_prune(struct store *store, uint64_t sessions_before_unix_ms,
                         uint64_t seen_before_unix_ms, uint64_t now_unix_ms);

/* --- engines --- */

struct store_engine {
    uint8_t fingerprint[STORE_HASH_BYTES]; /* SHA-256 of the certificate */
    uint64_t created_unix_ms;
    uint64_t revoked_unix_ms; /* 0: not */
    char name[STORE_NAME_BYTES];
};

MUST_USE int store_engine_add(struct store *store, const struct store_engine *engine);
MUST_USE int store_engine_get(struct store *store, const uint8_t fingerprint[STORE_HASH_BYTES],
                              struct store_engine *engine);
/* Every certificate of that name, and its unused codes; -ENOENT when there is none. */
MUST_USE int store_engine_revoke(struct store *store, const char *name, uint64_t now_unix_ms);
typedef void store_engine_visit(void *context, const struct store_engine *engine);
MUST_USE int store_engine_list(struct store *store, store_engine_visit *visit, void *context);

/* One-time codes. get looks without spending; spend adds the engine in the same commit. */
MUST_USE int store_enrol_add(struct store *store, const uint8_t code_hash[STORE_HASH_BYTES],
                             const char *name, uint64_t expires_unix_ms);
MUST_USE int store_enrol_get(struct store *store, const uint8_t code_hash[STORE_HASH_BYTES],
                             uint64_t now_unix_ms, char name[STORE_NAME_BYTES]);
MUST_USE int store_enrol_spend(struct store *store, const uint8_t code_hash[STORE_HASH_BYTES],
                               const struct store_engine *engine);

#endif
