/*
 * scan_internal: what the vector widths of scan share.
 * Ownership: borrows.
 * Threads:   any.
 * Units:     bytes.
 * Errors:    none.
 */
#ifndef ENVELOPE_SCAN_INTERNAL_H
#define ENVELOPE_SCAN_INTERNAL_H

#include "envelope/scan.h"

scan_fn scan_scalar; /* plain C: the reference that the others are compared with */
scan_fn scan_sse;
scan_fn scan_avx2;
scan_fn scan_avx512;

#endif
