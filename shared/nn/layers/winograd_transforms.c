#include "nn/layers/winograd_transforms.h"

#include "nn/bf16.h"

/* WINOGRAD_LANES floats at once; lowered to what the processor has. */
typedef float vector __attribute__((vector_size(WINOGRAD_LANES * sizeof(float)), aligned(4), may_alias));
typedef int32_t mask __attribute__((vector_size(WINOGRAD_LANES * sizeof(int32_t)), aligned(4), may_alias));

VECTOR_VERSIONS
void winograd_patch(const float *restrict d, ptrdiff_t row, ptrdiff_t column, size_t channels, float *restrict v,
                    size_t place) {
    for (size_t c = 0; c < channels; c += WINOGRAD_LANES) {
        vector t[WINOGRAD_PATCH][WINOGRAD_PATCH];
        for (ptrdiff_t j = 0; j < WINOGRAD_PATCH; j++) {
            const float *at = d + j * column + (ptrdiff_t)c;
            vector d0 = *(const vector *)at, d1 = *(const vector *)(at + row);
            vector d2 = *(const vector *)(at + 2 * row), d3 = *(const vector *)(at + 3 * row);
            t[0][j] = d0 - d2;
            t[1][j] = d1 + d2;
            t[2][j] = d2 - d1;
            t[3][j] = d1 - d3;
        }
        for (size_t i = 0; i < WINOGRAD_PATCH; i++) {
            float *to = v + i * WINOGRAD_PATCH * place + c;
            *(vector *)to = t[i][0] - t[i][2];
            *(vector *)(to + place) = t[i][1] + t[i][2];
            *(vector *)(to + 2 * place) = t[i][2] - t[i][1];
            *(vector *)(to + 3 * place) = t[i][1] - t[i][3];
        }
    }
}

BF16_INLINE void transform_back(const float *restrict m, size_t place, size_t channels, const float *restrict bias,
                                bool relu, float *restrict y, ptrdiff_t row, ptrdiff_t column) {
    for (size_t c = 0; c < channels; c += WINOGRAD_LANES) {
        vector t[WINOGRAD_TILE][WINOGRAD_PATCH], zero = {0}, b = zero;
        if (bias) {
            b = *(const vector *)(bias + c);
        }
        for (size_t j = 0; j < WINOGRAD_PATCH; j++) {
            const float *at = m + j * place + c;
            vector m0 = *(const vector *)at, m1 = *(const vector *)(at + 4 * place);
            vector m2 = *(const vector *)(at + 8 * place), m3 = *(const vector *)(at + 12 * place);
            t[0][j] = m0 + m1 + m2;
            t[1][j] = m1 - m2 - m3;
        }
        for (ptrdiff_t i = 0; i < WINOGRAD_TILE; i++) {
            float *to = y + i * row + (ptrdiff_t)c;
            vector y0 = t[i][0] + t[i][1] + t[i][2] + b, y1 = t[i][1] - t[i][2] - t[i][3] + b;
            if (relu) {
                y0 = (vector)((mask)y0 & (y0 > zero));
                y1 = (vector)((mask)y1 & (y1 > zero));
            }
            *(vector *)to = y0;
            *(vector *)(to + column) = y1;
        }
    }
}

VECTOR_VERSIONS
void winograd_tile(const float *restrict m, size_t place, size_t channels, const float *restrict bias, bool relu,
                   float *restrict y, ptrdiff_t row, ptrdiff_t column) {
    relu ? transform_back(m, place, channels, bias, true, y, row, column)
         : transform_back(m, place, channels, bias, false, y, row, column);
}

VECTOR_VERSIONS
void winograd_tile_gradient(const float *restrict dy, ptrdiff_t row, ptrdiff_t column, size_t channels,
                            float *restrict m, size_t place) {
    for (size_t c = 0; c < channels; c += WINOGRAD_LANES) {
        vector t[WINOGRAD_PATCH][WINOGRAD_TILE], zero = {0};
        for (ptrdiff_t j = 0; j < WINOGRAD_TILE; j++) {
            const float *at = dy + j * column + (ptrdiff_t)c;
            vector d0 = *(const vector *)at, d1 = *(const vector *)(at + row);
            t[0][j] = d0;
            t[1][j] = d0 + d1;
            t[2][j] = d0 - d1;
            t[3][j] = zero - d1;
        }
        for (size_t i = 0; i < WINOGRAD_PATCH; i++) {
            float *to = m + i * WINOGRAD_PATCH * place + c;
            *(vector *)to = t[i][0];
            *(vector *)(to + place) = t[i][0] + t[i][1];
            *(vector *)(to + 2 * place) = t[i][0] - t[i][1];
            *(vector *)(to + 3 * place) = zero - t[i][1];
        }
    }
}

