/*
 * example: the key record that these benches register, but for its id, key and recipient.
 * Ownership: the record borrows constants, and the recipient that it is given.
 * Threads:   any.
 * Units:     bytes; unix milliseconds.
 * Errors:    none.
 */
#ifndef BENCH_KEYSERVICE_EXAMPLE_H
#define BENCH_KEYSERVICE_EXAMPLE_H

#include "keyservice/record.h"

/* `recipient` is in wire form: u16 length, address. */
void example_record(struct record *record, uint64_t sent_unix_ms, const uint8_t *recipient,
                    uint32_t recipient_bytes);

#endif
