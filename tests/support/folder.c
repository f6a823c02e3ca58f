#include "tests/support/folder.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/check.h"

enum { TREE_DEPTH = 8 };

char *folder_make(void)
{
    const char *parent = getenv("TMPDIR");
    char *folder = xasprintf("%s/tenantry-test-XXXXXX", parent ? parent : "/tmp");
    CHECK_NOT_NULL(mkdtemp(folder));
    return folder;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *position)
{
    (void)status;
    (void)kind;
    (void)position;
    return remove(path);
}

void folder_remove(char *folder)
{
    CHECK_INT(nftw(folder, remove_one, TREE_DEPTH, FTW_DEPTH | FTW_PHYS), 0);
    free(folder);
}

char *folder_write(const char *folder, const char *name, struct str text, mode_t mode)
{
    /* Under another name first: a reader sees the old file or the new one. */
    char *path = xasprintf("%s/%s", folder, name);
    AUTO(free) char *fresh = xasprintf("%s.new", path);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    CHECK(fd >= 0);
    CHECK_INT(write(fd, text.ptr ? text.ptr : "", text.len), (ssize_t)text.len);
    CHECK_INT(close(fd), 0);
    CHECK_INT(rename(fresh, path), 0);
    return path;
}

char *file_text(const char *path)
{
    char *text = NULL;
    size_t capacity = 0;
    FILE *file = fopen(path, "re");
    if (!file) {
        fail_msg("cannot open %s", path);
        return NULL;
    }
    ssize_t length = getdelim(&text, &capacity, '\0', file);
    (void)fclose(file);
    if (length < 0) { /* an empty file */
        free(text);
        return xstrdup("");
    }
    return text;
}
