/* Says hello: keeps status.message of every Greeting as spec.who asks for. */
#include "controller/base/jsonw.h"
#include "controller/runtime/app.h"

struct greeting {
    struct object object; /* name, uid, deleting, ...: filled by the runtime */
    const char *who;
    const char *message;
};

/* What of the JSON is kept in memory, and where. The rest is never even stored. */
static const struct field spec[] = {TEXT_FIELD("who", struct greeting, who), END_FIELDS};
static const struct field status[] = {TEXT_FIELD("message", struct greeting, message), END_FIELDS};
static const struct field fields[] = {OBJECT_FIELDS, PART_FIELD("spec", spec),
                                      PART_FIELD("status", status), END_FIELDS};

static const struct kube_resource GREETINGS = {
    .group = "example.tenantry.dev",
    .version = "v1",
    .plural = "greetings",
    .kind = "Greeting",
    .namespaced = true,
};
static const struct object_type type = {
    .resource = &GREETINGS, .bytes = sizeof(struct greeting), .fields = fields};

/* Called whenever a Greeting may differ from what it asks for. */
static int reconcile(struct app *app, struct reconcile *rc, void *object, struct err *err)
{
    const struct greeting *greeting = object;
    const char *message = arena_printf(rc->arena, "Hello, %s!", greeting->who);
    AUTO(buf) struct buf json = BUF(4096);
    struct jsonw writer;

    if (greeting->object.deleting || text_equal(greeting->message, message)) {
        return 0; /* as it should be: nothing is read, nothing is written */
    }
    if (text_is_empty(greeting->who)) {
        return err_set(err, ERR_TERMINAL, "NobodyToGreet", "spec.who is empty");
    }
    jsonw_init(&writer, &json);
    jsonw_object(&writer, NULL);
    jsonw_text(&writer, "message", message);
    jsonw_end_object(&writer);
    return app_patch_status(app, rc, &greeting->object, buf_str(&json), err);
}

int main(int argc, char **argv)
{
    const struct app_config config = {
        .name = "greeting-controller",
        .namespace_ = "default",
        .metrics_address = argc > 1 ? argv[1] : NULL,
        .type = &type,
        .reconcile = reconcile,
    };
    return app_run(&config);
}
