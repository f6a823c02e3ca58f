/* The message is built whole, in base64, which passes every relay as it is and knows no line that
 * begins with a dot. Its headers are ours but for address, subject and Message-ID; these are
 * checked, or encoded (RFC 2047), so that no text can begin a header of its own. */
#include "reconcilers/drivers/smtp.h"

#include <curl/curl.h>
#include <string.h>
#include <time.h>

#include "controller/base/buf.h"
#include "controller/base/cancel.h"
#include "controller/base/clock.h"
#include "controller/base/str.h"

enum {
    MESSAGE_MAX_BYTES = 64 * 1024,
    ADDRESS_MAX_BYTES = 320,
    CONNECT_TIMEOUT_MS = 10 * 1000,
    TIMEOUT_MS = 30 * 1000,
    LINE_BYTES = 57, /* 76 characters of base64 (RFC 2045) */
};

static void auto_release_curl(CURL **curl)
{
    curl_easy_cleanup(*curl);
}

static void auto_release_slist(struct curl_slist **list)
{
    curl_slist_free_all(*list);
}

/* ---- the message ---- */

static bool is_plain(const char *text, size_t max_bytes)
{
    size_t length = text ? strlen(text) : 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] <= ' ' || text[i] > '~' || text[i] == '<' || text[i] == '>') {
            return false;
        }
    }
    return length > 0 && length <= max_bytes;
}

/* Encoded words of at most 75 characters (RFC 2047), which do not split a character. */
static void append_subject(struct buf *out, const char *subject)
{
    enum { WORD_BYTES = 42 };
    size_t length = strlen(subject);

    for (size_t start = 0; start < length;) {
        size_t end = start + WORD_BYTES < length ? start + WORD_BYTES : length;
        while (end < length && ((unsigned char)subject[end] & 0xc0) == 0x80) {
            end--;
        }
        (void)buf_append_text(out, start > 0 ? "\r\n =?UTF-8?B?" : "=?UTF-8?B?");
        (void)buf_append_base64(out, subject + start, end - start);
        (void)buf_append_text(out, "?=");
        start = end;
    }
}

/* RFC 5322 writes English names, whatever the locale. */
static void append_date(struct buf *out)
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t now = (time_t)clock_wall_s();
    struct tm tm;

    (void)gmtime_r(&now, &tm);
    (void)buf_printf(out, "%.3s, %d %.3s %d %02d:%02d:%02d +0000", days + 3 * (ptrdiff_t)tm.tm_wday,
                     tm.tm_mday, months + 3 * (ptrdiff_t)tm.tm_mon, tm.tm_year + 1900, tm.tm_hour,
                     tm.tm_min, tm.tm_sec);
}

static int render(const struct smtp_relay *relay, const struct smtp_mail *mail, struct buf *out,
                  struct err *err)
{
    if (!is_plain(mail->to, ADDRESS_MAX_BYTES) || !is_plain(relay->from, ADDRESS_MAX_BYTES) ||
        !is_plain(mail->message_id, ADDRESS_MAX_BYTES)) {
        return err_set(err, ERR_TERMINAL, "InvalidMail",
                       "a mail address holds characters that it may not");
    }
    (void)buf_append_text(out, "Date: ");
    append_date(out);
    (void)buf_printf(out,
                     "\r\nFrom: <%s>\r\nTo: <%s>\r\nMessage-ID: <%s>\r\nSubject: ", relay->from,
                     mail->to, mail->message_id);
    append_subject(out, mail->subject);
    (void)buf_append_text(out, "\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n"
                               "Content-Type: text/plain; charset=utf-8\r\n"
                               "Content-Transfer-Encoding: base64\r\n\r\n");
    size_t length = strlen(mail->text);
    for (size_t start = 0; start < length; start += LINE_BYTES) {
        size_t count = length - start < LINE_BYTES ? length - start : LINE_BYTES;
        (void)buf_append_base64(out, mail->text + start, count);
        (void)buf_append_text(out, "\r\n");
    }
    return buf_failed(out) ? err_set(err, ERR_TERMINAL, "InvalidMail", "the mail is too long") : 0;
}

/* ---- sending ---- */

struct upload {
    struct str rest;
    const struct cancel *cancel;
};

static size_t read_message(char *target, size_t size, size_t count, void *context)
{
    struct upload *upload = context;
    size_t bytes = size * count < upload->rest.len ? size * count : upload->rest.len;

    memcpy(target, upload->rest.ptr, bytes);
    upload->rest.ptr += bytes;
    upload->rest.len -= bytes;
    return bytes;
}

static int on_progress(void *context, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct upload *upload = context;
    (void)a;
    (void)b;
    (void)c;
    (void)d;
    return cancel_is_set(upload->cancel) ? 1 : 0;
}

static void set_options(CURL *curl, const struct smtp_relay *relay, struct upload *upload,
                        struct curl_slist *recipients)
{
    curl_easy_setopt(curl, CURLOPT_URL, relay->url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_USE_SSL, (long)CURLUSESSL_ALL);
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (!text_is_empty(relay->ca_file)) {
        curl_easy_setopt(curl, CURLOPT_CAINFO, relay->ca_file);
    }
    if (!text_is_empty(relay->user)) {
        curl_easy_setopt(curl, CURLOPT_USERNAME, relay->user);
        curl_easy_setopt(curl, CURLOPT_PASSWORD, secret_bytes(relay->password));
    }
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)TIMEOUT_MS);
    curl_easy_setopt(curl, CURLOPT_MAIL_FROM, relay->from);
    curl_easy_setopt(curl, CURLOPT_MAIL_RCPT, recipients);
    curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(curl, CURLOPT_READFUNCTION, read_message);
    curl_easy_setopt(curl, CURLOPT_READDATA, upload);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, upload);
}

/* What libcurl says is its own words, not the relay's, and holds neither user nor message. */
static int explain(CURL *curl, CURLcode code, const struct call *call, struct err *err)
{
    long reply = 0;

    if (call && cancel_check(call->cancel, err)) {
        return -1;
    }
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &reply);
    if (reply >= 500) {
        return err_set(err, ERR_TERMINAL, "MailRefused",
                       "the mail relay refused the message or the login: reply %ld", reply);
    }
    if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_USE_SSL_FAILED) {
        return err_set(err, ERR_RETRY, "MailNotSent",
                       "the mail relay could not be verified, or offers no TLS: %s",
                       curl_easy_strerror(code));
    }
    return err_set(err, ERR_RETRY, "MailNotSent",
                   "the mail relay could not take the message: %s "
                   "(reply %ld)",
                   curl_easy_strerror(code), reply);
}

int smtp_send(const struct call *call, const struct smtp_relay *relay, const struct smtp_mail *mail,
              struct err *err)
{
    AUTO(buf) struct buf message = BUF(MESSAGE_MAX_BYTES);
    AUTO(curl) CURL *curl = NULL;
    AUTO(slist) struct curl_slist *recipients = NULL;

    if ((call && call_check_write(call, err)) || render(relay, mail, &message, err)) {
        return -1;
    }
    struct upload upload = {buf_str(&message), call ? call->cancel : NULL};
    curl = curl_easy_init();
    recipients = curl_slist_append(NULL, mail->to);
    if (!curl || !recipients) {
        return err_set(err, ERR_RETRY, "MailNotSent", "no memory for the message");
    }
    set_options(curl, relay, &upload, recipients);
    CURLcode code = curl_easy_perform(curl);
    return code == CURLE_OK ? 0 : explain(curl, code, call, err);
}
