/* Passwords that many people have, and such as are made of an address. */
#include "keyservice/server/account/password_words.h"

#include "base/macros.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static bool common(const char *password)
{
    return password_words_common(password, strlen(password));
}

/* As the file has them, read without what is tested: that it is sorted, and that each is found. */
static void every_word_of_the_list_is_found(void **state)
{
    char line[256];
    char last[256] = "";
    uint32_t words_count = 0;
    uint32_t long_count = 0;
    FILE *file = fopen(BULLA_SOURCE_DIR "/keyservice/server/account/password_words.txt", "re");
    (void)state;
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        if (line[0] == '#')
            continue;
        line[strcspn(line, "\n")] = '\0';
        assert_true(strcmp(last, line) < 0);
        assert_true(common(line));
        (void)snprintf(last, sizeof(last), "%s", line);
        words_count++;
        long_count += strlen(line) >= 10;
    }
    (void)fclose(file);
    assert_true(words_count > 9000);
    assert_true(long_count > 2800);
}

static void case_and_what_stands_behind_change_nothing(void **state)
{
    static const char *const refused[] = {"password123!",  "QwertyUiop",    "Manchester2026",
                                          "iloveyou!!!!!", "1234567890",    "passwordPASSWORD",
                                          "letmein-2026",  "Dragon.......", "basketball-"};
    static const char *const taken[] = {"",
                                        "!",
                                        "zz",
                                        "correct horse battery",
                                        "2026 was a password",
                                        "passwort-fabrik",
                                        "\xc3\xa9t\xc3\xa9 password",
                                        "09182736450"};
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(refused); i++)
        assert_true(common(refused[i]));
    for (size_t i = 0; i < ARRAY_COUNT(taken); i++)
        assert_false(common(taken[i]));
}

static bool of_address(const char *password, const char *address)
{
    return password_words_of_address(password, strlen(password), address);
}

static void an_address_with_little_around_it_is_told(void **state)
{
    (void)state;
    assert_true(of_address("anna.berg26", "anna.berg@example.org"));
    assert_true(of_address("ANNAexample", "anna.berg@example.org"));
    assert_true(of_address("bulla-bulla", "x@y.z"));
    assert_true(of_address("bulla12!", "x@y.z"));
    assert_false(of_address("anna likes correct horses", "anna.berg@example.org"));
    assert_false(
        of_address("correct horse", "a.b@c.de")); /* parts of one or two letters say nothing */
    assert_false(of_address("", "anna@example.org"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_word_of_the_list_is_found),
        cmocka_unit_test(case_and_what_stands_behind_change_nothing),
        cmocka_unit_test(an_address_with_little_around_it_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
