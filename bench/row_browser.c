/* The row browser: what bench/web's runner measures of a sealed mail in real browsers. */
#include "bench/suite.h"

#include "bench/process.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BROWSER_RUNNER       BULLA_SOURCE_DIR "/bench/web/opener_bench.mjs"
#define BROWSER_TIMEOUT_S    240
#define BROWSER_ANSWER_BYTES (256 * 1024)

static const struct {
    const char *browser;
    const char *figure; /* in the runner's JSON */
    const char *name;
    const char *unit;
    double target;
} browser_claims[] = {
    {"chromium", "usable_s", "in the browser, 25 MiB, Chromium: usable after load", "s", 0.2},
    {"chromium", "shown_s", "in the browser, 25 MiB, Chromium: click with key in hand to shown",
     "s", 1},
    {"chromium", "peak_renderer_mb", "in the browser, 25 MiB, Chromium: renderer peak", "MB", 350},
    {"firefox", "usable_s", "in the browser, 25 MiB, Firefox: usable after load", "s", 0.2},
    {"firefox", "shown_s", "in the browser, 25 MiB, Firefox: click with key in hand to shown", "s",
     1},
    {"firefox", "peak_renderer_mb", "in the browser, 25 MiB, Firefox: renderer peak", "MB", 350},
};

/* The line of the runner's words that names the error. */
static void browser_say_log(struct suite *suite, const char *log_path)
{
    char line[MAILSET_WHY_BYTES];
    FILE *file = fopen(log_path, "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        if (strstr(line, "Error:") != NULL)
            (void)snprintf(suite->why, sizeof(suite->why), "the browsers' runner: %.*s",
                           (int)MIN(strcspn(line, "\n"), (size_t)200), line);
    if (file != NULL)
        (void)fclose(file);
}

/* The runner's JSON, or NULL with a reason. */
static json_t *browser_run(struct suite *suite)
{
    const char *const command[] = {"node",    BROWSER_RUNNER,
                                   "--build", BULLA_BINARY_DIR,
                                   "--runs",  suite->is_short ? "1" : "5",
                                   NULL};
    if (access(BROWSER_RUNNER, R_OK) != 0 || !process_on_path("node")) {
        (void)snprintf(suite->why, sizeof(suite->why),
                       "no runner for browsers here, or no node to run it");
        return NULL;
    }
    char log_path[SPAWN_PATH_BYTES + 16];
    (void)snprintf(log_path, sizeof(log_path), "%s/browser.log", suite->folder);
    (void)setenv("BULLA_NODE_MODULES", BULLA_NODE_MODULES, 0);
    char *answer = malloc(BROWSER_ANSWER_BYTES);
    json_t *figures = NULL;
    const int rc = answer == NULL ? -ENOMEM
                                  : process_run(command, log_path, BROWSER_TIMEOUT_S, answer,
                                                BROWSER_ANSWER_BYTES);
    if (rc == 0)
        figures = json_loads(answer, 0, NULL);
    if (figures == NULL) {
        (void)snprintf(suite->why, sizeof(suite->why), "the browsers' runner gave no figures: %s",
                       rc == 0 ? "no JSON" : strerror(-rc));
        browser_say_log(suite, log_path);
    }
    free(answer);
    return figures;
}

/* {"browsers": {"chromium": {"usable_s": {"min": , "median": , "max": }, ...}, ...}}; a browser
 * that is not there, or the whole, is {"skipped": why}. Of the runs these three are all that is
 * given. */
void row_browser(struct suite *suite)
{
    static const char *const given[] = {"min", "median", "max"};
    json_t *figures = NULL;
    if (suite_wants(suite, "browser"))
        figures = browser_run(suite);
    const char *none = json_string_value(json_object_get(figures, "skipped"));
    for (size_t i = 0; i < ARRAY_COUNT(browser_claims); i++) {
        struct claim claim = {.row = "browser",
                              .name = browser_claims[i].name,
                              .unit = browser_claims[i].unit,
                              .compare = CLAIM_AT_MOST,
                              .target = browser_claims[i].target};
        const json_t *browser =
            json_object_get(json_object_get(figures, "browsers"), browser_claims[i].browser);
        const json_t *figure = json_object_get(browser, browser_claims[i].figure);
        const char *why = json_string_value(json_object_get(browser, "skipped"));
        bool sound = figure != NULL;
        for (size_t k = 0; sound && k < ARRAY_COUNT(given); k++) {
            const double value = json_number_value(json_object_get(figure, given[k]));
            sound = value > 0;
            samples_add(&claim.runs, value);
        }
        if (sound)
            claims_add(suite->claims, &claim);
        else
            suite_miss(suite, &claim,
                       why != NULL    ? why
                       : none != NULL ? none
                                      : "the runner gave no figure for it");
    }
    if (figures != NULL)
        (void)json_object_set_new(suite->figures, "browser", figures);
}
