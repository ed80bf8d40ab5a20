#include "ipc/meta.h"

#include "base/assert.h"
#include "base/bytes.h"

#include <errno.h>
#include <string.h>

struct cursor {
    const uint8_t *at;
    size_t left_bytes;
};

static bool cursor_count(struct cursor *cursor, uint16_t *count)
{
    if (cursor->left_bytes < sizeof(*count))
        return false;
    *count = bytes_load_le16(cursor->at);
    cursor->at += sizeof(*count);
    cursor->left_bytes -= sizeof(*count);
    return true;
}

/* 8-bit is let through (RFC 6531); what could end a line or a string is not. */
static bool text_is_sound(const uint8_t *text, size_t bytes)
{
    size_t n = 0;
    for (; n + sizeof(uint64_t) <= bytes; n += sizeof(uint64_t)) {
        if (bytes_have_control(bytes_load_le64(text + n)))
            return false;
    }
    if (n >= sizeof(uint64_t)) /* what is left, once more with what stands before it */
        return !bytes_have_control(bytes_load_le64(text + bytes - sizeof(uint64_t)));
    for (; n < bytes; n++) {
        if (text[n] < 0x20 || text[n] == 0x7f)
            return false;
    }
    return true;
}

static bool cursor_text(struct cursor *cursor, uint16_t bytes_min, uint16_t bytes_max,
                        const uint8_t **text, uint16_t *bytes)
{
    uint16_t count;
    if (!cursor_count(cursor, &count) || count < bytes_min || count > bytes_max)
        return false;
    if (cursor->left_bytes < count || !text_is_sound(cursor->at, count))
        return false;
    *text = cursor->at;
    *bytes = count;
    cursor->at += count;
    cursor->left_bytes -= count;
    return true;
}

static bool options_are_sound(const struct meta_options *options)
{
    if ((options->set & ~IPC_OPTIONS_ALL) != 0 ||
        (options->values & ~(options->set & IPC_OPTIONS_ON_OFF)) != 0)
        return false;
    if ((options->set & IPC_OPTION_EXPIRES) == 0 && options->expires_after_s != 0)
        return false;
    if ((options->set & IPC_OPTION_READ_BY) == 0 && options->read_by_after_s != 0)
        return false;
    return options->expires_after_s <= IPC_OPTION_S_MAX &&
           options->read_by_after_s <= IPC_OPTION_S_MAX;
}

/* What is left over: nothing, or the options. */
static bool cursor_options(const struct cursor *cursor, struct meta_options *options)
{
    *options = (struct meta_options){0};
    if (cursor->left_bytes == 0)
        return true;
    if (cursor->left_bytes != IPC_OPTIONS_BYTES)
        return false;
    *options = (struct meta_options){
        .set = bytes_load_le32(cursor->at),
        .values = bytes_load_le32(cursor->at + 4),
        .expires_after_s = bytes_load_le64(cursor->at + 8),
        .read_by_after_s = bytes_load_le64(cursor->at + 16),
    };
    return bytes_load_le64(cursor->at + 24) == 0 && options_are_sound(options);
}

/* *part is what is being looked at, as meta_fault() gives it. */
static bool meta_walk(struct meta *read, const uint8_t *bytes_at, size_t bytes, uint32_t *part)
{
    struct cursor cursor = {.at = bytes_at, .left_bytes = bytes};
    *part = META_WHOLE;
    if (bytes > IPC_META_BYTES_MAX)
        return false;
    *part = META_PROFILE;
    if (!cursor_text(&cursor, 1, IPC_PROFILE_BYTES_MAX, &read->profile, &read->profile_bytes))
        return false;
    *part = META_SENDER;
    if (!cursor_text(&cursor, 0, IPC_ADDRESS_BYTES_MAX, &read->sender, &read->sender_bytes))
        return false;
    *part = META_COUNT;
    if (!cursor_count(&cursor, &read->recipients_count) || read->recipients_count == 0 ||
        read->recipients_count > IPC_RECIPIENTS_MAX)
        return false;
    read->recipients = cursor.at;
    for (uint32_t n = 0; n < read->recipients_count; n++) {
        const uint8_t *address;
        uint16_t address_bytes;
        *part = META_RECIPIENT + n;
        if (!cursor_text(&cursor, 1, IPC_ADDRESS_BYTES_MAX, &address, &address_bytes))
            return false;
    }
    read->recipients_bytes = (uint32_t)(cursor.at - read->recipients);
    *part = META_OPTIONS;
    return cursor_options(&cursor, &read->options);
}

