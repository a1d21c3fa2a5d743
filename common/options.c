/* options.c - defaults, names, and the sizes that follow from the options. */
#include "common/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPEN_BYTES_MAX 65536u /* beyond this zstd gains little and a reader copies more */
#define OPEN_BYTES_MIN 512u
#define EXTENT_BYTES_SMALL 256u /* headers alone are a sixth of this */
#define OPEN_RING_PART 16u      /* an open block is at most this part of the ring */
#define RECORD_BYTES_MAX (UINT64_C(0xffffffff) - 4096)

static const char *const type_names[] = {"binary", "text", "json", "schema"};
static const char *const codec_names[] = {"none", "zstd"};
static const char *const order_names[] = {"strict", "series", "any"};

void
ts_options_init(struct ts_options *options)
{
    *options = (struct ts_options){.num_blocks = 1024,
                                   .data_block_bytes = 4096,
                                   .index_block_bytes = 4096,
                                   .type = TS_TYPE_JSON,
                                   .codec = TS_CODEC_ZSTD,
                                   .order = TS_ORDER_STRICT,
                                   .duplicates = TS_DUPLICATES_LAST,
                                   .sync_ms = TS_SYNC_DEFAULT_MS,
                                   .max_future_ns = INT64_C(86400) * 1000000000};
}

enum ts_err
ts_type_parse(const char *text, enum ts_type *out_type)
{
    for (unsigned i = 0; i < 4; i++) {
        if (strcmp(text, type_names[i]) == 0) {
            *out_type = (enum ts_type)i;
            return TS_OK;
        }
    }
    return TS_FAIL_PLAIN(TS_E_TYPE);
}

const char *
ts_type_name(enum ts_type type)
{
    return (unsigned)type < 4 ? type_names[type] : "unknown";
}

enum ts_err
ts_codec_parse(const char *text, enum ts_codec *out_codec)
{
    for (unsigned i = 0; i < 2; i++) {
        if (strcmp(text, codec_names[i]) == 0) {
            *out_codec = (enum ts_codec)i;
            return TS_OK;
        }
    }
    return TS_FAIL(TS_E_CONFIG, "invalid config: codec must be none or zstd");
}

const char *
ts_codec_name(enum ts_codec codec)
{
    return (unsigned)codec < 2 ? codec_names[codec] : "unknown";
}

const char *
ts_order_name(enum ts_order order)
{
    return (unsigned)order < 3 ? order_names[order] : "unknown";
}

static const char *const on_future_names[] = {"refuse", "clamp"};

enum ts_err
ts_on_future_parse(const char *text, enum ts_on_future *out)
{
    for (unsigned i = 0; i < 2; i++) {
        if (strcmp(text, on_future_names[i]) == 0) {
            *out = (enum ts_on_future)i;
            return TS_OK;
        }
    }
    return TS_FAIL(TS_E_CONFIG, "invalid config: on_future must be refuse or clamp");
}

const char *
ts_on_future_name(enum ts_on_future on_future)
{
    return (unsigned)on_future < 2 ? on_future_names[on_future] : "unknown";
}

enum ts_err
ts_sync_parse(const char *text, uint32_t *out_sync_ms)
{
    static const char prefix[] = "interval:";
    unsigned long long ms;
    char *end;

    if (strcmp(text, "each") == 0) {
        *out_sync_ms = TS_SYNC_EACH;
        return TS_OK;
    }
    if (strcmp(text, "none") == 0) {
        *out_sync_ms = TS_SYNC_NONE;
        return TS_OK;
    }
    if (strncmp(text, prefix, sizeof prefix - 1) == 0) {
        text += sizeof prefix - 1;
        errno = 0;
        ms = strtoull(text, &end, 10);
        if (*text >= '0' && *text <= '9' && *end == '\0' && errno == 0 && ms >= 1 &&
            ms <= 86400000) {
            *out_sync_ms = (uint32_t)ms;
            return TS_OK;
        }
    }
    return TS_FAIL(TS_E_CONFIG,
                   "invalid config: sync must be each, none, or interval:<1 to 86400000 ms>");
}

void
ts_sync_name(uint32_t sync_ms, char *out_text, size_t out_bytes)
{
    if (sync_ms == TS_SYNC_EACH)
        snprintf(out_text, out_bytes, "each");
    else if (sync_ms == TS_SYNC_NONE)
        snprintf(out_text, out_bytes, "none");
    else
        snprintf(out_text, out_bytes, "interval:%u", sync_ms);
}

