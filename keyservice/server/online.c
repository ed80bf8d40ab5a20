#include "keyservice/server/online.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "crypto/base64.h"
#include "crypto/secret.h"
#include "keyservice/server/store/store_parked.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

_Static_assert(ONLINE_BROWSER_BYTES == STORE_PARKED_BROWSER_BYTES, "one digest");

#define ONLINE_GROUPS 16384 /* a power of two: two owners seldom meet in one */

struct online_place {
    bool taken; /* lent: the place waits for it */
    bool used;
    struct online_message message;
};

struct online {
    struct store *store;   /* where messages wait, or NULL: here */
    pthread_mutex_t mutex; /* of all but the core */
    uint64_t held_bytes;
    uint64_t group_bytes[ONLINE_GROUPS];
    uint16_t group_count[ONLINE_GROUPS]; /* places */
    uint8_t secret[ONLINE_SECRET_BYTES]; /* so that nobody can aim at another's group */
    struct online_place places[ONLINE_COUNT];

    pthread_mutex_t core_mutex;
    struct crypto_core *core;
};

int online_open(struct online **online)
{
    struct online *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    int rc = 0;
    if (getrandom(made->secret, sizeof(made->secret), 0) != (ssize_t)sizeof(made->secret))
        rc = -EIO;
    if (rc == 0)
        rc = crypto_core_open(&made->core, isa_best());
    if (rc != 0) {
        free(made);
        return rc;
    }
    (void)pthread_mutex_init(&made->mutex, NULL);
    (void)pthread_mutex_init(&made->core_mutex, NULL);
    *online = made;
    return 0;
}

void online_share(struct online *online, struct store *store,
                  const uint8_t secret[ONLINE_SECRET_BYTES])
{
    if (!store_shares(store))
        return;
    online->store = store;
    memcpy(online->secret, secret, ONLINE_SECRET_BYTES);
}

void online_close(struct online *online)
{
    if (online == NULL)
        return;
    for (uint32_t i = 0; i < ONLINE_COUNT; i++)
        if (online->places[i].used)
            unsealed_fini(&online->places[i].message.unsealed);
    crypto_core_close(online->core);
    (void)pthread_mutex_destroy(&online->core_mutex);
    (void)pthread_mutex_destroy(&online->mutex);
    free(online);
}

struct crypto_core *online_core_take(struct online *online)
{
    (void)pthread_mutex_lock(&online->core_mutex);
    return online->core;
}

void online_core_give(struct online *online)
{
    (void)pthread_mutex_unlock(&online->core_mutex);
}

int online_group(const struct online *online, const void *owner, size_t owner_bytes,
                 uint32_t *group)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned int digest_bytes = 0;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    const bool fine = ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 &&
                      EVP_DigestUpdate(ctx, online->secret, sizeof(online->secret)) == 1 &&
                      EVP_DigestUpdate(ctx, owner, owner_bytes) == 1 &&
                      EVP_DigestFinal_ex(ctx, digest, &digest_bytes) == 1;
    EVP_MD_CTX_free(ctx);
    if (!fine)
        return -ENOMEM;
    *group = (uint32_t)(bytes_load_le64(digest) % ONLINE_GROUPS);
    return 0;
}

static void group_uncharge(struct online *online, uint32_t group, size_t bytes)
{
    ASSERT(online->held_bytes >= bytes);
    ASSERT(online->group_bytes[group] >= bytes);
    online->held_bytes -= bytes;
    online->group_bytes[group] -= bytes;
}

static void place_free(struct online *online, struct online_place *place)
{
    struct online_message *message = &place->message;
    ASSERT(place->used && online->group_count[message->group] > 0);
    online->group_count[message->group]--;
    group_uncharge(online, message->group, message->unsealed.sealed_bytes);
    unsealed_fini(&message->unsealed);
    secret_wipe(message->handle, sizeof(message->handle));
    place->used = false;
    place->taken = false;
}

static void prune(struct online *online, uint64_t now_ns)
{
    for (uint32_t i = 0; i < ONLINE_COUNT; i++) {
        struct online_place *place = &online->places[i];
        if (place->used && !place->taken && place->message.until_ns <= now_ns)
            place_free(online, place);
    }
}

