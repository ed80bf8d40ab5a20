/* bulla-keyd serve: opens the parts, runs both listeners until SIGTERM, and drains. */
#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/startup.h"
#include "crypto/secret.h"
#include "keyservice/server/account/renew.h"
#include "keyservice/server/api/api.h"
#include "keyservice/server/command/command.h"
#include "keyservice/server/retention.h"
#include "keyservice/server/sent/sent.h"
#include "keyservice/server/serve_confine.h"
#include "keyservice/server/service.h"
#include "keyservice/server/store/store_link.h"
#include "keyservice/server/store/store_parked.h"
#include "keyservice/server/store/store_rewrap.h"
#include "keyservice/server/store/store_shared.h"
#include "keyservice/server/store/store_wrapping.h"
#include "keyservice/server/tend.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define SERVE_PEM_BYTES_MAX  65536
#define SERVE_FAST_THREADS   16 /* most of them wait for the disk together      */
#define SERVE_READERS        18 /* more than a lane's threads: none holds them all */
#define SERVE_ENGINE_THREADS 8
#define SERVE_LOOP_THREADS   2
#define SERVE_BACKLOG        1024
#define SERVE_DRAIN_S        10
#define SERVE_REWRAP_S       2
#define SERVE_PRUNE_S        60
#define SERVE_LEASE_S        150 /* who was away for two rounds has lost it */
#define SERVE_LEASE_ASK_S    30
#define SERVE_ANCHOR_S       3600

