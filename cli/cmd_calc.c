/* cmd_calc.c - tsstore calc: what a store will take and hold, before it is made.
 *
 * Two blocks. The first is the published formula of the first ts-store, line by line, because
 * people planned their disks with it and scripts read it. The second is what our files take: their
 * format is another one.
 */
#include "cli/footprint.h"
#include "cli/output.h"
#include "cli/verbs.h"

#include <inttypes.h>

struct calc_args {
    struct cli_common common;
    struct cli_number blocks, block_size, index_size, object_size;
    const char *codec;
};

#define SIZE_ROW(option, field, text)                                                              \
    {                                                                                              \
        .name = option, .kind = CLI_NUMBER, .placeholder = "N", .help = text,                      \
        .offset = offsetof(struct calc_args, field), .max = UINT32_MAX                             \
    }

static const struct cli_option options[] = {
    SIZE_ROW("blocks", blocks, "number of blocks (store.num_blocks, 1024)"),
    SIZE_ROW("block-size", block_size, "bytes of a block, a power of two (store.data_block_size)"),
    SIZE_ROW("index-size", index_size, "what the index file is a multiple of"),
    SIZE_ROW("object-size", object_size, "bytes of one object; else a table of sizes"),
    {.name = "codec",
     .kind = CLI_TEXT,
     .placeholder = "CODEC",
     .help = "zstd (default), none: it decides the size of our index",
     .offset = offsetof(struct calc_args, codec)},
};

static const uint32_t table_sizes[] = {64, 128, 256, 512, 1024, 2048};

/* What is calculated: for the sizes of the table, or for one. */
struct calc {
    struct ts_options store;
    struct ts_geometry geometry;
    const uint32_t *object_sizes;
    size_t n_object_sizes;
    uint32_t own_size;
};

/* ---- text ---- */

/* "data.tsdb:   10,000 x 8,192 = 81,920,000 (78.13 MB)"; without a product if `count` is 0. */
static void
file_line(struct ts_text *out, const char *name, uint64_t count, uint64_t each, uint64_t bytes)
{
    char counted[CLI_GROUPED_BYTES], sized[CLI_GROUPED_BYTES], grouped[CLI_GROUPED_BYTES],
        human[CLI_HUMAN_BYTES];

    cli_grouped(count, counted);
    cli_grouped(each, sized);
    cli_grouped(bytes, grouped);
    cli_human_bytes(bytes, human);
    ts_text_printf(out, "  %-12s ", name);
    if (count > 0)
        ts_text_printf(out, "%s x %s = ", counted, sized);
    ts_text_printf(out, "%s (%s)\n", grouped, human);
}

static void
total_line(struct ts_text *out, uint64_t bytes)
{
    char grouped[CLI_GROUPED_BYTES], human[CLI_HUMAN_BYTES];

    cli_grouped(bytes, grouped);
    cli_human_bytes(bytes, human);
    ts_text_printf(out, "Total footprint: %s (%s)\n", grouped, human);
}

static void
configuration(const struct calc *calc, struct ts_text *out)
{
    char blocks[CLI_GROUPED_BYTES], data[CLI_GROUPED_BYTES], index[CLI_GROUPED_BYTES];

    cli_grouped(calc->store.num_blocks, blocks);
    cli_grouped(calc->store.data_block_bytes, data);
    cli_grouped(calc->store.index_block_bytes, index);
    ts_text_printf(out, "Configuration:\n  Blocks:      %s\n  Block size:  %s bytes\n", blocks,
                   data);
    ts_text_printf(out, "  Index size:  %s bytes\n\n", index);
}

static void
formula_one(const struct calc *calc, struct ts_text *out)
{
    const struct formula_objects objects = formula_objects_of(&calc->store, calc->object_sizes[0]);
    char total[CLI_GROUPED_BYTES], each[CLI_GROUPED_BYTES];
    const bool spans = objects.per_block == 0;

    cli_grouped(objects.total, total);
    cli_grouped(spans ? objects.blocks_per_object : objects.per_block, each);
    ts_text_printf(out, "Object capacity for %" PRIu32 " byte objects:\n", calc->object_sizes[0]);
    ts_text_printf(out, "  %s %s\n  Total objects:     %s\n",
                   spans ? "Blocks per object:" : "Objects per block:", each, total);
}

