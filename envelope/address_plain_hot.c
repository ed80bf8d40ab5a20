#include "envelope/address_internal.h"
#include "envelope/encoded_word.h"
#include "envelope/window.h"

/* What the bytes of one member are. */
struct masks {
    uint64_t atext;
    uint64_t label; /* may stand in a domain's label: address_domain_ok() */
    uint64_t visible;
    uint64_t high; /* no ASCII */
    uint64_t dot;
    uint64_t hyphen;
    uint64_t blank;
    uint64_t at;
    uint64_t open;
    uint64_t close;
    uint64_t quote;
    uint64_t escape;
    uint64_t word; /* the first byte of "=?" */
    uint64_t stop; /* a comma or semicolon, or the list's end */
};

static __m128i in_range(__m128i lanes, uint8_t first, uint8_t last)
{
    const __m128i from_first = _mm_sub_epi8(lanes, window_byte(first));
    const __m128i width = window_byte((uint8_t)(last - first));
    return _mm_cmpeq_epi8(_mm_min_epu8(from_first, width), from_first);
}

static __m128i label_lanes(__m128i lanes)
{
    const __m128i lower = _mm_or_si128(lanes, window_byte(0x20));
    __m128i label = _mm_or_si128(in_range(lower, 'a', 'z'), in_range(lanes, '0', '9'));
    label = _mm_or_si128(label, window_equal(lanes, '-'));
    return _mm_or_si128(label, window_equal(lanes, '_'));
}

static HOT void masks_read(struct masks *masks, const struct window *window, uint32_t there)
{
    uint64_t question = 0;
    *masks = (struct masks){0};
    for (uint32_t n = 0; n * WINDOW_LANES < there; n++) {
        const __m128i lanes = window->lanes[n];
        const uint32_t shift = n * WINDOW_LANES;
        masks->atext |= (uint64_t)window_bits(window_atext(lanes)) << shift;
        masks->label |= (uint64_t)window_bits(label_lanes(lanes)) << shift;
        masks->visible |= (uint64_t)window_bits(window_visible(lanes)) << shift;
        masks->high |= (uint64_t)window_bits(lanes) << shift;
        masks->dot |= (uint64_t)window_bits(window_equal(lanes, '.')) << shift;
        masks->hyphen |= (uint64_t)window_bits(window_equal(lanes, '-')) << shift;
        masks->blank |= (uint64_t)window_bits(window_equal(lanes, ' ')) << shift;
        masks->at |= (uint64_t)window_bits(window_equal(lanes, '@')) << shift;
        masks->open |= (uint64_t)window_bits(window_equal(lanes, '<')) << shift;
        masks->close |= (uint64_t)window_bits(window_equal(lanes, '>')) << shift;
        masks->quote |= (uint64_t)window_bits(window_equal(lanes, '"')) << shift;
        masks->escape |= (uint64_t)window_bits(window_equal(lanes, '\\')) << shift;
        masks->word |= (uint64_t)window_bits(window_equal(lanes, '=')) << shift;
        question |= (uint64_t)window_bits(window_equal(lanes, '?')) << shift;
        masks->stop |=
            (uint64_t)window_bits(_mm_or_si128(window_equal(lanes, ','), window_equal(lanes, ';')))
            << shift;
    }
    masks->word &= question >> 1;
    masks->stop &= window_below(there);
    if (there < WINDOW_BYTES)
        masks->stop |= UINT64_C(1) << there;
}

static uint64_t span_mask(uint32_t from, uint32_t to)
{
    return window_below(to) & ~window_below(from);
}

static uint32_t first_of(uint64_t mask)
{
    return (uint32_t)__builtin_ctzll(mask);
}

/* Words of these characters with single blanks between, none at either end. */
static bool words_ok(const struct masks *masks, uint64_t allowed, uint32_t from, uint32_t to)
{
    const uint64_t span = span_mask(from, to);
    const uint64_t blank = masks->blank & span;
    const uint64_t ends = UINT64_C(1) << from | UINT64_C(1) << (to - 1);
    return (span & ~(allowed | blank)) == 0 && (blank & (blank << 1 | ends)) == 0;
}

