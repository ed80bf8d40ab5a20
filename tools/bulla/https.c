#include "tools/bulla/https.h"

#include "crypto/secret.h"
#include "mta/bulla.h"
#include "tools/bulla/command.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HTTPS_URL_BYTES 1024
#define HTTPS_TEXT_(n)  #n
#define HTTPS_TEXT(n)   HTTPS_TEXT_(n)
#define HTTPS_AGENT     "bulla/" HTTPS_TEXT(BULLA_VERSION_MAJOR) "." HTTPS_TEXT(BULLA_VERSION_MINOR)

/* A block remembers its size, so that it can be wiped: passwords and keys pass through jansson. */
struct https_block {
    size_t bytes;
    _Alignas(max_align_t) uint8_t at[];
};

static void *https_json_malloc(size_t bytes)
{
    struct https_block *block = malloc(sizeof(struct https_block) + bytes);
    if (block == NULL)
        return NULL;
    block->bytes = bytes;
    return block->at;
}

static void https_json_free(void *at)
{
    if (at == NULL)
        return;
    struct https_block *block =
        (struct https_block *)(void *)((uint8_t *)at - offsetof(struct https_block, at));
    secret_wipe(block->at, block->bytes);
    free(block);
}

void https_init(void)
{
    json_set_alloc_funcs(https_json_malloc, https_json_free);
}

/* curl's write callback: grows the answer up to its bound, wiping what it moves away from. */
static size_t https_take(char *data, size_t size, size_t count, void *user)
{
    struct https_answer *answer = user;
    size_t bytes = size * count;
    if (bytes > HTTPS_ANSWER_BYTES_MAX - answer->bytes)
        return 0; /* curl ends the transfer */
    if (answer->bytes + bytes > answer->room) {
        size_t room = MAX(answer->room * 2, answer->bytes + bytes);
        char *text = malloc(room);
        if (text == NULL)
            return 0;
        if (answer->bytes > 0)
            memcpy(text, answer->text, answer->bytes);
        if (answer->text != NULL)
            secret_wipe(answer->text, answer->bytes);
        free(answer->text);
        answer->text = text;
        answer->room = room;
    }
    memcpy(answer->text + answer->bytes, data, bytes);
    answer->bytes += bytes;
    return bytes;
}

/* Which failures of curl are worth a second try, and which need a mend first. */
static int https_curl_failed(CURLcode code, const struct https_request *request,
                             char why[HTTPS_WHY_BYTES])
{
    const char *said = curl_easy_strerror(code);
    switch ((int)code) {
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR:
        snprintf(why, HTTPS_WHY_BYTES,
                 "the certificate of %s is not trusted (%s): name its authority with --ca FILE",
                 request->base_url, said);
        return EX_UNAVAILABLE;
    case CURLE_SSL_CACERT_BADFILE:
        snprintf(why, HTTPS_WHY_BYTES,
                 "%s holds no usable certificate: name a PEM file with --ca FILE",
                 request->ca_file == NULL ? "the system's certificate store" : request->ca_file);
        return EX_CONFIG;
    case CURLE_SSL_CONNECT_ERROR:
        snprintf(why, HTTPS_WHY_BYTES,
                 "%s does not speak TLS 1.2 or later: check the address in --key-service",
                 request->base_url);
        return EX_UNAVAILABLE;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        snprintf(why, HTTPS_WHY_BYTES,
                 "%s is no address of a key service: it reads https://host[:port]",
                 request->base_url);
        return EX_USAGE;
    case CURLE_WRITE_ERROR:
        snprintf(why, HTTPS_WHY_BYTES,
                 "%s gave an answer of more than %d bytes: check the address in --key-service",
                 request->base_url, HTTPS_ANSWER_BYTES_MAX);
        return EX_UNAVAILABLE;
    default:
        snprintf(why, HTTPS_WHY_BYTES, "the key service %s is away (%s): try again later",
                 request->base_url, said);
        return EX_TEMPFAIL;
    }
}

