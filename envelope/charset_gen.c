/*
 * charset_gen: writes charset_tables.c from the C library's iconv tables; runs during the build.
 * Ownership: none.
 * Threads:   one.
 * Units:     none.
 * Errors:    exit status 1 with one line on stderr.
 */
#include "envelope/charset_tables.h"

#include <iconv.h>
#include <stdint.h>
#include <stdio.h>

/* The one code unit that `bytes` of `src` mean, or 0: nothing, or not in the plane we carry. */
static uint16_t convert(iconv_t cd, const uint8_t *src, size_t bytes)
{
    char in[2] = {(char)src[0], (char)src[1]};
    char out[16];
    char *in_at = in;
    char *out_at = out;
    size_t in_left = bytes;
    size_t out_left = sizeof(out);
    (void)iconv(cd, NULL, NULL, NULL, NULL);
    const size_t rc = iconv(cd, &in_at, &in_left, &out_at, &out_left);
    if (rc == (size_t)-1 || in_left != 0)
        return 0;
    /* Some charsets hold a character back in case a combining one follows. */
    if (iconv(cd, NULL, NULL, &out_at, &out_left) == (size_t)-1 || sizeof(out) - out_left != 2)
        return 0;
    return (uint16_t)((uint8_t)out[0] | (uint16_t)((uint8_t)out[1] << 8));
}

static int table(const char *name, const char *iconv_name, uint32_t leads, uint32_t lead_first,
                 uint32_t trails, uint32_t trail_first)
{
    const iconv_t cd = iconv_open("UTF-16LE", iconv_name);
    if (cd == (iconv_t)-1) {
        (void)fprintf(stderr, "charset_gen: the C library has no charset %s\n", iconv_name);
        return 1;
    }
    (void)printf("const uint16_t charset_%s[%u] = {", name, leads * trails);
    for (uint32_t n = 0; n < leads * trails; n++) {
        uint8_t src[2] = {(uint8_t)(trail_first + n % trails), 0};
        size_t bytes = 1;
        if (leads > 1) {
            src[1] = src[0];
            src[0] = (uint8_t)(lead_first + n / trails);
            bytes = 2;
        }
        (void)printf("%s%u,", n % 16 == 0 ? "\n" : "", convert(cd, src, bytes));
    }
    (void)printf("\n};\n");
    return iconv_close(cd) == 0 ? 0 : 1;
}

int main(void)
{
    int rc = 0;
    (void)printf("#include \"envelope/charset_tables.h\"\n");
#define WRITE_SINGLE(name, iconv_name) rc |= table(#name, iconv_name, 1, 0, 128, 0x80);
#define WRITE_DOUBLE(name, iconv_name)                                                             \
    rc |= table(#name, iconv_name, CHARSET_LEADS, CHARSET_LEAD_FIRST, CHARSET_TRAILS,              \
                CHARSET_TRAIL_FIRST);
    CHARSET_SINGLES(WRITE_SINGLE)
    CHARSET_DOUBLES(WRITE_DOUBLE)
    if (rc != 0 || fflush(stdout) != 0 || ferror(stdout))
        return 1;
    return 0;
}
