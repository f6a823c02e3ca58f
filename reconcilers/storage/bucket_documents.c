#include "reconcilers/storage/bucket_documents.h"

#include "reconcilers/drivers/xml.h"

enum { LEAVES_MAX_BYTES = 256 * 1024 };

void document_lifecycle(struct buf *out, int64_t version_days)
{
    (void)buf_append_text(out, "<LifecycleConfiguration xmlns=\"" DOCUMENT_XMLNS "\"><Rule>"
                               "<ID>tenantry</ID><Filter><Prefix></Prefix></Filter>"
                               "<Status>Enabled</Status>");
    if (version_days > 0) {
        (void)buf_printf(out,
                         "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker>"
                         "</Expiration><NoncurrentVersionExpiration><NoncurrentDays>%lld"
                         "</NoncurrentDays></NoncurrentVersionExpiration>",
                         (long long)version_days);
    }
    (void)buf_printf(out,
                     "<AbortIncompleteMultipartUpload><DaysAfterInitiation>%d"
                     "</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule>"
                     "</LifecycleConfiguration>",
                     UPLOAD_RETENTION_DAYS);
}

/* Each leaf as "\npath=text\n", so that one can be searched for whole. */
static int collect(void *context, const char *path, struct str text, struct err *err)
{
    struct buf *leaves = context;
    (void)err;
    if (str_trim(text).len > 0) {
        (void)buf_printf(leaves, "\n%s=", path);
        (void)buf_append_str(leaves, str_trim(text));
        (void)buf_append_char(leaves, '\n');
    }
    return 0;
}

struct comparison {
    struct str leaves; /* of the actual document */
    bool same;
};

static int compare(void *context, const char *path, struct str text, struct err *err)
{
    struct comparison *comparison = context;
    AUTO(buf) struct buf leaf = BUF(LEAVES_MAX_BYTES);

    (void)collect(&leaf, path, text, err);
    if (leaf.len > 0 &&
        !memmem(comparison->leaves.ptr, comparison->leaves.len, buf_text(&leaf), leaf.len)) {
        comparison->same = false;
    }
    return 0;
}

bool document_says(struct str actual, struct str wanted)
{
    AUTO(buf) struct buf leaves = BUF(LEAVES_MAX_BYTES);
    struct err ignored;

    if (xml_read(actual, collect, &leaves, &ignored) || buf_failed(&leaves)) {
        return false;
    }
    /* Never NULL, which memmem may not be given. */
    (void)buf_append_char(&leaves, '\n');
    struct comparison comparison = {buf_str(&leaves), true};
    return xml_read(wanted, compare, &comparison, &ignored) == 0 && comparison.same;
}
