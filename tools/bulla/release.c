#include "tools/bulla/release.h"

#include "base/assert.h"
#include "crypto/base64.h"
#include "crypto/secret.h"
#include "tools/bulla/command.h"
#include "tools/bulla/https.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <stdio.h>
#include <string.h>

#define RELEASE_TAG_BYTES    16
#define RELEASE_KEK_BYTES    32
#define RELEASE_IV_BYTES     12
#define RELEASE_SECRET_BYTES 32
#define RELEASE_LABEL        "bulla/1 release" /* its NUL belongs to the info */
#define RELEASE_INFO_BYTES   (sizeof(RELEASE_LABEL) + ID_BYTES + 2 * RELEASE_POINT_BYTES)
#define RELEASE_SEALED_MAX   (COBBLE_KEY_BYTES_MAX + RELEASE_TAG_BYTES)
/* base64url of the point, rounded up, with room for a NUL. */
#define RELEASE_POINT_CHARS 96

/* x coordinate of the shared point. OpenSSL checks that their point lies on the curve. */
static int release_agree(EVP_PKEY *ours, const uint8_t their_point[RELEASE_POINT_BYTES],
                         uint8_t secret[RELEASE_SECRET_BYTES])
{
    int rc = -EBADMSG;
    size_t secret_bytes = RELEASE_SECRET_BYTES;
    EVP_PKEY_CTX *agreement = NULL;
    EVP_PKEY *theirs = EVP_PKEY_new();
    if (theirs == NULL || their_point[0] != 0x04)
        goto free_theirs;
    if (EVP_PKEY_copy_parameters(theirs, ours) != 1 ||
        EVP_PKEY_set1_encoded_public_key(theirs, their_point, RELEASE_POINT_BYTES) != 1)
        goto free_theirs;
    agreement = EVP_PKEY_CTX_new(ours, NULL);
    if (agreement != NULL && EVP_PKEY_derive_init(agreement) == 1 &&
        EVP_PKEY_derive_set_peer_ex(agreement, theirs, 1) == 1 &&
        EVP_PKEY_derive(agreement, secret, &secret_bytes) == 1 &&
        secret_bytes == RELEASE_SECRET_BYTES)
        rc = 0;
    EVP_PKEY_CTX_free(agreement);

free_theirs:
    EVP_PKEY_free(theirs);
    return rc;
}

static int release_expand(const struct release_wrapped *wrapped,
                          uint8_t secret[RELEASE_SECRET_BYTES],
                          uint8_t out[RELEASE_KEK_BYTES + RELEASE_IV_BYTES])
{
    uint8_t info[RELEASE_INFO_BYTES];
    uint8_t *at = info;
    memcpy(at, RELEASE_LABEL, sizeof(RELEASE_LABEL));
    at += sizeof(RELEASE_LABEL);
    memcpy(at, wrapped->id->bytes, ID_BYTES);
    at += ID_BYTES;
    memcpy(at, wrapped->their_point, RELEASE_POINT_BYTES);
    at += RELEASE_POINT_BYTES;
    memcpy(at, wrapped->our_point, RELEASE_POINT_BYTES);
    ASSERT(at + RELEASE_POINT_BYTES == info + sizeof(info));

    int rc = -ENOMEM;
    char digest[] = "SHA256";
    const OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, secret, RELEASE_SECRET_BYTES),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, sizeof(info)),
        OSSL_PARAM_construct_end(),
    };
    EVP_KDF *hkdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *context = hkdf == NULL ? NULL : EVP_KDF_CTX_new(hkdf);
    if (context != NULL &&
        EVP_KDF_derive(context, out, RELEASE_KEK_BYTES + RELEASE_IV_BYTES, parameters) == 1)
        rc = 0;
    EVP_KDF_CTX_free(context);
    EVP_KDF_free(hkdf);
    return rc;
}

