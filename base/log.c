#include "base/log.h"

#include "base/clock.h"
#include "base/json.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

static struct {
    const char *program;
    enum log_level level;
    enum log_form form;
} settings = {"bulla", LOG_LEVEL_WARN, LOG_TEXT};

void log_setup(const char *program, enum log_level level, enum log_form form)
{
    settings.program = program;
    settings.level = level;
    settings.form = form;
}

static const char *level_name(enum log_level level)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    return names[level];
}

struct line {
    enum log_level level;
    const struct log_field *fields;
    size_t n_fields;
};

/* Text from outside may be no UTF-8 or hold control characters: escaped as messages are. */
static struct js *field_value(const struct log_field *field)
{
    struct error escaped = ERROR_INIT;
    if (!field->text)
        return js_int_new(field->number);
    (void)fail(&escaped, E_INTERNAL, "%s", field->text);
    return js_text_new(escaped.message);
}

static int json_line(const char *when, const struct line *about, const char *message,
                     struct bytes *line)
{
    CLEANUP(js_cleanup) struct js *o = js_object_new();
    if (!o || js_set(o, "time", js_text_new(when), NULL) ||
        js_set(o, "level", js_text_new(level_name(about->level)), NULL) ||
        js_set(o, "program", js_text_new(settings.program), NULL) ||
        js_set(o, "message", js_text_new(message), NULL))
        return E_NOMEM;
    for (size_t i = 0; i < about->n_fields; i++)
        if (js_set(o, about->fields[i].name, field_value(&about->fields[i]), NULL))
            return E_NOMEM;
    int rc = js_write(o, false, line, NULL);
    return rc ? rc : bytes_append_text(line, "\n", NULL);
}

static void write_line(const struct line *about, const char *text)
{
    struct error escaped = ERROR_INIT; /* borrowed for its escaping of outside bytes */
    char when[CLOCK_TEXT_MAX];
    (void)fail(&escaped, E_INTERNAL, "%s", text);
    CLEANUP(bytes_done) struct bytes line = BYTES_INIT;
    clock_format(clock_now_s(), when);
    if (settings.form == LOG_TEXT || json_line(when, about, escaped.message, &line)) {
        bytes_clear(&line);
        if (bytes_append_format(&line, NULL, "%s %s: %s: %s\n", when, settings.program,
                                level_name(about->level), escaped.message))
            return;
    }
    /* A log that cannot be written must not stop what it describes. */
    if (write(STDERR_FILENO, line.data, line.len) < 0)
        return;
}

static PRINTF_LIKE(2, 0) void write_formatted(const struct line *about, const char *format,
                                              va_list args)
{
    int saved = errno;
    char text[ERROR_MESSAGE_MAX];
    (void)vsnprintf(text, sizeof text, format, args);
    write_line(about, text);
    errno = saved;
}

void log_write(enum log_level level, const char *format, ...)
{
    const struct line about = {level, NULL, 0};
    va_list args;
    if (level > settings.level)
        return;
    va_start(args, format);
    write_formatted(&about, format, args);
    va_end(args);
}

void log_event(enum log_level level, const struct log_field *fields, size_t n, const char *format,
               ...)
{
    const struct line about = {level, fields, n};
    va_list args;
    if (level > settings.level)
        return;
    va_start(args, format);
    write_formatted(&about, format, args);
    va_end(args);
}
