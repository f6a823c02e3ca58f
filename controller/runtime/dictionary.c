/* Open addressing, at most a quarter full, by a hash of the length and the two ends: words of one
 * program seldom share all three, and a text that is no word is mostly turned away by a free slot.
 */
#include "controller/runtime/dictionary.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static pthread_mutex_t fill_lock = PTHREAD_MUTEX_INITIALIZER;

static inline size_t home_of(struct str text)
{
    size_t first = (unsigned char)text.ptr[0];
    size_t last = (unsigned char)text.ptr[text.len - 1];
    return (text.len * 37 + first * 5 + last) % DICTIONARY_SLOTS;
}

static void fill(struct dictionary *dictionary)
{
    pthread_mutex_lock(&fill_lock);
    if (!atomic_load_explicit(&dictionary->ready, memory_order_relaxed)) {
        for (; dictionary->words[dictionary->count]; dictionary->count++) {
            if (dictionary->count == DICTIONARY_MAX) {
                (void)fputs("dictionary: too many words\n", stderr);
                abort();
            }
            size_t slot = home_of(str_from(dictionary->words[dictionary->count]));
            while (dictionary->slots[slot]) {
                slot = (slot + 1) % DICTIONARY_SLOTS;
            }
            dictionary->slots[slot] = (uint8_t)(dictionary->count + 1);
        }
        atomic_store_explicit(&dictionary->ready, true, memory_order_release);
    }
    pthread_mutex_unlock(&fill_lock);
}

static inline void make_ready(struct dictionary *dictionary)
{
    if (!atomic_load_explicit(&dictionary->ready, memory_order_acquire)) {
        fill(dictionary);
    }
}

int dictionary_find(struct dictionary *dictionary, struct str text)
{
    if (text.len == 0) {
        return -1;
    }
    make_ready(dictionary);
    for (size_t slot = home_of(text); dictionary->slots[slot];
         slot = (slot + 1) % DICTIONARY_SLOTS) {
        int number = dictionary->slots[slot] - 1;
        if (str_equal_c(text, dictionary->words[number])) {
            return number;
        }
    }
    return -1;
}

const char *dictionary_word(struct dictionary *dictionary, uint64_t number)
{
    make_ready(dictionary);
    return number < dictionary->count ? dictionary->words[number] : NULL;
}
