/*
 * layout: the bytes that a client and the engine share, and what they say on the socket.
 * Ownership: each memfd has one writer; the other side maps it read-only.
 * Threads:   indices are the only atomics; each names its partner below.
 * Units:     slots; bytes from the start of the memfd for offsets.
 * Errors:    none here; whoever reads a slot copies it once and then checks the copy.
 *
 * docs/format/shared-memory.md; little-endian.
 *
 *   memfd    page 0 (4096 bytes): struct ipc_page
 *            slots: slots_count × 64 bytes
 *            constants (engine's only), then the arena, each on a page boundary
 */
#ifndef IPC_LAYOUT_H
#define IPC_LAYOUT_H

#include "base/macros.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define IPC_VERSION           2
#define IPC_MAGIC_CLIENT      UINT64_C(0x31432f616c6c7562) /* "bulla/C1" */
#define IPC_MAGIC_ENGINE      UINT64_C(0x31452f616c6c7562) /* "bulla/E1" */
#define IPC_PAGE_BYTES        4096
#define IPC_SLOTS_MIN         8
#define IPC_SLOTS_MAX         4096 /* a power of two */
#define IPC_ARENA_BYTES_MIN   (1024 * 1024)
#define IPC_ARENA_BYTES_MAX   (UINT32_C(1) << 30)
#define IPC_META_BYTES_MAX    (64 * 1024)
#define IPC_MAIL_BYTES_MAX    (256 * 1024 * 1024) /* the profile's limit is lower */
#define IPC_RECIPIENTS_MAX    1000
#define IPC_ADDRESS_BYTES_MAX 320 /* RFC 5321, 4.5.3.1: 64 + 1 + 255 */
#define IPC_PROFILE_BYTES_MAX 64
#define IPC_SPANS_MAX         8
#define IPC_TEXT_BYTES_MAX    512
#define IPC_REPLIES_MAX       12  /* that one emission's recipients were given */
#define IPC_REPLY_BYTES_MAX   240 /* of the text of one                        */
/* All of them: also a place for what a DONE says, in a collector's arena. */
#define IPC_REFUSALS_BYTES_MAX 4096
#define IPC_OPTIONS_BYTES      32
#define IPC_OPTION_S_MAX       UINT64_C(3155760000) /* a hundred years */

/* Bits of ipc_page.asleep. */
#define IPC_ASLEEP_TAIL UINT32_C(1) /* ring after a new tail                                */
#define IPC_ASLEEP_HEAD UINT32_C(2) /* and after a new head: the sleeper waits for space   */

/* Page 0 of either memfd. Written once, but for the three indices, each on a line of its own. */
struct ipc_page {
    uint64_t magic;
    uint32_t version;
    uint32_t slots_count;
    uint64_t slots_offset;
    uint64_t constants_offset; /* engine's memfd; 0 in a client's */
    uint64_t constants_bytes;
    uint64_t arena_offset;
    uint64_t arena_bytes;
    uint64_t memfd_bytes;

    /* Slots published by this memfd's writer, ever. Release by the writer; pairs with the
     * reader's acquire: slots and arena bytes below it are readable. */
    _Alignas(CACHE_LINE) _Atomic uint32_t tail;

    /* The other memfd's slots that this memfd's writer is done with, ever. Release by the writer;
     * pairs with the other side's acquire before it reuses them. */
    _Alignas(CACHE_LINE) _Atomic uint32_t head;

    /* IPC_ASLEEP_* while this memfd's writer sleeps or is about to: ring its doorbell after
     * publishing. Sequentially consistent on both sides, or a wake-up is lost. */
    _Alignas(CACHE_LINE) _Atomic uint32_t asleep;

    _Alignas(CACHE_LINE) uint8_t reserved[IPC_PAGE_BYTES - 4 * CACHE_LINE];
};
_Static_assert(sizeof(struct ipc_page) == IPC_PAGE_BYTES, "one page");
_Static_assert(offsetof(struct ipc_page, tail) == 1 * CACHE_LINE, "one writer per line");
_Static_assert(offsetof(struct ipc_page, head) == 2 * CACHE_LINE, "one writer per line");
_Static_assert(offsetof(struct ipc_page, asleep) == 3 * CACHE_LINE, "one writer per line");

/* Client to engine: seal this message. The arena holds meta_bytes of addresses, then the mail. */
#define IPC_SUBMIT_QUEUE UINT32_C(1) /* it may take ownership: answer QUEUED, emit later */
/* A collector's EMIT_DONE, and nothing else may a collector submit: request_id is the emission's
 * number, meta_bytes those of a reply text, mail_bytes and both offsets of nothing are 0. */
#define IPC_SUBMIT_DONE UINT32_C(2)
/* Of a DONE that is refused: some of the recipients were, and the others taken; the meta bytes are
 * an ipc/refusals.h. */
#define IPC_SUBMIT_REFUSALS UINT32_C(4)
struct ipc_submission {
    uint64_t request_id;  /* the client's; returned as it came                       */
    uint64_t meta_offset; /* in the client's memfd, inside the arena                 */
    uint64_t mail_offset;
    uint32_t meta_bytes;
    uint32_t mail_bytes;
    uint32_t flags;           /* IPC_SUBMIT_*; unknown bit: session ends                 */
    uint8_t done_result;      /* enum ipc_done; 0 unless DONE                            */
    uint8_t done_enhanced[3]; /* of the next hop's answer, or zeros; zeros unless DONE   */
    uint8_t reserved[24];     /* nonzero: session ends                                   */
};
_Static_assert(sizeof(struct ipc_submission) == 64, "one line");

