/* Wiring only: flags, configuration, clients, caches, controllers, manager; freed in reverse. */
#include "controller/base/clock.h"
#include "controller/base/js.h"
#include "controller/base/log.h"
#include "controller/base/secret.h"
#include "controller/kube/config.h"
#include "controller/net/http_client.h"
#include "controller/options.h"
#include "controller/runtime/crew.h"
#include "controller/runtime/manager.h"
#include "reconcilers/database/owner_mail.h"
#include "reconcilers/database/servers.h"
#include "reconcilers/database/watchdog.h"
#include "reconcilers/model/codec.h"
#include "reconcilers/model/conditions.h"
#include "reconcilers/model/login_keep.h"
#include "reconcilers/model/names.h"
#include "reconcilers/model/store.h"
#include "reconcilers/model/template.h"
#include "reconcilers/monitoring/monitor.h"
#include "reconcilers/objects/children.h"
#include "reconcilers/registry/billing.h"
#include "reconcilers/registry/registry.h"
#include "reconcilers/sandbox/idle.h"
#include "reconcilers/sandbox/meter.h"
#include "reconcilers/sandbox/sandbox.h"
#include "reconcilers/storage/snapshot_sink.h"
#include "reconcilers/storage/stores.h"
#include "reconcilers/tenant/tenant.h"

enum { REGISTRY_URL_MAX_BYTES = 4096, REGISTRY_CONNECTIONS = 4, REQUESTS_PER_STORE = 8 };

/* Everything with the lifetime of the process, in the order in which it is made. */
struct program {
    struct options options;
    struct kube_config kube;
    struct secret registry_url;
    struct manager *manager;
    struct registry *registry;
    struct cache *tenants, *tiers, *database_servers, *sandbox_templates, *object_stores;
    struct children *children;
    struct meter *meter;
    struct idle *idle;
    struct login_keep *logins;
    struct monitor *monitor;
    struct crew *crew;
    struct servers *servers;
    struct stores *stores;
    struct tenant_environment environment;
    struct controller *tenant_controller, *purge_controller, *tier_controller, *server_controller,
        *watchdog_controller, *template_controller, *meter_controller, *idle_controller,
        *monitor_controller, *billing_controller, *store_controller;
    struct billing_duty billing;
    struct mail_settings mail;
    struct route_settings routes;
    struct tenant_wake wake;
};

static int load_registry_url(struct program *program, struct err *err)
{
    const char *file = program->options.registry_url_file;
    const char *url = getenv("TENANTRY_REGISTRY_URL");
    if (file) {
        return secret_read_file(&program->registry_url, file, REGISTRY_URL_MAX_BYTES, err)
                   ? err_wrap(err, "--registry-url-file")
                   : 0;
    }
    if (!url || !*url) {
        return err_set(err, ERR_TERMINAL, "InvalidOption",
                       "no registry: give --registry-url-file or set TENANTRY_REGISTRY_URL");
    }
    secret_set(&program->registry_url, str_from(url));
    return 0;
}

static int prepare_registry(void *context, const struct call *call, struct err *err)
{
    struct program *program = context;
    return registry_migrate(program->registry, call, err) ? err_wrap(err, "registry") : 0;
}

static int make_manager(struct program *program, struct err *err)
{
    const struct manager_config config = {
        .kube = &program->kube,
        .name = "tenantry-controller",
        .namespace_ = program->options.namespace_,
        .metrics_address =
            *program->options.metrics_address ? program->options.metrics_address : NULL,
        .leader_election = program->options.leader_elect,
        .disable_http2 = program->options.disable_http2,
        .prepare = prepare_registry,
        .prepare_context = program,
    };
    return manager_new(&config, &program->manager, err);
}

