#include "bench/report.h"

#include "base/macros.h"
#include "bench/machine.h"
#include "bench/samples.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <time.h>

#define REPORT_OVERLOAD_SHARE 0.01 /* of the arrivals, left over at the end */

enum report_figure {
    REPORT_MESSAGES_PER_S,
    REPORT_MB_PER_S,
    REPORT_P50_US,
    REPORT_P90_US,
    REPORT_P99_US,
    REPORT_P999_US,
    REPORT_MAX_US,
};
#define REPORT_FIGURES 7

static const char *const report_names[REPORT_FIGURES] = {
    "messages_per_s", "mb_per_s", "p50_us", "p90_us", "p99_us", "p99.9_us", "max_us"};

static double report_value(const struct load_result *run, enum report_figure figure)
{
    const struct histogram *latency = &run->latency;
    switch (figure) {
    case REPORT_MESSAGES_PER_S: return (double)run->sealed_count / run->seconds;
    case REPORT_MB_PER_S: return (double)run->mail_bytes / run->seconds / 1e6;
    case REPORT_P50_US: return (double)histogram_percentile_ns(latency, 500000) / 1e3;
    case REPORT_P90_US: return (double)histogram_percentile_ns(latency, 900000) / 1e3;
    case REPORT_P99_US: return (double)histogram_percentile_ns(latency, 990000) / 1e3;
    case REPORT_P999_US: return (double)histogram_percentile_ns(latency, 999000) / 1e3;
    case REPORT_MAX_US: return latency->count == 0 ? 0 : (double)latency->ns_max / 1e3;
    }
    return 0;
}

static struct samples_spread report_figure_spread(const struct report *report,
                                                  enum report_figure figure)
{
    struct samples values = {.count = 0};
    for (uint32_t i = 0; i < report->runs_count; i++)
        samples_add(&values, report_value(&report->runs[i], figure));
    return samples_spread(&values);
}

/* Of the workers that had anything to do: one client keeps one worker busy. */
static double report_per_worker(const struct report *report, enum report_figure figure)
{
    return report_figure_spread(report, figure).median / MAX(report->workers_active, 1U);
}

static double report_rate_mb(const struct peer_rate *rate)
{
    return (double)rate->bytes / rate->seconds / 1e6;
}

static double report_rate_messages(const struct peer_rate *rate)
{
    return (double)rate->messages / rate->seconds;
}

static void report_row(const struct report *report, const char *name, enum report_figure figure)
{
    const struct samples_spread spread = report_figure_spread(report, figure);
    printf("  %-22s %14.1f %14.1f %14.1f\n", name, spread.min, spread.median, spread.max);
}

static void report_table_peers(const struct report *report)
{
    const double mb = report_figure_spread(report, REPORT_MB_PER_S).median;
    if (report->limit_measured)
        printf(
            "  limit: AES-256-GCM alone      %12.1f msg/s %10.1f MB/s   engine at %5.1f %% of it\n",
            report_rate_messages(&report->limit), report_rate_mb(&report->limit),
            100 * mb / report_rate_mb(&report->limit));
    if (report->peer_measured)
        printf("  peer: OpenSSL CMS, 1 thread   %12.1f msg/s %10.1f MB/s   engine is  %5.1f × it\n",
               report_rate_messages(&report->peer), report_rate_mb(&report->peer),
               mb / report_rate_mb(&report->peer));
}

void report_table(const struct report *report)
{
    const struct load_config *config = report->config;
    printf("bulla-bench: %s, %u client(s), ", report->mail, config->clients_count);
    if (config->rate_per_s > 0)
        printf("open loop at %.0f msg/s", config->rate_per_s);
    else
        printf("queue kept full");
    printf(", %u of %u worker(s) busy", report->workers_active, report->workers_count);
    printf(", %u run(s) of %.1f s\n\n", report->runs_count, report->runs[0].seconds);
    printf("  %-22s %14s %14s %14s\n", "", "min", "median", "max");
    report_row(report, "messages/s", REPORT_MESSAGES_PER_S);
    report_row(report, "MB/s of original mail", REPORT_MB_PER_S);
    printf("  %-22s %14s %14.1f\n", "messages/s per worker", "",
           report_per_worker(report, REPORT_MESSAGES_PER_S));
    printf("  %-22s %14s %14.1f\n", "MB/s per worker", "",
           report_per_worker(report, REPORT_MB_PER_S));
    if (config->rate_per_s > 0) {
        report_row(report, "latency p50, µs", REPORT_P50_US);
        report_row(report, "latency p90, µs", REPORT_P90_US);
        report_row(report, "latency p99, µs", REPORT_P99_US);
        report_row(report, "latency p99.9, µs", REPORT_P999_US);
        report_row(report, "latency max, µs", REPORT_MAX_US);
    } else {
        printf("  (latency needs an open loop: give --rate)\n");
    }
    printf("\n  shared memory in huge pages: %.0f MiB\n", report->runs[0].shared_huge_mib);
    report_table_peers(report);
    for (uint32_t i = 0; i < report->runs_count; i++) {
        const struct load_result *run = &report->runs[i];
        /* A few that fell due in the last moment are no overload. */
        if ((double)run->backlog_count > REPORT_OVERLOAD_SHARE * run->offered_per_s * run->seconds)
            printf("  run %u: OVERLOADED: %.0f msg/s fell due, %lu were never handed over\n", i + 1,
                   run->offered_per_s, (unsigned long)run->backlog_count);
        if (run->other_count > 0 || run->unanswered_count > 0)
            printf("  run %u: %lu not sealed, %lu unanswered; first: %s\n", i + 1,
                   (unsigned long)run->other_count, (unsigned long)run->unanswered_count,
                   run->other_text);
    }
}

