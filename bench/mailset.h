/*
 * mailset: the messages a bench sends: made to sizes, or read from a folder.
 * Ownership: mailset_open_*() allocate; mailset_close() frees.
 * Threads:   constant after open; any.
 * Units:     bytes; weights are relative.
 * Errors:    -errno with a sentence in `why`.
 */
#ifndef BENCH_MAILSET_H
#define BENCH_MAILSET_H

#include "base/macros.h"

#include <stddef.h>
#include <stdint.h>

#define MAILSET_MAILS_MAX      4096
#define MAILSET_WHY_BYTES      256
#define MAILSET_MAIL_BYTES_MAX (64 * 1024 * 1024)

struct mailset_mail {
    uint8_t *bytes_at;
    size_t bytes;
    uint64_t weight_end; /* running sum of weights, for picking */
};

struct mailset {
    struct mailset_mail mails[MAILSET_MAILS_MAX];
    uint32_t mails_count;
    uint64_t bytes_total; /* of one of each */
    size_t bytes_max;
};

/* "4KiB", or a mix of size:weight: "4KiB:70,64KiB:25,25MiB:5". Text up to 16 KiB, above that a
 * text part and a base64 attachment, CRLF. "64KiB/text" is text at any size, "25MiB/attached" a
 * mail whose attachment is that large before base64. */
MUST_USE int mailset_open_sizes(struct mailset **set, const char *sizes,
                                char why[MAILSET_WHY_BYTES]);

/* Every regular file of a folder, in name order, equal weights. */
MUST_USE int mailset_open_folder(struct mailset **set, const char *path,
                                 char why[MAILSET_WHY_BYTES]);
/* "40MiB", "4096": bytes, or 0 when it is no size. */
uint64_t mailset_size(const char *text);

void mailset_close(struct mailset *set); /* NULL is harmless */

/* By weight; `random` is any 64 bits. */
const struct mailset_mail *mailset_pick(const struct mailset *set, uint64_t random);

/* splitmix64 (Steele, Lea, Flood 2014): reproducible, for picking and arrival times only. */
uint64_t mailset_random(uint64_t *state);

#endif