/* Of two that wait, the one to give up: of the larger owner, then the earlier. */
static bool place_worse(const struct online *online, const struct online_place *one,
                        const struct online_place *other)
{
    const uint64_t one_bytes = online->group_bytes[one->message.group];
    const uint64_t other_bytes = online->group_bytes[other->message.group];
    return one_bytes != other_bytes ? one_bytes > other_bytes
                                    : one->message.until_ns < other->message.until_ns;
}

/* Gives up one that waits: of `group`, or where that is NULL of anyone. False: there is none. */
static bool drop_one(struct online *online, const uint32_t *group)
{
    struct online_place *worst = NULL;
    for (uint32_t i = 0; i < ONLINE_COUNT; i++) {
        struct online_place *place = &online->places[i];
        if (!place->used || place->taken || (group != NULL && place->message.group != *group))
            continue;
        if (worst == NULL || place_worse(online, place, worst))
            worst = place;
    }
    if (worst == NULL)
        return false;
    place_free(online, worst);
    return true;
}

static bool group_charge(struct online *online, uint32_t group, size_t bytes, uint64_t now_ns)
{
    prune(online, now_ns);
    while (online->group_bytes[group] + bytes > ONLINE_SHARE_BYTES) /* each round drops one */
        if (!drop_one(online, &group))
            return false;
    while (online->held_bytes + bytes > ONLINE_BYTES_MAX)
        if (!drop_one(online, NULL))
            return false;
    online->held_bytes += bytes;
    online->group_bytes[group] += bytes;
    return true;
}

bool online_charge(struct online *online, uint32_t group, size_t bytes, uint64_t now_ns)
{
    (void)pthread_mutex_lock(&online->mutex);
    const bool charged = group_charge(online, group, bytes, now_ns);
    (void)pthread_mutex_unlock(&online->mutex);
    return charged;
}

void online_uncharge(struct online *online, uint32_t group, size_t bytes)
{
    (void)pthread_mutex_lock(&online->mutex);
    group_uncharge(online, group, bytes);
    (void)pthread_mutex_unlock(&online->mutex);
}

/* A place that is free, or made so; NULL when all that there are, or all of the share, are lent. */
static struct online_place *place_take(struct online *online, uint32_t group)
{
    if (online->group_count[group] >= ONLINE_SHARE && !drop_one(online, &group))
        return NULL;
    for (uint32_t round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < ONLINE_COUNT; i++)
            if (!online->places[i].used)
                return &online->places[i];
        if (!drop_one(online, NULL))
            return NULL;
    }
    return NULL;
}

/* What a message stands under in the database: of its handle a digest, of its owner the group. */
static void shared_name(const uint8_t handle[ONLINE_HANDLE_BYTES],
                        uint8_t name[STORE_PARKED_NAME_BYTES])
{
    (void)SHA256(handle, ONLINE_HANDLE_BYTES, name);
}

static int shared_park(struct online *online, uint32_t group, const struct unsealed *unsealed,
                       const uint8_t handle[ONLINE_HANDLE_BYTES])
{
    static const struct store_parked_bounds bounds = {.owner_bytes = ONLINE_SHARE_BYTES,
                                                      .owner_count = ONLINE_SHARE,
                                                      .bytes = ONLINE_BYTES_MAX,
                                                      .count = ONLINE_COUNT};
    struct store_parked parked = {.suite = unsealed->suite, .sealed_bytes = unsealed->sealed_bytes};
    if (parked.sealed_bytes > ONLINE_BODY_BYTES_MAX)
        return -EAGAIN;
    shared_name(handle, parked.name);
    bytes_store_le32(parked.owner, group);
    memcpy(parked.id, unsealed->id.bytes, sizeof(parked.id));
    const int rc =
        store_parked_put(online->store, &parked, unsealed->sealed, ONLINE_LIFE_NS, &bounds);
    if (rc == 0) { /* it is the database's now */
        struct unsealed gone = *unsealed;
        unsealed_fini(&gone);
    }
    return rc == 0 ? 0 : -EAGAIN;
}

