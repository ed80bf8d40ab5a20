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

/* The sender as a reader sees it: the From field's first, else the envelope's, else this host's.
 * Sets `from`, `from_rest` and `from_field`. */
HOT void outer_sender(struct frame_shown *shown, const struct frame *frame,
                      const struct frame_message *message);

/* The subject, decoded. Sets all fields of that name but subject_bytes. */
HOT void outer_subject(struct frame_shown *shown, const struct frame_message *message);

/* From to Auto-Submitted, each ended by CRLF. */
HOT void outer_write(const struct frame *frame, const struct frame_message *message,
                     const struct frame_shown *shown, struct writer *writer);
size_t outer_bytes_max(const struct frame *frame, const struct frame_message *message,
                       const struct frame_shown *shown);

#endif
