#include "policy/network.h"

#include "base/assert.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#define NETWORK_BITS      128
#define NETWORK_IPV4_BITS 96 /* before an IPv4 address in ::ffff:0:0/96 */

void network_from_ipv4(const uint8_t ipv4[4], uint8_t address[NETWORK_ADDRESS_BYTES])
{
    memset(address, 0, 10);
    address[10] = 0xff;
    address[11] = 0xff;
    memcpy(address + 12, ipv4, 4);
}

static bool bit_is_set(const uint8_t address[NETWORK_ADDRESS_BYTES], uint32_t bit)
{
    return (address[bit / 8] >> (7 - bit % 8) & 1) != 0;
}

/* Decimal without a sign; `most` or less. */
static int prefix_parse(const char *text, uint32_t most, uint32_t *bits)
{
    uint32_t found = 0;
    if (text[0] == '\0' || strlen(text) > 3 || strspn(text, "0123456789") != strlen(text))
        return -EINVAL;
    for (; *text != '\0'; text++)
        found = found * 10 + (uint32_t)(*text - '0');
    if (found > most)
        return -EINVAL;
    *bits = found;
    return 0;
}

int network_parse(const char *text, struct network *network)
{
    struct network made = {.prefix_bits = NETWORK_BITS};
    char address[INET6_ADDRSTRLEN + 1];
    uint8_t ipv4[4];
    const char *slash = strchr(text, '/');
    const size_t address_bytes = slash == NULL ? strlen(text) : (size_t)(slash - text);
    if (address_bytes >= sizeof(address))
        return -EINVAL;
    memcpy(address, text, address_bytes);
    address[address_bytes] = '\0';
    uint32_t base_bits = 0;
    if (inet_pton(AF_INET, address, ipv4) == 1) {
        network_from_ipv4(ipv4, made.address);
        base_bits = NETWORK_IPV4_BITS;
    } else if (inet_pton(AF_INET6, address, made.address) != 1) {
        return -EINVAL;
    }
    if (slash != NULL) {
        uint32_t bits;
        if (prefix_parse(slash + 1, NETWORK_BITS - base_bits, &bits) != 0)
            return -EINVAL;
        made.prefix_bits = base_bits + bits;
    }
    for (uint32_t bit = made.prefix_bits; bit < NETWORK_BITS; bit++) {
        if (bit_is_set(made.address, bit))
            return -EINVAL;
    }
    *network = made;
    return 0;
}

bool network_holds(const struct network *network, const uint8_t address[NETWORK_ADDRESS_BYTES])
{
    ASSERT(network->prefix_bits <= NETWORK_BITS);
    for (uint32_t bit = 0; bit < network->prefix_bits; bit++) {
        if (bit_is_set(network->address, bit) != bit_is_set(address, bit))
            return false;
    }
    return true;
}
