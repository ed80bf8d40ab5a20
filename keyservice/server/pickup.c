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
#define PICKUP_CHAINS 4096  /* a power of two */

/* What is searched lies together, apart from the texts. Places are linked by their numbers, which
 * count from 1; 0: none. */
struct pickup_place {
    uint64_t until_ns; /* 0: free */
    uint64_t mark;     /* the name's first bytes: names are digests, and seldom alike in them */
    uint32_t group;    /* the owner's */
    uint16_t next;     /* of its name's chain, or of the free ones */
    uint16_t older;    /* of its group */
    uint16_t newer;
};

struct pickup_group {
    uint16_t held_count; /* places that are taken */
    uint16_t oldest;
    uint16_t newest;
};

_Static_assert(PICKUP_COUNT < UINT16_MAX, "a place's number");

struct pickup_text {
    uint8_t name[PICKUP_NAME_BYTES];
    char text[PICKUP_TEXT_BYTES];
};

struct pickup {
    struct store *store; /* where keys are parked, or NULL: here */
    pthread_mutex_t mutex;
    uint8_t secret[PICKUP_SECRET_BYTES]; /* so that nobody can aim at another's group */
    uint16_t open;                       /* the first free place */
    uint16_t chains[PICKUP_CHAINS];      /* each the first place of the names that fall there */
    struct pickup_group groups[PICKUP_GROUPS];
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
    for (uint16_t number = 1; number < PICKUP_COUNT; number++)
        made->places[number - 1].next = (uint16_t)(number + 1);
    made->open = 1;
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

static struct pickup_place *place_at(struct pickup *pickup, uint16_t number)
{
    ASSERT(number > 0);
    ASSERT(number <= PICKUP_COUNT);
    return &pickup->places[number - 1];
}

static uint16_t place_number(const struct pickup *pickup, const struct pickup_place *place)
{
    return (uint16_t)(place - pickup->places + 1);
}

static struct pickup_place *pickup_find(struct pickup *pickup, const uint8_t *name)
{
    const uint64_t mark = bytes_load_le64(name);
    for (uint16_t at = pickup->chains[mark % PICKUP_CHAINS]; at != 0;) {
        struct pickup_place *place = place_at(pickup, at);
        if (place->mark == mark && memcmp(pickup->texts[at - 1].name, name, PICKUP_NAME_BYTES) == 0)
            return place;
        at = place->next;
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

/* Out of its name's chain and its group, to the free ones. */
static void place_free(struct pickup *pickup, struct pickup_place *place)
{
    struct pickup_group *group = &pickup->groups[place->group];
    const uint16_t number = place_number(pickup, place);
    uint16_t *link = &pickup->chains[place->mark % PICKUP_CHAINS];
    ASSERT(place->until_ns != 0);
    ASSERT(group->held_count > 0);
    while (*link != number) /* it stands there: place_at() refuses an end */
        link = &place_at(pickup, *link)->next;
    *link = place->next;
    if (place->older == 0)
        group->oldest = place->newer;
    else
        place_at(pickup, place->older)->newer = place->newer;
    if (place->newer == 0)
        group->newest = place->older;
    else
        place_at(pickup, place->newer)->older = place->older;
    group->held_count--;
    place->until_ns = 0;
    place->next = pickup->open;
    pickup->open = number;
}

/* Takes the first free place, of which there is one. */
static struct pickup_place *place_use(struct pickup *pickup, const uint8_t *name,
                                      uint32_t group_index, uint64_t until_ns)
{
    struct pickup_group *group = &pickup->groups[group_index];
    const uint16_t number = pickup->open;
    struct pickup_place *place = place_at(pickup, number);
    const uint64_t mark = bytes_load_le64(name);
    uint16_t *chain = &pickup->chains[mark % PICKUP_CHAINS];
    ASSERT(place->until_ns == 0);
    pickup->open = place->next;
    *place = (struct pickup_place){.until_ns = until_ns,
                                   .mark = mark,
                                   .group = group_index,
                                   .next = *chain,
                                   .older = group->newest};
    *chain = number;
    if (group->newest == 0)
        group->oldest = number;
    else
        place_at(pickup, group->newest)->newer = number;
    group->newest = number;
    group->held_count++;
    return place;
}

/* Whether this is rather to be given up: it is of a larger group, or older. */
static bool place_worse(const struct pickup *pickup, const struct pickup_place *one,
                        const struct pickup_place *other)
{
    const uint16_t one_count = pickup->groups[one->group].held_count;
    const uint16_t other_count = pickup->groups[other->group].held_count;
    return one_count != other_count ? one_count > other_count : one->until_ns < other->until_ns;
}

/* All are taken: what is out of time is freed, or else one of the largest group. */
static void places_trim(struct pickup *pickup, uint64_t now_ns)
{
    struct pickup_place *worst = NULL;
    for (uint32_t i = 0; i < PICKUP_COUNT; i++) {
        struct pickup_place *place = &pickup->places[i];
        if (place->until_ns != 0 && place->until_ns <= now_ns)
            place_free(pickup, place);
        else if (place->until_ns != 0 && (worst == NULL || place_worse(pickup, place, worst)))
            worst = place;
    }
    if (pickup->open == 0)
        place_free(pickup, worst);
}

/* Sees to it that a place is free, and that the group may have one more. */
static void place_make(struct pickup *pickup, const uint8_t *name, uint32_t group_index,
                       uint64_t now_ns)
{
    const struct pickup_group *group = &pickup->groups[group_index];
    struct pickup_place *own = pickup_find(pickup, name);
    if (own != NULL)
        place_free(pickup, own);
    while (group->oldest != 0 && (place_at(pickup, group->oldest)->until_ns <= now_ns ||
                                  group->held_count >= PICKUP_SHARE)) /* each turn frees one */
        place_free(pickup, place_at(pickup, group->oldest));
    if (pickup->open == 0)
        places_trim(pickup, now_ns);
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
    place_make(pickup, name, group, now_ns);
    struct pickup_text *parked =
        place_text(pickup, place_use(pickup, name, group, now_ns + PICKUP_LIFE_NS));
    memcpy(parked->name, name, PICKUP_NAME_BYTES);
    memcpy(parked->text, text, bytes);
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
