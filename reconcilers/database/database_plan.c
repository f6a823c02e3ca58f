/* The rules of a tenant's database and roles: what is ours, and what is to be done.
 *
 * Ownership. Everything bears a mark in its comment: the registry's id of the tenant and the UID of
 * its Tenant. A role and its mark are made in one transaction, so a role without a mark was not
 * made by us. CREATE DATABASE cannot share a transaction with COMMENT, so a crash may leave a
 * database without a mark; what proves it ours then is its owner: that role bears our mark and
 * cannot log in, and nobody but who may act for it can have made a database in its name. The same
 * counts against a mark of another's, since whoever owns a database may comment on it. A role
 * whose mark was removed is recognised by the other end of the same bond: it owns the database that
 * bears our mark; and its sisters by it. Whatever bears another tenant's mark, or none of these
 * proofs, is a name conflict and is left alone.
 *
 * The id alone proves ownership, since the registry gave it to the one Tenant that asks; a mark
 * with another UID is that of the Tenant which had the id before, and is rewritten.
 *
 * Order. A database takes connections only as the last action of all: until then it is closed by
 * ALLOW_CONNECTIONS false, so there is no moment at which PUBLIC may connect. */
#include <string.h>

#include "controller/base/str.h"
#include "reconcilers/database/database_internal.h"
#include "reconcilers/model/names.h"

#define MARK_START "tenantry: tenant "
#define MARK_MIDDLE "uid "
#define MARK_SHARED "tenantry: shared"
#define SHARED_ID "shared"

bool mark_parse(const char *comment, struct mark *ret)
{
    struct str rest = str_from(comment);

    if (str_equal_c(rest, MARK_SHARED) || str_starts_with(rest, STR(MARK_SHARED " "))) {
        rest.ptr += strlen(MARK_SHARED);
        rest.len -= strlen(MARK_SHARED);
        (void)str_cut(&rest, ' ');
        *ret = (struct mark){.id = STR(SHARED_ID), .rest = rest};
        return true;
    }
    if (!str_starts_with(rest, STR(MARK_START))) {
        return false;
    }
    rest.ptr += strlen(MARK_START);
    rest.len -= strlen(MARK_START);
    struct str id = str_cut(&rest, ' ');
    if (!str_starts_with(rest, STR(MARK_MIDDLE))) {
        return false;
    }
    rest.ptr += strlen(MARK_MIDDLE);
    rest.len -= strlen(MARK_MIDDLE);
    struct str uid = str_cut(&rest, ' ');
    *ret = (struct mark){.id = id, .uid = uid, .rest = rest};
    return id.len > 0 && uid.len > 0;
}

/* ---- ownership ---- */

enum ownership { OWNERSHIP_OURS, OWNERSHIP_UNMARKED, OWNERSHIP_FOREIGN };

static enum ownership read_ownership(const struct scope *scope, const char *comment)
{
    struct mark mark;
    if (!mark_parse(comment, &mark)) {
        return OWNERSHIP_UNMARKED;
    }
    return str_equal_c(mark.id, scope->tenant_id) ? OWNERSHIP_OURS : OWNERSHIP_FOREIGN;
}

static bool is_member(const struct seen *seen, const char *role, const char *member)
{
    for (size_t i = 0; i < seen->membership_count; i++) {
        const struct membership_seen *known = &seen->memberships[i];
        if (text_equal(known->role, role) && text_equal(known->member, member)) {
            return true;
        }
    }
    return false;
}

static bool has_marked_role(const struct scope *scope, const struct seen *seen)
{
    for (int i = 0; i < ROLE_COUNT; i++) {
        if (scope_owns(scope, i) &&
            read_ownership(scope, seen->roles[i].comment) == OWNERSHIP_OURS) {
            return true;
        }
    }
    return false;
}

/* Whether an owner role without a mark is ours all the same. */
static bool owner_is_vouched_for(const struct scope *scope, const struct seen *seen, bool bound)
{
    if (scope->mode->owns_database) {
        return bound && read_ownership(scope, seen->database.comment) == OWNERSHIP_OURS;
    }
    return has_marked_role(scope, seen);
}

