/* bulla queue: what waits in the engine's spool, as postqueue and postsuper show and change it. */
#include "mta/bulla.h"
#include "tools/bulla/command.h"
#include "tools/bulla/control.h"
#include "tools/bulla/queue_print.h"

#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define QUEUE_QUESTION_BYTES 96
#define QUEUE_CURSOR_BYTES   32
#define QUEUE_ID_CHARS       32
#define QUEUE_RETRY_MS       50 /* while another command is under way */
#define QUEUE_ROUNDS_MAX     5  /* of all, while some are busy        */
#define QUEUE_ROUND_S        1

static const char queue_usage[] =
    "usage: bulla queue list [--json] [--brief] [--after CURSOR] [--limit N]\n"
    "       bulla queue show [--json] ID...\n"
    "       bulla queue hold | release | remove   ID... | --all\n"
    "       bulla queue flush\n"
    "       bulla queue stats [--json]\n"
    "  --json         for programs: one object a message, each on a line\n"
    "  --brief        without sender and recipient, which must be read from the disk\n"
    "  --after CURSOR goes on where --limit ended\n"
    "  --limit N      messages at the most                             [all]\n"
    "  --all          every message that waits\n"
    "  --socket PATH  of the engine          [$BULLA_SOCKET; " BULLA_SOCKET_DEFAULT "]\n"
    "hold: is not tried and never ends, until it is released. remove: tells nobody.\n"
    "flush: all that waits for its next try is tried now.\n"
    "exit: 0 done, 65 no such message, 75 try again, 77 not allowed, 78 the engine has no\n"
    "      spool, 64 command line\n";

struct queue_options {
    const char *socket_path;
    const char *after;
    uint64_t limit; /* 0: all */
    bool as_json;
    bool brief;
    bool all;
};

struct queue {
    const struct queue_options *options;
    int session;
};

/* What the engine's refusal means for the caller. */
static int queue_refused(const json_t *answer)
{
    static const struct {
        const char *code;
        int exit_status;
        const char *mend;
    } refusals[] = {
        {"denied", EX_NOPERM, ": be one of them, or add this user to allow_users"},
        {"no_spool", EX_CONFIG, ": set spool in bulla.conf's engine section"},
        {"not_found", EX_DATAERR, ""},
        {"busy", EX_TEMPFAIL, ": try again"},
        {"in_use", EX_TEMPFAIL, ": try again"},
        {"io", EX_TEMPFAIL, ": see the engine's log, and try again"},
    };
    const char *code = json_string_value(json_object_get(answer, "code"));
    const char *why = json_string_value(json_object_get(answer, "error"));
    for (size_t n = 0; code != NULL && why != NULL && n < ARRAY_COUNT(refusals); n++) {
        if (strcmp(code, refusals[n].code) == 0)
            return command_fail(refusals[n].exit_status, "%s%s", why, refusals[n].mend);
    }
    return command_fail(EX_UNAVAILABLE, "the engine does not know this command: install the same "
                                        "version");
}

static bool queue_in_use(const json_t *answer)
{
    const char *code = json_string_value(json_object_get(answer, "code"));
    return code != NULL && strcmp(code, "in_use") == 0;
}

/* -1 and an answer that is no refusal, or the exit status. */
static int queue_ask(const struct queue *queue, const char *question, json_t **answer)
{
    const struct timespec pause = {.tv_nsec = QUEUE_RETRY_MS * 1000000L};
    json_t *got = NULL;
    int rc = control_ask(queue->session, question, &got);
    for (uint32_t n = 0; rc == 0 && queue_in_use(got) && n < CONTROL_WAIT_MS / QUEUE_RETRY_MS;
         n++) {
        json_decref(got);
        got = NULL;
        (void)nanosleep(&pause, NULL);
        rc = control_ask(queue->session, question, &got);
    }
    if (rc != 0)
        return control_failed(rc, queue->options->socket_path);
    if (json_object_get(got, "error") != NULL) {
        const int exit_status = queue_refused(got);
        json_decref(got);
        return exit_status;
    }
    *answer = got;
    return -1;
}

