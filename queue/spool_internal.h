/*
 * spool_internal: what the files of the spool share: lanes, segments, groups, records, reads.
 * Ownership: struct spool owns all of it.
 * Threads:   one.
 * Units:     bytes; indexes into the arrays named beside them.
 * Errors:    as each function says.
 */
#ifndef QUEUE_SPOOL_INTERNAL_H
#define QUEUE_SPOOL_INTERNAL_H

#include "base/assert.h"
#include "queue/spool.h"
#include "queue/spool_format.h"

#include <stdbool.h>
#include <stdint.h>

#define LANES_MAX       128 /* of one worker: its own and former ones                      */
#define GROUP_BYTES     ((size_t)320 << 10) /* a worker's vector of 4 KiB mail, sealed, fits */
#define GROUPS_MAX      32
#define GROUPS_EARLY    2                  /* so many may be out however small they are  */
#define GROUP_BYTES_MIN ((size_t)96 << 10) /* beyond those, a group waits to be so large */
#define READ_BYTES      ((size_t)128 << 10)
#define READ_TAKES      ((uint64_t)4 << 10) /* a read takes as much of a run as so many bytes more */
#define READS_MAX       128
#define PIECES_MAX      128 /* of READ_BYTES each: what reads share     */
#define AHEADS_MAX      4   /* runs through the log that are kept apart */
#define PUTS_MAX        1024
#define OPS_MAX         4096
#define NOTES_MAX       512 /* of one record */
#define CONSTANTS_MAX   64  /* that one segment shares; more stand with their records */
#define CACHE_COUNT     16  /* constants in memory, for reading */
#define CACHE_BYTES     ((size_t)128 << 10)
#define FILL_BYTES      ((size_t)1 << 20)
#define TRIES_MAX       3 /* a record is written into so many segments, then refused */
#define AHEAD_MIN       3 /* free segments that are kept ready, if there may be so many */
#define AHEAD_MAX       16
#define RESERVE         2 /* free segments that mail may not use: for notes, and after a restart */
#define SEGMENTS_MIN    4 /* the open one, one to move into, and two */
/* Beyond the most: one for each crash that left all others closed before one could be emptied. */
#define SEGMENTS_SPARE 16
/* After a segment could not be made: so many refused puts, or so many runs, before the next try. */
#define PAUSE_PUTS    64
#define PAUSE_RUNS    16384
#define REAP_MAX      64
#define RECORDS_MAX   ((uint32_t)1 << 26)
#define ORDINAL_BYTES 256 /* a segment has at most bytes / this mails: sizes its bitmaps */

#define NONE UINT32_MAX

/* Who a disk's result is for: kind, lane, number. */
enum tag_kind { TAG_GROUP = 1, TAG_READ, TAG_MAKER, TAG_MOVE, TAG_WAIT };
#define TAG(kind, lane, n) ((uint64_t)(kind) << 56 | (uint64_t)(lane) << 40 | (uint64_t)(n))

enum entry_state { ENTRY_FREE, ENTRY_LIVE };
enum {
    ENTRY_HELD = 1,
    ENTRY_BUSY = 2,   /* a note or a replacement of it is under way */
    ENTRY_MOVING = 4, /* a copy is under way: its notes wait         */
};

/* Where a live record stands; a place is generation << 32 | index. */
struct entry {
    uint32_t generation;
    uint32_t at; /* in the segment, in units of FORMAT_ALIGN */
    uint32_t bytes;
    uint32_t ordinal;
    uint32_t next; /* of the same segment, or of the free ones */
    uint32_t previous;
    uint16_t segment;
    uint8_t state;
    uint8_t flags;
    uint32_t notes_count; /* under way */
};
_Static_assert(sizeof(struct entry) == 32, "the memory of a waiting record");

enum segment_state {
    SEGMENT_NONE,
    SEGMENT_RAW,    /* a file that was not overwritten from end to end */
    SEGMENT_MAKING, /* the maker has it                                */
    SEGMENT_FREE,
    SEGMENT_OPEN,
    SEGMENT_CLOSED,
    SEGMENT_BAD,     /* a write failed: read only, removed when nothing in it lives */
    SEGMENT_SURPLUS, /* of another size than is configured now: to be removed */
};

