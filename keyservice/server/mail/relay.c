#include "keyservice/server/mail/relay.h"

#include "base/log.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define RELAY_COPY_BYTES     65536
#define RELAY_TOO_LARGE      552   /* RFC 1870, 6.1: said of MAIL FROM, and of this mail */
#define RELAY_CONNECT_MS_MAX 15000 /* a relay that is away holds up nobody else's mail */

bool relay_address_plain(const char *address)
{
    const size_t bytes = strlen(address);
    if (bytes == 0 || bytes >= RELAY_ADDRESS_BYTES || strchr(address, '@') == NULL)
        return false;
    for (size_t i = 0; i < bytes; i++) {
        const unsigned char byte = (unsigned char)address[i];
        if (byte <= 0x20 || byte >= 0x7f || strchr("<>()[]\\,;:\"", (char)byte) != NULL)
            return false;
    }
    return true;
}

bool relay_near(const char *url)
{
    char host[RELAY_URL_BYTES] = "";
    uint8_t address[sizeof(struct in6_addr)];
    const char *at = strstr(url, "://");
    at = at == NULL ? url : at + 3;
    size_t chars = strcspn(at, "/?#");
    const char *end = memrchr(at, '@', chars); /* behind a name and a password */
    if (end != NULL) {
        chars -= (size_t)(end + 1 - at);
        at = end + 1;
    }
    const bool bracket = chars > 0 && at[0] == '[';
    const size_t host_chars = strcspn(at + bracket, bracket ? "]" : ":/?#");
    if (host_chars >= sizeof(host) || host_chars > chars)
        return false;
    memcpy(host, at + bracket, host_chars);
    if (bracket)
        return inet_pton(AF_INET6, host, address) == 1 &&
               memcmp(address, &in6addr_loopback, sizeof(in6addr_loopback)) == 0;
    return strcasecmp(host, "localhost") == 0 ||
           (inet_pton(AF_INET, host, address) == 1 && address[0] == 127);
}

static bool text_copy(char *dst, size_t room, const char *text)
{
    const int n = snprintf(dst, room, "%s", text == NULL ? "" : text);
    return n >= 0 && (size_t)n < room;
}

int relay_init(struct relay *relay, const struct relay_config *config)
{
    struct relay made = {.tls = config->tls};
    if (!text_copy(made.url, sizeof(made.url), config->url) ||
        !text_copy(made.ca_file, sizeof(made.ca_file), config->ca_file) ||
        !text_copy(made.folder, sizeof(made.folder), config->folder))
        return -EINVAL;
    *relay = made;
    return 0;
}

/* All of the mail, or -errno. */
static int file_fill(int fd, const struct relay_mail *mail)
{
    char copy[RELAY_COPY_BYTES];
    uint64_t left = mail->bytes;
    while (left > 0) { /* every round takes some */
        const size_t got = mail->read(mail->context, copy, sizeof(copy));
        if (got == 0 || got == RELAY_READ_FAILED || got > left)
            return -EIO;
        if (write(fd, copy, got) != (ssize_t)got)
            return -EIO;
        left -= got;
    }
    return fsync(fd) == 0 ? 0 : -EIO;
}

