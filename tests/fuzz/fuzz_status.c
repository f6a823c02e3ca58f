/* Any bytes as the body of an answer that is no success. The first byte chooses the HTTP status. */
#include <stdlib.h>
#include <string.h>

#include "controller/base/str.h"
#include "controller/kube/api_internal.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int statuses[] = {0, 301, 400, 401, 403, 404, 409, 410, 422, 429, 500, 504};
    struct err err = {0};
    if (size == 0) {
        return 0;
    }
    int status = statuses[data[0] % ARRAY_COUNT(statuses)];
    const struct str body = {(const char *)data + 1, size - 1};
    FUZZ_CHECK(api_status_error(body, status, (data[0] & 0x80U) != 0, &err) == -1);
    FUZZ_CHECK(err.cls != ERR_OK && err.cls != ERR_CANCELED);
    FUZZ_CHECK(err.reason[0] && err.message[0]);
    FUZZ_CHECK(str_is_utf8(str_from(err.message)));
    FUZZ_CHECK(strlen(err.code) == 3);
    FUZZ_CHECK(err.retry_after_ms >= 0);
    return 0;
}
