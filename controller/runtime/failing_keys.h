/* Which keys fail, and with what: so that an error is said once, and its end as well, however often
 * the key is tried meanwhile. Thread-safe. */
#ifndef TENANTRY_RUNTIME_FAILING_KEYS_H
#define TENANTRY_RUNTIME_FAILING_KEYS_H

#include "controller/base/err.h"

struct failing_keys;
struct failing_keys *failing_keys_new(void);
void failing_keys_free(struct failing_keys *keys);

enum failing_news {
    FAILING_NO_NEWS,
    FAILING_NEW,       /* it did not fail before, or with another error */
    FAILING_AS_BEFORE, /* the same error again */
    FAILING_ENDED,     /* it failed, and succeeded now */
};

/* err NULL: the key succeeded. */
enum failing_news failing_keys_note(struct failing_keys *keys, const char *key,
                                    const struct err *err);

#endif
