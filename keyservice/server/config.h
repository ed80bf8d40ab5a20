/*
 * config: keyd.conf, in libConfuse syntax; bulla-keyd.conf(5).
 * Ownership: a plain struct of fixed size; no pointers to free.
 * Threads:   constant after config_read(); any.
 * Units:     seconds and counts in the names; paths are made absolute by the file's own folder.
 * Errors:    -EINVAL or -errno with a sentence in `why` that names file, line and mend.
 */
#ifndef KEYSERVICE_SERVER_CONFIG_H
#define KEYSERVICE_SERVER_CONFIG_H

#include "base/macros.h"
#include "keyservice/server/mail/mail.h"

#include <netinet/in.h>
#include <stdint.h>
#include <sys/socket.h>

#define CONFIG_WHY_BYTES   512
#define CONFIG_PATH_BYTES  1024
#define CONFIG_TEXT_BYTES  256
#define CONFIG_DOMAINS_MAX 32

enum config_confine {
    CONFIG_CONFINE_TRY, /* as far as the kernel can */
    CONFIG_CONFINE_REQUIRE,
    CONFIG_CONFINE_NO,
};

struct config {
    char listen[CONFIG_TEXT_BYTES]; /* ADDR:PORT, [ADDR6]:PORT; port 0: any free one */
    char engine_listen[CONFIG_TEXT_BYTES];
    char public_url[CONFIG_TEXT_BYTES]; /* "": https://localhost and the public port */
    char database[CONFIG_PATH_BYTES];
    char master_key_file[CONFIG_PATH_BYTES];
    char audit_file[CONFIG_PATH_BYTES];
    char audit[CONFIG_PATH_BYTES]; /* where the log is: that file, or a PostgreSQL database */
    char certificate_file[CONFIG_PATH_BYTES];
    char private_key_file[CONFIG_PATH_BYTES];
    char ca_certificate_file[CONFIG_PATH_BYTES]; /* of engines' certificates */
    char ca_key_file[CONFIG_PATH_BYTES];         /* "": no enrolment */
    char smtp_relay[CONFIG_TEXT_BYTES];
    enum relay_tls smtp_tls;
    char smtp_ca_file[CONFIG_PATH_BYTES]; /* "": the system's authorities */
    char mail_spool_dir[CONFIG_PATH_BYTES];
    char mail_from[CONFIG_TEXT_BYTES];
    char user[CONFIG_TEXT_BYTES]; /* "": stays who it is */
    enum config_confine confine;
    char write_domains[CONFIG_DOMAINS_MAX][CONFIG_TEXT_BYTES]; /* lower case; "": none further */
    char contact_mailbox[CONFIG_TEXT_BYTES];                   /* "": no such form            */
    char receive_address[CONFIG_TEXT_BYTES]; /* "": no mail is taken in; docs/keyservice/receive.md
                                              */
    uint32_t second_factor_roles;            /* a bit for each role: 1 << role */
    uint32_t write_size_mib;
    uint32_t session_idle_s;
    uint32_t session_life_s;
    uint32_t connections_max;
    uint32_t connections_per_address_max;
    uint32_t request_head_s;
    uint32_t request_body_s;
    uint32_t connection_idle_s;
    uint32_t password_threads_count;
};

MUST_USE int config_read(struct config *config, const char *path, char why[CONFIG_WHY_BYTES]);

/* "127.0.0.1:8443", "[::1]:8443": numbers only, nothing is looked up. */
MUST_USE int config_address(const char *text, struct sockaddr_storage *address, socklen_t *bytes);
/* The host of an https URL without path: "" when it is not one. */
void config_url_host(const char *url, char host[CONFIG_TEXT_BYTES]);

#endif
