#include "web/assets.h"

#include "web/assets_table.h"

#include <string.h>

const struct asset *asset_find(const char *name)
{
    size_t low = 0;
    size_t high = assets_table_count;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const int order = strcmp(assets_table[middle].name, name);
        if (order == 0)
            return &assets_table[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const struct asset *asset_at(size_t index)
{
    return index < assets_table_count ? &assets_table[index] : NULL;
}