int meta_read(struct meta *meta, const uint8_t *bytes_at, size_t bytes)
{
    struct meta read;
    uint32_t part;
    if (!meta_walk(&read, bytes_at, bytes, &part))
        return -EBADMSG;
    *meta = read;
    return 0;
}

uint32_t meta_fault(const uint8_t *bytes_at, size_t bytes)
{
    struct meta read;
    uint32_t part;
    return meta_walk(&read, bytes_at, bytes, &part) ? META_SOUND : part;
}

bool meta_recipient(const struct meta *meta, uint32_t *offset, const uint8_t **address,
                    uint16_t *address_bytes)
{
    ASSERT(*offset <= meta->recipients_bytes);
    if (*offset == meta->recipients_bytes)
        return false;
    /* meta_read() has walked this way: lengths and characters are sound. */
    const uint8_t *at = meta->recipients + *offset;
    const uint32_t left_bytes = meta->recipients_bytes - *offset;
    ASSERT(left_bytes > sizeof(uint16_t));
    *address_bytes = bytes_load_le16(at);
    *address = at + sizeof(uint16_t);
    ASSERT(*address_bytes <= left_bytes - sizeof(uint16_t));
    *offset += (uint32_t)sizeof(uint16_t) + *address_bytes;
    return true;
}

static int text_measure(const char *text, size_t bytes_min, size_t bytes_max, size_t *total_bytes)
{
    const size_t bytes = strnlen(text, bytes_max + 1);
    if (bytes < bytes_min || bytes > bytes_max || !text_is_sound((const uint8_t *)text, bytes))
        return -EINVAL;
    *total_bytes += sizeof(uint16_t) + bytes;
    return 0;
}

static bool source_has_options(const struct meta_source *source)
{
    return source->options != NULL &&
           (source->options->set != 0 || !options_are_sound(source->options));
}

int meta_measure(const struct meta_source *source, size_t *bytes)
{
    size_t total_bytes = sizeof(uint16_t);
    if (source->recipients_count == 0)
        return -EINVAL;
    if (source->recipients_count > IPC_RECIPIENTS_MAX)
        return -EMSGSIZE;
    if (source_has_options(source)) {
        if (!options_are_sound(source->options))
            return -EINVAL;
        total_bytes += IPC_OPTIONS_BYTES;
    }
    int rc = text_measure(source->profile, 1, IPC_PROFILE_BYTES_MAX, &total_bytes);
    if (rc == 0)
        rc = text_measure(source->sender, 0, IPC_ADDRESS_BYTES_MAX, &total_bytes);
    for (uint32_t n = 0; rc == 0 && n < source->recipients_count; n++)
        rc = text_measure(source->recipients[n], 1, IPC_ADDRESS_BYTES_MAX, &total_bytes);
    if (rc != 0)
        return rc;
    if (total_bytes > IPC_META_BYTES_MAX)
        return -EMSGSIZE;
    *bytes = total_bytes;
    return 0;
}

static uint8_t *text_write(uint8_t *dst, const char *text)
{
    const size_t bytes = strlen(text);
    bytes_store_le16(dst, (uint16_t)bytes);
    memcpy(dst + sizeof(uint16_t), text, bytes);
    return dst + sizeof(uint16_t) + bytes;
}

void meta_write(const struct meta_source *source, uint8_t *dst, size_t bytes)
{
    uint8_t *at = text_write(dst, source->profile);
    at = text_write(at, source->sender);
    bytes_store_le16(at, (uint16_t)source->recipients_count);
    at += sizeof(uint16_t);
    for (uint32_t n = 0; n < source->recipients_count; n++)
        at = text_write(at, source->recipients[n]);
    if (source_has_options(source)) {
        bytes_store_le32(at, source->options->set);
        bytes_store_le32(at + 4, source->options->values);
        bytes_store_le64(at + 8, source->options->expires_after_s);
        bytes_store_le64(at + 16, source->options->read_by_after_s);
        bytes_store_le64(at + 24, 0);
        at += IPC_OPTIONS_BYTES;
    }
    ASSERT(at == dst + bytes);
}
