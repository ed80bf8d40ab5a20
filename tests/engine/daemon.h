/*
 * daemon: a real bullad with a configuration of its own, beside a stand-in key service.
 * Ownership: daemon_start() makes processes and files in the stand-in's folder; daemon_stop() ends
 *            and removes them.
 * Threads:   the test's.
 * Units:     milliseconds for waits, all bounded.
 * Errors:    a daemon that does not come up, or does not end with 0, fails the test.
 */
#ifndef TESTS_ENGINE_DAEMON_H
#define TESTS_ENGINE_DAEMON_H

#include "mta/bulla.h"
#include "tests/keyservice/stand_in.h"

#include <stdbool.h>
#include <sys/types.h>

#define DAEMON_PATH_BYTES   256
#define DAEMON_WAIT_MS      60000
#define DAEMON_CONFIG_BYTES 4096

/* Of messages that go through it: ThreadSanitizer sees in few of them what it sees in many. */
#ifdef __SANITIZE_THREAD__
#define DAEMON_COUNT(count) ((count) / 4)
#else
#define DAEMON_COUNT(count) (count)
#endif

struct daemon {
    struct stand_in *service;
    pid_t pid;
    char socket[DAEMON_PATH_BYTES];
    char config[DAEMON_PATH_BYTES];
    char log[DAEMON_PATH_BYTES];
};

/* Of the default profile. The spool's segments are larger than what it allows, and each is written
 * from end to end before it is used. */
#define DAEMON_SIZE_LIMIT "32MB"
extern const char *daemon_size_limit;

/* `engine` and `profiles` are added to the sections that every test needs. uid 0: as we are. */
void daemon_start(struct daemon *daemon, const char *engine, const char *profiles, uid_t uid);
/* Once more, with the configuration as it stands; the key service stays as it is. */
void daemon_launch(struct daemon *daemon, uid_t uid);
/* SIGTERM, then the exit status; -1 when a signal ended it. */
int daemon_stop(struct daemon *daemon);
/* What daemon_stop() does not: the folder and the key service. */
void daemon_fini(struct daemon *daemon);

void daemon_write_config(const struct daemon *daemon, const char *engine, const char *profiles);
/* Waits until the log holds `text`. */
bool daemon_logged(const struct daemon *daemon, const char *text);

/* What one message became. */
struct outcome {
    int rc;
    enum bulla_status status;
    uint8_t *sealed; /* malloc'ed */
    size_t sealed_bytes;
    char why[512];
};

struct outcome daemon_seal(const struct daemon *daemon, const char *profile, uint32_t flags,
                           const void *mail, size_t mail_bytes);
/* Opens it with the key that the key service was given; compares with the original. */
void daemon_expect_opens(const struct daemon *daemon, const struct outcome *outcome,
                         const void *mail, size_t mail_bytes);
/* A message of so many bytes: a header, then text and a base64 part. malloc'ed. */
uint8_t *daemon_mail(size_t bytes, uint32_t seed);
/* Asks on a control session; the answer is malloc'ed. */
char *daemon_ask(const struct daemon *daemon, const char *question);
/* Until the answer holds `text`: workers publish their counters a moment after their answers. */
void daemon_expect_answer(const struct daemon *daemon, const char *question, const char *text);

#endif
