#include "keyservice/server/mail/reader.h"

#include "base/log.h"
#include "crypto/secret.h"
#include "keyservice/server/confine.h"
#include "keyservice/server/mail/mailview.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct reader {
    pthread_mutex_t mutex;
    pid_t pid;
    int fd;
};

/* Both ways, before the bytes. */
struct reader_head {
    uint32_t part;
    int32_t status; /* of an answer; 0, or a negative errno without bytes */
    uint64_t bytes;
};
_Static_assert(sizeof(struct reader_head) == 16, "no holes");

/* What a child and the process that waits for it share. */
struct reader_result {
    int32_t status;
    uint64_t bytes;
    uint8_t items[];
};

static int bytes_send(int fd, const void *bytes_at, size_t bytes)
{
    const uint8_t *at = bytes_at;
    while (bytes > 0) { /* every round moves on */
        const ssize_t sent = send(fd, at, bytes, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return -EIO;
        at += sent;
        bytes -= (size_t)sent;
    }
    return 0;
}

static int bytes_receive(int fd, void *bytes_at, size_t bytes)
{
    uint8_t *at = bytes_at;
    while (bytes > 0) { /* every round moves on */
        const ssize_t received = recv(fd, at, bytes, 0);
        if (received < 0 && errno == EINTR)
            continue;
        if (received <= 0)
            return -EIO;
        at += received;
        bytes -= (size_t)received;
    }
    return 0;
}

static size_t room_for(const struct reader_head *head)
{
    return head->part == 0 ? MAILVIEW_SHOW_BYTES_MAX
                           : (size_t)head->bytes + MAILVIEW_PART_SLACK_BYTES;
}

static void limits_set(void)
{
    const struct rlimit cpu = {.rlim_cur = READER_CPU_S, .rlim_max = READER_CPU_S};
    (void)setrlimit(RLIMIT_CPU, &cpu);
#ifndef __SANITIZE_ADDRESS__ /* which maps terabytes that it never touches */
    const struct rlimit memory = {.rlim_cur = READER_MEMORY_BYTES, .rlim_max = READER_MEMORY_BYTES};
    (void)setrlimit(RLIMIT_AS, &memory);
#endif
}

/* In the child: reads the mail and ends. */
static _Noreturn void child_run(const struct reader_head *head, const uint8_t *mail,
                                struct reader_result *result)
{
    size_t bytes = 0;
    char why[CONFINE_WHY_BYTES];
    struct confine_result confined;
    limits_set();
    if (confine_calls(&confined, why) != 0)
        _exit(1);
    result->status = mailview_write(result->items, room_for(head), &bytes, mail,
                                    (size_t)head->bytes, head->part);
    result->bytes = bytes;
    _exit(0);
}

/* One mail by a child of its own: what it wrote stands in `result`, if it came to its end. */
static int child_read(const struct reader_head *head, const uint8_t *mail,
                      struct reader_result *result)
{
    int how = 0;
    const pid_t pid = fork();
    if (pid < 0)
        return -EAGAIN;
    if (pid == 0)
        child_run(head, mail, result);
    while (waitpid(pid, &how, 0) < 0)
        if (errno != EINTR)
            return -EAGAIN;
    if (!WIFEXITED(how) || WEXITSTATUS(how) != 0 || result->bytes > room_for(head))
        return -EBADMSG;
    return result->status;
}

static void *map_memory(size_t bytes, int flags)
{
    void *mapped = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
    return mapped == MAP_FAILED ? NULL : mapped;
}

/* One request: false when the service is gone. */
static bool request_serve(int fd)
{
    struct reader_head head;
    struct reader_head answer = {.status = -ENOMEM};
    if (bytes_receive(fd, &head, sizeof(head)) != 0 || head.bytes > READER_MAIL_BYTES_MAX)
        return false;
    const size_t mail_bytes = (size_t)head.bytes;
    const size_t result_bytes = sizeof(struct reader_result) + room_for(&head);
    uint8_t *mail = map_memory(mail_bytes + 1, MAP_PRIVATE);
    struct reader_result *result = map_memory(result_bytes, MAP_SHARED);
    bool there = mail != NULL && bytes_receive(fd, mail, mail_bytes) == 0;
    if (there && result != NULL) {
        answer.status = child_read(&head, mail, result);
        answer.bytes = answer.status == 0 ? result->bytes : 0;
    }
    there = there && bytes_send(fd, &answer, sizeof(answer)) == 0 &&
            (answer.bytes == 0 || bytes_send(fd, result->items, (size_t)answer.bytes) == 0);
    /* Pages that are given back are cleared by the kernel before anybody has them. */
    if (mail != NULL)
        (void)munmap(mail, mail_bytes + 1);
    if (result != NULL)
        (void)munmap(result, result_bytes);
    return there;
}

/* No file beside the system's tables, no address: what neither child nor parent needs. */
static int reader_confine(const char *user)
{
    char why[CONFINE_WHY_BYTES];
    const struct confine_config config = {.paths_count = 0};
    struct confine_result result;
    int rc = confine_user(user, why);
    if (rc == 0)
        rc = confine_files(&config, &result, why);
    if (rc == -ENOTSUP) /* this kernel has no Landlock: the service says so itself */
        rc = 0;
    if (rc != 0)
        log_line(LOG_LEVEL_ERROR, "reader_confine_failed", "errno=%d", -rc);
    return rc;
}

static _Noreturn void reader_run(int fd, const char *user)
{
    (void)prctl(PR_SET_NAME, "bulla-keyd read");
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    (void)prctl(PR_SET_DUMPABLE, 0);
    mailview_init(); /* which loads what reads charsets: a child cannot */
    if (reader_confine(user) != 0)
        _exit(1);
    while (request_serve(fd)) /* until the service closes its end */
        ;
    _exit(0);
}

int reader_open(struct reader **reader, const char *user)
{
    int fds[2];
    struct reader *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) {
        free(made);
        return -EIO;
    }
    made->pid = fork();
    if (made->pid == 0) {
        (void)close(fds[0]);
        reader_run(fds[1], user);
    }
    (void)close(fds[1]);
    if (made->pid < 0) {
        (void)close(fds[0]);
        free(made);
        return -EIO;
    }
    made->fd = fds[0];
    (void)pthread_mutex_init(&made->mutex, NULL);
    *reader = made;
    return 0;
}

