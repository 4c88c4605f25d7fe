/* The program: where it is found, how it is executed, and what to say when it cannot be (program.py). */

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "pyinit.h"
#include "texts.h" /* generated */

static const struct named MACHINE_NAMES[] = {MACHINES};

/* After these, the next directory of PATH is tried. */
static bool goes_on(const struct start *s, int error) {
    return error == ENOENT || error == ENOTDIR || error == EACCES || error == ENODEV || error == ETIMEDOUT || error == ESTALE ||
           (!s->as_libc && (error == ELOOP || error == ENAMETOOLONG));
}

static bool is_binary(const char *file) {
    char head[128];
    size_t length = read_file(file, head, sizeof head);
    return (length >= SELFMAG && memcmp(head, ELFMAG, SELFMAG) == 0) || find_char(head, '\0', length) != NULL;
}

/* What the program gets: what pyinit was given, with what would be untrue for it put right. */
void make_environment(struct start *s) {
    static const char *const NAMES[] = {"LISTEN_PID", "WATCHDOG_PID"};
    char ours[16];
    bool is_ours[2] = {false, false};
    struct text t = text_in(ours, sizeof ours);
    put(&t, "%d", (int)s->us);
    for (int i = 0; i < 2; i++) {
        const char *value = variable(s->environment, NAMES[i]);
        is_ours[i] = value != NULL && strcmp(value, ours) == 0;
        t = text_in(s->numbers[i], sizeof s->numbers[i]);
        put(&t, "%s=%d", NAMES[i], (int)getpid());
    }
    char **next = s->variables;
    for (char *const *given = s->environment; *given != NULL; given++) {
        if (starts_with(*given, "PYINIT_") || (is_ours[0] && starts_with(*given, "LISTEN_PIDFDID=")))
            continue;
        *next = *given;
        for (int i = 0; i < 2; i++)
            if (is_ours[i] && starts_with(*given, NAMES[i]) && (*given)[strlen(NAMES[i])] == '=')
                *next = s->numbers[i];
        next++;
    }
    if (s->budget != NEVER) {
        t = text_in(s->numbers[2], sizeof s->numbers[2]);
        put(&t, "PYINIT_STOP_BUDGET=%lld", (long long)(s->budget / MILLISECOND));
        *next++ = s->numbers[2];
    }
    *next = NULL;
}

/* One file, or the same under /bin/sh when it is a script without #! (execvp: whatever it is). Returns with the errno. */
static int try(struct start *s, const char *file) {
    execve(file, s->arguments + 1, s->variables);
    int error = errno;
    if (error != ENOEXEC || (!s->as_libc && is_binary(file)))
        return error;
    char *const name = s->arguments[1];
    s->arguments[0] = s->as_libc ? "/bin/sh" : "sh";
    s->arguments[1] = (char *)(uintptr_t)file;
    execve("/bin/sh", s->arguments, s->variables);
    s->arguments[1] = name;
    return s->as_libc ? errno : ENOEXEC; /* no shell in this image */
}

void execute(struct start *s) {
    const char *name = s->words[0], *path = variable(s->environment, "PATH");
    s->error = ENOENT;
    s->file = name;
    if (name[0] == '\0')
        return;
    size_t count = 0;
    for (; s->words[count] != NULL; count++)
        s->arguments[count + 1] = s->words[count];
    s->arguments[count + 1] = NULL;
    if (find_char(name, '/', strlen(name)) != NULL) {
        s->error = try(s, name);
        return;
    }
    if (path == NULL)
        path = s->as_libc ? "/bin:/usr/bin" : DEFAULT_PATH;
    for (int turn = 0; path != NULL;) {
        size_t length = span_to(path, ":");
        struct text t = text_in(s->candidate[turn], sizeof s->candidate[turn]);
        put(&t, "%.*s/%s", (int)(length ? length : 1), length ? path : ".", name);
        int error = t.cut ? ENAMETOOLONG : try(s, t.start);
        /* "permission denied" for one directory must not be hidden by "not found" in the next */
        if (!goes_on(s, error) || s->error != EACCES) {
            s->error = error;
            s->file = t.start;
            turn = !turn;
        }
        if (!goes_on(s, error))
            return;
        path = path[length] == ':' ? path + length + 1 : NULL;
    }
}

/* --- what to say --- */

static unsigned long long field(const char *head, size_t offset, size_t size) {
    unsigned long long number = 0;
    for (size_t i = 0; i < size; i++) /* in the file's own byte order */
        number = number << 8 | (unsigned char)head[offset + (head[EI_DATA] == ELFDATA2LSB ? size - 1 - i : i)];
    return number;
}

