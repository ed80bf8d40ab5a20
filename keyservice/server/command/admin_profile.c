/* bulla-keyd profile, token, retention: what the page /admin does too. */
#include "crypto/secret.h"
#include "keyservice/server/account/account.h"
#include "keyservice/server/api/api.h"
#include "keyservice/server/command/admin.h"
#include "keyservice/server/profile.h"
#include "keyservice/server/retention.h"
#include "keyservice/server/store/store_token.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

static const char profile_usage[] = "usage: bulla-keyd profile [--config FILE] list | show NAME | "
                                    "remove NAME | set [--title TEXT]\n"
                                    "  [--link URL] [--locale NAME] [--text TEXT] [--contact "
                                    "ADDRESS] [--days N] [--logo FILE] NAME";
static const char token_usage[] =
    "usage: bulla-keyd token [--config FILE] list | add ADDRESS NAME ROLE DAYS | revoke NUMBER\n"
    "  ROLE: administrator, helpdesk, auditor, profile_administrator:PROFILE";
static const char retention_usage[] = "usage: bulla-keyd retention [--config FILE] [--dry-run]";

static void profile_print(void *context, const struct store_profile *profile)
{
    (void)context;
    (void)printf("%-20s  %5" PRIu64 " days  %s\n", profile->name, profile->retention_days,
                 profile->title);
}

static void profile_show(const struct store_profile *profile)
{
    (void)printf("name      %s\ntitle     %s\nlink      %s\nlocale    %s\ncontact   %s\n"
                 "days      %" PRIu64 "\nlogo      %zu characters\ntext      %s\n",
                 profile->name, profile->title, profile->link, profile->locale, profile->contact,
                 profile->retention_days, strlen(profile->logo), profile->text);
}

/* A picture's file as the data URL that pages show. */
static bool logo_read(const char *path, char url[LOGO_URL_BYTES])
{
    uint8_t picture[LOGO_BYTES_MAX + 1];
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    const size_t bytes = fread(picture, 1, sizeof(picture), file);
    (void)fclose(file);
    if (bytes == 0 || bytes > LOGO_BYTES_MAX)
        return false;
    const int head =
        snprintf(url, LOGO_URL_BYTES, "data:image/%s;base64,", picture[0] == 0xff ? "jpeg" : "png");
    (void)EVP_EncodeBlock((uint8_t *)url + head, picture, (int)bytes);
    return true;
}

static bool text_set(char *text, size_t room, const char *value)
{
    const int chars = snprintf(text, room, "%s", value);
    return chars >= 0 && (size_t)chars < room;
}

/* One option into the profile; false when it does not fit. */
static bool profile_option(struct store_profile *profile, int option, const char *value)
{
    char *end = NULL;
    switch (option) {
    case 't': return text_set(profile->title, sizeof(profile->title), value);
    case 'l': return text_set(profile->link, sizeof(profile->link), value);
    case 'o': return text_set(profile->locale, sizeof(profile->locale), value);
    case 'x': return text_set(profile->text, sizeof(profile->text), value);
    case 'a': return text_set(profile->contact, sizeof(profile->contact), value);
    case 'g':
        return value[0] == '\0' ? text_set(profile->logo, 1, "") : logo_read(value, profile->logo);
    case 'd':
        profile->retention_days = strtoull(value, &end, 10);
        return value[0] >= '0' && value[0] <= '9' && *end == '\0';
    default: return false;
    }
}

static int profile_done(const struct command_parts *parts, const char *event, const char *name,
                        const struct store_profile *put, bool days_changed)
{
    const struct audit_event line = {.event = event, .detail = name};
    int rc = admin_begin(parts, &line);
    if (rc == 0)
        rc = admin_end(parts,
                       put != NULL ? store_profile_put(parts->store, put, days_changed)
                                   : store_profile_remove(parts->store, name),
                       &line);
    if (rc == -ENOENT)
        return command_fail(EX_NOUSER, "there is no profile \"%s\"", name);
    return rc == 0 ? 0 : command_fail(EX_IOERR, "%s: %s", name, strerror(-rc));
}

static const struct option profile_options[] = {
    {"config", required_argument, NULL, 'c'}, {"title", required_argument, NULL, 't'},
    {"link", required_argument, NULL, 'l'},   {"locale", required_argument, NULL, 'o'},
    {"text", required_argument, NULL, 'x'},   {"contact", required_argument, NULL, 'a'},
    {"days", required_argument, NULL, 'd'},   {"logo", required_argument, NULL, 'g'},
    {"dry-run", no_argument, NULL, 'n'},      {NULL, 0, NULL, 0},
};

