#include "base/assert.h"
#include "base/bytes.h"
#include "base/macros.h"
#include "envelope/pack.h"
#include "envelope/unpack.h"
#include "tests/envelope/mailgen.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

#define MAIL_ROOM (128 * 1024)

/* How a message is fed to the packer. */
struct feed {
    size_t slice_bytes;  /* 0: random lengths from gen */
    size_t kept_modulus; /* bytes since the last multiple of this are kept; 0: none */
    struct mailgen *gen;
    bool compress;
};

static struct deflate *deflate_shared(void)
{
    static struct deflate *deflate;

    if (deflate == NULL) {
        deflate = aligned_alloc(CACHE_LINE, deflate_bytes());
        assert_non_null(deflate);
        memset(deflate, 0, deflate_bytes());
    }
    return deflate;
}

/* Everything the packer wrote, the bound checked at each step, in memory of exactly that size. */
static uint8_t *pack_all(const struct base64_codec *codec, const struct feed *feed,
                         const uint8_t *mail, size_t mail_bytes, size_t *packed_bytes)
{
    struct pack pack;
    size_t at = 0;
    size_t out = 0;
    size_t steps_count = 0;
    uint8_t *packed = malloc(2 * mail_bytes + PACK_STEP_ROOM(PACK_SLICE_BYTES));
    bool last = false;

    assert_non_null(packed);
    pack_init(&pack, codec);
    while (!last) {
        const size_t left = mail_bytes - at;
        const size_t most = MIN(left, (size_t)PACK_SLICE_BYTES);
        size_t slice = feed->slice_bytes;
        if (slice == 0)
            slice = 1 + mailgen_below(feed->gen, mailgen_below(feed->gen, 3) == 0 ? 5 : 2000);
        slice = MIN(slice, most);
        last = slice == left;
        const size_t kept = feed->kept_modulus == 0 ? 0 : out % feed->kept_modulus;
        const size_t room = kept + PACK_STEP_ROOM(slice);
        uint8_t *dst = malloc(room);
        uint8_t *src = malloc(slice + 1);
        assert_non_null(dst);
        assert_non_null(src);
        memcpy(dst, packed + out - kept, kept);
        memcpy(src, mail + at, slice);
        const size_t added = feed->compress ? pack_step_deflated(&pack, deflate_shared(), dst, kept,
                                                                 src, slice, last)
                                            : pack_step(&pack, dst, kept, src, slice, last);
        assert_true(kept + added + BASE64_SLACK_BYTES <= room);
        assert_true(out + added <= 2 * mail_bytes + PACK_STEP_ROOM(PACK_SLICE_BYTES));
        memcpy(packed + out - kept, dst, kept + added);
        free(dst);
        free(src);
        at += slice;
        out += added;
        steps_count++;
        assert_true(out <= pack_bytes_max(at, steps_count));
    }
    *packed_bytes = out;
    pack_wipe(&pack);
    return packed;
}

static void unpacks_to(const uint8_t *packed, size_t packed_bytes, const uint8_t *mail,
                       size_t mail_bytes)
{
    size_t unpacked_bytes = 0;
    uint8_t *copy = malloc(packed_bytes);

    assert_non_null(copy);
    memcpy(copy, packed, packed_bytes);
    assert_int_equal(unpack_bytes(copy, packed_bytes, &unpacked_bytes), 0);
    assert_int_equal(unpacked_bytes, mail_bytes);
    uint8_t *unpacked = malloc(unpacked_bytes + 1);
    assert_non_null(unpacked);
    assert_int_equal(unpack(unpacked, unpacked_bytes, copy, packed_bytes), 0);
    assert_memory_equal(unpacked, mail, mail_bytes);
    free(unpacked);
    free(copy);
}

static size_t round_trip(const struct base64_codec *codec, const struct feed *feed,
                         const uint8_t *mail, size_t mail_bytes)
{
    size_t packed_bytes = 0;
    uint8_t *packed = pack_all(codec, feed, mail, mail_bytes, &packed_bytes);

    unpacks_to(packed, packed_bytes, mail, mail_bytes);
    free(packed);
    return packed_bytes;
}

