/* Does an object say what we want it to say? Pure. */
#ifndef TENANTRY_OBJECTS_INTENT_H
#define TENANTRY_OBJECTS_INTENT_H

#include <stdbool.h>

#include "controller/base/str.h"

/* Whether everything in `wanted` (a body for server-side apply) stands in `observed` (the object as
 * the server has it). What the server defaults, and what others added in places of their own, does
 * not count: members that we do not name, and elements of lists that are maps by name. Quantities
 * are equal when they mean the same. False too when either is no JSON. */
bool intent_holds(struct str wanted, struct str observed);

#endif