static const struct http_route public_routes[] = {
    {"GET", "/v1/health", HTTP_INLINE, true, 0, api_open_health},
    {"HEAD", "/pickup/", HTTP_INLINE, true, 0, api_open_pickup_head},
    {"GET", "/pickup/", HTTP_FAST, true, 0, api_open_pickup},
    {"POST", "/v1/open", HTTP_SLOW, false, API_BODY_BYTES_MAX, api_open_open},
    {"GET", "/v1/openapi.json", HTTP_INLINE, false, 0, api_open_described},
    {"OPTIONS", "/v1/health", HTTP_INLINE, true, 0, api_open_preflight},
    {"OPTIONS", "/pickup/", HTTP_INLINE, true, 0, api_open_preflight},
    {"POST", "/v1/enrol", HTTP_FAST, false, API_BODY_BYTES_MAX, api_engine_enrol},
    {"GET", "/v1/session", HTTP_FAST, false, 0, api_account_session_get},
    {"POST", "/v1/session", HTTP_SLOW, false, API_BODY_BYTES_MAX, api_account_session_post},
    {"DELETE", "/v1/session", HTTP_FAST, false, API_BODY_BYTES_MAX, api_account_session_delete},
    {"POST", "/v1/accounts", HTTP_SLOW, false, API_BODY_BYTES_MAX, api_proof_register},
    {"POST", "/v1/accounts/verify", HTTP_FAST, false, API_BODY_BYTES_MAX,
     api_proof_register_verify},
    {"POST", "/v1/session/second", HTTP_FAST, false, API_BODY_BYTES_MAX, signin_second_post},
    {"POST", "/v1/session/password", HTTP_SLOW, false, API_BODY_BYTES_MAX, renew_post},
    {"POST", "/v1/session/passkey", HTTP_FAST, false, API_BODY_BYTES_MAX, api_passkey_signin},
    {"GET", "/v1/challenge", HTTP_FAST, false, 0, api_passkey_challenge},
    {"GET", "/v1/account", HTTP_FAST, false, 0, api_person_get},
    {"DELETE", "/v1/account", HTTP_FAST, false, API_BODY_BYTES_MAX, api_person_delete},
    {"POST", "/v1/account/password", HTTP_SLOW, false, API_BODY_BYTES_MAX, api_person_password},
    {"POST", "/v1/account/phrase", HTTP_FAST, false, API_BODY_BYTES_MAX, api_person_phrase},
    {"DELETE", "/v1/account/sessions/", HTTP_FAST, false, API_BODY_BYTES_MAX, api_person_session},
    {"DELETE", "/v1/account/devices/", HTTP_FAST, false, API_BODY_BYTES_MAX, api_person_device},
    {"POST", "/v1/account/totp", HTTP_FAST, false, API_BODY_BYTES_MAX, api_factor_begin},
    {"POST", "/v1/account/totp/confirm", HTTP_FAST, false, API_BODY_BYTES_MAX, api_factor_confirm},
    {"DELETE", "/v1/account/totp", HTTP_FAST, false, API_BODY_BYTES_MAX, api_factor_end},
    {"POST", "/v1/account/recovery", HTTP_FAST, false, API_BODY_BYTES_MAX, api_factor_recovery},
    {"POST", "/v1/account/passkeys", HTTP_FAST, false, API_BODY_BYTES_MAX, api_passkey_add},
    {"POST", "/v1/account/passkeys/", HTTP_FAST, false, API_BODY_BYTES_MAX, api_passkey_name},
    {"DELETE", "/v1/account/passkeys/", HTTP_FAST, false, API_BODY_BYTES_MAX, api_passkey_remove},
    {"POST", "/v1/reset", HTTP_SLOW, false, API_BODY_BYTES_MAX, api_proof_reset},
    {"POST", "/v1/reset/verify", HTTP_FAST, false, API_BODY_BYTES_MAX, api_proof_reset_verify},
    {"POST", "/v1/device", HTTP_FAST, false, API_BODY_BYTES_MAX, api_device_post},
    {"POST", "/v1/language", HTTP_FAST, false, API_BODY_BYTES_MAX, api_language_post},
    {"POST", "/language", HTTP_FAST, false, API_BODY_BYTES_MAX, api_language_form},
    {"POST", "/v1/release", HTTP_FAST, false, API_BODY_BYTES_MAX, api_open_release},
    {"GET", "/v1/envelopes/", HTTP_FAST, false, 0, api_open_envelope},
    {"GET", "/v1/sent", HTTP_FAST, false, 0, api_sent_list},
    {"GET", "/v1/sent/", HTTP_FAST, false, 0, api_sent_get},
    {"POST", "/v1/sent/", HTTP_FAST, false, API_BODY_BYTES_MAX, api_sent_change},
    {"POST", "/online", HTTP_FAST, false, ONLINE_BODY_BYTES_MAX, api_online_post},
    {"GET", "/v1/online/", HTTP_FAST, false, 0, api_online_look},
    {"POST", "/v1/online/", HTTP_FAST, false, API_BODY_BYTES_MAX, api_online_open},
    {"GET", "/link/", HTTP_FAST, false, 0, api_link_get},
    {"POST", "/link/", HTTP_SLOW, false, API_BODY_BYTES_MAX, api_link_post},
    {"POST", "/online/", HTTP_SLOW, false, API_BODY_BYTES_MAX, api_plain_post},
    {"GET", "/v1/admin/users", HTTP_FAST, false, 0, api_admin_users},
    {"POST", "/v1/admin/users", HTTP_SLOW, false, API_BODY_BYTES_MAX, api_admin_user_add},
    {"GET", "/v1/admin/users/", HTTP_FAST, false, 0, api_admin_user},
    {"POST", "/v1/admin/users/", HTTP_FAST, false, API_BODY_BYTES_MAX, api_admin_user_change},
    {"GET", "/v1/admin/engines", HTTP_FAST, false, 0, api_admin_engines},
    {"POST", "/v1/admin/engines", HTTP_FAST, false, API_BODY_BYTES_MAX, api_admin_engine_add},
    {"DELETE", "/v1/admin/engines/", HTTP_FAST, false, API_BODY_BYTES_MAX, api_admin_engine_revoke},
    {"GET", "/v1/admin/tokens", HTTP_FAST, false, 0, api_admin_tokens},
    {"POST", "/v1/admin/tokens", HTTP_FAST, false, API_BODY_BYTES_MAX, api_admin_token_add},
    {"DELETE", "/v1/admin/tokens/", HTTP_FAST, false, API_BODY_BYTES_MAX, api_admin_token_remove},
    {"GET", "/v1/admin/profiles", HTTP_FAST, false, 0, api_admin_profiles},
    {"GET", "/v1/admin/profiles/", HTTP_FAST, false, 0, api_admin_profile},
    {"PUT", "/v1/admin/profiles/", HTTP_FAST, false, 4 * API_BODY_BYTES_MAX, api_admin_profile_put},
    {"DELETE", "/v1/admin/profiles/", HTTP_FAST, false, API_BODY_BYTES_MAX,
     api_admin_profile_remove},
    {"GET", "/v1/admin/reports", HTTP_FAST, false, 0, api_admin_report},
    {"GET", "/v1/admin/audit", HTTP_FAST, false, 0, api_admin_audit},
    {"GET", "/v1/admin/audit/lines", HTTP_FAST, false, 0, api_admin_audit_lines},
    {"POST", "/v1/admin/audit/verify", HTTP_SLOW, false, API_BODY_BYTES_MAX,
     api_admin_audit_verify},
    {"GET", "/v1/profiles/", HTTP_FAST, false, 0, api_profile_look},
    {"GET", "/v1/write", HTTP_FAST, false, 0, api_write_look},
    {"GET", "/v1/write/", HTTP_FAST, false, 0, api_write_look},
    {"POST", "/v1/write", HTTP_SLOW, false, ONLINE_BODY_BYTES_MAX, api_write_post},
    {"GET", "/", HTTP_INLINE, false, 0, pages_get},
    {"GET", "/signin", HTTP_INLINE, false, 0, pages_get},
    {"GET", "/register", HTTP_INLINE, false, 0, pages_get},
    {"GET", "/account", HTTP_INLINE, false, 0, pages_get},
    {"GET", "/admin", HTTP_INLINE, false, 0, pages_get},
    {"GET", "/reset", HTTP_INLINE, false, 0, pages_get},
    {"GET", "/open", HTTP_INLINE, false, 0, pages_get},
    {"GET", "/write", HTTP_INLINE, false, 0, pages_get},
    {"GET", "/contact", HTTP_INLINE, false, 0, pages_get},
    {"GET", "/contact/", HTTP_INLINE, false, 0, pages_get},
    {"GET", "/sent", HTTP_INLINE, false, 0, pages_get},
    {"GET", "/reports", HTTP_INLINE, false, 0, pages_get},
    {"GET", "/online", HTTP_INLINE, false, 0, pages_get},
    {"GET", "/online/", HTTP_INLINE, false, 0, pages_get},
    {"GET", "/static/", HTTP_INLINE, false, 0, pages_get},
};

