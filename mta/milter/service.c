#include "mta/milter/service.h"

#include "base/clock.h"
#include "base/log.h"
#include "mta/milter/collector.h"
#include "mta/milter/filter.h"
#include "mta/milter/hub.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <libmilter/mfapi.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#define SERVICE_BACKLOG     100
#define SERVICE_PATIENCE_MS 3000 /* an engine that restarts is back by then */
#define SERVICE_LOOK_MS     50
#define HEADER_BYTES_SPARE  ((size_t)4 << 20) /* a message's header counts too */

/* Written by the handler, which may do little else. */
static volatile sig_atomic_t reload_wanted;
static volatile sig_atomic_t stop_wanted;
static int wake_fd = -1;
static _Atomic bool milter_ended;

static void on_signal(int number)
{
    const int error = errno;
    const uint64_t one = 1;
    if (number == SIGHUP)
        reload_wanted = 1;
    else
        stop_wanted = 1;
    const ssize_t written = write(wake_fd, &one, sizeof(one));
    (void)written;
    errno = error;
}

static void signals_set(sigset_t *ours)
{
    (void)sigemptyset(ours);
    (void)sigaddset(ours, SIGHUP);
    (void)sigaddset(ours, SIGTERM);
    (void)sigaddset(ours, SIGINT);
}

/* Every thread that is made from here on leaves them to the first. */
static int signals_open(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigset_t ours;
    wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake_fd < 0)
        return -errno;
    signals_set(&ours);
    (void)pthread_sigmask(SIG_BLOCK, &ours, NULL);
    (void)sigaction(SIGHUP, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGINT, &action, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    return 0;
}

/* libmilter has a thread that waits for the same signals and would end the service at SIGHUP. The
 * kernel gives a process's signal to its first thread when that does not block it. */
static void signals_begin(void)
{
    sigset_t ours;
    signals_set(&ours);
    (void)pthread_sigmask(SIG_UNBLOCK, &ours, NULL);
}

static const char *unix_path(const char *socket)
{
    if (strncmp(socket, "unix:", 5) == 0)
        return socket + 5;
    return strncmp(socket, "local:", 6) == 0 ? socket + 6 : NULL;
}

/* NULL, or what is to be mended. */
static const char *socket_grant(const struct config_milter *milter, const char *path)
{
    if (milter->socket_group[0] != '\0') {
        const struct group *group = getgrnam(milter->socket_group);
        if (group == NULL)
            return "there is no group as socket_group names it: name the mail server's own";
        if (chown(path, (uid_t)-1, group->gr_gid) != 0)
            return "this user may not give it to socket_group: put bulla-milter into that group";
    }
    return chmod(path, (mode_t)milter->socket_mode) == 0 ? NULL : "socket_mode cannot be set";
}

/* libmilter would take it from under whoever serves it. */
static bool socket_is_served(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path))
        return false;
    memcpy(address.sun_path, path, strlen(path));
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* EAGAIN: it is, and has many waiting. */
    const bool served =
        fd >= 0 &&
        (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 || errno == EAGAIN);
    if (fd >= 0)
        (void)close(fd);
    return served;
}

/* Why a socket could not be opened: libmilter keeps that to itself. */
static const char *socket_why(const char *path)
{
    char folder[sizeof(((struct config_milter *)0)->socket)];
    struct stat status;
    if (path == NULL)
        return "write unix:/path, or inet:port@host with an address of this machine and a free "
               "port";
    (void)snprintf(folder, sizeof(folder), "%s", path);
    if (stat(dirname(folder), &status) != 0 || !S_ISDIR(status.st_mode))
        return "its folder is not there: make it, or let systemd do so (RuntimeDirectory)";
    (void)snprintf(folder, sizeof(folder), "%s", path);
    if (access(dirname(folder), W_OK | X_OK) != 0)
        return "this user may not write to its folder: give the folder to bulla-milter's user";
    if (lstat(path, &status) == 0 && !S_ISSOCK(status.st_mode))
        return "something else than a socket stands there: take it away";
    return "it cannot be bound";
}