/* What became of an emission. */
enum ipc_done {
    IPC_DONE_SENT = 1,    /* the next hop answers for it: the engine forgets it      */
    IPC_DONE_LATER = 2,   /* not now: it is emitted again                            */
    IPC_DONE_REFUSED = 3, /* never: the sender gets a failure notification           */
};

/*
 * Meta: u16 profile_bytes, profile; u16 sender_bytes, sender (empty: the null sender);
 * u16 recipients_count, then each u16 bytes, address; then nothing, or IPC_OPTIONS_BYTES of what
 * differs from the profile: u32 set, u32 values, u64 expires_after_s, u64 read_by_after_s, u64 0.
 */
#define IPC_OPTION_REPLY              UINT32_C(1)
#define IPC_OPTION_REPLY_ALL          UINT32_C(2)
#define IPC_OPTION_FORWARD            UINT32_C(4)
#define IPC_OPTION_RECEIPT            UINT32_C(8)
#define IPC_OPTION_REMEMBER_KEY       UINT32_C(16)
#define IPC_OPTION_SCRIPT             UINT32_C(32)
#define IPC_OPTION_BROWSER_DECRYPTION UINT32_C(64)
#define IPC_OPTIONS_ON_OFF            UINT32_C(127) /* these may stand in `values` */
#define IPC_OPTION_EXPIRES            UINT32_C(128) /* expires_after_s; 0 s: none  */
#define IPC_OPTION_READ_BY            UINT32_C(256) /* read_by_after_s; 0 s: none  */
#define IPC_OPTIONS_ALL               UINT32_C(511)

/* DESIGN 3: who owns the message after this completion. */
enum ipc_status {
    IPC_SEALED = 1,
    IPC_QUEUED = 2,
    IPC_PASSED = 3,
    IPC_REFUSED = 4,
    IPC_RETRY = 5,
    IPC_EMIT = 6, /* to a collector: the engine's until its DONE */
};

/* What an EMIT is. */
enum ipc_emission {
    IPC_EMISSION_MAIL = 1,         /* sealed                            */
    IPC_EMISSION_NOTIFICATION = 2, /* of a failure, to a mail's sender */
};

struct ipc_span {
    uint32_t offset; /* in the engine's memfd, divided by nothing: memfds are under 4 GiB */
    uint32_t bytes;
};

/* Engine to client. The spans table and the text stand in the engine's arena. An EMIT's text is a
 * meta without options. */
struct ipc_completion {
    uint64_t request_id;        /* the submission's; an EMIT's: the engine's number       */
    uint8_t status;             /* enum ipc_status                                        */
    uint8_t spans_count;        /* ≤ IPC_SPANS_MAX; 0 unless SEALED or EMIT               */
    uint8_t enhanced_status[3]; /* RFC 3463: class, subject, detail; zeros with spans     */
    uint8_t reserved[3];
    uint32_t spans_offset;   /* of spans_count × struct ipc_span                       */
    uint32_t text_offset;    /* one line of printable ASCII for REFUSED and RETRY      */
    uint32_t text_bytes;     /* ≤ IPC_TEXT_BYTES_MAX; an EMIT's ≤ IPC_META_BYTES_MAX   */
    uint32_t mail_bytes;     /* sum of the spans                                       */
    uint8_t envelope_id[16]; /* of what was sealed or queued, or an EMIT is about      */
    uint8_t emission;        /* enum ipc_emission; 0 unless EMIT                       */
    uint8_t reserved2[15];
};
_Static_assert(sizeof(struct ipc_completion) == 64, "one line");

/*
 * The socket: SOCK_SEQPACKET, one packet each way, then doorbells.
 * Client: struct ipc_hello with its sealed memfd (SCM_RIGHTS).
 * Engine: struct ipc_welcome with its sealed memfd and the eventfd that wakes the engine; or, when
 * it declines, a welcome with errno set and no descriptors, and then it closes.
 * After that the engine rings the client by one byte on this socket, and a hang-up ends the
 * session.
 */
struct ipc_hello {
    uint64_t magic; /* IPC_MAGIC_CLIENT */
    uint32_t version;
    uint32_t slots_count;
    uint64_t arena_bytes;
    uint64_t memfd_bytes;
    uint32_t kind;          /* enum ipc_kind */
    uint32_t worker_wanted; /* a collector's; 0 for the others */
    uint8_t reserved[24];
};
_Static_assert(sizeof(struct ipc_hello) == 64, "one packet");

enum ipc_kind {
    IPC_KIND_SUBMITTER = 1,
    IPC_KIND_CONTROL = 2,   /* no memfds: text commands (status, top) on the socket */
    IPC_KIND_COLLECTOR = 3, /* of one worker: takes what the engine emits          */
};

struct ipc_welcome {
    uint64_t magic; /* IPC_MAGIC_ENGINE */
    uint32_t version;
    uint32_t error; /* errno value; 0 when welcome */
    uint64_t memfd_bytes;
    uint32_t session_id;
    uint32_t worker_index;
    uint32_t workers_count; /* of the engine */
    uint8_t reserved[28];
};
_Static_assert(sizeof(struct ipc_welcome) == 64, "one packet");

#endif
