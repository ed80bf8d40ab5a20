/* Runs a command with BULLA_SOCKET naming an echo engine, and exits with the command's status. */
#include "tests/mta/echo_engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct echo_engine *engine;
    const struct echo_engine_config config = {.allow_io_uring = true};
    if (argc < 2 || echo_engine_open(&engine, &config) != 0)
        return 70;
    if (setenv("BULLA_SOCKET", echo_engine_path(engine), 1) != 0)
        return 71;
    const pid_t child = fork();
    if (child == 0) {
        (void)execvp(argv[1], argv + 1);
        _exit(127);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child)
        status = -1;
    echo_engine_close(engine);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 72;
}
