/*
 * deflate_tables: the Huffman codes for the letters, lengths and distances of mail.
 * Ownership: constants, written during the build by deflate_gen.c from deflate_model.h.
 * Threads:   any.
 * Units:     none.
 * Errors:    none.
 */
#ifndef ENVELOPE_DEFLATE_TABLES_H
#define ENVELOPE_DEFLATE_TABLES_H

#include <isa-l/igzip_lib.h>

extern const struct isal_hufftables deflate_mail_codes;

#endif
