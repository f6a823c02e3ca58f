/* Requests on the wire, rule by rule (docs/conformance.md), against a real API server behind the
 * fault proxy, whose log is the witness. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "controller/base/clock.h"
#include "controller/kube/credentials.h"
#include "controller/kube/credentials_internal.h"
#include "tests/check.h"
#include "tests/integration/cluster.h"
#include "tests/support/child.h"
#include "tests/support/faults.h"
#include "tests/support/folder.h"

enum { BODY_MAX_BYTES = 1 << 20 };

struct wire {
    struct cluster *cluster;
    struct faults *faults;
    char *path; /* of the ConfigMaps of the test */
    int64_t since;
};

static int set_up(void **state)
{
    struct wire *wire = xcalloc(1, sizeof(*wire));
    CHECK_INT(cluster_set_up((void **)&wire->cluster), 0);
    wire->faults = faults_open();
    wire->path = xasprintf("/namespaces/%s/configmaps", wire->cluster->namespace_);
    *state = wire;
    return 0;
}

static int tear_down(void **state)
{
    struct wire *wire = *state;
    faults_close(wire->faults);
    CHECK_INT(cluster_tear_down((void **)&wire->cluster), 0);
    free(wire->path);
    free(wire);
    return 0;
}

static int begin(void **state)
{
    struct wire *wire = *state;
    faults_remove(wire->faults, 0);
    wire->since = faults_mark(wire->faults);
    return 0;
}

static struct kube_ref config_map(const struct wire *wire, const char *name)
{
    return (struct kube_ref){
        .resource = &KUBE_CONFIG_MAPS, .namespace_ = wire->cluster->namespace_, .name = name};
}

static int rule(struct wire *wire, const char *match, const char *action)
{
    AUTO(free) char *whole = xasprintf("{'path':'%s'%s}", wire->path, match);
    return faults_rule(wire->faults, whole, action);
}

/* --- retries ---------------------------------------------------------------------------------- */

/* Nobody knows whether it took effect, so that only a look can tell: it is not sent again. */
static void c05_a_post_whose_answer_is_lost_is_sent_once(void **state)
{
    struct wire *wire = *state;
    struct kube_client *client = faults_client(wire->faults, "client");
    const struct kube_ref collection = config_map(wire, NULL);
    struct err err;
    (void)rule(wire, ",'method':'POST'", "{'type':'lose'}");
    CHECK_FAILS(kube_create(client, NULL, &collection,
                            STR("{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{"
                                "\"name\":\"once\"}}"),
                            NULL, &err),
                &err, ERR_RETRY, "ConnectionLost");
    CHECK_INT(faults_count(wire->faults, wire->since, "POST", wire->path, NULL), 1);
    AUTO(json) json_t *object = cluster_get(wire->cluster, &KUBE_CONFIG_MAPS, "once");
    CHECK_NOT_NULL(object);
    cluster_delete(wire->cluster, &KUBE_CONFIG_MAPS, "once");
    kube_client_free(client);
}

static void c05_the_server_is_asked_again_when_it_says(void **state)
{
    struct wire *wire = *state;
    struct kube_client *client = faults_client(wire->faults, "client");
    const struct kube_ref collection = config_map(wire, NULL);
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    struct err err;
    (void)rule(wire, ",'count':2", "{'type':'status','code':429,'retry_after':1}");
    int64_t begun_ms = clock_monotonic_ms();
    CHECK_OK(kube_get(client, NULL, &collection, &body, &err), &err);
    assert_in_range(clock_monotonic_ms() - begun_ms, 2000, 4000);
    CHECK_INT(faults_count(wire->faults, wire->since, "GET", wire->path, NULL), 3);
    /* Without a time it is the caller's to decide. */
    (void)rule(wire, "", "{'type':'status','code':503}");
    buf_clear(&body);
    CHECK_INT(kube_get(client, NULL, &collection, &body, &err), -1);
    CHECK_INT(err.cls, ERR_RETRY);
    CHECK_INT(faults_count(wire->faults, wire->since, "GET", wire->path, NULL), 4);
    kube_client_free(client);
}

