#include "base/clock.h"
#include "bench/peer.h"
#include "bench/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define PEER_AGE_SEED  UINT64_C(0x616765)
#define PEER_AGE_MAX_S 60 /* of one message */

struct peer_age {
    char recipient[128]; /* "age1…" */
    int mail_fd;         /* in memory: the message that it reads */
    posix_spawn_file_actions_t actions;
};

/* A key of our own, whose private half is kept nowhere. */
static int peer_age_key(struct peer_age *peer, char why[MAILSET_WHY_BYTES])
{
    static const char *const make[] = {"age-keygen", NULL};
    char said[512] = "";
    if (!process_on_path("age") || !process_on_path("age-keygen")) {
        (void)snprintf(why, MAILSET_WHY_BYTES, "age is not on this machine");
        return -ENOTSUP;
    }
    int rc = process_run(make, NULL, 10, said, sizeof(said));
    const char *at = strstr(said, "public key: ");
    if (rc == 0 && (at == NULL || sscanf(at, "public key: %127s", peer->recipient) != 1))
        rc = -EIO;
    if (rc != 0)
        (void)snprintf(why, MAILSET_WHY_BYTES, "age-keygen made no key");
    return rc;
}

static int peer_age_open(struct peer_age *peer, char why[MAILSET_WHY_BYTES])
{
    int rc = peer_age_key(peer, why);
    if (rc != 0)
        return rc;
    peer->mail_fd = memfd_create("bulla-age", MFD_CLOEXEC);
    if (peer->mail_fd < 0)
        return -errno;
    rc = posix_spawn_file_actions_init(&peer->actions);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(&peer->actions, peer->mail_fd, STDIN_FILENO);
    if (rc == 0)
        rc = posix_spawn_file_actions_addopen(&peer->actions, STDOUT_FILENO, "/dev/null", O_WRONLY,
                                              0);
    return -rc;
}

static void peer_age_close(struct peer_age *peer)
{
    if (peer->mail_fd < 0)
        return;
    (void)posix_spawn_file_actions_destroy(&peer->actions);
    (void)close(peer->mail_fd);
}

/* 0 when it ended well; -ETIMEDOUT after it was killed. */
static int peer_age_wait(pid_t pid)
{
    int status = 0;
    const int watch_fd = pidfd_open(pid, 0);
    struct pollfd watch = {.fd = watch_fd, .events = POLLIN};
    const bool late = watch_fd < 0 || poll(&watch, 1, PEER_AGE_MAX_S * 1000) != 1;
    if (late)
        (void)kill(pid, SIGKILL);
    (void)waitpid(pid, &status, 0);
    if (watch_fd >= 0)
        (void)close(watch_fd);
    if (late)
        return -ETIMEDOUT;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}

static int peer_age_one(const struct peer_age *peer, const struct mailset_mail *mail)
{
    const char *const argv[] = {"age", "--armor", "--recipient", peer->recipient, NULL};
    pid_t pid;
    if (ftruncate(peer->mail_fd, 0) != 0 ||
        pwrite(peer->mail_fd, mail->bytes_at, mail->bytes, 0) != (ssize_t)mail->bytes ||
        lseek(peer->mail_fd, 0, SEEK_SET) != 0)
        return -EIO;
    const int rc =
        -posix_spawnp(&pid, argv[0], &peer->actions, NULL, (char *const *)(uintptr_t)argv, environ);
    return rc == 0 ? peer_age_wait(pid) : rc;
}

int peer_age(const struct mailset *set, uint64_t duration_ns, struct peer_rate *rate,
             char why[MAILSET_WHY_BYTES])
{
    struct peer_age peer = {.mail_fd = -1};
    int rc = peer_age_open(&peer, why);
    uint64_t state = PEER_AGE_SEED;
    if (rc == 0)
        rc = peer_age_one(&peer, mailset_pick(set, mailset_random(&state))); /* untimed */
    const uint64_t start_ns = clock_monotonic_ns();
    uint64_t now_ns = start_ns;
    memset(rate, 0, sizeof(*rate));
    while (rc == 0 && (now_ns - start_ns < duration_ns || rate->messages < PEER_MESSAGES_MIN)) {
        const struct mailset_mail *mail = mailset_pick(set, mailset_random(&state));
        rc = peer_age_one(&peer, mail);
        rate->messages++;
        rate->bytes += mail->bytes;
        now_ns = clock_monotonic_ns();
    }
    rate->seconds = (double)(now_ns - start_ns) / (double)NS_PER_S;
    peer_age_close(&peer);
    if (rc != 0 && why[0] == '\0')
        (void)snprintf(why, MAILSET_WHY_BYTES, "age: %s", strerror(-rc));
    return rc;
}
