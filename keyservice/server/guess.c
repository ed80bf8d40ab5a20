#include "keyservice/server/guess.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "keyservice/server/digest.h"
#include "keyservice/server/store/store_shared.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define GUESS_SLOTS_COUNT 16384 /* a kind's; a power of two */
#define GUESS_WAYS        8     /* slots that one key may stand in */

/* A key's whole state: the time at which its allowance will be full again. */
struct guess_slot {
    uint64_t tag;
    uint64_t full_at_ns;
};

struct guess_allowance {
    uint32_t burst;
    uint64_t refill_ns; /* for one try */
};

static const struct guess_allowance allowances[GUESS_KINDS_COUNT] = {
    [GUESS_PAIR] = {.burst = 10, .refill_ns = 60 * NS_PER_S},
    [GUESS_ACCOUNT] = {.burst = 100, .refill_ns = 30 * NS_PER_S},
    [GUESS_NETWORK] = {.burst = 100, .refill_ns = 10 * NS_PER_S},
    [GUESS_MAIL_TO] = {.burst = 5, .refill_ns = 900 * NS_PER_S},
    [GUESS_MAIL_ALL] = {.burst = GUESS_MAIL_ALL_BURST,
                        .refill_ns = GUESS_MAIL_ALL_REFILL_S * NS_PER_S},
    [GUESS_MAIL_BY] = {.burst = 30, .refill_ns = 120 * NS_PER_S},
    [GUESS_CODE] = {.burst = 30, .refill_ns = 20 * NS_PER_S},
    /* An account is answerable for what it does, and may be a whole department's archive. */
    [GUESS_RELEASE] = {.burst = 10000, .refill_ns = NS_PER_S / 20},
    [GUESS_RELEASE_NETWORK] = {.burst = 200, .refill_ns = 2 * NS_PER_S},
    [GUESS_FACTOR] = {.burst = 10, .refill_ns = 60 * NS_PER_S},
    [GUESS_FACTOR_ALL] = {.burst = 30, .refill_ns = 300 * NS_PER_S},
    [GUESS_REFUSE] = {.burst = 50, .refill_ns = 30 * NS_PER_S},
    [GUESS_WRITE] = {.burst = 30, .refill_ns = 120 * NS_PER_S},
    [GUESS_WRITE_TO] = {.burst = 200, .refill_ns = 60 * NS_PER_S},
    [GUESS_CHANGE] = {.burst = 200, .refill_ns = 5 * NS_PER_S},
    [GUESS_SEARCH] = {.burst = 100, .refill_ns = 2 * NS_PER_S},
    [GUESS_FORWARD_TO] = {.burst = 20, .refill_ns = 300 * NS_PER_S},
    [GUESS_CONTACT] = {.burst = 50, .refill_ns = 60 * NS_PER_S},
};

_Static_assert(GUESS_AWAY == STORE_GUESS_AWAY, "one answer");

struct guess {
    struct store *store; /* that has the allowances, or NULL: they are here */
    pthread_mutex_t mutex;
    uint8_t secret[GUESS_SECRET_BYTES]; /* so that nobody can aim at a slot */
    uint64_t *known;                    /* tags, each at its place modulo the count */
    struct guess_slot slots[GUESS_KINDS_COUNT][GUESS_SLOTS_COUNT];
};

int guess_open(struct guess **guess)
{
    struct guess *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    made->known = calloc(GUESS_KNOWN_COUNT, sizeof(*made->known));
    if (made->known == NULL ||
        getrandom(made->secret, sizeof(made->secret), 0) != (ssize_t)sizeof(made->secret)) {
        free(made->known);
        free(made);
        return -ENOMEM;
    }
    (void)pthread_mutex_init(&made->mutex, NULL);
    *guess = made;
    return 0;
}

void guess_share(struct guess *guess, struct store *store, const uint8_t secret[GUESS_SECRET_BYTES])
{
    if (!store_shares(store))
        return;
    guess->store = store;
    memcpy(guess->secret, secret, GUESS_SECRET_BYTES);
}

void guess_close(struct guess *guess)
{
    if (guess == NULL)
        return;
    (void)pthread_mutex_destroy(&guess->mutex);
    free(guess->known);
    free(guess);
}

static void guess_tag(const struct guess *guess, const void *key, size_t key_bytes, uint64_t tag[2])
{
    uint8_t digest[DIGEST_BYTES];
    const struct digest_part parts[] = {{.bytes_at = guess->secret, .bytes = sizeof(guess->secret)},
                                        {.bytes_at = key, .bytes = key_bytes}};
    const bool fine = digest_parts(parts, ARRAY_COUNT(parts), digest) == 0;
    /* Without memory for a digest all keys share one allowance: stricter, never looser. */
    tag[0] = fine ? bytes_load_le64(digest) | 1 : 1;
    tag[1] = fine ? bytes_load_le64(digest + 8) : 0;
}

