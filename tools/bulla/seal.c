/* bulla seal: hands one message to the engine and writes the sealed mail. */
#include "envelope/address.h"
#include "ipc/layout.h"
#include "mta/bulla.h"
#include "policy/profile.h"
#include "tools/bulla/addresses.h"
#include "tools/bulla/command.h"
#include "tools/bulla/file.h"

#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SEAL_TIMEOUT_S_DEFAULT 60
#define SEAL_TIMEOUT_S_MAX     3600

static const char seal_usage[] =
    "usage: bulla seal [--profile P] [--from ADDR] [--to ADDR]... [IN.eml] > OUT.eml\n"
    "  --profile P    the engine's profile to seal by                  [default]\n"
    "  --from ADDR    envelope sender; '' is the null sender           [From: of the message]\n"
    "  --to ADDR      envelope recipient; may be repeated              [To:, Cc: and Bcc:]\n"
    "  --socket PATH  of the engine          [$BULLA_SOCKET; " BULLA_SOCKET_DEFAULT "]\n"
    "  --queue        the engine may keep the message and send it on later\n"
    "  --allow-pass   write the message as it is when the policy says not to seal it\n"
    "  --timeout S    seconds to wait for the sealed mail              [60]\n"
    "IN.eml is stdin when it is not given. Nothing is kept anywhere unless --queue is given.\n"
    "exit: 0 sealed, 65 not a mail message or refused, 75 try again, 77 not allowed or\n"
    "      not to be sealed, 78 no such profile, 64 command line\n";

struct seal_options {
    const char *profile;
    const char *sender; /* NULL: the message's own */
    const char **recipients;
    uint32_t recipients_count;
    const char *socket_path;
    const char *mail_file;
    uint32_t timeout_s;
    bool queue;
    bool allow_pass; /* cleartext may be written where the policy says so */
};

/* The engine checks again; here the message can name the option. */
static bool seal_address_fits(const char *text)
{
    struct address address;
    return address_parse(&address, (const uint8_t *)text, strlen(text)) == 0;
}

/* As policy/profile.h has it. A name that no profile can have is answered like one that none has.
 */
static bool seal_profile_fits(const char *name)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t bytes = strlen(name);
    return bytes > 0 && bytes < PROFILE_NAME_BYTES && strspn(name, letters) == bytes;
}

static int seal_add_recipient(struct seal_options *options, const char *address)
{
    if (!seal_address_fits(address))
        return command_fail(EX_USAGE, "'%s' is no mail address: it reads name@domain", address);
    if (options->recipients_count == IPC_RECIPIENTS_MAX)
        return command_fail(EX_USAGE, "at most %d recipients fit one envelope", IPC_RECIPIENTS_MAX);
    options->recipients[options->recipients_count++] = address;
    return -1;
}

/* -1: go on; anything else is the exit status. */
static int seal_option(struct seal_options *options, int option, char **argv)
{
    switch (option) {
    case 'p':
        if (!seal_profile_fits(optarg))
            return command_fail(
                EX_CONFIG, "no profile can be named '%s': take one of those in bulla.conf", optarg);
        options->profile = optarg;
        return -1;
    case 'f':
        if (optarg[0] != '\0' && !seal_address_fits(optarg))
            return command_fail(EX_USAGE, "'%s' is no mail address: it reads name@domain", optarg);
        options->sender = optarg;
        return -1;
    case 't': return seal_add_recipient(options, optarg);
    case 's': options->socket_path = optarg; return -1;
    case 'q': options->queue = true; return -1;
    case 'a': options->allow_pass = true; return -1;
    case 'w':
        options->timeout_s = command_seconds(optarg, SEAL_TIMEOUT_S_MAX);
        if (options->timeout_s == 0)
            return command_fail(EX_USAGE, "--timeout takes 1 to %d seconds", SEAL_TIMEOUT_S_MAX);
        return -1;
    case 'h': fputs(seal_usage, stdout); return 0;
    default: return command_bad_option(option, argv);
    }
}

