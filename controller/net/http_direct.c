/* A request on its caller's own thread, for a client whose connections carry one request at a time:
 * handing it to another thread and back would gain nothing and cost two waits for a processor.
 *
 * Each transfer has a multi handle of its own, in which its connections live between requests. What
 * ends a request early is the same as on the transport thread: the caller's cancel descriptor, the
 * client's end, and the expiries. */
#include "controller/net/http_internal.h"

#include <limits.h>
#include <poll.h>

#include "controller/base/clock.h"

enum { CONNECTIONS_MAX = 2 }; /* of one transfer: a service's and that of its accounts */

CURLM *direct_new(void)
{
    CURLM *multi = curl_multi_init();
    if (!multi ||
        curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_MAX) != CURLM_OK) {
        out_of_memory();
    }
    return multi;
}

/* Whether curl is through with it, and how that went. */
static bool is_finished(const struct transfer *transfer, CURLcode *ret)
{
    int left = 0;
    const CURLMsg *message = curl_multi_info_read(transfer->own, &left);
    if (!message) {
        return false;
    }
    *ret = message->data.result;
    return true;
}

static int wait_ms(const struct transfer *transfer)
{
    int64_t until_ms = transfer_expiry_ms(transfer);
    if (until_ms == INT64_MAX) {
        return INT_MAX; /* curl wakes for its own timers */
    }
    int64_t left_ms = until_ms - clock_monotonic_ms();
    if (left_ms <= 0) {
        return 0;
    }
    return left_ms < INT_MAX ? (int)left_ms : INT_MAX;
}

/* Sleep until something happens. Returns true when the caller, or the client's end, wants it over;
 * what the wake descriptor says stays there for all others. */
static bool wait_canceled(const struct transfer *transfer, const struct call *call)
{
    struct curl_waitfd also[2] = {{.fd = transfer->client->wake_fd, .events = CURL_WAIT_POLLIN}};
    unsigned int count = 1;
    if (call && call->cancel) {
        also[count++] =
            (struct curl_waitfd){.fd = cancel_fd(call->cancel), .events = CURL_WAIT_POLLIN};
    }
    if (curl_multi_poll(transfer->own, also, count, wait_ms(transfer), NULL) != CURLM_OK) {
        out_of_memory();
    }
    return also[0].revents != 0 || also[1].revents != 0;
}

/* Returns what curl says about the end, or with the transfer's error set about a cut. */
static CURLcode drive(struct transfer *transfer, const struct call *call)
{
    CURLcode code = CURLE_ABORTED_BY_CALLBACK;
    int running = 0;
    for (;;) {
        if (curl_multi_perform(transfer->own, &running) != CURLM_OK) {
            out_of_memory();
        }
        if (is_finished(transfer, &code)) {
            return code;
        }
        if (transfer_expire(transfer, clock_monotonic_ms())) {
            return CURLE_ABORTED_BY_CALLBACK;
        }
        if (wait_canceled(transfer, call)) {
            transfer_cancel(transfer);
            return CURLE_ABORTED_BY_CALLBACK;
        }
    }
}

void direct_perform(struct transfer *transfer, const struct call *call)
{
    transfer->last_byte_ms = clock_monotonic_ms();
    if (curl_multi_add_handle(transfer->own, transfer->easy) != CURLM_OK) {
        out_of_memory();
    }
    CURLcode code = drive(transfer, call);
    (void)curl_multi_remove_handle(transfer->own, transfer->easy);
    transfer_conclude(transfer, code);
}