static const struct base64_codec *best(void)
{
    return base64_codec(isa_best());
}

static const struct feed whole_slices = {.slice_bytes = PACK_SLICE_BYTES};

static size_t packed_size(const void *mail, size_t mail_bytes)
{
    return round_trip(best(), &whole_slices, mail, mail_bytes);
}

static void pack_gives_back_generated_mail(void **state)
{
    struct mailgen gen = mailgen_seeded();
    uint8_t *mail = malloc(MAIL_ROOM);

    (void)state;
    assert_non_null(mail);
    for (uint32_t round = 0; round < 2000; round++) {
        const struct feed feeds[] = {
            {.slice_bytes = PACK_SLICE_BYTES},
            {.slice_bytes = PACK_SLICE_BYTES, .kept_modulus = 16384},
            {.slice_bytes = 0, .gen = &gen},
            {.slice_bytes = 0, .kept_modulus = 16384, .gen = &gen},
            {.slice_bytes = 0, .kept_modulus = 97, .gen = &gen},
            {.slice_bytes = PACK_SLICE_BYTES, .compress = true},
            {.slice_bytes = 0, .compress = true, .gen = &gen},
            {.slice_bytes = 0, .kept_modulus = 16384, .compress = true, .gen = &gen},
            {.slice_bytes = 0, .kept_modulus = 97, .compress = true, .gen = &gen},
        };
        const size_t mail_bytes = mailgen_mail(&gen, mail, MAIL_ROOM);
        const struct base64_codec *codec =
            base64_codec((enum isa)(round % ((uint32_t)isa_best() + 1)));
        for (uint32_t i = 0; i < ARRAY_COUNT(feeds); i++)
            (void)round_trip(codec, &feeds[i], mail, mail_bytes);
    }
    free(mail);
}

static void pack_gives_the_same_at_every_split(void **state)
{
    struct mailgen gen = mailgen_seeded();
    uint8_t *mail = malloc(MAIL_ROOM);

    (void)state;
    assert_non_null(mail);
    for (uint32_t round = 0; round < 60; round++) {
        const size_t mail_bytes = MIN(mailgen_mail(&gen, mail, MAIL_ROOM), 700u);
        for (size_t split = 1; split < mail_bytes; split++) {
            /* A modulus beyond the message keeps everything. */
            const struct feed feeds[] = {
                {.slice_bytes = split},
                {.slice_bytes = split, .kept_modulus = SIZE_MAX},
                {.slice_bytes = split, .compress = true},
                {.slice_bytes = split, .kept_modulus = SIZE_MAX, .compress = true}};
            (void)round_trip(best(), &feeds[split % ARRAY_COUNT(feeds)], mail, mail_bytes);
        }
    }
    free(mail);
}

static void pack_is_the_same_on_every_processor(void **state)
{
    struct mailgen gen = mailgen_seeded();
    uint8_t *mail = malloc(MAIL_ROOM);

    (void)state;
    assert_non_null(mail);
    for (uint32_t round = 0; round < 300; round++) {
        size_t bytes[2] = {0};
        const size_t mail_bytes = mailgen_mail(&gen, mail, MAIL_ROOM);
        uint8_t *reference =
            pack_all(base64_codec(ISA_SCALAR), &whole_slices, mail, mail_bytes, &bytes[0]);
        for (int isa = ISA_SSE; isa <= (int)isa_best(); isa++) {
            uint8_t *packed =
                pack_all(base64_codec((enum isa)isa), &whole_slices, mail, mail_bytes, &bytes[1]);
            assert_int_equal(bytes[0], bytes[1]);
            assert_memory_equal(packed, reference, bytes[0]);
            free(packed);
        }
        free(reference);
    }
    free(mail);
}