/* The options once more, over what there is already. */
static int profile_set(const struct command_parts *parts, int argc, char **argv, const char *name)
{
    struct store_profile profile;
    int option;
    int rc = store_profile_get(parts->store, name, &profile);
    if (rc == -ENOENT) {
        profile = (struct store_profile){.retention_days = 0};
        (void)snprintf(profile.name, sizeof(profile.name), "%s", name);
    } else if (rc != 0) {
        return command_fail(EX_IOERR, "%s: %s", name, strerror(-rc));
    }
    const uint64_t days = profile.retention_days;
    optind = 1;
    while ((option = getopt_long(argc, argv, "", profile_options, NULL)) != -1)
        if (option != 'c' && !profile_option(&profile, option, optarg))
            return command_fail(EX_DATAERR, "\"%s\" is too long, or cannot be read", optarg);
    const char *fault = profile_fault(&profile);
    if (fault != NULL)
        return command_fail(EX_DATAERR, "%s", fault);
    profile.changed_unix_ms = api_now_ms();
    return profile_done(parts, "profile_put", name, &profile, profile.retention_days != days);
}

/* The configuration that --config names, and how many words stand behind the options; -1: usage. */
static int words_read(int argc, char **argv, const char **config, bool *dry)
{
    int option;
    *config = COMMAND_CONFIG;
    while ((option = getopt_long(argc, argv, "", profile_options, NULL)) != -1) {
        if (option == '?')
            return -1;
        if (option == 'c')
            *config = optarg;
        *dry = *dry || option == 'n';
    }
    return argc - optind;
}

int command_profile(int argc, char **argv)
{
    const char *config;
    bool dry = false;
    struct command_parts parts;
    struct store_profile profile;
    const int words_count = words_read(argc, argv, &config, &dry);
    const char *verb = words_count > 0 ? argv[optind] : "";
    const char *name = words_count == 2 ? argv[optind + 1] : "";
    const bool list = strcmp(verb, "list") == 0 && words_count == 1;
    const bool set = strcmp(verb, "set") == 0;
    const bool show = strcmp(verb, "show") == 0;
    if (dry || (!list && (words_count != 2 || !(set || show || strcmp(verb, "remove") == 0))))
        return command_fail(EX_USAGE, "%s", profile_usage);
    if (!list && !roles_profile_valid(name))
        return command_fail(EX_DATAERR, "\"%s\" is no profile's name", name);
    int status = command_open(&parts, config);
    if (status != 0)
        return status;
    if (list) {
        status = store_profile_list(parts.store, profile_print, NULL) == 0 ? 0 : EX_IOERR;
    } else if (set) {
        status = profile_set(&parts, argc, argv, name);
    } else if (show) {
        const int rc = store_profile_get(parts.store, name, &profile);
        if (rc == 0)
            profile_show(&profile);
        else
            status = command_fail(rc == -ENOENT ? EX_NOUSER : EX_IOERR, "no profile \"%s\"", name);
    } else {
        status = profile_done(&parts, "profile_remove", name, NULL, false);
    }
    command_close(&parts);
    return status;
}

static void token_print(void *context, const struct store_token *token)
{
    char expires[32];
    char used[32];
    int64_t *last = context;
    admin_time(expires, token->expires_unix_ms);
    admin_time(used, token->used_unix_ms);
    *last = token->number;
    (void)printf("%" PRId64 "  until %s  used %s  %s%s%s  %s  %s\n", token->number, expires, used,
                 role_name(token->role), token->profile[0] == '\0' ? "" : ":", token->profile,
                 token->address, token->name);
}

static int token_list(const struct command_parts *parts)
{
    int64_t last = 0;
    int64_t before;
    do { /* `last` grows each turn */
        before = last;
        if (store_token_list(parts->store, before, token_print, &last) != 0)
            return EX_IOERR;
    } while (last != before);
    return 0;
}

