# shellcheck shell=bash
# The owner is told by mail, through a relay that asks for TLS and a login; the password is never in the mail.

relay_folder=$RUN/relay
mkdir -p "$relay_folder"
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
    -keyout "$relay_folder/key.pem" -out "$relay_folder/cert.pem" 2>/dev/null
mkfifo "$relay_folder/hold"
sleep 600 >"$relay_folder/hold" &
holder=$!
/usr/bin/python3 "$ROOT/tests/support/smtp_server.py" starttls "$relay_folder/cert.pem" "$relay_folder/key.pem" mailer relay-canary \
    <"$relay_folder/hold" >"$relay_folder/mails" 2>"$relay_folder/errors" &
relay_port()
{
    head -n 1 "$relay_folder/mails" | grep -x '[0-9]*'
}
need within 20 "a mail relay listens" relay_port
kubectl create secret generic --namespace tenantry-system relay --from-literal=username=mailer --from-literal=password=relay-canary >/dev/null
restart_controller --smtp-url "smtp://localhost:$(relay_port)" --smtp-from tenantry@platform.example --smtp-ca-file "$relay_folder/cert.pem" \
    --smtp-credentials-secret relay

mails_to()
{
    jq -r --arg to "$1" 'select(type == "object") | select(.to[0] == $to) | .data' "$relay_folder/mails"
}

mail_count()
{
    jq -r --arg to "$1" 'select(type == "object") | select(.to[0] == $to) | "mail"' "$relay_folder/mails" | wc -l
}

tenant post '.spec.displayName = "Post & Söhne"'
need within 60 "a tenant is Ready" ready post
check "its owner has got one mail" 1 "$(mail_count owner@post.example)"
mail=$(mails_to owner@post.example)
text=$(printf '%s' "$mail" | tr -d '\r' | sed '1,/^$/d' | base64 -d)
matches "it says where the tenant is" 'https://post.tenants.localhost/' "$text"
matches "and where the password is to be had" 'Secret post-owner of namespace tenantry-system' "$text"
password=$(secret tenantry-system post-owner password)
check "but not the password" '' "$(printf '%s%s' "$mail" "$text" | grep -F -- "$password" || true)"
matches "it has a Message-ID of ours" 'Message-ID: <owner-welcome\.[0-9a-f]{32}@tenants\.localhost>' "$mail"
within 10 "an Event tells of it" event post OwnerNotified

# At least once, and the same message: the note that it was sent is lost.
registry "DELETE FROM tenant_mails"
reconcile post
check "sent again, it is the same message" 1 "$(mails_to owner@post.example | grep -o 'Message-ID: <[^>]*>' | sort -u | wc -l)"
check "it was sent again" 2 "$(mail_count owner@post.example)"
reconcile post
check "once it is noted, no more" 2 "$(mail_count owner@post.example)"

edit post '{"spec": {"owner": {"email": "new@post.example"}}}'
need within 30 "a renamed owner" ready post
check "is told too" 1 "$(mail_count new@post.example)"
edit post '{"spec": {"owner": {"email": "nobody@refuse.example"}}}'
need within 30 "an address that the relay refuses waits for the user" is post Ready False MailRefused
check "it is said to be stalled" 'True MailRefused' "$(condition post Stalled)"
check "the tenant is served" 'True AsSpecified' "$(condition post Serving)"
edit post '{"spec": {"owner": {"email": "later@later.example"}}}'
need within 30 "one that it cannot take now is tried again" is post OwnerReady False MailNotSent
edit post '{"spec": {"owner": {"email": "new@post.example"}}}'
need within 60 "another address is told, and it is Ready" ready post

for canary in "$password" relay-canary; do
    check "neither password is in a log, an Event or the status" '' "$({ kubectl get tenant post -o json; kubectl get events -A -o json; cat "$RUN"/controller*.log "$RUN"/postgres*.log; } | grep -cF -- "$canary" | grep -v '^0$' || true)"
done

# A temporary password that nobody fetched is replaced.
restart_controller --owner-password-expiry 1s
becomes 40 "an expired temporary password is replaced" yes sh -c "[ \"\$(kubectl get secret -n tenantry-system post-owner -o 'jsonpath={.data.password}' | base64 -d)\" != '$password' ] && echo yes"
restart_controller
within 30 "it fits" password_fits post
purge post
kubectl delete secret --namespace tenantry-system relay >/dev/null
kill "$holder"
