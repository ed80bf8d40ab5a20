/*
 * config_rules: which options a section of bulla.conf has, and where each one's value belongs.
 * Ownership: constant tables.
 * Threads:   any.
 * Units:     offsets and rooms in bytes; bounds in the option's own unit.
 * Errors:    none.
 */
#ifndef ENGINE_CONFIG_RULES_H
#define ENGINE_CONFIG_RULES_H

#include <stddef.h>
#include <stdint.h>

enum rule_kind {
    RULE_TEXT,          /* char[room]                                       */
    RULE_HOST_PORT,     /* char[room]; "": none                             */
    RULE_FILE,          /* char[room]; must be readable                     */
    RULE_SECRET,        /* char[room]; and nobody but its owner may read it */
    RULE_MILTER_SECRET, /* the same, of bulla-milter's                      */
    RULE_FOLDER,        /* char[room]; must be a folder                     */
    RULE_BOOL,
    RULE_CHOICE, /* uint32_t-sized enum; `choices`                   */
    RULE_U32,
    RULE_TIME, /* uint32_t seconds                                   */
    RULE_SIZE, /* uint64_t bytes                                     */
    RULE_MODE, /* uint32_t, octal                                    */
    RULE_USERS,
    RULE_GROUPS,
    RULE_ALGORITHM,
    RULE_KEY_SERVICE, /* a name; resolved after the whole file is read */
    RULE_NETWORKS,
    RULE_SELECT, /* `least` is the enum select_kind; kept apart from the profile */
};

struct rule_choice {
    const char *name;
    uint32_t value;
};

struct rule {
    const char *name;
    enum rule_kind kind;
    size_t offset;
    size_t room;
    uint64_t least;
    uint64_t most;
    const struct rule_choice *choices; /* ends with a NULL name */
    const char *mend;                  /* what to write instead */
};

extern const struct rule config_rules_engine[];
extern const struct rule config_rules_key_service[];
extern const struct rule config_rules_profile[];
extern const struct rule config_rules_milter[];
extern const size_t config_rules_engine_count;
extern const size_t config_rules_key_service_count;
extern const size_t config_rules_profile_count;
extern const size_t config_rules_milter_count;
struct config_milter;
void config_rules_milter_init(struct config_milter *milter);
#define CONFIG_RULES_MAX 40

#endif
