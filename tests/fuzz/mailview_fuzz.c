/* fuzz: links keyd envelope */
/* What pages without scripts are made of: a mail, its HTML, its items, and the forms that come
 * back; and what a mail that came to the service itself is taken for. */
#include "base/assert.h"
#include "keyservice/server/http/form.h"
#include "keyservice/server/mail/html_text.h"
#include "keyservice/server/mail/mailview.h"
#include "keyservice/server/mail/received.h"
#include "keyservice/server/plain.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_BYTES 16
#define MAIL_BYTES (64 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* Whatever the items say, the page is escaped and ends in NUL. */
static void items_show(const uint8_t *items, size_t bytes)
{
    struct plain plain;
    const int rc = plain_read(&plain, items, bytes, "<View>");
    ASSERT(rc == 0 || rc == -ENOMEM);
    if (rc != 0)
        return;
    ASSERT(plain.body[plain.body_bytes - 1] == '\0');
    ASSERT(plain.files[plain.files_bytes - 1] == '\0');
    ASSERT(strstr(plain.body, "<script") == NULL && strstr(plain.files, "<script") == NULL);
    plain_fini(&plain);
}

static void html_show(const uint8_t *data, size_t bytes)
{
    uint8_t dst[4096];
    struct html_text text = {.dst = dst, .room = sizeof(dst)};
    html_text_write(&text, data, bytes);
    ASSERT(text.bytes <= sizeof(dst));
    for (size_t i = 0; i < text.bytes; i++)
        ASSERT(dst[i] >= ' ' || dst[i] == '\n' || dst[i] == '\t');
}

static void form_show(const uint8_t *data, size_t bytes)
{
    char user[TEXT_BYTES];
    char act[TEXT_BYTES];
    const struct form_text texts[] = {{.name = "user", .text = user, .room = sizeof(user)},
                                      {.name = "act", .text = act, .room = sizeof(act)}};
    const int rc = form_read_texts(texts, ARRAY_COUNT(texts), data, bytes);
    ASSERT(rc == 0 || rc == -EBADMSG);
    ASSERT(strnlen(user, sizeof(user)) < sizeof(user));
    ASSERT(strnlen(act, sizeof(act)) < sizeof(act));
}

/* What is made of a mail fits; what a stranger's items say is within bounds. */
static void received_show(const uint8_t *data, size_t bytes, uint8_t *items, size_t room)
{
    struct received received;
    size_t written = 0;
    int rc = received_read(&received, data, bytes);
    ASSERT(rc == 0 || rc == -EBADMSG);
    if (rc == 0)
        ASSERT(received.sealed_bytes <= bytes && strchr(received.address, '@') != NULL);
    rc = mailview_write(items, room, &written, data, bytes, RECEIVED_PART);
    ASSERT(rc == 0 || rc == -EBADMSG || rc == -ENOENT || rc == -EFBIG);
    if (rc == 0)
        rc = received_read(&received, items, written);
    ASSERT(rc <= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static bool ready;
    static uint8_t items[MAILVIEW_SHOW_BYTES_MAX];
    size_t written = 0;
    if (!ready)
        mailview_init();
    ready = true;
    items_show(data, bytes);
    html_show(data, bytes);
    form_show(data, bytes);
    if (bytes <= MAIL_BYTES)
        received_show(data, bytes, items, sizeof(items));
    for (uint32_t part = 0; part < 2 && bytes <= MAIL_BYTES; part++) {
        const int rc = mailview_write(items, sizeof(items), &written, data, bytes, part);
        ASSERT(rc == 0 || rc == -EBADMSG || rc == -ENOENT || rc == -EFBIG);
        if (rc == 0)
            items_show(items, written);
    }
    return 0;
}
