/*
 * frame: all of a sealed mail that does not depend on the message, rendered once per profile.
 * Ownership: frame_open() copies what it is given; the opener closes.
 * Threads:   constant after open; any.
 * Units:     bytes.
 * Errors:    open gives -EINVAL with a sentence in `why` that names the mend.
 *
 * A sealed mail is five spans (docs/format/sealed-mail.md):
 *   1 prologue  per message  outer header, notification parts, the attachment's MIME header
 *   2 head      constant     the attachment from its doctype to the per-message fields
 *   3 fields    per message  hidden inputs: id, sender, subject, salt and commitment, ciphertext
 *   4 tail      constant     end marker, form end, end of the document
 *   5 epilogue  per message  closing boundary
 */
#ifndef ENVELOPE_FRAME_H
#define ENVELOPE_FRAME_H

#include "base/macros.h"
#include "crypto/base64.h"
#include "crypto/cobblestone.h"
#include "envelope/header.h"
#include "envelope/id.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_WHY_BYTES 256

struct frame;

/* Borrowed for frame_open(). Strings are UTF-8. */
struct frame_config {
    enum cobble_suite suite;
    const char *locale;          /* one of the 12: "en", "de", …                             */
    const char *key_service_url; /* "https://keys.example.com", no path, no final slash       */
    const char *text_template;   /* NULL: the locale's own; else the template's text          */
    const char *html_template;   /* NULL: the locale's own                                    */
    const char *notification_subject; /* with hide_subject; NULL: the locale's own             */
    const char *logo_data_url;   /* NULL, or "data:image/png;base64,…"                        */
    const char *logo_link;       /* NULL, or an https address                                 */
    const char *message_id_host; /* right side of Message-IDs that bulla writes               */
    bool hide_subject;
    bool keep_references; /* re-emit In-Reply-To and References                        */
};

MUST_USE int frame_open(struct frame **frame, const struct frame_config *config,
                        char why[FRAME_WHY_BYTES]);
void frame_close(struct frame *frame); /* NULL is harmless */

/* Spans 2 and 4. */
const uint8_t *frame_head(const struct frame *frame, size_t *bytes);
const uint8_t *frame_tail(const struct frame *frame, size_t *bytes);

/* One message, as the builder needs it: private memory, borrowed for the calls. */
struct frame_message {
    const struct id *id;
    const uint8_t *mail; /* the message's first header->header_bytes bytes at least */
    const struct header *header;
    const uint8_t *sender; /* envelope sender, may be empty; hostile                 */
    uint32_t sender_bytes;
    const uint8_t *recipient; /* first envelope recipient, for a missing To; hostile    */
    uint32_t recipient_bytes;
    uint32_t recipients_count; /* used when 1: of several, none may learn of a blind-copied other */
    uint64_t now_unix_ns;
    const uint8_t *salt_commitment; /* COBBLE_HEADER_BYTES                                    */
    const uint8_t *boundary_random; /* FRAME_BOUNDARY_BYTES of crypto_random()                */
};
#define FRAME_BOUNDARY_BYTES 24

/* Upper bounds, for arena space. */
size_t frame_prologue_bytes_max(const struct frame *frame, const struct frame_message *message);
size_t frame_fields_bytes_max(const struct frame *frame, const struct frame_message *message);
#define FRAME_EPILOGUE_BYTES_MAX 128

/* Each appends to dst and returns bytes written. frame_fields() writes every field before the
 * ciphertext ones, which the sealer writes after it. */
HOT size_t frame_prologue(const struct frame *frame, const struct frame_message *message,
                          uint8_t *dst, size_t dst_room);
HOT size_t frame_fields(const struct frame *frame, const struct frame_message *message,
                        uint8_t *dst, size_t dst_room);
HOT size_t frame_epilogue(const struct frame *frame, const struct frame_message *message,
                          uint8_t *dst, size_t dst_room);

/*
 * The subject as the key service shows it: decoded (RFC 2047) to valid UTF-8 of at most dst_bytes,
 * controls and line ends removed; 0 when absent. The caller leaves it out with hide_subject.
 */
size_t frame_subject_text(const struct frame_message *message, uint8_t *dst, size_t dst_bytes);

#endif
