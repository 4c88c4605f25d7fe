/* Signals: names, numbers, wait statuses (signals.py), and the system calls about masks and clocks.
 *
 * By system call: a libc keeps some signals for itself and leaves them out of every set, so that they would stay unblocked.
 */

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pyinit.h"

static const char NAMES[] = SIGNAL_NAMES; /* 0 to 31 */
static const struct {
    const char *name;
    int number;
} ALIASES[] = {SIGNAL_ALIASES};

mask bit(int number) { return (mask)1 << (number - 1); }

bool in_mask(int number, mask signals) { return signals >> (number - 1) & 1; }

static char upper(char c) { return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c; }

/* One or two digits; -1 for anything else. */
static int small_number(const char *text) {
    int number = 0;
    size_t length = strlen(text);
    if (length < 1 || length > 2)
        return -1;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return -1;
        number = 10 * number + *text - '0';
    }
    return number;
}

int number_of(struct word text) {
    char buffer[16], *name = buffer;
    if (text.length >= sizeof buffer)
        return -1;
    for (size_t i = 0; i < text.length; i++)
        buffer[i] = upper(text.at[i]);
    buffer[text.length] = '\0';
    if (strlen(buffer) != text.length)
        return -1;
    int number = small_number(name);
    if (number >= 0)
        return number >= 1 && number <= RTMAX && number != 32 && number != 33 ? number : -1;
    if (starts_with(name, "SIG"))
        name += 3;
    for (int i = 1; i < RTMIN - 2; i++)
        if (strcmp(name, nth(NAMES, i) + 3) == 0)
            return i;
    for (size_t i = 0; i < LENGTH(ALIASES); i++)
        if (strcmp(name, ALIASES[i].name) == 0)
            return ALIASES[i].number;
    if (!starts_with(name, "RTMIN+") && !starts_with(name, "RTMAX-"))
        return -1;
    int offset = small_number(name + 6);
    number = name[5] == '+' ? RTMIN + offset : RTMAX - offset;
    return offset >= 0 && number >= RTMIN && number <= RTMAX ? number : -1;
}

/* Eight places, so that one line can hold several. */
static struct text place(void) {
    static char places[8][20];
    static unsigned next;
    next = (next + 1) % LENGTH(places);
    return text_in(places[next], sizeof places[0]);
}

const char *name_of(int number) {
    if (number > 0 && number < RTMIN - 2)
        return nth(NAMES, number);
    struct text t = place();
    if (number == RTMAX)
        put(&t, "SIGRTMAX");
    else if (number == RTMIN)
        put(&t, "SIGRTMIN");
    else if (number > RTMIN && number < RTMAX)
        put(&t, "SIGRTMIN+%d", number - RTMIN);
    else
        put(&t, "signal %d", number);
    return t.start;
}

/* --- wait statuses --- */

bool is_stopped(int status) { return (status & 0xff) == 0x7f; }

int stop_signal(int status) { return status >> 8 & 0xff; }

int term_signal(int status) { return status & 0x7f; }

int exit_code(int status) { return term_signal(status) ? 128 + term_signal(status) : status >> 8 & 0xff; }

const char *ended_how(int status) {
    if (term_signal(status))
        return name_of(term_signal(status));
    struct text t = place();
    put(&t, "exit %d", status >> 8 & 0xff);
    return t.start;
}

/* --- masks --- */

bool set_mask(mask wanted, mask *before) {
    return syscall(SYS_rt_sigprocmask, SIG_SETMASK, &wanted, before, sizeof wanted) == 0;
}

/* The kernel's struct sigaction begins with the handler; no flags and an empty mask follow. */
static bool set_disposition(int number, unsigned long handler) {
    unsigned long wanted[8] = {handler}, before[8] = {0};
    syscall(SYS_rt_sigaction, number, wanted, before, sizeof(mask));
    return before[0] == (unsigned long)SIG_IGN;
}

bool to_default(int number) { return set_disposition(number, (unsigned long)SIG_DFL); }

void ignore(int number) { set_disposition(number, (unsigned long)SIG_IGN); }

/* 32-bit machines have had calls with 64-bit times since Linux 5.1, and engines have allowed them a year later: where they are
 * refused, the older ones do until 2038. Elsewhere there is one of each. */
#ifdef SYS_clock_gettime32
#define OLDER_CLOCK SYS_clock_gettime32 /* musl's name for it */
#else
#define OLDER_CLOCK SYS_clock_gettime
#endif

/* By system call: a libc brings a kilobyte that looks for a faster way. */
int64_t clock_at(clockid_t clock) {
#ifdef SYS_clock_gettime64
    int64_t time[2];
    if (syscall(SYS_clock_gettime64, clock, time) == 0)
        return time[0] * SECOND + time[1];
#endif
    long older[2] = {0};
    syscall(OLDER_CLOCK, clock, older);
    return older[0] * SECOND + older[1];
}

int64_t monotonic(void) { return clock_at(CLOCK_MONOTONIC); }

/* By system call: musl's begins the whole time anew when we were stopped and continued meanwhile. */
int wait_signal(mask of, int64_t nanoseconds) {
    const int64_t seconds = nanoseconds / SECOND;
#ifdef SYS_rt_sigtimedwait_time64
    const int64_t time[2] = {seconds, nanoseconds % SECOND};
    long came = syscall(SYS_rt_sigtimedwait_time64, &of, NULL, nanoseconds == NEVER ? NULL : time, sizeof of);
    if (came > 0 || (errno != ENOSYS && errno != EPERM))
        return came > 0 ? (int)came : 0;
#endif
    const long older[2] = {seconds < LONG_MAX ? (long)seconds : LONG_MAX, (long)(nanoseconds % SECOND)};
    long number = syscall(SYS_rt_sigtimedwait, &of, NULL, nanoseconds == NEVER ? NULL : older, sizeof of);
    return number > 0 ? (int)number : 0;
}
