#include "tests/keyservice/format_example.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

size_t format_example(const char *path, uint8_t *dst, size_t dst_room)
{
    FILE *file = fopen(path, "r");
    char line[256];
    size_t used = 0;
    bool inside = false;
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, "```", 3) == 0) {
            inside = !inside && strcmp(line, "```hex\n") == 0;
            continue;
        }
        char *at = line;
        while (inside && *at != '\n' && *at != '\0') {
            assert_true(used < dst_room);
            dst[used++] = (uint8_t)strtoul(at, &at, 16);
        }
    }
    (void)fclose(file);
    return used;
}
