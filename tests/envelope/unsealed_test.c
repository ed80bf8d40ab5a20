#include "envelope/unsealed.h"

#include "base/assert.h"
#include "base/macros.h"
#include "envelope/part.h"
#include "tests/envelope/mailgen.h"
#include "tests/envelope/sealing.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MAIL_ROOM (128 * 1024)

static const char small_mail[] = "Subject: x\r\n\r\nHi\r\n";
static struct crypto_core *core;

static int setup(void **state)
{
    (void)state;
    return crypto_core_open(&core, isa_best());
}

static int teardown(void **state)
{
    (void)state;
    crypto_core_close(core);
    return 0;
}

/* Reads a copy of exactly those bytes, so that a sanitizer sees any step past them. */
static int read_copy(struct unsealed *unsealed, const void *text, size_t bytes)
{
    uint8_t *copy = malloc(bytes == 0 ? 1 : bytes);

    ASSERT(copy != NULL);
    memcpy(copy, text, bytes);
    const int rc = unsealed_read(unsealed, copy, bytes);
    free(copy);
    return rc;
}

/* 0 when it opens to the mail; an error; 1 when it opens to anything else, which must not be. */
static int opens(const struct sealing *sealing, const void *text, size_t bytes, const void *mail,
                 size_t mail_bytes)
{
    struct unsealed unsealed;
    uint8_t *opened = NULL;
    size_t opened_bytes = 0;
    int rc = read_copy(&unsealed, text, bytes);

    if (rc != 0)
        return rc;
    rc = unsealed_open(&unsealed, core, sealing->key, &opened, &opened_bytes);
    if (rc == 0 && (opened_bytes != mail_bytes || memcmp(opened, mail, mail_bytes) != 0))
        rc = 1;
    if (opened == NULL)
        assert_int_not_equal(rc, 0);
    free(opened);
    unsealed_fini(&unsealed);
    unsealed_fini(&unsealed); /* twice is harmless */
    return rc;
}

static struct text small_html(const struct sealing *sealing, struct mailgen *gen)
{
    return sealing_html(sealing, core, gen, (const uint8_t *)small_mail, sizeof(small_mail) - 1);
}

static int opens_small(const struct sealing *sealing, const struct text *text)
{
    return opens(sealing, text->at, text->bytes, small_mail, sizeof(small_mail) - 1);
}

/* The text with the first `from` replaced. */
static struct text edited(const struct text *text, const char *from, const char *to)
{
    const size_t from_bytes = strlen(from);
    const size_t to_bytes = strlen(to);
    const uint8_t *at = memmem(text->at, text->bytes, from, from_bytes);
    struct text result = {.at = malloc(text->bytes + to_bytes),
                          .bytes = text->bytes - from_bytes + to_bytes};

    if (at == NULL || result.at == NULL)
        fail_msg("no %s to edit", from);
    const size_t before = (size_t)(at - text->at);
    memcpy(result.at, text->at, before);
    memcpy(result.at + before, to, to_bytes);
    memcpy(result.at + before + to_bytes, at + from_bytes, text->bytes - before - from_bytes);
    return result;
}

static int opens_edited(const struct sealing *sealing, const struct text *html, const char *from,
                        const char *to)
{
    struct text text = edited(html, from, to);
    const int rc = opens_small(sealing, &text);

    free(text.at);
    return rc;
}

static void unsealed_opens_what_gateways_made_of_it(void **state)
{
    struct mailgen gen = mailgen_seeded();
    uint8_t *mail = malloc(MAIL_ROOM);

    (void)state;
    assert_non_null(mail);
    for (uint32_t round = 0; round < 300; round++) {
        const enum sealing_form form = (enum sealing_form)(round % SEALING_FORM_COUNT);
        const struct sealing sealing = sealing_random(&gen);
        const size_t mail_bytes = mailgen_mail(&gen, mail, MAIL_ROOM);
        struct text html = sealing_html(&sealing, core, &gen, mail, mail_bytes);
        struct text sealed = sealing_mail(form, &html);
        const int rc = opens(&sealing, sealed.at, sealed.bytes, mail, mail_bytes);
        if (rc != 0)
            fail_msg("form %d: %d", (int)form, rc);
        free(sealed.at);
        free(html.at);
    }
    free(mail);
}

