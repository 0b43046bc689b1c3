/* What our reader makes of NumPy's files, and our writer of them.
 *
 *     parity_arrays u8|f32 FROM VALUES [TO]
 *
 * reads FROM as bytes or floats, writes the bare values to VALUES, and the array as .npy to TO. */
#include "data/npy.h"

#include "base/file.h"

#include <stdio.h>

int main(int argc, char **argv) {
    portion_type type = PORTION_U8;
    npy_array a;
    if (argc < 4 || portion_type_parse(argv[1], &type)) {
        fprintf(stderr, "parity_arrays u8|f32 FROM VALUES [TO]\n");
        return 2;
    }
    err e = npy_read(argv[2], type, 1 << 20, &a);
    size_t size = type == PORTION_F32 ? sizeof(float) : 1;
    e = e ? e : file_write_atomic(argv[3], &(file_span){a.values, a.elements * size}, 1);
    e = e || argc < 5 ? e : npy_write(argv[4], type, a.rank, a.dims, a.values);
    if (e) {
        fprintf(stderr, "%s\n", err_text());
        return err_exit_code(e);
    }
    npy_free(&a);
    return 0;
}
