/* Pages without a script: signing in, a first account, a new password; then on to the message. */
#include "crypto/secret.h"
#include "keyservice/server/account/proof.h"
#include "keyservice/server/account/renew.h"
#include "keyservice/server/account/signin.h"
#include "keyservice/server/api/api_plain.h"

#include <errno.h>
#include <string.h>

#define RENEW "renew" /* `act` of who chooses another password for one that was made */

/* Registering and a new password: two pages each, as they say what they are. */
struct plain_proof {
    enum proof_kind kind;
    const char *form;    /* `act` that shows the form */
    const char *mail;    /* ... that has a code mailed */
    const char *confirm; /* ... that comes with it */
    const char *title;   /* strings */
    const char *lead;
};

static const struct plain_proof proofs[PROOF_KINDS_COUNT] = {
    {PROOF_ACCOUNT, "register", "register-mail", "register-code", "register_title",
     "register_lead"},
    {PROOF_PASSWORD, "reset", "reset-mail", "reset-code", "reset_title", "reset_lead"},
};

void api_plain_signin(struct api_plain_call *call, const char *lead, const char *error)
{
    struct session_token csrf;
    api_plain_token(call, &csrf);
    const struct pages_value values[] = {
        {.name = "csrf", .text = csrf.text},
        {.name = "user", .text = call->user},
        {.name = "lead", .text = pages_string(call->service->pages, call->locale, lead)},
        {.name = "error", .text = error},
        {.name = "code_hidden", .text = call->code_wanted ? "" : API_PLAIN_HIDDEN},
    };
    pages_plain_answer(call->service->pages, call->request, 200, PAGES_PLAIN_SIGNIN, values,
                       ARRAY_COUNT(values));
    api_plain_cookie(call);
}

/* The password was right. 0: so is the second factor, or there is none; -ENOKEY: none was typed. */
static int second_factor(const struct api_plain_call *call, const struct store_account *account,
                         uint64_t *wait_ns)
{
    if (!account->second_factor)
        return 0;
    if (call->code[0] == '\0')
        return -ENOKEY;
    return factor_check(call->service, call->request, account->number, account->address, call->code,
                        wait_ns);
}

/* Who is not let in is told why; -ENOKEY asks for the code beside the password. */
static void plain_refuse(struct api_plain_call *call, int rc, bool password_right)
{
    char words[API_PLAIN_WORDS_BYTES] = "";
    const bool code_wanted = rc == -ENOKEY;
    const enum api_error error = rc == -EBUSY    ? API_TOO_MANY
                                 : rc == -EACCES ? API_CREDENTIALS
                                                 : API_AWAY;
    if (!code_wanted && rc != -EBUSY)
        signin_audit_refused(call->service, call->request, error, call->user);
    if (rc == -EACCES && password_right)
        api_plain_words(call, "error_second", call->user, words);
    else if (!code_wanted)
        api_plain_error(call, error, call->user, words);
    call->code_wanted = code_wanted || call->code[0] != '\0';
    api_plain_signin(call, call->code_wanted ? "plain_code_lead" : "open_lead", words);
}

/* Everything was right: signed in, and on to the message. */
static int signin_go(struct api_plain_call *call, const struct store_account *account)
{
    struct session_token cookie;
    const int rc = signin_start(call->service, call->request, &call->cookie, account,
                                signin_factors(account), &cookie);
    if (rc != 0)
        return rc == -ENOENT ? -EACCES : rc;
    call->cookie = cookie;
    call->cookie_told = true;
    /* What follows asks who is there by the cookie, which now is the new one. */
    call->request->cookie = call->cookie.text;
    api_plain_stage(call, "");
    return 0;
}

/* Another password, of the reader's own; the ticket in the form says that the old one was typed. */
static void renew_answer(struct api_plain_call *call, const char *error)
{
    struct session_token csrf;
    const struct pages *pages = call->service->pages;
    api_plain_token(call, &csrf);
    const struct pages_value values[] = {
        {.name = "csrf", .text = csrf.text},
        {.name = "ticket", .text = call->ticket},
        {.name = "user", .text = call->user},
        {.name = "title", .text = pages_string(pages, call->locale, "renew_title")},
        {.name = "lead", .text = pages_string(pages, call->locale, "renew_lead")},
        {.name = "error", .text = error},
        {.name = "act", .text = RENEW},
        {.name = "button", .text = pages_string(pages, call->locale, "renew_button")},
    };
    pages_plain_answer(pages, call->request, 200, PAGES_PLAIN_PROOF, values, ARRAY_COUNT(values));
    api_plain_cookie(call);
}

static int renew_begin(struct api_plain_call *call, const struct store_account *account)
{
    const int rc = signin_ticket(call->service, &call->cookie, signin_renew_purpose(account),
                                 account, call->ticket);
    if (rc == 0)
        renew_answer(call, "");
    return rc == -ENOENT ? -EACCES : rc;
}

/* signin_ticket_refuse(), in words: back to the password, which is typed once more. */
static void renew_refuse(struct api_plain_call *call)
{
    char words[API_PLAIN_WORDS_BYTES];
    const bool wait = code_try(call->service, call->request) != 0;
    api_plain_words(call, wait ? "error_too_many" : "error_again", call->user, words);
    api_plain_signin(call, "open_lead", words);
}