static void pack_makes_every_width_binary(void **state)
{
    struct mailgen gen = mailgen_seeded();
    uint8_t mail[64 * 78];

    (void)state;
    for (uint32_t width = 4; width <= 76; width += 4) {
        for (uint32_t crlf = 0; crlf < 2; crlf++) {
            const size_t mail_bytes = mailgen_base64(&gen, mail, width, crlf != 0, 64);
            assert_int_equal(packed_size(mail, mail_bytes), 6 + 8 + 64 * (width / 4 * 3));
        }
    }
}

static void pack_takes_the_last_line_in_all_its_forms(void **state)
{
    static const char *const ends[] = {"",     "QQ==\r\n", "QUE=\r\n", "QUJD\r\n",
                                       "QQ==", "QUE=",     "QUJD"};
    static const size_t data[] = {0, 1, 2, 3, 1, 2, 3};
    struct mailgen gen = mailgen_seeded();
    uint8_t mail[5 * 78 + 8];

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(ends); i++) {
        const size_t run_bytes = mailgen_base64(&gen, mail, 76, true, 5);
        memcpy(mail + run_bytes, ends[i], strlen(ends[i]));
        assert_int_equal(packed_size(mail, run_bytes + strlen(ends[i])), 6 + 8 + 5 * 57 + data[i]);
    }
    /* A full line at the end without its line end. */
    const size_t run_bytes = mailgen_base64(&gen, mail, 76, true, 5);
    assert_int_equal(packed_size(mail, run_bytes - 2), 6 + 8 + 5 * 57);
    /* A CR that lost its LF belongs to no run's line. */
    assert_int_equal(packed_size(mail, run_bytes - 1), 6 + 8 + 4 * 57 + 5 + 77);
}

static void pack_leaves_alone_what_is_not_canonical(void **state)
{
    static const char *const bad[] = {"QR==", "QUF=", "Q===", "====", "QUJ", "Q=QQ", "QQ==QUJD"};
    char mail[256];

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(bad); i++) {
        uint8_t line[80];
        struct mailgen gen = {.state = 1};
        (void)mailgen_base64(&gen, line, 60, false, 1);
        const int mail_bytes =
            snprintf(mail, sizeof(mail), "%.60s%s\n", (const char *)line, bad[i]);
        assert_int_equal(packed_size(mail, (size_t)mail_bytes), 6 + 5 + (size_t)mail_bytes);
    }
}

static void pack_does_not_grow_by_short_runs(void **state)
{
    static const char words[] =
        "Dear all,\nwith\nthis\nlist\nof names\nfour\nfive\nand so on, as always.\n";
    uint8_t mail[800];

    (void)state;
    assert_int_equal(packed_size(words, sizeof(words) - 1), 6 + 5 + sizeof(words) - 1);
    for (uint32_t lines_count = 0; lines_count < 100; lines_count++) {
        for (uint32_t i = 0; i < lines_count; i++)
            memcpy(mail + 5 * i, "AAAA\n", 5);
        memcpy(mail + (size_t)5 * lines_count, " some\n", 6);
        assert_true(packed_size(mail, 5 * lines_count + 6) <= 6 + 5 + 5 * lines_count + 6);
    }
}

static void pack_deflates_what_stands_around_a_run(void **state)
{
    struct mailgen gen = mailgen_seeded();
    const struct feed compressing = {.slice_bytes = PACK_SLICE_BYTES, .compress = true};
    uint8_t mail[3 * 4096 + 100];
    size_t packed_bytes = 0;
    size_t at = 0;

    (void)state;
    for (uint32_t part = 0; part < 2; part++) {
        for (uint32_t i = 0; i < 100; i++)
            at += (size_t)snprintf((char *)mail + at, sizeof(mail) - at,
                                   "line %u of the words before it\r\n", i);
        if (part == 0)
            at += mailgen_base64(&gen, mail + at, 76, true, 40);
    }
    uint8_t *packed = pack_all(best(), &compressing, mail, at, &packed_bytes);
    unpacks_to(packed, packed_bytes, mail, at);
    assert_int_equal(packed[PACK_MAGIC_BYTES], PACK_TAG_DEFLATED);
    const uint8_t *run =
        packed + PACK_MAGIC_BYTES + PACK_DEFLATED_HEADER + bytes_load_le32(packed + 7);
    assert_int_equal(run[0], PACK_TAG_RUN);
    assert_int_equal(bytes_load_le32(run + 4), 40 * 57);
    assert_int_equal(run[PACK_RUN_HEADER + 40 * 57], PACK_TAG_DEFLATED);
    assert_true(packed_bytes < 40 * 57 + 2200);
    free(packed);
}

