#include "engine/snapshot.h"

#include "base/assert.h"
#include "crypto/base64.h"
#include "engine/options.h"
#include "keyservice/record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Texts that a frame is made of; freed once it is rendered. */
struct source {
    char *text_template;
    char *html_template;
    char *failure_template;
    char *logo_data_url;
};

static int PRINTF_LIKE(3, 4) source_fault(const struct profile *profile,
                                          char why[SNAPSHOT_WHY_BYTES], const char *format, ...)
{
    va_list args;
    const int used = snprintf(why, SNAPSHOT_WHY_BYTES, "profile \"%s\": ", profile->name);
    va_start(args, format);
    (void)vsnprintf(why + used, (size_t)(SNAPSHOT_WHY_BYTES - used), format, args);
    va_end(args);
    return -EINVAL;
}

/* A whole small file, with a NUL after it. */
static int source_read(const char *path, size_t bytes_max, char **text, size_t *text_bytes)
{
    struct stat status;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    int rc = fstat(fd, &status) != 0 ? -errno : 0;
    if (rc == 0 && !S_ISREG(status.st_mode))
        rc = -EINVAL;
    if (rc == 0 && (uint64_t)status.st_size > bytes_max)
        rc = -EFBIG;
    char *made = rc == 0 ? malloc((size_t)status.st_size + 1) : NULL;
    if (rc == 0 && made == NULL)
        rc = -ENOMEM;
    size_t used = 0;
    while (rc == 0 && used < (size_t)status.st_size) {
        const ssize_t n = read(fd, made + used, (size_t)status.st_size - used);
        if (n < 0 && errno != EINTR)
            rc = -errno;
        else if (n == 0)
            break;
        else if (n > 0)
            used += (size_t)n;
    }
    (void)close(fd);
    if (rc != 0) {
        free(made);
        return rc;
    }
    made[used] = '\0';
    *text = made;
    *text_bytes = used;
    return 0;
}

static int source_template(const struct profile *profile, const char *path, char **text,
                           char why[SNAPSHOT_WHY_BYTES])
{
    size_t bytes = 0;
    if (path[0] == '\0')
        return 0;
    const int rc = source_read(path, SNAPSHOT_TEXT_BYTES_MAX, text, &bytes);
    if (rc != 0)
        return source_fault(profile, why, "%s cannot be read (%s); a template is at most 256KB",
                            path, strerror(-rc));
    if (strlen(*text) != bytes)
        return source_fault(profile, why, "%s holds a NUL byte; save it as text", path);
    return 0;
}

/* By the file's first bytes: what browsers show in an <img> and what cannot carry a script. */
static const char *source_image_type(const char *image, size_t bytes)
{
    if (bytes >= 8 && memcmp(image, "\x89PNG\r\n\x1a\n", 8) == 0)
        return "image/png";
    if (bytes >= 3 && memcmp(image, "\xff\xd8\xff", 3) == 0)
        return "image/jpeg";
    if (bytes >= 6 && (memcmp(image, "GIF87a", 6) == 0 || memcmp(image, "GIF89a", 6) == 0))
        return "image/gif";
    if (bytes >= 12 && memcmp(image, "RIFF", 4) == 0 && memcmp(image + 8, "WEBP", 4) == 0)
        return "image/webp";
    return NULL;
}

static int source_logo(const struct profile *profile, char **url, char why[SNAPSHOT_WHY_BYTES])
{
    char *image = NULL;
    size_t bytes = 0;
    if (profile->logo_file[0] == '\0')
        return 0;
    int rc = source_read(profile->logo_file, SNAPSHOT_LOGO_BYTES_MAX, &image, &bytes);
    if (rc != 0)
        return source_fault(profile, why, "%s cannot be read (%s); a logo is at most 256KB",
                            profile->logo_file, strerror(-rc));
    const char *type = source_image_type(image, bytes);
    const size_t room = bytes / 3 * 4 + 64;
    char *made = type == NULL ? NULL : malloc(room);
    if (type == NULL) {
        rc = source_fault(profile, why, "%s is no PNG, JPEG, GIF or WebP image; convert it",
                          profile->logo_file);
    } else if (made == NULL) {
        rc = -ENOMEM;
        (void)snprintf(why, SNAPSHOT_WHY_BYTES, "out of memory");
    } else {
        const size_t head = (size_t)snprintf(made, room, "data:%s;base64,", type);
        const size_t chars =
            base64_encode_run((uint8_t *)made + head, (const uint8_t *)image, bytes);
        ASSERT(head + chars < room);
        made[head + chars] = '\0';
        *url = made;
    }
    free(image);
    return rc;
}

static void source_fini(struct source *source)
{
    free(source->text_template);
    free(source->html_template);
    free(source->failure_template);
    free(source->logo_data_url);
}

