/* bulla-keyd role: who may administer. */
#include "keyservice/server/account/account.h"
#include "keyservice/server/api/api.h"
#include "keyservice/server/command/admin.h"
#include "keyservice/server/store/store_role.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

static const char usage[] =
    "usage: bulla-keyd role [--config FILE] list | grant ADDRESS ROLE | revoke ADDRESS ROLE\n"
    "  ROLE: administrator, helpdesk, auditor, profile_administrator:PROFILE";

static void grant_print(void *context, const struct store_grant *grant)
{
    char granted[32];
    (void)context;
    admin_time(granted, grant->granted_unix_ms);
    (void)printf("%s  %s%s%s  %s\n", granted, role_name(grant->role),
                 grant->profile[0] == '\0' ? "" : ":", grant->profile, grant->address);
}

static int role_change(const struct command_parts *parts, const char *address, const char *text,
                       bool grant)
{
    enum role role = ROLE_AUDITOR;
    const char *profile = "";
    char user[ACCOUNT_ADDRESS_BYTES];
    if (account_normalise(user, address, strlen(address)) != 0)
        return command_fail(EX_DATAERR, "\"%s\" is not an address", address);
    if (!role_split(text, &role, &profile))
        return command_fail(EX_DATAERR, "\"%s\" is no role\n%s", text, usage);
    const struct audit_event line = {
        .event = grant ? "role_grant" : "role_revoke", .user = user, .detail = text};
    int rc = admin_begin(parts, &line);
    if (rc == 0)
        rc = admin_end(parts,
                       grant ? store_role_grant(parts->store, user, role, profile, api_now_ms())
                             : store_role_revoke(parts->store, user, role, profile),
                       &line);
    switch (rc) {
    case 0: return 0;
    case -ENOENT:
        return command_fail(EX_NOUSER, grant ? "%s has no account" : "%s does not hold that role",
                            user);
    case -EEXIST: return command_fail(EX_CANTCREAT, "%s holds that role already", user);
    case -EACCES:
        return command_fail(EX_NOPERM,
                            grant ? "%s has as many profiles as one may have"
                                  : "%s is the last administrator: make another one first",
                            user);
    default: return command_fail(EX_IOERR, "%s: %s", user, strerror(-rc));
    }
}

int command_role(int argc, char **argv)
{
    static const struct option known[] = {{"config", required_argument, NULL, 'c'},
                                          {NULL, 0, NULL, 0}};
    const char *config = COMMAND_CONFIG;
    struct command_parts parts;
    int option;
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (option != 'c')
            return command_fail(EX_USAGE, "%s", usage);
        config = optarg;
    }
    const int words_count = argc - optind;
    const char *verb = words_count > 0 ? argv[optind] : "";
    const bool list = strcmp(verb, "list") == 0 && words_count == 1;
    const bool grant = strcmp(verb, "grant") == 0;
    if (!list && !((grant || strcmp(verb, "revoke") == 0) && words_count == 3))
        return command_fail(EX_USAGE, "%s", usage);
    int status = command_open(&parts, config);
    if (status != 0)
        return status;
    if (list)
        status = store_role_list(parts.store, grant_print, NULL) == 0 ? 0 : EX_IOERR;
    else
        status = role_change(&parts, argv[optind + 1], argv[optind + 2], grant);
    command_close(&parts);
    return status;
}
