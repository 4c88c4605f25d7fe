/* What the fuzzers share (harness.h). */

#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int __real_open_file(const char *path, int flags);
int __wrap_open_file(const char *path, int flags);
ssize_t __real_read(int fd, void *buffer, size_t size);
ssize_t __wrap_read(int fd, void *buffer, size_t size);
int __real_close(int fd);
int __wrap_close(int fd);
pid_t __wrap_getpid(void);
_Noreturn void __wrap_fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

void must(bool is_true, const char *what) {
    if (is_true)
        return;
    (void)fprintf(stderr, "PROPERTY VIOLATED: %s\n", what);
    abort();
}

/* --- the input --- */

unsigned byte_of(struct input *in) {
    if (in->left == 0)
        return 0;
    in->left--;
    return *in->at++;
}

struct word part(struct input *in) {
    const char *start = (const char *)in->at, *end = in->left ? memchr(start, 0xfe, in->left) : NULL;
    size_t length = end != NULL ? (size_t)(end - start) : in->left, used = length + (end != NULL);
    in->at += used;
    in->left -= used;
    return (struct word){start, length};
}

char *copy(struct word word, bool terminated) {
    char *made = malloc(word.length + terminated);
    if (word.length > 0)
        memcpy(made, word.at, word.length);
    if (terminated)
        made[word.length] = '\0';
    return made;
}

/* --- files --- */

enum { FIRST_FAKE = 1 << 20 }; /* a descriptor that no kernel gives */

static struct {
    char path[64];
    struct word content;
    size_t at;          /* how much of it was read */
    const char *folder; /* the real one that stands for it, or NULL */
} fakes[16];
static size_t in_fakes;

void fake_file(const char *path, struct word content) {
    must(in_fakes < LENGTH(fakes), "room for one more file");
    struct text t = text_in(fakes[in_fakes].path, sizeof fakes->path);
    put(&t, "%s", path);
    fakes[in_fakes].folder = NULL;
    fakes[in_fakes++].content = content;
}

