#include "keyservice/server/pickup.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "keyservice/server/digest.h"
#include "keyservice/server/store/store_shared.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define PICKUP_GROUPS 16384 /* a power of two: two owners seldom meet in one */

/* What is searched lies together, apart from the texts. */
struct pickup_place {
    uint64_t until_ns; /* 0: free */
    uint64_t mark;     /* the name's first bytes: names are digests, and seldom alike in them */
    uint32_t group;    /* the owner's */
};

struct pickup_text {
    uint8_t name[PICKUP_NAME_BYTES];
    char text[PICKUP_TEXT_BYTES];
};

struct pickup {
    struct store *store; /* where keys are parked, or NULL: here */
    pthread_mutex_t mutex;
    uint8_t secret[PICKUP_SECRET_BYTES]; /* so that nobody can aim at another's group */
    uint16_t held_count[PICKUP_GROUPS];  /* places of a group that are taken */
    struct pickup_place places[PICKUP_COUNT];
    struct pickup_text texts[PICKUP_COUNT];
};

int pickup_open(struct pickup **pickup)
{
    struct pickup *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    if (getrandom(made->secret, sizeof(made->secret), 0) != (ssize_t)sizeof(made->secret)) {
        free(made);
        return -EIO;
    }
    (void)pthread_mutex_init(&made->mutex, NULL);
    *pickup = made;
    return 0;
}

void pickup_share(struct pickup *pickup, struct store *store,
                  const uint8_t secret[PICKUP_SECRET_BYTES])
{
    if (!store_shares(store))
        return;
    pickup->store = store;
    memcpy(pickup->secret, secret, PICKUP_SECRET_BYTES);
}

void pickup_close(struct pickup *pickup)
{
    if (pickup == NULL)
        return;
    (void)pthread_mutex_destroy(&pickup->mutex);
    free(pickup);
}

static struct pickup_place *pickup_find(struct pickup *pickup, const uint8_t *name)
{
    const uint64_t mark = bytes_load_le64(name);
    for (uint32_t i = 0; i < PICKUP_COUNT; i++) {
        struct pickup_place *place = &pickup->places[i];
        if (place->mark == mark && place->until_ns != 0 &&
            memcmp(pickup->texts[i].name, name, PICKUP_NAME_BYTES) == 0)
            return place;
    }
    return NULL;
}

static struct pickup_text *place_text(struct pickup *pickup, const struct pickup_place *place)
{
    return &pickup->texts[place - pickup->places];
}

static void owner_digest(const struct pickup *pickup, const void *owner, size_t owner_bytes,
                         uint8_t digest[DIGEST_BYTES])
{
    const struct digest_part parts[] = {{.bytes_at = pickup->secret,
                                         .bytes = sizeof(pickup->secret)},
                                        {.bytes_at = owner, .bytes = owner_bytes}};
    /* Without memory for a digest all owners share one group: a smaller share, never a larger. */
    if (digest_parts(parts, ARRAY_COUNT(parts), digest) != 0)
        memset(digest, 0, DIGEST_BYTES);
}

static void place_free(struct pickup *pickup, struct pickup_place *place)
{
    ASSERT(place->until_ns != 0);
    ASSERT(pickup->held_count[place->group] > 0);
    pickup->held_count[place->group]--;
    place->until_ns = 0;
}

/* The place to give up: of this group when its share is used up, else of the largest group. */
static bool place_worse(const struct pickup *pickup, const struct pickup_place *one,
                        const struct pickup_place *other)
{
    const uint16_t one_count = pickup->held_count[one->group];
    const uint16_t other_count = pickup->held_count[other->group];
    return one_count != other_count ? one_count > other_count : one->until_ns < other->until_ns;
}

/* The name's own place, else a free one, in one search; what is out of time is freed on the way. */
static struct pickup_place *place_take(struct pickup *pickup, const uint8_t *name, uint32_t group,
                                       uint64_t now_ns)
{
    const uint64_t mark = bytes_load_le64(name);
    struct pickup_place *open = NULL;
    struct pickup_place *own = NULL; /* the group's oldest */
    struct pickup_place *worst = NULL;
    for (uint32_t i = 0; i < PICKUP_COUNT; i++) {
        struct pickup_place *place = &pickup->places[i];
        if (place->until_ns != 0 && place->until_ns <= now_ns)
            place_free(pickup, place);
        if (place->until_ns == 0) {
            open = place;
            continue;
        }
        if (place->mark == mark && memcmp(pickup->texts[i].name, name, PICKUP_NAME_BYTES) == 0) {
            place_free(pickup, place);
            return place;
        }
        if (place->group == group && (own == NULL || place->until_ns < own->until_ns))
            own = place;
        if (worst == NULL || place_worse(pickup, place, worst))
            worst = place;
    }
    struct pickup_place *place = pickup->held_count[group] >= PICKUP_SHARE ? own : open;
    if (place == NULL)
        place = worst;
    ASSERT(place != NULL);
    if (place->until_ns != 0)
        place_free(pickup, place);
    return place;
}

int pickup_park(struct pickup *pickup, const void *owner, size_t owner_bytes,
                const uint8_t name[PICKUP_NAME_BYTES], const char *text, uint64_t now_ns)
{
    uint8_t digest[DIGEST_BYTES];
    const size_t bytes = strlen(text) + 1;
    ASSERT(bytes <= PICKUP_TEXT_BYTES);
    owner_digest(pickup, owner, owner_bytes, digest);
    if (pickup->store != NULL)
        return store_pickup_park(pickup->store, digest, name, PICKUP_NAME_BYTES, text,
                                 PICKUP_LIFE_NS);
    const uint32_t group = (uint32_t)(bytes_load_le64(digest) % PICKUP_GROUPS);
    (void)pthread_mutex_lock(&pickup->mutex);
    struct pickup_place *place = place_take(pickup, name, group, now_ns);
    struct pickup_text *parked = place_text(pickup, place);
    memcpy(parked->name, name, PICKUP_NAME_BYTES);
    memcpy(parked->text, text, bytes);
    place->mark = bytes_load_le64(name);
    place->group = group;
    place->until_ns = now_ns + PICKUP_LIFE_NS;
    pickup->held_count[group]++;
    (void)pthread_mutex_unlock(&pickup->mutex);
    return 0;
}

int pickup_take(struct pickup *pickup, const uint8_t name[PICKUP_NAME_BYTES], uint64_t now_ns,
                char text[PICKUP_TEXT_BYTES])
{
    int rc = -ENOENT;
    if (pickup->store != NULL)
        return store_pickup_take(pickup->store, name, PICKUP_NAME_BYTES, text, PICKUP_TEXT_BYTES);
    (void)pthread_mutex_lock(&pickup->mutex);
    struct pickup_place *place = pickup_find(pickup, name);
    if (place != NULL) {
        if (now_ns < place->until_ns) {
            memcpy(text, place_text(pickup, place)->text, PICKUP_TEXT_BYTES);
            rc = 0;
        }
        place_free(pickup, place); /* once, or never */
    }
    (void)pthread_mutex_unlock(&pickup->mutex);
    return rc;
}
