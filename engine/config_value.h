/*
 * config_value: turns one option's text into a number.
 * Ownership: borrows the text for the call.
 * Threads:   any.
 * Units:     sizes in bytes (B, kB/KB, MB, GB: powers of 1024), times in seconds (s, min, h, d).
 * Errors:    -EINVAL, with out-parameters untouched; -ENOENT: no such user or group.
 */
#ifndef ENGINE_CONFIG_VALUE_H
#define ENGINE_CONFIG_VALUE_H

#include "base/macros.h"

#include <stdbool.h>
#include <stdint.h>

MUST_USE int config_value_number(const char *text, uint64_t *number);
MUST_USE int config_value_size(const char *text, uint64_t *bytes);
MUST_USE int config_value_time(const char *text, uint64_t *seconds);
MUST_USE int config_value_bool(const char *text, bool *value);
/* Octal, at most 0777. */
MUST_USE int config_value_mode(const char *text, uint32_t *mode);
/* A name that the system knows, or a number. */
MUST_USE int config_value_user(const char *name, uint32_t *uid);
MUST_USE int config_value_group(const char *name, uint32_t *gid);
/* 127.0.0.1:10026, [::1]:10026 or a name: without a port a mail would go to another listener. */
bool config_value_is_host_port(const char *text);

#endif