static void renew_do(struct api_plain_call *call)
{
    char why[ACCOUNT_WHY_BYTES];
    char words[API_PLAIN_WORDS_BYTES];
    struct store_account account = {.number = 0};
    const struct renew renew = {.cookie = &call->cookie,
                                .user = call->user,
                                .ticket = call->ticket,
                                .password = call->password};
    int rc = renew_password(call->service, call->request, &renew, &account, why);
    secret_wipe(call->password, sizeof(call->password));
    if (rc == -EPERM || rc == -EEXIST) {
        api_plain_words(call, rc == -EPERM ? "error_weak_password" : "renew_same", call->user,
                        words);
        renew_answer(call, words);
        return;
    }
    if (rc == 0)
        rc = signin_go(call, &account);
    if (rc == -EACCES)
        renew_refuse(call);
    else if (rc != 0)
        plain_refuse(call, rc, false);
}

/* Both steps are done: in, but for who is still to choose a password. */
static int proven_go(struct api_plain_call *call, const struct store_account *account)
{
    return account->made ? renew_begin(call, account) : signin_go(call, account);
}

static void signin_do(struct api_plain_call *call)
{
    struct store_account account = {.number = 0};
    uint64_t wait_ns = 0;
    int rc =
        signin_check(call->service, call->request, call->user, call->password, &account, &wait_ns);
    const bool password_right = rc == 0;
    secret_wipe(call->password, sizeof(call->password));
    if (rc == 0)
        rc = second_factor(call, &account, &wait_ns);
    if (rc == 0)
        rc = proven_go(call, &account);
    if (rc != 0)
        plain_refuse(call, rc, password_right);
}

/* Address and password, for a code to be mailed. */
static void form_answer(struct api_plain_call *call, const struct plain_proof *proof,
                        const char *error)
{
    struct session_token csrf;
    const struct pages *pages = call->service->pages;
    api_plain_token(call, &csrf);
    const struct pages_value values[] = {
        {.name = "csrf", .text = csrf.text},
        {.name = "user", .text = call->user},
        {.name = "title", .text = pages_string(pages, call->locale, proof->title)},
        {.name = "lead", .text = pages_string(pages, call->locale, proof->lead)},
        {.name = "error", .text = error},
        {.name = "act", .text = proof->mail},
        {.name = "button", .text = pages_string(pages, call->locale, "register_button")},
    };
    pages_plain_answer(pages, call->request, 200, PAGES_PLAIN_PROOF, values, ARRAY_COUNT(values));
    api_plain_cookie(call);
}

/* The code that was mailed. */
static void code_answer(struct api_plain_call *call, const struct plain_proof *proof,
                        const char *error)
{
    char lead[API_PLAIN_WORDS_BYTES];
    struct session_token csrf;
    const struct pages *pages = call->service->pages;
    api_plain_token(call, &csrf);
    api_plain_words(call, "code_lead", call->user, lead);
    const struct pages_value values[] = {
        {.name = "csrf", .text = csrf.text},     {.name = "user", .text = call->user},
        {.name = "lead", .text = lead},          {.name = "error", .text = error},
        {.name = "act", .text = proof->confirm}, {.name = "again", .text = proof->form},
    };
    pages_plain_answer(pages, call->request, 200, PAGES_PLAIN_CODE, values, ARRAY_COUNT(values));
    api_plain_cookie(call);
}

/* What the service's own error says, of either step. */
static void proof_words(const struct api_plain_call *call, int rc,
                        char words[API_PLAIN_WORDS_BYTES])
{
    api_plain_error(call,
                    rc == -EINVAL  ? API_BAD_REQUEST
                    : rc == -EPERM ? API_WEAK_PASSWORD
                    : rc == -EBUSY ? API_TOO_MANY
                                   : API_AWAY,
                    call->user, words);
}

static void proof_mail(struct api_plain_call *call, const struct plain_proof *proof)
{
    char why[ACCOUNT_WHY_BYTES];
    char words[API_PLAIN_WORDS_BYTES];
    uint64_t wait_ns = 0;
    const int rc = proof_begin(proof->kind, call->service, call->request, &call->cookie, call->user,
                               call->password, why, &wait_ns);
    secret_wipe(call->password, sizeof(call->password));
    if (rc == 0) {
        code_answer(call, proof, "");
        return;
    }
    proof_words(call, rc, words);
    form_answer(call, proof, words);
}

static void proof_confirm(struct api_plain_call *call, const struct plain_proof *proof)
{
    char words[API_PLAIN_WORDS_BYTES];
    struct store_account account = {.number = 0};
    uint64_t wait_ns = 0;
    int rc = proof_end(proof->kind, call->service, call->request, &call->cookie, call->user,
                       call->code, &account, &wait_ns);
    secret_wipe(account.password, sizeof(account.password));
    if (rc == -EACCES) {
        api_plain_words(call, "error_code", call->user, words);
        code_answer(call, proof, words);
        return;
    }
    if (rc != 0) {
        proof_words(call, rc, words);
        code_answer(call, proof, words);
        return;
    }
    /* A new password does not get past the second factor, which is asked for beside it. */
    call->code[0] = '\0';
    rc = account.second_factor ? -ENOKEY : signin_go(call, &account);
    if (rc != 0)
        plain_refuse(call, rc, true);
}

bool api_plain_account(struct api_plain_call *call)
{
    if (strcmp(call->act, "signin") == 0) {
        signin_do(call);
        return true;
    }
    if (strcmp(call->act, RENEW) == 0) {
        renew_do(call);
        return true;
    }
    for (uint32_t i = 0; i < PROOF_KINDS_COUNT; i++) {
        const struct plain_proof *proof = &proofs[i];
        if (strcmp(call->act, proof->form) == 0)
            form_answer(call, proof, "");
        else if (strcmp(call->act, proof->mail) == 0)
            proof_mail(call, proof);
        else if (strcmp(call->act, proof->confirm) == 0)
            proof_confirm(call, proof);
        else
            continue;
        return true;
    }
    return false;
}
