/* bulla provision: enrols this machine's engine at a key service by a one-time code. */
#include "tools/bulla/command.h"
#include "tools/bulla/file.h"
#include "tools/bulla/https.h"

#include <errno.h>
#include <getopt.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PROVISION_TIMEOUT_S  30
#define PROVISION_PATH_BYTES 4096
#define PROVISION_CODE_CHARS 256

static const char provision_usage[] =
    "usage: bulla provision --key-service URL --code CODE --out DIR\n"
    "  --key-service URL  of the key service, https://host[:port]     [$BULLA_KEYD_URL]\n"
    "  --ca F             PEM file of the authority to trust          [$BULLA_CA; the system's]\n"
    "  --code CODE        from 'bulla-keyd engine add NAME'; works once, for an hour; '-' reads\n"
    "                     it from stdin, so that no other user of this machine sees it\n"
    "  --out DIR          receives engine.key (mode 0600), engine.crt and ca.crt\n";

struct provision_options {
    const char *key_service_url;
    const char *ca_file;
    const char *code;
    const char *out;
};

/* -1: go on; anything else is the exit status. */
static int provision_options_read(struct provision_options *options, int argc, char **argv)
{
    static const struct option known[] = {
        {"key-service", required_argument, NULL, 'k'},
        {"ca", required_argument, NULL, 'a'},
        {"code", required_argument, NULL, 'c'},
        {"out", required_argument, NULL, 'o'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    options->key_service_url = command_environment("BULLA_KEYD_URL", NULL);
    options->ca_file = command_environment("BULLA_CA", NULL);
    int option = 0;
    while ((option = getopt_long(argc, argv, ":", known, NULL)) != -1) {
        switch (option) {
        case 'k': options->key_service_url = optarg; break;
        case 'a': options->ca_file = optarg; break;
        case 'c': options->code = optarg; break;
        case 'o': options->out = optarg; break;
        case 'h': fputs(provision_usage, stdout); return 0;
        default: return command_bad_option(option, argv);
        }
    }
    if (optind < argc)
        return command_fail(EX_USAGE, "no argument is taken; see 'bulla provision --help'");
    if (options->key_service_url == NULL)
        return command_fail(EX_USAGE, "no key service is named: use --key-service URL");
    if (options->code == NULL)
        return command_fail(EX_USAGE, "no code is given: use --code CODE");
    if (options->out == NULL)
        return command_fail(EX_USAGE, "no folder is named: use --out DIR");
    return -1;
}

/* A PEM text in memory; NULL when OpenSSL cannot. The caller frees the BIO. */
static BIO *provision_request_pem(EVP_PKEY *pair)
{
    BIO *pem = NULL;
    X509_REQ *request = X509_REQ_new();
    X509_NAME *name = X509_NAME_new();
    if (request == NULL || name == NULL)
        goto free_both;
    /* The service gives the certificate the name that the code was made for. */
    if (X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"bulla-engine",
                                   -1, -1, 0) != 1 ||
        X509_REQ_set_version(request, 0) != 1 || X509_REQ_set_subject_name(request, name) != 1 ||
        X509_REQ_set_pubkey(request, pair) != 1 || X509_REQ_sign(request, pair, EVP_sha256()) <= 0)
        goto free_both;
    pem = BIO_new(BIO_s_mem());
    if (pem != NULL && PEM_write_bio_X509_REQ(pem, request) != 1) {
        BIO_free(pem);
        pem = NULL;
    }

free_both:
    X509_NAME_free(name);
    X509_REQ_free(request);
    return pem;
}

static int provision_file(const char *folder, const char *name, mode_t mode, const void *text,
                          size_t bytes)
{
    char path[PROVISION_PATH_BYTES];
    int chars = snprintf(path, sizeof(path), "%s/%s", folder, name);
    if (chars < 0 || (size_t)chars >= sizeof(path))
        return command_fail(EX_CANTCREAT, "the name of %s is too long", folder);
    int rc = file_replace(path, mode, text, bytes);
    if (rc != 0)
        return command_fail(EX_CANTCREAT, "%s cannot be written: %s", path, strerror(-rc));
    return 0;
}

/* The certificate must be for our key: else the engine would fail much later. */
static bool provision_certifies(const char *certificate, EVP_PKEY *pair)
{
    bool certified = false;
    BIO *pem = BIO_new_mem_buf(certificate, -1);
    X509 *x509 = pem == NULL ? NULL : PEM_read_bio_X509(pem, NULL, NULL, NULL);
    if (x509 != NULL)
        certified = X509_check_private_key(x509, pair) == 1;
    X509_free(x509);
    BIO_free(pem);
    return certified;
}

static int provision_write(const struct provision_options *options, EVP_PKEY *pair,
                           const struct https_answer *answer)
{
    const char *certificate = json_string_value(json_object_get(answer->json, "certificate"));
    const char *ca = json_string_value(json_object_get(answer->json, "ca"));
    if (certificate == NULL || ca == NULL || !provision_certifies(certificate, pair))
        return command_fail(EX_UNAVAILABLE, "%s did not answer as a key service does",
                            options->key_service_url);
    BIO *key = BIO_new(BIO_s_secmem());
    char *key_text = NULL;
    long key_bytes = 0;
    int exit_status = EX_OSERR;
    if (key != NULL && PEM_write_bio_PrivateKey(key, pair, NULL, NULL, 0, NULL, NULL) == 1)
        key_bytes = BIO_get_mem_data(key, &key_text);
    if (key_bytes <= 0)
        exit_status = command_fail(EX_OSERR, "the key cannot be written as PEM");
    else
        exit_status = provision_file(options->out, "engine.key", 0600, key_text, (size_t)key_bytes);
    BIO_free(key);
    if (exit_status == 0)
        exit_status =
            provision_file(options->out, "engine.crt", 0644, certificate, strlen(certificate));
    if (exit_status == 0)
        exit_status = provision_file(options->out, "ca.crt", 0644, ca, strlen(ca));
    if (exit_status == 0)
        printf("enrolled; name %s/engine.crt, engine.key and ca.crt in bulla.conf\n", options->out);
    return exit_status;
}

static int provision_refused(const struct provision_options *options,
                             const struct https_answer *answer)
{
    const char *code = https_error_code(answer);
    const char *message = https_error_message(answer);
    if (answer->status == 401 || strcmp(code, "credentials") == 0)
        return command_fail(EX_NOPERM,
                            "the code is wrong, used or older than an hour: make another with "
                            "'bulla-keyd engine add NAME'");
    if (answer->status == 429 || answer->status >= 500)
        return command_fail(EX_TEMPFAIL, "the key service %s is away (HTTP %ld): try again later",
                            options->key_service_url, answer->status);
    return command_fail(EX_UNAVAILABLE, "%s refused (HTTP %ld): %s", options->key_service_url,
                        answer->status, message[0] == '\0' ? "no reason given" : message);
}

static int provision_exchange(const struct provision_options *options, const char *code,
                              EVP_PKEY *pair)
{
    BIO *csr = provision_request_pem(pair);
    char *csr_text = NULL;
    long csr_bytes = csr == NULL ? 0 : BIO_get_mem_data(csr, &csr_text);
    if (csr_bytes <= 0) {
        BIO_free(csr);
        return command_fail(EX_OSERR, "no certificate request can be made");
    }
    json_t *body = json_pack("{s:s, s:s%}", "code", code, "csr", csr_text, (size_t)csr_bytes);
    BIO_free(csr);
    if (body == NULL)
        return command_fail(EX_USAGE, "the code must be UTF-8 text");
    char why[HTTPS_WHY_BYTES];
    struct https_answer answer;
    const struct https_request post = {
        .base_url = options->key_service_url,
        .path = "/v1/enrol",
        .ca_file = options->ca_file,
        .timeout_s = PROVISION_TIMEOUT_S,
        .body = body,
    };
    int exit_status = https_post(&post, &answer, why);
    json_decref(body);
    if (exit_status != 0)
        return command_fail(exit_status, "%s", why);
    if (answer.status == 200)
        exit_status = provision_write(options, pair, &answer);
    else
        exit_status = provision_refused(options, &answer);
    https_answer_fini(&answer);
    return exit_status;
}

static int provision_run(const struct provision_options *options)
{
    char code[PROVISION_CODE_CHARS];
    if (strcmp(options->code, "-") == 0) {
        if (fgets(code, sizeof(code), stdin) == NULL)
            return command_fail(EX_NOINPUT, "stdin holds no code");
        code[strcspn(code, "\r\n")] = '\0';
    } else if (snprintf(code, sizeof(code), "%s", options->code) >= (int)sizeof(code)) {
        return command_fail(EX_USAGE, "this is no code: it is too long");
    }
    /* The folder first: a code that was spent for nothing is a nuisance. */
    if (mkdir(options->out, 0700) != 0 && errno != EEXIST)
        return command_fail(EX_CANTCREAT, "%s cannot be made: %s", options->out, strerror(errno));
    if (access(options->out, W_OK | X_OK) != 0)
        return command_fail(EX_CANTCREAT, "%s cannot be written to: %s", options->out,
                            strerror(errno));
    EVP_PKEY *pair = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    if (pair == NULL)
        return command_fail(EX_OSERR, "no key pair can be made");
    int exit_status = provision_exchange(options, code, pair);
    EVP_PKEY_free(pair);
    return exit_status;
}

int command_provision(int argc, char **argv)
{
    struct provision_options options = {0};
    int exit_status = provision_options_read(&options, argc, argv);
    if (exit_status >= 0)
        return exit_status;
    https_init();
    return provision_run(&options);
}
