/* bulla top: the running engine's counters and their rates, until q or Ctrl-C. */
#include "base/clock.h"
#include "mta/bulla.h"
#include "tools/bulla/command.h"
#include "tools/bulla/control.h"
#include "tools/bulla/view.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#define TOP_INTERVAL_S_DEFAULT 1
#define TOP_INTERVAL_S_MAX     60
#define TOP_CLEAR              "\033[H"
#define TOP_CLEAR_REST         "\033[J"
#define TOP_SCREEN_ENTER       "\033[?1049h\033[?25l"
#define TOP_SCREEN_LEAVE       "\033[?25h\033[?1049l"

static const char top_usage[] =
    "usage: bulla top [--interval S] [--socket PATH]\n"
    "  --interval S   seconds between looks                            [1]\n"
    "  --socket PATH  of the engine          [$BULLA_SOCKET; " BULLA_SOCKET_DEFAULT "]\n"
    "q or Ctrl-C ends it.\n";

static volatile sig_atomic_t top_stopped;

static void top_stop(int signal_number)
{
    (void)signal_number;
    top_stopped = 1;
}

/* True while the reader wants to go on: waits interval_s or for a key. */
static bool top_wait(uint32_t interval_s)
{
    struct pollfd keys = {.fd = STDIN_FILENO, .events = POLLIN};
    uint64_t until_ns = clock_monotonic_ns() + interval_s * NS_PER_S;
    uint64_t now_ns = clock_monotonic_ns();
    while (now_ns < until_ns && top_stopped == 0) {
        int left_ms = (int)((until_ns - now_ns) / NS_PER_MS) + 1;
        if (poll(&keys, 1, left_ms) > 0) {
            char key = 0;
            if (read(STDIN_FILENO, &key, 1) != 1 || key == 'q' || key == 'Q')
                return false;
        }
        now_ns = clock_monotonic_ns();
    }
    return top_stopped == 0;
}

static void top_draw(const struct view *view, const struct view *before, const char *socket_path)
{
    struct winsize size = {.ws_row = 24, .ws_col = 80};
    (void)ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
    uint32_t rows = size.ws_row > 3 ? (uint32_t)size.ws_row - 3 : 1;
    uint32_t columns = size.ws_col > 20 ? size.ws_col : 80;
    fputs(TOP_CLEAR, stdout);
    printf("bulla top  %.*s  (q quits)\033[K\r\n\033[K\r\n", (int)columns - 24, socket_path);
    view_print_rates(view, before, rows, columns, stdout);
    fputs(TOP_CLEAR_REST, stdout);
    (void)fflush(stdout);
}

static int top_run(int session, const char *socket_path, uint32_t interval_s)
{
    struct view *views = calloc(2, sizeof(*views));
    if (views == NULL)
        return -ENOMEM;
    uint32_t current = 0;
    int rc = 0;
    do {
        json_t *answer = NULL;
        rc = control_ask(session, "status", &answer);
        if (rc != 0)
            break;
        view_read(&views[current], answer, clock_monotonic_ns());
        json_decref(answer);
        const struct view *before = &views[1 - current];
        top_draw(&views[current], before->lines_count > 0 ? before : &views[current], socket_path);
        current = 1 - current;
    } while (top_wait(interval_s));
    free(views);
    return rc;
}

/* Keys without Enter and without echo, on a screen of its own; both put back whatever happens. */
static int top_on_screen(int session, const char *socket_path, uint32_t interval_s)
{
    struct termios before;
    if (tcgetattr(STDIN_FILENO, &before) != 0 || isatty(STDOUT_FILENO) == 0)
        return command_fail(EX_USAGE, "there is no terminal; 'bulla status' prints once");
    const struct sigaction stop = {.sa_handler = top_stop};
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGTERM, &stop, NULL);
    struct termios keys = before;
    keys.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    (void)tcsetattr(STDIN_FILENO, TCSANOW, &keys);
    fputs(TOP_SCREEN_ENTER, stdout);
    int rc = top_run(session, socket_path, interval_s);
    fputs(TOP_SCREEN_LEAVE, stdout);
    (void)fflush(stdout);
    (void)tcsetattr(STDIN_FILENO, TCSANOW, &before);
    return rc == 0 || top_stopped != 0 ? 0 : control_failed(rc, socket_path);
}

int command_top(int argc, char **argv)
{
    static const struct option known[] = {
        {"interval", required_argument, NULL, 'i'},
        {"socket", required_argument, NULL, 's'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    const char *socket_path = command_environment("BULLA_SOCKET", BULLA_SOCKET_DEFAULT);
    uint32_t interval_s = TOP_INTERVAL_S_DEFAULT;
    int option = 0;
    while ((option = getopt_long(argc, argv, ":", known, NULL)) != -1) {
        switch (option) {
        case 'i': interval_s = command_seconds(optarg, TOP_INTERVAL_S_MAX); break;
        case 's': socket_path = optarg; break;
        case 'h': fputs(top_usage, stdout); return 0;
        default: return command_bad_option(option, argv);
        }
    }
    if (interval_s == 0)
        return command_fail(EX_USAGE, "--interval takes 1 to %d seconds", TOP_INTERVAL_S_MAX);
    if (optind < argc)
        return command_fail(EX_USAGE, "no argument is taken; see 'bulla top --help'");
    int session = -1;
    int rc = control_open(&session, socket_path);
    if (rc != 0)
        return control_failed(rc, socket_path);
    int exit_status = top_on_screen(session, socket_path, interval_s);
    control_close(session);
    return exit_status;
}
