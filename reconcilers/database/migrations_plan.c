/* What of the user's files is to be run: those behind the last one that was, in the order of their
 * names. What was applied can only be told by its name and checksum, so neither may change. */
#include <stdlib.h>
#include <string.h>

#include "controller/base/str.h"
#include "reconcilers/database/migrations_internal.h"

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct migration_file *)a)->name,
                  ((const struct migration_file *)b)->name);
}

static const struct migration_done *find_done(const struct migration_done *done, size_t count,
                                              const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (text_equal(done[i].name, name)) {
            return &done[i];
        }
    }
    return NULL;
}

int migrations_plan(struct migration_file *files, size_t count, const struct migration_done *done,
                    size_t done_count, size_t *ret_applied, struct err *err)
{
    const char *first_open = NULL;
    size_t applied = 0;

    if (count > 0) {
        qsort(files, count, sizeof(*files), compare);
    }
    for (size_t i = 0; i < count; i++) {
        const struct migration_done *known = find_done(done, done_count, files[i].name);
        if (!known) {
            first_open = first_open ? first_open : files[i].name;
            continue;
        }
        if (!text_equal(known->checksum, files[i].checksum)) {
            return err_set(err, ERR_TERMINAL, "MigrationEdited",
                           "migration \"%s\" was applied in another form: put it back as it was, "
                           "and make the change in a new file",
                           files[i].name);
        }
        if (first_open) {
            return err_set(err, ERR_TERMINAL, "MigrationOutOfOrder",
                           "migration \"%s\" comes before \"%s\", which is applied already: give "
                           "it a name that comes after all that are",
                           first_open, files[i].name);
        }
        applied++;
    }
    *ret_applied = applied;
    return 0;
}
