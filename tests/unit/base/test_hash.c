#include "controller/base/hash.h"

#include "tests/check.h"

#include <stdio.h>
#include <unistd.h>

/* FIPS 180-4's examples and the empty text. */
static void sha256_matches_the_standard(void **state)
{
    static const char *const cases[][2] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char text[SHA256_TEXT_BYTES];
        unsigned char digest[SHA256_BYTES];
        char first[3];
        hash_sha256_text(str_from(cases[i][0]), text);
        CHECK_TEXT(text, cases[i][1]);
        hash_sha256(str_from(cases[i][0]), digest);
        (void)snprintf(first, sizeof(first), "%02x", digest[0]);
        CHECK(memcmp(first, text, 2) == 0);
    }
    char none[SHA256_TEXT_BYTES];
    hash_sha256_text((struct str){0}, none);
    CHECK_TEXT(none, cases[0][1]);
}

/* RFC 4231, test cases 1, 2, 6 and 7: keys shorter and longer than a block. */
static void hmac_matches_the_standard(void **state)
{
    char long_key[131];
    memset(long_key, 0xaa, sizeof(long_key));
    const struct str longer = {long_key, sizeof(long_key)};
    const struct {
        struct str key;
        const char *text;
        const char *digest;
    } cases[] = {
        {STR("\v\v\v\v\v\v\v\v\v\v\v\v\v\v\v\v\v\v\v\v"), "Hi There",
         "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
        {STR("Jefe"), "what do ya want for nothing?",
         "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
        {longer, "Test Using Larger Than Block-Size Key - Hash Key First",
         "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
        {longer,
         "This is a test using a larger than block-size key and a larger than block-size data. "
         "The key needs to be hashed before being used by the HMAC algorithm.",
         "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        unsigned char digest[SHA256_BYTES];
        char text[SHA256_TEXT_BYTES];
        hash_hmac_sha256(cases[i].key, str_from(cases[i].text), digest);
        for (size_t j = 0; j < sizeof(digest); j++) {
            (void)snprintf(text + 2 * j, 3, "%02x", digest[j]);
        }
        CHECK_TEXT(text, cases[i].digest);
    }
}

/* What is stored in clusters must not change with a library's version: published values. */
static void hash128_is_xxh3(void **state)
{
    char text[HASH128_TEXT_BYTES];
    (void)state;

    hash128_text(hash_128(STR("")), text);
    CHECK_TEXT(text, "99aa06d3014798d86001c324468d497f");
    hash128_text(hash_128((struct str){0}), text);
    CHECK_TEXT(text, "99aa06d3014798d86001c324468d497f");
    hash128_text(hash_128(STR("abc")), text);
    CHECK_TEXT(text, "06b05ab6733a618578af5f94892f3950");
    hash128_text((struct hash128){.high = 1, .low = 0xABCDEF}, text);
    CHECK_TEXT(text, "00000000000000010000000000abcdef");
}

static void hash128_tells_texts_apart(void **state)
{
    (void)state;

    CHECK(hash128_equal(hash_128(STR("a")), hash_128(STR("a"))));
    CHECK(!hash128_equal(hash_128(STR("a")), hash_128(STR("b"))));
    CHECK(!hash128_equal((struct hash128){1, 2}, (struct hash128){1, 3}));
    CHECK(!hash128_equal((struct hash128){1, 2}, (struct hash128){0, 2}));
}

/* A child made before the first use draws its own seed. */
static void table_hashes_are_seeded_per_process(void **state)
{
    int ends[2];
    uint64_t theirs = 0;
    (void)state;

    CHECK_INT(pipe(ends), 0);
    pid_t child = fork();
    uint64_t ours = hash_table64(STR("tenant"));
    if (child == 0) {
        _exit(write(ends[1], &ours, sizeof(ours)) == sizeof(ours) ? 0 : 1);
    }
    CHECK_INT(read(ends[0], &theirs, sizeof(theirs)), sizeof(theirs));
    close(ends[0]);
    close(ends[1]);
    CHECK(ours != theirs);
    CHECK(ours == hash_table64(STR("tenant")));
    CHECK(ours != hash_table64(STR("tenanu")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_hashes_are_seeded_per_process), /* first: see there */
        cmocka_unit_test(sha256_matches_the_standard),
        cmocka_unit_test(hmac_matches_the_standard),
        cmocka_unit_test(hash128_is_xxh3),
        cmocka_unit_test(hash128_tells_texts_apart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
