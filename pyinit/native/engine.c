/* The hands: spawn one program, sleep in one blocking call, reap until dry, and do what the machine says (engine.py).
 *
 * Until run() anything may fail with its own exit status; from there on PID 1 must not die: errors warn and go on.
 */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pyinit.h"

/* the same on every architecture, and younger than some headers */
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif

static const char *const WHOM[] = {"program", "process group", "tree"};
static const char *const SCOPE_NAMES[] = {"child", "group", "tree"};

/* --- what is kept --- */

/* Whom we have signalled; pid and start name a process for good. */
struct known {
    pid_t pid;
    uint32_t round;
    uint64_t start;
    bool is_asked, is_killed, is_refused;
    unsigned char asked; /* the last stop signal */
};

enum { MOST_KNOWN = 1 << 16 };

static struct known known[MOST_KNOWN];
KEPT static uint32_t in_known, this_round;

KEPT static const struct policy *policy;
KEPT static struct state state;
KEPT static pid_t child, group; /* the program: 0 once it is reaped, since a reaped pid may be another's; and its first group */
KEPT static int64_t started, asked_at = NEVER, oom_seen;
KEPT static bool sees, was_blind, was_blind_killed, passed_on_stop, is_done;
KEPT static int stop_signal_seen, last_asked, code = OWN_FAILURE;
KEPT static unsigned reaped, killed_count;
KEPT static const char *name;
static struct texts killed;   /* who has had SIGKILL from us, and why */
static char last_words[LIMIT]; /* what the termination log says beside the last line */
static char last_reaped[64];

/* --- before the spawn: anything may fail --- */

/* Open /dev/null for each of 0, 1 and 2 that was closed; close-on-exec: the program still finds them closed. */
void fill_descriptors(void) {
    int fd;
    while ((fd = open_file("/dev/null", O_RDWR)) >= 0)
        if (fd > 2) {
            close(fd);
            return;
        }
}

