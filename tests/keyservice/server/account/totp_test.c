/* Six digits of the minute: RFC 6238's own vectors, and which of them are taken. */
#include "keyservice/server/account/totp.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* RFC 6238, appendix B; its codes have eight digits, of which ours are the last six. */
static const uint8_t secret[TOTP_SECRET_BYTES + 1] = "12345678901234567890";
static const struct {
    uint64_t unix_s;
    const char *code;
} vectors[] = {
    {59, "287082"},         {1111111109, "081804"}, {1111111111, "050471"},
    {1234567890, "005924"}, {2000000000, "279037"}, {20000000000, "353130"},
};

static void codes_are_those_of_rfc_6238(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(vectors); i++) {
        char code[TOTP_DIGITS + 1];
        uint64_t step = 0;
        totp_code(code, secret, vectors[i].unix_s / TOTP_STEP_S);
        assert_string_equal(code, vectors[i].code);
        assert_int_equal(totp_check(secret, code, vectors[i].unix_s, 0, &step), 0);
        assert_int_equal(step, vectors[i].unix_s / TOTP_STEP_S);
    }
}

static void a_step_before_and_after_is_taken_and_no_other(void **state)
{
    const uint64_t unix_s = 1111111111;
    const uint64_t now = unix_s / TOTP_STEP_S;
    char code[TOTP_DIGITS + 1];
    uint64_t step = 0;
    (void)state;
    for (uint64_t at = now - 3; at <= now + 3; at++) {
        totp_code(code, secret, at);
        const int wanted = at >= now - 1 && at <= now + 1 ? 0 : -EACCES;
        assert_int_equal(totp_check(secret, code, unix_s, 0, &step), wanted);
        if (wanted == 0)
            assert_int_equal(step, at);
    }
}

static void a_step_is_never_taken_twice_nor_one_before_it(void **state)
{
    const uint64_t unix_s = 1234567890;
    const uint64_t now = unix_s / TOTP_STEP_S;
    char code[TOTP_DIGITS + 1];
    uint64_t step = 0;
    (void)state;
    totp_code(code, secret, now);
    assert_int_equal(totp_check(secret, code, unix_s, now - 1, &step), 0);
    assert_int_equal(totp_check(secret, code, unix_s, now, &step), -EACCES);
    assert_int_equal(totp_check(secret, code, unix_s, now + 1, &step), -EACCES);
}

static void what_is_not_six_digits_is_refused(void **state)
{
    static const char *const bad[] = {"", "00592", "0059244", "005 24", "abcdef", "000000"};
    uint64_t step = 0;
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        assert_int_equal(totp_check(secret, bad[i], 1234567890, 0, &step), -EACCES);
}

static void secrets_are_written_in_base32_and_read_again(void **state)
{
    char text[TOTP_SECRET_CHARS + 1];
    uint8_t read[TOTP_SECRET_BYTES];
    (void)state;
    totp_secret_text(text, secret);
    assert_string_equal(text, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
    assert_int_equal(totp_secret_parse(read, text), 0);
    assert_memory_equal(read, secret, sizeof(read));
    for (int i = 0; i < 100; i++) {
        uint8_t made[TOTP_SECRET_BYTES];
        assert_int_equal(totp_secret_make(made), 0);
        totp_secret_text(text, made);
        assert_int_equal(totp_secret_parse(read, text), 0);
        assert_memory_equal(read, made, sizeof(read));
    }
    assert_int_equal(totp_secret_parse(read, ""), -EINVAL);
    assert_int_equal(totp_secret_parse(read, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJ"), -EINVAL);
    assert_int_equal(totp_secret_parse(read, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJ1"), -EINVAL);
    assert_int_equal(totp_secret_parse(read, "gezdgnbvgy3tqojqgezdgnbvgy3tqojq"), -EINVAL);
}

static void an_uri_names_issuer_address_and_secret(void **state)
{
    char uri[TOTP_URI_BYTES];
    char address[400];
    char image[TOTP_IMAGE_BYTES];
    (void)state;
    assert_int_equal(totp_uri(uri, "Sealed mail: A&B", "bob+x@example.org", secret), 0);
    assert_string_equal(uri, "otpauth://totp/Sealed%20mail%3A%20A%26B%3Abob%2Bx@example.org"
                             "?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
                             "&issuer=Sealed%20mail%3A%20A%26B");
    assert_int_equal(totp_image(image, uri), 0);
    assert_non_null(strstr(image, "<svg xmlns=\"http://www.w3.org/2000/svg\""));
    assert_string_equal(image + strlen(image) - 9, "\"/></svg>");
    /* The longest address there may be, all of it to be encoded. */
    memset(address, '+', 320);
    address[320] = '\0';
    assert_int_equal(totp_uri(uri, "Sealed mail", address, secret), 0);
    assert_int_equal(totp_image(image, uri), 0);
    char *huge = test_malloc(TOTP_URI_BYTES + 1);
    memset(huge, 'a', TOTP_URI_BYTES);
    huge[TOTP_URI_BYTES] = '\0';
    assert_int_equal(totp_uri(uri, "Sealed mail", huge, secret), -EINVAL);
    test_free(huge);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_are_those_of_rfc_6238),
        cmocka_unit_test(a_step_before_and_after_is_taken_and_no_other),
        cmocka_unit_test(a_step_is_never_taken_twice_nor_one_before_it),
        cmocka_unit_test(what_is_not_six_digits_is_refused),
        cmocka_unit_test(secrets_are_written_in_base32_and_read_again),
        cmocka_unit_test(an_uri_names_issuer_address_and_secret),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