/* NULL, or what is to be mended. */
static const char *socket_open(const struct config_milter *milter)
{
    char socket[sizeof(milter->socket)];
    const char *path = unix_path(milter->socket);
    memcpy(socket, milter->socket, sizeof(socket));
    if (path != NULL && socket_is_served(path))
        return "another program serves it: end that one first";
    if (smfi_setconn(socket) != MI_SUCCESS || smfi_setbacklog(SERVICE_BACKLOG) != MI_SUCCESS)
        return "write unix:/path, or inet:port@host";
    const mode_t before = umask(0177); /* nobody else before it is granted */
    const int rc = smfi_opensocket(path != NULL);
    (void)umask(before);
    if (rc != MI_SUCCESS)
        return socket_why(path);
    return path == NULL ? NULL : socket_grant(milter, path);
}

static void *milter_run(void *context)
{
    (void)context;
    (void)smfi_main();
    atomic_store(&milter_ended, true);
    const uint64_t one = 1;
    const ssize_t written = write(wake_fd, &one, sizeof(one));
    (void)written;
    return NULL;
}

static size_t mail_bytes_most(const struct config *config)
{
    uint64_t most = 0;
    for (uint32_t i = 0; i < config->profiles_count; i++)
        most = MAX(most, config->profiles[i].mail_bytes_max);
    return (size_t)most + HEADER_BYTES_SPARE;
}

static void service_reload(const char *config_path, struct config *config)
{
    char why[CONFIG_WHY_BYTES] = "";
    struct config *fresh = calloc(1, sizeof(*fresh));
    if (fresh == NULL || config_load_milter(fresh, config_path, why) != 0 ||
        filter_reload(fresh) != 0) {
        log_line(LOG_LEVEL_ERROR, "reload", "result=failed why=\"%s\"",
                 why[0] == '\0' ? "out of memory" : why);
        free(fresh);
        return;
    }
    const struct config_milter *now = &fresh->milter;
    const struct config_milter *was = &config->milter;
    if (strcmp(now->socket, was->socket) != 0 || strcmp(now->reinject, was->reinject) != 0 ||
        strcmp(fresh->engine.socket, config->engine.socket) != 0 ||
        now->memory_bytes != was->memory_bytes || now->timeout_s != was->timeout_s ||
        now->connections != was->connections || strcmp(now->mark_key, was->mark_key) != 0 ||
        mail_bytes_most(fresh) > mail_bytes_most(config))
        log_line(
            LOG_LEVEL_WARNING, "reload",
            "restart_needed=yes why=\"sockets, bounds and size limits are taken at the start\"");
    log_line(LOG_LEVEL_INFO, "reload", "result=done profiles=%u", fresh->profiles_count);
    free(fresh);
}

/* Until a signal ends it, or libmilter does; true: we were told to. */
static bool service_wait(const char *config_path, struct config *config)
{
    struct pollfd bell = {.fd = wake_fd, .events = POLLIN};
    uint64_t rings;
    while (stop_wanted == 0 && !atomic_load(&milter_ended)) {
        if (reload_wanted != 0) {
            reload_wanted = 0;
            service_reload(config_path, config);
        }
        (void)poll(&bell, 1, -1);
        const ssize_t got = read(wake_fd, &rings, sizeof(rings));
        (void)got;
    }
    return stop_wanted != 0;
}

/* What is under way is answered; then, or when time is up, everything ends. smfi_stop() would break
 * off what is under way, and waits for its listener; the end of the process does as well. */
static void service_drain(const struct config *config)
{
    const uint64_t end_ns = clock_monotonic_ns() + config->milter.drain_s * NS_PER_S;
    filter_stop();
    while (filter_messages_count() > 0 && clock_monotonic_ns() < end_ns)
        (void)poll(NULL, 0, SERVICE_LOOK_MS);
    log_line(LOG_LEVEL_INFO, "stopped", "messages=%u", filter_messages_count());
}

