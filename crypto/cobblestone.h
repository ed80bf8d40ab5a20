/*
 * cobblestone: chunked authenticated encryption of one message under one single-use key.
 * Ownership: the caller's memory throughout; a `struct cobble` is secret: cobble_wipe() it.
 * Threads:   as the crypto_core that is passed.
 * Units:     bytes; chunks of COBBLE_CHUNK_BYTES of plaintext.
 * Errors:    sealing cannot fail; opening gives -EBADMSG for every tag, key, order or length fault.
 *
 * C2SP chunked-encryption, https://c2sp.org/chunked-encryption: HKDF-Expand-SHA-512 of the message
 * key, a random 24-byte salt and a context gives AEAD key, base nonce and key commitment; each
 * 16 KiB chunk is AES-GCM under base nonce XOR chunk index; the last chunk is always shorter, which
 * makes truncation visible. Sealed message: salt, commitment, chunks.
 */
#ifndef CRYPTO_COBBLESTONE_H
#define CRYPTO_COBBLESTONE_H

#include "base/macros.h"
#include "crypto/core.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The number is the suite byte of docs/format/envelope.md. AES-128 is for the vectors alone. */
enum cobble_suite {
    COBBLE_AES_256 = 1, /* Cobblestone-256                              */
    COBBLE_AES_192 = 2, /* same construction with AEAD_AES_192_GCM      */
    COBBLE_AES_128 = 3, /* Cobblestone-128; no profile can choose it    */
};

#define COBBLE_KEY_BYTES_MAX      32
#define COBBLE_SALT_BYTES         24
#define COBBLE_COMMITMENT_BYTES   32
#define COBBLE_HEADER_BYTES       56 /* salt, then commitment */
#define COBBLE_NONCE_BYTES        12
#define COBBLE_TAG_BYTES          16
#define COBBLE_CHUNK_BYTES        16384
#define COBBLE_SEALED_CHUNK_BYTES (COBBLE_CHUNK_BYTES + COBBLE_TAG_BYTES)
#define COBBLE_CONTEXT_BYTES_MAX  64
#define COBBLE_DERIVE_BURST_MAX   32
#define COBBLE_EXPANDED_BYTES     1024 /* holds ipsec-mb's struct gcm_key_data */
#define COBBLE_NUMBERS_MAX        32   /* messages that may share a derivation */

/* The chunk_index of a message that is over: sealed or opened to its end, refused, or wiped. */
#define COBBLE_CLOSED UINT64_MAX

/* One message's expanded key and place. Secret. */
struct cobble {
    _Alignas(CACHE_LINE) uint8_t expanded[COBBLE_EXPANDED_BYTES];
    uint8_t base_nonce[COBBLE_NONCE_BYTES];
    uint32_t suite;       /* enum cobble_suite */
    uint64_t chunk_index; /* of the next chunk */
    uint32_t numbers;     /* a bit for each that cobble_seal_numbered() has used */
};

uint32_t cobble_key_bytes(enum cobble_suite suite); /* 32, 24, 16 */

/* One derivation: everything borrowed for the call. */
struct cobble_derivation {
    enum cobble_suite suite;
    const uint8_t *key;     /* cobble_key_bytes(suite), uniformly random, used for one message */
    const uint8_t *salt;    /* COBBLE_SALT_BYTES */
    const uint8_t *context; /* context_bytes ≤ COBBLE_CONTEXT_BYTES_MAX */
    uint32_t context_bytes;
    struct cobble *cobble;                       /* out */
    uint8_t commitment[COBBLE_COMMITMENT_BYTES]; /* out */
};

/* Derives up to COBBLE_DERIVE_BURST_MAX at once: the HMACs of a burst run side by side. */
HOT void cobble_derive_burst(struct crypto_core *core, struct cobble_derivation *derivations,
                             uint32_t derivations_count);
/* The same, with calls of step(user) between its parts, a few hundred nanoseconds each: for what
 * takes its time by itself, as prefetching does. How many calls is not promised. */
HOT void cobble_derive_burst_while(struct crypto_core *core, struct cobble_derivation *derivations,
                                   uint32_t derivations_count, void (*step)(void *user),
                                   void *user);

/* Sealed bytes for `plain_bytes`, without the 56-byte header. */
size_t cobble_sealed_bytes(size_t plain_bytes);

/*
 * Seals the next plain_bytes. Without `last` they are whole chunks; with `last` whole chunks and
 * then one shorter, possibly empty, chunk. Writes to `sealed` (no overlap with `plain`) and returns
 * the bytes written. Nothing may be sealed after `last`.
 */
HOT size_t cobble_seal(struct crypto_core *core, struct cobble *cobble, uint8_t *sealed,
                       const uint8_t *plain, size_t plain_bytes, bool last);

/*
 * Opens the next sealed_bytes, whole chunks or, with `last`, the rest of the message. On success
 * *plain_bytes is set; on -EBADMSG all that this call wrote to `plain` is zeros again, and so is
 * every later call refused: the message is over.
 */
MUST_USE int cobble_open(struct crypto_core *core, struct cobble *cobble, uint8_t *plain,
                         const uint8_t *sealed, size_t sealed_bytes, bool last,
                         size_t *plain_bytes);

/*
 * For short messages that share one derivation: number n has the chunks from n << 32 on, so that no
 * two of them have a nonce in common, and number 0 is what cobble_seal() makes. Each number seals
 * once. A message that is opened under another number than its own is refused; that it is the one
 * that was meant, its plaintext has to say.
 */
HOT size_t cobble_seal_numbered(struct crypto_core *core, struct cobble *cobble, uint32_t number,
                                uint8_t *sealed, const uint8_t *plain, size_t plain_bytes);
/* A whole message, without its header; as cobble_open(), but that the next one may follow. */
MUST_USE int cobble_open_numbered(struct crypto_core *core, struct cobble *cobble, uint32_t number,
                                  uint8_t *plain, const uint8_t *sealed, size_t sealed_bytes,
                                  size_t *plain_bytes);

/*
 * A whole sealed message, header included: checks the commitment, then opens every chunk.
 * `plain` needs sealed_bytes of room.
 */
MUST_USE int cobble_open_message(struct crypto_core *core, enum cobble_suite suite,
                                 const uint8_t *key, const uint8_t *context, uint32_t context_bytes,
                                 const uint8_t *sealed, size_t sealed_bytes, uint8_t *plain,
                                 size_t *plain_bytes);

/* One whole sealed message of a burst: everything borrowed for the call. */
struct cobble_opening {
    const uint8_t *key;
    const uint8_t *context;
    uint32_t context_bytes;
    const uint8_t *sealed; /* header included */
    size_t sealed_bytes;
    uint8_t *plain;     /* sealed_bytes of room          */
    size_t plain_bytes; /* out                           */
    int rc;             /* out; as cobble_open_message() */
};

/* As cobble_open_message(), up to COBBLE_DERIVE_BURST_MAX: their derivations run side by side. */
void cobble_open_burst(struct crypto_core *core, enum cobble_suite suite,
                       struct cobble_opening *openings, uint32_t openings_count);

void cobble_wipe(struct cobble *cobble);

#endif
