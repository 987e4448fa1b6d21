#include "sched/shares.h"
#include <stdbool.h>
#include "sched/policy.h"

static double own_weight(const struct share *s)
{
    return (double)s->weight * WEIGHT_ONE / s->over;
}

/* With the tenants that `effective` marks getting their minimum: what the others' weights come to, and what is left for them. */
static void sum_up(const struct share *s, uint32_t n, double scale, double *weights, double *left)
{
    *weights = 0;
    *left = 1;
    for (uint32_t i = 0; i < n; i++) {
        if (s[i].effective)
            *left -= s[i].min * scale;
        else
            *weights += own_weight(&s[i]);
    }
}

void shares_compute(struct share *s, uint32_t n)
{
    double promised = 0, weights, left, scale = 1;
    for (uint32_t i = 0; i < n; i++) {
        promised += s[i].min;
        s[i].effective = 0;
    }
    if (promised > SHARES_PROMISED_MAX)
        scale = SHARES_PROMISED_MAX / promised;
    /* Whoever gets less than promised joins those who get the minimum, which leaves the others less: until nobody joins. */
    for (bool more = promised > 0; more;) {
        more = false;
        sum_up(s, n, scale, &weights, &left);
        for (uint32_t i = 0; i < n; i++)
            if (!s[i].effective && s[i].min > 0 && own_weight(&s[i]) / weights * left < s[i].min * scale) {
                s[i].effective = 1;
                more = true;
            }
    }
    sum_up(s, n, scale, &weights, &left);
    if (weights <= 0)
        weights = left * 1000000 * WEIGHT_ONE;     /* everybody gets the minimum: in proportion to it */
    for (uint32_t i = 0; i < n; i++) {
        double e = s[i].effective ? s[i].min * scale / left * weights : own_weight(&s[i]);
        s[i].effective = e < 1 ? 1 : (uint64_t)(e + 0.5);
    }
}