/* --- rotation --------------------------------------------------------------------------------- */

/* A client whose every file is its own, to be replaced under it. */
struct rotation {
    char *folder;
    struct kube_config config;
    struct kube_credentials *credentials;
    struct kube_client *client;
};

static void make_files(const char *folder)
{
    const char *direct = check_getenv("KUBECONFIG");
    AUTO(free) char *run = xasprintf("%.*s", (int)(strrchr(direct, '/') - direct), direct);
    struct child child;
    child_start(&child, (const char *const[]){ROTATION_CERTIFICATES, run, folder, NULL});
    AUTO(free) char *line = child_line(&child);
    CHECK_TEXT(line, "made");
    child_stop(&child);
}

static void copy_file(const char *folder, const char *from, const char *to)
{
    AUTO(free) char *path = xasprintf("%s/%s", folder, from);
    AUTO(free) char *text = file_text(path);
    AUTO(free) char *written = folder_write(folder, to, str_from(text), 0600);
}

static char *in_folder(struct rotation *rotation, const char *name)
{
    return arena_printf(&rotation->config.arena, "%s/%s", rotation->folder, name);
}

static void rotation_open(struct rotation *rotation, struct wire *wire)
{
    struct err err;
    rotation->folder = folder_make();
    make_files(rotation->folder);
    copy_file(rotation->folder, "ca.crt", "trusted.crt");
    copy_file(rotation->folder, "client-1.crt", "client.crt");
    copy_file(rotation->folder, "client-1.key", "client.key");
    CHECK_OK(kube_config_load(faults_kubeconfig(wire->faults), NULL, &rotation->config, &err),
             &err);
    rotation->config.ca_pem = (struct str){0};
    rotation->config.certificate_pem = (struct str){0};
    secret_release(&rotation->config.key_pem);
    rotation->config.ca_file = in_folder(rotation, "trusted.crt");
    rotation->config.certificate_file = in_folder(rotation, "client.crt");
    rotation->config.key_file = in_folder(rotation, "client.key");
    CHECK_OK(kube_credentials_new(&rotation->config, &rotation->credentials, &err), &err);
    const struct kube_client_config client_config = {.name = "rotation",
                                                     .credentials = rotation->credentials};
    CHECK_OK(kube_client_new(&rotation->config, &client_config, &rotation->client, &err), &err);
}

static void rotation_close(struct rotation *rotation)
{
    kube_client_free(rotation->client);
    kube_credentials_free(rotation->credentials);
    kube_config_release(&rotation->config);
    folder_remove(rotation->folder);
}

enum { WORKERS = 4 };

struct load {
    struct wire *wire;
    struct rotation *rotation;
    atomic_bool is_over;
    _Atomic int64_t done;
    _Atomic int64_t failed;
};

static void *work(void *context)
{
    struct load *load = context;
    const struct kube_ref ref = config_map(load->wire, "load");
    for (int i = 0; !atomic_load(&load->is_over); i++) {
        AUTO(free) char *patch = xasprintf("{\"data\":{\"n\":\"%d\"}}", i);
        AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
        struct err err;
        int result = kube_patch(load->rotation->client, NULL, &ref, KUBE_PATCH_MERGE, "test",
                                str_from(patch), &body, &err);
        if (result != 0 && err_has_reason(&err, "ConnectionLost")) {
            /* Sent into a connection that the server had just closed: nobody knows what became of
             * it, and the caller, who does, asks again, as a reconcile would. */
            buf_clear(&body);
            result = kube_patch(load->rotation->client, NULL, &ref, KUBE_PATCH_MERGE, "test",
                                str_from(patch), &body, &err);
        }
        if (result != 0) {
            print_message("a request failed: %s %s\n", err.reason, err.message);
            atomic_fetch_add(&load->failed, 1);
        }
        atomic_fetch_add(&load->done, 1);
    }
    return NULL;
}