/* The key's slot, or the one of its set that is worth least: the allowance nearest to full. */
static struct guess_slot *guess_slot_find(struct guess *guess, enum guess_kind kind,
                                          const uint64_t tag[2])
{
    const size_t set = (size_t)(tag[1] % (GUESS_SLOTS_COUNT / GUESS_WAYS)) * GUESS_WAYS;
    struct guess_slot *least = &guess->slots[kind][set];
    for (size_t way = 0; way < GUESS_WAYS; way++) {
        struct guess_slot *slot = &guess->slots[kind][set + way];
        if (slot->tag == tag[0])
            return slot;
        if (slot->full_at_ns < least->full_at_ns)
            least = slot;
    }
    *least = (struct guess_slot){.tag = tag[0], .full_at_ns = 0};
    return least;
}

/* What a key stands under in the database. */
static void shared_key(const uint64_t tag[2], uint8_t kind, uint8_t key[STORE_SHARED_KEY_BYTES])
{
    key[0] = kind;
    bytes_store_le64(key + 1, tag[0]);
    bytes_store_le64(key + 9, tag[1]);
}

uint64_t guess_take(struct guess *guess, enum guess_kind kind, const void *key, size_t key_bytes,
                    uint64_t now_ns)
{
    uint64_t tag[2];
    uint64_t wait_ns = 0;
    const struct guess_allowance *allowance = &allowances[kind];
    const uint64_t span_ns = allowance->burst * allowance->refill_ns;
    guess_tag(guess, key, key_bytes, tag);
    if (guess->store != NULL) {
        uint8_t shared[STORE_SHARED_KEY_BYTES];
        shared_key(tag, (uint8_t)kind, shared);
        return store_guess_take(guess->store, shared, allowance->refill_ns, span_ns);
    }

    (void)pthread_mutex_lock(&guess->mutex);
    struct guess_slot *slot = guess_slot_find(guess, kind, tag);
    const uint64_t full_at_ns = MAX(slot->full_at_ns, now_ns) + allowance->refill_ns;
    if (full_at_ns - now_ns > span_ns)
        wait_ns = full_at_ns - now_ns - span_ns;
    else
        slot->full_at_ns = full_at_ns;
    (void)pthread_mutex_unlock(&guess->mutex);
    return wait_ns;
}

void guess_give(struct guess *guess, enum guess_kind kind, const void *key, size_t key_bytes,
                uint64_t now_ns)
{
    uint64_t tag[2];
    guess_tag(guess, key, key_bytes, tag);
    if (guess->store != NULL) {
        uint8_t shared[STORE_SHARED_KEY_BYTES];
        shared_key(tag, (uint8_t)kind, shared);
        store_guess_give(guess->store, shared, allowances[kind].refill_ns);
        return;
    }
    (void)pthread_mutex_lock(&guess->mutex);
    struct guess_slot *slot = guess_slot_find(guess, kind, tag);
    if (slot->full_at_ns > now_ns + allowances[kind].refill_ns)
        slot->full_at_ns -= allowances[kind].refill_ns;
    else
        slot->full_at_ns = 0;
    (void)pthread_mutex_unlock(&guess->mutex);
}

void guess_known_add(struct guess *guess, const void *key, size_t key_bytes)
{
    uint64_t tag[2];
    guess_tag(guess, key, key_bytes, tag);
    if (guess->store != NULL) {
        uint8_t shared[STORE_SHARED_KEY_BYTES];
        shared_key(tag, 0, shared);
        store_known_add(guess->store, shared);
        return;
    }
    (void)pthread_mutex_lock(&guess->mutex);
    guess->known[tag[1] % GUESS_KNOWN_COUNT] = tag[0];
    (void)pthread_mutex_unlock(&guess->mutex);
}

bool guess_known(struct guess *guess, const void *key, size_t key_bytes)
{
    uint64_t tag[2];
    guess_tag(guess, key, key_bytes, tag);
    if (guess->store != NULL) {
        uint8_t shared[STORE_SHARED_KEY_BYTES];
        shared_key(tag, 0, shared);
        return store_known(guess->store, shared);
    }
    (void)pthread_mutex_lock(&guess->mutex);
    const bool known = guess->known[tag[1] % GUESS_KNOWN_COUNT] == tag[0];
    (void)pthread_mutex_unlock(&guess->mutex);
    return known;
}
