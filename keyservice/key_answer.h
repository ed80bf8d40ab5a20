/*
 * key_answer: reads what the key service says of a batch, and believes nothing that is not exact.
 * Ownership: borrows everything for the call.
 * Threads:   any.
 * Units:     bytes; records.
 * Errors:    -EBADMSG unless there is one result for each record, in order, under its own id.
 */
#ifndef KEYSERVICE_KEY_ANSWER_H
#define KEYSERVICE_KEY_ANSWER_H

#include "base/macros.h"
#include "keyservice/key_client.h"

/* {"results":[{"id":"<32 hex>","status":"stored|conflict|invalid"}, …]}; ids[i] is 16 bytes. */
MUST_USE int key_answer_read(const char *text, size_t text_bytes, const uint8_t *const *ids,
                             uint32_t ids_count, enum key_result_status *statuses);

#endif
