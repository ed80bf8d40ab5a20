#include "bench/mailset.h"

#include "base/assert.h"
#include "crypto/base64.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MAILSET_TEXT_BYTES_MAX (16 * 1024)
#define MAILSET_SIZE_BYTES_MAX ((uint64_t)1 << 40)
#define MAILSET_SEED           UINT64_C(0x62756c6c61)

uint64_t mailset_random(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static int mailset_add(struct mailset *set, uint8_t *bytes_at, size_t bytes, uint64_t weight,
                       char why[MAILSET_WHY_BYTES])
{
    if (set->mails_count == MAILSET_MAILS_MAX) {
        (void)snprintf(why, MAILSET_WHY_BYTES, "more than %d messages", MAILSET_MAILS_MAX);
        return -E2BIG;
    }
    const uint64_t before = set->mails_count == 0 ? 0 : set->mails[set->mails_count - 1].weight_end;
    set->mails[set->mails_count++] =
        (struct mailset_mail){.bytes_at = bytes_at, .bytes = bytes, .weight_end = before + weight};
    set->bytes_total += bytes;
    set->bytes_max = MAX(set->bytes_max, bytes);
    return 0;
}

/* Words of an office day, so that text is neither constant nor incompressible. */
static size_t mailset_text(uint8_t *dst, size_t bytes, uint64_t *state)
{
    static const char *const words[] = {"the",      "report",  "of",       "this",    "quarter",
                                        "shows",    "figures", "we",       "meeting", "on",
                                        "Tuesday",  "please",  "confirm",  "invoice", "account",
                                        "contract", "and",     "attached", "signed",  "by",
                                        "legal",    "before",  "noon",     "thanks"};
    size_t used = 0;
    size_t column = 0;
    while (used < bytes) {
        const char *word = words[mailset_random(state) % ARRAY_COUNT(words)];
        const size_t word_bytes = strlen(word);
        if (used + word_bytes + 3 > bytes) {
            while (used + 2 < bytes)
                dst[used++] = '.';
            if (used + 2 == bytes) {
                dst[used++] = '\r';
                dst[used++] = '\n';
            } else {
                dst[used++] = '.';
            }
            break;
        }
        memcpy(dst + used, word, word_bytes);
        used += word_bytes;
        column += word_bytes + 1;
        if (column > 68) {
            dst[used++] = '\r';
            dst[used++] = '\n';
            column = 0;
        } else {
            dst[used++] = ' ';
        }
    }
    return used;
}

static const char mailset_head[] = "From: Accounts <accounts@example.com>\r\n"
                                   "To: Erin <erin@example.net>\r\n"
                                   "Subject: Figures of the quarter\r\n"
                                   "Date: Fri, 20 Nov 2026 09:00:00 +0000\r\n"
                                   "Message-ID: <bench@example.com>\r\n"
                                   "MIME-Version: 1.0\r\n";
static const char mailset_text_head[] = "Content-Type: text/plain; charset=us-ascii\r\n\r\n";
static const char mailset_parts_head[] =
    "Content-Type: multipart/mixed; boundary=\"part\"\r\n\r\n"
    "--part\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\nSee attached.\r\n"
    "--part\r\nContent-Type: application/octet-stream; name=\"figures.bin\"\r\n"
    "Content-Transfer-Encoding: base64\r\n\r\n";
static const char mailset_parts_end[] = "--part--\r\n";

static size_t mailset_append(uint8_t *dst, const char *text)
{
    const size_t bytes = strlen(text);
    memcpy(dst, text, bytes);
    return bytes;
}

enum mailset_kind {
    MAILSET_BY_SIZE, /* text when small, else an attachment */
    MAILSET_TEXT,
    MAILSET_ATTACHED, /* the size is the attachment's, before base64 */
};

/* A message of about `size` bytes: exactly so for text, to a base64 line for attachments. */
static int mailset_make(struct mailset *set, size_t size, enum mailset_kind kind, uint64_t weight,
                        char why[MAILSET_WHY_BYTES])
{
    uint64_t state = MAILSET_SEED + set->mails_count;
    const size_t lines_wanted = (size + BASE64_LINE_BYTES - 1) / BASE64_LINE_BYTES;
    const size_t wanted = kind != MAILSET_ATTACHED
                              ? size
                              : lines_wanted * BASE64_LINE_STRIDE + sizeof(mailset_head) +
                                    sizeof(mailset_parts_head) + sizeof(mailset_parts_end);
    const size_t room = wanted + sizeof(mailset_head) + sizeof(mailset_parts_head) + 4096;
    uint8_t *mail = malloc(room);
    if (mail == NULL)
        return -ENOMEM;
    size_t used = mailset_append(mail, mailset_head);
    if (kind == MAILSET_TEXT || (kind == MAILSET_BY_SIZE && wanted <= MAILSET_TEXT_BYTES_MAX)) {
        used += mailset_append(mail + used, mailset_text_head);
        if (wanted > used)
            used += mailset_text(mail + used, wanted - used, &state);
        return mailset_add(set, mail, used, weight, why);
    }
    used += mailset_append(mail + used, mailset_parts_head);
    const size_t lines_count = (wanted - used - sizeof(mailset_parts_end)) / BASE64_LINE_STRIDE;
    for (size_t i = 0; i < lines_count; i++) {
        uint8_t line[BASE64_LINE_BYTES + 7];
        for (size_t at = 0; at < sizeof(line); at += 8) {
            const uint64_t word = mailset_random(&state);
            memcpy(line + at, &word, 8);
        }
        base64_codec(ISA_SCALAR)->encode_lines(mail + used, line, 1);
        used += BASE64_LINE_STRIDE;
    }
    used += mailset_append(mail + used, mailset_parts_end);
    ASSERT(used <= room);
    return mailset_add(set, mail, used, weight, why);
}

/* "64KiB", "4096"; 0 when it is no size. */
static size_t mailset_parse_size(const char *text, char **end)
{
    errno = 0;
    const unsigned long long number = strtoull(text, end, 10);
    if (errno != 0 || *end == text)
        return 0;
    uint64_t bytes = number;
    if (strncmp(*end, "KiB", 3) == 0 || strncmp(*end, "MiB", 3) == 0) {
        bytes *= **end == 'K' ? 1024 : 1024 * 1024;
        *end += 3;
    }
    return bytes > MAILSET_SIZE_BYTES_MAX ? 0 : (size_t)bytes;
}

uint64_t mailset_size(const char *text)
{
    char *end;
    const size_t bytes = mailset_parse_size(text, &end);
    return *end == '\0' ? bytes : 0;
}

static size_t mailset_size_max(enum mailset_kind kind)
{
    return kind == MAILSET_ATTACHED ? MAILSET_MAIL_BYTES_MAX / 2 : MAILSET_MAIL_BYTES_MAX;
}

static enum mailset_kind mailset_parse_kind(const char *text, char **end)
{
    static const struct {
        const char *word;
        enum mailset_kind kind;
    } kinds[] = {{"/text", MAILSET_TEXT}, {"/attached", MAILSET_ATTACHED}};
    *end = (char *)(uintptr_t)text;
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        if (strncmp(text, kinds[i].word, strlen(kinds[i].word)) == 0) {
            *end += strlen(kinds[i].word);
            return kinds[i].kind;
        }
    }
    return MAILSET_BY_SIZE;
}

