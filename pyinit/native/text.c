/* Bounded text: what is printed is put together here, without a libc's printf (which needs 10 kB, floats and a locale). */

#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pyinit.h"
#include "texts.h" /* generated */

struct text text_in(char *buffer, size_t size) {
    buffer[0] = '\0';
    return (struct text){buffer, buffer, buffer + size - 1, false};
}

void put_bytes(struct text *t, const char *at, size_t length) {
    size_t room = (size_t)(t->end - t->at);
    if (length > room) {
        length = room;
        t->cut = true;
    }
    memcpy(t->at, at, length);
    t->at += length;
    *t->at = '\0';
}

struct word word_of(const char *text) { return (struct word){text, strlen(text)}; }

bool same(struct word word, const char *text) {
    return strlen(text) == word.length && memcmp(word.at, text, word.length) == 0;
}

bool starts_with(const char *text, const char *prefix) { return strncmp(text, prefix, strlen(prefix)) == 0; }

uint64_t number_at(const char **at, unsigned base) {
    uint64_t number = 0;
    for (;; ++*at) {
        unsigned c = (unsigned char)**at, digit = c - '0', letter = (c | 0x20) - 'a';
        if (digit >= 10)
            digit = letter < 6 ? letter + 10 : 16;
        if (digit >= base)
            return number;
        number = base * number + digit;
    }
}

#ifndef O_LARGEFILE
#define O_LARGEFILE 0
#endif

/* By system call: musl's open() asks twice for close-on-exec, for the sake of Linux 2.6.22. */
int open_file(const char *path, int flags) {
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC | O_LARGEFILE, 0644);
}

/* As isatty(); by system call, since a libc's ioctl() knows about the sockets of old kernels, too. */
bool is_terminal(int fd) {
    struct winsize size;
    return syscall(SYS_ioctl, fd, TIOCGWINSZ, &size) == 0;
}

const char *find_char(const char *text, char wanted, size_t length) {
    for (; length > 0; text++, length--)
        if (*text == wanted)
            return text;
    return NULL;
}

static bool is_in(char c, const char *set) { return find_char(set, c, strlen(set)) != NULL; }

size_t span_of(const char *text, const char *set) {
    size_t length = 0;
    while (text[length] != '\0' && is_in(text[length], set))
        length++;
    return length;
}

size_t span_to(const char *text, const char *set) {
    size_t length = 0;
    while (text[length] != '\0' && !is_in(text[length], set))
        length++;
    return length;
}

const char *after_last(const char *text, char mark) {
    const char *after = text;
    while (*text != '\0')
        if (*text++ == mark)
            after = text;
    return after;
}

const char *nth(const char *words, int n) {
    while (n-- > 0)
        words += strlen(words) + 1;
    return words;
}

struct word cut_word(struct word *rest, char separator) {
    const char *end = find_char(rest->at, separator, rest->length);
    struct word first = {rest->at, end ? (size_t)(end - rest->at) : rest->length};
    size_t used = first.length + (end != NULL);
    *rest = (struct word){end ? rest->at + used : NULL, rest->length - used};
    return first;
}

