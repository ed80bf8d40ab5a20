/*
 * pump: a client that submits as fast as it may, releases late, and checks each answer.
 * Ownership: pump_run() attaches and detaches; it returns when everything is answered.
 * Threads:   one pump, one thread.
 * Units:     messages; bytes.
 * Errors:    an answer that is not what the pump was told to expect fails the test.
 */
#ifndef TESTS_ENGINE_PUMP_H
#define TESTS_ENGINE_PUMP_H

#include "tests/engine/daemon.h"

#define PUMP_HELD_MAX 64

struct pump {
    const struct daemon *daemon;
    const size_t *sizes; /* taken in turn */
    uint32_t sizes_count;
    uint32_t count;       /* messages in all                            */
    uint32_t held_max;    /* completions that are kept unreleased       */
    uint32_t slots_count; /* 0: the library's own                       */
    size_t input_bytes;   /* 0: the library's own                       */
    const char *profile;  /* NULL: the default                          */
    bool opens;           /* each mail is opened and compared           */
    void (*check)(const struct bulla_completion *completion); /* NULL: none */
};

void pump_run(const struct pump *pump);

#endif
