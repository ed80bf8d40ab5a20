#include "keyservice/server/store/store_row.h"

#include "base/assert.h"
#include "base/bytes.h"

#include <errno.h>
#include <string.h>

/* Where the pieces stand in a record (keyservice/record.h). */
#define WIRE_KIND_AT    4 /* suite, level, flags  */
#define WIRE_ID_AT      8
#define WIRE_TIMES_AT   24 /* times and mail_bytes */
#define WIRE_KEY_AT     56
#define WIRE_LENGTHS_AT 88 /* of the strings       */
#define ROW_TIMES_AT    4
#define ROW_LENGTHS_AT  36
#define TIMES_BYTES     (WIRE_KEY_AT - WIRE_TIMES_AT)
#define LENGTHS_BYTES   (RECORD_FIXED_BYTES - WIRE_LENGTHS_AT)

_Static_assert(ROW_TIMES_AT + TIMES_BYTES == ROW_LENGTHS_AT, "no gap");
_Static_assert(ROW_LENGTHS_AT + LENGTHS_BYTES == STORE_ROW_FIXED_BYTES, "then the strings");

uint32_t store_row_pack(uint8_t *row, const uint8_t *wire, uint32_t wire_bytes)
{
    ASSERT(wire_bytes >= RECORD_FIXED_BYTES);
    ASSERT(wire_bytes <= RECORD_BYTES_MAX);
    memcpy(row, wire + WIRE_KIND_AT, ROW_TIMES_AT);
    memcpy(row + ROW_TIMES_AT, wire + WIRE_TIMES_AT, TIMES_BYTES);
    memcpy(row + ROW_LENGTHS_AT, wire + WIRE_LENGTHS_AT, wire_bytes - WIRE_LENGTHS_AT);
    return wire_bytes - STORE_ROW_LEFT_OUT_BYTES;
}

int store_row_read(struct record *record, uint8_t wire[STORE_ROW_WIRE_BYTES_MAX],
                   const uint8_t id[RECORD_ID_BYTES], const uint8_t *row, size_t row_bytes)
{
    if (row == NULL || row_bytes < STORE_ROW_FIXED_BYTES ||
        row_bytes > RECORD_BYTES_MAX - STORE_ROW_LEFT_OUT_BYTES)
        return -EBADMSG;
    const uint32_t wire_bytes = (uint32_t)row_bytes + STORE_ROW_LEFT_OUT_BYTES;
    uint8_t *at = wire + RECORD_BATCH_HEAD_BYTES;
    size_t offset = RECORD_BATCH_HEAD_BYTES;
    bytes_store_le32(at, wire_bytes);
    memcpy(at + WIRE_KIND_AT, row, ROW_TIMES_AT);
    memcpy(at + WIRE_ID_AT, id, RECORD_ID_BYTES);
    memcpy(at + WIRE_TIMES_AT, row + ROW_TIMES_AT, TIMES_BYTES);
    memset(at + WIRE_KEY_AT, 0, RECORD_KEY_BYTES_MAX);
    memcpy(at + WIRE_LENGTHS_AT, row + ROW_LENGTHS_AT, row_bytes - ROW_LENGTHS_AT);
    return record_read(record, wire, RECORD_BATCH_HEAD_BYTES + wire_bytes, &offset);
}
