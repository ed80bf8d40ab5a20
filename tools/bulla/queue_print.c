#include "tools/bulla/queue_print.h"

#include <stdbool.h>
#include <string.h>
#include <time.h>

#define QUEUE_TIME_BYTES 32

/* Bytes of a character that is shown as '?'; 0: it is shown. C0 and C1 controls, and what turns the
 * direction of a line (U+200E, U+200F, U+202A to U+202E, U+2066 to U+2069). */
static size_t hidden_bytes(const unsigned char *at)
{
    if (at[0] < 0x20 || at[0] == 0x7f)
        return 1;
    if (at[0] == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0)
        return 2;
    if (at[0] != 0xe2)
        return 0;
    const bool mark = at[1] == 0x80 && (at[2] == 0x8e || at[2] == 0x8f);
    const bool embedding = at[1] == 0x80 && at[2] >= 0xaa && at[2] <= 0xae;
    const bool isolate = at[1] == 0x81 && at[2] >= 0xa6 && at[2] <= 0xa9;
    return mark || embedding || isolate ? 3 : 0;
}

void queue_text(char plain[QUEUE_TEXT_BYTES], const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    size_t bytes = 0;
    while (*at != '\0' && bytes + 1 < QUEUE_TEXT_BYTES) {
        const size_t hidden = hidden_bytes(at);
        plain[bytes++] = hidden > 0 ? '?' : (char)*at;
        at += hidden > 0 ? hidden : 1;
    }
    plain[bytes] = '\0';
}

static void field_text(char plain[QUEUE_TEXT_BYTES], const json_t *message, const char *name)
{
    const char *text = json_string_value(json_object_get(message, name));
    queue_text(plain, text == NULL ? "-" : text);
}

static uint64_t field_number(const json_t *message, const char *name)
{
    const json_int_t number = json_integer_value(json_object_get(message, name));
    return number < 0 ? 0 : (uint64_t)number;
}

/* Local time, as an operator's log has it. */
static void field_time(char text[QUEUE_TIME_BYTES], const json_t *message, const char *name)
{
    const time_t seconds = (time_t)(field_number(message, name) / 1000);
    struct tm local;
    text[0] = '-';
    text[1] = '\0';
    /* 19 characters until the year 9999; a later one does not fit, and leaves the dash. */
    char known[QUEUE_TIME_BYTES];
    if (seconds != 0 && localtime_r(&seconds, &local) != NULL &&
        strftime(known, sizeof(known), "%Y-%m-%d %H:%M:%S", &local) > 0)
        memcpy(text, known, sizeof(known));
}

static const char *message_state(const json_t *message, const char *state)
{
    if (json_is_true(json_object_get(message, "held")))
        return "held";
    return field_number(message, "pause_s") > 0 ? "paused" : state;
}

/* "<>": the null sender. */
static void message_sender(char plain[QUEUE_TEXT_BYTES], const json_t *message)
{
    const char *sender = json_string_value(json_object_get(message, "sender"));
    queue_text(plain, sender == NULL ? "-" : sender[0] == '\0' ? "<>" : sender);
}

void queue_print_title(FILE *stream)
{
    (void)fprintf(stream, "%-32s %-19s %10s %-11s %5s  %s\n", "ID", "ARRIVED", "BYTES", "STATE",
                  "TRIES", "SENDER  RECIPIENT");
}

void queue_print_message(FILE *stream, const json_t *message)
{
    char id[QUEUE_TEXT_BYTES], state[QUEUE_TEXT_BYTES], sender[QUEUE_TEXT_BYTES];
    char recipient[QUEUE_TEXT_BYTES], arrived[QUEUE_TIME_BYTES];
    field_text(id, message, "id");
    field_text(state, message, "state");
    field_text(recipient, message, "recipient");
    message_sender(sender, message);
    field_time(arrived, message, "arrived_ms");
    (void)fprintf(stream, "%-32s %-19s %10llu %-11s %5llu  %s  %s", id, arrived,
                  (unsigned long long)field_number(message, "bytes"), message_state(message, state),
                  (unsigned long long)field_number(message, "tries"), sender, recipient);
    if (field_number(message, "recipients") > 1)
        (void)fprintf(stream, " (+%llu)",
                      (unsigned long long)field_number(message, "recipients") - 1);
    (void)fputc('\n', stream);
}

void queue_print_total(FILE *stream, uint64_t messages_count, uint64_t bytes)
{
    if (messages_count == 0)
        (void)fprintf(stream, "nothing waits\n");
    else
        (void)fprintf(stream, "-- %llu message%s, %llu bytes\n", (unsigned long long)messages_count,
                      messages_count == 1 ? "" : "s", (unsigned long long)bytes);
}

static void show_line(FILE *stream, const char *name, const char *value)
{
    (void)fprintf(stream, "%-12s %s\n", name, value);
}

static void show_number(FILE *stream, const char *name, uint64_t value)
{
    (void)fprintf(stream, "%-12s %llu\n", name, (unsigned long long)value);
}

void queue_print_show(FILE *stream, const json_t *message)
{
    static const char *const texts[] = {"id", "kind", "state", "profile", "key_service"};
    char text[QUEUE_TEXT_BYTES], when[QUEUE_TIME_BYTES];
    const json_t *recipients = json_object_get(message, "recipients");
    for (size_t n = 0; n < sizeof(texts) / sizeof(texts[0]); n++) {
        field_text(text, message, texts[n]);
        show_line(stream, texts[n],
                  strcmp(texts[n], "state") == 0 ? message_state(message, text) : text);
    }
    field_time(when, message, "arrived_ms");
    show_line(stream, "arrived", when);
    field_time(when, message, "end_ms");
    show_line(stream, "ends", when);
    show_number(stream, "bytes", field_number(message, "bytes"));
    show_number(stream, "tries", field_number(message, "tries"));
    if (field_number(message, "pause_s") > 0)
        show_number(stream, "next_try_s", field_number(message, "pause_s"));
    show_number(stream, "worker", field_number(message, "worker"));
    message_sender(text, message);
    show_line(stream, "sender", text);
    for (size_t n = 0; n < json_array_size(recipients); n++) {
        const char *recipient = json_string_value(json_array_get(recipients, n));
        queue_text(text, recipient == NULL ? "-" : recipient);
        show_line(stream, "recipient", text);
    }
}

void queue_print_stats(FILE *stream, const json_t *stats)
{
    static const char *const numbers[] = {"messages", "held"};
    static const char *const disk[] = {"bytes",        "segments", "segments_free",
                                       "segments_bad", "damaged",  "write_failures"};
    char when[QUEUE_TIME_BYTES];
    void *at = json_object_iter(json_object_get(stats, "states"));
    for (size_t n = 0; n < sizeof(numbers) / sizeof(numbers[0]); n++)
        (void)fprintf(stream, "%-16s %llu\n", numbers[n],
                      (unsigned long long)field_number(stats, numbers[n]));
    field_time(when, stats, "oldest_ms");
    (void)fprintf(stream, "%-16s %s\n", "oldest", when);
    while (at != NULL) {
        char name[QUEUE_TEXT_BYTES];
        queue_text(name, json_object_iter_key(at));
        (void)fprintf(stream, "  %-14s %llu\n", name,
                      (unsigned long long)json_integer_value(json_object_iter_value(at)));
        at = json_object_iter_next(json_object_get(stats, "states"), at);
    }
    for (size_t n = 0; n < sizeof(disk) / sizeof(disk[0]); n++)
        (void)fprintf(stream, "%-16s %llu\n", disk[n],
                      (unsigned long long)field_number(stats, disk[n]));
}
