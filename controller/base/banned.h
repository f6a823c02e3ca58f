/* Force-included into every file: a call that has a safer form here becomes an identifier that is
 * declared nowhere, and whose name says what to use. Macros with arguments, not poison, because
 * headers of libraries give such names to parameters. */
#ifndef TENANTRY_BASE_BANNED_H
#define TENANTRY_BASE_BANNED_H

/* Before the macros, so that the declarations themselves are fine. */
#include <alloca.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifndef __cplusplus
#undef strcpy
#undef strcat
#undef strncpy
#undef strncat
#undef sprintf
#undef vsprintf
#undef strtok
#undef atoi
#undef atol
#undef atof
#undef gets
#undef system
#undef popen
#undef alloca
#undef rand
#undef srand
#undef gmtime
#undef localtime
#undef asctime
#undef ctime
#undef mktemp
#undef tmpnam
#define strcpy(...) BANNED_use_struct_buf
#define strcat(...) BANNED_use_struct_buf
#define strncpy(...) BANNED_use_struct_buf
#define strncat(...) BANNED_use_struct_buf
#define sprintf(...) BANNED_use_struct_buf_or_snprintf
#define vsprintf(...) BANNED_use_struct_buf_or_vsnprintf
#define strtok(...) BANNED_use_str_cut
#define atoi(...) BANNED_use_str_to_int64
#define atol(...) BANNED_use_str_to_int64
#define atof(...) BANNED_use_strtod
#define gets(...) BANNED_use_fgets
#define system(...) BANNED_runs_a_shell
#define popen(...) BANNED_runs_a_shell
#define alloca(...) BANNED_use_the_arena
#define rand(...) BANNED_use_clock_jitter_ms_or_random_bytes
#define srand(...) BANNED_use_clock_jitter_ms_or_random_bytes
#define gmtime(...) BANNED_use_clock_format_s_or_gmtime_r
#define localtime(...) BANNED_use_clock_format_s_or_localtime_r
#define asctime(...) BANNED_use_clock_format_s
#define ctime(...) BANNED_use_clock_format_s
#define mktemp(...) BANNED_use_mkstemp
#define tmpnam(...) BANNED_use_mkstemp
#endif

#endif