static int token_add(const struct command_parts *parts, char **words)
{
    struct store_account account;
    struct store_token token = {.created_unix_ms = api_now_ms()};
    char address[ACCOUNT_ADDRESS_BYTES];
    char text[STORE_TOKEN_BYTES];
    uint8_t hash[STORE_HASH_BYTES];
    const char *profile = "";
    const unsigned long long days = strtoull(words[3], NULL, 10);
    if (account_normalise(address, words[0], strlen(words[0])) != 0 ||
        !text_set(token.name, sizeof(token.name), words[1]) || token.name[0] == '\0' ||
        !role_split(words[2], &token.role, &profile) || days == 0 || days > STORE_TOKEN_DAYS_MAX)
        return command_fail(EX_DATAERR, "%s", token_usage);
    (void)snprintf(token.profile, sizeof(token.profile), "%s", profile);
    token.expires_unix_ms = token.created_unix_ms + days * UINT64_C(86400000);
    if (store_account_get(parts->store, address, &account) != 0)
        return command_fail(EX_NOUSER, "%s has no account", address);
    secret_wipe(account.password, sizeof(account.password));
    token.account_number = account.number;
    const struct audit_event line = {.event = "token_add", .user = address, .detail = token.name};
    int rc = store_token_make(text);
    if (rc == 0 && !store_token_hash(text, hash))
        rc = -EIO;
    if (rc == 0)
        rc = admin_begin(parts, &line);
    if (rc == 0)
        rc = admin_end(parts, store_token_add(parts->store, hash, &token), &line);
    if (rc == 0)
        (void)printf("%s\n", text);
    secret_wipe(text, sizeof(text));
    return rc == 0 ? 0 : command_fail(EX_IOERR, "%s: %s", words[1], strerror(-rc));
}

static int token_revoke(const struct command_parts *parts, const char *number)
{
    const struct audit_event line = {.event = "token_remove", .detail = number};
    int rc = admin_begin(parts, &line);
    if (rc == 0)
        rc = admin_end(parts, store_token_remove(parts->store, strtoll(number, NULL, 10)), &line);
    if (rc == -ENOENT)
        return command_fail(EX_NOUSER, "there is no token %s", number);
    return rc == 0 ? 0 : command_fail(EX_IOERR, "%s: %s", number, strerror(-rc));
}

int command_token(int argc, char **argv)
{
    const char *config;
    bool dry = false;
    struct command_parts parts;
    const int words_count = words_read(argc, argv, &config, &dry);
    const char *verb = words_count > 0 ? argv[optind] : "";
    const bool list = strcmp(verb, "list") == 0 && words_count == 1;
    const bool add = strcmp(verb, "add") == 0 && words_count == 5;
    if (!list && !add && !(strcmp(verb, "revoke") == 0 && words_count == 2))
        return command_fail(EX_USAGE, "%s", token_usage);
    int status = command_open(&parts, config);
    if (status != 0)
        return status;
    status = list  ? token_list(&parts)
             : add ? token_add(&parts, argv + optind + 1)
                   : token_revoke(&parts, argv[optind + 1]);
    command_close(&parts);
    return status;
}

static int retention_do(const struct command_parts *parts, struct retention *retention)
{
    int rc = audit_open(&retention->audit, parts->config.audit);
    if (rc == 0)
        rc = retention_begin(retention, api_now_ms());
    if (rc == 0)
        do /* each round moves on through the ids */
            rc = retention_round(retention);
        while (rc == TEND_AGAIN);
    audit_close(retention->audit);
    for (uint32_t i = 0; i < retention->rules_count && rc == 0; i++)
        (void)printf("%s  %" PRIu64 " days  %" PRIu64 " keys %s\n", retention->rules[i].profile,
                     retention->rules[i].days, retention->rules[i].count,
                     retention->dry ? "would be destroyed" : "destroyed");
    return rc == 0 ? 0 : command_fail(EX_IOERR, "retention: %s", strerror(-rc));
}

int command_retention(int argc, char **argv)
{
    const char *config;
    bool dry = false;
    struct command_parts parts;
    if (words_read(argc, argv, &config, &dry) != 0)
        return command_fail(EX_USAGE, "%s", retention_usage);
    struct retention *retention = calloc(1, sizeof(*retention));
    if (retention == NULL)
        return command_fail(EX_OSERR, "no memory");
    int status = command_open(&parts, config);
    if (status == 0) {
        retention->store = parts.store;
        retention->dry = dry;
        status = retention_do(&parts, retention);
        command_close(&parts);
    }
    free(retention);
    return status;
}
