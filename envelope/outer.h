/*
 * outer: the outer header of a sealed mail, written anew from what the original says.
 * Ownership: borrows the message for the call.
 * Threads:   any.
 * Units:     bytes.
 * Errors:    none: what cannot be re-emitted safely is rebuilt, replaced or left out.
 *
 * docs/format/sealed-mail.md has the table. Nothing of the original is copied to the output but
 * printable ASCII that was checked, in lines that begin where this module says.
 */
#ifndef ENVELOPE_OUTER_H
#define ENVELOPE_OUTER_H

#include "base/macros.h"
#include "envelope/address.h"
#include "envelope/frame.h"
#include "envelope/writer.h"

/* Emitted bytes of one field are at most these; the sealed original has all of it. */
#define OUTER_FROM_BYTES_MAX    4096  /* From, Sender, Reply-To: further addresses are left out */
#define OUTER_TO_BYTES_MAX      16384 /* To, Cc                                                */
#define OUTER_SUBJECT_BYTES_MAX 2048  /* a longer subject is cut                               */
#define OUTER_MSGID_BYTES_MAX   500   /* a longer token is no Message-ID                        */
#define OUTER_REFERENCES_MAX    32    /* the first and the last ones                            */

/* Who the mail is from, as a reader sees it. */
struct outer_sender {
    struct address_mailbox mailbox; /* the From field's first, else the envelope's, the host's */
    struct address_list rest;       /* of the From field                                       */
    bool from_field;                /* the mailbox is the From field's                          */
};

HOT void outer_sender(struct outer_sender *sender, const struct frame *frame,
                      const struct frame_message *message);

/* From to Auto-Submitted, each ended by CRLF. */
HOT void outer_write(const struct frame *frame, const struct frame_message *message,
                     const struct outer_sender *sender, struct writer *writer);
size_t outer_bytes_max(const struct frame *frame, const struct frame_message *message);

#endif
