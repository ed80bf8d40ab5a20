/* The row size: how large a sealed mail is against its original. */
#include "bench/suite.h"

#include "mta/bulla.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SIZES_ALLOWANCE_BYTES (24 * 1024)
#define SIZES_WAIT_MS         20000
#define SIZES_INPUT_BYTES     (64u << 20)

static const char sizes_base64[] =
    "20KiB/attached,100KiB/attached,1MiB/attached,5MiB/attached,25MiB/attached";
static const char sizes_text[] = "1KiB/text,4KiB/text,16KiB/text,64KiB/text,1MiB/text";

struct sizes {
    uint64_t mail_bytes;
    uint64_t sealed_bytes;
    double worst; /* (sealed - 24 KiB) / original of the one that is worst */
    uint64_t worst_mail_bytes;
    uint64_t worst_sealed_bytes;
    uint32_t mails_count;
};

static int sizes_seal(struct bulla *bulla, const char *profile, const struct mailset_mail *mail,
                      size_t *sealed_bytes, char why[MAILSET_WHY_BYTES])
{
    static const char *const recipient = "erin@example.net";
    const struct bulla_request request = {
        .profile = profile,
        .sender = "accounts@example.com",
        .recipients = &recipient,
        .recipients_count = 1,
        .mail_bytes = mail->bytes,
    };
    struct bulla_reservation reservation;
    struct bulla_completion completion;
    int rc = bulla_reserve(bulla, &request, &reservation);
    if (rc != 0)
        return rc;
    memcpy(reservation.mail, mail->bytes_at, mail->bytes);
    rc = bulla_submit(bulla, &reservation);
    if (rc == 0)
        rc = bulla_wait(bulla, SIZES_WAIT_MS) == 1 ? 0 : -ETIMEDOUT;
    if (rc != 0)
        return rc;
    if (bulla_poll(bulla, &completion, 1) != 1)
        return -EPIPE;
    *sealed_bytes = completion.mail_bytes;
    if (completion.status != BULLA_SEALED) {
        (void)snprintf(why, MAILSET_WHY_BYTES, "%.40s %.160s", completion.enhanced_status,
                       completion.text);
        rc = -EBADMSG;
    }
    bulla_release(bulla, &completion);
    return rc;
}

static int sizes_measure(const char *socket_path, const char *profile, const struct mailset *set,
                         struct sizes *sizes, char why[MAILSET_WHY_BYTES])
{
    const struct bulla_config config = {.socket_path = socket_path,
                                        .input_bytes = SIZES_INPUT_BYTES};
    struct bulla *bulla;
    *sizes = (struct sizes){.worst = -SIZES_ALLOWANCE_BYTES};
    int rc = bulla_attach(&bulla, &config);
    if (rc != 0) {
        (void)snprintf(why, MAILSET_WHY_BYTES, "cannot attach: %s", strerror(-rc));
        return rc;
    }
    for (uint32_t i = 0; rc == 0 && i < set->mails_count; i++) {
        size_t sealed_bytes = 0;
        rc = sizes_seal(bulla, profile, &set->mails[i], &sealed_bytes, why);
        const double times =
            ((double)sealed_bytes - SIZES_ALLOWANCE_BYTES) / (double)set->mails[i].bytes;
        sizes->mail_bytes += set->mails[i].bytes;
        sizes->sealed_bytes += sealed_bytes;
        sizes->mails_count++;
        if (times > sizes->worst) {
            sizes->worst = times;
            sizes->worst_mail_bytes = set->mails[i].bytes;
            sizes->worst_sealed_bytes = sealed_bytes;
        }
    }
    bulla_detach(bulla);
    return rc;
}

static json_t *sizes_json(const struct sizes *sizes)
{
    return json_pack("{s:i, s:I, s:I, s:f, s:I, s:I}", "mails", (int)sizes->mails_count,
                     "mail_bytes", (json_int_t)sizes->mail_bytes, "sealed_bytes",
                     (json_int_t)sizes->sealed_bytes, "worst_times_beyond_24_kib", sizes->worst,
                     "worst_mail_bytes", (json_int_t)sizes->worst_mail_bytes, "worst_sealed_bytes",
                     (json_int_t)sizes->worst_sealed_bytes);
}

struct sizes_case {
    const char *figure;
    const char *name; /* of the claim; NULL: shown alone */
    const char *mail; /* NULL: the corpus */
    const char *profiles;
    const char *profile;
    double target;
    const char *whole_name; /* of a claim for all messages together; NULL: none */
};

static void sizes_case(struct suite *suite, const struct sizes_case *wanted)
{
    struct claim claim = {.row = "size",
                          .name = wanted->name,
                          .unit = "x + 24 KiB",
                          .compare = CLAIM_AT_MOST,
                          .target = wanted->target};
    const struct spawn_config config = {.workers = 1, .profiles = wanted->profiles};
    struct spawn *engine = NULL;
    struct mailset *set = NULL;
    struct sizes sizes = {.mails_count = 0};
    int rc = suite_wants(suite, "size") ? 0 : -ECANCELED;
    if (rc == 0 && wanted->mail == NULL && suite->corpus == NULL) {
        (void)snprintf(suite->why, sizeof(suite->why), "no corpus here: name one by --corpus");
        rc = -ENOENT;
    }
    if (rc == 0)
        rc = wanted->mail != NULL ? mailset_open_sizes(&set, wanted->mail, suite->why)
                                  : mailset_open_folder(&set, suite->corpus, suite->why);
    if (rc == 0)
        rc = suite_engine(suite, &engine, &config);
    if (rc == 0)
        rc = sizes_measure(engine->socket_path, wanted->profile, set, &sizes, suite->why);
    if (rc == 0) {
        (void)json_object_set_new(json_object_get(suite->figures, "size"), wanted->figure,
                                  sizes_json(&sizes));
        samples_add(&claim.runs, sizes.worst);
    }
    if (wanted->name != NULL && rc == 0)
        claims_add(suite->claims, &claim);
    else if (wanted->name != NULL)
        suite_miss(suite, &claim, NULL);
    spawn_close(engine);
    mailset_close(set);
    if (wanted->whole_name == NULL)
        return;
    struct claim whole = claim;
    whole.name = wanted->whole_name;
    whole.runs.count = 0;
    if (rc == 0) {
        const double allowed = (double)SIZES_ALLOWANCE_BYTES * sizes.mails_count;
        samples_add(&whole.runs, ((double)sizes.sealed_bytes - allowed) / (double)sizes.mail_bytes);
        claims_add(suite->claims, &whole);
    } else {
        suite_miss(suite, &whole, NULL);
    }
}

void row_sizes(struct suite *suite)
{
    static const struct sizes_case cases[] = {
        {"base64",
         "sealed size against the original (English, AES-256), mail with base64 attachments, the "
         "worst",
         sizes_base64, NULL, "default", 1.01, NULL},
        {"text", "sealed size against the original (English, AES-256), plain-text mail, the worst",
         sizes_text, NULL, "default", 1.40, NULL},
        {"corpus", NULL, NULL, NULL, "default", 0, NULL},
        {"corpus_compressed",
         "sealed size against the original (English, AES-256) with compress = on, the corpus, the "
         "worst",
         NULL, "profile \"compressed\" {\n  key_service = \"instant\"\n  compress = on\n}\n",
         "compressed", 0.75,
         "sealed size against the original (English, AES-256) with compress = on, the corpus as a "
         "whole"},
    };
    (void)json_object_set_new(suite->figures, "size", json_object());
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        sizes_case(suite, &cases[i]);
}