static void queue_json_line(const json_t *message)
{
    (void)json_dumpf(message, stdout, JSON_COMPACT);
    (void)fputc('\n', stdout);
}

/* Where to go on; false at the end. */
static bool queue_next(const json_t *answer, char cursor[QUEUE_CURSOR_BYTES])
{
    const char *next = json_string_value(json_object_get(answer, "next"));
    return next != NULL && snprintf(cursor, QUEUE_CURSOR_BYTES, "%s", next) < QUEUE_CURSOR_BYTES;
}

struct queue_total {
    uint64_t messages_count;
    uint64_t bytes;
};

static void queue_print_page(const struct queue *queue, const json_t *answer,
                             struct queue_total *total)
{
    const json_t *messages = json_object_get(answer, "messages");
    for (size_t n = 0; n < json_array_size(messages); n++) {
        const json_t *message = json_array_get(messages, n);
        if (queue->options->as_json)
            queue_json_line(message);
        else
            queue_print_message(stdout, message);
        total->messages_count++;
        total->bytes += (uint64_t)json_integer_value(json_object_get(message, "bytes"));
    }
}

static int queue_list(const struct queue *queue)
{
    const struct queue_options *options = queue->options;
    char cursor[QUEUE_CURSOR_BYTES];
    char question[QUEUE_QUESTION_BYTES];
    struct queue_total total = {0};
    bool more = true;
    (void)snprintf(cursor, sizeof(cursor), "%s", options->after == NULL ? "0:0" : options->after);
    bool titled = options->as_json;
    while (more) {
        json_t *answer = NULL;
        const uint64_t left = options->limit - total.messages_count;
        (void)snprintf(question, sizeof(question), "queue list %s %llu%s", cursor,
                       options->limit == 0 ? 0ULL : (unsigned long long)left,
                       options->brief ? " brief" : "");
        const int exit_status = queue_ask(queue, question, &answer);
        if (exit_status >= 0)
            return exit_status;
        if (!titled)
            queue_print_title(stdout);
        titled = true;
        queue_print_page(queue, answer, &total);
        more = queue_next(answer, cursor);
        json_decref(answer);
        if (options->limit != 0 && total.messages_count >= options->limit)
            break;
    }
    if (!options->as_json)
        queue_print_total(stdout, total.messages_count, total.bytes);
    if (more)
        command_note("more may wait: go on with --after %s", cursor);
    return 0;
}

static bool queue_id_fits(const char *id)
{
    return strlen(id) == QUEUE_ID_CHARS && strspn(id, "0123456789abcdef") == QUEUE_ID_CHARS;
}

static int queue_show(const struct queue *queue, const char *id)
{
    char question[QUEUE_QUESTION_BYTES];
    json_t *answer = NULL;
    (void)snprintf(question, sizeof(question), "queue show %s", id);
    const int exit_status = queue_ask(queue, question, &answer);
    if (exit_status >= 0)
        return exit_status;
    if (queue->options->as_json)
        queue_json_line(answer);
    else
        queue_print_show(stdout, answer);
    json_decref(answer);
    return 0;
}

/* "held 1 message" */
static void queue_acted(const char *done, uint64_t count)
{
    printf("%s %llu message%s\n", done, (unsigned long long)count, count == 1 ? "" : "s");
}

