/* cmd_create.c - tsstore create <name>: a store and its first key, no server needed. */
#include "cli/output.h"
#include "cli/verbs.h"
#include "common/keys.h"
#include "common/limits.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct create_args {
    struct cli_common common;
    struct cli_number blocks, data_size, index_size;
    const char *type, *codec, *sync;
    struct ts_limits limits;
};

#define SIZE_ROW(option, field, text)                                                              \
    {                                                                                              \
        .name = option, .kind = CLI_NUMBER, .placeholder = "N", .help = text,                      \
        .offset = offsetof(struct create_args, field), .max = UINT32_MAX                           \
    }
#define TEXT_ROW(option, field, value, text)                                                       \
    {                                                                                              \
        .name = option, .kind = CLI_TEXT, .placeholder = value, .help = text,                      \
        .offset = offsetof(struct create_args, field)                                              \
    }

static const struct cli_option options[] = {
    SIZE_ROW("blocks", blocks, "number of blocks (store.num_blocks, 1024)"),
    SIZE_ROW("data-size", data_size, "bytes of a block, a power of two (store.data_block_size)"),
    SIZE_ROW("index-size", index_size, "what the index file is a multiple of"),
    TEXT_ROW("type", type, "TYPE", "json (default), text, binary, schema"),
    TEXT_ROW("codec", codec, "CODEC", "zstd (default), none"),
    TEXT_ROW("sync", sync, "MODE", "each, none, interval:<ms> (default interval:1000)"),
    TEXT_ROW("max-age", limits.max_age, "AGE", "hide records older than this: 30d, 12h (none)"),
    TEXT_ROW("max-future", limits.max_future, "TIME",
             "how far ahead of the clock a timestamp may be: 1d (default), none"),
    TEXT_ROW("on-future", limits.on_future, "WHAT", "refuse (default) what is further, or clamp"),
};

/* Command line over configuration over what the library has. */
static enum ts_err
read_options(const struct create_args *args, const struct ts_config *config, struct ts_options *out)
{
    enum ts_err err = TS_OK;

    ts_options_init(out);
    out->num_blocks = args->blocks.is_given ? (uint32_t)args->blocks.value : config->num_blocks;
    out->data_block_bytes =
        args->data_size.is_given ? (uint32_t)args->data_size.value : config->data_block_bytes;
    out->index_block_bytes =
        args->index_size.is_given ? (uint32_t)args->index_size.value : config->index_block_bytes;
    if (args->type != NULL)
        err = ts_type_parse(args->type, &out->type);
    if (err == TS_OK && args->codec != NULL)
        err = ts_codec_parse(args->codec, &out->codec);
    if (err == TS_OK && args->sync != NULL)
        err = ts_sync_parse(args->sync, &out->sync_ms);
    if (err == TS_OK)
        err = ts_limits_parse(&args->limits, out);
    return err;
}

/* Makes the directory and those above it. */
static enum ts_err
make_directories(const char *path)
{
    char part[TS_CONFIG_PATH_BYTES];
    const size_t bytes = strlen(path);

    if (bytes >= sizeof part)
        return TS_FAIL(TS_E_CONFIG, "path is too long: %zu bytes", bytes);
    memcpy(part, path, bytes + 1);
    for (size_t i = 1; i <= bytes; i++) {
        if (part[i] != '/' && part[i] != '\0')
            continue;
        part[i] = '\0';
        if (mkdir(part, 0755) != 0 && errno != EEXIST)
            return TS_FAIL_ERRNO(TS_E_IO, "make directory %s", part);
        part[i] = path[i];
    }
    return TS_OK;
}

