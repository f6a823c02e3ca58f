/* What stands in a tenant's namespace before anything runs there: how much may run (ResourceQuota,
 * LimitRange), what it may reach (NetworkPolicy), as whom (ServiceAccount), and who of the tenant
 * may do what (RoleBindings). All of it follows from the Tenant, its tier, and the server that it
 * is on. */
#include <inttypes.h>

#include "controller/base/js.h"
#include "controller/base/str.h"
#include "reconcilers/model/names.h"
#include "reconcilers/objects/objects.h"
#include "reconcilers/sandbox/sandbox_internal.h"

enum {
    EGRESS_MAX_BYTES = 64 << 10,
    /* What an unlimited number of sandboxes is given room for: a spec can list no more. */
    SANDBOXES_MOST = 100,
    GATEWAY_PORT = 3000,
};

#define RBAC_GROUP "rbac.authorization.k8s.io"
#define ROLE_ADMIN "tenantry-tenant-admin" /* manifests/rbac/tenant-people.yaml */
#define ROLE_MEMBER "tenantry-tenant-member"

/* Metadata of the object; it stays open. */
static void begin(struct jsonw *writer, const struct rules_facts *facts,
                  const struct intent *intent)
{
    intent_begin(intent, writer, facts->work, NULL);
}

/* ---- how much ---- */

/* A row of the quota: `fixed` and as much again for each sandbox that the tenant may have. */
struct allowance {
    const char *resource;
    int64_t fixed;
    int64_t each;
    const char *unit;
};
static const struct allowance allowances[] = {
    {"pods", 0, 10, ""},
    {"requests.cpu", 0, 2, ""},
    {"requests.memory", 0, 4, "Gi"},
    {"limits.cpu", 0, 4, ""},
    {"limits.memory", 0, 8, "Gi"},
    {"requests.storage", 0, 20, "Gi"},
    {"persistentvolumeclaims", 0, 4, ""},
    {"services", 5, 5, ""},
    {"services.nodeports", 0, 0, ""},
    {"services.loadbalancers", 0, 0, ""},
    {"configmaps", 20, 10, ""},
    {"secrets", 20, 10, ""},
    {"replicationcontrollers", 0, 5, ""},
    {"count/deployments.apps", 5, 5, ""},
    {"count/replicasets.apps", 50, 50, ""},
    {"count/statefulsets.apps", 5, 5, ""},
    {"count/jobs.batch", 20, 20, ""},
    {"count/cronjobs.batch", 5, 5, ""},
    {"count/networkpolicies.networking.k8s.io", 20, 5, ""},
    {"count/roles.rbac.authorization.k8s.io", 20, 0, ""},
    {"count/rolebindings.rbac.authorization.k8s.io", 30, 0, ""},
};

static void write_quota(const struct rules_facts *facts, const struct intent *intent)
{
    struct jsonw writer;
    int64_t sandboxes =
        facts->limit < 0 || facts->limit > SANDBOXES_MOST ? SANDBOXES_MOST : facts->limit;

    begin(&writer, facts, intent);
    jsonw_object(&writer, "spec");
    jsonw_object(&writer, "hard");
    for (size_t i = 0; i < ARRAY_COUNT(allowances); i++) {
        const struct allowance *row = &allowances[i];
        int64_t amount = row->fixed + row->each * sandboxes;
        jsonw_printf(&writer, row->resource, "%" PRId64 "%s", amount, amount ? row->unit : "");
    }
    jsonw_end_object(&writer);
    jsonw_end_object(&writer);
    jsonw_end_object(&writer);
}

static void write_amounts(struct jsonw *writer, const char *name, const char *cpu,
                          const char *memory)
{
    jsonw_object(writer, name);
    jsonw_text(writer, "cpu", cpu);
    jsonw_text(writer, "memory", memory);
    jsonw_end_object(writer);
}

/* A container that says nothing gets little; none may take the node. */
static void write_limits(const struct rules_facts *facts, const struct intent *intent)
{
    struct jsonw writer;
    begin(&writer, facts, intent);
    jsonw_object(&writer, "spec");
    jsonw_array(&writer, "limits");
    jsonw_object(&writer, NULL);
    jsonw_text(&writer, "type", "Container");
    write_amounts(&writer, "default", "500m", "512Mi");
    write_amounts(&writer, "defaultRequest", "50m", "64Mi");
    write_amounts(&writer, "max", "4", "8Gi");
    jsonw_end_object(&writer);
    jsonw_end_array(&writer);
    jsonw_end_object(&writer);
    jsonw_end_object(&writer);
}

/* ---- what it may reach ---- */

/* Not the public internet: RFC 6890 and RFC 8190's special-purpose ranges, in which clusters, their
 * nodes, metadata services and neighbours live. NAT64 leads there too. */
