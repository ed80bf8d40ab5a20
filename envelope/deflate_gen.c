/*
 * deflate_gen: writes deflate_tables.c from deflate_model.h; runs during the build.
 * Ownership: none.
 * Threads:   one.
 * Units:     counts of symbols.
 * Errors:    exit status 1 with one line on stderr.
 *
 * With arguments, `deflate_gen MAIL…`, it writes a new deflate_model.h instead: what deflate's
 * symbols would be in these files, each with LF and with CRLF.
 */
#include "base/macros.h"
#include "envelope/deflate_model.h"

#include <isa-l/igzip_lib.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAIL_BYTES_MAX (1 << 20)

_Static_assert(ARRAY_COUNT(deflate_model_symbols) == ISAL_DEF_LIT_LEN_SYMBOLS, "RFC 1951, 3.2.5");
_Static_assert(ARRAY_COUNT(deflate_model_distances) == ISAL_DEF_DIST_SYMBOLS, "RFC 1951, 3.2.5");

static void list(const char *name, const uint64_t *numbers, uint32_t numbers_count)
{
    (void)printf("%s = {", name);
    for (uint32_t i = 0; i < numbers_count; i++)
        (void)printf("%s%llu,", i % 12 == 0 ? "\n    " : " ", (unsigned long long)numbers[i]);
    (void)printf("\n};\n");
}

static void member8(const char *name, const uint8_t *numbers, uint32_t numbers_count)
{
    (void)printf("    .%s = {", name);
    for (uint32_t i = 0; i < numbers_count; i++)
        (void)printf("%s%u,", i % 16 == 0 ? "\n        " : " ", numbers[i]);
    (void)printf("\n    },\n");
}

static void member16(const char *name, const uint16_t *numbers, uint32_t numbers_count)
{
    (void)printf("    .%s = {", name);
    for (uint32_t i = 0; i < numbers_count; i++)
        (void)printf("%s%u,", i % 12 == 0 ? "\n        " : " ", numbers[i]);
    (void)printf("\n    },\n");
}

static void member32(const char *name, const uint32_t *numbers, uint32_t numbers_count)
{
    (void)printf("    .%s = {", name);
    for (uint32_t i = 0; i < numbers_count; i++)
        (void)printf("%s%u,", i % 8 == 0 ? "\n        " : " ", numbers[i]);
    (void)printf("\n    },\n");
}

static int write_tables(void)
{
    static struct isal_huff_histogram histogram;
    static struct isal_hufftables codes;

    for (uint32_t i = 0; i < ISAL_DEF_LIT_LEN_SYMBOLS; i++)
        histogram.lit_len_histogram[i] = deflate_model_symbols[i];
    for (uint32_t i = 0; i < ISAL_DEF_DIST_SYMBOLS; i++)
        histogram.dist_histogram[i] = deflate_model_distances[i];
    if (isal_create_hufftables(&codes, &histogram) != 0) {
        (void)fprintf(stderr, "deflate_gen: these counts give no code\n");
        return 1;
    }
    (void)printf("#include \"envelope/deflate_tables.h\"\n\n"
                 "const struct isal_hufftables deflate_mail_codes = {\n"
                 "    .deflate_hdr_count = %u,\n    .deflate_hdr_extra_bits = %u,\n",
                 codes.deflate_hdr_count, codes.deflate_hdr_extra_bits);
    member8("deflate_hdr", codes.deflate_hdr, ARRAY_COUNT(codes.deflate_hdr));
    member32("dist_table", codes.dist_table, ARRAY_COUNT(codes.dist_table));
    member32("len_table", codes.len_table, ARRAY_COUNT(codes.len_table));
    member16("lit_table", codes.lit_table, ARRAY_COUNT(codes.lit_table));
    member8("lit_table_sizes", codes.lit_table_sizes, ARRAY_COUNT(codes.lit_table_sizes));
    member16("dcodes", codes.dcodes, ARRAY_COUNT(codes.dcodes));
    member8("dcodes_sizes", codes.dcodes_sizes, ARRAY_COUNT(codes.dcodes_sizes));
    (void)printf("};\n");
    return 0;
}

/* As it stands with LF, and with CRLF. */
static int count_mail(struct isal_huff_histogram *histogram, const char *path)
{
    static uint8_t mail[MAIL_BYTES_MAX];
    static uint8_t lines[2 * MAIL_BYTES_MAX];
    size_t lines_bytes = 0;
    FILE *file = fopen(path, "rb");

    if (file == NULL) {
        (void)fprintf(stderr, "deflate_gen: %s cannot be read\n", path);
        return 1;
    }
    const size_t mail_bytes = fread(mail, 1, sizeof(mail), file);
    (void)fclose(file);
    for (size_t i = 0; i < mail_bytes; i++) {
        if (mail[i] == '\n' && (i == 0 || mail[i - 1] != '\r'))
            lines[lines_bytes++] = '\r';
        lines[lines_bytes++] = mail[i];
    }
    isal_update_histogram(mail, (int)mail_bytes, histogram);
    isal_update_histogram(lines, (int)lines_bytes, histogram);
    return 0;
}

static int write_model(int paths_count, char **paths)
{
    static struct isal_huff_histogram histogram;

    for (int i = 0; i < paths_count; i++)
        if (count_mail(&histogram, paths[i]) != 0)
            return 1;
    (void)printf("/*\n"
                 " * deflate_model: how often deflate's symbols stand in mail.\n"
                 " * Ownership: constants, counted by `deflate_gen MAIL…`.\n"
                 " * Threads:   any.\n"
                 " * Units:     occurrences, in %d messages with LF and the same with CRLF.\n"
                 " * Errors:    none.\n"
                 " */\n"
                 "#ifndef ENVELOPE_DEFLATE_MODEL_H\n#define ENVELOPE_DEFLATE_MODEL_H\n\n"
                 "#include <stdint.h>\n\n/* clang-format off */\n",
                 paths_count);
    list("static const uint64_t deflate_model_symbols[]", histogram.lit_len_histogram,
         ARRAY_COUNT(histogram.lit_len_histogram));
    list("static const uint64_t deflate_model_distances[]", histogram.dist_histogram,
         ARRAY_COUNT(histogram.dist_histogram));
    (void)printf("/* clang-format on */\n\n#endif\n");
    return 0;
}

int main(int argc, char **argv)
{
    const int rc = argc > 1 ? write_model(argc - 1, argv + 1) : write_tables();

    if (rc != 0 || fflush(stdout) != 0 || ferror(stdout))
        return 1;
    return 0;
}