struct segment {
    enum segment_state state;
    uint32_t lane; /* index in spool->lanes */
    int32_t file;
    uint32_t file_number;
    uint64_t bytes;
    uint64_t number;
    uint64_t epoch;
    uint64_t ended;
    uint64_t index_at;
    uint64_t bytes_live;
    uint32_t ordinals_count;
    uint32_t live_count; /* bits; records that nobody can read included */
    uint32_t first;      /* entry */
    uint32_t reads_count;
    bool stays; /* moving out of it failed */
    uint64_t *live;
    uint64_t *held;
};

enum group_state { GROUP_OUT, GROUP_DONE, GROUP_FAILED };

struct group {
    enum group_state state;
    uint32_t buffer;
    uint64_t bytes;
    uint64_t records_end;    /* the end of the last record that is whole when this is durable */
    uint32_t ordinals_count; /* likewise */
};

struct put {
    struct spool_record record;
    uint64_t tag;
    uint32_t entry;     /* NONE: there was none left; of a move: what moves */
    uint64_t end_group; /* when that is durable, so is the record */
    uint64_t at;
    uint32_t bytes;
    uint32_t ordinal;
    uint32_t tries;
    int error; /* not 0: refused; `told` when its event is out */
    bool told;
    bool moves;
    bool held; /* of a move */
};

/* Puts in the order in which they came. What makes room never stands behind mail that needs it. */
enum line_kind { LINE_URGENT, LINE_MAIL, LINES_COUNT };
struct line {
    uint64_t first;   /* whose end is not told yet                       */
    uint64_t encoded; /* all before it are in groups, or refused         */
    uint64_t next;
    bool refused; /* some put's end is to be told before its turn */
    struct put puts[PUTS_MAX];
};

struct op {
    uint64_t tag;
    uint32_t entry;
    uint32_t kind; /* enum format_note_kind */
    uint64_t end_group;
};

/* The record that is being written: pieces in turn. */
struct cursor {
    bool active;
    uint32_t pieces_count;
    uint32_t piece;
    uint64_t done;      /* of the piece */
    uint64_t body_left; /* inline bytes that are not copied yet: they enter the checksum */
    struct line *line;  /* of the put that is written; NULL: none */
    uint64_t ops_end;   /* notes: all ops before it are in it */
    uint32_t first_body_piece;
    bool counts_ordinal;
    struct {
        const void *at;
        uint64_t bytes;
    } pieces[SPOOL_SPANS_MAX + 4];
    struct format_head head;
    struct format_span spans[SPOOL_SPANS_MAX];
    struct {
        uint8_t zeros[FORMAT_ALIGN];
        struct format_tail tail;
    } end;
};

struct constant {
    uint32_t name;
    uint32_t bytes;
    const void *from;
    uint64_t at;
};

enum lane_state {
    LANE_IDLE,    /* no segment is open                                     */
    LANE_OPENING, /* the header is being written; nothing else may be       */
    LANE_OPEN,
    LANE_CLOSING, /* the index is being written                             */
    LANE_FAILING, /* a write failed; waits for all that is out              */
};

enum maker_state {
    MAKER_IDLE,
    MAKER_CREATE,
    MAKER_FILL,
    MAKER_SYNC,
    MAKER_FOLDER,
    MAKER_BLANK, /* the header that says: free */
    MAKER_CLOSE, /* to be removed */
    MAKER_UNLINK,
};

struct maker {
    enum maker_state state;
    uint32_t segment;
    uint64_t filled;
    uint8_t *blank; /* one block */
    bool out;       /* a request is */
    bool due;       /* some segment is raw or surplus */
    uint32_t pause_runs;
    uint32_t refused_count; /* puts, since a segment could not be made */
};