/* The same of another role. Nobody but us makes a login a member of what all tenants share. */
static bool is_vouched_for(const struct scope *scope, const struct seen *seen,
                           const struct owned *owned, int kind)
{
    return scope_owns(scope, ROLE_OWNER)
               ? owned->roles[ROLE_OWNER]
               : is_member(seen, scope->roles[scope->mode->login_group], scope->roles[kind]);
}

void database_owned(const struct scope *scope, const struct seen *seen, struct owned *ret)
{
    enum ownership of_owner = read_ownership(scope, seen->roles[ROLE_OWNER].comment);
    enum ownership of_database = read_ownership(scope, seen->database.comment);
    bool bound =
        seen->database.exists && text_equal(seen->database.owner, scope->roles[ROLE_OWNER]);

    *ret = (struct owned){0};
    ret->database = scope->mode->owns_database && seen->database.exists &&
                    (of_database == OWNERSHIP_OURS || (bound && of_owner == OWNERSHIP_OURS));
    for (int i = 0; i < ROLE_COUNT; i++) {
        enum ownership ownership = read_ownership(scope, seen->roles[i].comment);
        bool vouched = ownership == OWNERSHIP_UNMARKED &&
                       (i == ROLE_OWNER ? owner_is_vouched_for(scope, seen, bound)
                                        : is_vouched_for(scope, seen, ret, i));
        ret->roles[i] = scope_owns(scope, i) && seen->roles[i].exists &&
                        (ownership == OWNERSHIP_OURS || vouched);
    }
}

static int refuse(const struct scope *scope, const char *kind, const char *name,
                  const char *comment, struct err *err)
{
    struct mark mark;
    if (mark_parse(comment, &mark)) {
        return err_set(err, ERR_TERMINAL, "NameConflict",
                       "%s \"%s\" on server \"%s\" belongs to tenant id %.*s: annotate this Tenant "
                       "with %s: %.*s to take back what that id owns, or remove the %s",
                       kind, name, scope->server, (int)mark.id.len, mark.id.ptr,
                       NAME_ANNOTATION_ADOPT, (int)mark.id.len, mark.id.ptr, kind);
    }
    return err_set(
        err, ERR_TERMINAL, "NameConflict",
        "%s \"%s\" on server \"%s\" exists and was not made for this: rename or drop it, "
        "or choose another %s",
        kind, name, scope->server,
        scope->mode == &mode_shared ? "spec.sharedDatabase of the DatabaseServer"
                                    : "spec.subdomain");
}

int database_check_owned(const struct scope *scope, const struct seen *seen, struct err *err)
{
    struct owned owned;
    database_owned(scope, seen, &owned);
    if (scope->mode->owns_database && seen->database.exists && !owned.database) {
        return refuse(scope, "database", scope->database, seen->database.comment, err);
    }
    for (int i = 0; i < ROLE_COUNT; i++) {
        if (scope_owns(scope, i) && seen->roles[i].exists && !owned.roles[i]) {
            return refuse(scope, "role", scope->roles[i], seen->roles[i].comment, err);
        }
    }
    return 0;
}

bool database_stood(const struct scope *scope, const struct seen *seen)
{
    bool any = scope->mode->owns_database && seen->database.exists;
    for (int i = 0; i < ROLE_COUNT && !scope->mode->owns_database; i++) {
        any |= scope_owns(scope, i) && seen->roles[i].exists;
    }
    return any;
}

/* ---- planning ---- */

static void add(struct plan *plan, struct action action)
{
    if (plan->count == ACTIONS_MAX) {
        plan->truncated = true;
        return;
    }
    plan->actions[plan->count++] = action;
}

static bool is_login(int kind)
{
    return kind >= ROLE_GROUPS;
}

/* A login's mark carries the settings that it was given, see login_plan.c. */
static bool mark_is_current(const struct scope *scope, const char *comment)
{
    struct mark mark;
    return mark_parse(comment, &mark) && str_equal_c(mark.id, scope->tenant_id) &&
           str_equal_c(mark.uid, scope->uid);
}