static const struct http_route engine_routes[] = {
    {"POST", "/v1/envelopes", HTTP_FAST, false, RECORD_BATCH_BYTES_MAX, api_engine_envelopes},
    {"GET", "/v1/health", HTTP_INLINE, false, 0, api_open_health},
};

struct serve_listener {
    struct http *http;
    struct work *fast;
    struct work *slow; /* NULL: no route asks for it */
    int fd;
    uint16_t port;
};

struct serve {
    struct config config;
    struct service service;
    struct serve_listener public;
    struct serve_listener engine;
    uint8_t node[STORE_SHARED_HOLDER_BYTES]; /* which of several services this is */
    bool lease_held;                         /* with lease_ask_ns: of the thread that tends alone */
    uint64_t lease_ask_ns;
    char certificate[SERVE_PEM_BYTES_MAX];
    char private_key[SERVE_PEM_BYTES_MAX];
    char ca[SERVE_PEM_BYTES_MAX];
};

struct serve_options {
    const char *config;
    const char *ports_file;
    bool debug;
};

static int options_read(struct serve_options *options, int argc, char **argv)
{
    static const struct option known[] = {
        {"config", required_argument, NULL, 'c'},
        {"ports-file", required_argument, NULL, 'p'},
        {"debug", no_argument, NULL, 'd'},
        {NULL, 0, NULL, 0},
    };
    int option;
    *options = (struct serve_options){.config = COMMAND_CONFIG};
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case 'c': options->config = optarg; break;
        case 'p': options->ports_file = optarg; break;
        case 'd': options->debug = true; break;
        default: optind = argc + 1; break;
        }
    }
    if (optind != argc)
        return command_fail(
            EX_USAGE, "usage: bulla-keyd serve [--config FILE] [--ports-file FILE] [--debug]");
    return 0;
}

