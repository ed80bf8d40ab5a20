/*
 * bytes: integers in byte strings, in a byte order that is named.
 * Ownership: borrows the bytes for the call; no alignment is needed.
 * Threads:   any.
 * Units:     bits in the name; le is little-endian, be is big-endian.
 * Errors:    none; the caller has checked that the bytes are there.
 */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "bulla runs on x86-64");

static inline uint16_t bytes_load_le16(const uint8_t *bytes)
{
    uint16_t value;
    memcpy(&value, bytes, sizeof(value));
    return value;
}

static inline uint32_t bytes_load_le32(const uint8_t *bytes)
{
    uint32_t value;
    memcpy(&value, bytes, sizeof(value));
    return value;
}

static inline uint64_t bytes_load_le64(const uint8_t *bytes)
{
    uint64_t value;
    memcpy(&value, bytes, sizeof(value));
    return value;
}

/* Some byte is a control character: below 0x20, or 0x7f. Exact, eight bytes at once. */
static inline bool bytes_have_control(uint64_t eight)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    const uint64_t high = ones << 7;
    const uint64_t delete_is_zero = eight ^ ones * 0x7f;
    return (((eight - ones * 0x20) & ~eight) | ((delete_is_zero - ones) & ~delete_is_zero)) & high;
}

static inline uint64_t bytes_load_be64(const uint8_t *bytes)
{
    return __builtin_bswap64(bytes_load_le64(bytes));
}

static inline void bytes_store_le16(uint8_t *bytes, uint16_t value)
{
    memcpy(bytes, &value, sizeof(value));
}

static inline void bytes_store_le32(uint8_t *bytes, uint32_t value)
{
    memcpy(bytes, &value, sizeof(value));
}

static inline void bytes_store_le64(uint8_t *bytes, uint64_t value)
{
    memcpy(bytes, &value, sizeof(value));
}

static inline void bytes_store_be16(uint8_t *bytes, uint16_t value)
{
    bytes_store_le16(bytes, __builtin_bswap16(value));
}

static inline void bytes_store_be32(uint8_t *bytes, uint32_t value)
{
    bytes_store_le32(bytes, __builtin_bswap32(value));
}

static inline void bytes_store_be64(uint8_t *bytes, uint64_t value)
{
    bytes_store_le64(bytes, __builtin_bswap64(value));
}

#endif