/* Written, synced, renamed, and the folder synced. */
static int folder_put(const struct relay *relay, const struct relay_mail *mail)
{
    char temporary[2 * RELAY_PATH_BYTES];
    char final[2 * RELAY_PATH_BYTES];
    (void)snprintf(temporary, sizeof(temporary), "%s/.%s.part", relay->folder, mail->name);
    (void)snprintf(final, sizeof(final), "%s/%s.eml", relay->folder, mail->name);
    const int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    int rc = file_fill(fd, mail);
    if (close(fd) != 0 && rc == 0)
        rc = -EIO;
    if (rc == 0 && rename(temporary, final) != 0)
        rc = -errno;
    if (rc != 0) {
        (void)unlink(temporary);
        return rc;
    }
    const int folder = open(relay->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return -errno;
    rc = fsync(folder) != 0 ? -errno : 0;
    (void)close(folder);
    return rc;
}

/* How far an attempt came. */
struct relay_talk {
    bool recipient; /* RCPT or more */
};

static bool command_is(const char *line, size_t bytes, const char *verb)
{
    return bytes >= strlen(verb) && memcmp(line, verb, strlen(verb)) == 0;
}

/* Curl tells the commands that it sends to whoever debugs it, and to nobody else. */
static int curl_said(CURL *curl, curl_infotype type, char *data, size_t bytes, void *context)
{
    struct relay_talk *talk = context;
    (void)curl;
    if (type == CURLINFO_HEADER_OUT && command_is(data, bytes, "RCPT "))
        talk->recipient = true;
    return 0;
}

static size_t curl_read(char *dst, size_t size, size_t count, void *context)
{
    const struct relay_mail *mail = context;
    const size_t got = mail->read(mail->context, dst, size * count);
    return got == RELAY_READ_FAILED ? CURL_READFUNC_ABORT : got;
}

/* Curl asks at least once a second; anything but 0 ends the transfer. */
static int curl_over(void *context, curl_off_t down_total, curl_off_t down, curl_off_t up_total,
                     curl_off_t up)
{
    const struct relay_mail *mail = context;
    (void)down_total;
    (void)down;
    (void)up_total;
    (void)up;
    return mail->over != NULL && mail->over(mail->context) ? 1 : 0;
}

static bool curl_protect(const struct relay *relay, CURL *curl)
{
    const bool from_the_start = strncmp(relay->url, "smtps:", 6) == 0;
    long tls = CURLUSESSL_NONE;
    bool check = from_the_start;
    switch (relay->tls) {
    case RELAY_TLS_TRY: tls = CURLUSESSL_TRY; break;
    case RELAY_TLS_REQUIRE:
        tls = CURLUSESSL_ALL;
        check = true;
        break;
    case RELAY_TLS_NONE: break;
    }
    bool done = curl_easy_setopt(curl, CURLOPT_USE_SSL, tls) == CURLE_OK;
    done = done && curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, check ? 1L : 0L) == CURLE_OK;
    done = done && curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, check ? 2L : 0L) == CURLE_OK;
    if (relay->ca_file[0] != '\0') {
        done = done && curl_easy_setopt(curl, CURLOPT_CAINFO, relay->ca_file) == CURLE_OK;
        done = done && curl_easy_setopt(curl, CURLOPT_CAPATH, NULL) == CURLE_OK;
    }
    return done;
}

static bool curl_prepare(const struct relay *relay, CURL *curl, const struct curl_slist *to,
                         const struct relay_mail *mail, struct relay_talk *talk)
{
    bool done = curl_easy_setopt(curl, CURLOPT_URL, relay->url) == CURLE_OK;
    done = done && curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "smtp,smtps") == CURLE_OK;
    /* A proxy that the environment names for browsing is none for mail. */
    done = done && curl_easy_setopt(curl, CURLOPT_PROXY, "") == CURLE_OK;
    /* Without an address curl says MAIL FROM:<>. */
    if (mail->from[0] != '\0')
        done = done && curl_easy_setopt(curl, CURLOPT_MAIL_FROM, mail->from) == CURLE_OK;
    done = done && curl_protect(relay, curl);
    /* These cannot fail: they store a number or a pointer. */
    (void)curl_easy_setopt(curl, CURLOPT_MAIL_RCPT, to);
    (void)curl_easy_setopt(curl, CURLOPT_READFUNCTION, curl_read);
    (void)curl_easy_setopt(curl, CURLOPT_READDATA, mail);
    (void)curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)mail->bytes);
    (void)curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_DEBUGFUNCTION, curl_said);
    (void)curl_easy_setopt(curl, CURLOPT_DEBUGDATA, talk);
    (void)curl_easy_setopt(curl, CURLOPT_VERBOSE, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    (void)curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, curl_over);
    (void)curl_easy_setopt(curl, CURLOPT_XFERINFODATA, mail);
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)mail->attempt_ms);
    (void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)RELAY_CONNECT_MS_MAX);
    return done;
}

static int relay_send(const struct relay *relay, const struct relay_mail *mail)
{
    struct curl_slist *to = curl_slist_append(NULL, mail->to);
    CURL *curl = curl_easy_init();
    CURLcode code = CURLE_OUT_OF_MEMORY;
    long answer = 0;
    struct relay_talk talk = {.recipient = false};
    if (to != NULL && curl != NULL && curl_prepare(relay, curl, to, mail, &talk)) {
        code = curl_easy_perform(curl);
        (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer);
    }
    curl_easy_cleanup(curl);
    curl_slist_free_all(to);
    if (code == CURLE_OK)
        return 0;
    /* Neither the relay's own words nor the address: they may hold what a person typed. */
    log_line(LOG_LEVEL_WARNING, "mail_relay_failed", "name=%s attempt=%u answer=%ld why=\"%s\"",
             mail->name, mail->attempts_count, answer, curl_easy_strerror(code));
    /* A greeting or a sender that is refused is the relay's settings, and those are mended. */
    const bool never = answer >= 500 && answer < 600;
    return never && (talk.recipient || answer == RELAY_TOO_LARGE) ? -EPERM : -EIO;
}

int relay_try(const struct relay *relay, const struct relay_mail *mail)
{
    return relay->url[0] != '\0' ? relay_send(relay, mail) : folder_put(relay, mail);
}
