/* The S3 client beside a loop on libcurl that signs by itself:
 *
 *   bench-s3 sign                 nanoseconds of CPU for a signature of a PUT of a bucket
 *   bench-s3 buckets COUNT        microseconds a bucket made, with two tags: by our client, and the
 *                                 same request by curl (CURLOPT_AWS_SIGV4) over one connection; the
 *                                 medians of COUNT each, in turn, so that both see the same noise
 *
 * S3_ENDPOINT, S3_REGION, S3_ACCESS_KEY and S3_SECRET_KEY say where. Each bucket is removed again,
 * which is not measured. */
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

static void put_name(char ret[NAME_BYTES], const char *whose, const char *unique, int number)
{
    (void)snprintf(ret, NAME_BYTES, "bench-%s-%s-%d", whose, unique, number);
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

static int64_t create_ours(struct s3 *s3, const char *name)
{
    static const struct s3_tag tags[] = {{"one", "1"}, {"two", "2"}};
    struct err err;
    bool created = false;
    int64_t begun = now_ns(CLOCK_MONOTONIC);

    must(s3_bucket_create(s3, &no_call, name, tags, ARRAY_COUNT(tags), &created, &err) == 0 &&
             created,
         "a bucket was not made");
    return now_ns(CLOCK_MONOTONIC) - begun;
}

static size_t swallow(char *bytes, size_t size, size_t count, void *context)
{
    (void)bytes;
    (void)context;
    return size * count;
}

/* A loop on libcurl, which does less than our client: the body is hashed once, and nothing but the
 * status looked at. */
struct curl_loop {
    CURL *curl;
    struct curl_slist *headers;
    char *user;
    char *provider;
    char *header;
};

static const char body_of_curl[] =
    "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Tags>"
    "<Tag><Key>one</Key><Value>1</Value></Tag><Tag><Key>two</Key><Value>2</Value></Tag>"
    "</Tags></CreateBucketConfiguration>";

static void curl_loop_begin(struct curl_loop *loop)
{
    char digest[SHA256_TEXT_BYTES];

    hash_sha256_text(str_from(body_of_curl), digest);
    *loop = (struct curl_loop){
        .curl = curl_easy_init(),
        .user = xasprintf("%s:%s", getenv("S3_ACCESS_KEY"), getenv("S3_SECRET_KEY")),
        .provider = xasprintf("aws:amz:%s:s3", getenv("S3_REGION")),
        .header = xasprintf("x-amz-content-sha256: %s", digest),
    };
    loop->headers = curl_slist_append(NULL, loop->header);
    curl_easy_setopt(loop->curl, CURLOPT_HTTPHEADER, loop->headers);
    curl_easy_setopt(loop->curl, CURLOPT_AWS_SIGV4, loop->provider);
    curl_easy_setopt(loop->curl, CURLOPT_USERPWD, loop->user);
    curl_easy_setopt(loop->curl, CURLOPT_CUSTOMREQUEST, "PUT");
    curl_easy_setopt(loop->curl, CURLOPT_POSTFIELDS, body_of_curl);
    curl_easy_setopt(loop->curl, CURLOPT_WRITEFUNCTION, swallow);
}

static int64_t create_by_curl(struct curl_loop *loop, const char *name)
{
    AUTO(free) char *url = xasprintf("%s/%s", getenv("S3_ENDPOINT"), name);
    long status = 0;
    int64_t begun = now_ns(CLOCK_MONOTONIC);

    curl_easy_setopt(loop->curl, CURLOPT_URL, url);
    must(curl_easy_perform(loop->curl) == CURLE_OK &&
             curl_easy_getinfo(loop->curl, CURLINFO_RESPONSE_CODE, &status) == CURLE_OK &&
             status == 200,
         "a bucket was not made by curl");
    return now_ns(CLOCK_MONOTONIC) - begun;
}

static void curl_loop_end(struct curl_loop *loop)
{
    curl_easy_cleanup(loop->curl);
    curl_slist_free_all(loop->headers);
    free(loop->user);
    free(loop->provider);
    free(loop->header);
}

static int compare_times(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a;
    int64_t right = *(const int64_t *)b;
    return left < right ? -1 : left > right;
}

static long long median_us(int64_t *times_ns, int count)
{
    qsort(times_ns, (size_t)count, sizeof(*times_ns), compare_times);
    return (long long)(times_ns[count / 2] / NS_PER_US);
}

static int time_buckets(int count)
{
    AUTO(free) int64_t *ours_ns = xcalloc((size_t)count, sizeof(*ours_ns));
    AUTO(free) int64_t *curl_ns = xcalloc((size_t)count, sizeof(*curl_ns));
    char unique[UUID_TEXT_BYTES];
    char name[NAME_BYTES];
    struct curl_loop loop;
    struct http_client *http = NULL;
    struct s3 *s3 = open_client(&http);
    struct err err;

    random_uuid(unique);
    curl_loop_begin(&loop);
    /* The first opens the connections. Who comes first changes each time. */
    for (int i = -1; i < count; i++) {
        for (int half = 0; half < 2; half++) {
            bool by_curl = half == (i & 1);
            put_name(name, by_curl ? "c" : "o", unique, i + 1);
            int64_t took_ns = by_curl ? create_by_curl(&loop, name) : create_ours(s3, name);
            must(s3_bucket_delete(s3, &no_call, name, &err) == 0, "a bucket was not removed");
            if (i >= 0) {
                (by_curl ? curl_ns : ours_ns)[i] = took_ns;
            }
        }
    }
    curl_loop_end(&loop);
    s3_free(s3);
    http_client_free(http);
    (void)printf("%lld %lld\n", median_us(ours_ns, count), median_us(curl_ns, count));
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
    int count = argc == 3 ? (int)strtol(argv[2], NULL, 10) : 0;
    if (strcmp(what, "buckets") == 0 && count > 0) {
        return time_buckets(count);
    }
    (void)fprintf(stderr, "usage: see the head of bench/s3.c\n");
    return 2;
}