void reader_close(struct reader *reader)
{
    if (reader == NULL)
        return;
    (void)close(reader->fd);                                    /* which ends the process */
    while (waitpid(reader->pid, NULL, 0) < 0 && errno == EINTR) /* until it has ended */
        ;
    (void)pthread_mutex_destroy(&reader->mutex);
    free(reader);
}

/* What a child says may be a mail's that took it over: it never means that the process is gone. */
static int status_of(int32_t status)
{
    static const int32_t known[] = {-EBADMSG, -ENOENT, -EFBIG, -ENOMEM, -EAGAIN};
    for (size_t i = 0; i < ARRAY_COUNT(known); i++)
        if (status == known[i])
            return status;
    return -EBADMSG;
}

/* Takes what there is no room for, so that the next answer is the next mail's. */
static int bytes_skip(int fd, size_t bytes)
{
    uint8_t part[4096];
    int rc = 0;
    while (bytes > 0 && rc == 0) { /* every round moves on */
        const size_t now = MIN(bytes, sizeof(part));
        rc = bytes_receive(fd, part, now);
        bytes -= now;
    }
    secret_wipe(part, sizeof(part));
    return rc == 0 ? -ENOMEM : rc;
}

static int answer_receive(const struct reader *reader, const struct reader_head *head,
                          uint8_t **items, size_t *items_bytes)
{
    struct reader_head answer;
    if (bytes_receive(reader->fd, &answer, sizeof(answer)) != 0)
        return -EIO;
    if (answer.status != 0)
        return status_of(answer.status);
    if (answer.bytes > room_for(head))
        return -EIO;
    const size_t bytes = (size_t)answer.bytes;
    uint8_t *made = malloc(bytes + 1);
    if (made == NULL)
        return bytes_skip(reader->fd, bytes);
    if (bytes_receive(reader->fd, made, bytes) != 0) {
        secret_wipe(made, bytes);
        free(made);
        return -EIO;
    }
    *items = made;
    *items_bytes = bytes;
    return 0;
}

int reader_read(struct reader *reader, const uint8_t *mail, size_t mail_bytes, uint32_t part,
                uint8_t **items, size_t *items_bytes)
{
    const struct reader_head head = {.part = part, .bytes = mail_bytes};
    if (mail_bytes > READER_MAIL_BYTES_MAX)
        return -EFBIG;
    (void)pthread_mutex_lock(&reader->mutex);
    int rc = bytes_send(reader->fd, &head, sizeof(head));
    if (rc == 0)
        rc = bytes_send(reader->fd, mail, mail_bytes);
    if (rc == 0)
        rc = answer_receive(reader, &head, items, items_bytes);
    if (rc == -EIO) { /* gone, or out of step: it is not asked again */
        log_line(LOG_LEVEL_ERROR, "reader_lost", "mend=restart");
        (void)shutdown(reader->fd, SHUT_RDWR);
    }
    (void)pthread_mutex_unlock(&reader->mutex);
    return rc;
}
