#include "bench/folder.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

#define FOLDER_DESCRIPTORS_MAX 8

int folder_make(char *path, size_t path_bytes, const char *name)
{
    const char *tmp = getenv("TMPDIR");
    if (tmp == NULL || tmp[0] != '/')
        tmp = "/tmp";
    const int chars = snprintf(path, path_bytes, "%s/%s.XXXXXX", tmp, name);
    if (chars < 0 || (size_t)chars >= path_bytes)
        return -ENAMETOOLONG;
    return mkdtemp(path) == NULL ? -errno : 0;
}

static int entry_remove(const char *path, const struct stat *info, int kind, struct FTW *at)
{
    (void)info;
    (void)kind;
    (void)at;
    return remove(path);
}

void folder_remove(const char *path)
{
    (void)nftw(path, entry_remove, FOLDER_DESCRIPTORS_MAX, FTW_DEPTH | FTW_PHYS);
}