static bool https_url(const struct https_request *request, char url[HTTPS_URL_BYTES])
{
    const char *base = request->base_url;
    size_t base_chars = strlen(base);
    static const char scheme[] = "https://";
    if (strncmp(base, scheme, strlen(scheme)) != 0 || strpbrk(base, " \t\r\n?#@\\") != NULL)
        return false;
    while (base_chars > strlen(scheme) && base[base_chars - 1] == '/')
        base_chars--;
    if (base_chars == strlen(scheme) ||
        memchr(base + strlen(scheme), '/', base_chars - strlen(scheme)) != NULL)
        return false;
    int chars = snprintf(url, HTTPS_URL_BYTES, "%.*s%s", (int)base_chars, base, request->path);
    return chars > 0 && chars < HTTPS_URL_BYTES;
}

static void https_set_options(CURL *curl, const struct https_request *request, const char *url,
                              struct curl_slist *headers, const char *body,
                              struct https_answer *answer)
{
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L);
    if (request->ca_file != NULL) {
        curl_easy_setopt(curl, CURLOPT_CAINFO, request->ca_file);
        curl_easy_setopt(curl, CURLOPT_CAPATH, NULL); /* this authority and no other */
    }
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)request->timeout_s);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)request->timeout_s);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, HTTPS_AGENT);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)strlen(body));
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, https_take);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
}

static int https_perform(CURL *curl, const struct https_request *request,
                         struct https_answer *answer, char why[HTTPS_WHY_BYTES])
{
    CURLcode code = curl_easy_perform(curl);
    if (code != CURLE_OK)
        return https_curl_failed(code, request, why);
    curl_off_t retry_after_s = 0;
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer->status);
    if (curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &retry_after_s) == CURLE_OK)
        answer->retry_after_s = (long)retry_after_s;
    answer->json = json_loadb(answer->text == NULL ? "" : answer->text, answer->bytes,
                              JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(answer->json)) {
        json_decref(answer->json);
        answer->json = NULL;
    }
    return 0;
}

int https_post(const struct https_request *request, struct https_answer *answer,
               char why[HTTPS_WHY_BYTES])
{
    int rc = EX_OSERR;
    memset(answer, 0, sizeof(*answer));
    snprintf(why, HTTPS_WHY_BYTES, "no memory is left");
    char url[HTTPS_URL_BYTES];
    if (!https_url(request, url))
        return https_curl_failed(CURLE_URL_MALFORMAT, request, why);
    if (request->ca_file != NULL && access(request->ca_file, R_OK) != 0)
        return https_curl_failed(CURLE_SSL_CACERT_BADFILE, request, why);
    char *body = json_dumps(request->body, JSON_COMPACT);
    if (body == NULL)
        return rc;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        goto wipe_body;
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    if (headers == NULL)
        goto clean_curl;
    CURL *curl = curl_easy_init();
    if (curl == NULL)
        goto free_headers;
    https_set_options(curl, request, url, headers, body, answer);
    rc = https_perform(curl, request, answer, why);
    curl_easy_cleanup(curl);

free_headers:
    curl_slist_free_all(headers);
clean_curl:
    curl_global_cleanup();
wipe_body:
    https_json_free(body);
    if (rc != 0)
        https_answer_fini(answer);
    return rc;
}

void https_answer_fini(struct https_answer *answer)
{
    json_decref(answer->json);
    if (answer->text != NULL)
        secret_wipe(answer->text, answer->bytes);
    free(answer->text);
    memset(answer, 0, sizeof(*answer));
}

static const char *https_error_field(const struct https_answer *answer, const char *name)
{
    const json_t *error = json_object_get(answer->json, "error");
    const char *text = json_string_value(json_object_get(error, name));
    return text != NULL ? text : "";
}

const char *https_error_code(const struct https_answer *answer)
{
    return https_error_field(answer, "code");
}

const char *https_error_message(const struct https_answer *answer)
{
    return https_error_field(answer, "message");
}
