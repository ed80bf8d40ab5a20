/*
 * job: one message under way in a worker: its state, what it owns, and the lists it waits in.
 * Ownership: the worker's pool; a job stands in at most one list.
 * Threads:   the worker; the key thread reads `record` between request and verdict.
 * Units:     bytes; jobs are named by their index in the pool.
 * Errors:    none; an edge that job_enter() does not know is a bug.
 */
#ifndef ENGINE_JOB_H
#define ENGINE_JOB_H

#include "base/assert.h"
#include "base/macros.h"
#include "engine/snapshot.h"
#include "envelope/id.h"
#include "envelope/sealer.h"
#include "ipc/layout.h"

#include <stdbool.h>
#include <stdint.h>

#define JOB_NONE         UINT32_MAX
#define JOB_ATTEMPTS_MAX 3 /* a first sealing, and two more under a new id after a conflict */

enum job_state {
    JOB_FREE,        /* in the pool                                                        */
    JOB_WAIT_ROOM,   /* owns its submission alone; wants arena, record and sealer          */
    JOB_SEALING,     /* owns sealer, record and arena range; gets slices between vectors   */
    JOB_WAIT_KEY,    /* owns record and arena range; the key thread reads the record       */
    JOB_WAIT_SPOOL,  /* owns record and arena range, of which the spool reads the latter       */
    JOB_WAIT_ANSWER, /* its verdict is known; wants room for the text or a completion slot */
};

/* Why a job ended as it did; engine/answer.c has the words. */
enum job_verdict {
    VERDICT_NONE,
    VERDICT_SEALED,
    VERDICT_NO_SPOOL,
    VERDICT_BAD_META,
    VERDICT_BAD_ADDRESS,
    VERDICT_NO_PROFILE,
    VERDICT_TOO_LARGE,
    VERDICT_NO_ARENA,
    VERDICT_RECIPIENTS,
    VERDICT_KEY_AWAY,
    VERDICT_KEY_INVALID,
    VERDICT_KEY_CONFLICT,
    VERDICT_QUEUED,
    VERDICT_SPOOL_FAILED,
};
#define VERDICT_COUNT 14

struct job {
    _Alignas(CACHE_LINE) struct ipc_submission submission;
    struct client *client;
    const struct snapshot_profile *profile;
    const struct snapshot_shell *shell; /* of the profile's, what this message's fields stand in */
    uint64_t generation;                /* of the snapshot that `profile` belongs to; 0: none yet */
    const uint8_t *constants;           /* of that snapshot */
    uint64_t constants_offset;          /* of the same, in the session's memfd */
    struct sealer *sealer;
    uint8_t *record; /* secret */
    uint8_t *space_at;
    uint64_t space_offset;
    size_t space_bytes; /* 0: no range is owned                                  */
    size_t body_offset; /* in the range: fields, then ciphertext                 */
    size_t body_bytes;  /* so far                                                */
    uint32_t mail_done; /* bytes of the original that are sealed                 */
    uint32_t prologue_bytes;
    uint32_t epilogue_bytes;
    uint32_t record_bytes;
    uint32_t record_large; /* index of a large record slot; JOB_NONE: the job's own  */
    uint32_t attempts_count;
    uint32_t next;
    uint32_t prev;
    struct id id;
    enum job_state state;
    enum job_verdict verdict;
    bool notify; /* its sender is told when it fails after QUEUED */
};

struct job_list {
    uint32_t first;
    uint32_t last;
    uint32_t count;
};

static inline void job_list_init(struct job_list *list)
{
    *list = (struct job_list){.first = JOB_NONE, .last = JOB_NONE};
}

static inline void job_list_append(struct job_list *list, struct job *jobs, uint32_t index)
{
    ASSERT_HOT(jobs[index].next == JOB_NONE && jobs[index].prev == JOB_NONE);
    jobs[index].prev = list->last;
    if (list->last == JOB_NONE)
        list->first = index;
    else
        jobs[list->last].next = index;
    list->last = index;
    list->count++;
}

static inline void job_list_prepend(struct job_list *list, struct job *jobs, uint32_t index)
{
    ASSERT_HOT(jobs[index].next == JOB_NONE && jobs[index].prev == JOB_NONE);
    jobs[index].next = list->first;
    if (list->first == JOB_NONE)
        list->last = index;
    else
        jobs[list->first].prev = index;
    list->first = index;
    list->count++;
}

static inline void job_list_remove(struct job_list *list, struct job *jobs, uint32_t index)
{
    struct job *job = &jobs[index];
    ASSERT(list->count > 0);
    if (job->prev == JOB_NONE)
        list->first = job->next;
    else
        jobs[job->prev].next = job->next;
    if (job->next == JOB_NONE)
        list->last = job->prev;
    else
        jobs[job->next].prev = job->prev;
    job->next = JOB_NONE;
    job->prev = JOB_NONE;
    list->count--;
}

static inline bool job_edge(enum job_state from, enum job_state to)
{
    switch (to) {
    case JOB_FREE: return from != JOB_FREE;
    case JOB_WAIT_ROOM: return from == JOB_FREE || from == JOB_WAIT_KEY;
    case JOB_SEALING: return from == JOB_WAIT_ROOM;
    case JOB_WAIT_KEY: return from == JOB_SEALING;
    case JOB_WAIT_SPOOL: return from == JOB_SEALING || from == JOB_WAIT_KEY;
    case JOB_WAIT_ANSWER:
        return from == JOB_WAIT_ROOM || from == JOB_WAIT_KEY || from == JOB_WAIT_SPOOL;
    }
    return false;
}

static inline void job_enter(struct job *job, enum job_state state)
{
    ASSERT(job_edge(job->state, state));
    job->state = state;
}

#endif
