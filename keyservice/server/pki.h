/*
 * pki: the service's own small certificate authority, its server certificate and its engines'.
 * Ownership: files are made by the call; PEM texts are malloc'ed and the caller's to free.
 * Threads:   any.
 * Units:     days in the names of lifetimes.
 * Errors:    -errno: -EEXIST when a file is there already, -EBADMSG for a request that is not
 *            acceptable, -EIO when OpenSSL failed.
 *
 * EC P-256 with SHA-256 throughout. Server certificates live 397 days, the most that browsers take;
 * engines' 825; the authority's ten years, with a path length of zero.
 */
#ifndef KEYSERVICE_SERVER_PKI_H
#define KEYSERVICE_SERVER_PKI_H

#include "base/macros.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PKI_FINGERPRINT_BYTES 32
#define PKI_NAME_BYTES_MAX    64
#define PKI_CSR_BYTES_MAX     8192

#define PKI_SERVER_DAYS 397
#define PKI_ENGINE_DAYS 825
#define PKI_CA_DAYS     3650

/* Letters, digits, '.', '-' and '_', 1 to PKI_NAME_BYTES_MAX - 1. */
bool pki_name_valid(const char *name);

/* Private keys are written 0600, certificates 0644. */
MUST_USE int pki_ca_make(const char *certificate_path, const char *key_path);
/* Names: localhost, 127.0.0.1, ::1 and `host`, a DNS name or an address. */
MUST_USE int pki_server_make(const char *ca_certificate_path, const char *ca_key_path,
                             const char *host, const char *certificate_path, const char *key_path);
MUST_USE int pki_engine_make(const char *ca_certificate_path, const char *ca_key_path,
                             const char *name, const char *certificate_path, const char *key_path,
                             uint8_t fingerprint[PKI_FINGERPRINT_BYTES]);

/*
 * Signs an engine's request: its signature is checked, its key must be P-256, P-384, Ed25519 or RSA
 * of 2048 bits or more; of what else it asks nothing is taken, and the name is `name`.
 */
MUST_USE int pki_engine_sign(const char *ca_certificate_path, const char *ca_key_path,
                             const char *name, const char *csr_pem, size_t csr_bytes,
                             char **certificate_pem, uint8_t fingerprint[PKI_FINGERPRINT_BYTES]);

#endif
