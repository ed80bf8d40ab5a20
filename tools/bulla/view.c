#include "tools/bulla/view.h"

#include "base/clock.h"

#include <string.h>

#define VIEW_NODES_MAX 256 /* objects and arrays still to be walked */

struct view_node {
    char name[VIEW_NAME_BYTES];
    const json_t *value;
};

struct view_walk {
    struct view_node nodes[VIEW_NODES_MAX];
    uint32_t nodes_count;
};

static void view_plain(char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = '?';
    }
}

static void view_name(char name[VIEW_NAME_BYTES], const char *parent, const char *child)
{
    if (snprintf(name, VIEW_NAME_BYTES, "%s%s%s", parent, parent[0] == '\0' ? "" : ".", child) < 0)
        name[0] = '\0';
    view_plain(name);
}

static void view_scalar(struct view *view, const char *name, const json_t *value)
{
    if (view->lines_count == VIEW_LINES_MAX)
        return;
    struct view_line *line = &view->lines[view->lines_count++];
    memset(line, 0, sizeof(*line));
    memcpy(line->name, name, VIEW_NAME_BYTES);
    if (json_is_integer(value)) {
        line->is_count = true;
        line->count = json_integer_value(value);
        snprintf(line->value, sizeof(line->value), "%lld", (long long)line->count);
    } else if (json_is_real(value)) {
        snprintf(line->value, sizeof(line->value), "%.3f", json_real_value(value));
    } else if (json_is_string(value)) {
        snprintf(line->value, sizeof(line->value), "%s", json_string_value(value));
    } else {
        snprintf(line->value, sizeof(line->value), "%s",
                 json_is_true(value)    ? "yes"
                 : json_is_false(value) ? "no"
                                        : "-");
    }
    view_plain(line->value);
}

/* A plain value becomes a line, a nested one waits its turn. */
static void view_take(struct view *view, struct view_walk *walk, const char *parent,
                      const char *child, const json_t *value)
{
    char name[VIEW_NAME_BYTES] = {0};
    view_name(name, parent, child);
    if (!json_is_object(value) && !json_is_array(value)) {
        view_scalar(view, name, value);
    } else if (walk->nodes_count < VIEW_NODES_MAX) {
        struct view_node *node = &walk->nodes[walk->nodes_count++];
        memcpy(node->name, name, VIEW_NAME_BYTES);
        node->value = value;
    }
}

void view_read(struct view *view, const json_t *status, uint64_t now_ns)
{
    struct view_walk walk = {.nodes_count = 1};
    walk.nodes[0].value = status;
    view->lines_count = 0;
    view->now_ns = now_ns;
    for (uint32_t n = 0; n < walk.nodes_count; n++) {
        const struct view_node *node = &walk.nodes[n];
        const char *key = NULL;
        json_t *value = NULL;
        json_object_foreach((json_t *)(uintptr_t)node->value, key, value)
            view_take(view, &walk, node->name, key, value);
        for (size_t i = 0; i < json_array_size(node->value); i++) {
            char child[24];
            snprintf(child, sizeof(child), "%zu", i);
            view_take(view, &walk, node->name, child, json_array_get(node->value, i));
        }
    }
}

static int view_name_columns(const struct view *view)
{
    size_t columns = 0;
    for (uint32_t i = 0; i < view->lines_count; i++)
        columns = MAX(columns, strlen(view->lines[i].name));
    return (int)columns;
}

void view_print(const struct view *view, FILE *out)
{
    int columns = view_name_columns(view);
    for (uint32_t i = 0; i < view->lines_count; i++)
        fprintf(out, "%-*s  %s\n", columns, view->lines[i].name, view->lines[i].value);
}

static const struct view_line *view_find(const struct view *view, const char *name)
{
    for (uint32_t i = 0; i < view->lines_count; i++) {
        if (strcmp(view->lines[i].name, name) == 0)
            return &view->lines[i];
    }
    return NULL;
}

void view_print_rates(const struct view *view, const struct view *before, uint32_t lines_max,
                      uint32_t columns_max, FILE *out)
{
    int columns = view_name_columns(view);
    double seconds = (double)(view->now_ns - before->now_ns) / (double)NS_PER_S;
    for (uint32_t i = 0; i < MIN(view->lines_count, lines_max); i++) {
        const struct view_line *line = &view->lines[i];
        const struct view_line *old = view_find(before, line->name);
        char text[VIEW_NAME_BYTES + VIEW_VALUE_BYTES + 64];
        if (line->is_count && old != NULL && old->is_count && seconds > 0 &&
            old->count != line->count)
            snprintf(text, sizeof(text), "%-*s  %16s  %+.0f/s", columns, line->name, line->value,
                     (double)(line->count - old->count) / seconds);
        else
            snprintf(text, sizeof(text), "%-*s  %16s", columns, line->name, line->value);
        fprintf(out, "%.*s\033[K\r\n", (int)columns_max, text);
    }
}
