#include "keyservice/server/sent/sent.h"

#include "keyservice/server/api/api.h"
#include "keyservice/server/sent/sent_notice.h"
#include "keyservice/server/store/store_opening.h"
#include "keyservice/server/store/store_report.h"
#include "keyservice/server/store/store_sent.h"
#include "keyservice/server/tend.h"

#define FOLD_EVERY_S     1  /* where many wait */
#define FOLD_ALL_EVERY_S 10 /* where few do    */
#define BACK_EVERY_S     1
#define UNREAD_EVERY_S   5
#define NOTICE_EVERY_S   2
#define REPORT_EVERY_S   3600

/* A fold of many runs costs least a run; the index is asked behind the newest ones anyway. */
static int fold_many(void *context)
{
    const struct service *service = context;
    uint32_t runs_count = 0;
    const int rc = store_sent_fold(service->store, STORE_SENT_FOLD_RUNS, &runs_count);
    return rc == 0 && runs_count > 0 ? TEND_AGAIN : rc;
}

static int fold_all(void *context)
{
    const struct service *service = context;
    uint32_t runs_count = 0;
    const int rc = store_sent_fold(service->store, 1, &runs_count);
    return rc == 0 && runs_count > 0 ? TEND_AGAIN : rc;
}

static int index_back(void *context)
{
    const struct service *service = context;
    bool more = false;
    const int rc = store_sent_back(service->store, &more);
    return rc == 0 && more ? TEND_AGAIN : rc;
}

static int unread_find(void *context)
{
    const struct service *service = context;
    uint32_t done_count = 0;
    const int rc = store_unread_find(service->store, api_now_ms(), &done_count);
    return rc == 0 && done_count > 0 ? TEND_AGAIN : rc;
}

static int notice_send(void *context)
{
    uint32_t done_count = 0;
    const int rc = sent_notice_run(context, &done_count);
    return rc == 0 && done_count == SENT_NOTICE_BURST ? TEND_AGAIN : rc;
}

static int report_prune(void *context)
{
    const struct service *service = context;
    return store_report_prune(service->store, api_now_ms());
}

int sent_tend(struct tend *tend, struct service *service)
{
    int rc = tend_add(tend, "sent_fold", FOLD_EVERY_S, fold_many, service);
    if (rc == 0)
        rc = tend_add(tend, "sent_fold_all", FOLD_ALL_EVERY_S, fold_all, service);
    if (rc == 0)
        rc = tend_add(tend, "sent_back", BACK_EVERY_S, index_back, service);
    if (rc == 0)
        rc = tend_add(tend, "unread", UNREAD_EVERY_S, unread_find, service);
    if (rc == 0)
        rc = tend_add(tend, "notices", NOTICE_EVERY_S, notice_send, service);
    if (rc == 0)
        rc = tend_add(tend, "report_prune", REPORT_EVERY_S, report_prune, service);
    return rc;
}