static void make_services(struct program *program)
{
    const struct options *options = &program->options;
    program->registry = registry_new(&program->registry_url, REGISTRY_CONNECTIONS);
    program->tenants = cache_new(&tenant_codec);
    program->tiers = cache_new(&tier_codec);
    program->database_servers = cache_new(&database_server_codec);
    program->sandbox_templates = cache_new(&sandbox_template_codec);
    program->children = children_new(options->namespace_);
    program->logins = login_keep_new(LOGIN_KEEP_TENANTS_MAX);
    program->crew = crew_new((int)options->workers);
    program->object_stores = cache_new(&object_store_codec);
    program->meter =
        meter_new(program->registry, program->tenants,
                  children_cache(program->children, CHILD_DEPLOYMENT), options->meter_period_ms);
    program->idle =
        idle_new(program->registry, program->tiers, program->tenants, options->idle_period_ms);
    program->servers = servers_new(manager_api(program->manager), program->database_servers,
                                   options->namespace_, (int)options->connections_per_server);
    program->stores = stores_new(manager_api(program->manager), program->object_stores,
                                 options->namespace_, REQUESTS_PER_STORE);
    program->mail = (struct mail_settings){options->smtp_url, options->smtp_from,
                                           options->smtp_ca_file, options->smtp_credentials_secret};
    program->environment = (struct tenant_environment){
        .services =
            {
                .kube = manager_api(program->manager),
                .events = manager_events(program->manager),
                .registry = program->registry,
                .servers = program->servers,
                .stores = program->stores,
                .tenants = program->tenants,
                .tiers = program->tiers,
                .database_servers = program->database_servers,
                .sandbox_templates = program->sandbox_templates,
                .children = program->children,
                .meter = program->meter,
                .idle = program->idle,
                .crew = program->crew,
                .logins = program->logins,
                .ingress_namespaces = options->ingress_namespaces,
                .routes = &program->routes,
                .monitor_label = options->monitor_label,
                .object_stores = program->object_stores,
                .system_namespace = options->namespace_,
                .domain = options->domain,
                .drift_period_ms = options->drift_period_ms,
                .snapshots = &storage_snapshots,
                .postgres_tools = options->postgres_tools,
                .mail = text_is_empty(options->smtp_url) ? NULL : &program->mail,
                .owner_password_ms = options->owner_password_ms,
                .adopt_orphans = options->adopt_orphans,
            },
    };
    program->monitor = monitor_new(&program->environment.services, options->probe_period_ms);
    program->environment.services.monitor = program->monitor;
}

static struct controller *make_controller(struct program *program, const char *name, int workers,
                                          struct outcome (*reconcile)(struct reconcile *rc),
                                          void *environment)
{
    const struct controller_config config = {
        .name = name,
        .workers = workers,
        .reconcile = reconcile,
        /* What fails is looked at no less often than what stands: somebody may have put it right.
         */
        .backoff_max_ms = program->options.drift_period_ms,
        .environment = environment,
    };
    struct controller *controller = controller_new(&config);
    manager_add_controller(program->manager, controller);
    return controller;
}

static void make_controllers(struct program *program)
{
    struct tenant_environment *environment = &program->environment;
    static const struct watch_config tenant_watch = {.resource = &KUBE_TENANTS};
    static const struct watch_config tier_watch = {.resource = &KUBE_TENANT_TIERS};
    static const struct watch_config server_watch = {.resource = &KUBE_DATABASE_SERVERS};
    static const struct watch_config template_watch = {.resource = &KUBE_SANDBOX_TEMPLATES};
    static const struct watch_config store_watch = {.resource = &KUBE_OBJECT_STORES};

    program->tenant_controller = make_controller(program, "tenant", (int)program->options.workers,
                                                 tenant_reconcile, environment);
    program->purge_controller =
        make_controller(program, "tenantpurge", 1, tenant_purge, environment);
    queue_add(controller_queue(program->purge_controller), TENANT_PURGE_LIST, QUEUE_LOW);
    program->tier_controller =
        make_controller(program, "tenanttier", 1, tier_reconcile, environment);
    program->server_controller = make_controller(program, "databaseserver", 2,
                                                 database_server_reconcile, &environment->services);
    program->watchdog_controller =
        make_controller(program, "watchdog", 2, watchdog_patrol, &environment->services);
    program->template_controller = make_controller(
        program, "sandboxtemplate", 1, sandbox_template_reconcile, &environment->services);
    program->billing = (struct billing_duty){
        .registry = program->registry,
        .tenants = controller_queue(program->tenant_controller),
        .period_ms = program->options.metering_period_ms,
    };
    program->billing_controller =
        make_controller(program, "billing", 1, billing_reconcile, &program->billing);
    if (program->billing.period_ms > 0) {
        queue_add(controller_queue(program->billing_controller), BILLING_KEY, QUEUE_NORMAL);
    }
    program->store_controller =
        make_controller(program, "objectstore", 1, object_store_reconcile, &environment->services);
    program->meter_controller =
        make_controller(program, "meter", 1, meter_reconcile, program->meter);
    if (program->options.meter_period_ms > 0) {
        queue_add(controller_queue(program->meter_controller), "all", QUEUE_NORMAL);
    }
    meter_wake(program->meter, controller_queue(program->tenant_controller));
    program->idle_controller = make_controller(program, "idle", 1, idle_reconcile, program->idle);
    idle_wire(program->idle, controller_queue(program->idle_controller),
              controller_queue(program->tenant_controller));
    program->monitor_controller =
        make_controller(program, "monitor", 2, monitor_reconcile, program->monitor);
    monitor_wire(program->monitor, controller_queue(program->monitor_controller),
                 controller_queue(program->tenant_controller));
    program->wake = (struct tenant_wake){
        .tenants = controller_queue(program->tenant_controller),
        .tiers = controller_queue(program->tier_controller),
        .database_servers = controller_queue(program->server_controller),
        .watchdogs = controller_queue(program->watchdog_controller),
        .sandbox_templates = controller_queue(program->template_controller),
        .object_stores = controller_queue(program->store_controller),
        .services = &environment->services,
    };
    tenant_wake_install(&program->wake);
    manager_add_cache(program->manager, program->tenants, &tenant_watch);
    manager_add_cache(program->manager, program->tiers, &tier_watch);
    manager_add_cache(program->manager, program->database_servers, &server_watch);
    manager_add_cache(program->manager, program->sandbox_templates, &template_watch);
    manager_add_cache(program->manager, program->object_stores, &store_watch);
    for (unsigned kind = 0; kind < CHILD_KIND_COUNT; kind++) {
        manager_add_cache(program->manager,
                          children_cache(program->children, (enum child_kind)kind),
                          children_watch(program->children, (enum child_kind)kind));
    }
}

