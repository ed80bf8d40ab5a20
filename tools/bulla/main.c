/* bulla: the operator's command. Each subcommand stands in a file of its own. */
#include "mta/bulla.h"
#include "tools/bulla/command.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

static const char main_usage[] =
    "usage: bulla seal [--profile P] [--from ADDR] [--to ADDR]... [IN.eml] > OUT.eml\n"
    "       bulla open --key-service URL --user ADDR [ENVELOPE] > ORIGINAL.eml\n"
    "       bulla status [--json]\n"
    "       bulla top\n"
    "       bulla queue list | show | hold | release | remove | flush | stats\n"
    "       bulla check-config [FILE]\n"
    "       bulla provision --key-service URL --code CODE --out DIR\n"
    "'bulla COMMAND --help' tells more; bulla(1) tells all.\n";

struct main_command {
    const char *name;
    int (*run)(int argc, char **argv);
};

static const struct main_command main_commands[] = {
    {"seal", command_seal},           {"open", command_open},
    {"status", command_status},       {"top", command_top},
    {"queue", command_queue},         {"check-config", command_check_config},
    {"provision", command_provision},
};

/* Mail, keys and passwords pass through this process: none may end up in a core file. */
static void main_forbid_cores(void)
{
    const struct rlimit none = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &none);
#ifndef __SANITIZE_ADDRESS__ /* its leak check attaches to the process */
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
}

int main(int argc, char **argv)
{
    main_forbid_cores();
    /* A closed pipe is an error of write(2), which is told like any other. */
    (void)signal(SIGPIPE, SIG_IGN);
    if (argc < 2) {
        fputs(main_usage, stderr);
        return EX_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        fputs(main_usage, stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("bulla %d.%d\n", BULLA_VERSION_MAJOR, BULLA_VERSION_MINOR);
        return 0;
    }
    for (size_t i = 0; i < ARRAY_COUNT(main_commands); i++) {
        if (strcmp(argv[1], main_commands[i].name) == 0) {
            command_init(main_commands[i].name);
            return main_commands[i].run(argc - 1, argv + 1);
        }
    }
    fprintf(stderr, "bulla: there is no command of that name; see 'bulla --help'\n");
    return EX_USAGE;
}
