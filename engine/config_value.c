#include "engine/config_value.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#define NAME_DB_BYTES 16384

struct unit {
    const char *name;
    uint64_t factor;
};

/* Decimal digits only: no sign, no space, no overflow. Leaves *rest at what follows. */
static int value_digits(const char *text, uint64_t *number, const char **rest)
{
    uint64_t found = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++) {
        const uint64_t digit = (uint64_t)(*at - '0');
        if (found > (UINT64_MAX - digit) / 10)
            return -EINVAL;
        found = found * 10 + digit;
    }
    if (at == text)
        return -EINVAL;
    *number = found;
    *rest = at;
    return 0;
}

static int value_with_unit(const char *text, const struct unit *units, size_t units_count,
                           uint64_t *value)
{
    uint64_t number;
    const char *rest;
    if (value_digits(text, &number, &rest) != 0)
        return -EINVAL;
    while (*rest == ' ')
        rest++;
    for (size_t i = 0; i < units_count; i++) {
        if (strcasecmp(rest, units[i].name) != 0)
            continue;
        if (number > UINT64_MAX / units[i].factor)
            return -EINVAL;
        *value = number * units[i].factor;
        return 0;
    }
    return -EINVAL;
}

int config_value_number(const char *text, uint64_t *number)
{
    static const struct unit units[] = {{"", 1}};
    return value_with_unit(text, units, ARRAY_COUNT(units), number);
}

int config_value_size(const char *text, uint64_t *bytes)
{
    static const struct unit units[] = {
        {"", 1},
        {"B", 1},
        {"kB", UINT64_C(1) << 10},
        {"MB", UINT64_C(1) << 20},
        {"GB", UINT64_C(1) << 30},
        {"KiB", UINT64_C(1) << 10},
        {"MiB", UINT64_C(1) << 20},
        {"GiB", UINT64_C(1) << 30},
    };
    return value_with_unit(text, units, ARRAY_COUNT(units), bytes);
}

int config_value_time(const char *text, uint64_t *seconds)
{
    static const struct unit units[] = {
        {"", 1}, {"s", 1}, {"min", 60}, {"h", 60 * 60}, {"d", 24 * 60 * 60},
    };
    return value_with_unit(text, units, ARRAY_COUNT(units), seconds);
}

int config_value_bool(const char *text, bool *value)
{
    static const char *const yes[] = {"yes", "on", "true"};
    static const char *const no[] = {"no", "off", "false"};
    for (size_t i = 0; i < ARRAY_COUNT(yes); i++) {
        if (strcasecmp(text, yes[i]) == 0) {
            *value = true;
            return 0;
        }
        if (strcasecmp(text, no[i]) == 0) {
            *value = false;
            return 0;
        }
    }
    return -EINVAL;
}

int config_value_mode(const char *text, uint32_t *mode)
{
    uint32_t found = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '7'; at++) {
        found = found * 8 + (uint32_t)(*at - '0');
        if (found > 0777)
            return -EINVAL;
    }
    if (at == text || *at != '\0')
        return -EINVAL;
    *mode = found;
    return 0;
}

int config_value_user(const char *name, uint32_t *uid)
{
    char buffer[NAME_DB_BYTES];
    struct passwd entry;
    struct passwd *found = NULL;
    uint64_t number;
    if (config_value_number(name, &number) == 0 && number < UINT32_MAX) {
        *uid = (uint32_t)number;
        return 0;
    }
    if (getpwnam_r(name, &entry, buffer, sizeof(buffer), &found) != 0 || found == NULL)
        return -ENOENT;
    *uid = found->pw_uid;
    return 0;
}

int config_value_group(const char *name, uint32_t *gid)
{
    char buffer[NAME_DB_BYTES];
    struct group entry;
    struct group *found = NULL;
    uint64_t number;
    if (config_value_number(name, &number) == 0 && number < UINT32_MAX) {
        *gid = (uint32_t)number;
        return 0;
    }
    if (getgrnam_r(name, &entry, buffer, sizeof(buffer), &found) != 0 || found == NULL)
        return -ENOENT;
    *gid = found->gr_gid;
    return 0;
}

bool config_value_is_host_port(const char *text)
{
    static const char host[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    static const char inet6[] = "0123456789abcdefABCDEF:.";
    const bool bracket = text[0] == '[';
    const char *at = text + bracket;
    const size_t bytes = strspn(at, bracket ? inet6 : host);
    uint64_t port;
    at += bytes;
    if (bracket && *at++ != ']')
        return false;
    return bytes > 0 && *at == ':' && at[1 + strspn(at + 1, "0123456789")] == '\0' &&
           config_value_number(at + 1, &port) == 0 && port > 0 && port <= UINT16_MAX;
}
