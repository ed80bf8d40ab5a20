#include "envelope/date.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "envelope/window.h"

#include <errno.h>
#include <stdbool.h>

#define DAY_S             INT64_C(86400)
#define UNIX_S_MAX        INT64_C(253402300799) /* the last second of 9999 */
#define DATE_BYTES_MAX    256                   /* more is no date         */
#define COMMENT_DEPTH_MAX 32

static const char MONTHS[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
static const char WEEKDAYS[] = "SunMonTueWedThuFriSat";

/* The same as numbers of three bytes. */
#define THREE(a, b, c) ((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16)
static const uint32_t MONTH_THREES[12] = {
    THREE('J', 'a', 'n'), THREE('F', 'e', 'b'), THREE('M', 'a', 'r'), THREE('A', 'p', 'r'),
    THREE('M', 'a', 'y'), THREE('J', 'u', 'n'), THREE('J', 'u', 'l'), THREE('A', 'u', 'g'),
    THREE('S', 'e', 'p'), THREE('O', 'c', 't'), THREE('N', 'o', 'v'), THREE('D', 'e', 'c')};
static const uint32_t WEEKDAY_THREES[7] = {THREE('S', 'u', 'n'), THREE('M', 'o', 'n'),
                                           THREE('T', 'u', 'e'), THREE('W', 'e', 'd'),
                                           THREE('T', 'h', 'u'), THREE('F', 'r', 'i'),
                                           THREE('S', 'a', 't')};

/* Days from 1970-01-01 to a day not before it, of the Gregorian calendar; years count from March.
 */
static uint32_t days_from_civil(uint32_t year, uint32_t month, uint32_t day)
{
    const uint32_t y = month <= 2 ? year - 1 : year;
    const uint32_t m = month <= 2 ? month + 9 : month - 3;
    return y * 365 + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day - 1 - 719468;
}

HOT void date_split(struct date_parts *parts, const struct date *date)
{
    int64_t local_s = date->unix_s + (int64_t)date->zone_minutes * 60;
    local_s = MAX(INT64_C(0), MIN(local_s, UNIX_S_MAX));
    const int64_t days = local_s / DAY_S;
    const int64_t in_day_s = local_s % DAY_S;
    const int64_t z = days + 719468; /* days since 0000-03-01 */
    const int64_t era = z / 146097;
    const int64_t doe = z % 146097;
    const int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    const int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    const int64_t mp = (5 * doy + 2) / 153;
    const int64_t month = mp < 10 ? mp + 3 : mp - 9;

    *parts = (struct date_parts){
        .year = (uint32_t)(era * 400 + yoe + (month <= 2 ? 1 : 0)),
        .month = (uint32_t)month,
        .day = (uint32_t)(doy - (153 * mp + 2) / 5 + 1),
        .hour = (uint32_t)(in_day_s / 3600),
        .minute = (uint32_t)(in_day_s / 60 % 60),
        .second = (uint32_t)(in_day_s % 60),
        .weekday = (uint32_t)((days + 4) % 7),
    };
    ASSERT_HOT(parts->month >= 1 && parts->month <= 12);
}

HOT void date_write_header(struct writer *writer, const struct date *date)
{
    struct date_parts parts;
    date_split(&parts, date);
    const uint32_t zone =
        (uint32_t)(date->zone_minutes < 0 ? -date->zone_minutes : date->zone_minutes);
    writer_copy(writer, WEEKDAYS + (size_t)parts.weekday * 3, 3);
    writer_literal(writer, ", ");
    writer_padded(writer, parts.day, 2);
    writer_byte(writer, ' ');
    writer_copy(writer, MONTHS + (size_t)(parts.month - 1) * 3, 3);
    writer_byte(writer, ' ');
    writer_padded(writer, parts.year, 4);
    writer_byte(writer, ' ');
    writer_padded(writer, parts.hour, 2);
    writer_byte(writer, ':');
    writer_padded(writer, parts.minute, 2);
    writer_byte(writer, ':');
    writer_padded(writer, parts.second, 2);
    writer_byte(writer, ' ');
    writer_byte(writer, date->zone_minutes < 0 ? '-' : '+');
    writer_padded(writer, zone / 60, 2);
    writer_padded(writer, zone % 60, 2);
}

/* A place in the field; every read skips white space and comments first. */
struct cursor {
    const uint8_t *at;
    const uint8_t *end;
};

static void cursor_skip(struct cursor *cursor)
{
    uint32_t depth = 0;
    while (cursor->at < cursor->end) {
        const uint8_t c = *cursor->at;
        if (c == '(' && depth < COMMENT_DEPTH_MAX)
            depth++;
        else if (c == ')' && depth > 0)
            depth--;
        else if (depth == 0 && c != ' ' && c != '\t' && c != '\r' && c != '\n')
            return;
        cursor->at++;
    }
}

static bool cursor_take(struct cursor *cursor, uint8_t byte)
{
    cursor_skip(cursor);
    if (cursor->at == cursor->end || *cursor->at != byte)
        return false;
    cursor->at++;
    return true;
}

/* A number of up to four digits; -1 if there is none. */
static int32_t cursor_number(struct cursor *cursor, uint32_t *digits)
{
    cursor_skip(cursor);
    int32_t value = 0;
    uint32_t n = 0;
    while (cursor->at < cursor->end && n < 4 && *cursor->at >= '0' && *cursor->at <= '9') {
        value = value * 10 + (*cursor->at++ - '0');
        n++;
    }
    *digits = n;
    return n == 0 ? -1 : value;
}

/* A run of letters; its bytes stay in the source. */
static size_t cursor_word(struct cursor *cursor, const uint8_t **word)
{
    cursor_skip(cursor);
    *word = cursor->at;
    while (cursor->at < cursor->end && ((*cursor->at | 0x20) >= 'a' && (*cursor->at | 0x20) <= 'z'))
        cursor->at++;
    return (size_t)(cursor->at - *word);
}

static bool word_is(const uint8_t *word, const char *name, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        if ((word[i] | 0x20) != ((uint8_t)name[i] | 0x20))
            return false;
    }
    return true;
}

