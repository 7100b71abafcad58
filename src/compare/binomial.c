// The exact binomial test at 1/2, and Clopper and Pearson's interval: Biometrika 26 (1934), 404.
#include <lora/ab.h>

#include <math.h>
#include <stdbool.h>

// C(n, k) p^k (1 - p)^(n - k) as mantissa * 2^exponent, so that neither factor leaves the range of a double.
static double probability(int64_t n, int64_t k, double p)
{
    double mantissa = 1;
    int64_t exponent = 0;
    int shift;
    if (p <= 0 || p >= 1) return p <= 0 ? k == 0 : k == n;
    for (int64_t i = 1; i <= n; i++) {
        // The i-th factor of each: p or 1 - p, and (n - k + i) / i while there are any.
        mantissa *= i <= k ? p * ((double)(n - k + i) / (double)i) : 1 - p;
        mantissa = frexp(mantissa, &shift);
        exponent += shift;
    }
    return exponent < -2000 ? 0 : ldexp(mantissa, (int)exponent);
}

// P(X <= k).
static double lower_tail(int64_t n, int64_t k, double p)
{
    double sum = 0;
    double odds = p / (1 - p), term = probability(n, k, p);
    for (int64_t i = k; i >= 0 && term > 0; i--) {
        sum += term;
        term *= (double)i / ((double)(n - i + 1) * odds);
        if (term < sum * 1e-18) break;
    }
    return sum;
}

// P(X >= k): the lower tail of the failures.
static double upper_tail(int64_t n, int64_t k, double p)
{
    return lower_tail(n, n - k, 1 - p);
}

double lora_binomial_two_sided(int64_t wins, int64_t n)
{
    if (n <= 0 || wins < 0 || wins > n) return 1;
    int64_t fewer = wins < n - wins ? wins : n - wins;
    double p = 2 * lower_tail(n, fewer, 0.5);
    return 2 * fewer == n || p > 1 ? 1 : p;
}

void lora_binomial_interval(int64_t wins, int64_t n, double confidence, double *low, double *high)
{
    double tail = (1 - confidence) / 2, bounds[2] = {0, 1};
    for (int side = 0; side < 2; side++) {
        if (n <= 0 || wins < 0 || wins > n || wins == (side ? n : 0)) continue;
        double below = 0, above = 1;
        for (int i = 0; i < 200 && above - below > 1e-16; i++) {
            double p = (below + above) / 2;
            // The lower bound's upper tail grows with p, the upper bound's lower tail falls.
            bool small = side ? lower_tail(n, wins, p) > tail : upper_tail(n, wins, p) < tail;
            if (small) below = p;
            else above = p;
        }
        bounds[side] = (below + above) / 2;
    }
    if (low) *low = bounds[0];
    if (high) *high = bounds[1];
}
