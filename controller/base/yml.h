/* YAML 1.1 as far as JSON's types go, through libyaml: for kubeconfig files and our own settings.
 */
#ifndef TENANTRY_BASE_YML_H
#define TENANTRY_BASE_YML_H

#include <jansson.h>

#include "controller/base/attributes.h"
#include "controller/base/err.h"
#include "controller/base/str.h"

/* Parse the first document of text (at most max_bytes) into a JSON tree. Plain scalars follow the
 * core schema (null, true/false, integers, floats), quoted ones are strings; merge keys and tags
 * are refused; aliases are resolved with the total number of nodes capped (10,000), so that no nest
 * of aliases blows up. Duplicate keys are an error. An empty document is null. Caller decrefs *ret.
 * Errors: TERMINAL/InvalidYAML, with line and column. */
MUST_CHECK int yml_parse(struct str text, size_t max_bytes, json_t **ret, struct err *err);

#endif
