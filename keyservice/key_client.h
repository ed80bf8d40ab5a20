/*
 * key_client: registers key records at a key service, in batches, over mutually authenticated TLS.
 * Ownership: the client owns its connections; a record's bytes are copied by key_client_add().
 * Threads:   one thread per client.
 * Units:     records; nanoseconds of monotonic time.
 * Errors:    open gives -errno with a sentence in `why`; each record's end is a key_result.
 *
 * A record is stored when the service, after its commit, names the record's id as stored. Anything
 * else (no answer, another id, garbage, a cut body) leaves it unstored, and it is sent again: the
 * service takes the same record twice as success. KEY_INVALID is only what the service itself says
 * in so many words: a 400 of anybody between leaves the record unstored. One request in flight per
 * connection, at most KEY_CLIENT_CONNECTIONS_MAX connections; records wait in a bounded buffer. A
 * lone record leaves at once; while others are on their way, records wait for company, but never
 * for long.
 */
#ifndef KEYSERVICE_KEY_CLIENT_H
#define KEYSERVICE_KEY_CLIENT_H

#include "base/macros.h"
#include "keyservice/record.h"

#include <stdbool.h>
#include <stdint.h>

#define KEY_CLIENT_WHY_BYTES       256
#define KEY_CLIENT_CONNECTIONS_MAX 4
#define KEY_CLIENT_RECORDS_MAX     8192 /* waiting and in flight */

enum key_result_status {
    KEY_STORED,   /* durable at the service                                     */
    KEY_CONFLICT, /* the service holds another record under this id: seal anew   */
    KEY_INVALID,  /* the service will never take this record                     */
    KEY_AWAY,     /* not stored before its deadline; may be tried again          */
};

struct key_result {
    uint64_t tag; /* as given to key_client_add() */
    enum key_result_status status;
};

/* Strings are borrowed for the open. */
struct key_client_config {
    const char *url;              /* https://host:port of the service's engine listener */
    const char *ca_file;          /* NULL: the system's                                 */
    const char *certificate_file; /* PEM; the engine's identity                         */
    const char *private_key_file; /* PEM, mode 0600                                     */
    const char *proxy;            /* NULL, or http://host:port                          */
    uint64_t request_timeout_ns;  /* whole request                                      */
    uint64_t backoff_ns_max;      /* longest pause between probes while away            */
    uint64_t probe_ns_min;        /* between the beginnings of two probes (breaker.h)   */
};

struct key_client;

MUST_USE int key_client_open(struct key_client **client, const struct key_client_config *config,
                             char why[KEY_CLIENT_WHY_BYTES]);
void key_client_close(struct key_client *client);

/* False when KEY_CLIENT_RECORDS_MAX are waiting: back-pressure. `record` is wire form. */
bool key_client_add(struct key_client *client, uint64_t tag, const uint8_t *record,
                    uint32_t record_bytes, uint64_t deadline_ns);

/* Sends what can be sent, reads what came, waits at most wait_ms for either; results out. */
uint32_t key_client_run(struct key_client *client, uint64_t now_ns, uint32_t wait_ms,
                        struct key_result *results, uint32_t results_max);

/* Wakes a key_client_run() that waits; the one call that any thread may make. */
void key_client_wake(struct key_client *client);

/* Something is on its way: what is added now may as well wait some time for the answer. */
bool key_client_busy(const struct key_client *client);

/* NULL: the service answered its last request; else why not, from the first failure until the next
 * success. */
const char *key_client_fault(const struct key_client *client);

static inline bool key_client_up(const struct key_client *client)
{
    return key_client_fault(client) == NULL;
}

#endif
