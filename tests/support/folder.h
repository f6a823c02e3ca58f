/* A folder of a test's own under TMPDIR, and files in it. Failures end the test. */
#ifndef TENANTRY_TESTS_SUPPORT_FOLDER_H
#define TENANTRY_TESTS_SUPPORT_FOLDER_H

#include <sys/types.h>

#include "controller/base/str.h"

/* The path; to be given to folder_remove, which frees it and removes what is inside. */
char *folder_make(void);
void folder_remove(char *folder);

/* Write (replace) folder/name with these permissions; returns the path, which the caller frees. */
char *folder_write(const char *folder, const char *name, struct str text, mode_t mode);

/* The whole file; the caller frees. */
char *file_text(const char *path);

#endif
