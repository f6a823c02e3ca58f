/* A resource.Quantity. Whatever is taken is a number of milli-units that reads back as itself, is
 * not changed by a plus sign, and grows with its suffix. */
#include <string.h>

#include "controller/base/str.h"
#include "controller/kube/object.h"
#include "tests/fuzz/fuzz.h"

enum { TEXT_BYTES = 128 };

static void check_prefixed(struct str text, int64_t milli)
{
    char signed_text[TEXT_BYTES];
    int64_t again = 0;
    if (text.len + 1 >= sizeof(signed_text) || text.ptr[0] == '+' || text.ptr[0] == '-') {
        return;
    }
    signed_text[0] = '+';
    memcpy(signed_text + 1, text.ptr, text.len);
    FUZZ_CHECK(kube_quantity_milli((struct str){signed_text, text.len + 1}, &again));
    FUZZ_CHECK(again == milli);
}

static void check_milli(int64_t milli)
{
    char text[TEXT_BYTES];
    int64_t again = 0;
    (void)snprintf(text, sizeof(text), "%lldm", (long long)milli);
    FUZZ_CHECK(kube_quantity_milli(str_from(text), &again));
    FUZZ_CHECK(again == milli);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};
    int64_t milli = 0;
    if (kube_quantity_milli(text, &milli)) {
        FUZZ_CHECK(size > 0);
        check_prefixed(text, milli);
        check_milli(milli);
    }
    return 0;
}
