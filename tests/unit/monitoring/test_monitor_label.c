/* Which labels --monitor-label may name. */
#include <string.h>

#include "reconcilers/monitoring/monitor.h"
#include "tests/check.h"

static void check_taken(const char *label)
{
    struct err err;
    CHECK_OK(monitor_label_check(label, &err), &err);
}

/* words: of the message, which says what is wrong. */
static void check_refused(const char *label, const char *words)
{
    struct err err;
    CHECK_FAILS(monitor_label_check(label, &err), &err, ERR_TERMINAL, "InvalidOption");
    if (!strstr(err.message, words)) {
        fail_msg("\"%s\" is refused by \"%s\", which does not hold \"%s\"", label, err.message,
                 words);
    }
}

static void takes_what_kubernetes_takes(void **state)
{
    (void)state;
    check_taken("");
    check_taken("release=prometheus");
    check_taken("release=");
    check_taken("a=1");
    check_taken("example.com/Release_1.x=V-1_2.3");
    check_taken("a-b.c1/x=y");
    /* The longest of each. */
    char label[400];
    (void)snprintf(label, sizeof(label), "%0253d/%063d=%063d", 0, 0, 0);
    check_taken(label);
}

static void refuses_what_kubernetes_refuses(void **state)
{
    (void)state;
    static const char *const names[] = {
        "a//b=c",   "/b=c",   "a/=c",   "a/b/c=d", "=c",     "-a=c",  "a-=c", "A.b/c=d", "a_b/c=d",
        "a..b/c=d", ".a/b=c", "a./b=c", "a-/b=c",  "-a/b=c", "a b=c", "ä=c",  "a:b=c",   "a.-b/c=d",
    };
    static const char *const values[] = {"a=b c", "a=-b", "a=b-", "a=b=c", "a=b/c", "a=ü"};
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        check_refused(names[i], "label of that name");
    }
    for (size_t i = 0; i < ARRAY_COUNT(values); i++) {
        check_refused(values[i], "with that value");
    }
    check_refused("release", "NAME=VALUE");
}

static void refuses_what_is_too_long(void **state)
{
    (void)state;
    char label[400];
    (void)snprintf(label, sizeof(label), "%064d=a", 0);
    check_refused(label, "label of that name");
    (void)snprintf(label, sizeof(label), "%0254d/a=a", 0);
    check_refused(label, "label of that name");
    (void)snprintf(label, sizeof(label), "a=%064d", 0);
    check_refused(label, "with that value");
}

static void refuses_what_is_the_controllers_own(void **state)
{
    (void)state;
    check_refused("app.kubernetes.io/managed-by=me", "controller's own");
    check_refused("tenantry.dev/tenant=acme", "controller's own");
    check_taken("app.kubernetes.io/part-of=me");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_what_kubernetes_takes),
        cmocka_unit_test(refuses_what_kubernetes_refuses),
        cmocka_unit_test(refuses_what_is_too_long),
        cmocka_unit_test(refuses_what_is_the_controllers_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
