/*
 * network: an IP network such as 192.0.2.0/24, and whether an address lies in it.
 * Ownership: a plain struct of fixed size.
 * Threads:   any.
 * Units:     bits for prefixes; addresses in network byte order, IPv4 mapped into IPv6.
 * Errors:    network_parse() gives -EINVAL.
 */
#ifndef POLICY_NETWORK_H
#define POLICY_NETWORK_H

#include "base/macros.h"

#include <stdbool.h>
#include <stdint.h>

#define NETWORK_ADDRESS_BYTES 16

struct network {
    uint8_t address[NETWORK_ADDRESS_BYTES];
    uint32_t prefix_bits; /* of the 128 */
};

/* "192.0.2.0/24", "2001:db8::/32", or one address. Bits beyond the prefix must be zero. */
MUST_USE int network_parse(const char *text, struct network *network);
bool network_holds(const struct network *network, const uint8_t address[NETWORK_ADDRESS_BYTES]);
/* ::ffff:a.b.c.d */
void network_from_ipv4(const uint8_t ipv4[4], uint8_t address[NETWORK_ADDRESS_BYTES]);

#endif