/* `local@domain` from `from` to `to`: a dot-atom, and a name as address_domain_ok() takes it. */
static inline bool spec_ok(const struct masks *masks, uint32_t from, uint32_t to, uint32_t *at)
{
    const uint64_t ats = masks->at & span_mask(from, to);
    if (ats == 0 || (ats & (ats - 1)) != 0)
        return false;
    *at = first_of(ats);
    if (*at == from || *at + 1 == to)
        return false;
    const uint64_t local = span_mask(from, *at);
    const uint64_t domain = span_mask(*at + 1, to);
    /* No dot and no hyphen of a label stands at an edge: the parts' own ends and the dots. */
    const uint64_t edges = UINT64_C(1) << from | UINT64_C(1) << (*at - 1) | ats << 1 |
                           UINT64_C(1) << (to - 1) | masks->dot << 1 | masks->dot >> 1;
    if ((local & ~(masks->atext | masks->dot)) != 0 || (masks->word & local) != 0)
        return false;
    if ((domain & ~(masks->label | masks->dot)) != 0)
        return false;
    return ((masks->dot & (local | domain)) & edges) == 0 && (masks->hyphen & domain & edges) == 0;
}

/* Where a member's parts stand in its window. */
struct member {
    uint32_t name;
    uint32_t name_end;
    uint32_t spec;
    uint32_t spec_end;
    uint32_t at;
    uint32_t end; /* its comma, or the list's end */
    bool atoms;
    bool encoded; /* the name has encoded words or 8-bit text */
};

static HOT bool member_plain(struct member *member, const struct masks *masks)
{
    uint32_t name_after = 0;
    const bool quoted = (masks->quote & 1) != 0;
    if (quoted) {
        const uint64_t closing = masks->quote & ~UINT64_C(1);
        if (closing == 0)
            return false;
        name_after = first_of(closing) + 1;
    }
    const uint64_t stops = masks->stop & ~window_below(name_after);
    if (stops == 0)
        return false;
    member->end = first_of(stops);
    const uint64_t rest = span_mask(name_after, member->end);
    const uint64_t open = masks->open & rest;
    member->atoms = true;
    member->encoded = false;
    member->name = 0;
    member->name_end = 0;
    if (open == 0) {
        /* A bare address, and blanks. */
        const uint64_t text = rest & ~masks->blank;
        if (quoted || text == 0)
            return false;
        member->spec = 0;
        member->spec_end = WINDOW_BYTES - (uint32_t)__builtin_clzll(text);
        return spec_ok(masks, 0, member->spec_end, &member->at);
    }
    const uint64_t close = masks->close & rest;
    const uint32_t opens = first_of(open);
    if ((open & (open - 1)) != 0 || close == 0 || (close & (close - 1)) != 0)
        return false;
    member->spec = opens + 1;
    member->spec_end = first_of(close);
    if (member->spec_end <= member->spec ||
        (span_mask(member->spec_end + 1, member->end) & ~masks->blank) != 0)
        return false;
    uint64_t allowed = masks->atext | masks->dot | masks->high;
    if (quoted) {
        member->name = 1;
        member->name_end = name_after - 1;
        allowed = (masks->visible | masks->high) & ~(masks->escape | masks->open | masks->close);
        if ((span_mask(name_after, opens) & ~masks->blank) != 0)
            return false;
    } else {
        member->name_end = opens;
        if (opens > 0 && (masks->blank >> (opens - 1) & 1) != 0)
            member->name_end--;
    }
    if ((quoted || opens > 0) && (member->name == member->name_end ||
                                  !words_ok(masks, allowed, member->name, member->name_end)))
        return false;
    const uint64_t name = span_mask(member->name, member->name_end);
    member->encoded = (name & (masks->word | masks->high)) != 0;
    member->atoms = !member->encoded && (name & ~(masks->atext | masks->blank)) == 0;
    return spec_ok(masks, member->spec, member->spec_end, &member->at);
}

/* Letters, digits, dots and `-_+`, and blanks: nearly all mail has no more beside brackets and at
 * signs. Returns all of these. */
static inline uint64_t common_masks_read(struct masks *masks, const struct window *window,
                                         uint32_t there)
{
    uint64_t label = 0;
    uint64_t plus = 0;
    uint64_t dot = 0;
    uint64_t hyphen = 0;
    uint64_t blank = 0;
    for (uint32_t n = 0; n * WINDOW_LANES < there; n++) {
        const __m128i lanes = window->lanes[n];
        const uint32_t shift = n * WINDOW_LANES;
        label |= (uint64_t)window_bits(label_lanes(lanes)) << shift;
        plus |= (uint64_t)window_bits(window_equal(lanes, '+')) << shift;
        dot |= (uint64_t)window_bits(window_equal(lanes, '.')) << shift;
        hyphen |= (uint64_t)window_bits(window_equal(lanes, '-')) << shift;
        blank |= (uint64_t)window_bits(window_equal(lanes, ' ')) << shift;
    }
    masks->atext = label | plus;
    masks->label = label;
    masks->dot = dot;
    masks->hyphen = hyphen;
    masks->blank = blank;
    masks->word = 0;
    return label | plus | dot | blank;
}