/* Not isalnum(): it asks the locale. */
static bool
is_name_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

bool
ts_name_is_valid(const char *name)
{
    size_t bytes = 0;

    if (name[0] == '.' || name[0] == '-')
        return false;
    while (is_name_byte(name[bytes]))
        if (++bytes > TS_MAX_NAME_BYTES)
            return false;
    return bytes > 0 && name[bytes] == '\0';
}

static bool
is_block_size(uint32_t bytes)
{
    return bytes >= 64 && (bytes & (bytes - 1)) == 0;
}

static uint8_t
log2_of(uint64_t bytes)
{
    return (uint8_t)(63 - __builtin_clzll(bytes));
}

enum ts_err
ts_geometry_of(const struct ts_options *options, struct ts_geometry *out_geometry)
{
    struct ts_geometry g = {0};
    uint32_t extent_bytes;

    if (options->num_blocks == 0)
        return TS_FAIL(TS_E_CONFIG, "invalid config: number of blocks must be greater than 0");
    if (!is_block_size(options->data_block_bytes) || !is_block_size(options->index_block_bytes))
        return TS_FAIL(TS_E_CONFIG,
                       "invalid config: block size must be a power of 2 and at least 64 bytes");
    if (options->order != TS_ORDER_STRICT)
        return TS_FAIL(TS_E_CONFIG, "invalid config: order %s is not known to this version",
                       ts_order_name(options->order));
    if ((unsigned)options->type > TS_TYPE_SCHEMA || (unsigned)options->codec > TS_CODEC_ZSTD ||
        (unsigned)options->duplicates > TS_DUPLICATES_KEEP)
        return TS_FAIL(TS_E_CONFIG, "invalid config: unknown type, codec or duplicates");
    if (options->max_age_ns < 0 || options->max_future_ns < 0 ||
        (unsigned)options->on_future > TS_ON_FUTURE_CLAMP)
        return TS_FAIL(TS_E_CONFIG, "invalid config: max_age and max_future must not be negative");
    g.ring_bytes = (uint64_t)options->num_blocks * options->data_block_bytes;
    g.block_shift = log2_of(options->data_block_bytes);
    g.index_shift = log2_of(options->index_block_bytes);

    g.open_bytes = OPEN_BYTES_MAX;
    while (g.open_bytes > OPEN_BYTES_MIN && g.open_bytes > g.ring_bytes / OPEN_RING_PART)
        g.open_bytes /= 2;
    g.open_shift = log2_of(g.open_bytes);
    g.block_bytes_limit = g.ring_bytes / 4 < UINT32_MAX ? (uint32_t)(g.ring_bytes / 4) : UINT32_MAX;
    g.head_bytes = sizeof(struct ts_head) + (uint64_t)TS_HEAD_SLOTS * g.open_bytes;

    /* Compression makes extents small: provide for one thirty-second of an open block each, or what
     * a small block can shrink to. With less the ring would end up index-bound, with more the index
     * would eat what zstd saved. */
    extent_bytes = g.open_bytes / (options->codec == TS_CODEC_NONE ? 4 : 32);
    if (extent_bytes < EXTENT_BYTES_SMALL)
        extent_bytes = EXTENT_BYTES_SMALL;
    g.n_index = g.ring_bytes / extent_bytes;
    if (g.n_index < 64)
        g.n_index = 64;
    g.index_bytes = g.n_index * sizeof(struct ts_index_entry);
    g.index_bytes = (g.index_bytes + options->index_block_bytes - 1) &
                    ~((uint64_t)options->index_block_bytes - 1);
    g.n_index = g.index_bytes / sizeof(struct ts_index_entry);

    /* One record alone: header, its columns padded with the body, a delete map of 8. */
    g.max_record_bytes = g.ring_bytes - sizeof(struct ts_extent) - 8 - TS_EXTENT_RECORD_BYTES;
    if (g.max_record_bytes > RECORD_BYTES_MAX)
        g.max_record_bytes = RECORD_BYTES_MAX;
    *out_geometry = g;
    return TS_OK;
}

uint64_t
ts_max_record_bytes(const struct ts_options *options)
{
    struct ts_geometry g;

    return ts_geometry_of(options, &g) == TS_OK ? g.max_record_bytes : 0;
}

const char *
ts_version(void)
{
    return TS_VERSION;
}
