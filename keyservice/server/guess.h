/*
 * guess: how often something may be tried, per key, in a fixed amount of memory.
 * Ownership: guess_open() allocates the tables; the opener closes.
 * Threads:   any; one lock, held for a few dozen nanoseconds.
 * Units:     nanoseconds of monotonic time, passed in; waits in nanoseconds.
 * Errors:    guess_take() gives the wait, 0 when the try is allowed, GUESS_AWAY when the database
 *            that counts for several services failed: then it is not.
 *
 * docs/keyservice/guesses.md. A try is taken before the password is looked at, so that tries side
 * by side count, and given back when it was right. Each kind of key has its own allowance, a burst
 * that refills steadily (the generic cell rate algorithm: one number a key), and its own table, so
 * that flooding one kind with made-up keys forgets nothing of another.
 */
#ifndef KEYSERVICE_SERVER_GUESS_H
#define KEYSERVICE_SERVER_GUESS_H

#include "base/macros.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum guess_kind {
    GUESS_PAIR,            /* an account from one network: guessing passwords             */
    GUESS_ACCOUNT,         /* an account from networks that never signed in to it, all    */
    GUESS_NETWORK,         /* a network, whatever the account                             */
    GUESS_MAIL_TO,         /* mails that one network has sent to one address              */
    GUESS_MAIL_ALL,        /* mails that all networks together have sent to one address  */
    GUESS_MAIL_BY,         /* registrations that a network asks for                       */
    GUESS_CODE,            /* codes that a network tries: mailed ones and engines', and
                              second factors of nobody who gave a password           */
    GUESS_RELEASE,         /* keys asked for by an account                                */
    GUESS_RELEASE_NETWORK, /* by a network that did not sign in                      */
    GUESS_FACTOR,          /* second factors of an account, from one network               */
    GUESS_FACTOR_ALL,      /* the same from all networks that it was never signed in from  */
    GUESS_REFUSE,          /* refusals that stand in the audit log, of either; of writing too */
    GUESS_WRITE,           /* messages that an account writes here                        */
    GUESS_WRITE_TO,        /* and their recipients                                        */
    GUESS_CHANGE,          /* locks and dates that an account changes                     */
    GUESS_SEARCH,          /* lists of what was sent that look through many messages      */
    GUESS_FORWARD_TO,      /* strangers that an account of no write_domains forwards to   */
    GUESS_CONTACT,         /* messages of all accounts to one mailbox of /contact         */
};
#define GUESS_KINDS_COUNT 18

/* The most mails to one address in a time: the burst, and what is refilled meanwhile. */
#define GUESS_MAIL_ALL_BURST    20
#define GUESS_MAIL_ALL_REFILL_S 300
#define GUESS_MAIL_ALL_IN(s)    (GUESS_MAIL_ALL_BURST + (s) / GUESS_MAIL_ALL_REFILL_S + 1)

#define GUESS_SECRET_BYTES 32
#define GUESS_AWAY         UINT64_MAX

struct guess;
struct store;

MUST_USE int guess_open(struct guess **guess);
/*
 * Where several services share the store's database, the allowances are the database's from now on
 * and count for all of them together, by its clock; else nothing changes. `secret` keys the
 * digests: all services have the same.
 */
void guess_share(struct guess *guess, struct store *store,
                 const uint8_t secret[GUESS_SECRET_BYTES]);
void guess_close(struct guess *guess); /* NULL is harmless */

/* `key` is any bytes; only a keyed digest of them is kept. */
uint64_t guess_take(struct guess *guess, enum guess_kind kind, const void *key, size_t key_bytes,
                    uint64_t now_ns);
void guess_give(struct guess *guess, enum guess_kind kind, const void *key, size_t key_bytes,
                uint64_t now_ns);

/* Networks that an account was signed in from: the newest GUESS_KNOWN_COUNT of all. */
#define GUESS_KNOWN_COUNT 65536
void guess_known_add(struct guess *guess, const void *key, size_t key_bytes);
bool guess_known(struct guess *guess, const void *key, size_t key_bytes);

#endif
