#include "controller/base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

void secret_init(struct secret *secret)
{
    *secret = (struct secret){0};
}

static void wipe_free(char *bytes, size_t count)
{
    if (bytes) {
        explicit_bzero(bytes, count);
        free(bytes);
    }
}

void secret_set(struct secret *secret, struct str bytes)
{
    /* Copied before the old value goes: bytes may be a part of it. */
    char *copy = bytes.len > 0 ? xmemdup0(bytes.ptr, bytes.len) : NULL;

    secret_release(secret);
    secret->hidden_ptr = copy;
    secret->hidden_len = bytes.len;
}

void secret_copy(struct secret *target, const struct secret *source)
{
    secret_set(target, (struct str){source->hidden_ptr, source->hidden_len});
}

void secret_release(struct secret *secret)
{
    wipe_free(secret->hidden_ptr, secret->hidden_len);
    secret_init(secret);
}

bool secret_is_empty(const struct secret *secret)
{
    return secret->hidden_len == 0;
}

bool secret_equal(const struct secret *a, const struct secret *b)
{
    return a->hidden_len == b->hidden_len &&
           CRYPTO_memcmp(secret_bytes(a), secret_bytes(b), a->hidden_len) == 0;
}

const char *secret_bytes(const struct secret *secret)
{
    return secret->hidden_ptr ? secret->hidden_ptr : "";
}

size_t secret_length(const struct secret *secret)
{
    return secret->hidden_len;
}

void secret_generate(struct secret *secret, size_t characters)
{
    static const char symbols[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    enum { SYMBOLS = sizeof(symbols) - 1, FAIR = 256 - 256 % SYMBOLS };
    unsigned char random[64];
    char *text = xmalloc(characters + 1);
    size_t made = 0;

    while (made < characters) {
        random_bytes(random, sizeof(random));
        for (size_t i = 0; i < sizeof(random) && made < characters; i++) {
            if (random[i] < FAIR) { /* the rest would favour the first symbols */
                text[made++] = symbols[random[i] % SYMBOLS];
            }
        }
    }
    explicit_bzero(random, sizeof(random));
    secret_set(secret, (struct str){text, characters});
    wipe_free(text, characters);
}

/* Read up to `room` bytes; returns how many there were, -1 with errno set. */
static ssize_t read_all(int fd, char *bytes, size_t room)
{
    size_t done = 0;

    while (done < room) {
        ssize_t got = read(fd, bytes + done, room - done);
        if (got == 0) {
            break;
        }
        if (got < 0 && errno != EINTR) {
            return -1;
        }
        done += got > 0 ? (size_t)got : 0;
    }
    return (ssize_t)done;
}

/* Bytes to make room for: one more than the file is said to have, or than is allowed, so that what
 * does not fit shows. */
static size_t room_for(int fd, size_t max_bytes)
{
    struct stat status;
    bool known = fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_size > 0;
    size_t size = known ? (size_t)status.st_size : max_bytes;

    return (size < max_bytes ? size : max_bytes) + 1;
}

int secret_read_file(struct secret *secret, const char *path, size_t max_bytes, struct err *err)
{
    AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        return err_set(err, ERR_RETRY, "FileUnreadable", "open \"%s\": %s", path,
                       errno_text(errno));
    }
    const size_t room = room_for(fd, max_bytes);
    char *bytes = xmalloc(room);
    ssize_t count = read_all(fd, bytes, room);
    int failed = 0;
    if (count < 0) {
        failed =
            err_set(err, ERR_RETRY, "FileUnreadable", "read \"%s\": %s", path, errno_text(errno));
    } else if ((size_t)count == room && room <= max_bytes) {
        failed = err_set(err, ERR_RETRY, "FileUnreadable", "\"%s\" grew while it was read", path);
    } else if ((size_t)count > max_bytes) {
        failed = err_set(err, ERR_TERMINAL, "FileTooLarge",
                         "\"%s\" is larger than the limit of %zu bytes", path, max_bytes);
    } else {
        struct str text = {bytes, (size_t)count};
        while (text.len > 0 && (bytes[text.len - 1] == '\n' || bytes[text.len - 1] == '\r')) {
            text.len--;
        }
        secret_set(secret, text);
    }
    /* No more than was touched: of a large room most is not even there. */
    wipe_free(bytes, count < 0 ? room : (size_t)count);
    return failed;
}

void random_bytes(void *bytes, size_t count)
{
    unsigned char *to = bytes;

    while (count > 0) {
        ssize_t got = getrandom(to, count, 0);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            (void)fputs("the system gives no random numbers\n", stderr);
            abort();
        }
        to += got;
        count -= (size_t)got;
    }
}

void random_uuid(char ret_text[UUID_TEXT_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char bytes[16];
    size_t at = 0;

    random_bytes(bytes, sizeof(bytes));
    bytes[6] = (unsigned char)((bytes[6] & 0x0F) | 0x40); /* version 4 */
    bytes[8] = (unsigned char)((bytes[8] & 0x3F) | 0x80); /* the RFC's variant */
    for (size_t i = 0; i < sizeof(bytes); i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            ret_text[at++] = '-';
        }
        ret_text[at++] = digits[bytes[i] >> 4];
        ret_text[at++] = digits[bytes[i] & 15];
    }
    ret_text[at] = '\0';
}

void secret_harden_process(void)
{
    const struct rlimit no_core = {0, 0};

    /* Lowering a limit of our own and clearing our own flag are never refused. */
    (void)setrlimit(RLIMIT_CORE, &no_core);
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}