static void pack_stores_what_does_not_deflate(void **state)
{
    struct mailgen gen = mailgen_seeded();
    const struct feed compressing = {.slice_bytes = PACK_SLICE_BYTES, .compress = true};
    uint8_t mail[9000];

    (void)state;
    for (size_t mail_bytes = 1; mail_bytes < sizeof(mail); mail_bytes += 1 + mail_bytes / 7) {
        mailgen_bytes(&gen, mail, mail_bytes);
        assert_int_equal(round_trip(best(), &compressing, mail, mail_bytes), 6 + 5 + mail_bytes);
    }
}

static void pack_of_nothing_is_its_magic(void **state)
{
    struct pack pack;
    uint8_t dst[PACK_STEP_ROOM(0)];

    (void)state;
    assert_int_equal(packed_size("", 0), PACK_MAGIC_BYTES);
    pack_init(&pack, best());
    assert_int_equal(pack_step(&pack, dst, 0, NULL, 0, true), PACK_MAGIC_BYTES);
    assert_memory_equal(dst, "BULLA\x01", 6);
}

static void pack_ends_with_what_it_carried(void **state)
{
    static const char line[] = "QUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJD";
    struct pack pack;
    uint8_t dst[1024];

    (void)state;
    pack_init(&pack, best());
    size_t bytes = pack_step(&pack, dst, 0, (const uint8_t *)line, sizeof(line) - 1, false);
    assert_int_equal(bytes, PACK_MAGIC_BYTES); /* all of it may be a line's beginning */
    bytes += pack_step(&pack, dst, bytes, NULL, 0, true);
    assert_int_equal(bytes, 6 + 8 + (sizeof(line) - 1) / 4 * 3);
    unpacks_to(dst, bytes, (const uint8_t *)line, sizeof(line) - 1);
}

static void pack_decodes_a_large_attachment_whole(void **state)
{
    struct mailgen gen = mailgen_seeded();
    const size_t mail_bytes = 25 * 1024 * 1024 + 17;
    uint8_t *mail = malloc(mail_bytes);

    (void)state;
    assert_non_null(mail);
    mailgen_attachment(&gen, mail, mail_bytes);
    const size_t packed_bytes = packed_size(mail, mail_bytes);
    printf("25 MiB packs to %.4f\n", (double)packed_bytes / (double)mail_bytes);
    assert_true(packed_bytes < mail_bytes / 78 * 57 + mail_bytes / 4000 + 500);
    free(mail);
}

static void corpus_message(const uint8_t *mail, size_t mail_bytes, void *context)
{
    const struct feed *feed = context;
    const struct feed compressing = {.slice_bytes = PACK_SLICE_BYTES, .compress = true};
    struct feed compressing_pieces = *feed;

    compressing_pieces.compress = true;
    assert_true(round_trip(best(), &compressing, mail, mail_bytes) <=
                round_trip(best(), &whole_slices, mail, mail_bytes));
    (void)round_trip(best(), &compressing_pieces, mail, mail_bytes);
    assert_true(round_trip(best(), &whole_slices, mail, mail_bytes) <=
                pack_bytes_max(mail_bytes, mail_bytes / PACK_SLICE_BYTES + 1));
    (void)round_trip(best(), feed, mail, mail_bytes);
}

static void pack_gives_back_the_corpus(void **state)
{
    struct mailgen gen = mailgen_seeded();
    struct feed feed = {.kept_modulus = 16384, .gen = &gen};

    (void)state;
    if (!mailgen_corpus(corpus_message, &feed))
        skip();
}

