/*
 * service: everything that the handlers of requests share.
 * Ownership: serve.c opens the parts and closes them; handlers borrow.
 * Threads:   constant after start; each part guards itself.
 * Units:     as each part.
 * Errors:    handlers answer; they return nothing.
 */
#ifndef KEYSERVICE_SERVER_SERVICE_H
#define KEYSERVICE_SERVER_SERVICE_H

#include "keyservice/server/account/account.h"
#include "keyservice/server/account/session.h"
#include "keyservice/server/audit/audit.h"
#include "keyservice/server/config.h"
#include "keyservice/server/guess.h"
#include "keyservice/server/http/http.h"
#include "keyservice/server/mail/letter.h"
#include "keyservice/server/mail/mail.h"
#include "keyservice/server/mail/outbox.h"
#include "keyservice/server/mail/reader.h"
#include "keyservice/server/master.h"
#include "keyservice/server/online.h"
#include "keyservice/server/pages.h"
#include "keyservice/server/pickup.h"
#include "keyservice/server/store/store.h"

struct service {
    const struct config *config;
    struct master *master;
    struct store *store;
    struct audit *audit;
    struct guess *guess;
    struct pickup *pickup;
    struct online *online;
    struct reader *reader;
    struct mail *mail;
    struct outbox *outbox;
    struct tend *tend;
    struct letters *letters;
    struct pages *pages;
    char public_url[CONFIG_TEXT_BYTES];        /* with the port that was really taken */
    char host[CONFIG_TEXT_BYTES];              /* of public_url */
    char no_account[ACCOUNT_HASH_BYTES];       /* a hash to verify against where there is none */
    uint8_t csrf_secret[SESSION_SECRET_BYTES]; /* all derived from the master key */
    uint8_t ticket_secret[MASTER_KEY_BYTES];
    uint8_t share_secret[SESSION_SECRET_BYTES]; /* of what several services have in common */
    uint8_t code_secret[MASTER_KEY_BYTES];
};

/* api_engine.c */
http_handle api_engine_envelopes;
http_handle api_engine_enrol;
/* api_open.c */
http_handle api_open_health;
http_handle api_open_described;
http_handle api_open_open;
http_handle api_open_preflight;
http_handle api_open_pickup;
http_handle api_open_pickup_head;
http_handle api_open_envelope;
http_handle api_open_release;
/* api_link.c */
http_handle api_link_get;
http_handle api_link_post;
/* api_online.c */
http_handle api_online_post;
http_handle api_online_look;
http_handle api_online_open;
http_charge api_online_charge;
http_uncharge api_online_uncharge;
/* api_admin_report.c */
http_handle api_admin_report;
/* api_sent.c */
http_handle api_sent_list;
http_handle api_sent_get;
http_handle api_sent_change;
/* api_plain.c */
http_handle api_plain_post;
/* api_admin_….c */
http_handle api_admin_users;
http_handle api_admin_user;
http_handle api_admin_user_add;
http_handle api_admin_user_change;
http_handle api_admin_engines;
http_handle api_admin_engine_add;
http_handle api_admin_engine_revoke;
http_handle api_admin_tokens;
http_handle api_admin_token_add;
http_handle api_admin_token_remove;
http_handle api_admin_profiles;
http_handle api_admin_profile;
http_handle api_admin_profile_put;
http_handle api_admin_profile_remove;
http_handle api_profile_look;
/* api_write.c */
http_handle api_write_look;
http_handle api_write_post;
outbox_failed api_write_failed;
http_handle api_admin_audit;
http_handle api_admin_audit_lines;
http_handle api_admin_audit_verify;
/* api_account.c */
http_handle api_account_session_get;
http_handle api_account_session_post;
http_handle api_account_session_delete;
/* api_proof.c */
http_handle api_proof_register;
http_handle api_proof_register_verify;
http_handle api_proof_reset;
http_handle api_proof_reset_verify;
/* api_person.c */
http_handle api_person_get;
http_handle api_person_delete;
http_handle api_person_password;
http_handle api_person_phrase;
http_handle api_person_session;
http_handle api_person_device;
/* api_factor.c */
http_handle api_factor_begin;
http_handle api_factor_confirm;
http_handle api_factor_end;
http_handle api_factor_recovery;
/* api_passkey.c */
http_handle api_passkey_challenge;
http_handle api_passkey_signin;
http_handle api_passkey_add;
http_handle api_passkey_name;
http_handle api_passkey_remove;
/* signin.c */
http_handle signin_second_post;
/* device.c */
http_handle api_device_post;
/* language.c */
http_handle api_language_post;
http_handle api_language_form;

#endif
