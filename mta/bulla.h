/*
 * bulla.h: attaches a mail server to the bulla engine.
 *
 * Ownership: bulla_attach() allocates; bulla_detach() frees and gives up what was not completed.
 *            A message is yours until a completion says otherwise (enum bulla_status).
 * Threads:   one attachment, one thread at a time. Attach once per thread that submits.
 * Units:     bytes; milliseconds for waits.
 * Errors:    0, or -errno: -ENOENT/-ECONNREFUSED no engine; -EACCES not among its users; -EPROTO
 *            another version; -EPIPE the engine is gone: detach, and attach again; -EAGAIN full:
 *            poll and release first; -EMSGSIZE, -EINVAL the request can never be taken; -ENOTSUP
 *            nothing can be collected, since the engine has no spool.
 *
 * The installed header; man pages bulla_attach(3), bulla_submit(3), bulla_collect(3),
 * bulla_seal_one(3).
 */
#ifndef BULLA_H
#define BULLA_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BULLA_VERSION_MAJOR 0
#define BULLA_VERSION_MINOR 1

#define BULLA_SOCKET_DEFAULT "/run/bulla/engine.sock"
#define BULLA_SPANS_MAX      8

struct bulla; /* one attachment */

/* Zeros and NULL mean the default. */
struct bulla_config {
    const char *socket_path;    /* BULLA_SOCKET_DEFAULT                                        */
    uint32_t slots_count;       /* messages under way at once; a power of two, 8 to 4096; 256  */
    size_t input_bytes;         /* shared memory for mail under way, < 1 GiB; 64 MiB           */
    uint32_t spin_us_max;       /* longest busy wait before bulla_wait() sleeps; 50            */
    uint32_t attach_timeout_ms; /* for the engine to answer; 10000                          */
};

int bulla_attach(struct bulla **bulla, const struct bulla_config *config);
void bulla_detach(struct bulla *bulla); /* NULL is harmless */
/* How many workers the engine has. An attachment is served by one of them, and new ones go to those
 * that have the least to do: so many attachments use all of the engine. */
uint32_t bulla_workers_count(const struct bulla *bulla);

/*
 * Readable when bulla_poll() may have something, or the engine is gone; for an event loop of your
 * own. From the first call on the engine rings it. Sleep on it only after a bulla_poll() that gave
 * fewer completions than there was room for.
 */
int bulla_fd(struct bulla *bulla);

#define BULLA_QUEUE UINT32_C(1) /* the engine may keep the message and emit it later */

/* Wishes of a message that differ from its profile. A bit in `set`: this option is given; in
 * `values`: it is on. Where the profile does not allow them they count for nothing. */
#define BULLA_OPTION_REPLY              UINT32_C(1)
#define BULLA_OPTION_REPLY_ALL          UINT32_C(2)
#define BULLA_OPTION_FORWARD            UINT32_C(4)
#define BULLA_OPTION_RECEIPT            UINT32_C(8)
#define BULLA_OPTION_REMEMBER_KEY       UINT32_C(16)
#define BULLA_OPTION_SCRIPT             UINT32_C(32)
#define BULLA_OPTION_BROWSER_DECRYPTION UINT32_C(64)
#define BULLA_OPTION_EXPIRES            UINT32_C(128) /* in `set` alone: expires_after_s  */
#define BULLA_OPTION_READ_BY            UINT32_C(256) /* in `set` alone: read_by_after_s */
struct bulla_options {
    uint32_t set;
    uint32_t values;
    uint64_t expires_after_s; /* 0: never; at most a hundred years */
    uint64_t read_by_after_s;
};

/* Borrowed for bulla_reserve(). */
struct bulla_request {
    const char *profile;           /* NULL: "default"                             */
    const char *sender;            /* envelope sender; NULL or "": the null sender */
    const char *const *recipients; /* envelope recipients                          */
    uint32_t recipients_count;
    uint32_t flags;                      /* BULLA_QUEUE                                  */
    size_t mail_bytes;                   /* of the message to come                       */
    void *user;                          /* returned with the completion                 */
    const struct bulla_options *options; /* NULL: the profile's        */
};

/* Space in shared memory for one message: write mail_bytes at mail, then submit. */
struct bulla_reservation {
    uint8_t *mail;
    size_t mail_bytes;
    uint64_t id; /* the library's */
};

int bulla_reserve(struct bulla *bulla, const struct bulla_request *request,
                  struct bulla_reservation *reservation);
/* Hands the message to the engine; mail may not be written from here on, and can be read until
 * bulla_release(). -EAGAIN or -EPIPE: it is still reserved. */
int bulla_submit(struct bulla *bulla, const struct bulla_reservation *reservation);
/* Gives a reservation back unsubmitted. */
void bulla_cancel(struct bulla *bulla, const struct bulla_reservation *reservation);

enum bulla_status {
    BULLA_SEALED = 1,  /* here is the sealed mail, its key is stored: send it on       */
    BULLA_QUEUED = 2,  /* on stable storage at the engine: forget it                   */
    BULLA_PASSED = 3,  /* policy: not to be sealed; send it as it is                   */
    BULLA_REFUSED = 4, /* never; text and enhanced status say why                      */
    BULLA_RETRY = 5,   /* not now, nothing was kept: the message is still yours        */
};

