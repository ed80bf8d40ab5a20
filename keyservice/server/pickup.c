#include "keyservice/server/pickup.h"

#include "base/assert.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct pickup_place {
    uint8_t name[PICKUP_NAME_BYTES];
    uint64_t until_ns; /* 0: free */
    char text[PICKUP_TEXT_BYTES];
};

struct pickup {
    pthread_mutex_t mutex;
    uint32_t next_index; /* the oldest place, given to the next */
    struct pickup_place places[PICKUP_COUNT];
};

int pickup_open(struct pickup **pickup)
{
    struct pickup *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    (void)pthread_mutex_init(&made->mutex, NULL);
    *pickup = made;
    return 0;
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
    for (uint32_t i = 0; i < PICKUP_COUNT; i++) {
        struct pickup_place *place = &pickup->places[i];
        if (place->until_ns != 0 && memcmp(place->name, name, PICKUP_NAME_BYTES) == 0)
            return place;
    }
    return NULL;
}

void pickup_park(struct pickup *pickup, const uint8_t name[PICKUP_NAME_BYTES], const char *text,
                 uint64_t now_ns)
{
    const size_t bytes = strlen(text) + 1;
    ASSERT(bytes <= PICKUP_TEXT_BYTES);
    (void)pthread_mutex_lock(&pickup->mutex);
    struct pickup_place *place = pickup_find(pickup, name);
    if (place == NULL) {
        place = &pickup->places[pickup->next_index];
        pickup->next_index = (pickup->next_index + 1) % PICKUP_COUNT;
    }
    memcpy(place->name, name, PICKUP_NAME_BYTES);
    memcpy(place->text, text, bytes);
    place->until_ns = now_ns + PICKUP_LIFE_NS;
    (void)pthread_mutex_unlock(&pickup->mutex);
}

int pickup_take(struct pickup *pickup, const uint8_t name[PICKUP_NAME_BYTES], uint64_t now_ns,
                char text[PICKUP_TEXT_BYTES])
{
    int rc = -ENOENT;
    (void)pthread_mutex_lock(&pickup->mutex);
    struct pickup_place *place = pickup_find(pickup, name);
    if (place != NULL) {
        if (now_ns < place->until_ns) {
            memcpy(text, place->text, PICKUP_TEXT_BYTES);
            rc = 0;
        }
        place->until_ns = 0; /* once, or never */
    }
    (void)pthread_mutex_unlock(&pickup->mutex);
    return rc;
}
