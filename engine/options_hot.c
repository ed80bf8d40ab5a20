#include "engine/options.h"

#include "base/assert.h"
#include "keyservice/record.h"

/* The record has other bits for the same, and none for the last two. */
static inline uint16_t flags_of(uint32_t bits)
{
    return (uint16_t)(((bits & IPC_OPTION_REPLY) != 0 ? RECORD_FLAG_REPLY : 0) |
                      ((bits & IPC_OPTION_REPLY_ALL) != 0 ? RECORD_FLAG_REPLY_ALL : 0) |
                      ((bits & IPC_OPTION_FORWARD) != 0 ? RECORD_FLAG_FORWARD : 0) |
                      ((bits & IPC_OPTION_RECEIPT) != 0 ? RECORD_FLAG_RECEIPT : 0) |
                      ((bits & IPC_OPTION_REMEMBER_KEY) != 0 ? RECORD_FLAG_REMEMBER_KEY : 0));
}

static inline bool wished(const struct meta_options *wish, uint32_t bit, bool otherwise)
{
    return (wish->set & bit) == 0 ? otherwise : (wish->values & bit) != 0;
}

HOT void options_decide(struct options *options, const struct snapshot_profile *profile,
                        const struct meta_options *wish)
{
    const struct profile *own = &profile->profile;
    *options = (struct options){
        .shell = &profile->shells[options_variant(own->use_script, own->browser_decryption)],
        .expires_after_s = own->expires_after_s,
        .record_flags = profile->record_flags,
    };
    if (__builtin_expect(wish->set == 0 || !own->allow_header_overrides, 1))
        return;
    const uint16_t set = flags_of(wish->set);
    const bool script = wished(wish, IPC_OPTION_SCRIPT, own->use_script);
    const bool browser = wished(wish, IPC_OPTION_BROWSER_DECRYPTION, own->browser_decryption);
    options->record_flags = (uint16_t)((profile->record_flags & ~set) | flags_of(wish->values));
    options->shell = &profile->shells[options_variant(script, browser)];
    if ((wish->set & IPC_OPTION_EXPIRES) != 0)
        options->expires_after_s = wish->expires_after_s;
    if ((wish->set & IPC_OPTION_READ_BY) != 0)
        options->read_by_after_s = wish->read_by_after_s;
    ASSERT(options->shell->head.bytes > 0); /* the snapshot has both where overrides count */
    ASSERT((options->record_flags & ~RECORD_FLAGS_KNOWN) == 0);
}
