#include "keyservice/server/pki.h"

#include "base/assert.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PKI_SERIAL_BYTES    16
#define PKI_BACKDATE_S      3600 /* for clocks that are a little behind ours */
#define PKI_ALT_NAMES_BYTES 512

/* Given as the passphrase, so that OpenSSL never asks a terminal for one. */
static char no_passphrase[] = "";

struct pki_ca {
    X509 *certificate;
    EVP_PKEY *key;
};

bool pki_name_valid(const char *name)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    const size_t chars = strlen(name);
    return chars > 0 && chars < PKI_NAME_BYTES_MAX && strspn(name, allowed) == chars;
}

/* Opens a new file of the given mode, or says that one is there. */
static int file_new(const char *path, mode_t mode, FILE **file)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0)
        return -errno;
    *file = fdopen(fd, "w");
    if (*file == NULL) {
        (void)close(fd);
        return -ENOMEM;
    }
    /* The umask may have taken bits that a certificate needs. */
    return fchmod(fd, mode) != 0 ? -errno : 0;
}

static int file_finish(FILE *file, bool fine)
{
    if (!fine) {
        (void)fclose(file);
        return -EIO;
    }
    if (fflush(file) != 0 || fsync(fileno(file)) != 0) {
        (void)fclose(file);
        return -EIO;
    }
    return fclose(file) != 0 ? -EIO : 0;
}

static int key_save(const char *path, const EVP_PKEY *key)
{
    FILE *file = NULL;
    const int rc = file_new(path, 0600, &file);
    if (rc != 0)
        return rc;
    return file_finish(file, PEM_write_PKCS8PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1);
}

static int certificate_save(const char *path, X509 *certificate)
{
    FILE *file = NULL;
    const int rc = file_new(path, 0644, &file);
    if (rc != 0)
        return rc;
    return file_finish(file, PEM_write_X509(file, certificate) == 1);
}

static void ca_close(struct pki_ca *ca)
{
    X509_free(ca->certificate);
    EVP_PKEY_free(ca->key);
    *ca = (struct pki_ca){0};
}

static int ca_open(struct pki_ca *ca, const char *certificate_path, const char *key_path)
{
    *ca = (struct pki_ca){0};
    FILE *file = fopen(certificate_path, "re");
    if (file == NULL)
        return -errno;
    ca->certificate = PEM_read_X509(file, NULL, NULL, no_passphrase);
    (void)fclose(file);
    file = fopen(key_path, "re");
    if (file == NULL) {
        const int rc = -errno;
        ca_close(ca);
        return rc;
    }
    ca->key = PEM_read_PrivateKey(file, NULL, NULL, no_passphrase);
    (void)fclose(file);
    if (ca->certificate == NULL || ca->key == NULL ||
        X509_check_private_key(ca->certificate, ca->key) != 1) {
        ca_close(ca);
        return -EIO;
    }
    return 0;
}

static bool serial_set(X509 *certificate)
{
    uint8_t serial[PKI_SERIAL_BYTES];
    if (RAND_bytes(serial, sizeof(serial)) != 1)
        return false;
    serial[0] = (uint8_t)((serial[0] & 0x7f) | 0x40); /* positive and of full length */
    BIGNUM *number = BN_bin2bn(serial, sizeof(serial), NULL);
    const bool fine =
        number != NULL && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != NULL;
    BN_free(number);
    return fine;
}

static bool name_set(X509 *certificate, const char *name)
{
    X509_NAME *subject = X509_get_subject_name(certificate);
    return X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_ASC, (const unsigned char *)"bulla",
                                      -1, -1, 0) == 1 &&
           X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1,
                                      -1, 0) == 1;
}

