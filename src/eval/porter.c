// Porter's stemmer (Porter 1980, "An algorithm for suffix stripping"), with the changes that NLTK makes to it. Words
// are lower-case letters and digits; a digit counts as a consonant.
#include "src/eval/words.h"

#include <string.h>

static bool is_vowel_letter(char c) { return c == 'a' || c == 'e' || c == 'i' || c == 'o' || c == 'u'; }

// Whether the letters [0, length) end in a consonant: y is one unless it follows one.
static bool ends_in_consonant(const char *word, size_t length)
{
    bool consonant = true;
    size_t at = length;
    while (at > 1 && word[at - 1] == 'y') at--; // a run of y turns with each letter
    consonant = !is_vowel_letter(word[at - 1]);
    return (length - at) % 2 == 0 ? consonant : !consonant;
}

// m: how often a consonant follows a vowel.
static int measure(const char *word, size_t length)
{
    int count = 0;
    bool before = true;
    for (size_t i = 0; i < length; i++) {
        bool consonant = word[i] == 'y' ? i == 0 || !before : !is_vowel_letter(word[i]);
        if (consonant && !before) count++;
        before = consonant;
    }
    return count;
}

static bool has_vowel(const char *word, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (is_vowel_letter(word[i]) || (word[i] == 'y' && i > 0))
            return true; // of y after a consonant, or two of them
    return false;
}

static bool ends_double(const char *word, size_t length)
{
    return length >= 2 && word[length - 1] == word[length - 2] && ends_in_consonant(word, length);
}

// *o: consonant, vowel, consonant but w, x, y; NLTK adds words of vowel and consonant.
static bool ends_cvc(const char *word, size_t length)
{
    if (length == 2) return !ends_in_consonant(word, 1) && ends_in_consonant(word, 2);
    return length >= 3 && ends_in_consonant(word, length - 2) && !ends_in_consonant(word, length - 1) &&
           ends_in_consonant(word, length) && !strchr("wxy", word[length - 1]);
}

static bool ends_with(const char *word, size_t length, const char *suffix)
{
    size_t size = strlen(suffix);
    return length >= size && memcmp(word + length - size, suffix, size) == 0;
}

typedef struct rule {
    const char *suffix, *replacement;
} rule;

// The first rule whose suffix fits is the only one tried: it applies where the stem's measure is above `least`. A rule
// that begins with `keep` letters of the stem leaves them there.
static size_t apply(char *word, size_t length, const rule *rules, size_t count, int least)
{
    for (size_t i = 0; i < count; i++) {
        if (!ends_with(word, length, rules[i].suffix)) continue;
        size_t stem = length - strlen(rules[i].suffix), added = strlen(rules[i].replacement);
        if (measure(word, stem) <= least) return length;
        memcpy(word + stem, rules[i].replacement, added);
        return stem + added;
    }
    return length;
}
#define APPLY(word, length, rules, least) apply(word, length, rules, sizeof(rules) / sizeof *(rules), least)

// Plurals.
static size_t step_1a(char *word, size_t length)
{
    static const rule rules[] = {{"sses", "ss"}, {"ies", "i"}, {"ss", "ss"}, {"s", ""}};
    if (length == 4 && ends_with(word, length, "ies")) return 3;
    return APPLY(word, length, rules, -1);
}

// What is left of a word that lost -ed or -ing.
static size_t mend(char *word, size_t length)
{
    if (ends_with(word, length, "at") || ends_with(word, length, "bl") || ends_with(word, length, "iz")) {
        word[length] = 'e';
        return length + 1;
    }
    if (ends_double(word, length)) return strchr("lsz", word[length - 1]) ? length : length - 1;
    if (measure(word, length) == 1 && ends_cvc(word, length)) word[length++] = 'e';
    return length;
}

static size_t step_1b(char *word, size_t length)
{
    if (ends_with(word, length, "ied")) return length == 4 ? 3 : length - 2;
    if (ends_with(word, length, "eed")) return measure(word, length - 3) > 0 ? length - 1 : length;
    if (ends_with(word, length, "ed") && has_vowel(word, length - 2)) return mend(word, length - 2);
    if (ends_with(word, length, "ing") && has_vowel(word, length - 3)) return mend(word, length - 3);
    return length;
}

