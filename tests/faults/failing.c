/* Makes writes below a folder fail at random, as a full or a broken disk does.
 *
 * LD_PRELOAD this. FAULT_FOLDER: where; FAULT_ERRNO: how; FAULT_ONE_IN: how often;
 * FAULT_SEED: of the draws. What has failed is counted in FAULT_LOG, a line each. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned short state[3];
static const char *folder;
static int number, one_in;

__attribute__((constructor)) static void begin(void) {
    const char *seed = getenv("FAULT_SEED");
    folder = getenv("FAULT_FOLDER");
    number = folder ? atoi(getenv("FAULT_ERRNO")) : 0;
    one_in = folder ? atoi(getenv("FAULT_ONE_IN")) : 0;
    state[0] = 0x330E;
    state[1] = seed ? (unsigned short)atoi(seed) : 0;
    state[2] = (unsigned short)getpid();
}

static void note(const char *what, const char *path) {
    static ssize_t (*real)(int, const void *, size_t);
    char line[4200];
    int length = snprintf(line, sizeof line, "%s %s\n", what, path);
    int log = open(getenv("FAULT_LOG"), O_WRONLY | O_APPEND | O_CREAT, 0666);
    if (!real) real = dlsym(RTLD_NEXT, "write");
    if (log >= 0) { if (real(log, line, (size_t)length) < 0) {} close(log); }
}

static int fails(const char *what, const char *path) {
    int drawn;
    if (!folder || strncmp(path, folder, strlen(folder))) return 0;
    pthread_mutex_lock(&lock);
    drawn = (int)(nrand48(state) % one_in);
    pthread_mutex_unlock(&lock);
    if (drawn) return 0;
    note(what, path);
    errno = number;
    return 1;
}

static int fails_at(const char *what, int handle) {
    char link[64], path[4096];
    ssize_t length;
    if (!folder) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", handle);
    length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return fails(what, path);
}

#define REAL(name) \
    static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

ssize_t write(int handle, const void *bytes, size_t count) {
    REAL(write);
    if (fails_at("write", handle)) {
        if (count > 1) { int why = errno; if (real(handle, bytes, count / 2) < 0) {} errno = why; }
        return -1; /* half of it has come to the disk, as it may */
    }
    return real(handle, bytes, count);
}

ssize_t pwrite64(int handle, const void *bytes, size_t count, off64_t place) {
    REAL(pwrite64);
    return fails_at("pwrite", handle) ? -1 : real(handle, bytes, count, place);
}

ssize_t writev(int handle, const struct iovec *parts, int count) {
    REAL(writev);
    return fails_at("writev", handle) ? -1 : real(handle, parts, count);
}

int fsync(int handle) {
    REAL(fsync);
    return fails_at("fsync", handle) ? -1 : real(handle);
}

int rename(const char *from, const char *to) {
    REAL(rename);
    return fails("rename", to) ? -1 : real(from, to);
}

int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    return fails("mkdir", path) ? -1 : real(path, mode);
}

int ftruncate64(int handle, off64_t length) {
    REAL(ftruncate64);
    return fails_at("ftruncate", handle) ? -1 : real(handle, length);
}
