/* The lines on stderr, and the rule that printing one never stops PID 1 (report.py). */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <termios.h>
#include <unistd.h>

#include "pyinit.h"

#ifndef RWF_NOWAIT
#define RWF_NOWAIT 8
#endif

enum { STDERR = 2, WHOLE = 1 << 30 };

KEPT struct report report = {.verbosity = WARNINGS, .fd = STDERR};

/* A text is longer than a line may be by so much that cutting it here changes nothing there. */
static char message[LIMIT + 64], line[LIMIT + 64];

/* A description of our own, which does not block, where stderr is a terminal: it says "writable" when one byte fits. */
void report_open(void) {
    if (!is_terminal(STDERR))
        return;
    int fd = open_file("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY);
    if (fd >= 0)
        report.fd = fd;
}

/* A write of our own that fails so raises a signal in us, which waits like any other: it is not for the program. */
static void forget(int error) {
    if (error == EPIPE)
        wait_signal(bit(PIPE), 0);
    else if (error == EFBIG)
        wait_signal(bit(XFSZ), 0);
}

static bool is_regular(int fd) {
    struct stat about;
    return fstat(fd, &about) == 0 && S_ISREG(about.st_mode);
}

/* How many bytes went out; -1: none, now. */
static ssize_t try_line(const char *text, size_t length, int fd) {
    struct pollfd wanted = {.fd = fd, .events = POLLOUT};
    /* a pipe is writable when PIPE_BUF bytes fit. Asked first: gVisor takes RWF_NOWAIT and blocks all the same */
    if (poll(&wanted, 1, 0) != 1 || !(wanted.revents & POLLOUT))
        return -1;
    struct iovec part = {.iov_base = (void *)(uintptr_t)text, .iov_len = length};
    /* the program writes to the same pipe: it may be full by now. The offset -1 is the current position (pwritev2(2)) */
    ssize_t written = syscall(SYS_pwritev2, fd, &part, 1L, -1L, -1L, (long)RWF_NOWAIT);
    if (written < 0 && errno == EAGAIN && !is_regular(fd))
        return -1;
    if (written < 0 && errno != EPIPE)
        written = write(fd, text, length); /* not on a terminal, an old kernel, or a file system that says no to NOWAIT */
    if (written < 0)
        forget(errno);
    return written;
}

/* A terminal also says no while another process's write to it is under way, which is over in no time (tty_write_lock() in
 * drivers/tty/tty_io.c). One whose reader does not read says no for long, and is not waited for again before a line has gone out. */
bool write_line(const char *text, size_t length, int fd) {
    static bool is_stuck;
    struct pollfd wanted = {.fd = fd, .events = POLLOUT};
    ssize_t written = try_line(text, length, fd);
    if (written < 0 && !is_stuck && is_terminal(fd))
        for (int tries = 20; written < 0 && tries > 0; tries--) {
            poll(&wanted, 1, 1);
            written = try_line(text, length, fd);
        }
    is_stuck = written != (ssize_t)length;
    return !is_stuck;
}

/* --- lists of texts --- */

/* Where the next text of a list goes; nothing is kept once the room is used up. */
struct text add_begin(struct texts *list) {
    size_t used = list->kept ? list->to[list->kept - 1] : 0;
    if (list->kept < list->count) /* one did not fit: those that follow could not be printed without it */
        used = sizeof list->room - 1;
    return text_in(list->room + used, sizeof list->room - used);
}

bool add_end(struct texts *list, const struct text *t) {
    list->count++;
    if (t->cut || list->kept < list->count - 1 || list->kept == LENGTH(list->from))
        return false;
    list->from[list->kept] = (uint16_t)(t->start - list->room);
    list->to[list->kept++] = (uint16_t)(t->at - list->room);
    return true;
}

/* --- lines --- */

static void put_timestamp(struct text *t) {
    int64_t now = clock_at(CLOCK_REALTIME);
    /* days to a date: eras of 400 years that begin on 1 March, so that the leap day comes last */
    int64_t seconds = now / SECOND, days = seconds / 86400 + 719468, of_day = seconds % 86400;
    int64_t era = days / 146097, day_of_era = days % 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted = (5 * day_of_year + 2) / 153, day = day_of_year - (153 * shifted + 2) / 5 + 1;
    int64_t month = shifted < 10 ? shifted + 3 : shifted - 9, year = year_of_era + era * 400 + (month <= 2);
    put(t, "%04lld-%02lld-%02lldT%02lld:%02lld:%02lld.%03lldZ", (long long)year, (long long)month, (long long)day,
        (long long)(of_day / 3600), (long long)(of_day / 60 % 60), (long long)(of_day % 60), (long long)(now % SECOND / MILLISECOND));
}

/* How many bytes the first so many characters take. */
size_t cut_at(const char *text, size_t length, size_t characters) {
    for (size_t at = 0; at < length; at++)
        if (((unsigned char)text[at] & 0xc0) != 0x80 && characters-- == 0)
            return at;
    return length;
}

static unsigned items(const struct field *f) {
    unsigned count = 0;
    if (f->kind == FIELD_WORDS)
        for (char *const *word = f->value; *word != NULL; word++)
            count++;
    else if (f->kind == FIELD_LOOKS || f->kind == FIELD_KILLED)
        count = ((const struct texts *)f->value)->count;
    return count;
}

static void put_list(struct text *t, const struct field *f, unsigned halvings) {
    unsigned count = items(f) >> halvings;
    put(t, "[");
    for (unsigned i = 0; i < count; i++) {
        put(t, "%s", i ? "," : "");
        const struct texts *list = f->value;
        if (f->kind == FIELD_WORDS) {
            static char shown[LIMIT];
            struct text s = text_in(shown, sizeof shown);
            put(&s, "%pS", ((char *const *)f->value)[i]);
            put_json(t, s.start, (size_t)(s.at - s.start));
            t->cut |= s.cut;
        } else if (i >= list->kept) {
            t->cut = true; /* what was not kept does not fit */
        } else if (f->kind == FIELD_KILLED) {
            put_json(t, list->room + list->from[i], (size_t)(list->to[i] - list->from[i]));
        } else {
            put_bytes(t, list->room + list->from[i], (size_t)(list->to[i] - list->from[i]));
        }
        if (t->cut)
            return;
    }
    put(t, "]");
}

/* One JSON object, its lists halved so many times and its message cut to so many characters. False when it does not fit. */
static bool put_object(struct text *t, const char *event, const struct field *fields, size_t length, size_t characters,
                       unsigned halvings, bool is_shortened) {
    *t = text_in(line, LIMIT + 1);
    put(t, "{\"ts\":\"");
    put_timestamp(t);
    put(t, "\",\"event\":\"%s\",\"message\":", event);
    put_json(t, message, cut_at(message, length, characters));
    for (const struct field *f = fields; f->name != NULL; f++) {
        put(t, ",\"%s\":", f->name);
        if (f->kind == FIELD_NUMBER)
            put(t, "%lld", (long long)f->number);
        else if (f->kind == FIELD_STRING)
            put_json(t, f->value, strlen(f->value));
        else
            put_list(t, f, halvings);
    }
    put(t, "%s}\n", is_shortened ? ",\"shortened\":true" : "");
    return !t->cut;
}

/* The whole object however long the fields are: lists and the message are shortened, the rest is there. */
static void put_line(struct text *t, const char *event, const struct field *fields, const struct text *m) {
    size_t length = (size_t)(m->at - m->start);
    unsigned most = 0;
    for (const struct field *f = fields; f->name != NULL; f++)
        most = items(f) > most ? items(f) : most;
    if (!m->cut && put_object(t, event, fields, length, WHOLE, 0, false))
        return;
    for (unsigned halvings = 1; most >> (halvings - 1) > 0; halvings++)
        if (put_object(t, event, fields, length, 1000, halvings, true))
            return;
    put_object(t, event, NO_FIELDS, length, 500, 0, true);
}

static void sayv(int level, const char *event, const struct field *fields, const char *format, va_list arguments) {
    if (level > report.verbosity)
        return;
    struct text m = text_in(message, sizeof message), t;
    putv(&m, format, arguments);
    if (report.json) {
        put_line(&t, event, fields, &m);
    } else {
        t = text_in(line, sizeof line);
        put(&t, "pyinit: %s\n", m.start);
        if (t.at - t.start > LIMIT) {
            t.at = t.start + LIMIT - 4;
            put(&t, "...\n");
        }
    }
    if (!write_line(t.start, (size_t)(t.at - t.start), report.fd))
        report.dropped++;
}

void say(int level, const char *event, const struct field *fields, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    sayv(level, event, fields, format, arguments);
    va_end(arguments);
}

void warn(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    sayv(WARNINGS, "warning", NO_FIELDS, format, arguments);
    va_end(arguments);
}

void report_error(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    sayv(ERRORS, "error", NO_FIELDS, format, arguments);
    va_end(arguments);
}

/* --- the termination log (Kubernetes: terminationMessagePath) --- */

const char *absolute(const char *path, char *room, size_t size) {
    if (path == NULL || path[0] == '/')
        return path;
    size_t length = strlen(path);
    if (syscall(SYS_getcwd, room, size) < 0 || strlen(room) + length + 2 > size)
        return path; /* the working directory is gone: writing there fails, and that is said */
    struct text t = {room, room + strlen(room), room + size - 1, false};
    put(&t, "/%s", path);
    return room;
}

void termination_log(const char *text) {
    const char *path = report.log;
    if (path == NULL)
        return;
    /* O_NONBLOCK: a FIFO that nobody reads must not hold PID 1 */
    int fd = open_file(path, O_WRONLY | O_CREAT | O_NONBLOCK), error = errno;
    if (fd >= 0) {
        struct stat about;
        error = 0;
        if (text[0] != '\0' && fstat(fd, &about) == 0 && about.st_size == 0) {
            struct text t = text_in(line, LIMIT); /* what is longer is cut, and the last byte is a line's end */
            put(&t, "pyinit: %s", text);
            *t.at++ = '\n';
            if (write(fd, t.start, (size_t)(t.at - t.start)) < 0)
                error = errno;
        }
        close(fd);
    }
    if (error != 0) {
        forget(error);
        warn("--termination-log %pS: %s; name a file that UID %d can write, or leave it out", path, error_text(error), (int)geteuid());
    }
}

void fail(int status, const char *format, ...) {
    static char text[2 * LIMIT];
    struct text t = text_in(text, sizeof text);
    va_list arguments;
    va_start(arguments, format);
    putv(&t, format, arguments);
    va_end(arguments);
    report_error("%s", text);
    termination_log(text);
    _exit(status);
}