static void
formula_table(const struct calc *calc, struct ts_text *out)
{
    ts_text_puts(out, "Object capacity:\n  Object size  Objects per block  Total objects\n");
    for (size_t i = 0; i < calc->n_object_sizes; i++) {
        const struct formula_objects objects =
            formula_objects_of(&calc->store, calc->object_sizes[i]);
        char total[CLI_GROUPED_BYTES], each[CLI_GROUPED_BYTES], cell[CLI_GROUPED_BYTES + 8];

        cli_grouped(objects.total, total);
        if (objects.per_block > 0) {
            cli_grouped(objects.per_block, each);
            snprintf(cell, sizeof cell, "%s", each);
        } else { /* it spans: several blocks for one */
            cli_grouped(objects.blocks_per_object, each);
            snprintf(cell, sizeof cell, "1 in %s", each);
        }
        ts_text_printf(out, "  %11" PRIu32 "  %17s  %13s\n", calc->object_sizes[i], cell, total);
    }
}

static void
ours(const struct calc *calc, struct ts_text *out)
{
    const struct ts_geometry *g = &calc->geometry;

    ts_text_printf(out, "\n=== Files of this tsstore (codec %s) ===\n",
                   ts_codec_name(calc->store.codec));
    file_line(out, TS_DATA_FILE ":", calc->store.num_blocks, calc->store.data_block_bytes,
              g->ring_bytes);
    file_line(out, TS_INDEX_FILE ":", g->n_index, sizeof(struct ts_index_entry), g->index_bytes);
    file_line(out, TS_HEAD_FILE ":", 0, 0, g->head_bytes);
    file_line(out, TS_META_FILE ":", 0, 0, sizeof(struct ts_meta));
    total_line(out, g->ring_bytes + g->index_bytes + g->head_bytes + sizeof(struct ts_meta));
    ts_text_puts(out, "\nRecord capacity, uncompressed:\n"
                      "  Record size  Records per MiB  At least in the ring\n");
    for (size_t i = 0; i < calc->n_object_sizes; i++) {
        const struct footprint_records records = footprint_records_of(g, calc->object_sizes[i]);
        char per_mib[CLI_GROUPED_BYTES], in_ring[CLI_GROUPED_BYTES];

        cli_grouped(records.per_mib, per_mib);
        cli_grouped(records.in_ring, in_ring);
        ts_text_printf(out, "  %11" PRIu32 "  %15s  %20s\n", calc->object_sizes[i],
                       records.fits ? per_mib : "too large", records.fits ? in_ring : "-");
    }
    if (calc->store.codec == TS_CODEC_ZSTD)
        ts_text_puts(out, "zstd makes room for more, by as much as it compresses the data.\n");
}

static void
show_text(const struct calc *calc, struct ts_text *out)
{
    const struct formula_files files = formula_files_of(&calc->store);

    ts_text_puts(out, "=== Storage Footprint ===\n");
    configuration(calc, out);
    file_line(out, "data.tsdb:", calc->store.num_blocks, calc->store.data_block_bytes,
              files.data_bytes);
    file_line(out, "index.tsdb:", calc->store.num_blocks, FORMULA_INDEX_ENTRY_BYTES,
              files.index_bytes);
    file_line(out, "meta.tsdb:", 0, 0, files.meta_bytes);
    ts_text_puts(out, "\n");
    total_line(out, files.total_bytes);
    ts_text_puts(out, "\n");
    if (calc->n_object_sizes == 1)
        formula_one(calc, out);
    else
        formula_table(calc, out);
    ours(calc, out);
}

/* ---- for programs ---- */

static void
add_u64(struct ts_text *out, const char *before, const char *name, uint64_t value)
{
    ts_text_printf(out, "%s\"%s\":%" PRIu64, before, name, value);
}

static void
formula_json(const struct calc *calc, struct ts_text *out)
{
    const struct formula_files files = formula_files_of(&calc->store);

    add_u64(out, ",\"formula\":{", "data_bytes", files.data_bytes);
    add_u64(out, ",", "index_bytes", files.index_bytes);
    add_u64(out, ",", "meta_bytes", files.meta_bytes);
    add_u64(out, ",", "total_bytes", files.total_bytes);
    ts_text_puts(out, ",\"objects\":[");
    for (size_t i = 0; i < calc->n_object_sizes; i++) {
        const struct formula_objects objects =
            formula_objects_of(&calc->store, calc->object_sizes[i]);

        add_u64(out, i == 0 ? "{" : ",{", "object_size", calc->object_sizes[i]);
        add_u64(out, ",", "objects_per_block", objects.per_block);
        add_u64(out, ",", "blocks_per_object", objects.blocks_per_object);
        add_u64(out, ",", "total_objects", objects.total);
        ts_text_puts(out, "}");
    }
    ts_text_puts(out, "]}");
}

