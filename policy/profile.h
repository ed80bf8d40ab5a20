/*
 * profile: everything an administrator decides about a kind of mail.
 * Ownership: a plain struct of fixed size; no pointers to free.
 * Threads:   part of an immutable snapshot; any.
 * Units:     bytes, seconds.
 * Errors:    profile_check() gives -EINVAL with a sentence that names the mend.
 */
#ifndef POLICY_PROFILE_H
#define POLICY_PROFILE_H

#include "base/macros.h"

#include <stdbool.h>
#include <stdint.h>

#define PROFILE_NAME_BYTES 64 /* with NUL; [A-Za-z0-9._-]+ */
#define PROFILE_URL_BYTES  256
#define PROFILE_PATH_BYTES 256
#define PROFILE_TEXT_BYTES 256
#define PROFILE_WHY_BYTES  256
#define PROFILES_MAX       64

enum profile_algorithm {
    PROFILE_AES_256 = 1,
    PROFILE_AES_192 = 2,
};

enum profile_level {
    PROFILE_LEVEL_HIGH = 1,
    PROFILE_LEVEL_MEDIUM = 2,
    PROFILE_LEVEL_NONE = 3,
};

struct profile {
    char name[PROFILE_NAME_BYTES];
    char key_service_url[PROFILE_URL_BYTES];       /* what recipients open: https://host[:port] */
    char payload_transport_url[PROFILE_URL_BYTES]; /* "": the key service                     */
    enum profile_level level;
    enum profile_algorithm algorithm;
    bool read_receipt;
    bool reply;
    bool reply_all;
    bool forward;
    bool remember_key;
    bool hide_subject;
    bool keep_references;
    bool compress; /* off by default: with it lengths tell of the content */
    bool browser_decryption;
    bool use_script;
    bool allow_header_overrides;
    uint32_t wait_s;          /* a message may wait this long for its key to be stored */
    uint32_t expires_after_s; /* 0: never */
    uint64_t mail_bytes_max;
    uint64_t mail_bytes_warn;
    char locale[8];
    char logo_file[PROFILE_PATH_BYTES];
    char logo_link[PROFILE_URL_BYTES];
    char text_template[PROFILE_PATH_BYTES]; /* file; "": the locale's own */
    char html_template[PROFILE_PATH_BYTES];
    char failure_template[PROFILE_PATH_BYTES];
    char notification_subject[PROFILE_TEXT_BYTES]; /* "": the locale's own */
    char failure_subject[PROFILE_TEXT_BYTES];
};

/* Defaults of DESIGN 7: high, aes-256, 25 MiB, warn above 10 MiB, locale en. */
void profile_init(struct profile *profile, const char *name);
MUST_USE int profile_check(const struct profile *profile, char why[PROFILE_WHY_BYTES]);
/* "aes-256", "aes-192"; "rc4" and its kind are refused with the reason. */
MUST_USE int profile_algorithm_parse(const char *text, enum profile_algorithm *algorithm,
                                     char why[PROFILE_WHY_BYTES]);

#endif
