#include <stdio.h>

#include "controller/kube/secret_object.h"
#include "tests/check.h"

static void values_are_put_replaced_and_found_by_name(void **state)
{
    (void)state;
    AUTO(kube_secret) struct kube_secret secret = {.count = 0};
    CHECK_NULL(kube_secret_get(&secret, "user"));
    kube_secret_put_text(&secret, "user", "acme");
    kube_secret_put_text(&secret, "password", "one");
    kube_secret_put_text(&secret, "password", "two");
    CHECK_INT(secret.count, 2);
    CHECK_TEXT(secret_bytes(kube_secret_get(&secret, "password")), "two");
    CHECK_TEXT(secret_bytes(kube_secret_get(&secret, "user")), "acme");

    AUTO(secret) struct secret copied = {0};
    secret_set(&copied, STR("with\0zero"));
    kube_secret_put(&secret, "binary", &copied);
    CHECK_INT(secret_length(kube_secret_get(&secret, "binary")), 9);
    kube_secret_release(&secret);
    CHECK_INT(secret.count, 0);
    CHECK_NULL(kube_secret_get(&secret, "user"));
}

static void equality_is_of_names_and_values_in_any_order(void **state)
{
    (void)state;
    AUTO(kube_secret) struct kube_secret a = {.count = 0};
    AUTO(kube_secret) struct kube_secret b = {.count = 0};
    CHECK(kube_secret_equal(&a, &b));
    kube_secret_put_text(&a, "x", "1");
    kube_secret_put_text(&a, "y", "2");
    kube_secret_put_text(&b, "y", "2");
    CHECK(!kube_secret_equal(&a, &b));
    CHECK(!kube_secret_equal(&b, &a));
    kube_secret_put_text(&b, "x", "1");
    CHECK(kube_secret_equal(&a, &b));
    kube_secret_put_text(&b, "x", "other");
    CHECK(!kube_secret_equal(&a, &b));
    kube_secret_put_text(&b, "x", "");
    CHECK(!kube_secret_equal(&a, &b));
}

static void every_place_can_be_used(void **state)
{
    (void)state;
    AUTO(kube_secret) struct kube_secret secret = {.count = 0};
    for (int i = 0; i < KUBE_SECRET_ENTRIES_MAX; i++) {
        char name[64];
        (void)snprintf(name, sizeof(name), "%063d", i);
        kube_secret_put_text(&secret, name, "v");
    }
    CHECK_INT(secret.count, KUBE_SECRET_ENTRIES_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_put_replaced_and_found_by_name),
        cmocka_unit_test(equality_is_of_names_and_values_in_any_order),
        cmocka_unit_test(every_place_can_be_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