/* docs/format/packed.md, worked example. */
static void pack_writes_the_documented_bytes(void **state)
{
    static const char mail[] =
        "Subject: x\r\n\r\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUm\r\n"
        "JygpKg==\r\n.\r\n";
    static const uint8_t expected[] = {
        0x42, 0x55, 0x4c, 0x4c, 0x41, 0x01,                         /* magic                     */
        0x00, 0x0e, 0x00, 0x00, 0x00,                               /* literal, 14 bytes         */
        'S',  'u',  'b',  'j',  'e',  'c',  't',  ':',  ' ',  'x',  /*                           */
        '\r', '\n', '\r', '\n',                                     /*                           */
        0x01, 0x34, 0x02, 0x00, 0x2b, 0x00, 0x00, 0x00,             /* run: 52, CRLF, 43 bytes   */
        0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, /*                           */
        0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x12, 0x13, /*                           */
        0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, /*                           */
        0x1e, 0x1f, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, /*                           */
        0x28, 0x29, 0x2a,                                           /*                           */
        0x00, 0x03, 0x00, 0x00, 0x00, '.',  '\r', '\n',             /* literal, 3 bytes          */
    };
    size_t packed_bytes = 0;
    uint8_t *packed =
        pack_all(best(), &whole_slices, (const uint8_t *)mail, sizeof(mail) - 1, &packed_bytes);

    (void)state;
    assert_int_equal(packed_bytes, sizeof(expected));
    assert_memory_equal(packed, expected, sizeof(expected));
    unpacks_to(packed, packed_bytes, (const uint8_t *)mail, sizeof(mail) - 1);
    free(packed);
}

#define REFUSED(why, bytes)                                                                        \
    {                                                                                              \
        why, bytes, sizeof(bytes) - 1                                                              \
    }

static void unpack_refuses_what_the_format_rejects(void **state)
{
    static const struct {
        const char *why;
        const char *packed;
        size_t bytes;
    } refused[] = {
        REFUSED("nothing", ""),
        REFUSED("half a magic", "BULLA"),
        REFUSED("another version", "BULLA\x02"),
        REFUSED("another magic", "BULLB\x01"),
        REFUSED("unknown tag", "BULLA\x01\x03\x01\0\0\0a"),
        REFUSED("high tag", "BULLA\x01\xff\x01\0\0\0a"),
        REFUSED("cut literal header", "BULLA\x01\0\x01\0\0"),
        REFUSED("literal over the end", "BULLA\x01\0\x02\0\0\0a"),
        REFUSED("literal of 4 GiB", "BULLA\x01\0\xff\xff\xff\xff"
                                    "a"),
        REFUSED("empty literal", "BULLA\x01\0\0\0\0\0"),
        REFUSED("something after the end", "BULLA\x01\0\x01\0\0\0az"),
        REFUSED("cut run header", "BULLA\x01\x01\x04\x01\0\x03\0\0"),
        REFUSED("run over the end", "BULLA\x01\x01\x04\x01\0\x04\0\0\0abc"),
        REFUSED("empty run", "BULLA\x01\x01\x04\x01\0\0\0\0\0"),
        REFUSED("width 0", "BULLA\x01\x01\0\x01\0\x03\0\0\0abc"),
        REFUSED("width 3", "BULLA\x01\x01\x03\x01\0\x03\0\0\0abc"),
        REFUSED("width 74", "BULLA\x01\x01\x4a\x01\0\x03\0\0\0abc"),
        REFUSED("width 80", "BULLA\x01\x01\x50\x01\0\x03\0\0\0abc"),
        REFUSED("eol 0", "BULLA\x01\x01\x04\0\0\x03\0\0\0abc"),
        REFUSED("eol 3", "BULLA\x01\x01\x04\x03\0\x03\0\0\0abc"),
        REFUSED("flag 0x02", "BULLA\x01\x01\x04\x01\x02\x03\0\0\0abc"),
        REFUSED("flag 0x80", "BULLA\x01\x01\x04\x01\x81\x03\0\0\0abc"),
        REFUSED("cut deflated header", "BULLA\x01\x02\x02\0\0\0\x01\0\0"),
        REFUSED("deflated over the end", "BULLA\x01\x02\x03\0\0\0\x01\0\0\0\x03\0"),
        REFUSED("deflated to nothing", "BULLA\x01\x02\x02\0\0\0\0\0\0\0\x03\0"),
        REFUSED("deflated from nothing", "BULLA\x01\x02\0\0\0\0\x01\0\0\0"),
        REFUSED("deflated to 1 MiB and a byte", "BULLA\x01\x02\x02\0\0\0\x01\0\x10\0\x03\0"),
        REFUSED("a stream that gives too little", "BULLA\x01\x02\x02\0\0\0\x01\0\0\0\x03\0"),
        REFUSED("no deflate stream", "BULLA\x01\x02\x02\0\0\0\x01\0\0\0\xff\xff"),
    };

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(refused); i++) {
        uint8_t mail[4096];
        size_t mail_bytes = 0;
        uint8_t *copy = malloc(refused[i].bytes + 1);
        assert_non_null(copy);
        memcpy(copy, refused[i].packed, refused[i].bytes);
        int rc = unpack_bytes(copy, refused[i].bytes, &mail_bytes);
        if (rc == 0) /* only inflating can tell */
            rc = unpack(mail, mail_bytes, copy, refused[i].bytes);
        if (rc != -EBADMSG)
            fail_msg("%s: %d", refused[i].why, rc);
        free(copy);
    }
}