static bool extension_add(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    const bool fine = extension != NULL && X509_add_ext(certificate, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return fine;
}

/* What a certificate is for. */
struct pki_purpose {
    const char *name;
    int days;
    const char *basic;
    const char *usage;
    const char *extended; /* NULL: none */
    const char *alt;      /* NULL: none */
};

/* Signs `key` for a purpose; with no `ca` it signs itself. */
static X509 *certificate_make(const struct pki_purpose *purpose, EVP_PKEY *key,
                              const struct pki_ca *ca)
{
    X509 *certificate = X509_new();
    if (certificate == NULL)
        return NULL;
    X509 *issuer = ca == NULL ? certificate : ca->certificate;
    EVP_PKEY *signer = ca == NULL ? key : ca->key;
    const long life_s = (long)purpose->days * 86400 - PKI_BACKDATE_S - 1;
    const bool fine =
        X509_set_version(certificate, X509_VERSION_3) == 1 && serial_set(certificate) &&
        name_set(certificate, purpose->name) &&
        X509_set_issuer_name(certificate, X509_get_subject_name(issuer)) == 1 &&
        X509_gmtime_adj(X509_getm_notBefore(certificate), -PKI_BACKDATE_S) != NULL &&
        X509_gmtime_adj(X509_getm_notAfter(certificate), life_s) != NULL &&
        X509_set_pubkey(certificate, key) == 1 &&
        extension_add(certificate, issuer, NID_basic_constraints, purpose->basic) &&
        extension_add(certificate, issuer, NID_key_usage, purpose->usage) &&
        (purpose->extended == NULL ||
         extension_add(certificate, issuer, NID_ext_key_usage, purpose->extended)) &&
        (purpose->alt == NULL ||
         extension_add(certificate, issuer, NID_subject_alt_name, purpose->alt)) &&
        extension_add(certificate, issuer, NID_subject_key_identifier, "hash") &&
        extension_add(certificate, issuer, NID_authority_key_identifier, "keyid:always") &&
        X509_sign(certificate, signer, EVP_sha256()) > 0;
    if (!fine) {
        X509_free(certificate);
        return NULL;
    }
    return certificate;
}

/* Makes a key and its certificate and saves both; the certificate is returned for its digest. */
static int pair_make(const struct pki_purpose *purpose, const struct pki_ca *ca,
                     const char *certificate_path, const char *key_path, X509 **certificate)
{
    EVP_PKEY *key = EVP_EC_gen("prime256v1");
    if (key == NULL)
        return -EIO;
    X509 *made = certificate_make(purpose, key, ca);
    int rc = made == NULL ? -EIO : key_save(key_path, key);
    if (rc == 0)
        rc = certificate_save(certificate_path, made);
    EVP_PKEY_free(key);
    if (rc != 0) {
        X509_free(made);
        return rc;
    }
    *certificate = made;
    return 0;
}

int pki_ca_make(const char *certificate_path, const char *key_path)
{
    static const struct pki_purpose purpose = {
        .name = "bulla key service CA",
        .days = PKI_CA_DAYS,
        .basic = "critical,CA:TRUE,pathlen:0",
        .usage = "critical,keyCertSign,cRLSign",
    };
    X509 *certificate = NULL;
    const int rc = pair_make(&purpose, NULL, certificate_path, key_path, &certificate);
    X509_free(certificate);
    return rc;
}

int pki_server_make(const char *ca_certificate_path, const char *ca_key_path, const char *host,
                    const char *certificate_path, const char *key_path)
{
    char alt[PKI_ALT_NAMES_BYTES];
    uint8_t address[16];
    struct pki_ca ca;
    X509 *certificate = NULL;

    /* A comma or colon would end the name and begin another extension value. */
    const bool is_address =
        inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
    if (!is_address && (strlen(host) > 253 || host[strcspn(host, ",: \t\r\n")] != '\0'))
        return -EINVAL;
    (void)snprintf(alt, sizeof(alt), "DNS:localhost,IP:127.0.0.1,IP:::1%s%s",
                   strcmp(host, "localhost") == 0 ? ""
                   : is_address                   ? ",IP:"
                                                  : ",DNS:",
                   strcmp(host, "localhost") == 0 ? "" : host);
    /* A common name has at most 64 characters; browsers read the alternative names alone. */
    const struct pki_purpose purpose = {
        .name = strlen(host) < PKI_NAME_BYTES_MAX ? host : "bulla key service",
        .days = PKI_SERVER_DAYS,
        .basic = "critical,CA:FALSE",
        .usage = "critical,digitalSignature",
        .extended = "serverAuth",
        .alt = alt,
    };
    int rc = ca_open(&ca, ca_certificate_path, ca_key_path);
    if (rc != 0)
        return rc;
    rc = pair_make(&purpose, &ca, certificate_path, key_path, &certificate);
    X509_free(certificate);
    ca_close(&ca);
    return rc;
}

static struct pki_purpose engine_purpose(const char *name)
{
    return (struct pki_purpose){
        .name = name,
        .days = PKI_ENGINE_DAYS,
        .basic = "critical,CA:FALSE",
        .usage = "critical,digitalSignature",
        .extended = "clientAuth",
    };
}

static int certificate_digest(const X509 *certificate, uint8_t fingerprint[PKI_FINGERPRINT_BYTES])
{
    unsigned int bytes = 0;
    if (X509_digest(certificate, EVP_sha256(), fingerprint, &bytes) != 1)
        return -EIO;
    ASSERT(bytes == PKI_FINGERPRINT_BYTES);
    return 0;
}

int pki_engine_make(const char *ca_certificate_path, const char *ca_key_path, const char *name,
                    const char *certificate_path, const char *key_path,
                    uint8_t fingerprint[PKI_FINGERPRINT_BYTES])
{
    struct pki_ca ca;
    X509 *certificate = NULL;
    ASSERT(pki_name_valid(name));
    int rc = ca_open(&ca, ca_certificate_path, ca_key_path);
    if (rc != 0)
        return rc;
    const struct pki_purpose purpose = engine_purpose(name);
    rc = pair_make(&purpose, &ca, certificate_path, key_path, &certificate);
    if (rc == 0)
        rc = certificate_digest(certificate, fingerprint);
    X509_free(certificate);
    ca_close(&ca);
    return rc;
}

static bool key_acceptable(const EVP_PKEY *key)
{
    char group[32];
    size_t group_chars = 0;
    if (EVP_PKEY_is_a(key, "RSA"))
        return EVP_PKEY_get_bits(key) >= 2048 && EVP_PKEY_get_bits(key) <= 8192;
    if (EVP_PKEY_is_a(key, "ED25519"))
        return true;
    return EVP_PKEY_is_a(key, "EC") &&
           EVP_PKEY_get_group_name(key, group, sizeof(group), &group_chars) == 1 &&
           (strcmp(group, "prime256v1") == 0 || strcmp(group, "secp384r1") == 0);
}

static int certificate_to_pem(X509 *certificate, char **pem)
{
    char *text = NULL;
    BIO *bio = BIO_new(BIO_s_mem());
    if (bio == NULL)
        return -ENOMEM;
    if (PEM_write_bio_X509(bio, certificate) != 1) {
        BIO_free(bio);
        return -EIO;
    }
    const long chars = BIO_get_mem_data(bio, &text);
    *pem = chars > 0 ? strndup(text, (size_t)chars) : NULL;
    BIO_free(bio);
    return *pem == NULL ? -ENOMEM : 0;
}

int pki_engine_sign(const char *ca_certificate_path, const char *ca_key_path, const char *name,
                    const char *csr_pem, size_t csr_bytes, char **certificate_pem,
                    uint8_t fingerprint[PKI_FINGERPRINT_BYTES])
{
    struct pki_ca ca;
    ASSERT(pki_name_valid(name));
    if (csr_bytes == 0 || csr_bytes > PKI_CSR_BYTES_MAX)
        return -EBADMSG;
    BIO *bio = BIO_new_mem_buf(csr_pem, (int)csr_bytes);
    X509_REQ *request = bio == NULL ? NULL : PEM_read_bio_X509_REQ(bio, NULL, NULL, no_passphrase);
    BIO_free(bio);
    if (request == NULL)
        return -EBADMSG;
    int rc = 0;
    X509 *certificate = NULL;
    EVP_PKEY *key = X509_REQ_get0_pubkey(request);
    if (key == NULL || !key_acceptable(key) || X509_REQ_verify(request, key) != 1) {
        rc = -EBADMSG;
        goto free_request;
    }
    rc = ca_open(&ca, ca_certificate_path, ca_key_path);
    if (rc != 0)
        goto free_request;
    const struct pki_purpose purpose = engine_purpose(name);
    certificate = certificate_make(&purpose, key, &ca);
    rc = certificate == NULL ? -EIO : certificate_digest(certificate, fingerprint);
    if (rc == 0)
        rc = certificate_to_pem(certificate, certificate_pem);
    X509_free(certificate);
    ca_close(&ca);

free_request:
    X509_REQ_free(request);
    return rc;
}