static int pem_read(const char *path, bool is_private, char pem[SERVE_PEM_BYTES_MAX])
{
    struct stat info;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info) != 0) {
        const int error = errno;
        if (fd >= 0)
            (void)close(fd);
        return command_fail(EX_CONFIG, "%s: %s", path, strerror(error));
    }
    const ssize_t bytes = read(fd, pem, SERVE_PEM_BYTES_MAX - 1);
    (void)close(fd);
    if (is_private && (info.st_mode & 077) != 0)
        return command_fail(EX_CONFIG, "%s: others may read it; chmod 0600", path);
    if (bytes <= 0 || bytes == SERVE_PEM_BYTES_MAX - 1)
        return command_fail(EX_CONFIG, "%s: not a PEM file", path);
    pem[bytes] = '\0';
    return 0;
}

static int listener_bind(struct serve_listener *listener, const char *text)
{
    struct sockaddr_storage address;
    socklen_t bytes = 0;
    const int on = 1;
    listener->fd = -1;
    if (config_address(text, &address, &bytes) != 0)
        return command_fail(EX_CONFIG, "%s: not an address and a port", text);
    const int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return command_fail(EX_OSERR, "no socket: %s", strerror(errno));
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&address, bytes) != 0 || listen(fd, SERVE_BACKLOG) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &bytes) != 0) {
        const int error = errno;
        (void)close(fd);
        return command_fail(EX_OSERR, "%s: %s", text, strerror(error));
    }
    /* The port stands at the same place in both families' addresses. */
    listener->port = ntohs(((struct sockaddr_in *)&address)->sin_port);
    listener->fd = fd;
    return 0;
}

static int secrets_derive(struct service *service)
{
    char password[ACCOUNT_GENERATED_PASS_CHARS + 1];
    int rc = master_derive(service->master, "bulla-keyd csrf", service->csrf_secret);
    if (rc == 0)
        rc = master_derive(service->master, "bulla-keyd ticket", service->ticket_secret);
    if (rc == 0)
        rc = master_derive(service->master, "bulla-keyd code", service->code_secret);
    if (rc == 0)
        rc = master_derive(service->master, "bulla-keyd share", service->share_secret);
    if (rc == 0)
        rc = account_password_make(password);
    if (rc == 0)
        rc = account_password_hash(password, strlen(password), service->no_account);
    secret_wipe(password, sizeof(password));
    return rc;
}

static int parts_open(struct serve *serve)
{
    struct service *service = &serve->service;
    const struct config *config = &serve->config;
    char why[CONFIG_WHY_BYTES] = "";
    service->config = config;
    int rc = master_open(&service->master, config->master_key_file, why);
    if (rc != 0)
        return command_fail(EX_CONFIG, "%s", why);
    const struct store_config store_config = {.path = config->database,
                                              .master = service->master,
                                              .readers_count = SERVE_READERS,
                                              .serves = true};
    rc = store_open(&service->store, &store_config, why);
    if (rc == 0)
        rc = store_wrapping_check(service->store, why);
    if (rc != 0)
        return command_fail(EX_CONFIG, "%s", why);
    rc = pages_open(&service->pages, why);
    if (rc != 0)
        return command_fail(EX_SOFTWARE, "%s", why);
    rc = audit_open(&service->audit, config->audit);
    if (rc != 0)
        return command_fail(EX_CONFIG, "audit log %s: %s",
                            store_shares(service->store) ? "in the database" : config->audit_file,
                            strerror(-rc));
    audit_join(service->audit, service->store);
    const struct mail_config mail_config = {.smtp_relay = config->smtp_relay,
                                            .ca_file = config->smtp_ca_file,
                                            .tls = config->smtp_tls,
                                            .spool_dir = config->mail_spool_dir,
                                            .from = config->mail_from};
    if (config->smtp_tls == RELAY_TLS_TRY && config->smtp_relay[0] != '\0' &&
        !relay_near(config->smtp_relay))
        log_line(LOG_LEVEL_WARNING, "relay_unchecked",
                 "why=\"smtp_tls = try: whoever is on the way can have mail in the clear; write"
                 " require\"");
    rc = mail_open(&service->mail, &mail_config);
    const struct outbox_config outbox_config = {.store = service->store,
                                                .mail = service->mail,
                                                .audit = service->audit,
                                                .failed = api_write_failed,
                                                .context = service};
    if (rc == 0)
        rc = outbox_open(&service->outbox, &outbox_config);
    if (rc == 0)
        rc = guess_open(&service->guess);
    if (rc == 0)
        rc = pickup_open(&service->pickup);
    if (rc == 0)
        rc = online_open(&service->online);
    if (rc == 0)
        rc = secrets_derive(service);
    if (rc == 0) {
        guess_share(service->guess, service->store, service->share_secret);
        pickup_share(service->pickup, service->store, service->share_secret);
        online_share(service->online, service->store, service->share_secret);
    }
    return rc == 0 ? 0 : command_fail(EX_OSERR, "cannot start: %s", strerror(-rc));
}

