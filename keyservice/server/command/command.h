/*
 * command: bulla-keyd's subcommands and what they have in common.
 * Ownership: none.
 * Threads:   the main thread's.
 * Units:     exit statuses of sysexits.h.
 * Errors:    a command returns its exit status and has said why on stderr, in one line.
 */
#ifndef KEYSERVICE_SERVER_COMMAND_COMMAND_H
#define KEYSERVICE_SERVER_COMMAND_COMMAND_H

#include "base/macros.h"
#include "keyservice/server/config.h"
#include "keyservice/server/master.h"
#include "keyservice/server/store/store.h"

#define COMMAND_CONFIG "/etc/bulla/keyd.conf"

/* Prints "bulla-keyd: …" and gives `status` back. */
int command_fail(int status, const char *format, ...) PRINTF_LIKE(2, 3);

/* argv[0] is the subcommand's name. */
int command_init(int argc, char **argv);
int command_serve(int argc, char **argv);
int command_account(int argc, char **argv);
int command_engine(int argc, char **argv);
int command_envelope(int argc, char **argv);
int command_backup(int argc, char **argv);
int command_restore(int argc, char **argv);
int command_move(int argc, char **argv);
int command_receive(int argc, char **argv);
int command_audit(int argc, char **argv);
int command_master_key(int argc, char **argv);
int command_role(int argc, char **argv);
int command_profile(int argc, char **argv);
int command_token(int argc, char **argv);
int command_retention(int argc, char **argv);
int command_report(int argc, char **argv);

/* The parts that the operator's subcommands work on: beside a running service, too. */
struct command_parts {
    struct config config;
    struct master *master;
    struct store *store;
};
/* 0, or an exit status after saying why. */
MUST_USE int command_open(struct command_parts *parts, const char *config_path);
/* While nobody serves the database, else 75; with `served` beside a service, and then it is true.
 */
MUST_USE int command_open_alone(struct command_parts *parts, const char *config_path, bool *served);
void command_close(struct command_parts *parts);

#endif
