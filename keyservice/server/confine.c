#include "keyservice/server/confine.h"

#include "base/startup.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/landlock.h>
#include <pwd.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Of later kernels than the headers', numbered as in the kernel's include/uapi/linux/landlock.h. */
#define FS_TRUNCATE     (UINT64_C(1) << 14)
#define FS_IOCTL_DEV    (UINT64_C(1) << 15)
#define NET_BIND        (UINT64_C(1) << 0)
#define NET_CONNECT     (UINT64_C(1) << 1)
#define SCOPE_ABSTRACT  (UINT64_C(1) << 0)
#define SCOPE_SIGNAL    (UINT64_C(1) << 1)
#define RULE_NET_PORT   2
#define VERSION_REFER   2
#define VERSION_TRUNC   3
#define VERSION_NET     4
#define VERSION_IOCTL   5
#define VERSION_SCOPE   6
#define FS_ALL_VERSION1 ((LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1)
#define FS_READS        (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define FS_WRITES                                                                                  \
    (FS_READS | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG |                      \
     LANDLOCK_ACCESS_FS_REMOVE_FILE | FS_TRUNCATE)
#define FS_OF_A_FILE (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE)

/* Sanitizers' runtimes trace the process from within when it ends. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED true
#else
#define IS_SANITIZED false
#endif

struct ruleset_attr {
    uint64_t handled_fs;
    uint64_t handled_net;
    uint64_t scoped;
};

struct net_port_attr {
    uint64_t allowed;
    uint64_t port;
};

/* Of the system: libraries that are loaded late (name services), authorities, names and zones. None
 * of them may be executed. */
static const struct confine_path system_paths[] = {
    {"/lib", CONFINE_READS},
    {"/lib64", CONFINE_READS},
    {"/usr/lib", CONFINE_READS},
    {"/usr/lib64", CONFINE_READS},
    {"/usr/share", CONFINE_READS},
    {"/usr/local/share/ca-certificates", CONFINE_READS},
    {"/etc/ca-certificates", CONFINE_READS},
    {"/etc/crypto-policies", CONFINE_READS},
    {"/etc/gai.conf", CONFINE_READS},
    {"/etc/gnutls", CONFINE_READS},
    {"/etc/host.conf", CONFINE_READS},
    {"/etc/hosts", CONFINE_READS},
    {"/etc/ld.so.cache", CONFINE_READS},
    {"/etc/localtime", CONFINE_READS},
    {"/etc/nsswitch.conf", CONFINE_READS},
    {"/etc/passwd", CONFINE_READS}, /* libpq asks who it is */
    {"/etc/pki", CONFINE_READS},
    {"/etc/protocols", CONFINE_READS},
    {"/etc/resolv.conf", CONFINE_READS},
    {"/etc/services", CONFINE_READS},
    {"/etc/ssl", CONFINE_READS},
    {"/run/nscd", CONFINE_READS},
    {"/run/systemd/resolve", CONFINE_READS},
    {"/dev/null", CONFINE_WRITES},
    {"/dev/urandom", CONFINE_READS},
    {"/proc/self", CONFINE_READS},
    {"/proc/sys", CONFINE_READS},
    {"/sys/devices/system/cpu", CONFINE_READS},
};

/*
 * What the service and its libraries call. All else fails with EPERM, as in a system without it;
 * what only an intruder would call ends the process.
 */
/* clang-format off */
static const char *const calls_allowed[] = {
    "accept", "accept4", "access", "arch_prctl", "bind", "brk", "clock_getres",
    "clock_gettime", "clock_nanosleep", "close", "connect", "dup", "dup2", "dup3",
    "epoll_create", "epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_wait", "eventfd2",
    "exit", "exit_group", "faccessat", "faccessat2", "fadvise64", "fallocate", "fchmod",
    "fchown", "fcntl", "fdatasync", "flock", "fstat", "fstatfs", "fsync", "ftruncate",
    "futex", "getcwd", "getdents64", "getegid", "geteuid", "getgid", "getitimer",
    "getpeername", "getpid", "getppid", "getrandom", "getrlimit", "getrusage",
    "getsockname", "getsockopt", "gettid", "gettimeofday", "getuid", "ioctl", "listen",
    "lseek", "lstat", "madvise", "mbind", "membarrier", "mincore", "mkdir", "mlock",
    "mlock2", "mremap", "munlock", "munmap", "nanosleep", "newfstatat", "open", "openat",
    "openat2", "pipe", "pipe2", "poll", "ppoll", "prctl", "pread64", "preadv", "prlimit64",
    "pselect6", "pwrite64", "pwritev", "read", "readahead", "readlink", "readlinkat",
    "readv", "recvfrom", "recvmmsg", "recvmsg", "rename", "renameat", "renameat2",
    "restart_syscall", "rseq", "rt_sigaction", "rt_sigpending", "rt_sigprocmask",
    "rt_sigqueueinfo", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait",
    "sched_getaffinity", "sched_getparam", "sched_getscheduler", "sched_yield", "select",
    "sendfile", "sendmmsg", "sendmsg", "sendto", "set_robust_list", "set_tid_address",
    "setitimer", "setsockopt", "shutdown", "sigaltstack", "socketpair", "stat", "statfs",
    "statx", "sync_file_range", "sysinfo", "tgkill", "time", "timerfd_create",
    "timerfd_settime", "umask", "uname", "unlink", "unlinkat", "utimensat", "write",
    "writev",
};
/* clang-format on */