static size_t deflated(uint8_t *dst, size_t dst_room, const uint8_t *src, size_t src_bytes)
{
    z_stream stream = {0};

    assert_int_equal(deflateInit2(&stream, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
    stream.next_in = (z_const Bytef *)(uintptr_t)src;
    stream.avail_in = (uInt)src_bytes;
    stream.next_out = dst;
    stream.avail_out = (uInt)dst_room;
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    const size_t bytes = stream.total_out;
    assert_int_equal(deflateEnd(&stream), Z_OK);
    return bytes;
}

static size_t deflated_segment(uint8_t *dst, size_t dst_room, const uint8_t *mail,
                               size_t mail_bytes)
{
    const size_t bytes = deflated(dst + 15, dst_room - 15, mail, mail_bytes);

    memcpy(dst, PACK_MAGIC, PACK_MAGIC_BYTES);
    dst[6] = PACK_TAG_DEFLATED;
    bytes_store_le32(dst + 7, (uint32_t)bytes);
    bytes_store_le32(dst + 11, (uint32_t)mail_bytes);
    return 15 + bytes;
}

static void unpack_inflates(void **state)
{
    uint8_t mail[5000];
    uint8_t packed[6000];

    (void)state;
    for (size_t i = 0; i < sizeof(mail); i++)
        mail[i] = (uint8_t) "so it goes, on and on, "[i * i % 23];
    const size_t packed_bytes = deflated_segment(packed, sizeof(packed), mail, sizeof(mail));
    unpacks_to(packed, packed_bytes, mail, sizeof(mail));

    /* One byte more or less promised than the stream gives, or one byte more of stream. */
    uint8_t out[6000];
    size_t out_bytes = 0;
    bytes_store_le32(packed + 11, sizeof(mail) - 1);
    assert_int_equal(unpack_bytes(packed, packed_bytes, &out_bytes), 0);
    assert_int_equal(unpack(out, out_bytes, packed, packed_bytes), -EBADMSG);
    bytes_store_le32(packed + 11, sizeof(mail) + 1);
    assert_int_equal(unpack_bytes(packed, packed_bytes, &out_bytes), 0);
    assert_int_equal(unpack(out, out_bytes, packed, packed_bytes), -EBADMSG);
    bytes_store_le32(packed + 11, sizeof(mail));
    bytes_store_le32(packed + 7, (uint32_t)packed_bytes - 15 + 1);
    packed[packed_bytes] = 0;
    assert_int_equal(unpack_bytes(packed, packed_bytes + 1, &out_bytes), 0);
    assert_int_equal(unpack(out, out_bytes, packed, packed_bytes + 1), -EBADMSG);
}

static void unpack_refuses_a_bomb_before_it_allocates(void **state)
{
    static const uint8_t mebibyte[] = {PACK_TAG_DEFLATED, 1, 0, 0, 0, 0, 0, 0x10, 0, 0};
    uint8_t packed[PACK_MAGIC_BYTES + 1025 * sizeof(mebibyte)] = PACK_MAGIC;
    size_t mail_bytes = 0;

    (void)state;
    for (uint32_t i = 0; i < 1025; i++)
        memcpy(packed + PACK_MAGIC_BYTES + i * sizeof(mebibyte), mebibyte, sizeof(mebibyte));
    assert_int_equal(unpack_bytes(packed, sizeof(packed) - sizeof(mebibyte), &mail_bytes), 0);
    assert_int_equal(mail_bytes, UNPACK_MAIL_BYTES_MAX);
    assert_int_equal(unpack_bytes(packed, sizeof(packed), &mail_bytes), -EBADMSG);
}

static void unpack_survives_every_cut_and_every_flip(void **state)
{
    struct mailgen gen = mailgen_seeded();
    uint8_t mail[600];
    uint8_t out[1 << 16];
    size_t packed_bytes = 0;
    size_t out_bytes = 0;

    (void)state;
    memcpy(mail, "To: all\n\n", 9);
    const size_t mail_bytes = 9 + mailgen_base64(&gen, mail + 9, 64, false, 8);
    uint8_t *packed = pack_all(best(), &whole_slices, mail, mail_bytes, &packed_bytes);
    for (size_t cut = 0; cut < packed_bytes; cut++) {
        uint8_t *copy = malloc(cut + 1);
        assert_non_null(copy);
        memcpy(copy, packed, cut);
        const int rc = unpack_bytes(copy, cut, &out_bytes);
        const bool between = cut == 6 || cut == 6 + 5 + 9; /* whole segments are a message */
        assert_int_equal(rc, between ? 0 : -EBADMSG);
        free(copy);
    }
    for (size_t bit = 0; bit < packed_bytes * 8; bit++) {
        packed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (unpack_bytes(packed, packed_bytes, &out_bytes) == 0) {
            assert_true(out_bytes <= sizeof(out));
            const int rc = unpack(out, out_bytes, packed, packed_bytes);
            assert_true(rc == 0 || rc == -EBADMSG);
        }
        packed[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    free(packed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pack_gives_back_generated_mail),
        cmocka_unit_test(pack_gives_the_same_at_every_split),
        cmocka_unit_test(pack_is_the_same_on_every_processor),
        cmocka_unit_test(pack_makes_every_width_binary),
        cmocka_unit_test(pack_takes_the_last_line_in_all_its_forms),
        cmocka_unit_test(pack_leaves_alone_what_is_not_canonical),
        cmocka_unit_test(pack_does_not_grow_by_short_runs),
        cmocka_unit_test(pack_deflates_what_stands_around_a_run),
        cmocka_unit_test(pack_stores_what_does_not_deflate),
        cmocka_unit_test(pack_of_nothing_is_its_magic),
        cmocka_unit_test(pack_ends_with_what_it_carried),
        cmocka_unit_test(pack_decodes_a_large_attachment_whole),
        cmocka_unit_test(pack_gives_back_the_corpus),
        cmocka_unit_test(pack_writes_the_documented_bytes),
        cmocka_unit_test(unpack_refuses_what_the_format_rejects),
        cmocka_unit_test(unpack_inflates),
        cmocka_unit_test(unpack_refuses_a_bomb_before_it_allocates),
        cmocka_unit_test(unpack_survives_every_cut_and_every_flip),
    };
    return mailgen_verdict(cmocka_run_group_tests(tests, NULL, NULL));
}
