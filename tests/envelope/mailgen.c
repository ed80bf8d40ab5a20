#include "tests/envelope/mailgen.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/macros.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECES_MAX      24
#define PIECE_BYTES_MAX 4096

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

struct mailgen mailgen_seeded(void)
{
    const char *seed = getenv("BULLA_SEED");
    struct mailgen gen = {.state = seed != NULL ? strtoull(seed, NULL, 0) : clock_unix_ns()};

    printf("seed: BULLA_SEED=%llu\n", (unsigned long long)gen.state);
    return gen;
}

uint64_t mailgen_next(struct mailgen *gen)
{
    uint64_t z = gen->state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

uint32_t mailgen_below(struct mailgen *gen, uint32_t bound)
{
    return (uint32_t)(mailgen_next(gen) % bound);
}

void mailgen_bytes(struct mailgen *gen, uint8_t *dst, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += sizeof(uint64_t)) {
        const uint64_t word = mailgen_next(gen);
        memcpy(dst + at, &word, MIN(bytes - at, sizeof(word)));
    }
}

size_t mailgen_base64(struct mailgen *gen, uint8_t *dst, uint32_t width, bool crlf,
                      size_t lines_count)
{
    uint8_t *at = dst;

    for (size_t line = 0; line < lines_count; line++) {
        for (uint32_t i = 0; i < width; i += 4) {
            const uint64_t word = mailgen_next(gen);
            for (uint32_t k = 0; k < MIN(4u, width - i); k++)
                *at++ = (uint8_t)alphabet[word >> 6 * k & 63];
        }
        if (crlf)
            *at++ = '\r';
        *at++ = '\n';
    }
    return (size_t)(at - dst);
}

void mailgen_attachment(struct mailgen *gen, uint8_t *dst, size_t bytes)
{
    static const char head[] =
        "From: a@example.com\r\nTo: b@example.com\r\nSubject: the figures\r\n"
        "MIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n"
        "Content-Transfer-Encoding: base64\r\n\r\n";
    const size_t lines_count = (bytes - (sizeof(head) - 1)) / 78;

    ASSERT(bytes >= sizeof(head) - 1);
    memcpy(dst, head, sizeof(head) - 1);
    const size_t at =
        sizeof(head) - 1 + mailgen_base64(gen, dst + sizeof(head) - 1, 76, true, lines_count);
    memset(dst + at, '.', bytes - at);
}

/* A base64 block as a mail program writes it, or nearly: one in three is broken somewhere. */
static size_t base64_block(struct mailgen *gen, uint8_t *dst)
{
    static const uint32_t common[] = {76, 76, 76, 72, 64, 60, 4, 8};
    static const char *const ends[] = {
        "", "QQ==", "QUE=", "QR==", "QUB=", "AAAA", "A", "=", "===="};
    static const char spoilers[] = "=-_ .\r\n\0\xff,";
    const bool crlf = mailgen_below(gen, 2) == 0;
    const uint32_t width = mailgen_below(gen, 2) == 0
                               ? common[mailgen_below(gen, ARRAY_COUNT(common))]
                               : 1 + mailgen_below(gen, 80);
    size_t bytes = mailgen_base64(gen, dst, width, crlf, mailgen_below(gen, 30));
    const char *end = ends[mailgen_below(gen, ARRAY_COUNT(ends))];

    bytes += mailgen_base64(gen, dst + bytes, mailgen_below(gen, width) / 4 * 4, crlf, 1) -
             (crlf ? 2 : 1);
    memcpy(dst + bytes, end, strlen(end));
    bytes += strlen(end);
    if (mailgen_below(gen, 4) != 0) {
        memcpy(dst + bytes, crlf ? "\r\n" : "\n", crlf ? 2 : 1);
        bytes += crlf ? 2 : 1;
    }
    if (mailgen_below(gen, 3) == 0 && bytes != 0)
        dst[mailgen_below(gen, (uint32_t)bytes)] =
            (uint8_t)spoilers[mailgen_below(gen, sizeof(spoilers) - 1)];
    return bytes;
}

static size_t words(struct mailgen *gen, uint8_t *dst)
{
    static const char separators[] = "    \n\n.,\r\t-=";
    const uint32_t count = mailgen_below(gen, 60);
    size_t bytes = 0;

    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t letters = mailgen_below(gen, 9); letters != 0; letters--)
            dst[bytes++] = (uint8_t)alphabet[26 + mailgen_below(gen, 26)];
        dst[bytes++] = (uint8_t)separators[mailgen_below(gen, sizeof(separators) - 1)];
    }
    return bytes;
}