/* Its pointers are valid until bulla_release(). */
struct bulla_completion {
    void *user;
    enum bulla_status status;
    char enhanced_status[12];            /* "5.3.4"; "" when sealed (RFC 3463) */
    const char *text;                    /* one line for REFUSED and RETRY; "" otherwise */
    struct iovec spans[BULLA_SPANS_MAX]; /* the sealed mail, ready for writev(2) */
    uint32_t spans_count;
    size_t mail_bytes;    /* sum of the spans */
    char envelope_id[33]; /* 32 hex digits; "" unless SEALED or QUEUED */
    uint64_t id;          /* the library's */
};

/* Up to completions_max without waiting; the number, or -EPIPE when the engine is gone and its last
 * completion was given: every message without one is still yours. */
int bulla_poll(struct bulla *bulla, struct bulla_completion *completions, uint32_t completions_max);
/* Waits for a completion: 1 there is one, 0 time is up, or -errno. timeout_ms -1: no end. */
int bulla_wait(struct bulla *bulla, int timeout_ms);
/* Gives the engine its memory back. In any order, exactly once each; but slots come back in the
 * order of completion, so one that is kept for long holds up the slots of all later ones. */
void bulla_release(struct bulla *bulla, const struct bulla_completion *completion);

/* Copies the spans into one buffer of at least mail_bytes; returns bytes written. */
size_t bulla_flatten(const struct bulla_completion *completion, uint8_t *dst, size_t dst_bytes);

/*
 * All in one: attaches, seals, waits, copies, detaches. *sealed is malloc'ed when the status is
 * BULLA_SEALED, else NULL; `why` (of why_bytes, may be NULL) receives the engine's one line.
 * Returns 0 and *status, or -errno (-ETIMEDOUT).
 */
int bulla_seal_one(const struct bulla_config *config, const struct bulla_request *request,
                   const void *mail, int timeout_ms, enum bulla_status *status, uint8_t **sealed,
                   size_t *sealed_bytes, char *why, size_t why_bytes);

/*
 * The other half of BULLA_QUEUE: what the engine has taken over comes back here, sealed, or as the
 * notification that it could not be. A process that passes it on to a mail server must run for as
 * long as anything waits. Several may collect from one engine; each emission goes to one of them.
 */
struct bulla_collector;

/* Attaches to every worker of the engine. Of the config socket_path and slots_count count: that
 * many emissions of each worker are under way at once; 0: 64. -EUSERS: enough collect already. */
int bulla_collect(struct bulla_collector **collector, const struct bulla_config *config);
/* What was polled and not done comes again, here or elsewhere. NULL is harmless. */
void bulla_collect_end(struct bulla_collector *collector);

/* As bulla_fd(): readable when bulla_collect_poll() may have something, or the engine is gone. */
int bulla_collect_fd(struct bulla_collector *collector);
/* Waits for an emission: 1 there is one, 0 time is up, or -errno. timeout_ms -1: no end. */
int bulla_collect_wait(struct bulla_collector *collector, int timeout_ms);

enum bulla_emission_kind {
    BULLA_EMISSION_MAIL = 1,         /* sealed, for its recipients                        */
    BULLA_EMISSION_NOTIFICATION = 2, /* of a failure, from the null sender to the sender */
};

/* Its pointers are valid until bulla_collect_done(). */
struct bulla_emission {
    enum bulla_emission_kind kind;
    const char *profile;
    const char *sender; /* envelope sender; "": the null sender */
    const char *const *recipients;
    uint32_t recipients_count;
    struct iovec spans[BULLA_SPANS_MAX]; /* the mail, ready for writev(2) */
    uint32_t spans_count;
    size_t mail_bytes;    /* sum of the spans                                            */
    char envelope_id[33]; /* of the mail, or of the one that the notification is about   */
    uint64_t id;          /* the library's */
};

/* Up to emissions_max without waiting; the number, or -EPIPE when the engine, or one of its
 * workers, is gone: be done with what you have, then end and collect anew. */
int bulla_collect_poll(struct bulla_collector *collector, struct bulla_emission *emissions,
                       uint32_t emissions_max);

enum bulla_emit_result {
    BULLA_EMIT_SENT = 1,    /* the next hop has answered 250: the engine forgets it             */
    BULLA_EMIT_LATER = 2,   /* 4xx, or no answer: it comes again, later                         */
    BULLA_EMIT_REFUSED = 3, /* 5xx: never; the sender of a mail gets a failure notification     */
};

/*
 * Exactly once for each emission, in any order; say SENT as soon as it is true, since a crash
 * before that sends it twice. `enhanced_status` ("5.1.1") and `text`, the next hop's one line, may
 * be NULL or ""; a status of another class than the result's counts as none, and of the text the
 * first 512 bytes are taken. 0, or -EPIPE: the engine did not hear of it, and emits it again.
 */
int bulla_collect_done(struct bulla_collector *collector, const struct bulla_emission *emission,
                       enum bulla_emit_result result, const char *enhanced_status,
                       const char *text);

/* What the next hop said of one recipient. */
struct bulla_refusal {
    uint32_t recipient;          /* its place in the emission's recipients                   */
    const char *enhanced_status; /* as for bulla_collect_done() */
    const char *text;
};

/*
 * Instead of it, when some recipients were refused for ever: the next hop has taken the mail for
 * all others, if there are any, and the notification names those that were refused, each with its
 * own status. One refusal at least; 0, or -EPIPE.
 */
int bulla_collect_refused(struct bulla_collector *collector, const struct bulla_emission *emission,
                          const struct bulla_refusal *refusals, uint32_t refusals_count);

#ifdef __cplusplus
}
#endif

#endif