static int source_init(struct source *source, const struct profile *profile,
                       char why[SNAPSHOT_WHY_BYTES])
{
    int rc = source_template(profile, profile->text_template, &source->text_template, why);
    if (rc == 0)
        rc = source_template(profile, profile->html_template, &source->html_template, why);
    if (rc == 0)
        rc = source_template(profile, profile->failure_template, &source->failure_template, why);
    if (rc == 0)
        rc = source_logo(profile, &source->logo_data_url, why);
    return rc;
}

static uint16_t profile_record_flags(const struct profile *profile)
{
    return (uint16_t)((profile->read_receipt ? RECORD_FLAG_RECEIPT : 0) |
                      (profile->reply ? RECORD_FLAG_REPLY : 0) |
                      (profile->reply_all ? RECORD_FLAG_REPLY_ALL : 0) |
                      (profile->forward ? RECORD_FLAG_FORWARD : 0) |
                      (profile->remember_key ? RECORD_FLAG_REMEMBER_KEY : 0));
}

static const char *text_or_null(const char *text)
{
    return text[0] == '\0' ? NULL : text;
}

/* What the profile's texts are rendered to: sealed mails' constant parts, and the notification of
 * their failure. */
static int snapshot_render(struct snapshot_profile *entry, const struct source *source,
                           const char *message_id_host, char why[SNAPSHOT_WHY_BYTES])
{
    const struct profile *profile = &entry->profile;
    const struct frame_config frame_config = {
        .suite = entry->suite,
        .locale = profile->locale,
        .key_service_url = profile->key_service_url,
        .online_url = text_or_null(profile->payload_transport_url),
        .text_template = source->text_template,
        .html_template = source->html_template,
        .notification_subject = text_or_null(profile->notification_subject),
        .logo_data_url = source->logo_data_url,
        .logo_link = text_or_null(profile->logo_link),
        .message_id_host = message_id_host,
        .remember_key = profile->remember_key,
        .hide_subject = profile->hide_subject,
        .keep_references = profile->keep_references,
    };
    const struct notice_config notice_config = {
        .locale = profile->locale,
        .failure_template = source->failure_template,
        .failure_subject = text_or_null(profile->failure_subject),
        .key_service_url = profile->key_service_url,
        .message_id_host = message_id_host,
    };
    char part_why[FRAME_WHY_BYTES] = "";
    int rc = frame_open(&entry->frame, &frame_config, part_why);
    if (rc == 0)
        rc = notice_open(&entry->notice, &notice_config, part_why);
    if (rc != 0)
        (void)source_fault(profile, why, "%s", part_why[0] == '\0' ? strerror(-rc) : part_why);
    return rc;
}
_Static_assert(FRAME_WHY_BYTES == NOTICE_WHY_BYTES, "one buffer serves both");

static int snapshot_open_texts(struct snapshot_profile *entry, const char *message_id_host,
                               char why[SNAPSHOT_WHY_BYTES])
{
    struct source source = {NULL, NULL, NULL, NULL};
    int rc = source_init(&source, &entry->profile, why);
    if (rc == 0)
        rc = snapshot_render(entry, &source, message_id_host, why);
    source_fini(&source);
    return rc;
}

static void entry_init(struct snapshot_profile *entry, const struct config *config, uint32_t index)
{
    const struct profile *profile = &config->profiles[index];
    entry->profile = *profile;
    entry->suite = profile->algorithm == PROFILE_AES_192 ? COBBLE_AES_192 : COBBLE_AES_256;
    entry->key_service = config->profile_key_service[index];
    entry->name_bytes = (uint16_t)strlen(profile->name);
    entry->record_flags = profile_record_flags(profile);
    entry->record_level = (uint8_t)profile->level;
}

/* The same bytes of an earlier profile serve again: most profiles differ in few things. */
static bool snapshot_find_span(const struct snapshot *snapshot, const uint8_t *bytes_at,
                               size_t bytes, struct snapshot_span *span)
{
    for (uint32_t i = 0; i <= snapshot->profiles_count && i < PROFILES_MAX; i++) {
        const struct snapshot_shell *shells = snapshot->profiles[i].shells;
        const struct snapshot_span *known[] = {
            &shells[FRAME_SCRIPTED].head,
            &shells[FRAME_SCRIPTED].tail,
            &shells[FRAME_PLAIN].head,
            &shells[FRAME_PLAIN].tail,
        };
        for (uint32_t k = 0; k < ARRAY_COUNT(known); k++) {
            if (known[k]->bytes != bytes || bytes == 0 ||
                memcmp(snapshot->constants + known[k]->offset, bytes_at, bytes) != 0)
                continue;
            *span = *known[k];
            return true;
        }
    }
    return false;
}

