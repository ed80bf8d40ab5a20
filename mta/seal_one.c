#include "mta/bulla.h"

#include "ipc/layout.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int seal_one_take(struct bulla *bulla, enum bulla_status *status, uint8_t **sealed,
                         size_t *sealed_bytes, char *why, size_t why_bytes)
{
    struct bulla_completion completion;
    const int count = bulla_poll(bulla, &completion, 1);
    if (count < 0)
        return count;
    if (count == 0)
        return -ETIMEDOUT;
    uint8_t *copy = NULL;
    if (completion.status == BULLA_SEALED) {
        copy = malloc(completion.mail_bytes + 1);
        if (copy == NULL) {
            bulla_release(bulla, &completion);
            return -ENOMEM;
        }
        *sealed_bytes = bulla_flatten(&completion, copy, completion.mail_bytes);
    }
    *status = completion.status;
    *sealed = copy;
    if (why != NULL && why_bytes > 0)
        (void)snprintf(why, why_bytes, "%s", completion.text);
    bulla_release(bulla, &completion);
    return 0;
}

static int seal_one_run(struct bulla *bulla, const struct bulla_request *request, const void *mail,
                        int timeout_ms, enum bulla_status *status, uint8_t **sealed,
                        size_t *sealed_bytes, char *why, size_t why_bytes)
{
    struct bulla_reservation reservation;
    int rc = bulla_reserve(bulla, request, &reservation);
    if (rc != 0)
        return rc;
    if (request->mail_bytes > 0)
        memcpy(reservation.mail, mail, request->mail_bytes);
    rc = bulla_submit(bulla, &reservation);
    if (rc != 0) {
        bulla_cancel(bulla, &reservation);
        return rc;
    }
    rc = bulla_wait(bulla, timeout_ms);
    if (rc == 0)
        return -ETIMEDOUT;
    if (rc < 0)
        return rc;
    return seal_one_take(bulla, status, sealed, sealed_bytes, why, why_bytes);
}

int bulla_seal_one(const struct bulla_config *config, const struct bulla_request *request,
                   const void *mail, int timeout_ms, enum bulla_status *status, uint8_t **sealed,
                   size_t *sealed_bytes, char *why, size_t why_bytes)
{
    *sealed = NULL;
    *sealed_bytes = 0;
    if (why != NULL && why_bytes > 0)
        why[0] = '\0';
    if (request->mail_bytes > IPC_MAIL_BYTES_MAX)
        return -EMSGSIZE;
    /* As much shared memory as this one message needs: a process that seals one mail and ends
     * would pay for the rest in zeroed pages. */
    struct bulla_config own = {0};
    if (config != NULL)
        own = *config;
    own.slots_count = IPC_SLOTS_MIN;
    own.input_bytes = MAX(request->mail_bytes, (size_t)1);
    struct bulla *bulla;
    int rc = bulla_attach(&bulla, &own);
    if (rc != 0)
        return rc;
    rc = seal_one_run(bulla, request, mail, timeout_ms, status, sealed, sealed_bytes, why,
                      why_bytes);
    bulla_detach(bulla);
    return rc;
}