static int seal_options_read(struct seal_options *options, int argc, char **argv)
{
    static const struct option known[] = {
        {"profile", required_argument, NULL, 'p'},
        {"from", required_argument, NULL, 'f'},
        {"to", required_argument, NULL, 't'},
        {"socket", required_argument, NULL, 's'},
        {"queue", no_argument, NULL, 'q'},
        {"timeout", required_argument, NULL, 'w'},
        {"allow-pass", no_argument, NULL, 'a'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    options->socket_path = command_environment("BULLA_SOCKET", BULLA_SOCKET_DEFAULT);
    options->timeout_s = SEAL_TIMEOUT_S_DEFAULT;
    int option = 0;
    while ((option = getopt_long(argc, argv, ":", known, NULL)) != -1) {
        int exit_status = seal_option(options, option, argv);
        if (exit_status >= 0)
            return exit_status;
    }
    if (argc - optind > 1)
        return command_fail(EX_USAGE, "one message at a time; see 'bulla seal --help'");
    options->mail_file = optind < argc ? argv[optind] : NULL;
    return -1;
}

static int seal_mail_read(const char *path, uint8_t **mail, size_t *mail_bytes)
{
    const char *name = path == NULL ? "stdin" : path;
    int rc = file_read(path, IPC_MAIL_BYTES_MAX, mail, mail_bytes);
    if (rc == -EFBIG)
        return command_fail(EX_DATAERR, "%s is larger than %d MiB, the most that can be sealed",
                            name, IPC_MAIL_BYTES_MAX / (1024 * 1024));
    if (rc == -ENOMEM)
        return command_fail(EX_OSERR, "no memory is left");
    if (rc != 0)
        return command_fail(EX_NOINPUT, "%s cannot be read: %s", name, strerror(-rc));
    return 0;
}

/* What the library could not do: who must mend what. */
static int seal_failed(int rc, const struct seal_options *options)
{
    const char *path = options->socket_path;
    switch (-rc) {
    case ENOENT:
    case ECONNREFUSED:
    case ENOTDIR:
        return command_fail(EX_TEMPFAIL,
                            "no engine answers at %s: start bullad, or name its socket with "
                            "--socket",
                            path);
    case EACCES:
    case EPERM:
        return command_fail(EX_NOPERM,
                            "this user may not use the engine at %s: add it to the engine's users "
                            "or groups",
                            path);
    case EPROTO:
        return command_fail(EX_UNAVAILABLE,
                            "the engine at %s speaks another version: install the same one", path);
    case EPIPE:
    case ECONNRESET:
        return command_fail(EX_TEMPFAIL, "the engine at %s went away: try again", path);
    case EAGAIN:
    case EBUSY:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case EUSERS:
        return command_fail(EX_TEMPFAIL, "the engine at %s is full: try again later", path);
    case ETIMEDOUT:
        return command_fail(EX_TEMPFAIL, "the engine at %s did not answer within %u s: try again",
                            path, options->timeout_s);
    case EMSGSIZE:
        return command_fail(EX_DATAERR, "the message is larger than the engine at %s takes", path);
    case EINVAL:
        return command_fail(EX_DATAERR,
                            "the engine's library refuses this profile name or these addresses");
    case ENAMETOOLONG:
        return command_fail(EX_USAGE, "%s is too long for the path of a socket", path);
    default:
        return command_fail(EX_TEMPFAIL, "the engine at %s cannot be reached: %s", path,
                            strerror(-rc));
    }
}

/* The code (RFC 3463) says what kind of refusal it is: 5.3.5 configuration, 5.7.x policy, any other
 * (5.6.0: the key service refuses this one) the message itself. */
static int seal_refused(const struct bulla_completion *completion)
{
    const char *code = completion->enhanced_status;
    int exit_status = EX_DATAERR;
    if (strcmp(code, "5.3.5") == 0)
        exit_status = EX_CONFIG;
    else if (strncmp(code, "5.7.", 4) == 0)
        exit_status = EX_NOPERM;
    return command_fail(exit_status, "refused (%s): %s", code, completion->text);
}

static int seal_write(const struct iovec *spans, uint32_t spans_count)
{
    int rc = 0;
    for (uint32_t i = 0; i < spans_count && rc == 0; i++)
        rc = file_write_all(STDOUT_FILENO, spans[i].iov_base, spans[i].iov_len);
    if (rc != 0)
        return command_fail(EX_IOERR, "the mail cannot be written: %s", strerror(-rc));
    return 0;
}

/* Whoever called `bulla seal` takes its output for sealed, unless they said otherwise. */
static int seal_passed(const struct seal_options *options, const struct iovec *mail)
{
    if (!options->allow_pass)
        return command_fail(EX_NOPERM, "not sealed, nothing was written: the policy lets this "
                                       "message pass as it is; --allow-pass writes it");
    command_note("not sealed: the policy lets this message pass as it is");
    return seal_write(mail, 1);
}

static int seal_completed(const struct seal_options *options,
                          const struct bulla_completion *completion, const struct iovec *mail)
{
    switch (completion->status) {
    case BULLA_SEALED: return seal_write(completion->spans, completion->spans_count);
    case BULLA_QUEUED:
        command_note("the engine keeps the message as %s and will send it on",
                     completion->envelope_id);
        return 0;
    case BULLA_PASSED: return seal_passed(options, mail);
    case BULLA_REFUSED: return seal_refused(completion);
    case BULLA_RETRY:
        return command_fail(EX_TEMPFAIL, "not now, nothing was kept: %s", completion->text);
    }
    return command_fail(EX_UNAVAILABLE, "the engine speaks another version: install the same one");
}

/* One message through an attachment of its own: 0 or -errno of the library; *exit_status then. */
static int seal_through(struct bulla *bulla, const struct seal_options *options,
                        const struct bulla_request *request, const struct iovec *mail,
                        int *exit_status)
{
    struct bulla_reservation reservation;
    struct bulla_completion completion;
    int rc = bulla_reserve(bulla, request, &reservation);
    if (rc != 0)
        return rc;
    if (mail->iov_len > 0)
        memcpy(reservation.mail, mail->iov_base, mail->iov_len);
    rc = bulla_submit(bulla, &reservation);
    if (rc != 0) {
        bulla_cancel(bulla, &reservation);
        return rc;
    }
    rc = bulla_wait(bulla, (int)options->timeout_s * 1000);
    if (rc < 0)
        return rc;
    rc = rc == 0 ? 0 : bulla_poll(bulla, &completion, 1);
    if (rc < 0)
        return rc;
    if (rc == 0)
        return -ETIMEDOUT;
    *exit_status = seal_completed(options, &completion, mail);
    bulla_release(bulla, &completion);
    return 0;
}

static int seal_message(const struct seal_options *options, const struct addresses *addresses,
                        const struct iovec *mail)
{
    const struct bulla_config config = {
        .socket_path = options->socket_path,
        .slots_count = IPC_SLOTS_MIN,
        .input_bytes = MAX(mail->iov_len, (size_t)1), /* one message; the library adds the rest */
    };
    const bool own = options->recipients_count > 0;
    const struct bulla_request request = {
        .profile = options->profile,
        .sender = options->sender != NULL ? options->sender : addresses->sender,
        .recipients = own ? options->recipients : (const char *const *)addresses->recipients,
        .recipients_count = own ? options->recipients_count : addresses->recipients_count,
        .flags = options->queue ? BULLA_QUEUE : 0,
        .mail_bytes = mail->iov_len,
    };
    struct bulla *bulla = NULL;
    int exit_status = EX_SOFTWARE;
    int rc = bulla_attach(&bulla, &config);
    if (rc == 0) {
        rc = seal_through(bulla, options, &request, mail, &exit_status);
        bulla_detach(bulla);
    }
    return rc == 0 ? exit_status : seal_failed(rc, options);
}

/* The message's own addresses, for what the command line left out. */
static int seal_addresses(const struct seal_options *options, const uint8_t *mail,
                          size_t mail_bytes, struct addresses *addresses)
{
    const char *name = options->mail_file == NULL ? "stdin" : options->mail_file;
    int rc = addresses_read(addresses, mail, mail_bytes);
    if (rc == -E2BIG && options->recipients_count == 0)
        return command_fail(EX_DATAERR, "%s names more than %d recipients: seal it in parts", name,
                            IPC_RECIPIENTS_MAX);
    if (rc != 0 && rc != -E2BIG)
        return command_fail(EX_OSERR, "no memory is left");
    if (options->recipients_count > 0 || addresses->recipients_count > 0)
        return 0;
    if (options->sender == NULL && addresses->sender == NULL)
        return command_fail(EX_DATAERR,
                            "%s is not a mail message: it has no From and no To; to seal any "
                            "bytes name --from and --to",
                            name);
    return command_fail(EX_DATAERR, "%s names no recipient: add one with --to ADDR", name);
}

static int seal_run(const struct seal_options *options)
{
    uint8_t *mail = NULL;
    size_t mail_bytes = 0;
    int exit_status = seal_mail_read(options->mail_file, &mail, &mail_bytes);
    if (exit_status != 0)
        return exit_status;
    struct addresses addresses = {0};
    exit_status = seal_addresses(options, mail, mail_bytes, &addresses);
    if (exit_status == 0) {
        const struct iovec whole = {.iov_base = mail, .iov_len = mail_bytes};
        exit_status = seal_message(options, &addresses, &whole);
    }
    addresses_fini(&addresses);
    file_forget(mail, mail_bytes);
    return exit_status;
}

int command_seal(int argc, char **argv)
{
    struct seal_options options = {0};
    options.recipients = calloc(IPC_RECIPIENTS_MAX, sizeof(*options.recipients));
    if (options.recipients == NULL)
        return command_fail(EX_OSERR, "no memory is left");
    int exit_status = seal_options_read(&options, argc, argv);
    if (exit_status < 0)
        exit_status = seal_run(&options);
    free(options.recipients);
    return exit_status;
}
