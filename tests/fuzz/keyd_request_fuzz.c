/* fuzz: links keyd */
/* The bodies of the key service's JSON calls, and what is read out of them. */
#include "base/assert.h"
#include "keyservice/server/account/account.h"
#include "keyservice/server/api/api.h"
#include "keyservice/server/pages.h"
#include "keyservice/server/release.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    char user[ACCOUNT_ADDRESS_BYTES];
    char normal[ACCOUNT_ADDRESS_BYTES];
    char password[ACCOUNT_PASSWORD_BYTES_MAX + 1];
    char why[ACCOUNT_WHY_BYTES];
    char point[88];
    char id[33];
    uint8_t pub[RELEASE_POINT_BYTES];
    uint8_t id_bytes[16];
    const struct api_field fields[] = {
        {.name = "user", .text = user, .room = sizeof(user)},
        {.name = "password", .text = password, .room = sizeof(password), .optional = true},
        {.name = "m", .text = id, .room = sizeof(id), .optional = true},
        {.name = "pub", .text = point, .room = sizeof(point), .optional = true},
    };
    if (bytes > API_BODY_BYTES_MAX)
        return 0;
    if (api_fields(data, bytes, fields, ARRAY_COUNT(fields)) != 0)
        return 0;
    ASSERT(strlen(user) < sizeof(user));
    ASSERT(strlen(password) < sizeof(password));
    ASSERT(pages_locale(password) < PAGES_LOCALES_COUNT);
    if (account_normalise(normal, user, strlen(user)) == 0) {
        ASSERT(strpbrk(normal, "\r\n<>, ") == NULL);
        if (account_password_check(password, strlen(password), normal, why) == 0)
            ASSERT(strlen(password) >= ACCOUNT_PASSWORD_CHARS_MIN);
    }
    if (api_hex(id_bytes, sizeof(id_bytes), id) == 0) {
        char again[33];
        api_to_hex(again, id_bytes, sizeof(id_bytes));
        ASSERT(strcmp(id, again) == 0);
    }
    if (api_point(pub, point) == 0 && release_point_valid(pub))
        ASSERT(pub[0] == 4);
    return 0;
}
