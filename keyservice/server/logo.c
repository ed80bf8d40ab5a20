#include "keyservice/server/logo.h"

#include <openssl/evp.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define PNG_HEAD         "data:image/png;base64,"
#define JPEG_HEAD        "data:image/jpeg;base64,"
#define PNG_CHUNKS_MAX   4096
#define PNG_CHUNK_BYTES  12 /* length, type, checksum */
#define PNG_IHDR_BYTES   13
#define JPEG_MARKERS_MAX 512

static uint32_t load_be32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* ISO/IEC 15948, 5.5, a bit at a time: a logo is small. */
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

static bool side_fits(uint32_t width, uint32_t height)
{
    return width > 0 && height > 0 && width <= LOGO_SIDE_MAX && height <= LOGO_SIDE_MAX;
}

/* ISO/IEC 15948: signature, IHDR, chunks with CRC-32, IEND as the last bytes. */
static bool png_valid(const uint8_t *at, size_t bytes)
{
    static const uint8_t signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    size_t used = sizeof(signature);
    if (bytes < used || memcmp(at, signature, used) != 0)
        return false;
    for (uint32_t n = 0; n < PNG_CHUNKS_MAX; n++) {
        if (bytes - used < PNG_CHUNK_BYTES)
            return false;
        const uint8_t *chunk = at + used;
        const uint32_t data_bytes = load_be32(chunk);
        if (data_bytes > bytes - used - PNG_CHUNK_BYTES)
            return false;
        const uint32_t sum = crc32(chunk + 4, (size_t)data_bytes + 4);
        if (sum != load_be32(chunk + 8 + data_bytes))
            return false;
        if (n == 0 && (data_bytes != PNG_IHDR_BYTES || memcmp(chunk + 4, "IHDR", 4) != 0 ||
                       !side_fits(load_be32(chunk + 8), load_be32(chunk + 12))))
            return false;
        used += PNG_CHUNK_BYTES + data_bytes;
        if (memcmp(chunk + 4, "IEND", 4) == 0)
            return used == bytes;
    }
    return false;
}

/* ITU-T T.81, B.1: SOI, segments with their lengths, one frame, a scan, EOI at the end. */
static bool jpeg_valid(const uint8_t *at, size_t bytes)
{
    size_t used = 2;
    bool framed = false;
    if (bytes < 4 || at[0] != 0xff || at[1] != 0xd8 || at[bytes - 2] != 0xff ||
        at[bytes - 1] != 0xd9)
        return false;
    for (uint32_t n = 0; n < JPEG_MARKERS_MAX && bytes - used >= 4; n++) {
        const uint8_t *segment = at + used;
        const uint32_t segment_bytes = (uint32_t)segment[2] << 8 | segment[3];
        if (segment[0] != 0xff || segment_bytes < 2 || segment_bytes + 2 > bytes - used)
            return false;
        if (segment[1] == 0xda)
            return framed;
        const bool is_frame = segment[1] >= 0xc0 && segment[1] <= 0xc2;
        if (is_frame && (segment_bytes < 8 || !side_fits((uint32_t)segment[7] << 8 | segment[8],
                                                         (uint32_t)segment[5] << 8 | segment[6])))
            return false;
        framed = framed || is_frame;
        used += 2 + segment_bytes;
    }
    return false;
}

bool logo_valid(const char *url)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t picture[LOGO_URL_BYTES / 4 * 3 + 4];
    const bool is_png = strncmp(url, PNG_HEAD, sizeof(PNG_HEAD) - 1) == 0;
    if (!is_png && strncmp(url, JPEG_HEAD, sizeof(JPEG_HEAD) - 1) != 0)
        return false;
    const char *text = url + (is_png ? sizeof(PNG_HEAD) : sizeof(JPEG_HEAD)) - 1;
    const size_t chars = strnlen(text, LOGO_URL_BYTES);
    const size_t plain_chars = strspn(text, letters);
    const size_t pads = chars - plain_chars;
    if (chars == 0 || chars >= LOGO_URL_BYTES || chars % 4 != 0 || pads > 2 ||
        strspn(text + plain_chars, "=") != pads)
        return false;
    const int decoded = EVP_DecodeBlock(picture, (const uint8_t *)text, (int)chars);
    if (decoded < 0 || (size_t)decoded < pads)
        return false;
    const size_t bytes = (size_t)decoded - pads;
    if (bytes > LOGO_BYTES_MAX)
        return false;
    return is_png ? png_valid(picture, bytes) : jpeg_valid(picture, bytes);
}
