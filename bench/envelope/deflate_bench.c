/*
 * Claim:   with `compress = on` real mail is sealed to at most 0.75 of its size, the attachment's
 *          fixed part aside, at 300 MB/s or more on one thread; codes made beforehand do that.
 * Metric:  bytes of ciphertext fields for each byte of mail, and MB/s of mail, best of the rounds,
 *          over every message of a folder with LF and with CRLF, compress off and on; then the
 *          same mail deflated by ISA-L alone with each kind of code.
 * Command: build/release/bench/envelope/deflate_bench ../shared/corpus/ham
 */
#include "base/assert.h"
#include "base/clock.h"
#include "base/macros.h"
#include "crypto/base64.h"
#include "crypto/cobblestone.h"
#include "crypto/core.h"
#include "envelope/deflate.h"
#include "envelope/sealer.h"

#include <dirent.h>
#include <isa-l/igzip_lib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS_COUNT   30
#define MAILS_MAX      4096
#define MAIL_BYTES_MAX (1u << 20)
#define DST_BYTES      (2 * MAIL_BYTES_MAX)

struct mail {
    uint8_t *at;
    size_t bytes;
};

struct bench {
    struct crypto_core *core;
    const struct base64_codec *codec;
    struct sealer *sealer;
    struct sealer_scratch *scratch;
    struct deflate *deflate;
    struct isal_zstream *stream;
    uint8_t *level_buf;
    struct cobble derived;
    struct mail mails[MAILS_MAX];
    uint32_t mails_count;
    size_t mails_bytes;
    uint8_t *dst;
};

/* One way to make one mail smaller; returns the bytes. */
typedef size_t (*work_fn)(struct bench *bench, const struct mail *mail);

