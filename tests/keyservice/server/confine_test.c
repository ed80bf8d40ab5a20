/* What a confined process can and cannot do: each probe in a process of its own. */
#include "keyservice/server/confine.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define PATH_BYTES 256
#define NO_SIGNAL  0

struct scene {
    char folder[PATH_BYTES];
    char inside[PATH_BYTES]; /* of the folder that may be written */
    char secret[PATH_BYTES]; /* beside it */
    int listener;            /* a port that may be connected to, and one that may not */
    int other;
    uint16_t port;
    uint16_t other_port;
};

/* Returns 0 when it went as it should. */
typedef int probe(const struct scene *scene);

static int listener_make(uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t bytes = sizeof(address);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, bytes), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &bytes), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

static int scene_make(void **state)
{
    static struct scene scene;
    char writable[PATH_BYTES];
    (void)snprintf(scene.folder, sizeof(scene.folder), "/tmp/bulla-confine-XXXXXX");
    assert_non_null(mkdtemp(scene.folder));
    assert_int_equal(chmod(scene.folder, 0755), 0);
    assert_true(snprintf(writable, sizeof(writable), "%.200s/data", scene.folder) > 0);
    assert_true(snprintf(scene.inside, sizeof(scene.inside), "%.200s/data/file", scene.folder) > 0);
    assert_true(snprintf(scene.secret, sizeof(scene.secret), "%.200s/secret", scene.folder) > 0);
    assert_int_equal(mkdir(writable, 0777), 0);
    const int fd = open(scene.secret, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_int_equal(write(fd, "secret", 6), 6);
    assert_int_equal(close(fd), 0);
    scene.listener = listener_make(&scene.port);
    scene.other = listener_make(&scene.other_port);
    *state = &scene;
    return 0;
}

static int scene_end(void **state)
{
    struct scene *scene = *state;
    (void)close(scene->listener);
    (void)close(scene->other);
    (void)unlink(scene->inside);
    (void)unlink(scene->secret);
    *strrchr(scene->inside, '/') = '\0';
    (void)rmdir(scene->inside);
    (void)rmdir(scene->folder);
    return 0;
}

static int files_confine(const struct scene *scene, struct confine_result *result)
{
    char why[CONFINE_WHY_BYTES] = "";
    char writable[PATH_BYTES];
    (void)snprintf(writable, sizeof(writable), "%.200s/data", scene->folder);
    const struct confine_path paths[] = {{writable, CONFINE_WRITES},
                                         {"/no/such/place", CONFINE_READS}};
    const struct confine_config config = {
        .paths = paths, .paths_count = 2, .ports = &scene->port, .ports_count = 1};
    return confine_files(&config, result, why);
}

/* Runs `look` confined; expects the signal that ends it, or that it returns 0. */
static void confined(void **state, probe *look, bool calls, int signal_expected)
{
    const struct scene *scene = *state;
    int status = 0;
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        char why[CONFINE_WHY_BYTES] = "";
        struct confine_result result = {0};
        const int rc = files_confine(scene, &result);
        if (rc == -ENOTSUP)
            _exit(77);
        if (rc != 0 || (calls && confine_calls(&result, why) != 0))
            _exit(99);
        if (calls && !result.seccomp)
            _exit(77); /* a build with sanitizers */
        _exit(look(scene));
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        skip();
    if (signal_expected != NO_SIGNAL) {
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), signal_expected);
        return;
    }
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static int look_at_files(const struct scene *scene)
{
    char other[PATH_BYTES];
    if (open(scene->secret, O_RDONLY | O_CLOEXEC) >= 0 || errno != EACCES)
        return 1;
    if (open("/etc/shadow", O_RDONLY | O_CLOEXEC) >= 0)
        return 2;
    const int fd = open(scene->inside, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, "x", 1) != 1 || ftruncate(fd, 0) != 0)
        return 3;
    (void)snprintf(other, sizeof(other), "%.200s/moved", scene->folder);
    if (rename(scene->inside, other) == 0 || unlink(scene->secret) == 0 || mkdir(other, 0700) == 0)
        return 4;
    const int hosts = open("/etc/hosts", O_RDONLY | O_CLOEXEC);
    if (hosts < 0 || open("/etc/hosts", O_WRONLY | O_CLOEXEC) >= 0)
        return 5;
    return unlink(scene->inside) == 0 ? 0 : 6;
}

