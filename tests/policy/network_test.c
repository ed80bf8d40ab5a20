/* Networks: what lies in one, and what is none. */
#include "policy/network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static bool holds(const char *network_text, const char *address_text)
{
    struct network network;
    uint8_t ipv4[4];
    uint8_t address[NETWORK_ADDRESS_BYTES];
    assert_int_equal(network_parse(network_text, &network), 0);
    if (inet_pton(AF_INET, address_text, ipv4) == 1)
        network_from_ipv4(ipv4, address);
    else
        assert_int_equal(inet_pton(AF_INET6, address_text, address), 1);
    return network_holds(&network, address);
}

static void network_holds_its_addresses_and_no_other(void **state)
{
    (void)state;
    assert_true(holds("127.0.0.0/8", "127.255.0.1"));
    assert_false(holds("127.0.0.0/8", "128.0.0.1"));
    assert_true(holds("192.0.2.128/25", "192.0.2.129"));
    assert_false(holds("192.0.2.128/25", "192.0.2.127"));
    assert_true(holds("192.0.2.7", "192.0.2.7"));
    assert_false(holds("192.0.2.7", "192.0.2.6"));
    assert_true(holds("0.0.0.0/0", "203.0.113.9"));
    assert_false(holds("0.0.0.0/0", "2001:db8::1"));
    assert_true(holds("2001:db8::/33", "2001:db8:7fff::1"));
    assert_false(holds("2001:db8::/33", "2001:db8:8000::1"));
    assert_true(holds("::1", "::1"));
    assert_true(holds("192.0.2.0/24", "::ffff:192.0.2.9"));
    assert_true(holds("::/0", "192.0.2.9"));
}

static void network_refuses_what_is_none(void **state)
{
    (void)state;
    static const char *const texts[] = {"",           "/8",        "192.0.2.0/33",  "192.0.2.1/24",
                                        "192.0.2/24", "::/129",    "192.0.2.0/",    "192.0.2.0/-1",
                                        "::1/64",     "localhost", "192.0.2.0/024x"};
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        struct network network = {.prefix_bits = 7};
        if (network_parse(texts[i], &network) != -EINVAL || network.prefix_bits != 7)
            fail_msg("\"%s\" was taken", texts[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(network_holds_its_addresses_and_no_other),
        cmocka_unit_test(network_refuses_what_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
