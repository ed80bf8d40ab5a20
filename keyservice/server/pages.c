#include "keyservice/server/pages.h"

#include "base/assert.h"
#include "keyservice/server/api/api.h"
#include "keyservice/server/language.h"
#include "web/assets.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PAGE_BYTES_MAX   (256 * 1024)
#define PAGE_NAME_BYTES  64
#define PAGES_ACCEPT_MAX 16         /* languages of Accept-Language that are looked at */
#define PAGES_ONLINE     "/online"  /* and whatever handle stands behind it */
#define PAGES_CONTACT    "/contact" /* and whatever profile stands behind it */
#define PAGES_LINK       "/link"    /* and whatever token stands behind it */
#define PAGES_PATH       "path"     /* of the request: where its page leads back to */
#define PAGES_HERE       "{{=" PAGES_PATH "}}"
#define PAGES_NAME_CHARS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
#define PAGES_NOTICE     "pages/notice.html"
#define PAGES_TYPE       "text/html; charset=utf-8"
#define PAGES_POLICY                                                                               \
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "              \
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "            \
    "require-trusted-types-for 'script'; trusted-types 'none'"
/* The page that shows a message: its frame inherits this, so mail's own style must be let through,
 * and pictures in it are blob: and data: only. */
#define PAGES_MESSAGE_POLICY                                                                       \
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "                    \
    "img-src 'self' data: blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; "        \
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types default"

/* No script at all, not even our own: these pages show what a stranger wrote, as text. */
#define PAGES_PLAIN_POLICY                                                                         \
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "  \
    "frame-ancestors 'none'"

static const char *const locales[PAGES_LOCALES_COUNT] = {"en", "de", "fr", "es", "it", "pt",
                                                         "nl", "pl", "sv", "ja", "zh", "ar"};

/* A page's address, its template, and whether a window that opened it stays in touch. */
static const struct {
    const char *path;
    const char *asset;
    const char *policy;
    bool keep_opener;
} page_list[] = {
    {"/", "pages/home.html", PAGES_POLICY, false},
    {"/signin", "pages/signin.html", PAGES_POLICY, false},
    {"/admin", "pages/admin.html", PAGES_POLICY, false},
    {"/register", "pages/register.html", PAGES_POLICY, false},
    {"/account", "pages/account.html", PAGES_POLICY, false},
    {"/reset", "pages/reset.html", PAGES_POLICY, false},
    {"/sent", "pages/sent.html", PAGES_POLICY, false},
    {"/reports", "pages/reports.html", PAGES_POLICY, false},
    {"/open", "pages/open.html", PAGES_POLICY, true},
    {"/write", "pages/write.html", PAGES_POLICY, false},
    {PAGES_CONTACT, "pages/write.html", PAGES_POLICY, false},
    {PAGES_ONLINE, "pages/online.html", PAGES_MESSAGE_POLICY, false},
};
#define PAGES_COUNT ARRAY_COUNT(page_list)

/* The folders of web/pages/strings/. Every page has those of the first, and the others that it
 * names. */
static const char *const string_parts[] = {"core",  "account", "read",   "admin",
                                           "write", "sent",    "report", "link"};
#define PARTS_COUNT ARRAY_COUNT(string_parts)

static const char *const notice_names[PAGES_NOTICES_COUNT] = {
    [PAGES_NOTICE_AWAY] = "error_away",
    [PAGES_NOTICE_CUT] = "error_cut",
    [PAGES_NOTICE_DAMAGED] = "error_damaged",
    [PAGES_NOTICE_TOO_LARGE] = "error_too_large",
};

static const char *const plain_assets[PAGES_PLAINS_COUNT] = {
    [PAGES_PLAIN_SIGNIN] = "pages/plain_signin.html",
    [PAGES_PLAIN_PROOF] = "pages/plain_proof.html",
    [PAGES_PLAIN_CODE] = "pages/plain_code.html",
    [PAGES_PLAIN_MESSAGE] = "pages/plain_message.html",
    [PAGES_PLAIN_SHOWN] = "pages/plain_shown.html",
    [PAGES_PLAIN_LINK] = "pages/plain_link.html",
};

static const struct {
    const char *suffix;
    const char *type;
} file_types[] = {
    {".js", "text/javascript; charset=utf-8"},
    {".css", "text/css; charset=utf-8"},
    {".svg", "image/svg+xml; charset=utf-8"},
};