static const char *const closed_ipv4[] = {
    "0.0.0.0/8",      "10.0.0.0/8",    "100.64.0.0/10", "127.0.0.0/8",
    "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",  "192.168.0.0/16",
    "198.18.0.0/15",  "224.0.0.0/4",   "240.0.0.0/4",
};
static const char *const closed_ipv6[] = {
    "::/96", "64:ff9b::/96", "64:ff9b:1::/48", "fc00::/7", "fe80::/10", "ff00::/8",
};

static void write_port(struct jsonw *writer, int64_t port, const char *protocol)
{
    jsonw_object(writer, NULL);
    jsonw_int(writer, "port", port);
    jsonw_text(writer, "protocol", protocol);
    jsonw_end_object(writer);
}

static void write_selector(struct jsonw *writer, const char *name, const char *label,
                           const char *value)
{
    jsonw_object(writer, name);
    jsonw_object(writer, "matchLabels");
    jsonw_text(writer, label, value);
    jsonw_end_object(writer);
    jsonw_end_object(writer);
}

/* Pods of another namespace, by what no tenant can give itself: the namespace's name. */
static void write_peer_pods(struct jsonw *writer, const char *namespace_, const char *label,
                            const char *value)
{
    jsonw_object(writer, NULL);
    write_selector(writer, "namespaceSelector", "kubernetes.io/metadata.name", namespace_);
    if (label) {
        write_selector(writer, "podSelector", label, value);
    }
    jsonw_end_object(writer);
}

static void write_own_pods(struct jsonw *writer)
{
    jsonw_object(writer, NULL);
    jsonw_object(writer, "podSelector");
    jsonw_end_object(writer);
    jsonw_end_object(writer);
}

static void write_block(struct jsonw *writer, const char *cidr, const char *const *closed,
                        size_t count)
{
    jsonw_object(writer, NULL);
    jsonw_object(writer, "ipBlock");
    jsonw_text(writer, "cidr", cidr);
    if (count > 0) {
        jsonw_array(writer, "except");
        for (size_t i = 0; i < count; i++) {
            jsonw_text(writer, NULL, closed[i]);
        }
        jsonw_end_array(writer);
    }
    jsonw_end_object(writer);
    jsonw_end_object(writer);
}

static void write_gateway(struct jsonw *writer, const struct rules_facts *facts)
{
    write_peer_pods(writer, facts->work->services->system_namespace, "app.kubernetes.io/component",
                    "gateway");
}

static void write_ingress(struct jsonw *writer, const struct rules_facts *facts)
{
    const struct route_settings *routes = facts->work->services->routes;

    jsonw_array(writer, "ingress");
    jsonw_object(writer, NULL);
    jsonw_array(writer, "from");
    write_own_pods(writer);
    write_gateway(writer, facts);
    if (routes && !text_is_empty(routes->gateway_namespace)) {
        write_peer_pods(writer, routes->gateway_namespace, NULL, NULL);
    }
    struct str rest = str_from(facts->work->services->ingress_namespaces);
    while (rest.len > 0) {
        struct str name = str_trim(str_cut(&rest, ','));
        if (name.len > 0 && name.len < 64) {
            char text[64] = {0};
            memcpy(text, name.ptr, name.len);
            write_peer_pods(writer, text, NULL, NULL);
        }
    }
    jsonw_end_array(writer);
    jsonw_end_object(writer);
    jsonw_end_array(writer);
}

static void write_dns(struct jsonw *writer)
{
    jsonw_object(writer, NULL);
    jsonw_array(writer, "to");
    write_peer_pods(writer, "kube-system", "k8s-app", "kube-dns");
    jsonw_end_array(writer);
    jsonw_array(writer, "ports");
    write_port(writer, 53, "UDP");
    write_port(writer, 53, "TCP");
    jsonw_end_array(writer);
    jsonw_end_object(writer);
}

static void write_neighbours(struct jsonw *writer, const struct rules_facts *facts)
{
    jsonw_object(writer, NULL);
    jsonw_array(writer, "to");
    write_own_pods(writer);
    jsonw_end_array(writer);
    jsonw_end_object(writer);
    jsonw_object(writer, NULL);
    jsonw_array(writer, "to");
    write_gateway(writer, facts);
    jsonw_end_array(writer);
    jsonw_array(writer, "ports");
    write_port(writer, GATEWAY_PORT, "TCP");
    jsonw_end_array(writer);
    jsonw_end_object(writer);
}

static void write_internet(struct jsonw *writer)
{
    jsonw_object(writer, NULL);
    jsonw_array(writer, "to");
    write_block(writer, "0.0.0.0/0", closed_ipv4, ARRAY_COUNT(closed_ipv4));
    write_block(writer, "::/0", closed_ipv6, ARRAY_COUNT(closed_ipv6));
    jsonw_end_array(writer);
    jsonw_end_object(writer);
}

