/* Networks of trusted peers, and rates. */
#include "gateway/trust.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "gateway/rate.h"
#include "tests/check.h"

static bool trusts(const struct trust *trust, const char *address)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};

    if (inet_pton(AF_INET, address, &v4.sin_addr) == 1) {
        return trust_has(trust, (struct sockaddr *)&v4);
    }
    CHECK_INT(inet_pton(AF_INET6, address, &v6.sin6_addr), 1);
    return trust_has(trust, (struct sockaddr *)&v6);
}

static void only_the_networks_given_are_trusted(void **state)
{
    struct trust *trust = NULL;
    struct err err;

    (void)state;
    CHECK_OK(trust_new("10.0.0.0/8, 192.0.2.7,2001:db8::/33", &trust, &err), &err);
    CHECK(trusts(trust, "10.255.0.1"));
    CHECK(!trusts(trust, "11.0.0.1"));
    CHECK(trusts(trust, "192.0.2.7"));
    CHECK(!trusts(trust, "192.0.2.8"));
    CHECK(trusts(trust, "::ffff:10.1.2.3"));
    CHECK(trusts(trust, "2001:db8:7fff::1"));
    CHECK(!trusts(trust, "2001:db8:8000::1"));
    trust_free(trust);
    CHECK_OK(trust_new("", &trust, &err), &err);
    CHECK(!trusts(trust, "127.0.0.1"));
    trust_free(trust);
    CHECK_OK(trust_new("0.0.0.0/0", &trust, &err), &err);
    CHECK(trusts(trust, "203.0.113.9"));
    CHECK(!trusts(trust, "2001:db8::1"));
    trust_free(trust);
}

static void nonsense_is_refused(void **state)
{
    static const char *const texts[] = {"10.0.0.0/33",  "x",     "10.0.0.0/-1", "::/129",
                                        "10.0.0.0/8/9", "10.0.0"};
    struct trust *trust = NULL;
    struct err err;

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        CHECK_FAILS(trust_new(texts[i], &trust, &err), &err, ERR_TERMINAL, "InvalidOption");
    }
}

static void a_rate_lets_a_burst_pass_and_then_so_many_a_second(void **state)
{
    struct rate rate = {0};
    int passed = 0;

    (void)state;
    for (int i = 0; i < 100; i++) {
        passed += rate_pass(&rate, 10, 5, 1000000) ? 1 : 0;
    }
    CHECK_INT(passed, 5);
    passed = 0;
    for (int ms = 0; ms < 2000; ms++) {
        passed += rate_pass(&rate, 10, 5, 1000000 + ms * 1000L) ? 1 : 0;
    }
    CHECK_INT(passed, 19); /* 20 in two seconds, the first after 100 ms */
    CHECK(!rate_open(&rate, 10, 5, 2990000));
    CHECK(rate_open(&rate, 10, 5, 3000000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_networks_given_are_trusted),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(a_rate_lets_a_burst_pass_and_then_so_many_a_second),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
