#include "keyservice/server/account/password_words.h"

#include "base/macros.h"
#include "crypto/secret.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

#define WORD_BYTES_MAX 64
#define PART_BYTES_MIN 3 /* of an address: shorter ones stand in too much */

/* Lines that begin with '#', then words, in the order of their bytes. */
extern const char password_words_text[];
extern const char password_words_end[];

static char lower(char c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

static const char *words_begin(void)
{
    const char *at = password_words_text;
    while (at < password_words_end && *at == '#')
        at = (const char *)memchr(at, '\n', (size_t)(password_words_end - at)) + 1;
    return at;
}

/* Halves the text, not its lines: from a middle back to where its line begins. */
static bool word_stands(const char *word, size_t word_bytes)
{
    const char *low = words_begin();
    const char *high = password_words_end;
    while (low < high) {
        const char *line = low + (high - low) / 2;
        while (line > low && line[-1] != '\n')
            line--;
        const char *end = memchr(line, '\n', (size_t)(high - line));
        const size_t bytes = (size_t)(end - line);
        const int order = memcmp(word, line, MIN(word_bytes, bytes));
        if (order == 0 && word_bytes == bytes)
            return true;
        if (order < 0 || (order == 0 && word_bytes < bytes))
            high = line;
        else
            low = end + 1;
    }
    return false;
}

bool password_words_common(const char *password, size_t password_bytes)
{
    char word[WORD_BYTES_MAX];
    size_t bytes = password_bytes;
    if (password_bytes > sizeof(word))
        return false;
    for (size_t i = 0; i < bytes; i++)
        word[i] = lower(password[i]);
    bool common = word_stands(word, bytes);
    while (bytes > 0 && (uint8_t)word[bytes - 1] < 0x80 &&
           (word[bytes - 1] < 'a' || word[bytes - 1] > 'z'))
        bytes--;
    common = common || (bytes > 0 && word_stands(word, bytes));
    secret_wipe(word, sizeof(word));
    return common;
}

/* How many bytes of the password are those of `part`, wherever it stands. */
static size_t part_covers(const char *password, size_t password_bytes, const char *part,
                          size_t part_bytes)
{
    size_t covered = 0;
    if (part_bytes < PART_BYTES_MIN)
        return 0;
    for (size_t i = 0; i + part_bytes <= password_bytes;) {
        const bool here = strncasecmp(password + i, part, part_bytes) == 0;
        covered += here ? part_bytes : 0;
        i += here ? part_bytes : 1;
    }
    return covered;
}

bool password_words_of_address(const char *password, size_t password_bytes, const char *address)
{
    static const char service[] = "bulla";
    size_t covered = part_covers(password, password_bytes, service, sizeof(service) - 1);
    for (const char *part = address; *part != '\0';) {
        const size_t bytes = strcspn(part, "@.-_+");
        covered += part_covers(password, password_bytes, part, bytes);
        part += bytes;
        part += strspn(part, "@.-_+");
    }
    return covered > 0 && password_bytes < covered + PASSWORD_OWN_CHARS_MIN;
}