struct lane {
    uint32_t number; /* on disk                */
    uint32_t self;   /* index in spool->lanes */
    enum lane_state state;
    uint32_t open; /* segment */
    uint32_t segments_count;
    uint32_t segments_max;
    uint32_t free_count;
    uint32_t file_number_next;
    uint64_t number_next;
    uint64_t epoch;
    uint64_t tail;      /* where the next record is written */
    uint64_t ended;     /* all before is durable, whole records */
    uint64_t whole_end; /* likewise, of what was put into groups */
    uint64_t sequence;
    uint64_t index_at;
    uint64_t header_number; /* of the newest segment whose header is durable */
    uint32_t ordinals_count;
    uint32_t ended_ordinals;
    uint32_t whole_ordinals;
    bool header_written;
    bool index_written;
    bool crowded; /* the checkpoint is so large that no more mail may come */
    uint64_t group_next;
    uint64_t group_acked; /* all before it are durable and retired */
    struct group groups[GROUPS_MAX];
    struct line lines[LINES_COUNT];
    uint64_t op_first, op_encoded, op_next;
    struct op ops[OPS_MAX];
    struct format_note notes[NOTES_MAX];
    struct cursor cursor;
    uint32_t constants_count;
    struct constant constants[CONSTANTS_MAX];
    struct format_index *index; /* of the open segment */
    uint8_t *checkpoint;
    uint64_t checkpoint_bytes;
    struct maker maker;
};

enum read_state {
    READ_FREE,
    READ_WANTED, /* its next bytes are in no piece, or were not looked for */
    READ_OUT,    /* the disk has the piece                                 */
    READ_HERE,   /* its next bytes are there                               */
    READ_ENDED,
};
#define READ_STATES 5

struct read {
    enum read_state state;
    bool all;
    bool shared; /* some of it came from more than was read for it alone      */
    bool alone;  /* what it needs is read for it alone: its faults are its own */
    int error;
    size_t room;
    uint64_t tag;
    uint64_t place;
    uint8_t *dst;
    uint32_t segment;
    uint32_t lane; /* number on disk */
    uint64_t number;
    uint64_t epoch;
    uint64_t mail_at;
    uint64_t mail_bytes;
    uint64_t at; /* the record that is read: the mail, then its constants */
    uint64_t bytes;
    uint64_t done;
    uint32_t crc;
    uint32_t piece; /* OUT, HERE: of the next bytes */
    uint32_t span;  /* of the mail, whose bytes come next */
    uint64_t span_done;
    uint32_t constant_span; /* NONE: the mail itself is read */
    uint64_t body_at;       /* in dst: where the next byte of the body goes */
    struct format_head mail;
    struct format_head head; /* of the record that is read */
    struct format_span spans[SPOOL_SPANS_MAX];
    uint8_t tail[FORMAT_ALIGN + sizeof(struct format_tail)];
};

enum piece_state { PIECE_FREE, PIECE_OUT, PIECE_THERE };

/* Bytes of a segment as they were read. They stay right for as long as the segment has its number:
 * none is written twice, and only durable ones are read. */
struct piece {
    enum piece_state state;
    uint32_t reads_count; /* that wait for it or take of it */
    bool only;            /* while OUT: for one read        */
    uint32_t lane;        /* number on disk                 */
    uint64_t number;
    uint64_t epoch;
    uint64_t from;
    uint64_t bytes;
    uint64_t used;
};

/* Where a piece ended: what begins near that is asked for in turn. */
struct ahead {
    uint64_t number;
    uint64_t at;
    uint32_t lane;
};

struct cached {
    uint64_t number; /* of the segment; 0: none */
    uint64_t epoch;
    uint32_t lane;
    uint32_t bytes;
    uint64_t at;
    uint64_t used;
};

struct move;

struct spool {
    struct spool_config config;
    struct disk *disk;
    uint32_t disk_out;
    uint32_t lanes_count;
    struct lane *lanes[LANES_MAX]; /* 0: its own */
    uint32_t segments_count;       /* slots in use or used before */
    struct segment *segments;
    uint64_t bits_bytes; /* of one bitmap */
    uint8_t *bits;
    uint64_t segment_bytes_max;
    uint32_t entries_count; /* ever used */
    uint32_t entries_max;
    uint32_t entry_free;
    struct entry *entries;
    uint32_t buffers_count;
    uint32_t buffers_free_count;
    uint32_t buffers_free[GROUPS_MAX];
    uint8_t *buffers;   /* GROUP_BYTES each, then those of the reads */
    struct read *reads; /* READS_MAX */
    uint32_t reads_out;
    uint32_t read_turn;                             /* who takes bytes first */
    uint64_t reads_in[READ_STATES][READS_MAX / 64]; /* which are in each state */
    uint64_t read_share;                            /* bytes that a run takes   */
    uint64_t read_taken;                            /* by this run              */
    uint32_t pieces_count;
    struct piece pieces[PIECES_MAX];
    uint8_t *piece_buffers; /* READ_BYTES each */
    uint64_t piece_clock;
    uint32_t piece_last; /* that a read was given */
    struct ahead aheads[AHEADS_MAX];
    uint32_t ahead_turn;
    struct cached cached[CACHE_COUNT];
    uint8_t *cache;
    uint64_t cache_clock;
    uint8_t *zeros;
    struct move *move;
    bool recycle_due;
    struct spool_stats stats;
};