/* Once through all that waits; adds to *done_count. */
static int queue_round(const struct queue *queue, const char *verb, uint64_t *done_count,
                       uint64_t *busy_count)
{
    char cursor[QUEUE_CURSOR_BYTES] = "0:0";
    char question[QUEUE_QUESTION_BYTES];
    *busy_count = 0;
    for (bool more = true; more;) {
        json_t *answer = NULL;
        (void)snprintf(question, sizeof(question), "queue %s all %s", verb, cursor);
        const int exit_status = queue_ask(queue, question, &answer);
        if (exit_status >= 0)
            return exit_status;
        *done_count += (uint64_t)json_integer_value(json_object_get(answer, "done"));
        *busy_count += (uint64_t)json_integer_value(json_object_get(answer, "busy"));
        more = queue_next(answer, cursor);
        json_decref(answer);
    }
    return -1;
}

static int queue_act_all(const struct queue *queue, const char *verb, const char *done)
{
    const struct timespec pause = {.tv_sec = QUEUE_ROUND_S};
    uint64_t done_count = 0;
    uint64_t busy_count = 0;
    for (uint32_t round = 0; round < QUEUE_ROUNDS_MAX; round++) {
        if (round > 0)
            (void)nanosleep(&pause, NULL);
        const int exit_status = queue_round(queue, verb, &done_count, &busy_count);
        if (exit_status >= 0)
            return exit_status;
        if (busy_count == 0)
            break;
    }
    queue_acted(done, done_count);
    if (busy_count == 0)
        return 0;
    return command_fail(EX_TEMPFAIL, "%llu are with a mail server or the disk now: try again",
                        (unsigned long long)busy_count);
}

/* Each of the ids; the first failure is the exit status, and the others are done all the same. */
static int queue_act(const struct queue *queue, const char *verb, const char *done, int argc,
                     char **argv)
{
    uint64_t done_count = 0;
    int worst = 0;
    for (int n = 0; n < argc; n++) {
        char question[QUEUE_QUESTION_BYTES];
        json_t *answer = NULL;
        (void)snprintf(question, sizeof(question), "queue %s %s", verb, argv[n]);
        const int exit_status =
            done == NULL ? queue_show(queue, argv[n]) : queue_ask(queue, question, &answer);
        json_decref(answer);
        done_count += exit_status < 0;
        if (exit_status > 0) {
            command_note("that was %s", argv[n]);
            worst = worst == 0 ? exit_status : worst;
        }
    }
    if (done != NULL)
        queue_acted(done, done_count);
    return worst;
}

static int queue_flush(const struct queue *queue)
{
    json_t *answer = NULL;
    const int exit_status = queue_ask(queue, "queue flush", &answer);
    if (exit_status >= 0)
        return exit_status;
    queue_acted("trying", (uint64_t)json_integer_value(json_object_get(answer, "done")));
    json_decref(answer);
    return 0;
}

static int queue_stats(const struct queue *queue)
{
    json_t *answer = NULL;
    const int exit_status = queue_ask(queue, "queue stats", &answer);
    if (exit_status >= 0)
        return exit_status;
    if (queue->options->as_json)
        queue_json_line(answer);
    else
        queue_print_stats(stdout, answer);
    json_decref(answer);
    return 0;
}

struct queue_verb {
    const char *name;
    const char *done; /* of what it changes; NULL: it shows */
    bool takes_ids;   /* one at least, or --all where that is allowed */
    bool takes_all;
};

static const struct queue_verb queue_verbs[] = {
    {"list", NULL, false, false},      {"show", NULL, true, false},
    {"hold", "held", true, true},      {"release", "released", true, true},
    {"remove", "removed", true, true}, {"flush", "trying", false, false},
    {"stats", NULL, false, false},
};

static int queue_run(const struct queue *queue, const struct queue_verb *verb, int argc,
                     char **argv)
{
    if (strcmp(verb->name, "list") == 0)
        return queue_list(queue);
    if (strcmp(verb->name, "flush") == 0)
        return queue_flush(queue);
    if (strcmp(verb->name, "stats") == 0)
        return queue_stats(queue);
    if (queue->options->all)
        return queue_act_all(queue, verb->name, verb->done);
    return queue_act(queue, verb->name, verb->done, argc, argv);
}

