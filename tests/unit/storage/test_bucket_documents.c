#include "reconcilers/storage/bucket_documents.h"

#include <string.h>

#include "tests/check.h"

static void finds_what_is_wanted_in_other_words(void **state)
{
    (void)state;
    AUTO(buf) struct buf wanted = BUF(4096);
    document_lifecycle(&wanted, 30);
    CHECK(document_says(buf_str(&wanted), buf_str(&wanted)));
    CHECK(document_says(
        STR("<?xml version=\"1.0\"?>\n<PublicAccessBlockConfiguration>\n"
            " <RestrictPublicBuckets>true</RestrictPublicBuckets>\n"
            " <IgnorePublicAcls> true </IgnorePublicAcls><BlockPublicAcls>true</BlockPublicAcls>"
            "<BlockPublicPolicy>true</BlockPublicPolicy><More>x</More>"
            "</PublicAccessBlockConfiguration>"),
        STR(DOCUMENT_PUBLIC_ACCESS_BLOCK)));
}

static void sees_what_is_missing_or_else(void **state)
{
    (void)state;
    AUTO(buf) struct buf month = BUF(4096);
    AUTO(buf) struct buf week = BUF(4096);
    document_lifecycle(&month, 30);
    document_lifecycle(&week, 7);
    CHECK(!document_says(buf_str(&week), buf_str(&month)));
    CHECK(!document_says(STR("<a/>"), STR(DOCUMENT_ENCRYPTION)));
    CHECK(!document_says(STR(""), STR(DOCUMENT_ENCRYPTION)));
    CHECK(!document_says(STR("<PublicAccessBlockConfiguration><BlockPublicAcls>false"
                             "</BlockPublicAcls></PublicAccessBlockConfiguration>"),
                         STR(DOCUMENT_PUBLIC_ACCESS_BLOCK)));
}

static void names_no_versions_where_there_are_none(void **state)
{
    (void)state;
    AUTO(buf) struct buf without = BUF(4096);
    AUTO(buf) struct buf with = BUF(4096);
    document_lifecycle(&without, 0);
    document_lifecycle(&with, 30);
    CHECK_NULL(strstr(buf_text(&without), "Noncurrent"));
    CHECK_NULL(strstr(buf_text(&without), "DeleteMarker"));
    CHECK_NOT_NULL(strstr(buf_text(&without), "<DaysAfterInitiation>7<"));
    CHECK(document_says(buf_str(&with), buf_str(&without)));
    CHECK(!document_says(buf_str(&without), buf_str(&with)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_is_wanted_in_other_words),
        cmocka_unit_test(sees_what_is_missing_or_else),
        cmocka_unit_test(names_no_versions_where_there_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