static void unsealed_opens_html_that_was_touched(void **state)
{
    static const char *const harmless[][2] = {
        {"<!DOCTYPE", "\xef\xbb\xbf \r\n<!DOCTYPE"},
        {"<!DOCTYPE", "Saved from a web mail\n<!DOCTYPE"},
        {"name=\"s\" value=\"1\"", "name=s value=1"},
        {"type=\"hidden\" name=\"s\" value=\"1\"", "value='1' NAME='s' TYPE=hidden /"},
        {"name=\"s\" value=\"1\"", "name=\"s\" value=\" 1\n\" value=\"7\""},
        {"<form id=\"bulla\"", "<form class=x"},
        {"</form>", "<input type=hidden name=utf8 value=x></form>"},
        {"name=\"c\" value=\"", "name=\"c\" value=\" \t\r\n\f"},
        {"name=\"f\"", "name=\"f\" disabled"},
    };
    struct mailgen gen = mailgen_seeded();
    const struct sealing sealing = sealing_random(&gen);
    struct text html = small_html(&sealing, &gen);

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(harmless); i++) {
        const int rc = opens_edited(&sealing, &html, harmless[i][0], harmless[i][1]);
        if (rc != 0)
            fail_msg("%s: %d", harmless[i][1], rc);
    }
    free(html.at);
}

static void unsealed_refuses_damaged_fields(void **state)
{
    static const char *const damaged[][2] = {
        {"name=\"v\" value=\"1\"", "name=\"v\" value=\"2\""},
        {"name=\"v\" value=\"1\"", "name=\"v\" value=\"\""},
        {"name=\"v\" value=\"1\"", "name=\"v\""},
        {"name=\"v\" value=\"1\"", "name=\"x\" value=\"1\""},
        {"name=\"s\" value=\"1\"", "name=\"s\" value=\"0\""},
        {"name=\"s\" value=\"1\"", "name=\"s\" value=\"3\""},
        {"name=\"s\" value=\"1\"", "name=\"s\" value=\"11\""},
        {"name=\"s\" value=\"1\"", "name=\"x\" value=\"1\""},
        {"name=\"m\" value=\"", "name=\"m\" value=\"0"},
        {"name=\"m\" value=\"", "name=\"m\" value=\"G"},
        {"name=\"m\"", "name=\"n\""},
        {"name=\"t\" value=\"", "name=\"t\" value=\"-"},
        {"name=\"t\" value=\"", "name=\"t\" value=\"\" data-value=\""},
        {"name=\"t\" value=\"", "name=\"t\" value=\"000"},
        {"name=\"k\" value=\"", "name=\"k\" value=\"AAAA"},
        {"name=\"k\" value=\"", "name=\"k\" value=\"="},
        {"name=\"k\" value=\"", "name=\"k\" value=\"&#65;"},
        {"name=\"k\" value=\"", "name=\"k\" value=\"\" data-value=\""},
        {"name=\"k\"", "name=\"kk\""},
        {"name=\"c\" value=\"", "name=\"c\" value=\"="},
        {"name=\"c\" value=\"", "name=\"c\" value=\"AAAA"},
        {"name=\"c\" value=\"", "name=\"c\" value=\"AAA"},
        {"name=\"c\" value=\"", "name=\"c\" value=\"-"},
        {"name=\"c\" value=\"", "name=\"c\" value=\"\" data-value=\""},
        {"name=\"c\"", "name=\"d\""},
        /* A field twice, in another place, or after the end. */
        {"name=\"f\" value=\"", "name=\"v\" value=\"1\"><input name=\"f\" value=\""},
        {"name=\"u\" value=\"\"", "name=\"s\" value=\"1\""},
        {"name=\"u\" value=\"\"", "name=\"u\" value=\"\"><input type=hidden name=u value=\"\""},
        {"name=\"s\" value=\"1\"",
         "name=\"s\" value=\"1\"><input type=hidden name=c value=\"AAAA\""},
        {"</form>", "<input type=hidden name=c value=\"AAAA\"></form>"},
        {"</form>", "<input type=hidden name=e value=1></form>"},
        {"name=\"e\" value=\"1\">\r\n</form>", "name=\"e\" value=\"0\"></form>"},
        /* Padding anywhere but at the very end. */
        {"name=\"c\" value=\"", "name=\"c\" value=\"AA==\"><input type=hidden name=c value=\""},
    };
    struct mailgen gen = mailgen_seeded();
    const struct sealing sealing = sealing_random(&gen);
    struct text html = small_html(&sealing, &gen);

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(damaged); i++) {
        const int rc = opens_edited(&sealing, &html, damaged[i][0], damaged[i][1]);
        if (rc != -EBADMSG)
            fail_msg("%s: %d", damaged[i][1], rc);
    }
    free(html.at);
}

