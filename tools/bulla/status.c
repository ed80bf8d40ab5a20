/* bulla status: the running engine's counters, once. */
#include "base/clock.h"
#include "mta/bulla.h"
#include "tools/bulla/command.h"
#include "tools/bulla/control.h"
#include "tools/bulla/view.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static const char status_usage[] =
    "usage: bulla status [--json] [--socket PATH]\n"
    "  --json         as the engine gives it, for programs\n"
    "  --socket PATH  of the engine          [$BULLA_SOCKET; " BULLA_SOCKET_DEFAULT "]\n";

static int status_print(const json_t *answer, bool as_json)
{
    if (as_json) {
        if (json_dumpf(answer, stdout, JSON_INDENT(2)) != 0)
            return command_fail(EX_IOERR, "the status cannot be written");
        fputc('\n', stdout);
    } else {
        struct view *view = calloc(1, sizeof(*view));
        if (view == NULL)
            return command_fail(EX_OSERR, "no memory is left");
        view_read(view, answer, clock_monotonic_ns());
        view_print(view, stdout);
        free(view);
    }
    if (fflush(stdout) != 0)
        return command_fail(EX_IOERR, "the status cannot be written");
    return 0;
}

int command_status(int argc, char **argv)
{
    static const struct option known[] = {
        {"json", no_argument, NULL, 'j'},
        {"socket", required_argument, NULL, 's'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    const char *socket_path = command_environment("BULLA_SOCKET", BULLA_SOCKET_DEFAULT);
    bool as_json = false;
    int option = 0;
    while ((option = getopt_long(argc, argv, ":", known, NULL)) != -1) {
        switch (option) {
        case 'j': as_json = true; break;
        case 's': socket_path = optarg; break;
        case 'h': fputs(status_usage, stdout); return 0;
        default: return command_bad_option(option, argv);
        }
    }
    if (optind < argc)
        return command_fail(EX_USAGE, "no argument is taken; see 'bulla status --help'");
    int session = -1;
    json_t *answer = NULL;
    int rc = control_open(&session, socket_path);
    if (rc != 0)
        return control_failed(rc, socket_path);
    rc = control_ask(session, "status", &answer);
    control_close(session);
    if (rc != 0)
        return control_failed(rc, socket_path);
    int exit_status = status_print(answer, as_json);
    json_decref(answer);
    return exit_status;
}