static void parts_close(struct serve *serve)
{
    struct service *service = &serve->service;
    tend_close(service->tend);
    outbox_close(service->outbox);
    letters_close(service->letters);
    mail_close(service->mail);
    online_close(service->online);
    reader_close(service->reader);
    pickup_close(service->pickup);
    guess_close(service->guess);
    audit_close(service->audit);
    pages_close(service->pages);
    store_close(service->store);
    master_close(service->master);
}

static int listener_start(struct serve_listener *listener, const struct http_config *template,
                          uint32_t fast_count, uint32_t slow_count)
{
    char why[HTTP_WHY_BYTES] = "no memory";
    struct http_config config = *template;
    int rc = work_open(&listener->fast, fast_count, http_run);
    if (rc == 0 && slow_count > 0)
        rc = work_open(&listener->slow, slow_count, http_run);
    config.fast = listener->fast;
    config.slow = listener->slow;
    config.listen_fd = listener->fd;
    if (rc == 0)
        rc = http_open(&listener->http, &config, why);
    return rc == 0 ? 0 : command_fail(EX_CONFIG, "%s", why);
}

static int listeners_start(struct serve *serve)
{
    char host[CONFIG_TEXT_BYTES];
    const struct config *config = &serve->config;
    config_url_host(serve->service.public_url, host);
    struct http_config http_config = {
        .certificate_pem = serve->certificate,
        .private_key_pem = serve->private_key,
        .routes = public_routes,
        .routes_count = ARRAY_COUNT(public_routes),
        .missing = api_missing,
        .charge = api_online_charge,
        .uncharge = api_online_uncharge,
        .service = &serve->service,
        .connections_max = config->connections_max,
        .connections_per_address_max = config->connections_per_address_max,
        .head_s = config->request_head_s,
        .body_s = config->request_body_s,
        .idle_s = config->connection_idle_s,
        .threads_count = SERVE_LOOP_THREADS,
        /* A browser would apply it to every port of localhost, other people's programs included. */
        .strict_transport = strcmp(host, "localhost") != 0,
    };
    int status = listener_start(&serve->public, &http_config, SERVE_FAST_THREADS,
                                config->password_threads_count);
    if (status != 0)
        return status;
    http_config.client_ca_pem = serve->ca;
    http_config.routes = engine_routes;
    http_config.charge = NULL;
    http_config.uncharge = NULL;
    http_config.routes_count = ARRAY_COUNT(engine_routes);
    return listener_start(&serve->engine, &http_config, SERVE_ENGINE_THREADS, 0);
}

/* Lines NAME=VALUE, whole or not there: whoever waits for the file may read it at once. */
static int ports_write(const struct serve *serve, const char *path)
{
    char part[CONFIG_PATH_BYTES];
    if (snprintf(part, sizeof(part), "%s.part", path) >= (int)sizeof(part))
        return command_fail(EX_CANTCREAT, "%s: the name is too long", path);
    FILE *file = fopen(part, "we");
    if (file == NULL)
        return command_fail(EX_CANTCREAT, "%s: %s", part, strerror(errno));
    (void)fprintf(file, "public=%u\nengine=%u\npublic_url=%s\n", serve->public.port,
                  serve->engine.port, serve->service.public_url);
    if (fclose(file) != 0 || rename(part, path) != 0)
        return command_fail(EX_CANTCREAT, "%s: %s", path, strerror(errno));
    return 0;
}

