#include "controller/base/yml.h"

#include "controller/base/buf.h"
#include "controller/base/js.h"
#include "tests/check.h"

#include <stdio.h>

/* The YAML text must mean this JSON. */
static void check_means(const char *yaml, const char *json)
{
    AUTO(json) json_t *value = NULL;
    AUTO(json) json_t *expected = json_loads(json, JSON_DECODE_ANY, NULL);
    struct err err = {0};

    CHECK_NOT_NULL(expected);
    if (yml_parse(str_from(yaml), 100000, &value, &err)) {
        fail_msg("%s\nfailed: %s", yaml, err.message);
    }
    if (!json_equal(value, expected)) {
        AUTO(free) char *got = js_print(value);
        fail_msg("%s\nmeans %s, expected %s", yaml, got, json);
    }
}

/* The YAML text must be refused with this in the message. */
static void check_refused(struct str yaml, const char *part)
{
    json_t *value = NULL;
    struct err err = {0};

    if (!yml_parse(yaml, 1000000, &value, &err)) {
        json_decref(value);
        fail_msg("accepted: %.*s", (int)yaml.len, yaml.ptr);
    }
    CHECK_INT(err.cls, ERR_TERMINAL);
    CHECK_TEXT(err.reason, "InvalidYAML");
    if (!strstr(err.message, part)) {
        fail_msg("\"%s\" lacks \"%s\"", err.message, part);
    }
}

static void plain_scalars_follow_the_core_schema(void **state)
{
    static const char *const cases[][2] = {
        {"", "null"},
        {"~", "null"},
        {"null", "null"},
        {"Null", "null"},
        {"NULL", "null"},
        {"nUll", "\"nUll\""},
        {"true", "true"},
        {"True", "true"},
        {"TRUE", "true"},
        {"false", "false"},
        {"False", "false"},
        {"FALSE", "false"},
        {"yes", "\"yes\""},
        {"off", "\"off\""},
        {"n", "\"n\""},
        {"0", "0"},
        {"-0", "0"},
        {"42", "42"},
        {"+42", "42"},
        {"-42", "-42"},
        {"0777", "777"},
        {"0o17", "15"},
        {"0x1f", "31"},
        {"0xFFFFFFFF", "4294967295"},
        {"-0x1f", "\"-0x1f\""},
        {"0x", "\"0x\""},
        {"0o8", "\"0o8\""},
        {"9223372036854775807", "9223372036854775807"},
        {"-9223372036854775808", "-9223372036854775808"},
        {"1.5", "1.5"},
        {"-1.5e3", "-1500.0"},
        {"+.5", "0.5"},
        {"5.", "5.0"},
        {"1e3", "1000.0"},
        {"1E-2", "0.01"},
        {".", "\".\""},
        {"1e", "\"1e\""},
        {"1.2.3", "\"1.2.3\""},
        {"+", "\"+\""},
        {"-", "[null]"},
        {"1_000", "\"1_000\""},
        {"12:30:45", "\"12:30:45\""},
        {"2026-01-02", "\"2026-01-02\""},
        {"=", "\"=\""},
        {"plain words", "\"plain words\""},
        {"M\xC3\xBCnchen", "\"M\xC3\xBCnchen\""},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        check_means(cases[i][0], cases[i][1]);
    }
}

static void quoted_scalars_are_strings(void **state)
{
    (void)state;

    check_means("'42'", "\"42\"");
    check_means("\"true\"", "\"true\"");
    check_means("''", "\"\"");
    check_means("'it''s'", "\"it's\"");
    check_means("\"a\\tb\\n\\x41\\u00e9\\U0001F600\"", "\"a\\tb\\nA\\u00e9\\ud83d\\ude00\"");
    check_means("|\n  12\n  34\n", "\"12\\n34\\n\"");
    check_means(">-\n  a\n  b\n", "\"a b\"");
}

