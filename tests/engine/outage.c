#include "tests/engine/outage.h"

#include "base/clock.h"
#include "base/macros.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define LATE_S 60

void outage_client_begin(struct outage *outage)
{
    const struct breaker_config config = {
        .pause_ns_min = 50 * NS_PER_MS, .pause_ns_max = 10 * NS_PER_S, .probe_ns_min = NS_PER_S};
    breaker_init(&outage->breaker, &config);
    outage->probed_ns = 0;
    outage->asked_count = 0;
}

enum outage_answer outage_answer(struct outage *outage, uint32_t asked_count, uint64_t now_ns)
{
    struct breaker *breaker = &outage->breaker;
    assert_true(breaker_is_closed(breaker) || asked_count <= MAX(outage->asked_count, 1U));
    outage->asked_count = asked_count;
    if (asked_count == 0 || now_ns - outage->asked_ns >= OUTAGE_ASK_S * NS_PER_S) {
        outage->asked_ns = now_ns;
        return asked_count == 0 ? OUTAGE_SILENT : OUTAGE_AWAY;
    }
    if (!breaker_allows(breaker, now_ns))
        return OUTAGE_SILENT;
    if (!breaker_is_closed(breaker)) {
        assert_true(outage->probed_ns == 0 || now_ns - outage->probed_ns >= NS_PER_S);
        outage->probed_ns = now_ns;
    }
    breaker_begin(breaker, now_ns);
    if (!outage->here) {
        breaker_failed(breaker, now_ns, 0, now_ns * UINT64_C(6364136223846793005) >> 20);
        return OUTAGE_SILENT;
    }
    breaker_answered(breaker);
    return OUTAGE_STORED;
}

uint64_t outage_due_ns(const struct outage *outage)
{
    return breaker_due_ns(&outage->breaker);
}

void outage_put(struct outage *outage, const struct id *id, uint64_t end_unix_s)
{
    assert_true(outage->mails_count < OUTAGE_MAILS_MAX);
    outage->mails[outage->mails_count++] =
        (struct outage_mail){.id = *id, .end_unix_s = end_unix_s};
}

static bool is_over(const struct outage_mail *mail)
{
    return mail->sent + mail->told > 0;
}

static bool has_ended(const struct outage_mail *mail, uint64_t late_s)
{
    return mail->seen_unix_s > mail->end_unix_s + late_s;
}

void outage_clock(struct outage *outage, uint64_t unix_s)
{
    for (uint32_t n = 0; n < outage->mails_count; n++) {
        struct outage_mail *mail = &outage->mails[n];
        if (!is_over(mail))
            mail->seen_unix_s = MAX(mail->seen_unix_s, unix_s);
    }
}

void outage_came(struct outage *outage, const struct ipc_completion *emission)
{
    uint32_t n = 0;
    while (n < outage->mails_count &&
           memcmp(emission->envelope_id, outage->mails[n].id.bytes, ID_BYTES) != 0)
        n++;
    assert_true(n < outage->mails_count);
    struct outage_mail *mail = &outage->mails[n];
    const bool told = emission->emission == IPC_EMISSION_NOTIFICATION;
    assert_false(is_over(mail));
    assert_int_equal(has_ended(mail, 0), told);
    mail->sent += !told;
    mail->told += told;
}

uint32_t outage_waits(const struct outage *outage)
{
    uint32_t count = 0;
    for (uint32_t n = 0; n < outage->mails_count; n++) {
        assert_true(is_over(&outage->mails[n]) || !has_ended(&outage->mails[n], LATE_S));
        count += !is_over(&outage->mails[n]);
    }
    return count;
}

uint32_t outage_told(const struct outage *outage)
{
    uint32_t count = 0;
    for (uint32_t n = 0; n < outage->mails_count; n++)
        count += outage->mails[n].told;
    return count;
}