static size_t text_piece(uint8_t *dst, const char *text)
{
    memcpy(dst, text, strlen(text));
    return strlen(text);
}

/* One piece, at most PIECE_BYTES_MAX. */
static size_t piece(struct mailgen *gen, uint8_t *dst)
{
    const uint32_t long_bytes = mailgen_below(gen, PIECE_BYTES_MAX);

    switch (mailgen_below(gen, 10)) {
    case 0: return text_piece(dst, "From: =?utf-8?q?x?= <a@b.example>\r\nSubject: hello\r\n\r\n");
    case 1: return text_piece(dst, "\n--boundary\nContent-Transfer-Encoding: base64\n\n");
    case 2: return words(gen, dst);
    case 3: mailgen_bytes(gen, dst, long_bytes); return long_bytes;
    case 4: memset(dst, 'A' + (int)mailgen_below(gen, 26), long_bytes); return long_bytes;
    case 5: memset(dst, "\r\n\0="[mailgen_below(gen, 4)], long_bytes / 16); return long_bytes / 16;
    case 6: return text_piece(dst, "QUJD\nQUJD\nQUJD\n\n\r\n\r");
    default: return base64_block(gen, dst);
    }
}

size_t mailgen_mail(struct mailgen *gen, uint8_t *dst, size_t room)
{
    const uint32_t pieces_count = mailgen_below(gen, PIECES_MAX);
    size_t bytes = 0;

    for (uint32_t i = 0; i < pieces_count && bytes + PIECE_BYTES_MAX <= room; i++)
        bytes += piece(gen, dst + bytes);
    ASSERT(bytes <= room);
    return bytes;
}

struct mailgen_file {
    uint8_t *mail;
    size_t mail_bytes;
};

static struct mailgen_file file_read(const char *path)
{
    struct mailgen_file file = {0};
    FILE *stream = fopen(path, "rb");
    long size = -1;

    ASSERT(stream != NULL);
    if (fseek(stream, 0, SEEK_END) == 0)
        size = ftell(stream);
    ASSERT(size >= 0);
    rewind(stream);
    file.mail = malloc((size_t)size + 1);
    ASSERT(file.mail != NULL);
    file.mail_bytes = fread(file.mail, 1, (size_t)size, stream);
    ASSERT(file.mail_bytes == (size_t)size);
    (void)fclose(stream);
    return file;
}

static struct mailgen_file with_crlf(const struct mailgen_file *file)
{
    struct mailgen_file crlf = {.mail = malloc(file->mail_bytes * 2 + 1)};

    ASSERT(crlf.mail != NULL);
    for (size_t i = 0; i < file->mail_bytes; i++) {
        if (file->mail[i] == '\n' && (i == 0 || file->mail[i - 1] != '\r'))
            crlf.mail[crlf.mail_bytes++] = '\r';
        crlf.mail[crlf.mail_bytes++] = file->mail[i];
    }
    return crlf;
}

static uint32_t folder_use(const char *folder,
                           void (*use)(const uint8_t *mail, size_t mail_bytes, void *context),
                           void *context)
{
    uint32_t count = 0;
    DIR *dir = opendir(folder);

    if (dir == NULL)
        return 0;
    for (const struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        char path[4096];
        if (strstr(entry->d_name, ".eml") == NULL)
            continue;
        (void)snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        struct mailgen_file file = file_read(path);
        struct mailgen_file crlf = with_crlf(&file);
        use(file.mail, file.mail_bytes, context);
        use(crlf.mail, crlf.mail_bytes, context);
        free(file.mail);
        free(crlf.mail);
        count++;
    }
    (void)closedir(dir);
    return count;
}

static bool corpus_missing;

int mailgen_verdict(int failed_count)
{
    return failed_count != 0 || !corpus_missing ? failed_count : MAILGEN_SKIPPED;
}

bool mailgen_corpus(void (*use)(const uint8_t *mail, size_t mail_bytes, void *context),
                    void *context)
{
    static const char *const folders[] = {"ham", "spam", "torture"};
    const char *root = getenv("BULLA_CORPUS");
    uint32_t count = 0;

    if (root == NULL)
        root = BULLA_CORPUS_DEFAULT;
    for (uint32_t i = 0; i < ARRAY_COUNT(folders); i++) {
        char folder[2048];
        (void)snprintf(folder, sizeof(folder), "%s/%s", root, folders[i]);
        count += folder_use(folder, use, context);
    }
    corpus_missing = count == 0;
    if (corpus_missing)
        printf("skipped: no corpus\n");
    else
        printf("corpus: %u messages, each as it stands and with CRLF\n", count);
    return count != 0;
}
