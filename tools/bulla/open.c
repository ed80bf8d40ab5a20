/* bulla open: fetches the key as a recipient and gives the original back, byte for byte. */
#include "crypto/core.h"
#include "crypto/secret.h"
#include "envelope/unsealed.h"
#include "tools/bulla/command.h"
#include "tools/bulla/file.h"
#include "tools/bulla/https.h"
#include "tools/bulla/password.h"
#include "tools/bulla/release.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define OPEN_BYTES_MAX         (512ul * 1024 * 1024) /* a sealed message of IPC_MAIL_BYTES_MAX fits */
#define OPEN_TIMEOUT_S_DEFAULT 30
#define OPEN_TIMEOUT_S_MAX     3600

static const char open_usage[] =
    "usage: bulla open --key-service URL --user ADDR [ENVELOPE] > ORIGINAL.eml\n"
    "  --key-service URL    of the key service, https://host[:port]   [$BULLA_KEYD_URL]\n"
    "  --user ADDR          one of the recipients                      [$BULLA_USER]\n"
    "  --password-file F    its first line is the password; else the terminal is asked\n"
    "                                                                  [$BULLA_PASSWORD_FILE]\n"
    "  --totp-file F        its first line is the code of the account's app, where it has one;\n"
    "                       else the terminal is asked\n"
    "  --ca F               PEM file of the authority to trust         [$BULLA_CA; the system's]\n"
    "  --timeout S          seconds to wait for the key service        [30]\n"
    "ENVELOPE is a sealed mail or the bare HTML attachment; stdin when it is not given.\n"
    "exit: 0 opened, 65 no or a damaged envelope, 69 key service not trusted, 75 try again,\n"
    "      77 not allowed, 78 configuration, 64 command line\n";

struct open_options {
    const char *key_service_url;
    const char *user;
    const char *password_file;
    const char *totp_file;
    const char *ca_file;
    const char *envelope_file;
    uint32_t timeout_s;
};

