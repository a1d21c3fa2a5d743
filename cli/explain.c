/* explain.c - the rows of the configuration's table, as they are. */
#include "cli/explain.h"

#include "cli/output.h"

#include <string.h>

#define VALUE_COLUMN_MAX 48 /* a longer value moves its origin to the right */

/* Pads what follows `start` with blanks to `width` characters; at least two blanks. */
static void
pad(struct ts_text *out, size_t start, size_t width)
{
    const size_t used = out->bytes - start;

    ts_text_printf(out, "%*s", (int)(used < width ? width - used + 2 : 2), "");
}

void
explain_text(const struct ts_config *config, struct ts_text *out)
{
    struct ts_config_entry entry;
    size_t key_width = 0, value_width = 0;

    for (size_t i = 0; ts_config_entry_get(config, i, &entry); i++) {
        const size_t key_bytes = strlen(entry.key), value_bytes = strlen(entry.value);

        key_width = key_bytes > key_width ? key_bytes : key_width;
        if (value_bytes > value_width && value_bytes <= VALUE_COLUMN_MAX)
            value_width = value_bytes;
    }
    ts_text_puts(out, "Config file: ");
    if (config->file[0] != '\0')
        cli_add_visible(out, config->file, strlen(config->file));
    else
        ts_text_puts(out, "none");
    ts_text_puts(out, "\n\n");
    for (size_t i = 0; ts_config_entry_get(config, i, &entry); i++) {
        size_t start = out->bytes;

        ts_text_puts(out, entry.key);
        pad(out, start, key_width);
        start = out->bytes;
        if (entry.value[0] != '\0')
            cli_add_visible(out, entry.value, strlen(entry.value));
        else
            ts_text_puts(out, "-");
        pad(out, start, value_width);
        cli_add_visible(out, entry.origin, strlen(entry.origin));
        ts_text_puts(out, "\n");
    }
}

void
explain_json(const struct ts_config *config, struct ts_text *out)
{
    struct ts_config_entry entry;

    if (config->file[0] != '\0')
        cli_json_text(out, "{", "file", config->file);
    else
        ts_text_puts(out, "{\"file\":null");
    ts_text_puts(out, ",\"values\":[");
    for (size_t i = 0; ts_config_entry_get(config, i, &entry); i++) {
        cli_json_text(out, i == 0 ? "{" : ",{", "key", entry.key);
        cli_json_text(out, ",", "value", entry.value);
        cli_json_text(out, ",", "source", ts_config_source_name(entry.source));
        cli_json_text(out, ",", "origin", entry.origin);
        if (entry.env != NULL)
            cli_json_text(out, ",", "environment", entry.env);
        ts_text_puts(out, "}");
    }
    ts_text_puts(out, "]}\n");
}