/* One rule a range that the platform named. */
static void write_opening(struct jsonw *writer, const json_t *opening, int64_t default_port)
{
    const json_t *ports = json_object_get(opening, "ports");
    const char *cidr = json_string_value(json_object_get(opening, "cidr"));
    size_t i;
    json_t *port;

    if (!cidr) {
        return;
    }
    jsonw_object(writer, NULL);
    jsonw_array(writer, "to");
    write_block(writer, cidr, NULL, 0);
    jsonw_end_array(writer);
    jsonw_array(writer, "ports");
    json_array_foreach((json_t *)ports, i, port)
    {
        write_port(writer, json_integer_value(port), "TCP");
    }
    if (json_array_size(ports) == 0) {
        write_port(writer, default_port, "TCP");
    }
    jsonw_end_array(writer);
    jsonw_end_object(writer);
}

static void write_openings(struct jsonw *writer, const struct egress *egress)
{
    AUTO(json) json_t *list = NULL;
    struct err ignored;
    size_t i;
    json_t *opening;

    if (text_is_empty(egress->json) ||
        js_parse(str_from(egress->json), EGRESS_MAX_BYTES, &list, &ignored)) {
        return;
    }
    json_array_foreach(list, i, opening)
    {
        write_opening(writer, opening, egress->default_port);
    }
}

static void write_policy(const struct rules_facts *facts, const struct intent *intent)
{
    struct jsonw writer;
    begin(&writer, facts, intent);
    jsonw_object(&writer, "spec");
    jsonw_object(&writer, "podSelector"); /* every Pod of the namespace */
    jsonw_end_object(&writer);
    jsonw_array(&writer, "policyTypes");
    jsonw_text(&writer, NULL, "Ingress");
    jsonw_text(&writer, NULL, "Egress");
    jsonw_end_array(&writer);
    write_ingress(&writer, facts);
    jsonw_array(&writer, "egress");
    write_dns(&writer);
    write_neighbours(&writer, facts);
    write_internet(&writer);
    for (size_t i = 0; i < facts->egress_count; i++) {
        write_openings(&writer, &facts->egress[i]);
    }
    jsonw_end_array(&writer);
    jsonw_end_object(&writer);
    jsonw_end_object(&writer);
}

/* ---- as whom, and who ---- */

static void write_account(const struct rules_facts *facts, const struct intent *intent)
{
    struct jsonw writer;
    begin(&writer, facts, intent);
    jsonw_bool(&writer, "automountServiceAccountToken", false);
    jsonw_end_object(&writer);
}

static void write_binding(const struct rules_facts *facts, const struct intent *intent,
                          const char *role, const char *const *people, size_t count)
{
    struct jsonw writer;
    begin(&writer, facts, intent);
    jsonw_object(&writer, "roleRef");
    jsonw_text(&writer, "apiGroup", RBAC_GROUP);
    jsonw_text(&writer, "kind", "ClusterRole");
    jsonw_text(&writer, "name", role);
    jsonw_end_object(&writer);
    jsonw_array(&writer, "subjects");
    for (size_t i = 0; i < count; i++) {
        jsonw_object(&writer, NULL);
        jsonw_text(&writer, "apiGroup", RBAC_GROUP);
        jsonw_text(&writer, "kind", "User");
        jsonw_text(&writer, "name", people[i]);
        jsonw_end_object(&writer);
    }
    jsonw_end_array(&writer);
    jsonw_end_object(&writer);
}

size_t rules_intents(struct arena *arena, const struct rules_facts *facts,
                     struct intent ret[RULES_MAX])
{
    struct access_plan access;
    size_t count = 0;

    access_plan(arena, facts->work->tenant, &access);
    intent_init(arena, &ret[count], CHILD_RESOURCE_QUOTA, facts->namespace_, "tenantry");
    write_quota(facts, &ret[count++]);
    intent_init(arena, &ret[count], CHILD_LIMIT_RANGE, facts->namespace_, "tenantry");
    write_limits(facts, &ret[count++]);
    intent_init(arena, &ret[count], CHILD_NETWORK_POLICY, facts->namespace_, "tenantry");
    write_policy(facts, &ret[count++]);
    intent_init(arena, &ret[count], CHILD_SERVICE_ACCOUNT, facts->namespace_, SANDBOX_ACCOUNT);
    write_account(facts, &ret[count++]);
    intent_init(arena, &ret[count], CHILD_ROLE_BINDING, facts->namespace_, BINDING_OWNER);
    write_binding(facts, &ret[count++], ROLE_ADMIN, access.owners, access.owner_count);
    if (access.admin_count > 0) {
        intent_init(arena, &ret[count], CHILD_ROLE_BINDING, facts->namespace_, BINDING_ADMINS);
        write_binding(facts, &ret[count++], ROLE_ADMIN, access.admins, access.admin_count);
    }
    if (access.member_count > 0) {
        intent_init(arena, &ret[count], CHILD_ROLE_BINDING, facts->namespace_, BINDING_MEMBERS);
        write_binding(facts, &ret[count++], ROLE_MEMBER, access.members, access.member_count);
    }
    return count;
}
