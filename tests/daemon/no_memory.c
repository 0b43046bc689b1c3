/* Preloaded into a program: while the file $NO_MEMORY_FILE is there, blocks of $NO_MEMORY_FROM bytes or more are not to
 * be had. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);

static int lacks(size_t size) {
    static size_t from;
    static const char *file;
    if (!file) {
        const char *number = getenv("NO_MEMORY_FROM");
        file = getenv("NO_MEMORY_FILE");
        from = number ? strtoul(number, NULL, 10) : (size_t)-1;
    }
    int kept = errno, lacks = file && size >= from && access(file, F_OK) == 0;
    errno = lacks ? ENOMEM : kept;
    return lacks;
}

void *malloc(size_t size) {
    return lacks(size) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    return lacks(count * size) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size) {
    return lacks(size) ? NULL : __libc_realloc(old, size);
}
