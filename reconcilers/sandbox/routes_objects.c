/* What leads from outside of the cluster to a sandbox: an HTTPRoute of the Gateway API below the
 * platform's Gateway, or an Ingress of the platform's class. Each names one host exactly, and only
 * the controller may write it, so that no tenant takes another's. */
#include <ctype.h>
#include <stdio.h>

#include "controller/base/str.h"
#include "reconcilers/model/names.h"
#include "reconcilers/objects/objects.h"
#include "reconcilers/sandbox/sandbox.h"
#include "reconcilers/sandbox/sandbox_internal.h"

/* ---- settings ---- */

/* RFC 1123: labels separated by dots. */
static bool is_dns_name(struct str text)
{
    if (text.len == 0) {
        return false;
    }
    while (text.len > 0) {
        struct str label = str_cut(&text, '.');
        if (label.len == 0 || label.len >= ROUTE_LABEL_BYTES || label.ptr[0] == '-' ||
            label.ptr[label.len - 1] == '-') {
            return false;
        }
        for (size_t i = 0; i < label.len; i++) {
            char c = label.ptr[i];
            if (!islower((unsigned char)c) && !isdigit((unsigned char)c) && c != '-') {
                return false;
            }
        }
    }
    return true;
}

static bool take_name(struct str text, char *ret, size_t room)
{
    if (text.len >= room || !is_dns_name(text)) {
        return false;
    }
    memcpy(ret, text.ptr, text.len);
    ret[text.len] = '\0';
    return true;
}

static bool take_gateway(const char *gateway, struct route_settings *ret)
{
    struct str rest = str_from(gateway);
    struct str namespace_ = str_cut(&rest, '/');
    struct str name = str_cut(&rest, '/');

    return !str_ends_with(str_from(gateway), STR("/")) &&
           take_name(namespace_, ret->gateway_namespace, sizeof(ret->gateway_namespace)) &&
           take_name(name, ret->gateway, sizeof(ret->gateway)) &&
           (rest.len == 0 || take_name(rest, ret->listener, sizeof(ret->listener)));
}

int route_settings_parse(const char *gateway, const char *ingress_class, struct route_settings *ret,
                         struct err *err)
{
    struct route_settings settings = {0};

    if (!text_is_empty(gateway) && !take_gateway(gateway, &settings)) {
        return err_set(err, ERR_TERMINAL, "InvalidOption",
                       "--sandbox-gateway \"%s\": NAMESPACE/NAME or NAMESPACE/NAME/LISTENER",
                       gateway);
    }
    if (!text_is_empty(ingress_class) && !take_name(str_from(ingress_class), settings.ingress_class,
                                                    sizeof(settings.ingress_class))) {
        return err_set(err, ERR_TERMINAL, "InvalidOption",
                       "--sandbox-ingress-class \"%s\": no name of an IngressClass", ingress_class);
    }
    *ret = settings;
    return 0;
}

enum child_kind route_kind(const struct route_settings *settings, bool serves_http_routes)
{
    if (!settings) {
        return CHILD_KIND_COUNT;
    }
    if (!text_is_empty(settings->gateway) && serves_http_routes) {
        return CHILD_HTTP_ROUTE;
    }
    return text_is_empty(settings->ingress_class) ? CHILD_KIND_COUNT : CHILD_INGRESS;
}

/* ---- bodies ---- */

struct route {
    const struct route_settings *settings;
    const struct planned_sandbox *item;
    int64_t port; /* of the Service */
    struct jsonw writer;
};

static void write_parent(struct route *route)
{
    struct jsonw *writer = &route->writer;

    jsonw_array(writer, "parentRefs");
    jsonw_object(writer, NULL);
    jsonw_text(writer, "group", "gateway.networking.k8s.io");
    jsonw_text(writer, "kind", "Gateway");
    jsonw_text(writer, "namespace", route->settings->gateway_namespace);
    jsonw_text(writer, "name", route->settings->gateway);
    if (!text_is_empty(route->settings->listener)) {
        jsonw_text(writer, "sectionName", route->settings->listener);
    }
    jsonw_end_object(writer);
    jsonw_end_array(writer);
}

static void write_http_route(struct route *route)
{
    struct jsonw *writer = &route->writer;

    write_parent(route);
    jsonw_array(writer, "hostnames");
    jsonw_text(writer, NULL, route->item->host);
    jsonw_end_array(writer);
    jsonw_array(writer, "rules");
    jsonw_object(writer, NULL);
    jsonw_array(writer, "backendRefs");
    jsonw_object(writer, NULL);
    jsonw_text(writer, "name", route->item->spec->name);
    jsonw_int(writer, "port", route->port);
    jsonw_end_object(writer);
    jsonw_end_array(writer);
    jsonw_end_object(writer);
    jsonw_end_array(writer);
}

static void write_ingress_path(struct route *route)
{
    struct jsonw *writer = &route->writer;

    jsonw_object(writer, NULL);
    jsonw_text(writer, "path", "/");
    jsonw_text(writer, "pathType", "Prefix");
    jsonw_object(writer, "backend");
    jsonw_object(writer, "service");
    jsonw_text(writer, "name", route->item->spec->name);
    jsonw_object(writer, "port");
    jsonw_int(writer, "number", route->port);
    jsonw_end_object(writer);
    jsonw_end_object(writer);
    jsonw_end_object(writer);
    jsonw_end_object(writer);
}

static void write_ingress(struct route *route)
{
    struct jsonw *writer = &route->writer;

    jsonw_text(writer, "ingressClassName", route->settings->ingress_class);
    jsonw_array(writer, "rules");
    jsonw_object(writer, NULL);
    jsonw_text(writer, "host", route->item->host);
    jsonw_object(writer, "http");
    jsonw_array(writer, "paths");
    write_ingress_path(route);
    jsonw_end_array(writer);
    jsonw_end_object(writer);
    jsonw_end_object(writer);
    jsonw_end_array(writer);
}

static void write_route(const struct tenant_work *work, const struct planned_sandbox *item,
                        const struct intent *intent)
{
    const struct template_port *port = &item->template_->ports[0];
    const struct kube_pair label = {NAME_LABEL_SANDBOX, item->spec->name};
    struct route route = {
        .settings = work->services->routes,
        .item = item,
        .port = port->service_port ? port->service_port : port->container_port,
    };

    intent_begin(intent, &route.writer, work, &label);
    jsonw_object(&route.writer, "spec");
    if (intent->kind == CHILD_HTTP_ROUTE) {
        write_http_route(&route);
    } else {
        write_ingress(&route);
    }
    jsonw_end_object(&route.writer);
    jsonw_end_object(&route.writer);
}

size_t route_intents(struct arena *arena, const struct tenant_work *work,
                     const struct sandbox_plan *plan, struct intent *ret)
{
    size_t count = 0;

    for (size_t i = 0; i < plan->count; i++) {
        const struct planned_sandbox *item = &plan->items[i];
        if (item->host) {
            intent_init(arena, &ret[count], plan->route, plan->namespace_, item->spec->name);
            write_route(work, item, &ret[count++]);
        }
    }
    return count;
}
