// One mixture and its rows as JAX passes them, and what all forms of the pass share.
#pragma once

#include <cmath>

#include "vector.h"

namespace workbench::WORKBENCH_SET {

inline constexpr double HALF_LOG_2PI = 0.91893853320467274178;

// A mixture in the data's units, and the units: z = inverse (x - shift), inverse the inverse of the lower triangular
// matrix. `total` is the share of this call in sum_n z_n z_n^T, which only the tied family reads.
template <class T>
struct Given {
    Index k, d;
    const T *weights, *means, *scales;  // [K], [K, D], the family's shape
    const T *shift, *matrix, *inverse, *total;  // [D], [D, D], [D, D], [D, D]

    // Means in working units. [K, D]
    void working_means(Array<T>& working) const {
        working.fit(k * d);
        for (Index c = 0; c < k; ++c)
            for (Index i = 0; i < d; ++i) {
                T sum = 0;
                for (Index j = 0; j < d; ++j) sum += inverse[i * d + j] * (means[c * d + j] - shift[j]);
                working[c * d + i] = sum;
            }
    }
};

// L^-1 matrix, the map [D, D] from deviations in working units to whitened ones, for lower triangular `scales` L.
// Returns sum_i log L_ii.
template <class T>
double whitening(const T* scales, const T* matrix, Index d, Array<double>& solved) {
    solved.zeros(d * d);
    double log_determinant = 0;
    for (Index i = 0; i < d; ++i) {
        const double pivot = scales[i * d + i];
        double* row = solved.data() + i * d;
        for (Index j = 0; j <= i; ++j) row[j] = matrix[i * d + j];
        for (Index m = 0; m < i; ++m) {
            const double factor = scales[i * d + m];
            const double* above = solved.data() + m * d;
            for (Index j = 0; j <= m; ++j) row[j] -= factor * above[j];
        }
        for (Index j = 0; j <= i; ++j) row[j] /= pivot;
        log_determinant += std::log(pivot);
    }
    return log_determinant;
}

// A chunk of rows in working units: coordinate i of row n is z[i * stride + n].
template <class T>
struct Chunk {
    const T* z;
    Index stride, vectors, rows;
};

// Sums over rows in working units; first and second moments are about the means.
struct Sums {
    Array<double> counts, first, second;  // [K], [K, D], by family: [K, D, D], [D, D], [K, D], [K]
};

// Log-joints of all components, [K, rows], which become responsibilities.
template <class T>
struct Shares {
    Array<T> numbers;
    Index stride = 0;

    // Rows are padded to full tiles, and one vector apart so that they do not share cache lines' places.
    void fit(Index k, Index vectors) {
        stride = ((vectors + ACROSS - 1) / ACROSS * ACROSS + 1) * LANES<T>;
        numbers.fit(k * stride);
    }
    T* of(Index c) { return numbers.data() + c * stride; }
    const T* of(Index c) const { return numbers.data() + c * stride; }
};

// The largest log-joint of each row of a vector; 0 for a row of density zero under every component, which so gives
// -inf, not NaN.
template <class T>
V<T> largest_of(const Shares<T>& shares, Index k, Index v) {
    V<T> largest = load(shares.of(0) + v * LANES<T>);
    for (Index c = 1; c < k; ++c) {
        const V<T> next = load(shares.of(c) + v * LANES<T>);
        largest = next > largest ? next : largest;
    }
    return largest == -std::numeric_limits<T>::infinity() ? V<T>{} : largest;
}

// The chunk's log-likelihood. Log-joints become responsibilities, times how often each row counts; a row that counts
// zero times has none.
template <class T>
double normalise(Shares<T>& shares, Index k, const T* counted, Index vectors) {
    constexpr Index L = LANES<T>;
    V<T> sum{};
    for (Index v = 0; v < vectors; ++v) {
        const V<T> largest = largest_of(shares, k, v);
        V<T> total{};
        for (Index c = 0; c < k; ++c) {
            const V<T> share = exp_of<T>(load(shares.of(c) + v * L) - largest);
            store(shares.of(c) + v * L, share);
            total += share;
        }
        const V<T> times = load(counted + v * L), factor = times / total;
        const auto counts = times != T(0);
        sum += counts ? times * (largest + log_of<T>(total)) : V<T>{};
        for (Index c = 0; c < k; ++c) {
            T* at = shares.of(c) + v * L;
            store(at, counts ? load(at) * factor : V<T>{});
        }
    }
    return sum_of_lanes<T>(sum);
}

// Draws the component of each row in proportion to exp of its log-joints, by inversion of a uniform number below one.
// Log-joints become how often the row counts for the component drawn, and zero for the others.
template <class T>
void allocate(Shares<T>& shares, Index k, const T* counted, const T* uniform, Index vectors) {
    constexpr Index L = LANES<T>;
    for (Index v = 0; v < vectors; ++v) {
        const V<T> largest = largest_of(shares, k, v);
        V<T> below{};
        for (Index c = 0; c < k; ++c) {
            T* at = shares.of(c) + v * L;
            below += exp_of<T>(load(at) - largest);
            store(at, below);
        }
        const V<T> level = below * load(uniform + v * L);
        V<T> left = load(counted + v * L);
        // Whatever rounding does, the last component takes a row that none before it has taken.
        for (Index c = 0; c + 1 < k; ++c) {
            T* at = shares.of(c) + v * L;
            const auto later = load(at) <= level;
            store(at, later ? V<T>{} : left);
            left = later ? left : V<T>{};
        }
        store(shares.of(k - 1) + v * L, left);
    }
}

// Vectors of sums, one for each number; lanes are added at the end, in float64.
template <class T>
class Accumulators {
public:
    void clear(Index size) { sums_.zeros(size * LANES<T>); }
    void add(Index at, V<T> value) {
        T* sum = sums_.data() + at * LANES<T>;
        store(sum, load(sum) + value);
    }
    double total(Index at) const {
        double sum = 0;
        for (Index lane = 0; lane < LANES<T>; ++lane) sum += sums_[at * LANES<T> + lane];
        return sum;
    }

private:
    Array<T> sums_;
};

}  // namespace workbench::WORKBENCH_SET
