#include "bench/claims.h"

#include <stdbool.h>

static const char *const claim_signs[] = {
    [CLAIM_AT_LEAST] = ">=",
    [CLAIM_AT_MOST] = "<=",
    [CLAIM_BELOW] = "<",
};

static bool claim_holds(const struct claim *claim)
{
    if (claim->runs.count == 0)
        return false;
    const double value = samples_median(&claim->runs);
    switch (claim->compare) {
    case CLAIM_AT_LEAST: return value >= claim->target;
    case CLAIM_AT_MOST: return value <= claim->target;
    case CLAIM_BELOW: return value < claim->target;
    }
    return false;
}

static json_t *claim_side_json(const struct claim_side *side)
{
    if (side->name == NULL || side->runs.count == 0)
        return json_null();
    return json_pack("{s:s, s:s, s:f, s:o}", "name", side->name, "unit", side->unit, "value",
                     samples_median(&side->runs), "spread", samples_json(&side->runs));
}

void claims_add(json_t *claims, const struct claim *claim)
{
    json_t *runs = json_array();
    for (uint32_t i = 0; i < claim->runs.count; i++)
        (void)json_array_append_new(runs, json_real(claim->runs.values[i]));
    const bool measured = claim->runs.count > 0;
    json_t *object =
        json_pack("{s:s, s:s, s:o, s:s, s:f, s:s, s:b, s:o, s:o, s:o}", "row", claim->row, "name",
                  claim->name, "value",
                  measured ? json_real(samples_median(&claim->runs)) : json_null(), "unit",
                  claim->unit, "target", claim->target, "compare", claim_signs[claim->compare],
                  "holds", claim_holds(claim), "peer", claim_side_json(&claim->peer), "limit",
                  claim_side_json(&claim->limit), "runs", runs);
    if (measured) {
        const struct samples_spread spread = samples_spread(&claim->runs);
        (void)json_object_set_new(object, "min", json_real(spread.min));
        (void)json_object_set_new(object, "max", json_real(spread.max));
    }
    if (claim->why != NULL || !measured)
        (void)json_object_set_new(
            object, "why", json_string(claim->why != NULL ? claim->why : "it was not measured"));
    (void)json_array_append_new(claims, object);
}

static const char *claim_word(const json_t *claim)
{
    if (json_is_true(json_object_get(claim, "holds")))
        return "holds";
    return json_is_null(json_object_get(claim, "value")) ? "?" : "FAILS";
}

void claims_print(const json_t *claims, FILE *out)
{
    size_t index;
    json_t *claim;
    json_array_foreach((json_t *)(uintptr_t)claims, index, claim)
    {
        const json_t *value = json_object_get(claim, "value");
        const char *why = json_string_value(json_object_get(claim, "why"));
        char text[32] = "-";
        if (json_is_number(value))
            (void)snprintf(text, sizeof(text), "%.3f", json_number_value(value));
        (void)fprintf(out, "  %-5s %12s %-10s %2s %10g  %s%s%s\n", claim_word(claim), text,
                      json_string_value(json_object_get(claim, "unit")),
                      json_string_value(json_object_get(claim, "compare")),
                      json_number_value(json_object_get(claim, "target")),
                      json_string_value(json_object_get(claim, "name")), why == NULL ? "" : "; ",
                      why == NULL ? "" : why);
    }
}
