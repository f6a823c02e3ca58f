/* Any bytes as a kubeconfig: what is taken is complete, and what is printed is JSON. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "controller/base/js.h"
#include "controller/kube/config.h"
#include "tests/fuzz/fuzz.h"

enum { VIEW_MAX_BYTES = 64 * 1024 * 1024, PATH_BYTES = 32 };

static void check_config(const struct kube_config *config)
{
    size_t length = strlen(config->server);
    FUZZ_CHECK(strstr(config->server, "://") != NULL);
    FUZZ_CHECK(config->server[length - 1] != '/');
    FUZZ_CHECK(strpbrk(config->server, " \t\r\n@?#") == NULL);
    FUZZ_CHECK(config->namespace_ && config->context);
    FUZZ_CHECK(!config->ca_file || config->ca_file[0] == '/');
    FUZZ_CHECK(!config->token_file || config->token_file[0] == '/');
    FUZZ_CHECK(!config->exec || config->exec->command[0] != '\0');
}

static void check_loading(const char *path)
{
    struct err err = {0};
    struct kube_config config;
    if (kube_config_load(path, NULL, &config, &err) == 0) {
        check_config(&config);
        kube_config_release(&config);
    } else {
        FUZZ_CHECK(err.cls == ERR_TERMINAL && strcmp(err.reason, "InvalidKubeconfig") == 0);
    }
}

static void check_view(const char *path)
{
    struct err err = {0};
    char *text = NULL;
    json_t *view = NULL;
    if (kube_config_view(path, &text, &err) == 0) {
        FUZZ_CHECK(js_parse(str_from(text), VIEW_MAX_BYTES, &view, &err) == 0);
        json_decref(view);
        free(text);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[PATH_BYTES];
    int fd = memfd_create("kubeconfig", MFD_CLOEXEC);
    FUZZ_CHECK(fd >= 0);
    FUZZ_CHECK(write(fd, data, size) == (ssize_t)size);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    check_loading(path);
    check_view(path);
    close(fd);
    return 0;
}
