/* Messages of two client processes, each with a mark of its own: none is lost, crossed or leaked.
 * BULLA_CANARIES says how many in all. */
#include "tests/engine/canary.h"
#include "tests/engine/daemon.h"

#include "base/macros.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* As many as an unsanitised build has done within a few seconds. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CANARIES_DEFAULT 4000
#else
#define CANARIES_DEFAULT 50000
#endif
#define CANARIES_MAX 1000000 /* what the stand-in keeps the keys of */

static struct daemon bullad;

static uint32_t canaries_count(void)
{
    const char *text = getenv("BULLA_CANARIES");
    if (text == NULL)
        return CANARIES_DEFAULT;
    const unsigned long count = strtoul(text, NULL, 10);
    assert_true(count >= CANARY_CLIENTS && count <= CANARIES_MAX);
    return (uint32_t)count;
}

/* This program anew, for a forked child of one with threads may not do much. */
static pid_t client_spawn(uint32_t number, uint32_t count, int keys_fd)
{
    char texts[3][16];
    (void)snprintf(texts[0], sizeof(texts[0]), "%d", keys_fd);
    (void)snprintf(texts[1], sizeof(texts[1]), "%u", number);
    (void)snprintf(texts[2], sizeof(texts[2]), "%u", count);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)execl("/proc/self/exe", "canary_test", bullad.socket, texts[0], texts[1], texts[2],
                    (char *)NULL);
        _exit(127);
    }
    return pid;
}

/* Gives out keys until both clients have hung up. */
static void keys_serve(int keys_fd[CANARY_CLIENTS])
{
    struct pollfd bells[CANARY_CLIENTS];
    uint32_t open_count = CANARY_CLIENTS;
    for (uint32_t i = 0; i < CANARY_CLIENTS; i++)
        bells[i] = (struct pollfd){.fd = keys_fd[i], .events = POLLIN};
    while (open_count > 0) {
        assert_true(poll(bells, CANARY_CLIENTS, DAEMON_WAIT_MS * 3) > 0);
        for (uint32_t i = 0; i < CANARY_CLIENTS; i++) {
            uint8_t id[16];
            uint8_t answer[33] = {0};
            if (bells[i].revents == 0)
                continue;
            if (read(bells[i].fd, id, sizeof(id)) == sizeof(id)) {
                answer[0] = stand_in_has(bullad.service, id, answer + 1) ? 1 : 0;
                assert_int_equal(write(bells[i].fd, answer, sizeof(answer)), sizeof(answer));
            } else {
                bells[i].fd = -1;
                open_count--;
            }
        }
    }
}

static void bullad_crosses_and_leaks_no_message_of_two_clients(void **state)
{
    (void)state;
    int keys_fd[CANARY_CLIENTS];
    pid_t pids[CANARY_CLIENTS];
    const uint32_t count = canaries_count() / CANARY_CLIENTS;
    daemon_start(&bullad, "workers = 1",
                 "profile \"short\" {\n key_service = \"main\"\n algorithm = aes-192\n}\n", 0);
    for (uint32_t i = 0; i < CANARY_CLIENTS; i++) {
        int pair[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
        /* The client alone has its end, so its end is a hang-up. */
        assert_int_equal(fcntl(pair[0], F_SETFD, FD_CLOEXEC), 0);
        pids[i] = client_spawn(i, count, pair[1]);
        (void)close(pair[1]);
        keys_fd[i] = pair[0];
    }
    keys_serve(keys_fd);
    for (uint32_t i = 0; i < CANARY_CLIENTS; i++) {
        int status;
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
        (void)close(keys_fd[i]);
    }
    print_message("canaries: %u messages opened\n", count * CANARY_CLIENTS);
    assert_int_equal(stand_in_stored(bullad.service), count * CANARY_CLIENTS);
    assert_int_equal(daemon_stop(&bullad), 0);
    daemon_fini(&bullad);
}

int main(int argc, char **argv)
{
    if (argc == 5) {
        const struct canary_client client = {.socket = argv[1],
                                             .keys_fd = (int)strtol(argv[2], NULL, 10),
                                             .number = (uint32_t)strtoul(argv[3], NULL, 10),
                                             .count = (uint32_t)strtoul(argv[4], NULL, 10)};
        return canary_client(&client);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bullad_crosses_and_leaks_no_message_of_two_clients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
