/* options.c - names, and the sizes that follow from a store's options. */
#include "tests/unit/store_scratch.h"

TestSuite(options, .timeout = 60);

Test(options, defaults_are_those_of_the_contract)
{
    struct ts_options o;
    struct ts_geometry g;

    ts_options_init(&o);
    cr_expect_eq(o.num_blocks, 1024u);
    cr_expect_eq(o.data_block_bytes, 4096u);
    cr_expect_eq(o.index_block_bytes, 4096u);
    cr_expect_eq(o.type, TS_TYPE_JSON);
    cr_expect_eq(o.codec, TS_CODEC_ZSTD);
    cr_expect_eq(o.order, TS_ORDER_STRICT);
    cr_expect_eq(o.sync_ms, TS_SYNC_DEFAULT_MS);
    cr_assert_eq(ts_geometry_of(&o, &g), TS_OK);
    cr_expect_eq(g.ring_bytes, 4194304u);
}

static const struct {
    const char *label;
    uint32_t num_blocks, data_bytes, index_bytes;
    bool is_legal;
} geometries[] = {
    {"the smallest", 1, 64, 64, true},
    {"one block", 1, 4096, 4096, true},
    {"many small ones", 100000, 64, 64, true},
    {"large index blocks", 1, 64, 1u << 20, true},
    {"a terabyte", 1u << 28, 4096, 4096, true},
    {"all there can be", UINT32_MAX, 1u << 31, 1u << 31, true},
    {"no block", 0, 4096, 4096, false},
    {"no bytes", 1, 0, 4096, false},
    {"too small", 1, 32, 4096, false},
    {"no power of two", 1, 96, 4096, false},
    {"no power of two, by one", 1, 4097, 4096, false},
    {"no power of two, large", 1, UINT32_MAX, 4096, false},
    {"no index bytes", 1, 4096, 0, false},
    {"small index blocks", 1, 4096, 32, false},
    {"odd index blocks", 1, 4096, 100, false},
};

Test(options, every_legal_geometry_has_sizes_that_hold_together)
{
    for (size_t i = 0; i < COUNTOF(geometries); i++) {
        for (enum ts_codec codec = TS_CODEC_NONE; codec <= TS_CODEC_ZSTD; codec++) {
            struct ts_options o;
            struct ts_geometry g;
            const char *label = geometries[i].label;

            ts_options_init(&o);
            o.num_blocks = geometries[i].num_blocks;
            o.data_block_bytes = geometries[i].data_bytes;
            o.index_block_bytes = geometries[i].index_bytes;
            o.codec = codec;
            cr_expect_eq(ts_geometry_of(&o, &g) == TS_OK, geometries[i].is_legal, "%s", label);
            cr_expect_eq(ts_max_record_bytes(&o) > 0, geometries[i].is_legal, "%s", label);
            if (!geometries[i].is_legal) {
                cr_expect(strstr(ts_error_text(), "invalid config: ") == ts_error_text());
                continue;
            }
            cr_expect_eq(g.ring_bytes, (uint64_t)o.num_blocks * o.data_block_bytes, "%s", label);
            cr_expect_eq(g.index_bytes % o.index_block_bytes, 0u, "%s", label);
            cr_expect_eq(g.index_bytes, g.n_index * sizeof(struct ts_index_entry), "%s", label);
            cr_expect_geq(g.n_index, 64u, "%s", label);
            cr_expect_eq(g.open_bytes, 1u << g.open_shift, "%s", label);
            cr_expect(g.open_bytes >= 512 && g.open_bytes <= 65536, "%s", label);
            cr_expect(g.open_bytes == 512 || g.open_bytes <= g.ring_bytes / 16, "%s", label);
            cr_expect_eq(g.head_bytes, sizeof(struct ts_head) + 2 * (uint64_t)g.open_bytes, "%s",
                         label);
            /* The largest record fits the ring, and no larger one does. */
            cr_expect_leq(ts_extent_raw_bytes(1, g.max_record_bytes), g.ring_bytes, "%s", label);
            cr_expect(g.max_record_bytes > (UINT64_C(1) << 31) ||
                          ts_extent_raw_bytes(1, g.max_record_bytes + 1) > g.ring_bytes,
                      "%s", label);
            cr_expect_leq(ts_extent_raw_bytes(1, g.max_record_bytes), UINT32_MAX, "%s", label);
        }
    }
}

