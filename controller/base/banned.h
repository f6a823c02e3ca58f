/* Force-included into every file: calls that have a safer form here become compile errors. */
#ifndef TENANTRY_BASE_BANNED_H
#define TENANTRY_BASE_BANNED_H

#include <stdio.h> /* before poisoning, so that the declarations themselves are fine */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifndef __cplusplus
#undef alloca /* glibc defines it as a macro */
#pragma GCC poison strcpy strcat strncpy strncat sprintf vsprintf strtok atoi atol atof gets
#pragma GCC poison system popen alloca rand srand
#pragma GCC poison gmtime localtime asctime ctime mktemp tmpnam
#endif

#endif
