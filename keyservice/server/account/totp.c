#include "keyservice/server/account/totp.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "crypto/secret.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <qrencode.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define BASE32_GROUP_BITS 5
#define DIGEST_BYTES      20
#define IMAGE_QUIET       4 /* light squares around it: ISO/IEC 18004, 5.3.8 */
#define IMAGE_RUN_ROOM    40

static const char base32[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

_Static_assert(TOTP_SECRET_BYTES * 8 == TOTP_SECRET_CHARS * BASE32_GROUP_BITS, "no padding");

int totp_secret_make(uint8_t secret[TOTP_SECRET_BYTES])
{
    return getrandom(secret, TOTP_SECRET_BYTES, 0) == TOTP_SECRET_BYTES ? 0 : -EIO;
}

void totp_secret_text(char text[TOTP_SECRET_CHARS + 1], const uint8_t secret[TOTP_SECRET_BYTES])
{
    for (uint32_t i = 0; i < TOTP_SECRET_CHARS; i++) {
        const uint32_t bit = i * BASE32_GROUP_BITS;
        const uint32_t next = bit / 8 + 1 < TOTP_SECRET_BYTES ? secret[bit / 8 + 1] : 0;
        const uint32_t pair = ((uint32_t)secret[bit / 8] << 8) | next;
        text[i] = base32[(pair >> (16 - BASE32_GROUP_BITS - bit % 8)) & 31];
    }
    text[TOTP_SECRET_CHARS] = '\0';
}

int totp_secret_parse(uint8_t secret[TOTP_SECRET_BYTES], const char *text)
{
    uint32_t held = 0;
    uint32_t held_bits = 0;
    size_t bytes = 0;
    if (strnlen(text, TOTP_SECRET_CHARS + 1) != TOTP_SECRET_CHARS)
        return -EINVAL;
    for (uint32_t i = 0; i < TOTP_SECRET_CHARS; i++) {
        const char *letter = strchr(base32, text[i]);
        if (letter == NULL)
            return -EINVAL;
        held = (held << BASE32_GROUP_BITS) | (uint32_t)(letter - base32);
        held_bits += BASE32_GROUP_BITS;
        if (held_bits >= 8) {
            held_bits -= 8;
            secret[bytes++] = (uint8_t)(held >> held_bits);
        }
    }
    ASSERT(bytes == TOTP_SECRET_BYTES);
    return 0;
}

void totp_code(char code[TOTP_DIGITS + 1], const uint8_t secret[TOTP_SECRET_BYTES], uint64_t step)
{
    uint8_t counter[8];
    uint8_t digest[DIGEST_BYTES];
    unsigned int digest_bytes = 0;
    for (uint32_t i = 0; i < sizeof(counter); i++)
        counter[i] = (uint8_t)(step >> (56 - 8 * i));
    const uint8_t *done = HMAC(EVP_sha1(), secret, TOTP_SECRET_BYTES, counter, sizeof(counter),
                               digest, &digest_bytes);
    ASSERT(done != NULL && digest_bytes == DIGEST_BYTES);
    /* RFC 4226, 5.3: dynamic truncation. */
    const uint8_t *at = digest + (digest[DIGEST_BYTES - 1] & 15);
    const uint32_t number =
        ((uint32_t)(at[0] & 127) << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3]) %
        1000000U;
    (void)snprintf(code, TOTP_DIGITS + 1, "%06u", number);
}

int totp_check(const uint8_t secret[TOTP_SECRET_BYTES], const char *code, uint64_t unix_s,
               uint64_t step_last, uint64_t *step)
{
    const uint64_t now = unix_s / TOTP_STEP_S;
    char right[TOTP_DIGITS + 1];
    bool found = false;
    if (strnlen(code, TOTP_DIGITS + 1) != TOTP_DIGITS)
        return -EACCES;
    for (uint64_t tried = now - 1; tried <= now + 1; tried++) {
        totp_code(right, secret, tried);
        if (ct_equal(right, code, TOTP_DIGITS) && tried > step_last && !found) {
            *step = tried;
            found = true;
        }
    }
    secret_wipe(right, sizeof(right));
    return found ? 0 : -EACCES;
}

/* Percent-encoded but for letters, digits and what may stand bare (RFC 3986, 2.3). */
static int uri_add(char *uri, size_t *used, const char *text)
{
    for (; *text != '\0'; text++) {
        const uint8_t byte = (uint8_t)*text;
        const bool bare = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
                          (byte >= '0' && byte <= '9') || strchr("-._~@", byte) != NULL;
        if (*used + 4 > TOTP_URI_BYTES)
            return -EINVAL;
        *used += (size_t)snprintf(uri + *used, 4, bare ? "%c" : "%%%02X", byte);
    }
    return 0;
}

int totp_uri(char uri[TOTP_URI_BYTES], const char *issuer, const char *address,
             const uint8_t secret[TOTP_SECRET_BYTES])
{
    char text[TOTP_SECRET_CHARS + 1];
    size_t used = (size_t)snprintf(uri, TOTP_URI_BYTES, "otpauth://totp/");
    totp_secret_text(text, secret);
    int rc = uri_add(uri, &used, issuer);
    if (rc == 0 && used + 4 < TOTP_URI_BYTES)
        used += (size_t)snprintf(uri + used, 4, "%%3A");
    if (rc == 0)
        rc = uri_add(uri, &used, address);
    const int n = snprintf(uri + used, TOTP_URI_BYTES - used, "?secret=%s&issuer=", text);
    secret_wipe(text, sizeof(text));
    if (rc != 0 || n < 0 || used + (size_t)n >= TOTP_URI_BYTES)
        return -EINVAL;
    used += (size_t)n;
    return uri_add(uri, &used, issuer);
}

int totp_image(char image[TOTP_IMAGE_BYTES], const char *text)
{
    QRcode *code = QRcode_encodeString8bit(text, 0, QR_ECLEVEL_M);
    if (code == NULL)
        return errno == ERANGE ? -EINVAL : -ENOMEM;
    const int side = code->width + 2 * IMAGE_QUIET;
    size_t used = (size_t)snprintf(image, TOTP_IMAGE_BYTES,
                                   "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\""
                                   " shape-rendering=\"crispEdges\"><path fill=\"#fff\" d=\"M0 0h%d"
                                   "v%dH0z\"/><path d=\"",
                                   side, side, side, side);
    int rc = 0;
    for (int y = 0; y < code->width && rc == 0; y++)
        for (int x = 0; x < code->width && rc == 0;) {
            int run = 0; /* of dark squares */
            while (x + run < code->width && (code->data[y * code->width + x + run] & 1) != 0)
                run++;
            if (run > 0 && used + IMAGE_RUN_ROOM >= TOTP_IMAGE_BYTES)
                rc = -EINVAL;
            else if (run > 0)
                used += (size_t)snprintf(image + used, IMAGE_RUN_ROOM, "M%d %dh%dv1h-%dz",
                                         x + IMAGE_QUIET, y + IMAGE_QUIET, run, run);
            x += run + 1;
        }
    secret_wipe(code->data, (size_t)code->width * (size_t)code->width);
    QRcode_free(code);
    if (rc == 0 && (size_t)snprintf(image + used, TOTP_IMAGE_BYTES - used, "\"/></svg>") >=
                       TOTP_IMAGE_BYTES - used)
        rc = -EINVAL;
    return rc;
}
