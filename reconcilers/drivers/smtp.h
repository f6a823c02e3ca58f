/* Mail through a relay, by libcurl: one message, one recipient, one connection.
 *
 * TLS is verified: "smtps://relay:465" begins with it, "smtp://relay:587" must offer STARTTLS
 * (RFC 3207), or nothing is sent, credentials least of all. The caller chooses the Message-ID
 * (RFC 5322), so that a message that is sent twice is known to be the same.
 *
 * Errors: RETRY/MailNotSent (no connection, TLS, a 4xx reply), TERMINAL/MailRefused (a 5xx reply:
 * recipient, sender or login are not taken), TERMINAL/InvalidMail (an address or text that could
 * forge a header), CANCELED/Canceled. Messages hold the relay's reply code, never what was sent. */
#ifndef TENANTRY_DRIVERS_SMTP_H
#define TENANTRY_DRIVERS_SMTP_H

#include "controller/base/attributes.h"
#include "controller/base/call.h"
#include "controller/base/err.h"
#include "controller/base/secret.h"

struct smtp_relay {
    const char *url;
    const char *from; /* an address */
    const char *user; /* "" or NULL: no login */
    const struct secret *password;
    const char *ca_file; /* NULL: the system's authorities */
};

struct smtp_mail {
    const char *to;         /* an address */
    const char *message_id; /* without angle brackets */
    const char *subject;    /* UTF-8, one line */
    const char *text;       /* UTF-8, lines end in '\n' */
};

MUST_CHECK int smtp_send(const struct call *call, const struct smtp_relay *relay,
                         const struct smtp_mail *mail, struct err *err);

#endif