static void unsealed_refuses_fields_out_of_order(void **state)
{
    struct mailgen gen = mailgen_seeded();
    const size_t mail_bytes = 3 * 57 * 16384;
    uint8_t *mail = malloc(mail_bytes);
    const struct sealing sealing = sealing_random(&gen);

    (void)state;
    assert_non_null(mail);
    mailgen_bytes(&gen, mail, mail_bytes);
    struct text html = sealing_html(&sealing, core, &gen, mail, mail_bytes);
    assert_int_equal(opens(&sealing, html.at, html.bytes, mail, mail_bytes), 0);
    uint8_t *first = memmem(html.at, html.bytes, "name=\"c\"", 8);
    assert_non_null(first);
    const size_t stride = 39 + 16400 * 78 + 4;
    for (size_t i = 0; i < stride; i++) { /* swaps two whole fields */
        const uint8_t byte = first[i];
        first[i] = first[stride + i];
        first[stride + i] = byte;
    }
    assert_int_equal(opens(&sealing, html.at, html.bytes, mail, mail_bytes), -EBADMSG);
    memmove(first, first + stride,
            html.bytes - stride - (size_t)(first - html.at)); /* one is lost */
    assert_int_equal(opens(&sealing, html.at, html.bytes - stride, mail, mail_bytes), -EBADMSG);
    free(html.at);
    free(mail);
}

static void unsealed_tells_a_cut_from_damage(void **state)
{
    struct mailgen gen = mailgen_seeded();
    const struct sealing sealing = sealing_random(&gen);
    struct text html = small_html(&sealing, &gen);
    const uint8_t *marker = memmem(html.at, html.bytes, "bulla-strings\">", 15);
    const uint8_t *tail = memmem(html.at, html.bytes, "</form></body>", 14);

    (void)state;
    assert_non_null(marker);
    assert_non_null(tail);
    for (size_t cut = 0; cut < html.bytes; cut++) {
        const int expected = html.at + cut < marker + 15 ? -EINVAL
                             : html.at + cut < tail - 2  ? -ENODATA
                                                         : 0;
        const int rc = opens_small(&sealing, &(struct text){html.at, cut});
        if (rc != expected)
            fail_msg("cut at %zu of %zu: %d, not %d", cut, html.bytes, rc, expected);
    }
    free(html.at);
}

static void unsealed_tells_a_cut_mail_in_every_form(void **state)
{
    struct mailgen gen = mailgen_seeded();
    const struct sealing sealing = sealing_random(&gen);
    struct text html = small_html(&sealing, &gen);

    (void)state;
    for (int form = 0; form < SEALING_FORM_COUNT; form++) {
        struct text mail = sealing_mail((enum sealing_form)form, &html);
        int before = -EINVAL; /* each cut is at least as telling as the one before it */
        for (size_t cut = 0; cut <= mail.bytes; cut++) {
            const int rc = opens_small(&sealing, &(struct text){mail.at, cut});
            const bool forward = before == rc || (before == -EINVAL && rc == -ENODATA) ||
                                 (before == -ENODATA && rc == 0);
            if (!forward)
                fail_msg("form %d cut at %zu of %zu: %d after %d", form, cut, mail.bytes, rc,
                         before);
            before = rc;
        }
        assert_int_equal(before, 0);
        free(mail.at);
    }
    free(html.at);
}

