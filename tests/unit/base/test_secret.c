#include "controller/base/secret.h"

#include "tests/check.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* The linker sends every free of the program through here (base.cmake): memory that is given back
 * while it still holds the needle was not wiped. */
static const char *needle;
static int unwiped;
static int freed;

void __real_free(void *pointer); /* NOLINT: the linker's names */
void __wrap_free(void *pointer); /* NOLINT */
void __wrap_free(void *pointer)  /* NOLINT */
{
    if (pointer && needle) {
        freed++;
        unwiped += memmem(pointer, malloc_usable_size(pointer), needle, strlen(needle)) != NULL;
    }
    __real_free(pointer);
}

static void watch_for(const char *text)
{
    needle = text;
    unwiped = 0;
    freed = 0;
}

static void an_empty_secret_answers(void **state)
{
    AUTO(secret) struct secret a = {0};
    AUTO(secret) struct secret b = {0};
    (void)state;

    secret_init(&a);
    CHECK(secret_is_empty(&a));
    CHECK_TEXT(secret_bytes(&a), "");
    CHECK_INT(secret_length(&a), 0);
    CHECK(secret_equal(&a, &b));
    secret_set(&a, STR("x"));
    secret_set(&a, (struct str){0});
    CHECK(secret_is_empty(&a));
    secret_copy(&a, &b);
    CHECK(secret_is_empty(&a));
}

static void set_copies_and_replaces(void **state)
{
    AUTO(secret) struct secret secret = {0};
    AUTO(secret) struct secret other = {0};
    char password[] = "hunter2";
    (void)state;

    secret_set(&secret, str_from(password));
    password[0] = 'X';
    CHECK_TEXT(secret_bytes(&secret), "hunter2");
    secret_copy(&other, &secret);
    CHECK(secret_equal(&secret, &other));
    secret_set(&secret, STR("a\0b"));
    CHECK_INT(secret_length(&secret), 3);
    CHECK(memcmp(secret_bytes(&secret), "a\0b", 4) == 0);
    CHECK(!secret_equal(&secret, &other));
    CHECK_TEXT(secret_bytes(&other), "hunter2");
}

static void equality_minds_every_byte(void **state)
{
    AUTO(secret) struct secret a = {0};
    AUTO(secret) struct secret b = {0};
    (void)state;

    secret_set(&a, STR("abcdef"));
    secret_set(&b, STR("abcdef"));
    CHECK(secret_equal(&a, &b));
    secret_set(&b, STR("abcdeg"));
    CHECK(!secret_equal(&a, &b));
    secret_set(&b, STR("abcde"));
    CHECK(!secret_equal(&a, &b));
}

static void a_secret_may_be_set_from_a_part_of_itself(void **state)
{
    AUTO(secret) struct secret secret = {0};
    (void)state;

    secret_set(&secret, STR("Bearer token"));
    secret_set(&secret, (struct str){secret_bytes(&secret) + 7, 5});
    CHECK_TEXT(secret_bytes(&secret), "token");
    secret_copy(&secret, &secret);
    CHECK_TEXT(secret_bytes(&secret), "token");
}

