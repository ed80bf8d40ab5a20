#include "tests/keyservice/server/store/store_fixture.h"

#include "base/bytes.h"

#include <libpq-fe.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

void store_fixture_open(struct store_fixture *fixture)
{
    char why[STORE_WHY_BYTES] = "";
    const struct store_config config = {
        .path = fixture->database, .master = fixture->master, .readers_count = 5, .create = true};
    if (store_open(&fixture->store, &config, why) != 0)
        fail_msg("%s", why);
}

static uint64_t postgresql_number(const char *url, const char *statements)
{
    PGconn *conn = PQconnectdb(url);
    PGresult *result = PQexec(conn, statements);
    const ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        fail_msg("%s", PQerrorMessage(conn));
    const uint64_t number = status == PGRES_TUPLES_OK && PQntuples(result) > 0
                                ? strtoull(PQgetvalue(result, 0, 0), NULL, 10)
                                : 0;
    PQclear(result);
    PQfinish(conn);
    return number;
}

static int number_keep(void *context, int columns_count, char **columns, char **names)
{
    (void)columns_count;
    (void)names;
    *(uint64_t *)context = columns[0] == NULL ? 0 : strtoull(columns[0], NULL, 10);
    return 0;
}

uint64_t store_fixture_number(const struct store_fixture *fixture, const char *statement)
{
    sqlite3 *db = NULL;
    uint64_t number = 0;
    if (fixture->schema[0] != '\0')
        return postgresql_number(fixture->database, statement);
    assert_int_equal(sqlite3_open(fixture->database, &db), SQLITE_OK);
    (void)sqlite3_busy_timeout(db, 5000);
    if (sqlite3_exec(db, statement, number_keep, &number, NULL) != SQLITE_OK)
        fail_msg("%s", sqlite3_errmsg(db));
    (void)sqlite3_close(db);
    return number;
}

void store_fixture_sql(const struct store_fixture *fixture, const char *statements)
{
    (void)store_fixture_number(fixture, statements);
}

/* Names the database, in a schema that no other test has. */
static void place_choose(struct store_fixture *fixture)
{
    static uint32_t schemas_count;
    char statement[96];
    const char *url = getenv("BULLA_POSTGRESQL");
    if (url == NULL) {
        (void)snprintf(fixture->database, sizeof(fixture->database), "%s/keys.db", fixture->folder);
        return;
    }
    (void)snprintf(fixture->schema, sizeof(fixture->schema), "test_%d_%u", (int)getpid(),
                   schemas_count++);
    (void)snprintf(statement, sizeof(statement), "CREATE SCHEMA %s", fixture->schema);
    (void)postgresql_number(url, statement);
    (void)snprintf(fixture->database, sizeof(fixture->database), "%s&options=-csearch_path%%3D%s",
                   url, fixture->schema);
}

int store_fixture_setup(void **state)
{
    char why[MASTER_WHY_BYTES];
    struct store_fixture *fixture = calloc(1, sizeof(*fixture));
    if (fixture == NULL)
        return -1;
    (void)snprintf(fixture->folder, sizeof(fixture->folder), "/tmp/bulla-store-XXXXXX");
    if (mkdtemp(fixture->folder) == NULL)
        return -1;
    place_choose(fixture);
    (void)snprintf(fixture->master_path, sizeof(fixture->master_path), "%s/master.key",
                   fixture->folder);
    if (master_create(fixture->master_path) != 0 ||
        master_open(&fixture->master, fixture->master_path, why) != 0)
        return -1;
    store_fixture_open(fixture);
    *state = fixture;
    return 0;
}

int store_fixture_teardown(void **state)
{
    static const char *const endings[] = {"", "-wal", "-shm"};
    struct store_fixture *fixture = *state;
    store_close(fixture->store);
    master_close(fixture->master);
    for (size_t i = 0; i < ARRAY_COUNT(endings) && fixture->schema[0] == '\0'; i++) {
        char path[sizeof(fixture->database) + 8];
        (void)snprintf(path, sizeof(path), "%s%s", fixture->database, endings[i]);
        (void)unlink(path);
    }
    (void)unlink(fixture->master_path);
    (void)rmdir(fixture->folder);
    free(fixture);
    return 0;
}

void store_made_fill(struct store_made *made, uint32_t number, const char *recipient)
{
    memset(made, 0, sizeof(*made));
    const size_t recipient_bytes = strlen(recipient);
    bytes_store_le16(made->recipients, (uint16_t)recipient_bytes);
    memcpy(made->recipients + 2, recipient, recipient_bytes);
    made->record = (struct record){.suite = 1,
                                   .level = RECORD_LEVEL_HIGH,
                                   .sent_unix_ms = NOW_MS,
                                   .expires_unix_ms = NOW_MS + 1,
                                   .mail_bytes = 17,
                                   .profile = (const uint8_t *)"p",
                                   .profile_bytes = 1,
                                   .sender = (const uint8_t *)"a@b",
                                   .sender_bytes = 3,
                                   .recipients_count = 1,
                                   .recipients = made->recipients,
                                   .recipients_bytes = (uint32_t)recipient_bytes + 2};
    bytes_store_le32(made->record.id, number);
    made->record.id[6] = 0x70; /* a UUIDv7, as no other record is taken */
    made->record.id[8] = 0x80;
    memset(made->record.key, (int)number, sizeof(made->record.key));
    const size_t bytes = record_write(made->wire, sizeof(made->wire), &made->record);
    assert_int_not_equal(bytes, 0);
    made->put = (struct store_put){
        .record = &made->record, .wire = made->wire, .wire_bytes = (uint32_t)bytes};
}

enum store_put_result store_made_put(const struct store_fixture *fixture, struct store_made *made)
{
    assert_int_equal(store_register_batch(fixture->store, &made->put, 1), 0);
    return made->put.result;
}
