/* What a tenant tries against another (attacks_*.c), and what comes of it. */
#ifndef TENANTRY_TESTS_ATTACK_ATTACKS_H
#define TENANTRY_TESTS_ATTACK_ATTACKS_H

#include <stddef.h>

/* Attackers by isolation mode. */
enum { IN_DATABASE = 1, IN_SCHEMA = 2, IN_ROW = 4, SHARED = IN_SCHEMA | IN_ROW, ANYWHERE = 7 };

struct attack {
    const char *name;
    unsigned modes;
    /* One or more statements, sent at once, as the attacker's login. {schema}, {database}, {login},
     * {group}, {rw}, {owner}, {id} are the attacker's; {their_schema} and so on the other's.
     * {probe} is the id of one of the other's users and then an id that nobody has, {mail} the same
     * with addresses: both runs must give the very same answers. */
    const char *sql;
    /* The SQLSTATE that the last statement is refused with. "" = all of it runs. In any case
     * nothing of the other's comes back, be it as a row, notice or error, and nothing of the
     * other's and no right of anybody has changed. */
    const char *refusal;
};

extern const struct attack attacks_identity[];
extern const size_t attacks_identity_count;
extern const struct attack attacks_rows[];
extern const size_t attacks_rows_count;
extern const struct attack attacks_server[];
extern const size_t attacks_server_count;

#endif
