/* How often, and for how long, a relay that does not take a mail is asked. */
#include "keyservice/server/mail/mail.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define WAIT_MS 60000

static const struct mail_message message = {
    .to = "bob@example.org", .subject = "A code", .text = "1234 5678\n", .language = "en"};

struct stand_in {
    int fd;
    struct mail *mail;
};

static void relay_open(struct stand_in *relay, uint32_t attempt_ms)
{
    char url[64];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t bytes = sizeof(address);
    relay->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(relay->fd >= 0);
    assert_int_equal(bind(relay->fd, (struct sockaddr *)&address, bytes), 0);
    assert_int_equal(listen(relay->fd, 16), 0);
    assert_int_equal(getsockname(relay->fd, (struct sockaddr *)&address, &bytes), 0);
    (void)snprintf(url, sizeof(url), "smtp://127.0.0.1:%u", ntohs(address.sin_port));
    const struct mail_config config = {.smtp_relay = url,
                                       .spool_dir = "",
                                       .from = "keys@example.org",
                                       .attempt_ms = attempt_ms,
                                       .retry_ms = 1};
    assert_int_equal(mail_open(&relay->mail, &config), 0);
}

/* The next connection, or -1 when none comes within `wait_ms`. */
static int relay_accept(const struct stand_in *relay, int wait_ms)
{
    struct pollfd ready = {.fd = relay->fd, .events = POLLIN};
    return poll(&ready, 1, wait_ms) == 1 ? accept(relay->fd, NULL, NULL) : -1;
}

static void a_relay_that_hangs_up_is_asked_six_times_and_no_more(void **state)
{
    (void)state;
    struct stand_in relay;
    relay_open(&relay, WAIT_MS);
    assert_int_equal(mail_send(relay.mail, &message, clock_unix_ns()), 0);
    for (uint32_t i = 0; i < MAIL_ATTEMPTS_MAX; i++) {
        const int connection = relay_accept(&relay, WAIT_MS);
        assert_true(connection >= 0);
        (void)close(connection);
    }
    mail_close(relay.mail); /* would try what still waits once more */
    assert_int_equal(relay_accept(&relay, 0), -1);
    (void)close(relay.fd);
}

static void a_relay_that_says_nothing_is_left_and_asked_again(void **state)
{
    (void)state;
    struct stand_in relay;
    int silent[MAIL_ATTEMPTS_MAX];
    relay_open(&relay, 50);
    assert_int_equal(mail_send(relay.mail, &message, clock_unix_ns()), 0);
    for (uint32_t i = 0; i < MAIL_ATTEMPTS_MAX; i++) {
        silent[i] = relay_accept(&relay, WAIT_MS);
        assert_true(silent[i] >= 0);
    }
    mail_close(relay.mail);
    for (uint32_t i = 0; i < MAIL_ATTEMPTS_MAX; i++)
        (void)close(silent[i]);
    (void)close(relay.fd);
}

static void what_waits_at_the_end_is_tried_once_more(void **state)
{
    (void)state;
    struct stand_in relay;
    relay_open(&relay, 50);
    assert_int_equal(mail_send(relay.mail, &message, clock_unix_ns()), 0);
    mail_close(relay.mail);
    const int connection = relay_accept(&relay, 0);
    assert_true(connection >= 0);
    (void)close(connection);
    (void)close(relay.fd);
}

static void more_than_the_queue_holds_is_refused_not_kept(void **state)
{
    (void)state;
    struct stand_in relay;
    int rc = 0;
    uint32_t taken = 0;
    relay_open(&relay, 20);
    for (uint32_t i = 0; rc == 0 && i < 100 * MAIL_WAITING_MAX; i++) {
        rc = mail_send(relay.mail, &message, clock_unix_ns());
        taken += rc == 0 ? 1 : 0;
    }
    assert_int_equal(rc, -EAGAIN);
    assert_true(taken >= MAIL_WAITING_MAX);
    mail_close(relay.mail);
    (void)close(relay.fd);
}

static void addresses_that_could_end_a_command_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "bob", "bob@example.org>\r\nDATA", "a b@c", "<a@b>", "a@b,c@d", "\"a\"@b"};
    struct stand_in relay;
    relay_open(&relay, 50);
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        struct mail_message other = message;
        other.to = bad[i];
        assert_int_equal(mail_send(relay.mail, &other, clock_unix_ns()), -EINVAL);
    }
    mail_close(relay.mail);
    assert_int_equal(relay_accept(&relay, 0), -1);
    (void)close(relay.fd);
}

static void a_relay_on_this_machine_is_known_by_its_address(void **state)
{
    static const char *const near[] = {
        "smtp://localhost:25",  "smtp://LOCALHOST", "smtp://127.0.0.1:25",      "smtp://127.9.8.7/",
        "smtp://[::1]:25/here", "smtp://[::1]",     "smtp://u:p@localhost:587",
    };
    static const char *const far[] = {
        "smtp://mail.example.com:25",
        "smtp://localhost.example.com",
        "smtp://127.0.0.1.example.com",
        "smtp://localhost@mail.example.com",
        "smtp://localhost:25@mail.example.com:25",
        "smtp://mail.example.com/@localhost",
        "smtp://mail.example.com?@127.0.0.1",
        "smtp://[::2]:25",
        "smtp://[::ffff:192.0.2.1]",
        "smtp://0.0.0.0:25",
        "smtp://192.0.2.1",
        "smtp://",
        "",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(near); i++)
        if (!relay_near(near[i]))
            fail_msg("%s is elsewhere", near[i]);
    for (size_t i = 0; i < ARRAY_COUNT(far); i++)
        if (relay_near(far[i]))
            fail_msg("%s is here", far[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_relay_that_hangs_up_is_asked_six_times_and_no_more),
        cmocka_unit_test(a_relay_that_says_nothing_is_left_and_asked_again),
        cmocka_unit_test(what_waits_at_the_end_is_tried_once_more),
        cmocka_unit_test(more_than_the_queue_holds_is_refused_not_kept),
        cmocka_unit_test(addresses_that_could_end_a_command_are_refused),
        cmocka_unit_test(a_relay_on_this_machine_is_known_by_its_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
