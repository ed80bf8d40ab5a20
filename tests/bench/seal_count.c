/*
 * seal_count: seals a fixed vector of messages as a worker does, for callgrind to count.
 * Ownership: none.
 * Threads:   one.
 * Units:     messages.
 * Errors:    exit status 77 when the processor lacks AVX2, 2 for a mail that is not known.
 *
 * `seal_count KEY` names the compiler and libraries that the counts depend on. `seal_count MAIL`
 * seals one vector unseen and a second inside seal_counted(), and prints how many messages that
 * was. seal_count_check.py runs it and judges.
 */
#include "base/assert.h"
#include "base/clock.h"
#include "crypto/base64.h"
#include "crypto/core.h"
#include "crypto/secret.h"
#include "envelope/frame.h"
#include "envelope/sealer.h"

#include <gnu/libc-version.h>
#include <intel-ipsec-mb.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VECTOR_MAX 16

static const char HEADER[] = "Received: from mx.example.com (mx.example.com [192.0.2.1])\r\n"
                             "\tby mail.example.com with ESMTPS id 4F2A1B\r\n"
                             "\tfor <bob@example.org>; Sat, 21 Nov 2026 10:00:00 +0100\r\n"
                             "From: Alice Example <alice@example.com>\r\n"
                             "To: Bob Example <bob@example.org>\r\n"
                             "Subject: The figures for November, as we discussed\r\n"
                             "Date: Sat, 21 Nov 2026 10:00:00 +0100\r\n"
                             "Message-ID: <20261121090000.4F2A1B@mail.example.com>\r\n"
                             "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n";
static const char LINE[] =
    "All of the figures that we spoke of on Monday stand in this table, Bob.\r\n";

static const struct kind {
    const char *name;
    size_t bytes;
    uint32_t messages;
    bool base64;
} KINDS[] = {
    {"text-4k", 4096, 16, false},
    {"text-64k", 65536, 4, false},
    {"base64-1m", 1048576, 1, true},
};

/* One message of the vector, with all that is derived for it. */
struct entry {
    struct header header;
    struct frame_message message;
    struct frame_shown shown;
    struct id id;
    uint8_t key[COBBLE_KEY_BYTES_MAX];
    uint8_t salt_commitment[COBBLE_HEADER_BYTES];
    uint8_t boundary[FRAME_BOUNDARY_BYTES];
    uint8_t context[ID_CONTEXT_BYTES];
    struct sealer *sealer;
    uint8_t *space;
    size_t space_bytes;
};

struct setting {
    const struct kind *kind;
    const uint8_t *mail;
    const struct frame *frame;
    struct frame_time time;
    struct crypto_core *core;
    struct sealer_scratch *scratch;
    struct entry entries[VECTOR_MAX];
};

static void *aligned(size_t bytes)
{
    void *at = aligned_alloc(CACHE_LINE, (bytes + CACHE_LINE - 1) & ~(size_t)(CACHE_LINE - 1));
    ASSERT(at != NULL);
    memset(at, 0, bytes);
    return at;
}

/* A fixed mail: the header, then lines of text, or of the base64 of bytes from a fixed seed. */
static uint8_t *mail_make(const struct kind *kind)
{
    uint8_t *mail = aligned(kind->bytes + 2 * BASE64_LINE_STRIDE + BASE64_SLACK_BYTES);
    uint64_t seed = 1;
    size_t at = sizeof(HEADER) - 1;
    memcpy(mail, HEADER, at);
    while (at < kind->bytes) {
        uint8_t raw[BASE64_LINE_BYTES];
        for (size_t i = 0; i < sizeof(raw); i++) {
            seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            raw[i] = (uint8_t)(seed >> 56);
        }
        if (kind->base64) {
            at += base64_encode(base64_codec(ISA_AVX2), mail + at, raw, sizeof(raw));
        } else {
            memcpy(mail + at, LINE, sizeof(LINE) - 1);
            at += sizeof(LINE) - 1;
        }
    }
    return mail;
}

static void entry_admit(struct setting *setting, struct entry *entry)
{
    const size_t mail_bytes = setting->kind->bytes;
    const size_t there_bytes = MIN(mail_bytes, (size_t)SEALER_SLICE_BYTES);
    header_read(&entry->header, setting->mail, there_bytes, mail_bytes);
    entry->message = (struct frame_message){.id = &entry->id,
                                            .mail = setting->mail,
                                            .header = &entry->header,
                                            .sender = (const uint8_t *)"alice@example.com",
                                            .sender_bytes = 17,
                                            .recipient = (const uint8_t *)"bob@example.org",
                                            .recipient_bytes = 15,
                                            .recipients_count = 1,
                                            .time = &setting->time,
                                            .salt_commitment = entry->salt_commitment,
                                            .boundary_random = entry->boundary};
    frame_show(setting->frame, &entry->message, &entry->shown);
    const size_t bytes_max = frame_bytes_max(setting->frame, &entry->message, &entry->shown) +
                             sealer_fields_bytes_max(mail_bytes);
    if (entry->space == NULL) { /* an arena gives it in the engine */
        entry->space_bytes = bytes_max;
        entry->space = aligned(bytes_max);
    }
    ASSERT(bytes_max <= entry->space_bytes);
    sealer_init(entry->sealer, base64_codec(ISA_AVX2), false);
    id_make(&entry->id, setting->core, 1795295700 * NS_PER_S);
}

