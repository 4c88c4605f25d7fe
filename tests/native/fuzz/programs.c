/* Why a file could not be executed: any file. The input: which error, then the file. */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const int ERRORS_OF_EXEC[] = {ENOENT, ENOEXEC, EACCES, ENOTDIR, E2BIG, 4096};
    static char *words[] = {"./program", NULL}, *environment[] = {"PATH=/nowhere", NULL};
    static struct start s;
    struct input in = {data, size};
    unsigned which = byte_of(&in);
    forget_fakes();
    fake_file("program", (struct word){(const char *)in.at, in.left});
    int fd = open("program", O_CREAT | O_WRONLY | O_CLOEXEC, 0644); /* explain() asks what kind of file it is */
    must(fd >= 0 && close(fd) == 0, "a file");
    s.words = words;
    s.environment = environment;
    s.error = ERRORS_OF_EXEC[which % LENGTH(ERRORS_OF_EXEC)];
    s.file = "program";
    must(FAILS(explain(&s)), "it says why");
    forget_fakes();
    return 0;
}
