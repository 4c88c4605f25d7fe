/* The native engine: what its files share.
 *
 * The same init as pyinit/init, file by file and name by name: what is decided there and why is said there. The tables are generated
 * from Python (generate.py); what is written twice is only the hands. No memory is allocated after the spawn: what has no bound of
 * its own has one here, in a static array that costs nothing before it is touched.
 *
 * Rejected: stdio (20 kB, and its buffers are torn writes), sigset_t of a libc (musl's leaves out 32 to 34), fork (copies page
 * tables; a failed exec needs a pipe), position-independent code (relocations are written pages).
 */

#ifndef PYINIT_H
#define PYINIT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "machine.h" /* generated, as the next */
#include "options.h"

/* Small, and written for as long as we live: kept together, on the one page that is written anyway. */
#define KEPT __attribute__((section(".data")))

#define LENGTH(array) (sizeof(array) / sizeof *(array))

/* --- text.c: bounded text --- */

struct text {
    char *start, *at, *end; /* what comes after `end` is cut; there is room for a NUL there */
    bool cut;
};

struct word {
    const char *at;
    size_t length;
};

struct text text_in(char *buffer, size_t size);
/* As printf, with %s %.*s %c %d %u %lld %llu %llx %0Nlld and, as in Linux, two that follow %p: %pS is a C string and %pW a
 * struct word, both as options.show() would print them. */
__attribute__((format(printf, 2, 3))) void put(struct text *t, const char *format, ...);
void putv(struct text *t, const char *format, va_list arguments);
void put_bytes(struct text *t, const char *at, size_t length);
void put_shown(struct text *t, const char *at, size_t length);
void put_json(struct text *t, const char *at, size_t length);
void put_seconds(struct text *t, int64_t nanoseconds);
struct word word_of(const char *text);
bool same(struct word word, const char *text);
/* As strspn, strcspn and strrchr: a libc's are made for long texts, and fill a kilobyte. */
size_t span_of(const char *text, const char *set);
size_t span_to(const char *text, const char *set);
const char *after_last(const char *text, char mark); /* the whole text where there is none */
const char *nth(const char *words, int n); /* of texts that follow each other, each with its NUL */
struct word cut_word(struct word *rest, char separator); /* up to it; `rest` is what follows, at NULL when that is nothing */
const char *find_char(const char *text, char wanted, size_t length);
const char *find_text(const char *text, const char *wanted);
bool starts_with(const char *text, const char *prefix);
/* The number at *at, which is moved behind it; 0 where there is none. Base 10 or 16; too large a one wraps. */
uint64_t number_at(const char **at, unsigned base);
int open_file(const char *path, int flags); /* close-on-exec; what it makes gets the mode 0644 */
bool is_terminal(int fd);
/* The code point at `at`, and its length; -1 where it is no UTF-8. */
int32_t decode(const char *at, size_t length, size_t *used);
struct named { /* a row of a table of numbers' names */
    int number;
    const char *name;
};
/* The number's name, or `OTHERWISE N`, which is good until the next such one. */
const char *name_in(const struct named *table, size_t rows, int number, const char *otherwise);
const char *error_text(int number);

/* --- signals.c --- */

enum { HUP = 1, INT = 2, QUIT = 3, KILL = 9, PIPE = 13, TERM = 15, CHLD = 17, CONT = 18, STOP = 19, TSTP = 20 };
enum { TTIN = 21, TTOU = 22, XFSZ = 25, RTMIN = 34, RTMAX = 64 };

typedef uint64_t mask; /* signal n is bit n - 1, as in /proc and in the kernel's own call */

int number_of(struct word text);       /* -1 for what is no signal */
const char *name_of(int number);       /* good until seven more were asked for */
const char *ended_how(int status);     /* as name_of */
bool in_mask(int number, mask signals);
mask bit(int number);
bool is_stopped(int status);
int stop_signal(int status);
int term_signal(int status);
int exit_code(int status);
bool set_mask(mask wanted, mask *before);
void ignore(int number);
bool to_default(int number); /* its disposition; whether it was ignored before */
int64_t clock_at(clockid_t clock); /* nanoseconds */
int64_t monotonic(void);
int wait_signal(mask of, int64_t nanoseconds); /* NEVER: as long as it takes; 0 when none came, or when it was disturbed */

/* --- options.c --- */

struct step {
    int signal;
    int64_t duration;
};

struct policy {
    const char *about; /* "help", "version", "license", or NULL */
    struct step plan[MAX_STEPS + 1];
    int steps;
    int scope, others;
    int64_t drain, linger;
    int64_t fair, bound, apart;
    mask stop_signals;
    uint64_t expect[4];
    const char *termination_log; /* NULL: none */
    char **program;
    int subreaper; /* 1 yes, 0 no, -1 whenever not PID 1 */
    int parent_death;
    int verbosity;
    bool grace_chosen, wait_all, warn_reap, json;
    unsigned char rewrite[RTMAX + 1];
};

int64_t later(int64_t instant, int64_t duration);
int64_t plan_length(const struct step *plan, int steps);
bool duration(struct word text, int64_t *result);
const char *variable(char *const *environment, const char *name); /* NULL when absent */
void parse(struct policy *policy, char **words, char *const *environment); /* a usage error does not return: see fail() */
void print_policy(const struct policy *policy);

/* --- machine.c --- */

enum { NO_STATUS = -1 };

struct state {
    int phase, status, signal, index;
    int64_t deadline, plan_end, bound;
    bool killed;
};

struct action {
    int verb, argument, scope;
};

struct actions {
    struct action list[4];
    int count;
};

extern const struct state INITIAL;

void step(const struct policy *policy, struct state *state, int event, int argument, int64_t now, struct actions *todo);
void postpone(const struct state *before, struct state *state, int64_t lag);