VECTOR_VERSIONS
void winograd_filters(const float *restrict w, size_t inputs, size_t outputs, size_t from, size_t to,
                      float *restrict u) {
    for (size_t o = from; o < to; o += WINOGRAD_LANES) {
        for (size_t c = 0; c < inputs; c++) {
            float lanes[WINOGRAD_TAPS][WINOGRAD_LANES] __attribute__((aligned(64)));
            vector t[WINOGRAD_PATCH][WINOGRAD_FILTER];
            for (size_t l = 0; l < WINOGRAD_LANES; l++) {
                for (size_t tap = 0; tap < WINOGRAD_TAPS; tap++) {
                    lanes[tap][l] = w[((o + l) * inputs + c) * WINOGRAD_TAPS + tap];
                }
            }
            for (size_t j = 0; j < WINOGRAD_FILTER; j++) {
                vector g0 = *(const vector *)lanes[j], g1 = *(const vector *)lanes[3 + j];
                vector g2 = *(const vector *)lanes[6 + j];
                t[0][j] = g0;
                t[1][j] = 0.5f * (g0 + g1 + g2);
                t[2][j] = 0.5f * (g0 - g1 + g2);
                t[3][j] = g2;
            }
            for (size_t i = 0; i < WINOGRAD_PATCH; i++) {
                float *at = u + (i * WINOGRAD_PATCH * inputs + c) * outputs + o;
                size_t place = inputs * outputs;
                *(vector *)at = t[i][0];
                *(vector *)(at + place) = 0.5f * (t[i][0] + t[i][1] + t[i][2]);
                *(vector *)(at + 2 * place) = 0.5f * (t[i][0] - t[i][1] + t[i][2]);
                *(vector *)(at + 3 * place) = t[i][2];
            }
        }
    }
}

VECTOR_VERSIONS
void winograd_filter_gradient(const float *restrict du, const float *restrict other, size_t inputs, size_t outputs,
                              size_t first, float *restrict dw) {
    size_t place = inputs * outputs;
    for (size_t c = 0; c < inputs; c++) {
        float lanes[WINOGRAD_TAPS][WINOGRAD_LANES] __attribute__((aligned(64)));
        vector t[WINOGRAD_FILTER][WINOGRAD_PATCH];
        for (size_t j = 0; j < WINOGRAD_PATCH; j++) {
            vector u[WINOGRAD_PATCH];
            for (size_t i = 0; i < WINOGRAD_PATCH; i++) {
                size_t at = (i * WINOGRAD_PATCH + j) * place + c * outputs + first;
                u[i] = *(const vector *)(du + at);
                if (other) {
                    u[i] += *(const vector *)(other + at);
                }
            }
            t[0][j] = u[0] + 0.5f * (u[1] + u[2]);
            t[1][j] = 0.5f * (u[1] - u[2]);
            t[2][j] = 0.5f * (u[1] + u[2]) + u[3];
        }
        for (size_t i = 0; i < WINOGRAD_FILTER; i++) {
            *(vector *)lanes[3 * i] = t[i][0] + 0.5f * (t[i][1] + t[i][2]);
            *(vector *)lanes[3 * i + 1] = 0.5f * (t[i][1] - t[i][2]);
            *(vector *)lanes[3 * i + 2] = 0.5f * (t[i][1] + t[i][2]) + t[i][3];
        }
        for (size_t l = 0; l < WINOGRAD_LANES; l++) {
            for (size_t tap = 0; tap < WINOGRAD_TAPS; tap++) {
                dw[(l * inputs + c) * WINOGRAD_TAPS + tap] = lanes[tap][l];
            }
        }
    }
}
