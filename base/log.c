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

static int json_line(const char *when, enum log_level level, const char *message,
                     struct bytes *line)
{
    CLEANUP(js_cleanup) struct js *o = js_object_new();
    if (!o || js_set(o, "time", js_text_new(when), NULL) ||
        js_set(o, "level", js_text_new(level_name(level)), NULL) ||
        js_set(o, "program", js_text_new(settings.program), NULL) ||
        js_set(o, "message", js_text_new(message), NULL))
        return E_NOMEM;
    int rc = js_write(o, false, line, NULL);
    return rc ? rc : bytes_append_text(line, "\n", NULL);
}

static void write_line(enum log_level level, const char *text)
{
    struct error escaped = ERROR_INIT; /* borrowed for its escaping of outside bytes */
    char when[CLOCK_TEXT_MAX];
    (void)fail(&escaped, E_INTERNAL, "%s", text);
    CLEANUP(bytes_done) struct bytes line = BYTES_INIT;
    clock_format(clock_now_s(), when);
    if (settings.form == LOG_TEXT || json_line(when, level, escaped.message, &line)) {
        bytes_clear(&line);
        if (bytes_append_format(&line, NULL, "%s %s: %s: %s\n", when, settings.program,
                                level_name(level), escaped.message))
            return;
    }
    /* A log that cannot be written must not stop what it describes. */
    if (write(STDERR_FILENO, line.data, line.len) < 0)
        return;
}

void log_write(enum log_level level, const char *format, ...)
{
    if (level > settings.level)
        return;
    int saved = errno;
    char text[ERROR_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    write_line(level, text);
    errno = saved;
}
