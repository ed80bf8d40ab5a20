/*
 * fixture: mails that are a function of their number, submitted and looked at again.
 * Ownership: what engine_with() and attach_to() open, the caller closes.
 * Threads:   any, one at a time per attachment.
 * Units:     bytes; milliseconds.
 * Errors:    a cmocka failure.
 */
#ifndef TESTS_MTA_FIXTURE_H
#define TESTS_MTA_FIXTURE_H

#include "mta/bulla.h"
#include "tests/mta/echo_engine.h"

#include <stddef.h>
#include <stdint.h>

#define WAIT_MS 60000 /* far longer than anything takes; a bound, not a timing */

/* From bob@example.org to ann@example.net. */
struct bulla_request request_for(const char *profile, size_t mail_bytes, void *user);
struct echo_engine *engine_with(struct echo_engine_config config);
struct bulla *attach_to(const struct echo_engine *engine, uint32_t slots_count, size_t input_bytes);

/* Bytes that are a function of seed and place, so a wrong copy cannot go unseen. */
uint8_t pattern(uint64_t seed, size_t n);
void pattern_write(uint8_t *at, uint64_t seed, size_t bytes);
void submit(struct bulla *bulla, const char *profile, uint64_t seed, size_t mail_bytes);
/* The echo: head, the pattern, tail; in spans that add up. */
void assert_echo(const struct bulla_completion *completion, uint64_t seed, size_t mail_bytes);
struct bulla_completion wait_one(struct bulla *bulla);

/* xorshift64*: the seed is printed by whoever fails. */
uint64_t next_random(uint64_t *random);

#endif
