/* Called as tini, tini-static or docker-init: tini 0.19.0's contract, for those who put this file in the place of theirs.
 *
 * Its options, variables, lines, streams and exit statuses; no grace, nobody else is asked, and it leaves when the program has been
 * reaped. Not kept are its faults: it does not wake up while nothing happens; a signal that it may not send, a closed stdin and a
 * reader of its lines that has gone end nothing; an ignored SIGCHLD does not blind it; a signal before the program's setpgid is not
 * lost; and options end where the program begins.
 */

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pyinit.h"
#include "texts.h" /* generated */

enum level { FATAL, WARN, T_INFO, T_DEBUG, TRACE };

static const char VERSION_LINE[] = "tini version 0.19.0 - pyinit " VERSION;

/* not blocked: faults of its own must end it, and 32 and 33 are its libc's, which knows nothing of them */
static const int LEFT_ALONE[] = {SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGABRT, SIGTRAP, SIGSYS, 32, 33};

static struct {
    const char *name;
    unsigned verbosity; /* a negative TINI_VERBOSITY is everything */
    int parent_death;
    bool subreaper, to_group, warns, ignored_chld;
    uint64_t expect[4];
} given = {.verbosity = WARN};

__attribute__((format(printf, 2, 3))) static void tell(enum level level, const char *format, ...) {
    static const char *const LEVELS[] = {"FATAL", "WARN ", "INFO ", "DEBUG", "TRACE"};
    static char line[LIMIT];
    if (level > given.verbosity && level != FATAL)
        return;
    struct text t = text_in(line, sizeof line);
    va_list arguments;
    va_start(arguments, format);
    put(&t, "[%s tini (%d)] ", LEVELS[level], (int)getpid());
    putv(&t, format, arguments);
    t.at -= t.cut;
    put(&t, "\n");
    va_end(arguments);
    write_line(t.start, (size_t)(t.at - t.start), level <= WARN ? 2 : 1);
}

static const char *signal_text(int number) {
    static char other[32];
    if (number >= 1 && number < RTMIN - 2)
        return nth(SIGNAL_TEXTS, number - 1);
    struct text t = text_in(other, sizeof other);
    put(&t, "Real-time signal %d", number - RTMIN);
    return other;
}

bool is_tini(const char *path) {
    static const char *const NAMES[] = {"tini", "tini-static", "docker-init"};
    const char *name = after_last(path, '/');
    for (size_t i = 0; i < LENGTH(NAMES); i++)
        if (strcmp(name, NAMES[i]) == 0)
            return true;
    return false;
}

/* --- the command line --- */

/* Waits for its reader, as any program's help does. */
static void print(int fd, const char *format, ...) {
    static char page[LIMIT];
    struct text t = text_in(page, sizeof page);
    va_list arguments;
    va_start(arguments, format);
    putv(&t, format, arguments);
    va_end(arguments);
    (void)!write(fd, t.start, (size_t)(t.at - t.start));
}

static void usage(int fd) {
    const char *name = after_last(given.name, '/');
    print(fd,
          "%s (%s)\nUsage: %s [OPTIONS] PROGRAM -- [ARGS] | --version\n\n"
          "Execute a program under the supervision of a valid init process (%s)\n\n"
          "  --version      print the version (only by itself)\n"
          "  -h             print this help\n"
          "  -s             become a subreaper, when not PID 1\n"
          "  -p SIGNAL      the signal that the kernel sends when the parent dies, e.g. SIGKILL\n"
          "  -v             more verbose; up to three times\n"
          "  -w             warn about each process that is reaped\n"
          "  -g             send signals to the program's process group\n"
          "  -e EXIT_CODE   exit 0 instead of EXIT_CODE (0 to 255); may be repeated\n"
          "  -l             print the licence\n\n"
          "TINI_SUBREAPER and TINI_KILL_PROCESS_GROUP, when set, stand for -s and -g; TINI_VERBOSITY is the level (default: 1).\n",
          name, VERSION_LINE, name, name);
}

