#include "policy/override.h"

#include "base/assert.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define HOUR_DIGITS_MAX 4
#define DAY_DIGITS_MAX  5
#define DAY_S           UINT64_C(86400)

enum override_form {
    FORM_FLAG,     /* true or false               */
    FORM_FLAG_NOT, /* the same, for the opposite  */
    FORM_TIME,     /* +HH:MM:SS or +D             */
};

static const struct {
    const char *name; /* after X-PostX- */
    uint32_t bit;
    enum override_form form;
} FIELDS[] = {
    {"Reply-Enabled", OVERRIDE_REPLY, FORM_FLAG},
    {"Reply-All-Enabled", OVERRIDE_REPLY_ALL, FORM_FLAG},
    {"Forward-Enabled", OVERRIDE_FORWARD, FORM_FLAG},
    {"Send-Return-Receipt", OVERRIDE_RECEIPT, FORM_FLAG},
    {"Remember-Envelope-Key-Checkbox", OVERRIDE_REMEMBER_KEY, FORM_FLAG},
    {"Use-Script", OVERRIDE_SCRIPT, FORM_FLAG},
    {"Suppress-Applet-For-Open", OVERRIDE_BROWSER_DECRYPTION, FORM_FLAG_NOT},
    {"ExpirationDate", OVERRIDE_EXPIRES, FORM_TIME},
    {"ReadNotificationDate", OVERRIDE_READ_BY, FORM_TIME},
};

static const char PREFIX[] = "X-PostX-";
static const char PREFIX_OWN[] = "X-Bulla-";
#define PREFIX_CHARS (sizeof(PREFIX) - 1)
_Static_assert(sizeof(PREFIX) == sizeof(PREFIX_OWN), "one length serves both");

/* A text without the blanks and folds around it; those inside stay, and fit no form. */
struct body {
    const char *at;
    size_t chars;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct body body_trim(const char *text)
{
    const char *end = text + strlen(text);
    while (is_blank(*text))
        text++;
    while (end > text && is_blank(end[-1]))
        end--;
    return (struct body){text, (size_t)(end - text)};
}

static bool body_is(struct body body, const char *word)
{
    return strlen(word) == body.chars && strncasecmp(body.at, word, body.chars) == 0;
}

static int read_flag(struct body body, bool *flag)
{
    if (!body_is(body, "true") && !body_is(body, "false"))
        return -EINVAL;
    *flag = body_is(body, "true");
    return 0;
}

/* Takes `digits_min` to `digits_max` decimal digits off the body. */
static int read_number(struct body *body, size_t digits_min, size_t digits_max, uint64_t *number)
{
    uint64_t value = 0;
    size_t digits = 0;
    while (digits < body->chars && body->at[digits] >= '0' && body->at[digits] <= '9') {
        if (digits == digits_max)
            return -EINVAL;
        value = value * 10 + (uint64_t)(body->at[digits++] - '0');
    }
    if (digits < digits_min)
        return -EINVAL;
    body->at += digits;
    body->chars -= digits;
    *number = value;
    return 0;
}

static bool take_char(struct body *body, char c)
{
    if (body->chars == 0 || *body->at != c)
        return false;
    body->at++;
    body->chars--;
    return true;
}

static int read_time(struct body body, uint64_t *after_s)
{
    struct body days_body;
    uint64_t first;
    uint64_t minutes;
    uint64_t seconds;
    uint64_t total;
    if (!take_char(&body, '+'))
        return -EINVAL;
    days_body = body;
    if (read_number(&days_body, 1, DAY_DIGITS_MAX, &first) == 0 && days_body.chars == 0) {
        total = first * DAY_S;
    } else {
        if (read_number(&body, 1, HOUR_DIGITS_MAX, &first) != 0 || !take_char(&body, ':') ||
            read_number(&body, 2, 2, &minutes) != 0 || !take_char(&body, ':') ||
            read_number(&body, 2, 2, &seconds) != 0 || body.chars != 0 || minutes > 59 ||
            seconds > 59)
            return -EINVAL;
        total = first * 3600 + minutes * 60 + seconds;
    }
    /* Nothing would mean "never" in a key record: the opposite of what was asked for. */
    if (total < OVERRIDE_AFTER_S_MIN || total > OVERRIDE_AFTER_S_MAX)
        return -EINVAL;
    *after_s = total;
    return 0;
}

static int note_flag(struct override *override, uint32_t bit, bool flag)
{
    const uint32_t value = flag ? bit : 0;
    if ((override->set & bit) != 0 && (override->values & bit) != value)
        return -EEXIST;
    override->set |= bit;
    override->values |= value;
    return 0;
}

static int note_time(struct override *override, uint32_t bit, uint64_t after_s)
{
    uint64_t *time =
        bit == OVERRIDE_EXPIRES ? &override->expires_after_s : &override->read_by_after_s;
    if ((override->set & bit) != 0 && *time != after_s)
        return -EEXIST;
    override->set |= bit;
    *time = after_s;
    return 0;
}

void override_init(struct override *override)
{
    *override = (struct override){0};
}

enum override_verdict override_read(struct override *override, const char *name, const char *body,
                                    char why[OVERRIDE_WHY_BYTES])
{
    ASSERT((override->values & ~override->set) == 0);
    size_t f = 0;
    if (strncasecmp(name, PREFIX, PREFIX_CHARS) != 0)
        return OVERRIDE_NOT_OURS;
    /* RFC 5322, 4.5: blanks may stand before the colon. */
    const struct body own_name = body_trim(name + PREFIX_CHARS);
    while (f < ARRAY_COUNT(FIELDS) && !body_is(own_name, FIELDS[f].name))
        f++;
    if (f == ARRAY_COUNT(FIELDS))
        return OVERRIDE_NOT_OURS;
    const bool is_time = FIELDS[f].form == FORM_TIME;
    const struct body trimmed = body_trim(body);
    uint64_t after_s = 0;
    bool flag = false;
    int rc = is_time ? read_time(trimmed, &after_s) : read_flag(trimmed, &flag);
    if (rc == 0 && is_time)
        rc = note_time(override, FIELDS[f].bit, after_s);
    else if (rc == 0)
        rc = note_flag(override, FIELDS[f].bit, flag == (FIELDS[f].form == FORM_FLAG));
    if (rc == 0)
        return OVERRIDE_TAKEN;
    (void)snprintf(why, OVERRIDE_WHY_BYTES, "%s%s %s; write %s", PREFIX, FIELDS[f].name,
                   rc == -EEXIST ? "stands twice with different values" : "cannot be read",
                   is_time ? "+HH:MM:SS, or +D for days: at least a minute, at most 36500 days"
                           : "true or false");
    return OVERRIDE_MALFORMED;
}

bool override_is_control(const char *name)
{
    return strncasecmp(name, PREFIX, PREFIX_CHARS) == 0 ||
           strncasecmp(name, PREFIX_OWN, PREFIX_CHARS) == 0;
}