static json_t *report_json_run(const struct load_result *run)
{
    json_t *object =
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f}", "sealed",
                  (json_int_t)run->sealed_count, "not_sealed", (json_int_t)run->other_count,
                  "unanswered", (json_int_t)run->unanswered_count, "backlog",
                  (json_int_t)run->backlog_count, "mail_bytes", (json_int_t)run->mail_bytes,
                  "sealed_bytes", (json_int_t)run->sealed_bytes, "seconds", run->seconds,
                  "offered_per_s", run->offered_per_s);
    if (object != NULL)
        (void)json_object_set_new(object, "shared_huge_mib", json_real(run->shared_huge_mib));
    if (object != NULL)
        (void)json_object_set_new(
            object, "worker_preemptions_per_s",
            run->worker_preempted_per_s < 0 ? json_null() : json_real(run->worker_preempted_per_s));
    for (int figure = 0; figure < REPORT_FIGURES && object != NULL; figure++)
        (void)json_object_set_new(object, report_names[figure],
                                  json_real(report_value(run, (enum report_figure)figure)));
    return object;
}

static json_t *report_json_rate(const struct peer_rate *rate)
{
    return json_pack("{s:f, s:f, s:f}", "messages_per_s", report_rate_messages(rate), "mb_per_s",
                     report_rate_mb(rate), "seconds", rate->seconds);
}

/* What was asked for, and what the engine made of it. */
static void report_json_setting(json_t *root, const struct report *report)
{
    const struct load_config *config = report->config;
    (void)json_object_set_new(root, "unix_s", json_integer((json_int_t)time(NULL)));
    (void)json_object_set_new(root, "clients", json_integer(config->clients_count));
    (void)json_object_set_new(root, "rate_per_s", json_real(config->rate_per_s));
    (void)json_object_set_new(root, "workers", json_integer(report->workers_count));
    (void)json_object_set_new(root, "workers_active", json_integer(report->workers_active));
    (void)json_object_set_new(root, "messages_per_s_per_worker",
                              json_real(report_per_worker(report, REPORT_MESSAGES_PER_S)));
    (void)json_object_set_new(root, "mb_per_s_per_worker",
                              json_real(report_per_worker(report, REPORT_MB_PER_S)));
}

int report_json(const struct report *report, const char *path)
{
    json_t *runs = json_array();
    json_t *summary = json_object();
    if (runs == NULL || summary == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < report->runs_count; i++)
        (void)json_array_append_new(runs, report_json_run(&report->runs[i]));
    for (int figure = 0; figure < REPORT_FIGURES; figure++) {
        const struct samples_spread spread =
            report_figure_spread(report, (enum report_figure)figure);
        (void)json_object_set_new(summary, report_names[figure],
                                  json_pack("{s:f, s:f, s:f}", "min", spread.min, "median",
                                            spread.median, "max", spread.max));
    }
    json_t *root =
        json_pack("{s:s, s:o, s:s, s:o, s:o}", "tool", "bulla-bench", "machine", machine_json(),
                  "mail", report->mail, "summary", summary, "runs", runs);
    if (root == NULL)
        return -ENOMEM;
    report_json_setting(root, report);
    if (report->limit_measured)
        (void)json_object_set_new(root, "limit_aes_256_gcm", report_json_rate(&report->limit));
    if (report->peer_measured)
        (void)json_object_set_new(root, "peer_openssl_cms", report_json_rate(&report->peer));
    const int rc = json_dump_file(root, path, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    json_decref(root);
    return rc == 0 ? 0 : -EIO;
}
