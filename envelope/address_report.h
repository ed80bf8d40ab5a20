/*
 * address_report: an address as the fields of a mail report name it, typed and in ASCII.
 * Ownership: borrows the address; writes into the caller's memory.
 * Threads:   any.
 * Units:     bytes; no NUL is added.
 * Errors:    none: what no valid address reaches is cut, a malformed byte is U+FFFD.
 *
 * RFC 3464, 2.3.2 and RFC 8098, 3.2.4 with the type and encoding of RFC 6533, 3.
 */
#ifndef ENVELOPE_ADDRESS_REPORT_H
#define ENVELOPE_ADDRESS_REPORT_H

#include <stddef.h>
#include <stdint.h>

#define ADDRESS_REPORT_CHARS_MAX 908 /* of them 8 are the type */

/* "rfc822; a@b.example", or "utf-8; j\x{F6}rg@b.example"; returns how many bytes. */
size_t address_report_write(uint8_t dst[ADDRESS_REPORT_CHARS_MAX], const uint8_t *address,
                            size_t address_bytes);

#endif
