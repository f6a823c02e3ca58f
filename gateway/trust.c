#include "gateway/trust.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/base/str.h"

enum { NETWORKS_MAX = 64, ADDRESS_BYTES = 16, ADDRESS_BITS = 128, V4_OFFSET_BITS = 96 };

/* All as IPv6; an IPv4 address is ::ffff:a.b.c.d. */
struct network {
    unsigned char address[ADDRESS_BYTES];
    int bits;
};

struct trust {
    int count;
    struct network networks[NETWORKS_MAX];
};

static void map_v4(const struct in_addr *v4, unsigned char ret[ADDRESS_BYTES])
{
    memset(ret, 0, ADDRESS_BYTES);
    memset(ret + 10, 0xff, 2);
    memcpy(ret + 12, v4, sizeof(*v4));
}

static bool parse(struct str text, struct network *ret)
{
    char address[INET6_ADDRSTRLEN + 1];
    struct str host = str_cut(&text, '/');
    struct in_addr v4;
    int64_t bits = -1;

    if (host.len >= sizeof(address) || (text.len > 0 && (!str_to_int64(text, &bits) || bits < 0))) {
        return false;
    }
    (void)snprintf(address, sizeof(address), "%.*s", (int)host.len, host.ptr);
    if (inet_pton(AF_INET, address, &v4) == 1) {
        map_v4(&v4, ret->address);
        ret->bits = (int)(bits < 0 ? ADDRESS_BITS : V4_OFFSET_BITS + bits);
        return bits <= 32;
    }
    ret->bits = (int)(bits < 0 ? ADDRESS_BITS : bits);
    return inet_pton(AF_INET6, address, ret->address) == 1 && bits <= ADDRESS_BITS;
}

int trust_new(const char *networks, struct trust **ret, struct err *err)
{
    struct trust *trust = xcalloc(1, sizeof(*trust));
    struct str rest = str_from(networks);

    while (rest.len > 0) {
        struct str one = str_trim(str_cut(&rest, ','));
        if (trust->count == NETWORKS_MAX || !parse(one, &trust->networks[trust->count])) {
            free(trust);
            return err_set(err, ERR_TERMINAL, "InvalidOption",
                           "--trusted-proxies cannot be \"%s\": networks such as 10.0.0.0/8, "
                           "separated by commas, at most %d",
                           networks, NETWORKS_MAX);
        }
        trust->count++;
    }
    *ret = trust;
    return 0;
}

void trust_free(struct trust *trust)
{
    free(trust);
}

static bool covers(const struct network *network, const unsigned char address[ADDRESS_BYTES])
{
    size_t bytes = (size_t)network->bits / 8;
    int rest = network->bits % 8;

    if (memcmp(network->address, address, bytes) != 0) {
        return false;
    }
    return rest == 0 || (network->address[bytes] ^ address[bytes]) >> (8 - rest) == 0;
}

bool trust_has(const struct trust *trust, const struct sockaddr *peer)
{
    unsigned char address[ADDRESS_BYTES];

    if (peer->sa_family == AF_INET) {
        map_v4(&((const struct sockaddr_in *)peer)->sin_addr, address);
    } else if (peer->sa_family == AF_INET6) {
        memcpy(address, &((const struct sockaddr_in6 *)peer)->sin6_addr, sizeof(address));
    } else {
        return false;
    }
    for (int i = 0; i < trust->count; i++) {
        if (covers(&trust->networks[i], address)) {
            return true;
        }
    }
    return false;
}
