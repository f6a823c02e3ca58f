# shellcheck shell=bash
# Members of the spec are users, as far as there is room; who is removed is disabled, and erased if asked.

people()
{
    inside tenant_mem "SELECT string_agg(email || ' ' || role || CASE WHEN password_hash LIKE '!disabled!%' THEN ' disabled' ELSE '' END, ', ' ORDER BY email) FROM users"
}

registered()
{
    registry "SELECT string_agg(concat_ws(' ', email, role, status), ', ' ORDER BY email) FROM tenant_users WHERE tenant_id = '$(tenant_id mem)'"
}

tenant mem '.spec.tier = "premium" | .spec.members = [{email: "a@mem.example", name: "A"}, {email: "b@mem.example", role: "admin"}]'
need within 60 "a tenant with members is Ready" ready mem
check "they are users" 'a@mem.example member, b@mem.example admin, owner@mem.example owner' "$(people)"
check "and in the registry" 'a@mem.example member active, b@mem.example admin active, owner@mem.example owner active' "$(registered)"
check "nobody has a password yet but the owner" '!|!' "$(inside tenant_mem "SELECT string_agg(password_hash, '|') FROM users WHERE role <> 'owner'")"

edit mem '{"spec": {"members": [{"email": "b@mem.example", "role": "member"}]}}'
need within 30 "one is removed, the other's role changes" ready mem
check "the one is disabled, not erased" 'a@mem.example member disabled, b@mem.example member, owner@mem.example owner' "$(people)"
check "in the registry too" 'a@mem.example member disabled, b@mem.example member active, owner@mem.example owner active' "$(registered)"
kubectl annotate tenant mem tenantry.dev/erase-members=a@mem.example >/dev/null
becomes 30 "and erased when asked" 'b@mem.example member, owner@mem.example owner' people
becomes 30 "in the registry too" 'b@mem.example member active, owner@mem.example owner active' registered

edit mem '{"spec": {"quotas": {"users": 2}, "members": [{"email": "b@mem.example"}, {"email": "c@mem.example"}, {"email": "d@mem.example"}]}}'
need within 30 "more members than the limit allows are refused" is mem Ready False LimitsExceeded
check "it waits for the user" 'True LimitsExceeded' "$(condition mem Stalled)"
check "a condition says so" 'True LimitsExceeded' "$(condition mem QuotaExceeded)"
matches "and names them" 'limit of 2.*c@mem.example, d@mem.example' "$(message mem QuotaExceeded)"
check "nobody was added" 'b@mem.example member, owner@mem.example owner' "$(people)"
check "the tenant is served" 'True AsSpecified' "$(condition mem Serving)"
edit mem '{"spec": {"quotas": {"users": 4}}}'
need within 30 "with room for them it is Ready" ready mem
check "they are added" 'b@mem.example member, c@mem.example member, d@mem.example member, owner@mem.example owner' "$(people)"
edit mem '{"spec": {"quotas": {"users": 2}}}'
need within 30 "a limit that falls below leaves Ready alone" ready mem
check "and destroys nothing" 'b@mem.example member, c@mem.example member, d@mem.example member, owner@mem.example owner' "$(people)"
purge mem