/* -1: go on; anything else is the exit status. */
static int open_options_read(struct open_options *options, int argc, char **argv)
{
    static const struct option known[] = {
        {"key-service", required_argument, NULL, 'k'},
        {"user", required_argument, NULL, 'u'},
        {"password-file", required_argument, NULL, 'p'},
        {"totp-file", required_argument, NULL, 'o'},
        {"ca", required_argument, NULL, 'c'},
        {"timeout", required_argument, NULL, 't'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    options->key_service_url = command_environment("BULLA_KEYD_URL", NULL);
    options->user = command_environment("BULLA_USER", NULL);
    options->password_file = command_environment("BULLA_PASSWORD_FILE", NULL);
    options->totp_file = NULL;
    options->ca_file = command_environment("BULLA_CA", NULL);
    options->timeout_s = OPEN_TIMEOUT_S_DEFAULT;
    int option = 0;
    while ((option = getopt_long(argc, argv, ":", known, NULL)) != -1) {
        switch (option) {
        case 'k': options->key_service_url = optarg; break;
        case 'u': options->user = optarg; break;
        case 'p': options->password_file = optarg; break;
        case 'o': options->totp_file = optarg; break;
        case 'c': options->ca_file = optarg; break;
        case 't': options->timeout_s = command_seconds(optarg, OPEN_TIMEOUT_S_MAX); break;
        case 'h': fputs(open_usage, stdout); return 0;
        default: return command_bad_option(option, argv);
        }
    }
    if (argc - optind > 1)
        return command_fail(EX_USAGE, "one envelope at a time; see 'bulla open --help'");
    options->envelope_file = optind < argc ? argv[optind] : NULL;
    if (options->timeout_s == 0)
        return command_fail(EX_USAGE, "--timeout takes 1 to %d seconds", OPEN_TIMEOUT_S_MAX);
    if (options->key_service_url == NULL)
        return command_fail(EX_USAGE, "no key service is named: use --key-service URL");
    if (options->user == NULL)
        return command_fail(EX_USAGE, "no reader is named: use --user ADDR");
    return -1;
}

static int open_envelope(const char *path, struct unsealed *unsealed)
{
    uint8_t *text = NULL;
    size_t text_bytes = 0;
    const char *name = path == NULL ? "stdin" : path;
    int rc = file_read(path, OPEN_BYTES_MAX, &text, &text_bytes);
    if (rc == -EFBIG)
        return command_fail(EX_DATAERR, "%s is larger than any sealed mail", name);
    if (rc == -ENOMEM)
        return command_fail(EX_OSERR, "no memory is left");
    if (rc != 0)
        return command_fail(EX_NOINPUT, "%s cannot be read: %s", name, strerror(-rc));
    rc = unsealed_read(unsealed, text, text_bytes);
    file_forget(text, text_bytes);
    switch (rc) {
    case 0: return 0;
    case -ENODATA:
        return command_fail(EX_DATAERR,
                            "%s was cut short: fetch or save the attachment again, whole", name);
    case -EBADMSG:
        return command_fail(EX_DATAERR,
                            "%s was damaged in transit: ask the sender to send it again", name);
    case -EINVAL:
        return command_fail(EX_DATAERR,
                            "%s holds no bulla envelope: give the sealed mail or its HTML "
                            "attachment",
                            name);
    default: return command_fail(EX_OSERR, "%s: %s", name, strerror(-rc));
    }
}

static int open_message(const struct unsealed *unsealed, const uint8_t *key, uint8_t **mail,
                        size_t *mail_bytes)
{
    struct crypto_core *core = NULL;
    int rc = crypto_core_open(&core, isa_best());
    if (rc != 0)
        return command_fail(EX_OSERR, "this processor cannot decrypt: %s", strerror(-rc));
    rc = unsealed_open(unsealed, core, key, mail, mail_bytes);
    crypto_core_close(core);
    if (rc == -ENOMEM)
        return command_fail(EX_OSERR, "no memory is left");
    if (rc != 0)
        return command_fail(EX_DATAERR,
                            "the envelope was damaged in transit: ask the sender to send it again");
    return 0;
}

/* Asks for the code only where the account has one, unless a file says it. */
static int open_fetch(const struct open_options *options, struct release_request *request,
                      uint8_t key[COBBLE_KEY_BYTES_MAX])
{
    char code[PASSWORD_BYTES];
    int exit_status = RELEASE_CODE_NEEDED;
    if (options->totp_file == NULL)
        exit_status = release_fetch(request, key);
    if (exit_status != RELEASE_CODE_NEEDED)
        return exit_status;
    exit_status = password_code_read(options->totp_file, options->user, code);
    if (exit_status != 0)
        return exit_status;
    request->totp = code;
    exit_status = release_fetch(request, key);
    request->totp = NULL;
    secret_wipe(code, sizeof(code));
    return exit_status;
}

static int open_with_password(const struct open_options *options, const struct unsealed *unsealed)
{
    char password[PASSWORD_BYTES];
    uint8_t key[COBBLE_KEY_BYTES_MAX];
    int exit_status = password_read(options->password_file, options->user, password);
    if (exit_status != 0)
        return exit_status;
    struct release_request request = {
        .key_service_url = options->key_service_url,
        .ca_file = options->ca_file,
        .user = options->user,
        .password = password,
        .timeout_s = options->timeout_s,
        .id = &unsealed->id,
        .suite = unsealed->suite,
    };
    exit_status = open_fetch(options, &request, key);
    secret_wipe(password, sizeof(password));
    uint8_t *mail = NULL;
    size_t mail_bytes = 0;
    if (exit_status == 0)
        exit_status = open_message(unsealed, key, &mail, &mail_bytes);
    secret_wipe(key, sizeof(key));
    if (exit_status != 0)
        return exit_status;
    int rc = file_write_all(STDOUT_FILENO, mail, mail_bytes);
    file_forget(mail, mail_bytes);
    if (rc != 0)
        return command_fail(EX_IOERR, "the original cannot be written: %s", strerror(-rc));
    return 0;
}

int command_open(int argc, char **argv)
{
    struct open_options options;
    int exit_status = open_options_read(&options, argc, argv);
    if (exit_status >= 0)
        return exit_status;
    https_init();
    struct unsealed unsealed;
    exit_status = open_envelope(options.envelope_file, &unsealed);
    if (exit_status != 0)
        return exit_status;
    exit_status = open_with_password(&options, &unsealed);
    unsealed_fini(&unsealed);
    return exit_status;
}