static size_t step_1c(char *word, size_t length)
{
    if (length > 2 && word[length - 1] == 'y' && ends_in_consonant(word, length - 1)) word[length - 1] = 'i';
    return length;
}

static size_t step_2(char *word, size_t length)
{
    static const rule rules[] = {{"ational", "ate"}, {"tional", "tion"}, {"enci", "ence"},   {"anci", "ance"},
                                 {"izer", "ize"},    {"bli", "ble"},     {"alli", "al"},     {"entli", "ent"},
                                 {"eli", "e"},       {"ousli", "ous"},   {"ization", "ize"}, {"ation", "ate"},
                                 {"ator", "ate"},    {"alism", "al"},    {"iveness", "ive"}, {"fulness", "ful"},
                                 {"ousness", "ous"}, {"aliti", "al"},    {"iviti", "ive"},   {"biliti", "ble"},
                                 {"fulli", "ful"}};
    if (ends_with(word, length, "alli") && measure(word, length - 4) > 0) return step_2(word, length - 2);
    if (ends_with(word, length, "logi"))
        return measure(word, length - 3) > 0 ? length - 1 : length; // the l counts with the stem
    return APPLY(word, length, rules, 0);
}

static size_t step_3(char *word, size_t length)
{
    static const rule rules[] = {{"icate", "ic"}, {"ative", ""}, {"alize", "al"}, {"iciti", "ic"},
                                 {"ical", "ic"},  {"ful", ""},   {"ness", ""}};
    return APPLY(word, length, rules, 0);
}

static size_t step_4(char *word, size_t length)
{
    static const rule rules[] = {{"al", ""},   {"ance", ""}, {"ence", ""},  {"er", ""},   {"ic", ""},  {"able", ""},
                                 {"ible", ""}, {"ant", ""},  {"ement", ""}, {"ment", ""}, {"ent", ""}, {"ou", ""},
                                 {"ism", ""},  {"ate", ""},  {"iti", ""},   {"ous", ""},  {"ive", ""}, {"ize", ""}};
    if (ends_with(word, length, "ion")) {
        size_t stem = length - 3;
        return measure(word, stem) > 1 && strchr("st", word[stem - 1]) ? stem : length;
    }
    return APPLY(word, length, rules, 1);
}

static size_t step_5(char *word, size_t length)
{
    if (ends_with(word, length, "e")) {
        int m = measure(word, length - 1);
        if (m > 1 || (m == 1 && !ends_cvc(word, length - 1))) length--;
    }
    if (ends_with(word, length, "ll") && measure(word, length - 1) > 1) length--;
    return length;
}

// Words that NLTK does not leave to the rules.
static bool is_irregular(char *word, size_t *length)
{
    static const char *const pool[][2] = {{"sky", "sky"},        {"skies", "sky"},        {"dying", "die"},
                                          {"lying", "lie"},      {"tying", "tie"},        {"news", "news"},
                                          {"innings", "inning"}, {"inning", "inning"},    {"outings", "outing"},
                                          {"outing", "outing"},  {"cannings", "canning"}, {"canning", "canning"},
                                          {"howe", "howe"},      {"proceed", "proceed"},  {"exceed", "exceed"},
                                          {"succeed", "succeed"}};
    for (size_t i = 0; i < sizeof pool / sizeof *pool; i++) {
        if (strlen(pool[i][0]) != *length || memcmp(word, pool[i][0], *length) != 0) continue;
        *length = strlen(pool[i][1]);
        memcpy(word, pool[i][1], *length);
        return true;
    }
    return false;
}

size_t lr_porter_stem(char *word, size_t length)
{
    if (length <= 2 || is_irregular(word, &length)) return length;
    length = step_1a(word, length);
    length = step_1b(word, length);
    length = step_1c(word, length);
    length = step_2(word, length);
    length = step_3(word, length);
    length = step_4(word, length);
    return step_5(word, length);
}