static void passwords_are_letters_and_digits_and_differ(void **state)
{
    int seen[256] = {0};
    AUTO(secret) struct secret before = {0};
    (void)state;

    for (int i = 0; i < 500; i++) {
        AUTO(secret) struct secret secret = {0};
        secret_generate(&secret, 124);
        CHECK_INT(secret_length(&secret), 124);
        CHECK(!secret_equal(&secret, &before));
        secret_copy(&before, &secret);
        for (const char *at = secret_bytes(&secret); *at; at++) {
            seen[(unsigned char)*at]++;
        }
    }
    int kinds = 0;
    for (int byte = 0; byte < 256; byte++) {
        bool symbol = (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
                      (byte >= 'a' && byte <= 'z');
        CHECK(symbol == (seen[byte] > 0));
        kinds += symbol;
        if (symbol) { /* 1,000 each, standard deviation 31: ten of them */
            CHECK(seen[byte] > 690 && seen[byte] < 1310);
        }
    }
    CHECK_INT(kinds, 62);
    secret_generate(&before, 0);
    CHECK(secret_is_empty(&before));
}

/* A file of its own for a test, removed with its folder. */
struct file {
    char folder[32];
    char path[48];
};

static void file_write(struct file *file, struct str content)
{
    memcpy(file->folder, "/tmp/test-secret-XXXXXX", sizeof("/tmp/test-secret-XXXXXX"));
    CHECK_NOT_NULL(mkdtemp(file->folder));
    (void)snprintf(file->path, sizeof(file->path), "%s/s", file->folder);
    AUTO(fd) int fd = open(file->path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    CHECK_INT(write(fd, content.ptr, content.len), content.len);
}

static void auto_release_file(const struct file *file)
{
    unlink(file->path);
    rmdir(file->folder);
}

static void files_lose_their_trailing_line_breaks(void **state)
{
    static const struct {
        struct str content;
        struct str secret;
    } cases[] = {
        {{"token\n", 6}, {"token", 5}}, {{"token\r\n\n", 8}, {"token", 5}},
        {{"token", 5}, {"token", 5}},   {{" a b \n", 6}, {" a b ", 5}},
        {{"\n\n", 2}, {"", 0}},         {{"", 0}, {"", 0}},
        {{"a\nb\n", 4}, {"a\nb", 3}},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        AUTO(file) struct file file = {{0}, {0}};
        AUTO(secret) struct secret secret = {0};
        struct err err = {0};
        file_write(&file, cases[i].content);
        CHECK_OK(secret_read_file(&secret, file.path, 100, &err), &err);
        struct str got = {secret_bytes(&secret), secret_length(&secret)};
        CHECK(str_equal(got, cases[i].secret));
    }
}

static void files_are_capped_exactly(void **state)
{
    AUTO(file) struct file file = {{0}, {0}};
    AUTO(secret) struct secret secret = {0};
    struct err err = {0};
    (void)state;

    file_write(&file, STR("12345"));
    secret_set(&secret, STR("before"));
    CHECK_FAILS(secret_read_file(&secret, file.path, 4, &err), &err, ERR_TERMINAL, "FileTooLarge");
    CHECK_TEXT(secret_bytes(&secret), "before");
    CHECK_NULL(strstr(err.message, "12345"));
    CHECK_OK(secret_read_file(&secret, file.path, 5, &err), &err);
    CHECK_TEXT(secret_bytes(&secret), "12345");
}

static void unreadable_files_may_come_back(void **state)
{
    AUTO(secret) struct secret secret = {0};
    struct err err = {0};
    (void)state;

    CHECK_FAILS(secret_read_file(&secret, "/nowhere/token", 9, &err), &err, ERR_RETRY,
                "FileUnreadable");
    CHECK_TEXT(err.message, "open \"/nowhere/token\": No such file or directory");
    CHECK_FAILS(secret_read_file(&secret, "/", 9, &err), &err, ERR_RETRY, "FileUnreadable");
}

static void nothing_is_given_back_unwiped(void **state)
{
    AUTO(file) struct file file = {{0}, {0}};
    struct secret a = {0};
    struct secret b = {0};
    struct err err = {0};
    (void)state;

    file_write(&file, STR("hunter2-from-a-file\n"));
    watch_for("hunter2");
    secret_set(&a, STR("hunter2"));
    secret_copy(&b, &a);
    secret_set(&a, STR("other"));
    CHECK_OK(secret_read_file(&a, file.path, 1000, &err), &err);
    CHECK_FAILS(secret_read_file(&a, file.path, 10, &err), &err, ERR_TERMINAL, "FileTooLarge");
    secret_release(&a);
    secret_release(&b);
    needle = NULL;
    CHECK_INT(freed, 6); /* four values and the buffers of two reads */
    CHECK_INT(unwiped, 0);
}

static void uuids_are_version_4_and_differ(void **state)
{
    char before[UUID_TEXT_BYTES] = "";
    (void)state;

    for (int i = 0; i < 1000; i++) {
        char text[UUID_TEXT_BYTES];
        random_uuid(text);
        CHECK_INT(strlen(text), 36);
        CHECK_INT(strspn(text, "0123456789abcdef-"), 36);
        CHECK(text[8] == '-' && text[13] == '-' && text[18] == '-' && text[23] == '-');
        CHECK_INT(text[14], '4');
        CHECK_NOT_NULL(strchr("89ab", text[19]));
        CHECK(strcmp(text, before) != 0);
        memcpy(before, text, sizeof(before));
    }
}

static void random_bytes_fill_everything(void **state)
{
    static unsigned char bytes[100000];
    int seen[256] = {0};
    (void)state;

    random_bytes(bytes, sizeof(bytes));
    for (size_t i = 0; i < sizeof(bytes); i++) {
        seen[bytes[i]]++;
    }
    for (int byte = 0; byte < 256; byte++) { /* 390 each, standard deviation 20: ten of them */
        CHECK(seen[byte] > 190 && seen[byte] < 590);
    }
    random_bytes(NULL, 0);
}

static void a_hardened_process_leaves_no_core(void **state)
{
    int status = 0;
    (void)state;

    pid_t child = fork();
    if (child == 0) {
        struct rlimit limit = {1, 1};
        secret_harden_process();
        _exit(getrlimit(RLIMIT_CORE, &limit) == 0 && limit.rlim_cur == 0 && limit.rlim_max == 0 &&
                      prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0
                  ? 0
                  : 1);
    }
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK_INT(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_secret_answers),
        cmocka_unit_test(set_copies_and_replaces),
        cmocka_unit_test(equality_minds_every_byte),
        cmocka_unit_test(a_secret_may_be_set_from_a_part_of_itself),
        cmocka_unit_test(passwords_are_letters_and_digits_and_differ),
        cmocka_unit_test(files_lose_their_trailing_line_breaks),
        cmocka_unit_test(files_are_capped_exactly),
        cmocka_unit_test(unreadable_files_may_come_back),
        cmocka_unit_test(nothing_is_given_back_unwiped),
        cmocka_unit_test(uuids_are_version_4_and_differ),
        cmocka_unit_test(random_bytes_fill_everything),
        cmocka_unit_test(a_hardened_process_leaves_no_core),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
