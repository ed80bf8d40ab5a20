#include "mta/milter/filter.h"

#include "base/assert.h"
#include "base/log.h"
#include "mta/milter/gather.h"
#include "mta/milter/reply.h"
#include "policy/override.h"

#include <errno.h>
#include <libmilter/mfapi.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#define SESSIONS_MAX 4000 /* connections at once; Postfix has as many as it has smtpds */
#define NO_PROFILE   UINT32_MAX
#define DATA_BYTES_MAX                                                                             \
    ((size_t)4 << 20) /* of one command: a header field of any length we take                      \
                       */
#define SECTION_ACTIONS (SMFIF_ADDHDRS | SMFIF_CHGHDRS | SMFIF_CHGBODY)
#define WANTED_STEPS                                                                               \
    (SMFIP_NOHELO | SMFIP_NOUNKNOWN | SMFIP_NODATA | SMFIP_SKIP | SMFIP_HDR_LEADSPC)

/* A configuration that messages hold on to while they are under way. */
struct snapshot {
    uint32_t users_count; /* under the lock */
    struct config config;
};

/* One connection of the mail server. */
struct session {
    bool has_address;
    uint8_t address[NETWORK_ADDRESS_BYTES]; /* of its client */
    bool lead_blank;                        /* values come with their first blank */
    bool may_skip;
    bool authenticated;
    bool under_way;
    bool body_over;         /* it is larger than may be sealed              */
    struct mark *mark;      /* it says that it was sealed here: its body tells */
    uint32_t profile_index; /* NO_PROFILE: the message passes */
    struct snapshot *snapshot;
    struct gather gather;
};

static struct {
    pthread_mutex_t lock;
    struct snapshot *snapshot;
    struct hub *hub;
    const struct mark_key *mark_key;
    struct gather_budget budget;
    _Atomic uint32_t sessions_count;
    _Atomic uint32_t messages_count;
    _Atomic bool stopping;
    _Atomic unsigned long steps; /* as last negotiated: a connection may be used again without */
} filter = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* --- snapshots
 * ------------------------------------------------------------------------------------ */

static struct snapshot *snapshot_take(void)
{
    (void)pthread_mutex_lock(&filter.lock);
    struct snapshot *snapshot = filter.snapshot;
    snapshot->users_count++;
    (void)pthread_mutex_unlock(&filter.lock);
    return snapshot;
}

static void snapshot_give(struct snapshot *snapshot)
{
    (void)pthread_mutex_lock(&filter.lock);
    ASSERT(snapshot->users_count > 0);
    const bool last = --snapshot->users_count == 0;
    (void)pthread_mutex_unlock(&filter.lock);
    if (last)
        free(snapshot);
}

static struct snapshot *snapshot_make(const struct config *config)
{
    struct snapshot *made = malloc(sizeof(*made));
    if (made != NULL) {
        made->users_count = 1; /* the filter itself */
        made->config = *config;
    }
    return made;
}

/* --- one message
 * ---------------------------------------------------------------------------------- */

static void message_end(struct session *session)
{
    if (!session->under_way)
        return;
    gather_fini(&session->gather);
    mark_end(session->mark);
    session->mark = NULL;
    snapshot_give(session->snapshot);
    session->snapshot = NULL;
    session->under_way = false;
    (void)atomic_fetch_sub(&filter.messages_count, 1);
}

static void message_begin(struct session *session)
{
    message_end(session);
    session->snapshot = snapshot_take();
    session->profile_index = NO_PROFILE;
    session->body_over = false;
    session->under_way = true;
    (void)atomic_fetch_add(&filter.messages_count, 1);
}

/* The one line that a message leaves behind; never an address or a subject. */
static void message_log(SMFICTX *ctx, const struct session *session, const char *status,
                        const struct hub_answer *answer)
{
    static char queue_id[] = "i";
    const char *id = smfi_getsymval(ctx, queue_id);
    const struct profile *profile =
        session->profile_index == NO_PROFILE
            ? NULL
            : &session->snapshot->config.profiles[session->profile_index];
    log_line(LOG_LEVEL_INFO, "message",
             "queue_id=%s status=%s profile=%s recipients=%u bytes=%zu envelope=%s enhanced=%s",
             id == NULL ? "" : id, status, profile == NULL ? "" : profile->name,
             session->gather.recipients_count, session->gather.body.bytes,
             answer == NULL ? "" : answer->envelope_id,
             answer == NULL ? "" : answer->enhanced_status);
}

