#include "keyservice/server/profile.h"

#include "keyservice/server/account/account.h"
#include "keyservice/server/pages.h"

#include <jansson.h>
#include <string.h>

/* UTF-8 without controls; lines only where they are meant. */
static bool text_fine(const char *text, bool lines)
{
    json_t *copy = json_string(text); /* NULL when it is not UTF-8 */
    const bool valid = copy != NULL;
    json_decref(copy);
    for (; valid && *text != '\0'; text++)
        if (((uint8_t)*text < 0x20 && !(lines && *text == '\n')) || *text == 0x7f)
            return false;
    return valid;
}

/* https, a host, and characters that an address may have: nothing that could be another scheme. */
static bool link_fine(const char *link)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                  "-._~:/?#[]@!$&'()*+,;=%";
    static const char scheme[] = "https://";
    const size_t skip = sizeof(scheme) - 1;
    return strncmp(link, scheme, skip) == 0 && strspn(link, letters) == strlen(link) &&
           strcspn(link + skip, "/?#:@") > 0 && strchr(link + skip, '@') == NULL;
}

static bool locale_known(const char *name)
{
    for (uint32_t i = 0; i < PAGES_LOCALES_COUNT; i++)
        if (strcmp(pages_locale_name(i), name) == 0)
            return true;
    return false;
}

const char *profile_fault(const struct store_profile *profile)
{
    char address[ACCOUNT_ADDRESS_BYTES];
    if (!roles_profile_valid(profile->name))
        return "A profile's name has letters, digits, '.', '-' and '_', at most 64.";
    if (!text_fine(profile->title, false))
        return "The title is one line of at most 100 bytes.";
    if (!text_fine(profile->text, true))
        return "The text has at most 1000 bytes, without controls.";
    if (profile->link[0] != '\0' && !link_fine(profile->link))
        return "The link is an address that begins with https://.";
    if (profile->locale[0] != '\0' && !locale_known(profile->locale))
        return "The language is one of the service's twelve.";
    if (profile->contact[0] != '\0' &&
        account_normalise(address, profile->contact, strlen(profile->contact)) != 0)
        return "The contact is a mail address.";
    if (profile->retention_days > STORE_PROFILE_DAYS_MAX)
        return "Keys are kept for at most 36500 days, or 0 for ever.";
    if (profile->logo[0] != '\0' && !logo_valid(profile->logo))
        return "The logo is a PNG or JPEG picture of at most 32 KiB and 2048 pixels a side.";
    return NULL;
}