static void anchor_log(struct serve *serve)
{
    uint64_t sequence = 0;
    char hash[AUDIT_HASH_CHARS + 1];
    if (audit_head(serve->service.audit, &sequence, hash) != 0)
        return; /* the database is away, which is in the log; the next round looks again */
    log_line(LOG_LEVEL_INFO, "audit_head", "seq=%" PRIu64 " hash=%s", sequence, hash);
}

static int sessions_prune(void *context)
{
    const struct service *service = context;
    const uint64_t now_ms = api_now_ms();
    const struct config *config = service->config;
    return store_prune(service->store, now_ms - config->session_life_s * UINT64_C(1000),
                       now_ms - config->session_idle_s * UINT64_C(1000), now_ms);
}

static int shared_prune(void *context)
{
    const struct service *service = context;
    if (!store_shares(service->store))
        return 0;
    const int rc = store_shared_prune(service->store);
    return rc == 0 ? store_parked_prune(service->store) : rc;
}

/* Of several services one does what the database needs; another, when that one has gone. */
static bool tend_mine(void *context)
{
    struct serve *serve = context;
    struct store *store = serve->service.store;
    const uint64_t now_ns = clock_monotonic_ns();
    if (!store_shares(store))
        return true;
    if (now_ns >= serve->lease_ask_ns) {
        serve->lease_held = store_lease_take(store, "tend", serve->node, SERVE_LEASE_S * NS_PER_S);
        serve->lease_ask_ns = now_ns + SERVE_LEASE_ASK_S * NS_PER_S;
    }
    return serve->lease_held;
}

static int rewrap_tend(void *context)
{
    const struct service *service = context;
    bool more = false;
    const int rc = store_rewrap_some(service->store, &more);
    return rc != 0 ? rc : more ? TEND_AGAIN : 0;
}

static int outbox_tend(void *context)
{
    const struct service *service = context;
    return outbox_prune(service->store, api_now_ms());
}

static int link_tend(void *context)
{
    const struct service *service = context;
    bool more = false;
    const int rc = store_link_prune(service->store, api_now_ms(), &more);
    return rc != 0 ? rc : more ? TEND_AGAIN : 0;
}

/* What is done of the database; what is this process's own is done by serve_wait(). */
static int tend_begin(struct serve *serve)
{
    struct service *service = &serve->service;
    int rc = tend_open(&service->tend, tend_mine, serve);
    if (rc == 0)
        rc = tend_add(service->tend, "prune", SERVE_PRUNE_S, sessions_prune, service);
    if (rc == 0)
        rc = tend_add(service->tend, "shared_prune", SERVE_PRUNE_S, shared_prune, service);
    if (rc == 0)
        rc = tend_add(service->tend, "outbox_prune", SERVE_PRUNE_S, outbox_tend, service);
    if (rc == 0)
        rc = tend_add(service->tend, "link_prune", SERVE_PRUNE_S, link_tend, service);
    if (rc == 0)
        rc = tend_add(service->tend, "rewrap", SERVE_REWRAP_S, rewrap_tend, service);
    if (rc == 0)
        rc = sent_tend(service->tend, service);
    if (rc == 0)
        rc = retention_tend(service->tend, service);
    if (rc == 0)
        rc = tend_start(service->tend);
    return rc == 0 ? 0 : command_fail(EX_OSERR, "cannot start: %s", strerror(-rc));
}

/* Until SIGTERM or SIGINT. */
static void serve_wait(struct serve *serve, const sigset_t *signals)
{
    const struct timespec pause = {.tv_sec = SERVE_PRUNE_S};
    uint64_t anchored_ns = 0;
    for (;;) {
        const uint64_t now_ns = clock_monotonic_ns();
        if (anchored_ns == 0 || now_ns - anchored_ns >= SERVE_ANCHOR_S * NS_PER_S) {
            anchor_log(serve);
            anchored_ns = now_ns;
        }
        const int signal_number = sigtimedwait(signals, NULL, &pause);
        if (signal_number == SIGTERM || signal_number == SIGINT)
            return;
        online_prune(serve->service.online, clock_monotonic_ns());
    }
}

