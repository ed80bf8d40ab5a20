/*
 * store_sent: the index of who sent what, newest first.
 * Ownership: as store.h.
 * Threads:   any; the store_sent_fold() and store_sent_back() of one database take turns.
 * Units:     ids, whose order is that of time (UUIDv7).
 * Errors:    as store.h.
 *
 * A registration appends a run (sent_run.h); store_sent_fold() takes runs into the index. What is
 * asked for is looked up in both. docs/keyservice/sent.md.
 */
#ifndef KEYSERVICE_SERVER_STORE_STORE_SENT_H
#define KEYSERVICE_SERVER_STORE_STORE_SENT_H

#include "base/clock.h"
#include "base/macros.h"
#include "keyservice/server/store/store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STORE_SENT_LIST_MAX  512
#define STORE_SENT_FOLD_RUNS 64  /* at once; with fewer a fold may wait */
#define STORE_SENT_LOOK_RUNS 256 /* a list looks through the newest     */
#define STORE_SENT_BURST     64
/* Three times what a page takes whose rows are in memory: threads would make that one slower. */
#define STORE_SENT_PATIENCE_NS (2 * NS_PER_MS)

/* What a list shows of a message. */
struct store_sent {
    struct store_envelope envelope; /* its key left out */
    uint32_t recipients_count;      /* as the record has them */
    uint32_t readers_count;         /* who have opened it     */
    uint32_t locked_count;          /* for whom alone it is locked */
    char first_to[STORE_ADDRESS_BYTES];
};

/* Ids of this sender's messages below `before`, newest first; *ids_count is the room and then how
 * many there are. Another sender's may be among them, rarely: store_sent_get() says whose it is. */
MUST_USE int store_sent_ids(struct store *store, const char *sender,
                            const uint8_t before[RECORD_ID_BYTES], uint8_t (*ids)[RECORD_ID_BYTES],
                            uint32_t *ids_count);
/* -ENOENT too when `sender`, unless NULL, did not send it; -EBADMSG: its row is damaged. `text`:
 * unless NULL or "", -ENODATA when neither the subject nor a recipient has it, in whatever case of
 * ASCII letters. */
MUST_USE int store_sent_get(struct store *store, const uint8_t id[RECORD_ID_BYTES],
                            const char *sender, const char *text, struct store_sent *sent);
/*
 * The same of several: each has its own result, as above. What that takes longer than `patience_ns`
 * waits for a disk, and is asked for over several connections side by side.
 */
struct store_sent_look {
    uint8_t id[RECORD_ID_BYTES];
    int rc;
    struct store_sent sent;
};
void store_sent_burst(struct store *store, struct store_sent_look *looks, uint32_t looks_count,
                      const char *sender, const char *text, uint64_t patience_ns);

/* Takes runs in, the oldest first, unless there are fewer than `runs_min`; *runs_count is how many.
 */
MUST_USE int store_sent_fold(struct store *store, uint32_t runs_min, uint32_t *runs_count);
/* Indexes what was registered before there was an index, a batch at a time; *more: not all yet. */
MUST_USE int store_sent_back(struct store *store, bool *more);

struct store_writer;
/* Inside a registration's write. */
MUST_USE int store_sent_append(struct store_writer *writer, const uint8_t *run, uint32_t run_bytes);

#endif