static unsigned find_flaws(const struct role_seen *role, bool login)
{
    unsigned flaws = 0;
    flaws |= role->superuser ? FLAW_SUPERUSER : 0U;
    flaws |= role->create_db ? FLAW_CREATE_DB : 0U;
    flaws |= role->create_role ? FLAW_CREATE_ROLE : 0U;
    flaws |= role->replication ? FLAW_REPLICATION : 0U;
    flaws |= role->bypass_rls ? FLAW_BYPASS_RLS : 0U;
    flaws |= !role->inherits ? FLAW_NO_INHERIT : 0U;
    flaws |= role->expires ? FLAW_EXPIRES : 0U;
    flaws |= !login && role->can_login ? FLAW_LOGIN : 0U;
    flaws |= !login && role->connection_limit != -1 ? FLAW_CONNECTION_LIMIT : 0U;
    return flaws;
}

static void plan_role(const struct scope *scope, const struct seen *seen, int kind, bool suspended,
                      struct plan *ret)
{
    const struct role_seen *role = &seen->roles[kind];
    const char *name = scope->roles[kind];

    if (!role->exists) {
        if (!is_login(kind)) {
            add(ret, (struct action){.kind = ACTION_CREATE_ROLE, .role = name});
        }
        return;
    }
    unsigned flaws = find_flaws(role, is_login(kind));
    if (!mark_is_current(scope, role->comment)) {
        add(ret, (struct action){.kind = ACTION_MARK_ROLE, .role = name});
    }
    if (flaws) {
        add(ret, (struct action){.kind = ACTION_RESTRICT_ROLE, .role = name, .flaws = flaws});
    }
    if (is_login(kind) && suspended && role->can_login) {
        add(ret, (struct action){.kind = ACTION_DISABLE_LOGIN, .role = name});
    }
}

static bool is_wanted(const struct scope *scope, const char *role, const char *member)
{
    const struct mode *mode = scope->mode;
    for (size_t i = 0; i < mode->edge_count; i++) {
        if (text_equal(role, scope->roles[mode->edges[i].role]) &&
            text_equal(member, scope->roles[mode->edges[i].member])) {
            return true;
        }
    }
    return false;
}

static void want_membership(const struct scope *scope, const struct seen *seen,
                            const struct edge *edge, struct plan *ret)
{
    const char *role = scope->roles[edge->role];
    const char *member = scope->roles[edge->member];

    if (is_login((int)edge->member) && !seen->roles[edge->member].exists) {
        return;
    }
    for (size_t i = 0; i < seen->membership_count; i++) {
        const struct membership_seen *known = &seen->memberships[i];
        if (!known->admin && text_equal(known->role, role) && text_equal(known->member, member)) {
            return;
        }
    }
    add(ret, (struct action){.kind = ACTION_GRANT_ROLE, .role = role, .member = member});
}

/* Everything that the tenant's roles are members of, or that is a member of them, and should not
 * be, goes: this is how "never of owner, by no path" is kept. */
static void plan_memberships(const struct scope *scope, const struct seen *seen, struct plan *ret)
{
    for (size_t i = 0; i < seen->membership_count; i++) {
        const struct membership_seen *known = &seen->memberships[i];
        if (known->admin || !is_wanted(scope, known->role, known->member)) {
            add(ret, (struct action){
                         .kind = ACTION_REVOKE_ROLE, .role = known->role, .member = known->member});
        }
    }
    for (size_t i = 0; i < scope->mode->edge_count; i++) {
        want_membership(scope, seen, &scope->mode->edges[i], ret);
    }
}

static unsigned privilege_bit(const char *privilege)
{
    if (text_equal(privilege, "CONNECT")) {
        return RIGHT_CONNECT;
    }
    return text_equal(privilege, "CREATE") ? RIGHT_CREATE : RIGHT_TEMPORARY;
}

unsigned database_rights(const struct scope *scope, const char *grantee)
{
    for (int i = 0; i < ROLE_GROUPS; i++) {
        if (text_equal(grantee, scope->roles[i])) {
            return scope->mode->rights[i];
        }
    }
    bool application = text_equal(grantee, NAME_ROLE_APP) || text_equal(grantee, NAME_ROLE_GATEWAY);
    return application ? scope->mode->application_rights : 0;
}

