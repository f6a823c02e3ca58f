#include <string.h>

#include "controller/base/jsonw.h"
#include "reconcilers/database/snapshot_internal.h"

enum { FOREIGN_SHOWN = 5 };

int snapshot_check_owners(const struct snapshot_tables *tables, struct err *err)
{
    AUTO(buf) struct buf words = BUF(ERR_MESSAGE_BYTES / 2);
    size_t count = 0;

    for (size_t i = 0; i < tables->count; i++) {
        const struct snapshot_table *table = &tables->items[i];
        if (!table->ours && count++ < FOREIGN_SHOWN) {
            (void)buf_printf(&words, "%s\"%s\".\"%s\" of role \"%s\"", count > 1 ? ", " : "",
                             table->name.schema, table->name.table, table->owner);
        }
    }
    return count == 0
               ? 0
               : err_set(err, ERR_TERMINAL, "SnapshotIncomplete",
                         "the controller may not read every row of %zu tables that are not "
                         "the tenant's (%s); nothing was deleted: drop them, or give them to "
                         "a role of the tenant",
                         count, buf_text(&words));
}

static bool has_name(const struct table_name *names, size_t count, const struct table_name *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(names[i].schema, name->schema) == 0 &&
            strcmp(names[i].table, name->table) == 0) {
            return true;
        }
    }
    return false;
}

void snapshot_unforced(struct arena *arena, const struct snapshot_tables *tables,
                       const struct snapshot_record *earlier, const struct table_name **ret,
                       size_t *ret_count)
{
    struct table_name *names =
        ARENA_ARRAY(arena, struct table_name, earlier->unforced_count + tables->count);
    size_t count = 0;

    for (size_t i = 0; i < earlier->unforced_count; i++) {
        names[count++] = earlier->unforced[i];
    }
    for (size_t i = 0; i < tables->count; i++) {
        const struct snapshot_table *table = &tables->items[i];
        if (table->forced && !has_name(names, count, &table->name)) {
            names[count++] = table->name;
        }
    }
    *ret = names;
    *ret_count = count;
}

static int incomplete(struct err *err, const struct table_name *name, int64_t expected,
                      int64_t actual, const char *where)
{
    return err_set(
        err, ERR_RETRY, "SnapshotIncomplete",
        "table \"%s\".\"%s\" had %lld rows when the snapshot was taken, and %s has %lld; "
        "nothing was deleted",
        name->schema, name->table, (long long)expected, where, (long long)actual);
}

int snapshot_compare_live(const struct snapshot_tables *tables, const struct snapshot_tables *live,
                          struct err *err)
{
    if (tables->count != live->count) {
        return err_set(err, ERR_RETRY, "SnapshotIncomplete",
                       "there were %zu tables when the snapshot was taken, and there are %zu now; "
                       "nothing was deleted",
                       tables->count, live->count);
    }
    for (size_t i = 0; i < tables->count; i++) {
        const struct snapshot_table *then = &tables->items[i];
        const struct snapshot_table *now = &live->items[i];
        if (!has_name(&now->name, 1, &then->name)) {
            return err_set(err, ERR_RETRY, "SnapshotIncomplete",
                           "table \"%s\".\"%s\" has come or gone since the snapshot was taken; "
                           "nothing was deleted",
                           then->name.schema, then->name.table);
        }
        if (then->rows != now->rows) {
            return incomplete(err, &then->name, then->rows, now->rows, "the database now");
        }
    }
    return 0;
}

int snapshot_compare_dump(const struct snapshot_tables *tables,
                          int64_t (*rows_in)(const void *dump, const char *schema,
                                             const char *table),
                          const void *dump, struct err *err)
{
    for (size_t i = 0; i < tables->count; i++) {
        const struct snapshot_table *table = &tables->items[i];
        int64_t rows = rows_in(dump, table->name.schema, table->name.table);
        if (table->holds_rows && rows != table->rows && !(rows < 0 && table->rows == 0)) {
            return incomplete(err, &table->name, table->rows, rows < 0 ? 0 : rows, "the dump");
        }
    }
    return 0;
}

void snapshot_render_counts(const struct snapshot_tables *tables, struct buf *out)
{
    struct jsonw writer;

    jsonw_init(&writer, out);
    jsonw_object(&writer, NULL);
    for (size_t i = 0; i < tables->count; i++) {
        const struct snapshot_table *table = &tables->items[i];
        AUTO(free) char *name = xasprintf("%s.%s", table->name.schema, table->name.table);
        if (table->holds_rows) {
            jsonw_int(&writer, name, table->rows);
        }
    }
    jsonw_end_object(&writer);
}