/* 1 to 12, or 0. */
static uint32_t month_of(const uint8_t *word, size_t bytes)
{
    for (uint32_t m = 0; bytes >= 3 && m < 12; m++) {
        if (word_is(word, MONTHS + (size_t)m * 3, 3))
            return m + 1;
    }
    return 0;
}

/* RFC 5322, 4.3: the North American names mean what they say, all others are UTC. */
static int32_t zone_of(struct cursor *cursor)
{
    static const struct {
        char name[4];
        int32_t minutes;
    } zones[] = {{"EST", -300}, {"EDT", -240}, {"CST", -360}, {"CDT", -300},
                 {"MST", -420}, {"MDT", -360}, {"PST", -480}, {"PDT", -420}};
    const bool negative = cursor_take(cursor, '-');
    if (negative || cursor_take(cursor, '+')) {
        uint32_t digits = 0;
        const int32_t number = cursor_number(cursor, &digits);
        if (digits != 4 || number % 100 > 59 || number / 100 > 23)
            return 0;
        const int32_t minutes = number / 100 * 60 + number % 100;
        return negative ? -minutes : minutes;
    }
    const uint8_t *word;
    const size_t bytes = cursor_word(cursor, &word);
    for (uint32_t i = 0; bytes == 3 && i < ARRAY_COUNT(zones); i++) {
        if (word_is(word, zones[i].name, 3))
            return zones[i].minutes;
    }
    return 0;
}

HOT int date_parse(struct date *date, const uint8_t *src, size_t bytes)
{
    if (bytes > DATE_BYTES_MAX)
        return -EINVAL;
    struct cursor cursor = {src, src + bytes};
    const uint8_t *word;
    uint32_t digits;

    if (cursor_word(&cursor, &word) > 0) /* the weekday, which is computed anew */
        (void)cursor_take(&cursor, ',');
    const int32_t day = cursor_number(&cursor, &digits);
    const size_t word_bytes = cursor_word(&cursor, &word);
    const uint32_t month = month_of(word, word_bytes);
    int32_t year = cursor_number(&cursor, &digits);
    if (digits == 2)
        year += year < 50 ? 2000 : 1900;
    else if (digits == 3)
        year += 1900;
    const int32_t hour = cursor_number(&cursor, &digits);
    const bool colon = cursor_take(&cursor, ':');
    const int32_t minute = cursor_number(&cursor, &digits);
    const int32_t second = cursor_take(&cursor, ':') ? cursor_number(&cursor, &digits) : 0;
    const int32_t zone_minutes = zone_of(&cursor);

    if (!colon || day < 1 || day > 31 || month == 0 || year < 1970 || year > 9999)
        return -EINVAL;
    if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60)
        return -EINVAL;
    const uint32_t days = days_from_civil((uint32_t)year, month, (uint32_t)day);
    const int64_t unix_s =
        days * DAY_S + hour * 3600 + minute * 60 + MIN(second, 59) - (int64_t)zone_minutes * 60;
    if (unix_s < DAY_S || unix_s > UNIX_S_MAX - DAY_S)
        return -EINVAL;
    *date = (struct date){unix_s, zone_minutes};
    return 0;
}