/* As strtol: blanks, a sign and digits. What comes after them, and the whole text where there is no digit, is the rest. */
static long number_in(const char *text, const char **rest) {
    const char *at = text + span_of(text, " \t\n\v\f\r");
    bool minus = *at == '-', is_too_large = false;
    at += *at == '-' || *at == '+';
    *rest = *at >= '0' && *at <= '9' ? at : text;
    long number = 0;
    for (; *at >= '0' && *at <= '9'; *rest = ++at) {
        int digit = *at - '0';
        is_too_large |= number > (LONG_MAX - digit) / 10;
        number = is_too_large ? LONG_MAX : 10 * number + digit;
    }
    if (minus)
        return is_too_large ? LONG_MIN : -number;
    return number;
}

static bool add_expected(const char *text) {
    const char *rest;
    long code = number_in(text, &rest);
    if (*rest != '\0' || code < 0 || code > 255)
        return false;
    given.expect[code / 64] |= (uint64_t)1 << code % 64;
    return true;
}

/* Full names of signals 1 to 31 only, but for three. */
static int death_signal(const char *text) {
    static const char *const UNKNOWN[] = {"SIGSTKFLT", "SIGIO", "SIGPWR"};
    for (size_t i = 0; i < LENGTH(UNKNOWN); i++)
        if (strcmp(text, UNKNOWN[i]) == 0)
            return 0;
    for (int number = 1; number <= 31; number++)
        if (strcmp(text, name_of(number)) == 0)
            return number;
    return 0;
}

/* One option's letter and value; the exit status, or -1 to go on. */
static int option(char letter, const char *value) {
    switch (letter) {
    case 'h':
        usage(1);
        return 0;
    case 'l':
        print(1, "%s", LICENSE_TEXT);
        return 0;
    case 's':
        given.subreaper = true;
        break;
    case 'v':
        given.verbosity++;
        break;
    case 'w':
        given.warns = true;
        break;
    case 'g':
        given.to_group = true;
        break;
    case 'e':
        if (add_expected(value))
            break;
        tell(FATAL, "Not a valid option for -e: %s", value);
        return 1;
    case 'p':
        given.parent_death = death_signal(value);
        if (given.parent_death)
            break;
        tell(FATAL, "Not a valid option for -p: %s", value);
        return 1;
    default:
        print(2, "%s: invalid option -- '%c'\n", given.name, letter);
        usage(2);
        return 1;
    }
    return -1;
}

/* The program's words; NULL with the exit status where there is nothing to run. */
static char **parse_words(char **words, int *status) {
    if (words[0] != NULL && words[1] == NULL && strcmp(words[0], "--version") == 0) {
        print(1, "%s\n", VERSION_LINE);
        *status = 0;
        return NULL;
    }
    while (*words != NULL && (*words)[0] == '-' && (*words)[1] != '\0') {
        const char *letters = *words++ + 1;
        if (strcmp(letters, "-") == 0)
            break;
        while (*letters != '\0') {
            char letter = *letters++;
            const char *value = NULL;
            if (letter == 'e' || letter == 'p') {
                value = *letters ? letters : *words;
                words += *letters == '\0' && value != NULL;
                letters = "";
                if (value == NULL) {
                    print(2, "%s: option requires an argument -- '%c'\n", given.name, letter);
                    usage(2);
                    *status = 1;
                    return NULL;
                }
            }
            *status = option(letter, value);
            if (*status >= 0)
                return NULL;
        }
    }
    if (*words != NULL)
        return words;
    usage(2);
    *status = 1;
    return NULL;
}

static void parse_variables(char *const *environment) {
    given.subreaper |= variable(environment, "TINI_SUBREAPER") != NULL;
    given.to_group |= variable(environment, "TINI_KILL_PROCESS_GROUP") != NULL;
    const char *level = variable(environment, "TINI_VERBOSITY");
    if (level != NULL)
        given.verbosity = (unsigned)number_in(level, &level); /* as atoi, and it wins over -v */
}

/* --- before the spawn --- */

