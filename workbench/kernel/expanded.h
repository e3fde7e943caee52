// The expanded form: log-joints are products of coefficients [K, F] with features [F, rows], and sums over rows are
// products of responsibilities [K, rows] with the same features.
#pragma once

#include "mixture.h"

namespace workbench::WORKBENCH_SET {

template <class T>
class Expanded {
public:
    static constexpr Index L = LANES<T>;

    // `constant` [K] and `coefficients` [K, F]; the caller keeps them.
    void prepare(Index k, Index features, const T* constant, const T* coefficients) {
        k_ = k, f_ = features, constant_ = constant, coefficients_ = coefficients;
        accumulators_.clear(k_ * (1 + f_));
    }

    // `features` holds the place of each feature's first row.
    void log_joint(const T* const* features, Index vectors, Shares<T>& shares) const {
        const Index full = vectors / ACROSS * ACROSS;
        in_tiles([&](auto tile, Index c) {
            constexpr int SIZE = decltype(tile)::value;
            for (Index v = 0; v < full; v += ACROSS) products<SIZE, ACROSS>(features, c, v, shares);
            for (Index v = full; v < vectors; ++v) products<SIZE, 1>(features, c, v, shares);
        });
    }

    void add(const T* const* features, Index vectors, const Shares<T>& shares) {
        for (Index c = 0; c < k_; ++c) {
            V<T> count{};
            for (Index v = 0; v < vectors; ++v) count += load(shares.of(c) + v * L);
            accumulators_.add(c * (1 + f_), count);
        }
        const Index full = f_ / ACROSS * ACROSS;
        in_tiles([&](auto tile, Index c) {
            constexpr int SIZE = decltype(tile)::value;
            for (Index f = 0; f < full; f += ACROSS) weighted_sums<SIZE, ACROSS>(features, c, f, vectors, shares);
            for (Index f = full; f < f_; ++f) weighted_sums<SIZE, 1>(features, c, f, vectors, shares);
        });
    }

    double count(Index c) const { return accumulators_.total(c * (1 + f_)); }
    double sum(Index c, Index f) const { return accumulators_.total(c * (1 + f_) + 1 + f); }

private:
    template <int N>
    struct Size {
        static constexpr int value = N;
    };

    // Cuts the components into as few tiles as there can be, of nearly equal size.
    template <class F>
    void in_tiles(F function) const {
        Index tiles = (k_ + DOWN - 1) / DOWN;
        for (Index c = 0; c < k_; --tiles) {
            const Index size = (k_ - c + tiles - 1) / tiles;
            if (size == 1) function(Size<1>{}, c);
            if (size == 2) function(Size<2>{}, c);
            if (size == 3) function(Size<3>{}, c);
            if (size == 4) function(Size<4>{}, c);
            if constexpr (DOWN > 4) {
                if (size == 5) function(Size<5>{}, c);
                if (size == 6) function(Size<6>{}, c);
            }
            c += size;
        }
    }

    template <int SIZE, int WIDTH>
    void products(const T* const* features, Index c, Index v, Shares<T>& shares) const {
        V<T> sum[SIZE][WIDTH];
#pragma GCC unroll 8
        for (int a = 0; a < SIZE; ++a)
#pragma GCC unroll 4
            for (int b = 0; b < WIDTH; ++b) sum[a][b] = all(constant_[c + a]);
        const T* coefficient = coefficients_ + c * f_;
        for (Index f = 0; f < f_; ++f, ++coefficient) {
            const T* feature = features[f] + v * L;
#pragma GCC unroll 4
            for (int b = 0; b < WIDTH; ++b) {
                const V<T> value = load(feature + b * L);
#pragma GCC unroll 8
                for (int a = 0; a < SIZE; ++a) sum[a][b] += coefficient[a * f_] * value;
            }
        }
#pragma GCC unroll 8
        for (int a = 0; a < SIZE; ++a)
#pragma GCC unroll 4
            for (int b = 0; b < WIDTH; ++b) store(shares.of(c + a) + (v + b) * L, sum[a][b]);
    }

    template <int SIZE, int WIDTH>
    void weighted_sums(const T* const* features, Index c, Index f, Index vectors, const Shares<T>& shares) {
        V<T> sum[SIZE][WIDTH]{};
        for (Index v = 0; v < vectors; ++v) {
            V<T> value[WIDTH];
#pragma GCC unroll 4
            for (int b = 0; b < WIDTH; ++b) value[b] = load(features[f + b] + v * L);
#pragma GCC unroll 8
            for (int a = 0; a < SIZE; ++a) {
                const V<T> share = load(shares.of(c + a) + v * L);
#pragma GCC unroll 4
                for (int b = 0; b < WIDTH; ++b) sum[a][b] += share * value[b];
            }
        }
        for (int a = 0; a < SIZE; ++a)
            for (int b = 0; b < WIDTH; ++b) accumulators_.add((c + a) * (1 + f_) + 1 + f + b, sum[a][b]);
    }

    Index k_ = 0, f_ = 0;
    const T *constant_ = nullptr, *coefficients_ = nullptr;
    Accumulators<T> accumulators_;
};

}  // namespace workbench::WORKBENCH_SET
