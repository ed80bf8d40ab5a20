/* bulla-keyd report: what was sealed, opened and refused. */
#include "keyservice/server/api/api.h"
#include "keyservice/server/command/command.h"
#include "keyservice/server/report.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

struct report_options {
    const char *config;
    const char *by;
    const char *from;
    const char *to;
    bool csv;
};

static int options_read(struct report_options *options, int argc, char **argv)
{
    static const struct option known[] = {
        {"config", required_argument, NULL, 'c'}, {"by", required_argument, NULL, 'b'},
        {"from", required_argument, NULL, 'f'},   {"to", required_argument, NULL, 't'},
        {"csv", no_argument, NULL, 'v'},          {NULL, 0, NULL, 0},
    };
    int option;
    *options = (struct report_options){.config = COMMAND_CONFIG};
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case 'c': options->config = optarg; break;
        case 'b': options->by = optarg; break;
        case 'f': options->from = optarg; break;
        case 't': options->to = optarg; break;
        case 'v': options->csv = true; break;
        default: optind = argc + 1; break;
        }
    }
    if (optind == argc)
        return 0;
    return command_fail(EX_USAGE,
                        "usage: bulla-keyd report [--config FILE] [--from DAY] [--to DAY] "
                        "[--by day|policy|domain|user] [--csv]");
}

static int rows_print(const struct command_parts *parts, const struct report_range *range)
{
    json_t *rows = NULL;
    json_t *row;
    size_t index;
    if (report_json(parts->store, range, &rows) != 0)
        return EX_IOERR;
    (void)printf("%10s%10s%10s%10s%10s%10s\n", "sealed", "opened", "unopened", "expired", "locked",
                 "failed");
    json_array_foreach(rows, index, row)
    {
        static const char *const names[] = {"sealed",  "opened", "unopened",
                                            "expired", "locked", "failed"};
        for (size_t i = 0; i < ARRAY_COUNT(names); i++)
            (void)printf("%10lld", (long long)json_integer_value(json_object_get(row, names[i])));
        (void)printf("  %s\n", json_string_value(json_object_get(row, "name")));
    }
    json_decref(rows);
    return 0;
}

int command_report(int argc, char **argv)
{
    struct report_options options;
    struct report_range range;
    struct command_parts parts;
    char *csv = NULL;
    size_t csv_bytes = 0;
    int status = options_read(&options, argc, argv);
    if (status != 0)
        return status;
    if (!report_range_parse(&range, options.by, options.from, options.to, api_now_ms()))
        return command_fail(EX_USAGE,
                            "a report is by day, policy, domain or user, from and to days "
                            "like 2026-11-22");
    status = command_open(&parts, options.config);
    if (status != 0)
        return status;
    if (!options.csv)
        status = rows_print(&parts, &range);
    else if (report_csv(parts.store, &range, &csv, &csv_bytes) != 0 ||
             fwrite(csv, 1, csv_bytes, stdout) != csv_bytes)
        status = EX_IOERR;
    free(csv);
    command_close(&parts);
    return status == 0 ? 0 : command_fail(status, "the database cannot be read");
}