static void collections_nest(void **state)
{
    (void)state;

    check_means("[]", "[]");
    check_means("{}", "{}");
    check_means("- 1\n- [2, {a: b}]\n-\n- - x\n", "[1,[2,{\"a\":\"b\"}],null,[\"x\"]]");
    check_means("a: 1\nb:\n  c: [x]\n  d:\n", "{\"a\":1,\"b\":{\"c\":[\"x\"],\"d\":null}}");
    check_means("{\"json\": [1, null, \"x\"]}", "{\"json\":[1,null,\"x\"]}");
    check_means("1: a\ntrue: b\n~: c\n'': d\n",
                "{\"1\":\"a\",\"true\":\"b\",\"~\":\"c\",\"\":\"d\"}");
    check_means("# only a comment\n", "null");
    check_means("---\n", "null");
    check_means("\xEF\xBB\xBF"
                "a: 1\n",
                "{\"a\":1}");
    check_means("'<<': quoted is a plain name\n", "{\"<<\":\"quoted is a plain name\"}");
}

static void a_kubeconfig_is_read(void **state)
{
    (void)state;

    check_means("apiVersion: v1\n"
                "kind: Config\n"
                "clusters:\n"
                "- cluster:\n"
                "    certificate-authority-data: LS0tLS1CRUdJTg==\n"
                "    server: https://127.0.0.1:6443\n"
                "  name: local\n"
                "current-context: \"admin@local\"\n"
                "preferences: {}\n"
                "users:\n"
                "- name: admin\n"
                "  user:\n"
                "    exec: {command: get-token, args: [\"--cluster\", local], env: null}\n",
                "{\"apiVersion\":\"v1\",\"kind\":\"Config\",\"clusters\":[{\"cluster\":{"
                "\"certificate-authority-data\":\"LS0tLS1CRUdJTg==\","
                "\"server\":\"https://127.0.0.1:6443\"},\"name\":\"local\"}],"
                "\"current-context\":\"admin@local\",\"preferences\":{},\"users\":[{"
                "\"name\":\"admin\",\"user\":{\"exec\":{\"command\":\"get-token\","
                "\"args\":[\"--cluster\",\"local\"],\"env\":null}}}]}");
}

static void only_the_first_document_counts(void **state)
{
    (void)state;

    check_means("a: 1\n---\nb: 2\n", "{\"a\":1}");
    check_means("a: 1\n...\n", "{\"a\":1}");
    check_refused(STR("{a: 1} }"), "line 1");
    check_refused(STR("[1]\n]\n"), "line 2");
}

static void aliases_are_copies(void **state)
{
    json_t *value = NULL;
    struct err err = {0};
    (void)state;

    check_means("a: &x {k: [1]}\nb: *x\nc: [*x, *x]\n",
                "{\"a\":{\"k\":[1]},\"b\":{\"k\":[1]},\"c\":[{\"k\":[1]},{\"k\":[1]}]}");
    check_means("- &x 1\n- &x 2\n- *x\n", "[1,2,2]");
    CHECK_OK(yml_parse(STR("a: &x [1]\nb: *x\n"), 100, &value, &err), &err);
    CHECK(json_object_get(value, "a") != json_object_get(value, "b"));
    json_decref(value);
    check_refused(STR("a: *nowhere\n"), "line 1, column 4: the alias names no finished anchor");
    check_refused(STR("a: &x [*x]\n"), "names no finished anchor");
    check_refused(STR("*x\n"), "names no finished anchor");
}

static void a_nest_of_aliases_does_not_blow_up(void **state)
{
    AUTO(buf) struct buf yaml = BUF(100000);
    (void)state;

    buf_append_text(&yaml, "- &a0 [x,x,x,x,x,x,x,x,x]\n");
    for (int i = 1; i < 30; i++) {
        buf_printf(&yaml, "- &a%d [", i);
        for (int k = 0; k < 9; k++) {
            buf_printf(&yaml, "*a%d,", i - 1);
        }
        buf_append_text(&yaml, "]\n");
    }
    check_refused(buf_str(&yaml), "too many nodes");
}

static void nodes_and_depth_are_capped_exactly(void **state)
{
    json_t *value = NULL;
    struct err err = {0};
    (void)state;

    for (int nodes = 9999; nodes <= 10001; nodes++) {
        AUTO(buf) struct buf yaml = BUF(1000000);
        buf_append_char(&yaml, '[');
        for (int i = 1; i < nodes; i++) {
            buf_append_text(&yaml, "1,");
        }
        buf_append_char(&yaml, ']');
        if (nodes > 10000) {
            check_refused(buf_str(&yaml), "too many nodes");
        } else {
            CHECK_OK(yml_parse(buf_str(&yaml), 1000000, &value, &err), &err);
            CHECK_INT(json_array_size(value), nodes - 1);
            json_decref(value);
        }
    }
    for (int depth = 63; depth <= 65; depth++) {
        AUTO(buf) struct buf yaml = BUF(1000);
        for (int i = 0; i < depth; i++) {
            buf_append_text(&yaml, i % 2 ? "[" : "{a: ");
        }
        for (int i = depth; i-- > 0;) {
            buf_append_text(&yaml, i % 2 ? "]" : "}");
        }
        if (depth > 64) {
            check_refused(buf_str(&yaml), "nested too deeply");
        } else {
            CHECK_OK(yml_parse(buf_str(&yaml), 1000, &value, &err), &err);
            json_decref(value);
        }
    }
}

