/* Answers, written into the thread's buffer: a prebuilt head, what changes from request to request,
 * the end. The tables of the contract are here. */
#ifndef TENANTRY_GATEWAY_REPLY_H
#define TENANTRY_GATEWAY_REPLY_H

#include <stdint.h>

#include "controller/base/str.h"
#include "gateway/auth.h"
#include "gateway/front_internal.h"
#include "gateway/tenants.h"

enum reply_kind {
    REPLY_TENANT_NOT_FOUND,
    REPLY_SUSPENDED,
    REPLY_UNAUTHORIZED,
    REPLY_PASSWORD_CHANGE,
    REPLY_QUOTA_MISSING,
    REPLY_QUOTA_ERROR,
    REPLY_DATABASE_ERROR,
    REPLY_INTERNAL_ERROR,
    REPLY_RATE,
    REPLY_ASLEEP,
    REPLY_NOT_FOUND,
    REPLY_METHOD,
    REPLY_OVERLOADED,
    REPLY_COUNT,
};

/* How a proxy wants to be told. */
enum reply_style {
    STYLE_PLAIN, /* 204, or the table's status and body */
    STYLE_NGINX, /* 204, 401 or 403; the rest in X-Tenantry-Status and X-Tenantry-Body */
    STYLE_ENVOY, /* 200, or the table's status and body */
};

/* One of the table. */
void reply_fixed(struct conn *conn, const struct request *request, enum reply_style style,
                 enum reply_kind kind);
/* 429, with what is used and the limit. */
void reply_quota(struct conn *conn, const struct request *request, enum reply_style style,
                 const struct bucket *bucket);
/* Yes: who the tenant and the user are, and what is left of the quota. */
void reply_allowed(struct conn *conn, const struct request *request, enum reply_style style,
                   const struct record *record, const struct principal *principal);
/* Any other: body may be empty; fields are whole lines, CR LF ended, or empty. */
void reply_text(struct conn *conn, const struct request *request, int status, const char *type,
                struct str fields, struct str body);
/* The status line's words. */
const char *reply_reason(int status);

/* Append the fields RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers). */
void reply_append_limits(struct buf *out, const struct bucket *bucket, int64_t now_ms);

#endif
