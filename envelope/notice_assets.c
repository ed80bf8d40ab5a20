#include "envelope/notice.h"
#include "envelope/notice_internal.h"
#include "web/assets.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ASSET_NAME_BYTES 64
#define LOCALE_BYTES_MAX 8

/* The text of an asset, which a NUL ends; NULL if it was not built. */
static const char *asset_text(const char *locale, const char *file)
{
    char name[ASSET_NAME_BYTES];
    if (strlen(locale) > LOCALE_BYTES_MAX)
        return NULL;
    (void)snprintf(name, sizeof(name), "templates/%s/%s", locale, file);
    const struct asset *asset = asset_find(name);
    return asset == NULL ? NULL : (const char *)asset->bytes_at;
}

int notice_open(struct notice **notice, const struct notice_config *config,
                char why[NOTICE_WHY_BYTES])
{
    const char *locale = config->locale == NULL ? "" : config->locale;
    const char *text = asset_text(locale, "failure.txt");
    const char *reasons = asset_text(locale, "reasons.txt");
    if (text == NULL || reasons == NULL) {
        (void)snprintf(why, NOTICE_WHY_BYTES,
                       "locale \"%.16s\": choose one of en, de, fr, es, it, pt, nl, pl, sv, ja, "
                       "zh, ar",
                       locale);
        return -EINVAL;
    }
    return notice_open_parts(notice, config, text, reasons, why);
}
