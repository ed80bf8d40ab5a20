#include "policy/profile.h"

#include "base/assert.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define PROFILE_DAY_S            (24 * 60 * 60)
#define PROFILE_WAIT_S_DEFAULT   (4 * 60 * 60)
#define PROFILE_WAIT_S_MAX       (30 * PROFILE_DAY_S)
#define PROFILE_EXPIRES_S_MIN    60
#define PROFILE_MAIL_BYTES_MAX   (UINT64_C(256) * 1024 * 1024) /* IPC_MAIL_BYTES_MAX */
#define PROFILE_MAIL_BYTES_USUAL (UINT64_C(25) * 1024 * 1024)
#define PROFILE_MAIL_BYTES_WARN  (UINT64_C(10) * 1024 * 1024)

static int PRINTF_LIKE(2, 3) profile_fault(char why[PROFILE_WHY_BYTES], const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(why, PROFILE_WHY_BYTES, format, args);
    va_end(args);
    return -EINVAL;
}

static void profile_copy(char *dst, size_t dst_room, const char *text)
{
    const size_t bytes = MIN(strlen(text), dst_room - 1);
    memcpy(dst, text, bytes);
    dst[bytes] = '\0';
}

void profile_init(struct profile *profile, const char *name)
{
    ASSERT(name != NULL);
    *profile = (struct profile){
        .level = PROFILE_LEVEL_HIGH,
        .algorithm = PROFILE_AES_256,
        .reply = true,
        .reply_all = true,
        .forward = true,
        .keep_references = true,
        .browser_decryption = true,
        .use_script = true,
        .wait_s = PROFILE_WAIT_S_DEFAULT,
        .mail_bytes_max = PROFILE_MAIL_BYTES_USUAL,
        .mail_bytes_warn = PROFILE_MAIL_BYTES_WARN,
        .locale = "en",
    };
    profile_copy(profile->name, sizeof(profile->name), name);
}

static bool profile_name_sound(const char *name)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                  "0123456789._-";
    return name[0] != '\0' && strlen(name) < PROFILE_NAME_BYTES &&
           strspn(name, allowed) == strlen(name);
}

/* Nothing that could end a header, an attribute or a CSP source: printable ASCII without those. */
static bool profile_url_characters_sound(const char *url)
{
    for (const char *at = url; *at != '\0'; at++) {
        if (*at <= 0x20 || *at >= 0x7f || strchr("\"'<>`\\^{|},;", *at) != NULL)
            return false;
    }
    return true;
}

/* https://host[:port] and nothing after it: it becomes a CSP source and the start of addresses. */
static bool profile_origin_sound(const char *url)
{
    static const char scheme[] = "https://";
    if (strncmp(url, scheme, sizeof(scheme) - 1) != 0)
        return false;
    const char *host = url + sizeof(scheme) - 1;
    return host[0] != '\0' && host[0] != ':' && profile_url_characters_sound(url) &&
           strpbrk(host, "/?#@") == NULL;
}

static bool profile_link_sound(const char *url)
{
    return strncmp(url, "https://", 8) == 0 && url[8] != '\0' && profile_url_characters_sound(url);
}

static bool profile_text_sound(const char *text)
{
    for (const char *at = text; *at != '\0'; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            return false;
    }
    return true;
}

/* "de", "pt-BR": the shape. Whether web/ built it, frame_open() knows. */
static bool profile_locale_sound(const char *locale)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-";
    return strlen(locale) >= 2 && strspn(locale, allowed) == strlen(locale);
}

static int profile_check_urls(const struct profile *profile, char why[PROFILE_WHY_BYTES])
{
    if (!profile_origin_sound(profile->key_service_url))
        return profile_fault(why,
                             "the key service's url \"%.80s\" is not https://host[:port]; give no "
                             "path and no final slash",
                             profile->key_service_url);
    if (profile->payload_transport_url[0] != '\0' &&
        !profile_origin_sound(profile->payload_transport_url))
        return profile_fault(why, "payload_transport_url is not https://host[:port]; leave it out "
                                  "to use the key service");
    if (profile->logo_link[0] != '\0' && !profile_link_sound(profile->logo_link))
        return profile_fault(why, "logo_link is not an https:// address");
    return 0;
}

static int profile_check_bounds(const struct profile *profile, char why[PROFILE_WHY_BYTES])
{
    if (profile->mail_bytes_max == 0 || profile->mail_bytes_max > PROFILE_MAIL_BYTES_MAX)
        return profile_fault(why, "size_limit is not between 1 byte and 256MB");
    if (profile->mail_bytes_warn > profile->mail_bytes_max)
        return profile_fault(why, "size_warning is above size_limit; lower it");
    if (profile->wait_s == 0 || profile->wait_s > PROFILE_WAIT_S_MAX)
        return profile_fault(why, "wait is not between 1s and 30d");
    if (profile->expires_after_s != 0 && profile->expires_after_s < PROFILE_EXPIRES_S_MIN)
        return profile_fault(why, "expires_after is under a minute; 0 means never");
    return 0;
}

int profile_check(const struct profile *profile, char why[PROFILE_WHY_BYTES])
{
    if (!profile_name_sound(profile->name))
        return profile_fault(why, "a profile's name is 1 to 63 letters, digits, dots, underscores "
                                  "and hyphens; rename it");
    if (profile->algorithm != PROFILE_AES_256 && profile->algorithm != PROFILE_AES_192)
        return profile_fault(why, "algorithm is not aes-256 or aes-192");
    if (profile->level < PROFILE_LEVEL_HIGH || profile->level > PROFILE_LEVEL_NONE)
        return profile_fault(why, "level is not high, medium or none");
    if (!profile_locale_sound(profile->locale))
        return profile_fault(why, "locale \"%s\" is not a language such as en or de",
                             profile->locale);
    if (!profile_text_sound(profile->notification_subject) ||
        !profile_text_sound(profile->failure_subject))
        return profile_fault(why, "a subject holds a control character; take it out");
    const int rc = profile_check_urls(profile, why);
    return rc != 0 ? rc : profile_check_bounds(profile, why);
}

int profile_algorithm_parse(const char *text, enum profile_algorithm *algorithm,
                            char why[PROFILE_WHY_BYTES])
{
    static const char *const broken[] = {"rc4", "arc4", "arcfour", "des", "3des", "rc2"};
    if (strcasecmp(text, "aes-256") == 0) {
        *algorithm = PROFILE_AES_256;
        return 0;
    }
    if (strcasecmp(text, "aes-192") == 0) {
        *algorithm = PROFILE_AES_192;
        return 0;
    }
    for (size_t i = 0; i < ARRAY_COUNT(broken); i++) {
        if (strcasecmp(text, broken[i]) == 0)
            return profile_fault(why,
                                 "%s is refused: it is broken, and mail under it can be read by "
                                 "others (RFC 7465 and its kin); take aes-256",
                                 broken[i]);
    }
    return profile_fault(why, "there is no algorithm \"%.40s\"; take aes-256 or aes-192", text);
}
