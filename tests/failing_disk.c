/* A disk that fails: preloaded into a process, it makes a call on files below a folder
 * fail, and counts these calls. The program chooses the call by `disk_fails`. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { ONCE, FROM_THEN_ON, KILLED };

static char folder[PATH_MAX], what[2 * PATH_MAX];
static int chosen, mode, number, calls, active;

/* Let the call of this number below `path` fail, and all after it; 0 for none. */
void disk_fails(const char *path, int call, int how, int error) {
    active = 0;
    snprintf(folder, sizeof folder, "%s", path);
    chosen = call, mode = how, number = error, calls = 0, what[0] = 0;
    active = 1;
}

void disk_works(void) { active = 0; }

int disk_calls(void) { return calls; }
const char *disk_failed(void) { return what; }

static int is_below(const char *path) {
    size_t length = strlen(folder);
    return !strncmp(path, folder, length) && (path[length] == '/' || !path[length]);
}

static int fails(const char *name, const char *path) {
    int call = __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST);
    if (!chosen || call < chosen || (mode != FROM_THEN_ON && call > chosen)) return 0;
    if (mode == KILLED) raise(SIGKILL);
    if (call == chosen) snprintf(what, sizeof what, "%s %s", name, path);
    errno = number;
    return 1;
}

static int fails_on(const char *name, int descriptor) {
    char link[64], path[PATH_MAX];
    if (!active) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return is_below(path) && fails(name, path);
}

static int fails_at(const char *name, int base, const char *path) {
    char link[64], whole[2 * PATH_MAX];
    if (!active || !path) return 0;
    if (path[0] == '/') return is_below(path) && fails(name, path);
    snprintf(link, sizeof link, "/proc/self/fd/%d", base);
    const char *start = base == AT_FDCWD ? "/proc/self/cwd" : link;
    ssize_t length = readlink(start, whole, PATH_MAX);
    if (length <= 0) return 0;
    snprintf(whole + length, PATH_MAX, "/%s", path);
    return is_below(whole) && fails(name, whole);
}

#define REAL(name) \
    static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name);

#define ON_PATH(name, parameters, base, path, arguments) \
    int name parameters { \
        REAL(name) \
        return fails_at(#name, base, path) ? -1 : real arguments; \
    }

#define ON_FILE(type, name, parameters, descriptor, arguments) \
    type name parameters { \
        REAL(name) \
        return fails_on(#name, descriptor) ? -1 : real arguments; \
    }

#define OPEN(name, parameters, base, arguments) \
    int name parameters { \
        REAL(name) \
        va_list rest; \
        va_start(rest, flags); \
        mode_t access = va_arg(rest, mode_t); \
        va_end(rest); \
        return fails_at(#name, base, path) ? -1 : real arguments; \
    }

OPEN(open, (const char *path, int flags, ...), AT_FDCWD, (path, flags, access))
OPEN(open64, (const char *path, int flags, ...), AT_FDCWD, (path, flags, access))
OPEN(openat, (int at, const char *path, int flags, ...), at, (at, path, flags, access))
OPEN(openat64, (int at, const char *path, int flags, ...), at,
     (at, path, flags, access))

ON_PATH(mkdir, (const char *p, mode_t m), AT_FDCWD, p, (p, m))
ON_PATH(mkdirat, (int at, const char *p, mode_t m), at, p, (at, p, m))
ON_PATH(rmdir, (const char *p), AT_FDCWD, p, (p))
ON_PATH(unlink, (const char *p), AT_FDCWD, p, (p))
ON_PATH(unlinkat, (int at, const char *p, int f), at, p, (at, p, f))
ON_PATH(rename, (const char *p, const char *q), AT_FDCWD, q, (p, q))
ON_PATH(renameat, (int at, const char *p, int to, const char *q), to, q, (at, p, to, q))
ON_PATH(renameat2, (int at, const char *p, int to, const char *q, unsigned f), to, q,
        (at, p, to, q, f))
ON_PATH(link, (const char *p, const char *q), AT_FDCWD, q, (p, q))
ON_PATH(linkat, (int at, const char *p, int to, const char *q, int f), to, q,
        (at, p, to, q, f))

ON_FILE(ssize_t, write, (int d, const void *b, size_t n), d, (d, b, n))
ON_FILE(ssize_t, writev, (int d, const struct iovec *v, int n), d, (d, v, n))
ON_FILE(ssize_t, pwrite, (int d, const void *b, size_t n, off_t o), d, (d, b, n, o))
ON_FILE(ssize_t, pwrite64, (int d, const void *b, size_t n, off64_t o), d, (d, b, n, o))
ON_FILE(ssize_t, sendfile, (int d, int s, off_t *o, size_t n), d, (d, s, o, n))
ON_FILE(ssize_t, sendfile64, (int d, int s, off64_t *o, size_t n), d, (d, s, o, n))
ON_FILE(int, fsync, (int d), d, (d))
ON_FILE(int, fdatasync, (int d), d, (d))
ON_FILE(int, ftruncate, (int d, off_t n), d, (d, n))
ON_FILE(int, ftruncate64, (int d, off64_t n), d, (d, n))

/* Only a close after writing can fail; Linux closes the file in any case. */
int close(int descriptor) {
    REAL(close)
    int written = active && (fcntl(descriptor, F_GETFL) & O_ACCMODE) != O_RDONLY;
    int error = written && fails_on("close", descriptor) ? errno : 0;
    int result = real(descriptor);
    if (!error) return result;
    errno = error;
    return -1;
}
