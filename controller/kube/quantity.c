/* resource.Quantity: a decimal number with a suffix, as in "100m", "1.5Gi" or "1e3". */
#include "controller/kube/object.h"

__extension__ typedef unsigned __int128 wide;

/* Digits that are kept exactly; what stands behind them can only decide about rounding up. */
enum { DIGITS_MAX = 27, EXPONENT_MAX = 99 };

struct quantity {
    bool negative;
    wide digits;
    int exponent; /* decimal: value = digits * 10^exponent * 2^binary */
    int binary;
    bool rest; /* something not zero was dropped behind the last digit */
};

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

static bool at(struct str text, size_t index, char wanted)
{
    return index < text.len && text.ptr[index] == wanted;
}

static bool read_digit(struct quantity *quantity, int *kept, char byte, bool behind_point)
{
    if (*kept == DIGITS_MAX) {
        quantity->rest |= byte != '0';
        return behind_point;
    }
    if (quantity->digits != 0 || byte != '0') {
        ++*kept;
    }
    quantity->digits = quantity->digits * (wide)10 + (unsigned char)(byte - '0');
    quantity->exponent -= behind_point ? 1 : 0;
    return true;
}

/* Sign and digits; leaves in *text what follows them. */
static bool read_number(struct str *text, struct quantity *ret)
{
    size_t i = 0;
    bool behind_point = false;
    size_t seen = 0;
    int kept = 0;

    if (at(*text, 0, '-') || at(*text, 0, '+')) {
        ret->negative = text->ptr[0] == '-';
        i = 1;
    }
    for (; i < text->len; i++) {
        char byte = text->ptr[i];
        if (byte == '.' && !behind_point) {
            behind_point = true;
        } else if (!is_digit(byte)) {
            break;
        } else if (!read_digit(ret, &kept, byte, behind_point)) {
            return false;
        } else {
            seen++;
        }
    }
    text->ptr += i;
    text->len -= i;
    return seen > 0;
}

static bool read_suffix(struct str text, struct quantity *quantity)
{
    static const struct {
        const char *suffix;
        int exponent;
        int binary;
    } suffixes[] = {
        {"", 0, 0},    {"n", -9, 0},  {"u", -6, 0},  {"m", -3, 0},  {"k", 3, 0},   {"M", 6, 0},
        {"G", 9, 0},   {"T", 12, 0},  {"P", 15, 0},  {"E", 18, 0},  {"Ki", 0, 10}, {"Mi", 0, 20},
        {"Gi", 0, 30}, {"Ti", 0, 40}, {"Pi", 0, 50}, {"Ei", 0, 60},
    };

    for (size_t i = 0; i < ARRAY_COUNT(suffixes); i++) {
        if (str_equal_c(text, suffixes[i].suffix)) {
            quantity->exponent += suffixes[i].exponent;
            quantity->binary = suffixes[i].binary;
            return true;
        }
    }
    /* "1E" is exa, and was found above; "1E3" and "1e-3" are powers of ten. */
    int64_t exponent = 0;
    if (!at(text, 0, 'e') && !at(text, 0, 'E')) {
        return false;
    }
    struct str digits = {text.ptr + 1, text.len - 1};
    if (at(digits, 0, '+') && digits.len > 1 && is_digit(digits.ptr[1])) {
        digits = (struct str){digits.ptr + 1, digits.len - 1};
    }
    if (!str_to_int64(digits, &exponent) || exponent > EXPONENT_MAX || exponent < -EXPONENT_MAX) {
        return false;
    }
    quantity->exponent += (int)exponent;
    return true;
}

/* digits * 2^binary * 10^exponent, rounded up; false when that is more than an int64. */
static bool scale(struct quantity quantity, wide *ret)
{
    wide value = quantity.digits;
    bool rest = quantity.rest;

    if (__builtin_mul_overflow(value, (wide)1 << quantity.binary, &value)) {
        return false;
    }
    for (; quantity.exponent > 0 && value != 0; quantity.exponent--) {
        if (__builtin_mul_overflow(value, (wide)10, &value)) {
            return false;
        }
    }
    for (; quantity.exponent < 0 && value != 0; quantity.exponent++) {
        rest |= value % 10 != 0;
        value /= 10;
    }
    /* Up means towards plus infinity, so a negative one loses its rest. */
    *ret = value + (rest && !quantity.negative ? 1 : 0);
    return *ret <= INT64_MAX;
}

bool kube_quantity_milli(struct str text, int64_t *ret_milli)
{
    struct quantity quantity = {0};
    wide milli = 0;

    if (!read_number(&text, &quantity) || !read_suffix(text, &quantity)) {
        return false;
    }
    quantity.exponent += 3;
    if (!scale(quantity, &milli)) {
        return false;
    }
    *ret_milli = quantity.negative ? -(int64_t)milli : (int64_t)milli;
    return true;
}
