/* The dump of a snapshot, into the store and back. */
#include <stdio.h>

#include "controller/base/log.h"
#include "controller/base/str.h"
#include "reconcilers/database/servers_internal.h"
#include "reconcilers/database/snapshot_internal.h"
#include "reconcilers/model/names.h"

enum { VERSION_UNIT = 10000 /* 150014 is 15.14 */ };

/* ---- what pg_dump is ---- */

int snapshot_check_tool(const struct snapshot_taking *taking, const struct sql_conn *conn,
                        struct err *err)
{
    const char *folder = taking->work->services->postgres_tools;
    int server = sql_server_version(conn) / VERSION_UNIT;
    int tool = 0;

    if (pg_dump_version(folder, &taking->rc->call, &tool, err)) {
        return -1;
    }
    return tool >= server
               ? 0
               : err_set(err, ERR_TERMINAL, "DumpToolTooOld",
                         "pg_dump is of PostgreSQL %d, and server \"%s\" runs %d, which it cannot "
                         "dump; nothing was deleted: install the client programs of PostgreSQL %d "
                         "where the controller runs (--postgres-tools says where)",
                         tool, taking->scope->server, server, server);
}

/* ---- into the store and back ---- */

struct writer {
    struct snapshot_taking *taking;
    struct hash_stream *hash;
};

static int write_piece(void *context, struct str piece, struct err *err)
{
    struct writer *writer = context;
    const struct snapshot_sink *sink = &writer->taking->sink;

    hash_stream_add(writer->hash, piece);
    writer->taking->size_bytes += (int64_t)piece.len;
    return sink->write(sink->context, &writer->taking->rc->call, piece, err);
}

/* Everything that the tenant has, to take() piece by piece. */
static int run_dump(const struct snapshot_taking *taking, const char *snapshot, pg_dump_fn take,
                    void *context, struct err *err)
{
    AUTO(server_credentials) struct server_credentials credentials = {0};
    const struct services *services = taking->work->services;
    const struct scope *scope = taking->scope;
    struct reconcile *rc = taking->rc;
    struct sql_target target = {0};
    bool part = snapshot_is_part(taking);

    if (servers_target(services->servers, rc, scope->server, scope->database, &credentials, &target,
                       err)) {
        return -1;
    }
    const struct pg_dump_request request = {
        .target = &target,
        .snapshot = snapshot,
        .schema = part ? scope->schema : NULL,
        .tenant_id = part && scope->mode->rows_are_keyed ? scope->tenant_id : NULL,
        .role = scope->roles[ROLE_OWNER],
        .without_rows = NAME_TABLE_LOGINS,
    };
    return pg_dump_run(services->postgres_tools, &rc->call, &request, take, context, err);
}

static int feed(void *context, struct str piece, struct err *err)
{
    return pg_counter_feed(context, piece, err);
}

/* Whoever got in since, a superuser or whoever else uses the database, may have changed what was
 * dumped and kept the number of rows. */
static int read_anew(struct snapshot_taking *taking, const char *snapshot, struct err *err)
{
    AUTO(pg_counter) struct pg_counter *counter = NULL;
    const char *folder = taking->work->services->postgres_tools;

    if (pg_counter_new(folder, &taking->rc->call, &counter, err) ||
        run_dump(taking, snapshot, feed, counter, err) || pg_counter_finish(counter, err)) {
        return -1;
    }
    (void)snprintf(taking->data_sha256, sizeof(taking->data_sha256), "%s",
                   pg_counter_data_sha256(counter));
    return 0;
}

static int write_anew(struct snapshot_taking *taking, const char *snapshot, struct err *err)
{
    const struct scope *scope = taking->scope;
    struct reconcile *rc = taking->rc;
    struct writer writer = {.taking = taking, .hash = hash_stream_new()};

    taking->size_bytes = 0;
    int result = run_dump(taking, snapshot, write_piece, &writer, err);
    hash_stream_end(writer.hash, taking->sha256);
    return result ||
                   snapshot_record_stored(taking->work->services->registry, rc, scope->tenant_id,
                                          scope->uid, taking->sha256, taking->size_bytes, err) ||
                   taking->sink.finish(taking->sink.context, &rc->call, err)
               ? -1
               : 0;
}

int snapshot_write_dump(struct snapshot_taking *taking, const char *snapshot, struct err *err)
{
    return taking->goes_on ? read_anew(taking, snapshot, err) : write_anew(taking, snapshot, err);
}

/* Nothing is written twice. That it is the same to the byte is seen when it is read back. */
int snapshot_find_stored(struct snapshot_taking *taking, struct err *err)
{
    const struct snapshot_record *earlier = &taking->earlier;

    if (!earlier->stored) {
        return 0;
    }
    taking->size_bytes = earlier->size_bytes;
    (void)snprintf(taking->sha256, sizeof(taking->sha256), "%s", earlier->sha256);
    return taking->sink.holds(taking->sink.context, &taking->rc->call, earlier->size_bytes,
                              &taking->goes_on, err);
}

void snapshot_forget_stored(const struct snapshot_taking *taking)
{
    struct err err;

    if (snapshot_record_stored(taking->work->services->registry, taking->rc,
                               taking->scope->tenant_id, taking->scope->uid, NULL, 0, &err)) {
        log_debug(taking->rc->call.log, "a stored dump is not forgotten", KV_ERR(&err));
    }
}

struct reader {
    struct pg_counter *counter;
    struct hash_stream *hash;
    int64_t size_bytes;
};

static int read_piece(void *context, struct str piece, struct err *err)
{
    struct reader *reader = context;

    hash_stream_add(reader->hash, piece);
    reader->size_bytes += (int64_t)piece.len;
    return pg_counter_feed(reader->counter, piece, err);
}

static int64_t rows_in(const void *dump, const char *schema, const char *table)
{
    return pg_counter_rows(dump, schema, table);
}

int snapshot_check_dump(struct snapshot_taking *taking, struct err *err)
{
    AUTO(pg_counter) struct pg_counter *counter = NULL;
    const struct call *call = &taking->rc->call;
    char sha256[SHA256_TEXT_BYTES];

    if (pg_counter_new(taking->work->services->postgres_tools, call, &counter, err)) {
        return -1;
    }
    struct reader reader = {.counter = counter, .hash = hash_stream_new()};
    int result = taking->sink.read(taking->sink.context, call, read_piece, &reader, err);
    hash_stream_end(reader.hash, sha256);
    if (result || pg_counter_finish(counter, err)) {
        return err_wrap(err, "reading back %s", taking->sink.object);
    }
    if (!text_equal(sha256, taking->sha256) || reader.size_bytes != taking->size_bytes) {
        return err_set(
            err, ERR_RETRY, "SnapshotIncomplete",
            "%s holds %lld bytes with SHA-256 %s, and %lld with %s were written; nothing "
            "was deleted",
            taking->sink.object, (long long)reader.size_bytes, sha256,
            (long long)taking->size_bytes, taking->sha256);
    }
    if (*taking->data_sha256 && !text_equal(taking->data_sha256, pg_counter_data_sha256(counter))) {
        return err_set(err, ERR_RETRY, "SnapshotIncomplete",
                       "%s holds what was there when an earlier try was cut short, and some of it "
                       "was changed since; nothing was deleted",
                       taking->sink.object);
    }
    return snapshot_compare_dump(&taking->tables, rows_in, counter, err);
}
