/*
 * assets_table: what web/embed.mjs writes for assets.c, ascending by name.
 * Ownership: constant, for the life of the program.
 * Threads:   any.
 * Units:     rows.
 * Errors:    none.
 */
#ifndef WEB_ASSETS_TABLE_H
#define WEB_ASSETS_TABLE_H

#include "web/assets.h"

extern const struct asset assets_table[];
extern const size_t assets_table_count;

#endif
