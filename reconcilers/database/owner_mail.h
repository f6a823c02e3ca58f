/* Where mail to owners goes out. */
#ifndef TENANTRY_DATABASE_OWNER_MAIL_H
#define TENANTRY_DATABASE_OWNER_MAIL_H

#include "controller/base/attributes.h"
#include "controller/base/err.h"

struct mail_settings {
    const char *url;     /* "smtps://relay:465", "smtp://relay:587" */
    const char *from;    /* an address */
    const char *ca_file; /* NULL: the system's authorities */
    const char
        *credentials_secret; /* in the operator's namespace: username, password; NULL: none */
};

/* Whether a relay is named as it must be; nothing is sent. Errors: TERMINAL/InvalidOption. */
MUST_CHECK int mail_settings_check(const struct mail_settings *settings, struct err *err);

#endif
