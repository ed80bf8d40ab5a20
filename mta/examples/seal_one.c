/*
 * Seals the message on standard input and writes the sealed mail to standard output.
 *     cc seal_one.c $(pkg-config --cflags --libs bulla) -o seal_one
 *     BULLA_SOCKET=/run/bulla/engine.sock ./seal_one me@example.org you@example.net < in > out
 */
#include <bulla.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    static char mail[(256 << 20) + 1]; /* one byte more than any message may have */
    const struct bulla_config config = {.socket_path = getenv("BULLA_SOCKET")};
    const struct bulla_request request = {
        .sender = argc > 1 ? argv[1] : NULL,
        .recipients = (const char *const *)argv + 2,
        .recipients_count = argc > 2 ? (uint32_t)argc - 2 : 0,
        .mail_bytes = fread(mail, 1, sizeof(mail), stdin),
    };
    enum bulla_status status = BULLA_RETRY;
    uint8_t *sealed = NULL;
    size_t bytes;
    char why[99];
    int rc = -EIO; /* half a message is none */
    if (!ferror(stdin))
        rc = bulla_seal_one(&config, &request, mail, 30000, &status, &sealed, &bytes, why, 99);
    if (rc == 0 && status == BULLA_SEALED)
        rc = fwrite(sealed, 1, bytes, stdout) == bytes && fflush(stdout) == 0 ? 0 : -EIO;
    if (rc != 0 || status != BULLA_SEALED)
        fprintf(stderr, "not sealed: %s\n", rc != 0 ? strerror(-rc) : why);
    free(sealed);
    return rc == -EMSGSIZE || status == BULLA_REFUSED ? 65 : rc || status != BULLA_SEALED ? 75 : 0;
}