/* --- report.c --- */

enum { LIMIT = 4096 };

struct report {
    int verbosity, fd;
    bool json;
    unsigned dropped;
    const char *log; /* the termination log, or NULL */
};

extern struct report report;

enum field_kind { FIELD_NUMBER, FIELD_STRING, FIELD_WORDS, FIELD_LOOKS, FIELD_KILLED };

struct field {
    const char *name;
    enum field_kind kind;
    union {
        int64_t number;
        const void *value;
    };
};

#define NO_FIELDS ((const struct field[]){{0}})
#define FIELDS(...) ((const struct field[]){__VA_ARGS__, {0}}) /* ended by one without a name */
#define NUMBER(name, n) {name, FIELD_NUMBER, {.number = (n)}}
#define STRING(name, s) {name, FIELD_STRING, {.value = (s)}}
#define WORDS(name, w) {name, FIELD_WORDS, {.value = (w)}}
#define LOOKS(name, l) {name, FIELD_LOOKS, {.value = (l)}}
#define KILLED(name, l) {name, FIELD_KILLED, {.value = (l)}}

/* A list of texts of which only those are kept that could ever be printed: a line has a LIMIT. */
struct texts {
    unsigned count;          /* how many there were */
    unsigned kept;           /* how many are here */
    uint16_t from[256], to[256];
    char room[2 * LIMIT];
};

void report_open(void);
__attribute__((format(printf, 4, 5))) void say(int level, const char *event, const struct field *fields, const char *format, ...);
__attribute__((format(printf, 1, 2))) void warn(const char *format, ...);
__attribute__((format(printf, 1, 2))) void report_error(const char *format, ...);
/* Say so, also in the termination log if there is one by now, and exit. */
__attribute__((format(printf, 2, 3), noreturn)) void fail(int status, const char *format, ...);
bool write_line(const char *line, size_t length, int fd);
struct text add_begin(struct texts *list);
bool add_end(struct texts *list, const struct text *t);
const char *absolute(const char *path, char *room, size_t size);
void termination_log(const char *text); /* with no text only try, so that the warning comes while somebody reads */
size_t cut_at(const char *text, size_t length, size_t characters);

/* --- forensics.c --- */

struct process {
    pid_t pid, parent, pgrp, session;
    uint64_t start;
    uint32_t first_child, next_sibling; /* places in the table, plus one */
    char state;
    bool is_dead;
    char name[16];
};

struct folder { /* of names that are numbers */
    int fd;
    long filled, at;
    _Alignas(long long) char entries[2048];
};

void open_folder(struct folder *f, const char *path);
int next_number(struct folder *f); /* 0 at the end, where the folder is closed */
size_t read_file(const char *path, char *buffer, size_t size); /* NUL-terminated; 0 where it cannot be read */
bool read_process(pid_t pid, struct process *p);
bool is_readable(void);
uint32_t processes(struct process **all);      /* every one that /proc shows; until the next look */
uint32_t descendants(struct process ***found); /* our living ones, parents before children; as above */
bool has_shell_above(void);
enum { LABEL = 256 }; /* room for one: a name and 40 bytes of a script's, each byte as \xff */
void put_why(struct text *t, const struct process *p, int signal);
void put_label(struct text *t, const struct process *p);
void put_command_json(struct text *t, pid_t pid);
void put_uid(struct text *t, pid_t pid);
int64_t oom_kills(char (*room)[LIMIT]); /* of three; -1 where it cannot be read */
int64_t oom_kills_in(const char *root, const char *membership, char (*room)[LIMIT]);

/* --- terminal.c --- */

struct terminal {
    int fd;
    pid_t group;
    bool is_leader, take_at_start;
};

extern struct terminal terminal;

bool set_foreground(int fd, pid_t wanted);
bool terminal_open(void); /* false: errno says why */
void terminal_give(pid_t group);
void terminal_give_back(pid_t program);
void terminal_program_stopped(pid_t program, int signal, bool passed_on);
void terminal_hurry(pid_t program, int signal);

/* --- program.c --- */

enum { NOT_FOUND = 127, NOT_EXECUTABLE = 126, OWN_FAILURE = 125 };

struct start {
    char **words;
    char *const *environment;
    mask given;       /* the mask that the program is to get */
    pid_t us;
    int64_t budget;   /* nanoseconds from its stop signal to SIGKILL */
    char **arguments; /* room for the words and one more before them */
    char **variables; /* room for the environment and one more */
    bool as_libc;     /* looked for and tried exactly as glibc's execvp would */
    bool has_failed;
    int error;        /* why it could not be executed */
    const char *file; /* which file that is about */
    char candidate[2][LIMIT + 512];
    char room[3][LIMIT];
    char numbers[3][48];
};

void make_environment(struct start *s); /* fills `variables` */
void execute(struct start *s); /* returns when it failed: error and file are set */
__attribute__((noreturn)) void explain(const struct start *s); /* say why, and exit with the status for it */

/* --- engine.c --- */

void fill_descriptors(void);
__attribute__((noreturn)) void cannot_start(void); /* errno says why */
void become_subreaper(void);
void follow_parent(int signal, pid_t parent);
void engine_prepare(const struct policy *given);
struct start *prepare_start(char **words, char *const *environment, mask given);
pid_t start_child(struct start *s, int (*body)(void *));
void end_start(struct start *s);
pid_t spawn(char *const *environment, mask given);
void settle(void);
int run(pid_t pid);

/* --- start.c --- */

extern const char LICENSE_TEXT[];

/* --- tini.c --- */

bool is_tini(const char *name);
int tini(char **argv, char *const *environment, mask before, bool ignored_chld);

#endif