static int queue_check(const struct queue_options *options, const struct queue_verb *verb, int argc,
                       char **argv)
{
    const bool lists = strcmp(verb->name, "list") == 0;
    if (options->all && !verb->takes_all)
        return command_fail(EX_USAGE, "--all is for hold, release and remove");
    if (!lists && (options->after != NULL || options->limit != 0 || options->brief))
        return command_fail(EX_USAGE, "--after, --limit and --brief are for list");
    if (options->after != NULL && (strlen(options->after) >= QUEUE_CURSOR_BYTES ||
                                   strspn(options->after, "0123456789:") != strlen(options->after)))
        return command_fail(EX_USAGE, "--after takes what an earlier list ended with");
    if (!verb->takes_ids && argc > 0)
        return command_fail(EX_USAGE, "%s takes no argument; see 'bulla queue --help'", verb->name);
    if (verb->takes_ids && (argc == 0) != options->all)
        return command_fail(EX_USAGE, "%s takes ids%s; see 'bulla queue --help'", verb->name,
                            verb->takes_all ? ", or --all alone" : "");
    for (int n = 0; n < argc; n++) {
        if (!queue_id_fits(argv[n]))
            return command_fail(EX_USAGE,
                                "'%s' is no id: 32 hex digits, as 'bulla queue list' "
                                "shows them",
                                argv[n]);
    }
    return 0;
}

/* -1: go on; anything else is the exit status. */
static int queue_options_read(struct queue_options *options, int argc, char **argv)
{
    static const struct option known[] = {
        {"json", no_argument, NULL, 'j'},        {"brief", no_argument, NULL, 'b'},
        {"after", required_argument, NULL, 'a'}, {"limit", required_argument, NULL, 'l'},
        {"all", no_argument, NULL, 'A'},         {"socket", required_argument, NULL, 's'},
        {"help", no_argument, NULL, 'h'},        {NULL, 0, NULL, 0},
    };
    int option = 0;
    while ((option = getopt_long(argc, argv, ":", known, NULL)) != -1) {
        switch (option) {
        case 'j': options->as_json = true; break;
        case 'b': options->brief = true; break;
        case 'a': options->after = optarg; break;
        case 'A': options->all = true; break;
        case 's': options->socket_path = optarg; break;
        case 'l':
            options->limit = command_seconds(optarg, UINT32_MAX / 16);
            if (options->limit == 0)
                return command_fail(EX_USAGE, "--limit takes a number from 1");
            break;
        case 'h': fputs(queue_usage, stdout); return 0;
        default: return command_bad_option(option, argv);
        }
    }
    return -1;
}

int command_queue(int argc, char **argv)
{
    struct queue_options options = {.socket_path =
                                        command_environment("BULLA_SOCKET", BULLA_SOCKET_DEFAULT)};
    int exit_status = queue_options_read(&options, argc, argv);
    if (exit_status >= 0)
        return exit_status;
    const struct queue_verb *verb = NULL;
    for (size_t n = 0; optind < argc && n < ARRAY_COUNT(queue_verbs); n++) {
        if (strcmp(argv[optind], queue_verbs[n].name) == 0)
            verb = &queue_verbs[n];
    }
    if (verb == NULL)
        return command_fail(EX_USAGE, "which of list, show, hold, release, remove, flush, stats? "
                                      "see 'bulla queue --help'");
    argc -= optind + 1;
    argv += optind + 1;
    exit_status = queue_check(&options, verb, argc, argv);
    if (exit_status != 0)
        return exit_status;
    struct queue queue = {.options = &options, .session = -1};
    const int rc = control_open(&queue.session, options.socket_path);
    if (rc != 0)
        return control_failed(rc, options.socket_path);
    exit_status = queue_run(&queue, verb, argc, argv);
    control_close(queue.session);
    if (fflush(stdout) != 0 || ferror(stdout) != 0)
        return command_fail(EX_IOERR, "the answer cannot be written");
    return exit_status;
}
