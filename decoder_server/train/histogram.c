#include "decoder_server/train/histogram.h"

#include "base/json.h"
#include "bits/binarize.h"

static size_t bin_of(float soft) {
    size_t bin = (size_t)((double)soft * HISTOGRAM_BINS);
    return bin < HISTOGRAM_BINS ? bin : HISTOGRAM_BINS - 1;
}

void histogram_add(histogram *h, const float *soft, size_t rows, size_t stride) {
    for (size_t row = 0; row < rows; row++) {
        for (uint32_t bit = 0; bit < h->bits; bit++) {
            float value = soft[row * stride + bit];
            h->bins[bin_of(value)]++;
            h->ones[bit] += binarize_bit(value);
            h->distance_sum += (double)(value < 0.5f ? value : 1.0f - value);
        }
    }
    h->samples += rows;
}

double histogram_distance(const histogram *h) {
    double outputs = (double)h->samples * h->bits;
    return outputs > 0 ? h->distance_sum / outputs : 0;
}

static json_t *counts(const uint64_t *from, size_t count) {
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        json_list_add(&list, json_integer((json_int_t)from[i]));
    }
    return list;
}

static json_t *histogram_json(const histogram *h) {
    return json_pack("{s:o, s:o, s:f}", "bins", counts(h->bins, HISTOGRAM_BINS), "ones", counts(h->ones, h->bits),
                     "distance", histogram_distance(h));
}

json_t *histogram_list(const histogram *h, size_t count) {
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        json_list_add(&list, histogram_json(&h[i]));
    }
    return list;
}
