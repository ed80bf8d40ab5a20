#include "engine/worker_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct answer {
    uint8_t status;
    uint8_t enhanced[3]; /* RFC 3463 */
    const char *text;    /* NULL: made for the message */
};

static const struct answer answers[VERDICT_COUNT] = {
    [VERDICT_NONE] = {IPC_RETRY, {4, 3, 0}, "the engine could not decide"},
    [VERDICT_SEALED] = {IPC_SEALED, {0, 0, 0}, ""},
    [VERDICT_NO_SPOOL] = {IPC_RETRY,
                          {4, 3, 2},
                          "the key service cannot be reached, and this engine has no spool: keep "
                          "the message"},
    [VERDICT_BAD_META] = {IPC_REFUSED, {5, 1, 0}, NULL},
    [VERDICT_BAD_ADDRESS] = {IPC_REFUSED, {5, 1, 3}, NULL},
    [VERDICT_NO_PROFILE] = {IPC_REFUSED, {5, 3, 5}, NULL},
    [VERDICT_TOO_LARGE] = {IPC_REFUSED, {5, 3, 4}, NULL},
    [VERDICT_NO_ARENA] = {IPC_REFUSED,
                          {5, 3, 4},
                          "the sealed mail does not fit the session's arena: raise output_arena"},
    [VERDICT_RECIPIENTS] = {IPC_REFUSED,
                            {5, 5, 3},
                            "the recipients' addresses are more than one envelope takes"},
    [VERDICT_KEY_AWAY] = {IPC_RETRY, {4, 4, 1}, "the key service cannot be reached"},
    [VERDICT_KEY_INVALID] = {IPC_REFUSED,
                             {5, 6, 0},
                             "the key service refuses this envelope's record; its log says why"},
    [VERDICT_KEY_CONFLICT] = {IPC_RETRY,
                              {4, 3, 5},
                              "the key service knows other envelopes by "
                              "these ids"},
    [VERDICT_QUEUED] = {IPC_QUEUED, {0, 0, 0}, ""},
    [VERDICT_SPOOL_FAILED] = {IPC_RETRY,
                              {4, 3, 1},
                              "the key service is away and the spool takes no more mail"},
};

void answer_status(enum job_verdict verdict, struct ipc_completion *completion)
{
    const struct answer *answer = &answers[verdict];
    completion->status = answer->status;
    memcpy(completion->enhanced_status, answer->enhanced, sizeof(completion->enhanced_status));
}

static uint32_t PRINTF_LIKE(2, 3) text_print(char text[IPC_TEXT_BYTES_MAX], const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(text, IPC_TEXT_BYTES_MAX, format, args);
    va_end(args);
    return n < 0 ? 0 : MIN((uint32_t)n, (uint32_t)IPC_TEXT_BYTES_MAX - 1);
}

/* The name is read again from the client: what it is now is what the refusal shows, made plain. */
static uint32_t text_no_profile(const struct worker *worker, const struct job *job,
                                char text[IPC_TEXT_BYTES_MAX])
{
    char name[IPC_PROFILE_BYTES_MAX + 1] = "";
    uint8_t *bytes_at = worker->secrets->slice;
    struct meta meta;
    channel_copy_meta(job->client->channel, &job->submission, bytes_at);
    if (meta_read(&meta, bytes_at, job->submission.meta_bytes) == 0) {
        for (uint32_t i = 0; i < meta.profile_bytes && i < IPC_PROFILE_BYTES_MAX; i++) {
            const uint8_t byte = meta.profile[i];
            name[i] = byte >= 0x20 && byte < 0x7f && byte != '"' ? (char)byte : '?';
        }
    }
    return text_print(text, "no profile \"%s\"; profiles: %s", name[0] == '\0' ? "default" : name,
                      job->client->snapshot->names);
}

/* Read again, as above: what they are now is what the answer is about. */
static uint32_t text_bad_meta(const struct worker *worker, const struct job *job,
                              char text[IPC_TEXT_BYTES_MAX])
{
    static const char rule[] = "1 to 320 bytes without control characters";
    uint8_t *bytes_at = worker->secrets->slice;
    channel_copy_meta(job->client->channel, &job->submission, bytes_at);
    const uint32_t part = meta_fault(bytes_at, job->submission.meta_bytes);
    switch (part) {
    case META_SOUND:
    case META_WHOLE: return text_print(text, "the addresses' bytes do not add up: use libbulla");
    case META_OPTIONS:
        return text_print(text,
                          "behind the addresses stands what is no known option: use libbulla");
    case META_PROFILE:
        return text_print(text,
                          "the profile's name is not %d bytes at most, or holds a control "
                          "character",
                          IPC_PROFILE_BYTES_MAX);
    case META_SENDER:
        return text_print(text, "the sender's address is malformed: %s, or none", rule);
    case META_COUNT:
        return text_print(text, "there must be 1 to %d recipients", IPC_RECIPIENTS_MAX);
    default:
        return text_print(text, "the address of recipient %u is malformed: %s",
                          part - META_RECIPIENT + 1, rule);
    }
}

static uint32_t text_bad_address(const struct worker *worker, const struct job *job,
                                 char text[IPC_TEXT_BYTES_MAX])
{
    uint8_t *bytes_at = worker->secrets->slice;
    const uint8_t *address;
    uint16_t address_bytes;
    uint32_t offset = 0;
    uint32_t number = 1;
    struct meta meta;
    channel_copy_meta(job->client->channel, &job->submission, bytes_at);
    if (meta_read(&meta, bytes_at, job->submission.meta_bytes) != 0)
        return text_bad_meta(worker, job, text);
    if (!record_text_sound(meta.sender, meta.sender_bytes))
        return text_print(text, "the sender's address is not valid UTF-8");
    while (meta_recipient(&meta, &offset, &address, &address_bytes) &&
           record_text_sound(address, address_bytes))
        number++;
    return text_print(text, "the address of recipient %u is not valid UTF-8", number);
}

uint32_t answer_text(const struct worker *worker, const struct job *job,
                     char text[IPC_TEXT_BYTES_MAX])
{
    _Static_assert(SEALER_SLICE_BYTES >= IPC_META_BYTES_MAX, "the slice's buffer holds a meta");
    const struct answer *answer = &answers[job->verdict];
    if (answer->text != NULL)
        return text_print(text, "%s", answer->text);
    if (job->verdict == VERDICT_NO_PROFILE)
        return text_no_profile(worker, job, text);
    if (job->verdict == VERDICT_BAD_META)
        return text_bad_meta(worker, job, text);
    if (job->verdict == VERDICT_BAD_ADDRESS)
        return text_bad_address(worker, job, text);
    ASSERT(job->profile != NULL);
    return text_print(text, "the message of %u bytes is over profile \"%s\"'s limit of %llu bytes",
                      job->submission.mail_bytes, job->profile->profile.name,
                      (unsigned long long)job->profile->profile.mail_bytes_max);
}