/* clang-format off */
static const char *const calls_fatal[] = {
    "execve", "execveat", "fork", "vfork", "ptrace", "process_vm_readv",
    "process_vm_writev", "init_module", "finit_module", "kexec_load", "bpf", "mount",
    "umount2", "pivot_root", "chroot", "setns", "unshare", "keyctl", "add_key",
    "request_key", "io_uring_setup", "userfaultfd", "perf_event_open", "open_by_handle_at",
    "reboot", "swapon", "setuid", "setgid", "setreuid", "setregid", "setresuid",
    "setresgid", "setgroups", "capset",
};
/* clang-format on */

static int fail(char why[CONFINE_WHY_BYTES], const char *what, int error)
{
    (void)snprintf(why, CONFINE_WHY_BYTES, "%.200s: %s", what, strerror(error));
    return -error;
}

int confine_user(const char *user, char why[CONFINE_WHY_BYTES])
{
    char buffer[4096];
    struct passwd entry;
    struct passwd *found = NULL;
    if (user[0] == '\0' || geteuid() != 0)
        return 0;
    const int rc = getpwnam_r(user, &entry, buffer, sizeof(buffer), &found);
    if (rc != 0 || found == NULL) {
        (void)snprintf(why, CONFINE_WHY_BYTES,
                       "user: there is no \"%.64s\"; adduser --system --group makes one", user);
        return -ENOENT;
    }
    if (setgroups(0, NULL) != 0 || setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid) != 0 ||
        setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid) != 0)
        return fail(why, user, errno);
    if (entry.pw_uid != 0 && (setuid(0) == 0 || geteuid() == 0)) {
        (void)snprintf(why, CONFINE_WHY_BYTES, "user: root's rights could be taken back");
        return -EPERM;
    }
    startup_hide_memory(); /* the kernel has undone it with the change of user */
    return 0;
}

/* What a kernel of this version can be told, of `wanted`. */
static uint64_t fs_known(uint64_t wanted, int version)
{
    uint64_t known = FS_ALL_VERSION1;
    if (version >= VERSION_REFER)
        known |= LANDLOCK_ACCESS_FS_REFER;
    if (version >= VERSION_TRUNC)
        known |= FS_TRUNCATE;
    if (version >= VERSION_IOCTL)
        known |= FS_IOCTL_DEV;
    return wanted & known;
}

static int path_allow(int ruleset, int version, const struct confine_path *path,
                      char why[CONFINE_WHY_BYTES])
{
    struct stat info;
    struct landlock_path_beneath_attr rule = {
        .allowed_access = fs_known(path->right == CONFINE_READS ? FS_READS : FS_WRITES, version),
        .parent_fd = open(path->path, O_PATH | O_CLOEXEC),
    };
    if (rule.parent_fd < 0)
        return errno == ENOENT || errno == ENOTDIR || errno == EACCES
                   ? 0
                   : fail(why, path->path, errno);
    int rc = fstat(rule.parent_fd, &info) != 0 ? -errno : 0;
    if (rc == 0 && !S_ISDIR(info.st_mode))
        rule.allowed_access &= FS_OF_A_FILE;
    if (rc == 0 &&
        syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0)
        rc = -errno;
    (void)close(rule.parent_fd);
    return rc == 0 ? 0 : fail(why, path->path, -rc);
}

