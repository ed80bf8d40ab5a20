/*
 * command: what the subcommands of `bulla` share: how each one starts and how it says why it ended.
 * Ownership: borrows argv for the call.
 * Threads:   one.
 * Units:     exit statuses of sysexits.h; 75 (EX_TEMPFAIL) means worth retrying.
 * Errors:    each command returns its exit status, after exactly one line on stderr.
 *
 * 64 the command line, 65 the mail or the envelope, 66 an input file, 69 something that must be
 * mended elsewhere first, 74 the output, 75 try again, 77 not allowed, 78 the configuration.
 */
#ifndef TOOLS_BULLA_COMMAND_H
#define TOOLS_BULLA_COMMAND_H

#include "base/macros.h"

#include <stdint.h>
#include <sysexits.h>

/* argv[0] is the command's own name. */
int command_seal(int argc, char **argv);
int command_open(int argc, char **argv);
int command_status(int argc, char **argv);
int command_top(int argc, char **argv);
int command_queue(int argc, char **argv);
int command_check_config(int argc, char **argv);
int command_provision(int argc, char **argv);

/* Opens every line of stderr from here on: "bulla seal". */
void command_init(const char *name);

/* One line on stderr; control bytes in the text are shown as '?'. Returns exit_status. */
int command_fail(int exit_status, const char *format, ...) PRINTF_LIKE(2, 3);
void command_note(const char *format, ...) PRINTF_LIKE(1, 2);

/* For getopt_long()'s '?' and ':': says which option, and where help is. Returns EX_USAGE. */
int command_bad_option(int option, char **argv);

/* $NAME, or `otherwise` when it is unset or empty. */
const char *command_environment(const char *name, const char *otherwise);

/* Whole seconds, 1 to seconds_max; 0 when `text` is anything else. */
uint32_t command_seconds(const char *text, uint32_t seconds_max);

#endif