static uint32_t two_digits(const uint8_t *at)
{
    return (uint32_t)(at[0] - '0') * 10 + (uint32_t)(at[1] - '0');
}

static uint32_t days_in_month(uint32_t month, uint32_t year)
{
    const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return month == 2 ? (leap ? 29 : 28) : 30 + ((month + month / 8) & 1);
}

/* A byte stands behind them. */
static uint32_t three_at(const uint8_t *at)
{
    return bytes_load_le32(at) & 0xffffff;
}

/* 1 to 12, or 0. */
static uint32_t month_of_three(uint32_t three)
{
    const __m128i wanted = _mm_set1_epi32((int32_t)three);
    uint32_t found = 0;
    for (uint32_t n = 0; n < 3; n++) {
        const __m128i four = window_lanes((const uint8_t *)(MONTH_THREES + (size_t)n * 4));
        found |= (uint32_t)_mm_movemask_ps(_mm_castsi128_ps(_mm_cmpeq_epi32(four, wanted)))
                 << n * 4;
    }
    return found == 0 ? 0 : (uint32_t)__builtin_ctz(found) + 1;
}

/* As "Sat, 21 Nov 2026 10:00:00 +0100": every digit and every mark in its place. */
static bool has_form(const uint8_t text[DATE_HEADER_BYTES])
{
    static const uint8_t form[DATE_HEADER_BYTES + 1] = "???, 00 ??? 0000 00:00:00 ?0000";
    uint32_t differ = 0;
    /* The second half overlaps the first by a byte. */
    for (size_t at = 0; at + WINDOW_LANES <= DATE_HEADER_BYTES; at += WINDOW_LANES - 1) {
        const __m128i lanes = window_lanes(text + at);
        const __m128i wanted = window_lanes(form + at);
        const __m128i value = _mm_sub_epi8(lanes, window_byte('0'));
        const __m128i digit = _mm_cmpeq_epi8(_mm_min_epu8(value, window_byte(9)), value);
        const __m128i digit_wanted = window_equal(wanted, '0');
        const __m128i same = _mm_or_si128(_mm_cmpeq_epi8(lanes, wanted), window_equal(wanted, '?'));
        const __m128i fits =
            _mm_or_si128(_mm_and_si128(digit_wanted, digit), _mm_andnot_si128(digit_wanted, same));
        differ |= window_bits(fits) ^ 0xffff;
    }
    return differ == 0;
}
_Static_assert(DATE_HEADER_BYTES == 2 * WINDOW_LANES - 1, "two halves");

HOT bool date_copy_try(uint8_t dst[DATE_HEADER_BYTES], const uint8_t *src, size_t bytes)
{
    uint8_t text[DATE_HEADER_BYTES + 1];
    if (bytes < DATE_HEADER_BYTES - 1 || bytes > DATE_BYTES_MAX)
        return false;
    if (src[6] == ' ') { /* "Sun, 1 Nov" */
        memcpy(text, src, 5);
        text[5] = '0';
        memcpy(text + 6, src + 5, DATE_HEADER_BYTES - 6);
    } else if (bytes < DATE_HEADER_BYTES) {
        return false;
    } else {
        memcpy(text, src, DATE_HEADER_BYTES);
    }
    if (!has_form(text))
        return false;
    const uint32_t month = month_of_three(three_at(text + 8));
    const uint32_t day = two_digits(text + 5);
    const uint32_t year = two_digits(text + 12) * 100 + two_digits(text + 14);
    const uint32_t zone = two_digits(text + 27) * 100 + two_digits(text + 29);
    if (month == 0 || year < 1971 || year > 9998 || day < 1 || day > days_in_month(month, year))
        return false;
    if (two_digits(text + 17) > 23 || two_digits(text + 20) > 59 || two_digits(text + 23) > 59)
        return false;
    if (zone > 2359 || zone % 100 > 59 || (text[26] == '-' ? zone == 0 : text[26] != '+'))
        return false;
    if (WEEKDAY_THREES[(days_from_civil(year, month, day) + 4) % 7] != three_at(text))
        return false;
    memcpy(dst, text, DATE_HEADER_BYTES);
    return true;
}
