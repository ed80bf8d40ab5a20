/*
 * core_internal: what a crypto_core holds, for crypto/'s own files.
 * Ownership: as core.h.
 * Threads:   as core.h.
 * Units:     bytes.
 * Errors:    none of its own.
 */
#ifndef CRYPTO_CORE_INTERNAL_H
#define CRYPTO_CORE_INTERNAL_H

#include "base/macros.h"
#include "crypto/aes_schedule_internal.h"
#include "crypto/core.h"
#include "crypto/hkdf_internal.h"

#include <stdint.h>

#include <intel-ipsec-mb.h>

/* The output of a burst of derivations before it is taken apart; cobblestone_hot.c. */
#define CORE_DERIVE_BURST 32
#define CORE_OKM_BYTES    76

#define RANDOM_KEY_BYTES    32
#define RANDOM_BUFFER_BYTES 4096
/* Any value but the zero to which a fork wipes it. */
#define RANDOM_ALIVE UINT64_C(0xa11fe0a11fe0a11f)

/* The generator's state; stands in secret pages, so a forked child finds zeros. */
struct random_state {
    uint64_t alive;      /* RANDOM_ALIVE, or the state must be seeded first */
    uint64_t seeded_ago; /* bytes made since the last seeding               */
    uint32_t next;       /* first byte of `buffer` not yet given out        */
    uint8_t key[RANDOM_KEY_BYTES];
    _Alignas(CACHE_LINE) uint8_t schedule[AES_SCHEDULE_BYTES];
    /* Keystream; every byte is zero once it has been given out. */
    _Alignas(CACHE_LINE) uint8_t buffer[RANDOM_BUFFER_BYTES];
    uint8_t large[RANDOM_BUFFER_BYTES];
};

/* Everything of a core that must not be seen: in secret pages. */
struct core_secrets {
    struct random_state random;
    _Alignas(CACHE_LINE) struct gcm_context_data gcm_context;
    struct hkdf_scratch hkdf;
    struct hkdf_one hkdf_one;
    uint8_t okm[CORE_DERIVE_BURST][CORE_OKM_BYTES];
};

struct crypto_core {
    enum isa isa;
    bool has_rdrand;
    bool has_powers; /* gcm_powers_256_avx512() serves this library */
    IMB_MGR *mgr;    /* its memory is ours: mgr_pages */
    void *mgr_pages; /* kept over a fork: holds code addresses, no keys between calls */
    size_t mgr_bytes;
    struct core_secrets *secrets; /* wiped in a forked child */
};

/* Seeds from getrandom(2); -EIO when there is none. Mixes into a living key, replaces a dead one.
 */
MUST_USE int random_seed(struct crypto_core *core);

#endif
