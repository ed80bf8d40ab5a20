/*
 * reader: a process of its own that reads mail for pages without scripts.
 * Ownership: reader_open() starts it, reader_close() ends it; an answer is malloc'ed, the caller
 *            wipes and frees it.
 * Threads:   any; one mail is read at a time.
 * Units:     bytes.
 * Errors:    -EBADMSG: it is no mail, or reading it failed; -ENOENT: no such part; -EFBIG: too
 *            large; -ENOMEM, -EAGAIN: not now; -EIO: the process is gone, as the log says.
 *
 * It is made before anything secret is in memory, knows no key and no connection, confines itself
 * (confine.h) and has every mail read by a child of its own, which may use READER_CPU_S and
 * READER_MEMORY_BYTES, opens nothing, and ends with all that it held. What it says is items
 * (mailview.h), which its reader checks: a mail that takes that child over can still show nothing
 * but text.
 */
#ifndef KEYSERVICE_SERVER_MAIL_READER_H
#define KEYSERVICE_SERVER_MAIL_READER_H

#include "base/macros.h"

#include <stddef.h>
#include <stdint.h>

#define READER_CPU_S          20
#define READER_MEMORY_BYTES   (UINT64_C(1) << 30)
#define READER_MAIL_BYTES_MAX (UINT32_C(96) << 20)

struct reader;

/* Before any thread is made and any secret is read. It becomes `user`, as the service does. */
MUST_USE int reader_open(struct reader **reader, const char *user);
void reader_close(struct reader *reader); /* NULL is harmless */

/* Items of the message, for part 0, or of that part. */
MUST_USE int reader_read(struct reader *reader, const uint8_t *mail, size_t mail_bytes,
                         uint32_t part, uint8_t **items, size_t *items_bytes);

#endif
