/* Hosts to tenants, and the table's replacement under readers. */
#include "gateway/tenants.h"

#include <pthread.h>

#include "controller/base/thread.h"
#include "tests/check.h"

static struct record *make(struct tenants *tenants, const char *id, const char *subdomain)
{
    const struct tenant_facts facts = {.id = id,
                                       .name = "Name",
                                       .subdomain = subdomain,
                                       .tier = "pre mium\r\nX-Evil: 1",
                                       .server = "primary",
                                       .database = "tenant_x",
                                       .schema = "public",
                                       .settings = "{}",
                                       .features = "[\"sso\",\"a,b\\r\\nX: y\"]"};
    struct live *live = tenants_live(tenants, id);
    struct record *record = record_new(&facts, live);

    live_unref(live);
    return record;
}

static void a_host_is_exactly_one_label_below_the_domain(void **state)
{
    static const struct {
        const char *host;
        bool found;
    } rows[] = {
        {"acme.example.com", true},
        {"ACME.Example.COM", true},
        {"acme.example.com:8443", true},
        {"acme.example.com.", true},
        {"acme.example.com.:80", true},
        {"acme.example.com..", false},
        {"x.acme.example.com", false},
        {"acme.example.com.evil.com", false},
        {"acmeexample.com", false},
        {"acme.example.comx", false},
        {".example.com", false},
        {"example.com", false},
        {"", false},
        {"acme", false},
        {"acme.example.com:80x", false},
        {"acme.example.com:80:80", false},
        {"other.example.com", false},
        {"acme.evil-example.com", false},
        {"acme\0.example.com", false},
    };
    struct tenants *tenants = tenants_new("example.com");
    struct record *record = make(tenants, "11111111-1111-1111-1111-111111111111", "acme");

    (void)state;
    CHECK(!tenants_is_loaded(tenants));
    tenants_replace(tenants, &record, 1);
    CHECK(tenants_is_loaded(tenants));
    tenants_enter(tenants, 0);
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        if ((tenants_find(tenants, str_from(rows[i].host)) != NULL) != rows[i].found) {
            fail_msg("host \"%s\"", rows[i].host);
        }
    }
    tenants_leave(tenants, 0);
    tenants_free(tenants);
}

static void identity_is_one_line_a_field_whatever_names_hold(void **state)
{
    struct tenants *tenants = tenants_new("example.com");
    struct record *record = make(tenants, "11111111-1111-1111-1111-111111111111", "acme");

    (void)state;
    CHECK(str_equal_c(record->identity, "X-Tenant-ID: 11111111-1111-1111-1111-111111111111\r\n"
                                        "X-Tenant-Tier: premiumX-Evil:1\r\n"
                                        "X-Tenant-Features: sso,abX:y\r\n"));
    record_unref(record);
    tenants_free(tenants);
}

static void what_is_kept_of_a_tenant_outlives_its_records(void **state)
{
    static const char id[] = "11111111-1111-1111-1111-111111111111";
    struct tenants *tenants = tenants_new("example.com");

    (void)state;
    tenants_put(tenants, id, make(tenants, id, "acme"));
    struct live *before = tenants_live_if_known(tenants, id);
    tenants_put(tenants, id, make(tenants, id, "renamed"));
    struct live *after = tenants_live_if_known(tenants, id);
    CHECK(before && before == after);
    CHECK(tenants_find(tenants, STR("renamed.example.com")));
    CHECK_NULL(tenants_find(tenants, STR("acme.example.com")));
    live_unref(after);
    tenants_put(tenants, id, NULL);
    CHECK_NULL(tenants_live_if_known(tenants, id));
    CHECK_NULL(tenants_find(tenants, STR("renamed.example.com")));
    live_unref(before);
    tenants_free(tenants);
}

/* ---- readers and a writer ---- */

struct reading {
    struct tenants *tenants;
    int reader;
    atomic_bool *stop;
    atomic_int rounds;
    int found;
};

static void *keep_reading(void *context)
{
    struct reading *reading = context;

    while (!atomic_load(reading->stop)) {
        tenants_enter(reading->tenants, reading->reader);
        for (int i = 0; i < 20; i++) {
            const struct record *record = tenants_find(reading->tenants, STR("steady.example.com"));
            reading->found += record && record->facts.id[0] == '2' ? 1 : -1000000;
            record = tenants_find(reading->tenants, STR("acme.example.com"));
            reading->found += record && record->facts.id[0] != '1' ? -1000000 : 0;
        }
        tenants_leave(reading->tenants, reading->reader);
        atomic_fetch_add(&reading->rounds, 1);
    }
    return NULL;
}

static void readers_never_see_what_is_freed(void **state)
{
    static const char id[] = "11111111-1111-1111-1111-111111111111";
    static const char steady[] = "22222222-2222-2222-2222-222222222222";
    struct tenants *tenants = tenants_new("example.com");
    struct reading readings[2] = {0};
    pthread_t threads[2];
    atomic_bool stop = false;

    (void)state;
    tenants_put(tenants, steady, make(tenants, steady, "steady"));
    for (int i = 0; i < 2; i++) {
        readings[i].tenants = tenants;
        readings[i].reader = i;
        readings[i].stop = &stop;
        thread_start(&threads[i], "reader", keep_reading, &readings[i]);
    }
    /* Until both were there while something changed, however late they began. */
    for (int i = 0;
         i < 500 || atomic_load(&readings[0].rounds) < 10 || atomic_load(&readings[1].rounds) < 10;
         i++) {
        tenants_put(tenants, id, i % 2 ? NULL : make(tenants, id, "acme"));
        tenants_put(tenants, steady, make(tenants, steady, "steady"));
    }
    atomic_store(&stop, true);
    for (int i = 0; i < 2; i++) {
        CHECK_INT(pthread_join(threads[i], NULL), 0);
        CHECK(readings[i].found > 0);
    }
    tenants_free(tenants);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_host_is_exactly_one_label_below_the_domain),
        cmocka_unit_test(identity_is_one_line_a_field_whatever_names_hold),
        cmocka_unit_test(what_is_kept_of_a_tenant_outlives_its_records),
        cmocka_unit_test(readers_never_see_what_is_freed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