static sfsistat message_later(SMFICTX *ctx, struct session *session, const char *enhanced_status,
                              const char *why)
{
    struct hub_answer answer = {0};
    (void)snprintf(answer.enhanced_status, sizeof(answer.enhanced_status), "%s", enhanced_status);
    message_log(ctx, session, "retry", &answer);
    message_end(session);
    return reply_later(ctx, enhanced_status, why);
}

static sfsistat message_refused(SMFICTX *ctx, struct session *session, const char *enhanced_status,
                                const char *why)
{
    struct hub_answer answer = {0};
    (void)snprintf(answer.enhanced_status, sizeof(answer.enhanced_status), "%s", enhanced_status);
    message_log(ctx, session, "refused", &answer);
    message_end(session);
    return reply_refused(ctx, enhanced_status, why);
}

static int message_select(struct session *session)
{
    const struct config *config = &session->snapshot->config;
    struct gather_view *view = malloc(sizeof(*view));
    if (view == NULL)
        return -ENOMEM;
    const struct select_message message = gather_view(&session->gather, view);
    for (uint32_t i = 0; i < config->profiles_count; i++) {
        if (select_matches(&config->selection[i], &message)) {
            session->profile_index = i;
            break;
        }
    }
    free(view);
    return 0;
}

/* The one field that claims that we have sealed this mail; NULL: none, or more than one. */
static const char *message_claim(const struct session *session)
{
    const char *claim = NULL;
    for (uint32_t i = 0; i < session->gather.fields_count; i++) {
        if (strcasecmp(gather_name(&session->gather, i), MARK_FIELD) != 0)
            continue;
        if (claim != NULL)
            return NULL;
        claim = gather_value(&session->gather, i);
    }
    return claim;
}

static void message_watch_claim(struct session *session)
{
    char id[MARK_ID_CHARS + 1];
    const char *claim = message_claim(session);
    if (claim != NULL && mark_id(claim, id))
        session->mark = mark_begin(filter.mark_key, id);
}

/* The whole body has been seen: a claim holds or does not. */
static bool message_is_ours(struct session *session)
{
    struct mark *mark = session->mark;
    session->mark = NULL;
    return mark != NULL && mark_matches(mark, message_claim(session));
}

/* So that it is known again, should it come back. */
static int message_mark(SMFICTX *ctx, const struct session *session,
                        const struct hub_answer *answer)
{
    const struct iovec mail = {answer->mail, answer->mail_bytes};
    char value[MARK_VALUE_BYTES];
    if (!mark_mail(filter.mark_key, answer->envelope_id, &mail, 1, value))
        return 0; /* without one it would be sealed again, no more */
    return reply_field(ctx, MARK_FIELD, value, session->lead_blank);
}

static bool session_is_trusted(const struct session *session)
{
    const struct config_milter *milter = &session->snapshot->config.milter;
    if (session->authenticated && milter->trust_authenticated)
        return true;
    for (uint32_t i = 0; session->has_address && i < milter->trust_networks_count; i++) {
        if (network_holds(&milter->trust_networks[i], session->address))
            return true;
    }
    return false;
}

/* What the X-PostX-* fields ask for; `options` stays without any when nobody may ask. */
static int message_options(const struct session *session, struct bulla_options *options,
                           char why[OVERRIDE_WHY_BYTES])
{
    const struct profile *profile = &session->snapshot->config.profiles[session->profile_index];
    struct override override;
    *options = (struct bulla_options){0};
    if (!profile->allow_header_overrides || !session_is_trusted(session))
        return 0;
    override_init(&override);
    for (uint32_t i = 0; i < session->gather.fields_count; i++) {
        if (override_read(&override, gather_name(&session->gather, i),
                          gather_value(&session->gather, i), why) == OVERRIDE_MALFORMED)
            return -EBADMSG;
    }
    options->set = override.set;
    options->values = override.values;
    options->expires_after_s = override.expires_after_s;
    options->read_by_after_s = override.read_by_after_s;
    return 0;
}

static void message_progress(void *ctx)
{
    (void)smfi_progress(ctx);
}

