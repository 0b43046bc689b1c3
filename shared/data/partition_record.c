#include "data/partition_record.h"

#include "base/json.h"

void partition_record_read(json_fields *m, partition *s, uint32_t *index) {
    static const char *const of_all[] = {"kind", "portions", "sample_shape", NULL};
    static const char *const of_one[] = {"kind", "portions", "portion", "sample_shape", NULL};
    char kind[16] = "";
    uint32_t shape[3] = {0};
    json_fields in;
    json_fields_enter(m, "partition", index ? of_one : of_all, &in);
    json_fields_name(&in, "kind", kind, sizeof kind);
    json_fields_number(&in, "portions", 1, PARTITION_PORTIONS_MAX, &s->portions);
    json_fields_numbers(&in, "sample_shape", PARTITION_ELEMENTS_MAX, shape, 3);
    if (index) {
        json_fields_number(&in, "portion", 0, PARTITION_PORTIONS_MAX - 1, index);
    }
    s->channels = shape[0];
    s->height = shape[1];
    s->width = shape[2];
    if (!in.error && partition_parse(kind, &s->kind)) {
        json_fields_refuse(&in, "kind", "is none of slices, quadrants, planes");
    } else if (!in.error && partition_check(s)) {
        in.error = err_prefix(ERR_INPUT, "%s: field 'partition'", in.path);
    } else if (!in.error && index && *index >= s->portions) {
        json_fields_refuse(&in, "portion", "is not below 'portions'");
    }
    json_fields_leave(m, &in);
}

json_t *partition_record_pack(const partition *s, const uint32_t *index) {
    json_t *record =
        json_pack("{s:s, s:I, s:[I, I, I]}", "kind", partition_name(s->kind), "portions", (json_int_t)s->portions,
                  "sample_shape", (json_int_t)s->channels, (json_int_t)s->height, (json_int_t)s->width);
    if (index) {
        json_put(&record, "portion", json_integer(*index));
    }
    return record;
}
