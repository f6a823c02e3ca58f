/* Who the owner is among the users, and the hash of a temporary password. */
#include "tests/check.h"

#include <crypt.h>

#include "reconcilers/database/owner_internal.h"

#define ID "8c6f0000-0000-4000-8000-000000000001"
#define OLD "old@acme.test"
#define NEW "new@acme.test"

static const struct person members[] = {{"second@acme.test", "Second", MEMBER_OWNER}};

static struct tenant tenant_of(const char *email, const char *name)
{
    return (struct tenant){
        .owner = {.email = email, .name = name, .role = MEMBER_OWNER},
        .members = members,
        .member_count = ARRAY_COUNT(members),
    };
}

static void the_id_is_the_tenants_alone(void **state)
{
    char first[UUID_TEXT_BYTES];
    char again[UUID_TEXT_BYTES];
    char other[UUID_TEXT_BYTES];
    (void)state;
    owner_user_id(ID, first);
    owner_user_id(ID, again);
    owner_user_id("8c6f0000-0000-4000-8000-000000000002", other);
    CHECK_TEXT(first, again);
    CHECK(!text_equal(first, other));
    CHECK_INT(strlen(first), UUID_TEXT_BYTES - 1);
    CHECK_INT(first[14], '8');
    CHECK_NOT_NULL(strchr("89ab", first[19]));
}

static void a_new_owner_is_inserted_once(void **state)
{
    char id[UUID_TEXT_BYTES];
    struct owner_plan plan;
    struct tenant tenant = tenant_of(NEW, "New");
    (void)state;
    owner_user_id(ID, id);
    owner_plan(&tenant, id, NULL, 0, &plan);
    CHECK(plan.insert);
    const struct owner_row row = {id, NEW, "New", "owner", true};
    owner_plan(&tenant, id, &row, 1, &plan);
    CHECK(!plan.insert && !plan.set_email && !plan.set_name && !plan.set_role && !plan.demote);
}

static void a_renamed_owner_is_the_same_user(void **state)
{
    char id[UUID_TEXT_BYTES];
    struct owner_plan plan;
    struct tenant tenant = tenant_of(NEW, "New Name");
    (void)state;
    owner_user_id(ID, id);
    const struct owner_row row = {id, OLD, "Old Name", "admin", false};
    owner_plan(&tenant, id, &row, 1, &plan);
    CHECK(!plan.insert && plan.set_email && plan.set_name && plan.set_role);
    CHECK(plan.row == &row);
    /* A spec without a name has no opinion about it. */
    tenant.owner.name = "";
    owner_plan(&tenant, id, &row, 1, &plan);
    CHECK(!plan.set_name);
}

static void ownership_passes_to_a_user_who_has_the_address(void **state)
{
    char id[UUID_TEXT_BYTES];
    struct owner_plan plan;
    struct tenant tenant = tenant_of(NEW, "");
    (void)state;
    owner_user_id(ID, id);
    struct owner_row rows[] = {
        {"00000000-0000-4000-8000-000000000009", NEW, "", "member", false},
        {id, OLD, "", "owner", false},
    };
    owner_plan(&tenant, id, rows, 2, &plan);
    CHECK(!plan.insert && !plan.set_email && plan.set_role);
    CHECK(plan.row == &rows[0]);
    CHECK(plan.demote == &rows[1]);
    rows[0].role = "owner";
    rows[1].role = "member";
    owner_plan(&tenant, id, rows, 2, &plan);
    CHECK(!plan.set_role && !plan.demote);
    /* The spec may keep the old one as an owner too. */
    rows[1].role = "owner";
    rows[1].email = "second@acme.test";
    owner_plan(&tenant, id, rows, 2, &plan);
    CHECK_NULL(plan.demote);
}

static void a_hash_is_bcrypt_of_cost_12(void **state)
{
    AUTO(secret) struct secret password = {0};
    AUTO(secret) struct secret hash = {0};
    struct err err = {0};
    (void)state;
    secret_generate(&password, 24);
    CHECK_OK(owner_hash(&password, &hash, &err), &err);
    CHECK_INT(secret_length(&hash), 60);
    CHECK(strncmp(secret_bytes(&hash), "$2b$12$", 7) == 0);
    struct crypt_data *data = calloc(1, sizeof(*data));
    CHECK_NOT_NULL(data);
    const char *again = crypt_rn(secret_bytes(&password), secret_bytes(&hash), data, sizeof(*data));
    CHECK_NOT_NULL(again);
    CHECK_TEXT(again, secret_bytes(&hash));
    free(data);
}

static void only_usable_passwords_of_others_are_taken(void **state)
{
    static const struct {
        const char *text;
        bool usable;
    } cases[] = {
        {"fifteen-letters", false},
        {"sixteen--letters", true},
        {"sixteen  letters", false},
        {"0123456789012345678901234567890123456789012345678901234567890123456789xx", true},
        {"0123456789012345678901234567890123456789012345678901234567890123456789xxx", false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        AUTO(secret) struct secret password = {0};
        secret_set(&password, str_from(cases[i].text));
        CHECK_INT(owner_password_usable(&password), cases[i].usable);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_id_is_the_tenants_alone),
        cmocka_unit_test(a_new_owner_is_inserted_once),
        cmocka_unit_test(a_renamed_owner_is_the_same_user),
        cmocka_unit_test(ownership_passes_to_a_user_who_has_the_address),
        cmocka_unit_test(a_hash_is_bcrypt_of_cost_12),
        cmocka_unit_test(only_usable_passwords_of_others_are_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
