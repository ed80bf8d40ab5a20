#include "tests/engine/inside.h"

#include "base/log.h"
#include "engine/control.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct serving {
    struct inside *inside;
    void (*clients)(struct inside *inside);
};

/* Before any thread starts, the key service's among them: control alone reads signals. */
static void signals_block(void)
{
    sigset_t signals;
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGHUP);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGINT);
    assert_int_equal(pthread_sigmask(SIG_BLOCK, &signals, NULL), 0);
}

void inside_open(struct inside *inside, const char *engine)
{
    static struct config config; /* large */
    char why[ENGINE_WHY_BYTES] = "";
    struct daemon *daemon = &inside->daemon;
    memset(inside, 0, sizeof(*inside));
    signals_block();
    daemon->service = stand_in_open();
    const char *folder = stand_in_folder(daemon->service);
    (void)snprintf(daemon->socket, sizeof(daemon->socket), "%s/e.sock", folder);
    (void)snprintf(daemon->config, sizeof(daemon->config), "%s/bulla.conf", folder);
    daemon_write_config(daemon, engine, "");
    if (config_load(&config, daemon->config, why) != 0)
        fail_msg("%s", why);
    log_init("inside", config.engine.log_level);
    if (engine_start(&inside->engine, daemon->config, &config, why) != 0)
        fail_msg("%s", why);
}

static void *serving_main(void *user)
{
    const struct serving *serving = user;
    serving->clients(serving->inside);
    assert_int_equal(kill(getpid(), SIGTERM), 0);
    return NULL;
}

void inside_run(struct inside *inside, void (*clients)(struct inside *inside))
{
    struct serving serving = {.inside = inside, .clients = clients};
    struct control *control;
    char why[ENGINE_WHY_BYTES] = "";
    pthread_t thread;
    if (control_open(&control, &inside->engine, why) != 0)
        fail_msg("%s", why);
    assert_int_equal(pthread_create(&thread, NULL, serving_main, &serving), 0);
    assert_int_equal(control_run(control), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    engine_stop(&inside->engine);
    control_close(control);
}

void inside_close(struct inside *inside)
{
    daemon_fini(&inside->daemon);
}