static int memory_park(struct online *online, uint32_t group, const struct unsealed *unsealed,
                       uint64_t now_ns, const uint8_t random[ONLINE_HANDLE_BYTES])
{
    (void)pthread_mutex_lock(&online->mutex);
    int rc = -EAGAIN;
    struct online_place *place = NULL;
    if (group_charge(online, group, unsealed->sealed_bytes, now_ns)) {
        place = place_take(online, group);
        if (place == NULL)
            group_uncharge(online, group, unsealed->sealed_bytes);
    }
    if (place != NULL) {
        *place = (struct online_place){.used = true,
                                       .message = {.unsealed = *unsealed,
                                                   .until_ns = now_ns + ONLINE_LIFE_NS,
                                                   .group = group}};
        memcpy(place->message.handle, random, ONLINE_HANDLE_BYTES);
        online->group_count[group]++;
        rc = 0;
    }
    (void)pthread_mutex_unlock(&online->mutex);
    return rc;
}

int online_park(struct online *online, uint32_t group, const struct unsealed *unsealed,
                uint64_t now_ns, char handle[ONLINE_HANDLE_CHARS + 1])
{
    uint8_t text[ONLINE_HANDLE_CHARS + 1 + BASE64_SLACK_BYTES];
    uint8_t random[ONLINE_HANDLE_BYTES];
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return -EIO;
    const int rc = online->store != NULL ? shared_park(online, group, unsealed, random)
                                         : memory_park(online, group, unsealed, now_ns, random);
    if (rc == 0) {
        const size_t chars = base64url_encode_run(text, random, sizeof(random));
        ASSERT(chars == ONLINE_HANDLE_CHARS);
        memcpy(handle, text, chars);
        handle[chars] = '\0';
    }
    secret_wipe(random, sizeof(random));
    secret_wipe(text, sizeof(text));
    return rc;
}

static int handle_read(uint8_t bytes_at[ONLINE_HANDLE_BYTES], const char *handle)
{
    uint8_t decoded[ONLINE_HANDLE_CHARS + BASE64_SLACK_BYTES];
    size_t bytes = 0;
    if (strnlen(handle, ONLINE_HANDLE_CHARS + 1) != ONLINE_HANDLE_CHARS ||
        base64url_decode(decoded, (const uint8_t *)handle, ONLINE_HANDLE_CHARS, &bytes) != 0 ||
        bytes != ONLINE_HANDLE_BYTES)
        return -ENOENT;
    memcpy(bytes_at, decoded, bytes);
    return 0;
}

/* One that waits there, lent or not. */
static struct online_place *place_find(struct online *online,
                                       const uint8_t handle[ONLINE_HANDLE_BYTES])
{
    struct online_place *found = NULL;
    for (uint32_t i = 0; i < ONLINE_COUNT; i++) {
        struct online_place *place = &online->places[i];
        if (place->used && ct_equal(place->message.handle, handle, ONLINE_HANDLE_BYTES))
            found = place;
    }
    return found;
}

int online_look(struct online *online, const char *handle, uint64_t now_ns, struct id *id)
{
    uint8_t wanted[ONLINE_HANDLE_BYTES];
    if (handle_read(wanted, handle) != 0)
        return -ENOENT;
    if (online->store != NULL) {
        uint8_t name[STORE_PARKED_NAME_BYTES];
        shared_name(wanted, name);
        return store_parked_look(online->store, name, id->bytes);
    }
    (void)pthread_mutex_lock(&online->mutex);
    prune(online, now_ns);
    const struct online_place *place = place_find(online, wanted);
    const bool there = place != NULL && !place->message.opened;
    if (there)
        *id = place->message.unsealed.id;
    (void)pthread_mutex_unlock(&online->mutex);
    return there ? 0 : -ENOENT;
}

static bool place_serves(const struct online_place *place, const uint8_t *browser)
{
    const struct online_message *message = &place->message;
    if (place->taken || message->opened != (browser != NULL))
        return false;
    return browser == NULL || ct_equal(message->opened_by, browser, ONLINE_BROWSER_BYTES);
}