Test(options, what_this_version_does_not_know_is_refused)
{
    struct ts_options o;
    struct ts_geometry g;

    ts_options_init(&o);
    o.order = TS_ORDER_ANY;
    cr_expect_eq(ts_geometry_of(&o, &g), TS_E_CONFIG);
    ts_options_init(&o);
    o.order = (enum ts_order)77;
    cr_expect_eq(ts_geometry_of(&o, &g), TS_E_CONFIG);
    ts_options_init(&o);
    o.type = (enum ts_type)4;
    cr_expect_eq(ts_geometry_of(&o, &g), TS_E_CONFIG);
    ts_options_init(&o);
    o.codec = (enum ts_codec)2;
    cr_expect_eq(ts_geometry_of(&o, &g), TS_E_CONFIG);
    ts_options_init(&o);
    o.duplicates = (enum ts_duplicates)3;
    cr_expect_eq(ts_geometry_of(&o, &g), TS_E_CONFIG);
}

Test(options, names_and_numbers_are_each_others_inverse)
{
    static const char *const types[] = {"binary", "text", "json", "schema"};
    enum ts_type type;
    enum ts_codec codec;

    for (unsigned i = 0; i < COUNTOF(types); i++) {
        cr_assert_eq(ts_type_parse(types[i], &type), TS_OK);
        cr_expect_eq((unsigned)type, i);
        cr_expect_str_eq(ts_type_name(type), types[i]);
    }
    cr_expect_eq(ts_type_parse("JSON", &type), TS_E_TYPE);
    cr_expect_eq(ts_type_parse("", &type), TS_E_TYPE);
    cr_expect_str_eq(ts_error_text(), "invalid data type: must be binary, text, json, or schema");
    cr_assert_eq(ts_codec_parse("zstd", &codec), TS_OK);
    cr_expect_eq(codec, TS_CODEC_ZSTD);
    cr_expect_str_eq(ts_codec_name(codec), "zstd");
    cr_expect_eq(ts_codec_parse("lz4", &codec), TS_E_CONFIG);
    cr_expect_str_eq(ts_order_name(TS_ORDER_STRICT), "strict");
    cr_expect_str_eq(ts_type_name((enum ts_type)99), "unknown");
    cr_expect_str_eq(ts_codec_name((enum ts_codec)99), "unknown");
    cr_expect_str_eq(ts_order_name((enum ts_order)99), "unknown");
}

static const struct {
    const char *text;
    bool is_good;
    uint32_t sync_ms;
} syncs[] = {
    {"each", true, TS_SYNC_EACH},
    {"none", true, TS_SYNC_NONE},
    {"interval:1", true, 1},
    {"interval:1000", true, 1000},
    {"interval:86400000", true, 86400000},
    {"interval:0", false, 0},
    {"interval:86400001", false, 0},
    {"interval:", false, 0},
    {"interval: 5", false, 0},
    {"interval:+5", false, 0},
    {"interval:-5", false, 0},
    {"interval:5ms", false, 0},
    {"interval:99999999999999999999", false, 0},
    {"interval", false, 0},
    {"Each", false, 0},
    {"", false, 0},
};

Test(options, sync_modes_are_parsed_and_named)
{
    for (size_t i = 0; i < COUNTOF(syncs); i++) {
        uint32_t sync_ms = 12345;
        char name[40];

        cr_expect_eq(ts_sync_parse(syncs[i].text, &sync_ms), syncs[i].is_good ? TS_OK : TS_E_CONFIG,
                     "%s", syncs[i].text);
        cr_expect_eq(sync_ms, syncs[i].is_good ? syncs[i].sync_ms : 12345u, "%s", syncs[i].text);
        if (!syncs[i].is_good)
            continue;
        ts_sync_name(sync_ms, name, sizeof name);
        cr_expect_str_eq(name, syncs[i].text);
    }
}

static const struct {
    const char *name;
    bool is_good;
} names[] = {
    {"a", true},     {"A-b.c_9", true}, {"_x", true},   {"9", true},         {"", false},
    {".", false},    {"..", false},     {".a", false},  {"-a", false},       {"a/b", false},
    {"/", false},    {"a b", false},    {"a\n", false}, {"\xc3\xa4", false}, {"a\\b", false},
    {"a%2f", false}, {"a:b", false},
};

Test(options, names_of_stores_are_plain_file_names)
{
    char longest[TS_MAX_NAME_BYTES + 2];

    for (size_t i = 0; i < COUNTOF(names); i++)
        cr_expect_eq(ts_name_is_valid(names[i].name), names[i].is_good, "'%s'", names[i].name);
    memset(longest, 'x', sizeof longest);
    longest[TS_MAX_NAME_BYTES] = '\0';
    cr_expect(ts_name_is_valid(longest));
    longest[TS_MAX_NAME_BYTES] = 'x';
    longest[TS_MAX_NAME_BYTES + 1] = '\0';
    cr_expect_not(ts_name_is_valid(longest));
}