static int pid_write(const char *pid_file)
{
    if (pid_file == NULL)
        return 0;
    FILE *file = fopen(pid_file, "we");
    if (file == NULL)
        return -errno;
    const int said = fprintf(file, "%ld\n", (long)getpid());
    return fclose(file) == 0 && said > 0 ? 0 : -EIO;
}

static int service_fault(int code, const char *what, int rc)
{
    log_line(LOG_LEVEL_ERROR, "start", "why=\"%s: %s\"", what, strerror(-rc));
    return code;
}

static int service_serve(const char *config_path, struct config *config)
{
    pthread_t thread;
    const char *why = socket_open(&config->milter);
    if (why != NULL) {
        log_line(LOG_LEVEL_ERROR, "start", "socket=%s why=\"%s\"", config->milter.socket, why);
        return EX_UNAVAILABLE;
    }
    int rc = -pthread_create(&thread, NULL, milter_run, NULL);
    if (rc != 0)
        return service_fault(EX_OSERR, "no thread", rc);
    signals_begin();
    log_line(LOG_LEVEL_INFO, "ready", "socket=%s engine=%s profiles=%u", config->milter.socket,
             config->engine.socket, config->profiles_count);
    const bool told = service_wait(config_path, config);
    service_drain(config);
    const char *path = unix_path(config->milter.socket);
    if (path != NULL)
        (void)unlink(path);
    /* libmilter may have taken a signal that was ours: whoever watches starts the service anew. */
    return told ? 0 : EX_TEMPFAIL;
}

/* None without an SMTP listener: the engine is then never asked to keep anything. */
static int collector_begin(struct collector **collector, const struct config *config,
                           const struct mark_key *mark_key)
{
    const struct collector_config wanted = {
        .socket_path = config->engine.socket,
        .address = config->milter.reinject,
        .hostname = config->milter.hostname,
        .mark_key = mark_key,
        .connections = config->milter.connections,
        .drain_s = config->milter.drain_s,
    };
    return config->milter.reinject[0] == '\0' ? 0 : collector_open(collector, &wanted);
}

int service_run(const char *config_path, const char *pid_file, struct config *config)
{
    struct hub *hub = NULL;
    struct collector *collector = NULL;
    static struct mark_key mark_key; /* as long as libmilter's threads may look at it */
    int rc =
        config->milter.mark_key[0] == '\0' ? 0 : mark_key_read(&mark_key, config->milter.mark_key);
    if (rc != 0)
        return service_fault(EX_CONFIG, "mark_key is not 32 to 1024 bytes", rc);
    rc = signals_open();
    if (rc != 0)
        return service_fault(EX_OSERR, "signals", rc);
    rc = pid_write(pid_file);
    if (rc != 0)
        return service_fault(EX_CANTCREAT, pid_file, rc);
    const struct hub_config hub_config = {
        .socket_path = config->engine.socket,
        .mail_bytes_max = mail_bytes_most(config),
        .timeout_ms = config->milter.timeout_s * 1000,
        .patience_ms = SERVICE_PATIENCE_MS,
    };
    int code = EX_OSERR;
    rc = hub_open(&hub, &hub_config);
    if (rc != 0) {
        code = service_fault(EX_OSERR, "hub", rc);
        goto remove_pid;
    }
    rc = filter_open(config, hub, &mark_key);
    if (rc != 0) {
        code = service_fault(EX_SOFTWARE, "libmilter", rc);
        goto close_hub;
    }
    rc = collector_begin(&collector, config, &mark_key);
    if (rc != 0) {
        code = service_fault(EX_CONFIG, "reinject", rc);
        goto close_filter;
    }
    code = service_serve(config_path, config);
    collector_close(collector);
    if (filter_messages_count() > 0)
        goto remove_pid; /* libmilter's threads still hold the hub; the process ends with them */
close_filter:
    filter_close();
close_hub:
    hub_close(hub);
remove_pid:
    if (pid_file != NULL)
        (void)unlink(pid_file);
    return code;
}
