/* The rows small, large and corpus: what one worker seals, beside peers and limits. */
#include "bench/alone.h"
#include "bench/peer.h"
#include "bench/roofline.h"
#include "bench/suite.h"

#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RATES_OTHER_RUNS_MAX 2 /* they start a process a message */
/* Different ones: nothing learns the one message by heart. */
#define RATES_SMALL_MAIL "4KiB,4KiB,4KiB,4KiB,4KiB,4KiB,4KiB,4KiB"

/* Ways to hand mail over, each with its own figures. */
enum rates_way {
    RATES_SPANS,    /* copied in; sealed mail read as spans, as writev(2) would */
    RATES_FLAT,     /* and copied out of its spans                              */
    RATES_IN_PLACE, /* not copied in again: the engine without the client's part */
};
#define RATES_WAYS 3

static const char *const rates_way_names[RATES_WAYS] = {"engine_spans", "engine_flattened",
                                                        "engine_in_place"};

/* Peers beside the one that the claims name. */
static const struct {
    const char *name;
    int (*run)(const struct mailset *set, uint64_t duration_ns, struct peer_rate *rate,
               char why[MAILSET_WHY_BYTES]);
} rates_others[] = {{"peer_gnupg", peer_gpg}, {"peer_age", peer_age}};

#define RATES_OTHERS ARRAY_COUNT(rates_others)

struct rates_other {
    struct samples mb_per_s;
    struct samples messages_per_s;
    char why[MAILSET_WHY_BYTES]; /* it is not measured; empty: it is */
};

struct rates {
    struct samples way_mb_per_s[RATES_WAYS];
    struct samples way_messages_per_s[RATES_WAYS];
    struct samples way_preempted_per_s[RATES_WAYS];
    struct samples way_huge_mib[RATES_WAYS];
    struct samples cms_mb_per_s;
    struct samples cms_messages_per_s;
    struct rates_other others[RATES_OTHERS];
    struct samples gcm_mb_per_s;
    struct samples decode_mb_per_s;
    struct samples stage_gcm_mb_per_s;
    struct samples encode_mb_per_s;
    struct samples roofline_mb_per_s[ROOFLINE_PLACES];
    struct samples over_cms[RATES_WAYS]; /* within one turn */
    struct samples of_roofline[RATES_WAYS];
    struct samples of_cached; /* spans, against the roofline without memory */
    uint64_t not_sealed;
    bool unsound; /* something was not sealed, as `why` says */
    char why[MAILSET_WHY_BYTES];
};

static int rates_peers(struct suite *suite, const struct mailset *set, struct rates *rates)
{
    struct peer_rate rate;
    int rc = peer_cms(set, suite->pace.peer_ns, &rate, suite->why);
    if (rc != 0)
        return rc;
    samples_add(&rates->cms_mb_per_s, (double)rate.bytes / rate.seconds / 1e6);
    samples_add(&rates->cms_messages_per_s, (double)rate.messages / rate.seconds);
    for (uint32_t i = 0; i < RATES_OTHERS; i++) {
        struct rates_other *other = &rates->others[i];
        if (other->mb_per_s.count == RATES_OTHER_RUNS_MAX || other->why[0] != '\0' ||
            rates_others[i].run(set, suite->pace.peer_ns, &rate, other->why) != 0)
            continue;
        samples_add(&other->mb_per_s, (double)rate.bytes / rate.seconds / 1e6);
        samples_add(&other->messages_per_s, (double)rate.messages / rate.seconds);
    }
    rc = peer_gcm(set, suite->pace.peer_ns, &rate, suite->why);
    if (rc == 0)
        samples_add(&rates->gcm_mb_per_s, (double)rate.bytes / rate.seconds / 1e6);
    return rc;
}

static void rates_limits(struct suite *suite, struct roofline *roofline, struct rates *rates)
{
    struct roofline_rates found;
    for (uint32_t place = 0; place < ROOFLINE_PLACES; place++) {
        roofline_measure(roofline, (enum roofline_place)place, suite->pace.roofline_ns, &found);
        samples_add(&rates->roofline_mb_per_s[place], found.mb_per_s);
        if (place != ROOFLINE_ONE_PASS)
            continue;
        samples_add(&rates->decode_mb_per_s, found.decode_mb_per_s);
        samples_add(&rates->stage_gcm_mb_per_s, found.gcm_mb_per_s);
        samples_add(&rates->encode_mb_per_s, found.encode_mb_per_s);
    }
}

