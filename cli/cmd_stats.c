/* cmd_stats.c - tsstore stats <store>: one consistent look at its files. */
#include "cli/output.h"
#include "cli/verbs.h"
#include "cli/when.h"
#include "common/limits.h"

#include <inttypes.h>

static void
add_json_u64(struct ts_text *out, const char *name, uint64_t value)
{
    ts_text_printf(out, ",\"%s\":%" PRIu64, name, value);
}

/* The fields of the REST answer in its order, and the name. */
static void
stats_json(const struct ts_view *view, const struct ts_stats *stats, struct ts_text *out)
{
    const struct ts_options *options = ts_view_options(view);
    char sync[32];

    ts_sync_name(options->sync_ms, sync, sizeof sync);
    ts_text_printf(out, "{\"num_blocks\":%" PRIu32, options->num_blocks);
    add_json_u64(out, "data_block_size", options->data_block_bytes);
    add_json_u64(out, "index_block_size", options->index_block_bytes);
    cli_json_text(out, ",", "data_type", ts_type_name(options->type));
    add_json_u64(out, "head_block", stats->head_block);
    add_json_u64(out, "tail_block", stats->tail_block);
    add_json_u64(out, "write_offset", stats->write_offset);
    add_json_u64(out, "active_blocks", stats->active_blocks);
    if (stats->has_records) {
        cli_json_number(out, ",", "oldest_timestamp", stats->oldest_time_ns);
        ts_text_puts(out, ",\"oldest_time\":\"");
        ts_text_time(out, stats->oldest_time_ns);
        cli_json_number(out, "\",", "newest_timestamp", stats->newest_time_ns);
        ts_text_puts(out, ",\"newest_time\":\"");
        ts_text_time(out, stats->newest_time_ns);
        ts_text_puts(out, "\"");
    }
    cli_json_text(out, ",", "name", ts_view_name(view));
    cli_json_text(out, ",", "codec", ts_codec_name(options->codec));
    cli_json_text(out, ",", "order", ts_order_name(options->order));
    cli_json_text(out, ",", "sync", sync);
    ts_limits_json(options, out);
    add_json_u64(out, "generation", stats->state.generation);
    add_json_u64(out, "record_count", stats->n_records);
    add_json_u64(out, "oldest_record", stats->state.oldest_no);
    add_json_u64(out, "next_record", stats->state.next_no);
    add_json_u64(out, "durable_record", stats->durable_no);
    add_json_u64(out, "ring_bytes", stats->ring_bytes);
    add_json_u64(out, "ring_used_bytes", stats->ring_used_bytes);
    add_json_u64(out, "sealed_blocks", stats->n_sealed_blocks);
    add_json_u64(out, "file_bytes", stats->file_bytes);
    ts_text_puts(out, "}\n");
}

static void
stats_text(const struct ts_view *view, const struct ts_stats *stats, struct ts_text *out)
{
    const struct ts_options *options = ts_view_options(view);
    char sync[32], used[CLI_HUMAN_BYTES], ring[CLI_HUMAN_BYTES], files[CLI_HUMAN_BYTES];
    char oldest[CLI_TIME_BYTES], newest[CLI_TIME_BYTES];
    const double percent = stats->ring_bytes > 0
                               ? 100.0 * (double)stats->ring_used_bytes / (double)stats->ring_bytes
                               : 0;

    ts_sync_name(options->sync_ms, sync, sizeof sync);
    cli_human_bytes(stats->ring_used_bytes, used);
    cli_human_bytes(stats->ring_bytes, ring);
    cli_human_bytes(stats->file_bytes, files);
    ts_text_printf(out, "Store: %s\n", ts_view_name(view));
    ts_text_printf(out, "  Type:         %s\n", ts_type_name(options->type));
    ts_text_printf(out, "  Blocks:       %" PRIu32 " of %" PRIu32 " bytes\n", options->num_blocks,
                   options->data_block_bytes);
    ts_text_printf(out, "  Codec, sync:  %s, %s\n", ts_codec_name(options->codec), sync);
    ts_text_printf(out, "  Ring used:    %s of %s (%.1f%%)\n", used, ring, percent);
    ts_text_printf(out, "  Files:        %s\n", files);
    ts_text_printf(out, "  Records:      %" PRIu64 "\n", stats->n_records);
    if (!stats->has_records) {
        ts_text_puts(out, "  Time range:   (empty)\n");
        return;
    }
    cli_time_text(stats->oldest_time_ns, oldest);
    cli_time_text(stats->newest_time_ns, newest);
    ts_text_printf(out, "  Numbers:      %" PRIu64 " to %" PRIu64 ", durable to %" PRIu64 "\n",
                   stats->state.oldest_no, stats->state.next_no - 1, stats->durable_no);
    ts_text_printf(out, "  Time range:   %s to %s\n", oldest, newest);
}

static int
run(void *args)
{
    const struct cli_common *common = args;
    struct ts_view *view = NULL;
    struct ts_config config;
    struct ts_stats stats;
    struct ts_text out;
    enum ts_err err = cli_load_config(common, &config);

    ts_text_init(&out);
    if (err == TS_OK)
        err = ts_view_open(config.base_path, common->arguments[0], &view);
    if (err == TS_OK)
        err = ts_view_stats(view, &stats);
    if (err == TS_OK) {
        if (common->wants_json)
            stats_json(view, &stats, &out);
        else
            stats_text(view, &stats, &out);
        err = cli_print(&out);
    }
    ts_text_done(&out);
    ts_view_close(view);
    return err == TS_OK ? 0 : cli_fail(common, err, NULL);
}

const struct cli_verb cmd_stats = {
    .name = "stats",
    .arguments = "<store>",
    .summary = "Show size, fill and time range of a store",
    .notes = "Reads the files, beside a running server or without one; needs no key.\n",
    .has_data_options = true,
    .min_arguments = 1,
    .max_arguments = 1,
    .missing_text = "Error: store name required",
    .args_bytes = sizeof(struct cli_common),
    .run = run,
};
