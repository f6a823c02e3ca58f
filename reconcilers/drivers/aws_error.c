/* What the codes of S3 and IAM mean for whoever asked. */
#include <stdio.h>
#include <string.h>

#include "reconcilers/drivers/aws.h"
#include "reconcilers/drivers/xml.h"

static const struct meaning {
    const char *code;
    enum err_class cls;
    const char *reason;
    bool passing; /* worth another try at once */
} meanings[] = {
    {"AccessDenied", ERR_RETRY, "StorageForbidden", false},
    {"AllAccessDisabled", ERR_RETRY, "StorageForbidden", false},
    {"AccountProblem", ERR_RETRY, "StorageForbidden", false},
    {"BucketAlreadyExists", ERR_TERMINAL, "NameConflict", false},
    {"BucketAlreadyOwnedByYou", ERR_CONFLICT, "AlreadyExists", false},
    {"BucketNotEmpty", ERR_CONFLICT, "Conflict", false},
    {"ConcurrentModification", ERR_CONFLICT, "Conflict", true},
    {"DeleteConflict", ERR_CONFLICT, "Conflict", false},
    {"EntityAlreadyExists", ERR_CONFLICT, "AlreadyExists", false},
    {"EntityTemporarilyUnmodifiable", ERR_CONFLICT, "Conflict", true},
    {"ExpiredToken", ERR_RETRY, "StorageCredentials", false},
    {"InternalError", ERR_RETRY, "StorageBusy", true},
    {"InternalFailure", ERR_RETRY, "StorageBusy", true},
    {"InvalidAccessKeyId", ERR_RETRY, "StorageCredentials", false},
    {"InvalidClientTokenId", ERR_RETRY, "StorageCredentials", false},
    {"LimitExceeded", ERR_RETRY, "StorageRefused", false},
    {"MethodNotAllowed", ERR_TERMINAL, "StorageNotImplemented", false},
    {"NoSuchBucket", ERR_NOT_FOUND, "NotFound", false},
    {"NoSuchBucketPolicy", ERR_NOT_FOUND, "NotFound", false},
    {"NoSuchEntity", ERR_NOT_FOUND, "NotFound", false},
    {"NoSuchKey", ERR_NOT_FOUND, "NotFound", false},
    {"NoSuchLifecycleConfiguration", ERR_NOT_FOUND, "NotFound", false},
    {"NoSuchPublicAccessBlockConfiguration", ERR_NOT_FOUND, "NotFound", false},
    {"NoSuchTagSet", ERR_NOT_FOUND, "NotFound", false},
    {"NoSuchUpload", ERR_NOT_FOUND, "NotFound", false},
    {"NoSuchVersion", ERR_NOT_FOUND, "NotFound", false},
    {"NotImplemented", ERR_TERMINAL, "StorageNotImplemented", false},
    {"ObjectLockConfigurationNotFoundError", ERR_NOT_FOUND, "NotFound", false},
    {"OperationAborted", ERR_CONFLICT, "Conflict", true},
    {"RequestTimeTooSkewed", ERR_RETRY, "StorageCredentials", false},
    {"RequestTimeout", ERR_RETRY, "StorageBusy", true},
    {"ServerSideEncryptionConfigurationNotFoundError", ERR_NOT_FOUND, "NotFound", false},
    {"ServiceUnavailable", ERR_RETRY, "StorageBusy", true},
    {"SignatureDoesNotMatch", ERR_RETRY, "StorageCredentials", false},
    {"SlowDown", ERR_RETRY, "StorageBusy", true},
    {"Throttling", ERR_RETRY, "StorageBusy", true},
    {"TooManyBuckets", ERR_RETRY, "StorageRefused", false},
    {"TooManyRequests", ERR_RETRY, "StorageBusy", true},
};

/* When the answer names no code that is known: its status. */
static const struct {
    int status;
    struct meaning meaning;
} by_status[] = {
    {401, {"", ERR_RETRY, "StorageCredentials", false}},
    {403, {"", ERR_RETRY, "StorageForbidden", false}},
    {404, {"", ERR_NOT_FOUND, "NotFound", false}},
    {405, {"", ERR_TERMINAL, "StorageNotImplemented", false}},
    {409, {"", ERR_CONFLICT, "Conflict", false}},
    {429, {"", ERR_RETRY, "StorageBusy", true}},
    {500, {"", ERR_RETRY, "StorageBusy", true}},
    {501, {"", ERR_TERMINAL, "StorageNotImplemented", false}},
    {502, {"", ERR_RETRY, "StorageBusy", true}},
    {503, {"", ERR_RETRY, "StorageBusy", true}},
    {504, {"", ERR_RETRY, "StorageBusy", true}},
};
static const struct meaning otherwise = {"", ERR_RETRY, "StorageRefused", false};

static const struct meaning *find_meaning(const struct aws_answer *answer)
{
    for (size_t i = 0; i < ARRAY_COUNT(meanings); i++) {
        if (text_equal(meanings[i].code, answer->code)) {
            return &meanings[i];
        }
    }
    for (size_t i = 0; i < ARRAY_COUNT(by_status); i++) {
        if (by_status[i].status == answer->http.status) {
            return &by_status[i].meaning;
        }
    }
    return &otherwise;
}

/* S3 has Error/Code with Error as the root, IAM ErrorResponse/Error/Code. */
static int on_error_element(void *context, const char *path, struct str text, struct err *err)
{
    struct aws_answer *answer = context;
    (void)err;
    if (text_equal(path, "Code") || text_equal(path, "Error/Code")) {
        (void)snprintf(answer->code, sizeof(answer->code), "%.*s", (int)text.len,
                       text.len > 0 ? text.ptr : "");
    } else if (text_equal(path, "Message") || text_equal(path, "Error/Message")) {
        size_t length = str_utf8_prefix(text, sizeof(answer->message) - 1);
        memcpy(answer->message, text.len > 0 ? text.ptr : "", length);
        answer->message[length] = '\0';
    }
    return 0;
}

int aws_explain(struct aws_answer *answer, struct err *err)
{
    struct err ignored;
    char status[ERR_CODE_BYTES];

    if (answer->http.body.len > 0 &&
        xml_read(buf_str(&answer->http.body), on_error_element, answer, &ignored)) {
        answer->code[0] = '\0';
    }
    const struct meaning *meaning = find_meaning(answer);
    (void)err_set(err, meaning->cls, meaning->reason, "%s%s%s",
                  answer->code[0] ? answer->code : "refused without a reason",
                  answer->message[0] ? ": " : "", answer->message);
    (void)snprintf(status, sizeof(status), "%d", answer->http.status);
    err_code(err, status);
    if (answer->http.retry_after_ms > 0) {
        err->retry_after_ms = answer->http.retry_after_ms;
    }
    return -1;
}

bool aws_is_passing(const struct aws_answer *answer)
{
    return find_meaning(answer)->passing;
}

bool aws_has_code(const struct aws_answer *answer, const char *code)
{
    return text_equal(answer->code, code);
}

bool aws_err_unreachable(const struct err *err)
{
    return err_has_reason(err, "StorageUnreachable") ||
           err_has_reason(err, "TLSVerificationFailed");
}

bool aws_err_refuses_key(const struct err *err)
{
    return err_has_reason(err, "StorageCredentials") || err_has_reason(err, "StorageForbidden");
}