static void what_json_cannot_say_is_refused(void **state)
{
    (void)state;

    check_refused(STR("a: 1\nb: 2\na: 3\n"), "line 3, column 1: the key \"a\" stands here twice");
    check_refused(STR("a: &d {x: 1}\nb:\n  <<: *d\n"), "line 3, column 3: merge keys");
    check_refused(STR("a: !!str 1\n"), "tags are not supported");
    check_refused(STR("a: !custom [1]\n"), "tags are not supported");
    check_refused(STR("!!map {}\n"), "tags are not supported");
    check_refused(STR("! x\n"), "tags are not supported");
    check_refused(STR("? [a]\n: 1\n"), "a key must be a scalar");
    check_refused(STR("x: &k a\n*k : 1\n"), "a key must be a scalar");
    check_refused(STR("&k a: 1\n"), "a key must be a scalar");
    check_refused(STR("!!str a: 1\n"), "a key must be a scalar");
    check_refused(STR("a: .inf\n"), "out of range");
    check_refused(STR("a: -.INF\n"), "out of range");
    check_refused(STR("a: .nan\n"), "out of range");
    check_refused(STR("a: 1e999\n"), "out of range");
    check_refused(STR("a: 9223372036854775808\n"), "out of range");
    check_refused(STR("a: -9223372036854775809\n"), "out of range");
    check_refused(STR("a: 0xFFFFFFFFFFFFFFFFFF\n"), "out of range");
    check_refused(STR("a: 0x8000000000000000\n"), "out of range");
    check_refused(STR("a: \"x\\0y\"\n"), "NUL");
    check_refused(STR("\"x\\0y\": 1\n"), "NUL");
}

static void what_is_no_yaml_is_refused_with_its_place(void **state)
{
    (void)state;

    check_refused(STR("a: [1\n"), "invalid YAML at line 2");
    check_refused(STR("a: 1\n b: 2\n"), "invalid YAML at line 2");
    check_refused(STR("\ta: 1\n"), "invalid YAML at line 1");
    check_refused(STR("a: \"open\n"), "invalid YAML at line");
    check_refused(STR("a: \xFF\n"), "UTF-8");
    check_refused(STR("a: \0\n"), "control characters");
    check_refused(STR("a: \x01\n"), "control characters");
    check_refused(STR("\"\\ud800\""), "invalid YAML");
    check_refused(STR("%YAML 3.0\n---\na\n"), "invalid YAML");
}

static void the_size_is_capped_exactly(void **state)
{
    json_t *value = NULL;
    struct err err = {0};
    (void)state;

    CHECK_FAILS(yml_parse(STR("[1]"), 2, &value, &err), &err, ERR_TERMINAL, "InvalidYAML");
    CHECK_NULL(value);
    CHECK_OK(yml_parse(STR("[1]"), 3, &value, &err), &err);
    json_decref(value);
    CHECK_OK(yml_parse((struct str){0}, 0, &value, &err), &err);
    CHECK(json_is_null(value));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_scalars_follow_the_core_schema),
        cmocka_unit_test(quoted_scalars_are_strings),
        cmocka_unit_test(collections_nest),
        cmocka_unit_test(a_kubeconfig_is_read),
        cmocka_unit_test(only_the_first_document_counts),
        cmocka_unit_test(aliases_are_copies),
        cmocka_unit_test(a_nest_of_aliases_does_not_blow_up),
        cmocka_unit_test(nodes_and_depth_are_capped_exactly),
        cmocka_unit_test(what_json_cannot_say_is_refused),
        cmocka_unit_test(what_is_no_yaml_is_refused_with_its_place),
        cmocka_unit_test(the_size_is_capped_exactly),
    };

    js_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
