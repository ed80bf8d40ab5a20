/* Reports for administrators and auditors. */
#include "keyservice/server/admin_call.h"
#include "keyservice/server/report.h"

#include <stdlib.h>
#include <string.h>

void api_admin_report(void *context, struct http_request *request)
{
    const struct service *service = context;
    struct admin_actor actor;
    struct report_range range;
    json_t *rows = NULL;
    char *csv = NULL;
    size_t csv_bytes = 0;
    const bool as_csv = strcmp(http_query(request, "format"), "csv") == 0;
    if (!admin_enter(service, request, RIGHT_REPORTS, ADMIN_LOOK, &actor) ||
        !admin_profile(service, request, &actor, RIGHT_REPORTS, NULL))
        return;
    if (!report_range_parse(&range, http_query(request, "by"), http_query(request, "from"),
                            http_query(request, "to"), api_now_ms())) {
        api_refuse(request, API_BAD_REQUEST, NULL);
        return;
    }
    const int rc = as_csv ? report_csv(service->store, &range, &csv, &csv_bytes)
                          : report_json(service->store, &range, &rows);
    if (rc != 0) {
        api_refuse(request, API_AWAY, NULL);
        return;
    }
    if (!as_csv) {
        api_answer(request, 200, json_pack("{s:o}", "rows", rows));
        return;
    }
    http_answer(request, 200, "text/csv; charset=utf-8", csv, csv_bytes);
    http_answer_header(request, "Content-Disposition", "attachment; filename=\"report.csv\"");
}
