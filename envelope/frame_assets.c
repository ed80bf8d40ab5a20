#include "envelope/frame.h"
#include "envelope/frame_internal.h"
#include "web/assets.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ASSET_NAME_BYTES 64
#define LOCALE_BYTES_MAX 8

/* The text of an asset, which a NUL ends; NULL if it was not built. */
static const char *asset_text(const char *name)
{
    const struct asset *asset = asset_find(name);
    return asset == NULL ? NULL : (const char *)asset->bytes_at;
}

int frame_open(struct frame **frame, const struct frame_config *config, char why[FRAME_WHY_BYTES])
{
    char name[ASSET_NAME_BYTES];
    const char *locale = config->locale == NULL ? "" : config->locale;
    const char *suite = config->suite == COBBLE_AES_192 ? "aes192" : "aes256";
    struct frame_parts parts = {{NULL, NULL}, NULL, NULL};
    if (strlen(locale) <= LOCALE_BYTES_MAX) {
        (void)snprintf(name, sizeof(name), "envelope-%s%s.%s.html", suite,
                       config->remember_key ? "_remember" : "", locale);
        parts.shells[FRAME_SCRIPTED] = asset_text(name);
        (void)snprintf(name, sizeof(name), "envelope-plain.%s.html", locale);
        parts.shells[FRAME_PLAIN] = asset_text(name);
        (void)snprintf(name, sizeof(name), "templates/%s/notification.txt", locale);
        parts.text = asset_text(name);
        (void)snprintf(name, sizeof(name), "templates/%s/notification.html", locale);
        parts.html = asset_text(name);
    }
    if (parts.shells[FRAME_SCRIPTED] == NULL || parts.shells[FRAME_PLAIN] == NULL ||
        parts.text == NULL || parts.html == NULL) {
        (void)snprintf(why, FRAME_WHY_BYTES,
                       "locale \"%.16s\": choose one of en, de, fr, es, it, pt, nl, pl, sv, ja, "
                       "zh, ar",
                       locale);
        return -EINVAL;
    }
    return frame_open_parts(frame, config, &parts, why);
}
