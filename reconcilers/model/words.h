/* Words shared by the model's files: of the enums, and the cache's dictionary. */
#ifndef TENANTRY_MODEL_WORDS_H
#define TENANTRY_MODEL_WORDS_H

#include "controller/runtime/dictionary.h"

extern const char *const tenant_state_words[];
extern const char *const isolation_words[];
extern const char *const deletion_policy_words[];
extern const char *const member_role_words[];
extern const char *const billing_cycle_words[];
extern const char *const fail_mode_words[];
extern const char *const idle_wake_words[];

/* Texts that stand in nearly every Tenant: condition types, reasons and messages of the good case.
 */
extern struct dictionary record_dictionary;

#endif