/* spool_hot.c */
bool spool_submit(struct spool *spool, const struct disk_request *request);
HOT void lane_write(struct spool *spool, struct lane *lane);
HOT void lane_written(struct spool *spool, struct lane *lane, uint32_t slot, int64_t result);
HOT void put_lives(struct spool *spool, struct lane *lane, const struct put *put);
bool lane_is_told(const struct lane *lane);
HOT uint32_t lane_retire(struct spool *spool, struct lane *lane, struct spool_event *events,
                         uint32_t events_max);

/* spool_entry.c */
HOT uint32_t entry_take(struct spool *spool); /* NONE: there are no more */
HOT void entry_place(struct spool *spool, uint32_t entry, uint32_t segment, uint64_t at,
                     uint32_t bytes, uint32_t ordinal);
HOT void entry_unplace(struct spool *spool, uint32_t entry); /* its record lives no more */
HOT void entry_give(struct spool *spool, uint32_t entry);
HOT void entry_hold(struct spool *spool, uint32_t entry, bool held);
struct entry *entry_of(struct spool *spool, uint64_t place);
uint64_t entry_place_of(const struct spool *spool, uint32_t entry);

/* spool_segment.c: opening, closing, making, freeing */
bool lane_step(struct spool *spool, struct lane *lane); /* its state changed */
void maker_step(struct spool *spool, uint32_t lane_index);
void maker_done(struct spool *spool, uint32_t lane_index, int64_t result);
/* A slot for a file; NONE: SPOOL_SEGMENTS_MAX. */
uint32_t segment_take(struct spool *spool, uint32_t lane_index, uint64_t bytes);
void segment_name(const struct spool *spool, uint32_t segment, char name[DISK_NAME_BYTES]);
bool lane_has_work(const struct lane *lane);
/* How many segments the lane may have now. */
uint32_t lane_segments_max(const struct lane *lane);
bool lane_has_hope(const struct spool *spool, const struct lane *lane);

/* spool_move.c */
MUST_USE int move_open(struct spool *spool);
void move_close(struct spool *spool);
void move_step(struct spool *spool);
void move_done(struct spool *spool, int64_t result);
void move_ended(struct spool *spool, struct lane *lane, const struct put *put);
bool move_has_hope(const struct spool *spool, uint32_t lane_index);

/* spool_read.c */
void read_step(struct spool *spool);
void read_enter(struct spool *spool, struct read *read, enum read_state state);
/* The first one in that state from `from` on, or READS_MAX. */
uint32_t reads_next(const struct spool *spool, enum read_state state, uint32_t from);
void read_end(struct spool *spool, struct read *read, int error);
/* From its beginning, and what it needs for it alone. */
void read_alone(struct spool *spool, struct read *read);
uint32_t read_retire(struct spool *spool, struct spool_event *events, uint32_t events_max);

/* spool_piece.c */
/* The read's next bytes are there, or on their way, if there is room for them. */
void piece_want(struct spool *spool, struct read *read);
void piece_done(struct spool *spool, uint32_t piece, int64_t result);
/* The read's next bytes, how many at *bytes. */
const uint8_t *piece_bytes(const struct spool *spool, const struct read *read, uint64_t *bytes);
void piece_leave(struct spool *spool, struct read *read);
/* What was read of its segment is not believed any more. */
void pieces_forget(struct spool *spool, const struct read *read);

/* spool_recover.c */
MUST_USE int spool_recover(struct spool *spool,
                           void (*found)(void *user, const struct spool_found *found), void *user,
                           char why[SPOOL_WHY_BYTES]);
/* At the end: until nothing is out; -ETIMEDOUT. */
MUST_USE int spool_drain(struct spool *spool);
/* At start and end: one request, and its result. */
int64_t spool_do(struct spool *spool, const struct disk_request *request);
struct lane *lane_new(struct spool *spool, uint32_t number);

#endif