static int rules_add(int ruleset, int version, const struct confine_config *config,
                     char why[CONFINE_WHY_BYTES])
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < ARRAY_COUNT(system_paths); i++)
        rc = path_allow(ruleset, version, &system_paths[i], why);
    for (uint32_t i = 0; rc == 0 && i < config->paths_count; i++)
        rc = path_allow(ruleset, version, &config->paths[i], why);
    for (uint32_t i = 0; rc == 0 && version >= VERSION_NET && i < config->ports_count; i++) {
        const struct net_port_attr rule = {.allowed = NET_CONNECT, .port = config->ports[i]};
        if (syscall(SYS_landlock_add_rule, ruleset, RULE_NET_PORT, &rule, 0) != 0)
            rc = fail(why, "a port", errno);
    }
    return rc;
}

int confine_files(const struct confine_config *config, struct confine_result *result,
                  char why[CONFINE_WHY_BYTES])
{
    const long version =
        syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (version <= 0) {
        (void)snprintf(why, CONFINE_WHY_BYTES, "this kernel has no Landlock");
        return -ENOTSUP;
    }
    const struct ruleset_attr attributes = {
        .handled_fs = fs_known(UINT64_MAX, (int)version),
        .handled_net = NET_BIND | NET_CONNECT,
        .scoped = SCOPE_ABSTRACT | SCOPE_SIGNAL,
    };
    const size_t bytes = version >= VERSION_SCOPE ? sizeof(attributes)
                         : version >= VERSION_NET ? 2 * sizeof(uint64_t)
                                                  : sizeof(uint64_t);
    const int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attributes, bytes, 0);
    if (ruleset < 0)
        return fail(why, "Landlock", errno);
    int rc = rules_add(ruleset, (int)version, config, why);
    if (rc == 0 && (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
                    syscall(SYS_landlock_restrict_self, ruleset, 0) != 0))
        rc = fail(why, "Landlock", errno);
    (void)close(ruleset);
    if (rc == 0)
        result->landlock = (int)version;
    return rc;
}

static int calls_add(scmp_filter_ctx filter, uint32_t action, const char *const *names,
                     size_t names_count)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < names_count; i++) {
        const int number = seccomp_syscall_resolve_name(names[i]);
        if (number != __NR_SCMP_ERROR && number >= 0) /* this processor has it */
            rc = seccomp_rule_add(filter, action, number, 0);
    }
    return rc;
}

/* Threads, but no processes; memory that is written or executed, never both; only these sockets. */
static int calls_add_some(scmp_filter_ctx filter)
{
    static const int families[] = {AF_UNIX, AF_INET, AF_INET6,
                                   AF_NETLINK}; /* the last: getaddrinfo */
    const uint32_t allow = SCMP_ACT_ALLOW;
    int rc = seccomp_rule_add(filter, allow, SCMP_SYS(clone), 1,
                              SCMP_A0_64(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
    /* Its flags are out of a filter's sight; without it the C library uses clone(). */
    if (rc == 0)
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    if (rc == 0)
        rc = seccomp_rule_add(filter, allow, SCMP_SYS(mprotect), 1,
                              SCMP_A2_64(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    if (rc == 0)
        rc = seccomp_rule_add(filter, allow, SCMP_SYS(mmap), 1,
                              SCMP_A2_64(SCMP_CMP_MASKED_EQ, PROT_WRITE, 0));
    if (rc == 0)
        rc = seccomp_rule_add(filter, allow, SCMP_SYS(mmap), 1,
                              SCMP_A2_64(SCMP_CMP_MASKED_EQ, PROT_WRITE | PROT_EXEC, PROT_WRITE));
    for (size_t i = 0; rc == 0 && i < ARRAY_COUNT(families); i++)
        rc = seccomp_rule_add(filter, allow, SCMP_SYS(socket), 1,
                              SCMP_A0_64(SCMP_CMP_EQ, (scmp_datum_t)families[i], 0));
    return rc;
}

int confine_calls(struct confine_result *result, char why[CONFINE_WHY_BYTES])
{
    if (IS_SANITIZED) {
        result->seccomp = false;
        return 0;
    }
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (filter == NULL)
        return fail(why, "seccomp", ENOMEM);
    int rc = calls_add(filter, SCMP_ACT_ALLOW, calls_allowed, ARRAY_COUNT(calls_allowed));
    if (rc == 0)
        rc = calls_add_some(filter);
    if (rc == 0)
        rc = calls_add(filter, SCMP_ACT_KILL_PROCESS, calls_fatal, ARRAY_COUNT(calls_fatal));
    if (rc == 0)
        rc = seccomp_load(filter);
    seccomp_release(filter);
    if (rc != 0)
        return fail(why, "seccomp", -rc);
    result->seccomp = true;
    return 0;
}