static void make_folder(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void make_folder(const char *format, ...) {
    char path[128];
    struct text t = text_in(path, sizeof path);
    va_list arguments;
    va_start(arguments, format);
    putv(&t, format, arguments);
    va_end(arguments);
    must(mkdir(path, 0755) == 0, "a folder");
}

void fake_folder(const char *path, unsigned entries) {
    static char made[8][16]; /* one for each number of entries, for as long as the fuzzer runs */
    static const char *const OTHERS[] = {"self", "0", "00", "-1", "12x", "99999999999999999999", "sys"};
    entries %= LENGTH(made);
    char *folder = made[entries];
    if (folder[0] == '\0') {
        struct text t = text_in(folder, sizeof made[0]);
        put(&t, "folder-%u", entries);
        make_folder("%s", folder);
        for (unsigned i = 1; i <= entries; i++)
            make_folder("%s/%u", folder, i);
        for (size_t i = 0; i < LENGTH(OTHERS); i++)
            make_folder("%s/%s", folder, OTHERS[i]);
    }
    fake_file(path, (struct word){NULL, 0});
    fakes[in_fakes - 1].folder = folder;
}

void forget_fakes(void) { in_fakes = 0; }

static bool fits(const char *pattern, const char *path) {
    size_t length = strlen(pattern);
    if (length > 0 && pattern[length - 1] == '*')
        return strncmp(pattern, path, length - 1) == 0;
    return strcmp(pattern, path) == 0;
}

/* In place of text.c's (-Wl,--wrap). What is not faked is not there. A file is no descriptor: that takes no system call. */
int __wrap_open_file(const char *path, int flags) {
    for (size_t i = 0; i < in_fakes; i++)
        if (fits(fakes[i].path, path)) {
            fakes[i].at = 0;
            return fakes[i].folder != NULL ? __real_open_file(fakes[i].folder, flags) : FIRST_FAKE + (int)i;
        }
    return -1;
}

/* At most 1,000 bytes a time, as /proc gives at most a page. */
ssize_t __wrap_read(int fd, void *buffer, size_t size) {
    if (fd < FIRST_FAKE)
        return __real_read(fd, buffer, size);
    struct word left = fakes[fd - FIRST_FAKE].content;
    left = (struct word){left.at + fakes[fd - FIRST_FAKE].at, left.length - fakes[fd - FIRST_FAKE].at};
    size_t length = left.length;
    if (length > size)
        length = size;
    if (length > 1000)
        length = 1000;
    if (length > 0)
        memcpy(buffer, left.at, length);
    fakes[fd - FIRST_FAKE].at += length;
    return (ssize_t)length;
}

int __wrap_close(int fd) { return fd < FIRST_FAKE ? __real_close(fd) : 0; }

/* Always PID 1, as in a container. */
pid_t __wrap_getpid(void) { return 1; }

/* --- fail() --- */

jmp_buf failure;

/* In place of report.c's: the same text, and back to FAILS. */
void __wrap_fail(int status, const char *format, ...) {
    static char text[2 * LIMIT];
    struct text t = text_in(text, sizeof text);
    va_list arguments;
    va_start(arguments, format);
    putv(&t, format, arguments);
    va_end(arguments);
    must(status >= OWN_FAILURE && status <= NOT_FOUND, "a failure has one of three statuses");
    must(t.at > t.start, "a failure has words");
    must(t.cut || is_shown(t.start, (size_t)(t.at - t.start)), "a failure's words can be shown");
    longjmp(failure, 1);
}

/* --- texts --- */

/* Written apart from decode(), which is under test: RFC 3629's table. */
static size_t character(const unsigned char *at, size_t length, uint32_t *code) {
    static const struct {
        unsigned char first, last, second_first, second_last, size;
    } FORMS[] = {{0x00, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
                 {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4},
                 {0xf4, 0xf4, 0x80, 0x8f, 4}};
    for (size_t i = 0; i < LENGTH(FORMS); i++) {
        size_t size = FORMS[i].size;
        if (at[0] < FORMS[i].first || at[0] > FORMS[i].last || size > length)
            continue;
        if (size > 1 && (at[1] < FORMS[i].second_first || at[1] > FORMS[i].second_last))
            return 0;
        *code = size == 1 ? at[0] : at[0] & (0x7fU >> size);
        for (size_t k = 1; k < size; k++) {
            if ((at[k] & 0xc0) != 0x80)
                return 0;
            *code = *code << 6 | (at[k] & 0x3f);
        }
        return size;
    }
    return 0;
}

static bool all(const char *at, size_t length, bool shown) {
    for (size_t used; length > 0; at += used, length -= used) {
        uint32_t code;
        used = character((const unsigned char *)at, length, &code);
        if (used == 0)
            return false;
        /* the ones that would do most harm in somebody's terminal or log; the whole list is generated and not written again */
        if (shown && (code < 0x20 || (code >= 0x7f && code < 0xa0) || (code >= 0x202a && code <= 0x202e) || code == 0x2028))
            return false;
    }
    return true;
}

bool is_utf8(const char *at, size_t length) { return all(at, length, false); }

bool is_shown(const char *at, size_t length) { return all(at, length, true); }

/* --- JSON (RFC 8259), as far as the engine writes it: no fractions --- */

struct json {
    const char *at, *end;
    unsigned depth;
};

static bool eat(struct json *j, char wanted) {
    if (j->at == j->end || *j->at != wanted)
        return false;
    j->at++;
    return true;
}

static bool json_string(struct json *j) {
    if (!eat(j, '"'))
        return false;
    while (j->at < j->end && *j->at != '"') {
        if ((unsigned char)*j->at < 0x20)
            return false;
        if (*j->at++ != '\\')
            continue;
        if (j->at == j->end || strchr("\"\\/bfnrtu", *j->at) == NULL || *j->at == '\0')
            return false;
        if (*j->at++ == 'u')
            for (int i = 0; i < 4; i++, j->at++)
                if (j->at == j->end || strchr("0123456789abcdefABCDEF", *j->at) == NULL || *j->at == '\0')
                    return false;
    }
    return eat(j, '"');
}

static bool json_number(struct json *j) {
    eat(j, '-');
    const char *first = j->at;
    while (j->at < j->end && *j->at >= '0' && *j->at <= '9')
        j->at++;
    return j->at > first && (*first != '0' || j->at == first + 1);
}

static bool json_value(struct json *j) { // NOLINT(misc-no-recursion): the depth has a limit
    if (j->at == j->end || j->depth > 8)
        return false;
    char opening = *j->at;
    if (opening == '"')
        return json_string(j);
    if (opening != '{' && opening != '[') {
        if (j->end - j->at >= 4 && memcmp(j->at, "true", 4) == 0) {
            j->at += 4;
            return true;
        }
        return json_number(j);
    }
    char closing = opening == '{' ? '}' : ']';
    j->at++;
    j->depth++;
    for (bool is_first = true; !eat(j, closing); is_first = false) {
        if (!is_first && !eat(j, ','))
            return false;
        if (opening == '{' && (!json_string(j) || !eat(j, ':')))
            return false;
        if (!json_value(j))
            return false;
    }
    j->depth--;
    return true;
}

bool is_json(const char *at, size_t length) {
    struct json j = {at, at + length, 0};
    return is_utf8(at, length) && json_value(&j) && j.at == j.end;
}
