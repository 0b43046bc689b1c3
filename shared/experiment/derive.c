#include "experiment/derive.h"

/* Runs that are whole rows of one plane are images too, such as the halves of a digit. */
nn_shape derive_portion_shape(const partition *s) {
    uint32_t shape[3];
    partition_box box;
    if (s->kind == PARTITION_SLICES && !partition_find_box(s, 0, &box)) {
        return (nn_shape){box.channels, box.height, box.width};
    }
    partition_portion_shape(s, shape);
    return (nn_shape){shape[0], shape[1], shape[2]};
}

preset_head derive_head(const experiment *e, const partition *s, uint32_t classes) {
    return (preset_head){
        .decoder = e->decoder.net,
        .classifier = e->classifier.net,
        .training = e->classifier.train,
        .hidden = e->classifier.hidden,
        .classes = classes,
        .portions = s->portions,
        .bits = e->encoder.bits,
        .sample = {s->channels, s->height, s->width},
    };
}

void experiment_describe_encoder(const experiment *e, const partition *s, nn_spec *spec) {
    preset_describe_encoder(&e->encoder, derive_portion_shape(s), spec);
}

void experiment_describe_head(const experiment *e, const partition *s, uint32_t classes, nn_spec *spec) {
    preset_head head = derive_head(e, s, classes);
    preset_describe_head(&head, spec);
}

double experiment_step_macs(const experiment *e) {
    partition s;
    uint32_t classes;
    if (experiment_partition(e, &s, &classes)) {
        return 0;
    }
    nn_spec encoder, head;
    experiment_describe_encoder(e, &s, &encoder);
    experiment_describe_head(e, &s, classes, &head);
    return s.portions * nn_spec_step_macs(&encoder, e->training.batch_size, false) +
           nn_spec_step_macs(&head, e->training.batch_size, !experiment_is_classifier_alone(e));
}
