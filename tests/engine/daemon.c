#include "tests/engine/daemon.h"

#include "base/clock.h"
#include "base/macros.h"
#include "envelope/unsealed.h"
#include "ipc/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define PAUSE_MS 10

/* Short, since some tests wait for it to pass within the drain; ThreadSanitizer slows all of it. */
#ifdef __SANITIZE_THREAD__
#define KEY_WAIT "8s"
#else
#define KEY_WAIT "2s"
#endif

const char *daemon_size_limit = DAEMON_SIZE_LIMIT;

static void pause_ms(uint32_t ms)
{
    const struct timespec pause = {.tv_nsec = (long)(ms * NS_PER_MS)};
    (void)nanosleep(&pause, NULL);
}

void daemon_write_config(const struct daemon *daemon, const char *engine, const char *profiles)
{
    FILE *file = fopen(daemon->config, "we");
    assert_non_null(file);
    assert_true(
        fprintf(file,
                "engine {\n socket = \"%s\"\n key_wait = " KEY_WAIT "\n drain = 10s\n %s\n}\n"
                "key_service \"main\" {\n url = \"https://keys.example.com\"\n engine_url = "
                "\"%s\"\n ca = \"ca.pem\"\n certificate = \"engine.pem\"\n private_key = "
                "\"engine.key\"\n timeout = " KEY_WAIT "\n}\n"
                "profile \"default\" {\n key_service = \"main\"\n size_limit = %s\n}\n%s",
                daemon->socket, engine, stand_in_url(daemon->service), daemon_size_limit,
                profiles) > 0);
    assert_int_equal(fclose(file), 0);
}