int32_t decode(const char *at, size_t length, size_t *used) {
    static const struct {
        unsigned char mask, lead;
        int32_t first; /* below it, the form would be an overlong one */
    } FORMS[] = {{0x80, 0x00, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};
    const unsigned char *byte = (const unsigned char *)at;
    *used = 1;
    for (size_t more = 0; more < LENGTH(FORMS); more++) {
        if ((byte[0] & FORMS[more].mask) != FORMS[more].lead)
            continue;
        int32_t code = byte[0] & (unsigned char)~FORMS[more].mask;
        if (more >= length)
            return -1;
        for (size_t i = 1; i <= more; i++) {
            if ((byte[i] & 0xc0) != 0x80)
                return -1;
            code = code << 6 | (byte[i] & 0x3f);
        }
        if (code < FORMS[more].first || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
            return -1;
        *used = more + 1;
        return code;
    }
    return -1;
}

static bool is_printable(int32_t code) {
    static const struct {
        int32_t first, last;
    } RANGES[] = {UNPRINTABLE_RANGES};
    for (size_t i = 0; i < LENGTH(RANGES); i++)
        if (code >= RANGES[i].first && code <= RANGES[i].last)
            return false;
    return true;
}

static void put_hex(struct text *t, uint64_t number, int width) {
    for (int shift = 60; shift >= 0; shift -= 4)
        if (shift / 4 < width || number >> shift)
            put_bytes(t, &"0123456789abcdef"[number >> shift & 15], 1);
}

void put_shown(struct text *t, const char *at, size_t length) {
    while (length > 0 && !t->cut) {
        size_t used;
        int32_t code = decode(at, length, &used);
        if (code >= 0 && is_printable(code)) {
            put_bytes(t, at, used);
        } else if (code < 0x100) {
            put_bytes(t, "\\x", 2);
            put_hex(t, code < 0 ? (unsigned char)*at : (uint64_t)code, 2);
        } else {
            put_bytes(t, code < 0x10000 ? "\\u" : "\\U", 2);
            put_hex(t, (uint64_t)code, code < 0x10000 ? 4 : 8);
        }
        at += used;
        length -= used;
    }
}

void put_json(struct text *t, const char *at, size_t length) {
    static const char SPECIAL[] = "\"\\\n\t\r", ESCAPES[] = "\"\\ntr";
    put_bytes(t, "\"", 1);
    for (; length > 0; at++, length--) {
        const char *special = *at ? find_char(SPECIAL, *at, sizeof SPECIAL - 1) : NULL;
        if (special != NULL) {
            put_bytes(t, "\\", 1);
            put_bytes(t, &ESCAPES[special - SPECIAL], 1);
        } else if ((unsigned char)*at < ' ') {
            put_bytes(t, "\\u", 2);
            put_hex(t, (unsigned char)*at, 4);
        } else {
            put_bytes(t, at, 1);
        }
    }
    put_bytes(t, "\"", 1);
}

static void put_number(struct text *t, uint64_t number, int width) {
    char digits[24];
    int at = (int)sizeof digits;
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
        width--;
    } while (number > 0 || width > 0);
    put_bytes(t, digits + at, sizeof digits - (size_t)at);
}

static void put_signed(struct text *t, int64_t number, int width) {
    if (number < 0)
        put_bytes(t, "-", 1);
    put_number(t, number < 0 ? (uint64_t)0 - (uint64_t)number : (uint64_t)number, width);
}

void putv(struct text *t, const char *format, va_list arguments) {
    while (*format != '\0') {
        size_t plain = span_to(format, "%");
        put_bytes(t, format, plain);
        format += plain;
        if (*format == '\0')
            return;
        format++;
        int width = 0, is_long = 0;
        if (*format == '0')
            for (format++; *format >= '0' && *format <= '9'; format++)
                width = 10 * width + *format - '0';
        int limit = -1;
        if (starts_with(format, ".*")) {
            limit = va_arg(arguments, int);
            format += 2;
        }
        for (; *format == 'l'; format++)
            is_long++;
        switch (*format++) {
        case 's': {
            const char *s = va_arg(arguments, const char *);
            put_bytes(t, s, limit < 0 ? strlen(s) : (size_t)limit);
            break;
        }
        case 'c': {
            const char c = (char)va_arg(arguments, int);
            put_bytes(t, &c, 1);
            break;
        }
        case 'd':
            put_signed(t, is_long ? va_arg(arguments, long long) : va_arg(arguments, int), width);
            break;
        case 'u':
            put_number(t, is_long ? va_arg(arguments, unsigned long long) : va_arg(arguments, unsigned), width);
            break;
        case 'x':
            put_hex(t, is_long ? va_arg(arguments, unsigned long long) : va_arg(arguments, unsigned), width ? width : 1);
            break;
        case 'p':
            if (*format++ == 'W') {
                const struct word *word = va_arg(arguments, const struct word *);
                put_shown(t, word->at, word->length);
            } else {
                const char *s = va_arg(arguments, const char *);
                put_shown(t, s, strlen(s));
            }
            break;
        default: /* %% */
            put_bytes(t, format - 1, 1);
        }
    }
}

void put(struct text *t, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    putv(t, format, arguments);
    va_end(arguments);
}

void put_seconds(struct text *t, int64_t nanoseconds) {
    long long tenths = nanoseconds / (100 * MILLISECOND), hundredths = nanoseconds / (10 * MILLISECOND);
    if (tenths >= 1 || nanoseconds == 0)
        put(t, "%lld.%lld s", tenths / 10, tenths % 10);
    else if (hundredths > 0)
        put(t, "0.%02lld s", hundredths);
    else
        put(t, "under 10 ms");
}

const char *find_text(const char *text, const char *wanted) {
    for (; *text != '\0'; text++)
        if (starts_with(text, wanted))
            return text;
    return NULL;
}

const char *name_in(const struct named *table, size_t rows, int number, const char *otherwise) {
    for (size_t i = 0; i < rows; i++)
        if (table[i].number == number)
            return table[i].name;
    static char other[24];
    struct text t = text_in(other, sizeof other);
    put(&t, "%s %d", otherwise, number);
    return other;
}

/* Fixed words: each libc has its own, and brings all of them. */
const char *error_text(int number) {
    static const struct named TEXTS[] = {ERROR_TEXTS};
    return name_in(TEXTS, LENGTH(TEXTS), number, "error");
}