static int connect_to(uint16_t port)
{
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int rc =
        connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 ? 0 : -errno;
    (void)close(fd);
    return rc;
}

static int look_at_ports(const struct scene *scene)
{
    if (connect_to(scene->port) != 0)
        return 1;
    return connect_to(scene->other_port) == -EACCES ? 0 : 2;
}

static void *thread_nothing(void *argument)
{
    return argument;
}

static int look_at_ordinary_calls(const struct scene *scene)
{
    pthread_t thread;
    void *result = NULL;
    struct addrinfo *found = NULL;
    if (pthread_create(&thread, NULL, thread_nothing, NULL) != 0 ||
        pthread_join(thread, &result) != 0 || result != NULL)
        return 1;
    if (getaddrinfo("localhost", "25", NULL, &found) != 0)
        return 2;
    freeaddrinfo(found);
    const int fd = open(scene->inside, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || pwrite(fd, "x", 1, 0) != 1 || fdatasync(fd) != 0 || unlink(scene->inside) != 0)
        return 3;
    return 0;
}

static int look_at_refused_calls(const struct scene *scene)
{
    (void)scene;
    if (socket(AF_PACKET, SOCK_RAW, 0) >= 0 || errno != EPERM)
        return 1;
    if (mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
        MAP_FAILED)
        return 2;
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED || mprotect(page, 4096, PROT_READ | PROT_EXEC) == 0)
        return 3;
    if (chmod("/tmp", 0777) == 0 || errno != EPERM)
        return 4;
    return fork() == -1 && errno == EPERM ? 0 : 5;
}

static int look_at_execution(const struct scene *scene)
{
    char *const arguments[] = {(char *)(uintptr_t) "true", NULL};
    (void)scene;
    (void)execv("/bin/true", arguments);
    return errno == EACCES ? 0 : 1; /* Landlock's answer, where seccomp is not there */
}

static int look_at_becoming_root(const struct scene *scene)
{
    (void)scene;
    return setuid(0) == 0 ? 1 : 2;
}

static void files_and_folders_that_are_not_named_are_out_of_reach(void **state)
{
    confined(state, look_at_files, false, NO_SIGNAL);
}

static void only_the_named_ports_can_be_connected_to(void **state)
{
    confined(state, look_at_ports, false, NO_SIGNAL);
}

static void nothing_can_be_executed_even_without_the_filter_of_calls(void **state)
{
    confined(state, look_at_execution, false, NO_SIGNAL);
}

static void what_the_service_does_still_works(void **state)
{
    confined(state, look_at_ordinary_calls, true, NO_SIGNAL);
}

static void other_calls_are_refused(void **state)
{
    confined(state, look_at_refused_calls, true, NO_SIGNAL);
}

static void an_intruders_calls_end_the_process(void **state)
{
    confined(state, look_at_execution, true, SIGSYS);
    confined(state, look_at_becoming_root, true, SIGSYS);
}

static void root_becomes_the_named_user_for_good(void **state)
{
    int status = 0;
    (void)state;
    if (geteuid() != 0)
        skip();
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        char why[CONFINE_WHY_BYTES] = "";
        if (confine_user("no-such-user-here", why) != -ENOENT || strstr(why, "adduser") == NULL)
            _exit(1);
        if (confine_user("nobody", why) != 0 || geteuid() == 0 || getegid() == 0)
            _exit(2);
        _exit(getgroups(0, NULL) == 0 && setuid(0) != 0 && setgid(0) != 0 ? 0 : 3);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(files_and_folders_that_are_not_named_are_out_of_reach,
                                        scene_make, scene_end),
        cmocka_unit_test_setup_teardown(only_the_named_ports_can_be_connected_to, scene_make,
                                        scene_end),
        cmocka_unit_test_setup_teardown(nothing_can_be_executed_even_without_the_filter_of_calls,
                                        scene_make, scene_end),
        cmocka_unit_test_setup_teardown(what_the_service_does_still_works, scene_make, scene_end),
        cmocka_unit_test_setup_teardown(other_calls_are_refused, scene_make, scene_end),
        cmocka_unit_test_setup_teardown(an_intruders_calls_end_the_process, scene_make, scene_end),
        cmocka_unit_test(root_becomes_the_named_user_for_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
