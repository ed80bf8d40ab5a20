#include "keyservice/server/account/device.h"

#include "base/log.h"
#include "keyservice/server/api/api.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define DEVICE_COOKIE "__Host-bulla-device"

/* What is found first counts: a browser also names those that it descends from. */
struct device_word {
    const char *sign;
    const char *name;
};
static const struct device_word browsers[] = {
    {"Edg", "Edge"},       {"OPR/", "Opera"},     {"SamsungBrowser/", "Samsung Internet"},
    {"FxiOS/", "Firefox"}, {"CriOS/", "Chrome"},  {"Firefox/", "Firefox"},
    {"Chrome/", "Chrome"}, {"Safari/", "Safari"},
};
static const struct device_word systems[] = {
    {"Android", "Android"}, {"iPhone", "iOS"},      {"iPad", "iPadOS"}, {"CrOS", "ChromeOS"},
    {"Windows", "Windows"}, {"Macintosh", "macOS"}, {"Linux", "Linux"},
};

static const char *word_find(const struct device_word *words, size_t count, const char *agent)
{
    for (size_t i = 0; i < count; i++)
        if (strstr(agent, words[i].sign) != NULL)
            return words[i].name;
    return "";
}

void device_label(char label[STORE_LABEL_BYTES], const char *agent)
{
    const char *browser = word_find(browsers, ARRAY_COUNT(browsers), agent);
    const char *system = word_find(systems, ARRAY_COUNT(systems), agent);
    (void)snprintf(label, STORE_LABEL_BYTES, "%s%s%s", browser,
                   browser[0] != '\0' && system[0] != '\0' ? ", " : "", system);
}

bool device_hash(const struct http_request *request, uint8_t hash[STORE_HASH_BYTES])
{
    struct session_token token;
    if (!session_parse(&token, request->device))
        return false;
    session_hash(&token, hash);
    return true;
}

bool device_known(const struct service *service, const struct http_request *request,
                  const char *address, char phrase[STORE_PHRASE_BYTES])
{
    uint8_t hash[STORE_HASH_BYTES];
    phrase[0] = '\0';
    return device_hash(request, hash) &&
           store_device_get(service->store, hash, address, phrase) == 0;
}

void device_note(const struct service *service, struct http_request *request,
                 int64_t account_number)
{
    uint8_t hash_old[STORE_HASH_BYTES];
    uint8_t hash[STORE_HASH_BYTES];
    char label[STORE_LABEL_BYTES];
    struct session_token token;
    struct store_device device = {.hash = hash,
                                  .account_number = account_number,
                                  .label = label,
                                  .now_unix_ms = api_now_ms()};
    int rc = session_make(&token);
    if (rc == 0) {
        session_hash(&token, hash);
        device_label(label, request->agent);
        if (device_hash(request, hash_old))
            device.hash_old = hash_old;
        rc = store_device_put(service->store, &device);
    }
    if (rc != 0) {
        log_line(LOG_LEVEL_WARNING, "device_failed", "errno=%d", -rc);
        return;
    }
    http_answer_header(request, "Set-Cookie",
                       DEVICE_COOKIE
                       "=%s; Path=/; Max-Age=31536000; Secure; HttpOnly; SameSite=Strict",
                       token.text);
}

/* Whoever has this browser and types the address sees the phrase; others see that there is none. */
void api_device_post(void *context, struct http_request *request)
{
    const struct service *service = context;
    char user[ACCOUNT_ADDRESS_BYTES];
    char address[ACCOUNT_ADDRESS_BYTES];
    char phrase[STORE_PHRASE_BYTES] = "";
    struct session_token cookie;
    const struct api_field fields[] = {{.name = "user", .text = user, .room = sizeof(user)}};
    if (!api_own_page(service, request, &cookie))
        return;
    if (api_fields(request->body, request->body_bytes, fields, ARRAY_COUNT(fields)) != 0) {
        api_refuse(request, API_BAD_REQUEST, NULL);
        return;
    }
    if (account_normalise(address, user, strlen(user)) != 0 ||
        !device_known(service, request, address, phrase))
        phrase[0] = '\0';
    api_answer(request, 200, json_pack("{s:s}", "phrase", phrase));
}