static bool become_reaper(void) {
    int is_reaper = 0;
    if (given.subreaper && syscall(SYS_prctl, PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0) {
        if (errno == EINVAL)
            tell(FATAL, "PR_SET_CHILD_SUBREAPER is unavailable on this platform. Are you using Linux >= 3.4?");
        else
            tell(FATAL, "Failed to register as child subreaper: %s", error_text(errno));
        return false;
    }
    if (given.subreaper)
        tell(TRACE, "Registered as child subreaper");
    if (getpid() == 1)
        return true;
    if (syscall(SYS_prctl, PR_GET_CHILD_SUBREAPER, &is_reaper, 0, 0, 0) != 0)
        tell(T_DEBUG, "Failed to read child subreaper attribute: %s", error_text(errno));
    else if (is_reaper)
        return true;
    tell(WARN, "Tini is not running as PID 1 and isn't registered as a child subreaper.\n"
               "Zombie processes will not be re-parented to Tini, so zombie reaping won't work.\n"
               "To fix the problem, use the -s option or set the environment variable TINI_SUBREAPER to register Tini as a child "
               "subreaper, or run Tini as PID 1.");
    return true;
}

/* In the child, whose memory is ours. */
static int become_program(void *argument) {
    struct start *s = argument;
    setpgid(0, 0);
    if (!set_foreground(0, getpid())) /* stdin may be no terminal, or closed */
        tell(T_DEBUG, "tcsetpgrp failed: %s (ok to proceed)", errno == ENOTTY  ? "no tty"
                                                              : errno == ENXIO ? "no such device"
                                                                               : error_text(errno));
    if (given.ignored_chld)
        ignore(CHLD);
    set_mask(s->given, NULL);
    execute(s);
    tell(FATAL, "exec %s failed: %s", s->words[0], error_text(s->error));
    _exit(s->error == ENOENT ? 127 : s->error == EACCES ? 126 : 1);
}

static pid_t start_program(char **words, char *const *environment, mask before) {
    struct start *s = prepare_start(words, environment, before);
    pid_t pid = -1;
    if (s != NULL) {
        s->variables = (char **)(uintptr_t)environment;
        s->as_libc = true;
        pid = start_child(s, become_program);
        int error = errno;
        end_start(s);
        errno = error;
    }
    if (pid < 0)
        tell(FATAL, "fork failed: %s", error_text(errno));
    else
        tell(T_INFO, "Spawned child process '%s' with pid '%d'", words[0], (int)pid);
    return pid;
}

/* --- after it --- */

/* Everyone who has ended; the program's exit status, or -1. */
static int reap_all(pid_t program) {
    int status, code = -1;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        tell(T_DEBUG, "Reaped child with pid: '%d'", (int)pid);
        if (pid != program) {
            if (given.warns)
                tell(WARN, "Reaped zombie process with pid=%d", (int)pid);
            continue;
        }
        code = exit_code(status);
        if (term_signal(status))
            tell(T_INFO, "Main child exited with signal (with signal '%s')", signal_text(term_signal(status)));
        else
            tell(T_INFO, "Main child exited normally (with status '%d')", code);
        if (given.expect[code / 64] >> (code % 64) & 1)
            code = 0;
    }
    tell(TRACE, pid == 0 ? "No child to reap" : "No child to wait");
    if (code >= 0)
        tell(TRACE, "Exiting: child has exited");
    return code;
}

static void pass_on(int number, pid_t program) {
    tell(T_DEBUG, "Passing signal: '%s'", signal_text(number));
    if (kill(given.to_group ? -program : program, number) == 0)
        return;
    if (errno == ESRCH)
        tell(WARN, "Child was dead when forwarding signal");
    else
        tell(WARN, "Unexpected error when forwarding signal: '%s'", error_text(errno));
}

int tini(char **argv, char *const *environment, mask before, bool ignored_chld) {
    int code = 1;
    given.name = argv[0];
    given.ignored_chld = ignored_chld;
    char **words = parse_words(argv + 1, &code);
    if (words == NULL)
        return code;
    parse_variables(environment);
    mask blocked = ~(mask)0;
    for (size_t i = 0; i < LENGTH(LEFT_ALONE); i++)
        blocked &= ~bit(LEFT_ALONE[i]);
    set_mask(blocked, NULL);
    if (given.parent_death && syscall(SYS_prctl, PR_SET_PDEATHSIG, given.parent_death, 0, 0, 0) != 0) {
        tell(FATAL, "Failed to set up parent death signal");
        return 1;
    }
    if (!become_reaper())
        return 1;
    pid_t program = start_program(words, environment, before);
    if (program < 0)
        return 1;
    for (;;) {
        int number = wait_signal(blocked & ~(bit(TTIN) | bit(TTOU)), NEVER);
        if (number == CHLD)
            tell(T_DEBUG, "Received SIGCHLD");
        else if (number > 0)
            pass_on(number, program);
        code = reap_all(program);
        if (code >= 0)
            return code;
    }
}