static void
ours_json(const struct calc *calc, struct ts_text *out)
{
    const struct ts_geometry *g = &calc->geometry;

    cli_json_text(out, ",\"files\":{", "codec", ts_codec_name(calc->store.codec));
    add_u64(out, ",", "data_bytes", g->ring_bytes);
    add_u64(out, ",", "index_bytes", g->index_bytes);
    add_u64(out, ",", "head_bytes", g->head_bytes);
    add_u64(out, ",", "meta_bytes", sizeof(struct ts_meta));
    add_u64(out, ",", "total_bytes",
            g->ring_bytes + g->index_bytes + g->head_bytes + sizeof(struct ts_meta));
    add_u64(out, ",", "max_record_bytes", g->max_record_bytes);
    ts_text_puts(out, ",\"records\":[");
    for (size_t i = 0; i < calc->n_object_sizes; i++) {
        const struct footprint_records records = footprint_records_of(g, calc->object_sizes[i]);

        add_u64(out, i == 0 ? "{" : ",{", "record_size", calc->object_sizes[i]);
        add_u64(out, ",", "records_per_mib", records.per_mib);
        add_u64(out, ",", "records_in_ring", records.in_ring);
        ts_text_puts(out, "}");
    }
    ts_text_puts(out, "]}");
}

static void
show_json(const struct calc *calc, struct ts_text *out)
{
    add_u64(out, "{", "num_blocks", calc->store.num_blocks);
    add_u64(out, ",", "data_block_size", calc->store.data_block_bytes);
    add_u64(out, ",", "index_block_size", calc->store.index_block_bytes);
    formula_json(calc, out);
    ours_json(calc, out);
    ts_text_puts(out, "}\n");
}

/* ---- the verb ---- */

static uint32_t
chosen(const struct cli_number *given, uint32_t fallback)
{
    return given->is_given ? (uint32_t)given->value : fallback;
}

static enum ts_err
prepare(const struct calc_args *args, struct calc *out)
{
    struct ts_config config;
    enum ts_err err = cli_load_config(&args->common, &config);

    if (err != TS_OK)
        return err;
    ts_options_init(&out->store);
    out->store.num_blocks = chosen(&args->blocks, config.num_blocks);
    out->store.data_block_bytes = chosen(&args->block_size, config.data_block_bytes);
    out->store.index_block_bytes = chosen(&args->index_size, config.index_block_bytes);
    ts_config_wipe(&config);
    out->object_sizes = table_sizes;
    out->n_object_sizes = COUNTOF(table_sizes);
    if (args->object_size.is_given) {
        out->own_size = (uint32_t)args->object_size.value;
        out->object_sizes = &out->own_size;
        out->n_object_sizes = 1;
    }
    if (args->codec != NULL)
        err = ts_codec_parse(args->codec, &out->store.codec);
    return err == TS_OK ? ts_geometry_of(&out->store, &out->geometry) : err;
}

static int
run(void *arguments)
{
    const struct calc_args *args = arguments;
    struct calc calc;
    struct ts_text out;
    enum ts_err err = prepare(args, &calc);

    if (err != TS_OK)
        return cli_fail(&args->common, err, NULL);
    ts_text_init(&out);
    if (args->common.wants_json)
        show_json(&calc, &out);
    else
        show_text(&calc, &out);
    err = cli_print(&out);
    ts_text_done(&out);
    return err == TS_OK ? 0 : cli_fail(&args->common, err, NULL);
}

const struct cli_verb cmd_calc = {
    .name = "calc",
    .arguments = "",
    .summary = "Calculate what a store takes and holds",
    .notes =
        "The first block of figures is the formula of the first ts-store, the second what the\n"
        "files of this one take.\n",
    .options = options,
    .n_options = COUNTOF(options),
    .has_data_options = true,
    .args_bytes = sizeof(struct calc_args),
    .run = run,
};
