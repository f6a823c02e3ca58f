/* The step OwnerMail: tell the owner that the tenant is there, where a relay is configured.
 *
 * The message says where the temporary password is to be had, and never what it is: mail is read by
 * many. It is sent before the registry notes that, so a crash in between sends it again, under the
 * same Message-ID. Once a recipient; a renamed owner is another one. Nothing is sent once the owner
 * has chosen a password, as to the owners of tenants that stood before there was a relay. */
#include "reconcilers/database/owner_mail.h"

#include <string.h>

#include "controller/base/hash.h"
#include "controller/base/str.h"
#include "controller/kube/secret_object.h"
#include "reconcilers/database/steps.h"
#include "reconcilers/drivers/smtp.h"
#include "reconcilers/model/names.h"
#include "reconcilers/model/work.h"
#include "reconcilers/registry/registry_mails.h"

#define KIND "owner-welcome"

int mail_settings_check(const struct mail_settings *settings, struct err *err)
{
    bool relay =
        strncmp(settings->url, "smtp://", 7) == 0 || strncmp(settings->url, "smtps://", 8) == 0;

    if (!relay || strchr(settings->url, '@')) {
        return err_set(
            err, ERR_TERMINAL, "InvalidOption",
            "--smtp-url must be smtp://HOST:PORT or smtps://HOST:PORT; user and password "
            "go into the Secret that --smtp-credentials-secret names");
    }
    return text_is_empty(settings->from) || !strchr(settings->from, '@')
               ? err_set(err, ERR_TERMINAL, "InvalidOption",
                         "--smtp-from must be the address that mail comes from")
               : 0;
}

static const char *message_id(struct reconcile *rc, const struct tenant_work *work)
{
    char digest[HASH128_TEXT_BYTES];
    const char *text =
        arena_printf(rc->arena, "%s %s %s", work->tenant_id, KIND, work->tenant->owner.email);

    hash128_text(hash_128(str_from(text)), digest);
    return arena_printf(rc->arena, "%s.%s@%s", KIND, digest, work->services->domain);
}

static const char *body(struct reconcile *rc, const struct tenant_work *work)
{
    const struct tenant *tenant = work->tenant;
    const char *name = text_is_empty(tenant->owner.name) ? "Hello" : tenant->owner.name;
    const char *title =
        text_is_empty(tenant->display_name) ? tenant->subdomain : tenant->display_name;

    return arena_printf(
        rc->arena,
        "%s,\n\n%s is ready, and you are its owner.\n\n"
        "Address: https://%s.%s/\nLog in as: %s\n\n"
        "A temporary password is waiting for you in the Secret %s of namespace %s, "
        "which only you may read:\n\n"
        "  kubectl get secret -n %s %s -o go-template='{{.data.password|base64decode}}'"
        "\n\nIt has to be changed at the first login. It is never sent by mail.\n",
        name, title, tenant->subdomain, work->services->domain, tenant->owner.email,
        name_owner_secret(rc->arena, tenant->subdomain), work->services->system_namespace,
        work->services->system_namespace, name_owner_secret(rc->arena, tenant->subdomain));
}

static int fetch_login(struct reconcile *rc, const struct tenant_work *work,
                       struct kube_secret *ret, struct err *err)
{
    const struct mail_settings *mail = work->services->mail;

    if (text_is_empty(mail->credentials_secret)) {
        return 0;
    }
    if (kube_secret_fetch(work->services->kube, &rc->call, work->services->system_namespace,
                          mail->credentials_secret, NAME_LABEL_TENANT_UID, ret, err)) {
        return err_wrap(err, "Secret \"%s/%s\" with the mail relay's login",
                        work->services->system_namespace, mail->credentials_secret);
    }
    return kube_secret_get(ret, "username") && kube_secret_get(ret, "password")
               ? 0
               : err_set(err, ERR_RETRY, "MailNotSent",
                         "Secret \"%s/%s\" lacks the key username or password",
                         work->services->system_namespace, mail->credentials_secret);
}

static int send(struct reconcile *rc, const struct tenant_work *work, const char *id,
                struct err *err)
{
    AUTO(kube_secret) struct kube_secret login = {0};
    const struct mail_settings *settings = work->services->mail;

    if (fetch_login(rc, work, &login, err)) {
        return -1;
    }
    const struct secret *user = kube_secret_get(&login, "username");
    const struct smtp_relay relay = {
        .url = settings->url,
        .from = settings->from,
        .user = user ? secret_bytes(user) : NULL,
        .password = kube_secret_get(&login, "password"),
        .ca_file = settings->ca_file,
    };
    const struct smtp_mail mail = {
        .to = work->tenant->owner.email,
        .message_id = id,
        .subject =
            arena_printf(rc->arena, "%s is ready",
                         text_is_empty(work->tenant->display_name) ? work->tenant->subdomain
                                                                   : work->tenant->display_name),
        .text = body(rc, work),
    };
    return smtp_send(&rc->call, &relay, &mail, err);
}

int owner_mail_ensure(struct reconcile *rc, void *subject, struct err *err)
{
    struct tenant_work *work = subject;
    struct registry *registry = work->services->registry;
    const char *recipient = work->tenant->owner.email;
    bool sent = false;

    if (!work->services->mail || secret_is_empty(&work->owner_password) ||
        work->tenant->state == TENANT_SUSPENDED) {
        return 0;
    }
    if (registry_mail_is_sent(registry, rc, work->tenant_id, KIND, recipient, &sent, err)) {
        return -1;
    }
    if (sent) {
        return 0;
    }
    const char *id = message_id(rc, work);
    if (send(rc, work, id, err) ||
        registry_mail_put(registry, rc, work->tenant_id, KIND, recipient, id, err)) {
        return -1;
    }
    work_event(work, EVENT_NORMAL, "OwnerNotified", "Mail",
               "told %s by mail that the tenant is ready", recipient);
    return 0;
}
