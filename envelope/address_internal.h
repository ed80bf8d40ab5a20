/*
 * address_internal: the two readers of address lists, so that tests can compare them.
 * Ownership: as envelope/address.h says.
 * Threads:   any.
 * Units:     bytes.
 * Errors:    address_list_try() declines what is not plain; that says nothing about it.
 */
#ifndef ENVELOPE_ADDRESS_INTERNAL_H
#define ENVELOPE_ADDRESS_INTERNAL_H

#include "envelope/address.h"

/* Reads any list. */
HOT bool address_list_next_any(struct address_list *list, struct address_mailbox *mailbox);

/* Reads the next member when it is `local@domain`, `Name <local@domain>` or
 * `"Name" <local@domain>`, without comments and escapes and less than a window long. */
HOT bool address_list_try(struct address_list *list, struct address_mailbox *mailbox);

#endif