/* The PT_INTERP of an ELF file (elf(5)), as far as the first page holds it. */
static const char *loader(const char *head, size_t length) {
    bool wide = head[EI_CLASS] == ELFCLASS64;
    unsigned long long first = wide ? field(head, 32, 8) : field(head, 28, 4);
    unsigned long long each = wide ? field(head, 54, 2) : field(head, 42, 2), count = wide ? field(head, 56, 2) : field(head, 44, 2);
    for (unsigned long long at = first; count-- > 0 && each > 0 && at < length && at + 40 <= length; at += each) {
        if (field(head, (size_t)at, 4) != PT_INTERP)
            continue;
        unsigned long long start = wide ? field(head, (size_t)at + 8, 8) : field(head, (size_t)at + 4, 4);
        if (start < length)
            return head + start;
    }
    return "(unknown)";
}

static const char *no_access(const struct stat *about) {
    static char text[120];
    if (about == NULL)
        return "a directory on the way may not be searched by this user; check USER and the modes of the directories";
    if (S_ISDIR(about->st_mode))
        return "it is a directory; name a file in it";
    if (!(about->st_mode & 0111))
        return "it is not executable; write chmod +x in the Dockerfile, or name its interpreter before it";
    struct text t = text_in(text, sizeof text);
    put(&t, "this user (UID %d) may not execute it; check USER, its mode, and a noexec mount", (int)geteuid());
    return text;
}

__attribute__((noreturn)) static void not_found(const struct start *s, const char *head, size_t length) {
    const char *name = s->words[0];
    if (name[0] == '\0')
        fail(NOT_FOUND, "cannot run '': the program's name is empty; write pyinit -- PROGRAM [ARG...]");
    if (starts_with(head, "#!")) {
        const char *first = head + 2 + span_of(head + 2, " \t\r\v\f");
        struct word interpreter = {first, span_to(first, " \t\r\v\f\n")};
        const char *ending = find_text(head, "\r\n");
        fail(NOT_FOUND, "cannot run %pS: its interpreter %pW is not in this image%s", s->file, (const void *)&interpreter,
             ending && ending - head <= 254 ? ", the file has Windows line endings" : "");
    }
    if (length > EI_NIDENT && memcmp(head, ELFMAG, SELFMAG) == 0)
        fail(NOT_FOUND, "cannot run %pS: its dynamic loader %pS is not in this image (glibc or musl?)", s->file, loader(head, length));
    if (find_char(name, '/', strlen(name)) != NULL) {
        static char where[LIMIT];
        if (syscall(SYS_getcwd, where, sizeof where) < 0)
            fail(NOT_FOUND, "cannot run %pS: no such file; the working directory is gone: it was deleted; write WORKDIR /", name);
        fail(NOT_FOUND, "cannot run %pS: no such file; the working directory is %pS", name, where);
    }
    const char *path = variable(s->environment, "PATH");
    fail(NOT_FOUND, "cannot run %pS: not found in %pS%s; install it, or write its full path", name, path ? path : DEFAULT_PATH,
         path ? "" : ", since PATH is not set");
}

void explain(const struct start *s) {
    static char head[LIMIT + 1];
    struct stat about;
    bool is_there = stat(s->file, &about) == 0;
    size_t length = is_there && S_ISREG(about.st_mode) ? read_file(s->file, head, sizeof head) : 0;
    if (s->error == ENOENT)
        not_found(s, head, length);
    if (s->error == EACCES)
        fail(NOT_EXECUTABLE, "cannot run %pS: %s", s->file, no_access(is_there ? &about : NULL));
    if (s->error == ENOEXEC) {
        struct utsname here;
        if (length > 20 && memcmp(head, ELFMAG, SELFMAG) == 0 && uname(&here) == 0) {
            const char *built = name_in(MACHINE_NAMES, LENGTH(MACHINE_NAMES), (int)field(head, 18, 2), "machine");
            if (strcmp(built, here.machine) != 0)
                fail(NOT_EXECUTABLE, "cannot run %pS: built for %s, this machine is %s; pull the image for %s", s->file, built,
                     here.machine, here.machine);
        }
        fail(NOT_EXECUTABLE, "cannot run %pS: its format is not one that this machine executes; a script begins with #!", s->file);
    }
    if (s->error == ENOTDIR)
        fail(NOT_EXECUTABLE, "cannot run %pS: a part of the path is not a directory", s->words[0]);
    fail(NOT_EXECUTABLE, "cannot run %pS: %s", s->file, error_text(s->error));
}