static int rates_engine(struct suite *suite, const struct spawn *engine, const struct mailset *set,
                        uint32_t turn, struct rates *rates)
{
    struct load_result *result = malloc(sizeof(*result));
    int rc = result == NULL ? -ENOMEM : 0;
    for (uint32_t way = 0; rc == 0 && way < RATES_WAYS; way++) {
        struct load_config config = suite_load(suite, engine, set);
        config.flatten = way == RATES_FLAT;
        config.in_place = way == RATES_IN_PLACE;
        config.seed = turn + 1;
        rc = load_run(&config, set, result, suite->why);
        if (rc != 0)
            break;
        const double mb_per_s = (double)result->mail_bytes / result->seconds / 1e6;
        samples_add(&rates->way_mb_per_s[way], mb_per_s);
        samples_add(&rates->way_messages_per_s[way],
                    (double)result->sealed_count / result->seconds);
        samples_add(&rates->way_preempted_per_s[way], result->worker_preempted_per_s);
        samples_add(&rates->way_huge_mib[way], result->shared_huge_mib);
        samples_add(&rates->over_cms[way], mb_per_s / rates->cms_mb_per_s.values[turn]);
        samples_add(&rates->of_roofline[way],
                    mb_per_s / rates->roofline_mb_per_s[ROOFLINE_ONE_PASS].values[turn]);
        if (way == RATES_SPANS)
            samples_add(&rates->of_cached,
                        mb_per_s / rates->roofline_mb_per_s[ROOFLINE_CACHE].values[turn]);
        if (!rates->unsound)
            rates->unsound = !load_sound(result, rates->why);
        rates->not_sealed += result->other_count + result->unanswered_count;
    }
    free(result);
    return rc;
}

static int rates_measure(struct suite *suite, struct spawn *engine, const struct mailset *set,
                         struct rates *rates)
{
    struct roofline *roofline = NULL;
    memset(rates, 0, sizeof(*rates));
    int rc = roofline_open(&roofline, set, suite->why);
    for (uint32_t turn = 0; rc == 0 && turn < suite->pace.runs_count; turn++) {
        struct alone alone;
        alone_begin(&alone, engine);
        rc = rates_peers(suite, set, rates);
        if (rc == 0)
            rates_limits(suite, roofline, rates);
        alone_end(&alone);
        if (rc == 0)
            rc = rates_engine(suite, engine, set, turn, rates);
    }
    roofline_close(roofline);
    return rc;
}

static json_t *rates_pair(const struct samples *messages, const struct samples *mb)
{
    return json_pack("{s:o, s:o}", "messages_per_s", samples_json(messages), "mb_per_s",
                     samples_json(mb));
}

static json_t *rates_json(const struct rates *rates, const struct mailset *set, const char *mail)
{
    json_t *object =
        json_pack("{s:s, s:I, s:I, s:I}", "mail", mail, "mails", (json_int_t)set->mails_count,
                  "mail_bytes_total", (json_int_t)set->bytes_total, "not_sealed",
                  (json_int_t)rates->not_sealed);
    for (uint32_t way = 0; way < RATES_WAYS; way++) {
        json_t *pair = rates_pair(&rates->way_messages_per_s[way], &rates->way_mb_per_s[way]);
        (void)json_object_set_new(pair, "worker_preemptions_per_s",
                                  samples_json(&rates->way_preempted_per_s[way]));
        (void)json_object_set_new(pair, "shared_huge_mib", samples_json(&rates->way_huge_mib[way]));
        (void)json_object_set_new(object, rates_way_names[way], pair);
    }
    (void)json_object_set_new(object, "peer_openssl_cms",
                              rates_pair(&rates->cms_messages_per_s, &rates->cms_mb_per_s));
    for (uint32_t i = 0; i < RATES_OTHERS; i++) {
        const struct rates_other *other = &rates->others[i];
        (void)json_object_set_new(object, rates_others[i].name,
                                  other->mb_per_s.count > 0
                                      ? rates_pair(&other->messages_per_s, &other->mb_per_s)
                                      : json_pack("{s:s}", "why", other->why));
    }
    (void)json_object_set_new(object, "limit_gcm_mb_per_s", samples_json(&rates->gcm_mb_per_s));
    (void)json_object_set_new(object, "roofline",
                              json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "decode_mb_per_s",
                                        samples_json(&rates->decode_mb_per_s), "gcm_mb_per_s",
                                        samples_json(&rates->stage_gcm_mb_per_s), "encode_mb_per_s",
                                        samples_json(&rates->encode_mb_per_s), "mb_per_s",
                                        samples_json(&rates->roofline_mb_per_s[ROOFLINE_ONE_PASS]),
                                        "three_passes_mb_per_s",
                                        samples_json(&rates->roofline_mb_per_s[ROOFLINE_BUFFERS]),
                                        "in_cache_mb_per_s",
                                        samples_json(&rates->roofline_mb_per_s[ROOFLINE_CACHE])));
    return object;
}

/* What a claim's value is. */
enum rates_value {
    RATES_OVER_CMS,
    RATES_OF_ROOFLINE,
    RATES_OF_ROOFLINE_FLAT,
    RATES_OF_CACHED,
};