static int release_decrypt(const struct release_wrapped *wrapped,
                           const uint8_t kek_iv[RELEASE_KEK_BYTES + RELEASE_IV_BYTES],
                           uint8_t key[COBBLE_KEY_BYTES_MAX])
{
    uint8_t opened[COBBLE_KEY_BYTES_MAX];
    uint8_t tag[RELEASE_TAG_BYTES];
    int opened_bytes = 0;
    int last_bytes = 0;
    int rc = -EBADMSG;
    memcpy(tag, wrapped->sealed + wrapped->key_bytes, sizeof(tag));
    EVP_CIPHER_CTX *gcm = EVP_CIPHER_CTX_new();
    if (gcm == NULL)
        return -ENOMEM;
    if (EVP_DecryptInit_ex(gcm, EVP_aes_256_gcm(), NULL, kek_iv, kek_iv + RELEASE_KEK_BYTES) == 1 &&
        EVP_DecryptUpdate(gcm, opened, &opened_bytes, wrapped->sealed, (int)wrapped->key_bytes) ==
            1 &&
        EVP_CIPHER_CTX_ctrl(gcm, EVP_CTRL_AEAD_SET_TAG, sizeof(tag), tag) == 1 &&
        EVP_DecryptFinal_ex(gcm, opened + opened_bytes, &last_bytes) == 1) {
        memcpy(key, opened, wrapped->key_bytes);
        rc = 0;
    }
    secret_wipe(opened, sizeof(opened));
    EVP_CIPHER_CTX_free(gcm);
    return rc;
}

int release_unwrap(void *our_pair, const struct release_wrapped *wrapped,
                   uint8_t key[COBBLE_KEY_BYTES_MAX])
{
    uint8_t secret[RELEASE_SECRET_BYTES];
    uint8_t kek_iv[RELEASE_KEK_BYTES + RELEASE_IV_BYTES];
    if (wrapped->key_bytes > COBBLE_KEY_BYTES_MAX ||
        wrapped->sealed_bytes != wrapped->key_bytes + RELEASE_TAG_BYTES)
        return -EBADMSG;
    int rc = release_agree(our_pair, wrapped->their_point, secret);
    if (rc == 0)
        rc = release_expand(wrapped, secret, kek_iv);
    if (rc == 0)
        rc = release_decrypt(wrapped, kek_iv, key);
    secret_wipe(secret, sizeof(secret));
    secret_wipe(kek_iv, sizeof(kek_iv));
    return rc;
}

/* The service's refusals, each with a line of its own. */
static int release_refused(const struct release_request *request, const struct https_answer *answer)
{
    static const struct {
        const char *code;
        int exit_status;
        const char *text;
    } refusals[] = {
        {"credentials", EX_NOPERM, "the address or the password is wrong"},
        {"second_factor", EX_NOPERM,
         "the code is wrong or was used already: wait for the next one"},
        {"not_recipient", EX_NOPERM, "this account is not among the recipients of this message"},
        {"locked", EX_NOPERM, "the sender locked this message"},
        {"expired", EX_NOPERM, "this message has expired: ask the sender to send it again"},
        {"unknown", EX_DATAERR,
         "the key service knows no such envelope: it was altered, or --key-service is another's"},
        {"away", EX_TEMPFAIL, "the key service cannot reach its database: try again later"},
    };
    const char *code = https_error_code(answer);
    if (strcmp(code, "second_factor") == 0 && request->totp == NULL)
        return RELEASE_CODE_NEEDED;
    for (size_t i = 0; i < ARRAY_COUNT(refusals); i++) {
        if (strcmp(code, refusals[i].code) == 0)
            return command_fail(refusals[i].exit_status, "%s: %s", request->user, refusals[i].text);
    }
    if (strcmp(code, "too_many") == 0 || answer->status == 429)
        return command_fail(EX_TEMPFAIL, "%s: too many attempts: try again in %ld s", request->user,
                            MAX(answer->retry_after_s, 1L));
    if (answer->status >= 500)
        return command_fail(EX_TEMPFAIL, "the key service %s is away (HTTP %ld): try again later",
                            request->key_service_url, answer->status);
    return command_fail(EX_UNAVAILABLE, "%s did not answer as a key service does (HTTP %ld%s%s)",
                        request->key_service_url, answer->status, code[0] == '\0' ? "" : ", ",
                        code);
}

/* Decodes base64url text from the answer into `dst`; false unless it fits. */
static bool release_field(const json_t *answer, const char *name, uint8_t *dst, size_t dst_bytes,
                          size_t *bytes)
{
    uint8_t room[RELEASE_POINT_CHARS + BASE64_SLACK_BYTES];
    const json_t *value = json_object_get(answer, name);
    size_t chars = json_string_length(value);
    if (!json_is_string(value) || chars > RELEASE_POINT_CHARS)
        return false;
    if (base64url_decode(room, (const uint8_t *)json_string_value(value), chars, bytes) != 0)
        return false;
    if (*bytes > dst_bytes)
        return false;
    memcpy(dst, room, *bytes);
    return true;
}

