/*
 * store_row: a record as it lies in the database: all of it but the id and the message key.
 * Ownership: store_row_pack() writes into the caller's buffer; a record that is read borrows
 * `wire`. Threads:   any. Units:     bytes. Errors:    -EBADMSG when a row is not what
 * store_row_pack() makes.
 *
 * docs/format/key-row.md. One blob instead of a column for each part: every column and every
 * further table costs the one writer as much as all the rest of a registration does.
 */
#ifndef KEYSERVICE_SERVER_STORE_STORE_ROW_H
#define KEYSERVICE_SERVER_STORE_STORE_ROW_H

#include "base/macros.h"
#include "keyservice/record.h"

#include <stddef.h>
#include <stdint.h>

#define STORE_ROW_FIXED_BYTES    44 /* before the strings */
#define STORE_ROW_LEFT_OUT_BYTES (RECORD_FIXED_BYTES - STORE_ROW_FIXED_BYTES)
#define STORE_ROW_WIRE_BYTES_MAX (RECORD_BATCH_HEAD_BYTES + RECORD_BYTES_MAX)

/* Writes wire_bytes - STORE_ROW_LEFT_OUT_BYTES and returns that many. `wire` has been checked. */
uint32_t store_row_pack(uint8_t *row, const uint8_t *wire, uint32_t wire_bytes);

/* The record again, its key all zeros. */
MUST_USE int store_row_read(struct record *record, uint8_t wire[STORE_ROW_WIRE_BYTES_MAX],
                            const uint8_t id[RECORD_ID_BYTES], const uint8_t *row,
                            size_t row_bytes);

#endif