struct page_text {
    char *bytes_at;
    size_t bytes;
};

struct pages {
    json_t *strings[PAGES_LOCALES_COUNT]; /* of all parts */
    json_t *parts[PAGES_LOCALES_COUNT][PARTS_COUNT];
    struct page_text texts[PAGES_LOCALES_COUNT][PAGES_COUNT];
    struct page_text notices[PAGES_LOCALES_COUNT][PAGES_NOTICES_COUNT];
    struct page_text plains[PAGES_LOCALES_COUNT][PAGES_PLAINS_COUNT]; /* {{=name}} left in */
};

/* A page while it is being written. */
struct page_writer {
    char *bytes_at;
    size_t bytes;
    size_t room;
    bool full;
};

static bool page_has_more(const char *page)
{
    return strcmp(page, PAGES_ONLINE) == 0 || strcmp(page, PAGES_CONTACT) == 0 ||
           strcmp(page, PAGES_LINK) == 0;
}

/* Where the page leads back to when its language is changed: it, or whatever of it is asked for. */
static const char *page_back(const char *page)
{
    return page_has_more(page) ? PAGES_HERE : page;
}

/* Whether `path` is one of that page, and what may stand behind it is a name. */
static bool page_names(const char *page, const char *path)
{
    const size_t chars = strlen(page);
    if (strncmp(page, path, chars) != 0)
        return false;
    if (path[chars] == '\0')
        return true;
    return page_has_more(page) && path[chars] == '/' && path[chars + 1] != '\0' &&
           path[chars + 1 + strspn(path + chars + 1, PAGES_NAME_CHARS)] == '\0';
}

const char *pages_path(const char *path)
{
    for (size_t page = 0; page < PAGES_COUNT; page++)
        if (page_names(page_list[page].path, path))
            return path;
    return page_names(PAGES_LINK, path) ? path : "/";
}

const char *pages_locale_name(uint32_t locale)
{
    ASSERT(locale < PAGES_LOCALES_COUNT);
    return locales[locale];
}

bool pages_right_to_left(uint32_t locale)
{
    return strcmp(pages_locale_name(locale), "ar") == 0;
}

uint32_t pages_locale(const char *accept_language)
{
    uint32_t best = 0;
    double best_weight = 0.0;
    const char *at = accept_language;
    for (uint32_t n = 0; n < PAGES_ACCEPT_MAX && *at != '\0'; n++) {
        at += strspn(at, " ,\t");
        const size_t chars = strcspn(at, ",");
        const char *weight_at = memchr(at, ';', chars);
        double weight = 1.0;
        if (weight_at != NULL) {
            weight_at += strspn(weight_at, "; ");
            weight = strncmp(weight_at, "q=", 2) == 0 ? strtod(weight_at + 2, NULL) : 0.0;
        }
        for (uint32_t i = 0; i < PAGES_LOCALES_COUNT; i++)
            if (weight > best_weight && chars >= 2 && strncasecmp(at, locales[i], 2) == 0 &&
                (chars == 2 || strchr("-;, ", at[2]) != NULL)) {
                best = i;
                best_weight = weight;
            }
        at += chars;
    }
    return best;
}

const char *pages_string(const struct pages *pages, uint32_t locale, const char *name)
{
    const char *text = json_string_value(json_object_get(pages->strings[locale], name));
    if (text == NULL)
        text = json_string_value(json_object_get(pages->strings[0], name));
    ASSERT(text != NULL); /* pages_open() has looked for every name that is asked for */
    return text;
}

static void write_bytes(struct page_writer *writer, const char *bytes_at, size_t bytes)
{
    if (writer->full || bytes > writer->room - writer->bytes) {
        writer->full = true;
        return;
    }
    memcpy(writer->bytes_at + writer->bytes, bytes_at, bytes);
    writer->bytes += bytes;
}

static void write_escaped(struct page_writer *writer, const char *text)
{
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '&': write_bytes(writer, "&amp;", 5); break;
        case '<': write_bytes(writer, "&lt;", 4); break;
        case '>': write_bytes(writer, "&gt;", 4); break;
        case '"': write_bytes(writer, "&quot;", 6); break;
        case '\'': write_bytes(writer, "&#39;", 5); break;
        default: write_bytes(writer, text, 1); break;
        }
    }
}

