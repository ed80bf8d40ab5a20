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
#include "envelope/address.h"
#include "envelope/date.h"
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
    const char *online_url;      /* likewise: what the form posts to; NULL: the key service   */
    const char *text_template;   /* NULL: the locale's own; else the template's text          */
    const char *html_template;   /* NULL: the locale's own                                    */
    const char *notification_subject; /* with hide_subject; NULL: the locale's own             */
    const char *logo_data_url;   /* NULL, or "data:image/png;base64,…"                        */
    const char *logo_link;       /* NULL, or an https address                                 */
    const char *message_id_host; /* right side of Message-IDs that bulla writes               */
    bool remember_key;           /* the script can keep the key on the reader's device        */
    bool hide_subject;
    bool keep_references; /* re-emit In-Reply-To and References                        */
};

MUST_USE int frame_open(struct frame **frame, const struct frame_config *config,
                        char why[FRAME_WHY_BYTES]);
void frame_close(struct frame *frame); /* NULL is harmless */

/* The two shells that a message's fields may stand in. */
enum frame_variant {
    FRAME_SCRIPTED, /* opens in the browser                                      */
    FRAME_PLAIN,    /* no script: a visible form posts it to be opened online */
};
#define FRAME_VARIANT_COUNT 2

/* Spans 2 and 4. */
const uint8_t *frame_head(const struct frame *frame, enum frame_variant variant, size_t *bytes);
const uint8_t *frame_tail(const struct frame *frame, enum frame_variant variant, size_t *bytes);

/* A second as sealed mails show it: kept from message to message, rendered when it is another. */
struct frame_time {
    uint64_t unix_s;
    uint32_t unix_chars; /* 0: never set */
    uint8_t unix_text[20];
    uint8_t day[20];        /* "2026-11-21 21:15 UTC"            */
    uint8_t attachment[30]; /* "securedoc_20261121T211500.html"  */
    uint8_t date[DATE_HEADER_BYTES];
};
HOT void frame_time_set(struct frame_time *time, uint64_t now_unix_ns);

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
    const struct frame_time *time;
    const uint8_t *salt_commitment; /* COBBLE_HEADER_BYTES; for frame_write() alone            */
    const uint8_t *boundary_random; /* FRAME_BOUNDARY_BYTES of crypto_random(); likewise       */
};
#define FRAME_BOUNDARY_BYTES 24

/* docs/format/sealed-mail.md: what is shown to the reader, and what a rebuilt subject holds. */
#define FRAME_SENDER_BYTES_MAX     320
#define FRAME_SUBJECT_BYTES_MAX    512
#define FRAME_SUBJECT_RE_BYTES_MAX 600

/*
 * What a message says of itself, read once for all that is written of it. Made by frame_show();
 * points into itself and the message. Clean UTF-8 (envelope/text.h).
 */
struct frame_shown {
    struct address_list from_rest; /* of the From field, after its first                        */
    const uint8_t *name;           /* the sender's, or else the address                         */
    uint32_t name_bytes;
    uint32_t sender_bytes;
    uint32_t subject_bytes;    /* of what is shown; 0 with hide_subject, and when absent        */
    uint32_t subject_re_bytes; /* of all that was read                                          */
    uint32_t subject_used;     /* of the buffer, for frame_shown_wipe()                         */
    uint32_t subject_raw_bytes;
    const uint8_t *subject_raw; /* without blanks around it                                     */
    bool from_field;            /* `from` is the From field's first; else the envelope's, ours  */
    bool subject_clean;         /* may stand in the outer header as it is ...                   */
    bool subject_same;          /* ... and is what is shown, byte for byte                      */
    struct address_mailbox from;
    uint8_t name_bare[ADDRESS_NAME_BYTES_MAX]; /* without angle brackets, if it has any         */
    uint8_t sender[FRAME_SENDER_BYTES_MAX];    /* `Name <address>`                              */
    uint8_t subject[FRAME_SUBJECT_RE_BYTES_MAX];
};

HOT void frame_show(const struct frame *frame, const struct frame_message *message,
                    struct frame_shown *shown);
/* The subject is a secret of the message's, and goes with its plaintext. */
HOT void frame_shown_wipe(struct frame_shown *shown);

/* What frame_write() writes at most, for arena space. */
HOT size_t frame_bytes_max(const struct frame *frame, const struct frame_message *message,
                           const struct frame_shown *shown);

/* Asks for the cache lines that frame_write() is going to fill, a message ahead. */
HOT void frame_fetch(const struct frame *frame, const uint8_t *dst, size_t dst_room);

struct frame_spans {
    size_t prologue_bytes;
    size_t epilogue_bytes;
    size_t fields_bytes;
};

/* Appends prologue, epilogue and fields to dst, in this order: after the fields, all of which but
 * the ciphertext's stand then, the sealer writes the ciphertext's. */
HOT void frame_write(const struct frame *frame, const struct frame_message *message,
                     const struct frame_shown *shown, uint8_t *dst, size_t dst_room,
                     struct frame_spans *spans);

#endif
