#include "base/clock.h"
#include "bench/folder.h"
#include "bench/peer.h"

#include <errno.h>
#include <stdio.h>

#ifdef BULLA_GPGME

#include "bench/process.h"

#include <gpgme.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PEER_GPG_SEED UINT64_C(0x677067)

struct peer_gpg {
    char home[64];
    gpgme_ctx_t context;
    gpgme_key_t keys[2]; /* and the NULL that ends them */
};

/* A key ring of our own with one RSA-2048 key, made here: its making is not timed. */
static gpgme_error_t peer_gpg_open(struct peer_gpg *peer)
{
    (void)gpgme_check_version(NULL);
    gpgme_error_t error = gpgme_new(&peer->context);
    if (error == 0)
        error = gpgme_ctx_set_engine_info(peer->context, GPGME_PROTOCOL_OpenPGP, NULL, peer->home);
    if (error == 0)
        error = gpgme_op_createkey(peer->context, "erin@example.net", "rsa2048", 0, 0, NULL,
                                   GPGME_CREATE_ENCR | GPGME_CREATE_NOPASSWD);
    if (error != 0)
        return error;
    const gpgme_genkey_result_t made = gpgme_op_genkey_result(peer->context);
    error = gpgme_get_key(peer->context, made->fpr, &peer->keys[0], 0);
    gpgme_set_armor(peer->context, 1);
    return error;
}

static void peer_gpg_close(struct peer_gpg *peer)
{
    char said[64];
    const char *const kill_agent[] = {"gpgconf", "--homedir", peer->home, "--kill", "all", NULL};
    if (peer->keys[0] != NULL)
        gpgme_key_unref(peer->keys[0]);
    if (peer->context != NULL)
        gpgme_release(peer->context);
    (void)!process_run(kill_agent, NULL, 10, said, sizeof(said));
    folder_remove(peer->home);
}

/* Without compression, which would cost it most of its time. */
static gpgme_error_t peer_gpg_one(struct peer_gpg *peer, const struct mailset_mail *mail)
{
    gpgme_data_t plain = NULL;
    gpgme_data_t sealed = NULL;
    gpgme_error_t error =
        gpgme_data_new_from_mem(&plain, (const char *)mail->bytes_at, mail->bytes, 0);
    if (error == 0)
        error = gpgme_data_new(&sealed);
    if (error == 0)
        error =
            gpgme_op_encrypt(peer->context, peer->keys,
                             GPGME_ENCRYPT_ALWAYS_TRUST | GPGME_ENCRYPT_NO_COMPRESS, plain, sealed);
    if (plain != NULL)
        gpgme_data_release(plain);
    if (sealed != NULL)
        gpgme_data_release(sealed);
    return error;
}

int peer_gpg(const struct mailset *set, uint64_t duration_ns, struct peer_rate *rate,
             char why[MAILSET_WHY_BYTES])
{
    struct peer_gpg peer = {.home = ""};
    const int rc = folder_make(peer.home, sizeof(peer.home), "bulla-gpg");
    if (rc != 0)
        return rc;
    gpgme_error_t error = peer_gpg_open(&peer);
    uint64_t state = PEER_GPG_SEED;
    if (error == 0)
        error = peer_gpg_one(&peer, mailset_pick(set, mailset_random(&state))); /* untimed */
    const uint64_t start_ns = clock_monotonic_ns();
    uint64_t now_ns = start_ns;
    memset(rate, 0, sizeof(*rate));
    while (error == 0 && (now_ns - start_ns < duration_ns || rate->messages < PEER_MESSAGES_MIN)) {
        const struct mailset_mail *mail = mailset_pick(set, mailset_random(&state));
        error = peer_gpg_one(&peer, mail);
        rate->messages++;
        rate->bytes += mail->bytes;
        now_ns = clock_monotonic_ns();
    }
    rate->seconds = (double)(now_ns - start_ns) / (double)NS_PER_S;
    peer_gpg_close(&peer);
    if (error == 0)
        return 0;
    (void)snprintf(why, MAILSET_WHY_BYTES, "GnuPG: %s", gpgme_strerror(error));
    return -EIO;
}

#else

int peer_gpg(const struct mailset *set, uint64_t duration_ns, struct peer_rate *rate,
             char why[MAILSET_WHY_BYTES])
{
    (void)set;
    (void)duration_ns;
    (void)rate;
    (void)snprintf(why, MAILSET_WHY_BYTES, "built without gpgme (libgpgme-dev)");
    return -ENOTSUP;
}

#endif
