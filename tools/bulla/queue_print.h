/*
 * queue_print: what `bulla queue` writes of the engine's answers.
 * Ownership: borrows the answer and the stream.
 * Threads:   one.
 * Units:     as the engine gives them: bytes, unix milliseconds.
 * Errors:    the stream's; a field that is missing is shown as '-'.
 *
 * Addresses are strangers' bytes: what could move the cursor or turn the line around becomes '?'.
 */
#ifndef TOOLS_BULLA_QUEUE_PRINT_H
#define TOOLS_BULLA_QUEUE_PRINT_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define QUEUE_TEXT_BYTES 512

/* `text` with its dangerous characters replaced, cut to fit. */
void queue_text(char plain[QUEUE_TEXT_BYTES], const char *text);

void queue_print_title(FILE *stream);
/* One line of a list. */
void queue_print_message(FILE *stream, const json_t *message);
void queue_print_total(FILE *stream, uint64_t messages_count, uint64_t bytes);
/* All that is known of one message, a line for each recipient. */
void queue_print_show(FILE *stream, const json_t *message);
void queue_print_stats(FILE *stream, const json_t *stats);

#endif
