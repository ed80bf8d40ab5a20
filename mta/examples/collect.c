/*
 * Writes what the engine took over to a Maildir: a stand-in for a mail server.
 *     cc collect.c $(pkg-config --cflags --libs bulla) -o collect
 *     BULLA_SOCKET=/run/bulla/engine.sock ./collect MAILDIR [IDLE_MS]
 * With IDLE_MS it ends when nothing came for so long; otherwise it runs until the engine ends.
 */
#define _POSIX_C_SOURCE 200809L
#include <bulla.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int write_all(int fd, const struct iovec *spans, unsigned count)
{
    for (unsigned n = 0; n < count; n++) {
        const char *at = spans[n].iov_base;
        for (size_t left = spans[n].iov_len; left > 0;) {
            const ssize_t written = write(fd, at, left);
            if (written <= 0)
                return -1;
            at += written;
            left -= (size_t)written;
        }
    }
    return fsync(fd);
}

/* In tmp/, synced, then moved to new/, whose folder is synced too: only then is it SENT. A second
 * copy of an emission has the same name, and takes the first one's place. */
static enum bulla_emit_result deliver(const char *maildir, const struct bulla_emission *emission)
{
    char from[4096], to[4096];
    const char *kind = emission->kind == BULLA_EMISSION_MAIL ? "mail" : "notice";
    snprintf(from, sizeof(from), "%s/tmp/%s.%s", maildir, emission->envelope_id, kind);
    snprintf(to, sizeof(to), "%s/new/%s.%s", maildir, emission->envelope_id, kind);
    const int fd = open(from, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0)
        return BULLA_EMIT_LATER;
    int rc = write_all(fd, emission->spans, emission->spans_count);
    if (close(fd) != 0 || rc != 0 || rename(from, to) != 0)
        return BULLA_EMIT_LATER;
    *strrchr(to, '/') = '\0';
    const int folder = open(to, O_RDONLY | O_DIRECTORY);
    rc = folder < 0 ? -1 : fsync(folder);
    if (folder >= 0)
        close(folder);
    return rc == 0 ? BULLA_EMIT_SENT : BULLA_EMIT_LATER;
}

int main(int argc, char **argv)
{
    const struct bulla_config config = {.socket_path = getenv("BULLA_SOCKET")};
    struct bulla_collector *collector = NULL;
    struct bulla_emission emissions[16];
    if (argc < 2)
        return fprintf(stderr, "usage: collect MAILDIR [IDLE_MS]\n"), 64;
    int rc = bulla_collect(&collector, &config);
    while (rc == 0 &&
           bulla_collect_wait(collector, argc > 2 ? (int)strtol(argv[2], NULL, 10) : -1) == 1) {
        const int count = bulla_collect_poll(collector, emissions, 16);
        for (int n = 0; n < count; n++)
            bulla_collect_done(collector, &emissions[n], deliver(argv[1], &emissions[n]), NULL, "");
    }
    bulla_collect_end(collector);
    if (rc != 0)
        fprintf(stderr, "cannot collect: %s\n", strerror(-rc));
    return rc == 0 ? 0 : 75;
}