static void listener_stop(struct serve_listener *listener)
{
    if (listener->http != NULL)
        http_quiesce(listener->http);
    const uint64_t until_ns = clock_monotonic_ns() + SERVE_DRAIN_S * NS_PER_S;
    while (listener->http != NULL && http_busy_count(listener->http) > 0 &&
           clock_monotonic_ns() < until_ns)
        (void)usleep(10000);
    work_close(listener->fast); /* what is queued is finished, so nothing stays suspended */
    work_close(listener->slow);
    http_close(listener->http);
}

/* Envelopes that are written here name the address that was really taken. */
static int letters_start(struct service *service)
{
    char why[LETTER_WHY_BYTES] = "no memory";
    config_url_host(service->public_url, service->host);
    if (letters_open(&service->letters, service->public_url, service->host, why) == 0)
        return 0;
    return command_fail(EX_CONFIG, "public_url: %s", why);
}

static int serve_start(struct serve *serve, const struct serve_options *options)
{
    char why[CONFIG_WHY_BYTES];
    if (config_read(&serve->config, options->config, why) != 0)
        return command_fail(EX_CONFIG, "%s", why);
    /* Made while this process has no secret and no other thread. */
    const int rc = reader_open(&serve->service.reader, serve->config.user);
    if (rc != 0)
        return command_fail(EX_OSERR, "cannot start the process that reads mail: %s",
                            strerror(-rc));
    int status = pem_read(serve->config.certificate_file, false, serve->certificate);
    if (status == 0)
        status = pem_read(serve->config.private_key_file, true, serve->private_key);
    if (status == 0)
        status = pem_read(serve->config.ca_certificate_file, false, serve->ca);
    if (status == 0)
        status = listener_bind(&serve->public, serve->config.listen);
    if (status == 0)
        status = listener_bind(&serve->engine, serve->config.engine_listen);
    /* Behind what needs root's rights, before any thread and any secret. */
    if (status == 0)
        status = serve_confine(&serve->config, options->ports_file);
    if (status == 0)
        status = parts_open(serve);
    if (status != 0)
        return status;
    if (serve->config.public_url[0] != '\0')
        (void)snprintf(serve->service.public_url, sizeof(serve->service.public_url), "%s",
                       serve->config.public_url);
    else
        (void)snprintf(serve->service.public_url, sizeof(serve->service.public_url),
                       "https://localhost:%u", serve->public.port);
    status = letters_start(&serve->service);
    if (status == 0)
        status = listeners_start(serve);
    if (status == 0)
        status = tend_begin(serve);
    if (status == 0 && options->ports_file != NULL)
        status = ports_write(serve, options->ports_file);
    return status;
}

int command_serve(int argc, char **argv)
{
    struct serve_options options;
    sigset_t signals;
    int status = options_read(&options, argc, argv);
    if (status != 0)
        return status;
    log_init("bulla-keyd", options.debug ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
    /* Blocked before any thread is made, so that every thread leaves them to serve_wait(). */
    startup_block_signals(&signals);
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
    api_json_init();

    struct serve *serve = calloc(1, sizeof(*serve));
    if (serve == NULL)
        return command_fail(EX_OSERR, "no memory");
    if (getrandom(serve->node, sizeof(serve->node), 0) != (ssize_t)sizeof(serve->node)) {
        free(serve);
        return command_fail(EX_OSERR, "no random numbers");
    }
    serve->public.fd = -1;
    serve->engine.fd = -1;
    status = serve_start(serve, &options);
    if (status == 0) {
        log_line(LOG_LEVEL_INFO, "ready", "public_url=%s public_port=%u engine_port=%u",
                 serve->service.public_url, serve->public.port, serve->engine.port);
        (void)sd_notify(0, "READY=1");
        serve_wait(serve, &signals);
        (void)sd_notify(0, "STOPPING=1");
        log_line(LOG_LEVEL_INFO, "draining", "busy=%u",
                 http_busy_count(serve->public.http) + http_busy_count(serve->engine.http));
    }
    listener_stop(&serve->engine);
    listener_stop(&serve->public);
    parts_close(serve);
    secret_wipe(serve, sizeof(*serve));
    free(serve);
    curl_global_cleanup();
    return status;
}