/* Until so many more requests have been answered. */
static void let_work(struct load *load, int64_t more)
{
    int64_t until_ms = clock_monotonic_ms() + 60000;
    int64_t wanted = atomic_load(&load->done) + more;
    while (atomic_load(&load->done) < wanted) {
        CHECK(clock_monotonic_ms() < until_ms);
        CHECK(cancel_sleep_ms(NULL, 5));
    }
}

/* The order that an operator takes: trust both authorities, then the server shows the new one's
 * certificate, then only the new one is trusted. The client's own certificate changes meanwhile,
 * and at one moment the file of authorities is garbage. New connections are made all the time. */
static void rotate(struct load *load)
{
    struct wire *wire = load->wire;
    struct rotation *rotation = load->rotation;
    const char *folder = rotation->folder;
    AUTO(free) char *new_certificate = xasprintf("%s/new-server.crt", folder);
    AUTO(free) char *new_key = xasprintf("%s/new-server.key", folder);

    (void)rule(wire, ",'count':-1,'nth':20", "{'type':'goaway'}");
    let_work(load, 100);
    copy_file(folder, "bundle.crt", "trusted.crt");
    copy_file(folder, "client-2.crt", "client.crt"); /* the pair does not fit for a moment */
    kube_credentials_expire_files(rotation->credentials);
    let_work(load, 50);
    copy_file(folder, "client-2.key", "client.key");
    kube_credentials_expire_files(rotation->credentials);
    let_work(load, 50);
    faults_show_certificate(wire->faults, new_certificate, new_key);
    let_work(load, 100);
    AUTO(free) char *garbage = folder_write(folder, "trusted.crt", STR("garbage\n"), 0600);
    kube_credentials_expire_files(rotation->credentials);
    let_work(load, 50);
    copy_file(folder, "new-ca.crt", "trusted.crt");
    kube_credentials_expire_files(rotation->credentials);
    let_work(load, 100);
}

static void show_old_certificate(struct wire *wire)
{
    const char *direct = check_getenv("KUBECONFIG");
    int length = (int)(strrchr(direct, '/') - direct);
    AUTO(free) char *certificate = xasprintf("%.*s/pki/kube-apiserver.crt", length, direct);
    AUTO(free) char *key = xasprintf("%.*s/pki/kube-apiserver.key", length, direct);
    faults_show_certificate(wire->faults, certificate, key);
}

static void c13_certificates_and_authorities_rotate_under_load(void **state)
{
    struct wire *wire = *state;
    struct rotation rotation = {0};
    pthread_t threads[WORKERS];
    rotation_open(&rotation, wire);
    cluster_make_config_map(wire->cluster, "load");
    struct load load = {.wire = wire, .rotation = &rotation};
    for (size_t i = 0; i < WORKERS; i++) {
        CHECK_INT(pthread_create(&threads[i], NULL, work, &load), 0);
    }
    rotate(&load);
    atomic_store(&load.is_over, true);
    for (size_t i = 0; i < WORKERS; i++) {
        pthread_join(threads[i], NULL);
    }
    show_old_certificate(wire);
    print_message("%lld requests over the rotation, %lld failed\n",
                  (long long)atomic_load(&load.done), (long long)atomic_load(&load.failed));
    CHECK_INT(atomic_load(&load.failed), 0);
    rotation_close(&rotation);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, begin)
    const struct CMUnitTest tests[] = {
        TEST(c05_a_post_whose_answer_is_lost_is_sent_once),
        TEST(c05_the_server_is_asked_again_when_it_says),
        TEST(c13_certificates_and_authorities_rotate_under_load),
    };
#undef TEST

    js_init();
    http_global_init();
    return cmocka_run_group_tests_name("wire_client", tests, set_up, tear_down);
}
