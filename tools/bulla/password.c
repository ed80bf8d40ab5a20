#include "tools/bulla/password.h"

#include "crypto/secret.h"
#include "tools/bulla/command.h"
#include "tools/bulla/file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static int password_from_file(const char *path, char password[PASSWORD_BYTES])
{
    uint8_t *text = NULL;
    size_t bytes = 0;
    int rc = file_read(path, PASSWORD_BYTES, &text, &bytes);
    if (rc == -EFBIG)
        return command_fail(EX_CONFIG, "%s is no password file: its one line is too long", path);
    if (rc != 0)
        return command_fail(EX_CONFIG, "the password file %s cannot be read: %s", path,
                            strerror(-rc));
    size_t chars = strcspn((const char *)text, "\r\n");
    int exit_status = 0;
    if (chars == 0 || chars >= PASSWORD_BYTES)
        exit_status = command_fail(EX_CONFIG, "%s is no password file: its first line is %s", path,
                                   chars == 0 ? "empty" : "too long");
    else
        memcpy(password, text, chars);
    if (exit_status == 0)
        password[chars] = '\0';
    file_forget(text, bytes);
    return exit_status;
}

/* One line of the terminal, byte by byte so that nothing is read past it. */
static bool password_from_line(int fd, char password[PASSWORD_BYTES])
{
    size_t chars = 0;
    while (chars < PASSWORD_BYTES - 1) {
        ssize_t got = read(fd, password + chars, 1);
        if (got != 1)
            return false;
        if (password[chars] == '\n' || password[chars] == '\r')
            break;
        chars++;
    }
    password[chars] = '\0';
    return chars > 0 && chars < PASSWORD_BYTES - 1;
}

static void password_interrupted(int signal_number)
{
    (void)signal_number;
}

/* What is asked for, and the option that gives it where nobody can be asked. */
struct password_question {
    const char *name;
    const char *title;
    const char *option;
};
static const struct password_question password_of = {"password", "Password", "--password-file"};
static const struct password_question code_of = {"code", "Code from the app", "--totp-file"};

static int password_from_terminal(const struct password_question *question, const char *user,
                                  char password[PASSWORD_BYTES])
{
    int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    struct termios before;
    if (fd < 0 || tcgetattr(fd, &before) != 0) {
        if (fd >= 0)
            close(fd);
        return command_fail(EX_USAGE, "there is no terminal to ask for the %s: use %s",
                            question->name, question->option);
    }
    /* Ctrl-C ends the read, not the process: a terminal left without echo looks broken. */
    const struct sigaction interrupt = {.sa_handler = password_interrupted};
    struct sigaction interrupt_before;
    struct sigaction terminate_before;
    sigaction(SIGINT, &interrupt, &interrupt_before);
    sigaction(SIGTERM, &interrupt, &terminate_before);
    struct termios silent = before;
    silent.c_lflag &= ~(tcflag_t)ECHO;
    (void)tcsetattr(fd, TCSAFLUSH, &silent);
    dprintf(fd, "%s of %s: ", question->title, user);
    bool read_one = password_from_line(fd, password);
    (void)tcsetattr(fd, TCSAFLUSH, &before);
    dprintf(fd, "\n");
    sigaction(SIGINT, &interrupt_before, NULL);
    sigaction(SIGTERM, &terminate_before, NULL);
    close(fd);
    if (!read_one) {
        secret_wipe(password, PASSWORD_BYTES);
        return command_fail(EX_NOPERM, "no %s was given", question->name);
    }
    return 0;
}

int password_read(const char *path, const char *user, char password[PASSWORD_BYTES])
{
    if (path != NULL)
        return password_from_file(path, password);
    return password_from_terminal(&password_of, user, password);
}

int password_code_read(const char *path, const char *user, char code[PASSWORD_BYTES])
{
    if (path != NULL)
        return password_from_file(path, code);
    return password_from_terminal(&code_of, user, code);
}
