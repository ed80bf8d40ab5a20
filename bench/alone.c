#include "bench/alone.h"

#include "bench/engine_view.h"

#include <stdlib.h>

void alone_begin(struct alone *alone, struct spawn *engine)
{
    cpu_set_t one;
    struct engine_view *view = calloc(1, sizeof(*view));
    *alone = (struct alone){.engine = NULL};
    if (view != NULL && engine != NULL && engine_view_take(view, engine->socket_path) == 0 &&
        view->workers_count > 0 &&
        sched_getaffinity(0, sizeof(alone->before), &alone->before) == 0) {
        CPU_ZERO(&one);
        CPU_SET(view->workers[0].cpu, &one);
        alone->engine = engine;
        spawn_halt(engine);
        (void)sched_setaffinity(0, sizeof(one), &one);
    }
    free(view);
}

void alone_end(struct alone *alone)
{
    if (alone->engine == NULL)
        return;
    (void)sched_setaffinity(0, sizeof(alone->before), &alone->before);
    spawn_go_on(alone->engine);
    alone->engine = NULL;
}