/* What grantee has; ret_excess: more than it should, or the right to pass it on. */
static unsigned seen_privileges(const struct scope *scope, const struct database_seen *database,
                                const char *grantee, bool *ret_excess)
{
    unsigned wanted = database_rights(scope, grantee);
    unsigned has = 0;
    bool passes_on = false;

    for (size_t i = 0; i < database->privilege_count; i++) {
        const struct privilege_seen *known = &database->privileges[i];
        if (text_equal(known->grantee, grantee)) {
            has |= privilege_bit(known->privilege);
            passes_on |= known->grantable;
        }
    }
    *ret_excess = (has & ~wanted) != 0 || passes_on;
    return has;
}

static void plan_grantee(const struct scope *scope, const struct database_seen *database,
                         const char *grantee, struct plan *ret)
{
    unsigned wanted = database_rights(scope, grantee);
    bool excess = false;
    unsigned has = seen_privileges(scope, database, grantee, &excess);

    if (excess) {
        add(ret, (struct action){.kind = ACTION_REVOKE_DATABASE, .member = grantee});
    }
    if (wanted && (excess || (has & wanted) != wanted)) {
        add(ret, (struct action){.kind = ACTION_GRANT_DATABASE, .member = grantee});
    }
}

static bool is_first_of_grantee(const struct database_seen *database, size_t index)
{
    for (size_t i = 0; i < index; i++) {
        if (text_equal(database->privileges[i].grantee, database->privileges[index].grantee)) {
            return false;
        }
    }
    return true;
}

static void plan_privileges(const struct scope *scope, const struct database_seen *database,
                            struct plan *ret)
{
    const char *const grantees[] = {
        scope->roles[ROLE_OWNER], scope->roles[ROLE_RW], scope->roles[ROLE_RO],
        scope->roles[ROLE_APP],   NAME_ROLE_APP,         NAME_ROLE_GATEWAY};

    for (size_t i = 0; i < database->privilege_count; i++) {
        const char *grantee = database->privileges[i].grantee;
        if (database_rights(scope, grantee) == 0 && is_first_of_grantee(database, i)) {
            add(ret, (struct action){.kind = ACTION_REVOKE_DATABASE, .member = grantee});
        }
    }
    for (size_t i = 0; i < ARRAY_COUNT(grantees); i++) {
        plan_grantee(scope, database, grantees[i], ret);
    }
}

static void plan_database(const struct scope *scope, const struct seen *seen, struct plan *ret)
{
    struct database_seen database = seen->database;
    const char *owner = scope->roles[ROLE_OWNER];
    const struct privilege_seen fresh[] = {
        {"", "CONNECT", false},   {"", "TEMPORARY", false},    {owner, "CONNECT", false},
        {owner, "CREATE", false}, {owner, "TEMPORARY", false},
    };

    if (database.exists && database.connection_limit == -2) {
        add(ret, (struct action){.kind = ACTION_DROP_DATABASE});
        database.exists = false;
    }
    if (!database.exists) {
        add(ret, (struct action){.kind = ACTION_CREATE_DATABASE, .member = seen->spare});
        database = (struct database_seen){
            .connection_limit = -1,
            .owner = owner,
            .privileges = fresh, /* as CREATE DATABASE leaves them */
            .privilege_count = ARRAY_COUNT(fresh),
        };
    }
    if (!text_equal(database.owner, owner)) {
        add(ret, (struct action){.kind = ACTION_TAKE_DATABASE,
                                 .member = database.owner,
                                 .foreign = !database.acts_as_its_owner});
    }
    if (!mark_is_current(scope, database.comment)) {
        add(ret, (struct action){.kind = ACTION_MARK_DATABASE});
    }
    plan_privileges(scope, &database, ret);
    if (!database.allows_connections) {
        add(ret, (struct action){.kind = ACTION_OPEN_DATABASE});
    }
}

void database_plan(const struct scope *scope, const struct seen *seen, bool suspended,
                   struct plan *ret)
{
    ret->count = 0;
    ret->truncated = false;
    if (!seen->shared_roles) {
        add(ret, (struct action){.kind = ACTION_MAKE_SHARED_ROLES});
    }
    for (int i = 0; i < ROLE_COUNT; i++) {
        if (scope_owns(scope, i)) {
            plan_role(scope, seen, i, suspended, ret);
        }
    }
    if (scope_owns(scope, ROLE_OWNER) && !seen->acts_as_owner) {
        add(ret, (struct action){.kind = ACTION_ACT_AS_OWNER, .role = scope->roles[ROLE_OWNER]});
    }
    plan_memberships(scope, seen, ret);
    if (scope->mode->owns_database) {
        plan_database(scope, seen, ret);
    }
}