void become_subreaper(void) {
    if (getpid() == 1)
        return;
    if (policy->subreaper == 0) {
        say(INFO, "warning", NO_FIELDS, "not PID 1 and --no-subreaper: processes that double-fork are out of reach");
        return;
    }
    if (syscall(SYS_prctl, PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0)
        warn("not PID 1 and cannot become a subreaper (%s): orphans go to PID 1, their zombies stay if it does not reap; run pyinit "
             "as PID 1 (ENTRYPOINT in exec form, no shareProcessNamespace), or say --no-subreaper to hide this line",
             error_text(errno));
}

void follow_parent(int signal, pid_t parent) {
    if (syscall(SYS_prctl, PR_SET_PDEATHSIG, signal, 0, 0, 0) != 0)
        warn("--parent-death %s: %s", name_of(signal), error_text(errno));
    if (getppid() != parent)
        kill(getpid(), signal);
}

void cannot_start(void) {
    fail(OWN_FAILURE, "cannot start: %s; is a limit of the container reached (ulimit -n, --pids-limit)?", error_text(errno));
}

/* In the child, whose memory is ours: dispositions first, the mask last, then exec. */
static int start(void *argument) {
    static const int TO_DEFAULT[] = {CHLD, PIPE, XFSZ};
    struct start *s = argument;
    setpgid(0, 0);
    if (terminal.take_at_start)
        terminal_give(getpid());
    for (size_t i = 0; i < LENGTH(TO_DEFAULT); i++)
        to_default(TO_DEFAULT[i]);
    make_environment(s);
    set_mask(s->given, NULL);
    execute(s);
    s->has_failed = true; /* in our memory too */
    _exit(OWN_FAILURE);
}

/* The child's stack and what it needs: given back when it has executed, since a written page would stay ours for good. */
enum { STACK = 64 * 1024 };

static size_t count(char *const *list) {
    size_t length = 0;
    while (list[length] != NULL)
        length++;
    return length;
}

static size_t size_of(char *const *words, char *const *environment) {
    return STACK + sizeof(struct start) + (count(words) + 2 + count(environment) + 2) * sizeof(char *);
}

struct start *prepare_start(char **words, char *const *environment, mask given) {
    char *memory = mmap(NULL, size_of(words, environment), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    struct start *s = (void *)(memory + STACK);
    s->words = words;
    s->environment = environment;
    s->given = given;
    s->us = getpid();
    s->arguments = (void *)(s + 1);
    s->variables = s->arguments + count(words) + 2;
    return s;
}

/* Returns when the child has executed or is gone; -1 with errno where there is no child to be had. */
pid_t start_child(struct start *s, int (*body)(void *)) {
    pid_t pid = clone(body, s, CLONE_VM | CLONE_VFORK | SIGCHLD, s);
    if (pid > 0)
        setpgid(pid, pid); /* it has done so itself, or is gone */
    return pid;
}

void end_start(struct start *s) { munmap((char *)s - STACK, size_of(s->words, s->environment)); }

/* Start the program in its own process group; its pid once exec has succeeded. */
pid_t spawn(char *const *environment, mask given) {
    struct start *s = prepare_start(policy->program, environment, given);
    if (s == NULL)
        cannot_start();
    s->budget = plan_length(policy->plan, policy->steps);
    int64_t kills = oom_kills(s->room);
    oom_seen = kills > 0 ? kills : 0;
    pid_t pid = start_child(s, start);
    if (pid < 0)
        fail(OWN_FAILURE, "cannot start a process: %s%s", error_text(errno),
             errno == EAGAIN ? "; the container's --pids-limit or RLIMIT_NPROC is reached" : "");
    if (s->has_failed) {
        waitpid(pid, NULL, 0);
        terminal_give_back(pid);
        explain(s);
    }
    end_start(s);
    return pid;
}

static void close_inherited(void) {
    int low = terminal.fd < report.fd ? terminal.fd : report.fd, high = terminal.fd < report.fd ? report.fd : terminal.fd;
    const unsigned ends[] = {low > 2 ? (unsigned)low : 3, high > 2 ? (unsigned)high : 3, UINT_MAX};
    unsigned first = 3;
    bool done = true;
    for (size_t i = 0; i < LENGTH(ends); i++) {
        if (ends[i] > first)
            done &= syscall(SYS_close_range, first, ends[i] - 1, 0) == 0;
        if (ends[i] >= first && (ends[i] == (unsigned)low || ends[i] == (unsigned)high))
            first = ends[i] + 1; /* which is kept */
    }
    if (done)
        return;
    /* an older kernel, or a seccomp profile that does not know the call */
    static struct folder folder;
    open_folder(&folder, "/proc/self/fd");
    if (folder.fd < 0)
        for (int fd = 3; fd < 65536; fd++)
            if (fd != terminal.fd && fd != report.fd)
                close(fd);
    for (int fd; (fd = next_number(&folder)) > 0;)
        if (fd > 2 && fd != terminal.fd && fd != report.fd && fd != folder.fd)
            close(fd);
}

/* Code and texts of the start are not needed again: what is will be mapped again, out of the page cache. */
static void forget_code(void) {
    /* the linker's names; a file is mapped from the beginning of a page NOLINTNEXTLINE(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
    extern char __executable_start[], etext[];
    madvise(__executable_start, (uintptr_t)etext - (uintptr_t)__executable_start, MADV_DONTNEED);
}

/* Let go of what was inherited: PID 1 holds no working directory, no pipe and no file of anybody's open. */
void settle(void) {
    int null = open_file("/dev/null", O_RDWR);
    for (int fd = 0; fd <= 1; fd++)
        if (null < 0)
            close(fd);
        else
            dup2(null, fd);
    if (null > 2)
        close(null);
    close_inherited();
    (void)!chdir("/"); /* a root that may not be searched: then we stay where we are */
    forget_code();
}

/* --- from here on PID 1 must not die --- */

void engine_prepare(const struct policy *given) {
    policy = given;
    state = INITIAL;
    started = monotonic();
    name = after_last(policy->program[0], '/');
    sees = is_readable();
}

static void add_last_words(const char *text) {
    size_t used = strlen(last_words);
    struct text t = {last_words, last_words + used, last_words + sizeof last_words - 1, false};
    put(&t, "; %s", text);
}

static const char *seconds(int64_t nanoseconds) {
    static char places[4][32];
    static unsigned next;
    next = (next + 1) % LENGTH(places);
    struct text t = text_in(places[next], sizeof places[0]);
    put_seconds(&t, nanoseconds);
    return t.start;
}

static bool is_stopping(int signal) { return signal == STOP || signal == TSTP || signal == TTIN || signal == TTOU; }

static struct known *place_of(pid_t pid) {
    uint32_t at = (uint32_t)pid % MOST_KNOWN;
    while (known[at].pid != 0 && known[at].pid != pid)
        at = (at + 1) % MOST_KNOWN;
    return &known[at];
}

/* What we know of a process; NULL: nothing. */
static struct known *known_already(const struct process *p) {
    struct known *k = place_of(p->pid);
    return k->pid == p->pid && k->start == p->start ? k : NULL;
}

/* The same, made where there is nothing yet. */
static struct known *known_as(const struct process *p) {
    struct known *k = place_of(p->pid);
    if (k->pid == p->pid && k->start == p->start)
        return k;
    if (k->pid == 0 && ++in_known == MOST_KNOWN) { /* somebody may then be asked twice, after 65,535 others */
        memset(known, 0, sizeof known);
        in_known = 1;
        k = &known[(uint32_t)p->pid % MOST_KNOWN];
    }
    *k = (struct known){.pid = p->pid, .start = p->start};
    return k;
}

static bool was_killed_by_us(pid_t pid) {
    const struct known *k = place_of(pid);
    return k->pid == pid && k->is_killed;
}

static bool carry_out(const struct actions *todo);

/* One event through the machine, and what it leads to. */
static void feed(int event, int argument) { // NOLINT(misc-no-recursion): once at most, NOBODY asks nobody
    struct state before = state;
    struct actions todo;
    int64_t now = monotonic();
    step(policy, &state, event, argument, now, &todo);
    bool found_nobody = carry_out(&todo);
    if (state.deadline != before.deadline && state.deadline != NEVER)
        /* looking who is there took its time: whoever was asked has what was promised from the signal on */
        postpone(&before, &state, monotonic() - now);
    if (found_nobody)
        feed(NOBODY, 0);
}

/* --- reaping --- */

/* Whether a SIGKILL that was not ours goes with a rise of the cgroup's counter. Each rise explains one death. */
static bool ran_out_of_memory(pid_t pid, int status) {
    static char room[3][LIMIT];
    if (term_signal(status) != KILL || was_killed_by_us(pid) || (was_blind_killed && pid == group) || oom_kills(room) <= oom_seen)
        return false;
    oom_seen++;
    return true;
}

static void program_ended(int status) {
    const char *how = ended_how(status);
    say(INFO, "child-exit", FIELDS(NUMBER("pid", group), STRING("status", how), NUMBER("code", exit_code(status))), "%pS ended: %s",
        name, how);
    if (!ran_out_of_memory(group, status))
        return;
    say(WARNINGS, "oom", FIELDS(NUMBER("pid", group), NUMBER("oom_kills", oom_seen)),
        "%pS was killed by the kernel: out of memory; raise the container's memory limit", name);
    add_last_words("out of memory");
}

static void orphan_ended(pid_t pid, int status) {
    reaped++;
    bool ran_out = ran_out_of_memory(pid, status);
    int level = policy->warn_reap ? WARNINGS : DEBUG;
    if (level > report.verbosity && !policy->wait_all)
        return; /* the usual case: nobody will read words about it */
    const char *how = ended_how(status);
    struct text t = text_in(last_reaped, sizeof last_reaped);
    put(&t, "%d: %s%s", (int)pid, how, ran_out ? ", out of memory" : "");
    say(level, "reap", FIELDS(NUMBER("pid", pid), STRING("status", how)), "reaped orphan %s", last_reaped);
}

static void program_stopped(int signal) {
    const char *stopped_by = name_of(signal);
    say(DEBUG, "signal", FIELDS(STRING("signal", stopped_by)), "%pS was stopped by %s", name, stopped_by);
    if (state.phase == RUNNING)
        terminal_program_stopped(group, signal, passed_on_stop);
    else if (!is_stopping(last_asked)) /* a plan may want it stopped */
        terminal_hurry(group, signal);
}

/* Everyone who has ended, in one go: SIGCHLD does not queue (signal(7)). The machine hears of it after the batch. */
static void reap(void) {
    int status = NO_STATUS, what;
    pid_t pid;
    while ((pid = waitpid(-1, &what, WNOHANG | WUNTRACED)) > 0) {
        if (is_stopped(what)) {
            if (pid == child)
                program_stopped(stop_signal(what));
        } else if (pid == child) {
            child = 0;
            status = what;
            last_reaped[0] = '\0';
            program_ended(what);
        } else {
            orphan_ended(pid, what);
        }
    }
    if (pid < 0 && errno == ECHILD)
        feed(EMPTY, status);
    else if (status != NO_STATUS)
        feed(ENDED, status);
}

/* --- signals --- */

static const char *not_allowed(int error) {
    return error == EPERM ? "it runs as another user; run pyinit as root or give it CAP_KILL" : error_text(error);
}

/* kill(2) to the program or its group, which nobody has reaped, so that the number cannot be another's. */
static void send_to_program(int number, int scope) {
    if (child == 0)
        return;
    int failed = 0;
    /* a program that has left its first group is reached all the same */
    pid_t now_in = scope < GROUP ? -1 : getpgid(child);
    if ((scope >= GROUP && now_in < 0) || (now_in != group && kill(child, number) != 0))
        failed = errno;
    if (!failed && scope >= GROUP && kill(-group, number) != 0)
        failed = errno;
    if (failed && failed != ESRCH) /* ESRCH: it is a zombie that we reap next */
        warn("cannot send %s to %d %pS: %s", name_of(number), (int)child, name, not_allowed(failed));
}

/* A signal to one process, through a pidfd opened before its identity is read again: never to whoever reuses its pid. */
static bool send(const struct process *p, int number) {
    struct process now;
    int fd = (int)syscall(SYS_pidfd_open, p->pid, 0), failed = 0;
    if (fd < 0 && errno == ESRCH)
        return false;
    if (!read_process(p->pid, &now) || now.start != p->start)
        failed = ESRCH;
    else if (fd < 0 || (syscall(SYS_pidfd_send_signal, fd, number, NULL, 0) != 0 && (failed = errno) != ESRCH))
        failed = kill(p->pid, number) == 0 ? 0 : errno; /* an old kernel, or a seccomp profile that does not know the calls */
    if (fd >= 0)
        close(fd);
    struct known *k = known_as(p);
    if (failed && failed != ESRCH && !k->is_refused) {
        static char label[LABEL];
        struct text t = text_in(label, sizeof label);
        put_label(&t, p);
        k->is_refused = true;
        warn("cannot send %s to %d %s: %s", name_of(number), (int)p->pid, label, not_allowed(failed));
    }
    return !failed;
}

/* Our living descendants; without a readable /proc the program alone stands for them. */
static uint32_t tree(struct process ***found) { return sees ? descendants(found) : 0; }

static void say_sent(int number, int scope) {
    if (report.verbosity >= INFO) /* a signal on its way does not wait for words that nobody reads */
        say(INFO, "forward", FIELDS(STRING("signal", name_of(number)), STRING("scope", SCOPE_NAMES[scope])), "%s sent to the %s",
            name_of(number), WHOM[scope]);
}

static void forward(int number, int scope) {
    if (scope == TREE) {
        struct process **found;
        uint32_t count = tree(&found);
        for (uint32_t i = 0; i < count; i++)
            send(found[i], number);
    } else {
        send_to_program(number, scope);
    }
    if (is_stopping(number))
        passed_on_stop = true;
    else if (number == CONT)
        passed_on_stop = false;
    say_sent(number, scope);
}

/* Look and ask again until a look finds nobody new: a parent may fork while we read. Each is asked once. */
static unsigned ask_everyone(int number, bool only_unasked) {
    unsigned done = 0;
    this_round++;
    for (int look = 0; look < 100; look++) {
        struct process **found;
        uint32_t count = tree(&found);
        unsigned before = done;
        for (uint32_t i = 0; i < count; i++) {
            struct known *k = known_as(found[i]);
            if (k->round == this_round || k->is_refused || (only_unasked && k->is_asked))
                continue;
            k->round = this_round;
            k->is_asked = true;
            k->asked = (unsigned char)number;
            done++;
            if (send(found[i], number) && number != STOP && number != TSTP)
                send(found[i], CONT);
        }
        if (done == before)
            break;
    }
    return done;
}

static void note_asked(int number) {
    if (asked_at == NEVER) {
        asked_at = monotonic();
        stop_signal_seen = number;
    }
}

/* A stop signal to the scope, and CONT so that a stopped process hears it. */
static void ask(int number, int scope) {
    last_asked = number;
    note_asked(number);
    if (scope == TREE && sees) {
        ask_everyone(number, false);
    } else {
        /* noted before the signal: who is forked in answer to it (a trap's clean-up) has not been asked */
        struct process **found;
        uint32_t count = tree(&found);
        for (uint32_t i = 0; i < count; i++)
            if (found[i]->pid == child || (scope == GROUP && found[i]->pgrp == group)) {
                struct known *k = known_as(found[i]);
                k->is_asked = true;
                k->asked = (unsigned char)number;
            }
        send_to_program(number, scope);
        if (number != STOP && number != TSTP)
            send_to_program(CONT, scope);
    }
    say_sent(number, scope);
}

/* SIGTERM and CONT to every descendant that has had no stop signal from us; how many there were. */
static unsigned ask_rest(void) {
    unsigned found = 0;
    note_asked(TERM);
    if (sees) {
        found = ask_everyone(TERM, true);
    } else if (was_blind) {
        return 0; /* done and said already */
    } else if (getpid() == 1 && child == 0 && state.signal == 0) {
        /* blind and alone in our own PID namespace, with nobody asked yet: the only way to be fair to them */
        was_blind = true;
        found = kill(-1, TERM) == 0;
        found &= kill(-1, CONT) == 0;
    } else {
        was_blind = true;
        warn("/proc is not readable: only the program's process group can be stopped in order");
    }
    if (found)
        say(INFO, "sweep", FIELDS(STRING("signal", "SIGTERM"), NUMBER("count", found)), "SIGTERM sent to %u more", found);
    return found;
}

/* --- escalation --- */

/* What was seen of processes at one moment, before anything was done to them: for people, and as JSON. */
static struct texts words, objects;

static void forget_looks(void) { words.count = words.kept = objects.count = objects.kept = 0; }

static void look_at(const struct process *p, int signal, const char *reason) {
    static char label[LABEL], why[256];
    struct text l = text_in(label, sizeof label), w = text_in(why, sizeof why), t = add_begin(&words);
    put_label(&l, p);
    if (reason)
        put(&w, "%s", reason);
    else
        put_why(&w, p, signal);
    put(&t, "%d %s (%s)", (int)p->pid, label, why);
    add_end(&words, &t);
    t = add_begin(&objects);
    if (report.json) {
        put(&t, "{\"pid\":%d,\"name\":", (int)p->pid);
        put_json(&t, label, strlen(label));
        put(&t, ",\"command\":");
        put_command_json(&t, p->pid);
        put(&t, ",\"state\":\"%c\",\"why\":", p->state);
        put_json(&t, why, strlen(why));
        put(&t, "}");
    }
    add_end(&objects, &t);
}

/* Whoever could not be signalled is no part of the report. */
static void keep_look(struct texts *list, unsigned from, unsigned to) {
    if (from < list->kept) {
        list->from[to] = list->from[from];
        list->to[to] = list->to[from];
    }
}

static const char *listed(void) {
    static char buffer[LIMIT + 64];
    struct text t = text_in(buffer, sizeof buffer);
    for (unsigned i = 0; i < words.kept && i < 20; i++)
        put(&t, "%s%.*s", i ? ", " : "", words.to[i] - words.from[i], words.room + words.from[i]);
    if (words.count > 20)
        put(&t, ", and %u more", words.count - 20);
    return buffer;
}

static void say_killed(void) {
    static char text[LIMIT + 64];
    int64_t waited = monotonic() - asked_at;
    struct text t = text_in(text, sizeof text);
    put(&t, "killed %u after %s: %s", words.count, seconds(waited), listed());
    const struct field *fields =
        FIELDS(NUMBER("after_ms", waited / MILLISECOND), STRING("signal", "SIGKILL"), LOOKS("processes", &objects));
    if (!policy->grace_chosen && state.killed)
        say(WARNINGS, "escalate", fields,
            "%s; nobody chose the %s: --grace or PYINIT_GRACE gives more, below what docker stop -t or the pod allows", text,
            seconds(policy->plan[0].duration));
    else
        say(WARNINGS, "escalate", fields, "%s", text);
    add_last_words(text);
}

static void kill_group_blindly(void) {
    if (child == 0 || killed_count > 0)
        return;
    static char text[256];
    struct text t = text_in(text, sizeof text), k = add_begin(&killed);
    send_to_program(KILL, policy->scope);
    put(&t, "killed the %s of %pS (/proc is not readable: nobody knows why)", WHOM[policy->scope < GROUP ? policy->scope : GROUP], name);
    put(&k, "%d %pS", (int)child, name);
    add_end(&killed, &k);
    killed_count++;
    was_blind_killed = true;
    say(WARNINGS, "escalate", FIELDS(STRING("signal", "SIGKILL")), "%s", text);
    add_last_words(text);
}

/* Look first, then SIGKILL whoever was asked and is still here, then say it in one line. */
static void kill_asked(void) {
    if (!sees) {
        kill_group_blindly();
        return;
    }
    struct process *all;
    uint32_t count = processes(&all);
    this_round++;
    forget_looks();
    for (uint32_t i = 0; i < count; i++) {
        struct known *k = known_already(&all[i]);
        if (k == NULL || !k->is_asked || k->is_killed || k->is_refused || all[i].is_dead)
            continue;
        k->round = this_round;
        look_at(&all[i], k->asked, NULL);
    }
    unsigned look = 0, sent = 0, words_kept = 0, objects_kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct known *k = known_already(&all[i]);
        if (k == NULL || k->round != this_round)
            continue;
        if (send(&all[i], KILL)) {
            k->is_killed = true;
            keep_look(&words, look, sent);
            keep_look(&objects, look, sent);
            struct text t = add_begin(&killed);
            if (look < words.kept) {
                put(&t, "%.*s", words.to[sent] - words.from[sent], words.room + words.from[sent]);
                words_kept++;
            } else {
                t.cut = true;
            }
            add_end(&killed, &t);
            objects_kept += look < objects.kept;
            sent++;
        }
        look++;
    }
    killed_count += sent;
    words.count = objects.count = sent;
    words.kept = words_kept;
    objects.kept = objects_kept;
    if (sent > 0)
        say_killed();
}

/* Name those who outlive even SIGKILL: in uninterruptible sleep, or of a user whom we may not signal. */
static void leave(void) {
    struct process **found;
    uint32_t count = tree(&found);
    static char text[LIMIT + 64];
    forget_looks();
    for (uint32_t i = 0; i < count; i++) {
        static char reason[64];
        struct text t = text_in(reason, sizeof reason);
        struct known *k = known_already(found[i]);
        bool refused = k != NULL && k->is_refused;
        if (refused) {
            put(&t, "runs as UID ");
            put_uid(&t, found[i]->pid);
            put(&t, ", which pyinit may not signal");
        }
        look_at(found[i], KILL, refused ? reason : NULL);
    }
    if (words.count == 0)
        return;
    struct text t = text_in(text, sizeof text);
    put(&t, "leaving %u behind: %s", words.count, listed());
    say(WARNINGS, "survivor", FIELDS(LOOKS("processes", &objects)), "%s", text);
    add_last_words(text);
}

/* --- the end --- */

/* The last word, the termination log, the terminal: then run() returns. */
static void finish(int with) {
    static char text[LIMIT];
    struct text t = text_in(text, sizeof text);
    int64_t now = monotonic();
    const char *how = state.status == NO_STATUS ? "not reaped" : ended_how(state.status);
    struct field fields[9];
    int count = 0;
    is_done = true;
    code = with;
    fields[count++] = (struct field)NUMBER("code", code);
    fields[count++] = (struct field)STRING("status", how);
    fields[count++] = (struct field)NUMBER("uptime_ms", (now - started) / MILLISECOND);
    put(&t, "exit %d, %pS: %s, ran %s", code, name, how, seconds(now - started));
    if (asked_at != NEVER) {
        put(&t, ", stopped in %s after %s", seconds(now - asked_at), name_of(stop_signal_seen));
        fields[count++] = (struct field)NUMBER("stop_ms", (now - asked_at) / MILLISECOND);
    }
    put(&t, ", %u orphan%s reaped", reaped, reaped == 1 ? "" : "s");
    if (policy->wait_all && last_reaped[0] != '\0') {
        put(&t, ", the last process was %s", last_reaped);
        fields[count++] = (struct field)STRING("last", last_reaped);
    }
    if (killed_count)
        put(&t, ", %u killed", killed_count);
    else
        put(&t, ", nobody killed");
    if (report.dropped)
        put(&t, ", %u report lines dropped", report.dropped);
    fields[count++] = (struct field)NUMBER("reaped", reaped);
    fields[count++] = (struct field)KILLED("killed", &killed);
    fields[count++] = (struct field)NUMBER("dropped", report.dropped);
    fields[count] = (struct field){0};
    say(INFO, "exit", fields, "%s", text);
    if (report.log != NULL) {
        static char whole[3 * LIMIT];
        struct text w = text_in(whole, sizeof whole);
        put(&w, "%s%s", text, last_words);
        termination_log(whole);
    }
    terminal_give_back(group);
}

/* Do what the machine says; whether there was nobody to ask. */
static bool carry_out(const struct actions *todo) {
    bool found_nobody = false;
    for (int i = 0; i < todo->count; i++) {
        const struct action *a = &todo->list[i];
        switch (a->verb) {
        case FORWARD:
            forward(a->argument, a->scope);
            break;
        case ASK:
            ask(a->argument, a->scope);
            break;
        case ASK_REST:
            found_nobody = ask_rest() == 0;
            break;
        case KILL_ASKED:
            kill_asked();
            break;
        case LEAVE:
            leave();
            break;
        case EXIT:
            finish(a->argument);
            break;
        case DRAIN:
            stop_signal_seen = a->argument;
            say(INFO, "drain", FIELDS(STRING("signal", name_of(a->argument)), NUMBER("ms", policy->drain / MILLISECOND)),
                "%s is held back for %s (--drain)", name_of(a->argument), seconds(policy->drain));
            break;
        default: /* DROP */
            say(DEBUG, "signal", FIELDS(STRING("signal", name_of(a->argument))), "%s dropped", name_of(a->argument));
        }
    }
    return found_nobody;
}

static bool is_late(void) { return state.deadline != NEVER && !is_done && monotonic() >= state.deadline; }

/* Sleep until something happens, and see to it. */
static void turn(void) {
    int64_t left = state.deadline;
    if (left != NEVER) {
        left -= monotonic();
        left = left < 0 ? 0 : left;
    }
    /* the one blocking call: no tick, and a deadline only while one is running */
    int number = wait_signal(~(bit(32) | bit(33)), left);
    if (number == 0 || number == CHLD) {
        reap();
    } else {
        say(INFO, "signal", FIELDS(STRING("signal", name_of(number))), "%s arrived", name_of(number));
        feed(SIGNAL, number);
    }
    if (is_late()) {
        reap(); /* who has ended in time is not to be killed for it */
        if (is_late())
            feed(TIMEOUT, 0);
    }
}

int run(pid_t pid) {
    child = group = pid;
    while (!is_done)
        turn();
    return code;
}