/* Where the name in front of a bracket ends; false: it is no words with single blanks between. */
static inline bool common_name(struct member *member, const struct masks *masks, uint32_t opens)
{
    if (opens == 0)
        return true;
    member->name_end = opens - (uint32_t)(masks->blank >> (opens - 1) & 1);
    if (member->name_end == 0)
        return false;
    const uint64_t inside = masks->blank & window_below(member->name_end);
    const uint64_t ends = 1 | UINT64_C(1) << (member->name_end - 1);
    return (inside & (inside << 1 | ends)) == 0;
}

/*
 * The same as member_plain() of the common characters alone, at a third of the cost: all others
 * stand out, and must be the brackets, the at sign and the end, in their order. False says nothing.
 */
static HOT bool member_common(struct member *member, const struct window *window,
                              const uint8_t *start, uint32_t there)
{
    struct masks masks;
    const uint64_t common = common_masks_read(&masks, window, there);
    /* The end stands out as well; when it is not in the window, the last byte does. */
    const uint64_t last = UINT64_C(1) << MIN(there, WINDOW_BYTES - 1U);
    uint64_t others = (~common & (last - 1)) | last;
    const bool angled = others != last && start[first_of(others)] == '<';
    *member = (struct member){.encoded = false};
    if (angled) {
        member->spec = first_of(others) + 1;
        if (!common_name(member, &masks, first_of(others)))
            return false;
        others &= others - 1;
    }
    if (others == last || start[first_of(others)] != '@')
        return false;
    masks.at = others & ~(others - 1);
    others &= others - 1;
    uint64_t after = UINT64_MAX; /* of the brackets: blanks alone */
    if (angled) {
        member->spec_end = first_of(others);
        if (others == last || start[member->spec_end] != '>')
            return false;
        others &= others - 1;
        after = ~window_below(member->spec_end + 1);
    }
    member->end = first_of(others);
    if (others == last ? there == WINDOW_BYTES
                       : start[member->end] != ',' && start[member->end] != ';')
        return false;
    const uint64_t text = window_below(member->end) & ~masks.blank;
    if (!angled)
        member->spec_end = WINDOW_BYTES - (uint32_t)__builtin_clzll(text);
    else if ((text & after) != 0)
        return false;
    member->atoms = (masks.dot & window_below(member->name_end)) == 0;
    return spec_ok(&masks, member->spec, member->spec_end, &member->at);
}

HOT bool address_list_try(struct address_list *list, struct address_mailbox *mailbox)
{
    const uint8_t *start = list->at;
    const uint8_t *end = list->end;
    while (start < end && (*start == ' ' || *start == '\t' || *start == '\r' || *start == '\n'))
        start++;
    if (start == end)
        return false;
    struct window window;
    struct masks masks;
    struct member member;
    const uint32_t there = (uint32_t)MIN((size_t)(end - start), (size_t)WINDOW_BYTES);
    window_load(&window, start, list->readable_end);
    if (!member_common(&member, &window, start, there)) {
        masks_read(&masks, &window, there);
        if (!member_plain(&member, &masks))
            return false;
    }
    const uint8_t *spec = start + member.spec;
    mailbox->address.bytes = member.spec_end - member.spec;
    mailbox->address.domain_offset = member.at + 1 - member.spec;
    mailbox->address.ascii = true;
    window_copy(mailbox->address.text, spec, mailbox->address.bytes);
    mailbox->name_bytes = member.name_end - member.name;
    mailbox->atoms = member.atoms;
    if (member.encoded) {
        struct encoded_word_text text;
        encoded_word_decode(&text, mailbox->name, ADDRESS_NAME_BYTES_MAX, start + member.name,
                            mailbox->name_bytes);
        mailbox->name_bytes = (uint32_t)text.bytes;
    } else {
        window_copy(mailbox->name, start + member.name, mailbox->name_bytes);
    }
    /* The comma is the member's; the list's end is not. */
    list->at = start + member.end + (start + member.end < end ? 1 : 0);
    return true;
}
