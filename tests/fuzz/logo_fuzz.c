/* fuzz: links keyd */
/*
 * A profile's logo, as its administrator gives it: 'u' and the data URL as it stands, 'j' and the
 * bytes of a JPEG, 'p' and those of a PNG, whose checksums are made right so that more than they
 * is looked at.
 */
#include "base/assert.h"
#include "base/macros.h"
#include "keyservice/server/logo.h"

#include <openssl/evp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PNG_SIGNATURE_BYTES 8
#define PNG_CHUNK_BYTES     12
#define PNG_CHUNKS_MAX      8192
#define PICTURE_BYTES_MAX   (LOGO_BYTES_MAX + 16) /* some are too large */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* ISO/IEC 15948, annex D. */
static uint32_t crc32(const uint8_t *at, size_t bytes)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < bytes; i++) {
        crc ^= at[i];
        for (uint32_t bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ ((crc & 1) != 0 ? UINT32_C(0xedb88320) : 0);
    }
    return ~crc;
}

static void png_sums_mend(uint8_t *picture, size_t bytes)
{
    size_t at = PNG_SIGNATURE_BYTES;
    for (uint32_t n = 0; n < PNG_CHUNKS_MAX && at + PNG_CHUNK_BYTES <= bytes; n++) {
        const uint8_t *head = picture + at;
        const uint32_t data_bytes =
            (uint32_t)head[0] << 24 | (uint32_t)head[1] << 16 | (uint32_t)head[2] << 8 | head[3];
        if (data_bytes > bytes - at - PNG_CHUNK_BYTES)
            return;
        const uint32_t sum = crc32(head + 4, (size_t)data_bytes + 4);
        uint8_t *end = picture + at + 8 + data_bytes;
        for (uint32_t i = 0; i < 4; i++)
            end[i] = (uint8_t)(sum >> (24 - 8 * i));
        at += PNG_CHUNK_BYTES + (size_t)data_bytes;
    }
}

static void url_try(const uint8_t *text, size_t chars)
{
    char *url = malloc(chars + 1);
    if (url == NULL)
        return;
    if (chars > 0)
        memcpy(url, text, chars);
    url[chars] = '\0';
    if (logo_valid(url)) {
        ASSERT(strlen(url) < LOGO_URL_BYTES);
        ASSERT(strncmp(url, "data:image/", 11) == 0);
        ASSERT(strpbrk(url, "\"'<>& \r\n\t\\") == NULL); /* it stands in an attribute */
    }
    free(url);
}

static void picture_try(const char *kind, const uint8_t *data, size_t bytes)
{
    static uint8_t picture[PICTURE_BYTES_MAX];
    static char url[64 + PICTURE_BYTES_MAX / 3 * 4 + 8];
    const size_t used = MIN(bytes, sizeof(picture));
    if (used > 0)
        memcpy(picture, data, used);
    if (kind[0] == 'p')
        png_sums_mend(picture, used);
    const int n = snprintf(url, 64, "data:image/%s;base64,", kind);
    ASSERT(n > 0 && n < 64);
    (void)EVP_EncodeBlock((uint8_t *)url + n, picture, (int)used);
    url_try((const uint8_t *)url, strlen(url));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes == 0)
        return 0;
    if (data[0] == 'p')
        picture_try("png", data + 1, bytes - 1);
    else if (data[0] == 'j')
        picture_try("jpeg", data + 1, bytes - 1);
    else
        url_try(data + 1, bytes - 1);
    return 0;
}