/* Asks the engine; the answer says what became of it. */
static void message_ask(SMFICTX *ctx, const struct session *session, uint8_t *header,
                        size_t header_bytes, const struct bulla_options *options,
                        struct gather_view *view, struct hub_answer *answer)
{
    const struct config *config = &session->snapshot->config;
    const struct select_message message = gather_view(&session->gather, view);
    const struct hub_request request = {
        .profile = config->profiles[session->profile_index].name,
        .sender = message.sender,
        .recipients = message.recipients,
        .recipients_count = message.recipients_count,
        .may_queue = config->milter.reinject[0] != '\0' && !session->gather.keep_off_disk,
        .options = options->set == 0 ? NULL : options,
        .parts = {{header, header_bytes}, {session->gather.body.at, session->gather.body.bytes}},
        .progress = message_progress,
        .context = ctx,
    };
    hub_seal(filter.hub, &request, answer);
}

/* No way out of here lets the message go on as it came, except that the engine says so. */
static sfsistat message_answer(SMFICTX *ctx, struct session *session,
                               const struct hub_answer *answer)
{
    int rc = 0;
    switch (answer->status) {
    case BULLA_SEALED:
        rc = reply_sealed(ctx, &session->gather, answer->mail, answer->mail_bytes,
                          session->lead_blank);
        if (rc == 0)
            rc = message_mark(ctx, session, answer);
        if (rc != 0)
            return message_later(ctx, session, "4.3.0", "the sealed mail could not be handed over");
        message_log(ctx, session, "sealed", answer);
        message_end(session);
        return SMFIS_CONTINUE;
    case BULLA_QUEUED:
        message_log(ctx, session, "queued", answer);
        message_end(session);
        return SMFIS_DISCARD;
    case BULLA_PASSED:
        rc = reply_stripped(ctx, &session->gather, NULL);
        if (rc != 0)
            return message_later(ctx, session, "4.3.0", "its header could not be changed");
        message_log(ctx, session, "passed", answer);
        message_end(session);
        return SMFIS_CONTINUE;
    case BULLA_REFUSED: return message_refused(ctx, session, answer->enhanced_status, answer->text);
    case BULLA_RETRY: break;
    }
    return message_later(ctx, session, answer->enhanced_status, answer->text);
}

static sfsistat message_seal(SMFICTX *ctx, struct session *session)
{
    struct bulla_options options;
    struct hub_answer answer = {.status = BULLA_RETRY};
    uint8_t *header = NULL;
    size_t header_bytes = 0;
    char why[OVERRIDE_WHY_BYTES];
    if (message_options(session, &options, why) != 0)
        return message_refused(ctx, session, "5.6.0", why);
    struct gather_view *view = malloc(sizeof(*view));
    int rc = view == NULL ? -ENOMEM : gather_expect_answer(&session->gather);
    if (rc == 0)
        rc =
            gather_header(&session->gather, session->lead_blank ? "" : " ", &header, &header_bytes);
    if (rc == 0)
        message_ask(ctx, session, header, header_bytes, &options, view, &answer);
    free(view);
    if (header != NULL)
        explicit_bzero(header, header_bytes);
    free(header);
    if (rc != 0)
        return message_later(ctx, session, "4.3.1", "too much mail is under way; try again");
    const sfsistat said = message_answer(ctx, session, &answer);
    hub_answer_fini(&answer);
    return said;
}

/* --- libmilter's callbacks
 * ------------------------------------------------------------------------ */

static sfsistat filter_negotiate(SMFICTX *ctx, unsigned long actions, unsigned long steps,
                                 unsigned long unused2, unsigned long unused3,
                                 unsigned long *actions_wanted, unsigned long *steps_wanted,
                                 unsigned long *wanted2, unsigned long *wanted3)
{
    (void)ctx;
    (void)unused2;
    (void)unused3;
    if ((actions & SECTION_ACTIONS) != SECTION_ACTIONS) {
        log_line(LOG_LEVEL_ERROR, "mail_server",
                 "why=\"it does not let a milter change headers and body\"");
        return SMFIS_REJECT;
    }
    *actions_wanted = SECTION_ACTIONS;
    *steps_wanted = steps & WANTED_STEPS;
    *wanted2 = 0;
    *wanted3 = 0;
    atomic_store(&filter.steps, *steps_wanted);
    return SMFIS_CONTINUE;
}

