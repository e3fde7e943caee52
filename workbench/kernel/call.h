// A call of the pass, as the handler of JAX's foreign function interface hands it to the code of an instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

namespace workbench {

// The leading axes by which a batch of mixtures comes.
inline constexpr int MOST_AXES = 8;
struct Axes {
    std::ptrdiff_t number = 0, size = 1;
    std::ptrdiff_t lengths[MOST_AXES] = {};
};

// An array of a batch. Its step along an axis is 0 where all mixtures along that axis share it.
template <class T>
struct Batched {
    T* data;
    const Axes* axes;
    std::ptrdiff_t steps[MOST_AXES];

    T* of(std::ptrdiff_t b) const {
        T* at = data;
        for (std::ptrdiff_t i = axes->number - 1; i >= 0; b /= axes->lengths[i], --i)
            at += b % axes->lengths[i] * steps[i];
        return at;
    }
};

template <class T>
struct Call {
    std::int64_t family;
    std::ptrdiff_t batch, k, d, chunks, rows;  // rows of a chunk
    bool is_weighted;  // `counted` is [C, rows], how often each row counts; otherwise [C], the rows but padding
    bool wants_statistics;
    bool draws;  // statistics of rows whose component is drawn by `uniform`, [C, rows]; there is no value
    Batched<const T> weights, means, scales, z, counted, shift, matrix, inverse, total, uniform;
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
