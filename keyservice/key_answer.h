/*
 * key_answer: reads what the key service says of a batch, and believes nothing that is not exact.
 * Ownership: borrows everything for the call.
 * Threads:   any.
 * Units:     bytes; records.
 * Errors:    -EBADMSG unless there is one result for each record, in order, under its own id, or
 *            the short form that names this very batch and all of its records.
 */
#ifndef KEYSERVICE_KEY_ANSWER_H
#define KEYSERVICE_KEY_ANSWER_H

#include "base/macros.h"
#include "keyservice/key_client.h"

/* A batch's name: 32 hex digits, chosen at random for every request. */
#define KEY_ANSWER_BATCH_CHARS 32

/*
 * {"results":[{"id":"<32 hex>","status":"stored|conflict|invalid"}, …]}; ids[i] is 16 bytes. Or,
 * when all are stored, {"stored":ids_count,"batch":"<batch>"}; `batch` NULL: not that form.
 */
MUST_USE int key_answer_read(const char *text, size_t text_bytes, const char *batch,
                             const uint8_t *const *ids, uint32_t ids_count,
                             enum key_result_status *statuses);

/* True for what the service answers with status 400 or 413 when it will not take a batch as it is:
 * {"error":{"code":"bad_request|too_large", …}}. What stands between may use these numbers too. */
bool key_answer_refuses(const char *text, size_t text_bytes);

#endif
