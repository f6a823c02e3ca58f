/* A request that waits for somebody else's answer. */
#ifndef TENANTRY_GATEWAY_WAIT_H
#define TENANTRY_GATEWAY_WAIT_H

enum wait_result {
    WAIT_AGAIN,  /* decide anew */
    WAIT_DENIED, /* the quota is spent as far as can be known */
    WAIT_FAULT,  /* who was asked failed */
};

struct waiter {
    struct waiter *next;
    /* Called once, from any thread; the waiter may be gone when it returns. */
    void (*wake)(struct waiter *waiter, enum wait_result result);
};

#endif