/* Its bytes come into memory here, which is charged for them. */
static int shared_take(struct online *online, const uint8_t handle[ONLINE_HANDLE_BYTES],
                       const uint8_t *browser, uint64_t now_ns, struct online_message *message)
{
    struct store_parked parked;
    shared_name(handle, parked.name);
    int rc = store_parked_take(online->store, &parked, browser);
    if (rc != 0)
        return rc;
    const uint32_t group = bytes_load_le32(parked.owner) % ONLINE_GROUPS;
    uint8_t *sealed = NULL;
    if (parked.sealed_bytes > ONLINE_BODY_BYTES_MAX ||
        !online_charge(online, group, parked.sealed_bytes, now_ns)) {
        store_parked_give(online->store, parked.name, NULL);
        return -EAGAIN;
    }
    sealed = malloc(parked.sealed_bytes + 1);
    rc = sealed == NULL ? -EAGAIN : store_parked_read(online->store, &parked, sealed);
    if (rc != 0) {
        free(sealed);
        online_uncharge(online, group, parked.sealed_bytes);
        store_parked_give(online->store, parked.name, NULL);
        return rc;
    }
    *message = (struct online_message){.unsealed = {.suite = (enum cobble_suite)parked.suite,
                                                    .sealed = sealed,
                                                    .sealed_bytes = parked.sealed_bytes},
                                       .group = group};
    memcpy(message->unsealed.id.bytes, parked.id, sizeof(parked.id));
    memcpy(message->handle, handle, ONLINE_HANDLE_BYTES);
    return 0;
}

int online_take(struct online *online, const char *handle, const uint8_t *browser, uint64_t now_ns,
                struct online_message *message)
{
    uint8_t wanted[ONLINE_HANDLE_BYTES];
    int rc = -ENOENT;
    if (handle_read(wanted, handle) != 0)
        return -ENOENT;
    if (online->store != NULL)
        return shared_take(online, wanted, browser, now_ns, message);
    (void)pthread_mutex_lock(&online->mutex);
    prune(online, now_ns);
    struct online_place *place = place_find(online, wanted);
    if (place != NULL && place_serves(place, browser)) {
        place->taken = true;
        *message = place->message;
        rc = 0;
    }
    (void)pthread_mutex_unlock(&online->mutex);
    return rc;
}

static void shared_return(struct online *online, struct online_message *message, bool over,
                          const uint8_t *browser)
{
    uint8_t name[STORE_PARKED_NAME_BYTES];
    shared_name(message->handle, name);
    online_uncharge(online, message->group, message->unsealed.sealed_bytes);
    unsealed_fini(&message->unsealed);
    if (over)
        store_parked_end(online->store, name);
    else
        store_parked_give(online->store, name, browser);
    secret_wipe(message, sizeof(*message));
}

static void message_return(struct online *online, struct online_message *message, bool over,
                           const uint8_t *browser)
{
    if (online->store != NULL) {
        shared_return(online, message, over, browser);
        return;
    }
    (void)pthread_mutex_lock(&online->mutex);
    struct online_place *place = place_find(online, message->handle);
    ASSERT(place != NULL && place->taken);
    place->taken = false;
    if (browser != NULL) {
        place->message.opened = true;
        memcpy(place->message.opened_by, browser, ONLINE_BROWSER_BYTES);
    }
    if (over)
        place_free(online, place);
    (void)pthread_mutex_unlock(&online->mutex);
    *message = (struct online_message){.until_ns = 0};
}

void online_give(struct online *online, struct online_message *message)
{
    message_return(online, message, false, NULL);
}

void online_end(struct online *online, struct online_message *message)
{
    message_return(online, message, true, NULL);
}

void online_opened(struct online *online, struct online_message *message,
                   const uint8_t browser[ONLINE_BROWSER_BYTES])
{
    message_return(online, message, false, browser);
}

void online_prune(struct online *online, uint64_t now_ns)
{
    (void)pthread_mutex_lock(&online->mutex);
    prune(online, now_ns);
    (void)pthread_mutex_unlock(&online->mutex);
}