static void session_address(struct session *session, const struct sockaddr *address)
{
    if (address != NULL && address->sa_family == AF_INET) {
        struct sockaddr_in inet;
        memcpy(&inet, address, sizeof(inet));
        network_from_ipv4((const uint8_t *)&inet.sin_addr, session->address);
        session->has_address = true;
    } else if (address != NULL && address->sa_family == AF_INET6) {
        struct sockaddr_in6 inet6;
        memcpy(&inet6, address, sizeof(inet6));
        memcpy(session->address, &inet6.sin6_addr, NETWORK_ADDRESS_BYTES);
        session->has_address = true;
    }
}

static sfsistat filter_connect(SMFICTX *ctx, char *host, struct sockaddr *address)
{
    (void)host;
    struct session *session = NULL;
    if (atomic_fetch_add(&filter.sessions_count, 1) < SESSIONS_MAX)
        session = calloc(1, sizeof(*session));
    if (session == NULL || smfi_setpriv(ctx, session) != MI_SUCCESS) {
        free(session);
        (void)atomic_fetch_sub(&filter.sessions_count, 1);
        return SMFIS_TEMPFAIL;
    }
    const unsigned long steps = atomic_load(&filter.steps);
    session->lead_blank = (steps & SMFIP_HDR_LEADSPC) != 0;
    session->may_skip = (steps & SMFIP_SKIP) != 0;
    session_address(session, address);
    return SMFIS_CONTINUE;
}

static sfsistat filter_sender(SMFICTX *ctx, char **arguments)
{
    static char authenticated[] = "{auth_authen}";
    struct session *session = smfi_getpriv(ctx);
    if (session == NULL)
        return SMFIS_TEMPFAIL;
    message_begin(session);
    gather_init(&session->gather, &filter.budget);
    /* Counted first: whoever stops the filter sees this message, or it sees that it is late. */
    if (atomic_load(&filter.stopping)) {
        message_end(session);
        return SMFIS_TEMPFAIL;
    }
    const char *user = smfi_getsymval(ctx, authenticated);
    session->authenticated = user != NULL && user[0] != '\0';
    if (gather_sender(&session->gather, arguments) != 0)
        return message_later(ctx, session, "4.3.1", "out of memory");
    return SMFIS_CONTINUE;
}

static sfsistat filter_recipient(SMFICTX *ctx, char **arguments)
{
    struct session *session = smfi_getpriv(ctx);
    if (session == NULL || !session->under_way)
        return SMFIS_TEMPFAIL;
    const int rc = gather_recipient(&session->gather, arguments);
    if (rc == -EMSGSIZE) /* this one alone: its client sends to it in another message */
        return reply_later(ctx, "4.5.3", "too many recipients in one message");
    return rc == 0 ? SMFIS_CONTINUE : reply_later(ctx, "4.3.1", "out of memory");
}

static sfsistat filter_field(SMFICTX *ctx, char *name, char *value)
{
    struct session *session = smfi_getpriv(ctx);
    if (session == NULL || !session->under_way)
        return SMFIS_TEMPFAIL;
    if (gather_field(&session->gather, name, value) != 0)
        return message_later(ctx, session, "4.3.1", "out of memory");
    return SMFIS_CONTINUE;
}

static sfsistat filter_header_end(SMFICTX *ctx)
{
    struct session *session = smfi_getpriv(ctx);
    if (session == NULL || !session->under_way)
        return SMFIS_TEMPFAIL;
    if (session->gather.header_over)
        return message_refused(ctx, session, "5.3.4",
                               "the header has more than 2000 fields or 2 MiB");
    if (message_select(session) != 0)
        return message_later(ctx, session, "4.3.1", "out of memory");
    if (session->profile_index != NO_PROFILE)
        message_watch_claim(session);
    if (session->profile_index != NO_PROFILE || session->gather.has_control)
        return SMFIS_CONTINUE;
    message_log(ctx, session, "passed", NULL);
    message_end(session);
    return SMFIS_ACCEPT; /* its body is never asked for */
}

