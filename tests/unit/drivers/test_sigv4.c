/* Against the examples that AWS publishes: of its signing test suite, and of the S3 API reference,
 * "Authenticating Requests". */
#include "reconcilers/drivers/sigv4.h"
#include "tests/check.h"

#define EMPTY_HASH "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
enum { SUITE_TIME = 1440938160, S3_TIME = 1369353600 };

static struct sigv4_signer *signer_new(const char *access_key, const char *secret_text,
                                       const char *service)
{
    AUTO(secret) struct secret secret = {0};
    secret_set(&secret, str_from(secret_text));
    return sigv4_signer_new(access_key, &secret, "us-east-1", service);
}

struct example {
    const char *method;
    const char *path;
    struct sigv4_pair query[3];
    struct sigv4_pair headers[6];
    const char *hash;
    const char *signed_headers;
    const char *signature;
};

static size_t count(const struct sigv4_pair *pairs, size_t room)
{
    size_t n = 0;
    while (n < room && pairs[n].name) {
        n++;
    }
    return n;
}

static void check_example(struct sigv4_signer *signer, const struct example *example,
                          int64_t time_s, const char *scope)
{
    AUTO(buf) struct buf query = BUF(4096);
    AUTO(buf) struct buf actual = BUF(4096);
    AUTO(buf) struct buf expected = BUF(4096);

    sigv4_query(example->query, count(example->query, 3), &query);
    const struct sigv4_request request = {
        .method = example->method,
        .path = example->path,
        .query = buf_text(&query),
        .headers = example->headers,
        .header_count = count(example->headers, 6),
        .payload_hash = example->hash,
        .time_s = time_s,
    };
    sigv4_sign(signer, &request, &actual);
    (void)buf_printf(&expected, "AWS4-HMAC-SHA256 Credential=%s, SignedHeaders=%s, Signature=%s",
                     scope, example->signed_headers, example->signature);
    CHECK_TEXT(buf_text(&actual), buf_text(&expected));
}

static void signs_as_the_test_suite(void **state)
{
    (void)state;
    static const struct example examples[] = {
        {"GET",
         "/",
         {{0}},
         {{"host", "example.amazonaws.com"}, {"x-amz-date", "20150830T123600Z"}},
         EMPTY_HASH,
         "host;x-amz-date",
         "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
        {"GET",
         "",
         {{"Param2", "value2"}, {"Param1", "value1"}},
         {{"x-amz-date", "20150830T123600Z"}, {"host", "example.amazonaws.com"}},
         EMPTY_HASH,
         "host;x-amz-date",
         "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
        {"POST",
         "/",
         {{0}},
         {{"host", "example.amazonaws.com"}, {"x-amz-date", "20150830T123600Z"}},
         EMPTY_HASH,
         "host;x-amz-date",
         "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
    };
    struct sigv4_signer *signer =
        signer_new("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "service");
    for (size_t i = 0; i < ARRAY_COUNT(examples); i++) {
        check_example(signer, &examples[i], SUITE_TIME,
                      "AKIDEXAMPLE/20150830/us-east-1/service/aws4_request");
    }
    CHECK_TEXT(sigv4_access_key(signer), "AKIDEXAMPLE");
    sigv4_signer_free(signer);
}

static void signs_as_the_s3_reference(void **state)
{
    (void)state;
    static const struct example examples[] = {
        {"GET",
         "/test.txt",
         {{0}},
         {{"host", "examplebucket.s3.amazonaws.com"},
          {"range", "bytes=0-9"},
          {"x-amz-content-sha256", EMPTY_HASH},
          {"x-amz-date", "20130524T000000Z"}},
         EMPTY_HASH,
         "host;range;x-amz-content-sha256;x-amz-date",
         "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
        {"GET",
         "/",
         {{"lifecycle", ""}},
         {{"host", "examplebucket.s3.amazonaws.com"},
          {"x-amz-content-sha256", EMPTY_HASH},
          {"x-amz-date", "20130524T000000Z"}},
         EMPTY_HASH,
         "host;x-amz-content-sha256;x-amz-date",
         "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
        {"GET",
         "/",
         {{"prefix", "J"}, {"max-keys", "2"}},
         {{"host", "examplebucket.s3.amazonaws.com"},
          {"x-amz-content-sha256", EMPTY_HASH},
          {"x-amz-date", "20130524T000000Z"}},
         EMPTY_HASH,
         "host;x-amz-content-sha256;x-amz-date",
         "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
        {"PUT",
         "/test%24file.text",
         {{0}},
         {{"date", "Fri, 24 May 2013 00:00:00 GMT"},
          {"host", "examplebucket.s3.amazonaws.com"},
          {"x-amz-content-sha256",
           "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"},
          {"x-amz-date", "20130524T000000Z"},
          {"x-amz-storage-class", "REDUCED_REDUNDANCY"}},
         "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
         "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
         "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"},
    };
    struct sigv4_signer *signer =
        signer_new("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "s3");
    for (size_t i = 0; i < ARRAY_COUNT(examples); i++) {
        check_example(signer, &examples[i], S3_TIME,
                      "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request");
    }
    sigv4_signer_free(signer);
}

/* The key of the day before must not sign for the next. */
static void follows_the_date(void **state)
{
    (void)state;
    static const struct example today = {
        "GET",
        "/",
        {{0}},
        {{"host", "example.amazonaws.com"}, {"x-amz-date", "20150830T123600Z"}},
        EMPTY_HASH,
        "host;x-amz-date",
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"};
    AUTO(buf) struct buf tomorrow = BUF(4096);
    struct sigv4_signer *signer =
        signer_new("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "service");
    const struct sigv4_request request = {.method = "GET",
                                          .path = "/",
                                          .query = "",
                                          .headers = today.headers,
                                          .header_count = 2,
                                          .payload_hash = EMPTY_HASH,
                                          .time_s = SUITE_TIME + 24 * 60 * 60};
    for (int i = 0; i < 2; i++) {
        check_example(signer, &today, SUITE_TIME,
                      "AKIDEXAMPLE/20150830/us-east-1/service/aws4_request");
        sigv4_sign(signer, &request, &tomorrow);
        CHECK(strstr(buf_text(&tomorrow), "/20150831/us-east-1/") != NULL);
    }
    sigv4_signer_free(signer);
}

static void makes_headers_canonical(void **state)
{
    (void)state;
    AUTO(buf) struct buf text = BUF(4096);
    static const struct sigv4_pair headers[] = {
        {"my-header1", " a   b   c "}, {"host", "h"}, {"my-header1", "value2"}};
    const struct sigv4_request request = {.method = "GET",
                                          .path = "/",
                                          .query = "",
                                          .headers = headers,
                                          .header_count = 3,
                                          .payload_hash = "x"};
    sigv4_canonical_request(&request, &text);
    CHECK_TEXT(buf_text(&text), "GET\n/\n\nhost:h\nmy-header1:a b c,value2\n\nhost;my-header1\nx");
}

static void encodes_the_query(void **state)
{
    (void)state;
    AUTO(buf) struct buf text = BUF(4096);
    static const struct sigv4_pair pairs[] = {
        {"prefix", "a b/ü+~"}, {"b", ""}, {"a", "2"}, {"a", "1"}};
    sigv4_query(pairs, 4, &text);
    CHECK_TEXT(buf_text(&text), "a=1&a=2&b=&prefix=a%20b%2F%C3%BC%2B~");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signs_as_the_test_suite), cmocka_unit_test(signs_as_the_s3_reference),
        cmocka_unit_test(follows_the_date),        cmocka_unit_test(makes_headers_canonical),
        cmocka_unit_test(encodes_the_query),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