static void vector_derive(struct setting *setting)
{
    struct cobble_derivation derivations[VECTOR_MAX];
    const uint32_t count = setting->kind->messages;
    for (uint32_t n = 0; n < count; n++) {
        struct entry *entry = &setting->entries[n];
        crypto_random(setting->core, entry->key, sizeof(entry->key));
        crypto_random(setting->core, entry->salt_commitment, COBBLE_SALT_BYTES);
        crypto_random(setting->core, entry->boundary, sizeof(entry->boundary));
        id_context(entry->context, COBBLE_AES_256, &entry->id);
        derivations[n] = (struct cobble_derivation){.suite = COBBLE_AES_256,
                                                    .key = entry->key,
                                                    .salt = entry->salt_commitment,
                                                    .context = entry->context,
                                                    .context_bytes = ID_CONTEXT_BYTES,
                                                    .cobble = sealer_cobble(entry->sealer)};
    }
    cobble_derive_burst(setting->core, derivations, count);
    for (uint32_t n = 0; n < count; n++)
        memcpy(setting->entries[n].salt_commitment + COBBLE_SALT_BYTES, derivations[n].commitment,
               COBBLE_COMMITMENT_BYTES);
}

static void entry_seal(struct setting *setting, struct entry *entry)
{
    struct frame_spans spans;
    const size_t mail_bytes = setting->kind->bytes;
    frame_write(setting->frame, &entry->message, &entry->shown, entry->space, entry->space_bytes,
                &spans);
    size_t at = spans.prologue_bytes + spans.epilogue_bytes + spans.fields_bytes;
    for (size_t done = 0; done < mail_bytes;) {
        const size_t bytes = MIN(mail_bytes - done, (size_t)SEALER_SLICE_BYTES);
        at +=
            sealer_step(entry->sealer, setting->core, setting->scratch, setting->mail + done, bytes,
                        done + bytes == mail_bytes, entry->space + at, entry->space_bytes - at);
        done += bytes;
    }
    secret_wipe(entry->key, sizeof(entry->key));
    frame_shown_wipe(&entry->shown);
    sealer_wipe(entry->sealer);
}

static __attribute__((noinline)) void vector_seal(struct setting *setting)
{
    for (uint32_t n = 0; n < setting->kind->messages; n++)
        entry_admit(setting, &setting->entries[n]);
    vector_derive(setting);
    for (uint32_t n = 0; n < setting->kind->messages; n++)
        entry_seal(setting, &setting->entries[n]);
}

/* What callgrind collects by name. */
void seal_counted(struct setting *setting);

__attribute__((noinline)) void seal_counted(struct setting *setting)
{
    vector_seal(setting);
    __asm__ volatile("" ::: "memory"); /* no tail call: this function's end is the count's */
}

static int run(const struct kind *kind)
{
    static struct setting setting;
    static const struct frame_config config = {.suite = COBBLE_AES_256,
                                               .locale = "en",
                                               .key_service_url = "https://keys.example.com",
                                               .message_id_host = "mail.example.com"};
    struct frame *frame = NULL;
    char why[FRAME_WHY_BYTES];
    if (!isa_supported(ISA_AVX2))
        return 77;
    ASSERT(frame_open(&frame, &config, why) == 0);
    ASSERT(crypto_core_open(&setting.core, ISA_AVX2) == 0);
    setting.kind = kind;
    setting.mail = mail_make(kind);
    setting.frame = frame;
    setting.scratch = aligned(sealer_scratch_bytes());
    frame_time_set(&setting.time, 1795295700 * NS_PER_S);
    for (uint32_t n = 0; n < kind->messages; n++)
        setting.entries[n].sealer = aligned(sealer_bytes());
    vector_seal(&setting); /* what only the first one pays */
    seal_counted(&setting);
    printf("%u\n", kind->messages);
    crypto_core_close(setting.core);
    frame_close(frame);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "KEY") == 0) {
#ifdef __clang__
        const char *compiler = "clang";
#else
        const char *compiler = "gcc";
#endif
        printf("%s-%d.%d,glibc-%s,ipsec-mb-%s\n", compiler, __GNUC__, __GNUC_MINOR__,
               gnu_get_libc_version(), IMB_VERSION_STR);
        return 0;
    }
    for (size_t n = 0; argc == 2 && n < ARRAY_COUNT(KINDS); n++) {
        if (strcmp(argv[1], KINDS[n].name) == 0)
            return run(&KINDS[n]);
    }
    (void)fprintf(stderr, "seal_count: KEY, text-4k, text-64k or base64-1m\n");
    return 2;
}
