/* bulla-keyd: keeps the keys of sealed mail and gives them to recipients. bulla-keyd(8). */
#include "base/startup.h"
#include "keyservice/server/command/command.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"init", command_init},         {"serve", command_serve},
    {"account", command_account},   {"engine", command_engine},
    {"envelope", command_envelope}, {"audit", command_audit},
    {"backup", command_backup},     {"restore", command_restore},
    {"move", command_move},         {"master-key", command_master_key},
    {"role", command_role},         {"profile", command_profile},
    {"token", command_token},       {"retention", command_retention},
    {"report", command_report},     {"receive", command_receive},
};

/* No core, no debugger of the same user, no file that others may read. */
static void harden(void)
{
    startup_hide_memory();
    (void)umask(077);
}

static void usage_print(FILE *file)
{
    (void)fputs("usage: bulla-keyd COMMAND …\n"
                "  init DIR                     make certificates, keys, settings and database\n"
                "  serve --config FILE          run the key service\n"
                "  account list|add|password|remove  recipients' accounts\n"
                "  engine list|add|revoke       engines that may register keys\n"
                "  envelope show|lock|unlock|expire|read-by ID, list ADDRESS  who opened what,\n"
                "                               locks for all or for one, dates\n"
                "  report                       what was sealed, opened and refused\n"
                "  audit verify|export          check the chained log, write it out\n"
                "  master-key add|list|status|rewrap|retire  a new master key, and old ones' end\n"
                "  role list|grant|revoke       who may administer\n"
                "  profile list|show|set|remove what is shown and kept for a profile's envelopes\n"
                "  receive < MAIL               from the mail server: a link to a forwarded mail\n"
                "  token list|add|revoke        what programs sign their calls with\n"
                "  retention [--dry-run]        destroy keys that are kept no longer\n"
                "  backup FILE, restore FILE    the database, while it is in use, and back\n"
                "  move --to URL                an SQLite database goes to PostgreSQL\n"
                "bulla-keyd(8) explains each.\n",
                file);
}

int main(int argc, char **argv)
{
    harden();
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        usage_print(stdout);
        return 0;
    }
    for (size_t i = 0; argc >= 2 && i < ARRAY_COUNT(commands); i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    usage_print(stderr);
    return EX_USAGE;
}
