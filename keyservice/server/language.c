#include "keyservice/server/language.h"

#include "keyservice/server/api/api.h"
#include "keyservice/server/store/store_person.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define LANGUAGE_FORM "application/x-www-form-urlencoded"
#define TO_BYTES      256 /* of the path that the form leads back to, its zero too */

/* PAGES_LOCALES_COUNT when it is none of ours. */
static uint32_t locale_find(const char *name)
{
    uint32_t locale = 0;
    while (locale < PAGES_LOCALES_COUNT && strcmp(pages_locale_name(locale), name) != 0)
        locale++;
    return locale;
}

uint32_t language_of_choice(const char *choice, uint32_t otherwise)
{
    const uint32_t locale = locale_find(choice);
    return locale < PAGES_LOCALES_COUNT ? locale : otherwise;
}

uint32_t language_of_request(const struct http_request *request)
{
    const uint32_t locale = locale_find(request->chosen_language);
    return locale < PAGES_LOCALES_COUNT ? locale : pages_locale(request->language);
}

uint32_t account_language(const struct service *service, const char *address, uint32_t otherwise)
{
    struct store_account account;
    if (store_account_get(service->store, address, &account) != 0)
        return otherwise;
    return language_of_choice(account.language, otherwise);
}

void language_cookie_set(struct http_request *request, uint32_t locale)
{
    http_answer_header(request, "Set-Cookie",
                       LANGUAGE_COOKIE
                       "=%s; Path=/; Max-Age=31536000; Secure; HttpOnly; SameSite=Lax",
                       pages_locale_name(locale));
}

/* For the browser and, where somebody is signed in, for the account. False: refused. */
static bool language_keep(const struct service *service, struct http_request *request,
                          const char *name)
{
    struct store_session session;
    const uint32_t locale = locale_find(name);
    if (locale >= PAGES_LOCALES_COUNT) {
        api_refuse(request, API_BAD_REQUEST, NULL);
        return false;
    }
    if (api_session(service, request, &session) == 0 &&
        store_person_language(service->store, session.account_number, name) != 0) {
        api_refuse(request, API_AWAY, NULL);
        return false;
    }
    return true;
}

void api_language_post(void *context, struct http_request *request)
{
    const struct service *service = context;
    char language[STORE_LANGUAGE_BYTES];
    struct session_token cookie;
    const struct api_field fields[] = {
        {.name = "language", .text = language, .room = sizeof(language)},
    };
    if (!api_own_page(service, request, &cookie))
        return;
    if (api_fields(request->body, request->body_bytes, fields, ARRAY_COUNT(fields)) != 0) {
        api_refuse(request, API_BAD_REQUEST, NULL);
        return;
    }
    if (!language_keep(service, request, language))
        return;
    api_answer(request, 200, json_pack("{s:s}", "language", language));
    language_cookie_set(request, locale_find(language));
}

/* A path as a form sends it: "%2F" is '/'. "" where it is longer than any of ours. */
static void form_path(char to[TO_BYTES], const char *value)
{
    size_t used = 0;
    while (*value != '\0' && used + 1 < TO_BYTES) { /* every round moves on */
        const bool is_slash = strncasecmp(value, "%2f", 3) == 0;
        to[used++] = is_slash ? '/' : *value;
        value += is_slash ? 3 : 1;
    }
    to[*value == '\0' ? used : 0] = '\0';
}

/* "language=de&to=%2Fsignin": the form where scripts do not run. */
static bool form_take(const char *body, char language[STORE_LANGUAGE_BYTES], char to[TO_BYTES])
{
    static const char head[] = "language=";
    static const char next[] = "&to=";
    if (body == NULL || strncmp(body, head, sizeof(head) - 1) != 0)
        return false;
    const char *value = body + sizeof(head) - 1;
    const size_t chars = strcspn(value, "&");
    if (chars >= STORE_LANGUAGE_BYTES)
        return false;
    memcpy(language, value, chars);
    language[chars] = '\0';
    const bool has_path = strncmp(value + chars, next, sizeof(next) - 1) == 0;
    form_path(to, has_path ? value + chars + sizeof(next) - 1 : "");
    return true;
}

/*
 * A form of our own page has "Origin: null", since our pages send no referrer: who asks is told by
 * Sec-Fetch-Site, which every browser that we run in sends.
 */
void api_language_form(void *context, struct http_request *request)
{
    const struct service *service = context;
    char language[STORE_LANGUAGE_BYTES];
    char to[TO_BYTES] = "";
    if (strcmp(request->fetch_site, "same-origin") != 0 ||
        strncmp(request->content_type, LANGUAGE_FORM, sizeof(LANGUAGE_FORM) - 1) != 0) {
        api_refuse(request, API_CSRF, NULL);
        return;
    }
    if (!form_take((const char *)request->body, language, to)) {
        api_refuse(request, API_BAD_REQUEST, NULL);
        return;
    }
    if (!language_keep(service, request, language))
        return;
    http_answer_constant(request, 303, "text/plain", "", 0);
    http_answer_header(request, "Location", "%s", pages_path(to));
    language_cookie_set(request, locale_find(language));
}