static const struct {
    const char *row;
    const char *name;
    enum rates_value value;
    double target;
} rates_claims[] = {
    {"small",
     "4 KiB messages: bytes sealed against OpenSSL CMS (AES-256-GCM, RSA-2048 recipient, S/MIME "
     "output)",
     RATES_OVER_CMS, 25},
    {"large", "mail with a 25 MiB attachment, in base64: bytes sealed against OpenSSL CMS",
     RATES_OVER_CMS, 10},
    {"large",
     "mail with a 25 MiB attachment, in base64: share of the roofline 1/(1/decode + 1/GCM + "
     "1/encode), mail and result in memory",
     RATES_OF_ROOFLINE, 0.75},
    {"large",
     "mail with a 25 MiB attachment, in base64: share of the roofline 1/(1/decode + 1/GCM + "
     "1/encode), all of it in cache",
     RATES_OF_CACHED, 0.75},
    {"corpus", "the real corpus, spans handed over: share of the roofline of its bytes",
     RATES_OF_ROOFLINE, 0.60},
    {"corpus", "the real corpus, every mail flattened: share of the roofline of its bytes",
     RATES_OF_ROOFLINE_FLAT, 0.60},
};

static const struct samples *rates_value(const struct rates *rates, enum rates_value value)
{
    switch (value) {
    case RATES_OVER_CMS: return &rates->over_cms[RATES_SPANS];
    case RATES_OF_ROOFLINE: return &rates->of_roofline[RATES_SPANS];
    case RATES_OF_ROOFLINE_FLAT: return &rates->of_roofline[RATES_FLAT];
    case RATES_OF_CACHED: return &rates->of_cached;
    }
    return NULL;
}

static struct claim_side rates_roofline(const struct rates *rates, enum rates_value value)
{
    const bool cached = value == RATES_OF_CACHED;
    return (struct claim_side){
        .name = cached ? "roofline 1/(1/decode + 1/GCM + 1/encode), all of it in cache"
                       : "roofline 1/(1/decode + 1/GCM + 1/encode), mail and result in memory",
        .unit = "MB/s",
        .runs = rates->roofline_mb_per_s[cached ? ROOFLINE_CACHE : ROOFLINE_ONE_PASS]};
}

/* The row's claims out of `rates`, or with suite->why when rc says so. */
static void rates_claim(struct suite *suite, const char *row, const struct rates *rates, int rc)
{
    for (size_t i = 0; i < ARRAY_COUNT(rates_claims); i++) {
        const enum rates_value value = rates_claims[i].value;
        struct claim claim = {.row = row,
                              .name = rates_claims[i].name,
                              .unit = value == RATES_OVER_CMS ? "x" : "of limit",
                              .compare = CLAIM_AT_LEAST,
                              .target = rates_claims[i].target};
        if (strcmp(rates_claims[i].row, row) != 0)
            continue;
        if (rc != 0) {
            suite_miss(suite, &claim, NULL);
            continue;
        }
        if (rates->unsound) {
            suite_miss(suite, &claim, rates->why);
            continue;
        }
        claim.runs = *rates_value(rates, value);
        claim.peer = (struct claim_side){
            .name = "OpenSSL CMS, one thread", .unit = "MB/s", .runs = rates->cms_mb_per_s};
        claim.limit = rates_roofline(rates, value);
        claims_add(suite->claims, &claim);
    }
}

static void rates_row(struct suite *suite, struct spawn *engine, const char *row, const char *mail,
                      const char *folder)
{
    struct rates *rates = calloc(1, sizeof(*rates));
    struct mailset *set = NULL;
    int rc = rates == NULL ? -ENOMEM : 0;
    if (!suite_wants(suite, row)) {
        rc = -ECANCELED;
    } else if (mail == NULL && folder == NULL) {
        (void)snprintf(suite->why, sizeof(suite->why), "no corpus here: name one by --corpus");
        rc = -ENOENT;
    } else if (engine == NULL) {
        rc = -ECHILD;
    }
    if (rc == 0)
        rc = mail != NULL ? mailset_open_sizes(&set, mail, suite->why)
                          : mailset_open_folder(&set, folder, suite->why);
    if (rc == 0)
        rc = rates_measure(suite, engine, set, rates);
    if (rc == 0)
        (void)json_object_set_new(suite->figures, row,
                                  rates_json(rates, set, mail != NULL ? mail : "corpus"));
    if (rc == 0 && rates->not_sealed > 0)
        (void)fprintf(stderr, "bulla-bench: %s: %lu messages were not sealed\n", row,
                      (unsigned long)rates->not_sealed);
    rates_claim(suite, row, rates, rc);
    mailset_close(set);
    free(rates);
}

void row_rates(struct suite *suite)
{
    const struct spawn_config config = {.workers = 1};
    struct spawn *engine = NULL;
    const bool wanted =
        suite_wants(suite, "small") || suite_wants(suite, "large") || suite_wants(suite, "corpus");
    if (wanted && suite_engine(suite, &engine, &config) != 0)
        engine = NULL;
    rates_row(suite, engine, "small", RATES_SMALL_MAIL, NULL);
    rates_row(suite, engine, "large", SUITE_LARGE_MAIL, NULL);
    rates_row(suite, engine, "corpus", NULL, suite->corpus);
    spawn_close(engine);
}
