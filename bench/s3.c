/* The S3 client beside a loop on libcurl that signs by itself:
 *
 *   bench-s3 sign                 nanoseconds of CPU for a signature of a PUT of a bucket
 *   bench-s3 ours COUNT           microseconds a bucket made, with two tags, by our client
 *   bench-s3 curl COUNT           the same request by curl (CURLOPT_AWS_SIGV4) over one connection
 *
 * S3_ENDPOINT, S3_REGION, S3_ACCESS_KEY and S3_SECRET_KEY say where. The buckets are removed
 * afterwards, which is not measured. */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "controller/base/hash.h"
#include "controller/base/log.h"
#include "reconcilers/drivers/s3.h"
#include "reconcilers/drivers/sigv4.h"

enum { MEASURE_NS = 1000000000, SIGN_ROUND = 1000, NS_PER_US = 1000, NAME_BYTES = 80 };

#define NO_BODY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static const struct call no_call = {0};

static int64_t now_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static void must(bool fine, const char *what)
{
    if (!fine) {
        (void)fprintf(stderr, "bench-s3: %s\n", what);
        exit(1);
    }
}

/* ---- signing ---- */

static int time_signing(void)
{
    AUTO(secret) struct secret key = {0};
    AUTO(buf) struct buf out = BUF(4096);
    secret_set(&key, STR("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"));
    struct sigv4_signer *signer = sigv4_signer_new("AKIDEXAMPLE", &key, "us-east-1", "s3");
    const struct sigv4_pair headers[] = {{"host", "127.0.0.1:9000"},
                                         {"x-amz-content-sha256", NO_BODY},
                                         {"x-amz-date", "20150830T123600Z"}};
    const struct sigv4_request request = {.method = "PUT",
                                          .path = "/acme-uploads",
                                          .query = "",
                                          .headers = headers,
                                          .header_count = ARRAY_COUNT(headers),
                                          .payload_hash = NO_BODY,
                                          .time_s = 1440938160};
    int64_t begun = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    int64_t count = 0;

    do {
        for (int i = 0; i < SIGN_ROUND; i++) {
            buf_clear(&out);
            sigv4_sign(signer, &request, &out);
        }
        count += SIGN_ROUND;
    } while (now_ns(CLOCK_PROCESS_CPUTIME_ID) - begun < MEASURE_NS);
    (void)printf("%lld\n", (long long)((now_ns(CLOCK_PROCESS_CPUTIME_ID) - begun) / count));
    sigv4_signer_free(signer);
    return 0;
}

/* ---- buckets ---- */

static void put_name(char ret[NAME_BYTES], const char *unique, int number)
{
    (void)snprintf(ret, NAME_BYTES, "bench-%s-%d", unique, number);
}

static struct s3 *open_client(struct http_client **ret_http)
{
    AUTO(secret) struct secret secret = {0};
    struct s3 *s3 = NULL;
    struct err err;

    secret_set(&secret, str_from(getenv("S3_SECRET_KEY")));
    const struct s3_config config = {
        .endpoint = getenv("S3_ENDPOINT"),
        .region = getenv("S3_REGION"),
        .path_style = true,
        .access_key = getenv("S3_ACCESS_KEY"),
        .secret_key = &secret,
    };
    must(s3_http_client_new("s3", NULL, ret_http, &err) == 0 &&
             s3_new(*ret_http, &config, &s3, &err) == 0,
         "no client");
    return s3;
}

static int64_t create_ours(struct s3 *s3, const char *unique, int count)
{
    static const struct s3_tag tags[] = {{"one", "1"}, {"two", "2"}};
    char name[NAME_BYTES];
    struct err err;
    int64_t begun = now_ns(CLOCK_MONOTONIC);

    for (int i = 0; i < count; i++) {
        bool created = false;
        put_name(name, unique, i);
        must(s3_bucket_create(s3, &no_call, name, tags, ARRAY_COUNT(tags), &created, &err) == 0 &&
                 created,
             "a bucket was not made");
    }
    return now_ns(CLOCK_MONOTONIC) - begun;
}

static size_t swallow(char *bytes, size_t size, size_t count, void *context)
{
    (void)bytes;
    (void)context;
    return size * count;
}

/* Less than our client does: the body is hashed once, and nothing but the status looked at. */
static int64_t create_by_curl(const char *unique, int count)
{
    AUTO(free) char *user = xasprintf("%s:%s", getenv("S3_ACCESS_KEY"), getenv("S3_SECRET_KEY"));
    AUTO(free) char *provider = xasprintf("aws:amz:%s:s3", getenv("S3_REGION"));
    AUTO(buf) struct buf body = BUF(4096);
    char name[NAME_BYTES];
    char digest[SHA256_TEXT_BYTES];
    struct curl_slist *headers = NULL;
    CURL *curl = curl_easy_init();

    (void)buf_append_text(
        &body, "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Tags>"
               "<Tag><Key>one</Key><Value>1</Value></Tag><Tag><Key>two</Key><Value>2</Value></Tag>"
               "</Tags></CreateBucketConfiguration>");
    hash_sha256_text(buf_str(&body), digest);
    AUTO(free) char *header = xasprintf("x-amz-content-sha256: %s", digest);
    headers = curl_slist_append(headers, header);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_AWS_SIGV4, provider);
    curl_easy_setopt(curl, CURLOPT_USERPWD, user);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, "PUT");
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, buf_text(&body));
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, swallow);
    int64_t begun = now_ns(CLOCK_MONOTONIC);
    for (int i = 0; i < count; i++) {
        long status = 0;
        put_name(name, unique, i);
        AUTO(free) char *url = xasprintf("%s/%s", getenv("S3_ENDPOINT"), name);
        curl_easy_setopt(curl, CURLOPT_URL, url);
        must(curl_easy_perform(curl) == CURLE_OK &&
                 curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status) == CURLE_OK &&
                 status == 200,
             "a bucket was not made by curl");
    }
    int64_t took = now_ns(CLOCK_MONOTONIC) - begun;
    curl_easy_cleanup(curl);
    curl_slist_free_all(headers);
    return took;
}

static int time_buckets(bool by_curl, int count)
{
    char unique[UUID_TEXT_BYTES];
    char name[NAME_BYTES];
    struct http_client *http = NULL;
    struct s3 *s3 = open_client(&http);
    struct err err;

    random_uuid(unique);
    int64_t took = by_curl ? create_by_curl(unique, count) : create_ours(s3, unique, count);
    (void)printf("%lld\n", (long long)(took / count / NS_PER_US));
    for (int i = 0; i < count; i++) {
        put_name(name, unique, i);
        must(s3_bucket_delete(s3, &no_call, name, &err) == 0, "a bucket was not removed");
    }
    s3_free(s3);
    http_client_free(http);
    return 0;
}

int main(int argc, char **argv)
{
    log_configure(LOG_ERROR, LOG_TEXT);
    (void)curl_global_init(CURL_GLOBAL_ALL);
    const char *what = argc > 1 ? argv[1] : "";
    if (argc == 2 && strcmp(what, "sign") == 0) {
        return time_signing();
    }
    if (argc == 3 && (strcmp(what, "ours") == 0 || strcmp(what, "curl") == 0)) {
        return time_buckets(strcmp(what, "curl") == 0, (int)strtol(argv[2], NULL, 10));
    }
    (void)fprintf(stderr, "usage: see the head of bench/s3.c\n");
    return 2;
}
