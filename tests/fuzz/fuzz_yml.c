/* Any bytes as YAML: a tree that comes out is one that JSON can say, and within its caps. */
#include "controller/base/yml.h"

#include "controller/base/js.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

enum { INPUT_MAX_BYTES = 64 * 1024, OUTPUT_MAX_BYTES = 64 * 1024 * 1024, NODES_MAX = 10000 };

static size_t count_nodes(const json_t *value)
{
    const char *name = NULL;
    json_t *item = NULL;
    size_t index = 0;
    size_t nodes = 1;

    json_array_foreach(value, index, item)
    {
        nodes += count_nodes(item);
    }
    json_object_foreach((json_t *)(uintptr_t)value, name, item)
    {
        nodes += count_nodes(item);
    }
    return nodes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = {0};
    json_t *value = NULL;
    json_t *again = NULL;

    if (yml_parse((struct str){(const char *)data, size}, INPUT_MAX_BYTES, &value, &err)) {
        FUZZ_CHECK(err.cls == ERR_TERMINAL && strcmp(err.reason, "InvalidYAML") == 0);
        FUZZ_CHECK(err.message[0] != '\0');
        FUZZ_CHECK(value == NULL);
        return 0;
    }
    FUZZ_CHECK(count_nodes(value) <= NODES_MAX);
    char *text = js_print(value);
    FUZZ_CHECK(js_parse(str_from(text), OUTPUT_MAX_BYTES, &again, &err) == 0);
    FUZZ_CHECK(json_equal(value, again));
    free(text);
    json_decref(again);
    json_decref(value);
    return 0;
}