int mailset_open_sizes(struct mailset **set, const char *sizes, char why[MAILSET_WHY_BYTES])
{
    struct mailset *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    int rc = 0;
    const char *at = sizes;
    while (rc == 0) {
        char *end;
        uint64_t weight = 1;
        const size_t bytes = mailset_parse_size(at, &end);
        const enum mailset_kind kind = mailset_parse_kind(end, &end);
        if (bytes != 0 && *end == ':')
            weight = strtoull(end + 1, &end, 10);
        if (bytes == 0 || bytes > mailset_size_max(kind) || weight == 0 ||
            (*end != '\0' && *end != ',')) {
            (void)snprintf(why, MAILSET_WHY_BYTES,
                           "sizes \"%s\": say 4KiB, or 4KiB:70,25MiB:5 (up to 64MiB)", sizes);
            rc = -EINVAL;
            break;
        }
        rc = mailset_make(made, bytes, kind, weight, why);
        if (*end == '\0')
            break;
        at = end + 1;
    }
    if (rc != 0) {
        mailset_close(made);
        return rc;
    }
    *set = made;
    return 0;
}

static int mailset_read(struct mailset *set, const char *path, char why[MAILSET_WHY_BYTES])
{
    struct stat info;
    FILE *file = fopen(path, "rbe");
    if (file == NULL || fstat(fileno(file), &info) != 0) {
        const int rc = -errno;
        (void)snprintf(why, MAILSET_WHY_BYTES, "%.200s: %s", path, strerror(errno));
        if (file != NULL)
            (void)fclose(file);
        return rc;
    }
    int rc = 0;
    if (S_ISREG(info.st_mode) && info.st_size > 0 && info.st_size <= MAILSET_MAIL_BYTES_MAX) {
        const size_t bytes = (size_t)info.st_size;
        uint8_t *mail = malloc(bytes);
        if (mail == NULL)
            rc = -ENOMEM;
        else if (fread(mail, 1, bytes, file) != bytes)
            rc = -EIO;
        if (rc == 0)
            rc = mailset_add(set, mail, bytes, 1, why);
        if (rc != 0)
            free(mail);
    }
    (void)fclose(file);
    return rc;
}

int mailset_open_folder(struct mailset **set, const char *path, char why[MAILSET_WHY_BYTES])
{
    struct dirent **names;
    struct mailset *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    const int names_count = scandir(path, &names, NULL, alphasort);
    if (names_count < 0) {
        const int rc = -errno;
        (void)snprintf(why, MAILSET_WHY_BYTES, "%.200s: %s", path, strerror(errno));
        free(made);
        return rc;
    }
    int rc = 0;
    for (int i = 0; i < names_count; i++) {
        char file[4096];
        if (rc == 0 && names[i]->d_name[0] != '.') {
            (void)snprintf(file, sizeof(file), "%s/%s", path, names[i]->d_name);
            rc = mailset_read(made, file, why);
        }
        free(names[i]);
    }
    free(names);
    if (rc == 0 && made->mails_count == 0) {
        (void)snprintf(why, MAILSET_WHY_BYTES, "%.200s holds no messages", path);
        rc = -ENOENT;
    }
    if (rc != 0) {
        mailset_close(made);
        return rc;
    }
    *set = made;
    return 0;
}

void mailset_close(struct mailset *set)
{
    if (set == NULL)
        return;
    for (uint32_t i = 0; i < set->mails_count; i++)
        free(set->mails[i].bytes_at);
    free(set);
}

const struct mailset_mail *mailset_pick(const struct mailset *set, uint64_t random)
{
    const uint64_t target = random % set->mails[set->mails_count - 1].weight_end;
    uint32_t low = 0;
    uint32_t high = set->mails_count - 1;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (set->mails[middle].weight_end <= target)
            low = middle + 1;
        else
            high = middle;
    }
    return &set->mails[low];
}
