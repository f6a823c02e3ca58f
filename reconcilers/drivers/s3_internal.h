/* The seam between the files of the S3 client; nobody else includes it. */
#ifndef TENANTRY_DRIVERS_S3_INTERNAL_H
#define TENANTRY_DRIVERS_S3_INTERNAL_H

#include "reconcilers/drivers/aws.h"
#include "reconcilers/drivers/s3.h"

struct s3 {
    struct aws_service service;
    char *region;
    char *bucket_owner; /* NULL: not asked */
    bool path_style;
};

enum { S3_QUERY_MAX = 8 };

/* A request about a bucket, or an object in it. */
struct s3_request {
    const char *method;
    const char *bucket;
    const char *key; /* NULL: the bucket itself */
    const struct sigv4_pair *query;
    size_t query_count;
    struct str body;
    http_data_fn on_data;
    void *on_data_context;
    int64_t timeout_ms;
};
/* Errors: those of aws_perform, with the bucket's name in front. */
MUST_CHECK int s3_perform(struct s3 *s3, const struct call *call, const struct s3_request *request,
                          struct aws_answer *ret, struct err *err);

#endif