/* JSON that cannot end the script element it stands in. */
static void write_json(struct page_writer *writer, const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] == '<')
            write_bytes(writer, "\\u003c", 6);
        else
            write_bytes(writer, text + i, 1);
    }
}

/* The words of what shows a message: web/build.mjs makes them of the opener's. */
static bool write_words(struct page_writer *writer, uint32_t locale)
{
    char name[PAGE_NAME_BYTES];
    (void)snprintf(name, sizeof(name), "pages/words/%s.json", locales[locale]);
    const struct asset *asset = asset_find(name);
    if (asset == NULL)
        return false;
    write_json(writer, (const char *)asset->bytes_at, asset->bytes);
    return true;
}

/* `names`: parts beside the first, each behind a blank. */
static bool write_strings(struct page_writer *writer, const struct pages *pages, uint32_t locale,
                          const char *names)
{
    json_t *all = json_object();
    char *text = NULL;
    bool whole = all != NULL;
    for (size_t part = 0; part < PARTS_COUNT; part++) {
        const size_t chars = strlen(string_parts[part]);
        const char *found = strstr(names, string_parts[part]);
        const bool named = found != NULL && found > names && found[-1] == ' ' &&
                           (found[chars] == ' ' || found[chars] == '\0');
        if (part == 0 || named)
            whole = whole && json_object_update(all, pages->parts[0][part]) == 0 &&
                    json_object_update(all, pages->parts[locale][part]) == 0;
    }
    if (whole)
        text = json_dumps(all, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(all);
    if (text == NULL)
        return false;
    write_json(writer, text, strlen(text));
    free(text);
    return true;
}

/* The menu's lines, each language by its own name. */
static void write_languages(struct page_writer *writer, uint32_t locale)
{
    static const char *const names[PAGES_LOCALES_COUNT] = {"English",    "Deutsch",  "Français",
                                                           "Español",    "Italiano", "Português",
                                                           "Nederlands", "Polski",   "Svenska",
                                                           "日本語",     "中文",     "العربية"};
    for (uint32_t i = 0; i < PAGES_LOCALES_COUNT; i++) {
        char line[128];
        const int n = snprintf(line, sizeof(line), "<option value=\"%s\" lang=\"%s\"%s>%s</option>",
                               locales[i], locales[i], i == locale ? " selected" : "", names[i]);
        ASSERT(n > 0 && n < (int)sizeof(line));
        write_bytes(writer, line, (size_t)n);
    }
}

/* What stands for {{name}}; false when there is no such string. */
static bool write_marker(struct page_writer *writer, const struct pages *pages, uint32_t locale,
                         const char *path, const char *notice, const char *name)
{
    if (strcmp(name, "#path") == 0) {
        write_bytes(writer, path, strlen(path));
        return true;
    }
    if (strcmp(name, "#languages") == 0) {
        write_languages(writer, locale);
        return true;
    }
    if (strcmp(name, "#lang") == 0) {
        write_bytes(writer, locales[locale], 2);
        return true;
    }
    if (strcmp(name, "#dir") == 0) {
        write_bytes(writer, pages_right_to_left(locale) ? "rtl" : "ltr", 3);
        return true;
    }
    if (name[0] == '=') { /* a value of each request */
        write_bytes(writer, "{{", 2);
        write_bytes(writer, name, strlen(name));
        write_bytes(writer, "}}", 2);
        return true;
    }
    if (strncmp(name, "#strings", 8) == 0)
        return write_strings(writer, pages, locale, name + 8);
    if (strcmp(name, "#words") == 0)
        return write_words(writer, locale);
    if (strcmp(name, "#notice") == 0 && notice != NULL)
        name = notice;
    if (json_object_get(pages->strings[0], name) == NULL)
        return false;
    write_escaped(writer, pages_string(pages, locale, name));
    return true;
}

static int page_render(struct page_text *text, const struct pages *pages, uint32_t locale,
                       const char *path, const char *asset_name, const char *notice,
                       char why[PAGES_WHY_BYTES])
{
    const struct asset *asset = asset_find(asset_name);
    if (asset == NULL) {
        (void)snprintf(why, PAGES_WHY_BYTES, "%s is missing", asset_name);
        return -ENOENT;
    }
    struct page_writer writer = {.bytes_at = malloc(PAGE_BYTES_MAX), .room = PAGE_BYTES_MAX};
    const char *at = (const char *)asset->bytes_at;
    const char *end = at + asset->bytes;
    int rc = writer.bytes_at == NULL ? -ENOMEM : 0;
    while (rc == 0 && at < end) { /* every round moves on */
        char name[PAGE_NAME_BYTES] = "";
        const char *open = memmem(at, (size_t)(end - at), "{{", 2);
        if (open == NULL) {
            write_bytes(&writer, at, (size_t)(end - at));
            break;
        }
        write_bytes(&writer, at, (size_t)(open - at));
        const char *close = memmem(open, (size_t)(end - open), "}}", 2);
        if (close != NULL && (size_t)(close - open) < sizeof(name))
            memcpy(name, open + 2, (size_t)(close - open) - 2);
        if (close == NULL || !write_marker(&writer, pages, locale, path, notice, name)) {
            (void)snprintf(why, PAGES_WHY_BYTES, "%s: no string \"%s\"", asset->name, name);
            rc = -EBADMSG;
            break;
        }
        at = close + 2;
    }
    if (rc == 0 && writer.full)
        rc = -EFBIG;
    if (rc != 0) {
        free(writer.bytes_at);
        return rc;
    }
    text->bytes_at = writer.bytes_at;
    text->bytes = writer.bytes;
    return 0;
}

/* A part's strings in a language; English throughout where the part has no such language. */
static int part_load(struct pages *pages, uint32_t locale, size_t part, char why[PAGES_WHY_BYTES])
{
    char name[PAGE_NAME_BYTES];
    const char *key;
    json_t *text;
    (void)snprintf(name, sizeof(name), "pages/strings/%s/%s.json", string_parts[part],
                   locales[locale]);
    const struct asset *asset = asset_find(name);
    json_t *strings = asset == NULL ? (locale == 0 ? NULL : json_object())
                                    : json_loadb((const char *)asset->bytes_at, asset->bytes,
                                                 JSON_REJECT_DUPLICATES, NULL);
    pages->parts[locale][part] = strings;
    if (!json_is_object(strings)) {
        (void)snprintf(why, PAGES_WHY_BYTES, "%s is missing or not JSON", name);
        return -EBADMSG;
    }
    json_object_foreach(strings, key, text)
    {
        if (!json_is_string(text) || json_object_get(pages->strings[locale], key) != NULL) {
            (void)snprintf(why, PAGES_WHY_BYTES, "%s: \"%s\" is no string, or another part has it",
                           name, key);
            return -EBADMSG;
        }
        if (json_object_set(pages->strings[locale], key, text) != 0)
            return -ENOMEM;
    }
    return 0;
}

static int strings_load(struct pages *pages, char why[PAGES_WHY_BYTES])
{
    static const char *const needed[] = {
        "mail_code_subject",    "mail_code_text",      "mail_known_subject",
        "mail_known_text",      "mail_reset_subject",  "mail_reset_text",
        "mail_nobody_subject",  "mail_nobody_text",    "mail_password_subject",
        "mail_password_text",   "mail_factor_subject", "mail_factor_text",
        "mail_passkey_subject", "mail_passkey_text",   "mail_reset_ask_subject",
        "mail_reset_ask_text",  "mail_failed_subject", "mail_failed_text",
        "mail_link_subject",    "mail_link_text",
    };
    for (uint32_t i = 0; i < PAGES_LOCALES_COUNT; i++) {
        pages->strings[i] = json_object();
        int rc = pages->strings[i] == NULL ? -ENOMEM : 0;
        for (size_t part = 0; rc == 0 && part < PARTS_COUNT; part++)
            rc = part_load(pages, i, part, why);
        if (rc != 0)
            return rc;
    }
    for (size_t i = 0; i < ARRAY_COUNT(needed); i++)
        if (!json_is_string(json_object_get(pages->strings[0], needed[i]))) {
            (void)snprintf(why, PAGES_WHY_BYTES, "pages/strings: no \"%s\" in English", needed[i]);
            return -EBADMSG;
        }
    return 0;
}

int pages_words_open(struct pages **pages, char why[PAGES_WHY_BYTES])
{
    struct pages *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    const int rc = strings_load(made, why);
    if (rc != 0) {
        pages_close(made);
        return rc;
    }
    *pages = made;
    return 0;
}

static int locale_render(struct pages *made, uint32_t locale, char why[PAGES_WHY_BYTES])
{
    int rc = 0;
    for (size_t page = 0; rc == 0 && page < PAGES_COUNT; page++)
        rc = page_render(&made->texts[locale][page], made, locale, page_back(page_list[page].path),
                         page_list[page].asset, NULL, why);
    for (uint32_t notice = 0; rc == 0 && notice < PAGES_NOTICES_COUNT; notice++)
        rc = page_render(&made->notices[locale][notice], made, locale, "/", PAGES_NOTICE,
                         notice_names[notice], why);
    for (size_t plain = 0; rc == 0 && plain < PAGES_PLAINS_COUNT; plain++)
        rc = page_render(&made->plains[locale][plain], made, locale, PAGES_HERE,
                         plain_assets[plain], NULL, why);
    return rc;
}

int pages_open(struct pages **pages, char why[PAGES_WHY_BYTES])
{
    struct pages *made = NULL;
    int rc = pages_words_open(&made, why);
    for (uint32_t i = 0; rc == 0 && i < PAGES_LOCALES_COUNT; i++)
        rc = locale_render(made, i, why);
    if (rc != 0) {
        pages_close(made);
        return rc;
    }
    *pages = made;
    return 0;
}

void pages_close(struct pages *pages)
{
    if (pages == NULL)
        return;
    for (uint32_t i = 0; i < PAGES_LOCALES_COUNT; i++) {
        json_decref(pages->strings[i]);
        for (size_t part = 0; part < PARTS_COUNT; part++)
            json_decref(pages->parts[i][part]);
        for (size_t page = 0; page < PAGES_COUNT; page++)
            free(pages->texts[i][page].bytes_at);
        for (uint32_t notice = 0; notice < PAGES_NOTICES_COUNT; notice++)
            free(pages->notices[i][notice].bytes_at);
        for (uint32_t plain = 0; plain < PAGES_PLAINS_COUNT; plain++)
            free(pages->plains[i][plain].bytes_at);
    }
    free(pages);
}

void pages_expand(char *dst, size_t room, const char *text, const char *code, const char *url)
{
    size_t used = 0;
    while (*text != '\0' && used + 1 < room) {
        const bool is_code = strncmp(text, "{{code}}", 8) == 0;
        const bool is_url = strncmp(text, "{{url}}", 7) == 0;
        if (!is_code && !is_url) {
            dst[used++] = *text++;
            continue;
        }
        const int n = snprintf(dst + used, room - used, "%s", is_code ? code : url);
        used = MIN(used + (size_t)MAX(n, 0), room - 1);
        text += is_code ? 8 : 7;
    }
    dst[used] = '\0';
}

static void file_answer(struct http_request *request)
{
    char name[PAGE_NAME_BYTES];
    const int n = snprintf(name, sizeof(name), "pages%s", request->path + sizeof("/static") - 1);
    const struct asset *asset = n > 0 && (size_t)n < sizeof(name) ? asset_find(name) : NULL;
    const char *suffix = strrchr(name, '.');
    for (size_t i = 0; asset != NULL && suffix != NULL && i < ARRAY_COUNT(file_types); i++)
        if (strcmp(suffix, file_types[i].suffix) == 0) {
            http_answer_constant(request, 200, file_types[i].type, asset->bytes_at, asset->bytes);
            return;
        }
    api_refuse(request, API_UNKNOWN, NULL);
}

static void page_headers(struct http_request *request, uint32_t locale)
{
    http_answer_header(request, "Vary", "Accept-Language, Cookie");
    http_answer_header(request, "Content-Language", "%s", locales[locale]);
    request->policy = PAGES_POLICY;
}

void pages_notice_answer(const struct pages *pages, struct http_request *request,
                         unsigned int status, enum pages_notice notice)
{
    const uint32_t locale = language_of_request(request);
    const struct page_text *text = &pages->notices[locale][notice];
    http_answer_constant(request, status, PAGES_TYPE, text->bytes_at, text->bytes);
    page_headers(request, locale);
}

/* What stands for a value; "" for one that is not given. */
static void write_value(struct page_writer *writer, const char *name, size_t chars,
                        const struct pages_value *values, uint32_t values_count)
{
    for (uint32_t i = 0; i < values_count; i++) {
        if (strlen(values[i].name) != chars || memcmp(values[i].name, name, chars) != 0 ||
            values[i].text == NULL)
            continue;
        if (values[i].markup)
            write_bytes(writer, values[i].text, strlen(values[i].text));
        else
            write_escaped(writer, values[i].text);
        return;
    }
}

/* Escaping makes six of a character at most. */
static size_t plain_room(const struct page_text *text, const struct pages_value *values,
                         uint32_t values_count)
{
    size_t room = text->bytes;
    for (uint32_t i = 0; i < values_count; i++) /* a value stands at most twice */
        if (values[i].text != NULL)
            room += 2 * strlen(values[i].text) * (values[i].markup ? 1 : 6);
    return room;
}

/* A text with its values, to be freed; NULL without memory. */
static char *values_fill(const struct page_text *text, const char *path,
                         const struct pages_value *values, uint32_t values_count, size_t *bytes)
{
    const char *at = text->bytes_at;
    const char *end = at + text->bytes;
    const struct pages_value here = {.name = PAGES_PATH, .text = path};
    struct page_writer writer = {.room = plain_room(text, values, values_count) +
                                         plain_room(text, &here, 1)};
    writer.bytes_at = malloc(writer.room);
    if (writer.bytes_at == NULL)
        return NULL;
    while (at < end) { /* every round moves on */
        const char *open = memmem(at, (size_t)(end - at), "{{=", 3);
        const char *close = open == NULL ? NULL : memmem(open, (size_t)(end - open), "}}", 2);
        if (close == NULL)
            break;
        write_bytes(&writer, at, (size_t)(open - at));
        write_value(&writer, open + 3, (size_t)(close - open) - 3, values, values_count);
        write_value(&writer, open + 3, (size_t)(close - open) - 3, &here, 1);
        at = close + 2;
    }
    write_bytes(&writer, at, (size_t)(end - at));
    ASSERT(!writer.full);
    *bytes = writer.bytes;
    return writer.bytes_at;
}

void pages_plain_answer(const struct pages *pages, struct http_request *request,
                        unsigned int status, enum pages_plain page,
                        const struct pages_value *values, uint32_t values_count)
{
    const uint32_t locale = language_of_request(request);
    size_t bytes = 0;
    char *text =
        values_fill(&pages->plains[locale][page], request->path, values, values_count, &bytes);
    if (text == NULL) {
        pages_notice_answer(pages, request, 503, PAGES_NOTICE_AWAY);
        return;
    }
    http_answer(request, status, PAGES_TYPE, text, bytes);
    http_answer_header(request, "Content-Language", "%s", locales[locale]);
    request->policy = PAGES_PLAIN_POLICY;
    request->own_referrer = true;
}

static bool page_fits(const char *page, const char *path)
{
    const size_t chars = strlen(page);
    return strncmp(page, path, chars) == 0 &&
           (path[chars] == '\0' || (page_has_more(page) && path[chars] == '/'));
}

static void page_answer(const struct pages *pages, struct http_request *request, size_t page,
                        uint32_t locale)
{
    const struct page_text *text = &pages->texts[locale][page];
    size_t bytes = 0;
    if (!page_has_more(page_list[page].path)) {
        http_answer_constant(request, 200, PAGES_TYPE, text->bytes_at, text->bytes);
        page_headers(request, locale);
        return;
    }
    char *filled = values_fill(text, request->path, NULL, 0, &bytes);
    if (filled == NULL) {
        pages_notice_answer(pages, request, 503, PAGES_NOTICE_AWAY);
        return;
    }
    http_answer(request, 200, PAGES_TYPE, filled, bytes);
    page_headers(request, locale);
}

void pages_get(void *context, struct http_request *request)
{
    const struct service *service = context;
    const uint32_t locale = language_of_request(request);
    for (size_t page = 0; page < PAGES_COUNT; page++) {
        if (!page_fits(page_list[page].path, request->path))
            continue;
        page_answer(service->pages, request, page, locale);
        request->policy = page_list[page].policy;
        request->keep_opener = page_list[page].keep_opener;
        request->own_referrer = strcmp(page_list[page].path, PAGES_ONLINE) == 0;
        return;
    }
    file_answer(request);
}
