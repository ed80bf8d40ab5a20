#include "engine/status.h"

#include "engine/eal.h"

#include <jansson.h>
#include <rte_telemetry.h>
#include <stdlib.h>
#include <unistd.h>

/* The telemetry thread's callbacks carry no pointer of ours; NULL: no engine. */
static _Atomic(const struct engine *) status_engine;

static uint64_t status_total(const struct engine *engine, enum worker_counter counter)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < engine->workers_count; i++)
        total += worker_counter(engine->workers[i], counter);
    return total;
}

static uint64_t status_uptime_s(const struct engine *engine)
{
    return (clock_monotonic_ns() - engine->started_ns) / NS_PER_S;
}

static void status_set(json_t *object, const char *name, uint64_t value)
{
    (void)json_object_set_new(object, name, json_integer((json_int_t)value));
}

static json_t *status_workers(const struct engine *engine)
{
    json_t *workers = json_array();
    for (uint32_t i = 0; i < engine->workers_count; i++) {
        json_t *worker = json_object();
        status_set(worker, "cpu", engine->placement.workers[i].cpu);
        status_set(worker, "node", engine->placement.workers[i].node);
        for (uint32_t c = 0; c < WORKER_COUNTERS; c++)
            status_set(worker, worker_counter_name((enum worker_counter)c),
                       worker_counter(engine->workers[i], (enum worker_counter)c));
        (void)json_array_append_new(workers, worker);
    }
    return workers;
}

static bool status_key_up(const struct engine *engine, uint32_t service, uint64_t *stored)
{
    bool up = true;
    *stored = 0;
    for (uint32_t n = 0; n < engine->placement.nodes_count; n++) {
        const struct key_thread *thread = engine->keys[service * PLACEMENT_NODES_MAX + n];
        up = up && key_thread_up(thread);
        *stored += key_thread_stored(thread);
    }
    return up;
}

static json_t *status_keys(const struct engine *engine)
{
    json_t *services = json_array();
    for (uint32_t k = 0; k < engine->config.key_services_count; k++) {
        json_t *service = json_object();
        uint64_t stored;
        const bool up = status_key_up(engine, k, &stored);
        (void)json_object_set_new(service, "name",
                                  json_string(engine->config.key_services[k].name));
        (void)json_object_set_new(service, "up", json_boolean(up));
        status_set(service, "stored", stored);
        (void)json_array_append_new(services, service);
    }
    return services;
}

char *status_json(const struct engine *engine)
{
    json_t *root = json_object();
    (void)json_object_set_new(root, "version", json_string(BULLA_VERSION));
    status_set(root, "pid", (uint64_t)getpid());
    status_set(root, "uptime_s", status_uptime_s(engine));
    status_set(root, "generation", atomic_load_explicit(&engine->generation, memory_order_relaxed));
    status_set(root, "sessions", atomic_load_explicit(&engine->sessions, memory_order_relaxed));
    (void)json_object_set_new(
        root, "draining",
        json_boolean(atomic_load_explicit(&engine->draining, memory_order_relaxed) != 0));
    (void)json_object_set_new(root, "hugepages", json_boolean(eal_uses_hugepages()));
    status_set(root, "sealed", status_total(engine, COUNTER_SEALED));
    status_set(root, "refused", status_total(engine, COUNTER_REFUSED));
    status_set(root, "retried", status_total(engine, COUNTER_RETRIED));
    status_set(root, "queued", status_total(engine, COUNTER_QUEUED));
    status_set(root, "emitted", status_total(engine, COUNTER_EMITTED));
    status_set(root, "waiting", status_total(engine, COUNTER_WAITING));
    status_set(root, "held", status_total(engine, COUNTER_HELD));
    (void)json_object_set_new(root, "key_services", status_keys(engine));
    (void)json_object_set_new(root, "workers", status_workers(engine));
    char *text = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    return text;
}

static int status_tell(const char *command, const char *parameters, struct rte_tel_data *data)
{
    const struct engine *engine = atomic_load(&status_engine);
    (void)command;
    (void)parameters;
    if (engine == NULL)
        return -1;
    (void)rte_tel_data_start_dict(data);
    (void)rte_tel_data_add_dict_string(data, "version", BULLA_VERSION);
    (void)rte_tel_data_add_dict_u64(data, "uptime_s", status_uptime_s(engine));
    (void)rte_tel_data_add_dict_u64(data, "generation", atomic_load(&engine->generation));
    (void)rte_tel_data_add_dict_u64(data, "sessions", atomic_load(&engine->sessions));
    (void)rte_tel_data_add_dict_u64(data, "workers", engine->workers_count);
    for (uint32_t c = 0; c < WORKER_COUNTERS; c++)
        (void)rte_tel_data_add_dict_u64(data, worker_counter_name((enum worker_counter)c),
                                        status_total(engine, (enum worker_counter)c));
    return 0;
}

static int status_tell_workers(const char *command, const char *parameters,
                               struct rte_tel_data *data)
{
    const struct engine *engine = atomic_load(&status_engine);
    (void)command;
    (void)parameters;
    if (engine == NULL)
        return -1;
    (void)rte_tel_data_start_array(data, RTE_TEL_INT_VAL);
    for (uint32_t i = 0; i < engine->workers_count; i++)
        (void)rte_tel_data_add_array_int(data, (int)i);
    return 0;
}

static int status_tell_worker(const char *command, const char *parameters,
                              struct rte_tel_data *data)
{
    const struct engine *engine = atomic_load(&status_engine);
    char *end;
    (void)command;
    if (engine == NULL || parameters == NULL || *parameters < '0' || *parameters > '9')
        return -1;
    const unsigned long index = strtoul(parameters, &end, 10);
    if (*end != '\0' || index >= engine->workers_count)
        return -1;
    (void)rte_tel_data_start_dict(data);
    (void)rte_tel_data_add_dict_u64(data, "cpu", engine->placement.workers[index].cpu);
    (void)rte_tel_data_add_dict_u64(data, "node", engine->placement.workers[index].node);
    for (uint32_t c = 0; c < WORKER_COUNTERS; c++)
        (void)rte_tel_data_add_dict_u64(data, worker_counter_name((enum worker_counter)c),
                                        worker_counter(engine->workers[index],
                                                       (enum worker_counter)c));
    return 0;
}

void status_open(const struct engine *engine)
{
    atomic_store(&status_engine, engine);
    (void)rte_telemetry_register_cmd("/bulla/status", status_tell,
                                     "Totals of all workers. Takes no parameters");
    (void)rte_telemetry_register_cmd("/bulla/workers", status_tell_workers,
                                     "The workers' numbers. Takes no parameters");
    (void)rte_telemetry_register_cmd("/bulla/worker", status_tell_worker,
                                     "One worker's counters. Parameter: its number");
}

void status_close(void)
{
    atomic_store(&status_engine, NULL);
}