static void unsealed_never_opens_to_anything_else(void **state)
{
    struct mailgen gen = mailgen_seeded();
    const struct sealing sealing = sealing_random(&gen);
    struct text html = small_html(&sealing, &gen);
    const uint8_t *first = memmem(html.at, html.bytes, "name=\"k\"", 8);
    uint32_t refused_count = 0;

    (void)state;
    assert_non_null(first);
    for (size_t bit = 0; bit < html.bytes * 8; bit++) {
        html.at[bit / 8] ^= (uint8_t)(1 << bit % 8);
        const int rc = opens_small(&sealing, &html);
        assert_true(rc == 0 || rc == -EBADMSG || rc == -ENODATA || rc == -EINVAL);
        refused_count += rc != 0 ? 1 : 0;
        html.at[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_true(refused_count > 8 * 76 + 8 * 60); /* every bit of k and c at least */
    free(html.at);
}

static void unsealed_refuses_another_key_or_id_or_suite(void **state)
{
    struct mailgen gen = mailgen_seeded();
    const struct sealing sealing = sealing_random(&gen);
    struct text html = small_html(&sealing, &gen);
    struct sealing other = sealing;

    (void)state;
    for (uint32_t bit = 0; bit < 256; bit += 5) {
        other.key[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(opens_small(&other, &html), -EBADMSG);
        other.key[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_int_equal(opens_small(&other, &html), 0);
    assert_int_equal(opens_edited(&sealing, &html, "name=\"s\" value=\"1\"",
                                  "name=\"s\" value=\"2\""),
                     -EBADMSG);
    char hex[ID_HEX_CHARS + 1] = {0};
    char hex_other[ID_HEX_CHARS + 1] = {0};
    id_to_hex(hex, &sealing.id);
    memcpy(hex_other, hex, ID_HEX_CHARS);
    hex_other[0] = hex[0] == '0' ? '1' : '0';
    assert_int_equal(opens_edited(&sealing, &html, hex, hex_other), -EBADMSG);
    free(html.at);
}

/* Authentic, but what was sealed is not a packed message. */
static void unsealed_refuses_a_sealer_that_packs_nonsense(void **state)
{
    static const char *const nonsense[] = {"", "BULLA", "BULLA\x02", "BULLA\x01\x07",
                                           "BULLA\x01\x01\x04\x01"};
    uint8_t context[ID_CONTEXT_BYTES];
    uint8_t sealed[COBBLE_HEADER_BYTES + 64] = {0};
    struct mailgen gen = mailgen_seeded();
    const struct sealing sealing = sealing_random(&gen);

    (void)state;
    id_context(context, sealing.suite, &sealing.id);
    for (uint32_t i = 0; i < ARRAY_COUNT(nonsense); i++) {
        struct cobble cobble;
        struct cobble_derivation derivation = {.suite = sealing.suite,
                                               .key = sealing.key,
                                               .salt = sealed,
                                               .context = context,
                                               .context_bytes = sizeof(context),
                                               .cobble = &cobble};
        struct unsealed unsealed = {.id = sealing.id, .suite = sealing.suite, .sealed = sealed};
        uint8_t *mail = NULL;
        size_t mail_bytes = 77;
        cobble_derive_burst(core, &derivation, 1);
        memcpy(sealed + COBBLE_SALT_BYTES, derivation.commitment, COBBLE_COMMITMENT_BYTES);
        unsealed.sealed_bytes =
            COBBLE_HEADER_BYTES + cobble_seal(core, &cobble, sealed + COBBLE_HEADER_BYTES,
                                              (const uint8_t *)nonsense[i], strlen(nonsense[i]),
                                              true);
        assert_int_equal(unsealed_open(&unsealed, core, sealing.key, &mail, &mail_bytes), -EBADMSG);
        assert_null(mail);
        assert_int_equal(mail_bytes, 77);
        cobble_wipe(&cobble);
    }
}

static void unsealed_finds_none_in_other_things(void **state)
{
    static const char *const others[] = {
        "",
        " ",
        "\r\n\r\n",
        "<",
        "<html><body>hello</body></html>",
        "<input type=\"hidden\" name=\"q\" value=\"1\">",
        "<script>\"<input type=hidden name=v value=1>\"",
        "From: a@b\r\n\r\nhello",
        "Content-Type: multipart/mixed; boundary=",
        "Content-Type: multipart/mixed; boundary=x\n\n--x\n--x\n--x--",
        "Content-Type: multipart/mixed; boundary=\"\"\n\n--\n--\n",
        "Content-Type: message/rfc822\n\nContent-Type: message/rfc822\n\n",
        "Content-Type: text/html\nContent-Transfer-Encoding: base64\n\n!!!",
        "BULLA\x01",
    };
    struct unsealed unsealed;

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(others); i++)
        assert_int_equal(read_copy(&unsealed, others[i], strlen(others[i])), -EINVAL);
}

/* Each would take minutes if any step were quadratic: the test's time limit is the check. */
static void unsealed_reads_hostile_text_in_linear_time(void **state)
{
    static const char *const starts[] = {"<", "Content-Type: multipart/mixed; boundary=x\n\n",
                                         "Content-Type: text/html\n\n<p>", "a: b\n"};
    static const char *const repeated[] = {
        "<",
        "<input ",
        "<input a=",
        "<input a='",
        "<!-- <!",
        "<script>",
        "</script",
        "<form id=bulla",
        "<input type=hidden name=c value=AAAA>",
        "--x\n",
        "--x\nContent-Type: multipart/mixed; boundary=x\n\n",
        "Content-Type: message/rfc822\n\n",
        "Content-Type: text/html; name=((((((\n ",
        "Content-Type: multipart/mixed; a=\"\\",
        ";;;;=====",
        "\n",
        " ",
    };
    const size_t room = 4 << 20;
    uint8_t *text = malloc(room);
    struct unsealed unsealed;

    (void)state;
    assert_non_null(text);
    for (uint32_t i = 0; i < ARRAY_COUNT(starts); i++) {
        for (uint32_t k = 0; k < ARRAY_COUNT(repeated); k++) {
            size_t bytes = strlen(starts[i]);
            memcpy(text, starts[i], bytes);
            for (const size_t stride = strlen(repeated[k]); bytes + stride <= room; bytes += stride)
                memcpy(text + bytes, repeated[k], stride);
            const int rc = unsealed_read(&unsealed, text, bytes);
            assert_true(rc == -EINVAL || rc == -ENODATA || rc == -EBADMSG);
        }
    }
    free(text);
}

static void unsealed_survives_generated_structure(void **state)
{
    static const char *const words[] = {
        "Content-Type: ",
        "multipart/mixed; boundary=x",
        "boundary=\"y",
        "text/html",
        "message/rfc822",
        "\n",
        "\r\n",
        "\n\n",
        "--x",
        "--",
        "--x--",
        "--y",
        "name=securedoc_1.html",
        ";",
        " ",
        "(",
        ")",
        "\"",
        "Content-Transfer-Encoding: base64\n",
        "Content-Transfer-Encoding: quoted-printable\n",
        "<input type=hidden name=",
        "v value=1>",
        "s value=1>",
        "k value=",
        "c value='",
        "AAAA",
        "=3D",
        "=\n",
        "=",
        "'",
        ">",
        "<",
        "<!--",
        "-->",
        "<script",
        "</script",
        "m value=0123456789abcdef0123456789abcdef>",
        "e value=1>",
        "Content-Disposition: attachment; filename=",
        "WlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaI5dBslF0Nt0tw60C+IWAn3t4vefaDJ6BHksNyQi/I8E="};
    struct mailgen gen = mailgen_seeded();

    (void)state;
    for (uint32_t round = 0; round < 30000; round++) {
        char text[4096];
        size_t bytes = 0;
        for (uint32_t count = mailgen_below(&gen, 50); count != 0; count--) {
            const char *word = words[mailgen_below(&gen, ARRAY_COUNT(words))];
            memcpy(text + bytes, word, strlen(word));
            bytes += strlen(word);
        }
        struct unsealed unsealed;
        const int rc = read_copy(&unsealed, text, bytes);
        if (rc == 0)
            unsealed_fini(&unsealed);
        else
            assert_true(rc == -EINVAL || rc == -ENODATA || rc == -EBADMSG);
    }
}

static void corpus_message(const uint8_t *mail, size_t mail_bytes, void *context)
{
    struct unsealed unsealed;

    (void)context;
    assert_int_equal(read_copy(&unsealed, mail, mail_bytes), -EINVAL);
}

static void unsealed_finds_none_in_the_corpus(void **state)
{
    (void)state;
    if (!mailgen_corpus(corpus_message, NULL))
        skip();
}

/* The fields of docs/format/envelope.md's worked example, in one text as a form carries them. */
#define FIELD_V    "1"
#define FIELD_M    "0192f0c1d2e37abc8def0123456789ab"
#define FIELD_K    "WlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaI5dBslF0Nt0tw60C+IWAn3t4vefaDJ6BHksNyQi/I8E="
#define FIELD_C    "\r\nGL9ufPPQxwUUUGIBWpZXOed2nGDJKcoIQXwxPQ7HZ43Vn2ltET3cqS+GECPm\r\n"
#define FORM_COUNT 7

static int form_read(struct unsealed *unsealed, const char *const values[FORM_COUNT],
                     const char *names)
{
    struct unsealed_field fields[FORM_COUNT];
    uint8_t text[512];
    size_t used = 0;
    uint32_t count = 0;

    for (; names[count] != '\0'; count++) {
        const size_t bytes = strlen(values[count]);
        memcpy(text + used, values[count], bytes);
        fields[count] = (struct unsealed_field){
            .name = names[count], .value = text + used, .value_bytes = bytes};
        used += bytes;
    }
    return unsealed_read_fields(unsealed, fields, count, text + used);
}

static void unsealed_reads_the_fields_of_a_form(void **state)
{
    static const char *const good[FORM_COUNT] = {FIELD_V, "1", FIELD_M, FIELD_K, FIELD_C, "1", "x"};
    static const char *const other_version[FORM_COUNT] = {"2", "1", FIELD_M, FIELD_K, FIELD_C, "1"};
    static const char *const no_base64[FORM_COUNT] = {FIELD_V, "1", FIELD_M, FIELD_K, "!", "1"};
    struct unsealed unsealed;
    uint8_t key[COBBLE_KEY_BYTES_MAX];
    uint8_t *mail = NULL;
    size_t mail_bytes = 0;

    (void)state;
    for (uint32_t i = 0; i < sizeof(key); i++)
        key[i] = (uint8_t)i;
    assert_int_equal(form_read(&unsealed, good, "vsmkcez"), 0);
    assert_true(unsealed_key_fits(&unsealed, core, key));
    assert_int_equal(unsealed_open_within(&unsealed, core, key, sizeof(small_mail) - 2, &mail,
                                          &mail_bytes),
                     -EFBIG);
    assert_null(mail);
    assert_int_equal(
        unsealed_open_within(&unsealed, core, key, sizeof(small_mail) - 1, &mail, &mail_bytes), 0);
    assert_int_equal(mail_bytes, sizeof(small_mail) - 1);
    assert_memory_equal(mail, small_mail, mail_bytes);
    free(mail);
    key[31] ^= 1;
    assert_false(unsealed_key_fits(&unsealed, core, key));
    unsealed_fini(&unsealed);
    assert_int_equal(form_read(&unsealed, good, ""), -EINVAL);
    assert_int_equal(form_read(&unsealed, good, "vsmkc"), -ENODATA);
    assert_int_equal(form_read(&unsealed, good, "vsmkxe"), -EBADMSG);
    assert_int_equal(form_read(&unsealed, other_version, "vsmkce"), -EBADMSG);
    assert_int_equal(form_read(&unsealed, no_base64, "vsmkce"), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unsealed_opens_what_gateways_made_of_it),
        cmocka_unit_test(unsealed_opens_html_that_was_touched),
        cmocka_unit_test(unsealed_refuses_damaged_fields),
        cmocka_unit_test(unsealed_refuses_fields_out_of_order),
        cmocka_unit_test(unsealed_tells_a_cut_from_damage),
        cmocka_unit_test(unsealed_tells_a_cut_mail_in_every_form),
        cmocka_unit_test(unsealed_never_opens_to_anything_else),
        cmocka_unit_test(unsealed_refuses_another_key_or_id_or_suite),
        cmocka_unit_test(unsealed_refuses_a_sealer_that_packs_nonsense),
        cmocka_unit_test(unsealed_finds_none_in_other_things),
        cmocka_unit_test(unsealed_reads_the_fields_of_a_form),
        cmocka_unit_test(unsealed_reads_hostile_text_in_linear_time),
        cmocka_unit_test(unsealed_survives_generated_structure),
        cmocka_unit_test(unsealed_finds_none_in_the_corpus),
    };
    return mailgen_verdict(cmocka_run_group_tests(tests, setup, teardown));
}
