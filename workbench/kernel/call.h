// A call of the pass, as the handler of JAX's foreign function interface hands it to the code of an instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

namespace workbench {

// Arrays of a batch: mixture b of the batch begins at `step` times b; the step is 0 where all share one array.
template <class T>
struct Batched {
    T* data;
    std::ptrdiff_t step;
    T* of(std::ptrdiff_t b) const { return data + b * step; }
};

template <class T>
struct Call {
    std::int64_t family;
    std::ptrdiff_t batch, k, d, chunks, rows;  // rows of a chunk
    bool is_weighted;   // `counted` is [C, rows], how often each row counts; otherwise [C], the rows that are no padding
    bool wants_statistics;
    Batched<const T> weights, means, scales, z, counted, shift, matrix, inverse, total;
    Batched<T> value, counts, first, second;
};

#define WORKBENCH_DECLARE(SET)            \
    namespace SET {                       \
    void run(const Call<double>& call);   \
    void run(const Call<float>& call);    \
    }
WORKBENCH_DECLARE(avx512)
WORKBENCH_DECLARE(avx2)
WORKBENCH_DECLARE(plain)
#undef WORKBENCH_DECLARE

}  // namespace workbench
