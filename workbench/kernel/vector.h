// Vectors of numbers as wide as a register, and their exponential and logarithm.
//
// The compiler's vector types stand for all instruction sets; the file is compiled once for each, in a namespace of
// its own. Where a scalar meets a vector it counts for all lanes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>

#if defined(__AVX512F__)
#define WORKBENCH_BYTES 64
#define WORKBENCH_SET avx512
#elif defined(__AVX2__)
#define WORKBENCH_BYTES 32
#define WORKBENCH_SET avx2
#else
#define WORKBENCH_BYTES 16
#define WORKBENCH_SET plain
#endif

namespace workbench::WORKBENCH_SET {

using Index = std::ptrdiff_t;

template <class T>
struct VectorOf {
    typedef T type __attribute__((vector_size(WORKBENCH_BYTES)));
};

template <class T>
using V = typename VectorOf<T>::type;

template <class T>
inline constexpr Index LANES = WORKBENCH_BYTES / sizeof(T);

// Registers that hold the sums of a tile: of vectors in the direction of rows, and of numbers of a parameter.
#if WORKBENCH_BYTES == 32
inline constexpr int ACROSS = 2, DOWN = 4;  // 16 registers
#else
inline constexpr int ACROSS = 4, DOWN = 6;  // 32 registers
#endif

template <class T>
inline V<T> load(const T* from) {
    V<T> v;
    __builtin_memcpy(&v, from, sizeof v);
    return v;
}

template <class T>
inline void store(T* to, V<T> v) {
    __builtin_memcpy(to, &v, sizeof v);
}

template <class T>
inline V<T> all(T value) {
    return value - V<T>{};
}

inline Index least(Index a, Index b) { return a < b ? a : b; }

// The sum of the lanes, in pairs.
template <class T>
inline T sum_of_lanes(V<T> v) {
    T lane[LANES<T>];
    store(lane, v);
    for (Index width = LANES<T> / 2; width > 0; width /= 2)
        for (Index i = 0; i < width; ++i) lane[i] += lane[i + width];
    return lane[0];
}

// Numbers in aligned memory. It stands for std::vector, whose functions would have the same names in the code of all
// instruction sets, so that a linker could choose one that the processor does not know.
template <class T>
class Array {
public:
    Array() = default;
    ~Array() { std::free(numbers_); }
    Array(const Array&) = delete;
    Array& operator=(const Array&) = delete;

    // Gives room for `size` numbers; what they are is left open.
    T* fit(Index size) {
        if (size > room_) {
            std::free(numbers_);
            void* memory = nullptr;
            if (posix_memalign(&memory, 64, sizeof(T) * size) != 0) {
                std::fputs("workbench: no memory is left for the pass\n", stderr);
                std::abort();
            }
            numbers_ = static_cast<T*>(memory), room_ = size;
        }
        return numbers_;
    }
    // No memory is touched for none: `memset` allows no null pointer, whatever the size.
    T* zeros(Index size) {
        fit(size);
        if (size > 0) std::memset(numbers_, 0, sizeof(T) * size);
        return numbers_;
    }
    T* data() const { return numbers_; }
    T& operator[](Index i) const { return numbers_[i]; }

private:
    T* numbers_ = nullptr;
    Index room_ = 0;
};

template <class T>
struct Format;

template <>
struct Format<double> {
    using Bits = std::int64_t;
    static constexpr int FRACTION_BITS = 52;
    static constexpr double ROUNDING = 0x1.8p52;         // added and taken away again, it rounds to a whole number
    static constexpr double LN2_HIGH = 0x1.62e42feep-1;  // few enough bits for an exact product with an exponent
    static constexpr double LN2_LOW = 0x1.a39ef35793c76p-33;
    static constexpr double LOWEST = -708.0;  // exp of less is counted as zero
    static constexpr std::int64_t ROOT_HALF = 0x3fe6a09e667f3bcd;
    static constexpr int LOG_TERMS = 10;
    // exp(r) = 1 + r + r^2 q(r) for |r| <= ln(2) / 2: q through its values at Chebyshev's nodes, off by 1.6e-17.
    static constexpr double EXP[] = {0.5000000000000001,     0.16666666666666669,    0.04166666666662412,
                                     0.008333333333329989,   0.0013888888917214241,  0.00019841269863274792,
                                     2.4801521296081343e-05, 2.75572682118324e-06,   2.7620088037872724e-07,
                                     2.5100478977656092e-08};
};

template <>
struct Format<float> {
    using Bits = std::int32_t;
    static constexpr int FRACTION_BITS = 23;
    static constexpr float ROUNDING = 0x1.8p23f;
    static constexpr float LN2_HIGH = 0x1.62e4p-1f;
    static constexpr float LN2_LOW = 1.4286068203094173e-06f;
    static constexpr float LOWEST = -87.0f;
    static constexpr std::int32_t ROOT_HALF = 0x3f3504f3;
    static constexpr int LOG_TERMS = 5;
    // As above, off by 1.1e-8.
    static constexpr float EXP[] = {0.5f, 0.16666576266288757f, 0.041666556149721146f, 0.008363177999854088f,
                                    0.0013926181709393859f};
};

template <class T>
using Bits = V<typename Format<T>::Bits>;

// exp(x) for x <= 0, to 1 unit in the last place; 0 below LOWEST. NaN stays NaN.
template <class T>
inline V<T> exp_of(V<T> x) {
    using F = Format<T>;
    const auto tiny = x < F::LOWEST;
    const V<T> within = tiny ? all(F::LOWEST) : x;
    const V<T> rounded = within * T(1.4426950408889634) + F::ROUNDING;
    const V<T> exponent = rounded - F::ROUNDING;
    const V<T> r = (within - exponent * F::LN2_HIGH) - exponent * F::LN2_LOW;
    constexpr int terms = sizeof(F::EXP) / sizeof(T);
    V<T> q = all(F::EXP[terms - 1]);
#pragma GCC unroll 16
    for (int i = terms - 2; i >= 0; --i) q = q * r + F::EXP[i];
    const V<T> fraction = (q * r) * r + r + T(1);
    const Bits<T> scaled = (Bits<T>)fraction + ((Bits<T>)rounded << F::FRACTION_BITS);
    return tiny ? V<T>{} : (V<T>)scaled;
}

// ln(x) for x >= 0 that is zero or normal, to 1 unit in the last place of the larger of 1 and the result; see
// `mixture/arithmetic.py`. NaN stays NaN.
template <class T>
inline V<T> log_of(V<T> x) {
    using F = Format<T>;
    const Bits<T> exponent = ((Bits<T>)x - F::ROOT_HALF) >> F::FRACTION_BITS;
    const V<T> fraction = (V<T>)((Bits<T>)x - (exponent << F::FRACTION_BITS));
    const V<T> s = (fraction - T(1)) / (fraction + T(1));
    const V<T> square = s * s;
    V<T> series = all(T(2) / T(2 * F::LOG_TERMS + 1));
#pragma GCC unroll 16
    for (int power = 2 * F::LOG_TERMS - 1; power > 1; power -= 2) series = series * square + T(2) / T(power);
    const V<T> e = __builtin_convertvector(exponent, V<T>);
    const V<T> value = e * F::LN2_HIGH + (T(2) * s + (series * square * s + e * F::LN2_LOW));
    const V<T> beyond = x == T(0) ? all(-std::numeric_limits<T>::infinity()) : all(std::numeric_limits<T>::quiet_NaN());
    return x > T(0) ? value : beyond;
}

}  // namespace workbench::WORKBENCH_SET
