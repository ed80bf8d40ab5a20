#include "bench/peer.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "crypto/cobblestone.h"
#include "crypto/gcm_internal.h"

#include <openssl/cms.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PEER_SEED        UINT64_C(0x70656572)
#define PEER_CLOCK_EVERY 32 /* messages between two looks at the clock */
#define PEER_WARM_UP     2  /* untimed, so that memory and caches are the peer's */

/* One message under an expanded key in chunks as the envelope's, each with a nonce of its own. */
static void peer_gcm_one(struct crypto_core *core, const uint8_t *expanded, uint64_t *nonces_used,
                         const struct mailset_mail *mail, uint8_t *sealed)
{
    static const struct gcm_aad no_aad = {.bytes_at = NULL, .bytes = 0};
    for (size_t at = 0; at < mail->bytes; at += COBBLE_CHUNK_BYTES) {
        uint8_t nonce[GCM_NONCE_BYTES] = {0};
        bytes_store_be64(nonce + 4, (*nonces_used)++);
        gcm_seal(core, expanded, COBBLE_KEY_BYTES_MAX, nonce, no_aad, sealed, mail->bytes_at + at,
                 MIN(mail->bytes - at, (size_t)COBBLE_CHUNK_BYTES));
    }
}

int peer_gcm(const struct mailset *set, uint64_t duration_ns, struct peer_rate *rate,
             char why[MAILSET_WHY_BYTES])
{
    static _Alignas(CACHE_LINE) uint8_t expanded[GCM_EXPANDED_BYTES];
    static uint8_t sealed[COBBLE_SEALED_CHUNK_BYTES];
    uint8_t key[COBBLE_KEY_BYTES_MAX];
    struct crypto_core *core;

    const int rc = crypto_core_open(&core, isa_best());
    if (rc != 0) {
        (void)snprintf(why, MAILSET_WHY_BYTES, "ipsec-mb: %s", strerror(-rc));
        return rc;
    }
    crypto_random(core, key, sizeof(key));
    gcm_expand(core, expanded, key, sizeof(key));

    uint64_t state = PEER_SEED;
    uint64_t nonces_used = 0;
    for (uint32_t i = 0; i < PEER_WARM_UP; i++)
        peer_gcm_one(core, expanded, &nonces_used, mailset_pick(set, mailset_random(&state)),
                     sealed);
    const uint64_t start_ns = clock_monotonic_ns();
    uint64_t now_ns = start_ns;
    memset(rate, 0, sizeof(*rate));
    while (now_ns - start_ns < duration_ns) {
        for (uint32_t i = 0; i < PEER_CLOCK_EVERY; i++) {
            const struct mailset_mail *mail = mailset_pick(set, mailset_random(&state));
            peer_gcm_one(core, expanded, &nonces_used, mail, sealed);
            rate->messages++;
            rate->bytes += mail->bytes;
        }
        now_ns = clock_monotonic_ns();
    }
    rate->seconds = (double)(now_ns - start_ns) / (double)NS_PER_S;
    crypto_core_close(core);
    return 0;
}

/* A self-signed RSA-2048 recipient, made here: its making is not timed. */
static int peer_recipient(EVP_PKEY **pkey, X509 **certificate)
{
    *pkey = EVP_RSA_gen(2048);
    *certificate = X509_new();
    if (*pkey == NULL || *certificate == NULL)
        return -ENOMEM;
    X509_NAME *name = X509_get_subject_name(*certificate);
    if (X509_set_version(*certificate, 2) != 1 ||
        ASN1_INTEGER_set(X509_get_serialNumber(*certificate), 1) != 1 ||
        X509_gmtime_adj(X509_getm_notBefore(*certificate), 0) == NULL ||
        X509_gmtime_adj(X509_getm_notAfter(*certificate), 86400) == NULL ||
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                   (const unsigned char *)"erin@example.net", -1, -1, 0) != 1 ||
        X509_set_issuer_name(*certificate, name) != 1 ||
        X509_set_pubkey(*certificate, *pkey) != 1 ||
        X509_sign(*certificate, *pkey, EVP_sha256()) == 0)
        return -EIO;
    return 0;
}

/* One message as `openssl cms -encrypt -aes-256-gcm` makes it. */
static int peer_cms_one(STACK_OF(X509) * recipients, const struct mailset_mail *mail, BIO *out)
{
    int rc = -EIO;
    BIO *in = BIO_new_mem_buf(mail->bytes_at, (int)mail->bytes);
    if (in == NULL)
        return -ENOMEM;
    const unsigned int flags = CMS_STREAM | CMS_BINARY;
    CMS_ContentInfo *cms = CMS_encrypt(recipients, in, EVP_aes_256_gcm(), flags);
    if (cms != NULL && SMIME_write_CMS(out, cms, in, (int)flags) == 1)
        rc = 0;
    CMS_ContentInfo_free(cms);
    BIO_free(in);
    return rc;
}

int peer_cms(const struct mailset *set, uint64_t duration_ns, struct peer_rate *rate,
             char why[MAILSET_WHY_BYTES])
{
    EVP_PKEY *pkey = NULL;
    X509 *certificate = NULL;
    /* Written nowhere: a memory BIO would be grown, and cleared for each message. */
    BIO *out = BIO_new(BIO_s_null());
    STACK_OF(X509) *recipients = sk_X509_new_null();
    int rc = out == NULL || recipients == NULL ? -ENOMEM : peer_recipient(&pkey, &certificate);
    if (rc == 0 && sk_X509_push(recipients, certificate) == 0)
        rc = -ENOMEM;

    uint64_t state = PEER_SEED;
    for (uint32_t i = 0; rc == 0 && i < PEER_WARM_UP; i++)
        rc = peer_cms_one(recipients, mailset_pick(set, mailset_random(&state)), out);
    const uint64_t start_ns = clock_monotonic_ns();
    uint64_t now_ns = start_ns;
    memset(rate, 0, sizeof(*rate));
    while (rc == 0 && (now_ns - start_ns < duration_ns || rate->messages < PEER_MESSAGES_MIN)) {
        const struct mailset_mail *mail = mailset_pick(set, mailset_random(&state));
        rc = peer_cms_one(recipients, mail, out);
        rate->messages++;
        rate->bytes += mail->bytes;
        now_ns = clock_monotonic_ns();
    }
    rate->seconds = (double)(now_ns - start_ns) / (double)NS_PER_S;
    if (rc != 0)
        (void)snprintf(why, MAILSET_WHY_BYTES, "OpenSSL CMS encryption failed");
    sk_X509_free(recipients);
    X509_free(certificate);
    EVP_PKEY_free(pkey);
    BIO_free(out);
    return rc;
}
