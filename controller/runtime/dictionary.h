/* Words that stand in nearly every object of a program: condition types, reasons, messages of the
 * good case. Packed records name them by number (fields.h). A static, made by DICTIONARY; which
 * word a text is, is found by a table that the first who asks fills. Any thread may ask. */
#ifndef TENANTRY_RUNTIME_DICTIONARY_H
#define TENANTRY_RUNTIME_DICTIONARY_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/base/str.h"

enum { DICTIONARY_MAX = 128, DICTIONARY_SLOTS = 512 };

struct dictionary {
    const char *const *words; /* NULL-ended, at most DICTIONARY_MAX, each once, none empty */
    atomic_bool ready;
    uint8_t count;
    uint8_t slots[DICTIONARY_SLOTS]; /* number of the word + 1; 0: free */
};

#define DICTIONARY(words_) {.words = (words_)}

/* The number of the word that the text is, -1 when it is none. */
int dictionary_find(struct dictionary *dictionary, struct str text);
/* The word of that number, NULL when there is none. */
const char *dictionary_word(struct dictionary *dictionary, uint64_t number);

#endif