static bool is_intended(const struct action *action, bool adopting)
{
    switch (action->kind) {
    case ACTION_MAKE_SHARED_ROLES:
    case ACTION_ACT_AS_OWNER:
    case ACTION_DISABLE_LOGIN:
        return true;
    case ACTION_MARK_ROLE:
    case ACTION_MARK_DATABASE:
    case ACTION_OPEN_DATABASE:
    case ACTION_GRANT_DATABASE: /* sealing took it */
        return adopting;
    default:
        return false;
    }
}

void database_plan_split(const struct plan *plan, bool adopting, struct plan *ret_intended,
                         struct plan *ret_drift)
{
    ret_intended->count = 0;
    ret_drift->count = 0;
    ret_intended->truncated = ret_drift->truncated = plan->truncated;
    for (size_t i = 0; i < plan->count; i++) {
        const struct action *action = &plan->actions[i];
        add(is_intended(action, adopting) ? ret_intended : ret_drift, *action);
    }
}

static bool is_of_another_uid(const struct scope *scope, const char *comment)
{
    struct mark mark;
    return mark_parse(comment, &mark) && str_equal_c(mark.id, scope->tenant_id) &&
           !str_equal_c(mark.uid, scope->uid);
}

bool database_is_adopted(const struct scope *scope, const struct seen *seen)
{
    bool adopted = is_of_another_uid(scope, seen->database.comment);
    for (int i = 0; i < ROLE_COUNT; i++) {
        adopted |= is_of_another_uid(scope, seen->roles[i].comment);
    }
    return adopted;
}

void database_plan_lock(const struct scope *scope, const struct seen *seen,
                        const struct owned *owned, bool close, struct plan *ret)
{
    const struct database_seen *database = &seen->database;
    const char *owner = scope->roles[ROLE_OWNER];

    ret->count = 0;
    ret->truncated = false;
    if (owned->roles[ROLE_OWNER] && !seen->acts_as_owner) {
        add(ret, (struct action){.kind = ACTION_ACT_AS_OWNER, .role = owner});
    }
    for (int i = ROLE_GROUPS; i < ROLE_COUNT; i++) {
        if (owned->roles[i] && seen->roles[i].can_login) {
            add(ret, (struct action){.kind = ACTION_DISABLE_LOGIN, .role = scope->roles[i]});
        }
    }
    if (!owned->database || !owned->roles[ROLE_OWNER]) {
        return;
    }
    if (!text_equal(database->owner, owner)) {
        add(ret, (struct action){.kind = ACTION_TAKE_DATABASE,
                                 .member = database->owner,
                                 .foreign = !database->acts_as_its_owner});
    }
    if (close && database->allows_connections && database->connection_limit != -2) {
        add(ret, (struct action){.kind = ACTION_CLOSE_DATABASE});
    }
}

void database_plan_seal(const struct scope *scope, const struct seen *seen,
                        const struct owned *owned, struct plan *ret)
{
    const struct database_seen *database = &seen->database;

    database_plan_lock(scope, seen, owned, false, ret);
    if (!owned->database) {
        return; /* a part of one that others use */
    }
    for (int i = 0; i < ROLE_COUNT; i++) {
        if (owned->roles[i] && i != ROLE_OWNER) {
            add(ret, (struct action){.kind = ACTION_ACT_AS_OWNER, .role = scope->roles[i]});
        }
    }
    for (size_t i = 0; i < database->privilege_count; i++) {
        const char *grantee = database->privileges[i].grantee;
        if (!text_equal(grantee, scope->roles[ROLE_OWNER]) && is_first_of_grantee(database, i)) {
            add(ret, (struct action){.kind = ACTION_REVOKE_DATABASE, .member = grantee});
        }
    }
    if (!database->allows_connections) {
        add(ret, (struct action){.kind = ACTION_OPEN_DATABASE});
    }
}
