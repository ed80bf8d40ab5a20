/*
 * date: reads a Date field leniently and writes it canonically; only a canonical one is copied.
 * Ownership: values.
 * Threads:   any.
 * Units:     unix seconds; the zone in minutes east of UTC.
 * Errors:    date_parse() gives -EINVAL for what is no date between 1970 and 9999.
 */
#ifndef ENVELOPE_DATE_H
#define ENVELOPE_DATE_H

#include "base/macros.h"
#include "envelope/writer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DATE_HEADER_BYTES 31 /* "Sat, 21 Nov 2026 21:15:00 +0000" */

struct date {
    int64_t unix_s;
    int32_t zone_minutes;
};

/* The parts of a date in its zone. */
struct date_parts {
    uint32_t year;  /* 1970 to 9999           */
    uint32_t month; /* 1 to 12                */
    uint32_t day;   /* 1 to 31                */
    uint32_t hour;
    uint32_t minute;
    uint32_t second;
    uint32_t weekday; /* 0 is Sunday            */
};

/* RFC 5322, 3.3 and 4.3: comments, two-digit years, zone names and missing seconds are read. */
MUST_USE HOT int date_parse(struct date *date, const uint8_t *src, size_t bytes);

/* Copies to dst a date that is canonical already (but perhaps for a day of one digit, or what
 * stands after the zone). False: it is to be parsed. */
HOT bool date_copy_try(uint8_t dst[DATE_HEADER_BYTES], const uint8_t *src, size_t bytes);

HOT void date_split(struct date_parts *parts, const struct date *date);

/* Appends DATE_HEADER_BYTES. */
HOT void date_write_header(struct writer *writer, const struct date *date);

#endif
