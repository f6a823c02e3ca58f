/* Private to kube/credentials and its tests. */
#ifndef TENANTRY_KUBE_CREDENTIALS_INTERNAL_H
#define TENANTRY_KUBE_CREDENTIALS_INTERNAL_H

#include "controller/kube/credentials.h"

/* Let all files be due to be read again, as if their periods had passed. */
void kube_credentials_expire_files(struct kube_credentials *credentials);

#endif
