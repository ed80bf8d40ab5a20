/*
 * charset_tables: what charset_gen.c writes at build time.
 * Ownership: constant.
 * Threads:   any.
 * Units:     UTF-16 code units of the Basic Multilingual Plane; 0 means nothing.
 * Errors:    none.
 */
#ifndef ENVELOPE_CHARSET_TABLES_H
#define ENVELOPE_CHARSET_TABLES_H

#include <stdint.h>

/* The upper half of each single-byte charset, and lead × trail bytes of each double-byte one. */
#define CHARSET_SINGLES(X)                                                                         \
    X(windows1250, "CP1250")                                                                       \
    X(windows1251, "CP1251")                                                                       \
    X(windows1252, "CP1252")                                                                       \
    X(windows1253, "CP1253")                                                                       \
    X(windows1254, "CP1254")                                                                       \
    X(windows1255, "CP1255")                                                                       \
    X(windows1256, "CP1256")                                                                       \
    X(windows1257, "CP1257")                                                                       \
    X(windows1258, "CP1258")                                                                       \
    X(windows874, "CP874")                                                                         \
    X(iso88591, "ISO-8859-1")                                                                      \
    X(iso88592, "ISO-8859-2")                                                                      \
    X(iso88593, "ISO-8859-3")                                                                      \
    X(iso88594, "ISO-8859-4")                                                                      \
    X(iso88595, "ISO-8859-5")                                                                      \
    X(iso88596, "ISO-8859-6")                                                                      \
    X(iso88597, "ISO-8859-7")                                                                      \
    X(iso88598, "ISO-8859-8")                                                                      \
    X(iso88599, "ISO-8859-9")                                                                      \
    X(iso885910, "ISO-8859-10")                                                                    \
    X(iso885913, "ISO-8859-13")                                                                    \
    X(iso885914, "ISO-8859-14")                                                                    \
    X(iso885915, "ISO-8859-15")                                                                    \
    X(iso885916, "ISO-8859-16")                                                                    \
    X(koi8r, "KOI8-R")                                                                             \
    X(koi8u, "KOI8-U")                                                                             \
    X(macintosh, "MACINTOSH")                                                                      \
    X(ibm437, "CP437")                                                                             \
    X(ibm850, "CP850")                                                                             \
    X(ibm852, "CP852")                                                                             \
    X(ibm866, "CP866")

#define CHARSET_DOUBLES(X)                                                                         \
    X(shiftjis, "CP932")                                                                           \
    X(gbk, "GBK")                                                                                  \
    X(big5, "BIG5")                                                                                \
    X(uhc, "UHC")

#define CHARSET_LEAD_FIRST  0x81
#define CHARSET_LEADS       126
#define CHARSET_TRAIL_FIRST 0x40
#define CHARSET_TRAILS      191

#define CHARSET_DECLARE_SINGLE(name, iconv_name) extern const uint16_t charset_##name[128];
#define CHARSET_DECLARE_DOUBLE(name, iconv_name)                                                   \
    extern const uint16_t charset_##name[CHARSET_LEADS * CHARSET_TRAILS];
CHARSET_SINGLES(CHARSET_DECLARE_SINGLE)
CHARSET_DOUBLES(CHARSET_DECLARE_DOUBLE)

#endif
