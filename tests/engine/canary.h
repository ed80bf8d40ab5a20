/*
 * canary: a client process whose every message carries a mark that no other message has.
 * Ownership: canary_client() attaches and detaches; the caller's socket is borrowed.
 * Threads:   one.
 * Units:     messages; bytes.
 * Errors:    a line on stderr and an exit status that is not 0: the process has no cmocka.
 *
 * It opens every sealed mail with the key that its parent gives for the id, compares it with what
 * it sent, and looks through all memory that it shares with the engine for marks that must not be
 * there: another client's anywhere, its own outside its input arena, in clear or in base64.
 */
#ifndef TESTS_ENGINE_CANARY_H
#define TESTS_ENGINE_CANARY_H

#include <stdint.h>

#define CANARY_CLIENTS 2

struct canary_client {
    const char *socket; /* the engine's                            */
    int keys_fd;        /* 16 bytes of an id out, 1 + 32 bytes in  */
    uint32_t number;    /* of this client, from 0                  */
    uint32_t count;     /* messages                                */
};

/* Returns the exit status. */
int canary_client(const struct canary_client *client);

#endif
