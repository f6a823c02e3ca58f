/* Runs a fuzz target over the files of a folder, each also cut short at every length up to 4 KiB:
 * for builds without libFuzzer. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/base/attributes.h"
#include "tests/fuzz/fuzz.h"

enum { INPUT_BYTES_MAX = 4 * 1024 * 1024, CUT_BYTES_MAX = 4096 };

/* In memory of its own, so that a sanitizer sees what is read past the end. */
static void run(const uint8_t *bytes, size_t size)
{
    uint8_t *copy = xmalloc(size);

    if (size > 0) {
        memcpy(copy, bytes, size);
    }
    (void)LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static void replay(const char *path)
{
    FILE *file = fopen(path, "rbe");

    if (!file) {
        (void)fprintf(stderr, "%s: %s\n", path, errno_text(errno));
        exit(1);
    }
    uint8_t *bytes = xmalloc(INPUT_BYTES_MAX);
    size_t size = fread(bytes, 1, INPUT_BYTES_MAX, file);
    (void)fclose(file);
    run(bytes, size);
    for (size_t cut = 0; cut < size && cut < CUT_BYTES_MAX; cut++) {
        run(bytes, cut);
    }
    free(bytes);
}

int main(int argc, char **argv)
{
    DIR *folder = argc == 2 ? opendir(argv[1]) : NULL;
    int count = 0;

    if (!folder) {
        (void)fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 2;
    }
    for (const struct dirent *entry = readdir(folder); entry; entry = readdir(folder)) {
        if (entry->d_name[0] != '.') {
            AUTO(free) char *path = xasprintf("%s/%s", argv[1], entry->d_name);
            replay(path);
            count++;
        }
    }
    (void)closedir(folder);
    (void)printf("%d inputs replayed\n", count);
    return count > 0 ? 0 : 1;
}
