#include "tools/bulla/command.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COMMAND_LINE_BYTES_MAX 2048

static const char *command_name = "bulla";

void command_init(const char *name)
{
    command_name = name;
}

static void command_line(const char *format, va_list arguments)
{
    char text[COMMAND_LINE_BYTES_MAX];
    int chars = vsnprintf(text, sizeof(text), format, arguments);
    if (chars < 0)
        text[0] = '\0';
    /* Names, paths and answers of a server stand in the text: they may not move the cursor. */
    for (char *at = text; *at != '\0'; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            *at = '?';
    }
    fprintf(stderr, "bulla %s: %s\n", command_name, text);
}

int command_fail(int exit_status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    command_line(format, arguments);
    va_end(arguments);
    return exit_status;
}

void command_note(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    command_line(format, arguments);
    va_end(arguments);
}

int command_bad_option(int option, char **argv)
{
    const char *word = argv[optind > 0 ? optind - 1 : 0];
    if (option == ':')
        return command_fail(EX_USAGE, "%s needs a value; see 'bulla %s --help'", word,
                            command_name);
    return command_fail(EX_USAGE, "%s is no option here; see 'bulla %s --help'", word,
                        command_name);
}

const char *command_environment(const char *name, const char *otherwise)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0' ? value : otherwise;
}

uint32_t command_seconds(const char *text, uint32_t seconds_max)
{
    uint32_t seconds = 0;
    for (const char *at = text; *at != '\0'; at++) {
        if (*at < '0' || *at > '9')
            return 0;
        seconds = seconds * 10 + (uint32_t)(*at - '0');
        if (seconds > seconds_max)
            return 0;
    }
    return seconds;
}