static int snapshot_add_span(struct snapshot *snapshot, const uint8_t *bytes_at, size_t bytes,
                             struct snapshot_span *span)
{
    if (snapshot_find_span(snapshot, bytes_at, bytes, span))
        return 0;
    if (bytes > SNAPSHOT_CONSTANTS_MAX - snapshot->constants_bytes)
        return -EFBIG;
    memcpy(snapshot->constants + snapshot->constants_bytes, bytes_at, bytes);
    *span = (struct snapshot_span){.offset = (uint32_t)snapshot->constants_bytes,
                                   .bytes = (uint32_t)bytes,
                                   .number = (uint32_t)snapshot->generation * SNAPSHOT_SPANS_MAX +
                                             ++snapshot->spans_count};
    snapshot->constants_bytes += bytes;
    return 0;
}

static int snapshot_add_shell(struct snapshot *snapshot, struct snapshot_profile *entry,
                              enum frame_variant variant)
{
    struct snapshot_shell *shell = &entry->shells[variant];
    size_t head_bytes;
    size_t tail_bytes;
    const uint8_t *head = frame_head(entry->frame, variant, &head_bytes);
    const uint8_t *tail = frame_tail(entry->frame, variant, &tail_bytes);
    const int rc = snapshot_add_span(snapshot, head, head_bytes, &shell->head);
    return rc != 0 ? rc : snapshot_add_span(snapshot, tail, tail_bytes, &shell->tail);
}

/* Every session's memfd has a copy of the constants: no more than messages can want. */
static bool variant_wanted(const struct profile *profile, enum frame_variant variant)
{
    return profile->allow_header_overrides ||
           options_variant(profile->use_script, profile->browser_decryption) == variant;
}

static int snapshot_add(struct snapshot *snapshot, const struct config *config, uint32_t index,
                        const char *message_id_host, char why[SNAPSHOT_WHY_BYTES])
{
    struct snapshot_profile *entry = &snapshot->profiles[index];
    entry_init(entry, config, index);
    int rc = snapshot_open_texts(entry, message_id_host, why);
    if (rc != 0)
        return rc;
    for (uint32_t v = 0; v < FRAME_VARIANT_COUNT && rc == 0; v++) {
        if (variant_wanted(&entry->profile, (enum frame_variant)v))
            rc = snapshot_add_shell(snapshot, entry, (enum frame_variant)v);
    }
    if (rc != 0)
        return source_fault(&entry->profile, why,
                            "the envelopes of all profiles together are over 8MB; use smaller "
                            "logos or fewer profiles");
    snapshot->profiles_count++;
    return 0;
}

static void snapshot_name(struct snapshot *snapshot)
{
    size_t used = 0;
    for (uint32_t i = 0; i < snapshot->profiles_count && used < sizeof(snapshot->names); i++) {
        const int n = snprintf(snapshot->names + used, sizeof(snapshot->names) - used, "%s%s",
                               i == 0 ? "" : ", ", snapshot->profiles[i].profile.name);
        used += n > 0 ? (size_t)n : 0;
    }
}

int snapshot_open(struct snapshot **snapshot, const struct config *config, uint64_t generation,
                  char why[SNAPSHOT_WHY_BYTES])
{
    char host[sizeof(config->engine.message_id_host)] = "localhost";
    ASSERT(config->profiles_count <= PROFILES_MAX);
    if (config->engine.message_id_host[0] != '\0')
        memcpy(host, config->engine.message_id_host, sizeof(host));
    else
        (void)gethostname(host, sizeof(host) - 1);

    struct snapshot *made = calloc(1, sizeof(*made));
    uint8_t *constants = malloc(SNAPSHOT_CONSTANTS_MAX);
    if (made == NULL || constants == NULL) {
        free(made);
        free(constants);
        (void)snprintf(why, SNAPSHOT_WHY_BYTES, "out of memory");
        return -ENOMEM;
    }
    made->generation = generation;
    made->constants = constants;
    for (uint32_t i = 0; i < config->profiles_count; i++) {
        const int rc = snapshot_add(made, config, i, host, why);
        if (rc != 0) {
            snapshot_close(made);
            return rc;
        }
    }
    snapshot_name(made);
    *snapshot = made;
    return 0;
}

void snapshot_close(struct snapshot *snapshot)
{
    if (snapshot == NULL)
        return;
    for (uint32_t i = 0; i < PROFILES_MAX; i++) {
        frame_close(snapshot->profiles[i].frame);
        notice_close(snapshot->profiles[i].notice);
    }
    free(snapshot->constants);
    free(snapshot);
}

const struct snapshot_profile *snapshot_find(const struct snapshot *snapshot, const uint8_t *name,
                                             size_t name_bytes)
{
    static const uint8_t unnamed[] = "default";
    const uint8_t *wanted = name_bytes == 0 ? unnamed : name;
    const size_t wanted_bytes = name_bytes == 0 ? sizeof(unnamed) - 1 : name_bytes;
    for (uint32_t i = 0; i < snapshot->profiles_count; i++) {
        const struct snapshot_profile *entry = &snapshot->profiles[i];
        if (entry->name_bytes == wanted_bytes &&
            memcmp(entry->profile.name, wanted, wanted_bytes) == 0)
            return entry;
    }
    return NULL;
}
