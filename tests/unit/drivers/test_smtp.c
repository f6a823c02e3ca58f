/* Mail through a real relay on loopback: TLS, login, refusals, and what cannot be forged. */
#include "tests/check.h"
#include "tests/support/child.h"
#include "tests/support/folder.h"
#include "tests/support/pki.h"

#include "controller/base/js.h"
#include "controller/net/http_client.h"
#include "reconcilers/drivers/smtp.h"

#define PASSWORD "relay-password-canary"

struct relay {
    char *folder;
    char *ca_file;
    struct child server;
    char *url;
    struct secret password;
    struct smtp_relay settings;
};

static void relay_start(struct relay *relay, const char *mode, bool login)
{
    struct pki_entity *authority = pki_authority("Mail CA");
    struct pki_entity *server = pki_issue(authority, "relay", "DNS:localhost,IP:127.0.0.1", false);
    *relay = (struct relay){.folder = folder_make()};
    relay->ca_file = pki_write(relay->folder, "ca.pem", pki_certificate(authority));
    char *certificate = pki_write(relay->folder, "cert.pem", pki_certificate(server));
    char *key =
        pki_write(relay->folder, "key.pem",
                  (struct str){secret_bytes(pki_key(server)), secret_length(pki_key(server))});
    child_start(&relay->server,
                (const char *[]){"/usr/bin/python3", TEST_SMTP_SERVER, mode, certificate, key,
                                 login ? "mailer" : NULL, PASSWORD, NULL});
    char *port = child_line(&relay->server);
    relay->url = xasprintf("%s://localhost:%s", text_equal(mode, "tls") ? "smtps" : "smtp", port);
    secret_set(&relay->password, STR(PASSWORD));
    relay->settings = (struct smtp_relay){.url = relay->url,
                                          .from = "tenantry@platform.example",
                                          .user = login ? "mailer" : "",
                                          .password = &relay->password,
                                          .ca_file = relay->ca_file};
    free(port);
    free(certificate);
    free(key);
    pki_free(server);
    pki_free(authority);
}

static void relay_stop(struct relay *relay)
{
    child_stop(&relay->server);
    secret_release(&relay->password);
    free(relay->url);
    free(relay->ca_file);
    folder_remove(relay->folder);
}

static const struct smtp_mail welcome = {
    .to = "owner@acme.example",
    .message_id = "welcome.1@platform.example",
    .subject = "Willkommen bei Acme \xc3\x84pfel und B\xc3\xa4ume, einem Betreff mit vielen "
               "W\xc3\xb6rtern",
    .text = "Hello,\n.\nthis is a line.\n",
};

static void check_arrives(const char *mode, bool login)
{
    struct relay relay;
    struct err err = {0};
    AUTO(json) json_t *seen = NULL;

    relay_start(&relay, mode, login);
    CHECK_OK(smtp_send(NULL, &relay.settings, &welcome, &err), &err);
    char *line = child_line(&relay.server);
    CHECK_OK(js_parse(str_from(line), 1 << 20, &seen, &err), &err);
    const char *data = json_string_value(json_object_get(seen, "data"));
    CHECK(json_is_true(json_object_get(seen, "tls")));
    CHECK_TEXT(json_string_value(json_object_get(seen, "from")), "tenantry@platform.example");
    CHECK_TEXT(json_string_value(json_array_get(json_object_get(seen, "to"), 0)),
               "owner@acme.example");
    CHECK_NOT_NULL(strstr(data, "Message-ID: <welcome.1@platform.example>\r\n"));
    CHECK_NOT_NULL(strstr(data, "Subject: =?UTF-8?B?V2lsbGtvbW1lbiBiZWkgQWNtZSDDhH"));
    CHECK_NOT_NULL(strstr(data, "\r\n\r\nSGVsbG8sCi4KdGhpcyBpcyBhIGxpbmUuCg=="));
    free(line);
    relay_stop(&relay);
}

static void mail_arrives_by_starttls_with_a_login(void **state)
{
    (void)state;
    check_arrives("starttls", true);
}

static void mail_arrives_by_tls_without_a_login(void **state)
{
    (void)state;
    check_arrives("tls", false);
}

static void a_relay_without_tls_gets_nothing(void **state)
{
    struct relay relay;
    struct err err = {0};
    (void)state;
    relay_start(&relay, "plain", false);
    CHECK_FAILS(smtp_send(NULL, &relay.settings, &welcome, &err), &err, ERR_RETRY, "MailNotSent");
    relay_stop(&relay);
}

static void a_relay_of_another_authority_gets_nothing(void **state)
{
    struct relay relay;
    struct err err = {0};
    (void)state;
    relay_start(&relay, "starttls", true);
    relay.settings.ca_file = NULL;
    CHECK_FAILS(smtp_send(NULL, &relay.settings, &welcome, &err), &err, ERR_RETRY, "MailNotSent");
    CHECK_NULL(strstr(err.message, PASSWORD));
    relay_stop(&relay);
}

static void refusals_are_for_good_or_for_now(void **state)
{
    struct relay relay;
    struct smtp_mail mail = welcome;
    struct err err = {0};
    (void)state;
    relay_start(&relay, "starttls", true);
    mail.to = "nobody@refuse.example";
    CHECK_FAILS(smtp_send(NULL, &relay.settings, &mail, &err), &err, ERR_TERMINAL, "MailRefused");
    mail.to = "somebody@later.example";
    CHECK_FAILS(smtp_send(NULL, &relay.settings, &mail, &err), &err, ERR_RETRY, "MailNotSent");
    secret_set(&relay.password, STR("wrong"));
    CHECK_FAILS(smtp_send(NULL, &relay.settings, &welcome, &err), &err, ERR_TERMINAL,
                "MailRefused");
    relay_stop(&relay);
    CHECK_FAILS(smtp_send(NULL,
                          &(struct smtp_relay){.url = "smtp://localhost:9", .from = "a@b.example"},
                          &welcome, &err),
                &err, ERR_RETRY, "MailNotSent");
}

static void no_address_forges_a_header(void **state)
{
    static const char *const wrong[] = {"", "a@b\r\nBcc: x@y", "a b@c", "a@b>", "\xc3\xa4@b"};
    struct smtp_relay relay = {.url = "smtp://localhost:9", .from = "a@b.example"};
    struct err err = {0};
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        struct smtp_mail mail = welcome;
        mail.to = wrong[i];
        CHECK_FAILS(smtp_send(NULL, &relay, &mail, &err), &err, ERR_TERMINAL, "InvalidMail");
        mail = welcome;
        mail.message_id = wrong[i];
        CHECK_FAILS(smtp_send(NULL, &relay, &mail, &err), &err, ERR_TERMINAL, "InvalidMail");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mail_arrives_by_starttls_with_a_login),
        cmocka_unit_test(mail_arrives_by_tls_without_a_login),
        cmocka_unit_test(a_relay_without_tls_gets_nothing),
        cmocka_unit_test(a_relay_of_another_authority_gets_nothing),
        cmocka_unit_test(refusals_are_for_good_or_for_now),
        cmocka_unit_test(no_address_forges_a_header),
    };
    http_global_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
