/* yaml.h - reads the YAML that API descriptions are written in, as a JSON tree.
 *
 * Purpose    `tsstore swagger` hands openapi.yaml to programs that read JSON.
 * Invariant  What is read is read as libyaml understands YAML; what a JSON tree can't hold is
 *            refused with its line, never guessed. Not read: anchors, aliases, tags, keys that are
 *            no text, directives, a second document. Every JSON text gives its own tree.
 * Ownership  *out is given back with json_decref().
 * Threads    No state.
 * Errors     TS_E_PARAM, the text starts with the line; TS_E_LIMIT, TS_E_NOMEM. *out is untouched.
 * Source     Plain scalars: the core schema of YAML 1.2.2 without 0x, 0o, .inf, .nan.
 */
#ifndef CLI_YAML_H
#define CLI_YAML_H

#include "common/error.h"

#include <jansson.h>
#include <stddef.h>

#define YAML_MAX_BYTES (8u * 1024u * 1024u)
#define YAML_MAX_DEPTH 64

enum ts_err yaml_parse(const char *text, size_t bytes, json_t **out) TS_MUST_USE;

#endif
