/* error.c - the table of errors.def and the calling thread's text. */
#include "common/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int http_status;
    int exit_code;
    const char *text;
} errors[] = {
#define X(id, name, http, code, text) [id] = {name, http, code, text},
#include "common/errors.def"
#undef X
};

static _Thread_local char error_text[TS_ERROR_TEXT_BYTES];

static bool
is_known(enum ts_err err)
{
    return (size_t)err < sizeof errors / sizeof errors[0];
}

enum ts_err
ts_error_set(enum ts_err err, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(error_text, sizeof error_text, format, args);
    va_end(args);
    return err;
}

enum ts_err
ts_error_set_errno(enum ts_err err, int saved_errno, const char *format, ...)
{
    char reason[128];
    size_t used;
    va_list args;

    va_start(args, format);
    vsnprintf(error_text, sizeof error_text, format, args);
    va_end(args);
    used = strlen(error_text);
    snprintf(error_text + used, sizeof error_text - used, ": %s",
             strerror_r(saved_errno, reason, sizeof reason));
    if (saved_errno == ENOSPC || saved_errno == EDQUOT)
        return TS_E_FULL;
    if (saved_errno == ENOMEM)
        return TS_E_NOMEM;
    return err;
}

void
ts_error_context(const char *format, ...)
{
    char before[TS_ERROR_TEXT_BYTES];
    size_t used;
    va_list args;

    memcpy(before, error_text, sizeof before);
    va_start(args, format);
    vsnprintf(error_text, sizeof error_text / 2, format, args);
    va_end(args);
    /* The cut, if any, falls on the inner text: the outer context says where to look. */
    used = strlen(error_text);
    error_text[used++] = ':';
    error_text[used++] = ' ';
    before[sizeof error_text - used - 1] = '\0';
    memcpy(error_text + used, before, strlen(before) + 1);
}

const char *
ts_error_text(void)
{
    return error_text;
}

const char *
ts_error_name(enum ts_err err)
{
    return is_known(err) ? errors[err].name : "unknown";
}

int
ts_error_http_status(enum ts_err err)
{
    return is_known(err) ? errors[err].http_status : 500;
}

int
ts_error_exit_code(enum ts_err err)
{
    return is_known(err) ? errors[err].exit_code : 1;
}

const char *
ts_error_default_text(enum ts_err err)
{
    return is_known(err) ? errors[err].text : "unknown error";
}