static void daemon_exec(const struct daemon *daemon, uid_t uid)
{
    const int log = open(daemon->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (log < 0 || dup2(log, STDERR_FILENO) < 0 || dup2(log, STDOUT_FILENO) < 0)
        _exit(126);
    if (uid != 0 && (setgroups(0, NULL) != 0 || setgid(uid) != 0 || setuid(uid) != 0))
        _exit(126);
    /* A test that fails leaves no daemon behind. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
        _exit(126);
    const char *other = getenv("BULLA_TEST_BULLAD"); /* tools/mutate's */
    (void)execl(other != NULL ? other : BULLAD_PATH, "bullad", "--config", daemon->config,
                (char *)NULL);
    _exit(127);
}

static void daemon_print_log(const struct daemon *daemon)
{
    char line[1024];
    FILE *file = fopen(daemon->log, "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        print_error("bullad: %s", line);
    if (file != NULL)
        (void)fclose(file);
}

static bool daemon_answers(const struct daemon *daemon)
{
    struct bulla *bulla;
    const struct bulla_config config = {
        .socket_path = daemon->socket, .slots_count = IPC_SLOTS_MIN, .input_bytes = 1};
    if (bulla_attach(&bulla, &config) != 0)
        return false;
    bulla_detach(bulla);
    return true;
}

/* As the daemon's own user the files must be readable for it. */
static void daemon_give_files(const struct daemon *daemon, uid_t uid)
{
    if (uid == 0)
        return;
    assert_int_equal(chown(stand_in_folder(daemon->service), uid, uid), 0);
    assert_int_equal(chown(stand_in_ca(daemon->service), uid, uid), 0);
    assert_int_equal(chown(stand_in_certificate(daemon->service), uid, uid), 0);
    assert_int_equal(chown(stand_in_private_key(daemon->service), uid, uid), 0);
}

void daemon_start(struct daemon *daemon, const char *engine, const char *profiles, uid_t uid)
{
    memset(daemon, 0, sizeof(*daemon));
    daemon->service = stand_in_open();
    const char *folder = stand_in_folder(daemon->service);
    (void)snprintf(daemon->socket, sizeof(daemon->socket), "%s/e.sock", folder);
    (void)snprintf(daemon->config, sizeof(daemon->config), "%s/bulla.conf", folder);
    (void)snprintf(daemon->log, sizeof(daemon->log), "%s/log", folder);
    daemon_write_config(daemon, engine, profiles);
    daemon_give_files(daemon, uid);
    daemon_launch(daemon, uid);
}

void daemon_launch(struct daemon *daemon, uid_t uid)
{
    int status;
    daemon->pid = fork();
    assert_true(daemon->pid >= 0);
    if (daemon->pid == 0)
        daemon_exec(daemon, uid);
    for (uint32_t ms = 0; ms < DAEMON_WAIT_MS; ms += PAUSE_MS) {
        if (daemon_answers(daemon))
            return;
        if (waitpid(daemon->pid, &status, WNOHANG) != 0)
            break;
        pause_ms(PAUSE_MS);
    }
    daemon_print_log(daemon);
    fail_msg("bullad does not come up");
}

int daemon_stop(struct daemon *daemon)
{
    int status = 0;
    assert_int_equal(kill(daemon->pid, SIGTERM), 0);
    for (uint32_t ms = 0; ms < DAEMON_WAIT_MS; ms += PAUSE_MS) {
        if (waitpid(daemon->pid, &status, WNOHANG) == daemon->pid) {
            if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
                daemon_print_log(daemon);
            return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
        }
        pause_ms(PAUSE_MS);
    }
    daemon_print_log(daemon);
    (void)kill(daemon->pid, SIGKILL);
    (void)waitpid(daemon->pid, &status, 0);
    fail_msg("bullad does not end");
    return -1;
}

void daemon_fini(struct daemon *daemon)
{
    static const char *const names[] = {"e.sock", "e.sock.lock", "bulla.conf", "log",
                                        "dpdk/bulla/dpdk_telemetry.v2"};
    static const char *const folders[] = {"dpdk/bulla", "dpdk"};
    char path[DAEMON_PATH_BYTES + 64];
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", stand_in_folder(daemon->service), names[i]);
        (void)unlink(path);
    }
    for (size_t i = 0; i < ARRAY_COUNT(folders); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", stand_in_folder(daemon->service), folders[i]);
        (void)rmdir(path);
    }
    stand_in_close(daemon->service);
}

static bool log_holds(const struct daemon *daemon, const char *text)
{
    char line[2048];
    bool found = false;
    FILE *file = fopen(daemon->log, "re");
    assert_non_null(file);
    while (!found && fgets(line, sizeof(line), file) != NULL)
        found = strstr(line, text) != NULL;
    (void)fclose(file);
    return found;
}

bool daemon_logged(const struct daemon *daemon, const char *text)
{
    for (uint32_t ms = 0; ms < DAEMON_WAIT_MS; ms += PAUSE_MS) {
        if (log_holds(daemon, text))
            return true;
        pause_ms(PAUSE_MS);
    }
    daemon_print_log(daemon);
    return false;
}

struct outcome daemon_seal(const struct daemon *daemon, const char *profile, uint32_t flags,
                           const void *mail, size_t mail_bytes)
{
    const char *const recipients[] = {"b@example.org", "c@example.net"};
    const struct bulla_config config = {.socket_path = daemon->socket};
    const struct bulla_request request = {.profile = profile,
                                          .sender = "a@example.com",
                                          .recipients = recipients,
                                          .recipients_count = 2,
                                          .flags = flags,
                                          .mail_bytes = mail_bytes};
    struct outcome outcome = {0};
    outcome.rc =
        bulla_seal_one(&config, &request, mail, DAEMON_WAIT_MS, &outcome.status, &outcome.sealed,
                       &outcome.sealed_bytes, outcome.why, sizeof(outcome.why));
    return outcome;
}

void daemon_expect_opens(const struct daemon *daemon, const struct outcome *outcome,
                         const void *mail, size_t mail_bytes)
{
    struct crypto_core *core;
    struct unsealed unsealed;
    uint8_t key[32];
    uint8_t *opened = NULL;
    size_t opened_bytes = 0;
    if (outcome->rc != 0 || outcome->status != BULLA_SEALED)
        print_error("rc %d status %d: %s\n", outcome->rc, (int)outcome->status, outcome->why);
    assert_int_equal(outcome->rc, 0);
    assert_int_equal(outcome->status, BULLA_SEALED);
    assert_int_equal(crypto_core_open(&core, isa_best()), 0);
    assert_int_equal(unsealed_read(&unsealed, outcome->sealed, outcome->sealed_bytes), 0);
    assert_true(stand_in_has(daemon->service, unsealed.id.bytes, key));
    assert_int_equal(unsealed_open(&unsealed, core, key, &opened, &opened_bytes), 0);
    assert_int_equal(opened_bytes, mail_bytes);
    if (mail_bytes > 0)
        assert_memory_equal(opened, mail, mail_bytes);
    free(opened);
    unsealed_fini(&unsealed);
    crypto_core_close(core);
}

uint8_t *daemon_mail(size_t bytes, uint32_t seed)
{
    static const char header[] = "From: Alice <a@example.com>\r\nTo: b@example.org\r\n"
                                 "Subject: quarterly figures\r\nMIME-Version: 1.0\r\n\r\n";
    static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t *mail = malloc(bytes + 1);
    uint32_t state = seed * 2654435761U + 1;
    assert_non_null(mail);
    for (size_t i = 0; i < bytes; i++) {
        state = state * 1664525 + 1013904223;
        if (i < sizeof(header) - 1)
            mail[i] = (uint8_t)header[i];
        else if ((i - sizeof(header)) % 78 >= 76)
            mail[i] = (i - sizeof(header)) % 78 == 76 ? '\r' : '\n';
        else /* half of it base64 lines, half any bytes */
            mail[i] = i < bytes / 2 ? (uint8_t)base64[state >> 26] : (uint8_t)(state >> 24);
    }
    mail[bytes] = 0;
    return mail;
}

char *daemon_ask(const struct daemon *daemon, const char *question)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const struct ipc_hello hello = {
        .magic = IPC_MAGIC_CLIENT, .version = IPC_VERSION, .kind = IPC_KIND_CONTROL};
    struct ipc_welcome welcome;
    const size_t room = 256 * 1024;
    char *answer = calloc(1, room);
    assert_non_null(answer);
    assert_true(strlen(daemon->socket) < sizeof(address.sun_path));
    memcpy(address.sun_path, daemon->socket, strlen(daemon->socket));
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(send(fd, &hello, sizeof(hello), MSG_NOSIGNAL), sizeof(hello));
    assert_int_equal(recv(fd, &welcome, sizeof(welcome), 0), sizeof(welcome));
    assert_int_equal(welcome.error, 0);
    assert_int_equal(send(fd, question, strlen(question), MSG_NOSIGNAL), strlen(question));
    assert_true(recv(fd, answer, room - 1, 0) > 0);
    (void)close(fd);
    return answer;
}

void daemon_expect_answer(const struct daemon *daemon, const char *question, const char *text)
{
    for (uint32_t ms = 0;; ms += PAUSE_MS) {
        char *answer = daemon_ask(daemon, question);
        const bool holds = strstr(answer, text) != NULL;
        if (!holds && ms >= DAEMON_WAIT_MS)
            fail_msg("%s: no %s in %s", question, text, answer);
        free(answer);
        if (holds)
            return;
        pause_ms(PAUSE_MS);
    }
}