static int release_take(const struct release_request *request, EVP_PKEY *ours,
                        const uint8_t our_point[RELEASE_POINT_BYTES],
                        const struct https_answer *answer, uint8_t key[COBBLE_KEY_BYTES_MAX])
{
    char hex[ID_HEX_CHARS + 1] = {0};
    uint8_t sealed[RELEASE_SEALED_MAX];
    size_t point_bytes = 0;
    struct release_wrapped wrapped = {
        .id = request->id, .sealed = sealed, .key_bytes = cobble_key_bytes(request->suite)};
    memcpy(wrapped.our_point, our_point, RELEASE_POINT_BYTES);
    id_to_hex(hex, request->id);
    const char *m = json_string_value(json_object_get(answer->json, "m"));
    bool sound = json_integer_value(json_object_get(answer->json, "bulla")) == 1 && m != NULL &&
                 strcmp(m, hex) == 0 &&
                 release_field(answer->json, "epk", wrapped.their_point,
                               sizeof(wrapped.their_point), &point_bytes) &&
                 point_bytes == RELEASE_POINT_BYTES &&
                 release_field(answer->json, "ct", sealed, sizeof(sealed), &wrapped.sealed_bytes);
    /* The service knows which suite the message was sealed by; the envelope only claims it. */
    if (sound && wrapped.sealed_bytes != wrapped.key_bytes + RELEASE_TAG_BYTES)
        return command_fail(EX_DATAERR,
                            "the envelope was damaged in transit: ask the sender to send it again");
    if (!sound || release_unwrap(ours, &wrapped, key) != 0)
        return command_fail(EX_UNAVAILABLE, "%s did not answer as a key service does",
                            request->key_service_url);
    return 0;
}

static json_t *release_body(const struct release_request *request,
                            const uint8_t our_point[RELEASE_POINT_BYTES])
{
    char hex[ID_HEX_CHARS];
    char pub[RELEASE_POINT_CHARS];
    id_to_hex(hex, request->id);
    size_t pub_chars = base64url_encode_run((uint8_t *)pub, our_point, RELEASE_POINT_BYTES);
    ASSERT(pub_chars <= sizeof(pub));
    return json_pack("{s:s, s:s, s:s*, s:s%, s:s%}", "user", request->user, "password",
                     request->password, "totp", request->totp, "m", hex, (size_t)ID_HEX_CHARS,
                     "pub", pub, pub_chars);
}

static int release_exchange(const struct release_request *request, EVP_PKEY *ours,
                            uint8_t key[COBBLE_KEY_BYTES_MAX])
{
    uint8_t our_point[RELEASE_POINT_BYTES];
    size_t point_bytes = 0;
    if (EVP_PKEY_get_octet_string_param(ours, OSSL_PKEY_PARAM_PUB_KEY, our_point, sizeof(our_point),
                                        &point_bytes) != 1 ||
        point_bytes != RELEASE_POINT_BYTES)
        return command_fail(EX_OSERR, "no key pair can be made");
    json_t *body = release_body(request, our_point);
    if (body == NULL) /* jansson takes UTF-8 only */
        return command_fail(EX_USAGE, "the address and the password must be UTF-8 text");

    char why[HTTPS_WHY_BYTES];
    struct https_answer answer;
    const struct https_request post = {
        .base_url = request->key_service_url,
        .path = "/v1/open",
        .ca_file = request->ca_file,
        .timeout_s = request->timeout_s,
        .body = body,
    };
    int exit_status = https_post(&post, &answer, why);
    json_decref(body);
    if (exit_status != 0)
        return command_fail(exit_status, "%s", why);
    if (answer.status == 200)
        exit_status = release_take(request, ours, our_point, &answer, key);
    else
        exit_status = release_refused(request, &answer);
    https_answer_fini(&answer);
    return exit_status;
}

int release_fetch(const struct release_request *request, uint8_t key[COBBLE_KEY_BYTES_MAX])
{
    EVP_PKEY *ours = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    if (ours == NULL)
        return command_fail(EX_OSERR, "no key pair can be made");
    int exit_status = release_exchange(request, ours, key);
    EVP_PKEY_free(ours); /* OpenSSL wipes a private key that it frees */
    return exit_status;
}