static int follow_test_clock(const char *file, struct err *err)
{
    if (!file) {
        return 0;
    }
    if (clock_follow_file(file, err)) {
        return err_wrap(err, "--test-clock");
    }
    log_warn(NULL, "the time is that of a test clock", KV("file", file),
             KV_INT("offset_ms", clock_wall_offset_ms()));
    return 0;
}

static int check_mail(const struct options *options, struct err *err)
{
    const struct mail_settings mail = {.url = options->smtp_url, .from = options->smtp_from};
    return text_is_empty(options->smtp_url) ? 0 : mail_settings_check(&mail, err);
}

static int make_program(struct program *program, struct err *err)
{
    if (follow_test_clock(program->options.test_clock, err) || tenant_steps_check(err) ||
        check_mail(&program->options, err) ||
        route_settings_parse(program->options.sandbox_gateway,
                             program->options.sandbox_ingress_class, &program->routes, err) ||
        monitor_label_check(program->options.monitor_label, err) ||
        load_registry_url(program, err) ||
        kube_config_load(program->options.kubeconfig, program->options.context, &program->kube,
                         err) ||
        make_manager(program, err)) {
        return -1;
    }
    make_services(program);
    make_controllers(program);
    return 0;
}

static void free_program(struct program *program)
{
    controller_free(program->billing_controller);
    controller_free(program->monitor_controller);
    controller_free(program->idle_controller);
    controller_free(program->meter_controller);
    controller_free(program->template_controller);
    controller_free(program->watchdog_controller);
    controller_free(program->store_controller);
    controller_free(program->server_controller);
    controller_free(program->tier_controller);
    controller_free(program->purge_controller);
    controller_free(program->tenant_controller);
    crew_free(program->crew);
    stores_free(program->stores);
    servers_free(program->servers);
    /* The manager's watches feed the caches, so it goes before them. */
    manager_free(program->manager);
    children_free(program->children);
    cache_free(program->object_stores);
    monitor_free(program->monitor);
    login_keep_free(program->logins);
    idle_free(program->idle);
    meter_free(program->meter);
    cache_free(program->sandbox_templates);
    cache_free(program->database_servers);
    cache_free(program->tiers);
    cache_free(program->tenants);
    registry_free(program->registry);
    kube_config_release(&program->kube);
    secret_release(&program->registry_url);
}

static int run(struct program *program)
{
    struct err err = {0};
    int status = EXIT_FAILURE;

    secret_harden_process();
    js_init();
    http_global_init();
    name_reserve(program->options.reserved_subdomains);
    if (make_program(program, &err)) {
        log_error(NULL, "cannot start", KV_ERR(&err));
    } else {
        log_info(NULL, "starting", KV("version", TENANTRY_VERSION),
                 KV("domain", program->options.domain), KV("server", program->kube.server));
        status = manager_run(program->manager);
    }
    free_program(program);
    return status;
}

static void print_reasons(void)
{
    (void)printf("| Reason | What it means | What to do |\n|---|---|---|\n");
    for (const struct reason *reason = reasons; reason->name; reason++) {
        (void)printf("| `%s` | %s | %s |\n", reason->name, reason->meaning, reason->action);
    }
}

int main(int argc, char **argv)
{
    static struct program program;
    struct err err = {0};

    manager_block_signals();
    if (options_parse(argc, argv, &program.options, &err)) {
        (void)fprintf(stderr, "tenantry-controller: %s\n", err.message);
        return 2;
    }
    log_configure(program.options.log_level, program.options.log_format);
    if (program.options.help) {
        options_print_help();
        return EXIT_SUCCESS;
    }
    if (program.options.version) {
        (void)printf("tenantry-controller %s\n", TENANTRY_VERSION);
        return EXIT_SUCCESS;
    }
    if (program.options.print_reasons) {
        print_reasons();
        return EXIT_SUCCESS;
    }
    return run(&program);
}