static sfsistat filter_body(SMFICTX *ctx, unsigned char *bytes_at, size_t bytes)
{
    struct session *session = smfi_getpriv(ctx);
    if (session == NULL || !session->under_way)
        return SMFIS_TEMPFAIL;
    if (session->profile_index == NO_PROFILE)
        return session->may_skip ? SMFIS_SKIP : SMFIS_CONTINUE;
    const struct profile *profile = &session->snapshot->config.profiles[session->profile_index];
    if (session->mark != NULL)
        mark_update(session->mark, bytes_at, bytes);
    const int rc = session->body_over
                       ? -EMSGSIZE
                       : gather_body(&session->gather, bytes_at, bytes, profile->mail_bytes_max);
    session->body_over = rc == -EMSGSIZE;
    /* A sealed mail is larger than its original: the end tells whether it is one. */
    if (session->body_over && session->mark == NULL)
        return message_refused(ctx, session, "5.3.4", "the message is larger than may be sealed");
    if (rc != 0 && !session->body_over)
        return message_later(ctx, session, "4.3.1", "too much mail is under way; try again");
    return SMFIS_CONTINUE;
}

static sfsistat filter_message_end(SMFICTX *ctx)
{
    struct session *session = smfi_getpriv(ctx);
    if (session == NULL || !session->under_way)
        return SMFIS_TEMPFAIL;
    const bool ours = message_is_ours(session);
    if (session->body_over && !ours)
        return message_refused(ctx, session, "5.3.4", "the message is larger than may be sealed");
    if (session->profile_index != NO_PROFILE && !ours)
        return message_seal(ctx, session);
    if (reply_stripped(ctx, &session->gather, ours ? MARK_FIELD : NULL) != 0)
        return message_later(ctx, session, "4.3.0", "its header could not be changed");
    message_log(ctx, session, ours ? "own" : "passed", NULL);
    message_end(session);
    return SMFIS_CONTINUE;
}

static sfsistat filter_abort(SMFICTX *ctx)
{
    struct session *session = smfi_getpriv(ctx);
    if (session != NULL)
        message_end(session);
    return SMFIS_CONTINUE;
}

static sfsistat filter_disconnect(SMFICTX *ctx)
{
    struct session *session = smfi_getpriv(ctx);
    if (session != NULL) {
        message_end(session);
        free(session);
        (void)atomic_fetch_sub(&filter.sessions_count, 1);
        (void)smfi_setpriv(ctx, NULL);
    }
    return SMFIS_CONTINUE;
}

/* --- open and close
 * ------------------------------------------------------------------------------- */

int filter_open(const struct config *config, struct hub *hub, const struct mark_key *mark_key)
{
    static char name[] = "bulla";
    const struct smfiDesc callbacks = {
        .xxfi_name = name,
        .xxfi_version = SMFI_VERSION,
        .xxfi_flags = SECTION_ACTIONS,
        .xxfi_connect = filter_connect,
        .xxfi_envfrom = filter_sender,
        .xxfi_envrcpt = filter_recipient,
        .xxfi_header = filter_field,
        .xxfi_eoh = filter_header_end,
        .xxfi_body = filter_body,
        .xxfi_eom = filter_message_end,
        .xxfi_abort = filter_abort,
        .xxfi_close = filter_disconnect,
        .xxfi_negotiate = filter_negotiate,
    };
    filter.snapshot = snapshot_make(config);
    if (filter.snapshot == NULL)
        return -ENOMEM;
    filter.hub = hub;
    filter.mark_key = mark_key;
    filter.budget.bytes_max = config->milter.memory_bytes;
    (void)smfi_setmaxdatasize(DATA_BYTES_MAX);
    if (smfi_register(callbacks) == MI_SUCCESS)
        return 0;
    filter_close();
    return -EIO;
}

int filter_reload(const struct config *config)
{
    struct snapshot *made = snapshot_make(config);
    if (made == NULL)
        return -ENOMEM;
    (void)pthread_mutex_lock(&filter.lock);
    struct snapshot *before = filter.snapshot;
    filter.snapshot = made;
    (void)pthread_mutex_unlock(&filter.lock);
    snapshot_give(before);
    return 0;
}

void filter_stop(void)
{
    atomic_store(&filter.stopping, true);
}

uint32_t filter_messages_count(void)
{
    return atomic_load(&filter.messages_count);
}

void filter_close(void)
{
    if (filter.snapshot != NULL)
        snapshot_give(filter.snapshot);
    filter.snapshot = NULL;
}
