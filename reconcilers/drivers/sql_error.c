/* From SQLSTATE to what it means for us, as one table. */
#include <ctype.h>
#include <string.h>

#include "controller/base/clock.h"
#include "controller/base/str.h"
#include "reconcilers/drivers/sql_internal.h"

enum { SQLSTATE_LENGTH = 5, FAIR_CHANCE_MS = 2000 };

static const char unreachable_reason[] = "DatabaseUnreachable";

struct error_row {
    const char *prefix; /* of the SQLSTATE; the first that fits counts */
    enum err_class cls;
    const char *reason;
};

/* PostgreSQL documentation, appendix "PostgreSQL Error Codes". */
static const struct error_row sql_error_table[] = {
    {"08", ERR_RETRY, unreachable_reason},
    {"57P01", ERR_RETRY, unreachable_reason}, /* admin shutdown, or the session was ended */
    {"57P02", ERR_RETRY, unreachable_reason}, /* crash shutdown */
    {"57P03", ERR_RETRY, unreachable_reason}, /* starting up */
    {"57P05", ERR_RETRY, unreachable_reason}, /* ended for being idle */
    {"28", ERR_RETRY, "DatabaseCredentials"},
    {"53", ERR_RETRY, "DatabaseOverloaded"},
    {"25006", ERR_RETRY, "DatabaseReadOnly"},
    {"57014", ERR_RETRY, "StatementTimeout"},
    {"55P03", ERR_RETRY, "LockTimeout"},
    {"55006", ERR_WAIT, "DatabaseBusy"},
    {"40001", ERR_CONFLICT, "SerializationFailure"},
    {"40P01", ERR_CONFLICT, "SerializationFailure"},
    {"42501", ERR_RETRY, "InsufficientPrivilege"},
    {"", ERR_RETRY, "SQLError"},
};

int sql_err_set(struct err *err, const char *sqlstate, const char *message)
{
    const struct error_row *row = sql_error_table;

    while (strncmp(sqlstate, row->prefix, strlen(row->prefix)) != 0) {
        row++;
    }
    err_set(err, row->cls, row->reason, "%s", message);
    err_code(err, sqlstate);
    return -1;
}

int sql_err_lost(struct err *err)
{
    return sql_err_set(err, "08006", "the connection to the server was lost");
}

int sql_err_late(int64_t since_ms, const char *message, struct err *err)
{
    if (clock_monotonic_ms() - since_ms < FAIR_CHANCE_MS) {
        return err_set(err, ERR_RETRY, "DeadlineExceeded", "%s", message);
    }
    return sql_err_set(err, "08001", message);
}

int sql_err_from_result(const PGresult *result, struct err *err)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

    if (!sqlstate) { /* made by libpq itself: the connection broke, or an unexpected answer */
        return sql_err_lost(err);
    }
    return sql_err_set(err, sqlstate, message ? message : "the server gave no message");
}

/* Find ":  28P01: text", as PQERRORS_VERBOSE writes severity, SQLSTATE and message. Returns the
 * text and copies the SQLSTATE, or NULL when the server sent none. */
static const char *find_sqlstate(const char *text, char ret_sqlstate[SQLSTATE_LENGTH + 1])
{
    static const char mark[] = ":  ";

    for (const char *at = strstr(text, mark); at; at = strstr(at + 1, mark)) {
        const char *code = at + strlen(mark);
        size_t length = 0;
        while (length < SQLSTATE_LENGTH &&
               (isupper((unsigned char)code[length]) || isdigit((unsigned char)code[length]))) {
            length++;
        }
        if (length == SQLSTATE_LENGTH && code[length] == ':' && code[length + 1] == ' ') {
            memcpy(ret_sqlstate, code, SQLSTATE_LENGTH);
            ret_sqlstate[SQLSTATE_LENGTH] = '\0';
            return code + length + 2;
        }
    }
    return NULL;
}

int sql_err_from_connect(const char *text, struct err *err)
{
    char sqlstate[SQLSTATE_LENGTH + 1] = "08001";
    char line[ERR_MESSAGE_BYTES];
    const char *message = find_sqlstate(text, sqlstate);

    /* Detail, hint and the server's source location follow on lines of their own. */
    struct str rest = str_from(message ? message : text);
    struct str first = str_trim(str_cut(&rest, '\n'));
    size_t length = str_utf8_prefix(first, sizeof(line) - 1);
    memcpy(line, first.ptr, length);
    line[length] = '\0';
    return sql_err_set(err, sqlstate, length ? line : "the server gave no message");
}

bool sql_err_unreachable(const struct err *err)
{
    return err_has_reason(err, unreachable_reason);
}

bool sql_err_refuses_login(const struct err *err)
{
    return err_has_reason(err, "DatabaseCredentials") || err_has_code(err, "3D000");
}
