/* What is configured on every bucket, as the XML that S3 takes, and whether what a server has says
 * the same in words of its own. Pure. */
#ifndef TENANTRY_STORAGE_BUCKET_DOCUMENTS_H
#define TENANTRY_STORAGE_BUCKET_DOCUMENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/base/buf.h"
#include "controller/base/str.h"

#define DOCUMENT_XMLNS "http://s3.amazonaws.com/doc/2006-03-01/"
#define DOCUMENT_ENCRYPTION                                                                        \
    "<ServerSideEncryptionConfiguration xmlns=\"" DOCUMENT_XMLNS                                   \
    "\"><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm>"             \
    "</ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>"
#define DOCUMENT_PUBLIC_ACCESS_BLOCK                                                               \
    "<PublicAccessBlockConfiguration xmlns=\"" DOCUMENT_XMLNS                                      \
    "\"><BlockPublicAcls>true</BlockPublicAcls><IgnorePublicAcls>true</IgnorePublicAcls>"          \
    "<BlockPublicPolicy>true</BlockPublicPolicy>"                                                  \
    "<RestrictPublicBuckets>true</RestrictPublicBuckets></PublicAccessBlockConfiguration>"

/* Uploads that are begun and never ended go after this many days. */
enum { UPLOAD_RETENTION_DAYS = 7 };

/* Versions that are not the latest go after so many days, and delete markers that hide nothing; 0:
 * the bucket keeps none, and a server may not know of them. Uploads go in any case. */
void document_lifecycle(struct buf *out, int64_t version_days);

/* Whether every leaf of `wanted` is in `actual` with the same path and text; whatever else that
 * holds, as servers fill in what was left out. False when either is no XML. */
bool document_says(struct str actual, struct str wanted);

#endif