/* Takes back a store that nobody has a key for. Only plain files are in it. */
static void
remove_store(const char *store_dir)
{
    DIR *dir = opendir(store_dir);

    if (dir == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        unlinkat(dirfd(dir), entry->d_name, 0); /* refuses "." and ".." */
    closedir(dir);
    rmdir(store_dir);
}

static enum ts_err
create(const struct ts_config *config, const char *name, const struct ts_options *store,
       char store_dir[PATH_MAX], char out_key[TS_KEY_TEXT_BYTES])
{
    enum ts_err err;

    if (!ts_name_is_valid(name)) /* before a directory is made for it */
        return TS_FAIL_PLAIN(TS_E_NAME);
    err = make_directories(config->base_path);
    if (err == TS_OK)
        err = ts_store_create(config->base_path, name, store);
    if (err != TS_OK)
        return err;
    snprintf(store_dir, PATH_MAX, "%s/%s", config->base_path, name);
    err = ts_keys_create(store_dir, name, "Initial key", out_key);
    if (err != TS_OK)
        remove_store(store_dir);
    return err;
}

static void
show(const struct create_args *args, const struct ts_options *store, const char *store_dir,
     const char *key, struct ts_text *out)
{
    const char *name = args->common.arguments[0];
    char id[TS_KEY_ID_BYTES], sync[32];

    ts_key_id(key, id);
    ts_sync_name(store->sync_ms, sync, sizeof sync);
    if (args->common.wants_json) {
        cli_json_text(out, "{", "name", name);
        cli_json_text(out, ",", "path", store_dir);
        cli_json_text(out, ",", "data_type", ts_type_name(store->type));
        cli_json_number(out, ",", "num_blocks", store->num_blocks);
        cli_json_number(out, ",", "data_block_size", store->data_block_bytes);
        cli_json_number(out, ",", "index_block_size", store->index_block_bytes);
        cli_json_text(out, ",", "codec", ts_codec_name(store->codec));
        cli_json_text(out, ",", "sync", sync);
        ts_limits_json(store, out);
        cli_json_text(out, ",", "key_id", id);
        cli_json_text(out, ",", "api_key", key);
        ts_text_puts(out, "}\n");
        return;
    }
    ts_text_printf(out, "=== STORE CREATED ===\nName:        %s\nPath:        %s\n", name,
                   store_dir);
    ts_text_printf(out, "Data Type:   %s\nBlocks:      %" PRIu32 "\n", ts_type_name(store->type),
                   store->num_blocks);
    ts_text_printf(out, "Data Size:   %" PRIu32 " bytes\nIndex Size:  %" PRIu32 " bytes\n",
                   store->data_block_bytes, store->index_block_bytes);
    ts_text_printf(out, "Codec:       %s\nSync:        %s\n", ts_codec_name(store->codec), sync);
    ts_text_printf(out, "\nKey ID:      %s\nAPI Key:     %s\n", id, key);
    ts_text_puts(out, "\nWARNING: The API key is shown only once. Save it securely!\n");
}

static int
run(void *arguments)
{
    const struct create_args *args = arguments;
    char store_dir[PATH_MAX], key[TS_KEY_TEXT_BYTES];
    struct ts_options store;
    struct ts_config config;
    struct ts_text out;
    enum ts_err err = cli_load_config(&args->common, &config);

    if (err != TS_OK)
        return cli_fail(&args->common, err, NULL);
    err = read_options(args, &config, &store);
    if (err == TS_OK)
        err = create(&config, args->common.arguments[0], &store, store_dir, key);
    ts_config_wipe(&config);
    if (err != TS_OK)
        return cli_fail(&args->common, err, "Failed to create store");
    ts_text_init(&out);
    show(args, &store, store_dir, key, &out);
    err = cli_print(&out);
    ts_text_done(&out);
    if (err == TS_OK)
        err = cli_flush();
    if (err != TS_OK) /* a key that nobody saw is of no use */
        TS_CONTEXT("the store is made, get a key by 'key regenerate'");
    explicit_bzero(key, sizeof key);
    return err == TS_OK ? 0 : cli_fail(&args->common, err, NULL);
}

const struct cli_verb cmd_create = {
    .name = "create",
    .arguments = "<name>",
    .summary = "Create a store and its first API key",
    .notes = "Works on the files, with or without a running server. The API key is on the line\n"
             "that starts with \"API Key:\"; it is shown this once. Names: 1 to 128 of\n"
             "A-Z a-z 0-9 . _ - that start with neither . nor -.\n",
    .options = options,
    .n_options = COUNTOF(options),
    .has_data_options = true,
    .min_arguments = 1,
    .max_arguments = 1,
    .missing_text = "Error: store name required",
    .args_bytes = sizeof(struct create_args),
    .run = run,
};
