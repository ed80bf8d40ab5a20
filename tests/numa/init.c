/* The first and only program of a NUMA guest: makes it a machine, runs the check, switches it off.
 *
 * The kernel's command line may say bulla.hugepages=N, which reserves N pages of 2 MiB on each
 * node, and lets shared memory have huge ones where it is advised. */
#include "base/macros.h"
#include "tests/numa/guest.h"

#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define NODES_MAX 16

static void mount_all(void)
{
    static const char *const mounts[][2] = {
        {"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/tmp"}};
    for (size_t i = 0; i < ARRAY_COUNT(mounts); i++) {
        (void)mkdir(mounts[i][1], 0755);
        if (mount(mounts[i][0], mounts[i][1], mounts[i][0], 0, NULL) != 0)
            perror(mounts[i][1]);
    }
}

static void loopback_up(void)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) != 0)
        perror("lo");
    if (fd >= 0)
        (void)close(fd);
}

static unsigned long wanted_hugepages(void)
{
    static const char name[] = "bulla.hugepages=";
    char line[1024] = "";
    FILE *file = fopen("/proc/cmdline", "re");
    if (file == NULL || fgets(line, sizeof(line), file) == NULL)
        line[0] = '\0';
    if (file != NULL)
        (void)fclose(file);
    const char *at = strstr(line, name);
    return at == NULL ? 0 : strtoul(at + sizeof(name) - 1, NULL, 10);
}

/* A node without memory has none to reserve, and says so. */
static void reserve_hugepages(unsigned long count)
{
    for (unsigned n = 0; n < NODES_MAX && count > 0; n++) {
        char path[128];
        (void)snprintf(path, sizeof(path),
                       "/sys/devices/system/node/node%u/hugepages/hugepages-2048kB/nr_hugepages",
                       n);
        FILE *file = fopen(path, "we");
        if (file == NULL)
            continue;
        (void)fprintf(file, "%lu\n", count);
        (void)fclose(file);
    }
}

static void allow_shared_hugepages(void)
{
    FILE *file = fopen("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "we");
    if (file == NULL || fputs("advise", file) == EOF || fclose(file) != 0)
        perror("shmem_enabled");
}

int main(void)
{
    static const char host[] = "guest.example.com";
    int status = -1;
    mount_all();
    loopback_up();
    if (sethostname(host, sizeof(host) - 1) != 0)
        perror(host);
    reserve_hugepages(wanted_hugepages());
    if (wanted_hugepages() > 0)
        allow_shared_hugepages();
    const pid_t pid = fork();
    if (pid == 0) {
        const int rc = guest_check();
        (void)fflush(stdout);
        _exit(rc == 0 ? 0 : 1);
    }
    if (pid > 0)
        (void)waitpid(pid, &status, 0);
    (void)printf("guest %s\n", status == 0 ? "done" : "failed");
    (void)fflush(stdout);
    (void)tcdrain(STDOUT_FILENO);
    sync();
    (void)reboot(RB_POWER_OFF);
    return 1;
}