static void *room(size_t bytes)
{
    void *at = aligned_alloc(CACHE_LINE, (bytes + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE);

    ASSERT(at != NULL);
    memset(at, 0, bytes);
    return at;
}

static void mail_add(struct bench *bench, const uint8_t *bytes_at, size_t bytes)
{
    ASSERT(bench->mails_count < MAILS_MAX);
    struct mail *mail = &bench->mails[bench->mails_count++];
    *mail = (struct mail){.at = room(bytes + CACHE_LINE), .bytes = bytes};
    memcpy(mail->at, bytes_at, bytes);
    bench->mails_bytes += bytes;
}

static void file_add(struct bench *bench, const char *path)
{
    static uint8_t bytes[MAIL_BYTES_MAX / 2];
    static uint8_t crlf[MAIL_BYTES_MAX];
    size_t crlf_bytes = 0;
    FILE *file = fopen(path, "rb");

    if (file == NULL)
        return;
    const size_t bytes_count = fread(bytes, 1, sizeof(bytes), file);
    (void)fclose(file);
    for (size_t i = 0; i < bytes_count; i++) {
        if (bytes[i] == '\n' && (i == 0 || bytes[i - 1] != '\r'))
            crlf[crlf_bytes++] = '\r';
        crlf[crlf_bytes++] = bytes[i];
    }
    mail_add(bench, bytes, bytes_count);
    mail_add(bench, crlf, crlf_bytes);
}

static void folder_add(struct bench *bench, const char *folder)
{
    DIR *dir = opendir(folder);
    char path[4096];

    if (dir == NULL)
        return;
    for (const struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        if (entry->d_name[0] == '.')
            continue;
        (void)snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        file_add(bench, path);
    }
    (void)closedir(dir);
}

static size_t work_seal(struct bench *bench, const struct mail *mail, bool compress)
{
    size_t out = 0;
    size_t at = 0;

    sealer_init(bench->sealer, bench->codec, compress);
    memcpy(sealer_cobble(bench->sealer), &bench->derived, sizeof(bench->derived));
    do {
        const size_t bytes = MIN(mail->bytes - at, (size_t)SEALER_SLICE_BYTES);
        out += sealer_step(bench->sealer, bench->core, bench->scratch, mail->at + at, bytes,
                           at + bytes == mail->bytes, bench->dst + out, DST_BYTES - out);
        at += bytes;
    } while (at < mail->bytes);
    sealer_wipe(bench->sealer);
    return out;
}

static size_t work_seal_off(struct bench *bench, const struct mail *mail)
{
    return work_seal(bench, mail, false);
}

static size_t work_seal_on(struct bench *bench, const struct mail *mail)
{
    return work_seal(bench, mail, true);
}

/* The codes of envelope/deflate_hot.c. */
static size_t work_made(struct bench *bench, const struct mail *mail)
{
    size_t out = 0;

    for (size_t at = 0; at < mail->bytes; at += SEALER_SLICE_BYTES) {
        const size_t bytes = MIN(mail->bytes - at, (size_t)SEALER_SLICE_BYTES);
        const size_t got = deflate_try(bench->deflate, bench->dst, bytes, mail->at + at, bytes);
        out += got != 0 ? got : bytes;
    }
    return out;
}

static size_t isal(struct bench *bench, const struct mail *mail, uint32_t level, int codes)
{
    struct isal_zstream *stream = bench->stream;
    size_t out = 0;

    for (size_t at = 0; at < mail->bytes; at += SEALER_SLICE_BYTES) {
        const size_t bytes = MIN(mail->bytes - at, (size_t)SEALER_SLICE_BYTES);
        isal_deflate_stateless_init(stream);
        stream->level = level;
        stream->level_buf = bench->level_buf;
        stream->level_buf_size = ISAL_DEF_LVL1_DEFAULT;
        stream->end_of_stream = 1;
        if (level == 0)
            (void)isal_deflate_set_hufftables(stream, NULL, codes);
        stream->next_in = mail->at + at;
        stream->avail_in = (uint32_t)bytes;
        stream->next_out = bench->dst;
        stream->avail_out = (uint32_t)bytes;
        out += isal_deflate_stateless(stream) == COMP_OK ? stream->total_out : bytes;
    }
    return out;
}

static size_t work_static(struct bench *bench, const struct mail *mail)
{
    return isal(bench, mail, 0, IGZIP_HUFFTABLE_STATIC);
}

static size_t work_default(struct bench *bench, const struct mail *mail)
{
    return isal(bench, mail, 0, IGZIP_HUFFTABLE_DEFAULT);
}

static size_t work_level_1(struct bench *bench, const struct mail *mail)
{
    return isal(bench, mail, 1, 0);
}

static void report(struct bench *bench, const char *name, work_fn work)
{
    uint64_t best_ns = UINT64_MAX;
    size_t bytes = 0;

    for (uint32_t round = 0; round < ROUNDS_COUNT; round++) {
        const uint64_t start_ns = clock_monotonic_ns();
        bytes = 0;
        for (uint32_t i = 0; i < bench->mails_count; i++)
            bytes += work(bench, &bench->mails[i]);
        best_ns = MIN(best_ns, clock_monotonic_ns() - start_ns);
    }
    printf("%-34s %6.4f of the mail  %7.0f MB/s\n", name,
           (double)bytes / (double)bench->mails_bytes,
           (double)bench->mails_bytes * 1e3 / (double)best_ns);
}

static void bench_open(struct bench *bench)
{
    static const uint8_t key[COBBLE_KEY_BYTES_MAX] = {1};
    struct cobble_derivation derivation = {.suite = COBBLE_AES_256,
                                           .key = key,
                                           .salt = key,
                                           .context = key,
                                           .context_bytes = 25,
                                           .cobble = &bench->derived};

    ASSERT(crypto_core_open(&bench->core, isa_best()) == 0);
    bench->codec = base64_codec(isa_best());
    bench->sealer = room(sealer_bytes());
    bench->scratch = room(sealer_scratch_bytes());
    bench->deflate = room(deflate_bytes());
    bench->stream = room(sizeof(*bench->stream));
    bench->level_buf = room(ISAL_DEF_LVL1_DEFAULT);
    bench->dst = room(DST_BYTES);
    cobble_derive_burst(bench->core, &derivation, 1);
}

int main(int argc, char **argv)
{
    static struct bench bench;

    bench_open(&bench);
    for (int i = 1; i < argc; i++)
        folder_add(&bench, argv[i]);
    if (bench.mails_count == 0) {
        (void)fprintf(stderr, "usage: deflate_bench FOLDER…, with mail in them\n");
        return 64;
    }
    printf("%u messages of %zu bytes on average\n", bench.mails_count,
           bench.mails_bytes / bench.mails_count);
    report(&bench, "sealed, compress = off", work_seal_off);
    report(&bench, "sealed, compress = on", work_seal_on);
    report(&bench, "deflated, codes made beforehand", work_made);
    report(&bench, "deflated, deflate's own codes", work_static);
    report(&bench, "deflated, ISA-L's default codes", work_default);
    report(&bench, "deflated, codes for each (level 1)", work_level_1);
    cobble_wipe(&bench.derived);
    crypto_core_close(bench.core);
    return 0;
}
