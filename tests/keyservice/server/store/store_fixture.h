/*
 * store_fixture: a store in a folder of its own, and records to put into it, for tests. In SQLite,
 * or in a schema of its own of the PostgreSQL database that BULLA_POSTGRESQL names. Ownership:
 * store_fixture_setup() makes what store_fixture_teardown() removes; a store_made holds the bytes
 * that its record borrows, so it must not be moved. Threads:   one. Units:     as
 * keyservice/server/store/store.h says. Errors:    a test that needs what fails has failed.
 */
#ifndef TESTS_KEYSERVICE_SERVER_STORE_STORE_FIXTURE_H
#define TESTS_KEYSERVICE_SERVER_STORE_STORE_FIXTURE_H

#include "keyservice/server/store/store.h"

#define NOW_MS UINT64_C(1700000000000)

/* A store in a folder of its own. */
struct store_fixture {
    char folder[64];
    char database[320]; /* path or URL */
    char schema[32];    /* "": SQLite   */
    char master_path[96];
    struct master *master;
    struct store *store;
};

/* A record with its wire bytes, as record_read() would give it. */
struct store_made {
    struct record record;
    struct store_put put;
    uint8_t wire[512];
    uint8_t recipients[256];
};

int store_fixture_setup(void **state);
int store_fixture_teardown(void **state);
/* Opens the store there is again, or makes it. */
void store_fixture_open(struct store_fixture *fixture);

/* Statements on the database itself, of either kind; the number is what the last row begins with.
 */
void store_fixture_sql(const struct store_fixture *fixture, const char *statements);
uint64_t store_fixture_number(const struct store_fixture *fixture, const char *statement);

void store_made_fill(struct store_made *made, uint32_t number, const char *recipient);
enum store_put_result store_made_put(const struct store_fixture *fixture, struct store_made *made);

#endif
