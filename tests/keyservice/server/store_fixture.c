#include "tests/keyservice/server/store_fixture.h"

#include "base/bytes.h"

#include <setjmp.h>
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
        .path = fixture->database, .master = fixture->master, .readers_count = 2, .create = true};
    if (store_open(&fixture->store, &config, why) != 0)
        fail_msg("%s", why);
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
    (void)snprintf(fixture->database, sizeof(fixture->database), "%s/keys.db", fixture->folder);
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
    for (size_t i = 0; i < ARRAY_COUNT(endings); i++) {
        char path[128];
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
